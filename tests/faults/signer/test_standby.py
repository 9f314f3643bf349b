"""How long a standby takes: the signer's disk is destroyed, and another begins with its keys and genesis alone.

It must be there within 15 minutes with 100,000 entries (under STRONGROOM_FAULTS=full; a smaller number otherwise), and
know every budget as the signer knew it.
"""

import time
from pathlib import Path
from typing import Any

import pytest
from tests.faults.signer.ground import IS_FULL
from tests.guard.test_with_signer import RealGuard, opening
from tests.signer.world import ORGANISATION, PAY_KEY, PAYER, World

from strongroom.domain.ids import IdempotencyKey
from strongroom.domain.instant import DAY_MS
from strongroom.domain.money import Amount, AssetId
from strongroom.domain.policy import Counts, LimitScope
from strongroom.formats import simulated
from strongroom.journal.journal import FileDisk, Journal
from strongroom.protocol.canonical import record_hash
from strongroom.protocol.destination_record import destination_digest
from strongroom.protocol.entry import Kind
from strongroom.protocol.identifier import payout_id
from strongroom.protocol.intent import PayoutIntent
from strongroom.protocol.journal_chain import EMPTY_HEAD
from strongroom.signer.book import Book, Paid, intent_row

ENTRIES = 100_000 if IS_FULL else 2_000
MAXIMUM_S = 15 * 60 * ENTRIES // 100_000
BATCH = 1_000


def fill(world: World, count: int) -> None:
    """A journal of `count` entries more: intents, and spends as the gate decides them, which it isn't asked for."""
    record = world.cooled()
    digest = destination_digest(record.encode())
    for number in range(count // 2):
        clock = world.notary.reading()
        payout = payout_id(ORGANISATION, PAYER, IdempotencyKey(f"filled-{number}"))
        amount = Amount(1_000 + number, AssetId(simulated.ASSET))
        intent = PayoutIntent(payout, PAYER, record.beneficiary, digest, amount, f"trip {number}", None, None, None)
        row = intent_row("ab" * 32, PAY_KEY, intent)
        world.notary.write(Kind.INTENTS, {"intents": [row], "organisation": ORGANISATION}, clock)
        paid = Paid(
            payout, PAYER, PAY_KEY, record.beneficiary, simulated.ASSET, amount.minor, simulated.NETWORK,
            record.address, intent.external_id, "", "", amount.minor, is_attended=False, is_young=True,
        )
        names = [record_hash(kind, payout.encode()).hex() for kind in ("a transaction", "a coin")]
        world.notary.write(
            Kind.SPEND,
            {
                "browser_reference_minor": "0", "change_next": number + 1, "fee_reference_minor": "500",
                "inputs": [[f"{names[1]}:0"]], "items": [paid.row()], "network": simulated.NETWORK, "operation": "pay",
                "organisation": ORGANISATION, "payouts": [[payout]], "transaction": names[0],
                "uses_word": False,
            },
            clock,
        )
        if number % BATCH == BATCH - 1:
            world.notary.commit()
            world.notary.agree()
    world.notary.commit()
    world.notary.agree()


def budgets(book: Book) -> dict[str, int]:
    payments: Any = book.organisations[ORGANISATION]
    now = book.clock.at_least
    return {
        counts: payments.used(LimitScope.ORGANISATION, counts, None, DAY_MS, now) for counts in Counts
    } | {"attempts": len(payments.attempts), "intents": len(payments.intents), "change": payments.change_next}


@pytest.mark.faults
def test_a_standby_is_there_in_time_and_knows_every_budget(tmp_path: Path) -> None:
    for name in ("signer", "guard", "standby"):
        (tmp_path / name).mkdir(mode=0o700)
    world = World(tmp_path / "signer")
    guard: Any = RealGuard(world, tmp_path / "guard")
    world.guard = guard
    world._open(world.journal)
    world.notary.agree()
    guard.beat()
    fill(world, ENTRIES)
    genesis, before, length = next(iter(world.journal.entries())), budgets(world.book), world.journal.length
    world.journal.close()
    (tmp_path / "signer" / "journal").unlink()

    journal = Journal.load(FileDisk(str(tmp_path / "standby"), create=True))
    journal.settle(0, EMPTY_HEAD)
    journal.append(genesis)
    journal.sync()
    journal.close()
    began = time.monotonic()
    start = opening(world, Journal.load(FileDisk(str(tmp_path / "standby"))))
    start.settle()
    took_s = time.monotonic() - began
    print(f"{length} entries in {took_s:.1f} s, {length / took_s:.0f} a second")
    assert start.journal.length == length
    assert budgets(start.book) == before
    assert before[Counts.UNATTENDED] == sum(1_000 + number for number in range(ENTRIES // 2))
    assert took_s < MAXIMUM_S
    start.journal.close()
    guard.close()
