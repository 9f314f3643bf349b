"""What clients signed is taken once, row by row, as what it is, and nothing else is."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.rules.cases import OLD_MS, SMALL, Run
from tests.signer.entries import kinds
from tests.signer.world import (
    ADA,
    DECLARE_KEY,
    DECLARER,
    ORGANISATION,
    OTTO,
    PAY_KEY,
    PIA,
    AskRefused,
    Keys,
    World,
    payee,
    roster,
)

from strongroom.domain.ids import ClientId, IdempotencyKey, KeyId
from strongroom.domain.permissions import Permission
from strongroom.formats import simulated
from strongroom.protocol.canonical import parse_object
from strongroom.protocol.client_request import ClientEvidence
from strongroom.protocol.destination_record import DestinationRecord, destination_digest
from strongroom.protocol.entry import Kind
from strongroom.protocol.identifier import beneficiary_id, run_id
from strongroom.protocol.roster import RosterClient, RosterKey
from strongroom.protocol.signer_wire import Ask
from strongroom.signer.register import ROWS_MAXIMUM


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def rows(world: World, ask: Ask, *evidence: ClientEvidence) -> list[Any]:
    return list(world.ask(ask, evidence=[each.document() for each in evidence]))


def declared(world: World, key: str, **body: Any) -> ClientEvidence:
    content = {"name": "Payee", "destination": {"network": simulated.NETWORK, "address": payee(key)}} | body
    return world.request("/v1/beneficiaries", content, key, world.keys.declarer, DECLARE_KEY)


def version(world: World, before: DestinationRecord, number: int, address: str) -> ClientEvidence:
    body = {
        "network": simulated.NETWORK, "address": address, "version": number,
        "previous": destination_digest(before.encode()),
    }
    path = f"/v1/beneficiaries/{before.beneficiary}/destinations"
    return world.request(path, body, f"v{number}{address}", world.keys.declarer, DECLARE_KEY)


def refused(row: Any, rule: str, reason: str) -> bool:
    return set(row) == {"refused"} and row["refused"]["rule"] == rule and reason in row["refused"]["reason"]


# Destinations.


def test_a_destination_declared_again_is_the_same_one_and_cools_from_its_first_day(world: World) -> None:
    evidence = declared(world, "one")
    (first,) = rows(world, Ask.DESTINATIONS, evidence)
    seen = world.payments.destinations[first["digest"]].seen
    world.pass_by(1_000)
    assert rows(world, Ask.DESTINATIONS, evidence, evidence) == [first, first]
    assert world.payments.destinations[first["digest"]].seen == seen
    assert kinds(world.journal).count(Kind.DESTINATIONS) == 1


def test_the_same_destination_twice_at_once_is_kept_once(world: World) -> None:
    evidence = declared(world, "one")
    first, second = rows(world, Ask.DESTINATIONS, evidence, evidence)
    assert first == second
    assert len(world.payments.destinations) == 1


def test_one_bad_row_doesnt_fail_the_others(world: World) -> None:
    answer = rows(
        world, Ask.DESTINATIONS, declared(world, "one"), declared(world, "two", colour="red"), declared(world, "three")
    )
    assert [set(row) for row in answer] == [{"digest"}, {"refused"}, {"digest"}]
    assert refused(answer[1], "intent-signed", "colour: is unknown")


def test_a_body_that_isnt_canonical_json_is_refused_by_its_row(world: World) -> None:
    evidence = declared(world, "one")
    (row,) = rows(world, Ask.DESTINATIONS, replace(evidence, body=b"{"))
    assert refused(row, "intent-signed", "")
    assert not world.payments.destinations


@pytest.mark.parametrize("at_once", [False, True])
def test_a_version_is_one_destination_for_ever(world: World, at_once: bool) -> None:
    """The declaring key signs two second versions: the first to come is the one."""
    record = world.beneficiary()
    versions = [version(world, record, 2, payee(name)) for name in ("here", "there")]
    if at_once:
        answer = rows(world, Ask.DESTINATIONS, *versions)
    else:
        answer = [row for each in versions for row in rows(world, Ask.DESTINATIONS, each)]
    assert set(answer[0]) == {"digest"}
    assert refused(answer[1], "destination-known", "has another version 2 already")


def test_nobody_moves_a_beneficiary_that_another_client_declared(tmp_path: Path) -> None:
    first, keys = roster(), Keys()
    key = RosterKey(KeyId("ak_" + "o" * 26), bytes(keys.checkpoint.verify_key), (Permission.BENEFICIARIES_CREATE,))
    other = RosterClient(ClientId("cl_" + "o" * 26), (key,), ())
    world = World(tmp_path, made_roster=replace(first, clients=(*first.clients, other)))
    record = world.beneficiary()
    own = version(world, record, 2, payee("moved"))
    path = f"/v1/beneficiaries/{record.beneficiary}/destinations"
    (row,) = rows(world, Ask.DESTINATIONS, world.request(path, parse_object(own.body), "x", keys.checkpoint, key.id))
    assert refused(row, "destination-known", "isn't a beneficiary that cl_")
    assert set(rows(world, Ask.DESTINATIONS, own)[0]) == {"digest"}


def test_nobody_declares_a_version_of_what_was_never_declared(world: World) -> None:
    record = world.beneficiary()
    unknown = replace(record, beneficiary=beneficiary_id(ORGANISATION, DECLARER, IdempotencyKey("never")))
    (row,) = rows(world, Ask.DESTINATIONS, version(world, unknown, 2, payee("x")))
    assert refused(row, "destination-known", "isn't a beneficiary that cl_")


def test_many_are_kept_in_entries_that_can_hold_them_and_survive_a_restart(world: World) -> None:
    count = ROWS_MAXIMUM + 1
    answer = rows(world, Ask.DESTINATIONS, *(declared(world, f"payee-{number}") for number in range(count)))
    assert len({row["digest"] for row in answer}) == count
    assert kinds(world.journal).count(Kind.DESTINATIONS) == 2
    world.notary.agree()
    world.restart()
    assert set(world.payments.destinations) == {row["digest"] for row in answer}


# Payouts.


def paid(world: World, key: str, to: DestinationRecord, **changes: Any) -> ClientEvidence:
    return world.payout_evidence(world.payout_body(to, SMALL, **changes), key)


def test_evidence_for_something_else_is_refused_by_its_row(world: World) -> None:
    record = world.cooled()
    (row,) = rows(world, Ask.INTENTS, declared(world, "one"))
    assert refused(row, "intent-signed", "a request to beneficiary isn't one for this")
    (row,) = rows(world, Ask.DESTINATIONS, paid(world, "k", record))
    assert refused(row, "intent-signed", "a request to payout isn't one for this")


def test_the_same_payout_twice_at_once_is_one(world: World) -> None:
    evidence = paid(world, "k", world.cooled())
    first, second = rows(world, Ask.INTENTS, evidence, evidence)
    assert first == second
    assert len(world.payments.intents) == 1


def test_two_payouts_of_one_key_at_once_are_the_first(world: World) -> None:
    record = world.cooled()
    first, second = rows(
        world, Ask.INTENTS, paid(world, "k", record, external_id="a"), paid(world, "k", record, external_id="b")
    )
    assert set(first) == {"payout"}
    assert refused(second, "intent-first", "was asked for by another request first")


def test_two_payouts_of_one_debt_at_once_are_the_first(world: World) -> None:
    record = world.cooled()
    first, second = rows(
        world, Ask.INTENTS, *(paid(world, key, record, external_id="trip") for key in ("one", "two"))
    )
    assert set(first) == {"payout"}
    assert refused(second, "debt-once", "'trip' is asked for twice")


def test_what_a_person_asks_for_counts_as_theirs_and_survives_a_restart(world: World) -> None:
    record = world.declared_by(PIA)
    world.pass_by(OLD_MS)
    payout = world.intent_of(OTTO, record, SMALL)
    run = Run(world, [5_000], person=OTTO).sealed()
    world.notary.agree()
    world.restart()
    known = world.payments.intents[payout]
    assert (known.key, known.intent.client) == (OTTO.id, OTTO.id)
    assert world.payments.destinations[known.intent.destination_digest].declared_by == PIA.id
    assert (world.payments.runs[run.id].key, world.payments.runs[run.id].client) == (OTTO.id, OTTO.id)
    assert world.sign([payout], approvals=[world.approved(payout, ADA)])
    assert (world.payments.paid[payout].client, world.payments.paid[payout].key) == (OTTO.id, OTTO.id)


def test_a_person_and_a_client_under_one_key_are_two_payouts(world: World) -> None:
    record = world.cooled()
    by_client, by_person = world.intent(record, SMALL, key="own"), world.intent_of(OTTO, record, SMALL)
    assert by_client != by_person
    assert set(world.payments.intents) == {by_client, by_person}


def test_what_was_paid_in_a_run_isnt_asked_for_again_alone(world: World) -> None:
    run = Run(world, [5_000]).sealed()
    run.pay(0)
    (row,) = rows(world, Ask.INTENTS, paid(world, "item-0", run.records[0]))
    assert refused(row, "intent-first", "was paid as an item of a run")


# Runs.


def run_call(world: World, run: Run, **changes: Any) -> ClientEvidence:
    body = {"items": run.items, "seal": run.seal} | changes
    return world.request("/v1/payout-runs", body, "run", world.keys.payer, PAY_KEY)


def test_a_run_sealed_again_is_the_same_one(world: World) -> None:
    run = Run(world, [5_000, 6_000])
    for _ in range(2):
        world.take_run(run_call(world, run))
        run.sealed()
    assert set(world.payments.runs) == {run.id}
    assert kinds(world.journal).count(Kind.RUN) == 1


def test_a_run_is_sealed_once(world: World) -> None:
    run = Run(world, [5_000, 6_000]).sealed()
    with pytest.raises(AskRefused, match=f"intent-first: {run.id} was sealed otherwise first"):
        world.take_run(run_call(world, Run(world, [5_000, 7_000])))
    assert world.payments.runs[run.id].seal.totals == {simulated.ASSET: 11_000}


@pytest.mark.parametrize(("change", "reason"), [
    (lambda run: {"items": run.items[:1]}, "seal.count: is 2, and the run has 1 items"),
    (lambda run: {"items": [run.items[0], {**run.items[1], "amount": "1"}]}, "seal.totals"),
    (lambda run: {"items": run.items[::-1]}, "seal.root: isn't the root of the items"),
    (lambda run: {"items": [run.items[0], "x"]}, r"items\[1\]: must be an object"),
    (lambda run: {"items": [run.items[0], {**run.items[1], "amount": 1}]}, r"items\[1\].amount: must be a string"),
    (lambda run: {"items": {}}, "seal.count: is 2, and the run has 0 items"),
    (lambda run: {"seal": {**run.seal, "count": 0}}, "seal.count: must be an integer"),
    (lambda run: {"seal": None}, "seal: must be an object"),
])
def test_a_run_of_one_call_says_what_its_items_say(world: World, change: Any, reason: str) -> None:
    run = Run(world, [5_000, 6_000])
    with pytest.raises(AskRefused, match=reason):
        world.take_run(run_call(world, run, **change(run)))
    assert not world.payments.runs


def test_a_payout_isnt_a_run(world: World) -> None:
    with pytest.raises(AskRefused, match="a request to payout isn't one for this"):
        world.take_run(paid(world, "k", world.cooled()))


def test_a_key_that_only_declares_seals_no_run(world: World) -> None:
    run = Run(world, [5_000])
    evidence = world.request(f"/v1/payout-runs/{run.id}/seal", run.seal, "seal", world.keys.declarer, DECLARE_KEY)
    with pytest.raises(AskRefused, match="intent-scope"):
        world.take_run(evidence)


def test_a_seal_counts_for_the_client_that_signed_it(world: World) -> None:
    """Its items are derived for that client: nobody's payout can be made another's."""
    run = Run(world, [5_000]).sealed()
    known = world.payments.runs[run.id]
    assert (known.client, known.key) == ("cl_" + "p" * 26, PAY_KEY)
    assert run.id == run_id(ORGANISATION, known.client, IdempotencyKey("run"))
