"""Clients under load, and what they remember: every request they sent, and the first answer they got to it.

Requests are signed by the SDK, each try anew. A client sends again, or gives up for now; what became of the request is
asked when the deployment is back. Nothing here looks into the database.
"""

import asyncio
import contextlib
import itertools
import random
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import httpx
from tests.faults.deployment import NETWORK, USDC, Clients

from strongroom.formats.evm_address import eip55
from strongroom.sdk.canonical import derived_id, encode, run_leaf, tree_root
from strongroom.sdk.signing import Credentials, sign

TRIES_MAXIMUM = 200
RETRY_S = 0.05
AT_ONCE = 16
UNKNOWN = frozenset({409, 500, 502, 503, 504})
"""Answers after which the outcome isn't known, or the same request is to come again."""


class BrokenPromiseError(AssertionError):
    """An answer that contradicts an earlier one, or that no client should ever get."""


@dataclass(eq=False)
class Asked:
    """One request, however often it was sent. `answer` is the first 201."""

    credentials: Credentials
    path: str
    key: str
    body: dict[str, Any]
    expected_id: str
    kind: str
    answer: dict[str, Any] | None = None
    tries: int = 0
    news: int = 0
    """Answers that don't say that they are a replay: at most one, which may come after a replay, or never."""

    @property
    def was_lost(self) -> bool:
        """It was recorded, and the first answer never came."""
        return self.answer is not None and self.news == 0


@dataclass
class Memory:
    """All that the clients of one organisation know."""

    clients: Clients
    asked: list[Asked] = field(default_factory=list)
    notes: set[str] = field(default_factory=set)
    """Checkpoints of the audit log that somebody has seen."""

    @property
    def answered(self) -> list[Asked]:
        return [each for each in self.asked if each.answer is not None]

    @property
    def unknown(self) -> list[Asked]:
        return [each for each in self.asked if each.answer is None]


