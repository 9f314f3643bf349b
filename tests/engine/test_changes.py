"""What people change of policy and roster reaches the signer, and the database follows what the signer says: not with
one officer, not after a veto, not with other bytes, and never before the signer."""

import asyncio
from base64 import b64encode
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from nacl.signing import SigningKey
from tests.conftest import Database
from tests.engine.road import Road, open_road
from tests.rails.chain import Chain
from tests.signer.world import (
    ADA,
    CLEO,
    DAN,
    DECLARE_KEY,
    ORGANISATION,
    PAY_KEY,
    PAYER,
    AskRefused,
    Human,
)

from strongroom.advice.proposal import TYPES, name_of
from strongroom.domain.ids import ClientId, KeyId, OrganisationId
from strongroom.domain.instant import DAY_MS, Instant
from strongroom.domain.permissions import Permission
from strongroom.engine.pipeline import advance
from strongroom.protocol.approval import assertion_document
from strongroom.protocol.canonical import encode, parse_object
from strongroom.protocol.negative import Action
from strongroom.protocol.record_writer import write_roster
from strongroom.protocol.roster import RosterClient, RosterKey
from strongroom.protocol.signer_wire import Ask
from strongroom.protocol.standing import policy_hash
from strongroom.store import changes
from strongroom.store.organisations import find_signing_key, record_deployment

LARGE = 300_000
"""Needs one approver by the first policy, and nobody by the next."""
LIFE_MS = 7 * DAY_MS
Story = Callable[[Road], Awaitable[None]]


@pytest.fixture
def play(tmp_path: Path, database: Database, chain: Chain) -> Callable[[Story], None]:
    def run(story: Story) -> None:
        async def go() -> None:
            async with open_road(tmp_path, database, chain) as road:
                await record_deployment(road.owner, road.world.book.deployment, road.world.genesis, road.now())
                await story(road)

        asyncio.run(go())

    return run


def next_policy(road: Road, **changes: Any) -> bytes:
    standing = road.world.payments.standing
    before = parse_object(road.world.policy)
    follows = {"version": standing.policy.version + 1, "previous": standing.policy_hash}
    return encode({**before, **follows, **changes})


def generous(road: Road) -> bytes:
    """One that asks nobody for what needed an approver."""
    tiers: Any = parse_object(road.world.policy)["tiers"]
    return next_policy(
        road, tiers=[{**tiers[0], "up_to_reference_minor": "500000"}, *tiers[1:]],
        risk={"above_reference_minor": "500000", "young_for_ms": 0},
    )


def next_roster(road: Road, **changes: Any) -> bytes:
    standing = road.world.payments.standing
    follows = {"version": standing.roster.version + 1, "previous": standing.roster_hash}
    return write_roster(replace(standing.roster, **follows | changes))


async def propose(road: Road, document: str, raw: bytes, *people: Human) -> str:
    change = name_of(document, raw)
    await changes.propose(
        road.owner, ORGANISATION, document, raw, change, people[0].id, Instant(road.now() + LIFE_MS), road.now()
    )
    for person in people:
        await assert_it(road, document, raw, person)
    return change


def show(road: Road, raw: bytes, given: Any) -> Any:
    """A policy to the signer, as whoever has the engine's seat may."""
    return road.world.ask(Ask.CHANGE, document="policy", raw=b64encode(raw).decode(), assertions=given)


async def assert_it(road: Road, document: str, raw: bytes, person: Human) -> None:
    given = assertion_document(person.asserts(raw, TYPES[document]))
    await changes.give(
        road.owner, name_of(document, raw), person.id, str(given["credential"]), encode(given).decode(),
        road.now(),
    )


async def state(road: Road, change: str) -> str:
    found = await changes.read(road.owner, ORGANISATION, change)
    assert found is not None
    return found.state


async def mirrored(road: Road) -> tuple[int, int]:
    return ((await changes.read_running(road.owner, ORGANISATION, "policy")).version,
            (await changes.read_running(road.owner, ORGANISATION, "roster")).version)


async def settle(road: Road) -> None:
    while await advance(road.bench):
        pass


async def wait_out(road: Road) -> None:
    """The delay of the policy in force, and the signer's idle look."""
    road.world.pass_by(5_000)
    road.world.desk.idle()
    await settle(road)


