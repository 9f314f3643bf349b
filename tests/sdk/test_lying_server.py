"""The API host is an attacker's: it answers well-formed lies over real HTTP. The SDK computes for itself and stops."""

import asyncio
import copy
from collections.abc import Callable
from typing import Any

import pytest
from tests.sdk.honest import (
    ADDRESS,
    BENEFICIARY,
    DIGEST,
    NETWORK,
    USDC,
    beneficiary,
    beneficiary_of,
    digest_of,
    payout_of,
    run_of,
    told,
)
from tests.sdk.hostile import Asked, Server, Told, answering

from strongroom.sdk import Client, MismatchError

OTHER = "0x" + "9" * 40
ASKED: dict[str, Any] = {
    "beneficiary": BENEFICIARY, "destination_digest": DIGEST, "asset": USDC, "amount": 1_250_000,
    "external_id": "trip 4711", "remittance_information": "thanks", "metadata": {"ride": "9"},
}
CHAIN = {"network": NETWORK, "address": ADDRESS}
BANK = {"network": "sepa", "iban": "DE89370400440532013000", "account_holder": "Rosa Example", "country": "DE"}
ITEMS = [
    {
        "beneficiary": BENEFICIARY, "destination_digest": DIGEST, "asset": USDC, "amount": amount,
        "external_id": str(amount),
    }
    for amount in (100, 250, 3)
]

Lie = Callable[[dict[str, Any]], Any]


def put(*path: str | int, value: Any) -> Lie:
    """The honest answer with one place changed."""

    def lie(answer: dict[str, Any]) -> Any:
        changed = copy.deepcopy(answer)
        at: Any = changed
        for step in path[:-1]:
            at = at[step]
        at[path[-1]] = value
        return changed

    return lie


def drop(name: str) -> Lie:
    return lambda answer: {each: value for each, value in answer.items() if each != name}


def serve(honest: Callable[[Asked], dict[str, Any]], lie: Lie | None = None) -> Callable[[Asked], Told]:
    return lambda asked: told(201, honest(asked) if lie is None else lie(honest(asked)))


SHAPES: list[Lie] = [
    drop("id"), lambda _: [], lambda _: None, lambda _: "po_", lambda _: 7, put("id", value=None),
    put("id", value=["x"]),
]
PAYOUT_LIES: list[Lie] = [
    *SHAPES,
    put("id", value="po_" + "a" * 26),
    put("amount", value="1250001"),
    put("amount", value=1_250_000),
    put("asset", value="iso4217:EUR"),
    put("beneficiary", value="ben_" + "e" * 26),
    put("external_id", value="trip 4712"),
    put("remittance_information", value="other"),
    put("metadata", value={}),
    put("destination", "digest", value="cd" * 32),
    put("destination", value=None),
    drop("destination"),
    drop("amount"),
]


def test_an_honest_answer_to_a_payout_is_believed() -> None:
    with answering(serve(payout_of)) as server, server.client() as client:
        payout = client.payouts.create(**ASKED)
    assert payout["amount"] == "1250000"
    assert server.asked[0].json()["amount"] == "1250000"


@pytest.mark.parametrize("lie", PAYOUT_LIES, ids=range(len(PAYOUT_LIES)))
def test_a_lie_about_a_payout_is_found(lie: Lie) -> None:
    with answering(serve(payout_of, lie)) as server, server.client() as client, pytest.raises(MismatchError) as caught:
        client.payouts.create(**ASKED)
    assert len(server.asked) == 1, "a lie is never asked for again"
    assert caught.value.idempotency_key == server.keys[0]


BENEFICIARY_LIES: list[Lie] = [
    *SHAPES,
    put("id", value="ben_" + "a" * 26),
    put("name", value="Mallory"),
    put("organisation", value="org_" + "z" * 26),
    put("destinations", 0, "digest", value="cd" * 32),
    put("destinations", 0, "address", value=OTHER),
    put("destinations", 0, "network", value="eip155:1"),
    put("destinations", 0, "class", value="allowlisted"),
    put("destinations", 0, "version", value=2),
    put("destination", "address", value=OTHER),
    put("destination", "digest", value="cd" * 32),
    put("destinations", value=[]),
    drop("destinations"),
]


@pytest.mark.parametrize("destination", [CHAIN, BANK], ids=["chain", "bank"])
def test_an_honest_answer_to_a_declaration_is_believed(destination: dict[str, str]) -> None:
    with answering(serve(beneficiary_of)) as server, server.client() as client:
        declared = client.beneficiaries.create(name="Rosa Example", destination=destination)
    assert declared["destination"]["digest"] == digest_of(declared["id"], "Rosa Example", destination)


@pytest.mark.parametrize("lie", BENEFICIARY_LIES, ids=range(len(BENEFICIARY_LIES)))
def test_a_lie_about_a_declaration_is_found(lie: Lie) -> None:
    with answering(serve(beneficiary_of, lie)) as server, server.client() as client, pytest.raises(MismatchError):
        client.beneficiaries.create(name="Rosa Example", destination=CHAIN)


def test_a_bank_account_swapped_behind_its_digest_is_found_by_who_declares_it() -> None:
    swapped = {**BANK, "iban": "GB82WEST12345698765432"}

    def lie(asked: Asked) -> Told:
        honest = beneficiary_of(asked)
        return told(201, beneficiary(honest["id"], honest["name"], swapped))

    with answering(lie) as server, server.client() as client, pytest.raises(MismatchError, match="digest"):
        client.beneficiaries.create(name="Rosa Example", destination=BANK)


