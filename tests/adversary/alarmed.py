"""How long a theft, and a ledger that lies, stay unseen: from the fault to the alarm at guard, time after time.

The thief has the payment keys and a node. Of what it takes a part goes back to the wallet, so that there is something
to take again; each is a new alarm. The liar has the database: it says that the wallet has more than stands on the
chain, and no block comes to show it.
"""

import os
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from tests.adversary.firm import Firm
from tests.adversary.plunder import OWN

from strongroom.formats import simulated
from strongroom.signer.keys import KeyStore, open_key_file

LOOK_S = 0.005
LATE_S = 10
STOLEN = 10_000
JITTER_S = 0.6


def stored_keys(firm: Firm) -> KeyStore:
    data = firm.ground.data
    identity = os.open(data / "signer.identity", os.O_RDONLY)
    try:
        return open_key_file(next((data / "signer").glob("*.age")).read_bytes(), identity)
    finally:
        os.close(identity)


def is_raised(firm: Firm, alarm: str) -> bool:
    return alarm in firm.ground.status()["organisations"][firm.id]["alarms"]


def seconds_until(holds: Callable[[], bool], began: float) -> float:
    while not holds():
        if time.monotonic() - began > LATE_S:
            raise AssertionError(f"not within {LATE_S} s")
        time.sleep(LOOK_S)
    return time.monotonic() - began


def thefts(firm: Firm, count: int, chance: random.Random) -> list[float]:
    """Seconds from each theft's block, which comes at once, to its alarm at guard."""
    keys, ground = stored_keys(firm), firm.ground
    coins = ground.chain.post("/coins", json={"addresses": list(firm.addresses)}).raise_for_status().json()["coins"]
    coin: dict[str, Any] = coins[0]
    place = (0, firm.addresses.index(coin["address"]))
    taken = simulated.Input(bytes.fromhex(coin["txid"]), coin["index"], int(coin["amount"]), coin["address"])
    took: list[float] = []
    for _ in range(count):
        back = taken.amount - STOLEN - 1_000
        raw = simulated.encode_unsigned(simulated.Transaction(
            (taken,), (simulated.Output(STOLEN, OWN[0]), simulated.Output(back, taken.address))))
        digest = simulated.signature_hash(raw, simulated.SIGHASH_ALL)
        public = keys.wallet_public_key(firm.id, simulated.NETWORK, *place)
        signature = keys.wallet_sign(firm.id, simulated.NETWORK, *place, digest)
        signed = simulated.assemble(raw, (simulated.Witness(simulated.SIGHASH_ALL, public, signature),))
        name = simulated.transaction_id(raw)
        time.sleep(chance.uniform(0, JITTER_S))
        began = time.monotonic()
        assert ground.chain.post("/transactions", json={"signed": signed.hex()}).json()["accepted"]
        ground.mine()
        alarm = f"unknown-spend.{name.hex()[:40]}"
        took.append(seconds_until(partial(is_raised, firm, alarm), began))
        firm.resolve(alarm)
        taken = simulated.Input(name, 1, back, taken.address)
    return took


def lies(firm: Firm, count: int, chance: random.Random) -> list[float]:
    """Seconds from each false posting to its alarm at guard. Each is taken back before the next one."""
    took: list[float] = []
    for _ in range(count):
        with posted(firm, 1 + len(took)) as began:
            took.append(seconds_until(partial(is_raised, firm, f"deficit.{simulated.NETWORK}"), began))
        firm.ground.eventually(lambda: is_whole(firm), "the ledger is what stands on the chain again")
        firm.resolve(f"deficit.{simulated.NETWORK}")
        time.sleep(chance.uniform(0, JITTER_S))
    return took


@contextmanager
def posted(firm: Firm, minor: int) -> Iterator[float]:
    """A posting that brings the wallet so much, and afterwards one that takes it; when it was committed."""
    ledger = (
        "INSERT INTO strongroom.ledger_postings (kind, debit_account, credit_account, amount, entry, created_at) "
        "SELECT 'posted', max(id) FILTER (WHERE account = $2), max(id) FILTER (WHERE account = $3), $4, 'a lie', 1 "
        "FROM strongroom.ledger_accounts WHERE organisation = $1 AND asset = $5"
    )
    wallet, funding = "wallet:hot", "company:funding"
    firm.ground.query("owner", ledger, firm.id, wallet, funding, minor, simulated.ASSET)
    yield time.monotonic()
    firm.ground.query("owner", ledger, firm.id, funding, wallet, minor, simulated.ASSET)


def is_whole(firm: Firm) -> bool:
    rows = firm.ground.query(
        "owner", "SELECT is_whole FROM strongroom.reconciliations WHERE organisation = $1 ORDER BY id DESC LIMIT 1",
        firm.id,
    )
    return bool(rows and rows[0]["is_whole"])
