"""Intake against a real PostgreSQL: exactly once, all or nothing, and what is refused leaves no trace."""

import asyncio
from dataclasses import replace

import pytest
from tests.conftest import Database
from tests.domain.policy_document import NETWORK, limit, tier
from tests.store.organisation import declared, digest_of, evidence_of, pays, request
from tests.store.running import World, run

from strongroom.domain.errors import Code, Refusal
from strongroom.domain.ids import BeneficiaryId, DestinationDigest, IdempotencyKey, PayoutId
from strongroom.domain.instant import Instant
from strongroom.domain.money import Amount, AssetId
from strongroom.domain.payout import HoldReason, OnHold, State
from strongroom.protocol.canonical import encode, parse_object
from strongroom.protocol.destination_record import DestinationRecord
from strongroom.store.fair_queue import QUEUED_PER_CLIENT_MAXIMUM
from strongroom.store.intake import Intake, WriterTakenError
from strongroom.store.organisations import revoke_key
from strongroom.store.record import BeneficiaryRecord, PayoutRecord, Preview, Recorded


def recorded(answer: Recorded | Refusal) -> PayoutRecord:
    assert isinstance(answer, Recorded), answer
    return answer.payout


def refused(answer: object) -> Refusal:
    assert isinstance(answer, Refusal), answer
    return answer


async def cooled(world: World, key: str = "payee", address: str | None = None) -> BeneficiaryRecord:
    beneficiary = await declared(world.intake, world.organisation, key, address)
    world.clock.now += 5_000
    return beneficiary


def test_a_payout_comes_with_reservation_evidence_leaf_and_outbox_row(database: Database) -> None:
    async def story(world: World) -> None:
        payee = await cooled(world)
        before = await world.counts()
        payout = recorded(await world.intake.pay(world.organisation.payer, *pays(world.organisation.payer, "k", payee)))
        after = await world.counts()
        assert (payout.state, payout.hold) == (State.RECEIVED, None)
        changed = {table: after[table] - before[table] for table in after if after[table] != before[table]}
        assert changed == {"payouts": 1, "evidence": 1, "ledger_postings": 1, "outbox": 1, "audit_leaves": 1}
        wallet = await world.fetch("SELECT * FROM strongroom.ledger_accounts WHERE account = 'wallet:hot'")
        assert wallet[0]["credits_pending"] == payout.amount.minor

    run(database, story)


def test_fifty_at_once_with_one_key_make_one_payout(database: Database) -> None:
    async def story(world: World) -> None:
        payee = await cooled(world)
        payer = world.organisation.payer
        answers = await asyncio.gather(*(world.intake.pay(payer, *pays(payer, "k", payee)) for _ in range(50)))
        assert len({recorded(answer).id for answer in answers}) == 1
        assert sum(isinstance(answer, Recorded) and not answer.replayed for answer in answers) == 1
        assert (await world.counts())["payouts"] == 1

    run(database, story)


def test_a_replay_is_the_first_answer_even_when_the_payout_has_moved_on(database: Database) -> None:
    async def story(world: World) -> None:
        payee = await declared(world.intake, world.organisation, "payee")
        payer = world.organisation.payer
        first = recorded(await world.intake.pay(payer, *pays(payer, "k", payee)))
        assert first.hold is not None
        assert first.hold.reason is HoldReason.COOLING
        await world.fetch("UPDATE strongroom.payouts SET state = 'ready', hold = NULL, retry_at = NULL, updated_at = 9")
        world.clock.now += 10**9
        again = await world.intake.pay(payer, *pays(payer, "k", payee))
        assert isinstance(again, Recorded)
        assert again.replayed
        assert again.payout._replace(position=0) == first

    run(database, story)


