"""Hands the signer the changes of policy and roster that people want, and follows what it puts into force.

    proposed ──▶ pending ──▶ in force
        │           └──────▶ vetoed
        ├──▶ refused, and asked again: when somebody else asserts it, and ever later
        └──▶ superseded, expired

The signer decides, by its own roster. The database follows when the signer says that a change is in force, and never
before: what clients may ask of the API is never more than what the signer knows of.
"""

import logging
from base64 import b64encode
from collections.abc import Iterator
from typing import Final

from strongroom.advice.proposal import TYPES, consenting
from strongroom.domain.document import DocumentError, Fields
from strongroom.domain.instant import DAY_MS, Instant
from strongroom.engine.bench import Bench, SaidStanding, later_ms
from strongroom.protocol.approval import ASSERTIONS_MAXIMUM, PersonAssertion, assertion_document, take_assertion
from strongroom.protocol.canonical import CanonicalError, JsonValue, parse_object
from strongroom.protocol.genesis import Genesis, parse_genesis
from strongroom.protocol.signer_wire import Ask, RefusedAnswer
from strongroom.protocol.standing import Standing, open_standing
from strongroom.store import approvals
from strongroom.store import changes as store
from strongroom.store.changes import AlteredError, StoredChange

LOG: Final = logging.getLogger("strongroom.engine")
_GUARD_AWAY: Final = frozenset({"guard-agrees", "lease-fresh"})
"""It passes by itself, and says nothing of the change."""


async def follow_changes(bench: Bench) -> bool:
    """Whether any moved."""
    moved = False
    for change in await store.open_changes(bench.connection):
        said = (await bench.standings()).get(change.organisation)
        if said is not None:
            moved |= await _follow(bench, change, said)
    return moved


async def _follow(bench: Bench, change: StoredChange, said: SaidStanding) -> bool:
    now, in_force = bench.clock(), said.in_force[change.document]
    delay_runs = said.pending.get(change.change)
    if in_force == change.change:
        return await _adopt(bench, change, now)
    if _previous(change.raw) not in (in_force, None):
        return await _move(bench, change, "superseded", f"another {change.document} is in force")
    if delay_runs:
        due_at = None if change.state == "pending" else Instant(now + await _delay_ms(bench, change))
        return await _move(bench, change, "pending", "", due_at)
    if delay_runs is None and change.state == "pending":
        return await _move(bench, change, "vetoed", "it was ended through guard before its delay was over")
    if delay_runs is None and change.expires_at <= now:
        return await _move(bench, change, "expired", "too few people asserted it in time")
    return await _hand(bench, change, now)


async def _adopt(bench: Bench, change: StoredChange, now: Instant) -> bool:
    try:
        async with bench.connection.transaction():
            await store.adopt(bench.connection, change.change, now)
    except AlteredError as fault:
        LOG.error("alarm: %s is in force at the signer, and the record can't follow: %s", change.change, fault)
        return await _move(bench, change, "refused", f"it is in force, and the record can't follow: {fault}")
    bench.forget_policies()
    return True


async def _hand(bench: Bench, change: StoredChange, now: Instant) -> bool:
    """To the signer, once a quorum asserted it by the roster that is mirrored; the signer counts by its own."""
    _, tries, due = bench.changes_due.get(change.change, (0, 0, now))
    count = len(change.assertions)
    if now < due and bench.changes_due[change.change][0] == count:
        return False
    genesis, running = await _running(bench, change)
    given = list(_given(change))
    counted = consenting(TYPES[change.document], change.raw, given, running, genesis.relying_party)
    if not running.has_quorum(frozenset(each.person for each in counted)):
        bench.changes_due[change.change] = (count, 0, Instant(now + later_ms(tries)))
        lost = len(change.assertions) - len(counted)
        said = f"of {count} assertions {lost} don't hold over what is in the record, or don't count any more"
        return await _move(bench, change, "refused", said) if lost else False
    assertions: list[JsonValue] = [assertion_document(each) for each in counted[:ASSERTIONS_MAXIMUM]]
    answer = await bench.signer.ask(Ask.CHANGE, {
        "assertions": assertions, "document": change.document, "organisation": change.organisation,
        "raw": b64encode(change.raw).decode(),
    })
    if isinstance(answer, RefusedAnswer):
        bench.changes_due[change.change] = (count, tries + 1, Instant(now + later_ms(tries)))
        state = "handed" if answer.rule in _GUARD_AWAY else "refused"
        return await _move(bench, change, state, f"{answer.rule}: {answer.reason}")
    due_at = Instant(bench.clock() + Fields(answer).integer("delay_ms", 0, 366 * DAY_MS))
    return await _move(bench, change, "pending", "", due_at)


async def _move(
    bench: Bench, change: StoredChange, state: str, detail: str, due_at: Instant | None = None
) -> bool:
    """Written down if it is new."""
    if change.state == state and change.detail == detail:
        return False
    await store.move(bench.connection, change.change, state, detail, bench.clock(), due_at)
    return True


async def _delay_ms(bench: Bench, change: StoredChange) -> int:
    return (await _running(bench, change))[1].policy.governance.delay_ms


async def _running(bench: Bench, change: StoredChange) -> tuple[Genesis, Standing]:
    genesis = parse_genesis(await approvals.read_genesis(bench.connection))
    policy, roster = await approvals.read_documents(bench.connection, change.organisation)
    return genesis, open_standing(policy, roster, genesis.mode)


def _given(change: StoredChange) -> Iterator[PersonAssertion]:
    """What can be read of it."""
    for each in change.assertions:
        try:
            yield take_assertion(Fields(parse_object(each.encode())))
        except (CanonicalError, DocumentError) as fault:
            LOG.error("alarm: an assertion of %s in the record is none: %s", change.change, fault)


def _previous(raw: bytes) -> JsonValue:
    try:
        return parse_object(raw).get("previous")
    except CanonicalError:
        return None