READ = beneficiary(BENEFICIARY, "Rosa Example", CHAIN, {**CHAIN, "address": "0x" + "1" * 40})


def test_a_beneficiary_is_read_with_its_whole_chain_of_destinations() -> None:
    with answering(lambda _: told(200, READ)) as server, server.client() as client:
        assert client.beneficiaries.get(BENEFICIARY) == READ


@pytest.mark.parametrize(
    "lie",
    [
        put("destinations", 1, "address", value=OTHER),
        put("destinations", 0, "address", value=OTHER),
        put("destination", "address", value=OTHER),
        put("destinations", 0, "digest", value="cd" * 32),
        put("name", value="Mallory"),
        put("id", value="ben_" + "e" * 26),
        lambda read: {**read, "destinations": read["destinations"][1:]},
        lambda read: {**read, "destinations": read["destinations"][::-1]},
    ],
)
def test_an_address_shown_beside_another_digest_is_found_on_reading(lie: Lie) -> None:
    with answering(lambda _: told(200, lie(READ))) as server, server.client() as client, pytest.raises(MismatchError):
        client.beneficiaries.get(BENEFICIARY)
    page = told(200, {"data": [lie(READ)], "next_cursor": None})
    with answering(lambda _: page) as server, server.client() as client, pytest.raises(MismatchError):
        list(client.beneficiaries.list())


def test_a_second_destination_that_is_not_the_one_asked_for_is_found() -> None:
    grown = beneficiary(BENEFICIARY, "Rosa Example", CHAIN, {**CHAIN, "address": OTHER})
    first = beneficiary(BENEFICIARY, "Rosa Example", CHAIN)
    with answering(lambda _: told(202, grown)) as server, server.client() as client:
        assert client.beneficiaries.add_destination(first, {**CHAIN, "address": OTHER}) == grown
        with pytest.raises(MismatchError, match="asked for"):
            client.beneficiaries.add_destination(first, {**CHAIN, "address": "0x" + "8" * 40})
    assert server.asked[0].json()["previous"] == first["destination"]["digest"]


RUN_LIES: list[Lie] = [
    *SHAPES,
    put("id", value="run_" + "a" * 26),
    put("count", value=2),
    put("seal", "root", value="00" * 32),
    put("seal", "count", value=2),
    put("seal", "totals", value={USDC: "354"}),
    put("seal", value=None),
    drop("seal"),
]


def test_the_root_of_a_run_is_the_one_that_the_product_computes() -> None:
    with answering(serve(run_of)) as server, server.client() as client:
        run = client.runs.create(ITEMS)
    assert server.asked[0].json()["seal"] == run["seal"]
    assert run["seal"]["totals"] == {USDC: "353"}


@pytest.mark.parametrize("lie", RUN_LIES, ids=range(len(RUN_LIES)))
def test_a_lie_about_a_run_is_found(lie: Lie) -> None:
    with answering(serve(run_of, lie)) as server, server.client() as client, pytest.raises(MismatchError):
        client.runs.create(ITEMS)


Call = Callable[[Client], Any]
READS: list[Call] = [
    lambda client: client.payouts.get("po_1"),
    lambda client: client.payouts.evidence("po_1"),
    lambda client: client.payouts.receipt("po_1"),
    lambda client: client.payouts.cancel("po_1", idempotency_key="k"),
    lambda client: client.payouts.preview(**ASKED),
    lambda client: client.beneficiaries.get("ben_1"),
    lambda client: client.runs.get("run_1"),
    lambda client: client.runs.cancel("run_1", idempotency_key="k"),
    lambda client: client.runs.preview_file(b""),
    lambda client: list(client.payouts.list()),
    lambda client: list(client.runs.list()),
    lambda client: list(client.runs.items("run_1")),
]


@pytest.mark.parametrize("call", READS, ids=range(len(READS)))
@pytest.mark.parametrize(
    "answer",
    [
        Told(200, {"id": "po_2", "payout": "po_2"}), Told(200, []), Told(200, "x"), Told(200, b"{"), Told(200, b""),
        Told(200, b"[" * 200_000), Told(200, b"\xff\xfe"), Told(200, {"data": 7, "next_cursor": None}),
        Told(200, {"data": [7], "next_cursor": None}), Told(200, b"id", {"content-type": "text/plain"}),
    ],
    ids=range(10),
)
def test_an_answer_that_is_not_what_was_asked_for_is_a_mismatch(call: Call, answer: Told) -> None:
    with answering(lambda _: answer) as server, server.client() as client, pytest.raises(MismatchError):
        call(client)


def test_a_list_that_goes_round_in_circles_ends() -> None:
    page = Told(200, {"data": [{"id": "po_1"}], "next_cursor": "again"})
    with answering(lambda _: page) as server, server.client() as api, pytest.raises(MismatchError, match="never end"):
        list(api.payouts.list())
    assert len(server.asked) == 2


def test_the_asynchronous_client_finds_the_same_lies() -> None:
    async def ask(server: Server, about: str) -> None:
        async with server.async_client() as client:
            match about:
                case "payout":
                    await client.payouts.create(**ASKED)
                case "beneficiary":
                    await client.beneficiaries.create(name="Rosa Example", destination=CHAIN)
                case _:
                    await client.runs.create(ITEMS)

    for name, honest in (("payout", payout_of), ("beneficiary", beneficiary_of), ("run", run_of)):
        with answering(serve(honest, put("id", value="x"))) as server, pytest.raises(MismatchError):
            asyncio.run(ask(server, name))
        assert len(server.asked) == 1