def test_another_body_under_the_key_is_refused_naming_the_field(database: Database) -> None:
    async def story(world: World) -> None:
        payee, payer = await cooled(world), world.organisation.payer
        recorded(await world.intake.pay(payer, *pays(payer, "k", payee, 100)))
        before = await world.counts()
        other = refused(await world.intake.pay(payer, *pays(payer, "k", payee, 101)))
        assert (other.code, other.field) == (Code.IDEMPOTENCY_KEY_REUSED, "amount")
        asked, evidence = pays(payer, "k", payee, 100)
        spaced = refused(await world.intake.pay(payer, asked, evidence._replace(body=evidence.body + b" ")))
        assert (spaced.code, spaced.field) == (Code.IDEMPOTENCY_KEY_REUSED, "")
        elsewhere = refused(await world.intake.pay(payer, asked, evidence._replace(path="/v1/other")))
        assert (elsewhere.code, elsewhere.field) == (Code.IDEMPOTENCY_KEY_REUSED, "")
        assert await world.counts() == before

    run(database, story)


def test_two_clients_with_the_same_key_make_two_payouts(database: Database) -> None:
    async def story(world: World) -> None:
        payee = await cooled(world)
        callers = (world.organisation.payer, world.organisation.other_payer)
        ids = {recorded(await world.intake.pay(caller, *pays(caller, "k", payee))).id for caller in callers}
        assert len(ids) == 2

    run(database, story)


def test_refusals_leave_no_trace_and_their_key_free(database: Database) -> None:
    async def story(world: World) -> None:
        payee, payer = await cooled(world), world.organisation.payer
        unknown = BeneficiaryId("ben_" + "z" * 26)
        digest = payee.destinations[0].destination.digest
        euro = Amount(5, AssetId("iso4217:EUR"))
        cases = [
            (request(payer, "k", unknown, digest), Code.NOT_FOUND, "beneficiary"),
            (request(payer, "k", unknown, DestinationDigest("ab" * 32)), Code.NOT_FOUND, "beneficiary"),
            (pays(payer, "k", payee, amount=euro), Code.ASSET_UNKNOWN, "asset"),
            (pays(payer, "k", payee, 10**12 + 1), Code.AMOUNT_OUT_OF_RANGE, "amount"),
            (
                request(payer, "k", payee.id, DestinationDigest("ab" * 32)), Code.DESTINATION_MISMATCH,
                "destination_digest",
            ),
            (pays(payer, "k", payee, 250_001 * 10**6), Code.LIMIT_EXCEEDED, "amount"),
            (pays(payer, "k", payee, replaces=PayoutId("po_" + "a" * 26)), Code.INVALID, "replaces"),
        ]
        before = await world.counts()
        for asked, code, field in cases:
            refusal = refused(await world.intake.pay(payer, *asked))
            assert (refusal.code, refusal.field) == (code, field)
        assert await world.counts() == before
        recorded(await world.intake.pay(payer, *pays(payer, "k", payee)))

    run(database, story)


def test_one_external_id_is_paid_once_to_one_beneficiary_or_address(database: Database) -> None:
    async def story(world: World) -> None:
        payer = world.organisation.payer
        payee = await cooled(world, "payee", "0x00000000000000000000000000000000000000aa")
        twin = await cooled(world, "twin", "0x00000000000000000000000000000000000000aa")
        other = await cooled(world, "other")
        first = recorded(await world.intake.pay(payer, *pays(payer, "k1", payee, external_id="debt")))
        for key, to in (("k2", payee), ("k3", twin)):
            again = refused(await world.intake.pay(payer, *pays(payer, key, to, external_id="debt")))
            assert (again.code, again.field) == (Code.DUPLICATE_EXTERNAL_ID, "external_id")
        recorded(await world.intake.pay(payer, *pays(payer, "k4", other, external_id="debt")))
        replacing = pays(payer, "k5", payee, external_id="debt", replaces=first.id)
        open_still = refused(await world.intake.pay(payer, *replacing))
        assert (open_still.code, open_still.field) == (Code.DUPLICATE_EXTERNAL_ID, "replaces")
        await world.fetch("UPDATE strongroom.payouts SET state = 'failed' WHERE id = $1", first.id)
        recorded(await world.intake.pay(payer, *replacing))
        twice = pays(payer, "k6", payee, external_id="debt", replaces=first.id)
        assert refused(await world.intake.pay(payer, *twice)).code is Code.INVALID

    run(database, story)


