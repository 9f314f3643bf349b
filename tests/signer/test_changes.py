"""Changes of roster and policy: who may make one, how long it waits, what ends it, and what it bars."""

from base64 import b64encode
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.rules.cases import MIDDLE, old, small
from tests.signer.entries import kinds
from tests.signer.world import (
    ADA,
    BEN,
    CLEO,
    DAN,
    DECLARER,
    ORGANISATION,
    PAY_KEY,
    PAYER,
    PEOPLE,
    START,
    TESS,
    AskRefused,
    Human,
    World,
    policy_document,
    roster,
)

from strongroom.domain.ids import KeyId
from strongroom.domain.instant import DAY_MS, HOUR_MS
from strongroom.domain.permissions import Permission
from strongroom.domain.policy import POLICY_TYPE
from strongroom.protocol.approval import assertion_document
from strongroom.protocol.canonical import encode, parse_object
from strongroom.protocol.entry import Kind, read_entry
from strongroom.protocol.negative import Action
from strongroom.protocol.record_writer import write_roster
from strongroom.protocol.roster import ROSTER_TYPE, Role, Roster, RosterKey, roster_hash
from strongroom.protocol.signer_ask import read_answer, write_ask
from strongroom.protocol.signer_wire import Ask, RefusedAnswer
from strongroom.protocol.standing import policy_hash
from strongroom.signer.desk import ADMIN, ENGINE

DELAY_MS = 5_000
RISK = {"above_reference_minor": "25000", "young_for_ms": 1}
PROMOTED = replace(CLEO, roles=(Role.OFFICER, Role.APPROVER), groups=("officers", "treasury"))
"""An officer who may approve as well: only for such a person does it matter who proposed."""


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def promoted_world(folder: Path) -> World:
    first = roster()
    people = tuple(PROMOTED.person() if each.id == CLEO.id else each for each in first.people)
    return World(folder, made_roster=replace(first, people=people))


def next_roster(world: World, **changes: Any) -> bytes:
    standing = world.payments.standing
    follows = {"version": standing.roster.version + 1, "previous": standing.roster_hash}
    return write_roster(replace(standing.roster, **follows | changes))


def next_policy(world: World, **changes: Any) -> bytes:
    standing = world.payments.standing
    return encode(policy_document(version=standing.policy.version + 1, previous=standing.policy_hash) | changes)


def propose(world: World, document: str, raw: bytes, *people: Human, given: Any = None) -> Any:
    record_type = ROSTER_TYPE if document == "roster" else POLICY_TYPE
    assertions = given or [assertion_document(each.asserts(raw, record_type)) for each in people or (CLEO, DAN)]
    return world.ask(Ask.CHANGE, document=document, raw=b64encode(raw).decode(), assertions=assertions)


def without_tess(world: World) -> bytes:
    people = tuple(each for each in world.payments.standing.roster.people if each.id != TESS.id)
    return next_roster(world, people=people)


def version(world: World) -> int:
    return int(world.payments.standing.roster.version)


# The quorum, the delay, the veto.


def test_a_roster_change_waits_out_its_delay_from_when_guard_told_everybody(world: World) -> None:
    raw = without_tess(world)
    answer = propose(world, "roster", raw)
    assert answer == {"change": roster_hash(raw), "organisation": ORGANISATION, "delay_ms": DELAY_MS}
    assert kinds(world.journal)[-2:] == [Kind.CHANGE, Kind.NOTICED]
    world.pass_by(DELAY_MS - 1)
    world.desk.idle()
    assert version(world) == 1
    world.pass_by(1)
    world.desk.idle()
    assert version(world) == 2
    assert world.payments.standing.roster_hash == roster_hash(raw)
    assert world.payments.standing.person(TESS.id) is None
    assert not world.payments.standing.pending


def test_a_policy_change_takes_force_by_the_same_way_and_bars_nobody(world: World) -> None:
    raw = next_policy(world, governance={"group": "officers", "delay_ms": 7_000})
    assert propose(world, "policy", raw)["change"] == policy_hash(raw)
    world.pass_by(DELAY_MS)
    world.desk.idle()
    assert world.payments.standing.policy_hash == policy_hash(raw)
    assert world.payments.standing.policy.governance.delay_ms == 7_000
    assert world.payments.standing.barred == {}


