"""The SDK against the real API process on a real PostgreSQL."""

import asyncio
import itertools
from collections.abc import Iterator
from typing import Any

import pytest
from tests.sdk.real import RealApi, real_api

from strongroom.sdk import (
    AuthenticationError,
    Client,
    ConflictError,
    HeldError,
    IdempotencyKeyReusedError,
    InvalidRequestError,
    NotFoundError,
    exchange,
)
from strongroom.store.postgres import Cluster

BANK = {"network": "sepa", "iban": "DE89370400440532013000", "account_holder": "Rosa Example", "country": "DE"}

_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def real(postgres_cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealApi]:
    with real_api(postgres_cluster, tmp_path_factory.mktemp("sdk")) as api:
        yield api


@pytest.fixture(scope="module")
def payer(real: RealApi) -> Iterator[Client]:
    with real.client("payouts") as client:
        yield client


@pytest.fixture(scope="module")
def declarer(real: RealApi) -> Iterator[Client]:
    with real.client("beneficiaries") as client:
        yield client


@pytest.fixture(scope="module")
def rosa(declarer: Client) -> dict[str, Any]:
    return declarer.beneficiaries.create(name="Rosa Example", destination=somewhere(), external_id="rosa")


def somewhere() -> dict[str, str]:
    return {"network": "eip155:31337", "address": f"0x7{next(_numbers):039d}"}