def test_the_same_debt_twice_in_one_batch_is_paid_once(database: Database) -> None:
    async def story(world: World) -> None:
        payee, payer = await cooled(world), world.organisation.payer
        answers = await asyncio.gather(
            *(world.intake.pay(payer, *pays(payer, f"k{n}", payee, external_id="debt")) for n in range(20))
        )
        assert sum(isinstance(answer, Recorded) for answer in answers) == 1
        assert {answer.code for answer in answers if isinstance(answer, Refusal)} == {Code.DUPLICATE_EXTERNAL_ID}

    run(database, story)


def test_more_is_never_promised_than_the_wallet_has(database: Database) -> None:
    async def story(world: World) -> None:
        payer = world.organisation.payer
        payees = [await declared(world.intake, world.organisation, f"p{n}") for n in range(12)]
        world.clock.now += 5_000
        answers = await asyncio.gather(
            *(world.intake.pay(payer, *pays(payer, f"k{n}", payee, 30)) for n, payee in enumerate(payees))
        )
        states = [recorded(answer).state for answer in answers]
        assert states.count(State.RECEIVED) == 3  # 100 base units are there
        held = [recorded(answer).hold for answer in answers if recorded(answer).state is State.HELD]
        assert {hold.reason for hold in held if hold is not None} == {HoldReason.FUNDS}
        refusing = pays(payer, "no", payees[0], 30, on_hold=OnHold.REFUSE)
        assert refused(await world.intake.pay(payer, *refusing)).code is Code.INSUFFICIENT_FUNDS
        wallet = await world.fetch("SELECT * FROM strongroom.ledger_accounts WHERE account = 'wallet:hot'")
        assert (wallet[0]["debits_posted"], wallet[0]["credits_pending"]) == (100, 90)

    run(database, story, opening_minor=100)


def test_limits_hold_over_batches_and_after_a_restart(database: Database) -> None:
    async def story(world: World) -> None:
        payer = world.organisation.payer
        payees = [await declared(world.intake, world.organisation, f"p{n}") for n in range(6)]
        world.clock.now += 5_000
        one = 10_000  # a cent
        for number in range(3):
            payout = recorded(await world.intake.pay(payer, *pays(payer, f"k{number}", payees[number], one)))
            assert payout.hold is None
        held = recorded(await world.intake.pay(payer, *pays(payer, "k3", payees[3], one)))
        assert held.hold is not None
        assert (held.hold.reason, held.limit) == (HoldReason.LIMIT_WINDOW, "three cents")
        await world.intake.stop()
        world.intake = await Intake.start(world.database.dsn("api"), world.clock)
        again = recorded(await world.intake.pay(payer, *pays(payer, "k4", payees[4], one)))
        assert again.hold == held.hold
        await world.intake.stop()

    run(database, story, limits=[limit("three cents", "organisation", "all", 3)])


def test_a_frozen_organisation_holds_everything(database: Database) -> None:
    async def story(world: World) -> None:
        payee, payer = await cooled(world), world.organisation.payer
        await world.fetch("INSERT INTO strongroom.freezes VALUES ($1, 1, true, 1)", world.organisation.id)
        payout = recorded(await world.intake.pay(payer, *pays(payer, "k", payee)))
        assert payout.hold is not None
        assert payout.hold.reason is HoldReason.FREEZE
        await world.fetch("INSERT INTO strongroom.freezes VALUES ($1, 2, false, 2)", world.organisation.id)
        assert recorded(await world.intake.pay(payer, *pays(payer, "k2", payee))).hold is None

    run(database, story)


def test_a_revoked_key_records_nothing_whatever_the_gate_believed(database: Database) -> None:
    async def story(world: World) -> None:
        payee, payer = await cooled(world), world.organisation.payer
        owner = await world.owner()
        await revoke_key(owner, payer.key_id, Instant(1))
        await revoke_key(owner, world.organisation.declarer.key_id, Instant(1))
        await owner.close()
        before = await world.counts()
        assert refused(await world.intake.pay(payer, *pays(payer, "k", payee))).code is Code.KEY_REVOKED
        with pytest.raises(AssertionError, match="key_revoked"):
            await declared(world.intake, world.organisation, "second")
        assert await world.counts() == before

    run(database, story)


