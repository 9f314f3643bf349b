"""Who may ask the signer what, what it answers to anything else, and what stays when guard doesn't agree."""

from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest
from tests.rules.cases import SMALL, small
from tests.signer.entries import kinds
from tests.signer.world import CLEO, DECLARE_KEY, ORGANISATION, AskRefused, World, policy_document

from strongroom.formats import simulated
from strongroom.protocol.canonical import encode
from strongroom.protocol.client_request import ClientEvidence
from strongroom.protocol.entry import Kind
from strongroom.protocol.guard_wire import Lease
from strongroom.protocol.negative import Action
from strongroom.protocol.signer_ask import read_answer, write_ask
from strongroom.protocol.signer_wire import ITEMS_MAXIMUM, Ask, RefusedAnswer
from strongroom.signer import sign_simulated
from strongroom.signer.desk import ADDRESSES_MAXIMUM, ADMIN, ENGINE, PATH_MAXIMUM


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def refusal(world: World, channel: str, frame: bytes) -> RefusedAnswer:
    answer = read_answer(world.desk.answer(channel, frame))
    assert isinstance(answer, RefusedAnswer)
    return answer


def asked(world: World, ask: Ask, channel: str = ENGINE, **body: Any) -> Any:
    """As it stands, without an organisation beside."""
    answer = read_answer(world.desk.answer(channel, write_ask(ask, body)))
    if isinstance(answer, RefusedAnswer):
        raise AskRefused(answer.rule, answer.reason)
    return answer


def test_the_admin_socket_lets_in_and_looks_and_asks_for_no_money(world: World) -> None:
    refused = {
        channel: {ask for ask in Ask if "isn't asked here" in refusal(world, channel, write_ask(ask, {"x": 1})).reason}
        for channel in (ENGINE, ADMIN)
    }
    assert refused[ENGINE] == {Ask.ORGANISATION, Ask.ROTATE, Ask.RECOVER}
    assert refused[ADMIN] == set(Ask) - {Ask.STATUS, Ask.ADDRESSES, Ask.ORGANISATION, Ask.ROTATE, Ask.RECOVER}


@pytest.mark.parametrize(("frame", "reason"), [
    (b"", "JSON"),
    (b"\xff", "UTF-8"),
    (b"[]", "must be a JSON object"),
    (b"{}", "type: is missing"),
    (b'{"type":"strongroom/ask/sign-hash/v1"}', "type: isn't anything that the signer is asked"),
    (write_ask(Ask.STATUS, {"verbose": True}), "verbose: is unknown"),
    (write_ask(Ask.REQUEST, {"subject": "x"}), "organisation: is missing"),
    (write_ask(Ask.REQUEST, {"subject": "x", "organisation": "org_x"}), "organisation: "),
    (write_ask(Ask.REQUEST, {"organisation": ORGANISATION}), "subject: is missing"),
])
def test_a_frame_that_is_nothing_is_refused_with_its_field_and_the_desk_goes_on(
    world: World, frame: bytes, reason: str
) -> None:
    answer = refusal(world, ENGINE, frame)
    assert answer.rule == "operation-known"
    assert reason in answer.reason
    assert asked(world, Ask.STATUS)["deployment"] == world.book.deployment


@pytest.mark.parametrize("ask", [Ask.DESTINATIONS, Ask.INTENTS])
@pytest.mark.parametrize("evidence", [None, {}, [], [["", "", ""]] * (ITEMS_MAXIMUM + 1)])
def test_evidence_is_a_list_of_a_bounded_length(world: World, ask: Ask, evidence: Any) -> None:
    with pytest.raises(AskRefused, match=f"evidence: must be a list of 1 to {ITEMS_MAXIMUM}"):
        world.ask(ask, evidence=evidence)


def test_bad_evidence_is_named_by_its_place(world: World) -> None:
    good = world.payout_evidence(world.payout_body(world.cooled(), SMALL), "k").document()
    with pytest.raises(AskRefused, match=r"evidence\[1\]\[2\]: must be base64"):
        world.ask(Ask.INTENTS, evidence=[good, ["", "", "!"]])
    with pytest.raises(AskRefused, match=r"evidence\[0\]: must be a list of base, signature and body"):
        world.ask(Ask.INTENTS, evidence=[["", ""]])
    assert not world.payments.intents


def test_status_says_what_is_in_force(world: World) -> None:
    signed, dead = small(world), small(world)
    world.sign([signed])
    world.guard.instruct(Action.FREEZE, "asset:iso4217:EUR", CLEO)
    for payout in (signed, dead):
        world.guard.instruct(Action.CANCEL, payout, CLEO)
    world.desk.idle()
    standing = world.payments.standing
    for channel in (ENGINE, ADMIN):
        assert asked(world, Ask.STATUS, channel) == {
            "control_length": 3, "deployment": world.book.deployment, "journal_head": world.journal.head.hex(),
            "journal_length": world.journal.length, "lease": "all",
            "organisations": {ORGANISATION: {
                "freeze_epoch": 1, "frozen": ["asset:iso4217:EUR"], "pending": {}, "policy": standing.policy_hash,
                "roster": standing.roster_hash, "taken_back": [signed],
            }},
        }