def test_the_delay_is_the_one_in_force_and_not_the_one_that_is_proposed(world: World) -> None:
    propose(world, "policy", next_policy(world, governance={"group": "officers", "delay_ms": 0}))
    world.desk.idle()
    assert world.payments.standing.policy.version == 1


def test_the_delay_goes_by_the_clock_that_nobody_can_set_ahead(world: World) -> None:
    propose(world, "roster", without_tess(world))
    world.times.wall_ms += DAY_MS
    world.desk.idle()
    assert version(world) == 1


def test_it_doesnt_begin_before_guard_was_told(world: World) -> None:
    world.guard.is_reachable = False
    raw = without_tess(world)
    with pytest.raises(AskRefused, match="guard-agrees"):
        propose(world, "roster", raw)
    world.pass_by(DELAY_MS)
    world.guard.is_reachable = True
    world.desk.idle()
    assert (version(world), world.payments.standing.pending[roster_hash(raw)].noticed) == (1, None)
    propose(world, "roster", raw)
    world.pass_by(DELAY_MS)
    world.desk.idle()
    assert version(world) == 2
    assert kinds(world.journal).count(Kind.CHANGE) == 1


def test_asking_for_it_again_doesnt_begin_the_delay_anew(world: World) -> None:
    raw = without_tess(world)
    first = propose(world, "roster", raw)
    world.pass_by(DELAY_MS - 1)
    assert propose(world, "roster", raw) == first
    world.pass_by(1)
    world.desk.idle()
    assert version(world) == 2


@pytest.mark.parametrize("vetoer", [CLEO, ADA])
def test_one_veto_ends_it(world: World, vetoer: Human) -> None:
    raw = without_tess(world)
    propose(world, "roster", raw)
    world.guard.instruct(Action.VETO, roster_hash(raw), vetoer)
    world.desk.idle()
    world.pass_by(DELAY_MS)
    world.desk.idle()
    assert (version(world), world.payments.standing.pending) == (1, {})


def test_a_vetoed_change_isnt_proposed_again_by_the_same_assertions(world: World) -> None:
    """The attacker has the engine's seat, and a change that officers asserted and somebody vetoed. Wants it in force:
    it shows the same again, until nobody vetoes. The bound is: never, without being asserted anew."""
    raw = without_tess(world)
    propose(world, "roster", raw)
    world.guard.instruct(Action.VETO, roster_hash(raw), ADA)
    with pytest.raises(AskRefused, match="change-quorum: it was vetoed"):
        propose(world, "roster", raw)
    world.notary.agree()
    world.restart()
    with pytest.raises(AskRefused, match="change-quorum: it was vetoed"):
        propose(world, "roster", raw)
    world.pass_by(DELAY_MS)
    world.desk.idle()
    assert version(world) == 1
    assert kinds(world.journal).count(Kind.CHANGE) == 1


def test_after_a_veto_another_change_is_taken(world: World) -> None:
    raw = without_tess(world)
    propose(world, "roster", raw)
    world.guard.instruct(Action.VETO, roster_hash(raw), ADA)
    world.desk.idle()
    propose(world, "roster", next_roster(world, people=world.payments.standing.roster.people[::-1]))
    world.pass_by(DELAY_MS)
    world.desk.idle()
    assert version(world) == 2


def test_status_says_which_change_waits_and_whether_its_members_were_told(world: World) -> None:
    raw = without_tess(world)

    def pending() -> Any:
        answer: Any = read_answer(world.desk.answer(ENGINE, write_ask(Ask.STATUS, {})))
        return answer["organisations"][ORGANISATION]["pending"]

    assert pending() == {}
    world.guard.is_reachable = False
    with pytest.raises(AskRefused, match="guard-agrees"):
        propose(world, "roster", raw)
    assert pending() == {roster_hash(raw): None}
    world.guard.is_reachable = True
    propose(world, "roster", raw)
    assert pending() == {roster_hash(raw): START}
    world.pass_by(DELAY_MS)
    world.desk.idle()
    assert pending() == {}


def test_a_suspended_member_may_still_veto(world: World) -> None:
    raw = without_tess(world)
    propose(world, "roster", raw)
    world.guard.instruct(Action.SUSPEND, ADA.id, CLEO)
    world.guard.instruct(Action.VETO, roster_hash(raw), ADA)
    world.desk.idle()
    assert world.payments.standing.pending == {}


