"""Runs through intake: whole or not at all, gapless, and sealed only by what the items say."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from tests.conftest import Database
from tests.domain.policy_document import USDC
from tests.store.organisation import declared, evidence_of, pays
from tests.store.running import World, run

from strongroom.domain.errors import Code, Refusal
from strongroom.domain.ids import IdempotencyKey, RunId
from strongroom.protocol.canonical import encode
from strongroom.protocol.identifier import run_id
from strongroom.protocol.run_tree import Seal, item_leaf, run_root
from strongroom.store.intake_run import RunRequest
from strongroom.store.record import BeneficiaryRecord, Evidence, Recorded, RunItem, RunRecord


def items_of(
    world: World, run: RunId, first: int, payees: Sequence[BeneficiaryRecord], **changes: Any
) -> list[RunItem]:
    payer = world.organisation.payer
    items: list[RunItem] = []
    for index, payee in enumerate(payees, start=first):
        request, _ = pays(payer, f"item {index}".replace(" ", "-"), payee, 100 + index, **changes)
        leaf = item_leaf({"amount": str(request.amount.minor), "n": str(index)}, run, index)
        items.append(RunItem(request, leaf))
    return items


def seal_of(items: Sequence[RunItem]) -> Seal:
    total = sum(item.request.amount.minor for item in items)
    return Seal(len(items), {USDC: total}, run_root(item.leaf for item in items))


async def payees_of(world: World, count: int) -> list[BeneficiaryRecord]:
    payees = [await declared(world.intake, world.organisation, f"p{n}") for n in range(count)]
    world.clock.now += 5_000
    return payees


def opened_by(key: str, body: object = "run") -> Evidence:
    return evidence_of(key, encode({"body": str(body)}), "/v1/payout-runs")


def taken(answer: RunRecord | Refusal) -> RunRecord:
    assert isinstance(answer, RunRecord), answer
    return answer


def refused(answer: object) -> Refusal:
    assert isinstance(answer, Refusal), answer
    return answer


def test_a_run_in_one_call_is_recorded_with_its_seal_and_again_as_a_replay(database: Database) -> None:
    async def story(world: World) -> None:
        payer, payees = world.organisation.payer, await payees_of(world, 30)
        run = run_id(payer.organisation, payer.client, IdempotencyKey("run"))
        items = items_of(world, run, 0, payees)
        asked = RunRequest(run, IdempotencyKey("run"), None, items, seal_of(items))
        first = taken(await world.intake.open_run(payer, asked, opened_by("run")))
        assert (first.count, first.seal, first.replayed) == (30, seal_of(items), False)
        again = taken(await world.intake.open_run(payer, asked, opened_by("run")))
        assert again.replayed
        assert (again.count, again.totals, again.held, again.seal) == (30, first.totals, first.held, first.seal)
        other = refused(await world.intake.open_run(payer, asked, opened_by("run", "other")))
        assert (other.code, other.field) == (Code.IDEMPOTENCY_KEY_REUSED, "body")
        counts = await world.counts()
        assert (counts["payouts"], counts["run_items"], counts["run_seals"]) == (30, 30, 1)
        assert counts["ledger_postings"] == 31  # and the opening

    run(database, story)


def test_a_run_in_parts_is_gapless_and_sealed_once(database: Database) -> None:
    async def story(world: World) -> None:
        payer, payees = world.organisation.payer, await payees_of(world, 30)
        run = run_id(payer.organisation, payer.client, IdempotencyKey("run"))
        items = [
            item for first in (0, 10, 20) for item in items_of(world, run, first, payees[first : first + 10])
        ]
        key = IdempotencyKey("run")
        first = RunRequest(run, key, "march", items[:10], None)
        assert taken(await world.intake.open_run(payer, first, opened_by("run"))).seal is None

        async def add(first_index: int, part: list[RunItem], key: str, caller: object = payer) -> RunRecord | Refusal:
            evidence = evidence_of(key, encode({"first_index": first_index}), f"/v1/payout-runs/{run}/items")
            return await world.intake.add_items(caller, run, first_index, part, evidence)  # type: ignore[arg-type]  # a Caller

        async def seal(seal: Seal, key: str) -> RunRecord | Refusal:
            evidence = evidence_of(key, encode({"root": seal.root.hex()}), f"/v1/payout-runs/{run}/seal")
            return await world.intake.seal_run(payer, run, seal, evidence)

        for wrong in (9, 11, 20):
            assert refused(await add(wrong, items[10:20], f"gap{wrong}")).field == "first_index"
        assert refused(await add(10, items[10:20], "theirs", world.organisation.other_payer)).code is Code.NOT_FOUND
        assert taken(await add(10, items[10:20], "second")).count == 20
        again = taken(await add(10, items[10:20], "second"))
        assert (again.count, again.replayed) == (20, True)
        assert taken(await add(20, items[20:], "third")).count == 30
        whole = seal_of(items)
        for field, wrong_seal in (
            ("count", Seal(29, whole.totals, whole.root)), (f"totals.{USDC}", Seal(30, {USDC: 1}, whole.root)),
            ("root", Seal(30, whole.totals, bytes(32))),
        ):
            refusal = refused(await seal(wrong_seal, f"wrong {field}".replace(" ", "-")))
            assert (refusal.code, refusal.field) == (Code.SEAL_MISMATCH, field)
        assert taken(await seal(whole, "seal")).seal == whole
        assert taken(await seal(whole, "seal")).replayed
        assert refused(await add(30, items[:1], "late")).code is Code.RUN_SEALED
        assert refused(await seal(whole, "again")).code is Code.RUN_SEALED

    run(database, story)


def test_one_bad_item_in_a_hundred_is_named_and_nothing_is_kept(database: Database) -> None:
    async def story(world: World) -> None:
        payer, payees = world.organisation.payer, await payees_of(world, 100)
        run = run_id(payer.organisation, payer.client, IdempotencyKey("run"))
        items = items_of(world, run, 0, payees)
        bad, _ = pays(payer, "item-17", payees[17], 10**12 + 1)
        before = await world.counts()
        broken = [*items[:17], RunItem(bad, items[17].leaf), *items[18:]]
        asked = RunRequest(run, IdempotencyKey("run"), None, broken, None)
        refusal = refused(await world.intake.open_run(payer, asked, opened_by("run")))
        assert (refusal.code, refusal.field) == (Code.AMOUNT_OUT_OF_RANGE, "items[17].amount")
        wrong = RunRequest(run, IdempotencyKey("run"), None, items, Seal(100, {USDC: 1}, bytes(32)))
        refusal = refused(await world.intake.open_run(payer, wrong, opened_by("run")))
        assert (refusal.code, refusal.field) == (Code.SEAL_MISMATCH, f"seal.totals.{USDC}")
        debt = items[3].request.external_id
        same_debt = RunItem(pays(payer, "new", payees[3], external_id=debt)[0], b"{}")
        for twice, field in ((items[3], "idempotency_key"), (same_debt, "external_id")):
            asked = RunRequest(run, IdempotencyKey("run"), None, [*items, twice], None)
            assert refused(await world.intake.open_run(payer, asked, opened_by("run"))).field == f"items[100].{field}"
        assert await world.counts() == before
        windows = await world.intake.preview(payer, [items[0].request])
        assert isinstance(windows, list)
        assert not isinstance(windows[0], Refusal)
        assert [used for _, _, _, used in windows[0].limits] == [0, 0, 0]  # what was counted was taken back

    run(database, story)


def test_items_share_their_keys_with_single_payouts(database: Database) -> None:
    async def story(world: World) -> None:
        payer, payees = world.organisation.payer, await payees_of(world, 3)
        run = run_id(payer.organisation, payer.client, IdempotencyKey("run"))
        items = items_of(world, run, 0, payees)
        single = await world.intake.pay(payer, *pays(payer, "item-1", payees[1]))
        assert isinstance(single, Recorded)
        asked = RunRequest(run, IdempotencyKey("run"), None, items, None)
        refusal = refused(await world.intake.open_run(payer, asked, opened_by("run")))
        assert (refusal.code, refusal.field) == (Code.IDEMPOTENCY_KEY_REUSED, "items[1].idempotency_key")

    run(database, story)


def test_a_cancelled_run_takes_nothing_more(database: Database) -> None:
    async def story(world: World) -> None:
        payer, payees = world.organisation.payer, await payees_of(world, 3)
        key = IdempotencyKey("run")
        run = run_id(payer.organisation, payer.client, key)
        items = items_of(world, run, 0, payees)
        taken(await world.intake.open_run(payer, RunRequest(run, key, None, items[:2], None), opened_by("run")))
        evidence = evidence_of("cancel", b"{}", f"/v1/payout-runs/{run}/cancel")
        wrong = await world.intake.cancel_run(payer, run, IdempotencyKey("other"), evidence)
        assert refused(wrong).code is Code.NOT_FOUND
        assert taken(await world.intake.cancel_run(payer, run, key, evidence)).cancel_requested
        more = evidence_of("more", b"{}", f"/v1/payout-runs/{run}/items")
        assert refused(await world.intake.add_items(payer, run, 2, items[2:], more)).code is Code.TOO_LATE
        seal = evidence_of("seal", b"{}", f"/v1/payout-runs/{run}/seal")
        assert refused(await world.intake.seal_run(payer, run, seal_of(items[:2]), seal)).code is Code.TOO_LATE

    run(database, story)


@pytest.mark.parametrize("size", [1_000])
def test_a_large_run_and_singles_at_once_keep_the_books(database: Database, size: int) -> None:
    async def story(world: World) -> None:
        payer, other = world.organisation.payer, world.organisation.other_payer
        payees = await payees_of(world, 20)
        run = run_id(payer.organisation, payer.client, IdempotencyKey("run"))
        items: list[RunItem] = []
        for index in range(size):
            request, _ = pays(payer, f"item-{index}", payees[index % 20], 100)
            items.append(RunItem(request, item_leaf({"n": str(index)}, run, index)))
        asked = RunRequest(run, IdempotencyKey("run"), None, items, seal_of(items))
        answers = await asyncio.gather(
            world.intake.open_run(payer, asked, opened_by("run")),
            *(world.intake.pay(other, *pays(other, f"s{n}", payees[n % 20], 7)) for n in range(300)),
        )
        assert taken(answers[0]).count == size  # type: ignore[arg-type]  # the first is the run
        wallet = await world.fetch("SELECT * FROM strongroom.ledger_accounts WHERE account = 'wallet:hot'")
        posted = await world.fetch("SELECT sum(amount) FROM strongroom.ledger_postings WHERE kind = 'pending'")
        open_now = await world.fetch("SELECT sum(amount) FROM strongroom.payouts WHERE counted")
        assert wallet[0]["credits_pending"] == posted[0][0] == open_now[0][0]

    run(database, story)
