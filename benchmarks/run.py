"""Runs all measurements, prints a table, and writes it down. `make bench` starts this; see README.md here.

Runs of both sides of a ratio are interleaved, so that whatever else the machine does meets both. Progress goes to
standard error, the table to standard output.
"""

import argparse
import asyncio
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, TypeVar

import uvloop

from benchmarks import audit, bitcoin_size, end_to_end, evm_gas, intake_http, limiter, opponent
from benchmarks.figures import Figure, Run, Target, as_table, write_figures
from benchmarks.ground import Ground, prepared_ground
from benchmarks.intake_in_process import measure_intake
from benchmarks.machine import facts
from benchmarks.rows import check_rows
from benchmarks.sample import Sample, cpu, median_of, rate
from benchmarks.signer_batch import signer_bench
from benchmarks.stored import filled_database
from strongroom.store.audit_sequencer import STEP_MAXIMUM

LATEST: Final = Path(__file__).parent / "latest.json"
CALLERS: Final = 128
HTTP_CONNECTIONS: Final = 64
RUN_CONNECTIONS: Final = 4

_Value = TypeVar("_Value")


@dataclass(frozen=True, slots=True)
class Size:
    """How much of everything. `small` and `large` are how many payouts are stored in the two databases compared."""

    rounds: int
    opponent_seconds: int
    in_process: int
    singles: int
    runs: int
    small: int
    large: int
    stored_rounds: int
    stored_payouts: int
    leaves: int
    proofs: int
    hits: int
    repeats: int
    sandboxes: int


FULL: Final = Size(
    rounds=5, opponent_seconds=2, in_process=16_000, singles=6_600, runs=18, small=10**4, large=10**6, stored_rounds=4,
    stored_payouts=8_000, leaves=100_000, proofs=20_000, hits=100_000, repeats=5, sandboxes=1,
)
QUICK: Final = Size(
    rounds=1, opponent_seconds=1, in_process=1_500, singles=440, runs=3, small=100, large=2_000, stored_rounds=1,
    stored_payouts=500, leaves=10_000, proofs=2_000, hits=10_000, repeats=2, sandboxes=0,
)