def test_a_quorum_changes_the_policy_and_a_payout_is_judged_by_the_new_one(play: Any) -> None:
    async def story(road: Road) -> None:
        await road.declare("old")
        await road.go()
        road.world.pass_by(10_000)
        change = await propose(road, "policy", generous(road), CLEO, DAN)
        await settle(road)
        assert (await state(road, change), await mirrored(road)) == ("pending", (1, 1))
        found = await changes.read(road.owner, ORGANISATION, change)
        assert found is not None
        assert found.due_at == road.now() + 5_000
        road.world.pass_by(4_999)
        road.world.desk.idle()
        await settle(road)
        assert (await state(road, change), await mirrored(road)) == ("pending", (1, 1))
        await road.pay("old", LARGE)
        await settle(road)
        assert (await road.states())["old"] == "awaiting_approval"
        await wait_out(road)
        assert (await state(road, change), await mirrored(road)) == ("in_force", (2, 1))
        assert road.world.payments.standing.policy_hash == change
        await road.pay("new", LARGE, to="old")
        await road.go()
        road.chain.mine(3)
        await road.go()
        assert (await road.states())["new"] == "settled"
        assert road.received()["old"] == [LARGE]

    play(story)


@pytest.mark.parametrize("people", [(CLEO,), (CLEO, CLEO), (CLEO, ADA)], ids=["one", "one twice", "no officer"])
def test_too_few_officers_change_nothing_and_it_runs_out(play: Any, people: tuple[Human, ...]) -> None:
    async def story(road: Road) -> None:
        change = await propose(road, "policy", generous(road), *people)
        await wait_out(road)
        assert await state(road, change) in ("proposed", "refused")
        assert road.world.payments.standing.pending == {}
        road.world.pass_by(LIFE_MS)
        await settle(road)
        assert (await state(road, change), await mirrored(road)) == ("expired", (1, 1))

    play(story)


def test_the_second_officer_may_come_later(play: Any) -> None:
    async def story(road: Road) -> None:
        raw = generous(road)
        change = await propose(road, "policy", raw, CLEO)
        await settle(road)
        assert await state(road, change) == "proposed"
        await assert_it(road, "policy", raw, DAN)
        await settle(road)
        assert await state(road, change) == "pending"

    play(story)


def test_a_veto_ends_it_for_good(play: Any) -> None:
    async def story(road: Road) -> None:
        change = await propose(road, "policy", generous(road), CLEO, DAN)
        await settle(road)
        road.world.guard.instruct(Action.VETO, change, ADA)
        await wait_out(road)
        assert (await state(road, change), await mirrored(road)) == ("vetoed", (1, 1))
        await wait_out(road)
        assert road.world.payments.standing.policy.version == 1

    play(story)


def test_of_two_that_follow_the_same_the_second_is_superseded(play: Any) -> None:
    async def story(road: Road) -> None:
        first = await propose(road, "policy", generous(road), CLEO, DAN)
        await settle(road)
        second = await propose(road, "policy", next_policy(road, browser_release_reference_minor="1"), CLEO)
        await wait_out(road)
        assert [await state(road, each) for each in (first, second)] == ["in_force", "superseded"]

    play(story)


def test_bytes_that_were_altered_in_the_record_reach_no_force(play: Any) -> None:
    """The attacker writes to the database, and puts a policy of its own in the place of what officers asserted. The
    bound is: nothing changes, whether the engine is honest or shows it to the signer as it stands."""

    async def story(road: Road) -> None:
        raw = generous(road)
        change = await propose(road, "policy", raw, CLEO, DAN)
        other = raw.replace(b'"500000"', b'"900000"')
        assert other != raw
        await road.owner.execute("ALTER TABLE strongroom.proposed_changes DISABLE TRIGGER append_only")
        await road.owner.execute(
            "ALTER TABLE strongroom.proposed_changes DROP CONSTRAINT proposed_changes_check1"
        )
        await road.owner.execute("UPDATE strongroom.proposed_changes SET raw = $1", other)
        await settle(road)
        found = await changes.read(road.owner, ORGANISATION, change)
        assert found is not None
        assert (found.state, "2 assertions 2 don't hold" in found.detail) == ("refused", True)
        given = [assertion_document(each.asserts(raw, TYPES["policy"])) for each in (CLEO, DAN)]
        with pytest.raises(AskRefused, match="change-quorum"):
            show(road, other, given)
        await wait_out(road)
        assert (road.world.payments.standing.policy.version, await mirrored(road)) == (1, (1, 1))
        # what was in force before it was altered isn't followed by other bytes either
        show(road, raw, given)
        await wait_out(road)
        assert road.world.payments.standing.policy_hash == policy_hash(raw)
        assert await mirrored(road) == (1, 1)
        assert "the record can't follow" in (await changes.read(road.owner, ORGANISATION, change)).detail  # type: ignore[union-attr] # it is there

    play(story)