def test_idle_hears_a_freeze_before_anybody_pays(world: World) -> None:
    world.guard.instruct(Action.FREEZE, "organisation", CLEO)
    assert not world.payments.standing.frozen
    world.desk.idle()
    assert world.payments.standing.frozen == {"organisation"}
    assert world.notary.lease is Lease.ALL


def test_idle_without_guard_goes_on_and_the_lease_runs_out(world: World) -> None:
    world.desk.idle()
    world.guard.is_reachable = False
    world.desk.idle()
    assert world.notary.lease is Lease.ALL
    world.pass_by(120_000)
    world.desk.idle()
    assert world.notary.lease is Lease.NONE
    assert asked(world, Ask.STATUS)["lease"] == "none"


# Addresses.


def test_addresses_are_the_wallets_own_from_the_first_one_asked_for(world: World) -> None:
    world.sign([small(world)])
    for channel in (ENGINE, ADMIN):
        answer = world.ask(Ask.ADDRESSES, channel, network=simulated.NETWORK, first=3, generation=0, count=2)
        assert answer == {
            "addresses": [world.wallet.address(ORGANISATION, 0, index) for index in (3, 4)], "change_next": 1,
            "former": [],
        }
    assert world.ask(Ask.ADDRESSES, network=simulated.NETWORK, first=PATH_MAXIMUM, generation=0, count=1)["addresses"]


def test_a_rotation_is_the_admins_lasts_and_says_how_far_change_went(world: World) -> None:
    body = {"network": simulated.NETWORK, "generation": 1}
    with pytest.raises(AskRefused, match="isn't asked here"):
        world.ask(Ask.ROTATE, **body)
    world.sign([small(world)])
    world.rotate(1)
    assert kinds(world.journal)[-1] is Kind.ROTATED
    assert world.guard.head == world.notary.head
    length = world.journal.length
    world.rotate(1)
    assert world.journal.length == length
    answer = world.ask(Ask.ADDRESSES, network=simulated.NETWORK, first=0, generation=1, count=1)
    assert answer == {"addresses": [world.wallet.address(ORGANISATION, 1, 0)], "change_next": 0, "former": [1]}


@pytest.mark.parametrize(("changes", "reason"), [
    ({"generation": 0}, "generation: must be an integer"), ({"generation": 2}, "bytes-change: change goes to"),
    ({"network": "eip155:1"}, "bytes-read: there is no wallet"), ({"x": 1}, "x: is unknown"),
    ({"organisation": "org_" + "z" * 26}, "organisation-known"),
])
def test_a_rotation_of_nothing_is_refused(world: World, changes: dict[str, Any], reason: str) -> None:
    length = world.journal.length
    with pytest.raises(AskRefused, match=reason):
        world.ask(Ask.ROTATE, ADMIN, **{"network": simulated.NETWORK, "generation": 1} | changes)
    assert world.journal.length == length


def test_a_rotation_that_guard_hasnt_heard_of_isnt_said_to_be_done(world: World) -> None:
    world.guard.is_reachable = False
    with pytest.raises(AskRefused, match="guard-agrees"):
        world.rotate(1)
    world.guard.is_reachable = True
    world.rotate(1)


def test_however_many_addresses_are_asked_for_few_are_remembered(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sign_simulated, "ADDRESSES_MAXIMUM", 3)
    wallet = sign_simulated.SimulatedWallet(world.store)
    first = [wallet.address(ORGANISATION, 0, index) for index in range(9)]
    assert wallet.address.cache_info().currsize == 3
    assert [wallet.address(ORGANISATION, 0, index) for index in range(9)] == first == world.ask(
        Ask.ADDRESSES, network=simulated.NETWORK, first=0, generation=0, count=9)["addresses"]


