"""The road of payouts, all in reach of a test: real intake and engine on a real PostgreSQL, a real signer behind a
real Unix socket, and a simulated chain as a process. Only guard is one in memory (`tests.signer.world.TestGuard`); the
real one has its own tests and stands in `tests/e2e`.

Time stands still until a test moves it, for the engine, the signer and watch alike.
"""

import asyncio
import contextlib
import json
import os
import socket
import threading
import time
from base64 import b64decode
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import asyncpg
from nacl.signing import SigningKey
from tests.conftest import Database
from tests.rails.chain import Chain
from tests.signer.world import (
    DECLARE_KEY,
    DECLARER,
    ORGANISATION,
    PAY_KEY,
    PAYER,
    START,
    Human,
    World,
    payee,
    policy_document,
)

from strongroom.domain.document import DocumentError, Fields
from strongroom.domain.ids import DestinationDigest, IdempotencyKey, PayoutId
from strongroom.domain.instant import Instant, parse_instant
from strongroom.domain.money import Amount, AssetId
from strongroom.domain.payout import PayoutRequest
from strongroom.domain.permissions import Permission
from strongroom.engine.bench import Bench
from strongroom.engine.guard_client import SightError
from strongroom.engine.pipeline import advance
from strongroom.engine.screening import NoScreen
from strongroom.engine.signer_client import SignerClient
from strongroom.formats import simulated
from strongroom.guard.config import Node
from strongroom.guard.eyes import Eyes
from strongroom.protocol.approval import APPROVAL_REQUEST_TYPE, assertion_document
from strongroom.protocol.canonical import encode
from strongroom.protocol.client_request import ClientEvidence
from strongroom.protocol.destination_record import DestinationRecord, destination_digest
from strongroom.protocol.identifier import beneficiary_id, payout_id, run_id
from strongroom.protocol.intent import read_beneficiary
from strongroom.protocol.roster import Roster
from strongroom.protocol.run_tree import Seal, item_leaf, run_root
from strongroom.rails.simulated import SimulatedRail
from strongroom.signer.server import Channel, Server
from strongroom.store import session
from strongroom.store.engine import EngineTakenError, take_lock
from strongroom.store.intake import Intake
from strongroom.store.intake_run import RunRequest
from strongroom.store.organisations import NewClient, NewKey, NewOrganisation, create_organisation
from strongroom.store.record import BeneficiaryRequest, Caller, Evidence, RunItem
from strongroom.watch.alarms import Alarms
from strongroom.watch.confirmations import Follower
from strongroom.watch.reconcile import Reconciler

OPENING = 10_000_000
COINS = 10
STEPS_MAXIMUM = 200
STEP_MS = 5_500
"""More than cooling-off, and than every short wait of the engine."""
PAYS = Caller(ORGANISATION, PAYER, PAY_KEY)
DECLARES = Caller(ORGANISATION, DECLARER, DECLARE_KEY)


@contextmanager
def listening(world: World, path: Path) -> Iterator[None]:
    """The world's desk behind the signer's own server, on a Unix socket, in a thread of its own."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(path))
    listener.listen(8)
    channel = Channel("engine", listener, frozenset({os.getuid()}))
    server = Server(
        [channel], lambda name, frame: world.desk.answer(name, frame), lambda: None,
        lambda: time.monotonic_ns() // 1_000_000,
    )
    stop = threading.Event()

    def serve() -> None:
        while not stop.is_set():
            server.turn()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(5)
        listener.close()
        path.unlink()


class OwnEyes:
    """Guard's eyes on the chain, in this process, in the place of the engine's way to guard's listener."""

    def __init__(self, world: World, network: str, port: int, genesis: str) -> None:
        nodes = {network: Node("127.0.0.1", port, None, genesis)}
        log: Any = SimpleNamespace(
            current={ORGANISATION: world.payments.standing}, standings=SimpleNamespace(deployment=world.book.deployment)
        )
        self.eyes = Eyes(nodes, world.keys.guard, log, lambda: Instant(world.times.wall_ms))

    async def attest(self, network: str, chain_transaction: str, height: int, call: bytes = b"") -> bytes:
        body = {"chain_transaction": chain_transaction, "height": height, "network": network}
        body |= {"call": call.hex()} if call else {}
        try:
            return b64decode(str((await self.eyes.attest(Fields(body)))["attestation"]))
        except DocumentError as fault:
            raise SightError(str(fault)) from fault