def test_a_second_writer_is_refused_and_a_zombie_is_fenced(database: Database) -> None:
    async def story(world: World) -> None:
        payee, payer = await cooled(world), world.organisation.payer
        with pytest.raises(WriterTakenError):
            await Intake.start(world.database.dsn("api"), world.clock)
        # the lock is lost without the writer's knowledge, and another takes over
        await world.fetch("SELECT strongroom.intake_begin(0)")
        before = await world.counts()
        assert refused(await world.intake.pay(payer, *pays(payer, "k", payee))).code is Code.UNAVAILABLE
        assert await world.counts() == before
        # it comes back by itself, with an epoch of its own
        for _ in range(50):
            answer = await world.intake.pay(payer, *pays(payer, "k", payee))
            if isinstance(answer, Recorded):
                break
            await asyncio.sleep(0.1)
        recorded(answer)

    run(database, story)


def test_money_taken_by_another_process_meanwhile_is_seen(database: Database) -> None:
    async def story(world: World) -> None:
        payee, payer = await cooled(world), world.organisation.payer
        accounts = {
            row["account"]: row["id"] for row in await world.fetch("SELECT id, account FROM strongroom.ledger_accounts")
        }
        await world.fetch(
            "INSERT INTO strongroom.ledger_postings (kind, debit_account, credit_account, amount, entry, created_at) "
            "VALUES ('posted', $1, $2, 60, 'swept', 1)", accounts["company:funding"], accounts["wallet:hot"],
        )
        held = recorded(await world.intake.pay(payer, *pays(payer, "k", payee, 50)))
        assert held.hold is not None
        assert held.hold.reason is HoldReason.FUNDS

    run(database, story, opening_minor=100)


def test_a_new_version_of_a_destination_waits_and_then_replaces(database: Database) -> None:
    async def story(world: World) -> None:
        payer, declarer = world.organisation.payer, world.organisation.declarer
        payee = await cooled(world)
        old = payee.destinations[0].destination
        record = DestinationRecord(
            world.organisation.id, payee.id, payee.name, old.destination_class, NETWORK, "0x" + "b" * 40, 2, old.digest
        )
        new = digest_of(record)
        evidence = evidence_of("v2", encode({"version": 2}), f"/v1/beneficiaries/{payee.id}/destinations")

        async def add(record: DestinationRecord, key: str = "v2x") -> object:
            changed = evidence._replace(idempotency_key=IdempotencyKey(key))
            return await world.intake.add_destination(declarer, payee.id, record, changed)

        assert refused(await add(replace(record, version=3))).field == "version"
        assert refused(await add(replace(record, previous=new))).field == "previous"
        by_payer = await world.intake.add_destination(payer, payee.id, record, evidence)
        assert refused(by_payer).code is Code.NOT_FOUND
        open_payout = recorded(await world.intake.pay(payer, *pays(payer, "open", payee)))
        first = await add(record, "v2")
        assert isinstance(first, BeneficiaryRecord)
        again = await add(record, "v2")
        assert isinstance(again, BeneficiaryRecord)
        assert (again.replayed, again.destinations) == (True, first.destinations)

        async def hold_of(digest: DestinationDigest, key: str) -> object:
            answer = await world.intake.pay(payer, *request(payer, key, payee.id, digest))
            return answer.code if isinstance(answer, Refusal) else answer.payout.hold and answer.payout.hold.reason

        assert await hold_of(new, "a") is HoldReason.COOLING
        assert await hold_of(old.digest, "b") is None
        world.clock.now += 5_000
        assert await hold_of(new, "c") is HoldReason.COOLING  # payouts to the version before are open
        settle = "UPDATE strongroom.payouts SET state = 'settled', hold = NULL WHERE destination_digest = $1"
        await world.fetch(settle, old.digest)
        assert await hold_of(new, "d") is None
        assert await hold_of(old.digest, "e") is Code.DESTINATION_MISMATCH
        assert open_payout.destination.digest == old.digest

    run(database, story)