@pytest.mark.parametrize(("changes", "reason"), [
    ({"first": -1}, "first: must be an integer"),
    ({"first": PATH_MAXIMUM + 1}, "first: must be an integer"),
    ({"count": 0}, "count: must be an integer"),
    ({"count": ADDRESSES_MAXIMUM + 1}, "count: must be an integer"),
    ({"network": "bip122:000000000019d6689c085ae165831e93"}, "bytes-read: there is no wallet"),
    ({"network": ""}, "network: must be a string"),
    ({"generation": -1}, "generation: must be an integer"),
    ({"index": 1}, "index: is unknown"),
])
def test_addresses_are_bounded_and_of_known_networks(world: World, changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(AskRefused, match=reason):
        world.ask(Ask.ADDRESSES, **{"network": simulated.NETWORK, "first": 0, "generation": 0, "count": 1} | changes)


# A client's own cancel.


def cancel(world: World, subject: str, key: str, **how: Any) -> ClientEvidence:
    folder = "payout-runs" if subject.startswith("run_") else "payouts"
    signed = {"signed_by": world.keys.payer, "key_id": "ak_" + "p" * 26} | how
    return world.request(f"/v1/{folder}/{subject}/cancel", {"idempotency_key": key}, "cancel", **signed)


def cancelled(world: World, evidence: ClientEvidence) -> Any:
    return world.ask(Ask.CANCEL, evidence=evidence.document())


def test_a_client_cancels_its_own_payout_and_gets_the_same_word_again(world: World) -> None:
    payout = small(world, key="k")
    evidence = cancel(world, payout, "k")
    receipt = cancelled(world, evidence)
    assert receipt == cancelled(world, evidence) == world.ask(Ask.RECEIPT, object=payout)
    assert kinds(world.journal).count(Kind.TOMBSTONE) == 1
    with pytest.raises(AskRefused, match="intent-alive"):
        world.sign([payout])


def test_a_payout_that_was_signed_isnt_cancelled(world: World) -> None:
    payout = small(world, key="k")
    world.sign([payout])
    with pytest.raises(AskRefused, match="payout-once"):
        cancelled(world, cancel(world, payout, "k"))
    assert payout not in world.payments.dead


@pytest.mark.parametrize("wrong", ["another key", "a key that may only declare", "another's payout", "a payout"])
def test_a_cancel_that_isnt_the_clients_own_does_nothing(world: World, wrong: str) -> None:
    payout = small(world, key="k")
    evidence = {
        "another key": lambda: cancel(world, payout, "k", signed_by=world.keys.declarer),
        "a key that may only declare": lambda: cancel(
            world, payout, "k", signed_by=world.keys.declarer, key_id=DECLARE_KEY
        ),
        "another's payout": lambda: cancel(world, payout, "another"),
        "a payout": lambda: world.payout_evidence(world.payout_body(world.cooled(), SMALL), "other"),
    }[wrong]()
    with pytest.raises(AskRefused, match="intent-signed"):
        cancelled(world, evidence)
    assert world.sign([payout])


# When guard doesn't agree.


def test_a_spend_that_guard_didnt_cosign_is_given_up_in_writing_and_may_be_asked_again(world: World) -> None:
    payout = world.intent(world.cooled(), 1_000)
    world.guard.before_spend = lambda: world.guard.instruct(Action.FREEZE, "asset:iso4217:EUR", CLEO)
    with pytest.raises(AskRefused, match="guard-agrees: instructions came after the decision"):
        world.sign([payout])
    assert kinds(world.journal)[-3:] == [Kind.SPEND, Kind.CONTROL, Kind.ABANDONED]
    assert payout not in world.payments.paid
    assert world.sign([payout])
    assert kinds(world.journal)[-1] is Kind.SPEND


def test_nothing_is_asked_of_the_gate_while_guard_is_away(world: World) -> None:
    payout = small(world)
    world.guard.is_reachable = False
    length = world.journal.length
    with pytest.raises(AskRefused, match="guard-agrees: cut off"):
        world.sign([payout])
    assert world.journal.length == length


# What is asked to be signed.


@pytest.mark.parametrize(("item", "reason"), [
    ({}, "leaf: is missing"),
    ({"leaf": "!"}, r"items\[0\].leaf: must be base64"),
    ({"leaf": "", "run": "run_x", "proof": [["zz"]]}, r"items\[0\].proof: must be hashes in hex"),
    ({"leaf": "", "run": "run_x", "proof": [["00", "11"]]}, r"items\[0\].proof\[0\]: must be a list of 1 strings"),
    ({"payout": "po_x", "run": "run_x"}, r"items\[0\].run: is unknown"),
])
def test_an_item_is_a_payout_or_a_place_in_a_run(world: World, item: dict[str, Any], reason: str) -> None:
    raw, _ = world.transaction([world.output(small(world))])
    with pytest.raises(AskRefused, match=reason):
        world.sign([], raw=raw, items=[item])


def test_an_approval_with_more_than_belongs_to_it_is_refused(world: World) -> None:
    payout = small(world)
    given = {"subject": payout, "request": b64encode(encode({})).decode(), "assertions": [], "by": "engine"}
    with pytest.raises(AskRefused, match=r"approvals\[0\].by: is unknown"):
        world.sign([payout], approvals=[given])


def test_a_payment_for_an_unknown_organisation_is_refused(world: World) -> None:
    payout = small(world)
    raw, _ = world.transaction([world.output(payout)])
    with pytest.raises(AskRefused, match="organisation-known"):
        world.ask(
            Ask.SIGN, organisation="org_" + "z" * 26, operation="pay", network=simulated.NETWORK,
            transaction=b64encode(raw).decode(), paths=[{"generation": 0, "index": 0}], items=[{"payout": payout}],
            approvals=[],
        )


def test_a_network_without_a_wallet_in_the_policy_is_refused(tmp_path: Path) -> None:
    wallet = policy_document()["wallets"][0]
    world = World(tmp_path, policy_document(wallets=[{**wallet, "network": "eip155:31337"}]))
    with pytest.raises(AskRefused, match=r"bytes-read: the policy has no wallet on sim:sandbox"):
        world.sign([small(world)])