class Load:
    """Sends until it is told to stop. Each client is a task; all share one memory."""

    def __init__(self, url: str, memory: Memory, chance: random.Random, through: str | None = None) -> None:
        """`through` is a proxy's URL that leads to `url`, which is what is signed for."""
        self.url = through or url
        self.authority = url.removeprefix("http://")
        self.memory = memory
        self.chance = chance
        self.stop = asyncio.Event()
        self._http = httpx.AsyncClient(
            timeout=40, trust_env=False, limits=httpx.Limits(max_connections=64), headers={"Host": self.authority}
        )
        self._numbers = itertools.count(1)
        self._run = secrets.token_hex(4)
        self._payees: list[dict[str, Any]] = [
            each.answer for each in memory.asked if each.kind == "beneficiary" and each.answer is not None
        ]

    async def close(self) -> None:
        await self._http.aclose()

    async def work(self) -> None:
        """Everybody at once, until told to stop. Raises: BrokenPromiseError."""
        while not self._payees and not self.stop.is_set():
            await self._declare()
        everybody = [self._until_stopped(self._declare, 0.02)]
        everybody += [self._until_stopped(self._pay, 0.0) for _ in range(4)]
        everybody += [self._until_stopped(self._pay_twice_at_once, 0.01), self._until_stopped(self._open_run, 0.01)]
        everybody += [self._until_stopped(self._look, 0.03), self._until_stopped(self._ask_again, 0.01)]
        await asyncio.gather(*everybody)

    async def settle(self) -> None:
        """Ask about everything again: what was answered must be answered alike, what wasn't must become known."""
        slots = asyncio.Semaphore(AT_ONCE)
        await asyncio.gather(*(self._settle(each, slots) for each in list(self.memory.asked)))

    async def send(self, asked: Asked) -> bool:
        """One try; whether it was answered. Raises: BrokenPromiseError."""
        asked.tries += 1
        body = encode(asked.body)
        headers = sign(asked.credentials, "POST", self.authority, asked.path, "", body, asked.key)
        try:
            answer = await self._http.post(self.url + asked.path, content=body, headers=headers)
        except httpx.TransportError:
            return False
        if answer.status_code in UNKNOWN:
            return False
        if answer.status_code != 201:
            raise BrokenPromiseError(f"{asked.path} {asked.key}: {answer.status_code} {answer.text}")
        self._compare(asked, answer)
        return True

    def _compare(self, asked: Asked, answer: httpx.Response) -> None:
        body = answer.json()
        replayed = answer.headers.get("idempotent-replayed") == "true"
        if body["id"] != asked.expected_id:
            raise BrokenPromiseError(f"{asked.key} has id {body['id']}, and must have {asked.expected_id}")
        if asked.tries == 1 and replayed:
            raise BrokenPromiseError(f"{asked.key} was sent once, and the answer is a replay")
        if asked.answer not in (None, body):
            raise BrokenPromiseError(f"{asked.key}: first {asked.answer}, then {body}")
        asked.answer = body
        asked.news += not replayed
        if asked.news > 1:
            raise BrokenPromiseError(f"{asked.key} was answered as new a second time")

    async def _settle(self, asked: Asked, slots: asyncio.Semaphore) -> None:
        async with slots:
            asked.tries += 1  # what is sent now was sent before
            for _ in range(TRIES_MAXIMUM):
                if await self.send(asked):
                    return
                await asyncio.sleep(RETRY_S)
        raise BrokenPromiseError(f"{asked.path} {asked.key} isn't answered after {TRIES_MAXIMUM} tries")

    async def _until_stopped(self, act: Callable[[], Awaitable[None]], pause_s: float) -> None:
        while not self.stop.is_set():
            await act()
            await asyncio.sleep(pause_s)

    async def _try(self, asked: Asked) -> bool:
        """Some clients send again at once, some give up for now."""
        self.memory.asked.append(asked)
        while not await self.send(asked):
            if self.stop.is_set() or self.chance.random() < 0.5:
                return False
            await asyncio.sleep(0.01)
        return True

    async def _declare(self) -> None:
        asked = self._asked("beneficiary", self.memory.clients.declarer, "/v1/beneficiaries", {
            "name": "Ada Example",
            "destination": {"network": NETWORK, "address": eip55(self.chance.randbytes(20))},
        })
        if await self._try(asked) and asked.answer is not None:
            self._payees.append(asked.answer)

    async def _pay(self) -> None:
        await self._try(self._asked("payout", self.memory.clients.payer, "/v1/payouts", self._payout()))

    async def _pay_twice_at_once(self) -> None:
        asked = self._asked("payout", self.memory.clients.payer, "/v1/payouts", self._payout())
        self.memory.asked.append(asked)
        asked.tries += 1  # either may be the second
        await asyncio.gather(self.send(asked), self.send(asked))

    async def _open_run(self) -> None:
        payer = self.memory.clients.payer
        asked = self._asked("run", payer, "/v1/payout-runs", {})
        items = [
            {**self._payout(), "idempotency_key": f"{asked.key}/{index}"} for index in range(self.chance.randint(1, 12))
        ]
        root = tree_root(run_leaf(item, asked.expected_id, index) for index, item in enumerate(items))
        total = str(sum(int(item["amount"]) for item in items))
        asked.body = {"items": items, "seal": {"count": len(items), "root": root, "totals": {USDC: total}}}
        await self._try(asked)

    async def _ask_again(self) -> None:
        """A request that was answered, sent once more."""
        answered = [each for each in self.memory.asked[-50:] if each.answer is not None and each.tries]
        if answered:
            asked = self.chance.choice(answered)
            await self.send(asked)

    async def _look(self) -> None:
        """The log's newest checkpoint: the log must agree with it for ever."""
        path = "/v1/audit/checkpoint"
        headers = sign(self.memory.clients.payer, "GET", self.authority, path, "", None, None)
        with contextlib.suppress(httpx.TransportError):
            answer = await self._http.get(self.url + path, headers=headers)
            if answer.status_code == 200:
                self.memory.notes.add(answer.text)

    def _asked(self, kind: str, credentials: Credentials, path: str, body: dict[str, Any]) -> Asked:
        key = f"{kind}-{self._run}-{next(self._numbers)}"
        prefix = {"beneficiary": "ben_", "payout": "po_", "run": "run_"}[kind]
        expected = derived_id(prefix, kind, credentials.organisation, credentials.client_id, key)
        return Asked(credentials, path, key, body, expected, kind)

    def _payout(self) -> dict[str, Any]:
        payee = self.chance.choice(self._payees)
        return {
            "beneficiary": payee["id"], "destination_digest": payee["destination"]["digest"], "asset": USDC,
            "amount": str(self.chance.randint(1, 20_000_000)), "external_id": f"debt {self._run} {next(self._numbers)}",
        }