def test_a_preview_says_what_would_happen_and_stores_nothing(database: Database) -> None:
    async def story(world: World) -> None:
        payee, payer = await cooled(world), world.organisation.payer
        before = await world.counts()
        good, _ = pays(payer, "k", payee, 300 * 10**6)
        bad, _ = request(payer, "k2", payee.id, DestinationDigest("ab" * 32))
        answers = await world.intake.preview(payer, [good, bad])
        assert isinstance(answers, list)
        assert isinstance(answers[0], Preview)
        assert (answers[0].approvals, answers[0].hold, answers[0].tier) == (2, None, 2)
        assert refused(answers[1]).code is Code.DESTINATION_MISMATCH
        assert await world.counts() == before

    run(database, story)


def test_a_cancel_request_is_recorded_once_and_only_by_its_client(database: Database) -> None:
    async def story(world: World) -> None:
        payee, payer = await cooled(world), world.organisation.payer
        payout = recorded(await world.intake.pay(payer, *pays(payer, "k", payee)))
        path = f"/v1/payouts/{payout.id}/cancel"
        evidence = evidence_of("c", b"{}", path)
        key = IdempotencyKey("k")
        by_other = await world.intake.cancel(world.organisation.other_payer, payout.id, key, evidence)
        assert refused(by_other).code is Code.NOT_FOUND
        wrong = refused(await world.intake.cancel(payer, payout.id, IdempotencyKey("x"), evidence))
        assert (wrong.code, wrong.field) == (Code.INVALID, "idempotency_key")
        for _ in range(2):
            cancelled = await world.intake.cancel(payer, payout.id, key, evidence)
            assert isinstance(cancelled, Recorded)
            assert (cancelled.payout.cancel_requested, cancelled.payout.state) == (True, State.RECEIVED)
        assert (await world.counts())["cancel_requests"] == 1
        await world.fetch("UPDATE strongroom.payouts SET state = 'planned'")
        late = await world.intake.cancel(payer, payout.id, key, evidence_of("c2", b"{}", path))
        assert refused(late).code is Code.TOO_LATE

    run(database, story)


def test_nobody_waits_for_somebody_elses_thousands(database: Database) -> None:
    async def story(world: World) -> None:
        payee, busy, quiet = await cooled(world), world.organisation.payer, world.organisation.other_payer
        order: list[str] = []

        async def ask(caller: object, key: str) -> None:
            await world.intake.pay(caller, *pays(caller, key, payee))  # type: ignore[arg-type]  # a Caller
            order.append(key)

        many = [asyncio.create_task(ask(busy, f"k{n}")) for n in range(3_000)]
        await asyncio.sleep(0)
        one = asyncio.create_task(ask(quiet, "mine"))
        await one
        assert order.index("mine") < 2 * 256
        await asyncio.gather(*many)

    run(database, story, tiers=[tier(10**12, 0, 0)], limits=[limit("roomy", "asset", "all", 10**12)])


def test_a_queue_that_is_full_refuses_at_once(database: Database) -> None:
    async def story(world: World) -> None:
        payee, payer = await cooled(world), world.organisation.payer
        asked = pays(payer, "k", payee)
        tasks = [asyncio.create_task(world.intake.pay(payer, *asked)) for _ in range(QUEUED_PER_CLIENT_MAXIMUM + 1)]
        answers = await asyncio.gather(*tasks)
        codes = [answer.code for answer in answers if isinstance(answer, Refusal)]
        assert codes == [Code.UNAVAILABLE]

    run(database, story)


def test_the_log_has_a_leaf_for_everything_said_with_the_role_that_said_it(database: Database) -> None:
    async def story(world: World) -> None:
        payee, payer = await cooled(world), world.organisation.payer
        recorded(await world.intake.pay(payer, *pays(payer, "k", payee)))
        rows = await world.fetch("SELECT leaf FROM strongroom.audit_leaves ORDER BY id")
        leaves = [parse_object(row["leaf"].encode()) for row in rows]
        assert [encode(leaf).decode() for leaf in leaves] == [row["leaf"] for row in rows]
        assert [(str(leaf["event"]).split("strongroom/event/")[1].split("/")[0], leaf["role"]) for leaf in leaves] == [
            ("organisation-created", "strongroom_owner"), ("beneficiary-declared", "strongroom_api"),
            ("destination-declared", "strongroom_api"), ("payout-recorded", "strongroom_api"),
        ]

    run(database, story)


