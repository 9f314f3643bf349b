"""The engine hands on what people ask for as it does what clients do, and has items approved that need more than their
run."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import Database
from tests.engine.road import Road, _request, open_road
from tests.rails.chain import Chain
from tests.signer.world import ADA, BEN, CLEO, ORGANISATION, OTTO, PIA, Human

from strongroom.domain.document import Fields
from strongroom.domain.ids import ClientId, IdempotencyKey, KeyId
from strongroom.engine import triage
from strongroom.engine.intake import _in_batches
from strongroom.protocol.approval import assertion_document
from strongroom.protocol.canonical import encode
from strongroom.protocol.destination_record import destination_digest
from strongroom.protocol.identifier import beneficiary_id, payout_id
from strongroom.protocol.intent import read_beneficiary
from strongroom.protocol.request import INTENT_TYPE
from strongroom.protocol.signer_wire import Ask
from strongroom.store.record import BeneficiaryRequest, Caller, Evidence
from strongroom.store.registering import Unregistered


def test_a_persons_evidence_is_shown_to_the_signer_and_its_answer_kept(
    tmp_path: Path, database: Database, chain: Chain
) -> None:
    async def go() -> None:
        async with open_road(tmp_path, database, chain) as road:
            world = road.world
            record = await road.declare("payee")
            await road.go()
            body = world.payout_body(record, 20_000)
            asked = {person.id: world.person_request(person, "/v1/payouts", body, "own") for person in (OTTO, CLEO)}
            rows = [Unregistered(person, ORGANISATION, evidence, 0) for person, evidence in asked.items()]
            assert await _in_batches(road.bench, Ask.INTENTS, rows)
            assert destination_digest(record.encode()) in world.payments.destinations
            assert [each.intent.client for each in world.payments.intents.values()] == [OTTO.id]
            (kept,) = await road.fetch("SELECT object FROM strongroom.registrations WHERE object LIKE 'pe_%'")
            (refused,) = await road.fetch("SELECT object, rule FROM strongroom.refusals")
            assert (kept["object"], tuple(refused)) == (OTTO.id, (CLEO.id, "intent-scope"))

    asyncio.run(go())


async def asks(road: Road, person: Human, path: str, body: Any, key: str) -> Evidence:
    """As the API records what a person asked for."""
    made = road.world.person_request(person, path, body, key)
    return Evidence("POST", path, "", IdempotencyKey(key), made.record, encode(assertion_document(made.given)),
                    encode(body), road.now())


def test_what_a_person_asks_for_small_as_it_is_waits_for_another_and_is_paid(
    tmp_path: Path, database: Database, chain: Chain
) -> None:
    """PIA is operator and approver; wants to pay herself what needs nobody by its tier. The bound is 0 without ADA."""
    small = 1_000

    async def go() -> None:
        async with open_road(tmp_path, database, chain) as road:
            caller = Caller(ORGANISATION, ClientId(PIA.id), KeyId(PIA.id))
            where = {"address": road.address_of("own"), "network": road.network}
            declaration = {"destination": where, "name": "Payee own"}
            beneficiary = beneficiary_id(ORGANISATION, PIA.id, IdempotencyKey("to-own"))
            record = read_beneficiary(Fields(declaration), ORGANISATION, beneficiary)
            request = BeneficiaryRequest(beneficiary, IdempotencyKey("to-own"), None, record)
            evidence = await asks(road, PIA, "/v1/beneficiaries", declaration, "to-own")
            assert not hasattr(await road.intake.declare(caller, request, evidence), "code")
            road.destinations["own"] = record
            body = road.world.payout_body(record, small, external_id="own")
            payout = payout_id(ORGANISATION, PIA.id, IdempotencyKey("pay-own"))
            asked = _request(payout, "pay-own", body, record)
            made = await road.intake.pay(caller, asked, await asks(road, PIA, "/v1/payouts", body, "pay-own"))
            assert not hasattr(made, "code"), made
            road.payouts["own"] = payout
            await road.go()
            assert (await road.states())["own"] == "awaiting_approval"
            await road.approve("own", PIA)
            await road.go()
            chain.mine(3)
            await road.go()
            assert (await road.states())["own"].startswith("awaiting_approval")
            assert road.received() == {}
            await road.approve("own", ADA)
            await road.go()
            chain.mine(3)
            await road.go()
            assert (await road.states())["own"] == "settled"
            assert road.received() == {"own": [small]}

    asyncio.run(go())


def test_evidence_of_a_person_that_was_altered_in_the_record_pays_nobody(
    tmp_path: Path, database: Database, chain: Chain
) -> None:
    """The attacker writes to the database; the assertion it puts there is none, or another's."""

    async def go() -> None:
        async with open_road(tmp_path, database, chain) as road:
            record = await road.declare("payee")
            await road.go()
            caller = Caller(ORGANISATION, ClientId(OTTO.id), KeyId(OTTO.id))
            for number, spoilt in enumerate((b"{}", b"[", encode(assertion_document(
                OTTO.asserts(b"another", INTENT_TYPE))))):
                body = road.world.payout_body(record, 1_000, external_id=f"o{number}")
                payout = payout_id(ORGANISATION, OTTO.id, IdempotencyKey(f"o{number}"))
                evidence = (await asks(road, OTTO, "/v1/payouts", body, f"o{number}"))._replace(signature=spoilt)
                await road.intake.pay(caller, _request(payout, f"o{number}", body, record), evidence)
                road.payouts[f"o{number}"] = payout
            await road.go()
            states = await road.states()
            assert all(each.endswith("intent-signed") for each in states.values()), states
            chain.mine(2)
            await road.go()
            assert road.received() == {}

    asyncio.run(go())