def test_a_veto_counts_until_the_change_is_in_force_however_late_the_signer_hears_of_it(world: World) -> None:
    """The attacker misled two officers and cuts the link as somebody vetoes; wants the delay to pass unheard."""
    payout, raw = small(world), without_tess(world)
    propose(world, "roster", raw)
    world.guard.instruct(Action.VETO, roster_hash(raw), ADA)
    world.guard.is_reachable = False
    world.pass_by(DELAY_MS)
    world.desk.idle()
    with pytest.raises(AskRefused, match="guard-agrees"):
        world.sign([payout])
    assert version(world) == 1
    world.guard.is_reachable = True
    world.desk.idle()
    assert (version(world), world.payments.standing.pending) == (1, {})


def test_what_had_waited_long_enough_when_guard_was_asked_comes_and_no_more(world: World) -> None:
    """The attacker holds guard's answer back until the delay is over: a veto may have come after it was given."""
    raw = without_tess(world)
    propose(world, "roster", raw)
    world.pass_by(DELAY_MS - 1)
    exchange = world.guard.exchange

    def slow(frame: bytes) -> bytes:
        answer = bytes(exchange(frame))
        world.pass_by(1)
        return answer

    world.guard.exchange = slow  # type: ignore[method-assign] # it says what it said, later
    world.desk.idle()
    assert version(world) == 1
    world.desk.idle()
    assert version(world) == 2


def test_a_proposer_suspended_since_doesnt_count_and_the_threshold_doesnt_shrink(world: World) -> None:
    world.guard.instruct(Action.SUSPEND, DAN.id, CLEO)
    world.desk.idle()
    with pytest.raises(AskRefused, match="change-quorum: 1 people aren't a quorum of officers"):
        propose(world, "roster", without_tess(world))


def test_a_suspension_lapses_after_three_days(world: World) -> None:
    world.guard.instruct(Action.SUSPEND, DAN.id, CLEO)
    world.desk.idle()
    world.pass_by(72 * HOUR_MS - 1)
    with pytest.raises(AskRefused, match="change-quorum"):
        propose(world, "roster", without_tess(world))
    world.pass_by(1)
    assert propose(world, "roster", without_tess(world))


def test_a_suspended_approver_counts_again_after_three_days(world: World) -> None:
    world.guard.instruct(Action.SUSPEND, ADA.id, CLEO)
    world.desk.idle()
    world.pass_by(72 * HOUR_MS)
    payout = old(world, MIDDLE)
    assert world.sign([payout], approvals=[world.approved(payout, ADA)])


def test_who_changed_the_roster_approves_nothing_for_a_week(tmp_path: Path) -> None:
    world = promoted_world(tmp_path)
    payout = old(world, MIDDLE)
    assert world.sign([payout], approvals=[world.approved(payout, PROMOTED)])
    propose(world, "roster", without_tess(world))
    world.pass_by(DELAY_MS)
    world.desk.idle()
    payout = old(world, MIDDLE)
    with pytest.raises(AskRefused, match="approval-independent"):
        world.sign([payout], approvals=[world.approved(payout, PROMOTED)])
    world.pass_by(7 * DAY_MS)
    payout = old(world, MIDDLE)
    assert world.sign([payout], approvals=[world.approved(payout, PROMOTED)])


def test_a_change_of_policy_keeps_what_was_approved_before_from_counting(world: World) -> None:
    payout = old(world, MIDDLE)
    approved = world.approved(payout, ADA)
    propose(world, "policy", next_policy(world, risk=RISK))
    world.pass_by(DELAY_MS)
    with pytest.raises(AskRefused, match=r"approval-requested: since .* a freeze or a change came"):
        world.sign([payout], approvals=[approved])


# What may follow.


def test_of_two_that_wait_the_first_that_ripens_wins_and_the_other_ends_unused(world: World) -> None:
    one = without_tess(world)
    people = world.payments.standing.roster.people
    other = next_roster(world, people=tuple(each for each in people if each.id != BEN.id))
    propose(world, "roster", one)
    world.pass_by(1_000)
    propose(world, "roster", other)
    world.pass_by(DELAY_MS)
    world.desk.idle()
    assert (version(world), world.payments.standing.roster_hash) == (2, roster_hash(one))
    assert world.payments.standing.pending == {}
    assert world.payments.standing.person(BEN.id) is not None
    world.notary.agree()
    world.restart()
    assert world.payments.standing.roster_hash == roster_hash(one)


