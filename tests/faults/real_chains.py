"""A sandbox on both real chains, and whoever asks it for payouts, whatever happens meanwhile.

Engine and watch reach their nodes by way of liars, which are honest until they are told otherwise; what no block takes
is offered for more after two seconds.
"""

import asyncio
import contextlib
import csv
import hashlib
import json
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections import defaultdict, deque
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import httpx
from tests.e2e.sandbox import Sandbox, eventually
from tests.guard.process import given_document
from tests.rails.bitcoin_node import REGTEST
from tests.rails.lying_node import LyingNode
from tests.repository.documents import ROOT
from tests.sandbox.box import Box

from strongroom.cli.passkey import software_passkey
from strongroom.domain.instant import Instant
from strongroom.formats.bitcoin_address import bitcoin_address_of
from strongroom.formats.evm_address import DEVELOPMENT_CHAIN, eip55
from strongroom.protocol.control import ByPeople
from strongroom.protocol.negative import NEGATIVE_TYPE, Action, Negative
from strongroom.protocol.record_writer import write_negative
from strongroom.sandbox.bitcoin import Bitcoin
from strongroom.sandbox.evm import Evm
from strongroom.sandbox.process import Known
from strongroom.sandbox.supervisor import RESTARTS_MAXIMUM, RESTARTS_WITHIN_S
from strongroom.store import session

VICTIMS = ("engine", "signer", "guard", "api", "watch", "postgres", "bitcoin", "evm", "link")
SYMBOLS = ("BTC", "USDC", "USDT")
STUCK_MS = 2_000
RETRY_S = 0.2


@dataclass(frozen=True)
class Payee:
    name: str
    symbol: str
    network: str
    address: str
    minor: int


def payee(number: int) -> Payee:
    symbol, name = SYMBOLS[number % len(SYMBOLS)], f"payee-{number}"
    twenty = hashlib.sha256(f"strongroom {name}".encode()).digest()[:20]
    if symbol == "BTC":
        return Payee(name, symbol, REGTEST, str(bitcoin_address_of(b"\0\x14" + twenty, REGTEST)), 1_000 + number)
    return Payee(name, symbol, DEVELOPMENT_CHAIN, eip55(twenty), 1_000_000 + number)


