"""Small worlds for property tests: what may be asked, in groups that go off at once, with cuts of the connection."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import asyncpg
from hypothesis import strategies as st
from tests.conftest import ROLE_PASSWORD, Database
from tests.domain.policy_document import USDC, limit
from tests.properties.proxy import Cut, Proxy
from tests.store.organisation import Clock, Organisation, create, declared, evidence_of, pays

from strongroom.domain.errors import Code, Refusal
from strongroom.domain.ids import IdempotencyKey
from strongroom.protocol.canonical import encode
from strongroom.protocol.identifier import run_id
from strongroom.protocol.run_tree import Seal, item_leaf, run_root
from strongroom.store.intake import Intake
from strongroom.store.intake_run import RunRequest
from strongroom.store.record import BeneficiaryRecord, PayoutRecord, Recorded, RunItem, RunRecord

CENT = 10_000
"""Base units of the test's asset that are worth a cent."""

LIMIT_CENTS = 1_000
WALLET_CENTS = 950
TRIES_MAXIMUM = 100
ADDRESSES = tuple(f"0x{number:040x}" for number in (0xA, 0xA, 0xB))
"""The first two beneficiaries are paid at one address."""


@dataclass(frozen=True)
class Pay:
    key: int
    payee: int
    debt: int
    cents: int


@dataclass(frozen=True)
class Run:
    key: int
    items: tuple[Pay, ...]


@dataclass(frozen=True)
class Step:
    """Asked at once; before, the clock moves and perhaps another writer takes over; the connection is cut at a message
    of this step."""

    asks: tuple[Pay | Run, ...]
    pause_ms: int
    cut: tuple[Cut, int] | None
    restart: bool = False


pay = st.builds(
    Pay, key=st.integers(0, 4), payee=st.integers(0, 2), debt=st.integers(0, 3), cents=st.sampled_from((1, 150, 400))
)
run = st.builds(Run, key=st.integers(0, 1), items=st.lists(pay, min_size=1, max_size=3).map(tuple))
cut = st.tuples(st.sampled_from(Cut), st.integers(1, 5))


def steps(*, with_cuts: bool) -> st.SearchStrategy[list[Step]]:
    return st.lists(
        st.builds(
            Step,
            asks=st.lists(st.one_of(pay, pay, pay, run), min_size=1, max_size=5).map(tuple),
            pause_ms=st.sampled_from((0, 0, 1, 60_000)),
            cut=st.one_of(st.none(), cut) if with_cuts else st.none(),
            restart=st.booleans(),
        ),
        min_size=1, max_size=5,
    )


class Teller:
    """Asks intake and remembers every answer, as the clients of one organisation would."""

    def __init__(
        self, dsn: str, intake: Intake, organisation: Organisation, clock: Clock, proxy: Proxy | None
    ) -> None:
        self.dsn = dsn
        self.intake = intake
        self.organisation = organisation
        self.clock = clock
        self.proxy = proxy
        self.payees: list[BeneficiaryRecord] = []
        self.recorded: dict[str, tuple[object, PayoutRecord | RunRecord]] = {}

    async def tell(self, steps: list[Step]) -> None:
        for step in steps:
            self.clock.now += step.pause_ms
            if step.restart:
                await self.intake.stop()
                self.intake = await Intake.start(self.dsn, self.clock)
            if self.proxy is not None and step.cut is not None:
                self.proxy.cut_at(*step.cut)
            await asyncio.gather(*(self._ask(each) for each in step.asks))

    async def _ask(self, ask: Pay | Run) -> None:
        """Until it is known what became of it."""
        for _ in range(TRIES_MAXIMUM):
            answer = await (self._pay(ask) if isinstance(ask, Pay) else self._open(ask))
            if not (isinstance(answer, Refusal) and answer.code is Code.UNAVAILABLE):
                self._remember(ask, answer)
                return
            await asyncio.sleep(0.02)
        raise AssertionError(f"{ask} isn't answered after {TRIES_MAXIMUM} tries")

    def _remember(self, ask: Pay | Run, answer: object) -> None:
        """One key, one body, one answer."""
        if isinstance(answer, Refusal):
            return
        assert isinstance(answer, Recorded | RunRecord)
        found = answer.payout._replace(position=0) if isinstance(answer, Recorded) else replace(answer, replayed=False)
        earlier = self.recorded.setdefault(found.id, (ask, found))
        assert earlier == (ask, found), f"{found.id} was answered in two ways"

    async def _pay(self, ask: Pay) -> object:
        payer = self.organisation.payer
        return await self.intake.pay(payer, *self._request(ask))

    def _request(self, ask: Pay) -> Any:
        return pays(
            self.organisation.payer, f"key-{ask.key}", self.payees[ask.payee], ask.cents * CENT,
            external_id=f"debt {ask.debt}",
        )

    async def _open(self, ask: Run) -> object:
        payer = self.organisation.payer
        key = IdempotencyKey(f"run-{ask.key}")
        run = run_id(payer.organisation, payer.client, key)
        items = [
            RunItem(self._request(each)[0], item_leaf({"amount": str(each.cents), "key": str(each.key)}, run, index))
            for index, each in enumerate(ask.items)
        ]
        total = sum(each.cents * CENT for each in ask.items)
        seal = Seal(len(items), {USDC: total}, run_root(item.leaf for item in items))
        evidence = evidence_of(key, encode({"asked": repr(ask)}), "/v1/payout-runs")
        return await self.intake.open_run(payer, RunRequest(run, key, None, items, seal), evidence)


@asynccontextmanager
async def teller(
    database: Database, *, cuttable: bool, opening_minor: int = WALLET_CENTS * CENT, **policy: Any
) -> AsyncIterator[Teller]:
    """A fresh organisation, whose destinations have cooled off, and a writer of its own."""
    policy.setdefault("limits", [limit("unattended", "organisation", "unattended", LIMIT_CENTS)])
    organisation = await create(database.owner_dsn, opening_minor, **policy)
    clock, proxy, dsn = Clock(), Proxy(database.cluster.port) if cuttable else None, database.dsn("api")
    if proxy is not None:
        port = await proxy.start()
        dsn = f"postgresql://strongroom_api:{ROLE_PASSWORD.replace(' ', '%20')}@127.0.0.1:{port}/{database.name}"
    try:
        told = Teller(dsn, await Intake.start(dsn, clock), organisation, clock, proxy)
        try:
            told.payees = [
                await declared(told.intake, organisation, f"payee {number}", address)
                for number, address in enumerate(ADDRESSES)
            ]
            clock.now += 5_000
            yield told
        finally:
            await told.intake.stop()
    finally:
        if proxy is not None:
            await proxy.stop()


async def owner_of(database: Database) -> asyncpg.Connection:
    return await asyncpg.connect(database.owner_dsn)