class Bench:
    """One pass over everything; `say` hears of every step before it begins."""

    def __init__(self, ground: Ground, size: Size, say: Callable[[str], None]) -> None:
        self._ground = ground
        self._size = size
        self._say = say

    def figures(self) -> list[Figure]:
        return [*self._intake(), self._stored(), *self._audit(), self._limiter(), *self._signer(), *self._gas(),
                self._vbytes(), *self._end_to_end()]

    def _intake(self) -> Iterable[Figure]:
        size = self._size
        against: dict[int, list[Sample]] = {clients: [] for clients in opponent.CLIENTS}
        own: dict[str, list[Sample]] = {"in process": [], "singles": [], "runs": []}
        for number in range(1, size.rounds + 1):
            for clients, (side, measure) in zip(opponent.CLIENTS, self._sides(), strict=True):
                self._say(f"round {number} of {size.rounds}: pgbench with {clients} clients")
                against[clients].append(uvloop.run(self._opponent(clients)))
                self._say(f"round {number} of {size.rounds}: intake, {side}")
                own[side].append(measure())
        best = max(against, key=lambda clients: median_of(against[clients], rate))
        for name, side, bound in (
            ("intake_in_process_vs_pgbench", "in process", 5.0), ("intake_http_vs_pgbench", "singles", 1.5),
            ("intake_http_run_vs_pgbench", "runs", 5.0),
        ):
            yield _ratio(name, side, own[side], against, best, Target(bound, True))
        inside = own["in process"]
        waits = [sample.p99_ms or 0.0 for sample in inside]
        yield Figure(
            "intake_p99_ms_at_128", sorted(waits)[len(waits) // 2], "ms", f"the wait of {CALLERS} callers, in process",
            _runs("in process", inside), Target(15.0, False),
        )
        yield Figure(
            "cpu_us_per_payout_intake", median_of(inside, cpu), "µs of CPU",
            f"pgbench with {best} clients: {median_of(against[best], cpu):.0f} µs",
            [*_runs("in process", inside), *_runs(f"pgbench, {best} clients", against[best])],
        )

    def _sides(self) -> Sequence[tuple[str, Callable[[], Sample]]]:
        return (
            ("in process", lambda: uvloop.run(self._in_process())),
            ("singles", lambda: self._http(intake_http.singles(self._ground, self._size.singles), 0)),
            ("runs", lambda: self._http(intake_http.runs(self._ground, self._size.runs), self._size.runs)),
        )

    async def _opponent(self, clients: int) -> Sample:
        database, sample = await opponent.measure_opponent(self._ground, clients, self._size.opponent_seconds)
        await self._finish(database, sample.payouts, 0)
        return sample

    async def _in_process(self) -> Sample:
        database = await self._ground.database()
        sample = await measure_intake(self._ground, database, self._size.in_process, CALLERS)
        await self._finish(database, self._size.in_process + CALLERS, 0)
        return sample

    def _http(self, requests: list[bytes], runs: int) -> Sample:
        each = intake_http.ITEMS_PER_RUN if runs else 1
        connections = RUN_CONNECTIONS if runs else HTTP_CONNECTIONS
        database = asyncio.run(self._ground.database())
        sample = intake_http.measure_http(self._ground, database, requests, connections, each)
        asyncio.run(self._finish(database, len(requests) * each, runs))
        return sample

    async def _finish(self, database: str, payouts: int, runs: int) -> None:
        await check_rows(self._ground, database, payouts, runs)
        await self._ground.drop(database)

    def _stored(self) -> Figure:
        size = self._size
        samples: dict[int, list[Sample]] = {}
        databases: dict[int, str] = {}
        for count in (size.small, size.large):
            self._say(f"filling a database with {count:,} payouts")
            databases[count] = uvloop.run(filled_database(self._ground, count))
            samples[count] = []
            self._stored_run(databases[count])  # what lies on disk is read once, and what is written first, written
        for number in range(1, size.stored_rounds + 1):
            for count, database in databases.items():
                self._say(f"round {number} of {size.stored_rounds}: intake with {count:,} payouts stored")
                samples[count].append(self._stored_run(database))
        for database in databases.values():
            asyncio.run(self._ground.drop(database))
        small, large = (median_of(samples[count], cpu) for count in (size.small, size.large))
        return Figure(
            "intake_cpu_1e6_vs_1e4", large / small, "times",
            f"CPU per payout with {size.small:,} stored: {small:.0f} µs; with {size.large:,}: {large:.0f} µs",
            [run for count in samples for run in _runs(f"{count} stored", samples[count])], Target(1.2, False),
        )

    def _stored_run(self, database: str) -> Sample:
        return uvloop.run(measure_intake(self._ground, database, self._size.stored_payouts, CALLERS))

    def _audit(self) -> Iterable[Figure]:
        size = self._size
        self._say("audit: leaves appended")
        yield _plain(
            "audit_appends_per_s", self._repeated(lambda: audit.appends_per_s(size.leaves)), "leaves/s",
            f"hashing included, in batches of {STEP_MAXIMUM:,}, in memory", Target(200_000, True),
        )
        self._say("audit: proofs made")
        bench = audit.ProofBench(size.leaves + 3)
        yield _plain(
            "audit_proofs_per_s", self._repeated(lambda: bench.proofs_per_s(size.proofs)), "proofs/s",
            f"inclusion and consistency in turn, in a tree of {size.leaves + 3:,}", Target(20_000, True),
        )
        self._say("audit: leaves sequenced in PostgreSQL")
        yield _plain(
            "audit_sequenced_per_s", self._repeated(lambda: audit.measure_sequencer(self._ground, size.leaves // 2)),
            "leaves/s", "watch's whole step: read, order, hash, store the tree, sign a checkpoint, commit", None,
        )

    def _limiter(self) -> Figure:
        self._say("rate limiter")
        hits = self._repeated(lambda: limiter.hit_us(self._size.hits))
        return _plain("limiter_us", hits, "µs", "one hit of the API's rate limiter; a request makes two", None)

    def _signer(self) -> Iterable[Figure]:
        self._say("a thousand requests through signer and guard")
        verified, signed = [], []
        with signer_bench() as bench:
            for _ in range(self._size.repeats):
                requests = bench.requests()
                verified.append(bench.verified_per_s(requests))
                signed.append(bench.signed_per_s(requests))
        yield _plain(
            "signer_batch_1000_per_s", signed, "payouts/s",
            "signed requests registered, decided, cosigned by guard and signed in one chain transaction", None,
        )
        bare, whole = (sorted(each)[len(each) // 2] for each in (verified, signed))
        yield Figure(
            "signer_vs_bare_verify", whole / bare, "times", f"{whole:,.0f}/s; bare signatures verified: {bare:,.0f}/s",
            [*_plain_runs("signer", signed), *_plain_runs("bare", verified)], Target(0.4, True),
        )

    def _vbytes(self) -> Figure:
        self._say("bytes of a thousand payouts in bitcoin")
        return _plain(
            f"btc_vbytes_per_payout_{bitcoin_size.COUNT}", [bitcoin_size.measure_vbytes()], "vB",
            "of one signed chain transaction with P2WPKH payees; the same on every machine", Target(31.3, False),
        )

    def _end_to_end(self) -> Iterable[Figure]:
        """Not in a quick pass, as it takes a sandbox."""
        if self._size.sandboxes:
            self._say("a file of a thousand payouts, from import to settled")
            took = [end_to_end.measure_seconds() for _ in range(self._size.sandboxes)]
            yield _plain(
                "end_to_end_1000_s", took, "s",
                "1,000 payouts in three assets by `run import`: declared, cooled off for 5 s, approved and settled",
                Target(30, False),
            )

    def _gas(self) -> Iterable[Figure]:
        self._say("gas of the hot vault")
        cold, warm = evm_gas.measure_gas()
        for name, value, payees, bound in (
            ("cold", cold, "payees who had none of the token", 29_500), ("warm", warm, "payees who had some", 12_400),
        ):
            yield _plain(
                f"evm_gas_per_usdc_payout_{evm_gas.COUNT}_{name}", [value], "gas",
                f"each of {evm_gas.COUNT} payouts by the vault, to {payees}; the same on every machine",
                Target(bound, False),
            )

    def _repeated(self, measure: Callable[[], _Value]) -> list[_Value]:
        return [measure() for _ in range(self._size.repeats)]


def _ratio(
    name: str, side: str, own: list[Sample], against: dict[int, list[Sample]], best: int, target: Target
) -> Figure:
    """Of the medians of the rates, and beside it that of the CPU time."""
    rates = median_of(own, rate), median_of(against[best], rate)
    costs = median_of(own, cpu), median_of(against[best], cpu)
    words = (
        f"{rates[0]:,.0f}/s at {costs[0]:.0f} µs of CPU; pgbench, best with {best} clients: {rates[1]:,.0f}/s at "
        f"{costs[1]:.0f} µs"
    )
    runs = _runs(side, own)
    for clients, samples in against.items():
        runs += _runs(f"pgbench, {clients} clients", samples)
    return Figure(name, rates[0] / rates[1], "times", words, runs, target, {"cpu_ratio": round(costs[1] / costs[0], 2)})


def _plain(name: str, values: list[float], unit: str, against: str, target: Target | None) -> Figure:
    """The median of a few runs."""
    return Figure(name, sorted(values)[len(values) // 2], unit, against, [round(value, 3) for value in values], target)


def _plain_runs(side: str, rates: Sequence[float]) -> list[Run]:
    return [{"side": side, "per_second": round(each, 2)} for each in rates]


def _runs(side: str, samples: Sequence[Sample]) -> list[Run]:
    return [{"side": side, **sample.document()} for sample in samples]


def main() -> int:
    parser = argparse.ArgumentParser(prog="strongroom bench", description="Measure against the bare database.")
    parser.add_argument("--quick", action="store_true", help="everything once and small, in less than a minute")
    parser.add_argument("--output", type=Path, help="where to write the figures (default: benchmarks/latest.json)")
    arguments = parser.parse_args()
    output = arguments.output or (None if arguments.quick else LATEST)
    started = time.monotonic()

    def say(text: str) -> None:
        print(f"{time.monotonic() - started:5.0f} s  {text}", file=sys.stderr, flush=True)

    say("starting PostgreSQL")
    with prepared_ground() as ground:
        machine = facts(ground.folder)
        figures = Bench(ground, QUICK if arguments.quick else FULL, say).figures()
    say("done")
    print(as_table(figures))
    if output is not None:
        size = "quick" if arguments.quick else "full"
        write_figures(output, {**machine, "size": size}, f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}", figures)
    return 0


if __name__ == "__main__":
    sys.exit(main())