def test_a_roster_and_a_policy_that_wait_together_both_come(world: World) -> None:
    propose(world, "roster", without_tess(world))
    propose(world, "policy", next_policy(world, risk=RISK))
    world.pass_by(DELAY_MS)
    world.desk.idle()
    assert (version(world), world.payments.standing.policy.version) == (2, 2)


@pytest.mark.parametrize(("document", "changes"), [
    ("roster", {"version": 3}),
    ("roster", {"version": 1, "previous": None}),
    ("roster", {"previous": "ab" * 32}),
    ("roster", {"organisation": "org_" + "b" * 26}),
    ("policy", {"version": 3}),
    ("policy", {"previous": "ab" * 32}),
    ("policy", {"organisation": "org_" + "b" * 26}),
])
def test_what_doesnt_follow_the_one_in_force_is_refused(world: World, document: str, changes: dict[str, Any]) -> None:
    raw = next_roster(world, **changes) if document == "roster" else next_policy(world, **changes)
    with pytest.raises(AskRefused, match=f"change-quorum: the {document} doesn't follow the one in force"):
        propose(world, document, raw)
    assert not world.payments.standing.pending


@pytest.mark.parametrize(("document", "raw", "reason"), [
    ("genesis", b"{}", "document: must be roster or policy"),
    ("roster", b"{}", "type: "),
    ("roster", b"{", "JSON"),
    ("policy", b"{}", "type: "),
    ("policy", b"\xff", "UTF-8"),
    ("policy", b'{"a":1,"a":2}', "a"),
])
def test_a_document_that_is_none_is_refused_with_its_field(
    world: World, document: str, raw: bytes, reason: str
) -> None:
    with pytest.raises(AskRefused, match=reason) as refusal:
        propose(world, document, raw)
    assert refusal.value.rule == "operation-known"


def test_an_assertion_over_another_document_is_no_consent(world: World) -> None:
    raw = without_tess(world)
    given = [assertion_document(each.asserts(b"another", ROSTER_TYPE)) for each in (CLEO, DAN)]
    with pytest.raises(AskRefused, match="change-quorum: ") as refusal:
        propose(world, "roster", raw, given=given)
    assert refusal.value.rule == "change-quorum"
    assert not world.payments.standing.pending


def test_an_assertion_for_the_other_kind_of_document_is_no_consent(world: World) -> None:
    raw = next_policy(world)
    given = [assertion_document(each.asserts(raw, ROSTER_TYPE)) for each in (CLEO, DAN)]
    with pytest.raises(AskRefused, match="change-quorum: "):
        propose(world, "policy", raw, given=given)


@pytest.mark.parametrize("group", ["nobody", "treasury"])
def test_a_policy_that_nobody_could_change_back_is_refused(world: World, group: str) -> None:
    """The new governing group isn't there, or has fewer keys than its threshold."""
    people = tuple(replace(each, credentials=()) if "treasury" in each.groups else each
                   for each in world.payments.standing.roster.people)
    if group == "treasury":
        propose(world, "roster", next_roster(world, people=people))
        world.pass_by(DELAY_MS)
        world.desk.idle()
    with pytest.raises(AskRefused, match=f"change-quorum: no quorum of {group} would be left"):
        propose(world, "policy", next_policy(world, governance={"group": group, "delay_ms": 0}))


# Clients' keys.


def with_client_keys(world: World, keys: dict[str, tuple[RosterKey, ...]]) -> bytes:
    clients = world.payments.standing.roster.clients
    return next_roster(world, clients=tuple(replace(each, keys=keys.get(each.id, each.keys)) for each in clients))


def test_a_client_gets_a_new_key_and_the_old_one_pays_no_more(world: World) -> None:
    payout = small(world)
    new = RosterKey(
        KeyId("ak_" + "n" * 26), bytes(world.keys.checkpoint.verify_key), (Permission.PAYOUTS_CREATE,)
    )
    propose(world, "roster", with_client_keys(world, {PAYER: (new,)}))
    world.pass_by(DELAY_MS)
    with pytest.raises(AskRefused, match="intent-scope"):
        world.sign([payout])
    body = world.payout_body(world.cooled(), 1_000)
    world.take(Ask.INTENTS, [world.request("/v1/payouts", body, "n", world.keys.checkpoint, new.id)])