def debt(real: RealApi, beneficiary: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {
        "beneficiary": beneficiary["id"], "destination_digest": beneficiary["destination"]["digest"],
        "asset": real.usdc, "amount": 1_250_000, "external_id": f"trip {next(_numbers)}", **changes,
    }


def test_the_whole_road_of_a_payout(real: RealApi, payer: Client, rosa: dict[str, Any]) -> None:
    asked = debt(real, rosa, remittance_information="thanks", metadata={"ride": "9"})
    assert payer.payouts.preview(**asked)["tier"] == 0
    payout = payer.payouts.create(**asked, idempotency_key="road")
    assert payer.payouts.get(payout["id"]) == payout
    assert payer.payouts.evidence(payout["id"])["idempotency_key"] == "road"
    found = list(payer.payouts.list(external_id=asked["external_id"]))
    assert [each["id"] for each in found] == [payout["id"]]
    cancelled = payer.payouts.cancel(payout["id"], idempotency_key="road")
    assert cancelled["cancel_requested"] is True


def test_the_same_key_is_the_same_payout_and_another_body_is_refused(
    real: RealApi, payer: Client, rosa: dict[str, Any]
) -> None:
    asked = debt(real, rosa)
    first = payer.payouts.create(**asked, idempotency_key="same")
    assert payer.payouts.create(**asked, idempotency_key="same")["id"] == first["id"]
    with pytest.raises(IdempotencyKeyReusedError) as caught:
        payer.payouts.create(**{**asked, "amount": 2}, idempotency_key="same")
    assert (caught.value.field, caught.value.idempotency_key) == ("amount", "same")


def test_beneficiaries_of_chains_and_banks_are_declared_and_read(declarer: Client, rosa: dict[str, Any]) -> None:
    banked = declarer.beneficiaries.create(name="Rosa Bank", destination=BANK)
    assert declarer.beneficiaries.get(banked["id"]) == banked
    assert declarer.beneficiaries.get(rosa["id"]) == rosa
    assert [each["id"] for each in declarer.beneficiaries.list(external_id="rosa")] == [rosa["id"]]


def test_a_next_destination_hangs_on_the_one_before(declarer: Client) -> None:
    first = declarer.beneficiaries.create(name="Moving Example", destination=somewhere())
    second = declarer.beneficiaries.add_destination(first, somewhere())
    third = declarer.beneficiaries.add_destination(second, somewhere())
    assert [each["version"] for each in third["destinations"]] == [1, 2, 3]
    assert declarer.beneficiaries.get(first["id"]) == third


def test_a_run_in_one_call_and_again_under_its_key(real: RealApi, payer: Client, rosa: dict[str, Any]) -> None:
    items = [debt(real, rosa) for _ in range(3)]
    run = payer.runs.create(items, idempotency_key="payday", external_id="June")
    assert run["state"] == "sealed"
    assert run["seal"]["totals"] == {real.usdc: "3750000"}
    assert payer.runs.create(items, idempotency_key="payday", external_id="June")["id"] == run["id"]
    assert [each["run_index"] for each in payer.runs.items(run["id"])] == [0, 1, 2]
    assert run["id"] in [each["id"] for each in payer.runs.list()]
    assert payer.runs.cancel(run["id"], idempotency_key="payday")["state"] == "cancel_requested"


def test_a_run_in_parts_and_again_after_it_broke_off(
    real: RealApi, payer: Client, rosa: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchange, "RUN_ITEMS_PER_CALL", 2)
    items = [debt(real, rosa) for _ in range(5)]
    sent = iter([True, True])
    real_send = Client.send

    def send(self: Client, plan: Any) -> Any:
        if next(sent, None) is None:
            raise RuntimeError("the program is killed before the third part")
        return real_send(self, plan)

    with monkeypatch.context() as broken:
        broken.setattr(Client, "send", send)
        with pytest.raises(RuntimeError):
            payer.runs.create(items, idempotency_key="parts")
    run = payer.runs.create(items, idempotency_key="parts")
    assert (run["state"], run["count"]) == ("sealed", 5)
    assert len({each["id"] for each in payer.runs.items(run["id"])}) == 5


def test_pages_are_fetched_while_one_reads(real: RealApi, payer: Client, rosa: dict[str, Any]) -> None:
    run = payer.runs.create([debt(real, rosa) for _ in range(7)])
    rows = list(payer.runs.items(run["id"], limit="3"))
    assert [row["run_index"] for row in rows] == list(range(7))


def test_refusals_come_as_errors_of_their_kind(
    real: RealApi, payer: Client, declarer: Client, rosa: dict[str, Any]
) -> None:
    with pytest.raises(NotFoundError):
        payer.payouts.get("po_" + "a" * 26)
    with pytest.raises(AuthenticationError, match="scope_missing"):
        declarer.payouts.create(**debt(real, rosa))
    with pytest.raises(InvalidRequestError, match="asset_unknown"):
        payer.payouts.create(**debt(real, rosa, asset="iso4217:XXX"))
    fresh = declarer.beneficiaries.create(name="Fresh Example", destination=somewhere())
    with pytest.raises(HeldError, match="beneficiary_cooling"):
        payer.payouts.create(**debt(real, fresh, on_hold="refuse"))
    with pytest.raises(ConflictError, match="limit_exceeded"):
        payer.payouts.create(**debt(real, rosa, amount=10**12))
    asked = debt(real, rosa)
    payer.payouts.create(**asked)
    with pytest.raises(ConflictError, match="duplicate_external_id"):
        payer.payouts.create(**asked)


def test_a_key_of_another_deployment_is_refused(real: RealApi) -> None:
    known = real.document["clients"]["payouts"]
    other = Client(real.url, "f" * 16, real.document["organisation"], known["client_id"], known["key_id"], bytes(32))
    with other, pytest.raises(AuthenticationError, match="signature_invalid"):
        other.payouts.get("po_" + "a" * 26)


def test_a_file_is_previewed_row_by_row(payer: Client, rosa: dict[str, Any], real: RealApi) -> None:
    rows = f"beneficiary,asset,amount,external_id\n{rosa['id']},{real.usdc},1000,a\n{rosa['id']},{real.usdc},x,b\n"
    preview = payer.runs.preview_file(rows.encode())
    assert [row["problem"] and row["problem"]["field"] for row in preview["rows"]] == [None, "amount"]


def test_the_asynchronous_client_does_all_of_it(real: RealApi) -> None:
    async def story() -> None:
        async with real.async_client("beneficiaries") as declarer, real.async_client("payouts") as payer:
            payee = await declarer.beneficiaries.create(name="Async Example", destination=somewhere())
            assert await declarer.beneficiaries.get(payee["id"]) == payee
            moved = await declarer.beneficiaries.add_destination(payee, somewhere())
            assert len(moved["destinations"]) == 2
            assert payee["id"] in [each["id"] async for each in declarer.beneficiaries.list()]
            asked = debt(real, moved)
            assert (await payer.payouts.preview(**asked))["approvals"]["count"] == 0
            payout = await payer.payouts.create(**asked, idempotency_key="async")
            assert (await payer.payouts.get(payout["id"]))["id"] == payout["id"]
            assert (await payer.payouts.evidence(payout["id"]))["idempotency_key"] == "async"
            assert [each["id"] async for each in payer.payouts.list(beneficiary=payee["id"])] == [payout["id"]]
            assert (await payer.payouts.cancel(payout["id"], idempotency_key="async"))["cancel_requested"]
            run = await payer.runs.create([debt(real, moved) for _ in range(3)], idempotency_key="async-run")
            assert (await payer.runs.get(run["id"]))["seal"] == run["seal"]
            assert len([each async for each in payer.runs.items(run["id"])]) == 3
            assert run["id"] in [each["id"] async for each in payer.runs.list()]
            assert (await payer.runs.cancel(run["id"], idempotency_key="async-run"))["state"] == "cancel_requested"
            preview = await payer.runs.preview_file(b"beneficiary,asset,amount,external_id\n")
            assert preview["rows"] == []

    asyncio.run(story())


def test_many_calls_at_once_share_a_client(real: RealApi, rosa: dict[str, Any]) -> None:
    async def story() -> int:
        async with real.async_client("payouts") as payer:
            made = await asyncio.gather(*(payer.payouts.create(**debt(real, rosa, amount=1)) for _ in range(40)))
            return len({each["id"] for each in made})

    assert asyncio.run(story()) == 40