def test_the_record_never_runs_ahead_of_the_signer(play: Any) -> None:
    """Guard is away: the change stands in the signer's journal, and its delay doesn't run."""

    async def story(road: Road) -> None:
        road.world.guard.is_reachable = False
        change = await propose(road, "policy", generous(road), CLEO, DAN)
        await settle(road)
        assert await state(road, change) == "handed"
        await wait_out(road)
        assert (await state(road, change), await mirrored(road)) == ("handed", (1, 1))
        road.world.guard.is_reachable = True
        await wait_out(road)
        assert await state(road, change) == "pending"
        await wait_out(road)
        assert (await state(road, change), await mirrored(road)) == ("in_force", (2, 1))

    play(story)


def test_a_spoiled_assertion_in_the_record_stops_nobody(play: Any) -> None:
    async def story(road: Road) -> None:
        raw = generous(road)
        change = await propose(road, "policy", raw, CLEO)
        for number, text in enumerate(("{}", "[", encode(assertion_document(
            ADA.asserts(b"another", TYPES["policy"]))).decode())):
            await changes.give(road.owner, change, ADA.id, f"{number}", text, road.now())
        await assert_it(road, "policy", raw, DAN)
        await settle(road)
        assert await state(road, change) == "pending"

    play(story)


def test_clients_and_their_keys_follow_a_roster(play: Any) -> None:
    new, fresh = SigningKey(b"\x51" * 32), SigningKey(b"\x52" * 32)
    key, other = KeyId("ak_" + "n" * 26), ClientId("cl_" + "n" * 26)

    async def scopes(road: Road, name: KeyId) -> set[str] | None:
        found = await find_signing_key(road.owner, name)
        return None if found is None or found.is_revoked else set(found.scopes)

    async def story(road: Road) -> None:
        payer, declarer = road.world.payments.standing.roster.clients
        pays = RosterKey(key, bytes(new.verify_key), (Permission.PAYOUTS_CREATE,))
        reads = RosterKey(KeyId("ak_" + "r" * 26), bytes(fresh.verify_key), (Permission.PAYOUTS_READ,))
        raw = next_roster(road, clients=(
            replace(payer, keys=(pays,)), replace(declarer, keys=(replace(declarer.keys[0], scopes=()),)),
            RosterClient(other, (reads,), ()),
        ))
        await propose(road, "roster", raw, CLEO, DAN)
        await settle(road)
        assert await scopes(road, key) is None
        assert await scopes(road, PAY_KEY) == {"payouts:create", "payouts:cancel", "approvals:read"}
        await wait_out(road)
        assert await mirrored(road) == (1, 2)
        assert await scopes(road, PAY_KEY) is None
        assert [await scopes(road, each) for each in (key, DECLARE_KEY, reads.id)] == [
            {"payouts:create"}, set(), {"payouts:read"},
        ]
        rows = await road.fetch("SELECT client FROM strongroom.client_keys WHERE key_id = $1", key)
        assert rows[0]["client"] == PAYER
        names = await road.fetch("SELECT name FROM strongroom.clients WHERE id = $1", other)
        assert names[0]["name"] == "reader"

    play(story)


def test_a_roster_takes_no_other_organisations_client_or_key(play: Any) -> None:
    """The attacker is a quorum of one organisation, and names another's client in its roster. Wants a key that signs
    in as that client."""
    neighbour, theirs = OrganisationId("org_" + "z" * 26), ClientId("cl_" + "z" * 26)
    mine = KeyId("ak_" + "z" * 26)

    async def story(road: Road) -> None:
        await road.owner.execute(
            "INSERT INTO strongroom.organisations VALUES ($1, 'Neighbour', 1)", neighbour
        )
        await road.owner.execute("INSERT INTO strongroom.clients VALUES ($1, $2, 'payouts', 1)", theirs, neighbour)
        stolen = RosterKey(mine, bytes(SigningKey(b"\x53" * 32).verify_key), (Permission.PAYOUTS_CREATE,))
        clients = (*road.world.payments.standing.roster.clients, RosterClient(theirs, (stolen,), ()))
        change = await propose(road, "roster", next_roster(road, clients=clients), CLEO, DAN)
        await settle(road)
        await wait_out(road)
        assert await state(road, change) == "in_force"
        assert await find_signing_key(road.owner, mine) is None

    play(story)


def test_a_new_asset_has_its_accounts(play: Any) -> None:
    async def story(road: Road) -> None:
        assets: Any = parse_object(road.world.policy)["assets"]
        another = {**assets[0], "asset": "iso4217:EUR", "symbol": "EUR", "network": "sepa", "decimals": 2}
        await propose(road, "policy", next_policy(road, assets=[*assets, another]), CLEO, DAN)
        await settle(road)
        await wait_out(road)
        rows = await road.fetch(
            "SELECT account FROM strongroom.ledger_accounts WHERE asset = 'iso4217:EUR' ORDER BY account"
        )
        assert [row[0] for row in rows] == ["company:funding", "payouts", "wallet:hot"]

    play(story)