class Road:
    network, asset = simulated.NETWORK, simulated.ASSET

    def __init__(self, world: World, database: Database, chain: Any, intake: Intake, sockets: Path) -> None:
        self.world, self.database, self.chain, self.intake, self.sockets = world, database, chain, intake, sockets
        self.destinations: dict[str, DestinationRecord] = {}
        self.payouts: dict[str, PayoutId] = {}
        self.runs: dict[str, str] = {}
        self.keys: dict[str, str] = {}
        self.screen: Any = NoScreen()
        self.guard: Any = None
        self.open_rail()
        self.connection: Any = None
        self.watch_connection: Any = None
        self.owner: Any = None
        self.alarms = Alarms(None, "0" * 16, SigningKey(b"\x07" * 32))
        self.bench: Any = None
        self.wrap: Callable[[Any], Any] = lambda each: each

    def now(self) -> Instant:
        return Instant(self.world.times.wall_ms)

    def open_rail(self) -> None:
        self.rail: Any = SimulatedRail(self.chain.url, answer_timeout_s=2)
        genesis = self.chain.call("GET", "/identity")["genesis"]
        self.guard = OwnEyes(self.world, self.network, self.chain.port, genesis)

    def made_bench(self, connection: Any, signer: Any) -> Bench:
        rails = {self.network: self.wrap(self.rail)}
        return Bench(connection, signer, rails, self.now, self.screen, self.guard)

    def address_of(self, name: str) -> str:
        return payee(name)

    async def open(self) -> None:
        """An engine and a watch, as after their start."""
        connection = await session.connect(self.database.dsn("engine"), "strongroom engine")
        try:
            await take_lock(connection)
        except EngineTakenError:
            await connection.close()
            raise
        self.connection = connection
        signer = SignerClient(str(self.sockets))
        self.bench = self.made_bench(self.wrap(self.connection), self.wrap(signer))
        self.signer_client = signer

    async def open_watch(self) -> None:
        self.watch_connection = await session.connect(self.database.dsn("watch"), "strongroom watch")
        self.follower = Follower({simulated.NETWORK: self.rail})
        self.reconciler = Reconciler({simulated.NETWORK: self.rail}, self.alarms, Instant(0))

    async def crash_engine(self) -> None:
        """As a SIGKILL does: the connections end, nothing is said."""
        self.signer_client.close()
        self.connection.terminate()
        await asyncio.sleep(0)
        for _ in range(100):
            try:
                await self.open()
            except EngineTakenError:  # PostgreSQL hasn't seen yet that the other is gone
                await asyncio.sleep(0.02)
            else:
                return
        raise AssertionError("the lock of the engine that was killed isn't free")

    # What clients do.

    def evidence(self, given: ClientEvidence, key: str, path: str) -> Evidence:
        return Evidence(
            "POST", path, "127.0.0.1:8420", IdempotencyKey(key), given.base, given.signature, given.body,
            self.now(),
        )

    async def declare(self, name: str) -> DestinationRecord:
        """A payee; each name has one address."""
        if name not in self.destinations:
            key = f"beneficiary-{name}"
            where = {"address": self.address_of(name), "network": self.network}
            body = {"destination": where, "name": f"Payee {name}"}
            given = self.world.request("/v1/beneficiaries", body, key, self.world.keys.declarer, DECLARE_KEY)
            beneficiary = beneficiary_id(ORGANISATION, DECLARER, IdempotencyKey(key))
            record = read_beneficiary(Fields(body), ORGANISATION, beneficiary)
            request = BeneficiaryRequest(beneficiary, IdempotencyKey(key), None, record)
            made = await self.intake.declare(DECLARES, request, self.evidence(given, key, "/v1/beneficiaries"))
            assert not hasattr(made, "code"), made
            self.destinations[name] = record
        return self.destinations[name]

    async def pay(self, name: str, minor: int, *, to: str = "", **changes: Any) -> PayoutId:
        """Each name is a payee's; `to` is another's."""
        record = await self.declare(to or name)
        key = f"payout-{name}-{len(self.payouts)}"
        body = self.world.payout_body(record, minor, **{"asset": self.asset, "external_id": key, **changes})
        given = self.world.payout_evidence(body, key)
        request = _request(payout_id(ORGANISATION, PAYER, IdempotencyKey(key)), key, body, record)
        made = await self.intake.pay(PAYS, request, self.evidence(given, key, "/v1/payouts"))
        assert not hasattr(made, "code"), made
        self.payouts[name], self.keys[name] = request.id, key
        return request.id

    async def begin_run(self, name: str, count: int, minor: int, **changes: Any) -> None:
        """Items to `NAME.0`, `NAME.1`, …, in one call, not sealed yet."""
        items = []
        for index in range(count):
            record = await self.declare(f"{name}.{index}")
            key = f"item-{name}-{index}"
            body = self.world.payout_body(record, minor, **{"asset": self.asset, "external_id": key, **changes})
            items.append({**body, "idempotency_key": key})
        key = f"run-{name}"
        run = run_id(ORGANISATION, PAYER, IdempotencyKey(key))
        leaves = [item_leaf(item, run, index) for index, item in enumerate(items)]
        given = self.world.request("/v1/payout-runs", {"items": items}, key, self.world.keys.payer, PAY_KEY)
        rows = tuple(
            RunItem(
                _request(payout_id(ORGANISATION, PAYER, IdempotencyKey(item["idempotency_key"])),
                         item["idempotency_key"], item, self.destinations[f"{name}.{index}"]), leaves[index],
            )
            for index, item in enumerate(items)
        )
        asked = RunRequest(run, IdempotencyKey(key), None, rows, None)
        made = await self.intake.open_run(PAYS, asked, self.evidence(given, key, "/v1/payout-runs"))
        assert not hasattr(made, "code"), made
        self.runs[name] = run
        self._seal = (count, {changes.get("asset", self.asset): count * minor}, run_root(leaves))
        for index, row in enumerate(rows):
            self.payouts[f"{name}.{index}"] = row.request.id

    async def seal_run(self, name: str) -> None:
        run = self.runs[name]
        count, totals, root = self._seal
        body = {"count": count, "root": root.hex(), "totals": {asset: str(minor) for asset, minor in totals.items()}}
        path = f"/v1/payout-runs/{run}/seal"
        given = self.world.request(path, body, "seal", self.world.keys.payer, PAY_KEY)
        made = await self.intake.seal_run(
            PAYS, run, Seal(count, totals, root), self.evidence(given, f"seal-{name}", path)  # type: ignore[arg-type]  # a test keeps ids as text
        )
        assert not hasattr(made, "code"), made

    async def cancel(self, name: str) -> None:
        payout = self.payouts.get(name) or self.runs[name]
        key = f"run-{name}" if name in self.runs else self.keys[name]
        path = f"/v1/{'payout-runs' if name in self.runs else 'payouts'}/{payout}/cancel"
        given = self.world.request(path, {"idempotency_key": key}, "cancel", self.world.keys.payer, PAY_KEY)
        evidence = self.evidence(given, f"cancel-{name}", path)
        cancel = self.intake.cancel_run if name in self.runs else self.intake.cancel
        made = await cancel(PAYS, payout, IdempotencyKey(key), evidence)  # type: ignore[arg-type]  # a test keeps ids as text
        assert not hasattr(made, "code"), made

    async def approve(self, name: str, *people: Human) -> None:
        """Over the newest request, as the API takes it: it doesn't matter here whether they may."""
        subject = self.runs.get(name) or self.payouts[name]
        rows = await self.fetch(
            "SELECT request, request_hash FROM strongroom.approval_requests WHERE subject = $1 ORDER BY id", subject
        )
        row = rows[-1]
        for person in people:
            given = assertion_document(person.asserts(row["request"], APPROVAL_REQUEST_TYPE))
            await self.owner.execute(
                "SELECT strongroom.approve($1, $2, $3, $4, $5)", row["request_hash"], person.id,
                given["credential"], encode(given).decode(), self.now(),
            )

    # What time and the chain do.

    async def look(self) -> bool:
        """Watch, once. Whether it had news."""
        changes = await self.follower.follow(self.watch_connection, self.now())
        await self.reconciler.step(self.watch_connection, self.now())
        return changes > 0

    async def go(self) -> None:
        """Engine and watch until nothing moves, with a little time passing."""
        for _ in range(STEPS_MAXIMUM):
            moved = await advance(self.bench)
            if not await self.look() and not moved:
                if not await self._is_waiting_a_moment():
                    return
                self.world.pass_by(STEP_MS)
        raise AssertionError(f"the engine doesn't come to rest: {await self.states()}")

    async def _is_waiting_a_moment(self) -> bool:
        """Whether something is due within the next step."""
        soon = self.now() + STEP_MS
        rows = await self.fetch(
            "SELECT EXISTS (SELECT FROM strongroom.payouts WHERE state IN ('received', 'held', 'awaiting_approval', "
            "'ready') AND due_at <= $1 AND attempts < 8) OR EXISTS (SELECT FROM strongroom.attempts WHERE state = "
            "'planned' AND due_at <= $1 AND tries < 3)", soon,
        )
        return bool(rows[0][0])

    def fund_chain(self) -> None:
        """What the ledger's openings say."""
        self.fund(OPENING, COINS)
        self.chain.mine(3)

    def fund(self, amount: int, coins: int = 1) -> None:
        for index in range(coins):
            self.chain.fund(self.world.wallet.address(ORGANISATION, 0, index), amount // coins)

    async def coin_of(self, name: str) -> tuple[simulated.Input, int]:
        """The first coin that the newest attempt for a payout spends, and its path's index."""
        rows = await self.fetch(
            "SELECT a.unsigned, a.paths FROM strongroom.attempts a JOIN strongroom.attempt_payouts p USING "
            "(chain_transaction) WHERE p.payout = $1 ORDER BY a.created_at", self.payouts[name],
        )
        paths = json.loads(rows[-1]["paths"])
        return simulated.parse_unsigned(rows[-1]["unsigned"]).inputs[0], int(paths[0][1])

    def spare_coin(self) -> tuple[simulated.Input, int]:
        """The newest coin of the wallet's last funded address."""
        index = COINS - 1
        address = self.world.wallet.address(ORGANISATION, 0, index)
        coin = self.chain.call("POST", "/coins", {"addresses": [address]})["coins"][0]
        return simulated.Input(bytes.fromhex(coin["txid"]), coin["index"], int(coin["amount"]), address), index

    def steal(self, minor: int, coin: simulated.Input, index: int) -> str:
        """A chain transaction signed with the wallet's own key, which no gate has seen."""
        rest = coin.amount - minor - 2_000
        outputs = (simulated.Output(minor, payee("thief")), simulated.Output(rest, coin.address))
        raw = simulated.encode_unsigned(simulated.Transaction((coin,), outputs))
        signed = self.world.wallet.sign(ORGANISATION, raw, [(0, index)])
        answer = self.chain.call("POST", "/transactions", {"signed": signed.hex()})
        assert answer["accepted"], answer
        return str(answer["txid"])

    async def chain_transaction_of(self, name: str) -> str:
        rows = await self.fetch(
            "SELECT chain_transaction FROM strongroom.attempt_payouts JOIN strongroom.attempts USING "
            "(chain_transaction) WHERE payout = $1 ORDER BY created_at", self.payouts[name],
        )
        return str(rows[-1][0])

    # What is seen.

    async def fetch(self, sql: str, *arguments: object) -> list[asyncpg.Record]:
        return await self.owner.fetch(sql, *arguments)

    async def states(self) -> dict[str, str]:
        """Each payout's state, with hold or reason where it has one."""
        rows = await self.fetch("SELECT id, state, hold, status_code FROM strongroom.payouts")
        names = {payout: name for name, payout in self.payouts.items()}
        return {
            names[row["id"]]: ":".join(each for each in (row["state"], row["hold"], row["status_code"]) if each)
            for row in rows
        }

    async def is_whole(self) -> bool:
        """What watch found last."""
        rows = await self.fetch("SELECT is_whole FROM strongroom.reconciliations ORDER BY id DESC LIMIT 1")
        return bool(rows and rows[0][0])

    async def alarm_names(self) -> list[str]:
        return [row[0] for row in await self.fetch("SELECT name FROM strongroom.alarms ORDER BY id")]

    async def account(self, name: str, asset: str = "") -> tuple[int, int]:
        """What an account has posted and what is pending, debits less credits."""
        rows = await self.fetch(
            "SELECT debits_posted - credits_posted, debits_pending - credits_pending FROM strongroom.ledger_accounts "
            "WHERE organisation = $1 AND account = $2 AND asset = $3", ORGANISATION, name, asset or self.asset,
        )
        return (int(rows[0][0]), int(rows[0][1])) if rows else (0, 0)

    def received(self) -> dict[str, list[int]]:
        """What each payee got, counted from the chain's raw blocks by nothing of the engine's or watch's."""
        names = {record.address: name for name, record in self.destinations.items()}
        found: dict[str, list[int]] = {}
        for height in range(self.chain.call("GET", "/tip")["height"] + 1):
            for signed in self.chain.call("GET", f"/blocks/{height}")["transactions"]:
                for output in simulated.parse_signed(bytes.fromhex(signed))[0].outputs:
                    if output.address in names:
                        found.setdefault(names[output.address], []).append(output.amount)
        return found


def _request(payout: PayoutId, key: str, body: dict[str, Any], record: DestinationRecord) -> PayoutRequest:
    extra = {name: body[name] for name in ("replaces",) if name in body}
    return PayoutRequest(
        payout, IdempotencyKey(key), record.beneficiary, DestinationDigest(destination_digest(record.encode())),
        Amount(int(body["amount"]), AssetId(body["asset"])), body["external_id"],
        expires_at=parse_instant(body["expires_at"]) if "expires_at" in body else None, **extra,
    )


@asynccontextmanager
async def open_road(
    folder: Path, database: Database, chain: Chain, made_roster: Roster | None = None, began: int = START, **policy: Any
) -> AsyncIterator[Road]:
    world = new_world(folder, policy_document(**policy), made_roster, began)
    async with opened(Road, world, database, chain, {simulated.ASSET: OPENING}) as road:
        yield road


def new_world(folder: Path, policy: dict[str, Any], made_roster: Roster | None = None, began: int = START) -> World:
    signer_folder = folder / "signer"
    signer_folder.mkdir()
    return World(signer_folder, policy, made_roster, began=began)


@asynccontextmanager
async def opened(
    kind: type[Any], world: World, database: Database, chain: Any, openings: dict[str, int]
) -> AsyncIterator[Any]:
    path = Path(f"/tmp/road-{os.getpid()}-{threading.get_ident() % 10_000}.sock")
    owner = await asyncpg.connect(database.owner_dsn)
    keys = world.keys
    scopes = [Permission.PAYOUTS_CREATE, Permission.PAYOUTS_CANCEL, Permission.APPROVALS_READ]
    payer = NewKey(PAY_KEY, bytes(keys.payer.verify_key), scopes)
    declarer = NewKey(DECLARE_KEY, bytes(keys.declarer.verify_key), [Permission.BENEFICIARIES_CREATE])
    await create_organisation(
        owner,
        NewOrganisation(
            ORGANISATION, "Example Rides", world.policy, world.roster,
            [NewClient(PAYER, "payer", [payer]), NewClient(DECLARER, "declarer", [declarer])], openings,
        ),
        Instant(world.times.wall_ms),
    )
    await owner.close()
    intake = await Intake.start(database.dsn("api"), lambda: Instant(world.times.wall_ms))
    with listening(world, path):
        road = kind(world, database, chain, intake, path)
        road.fund_chain()
        try:
            road.owner = await asyncpg.connect(database.owner_dsn)
            await road.open()
            await road.open_watch()
            yield road
        finally:
            await intake.stop()
            await road.rail.close()
            road.signer_client.close()
            for connection in (road.connection, road.watch_connection, road.owner):
                with contextlib.suppress(Exception):
                    await connection.close(timeout=2)