def test_a_key_may_lose_a_scope_and_get_it_back(world: World) -> None:
    before = world.payments.standing.client_of(PAY_KEY, Permission.PAYOUTS_CREATE)[0].keys
    for scopes in ((Permission.PAYOUTS_CANCEL,), before[0].scopes):
        propose(world, "roster", with_client_keys(world, {PAYER: (replace(before[0], scopes=scopes),)}))
        world.pass_by(DELAY_MS)
        world.desk.idle()
    assert world.payments.standing.client_of(PAY_KEY, Permission.PAYOUTS_CREATE) is not None


@pytest.mark.parametrize("wrong", ["the payer's key", "the payer's name"])
def test_a_key_never_changes_its_client(world: World, wrong: str) -> None:
    """With it what one client signed would be another's: its limits and custodians would no longer count."""
    mine = world.payments.standing.client_of(PAY_KEY, Permission.PAYOUTS_CREATE)[0].keys[0]
    moved = replace(mine, id=KeyId("ak_" + "m" * 26)) if wrong == "the payer's key" else replace(
        mine, public_key=bytes(world.keys.checkpoint.verify_key)
    )
    raw = with_client_keys(world, {PAYER: (), DECLARER: (moved,)})
    with pytest.raises(AskRefused, match=r"change-quorum: the key .*, or its name, was enrolled before as another"):
        propose(world, "roster", raw)


# Organisations that are let in.


NEIGHBOUR = "org_" + "b" * 26


def let_in(world: World, policy: bytes | None = None, made: bytes | None = None, **more: Any) -> Any:
    documents = {
        "policy": policy or encode(policy_document(organisation=NEIGHBOUR)),
        "roster": made or write_roster(replace(roster(), organisation=NEIGHBOUR)),
    }
    body = {name: b64encode(raw).decode() for name, raw in documents.items()} | more
    answer = read_answer(world.desk.answer(ADMIN, write_ask(Ask.ORGANISATION, body)))
    if isinstance(answer, RefusedAnswer):
        raise AskRefused(answer.rule, answer.reason)
    return answer


def test_an_organisation_is_let_in_once_and_the_same_again_changes_nothing(world: World) -> None:
    assert let_in(world) == let_in(world) == {"organisation": NEIGHBOUR}
    assert kinds(world.journal).count(Kind.ORGANISATION) == 2
    assert set(world.book.organisations) == {ORGANISATION, NEIGHBOUR}
    assert world.ask(Ask.ADDRESSES, organisation=NEIGHBOUR, network="sim:sandbox", first=0, generation=0, count=1)
    world.notary.agree()
    world.restart()
    assert set(world.book.organisations) == {ORGANISATION, NEIGHBOUR}


def test_the_one_that_genesis_names_is_let_in_as_it_names_it(tmp_path: Path) -> None:
    world = World(tmp_path)
    assert let_in(world, world.policy, world.roster) == {"organisation": ORGANISATION}


@pytest.mark.parametrize("which", ["policy", "roster"])
def test_one_that_is_here_changes_by_its_quorum_only(world: World, which: str) -> None:
    let_in(world)
    other = {
        "policy": {"policy": encode(policy_document(organisation=NEIGHBOUR, risk=RISK))},
        "roster": {"made": write_roster(replace(roster(), organisation=NEIGHBOUR, clients=()))},
    }[which]
    with pytest.raises(AskRefused, match=f"change-quorum: {NEIGHBOUR} is here already"):
        let_in(world, **other)


@pytest.mark.parametrize(("given", "reason"), [
    ({"made": write_roster(roster())}, "organisation: isn't the same in policy and roster"),
    ({"policy": b"{}"}, "type: "),
    ({"policy": b"{"}, "JSON"),
    ({"made": b"{}"}, "type: "),
    ({"more": "x"}, "more: is unknown"),
])
def test_what_isnt_an_organisation_isnt_let_in(world: World, given: dict[str, Any], reason: str) -> None:
    with pytest.raises(AskRefused, match=reason):
        let_in(world, **given)
    assert set(world.book.organisations) == {ORGANISATION}


def test_what_is_journaled_of_a_change_is_its_verbatim_bytes(world: World) -> None:
    raw = without_tess(world)
    propose(world, "roster", raw)
    fields = next(fields for kind, _, fields in map(read_entry, world.journal.entries()) if kind is Kind.CHANGE)
    assert fields.text("raw", 2**20) == b64encode(raw).decode()
    assert fields.rows("people", 1) == [[CLEO.id], [DAN.id]]
    assert parse_object(raw)["people"] != [each.id for each in PEOPLE]
    assert isinstance(world.payments.standing.roster, Roster)