def test_an_item_that_needs_people_when_its_run_doesnt_is_approved_and_paid(
    tmp_path: Path, database: Database, chain: Chain
) -> None:
    """The day's sum to one address raises the item's tier, and the run's total doesn't say so."""

    async def state(road: Road) -> str:
        rows = await road.fetch("SELECT state FROM strongroom.payouts WHERE id = $1", road.payouts["run.0"])
        return str(rows[0]["state"])

    async def go() -> None:
        async with open_road(tmp_path, database, chain) as road:
            await road.pay("run.0", 20_000)
            await road.go()
            await road.begin_run("run", 1, 20_000)
            await road.seal_run("run")
            await road.go()
            assert await state(road) == "awaiting_approval"
            await road.approve("run", ADA)
            chain.mine(1)
            await road.go()
            chain.mine(3)
            await road.go()
            assert await state(road) == "settled"
            assert road.received() == {"run.0": [20_000, 20_000]}

    asyncio.run(go())


def test_an_item_that_needs_two_people_when_its_run_needs_one_says_so_and_is_paid_when_both_answered(
    tmp_path: Path, database: Database, chain: Chain
) -> None:
    """The first of them is enough for the run's total, and not for so much to a young destination."""

    async def stands(road: Road) -> tuple[str, str, str]:
        (row,) = await road.fetch(
            "SELECT state, status_code, status_detail FROM strongroom.payouts WHERE id = $1", road.payouts["run.0"]
        )
        return str(row["state"]), str(row["status_code"]), str(row["status_detail"])

    async def go() -> None:
        async with open_road(tmp_path, database, chain) as road:
            await road.begin_run("run", 1, 200_000)
            await road.seal_run("run")
            await road.go()
            await road.approve("run", ADA)
            await road.go()
            state, code, detail = await stands(road)
            assert (state, code) == ("awaiting_approval", "approval-enough")
            assert "2" in detail
            await road.approve("run", BEN)
            await road.go()
            chain.mine(3)
            await road.go()
            assert (await stands(road))[0] == "settled"
            assert road.received() == {"run.0": [200_000]}

    asyncio.run(go())


def test_an_approval_that_comes_while_it_is_written_down_that_nobody_answered_yet_is_heard(
    tmp_path: Path, database: Database, chain: Chain, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who approves between the engine's look and its note to look again in an hour would else wait for that hour."""
    waited, answered = triage.store.wait, []

    async def go() -> None:
        async with open_road(tmp_path, database, chain) as road:

            async def wait(*arguments: Any, **more: Any) -> None:
                rows = await road.fetch("SELECT FROM strongroom.approval_requests")
                if rows and not answered:
                    answered.append(True)
                    await road.approve("run", ADA)
                await waited(*arguments, **more)

            monkeypatch.setattr(triage.store, "wait", wait)
            await road.begin_run("run", 2, 20_000)
            await road.seal_run("run")
            await road.go()
            assert answered
            chain.mine(3)
            await road.go()
            rows = await road.fetch("SELECT DISTINCT state FROM strongroom.payouts")
            assert [row["state"] for row in rows] == ["settled"]

    asyncio.run(go())