class RealChains(Sandbox):
    def __init__(self, box: Box) -> None:
        super().__init__(box)
        bitcoin, evm = self.document["bitcoin"], self.document["evm"]
        self.miner = Bitcoin(bitcoin["rpc_url"], Path(bitcoin["cookie_file"]))
        self.evm = Evm(evm["rpc_url"])
        self.vault = str(evm["hot_vault"])
        self.assets: dict[str, str] = self.document["assets"]
        self.tokens = {symbol: self.assets[symbol].rpartition(":")[2] for symbol in ("USDC", "USDT")}
        bitcoin_port, evm_port = (int(each["rpc_url"].rpartition(":")[2]) for each in (bitcoin, evm))
        self.liars = {
            ("engine", REGTEST): LyingNode(bitcoin_port), ("engine", DEVELOPMENT_CHAIN): LyingNode(evm_port),
            ("watch", REGTEST): LyingNode(bitcoin_port), ("watch", DEVELOPMENT_CHAIN): LyingNode(evm_port),
        }
        self.ended: dict[str, deque[float]] = defaultdict(deque)
        self._configure("engine", stuck_ms=STUCK_MS, bump_after_ms=STUCK_MS)
        self._configure("watch")

    def close(self) -> None:
        for liar in self.liars.values():
            liar.close()
        self.miner.close()
        self.evm.close()
        super().close()

    def _configure(self, process: str, **settings: int) -> None:
        """It is told so when it is back."""
        file = self.box.data / process / "config.json"
        config = {**json.loads(file.read_text()), **settings}
        for (whose, network), liar in self.liars.items():
            if whose == process:
                config["nodes"][network]["url"] = liar.url
        file.write_text(json.dumps(config))
        assert self.end(process)

    def end(self, process: str) -> bool:
        """SIGKILL, but for anvil (see the test). False if it isn't there now, or was ended so often that its supervisor
        would give it up."""
        times, now = self.ended[process], time.monotonic()
        while times and now - times[0] > RESTARTS_WITHIN_S + 2:
            times.popleft()
        pid, started = json.loads((self.box.data / "processes.json").read_text()).get(process, (0, 0))
        known = Known(pid, started)
        if len(times) >= RESTARTS_MAXIMUM - 1 or not pid or not known.alive():
            return False
        known.signal(signal.SIGTERM if process == "evm" else signal.SIGKILL)
        times.append(now)
        return True

    # The record, officers, and what is true at the end.

    def query(self, sql: str) -> list[Any]:
        """As the owner. Empty while PostgreSQL is away."""

        async def go() -> list[Any]:
            owner = await asyncpg.connect(self.document["database_url"])
            try:
                return list(await owner.fetch(sql))
            finally:
                await owner.close()

        try:
            return asyncio.run(go())
        except session.FAULTS:
            return []

    def resolve_alarms(self) -> set[str]:
        """An officer has looked at each, and says so; their names. Empty while guard is away."""
        organisation = self.document["organisation"]
        try:
            alarms = self.guard.get("/v1/status").json()["organisations"][organisation]["alarms"]
            for name in alarms:
                expires = Instant(time.time_ns() // 1_000_000 + 600_000)
                record = write_negative(
                    Negative(Action.RESOLVE, expires, 0, name, organisation, secrets.token_hex(32))
                )
                given = ByPeople(record, (software_passkey(self.document, "cleo").asserts(record, NEGATIVE_TYPE),))
                self.guard.post("/v1/negatives", json={"organisation": organisation, **given_document(given)})
        except (httpx.HTTPError, KeyError):
            return set()
        return set(alarms)

    def hurry(self, but: Collection[str] = frozenset()) -> None:
        """What waits a minute for its next try is tried now, but for these payouts, which would hold up others."""
        for table, key in (("payouts", "id"), ("attempts", "chain_transaction")):
            others = "".join(f" AND {key} <> '{each}'" for each in but)
            self.query(f"UPDATE strongroom.{table} SET due_at = 0 WHERE due_at > 0 AND state <> 'settled'{others}")

    def unsettled(self) -> list[str]:
        rows = self.query(
            "SELECT id, state, coalesce(hold, '') AS hold, coalesce(status_code, '') AS code "
            "FROM strongroom.payouts WHERE state <> 'settled'"
        )
        return [" ".join(row) for row in rows]

    def settles_something(self) -> bool:
        """Waits for it."""
        eventually("something is settled", lambda: bool(self.query(
            "SELECT FROM strongroom.payouts WHERE state = 'settled'")))
        return True

    def forget(self, count: int) -> set[str]:
        """Of so many settled payouts in each asset by which attempt they were paid, and that they were; their ids."""
        found: list[str] = []

        async def go() -> None:
            owner = await asyncpg.connect(self.document["database_url"])
            try:
                async with owner.transaction():
                    await owner.execute("SET LOCAL session_replication_role = replica")
                    rows = await owner.fetch(
                        "SELECT id FROM (SELECT id, row_number() OVER (PARTITION BY asset ORDER BY created_at DESC) AS "
                        "place FROM strongroom.payouts WHERE state = 'settled') AS settled WHERE place <= $1", count,
                    )
                    found[:] = [row["id"] for row in rows]
                    await owner.execute("DELETE FROM strongroom.attempt_payouts WHERE payout = ANY ($1)", found)
                    await owner.execute(
                        "UPDATE strongroom.payouts SET state = 'received', due_at = 0 WHERE id = ANY ($1)", found
                    )
            finally:
                await owner.close()

        def is_forgotten() -> bool:
            with contextlib.suppress(session.FAULTS):
                asyncio.run(go())
            return len(found) == count * len(SYMBOLS)

        eventually("the record forgets", is_forgotten)
        return set(found)

    def is_there(self) -> bool:
        """Whether PostgreSQL answers."""
        return bool(self.query("SELECT 1"))

    def tally(self) -> dict[str, int]:
        """How often the record says that something happened; 0 while PostgreSQL is away."""
        counts = {
            "reverted": "chain_reports WHERE status = 'reverted'", "skipped": "batch_reports WHERE fate = 'skipped'",
            "bumped": "attempts WHERE operation = 'bump'",
            "sent again": "attempts WHERE batch <> '' AND replaces <> ''",
            "settled": "attempts WHERE state = 'settled'", "dropped": "attempts WHERE state = 'dropped'",
        }
        return {name: sum(row[0] for row in self.query(f"SELECT count(*) FROM strongroom.{what}"))
                for name, what in counts.items()}

    def unequal(self) -> list[dict[str, Any]]:
        """Of what `status` says, assets in which ledger, chain and journal aren't known to be the same."""
        found = {each["symbol"]: each for each in self.box.status()["assets"]}
        wanted = [found.get(symbol, {"symbol": symbol, "is_equal": None}) for symbol in (*SYMBOLS, "ETH")]
        return [each for each in wanted if not each["is_equal"]]

    def recount(self, payees: list[Payee]) -> "subprocess.CompletedProcess[str]":
        file = self.box.data / "acknowledged.csv"
        with file.open("w", newline="") as out:
            writer = csv.writer(out)
            writer.writerow(("name", "network", "address", "asset", "amount", "external_id"))
            writer.writerows((each.name, each.network, each.address, each.symbol, each.minor, each.name)
                             for each in payees)
        command = [sys.executable, "-I", "-S", str(ROOT / "tools/recount.py"), str(file)]
        return subprocess.run(
            [*command, str(self.box.data / "sandbox.json")], capture_output=True, text=True, check=False, timeout=300
        )

    def mine(self) -> None:
        """A block on both chains: what came last becomes final."""
        self.miner.mine()
        self.evm.mine()

    def is_log_verified(self) -> bool:
        file = self.box.data / "log.jsonl"
        exported = self.box.run("audit", "export", str(file), "--all", "--json")
        assert exported.returncode == 0, exported.stderr
        key = self.document["checkpoint_public_key"]
        return self.box.run("audit", "verify", str(file), "--key", key).returncode == 0

    def logs(self) -> str:
        return "\n".join(f"--- {name}\n{(self.box.data / f'{name}.log').read_text()[-3_000:]}"
                         for name in ("engine", "watch", "guard", "supervisor"))


class Feed(threading.Thread):
    """Asks for payouts until it is told to stop: each to a new payee, in one asset after the other, again and again
    until it was acknowledged."""

    def __init__(self, world: RealChains, pause_s: float) -> None:
        super().__init__(daemon=True)
        self._world = world
        self._pause_s = pause_s
        self.stop = threading.Event()
        self.asked: list[Payee] = []
        self.acknowledged: dict[str, Payee] = {}
        self.tries = 0

    def run(self) -> None:
        number = 0
        while not self.stop.is_set():
            each = payee(number)
            self.asked.append(each)
            self.acknowledged[self._until_acknowledged(each)] = each
            number += 1
            self.stop.wait(self._pause_s)

    def _until_acknowledged(self, each: Payee) -> str:
        while True:
            self.tries += 1
            try:
                made = self._world.declarer.beneficiaries.create(
                    idempotency_key=f"declare-{each.name}", name=f"Payee {each.name}",
                    destination={"network": each.network, "address": each.address},
                )
                paid = self._world.payer.payouts.create(
                    idempotency_key=each.name, beneficiary=made["id"], asset=self._world.assets[each.symbol],
                    destination_digest=made["destination"]["digest"], amount=str(each.minor), external_id=each.name,
                )
                return str(paid["id"])
            except Exception:  # whatever it was: the same request again, with the same key
                time.sleep(RETRY_S)
