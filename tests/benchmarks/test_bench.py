"""The benchmark runs, its figures are figures, and its two sides do the same work under the same settings.

Nothing here says how fast anything is: that is for a quiet machine.
"""

import asyncio
import json
import math
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest
import uvloop
from benchmarks.figures import Figure, Target
from benchmarks.ground import TABLES, Ground, prepared_ground
from benchmarks.intake_in_process import measure_intake
from benchmarks.rows import RowsError, check_rows, expected_rows

from benchmarks import intake_http, opponent
from strongroom.store.session import connect

ROOT = Path(__file__).resolve().parents[2]
NAMES = {
    "intake_in_process_vs_pgbench", "intake_http_vs_pgbench", "intake_http_run_vs_pgbench", "intake_p99_ms_at_128",
    "cpu_us_per_payout_intake", "audit_appends_per_s", "audit_proofs_per_s", "intake_cpu_1e6_vs_1e4", "limiter_us",
    "signer_batch_1000_per_s", "signer_vs_bare_verify", "btc_vbytes_per_payout_1000",
    "evm_gas_per_usdc_payout_200_cold", "evm_gas_per_usdc_payout_200_warm",
}
DURABLE = {
    "fsync": "on", "synchronous_commit": "on", "full_page_writes": "on", "wal_level": "replica", "commit_delay": "0",
}
WORD = "SELECT string_agg(name || '=' || setting, ' ' ORDER BY name) FROM pg_settings WHERE name = ANY ($1)"


@pytest.fixture(scope="module")
def ground() -> Iterator[Ground]:
    with prepared_ground(payees=20) as made:
        yield made


def _pays(ground: Ground, count: int) -> str:
    """A database in which pgbench has paid `count` times."""

    async def prepare() -> tuple[str, Path]:
        database = await ground.database()
        return database, await opponent.prepare_opponent(ground, database)

    database, script = asyncio.run(prepare())
    opponent.run_pgbench(ground, database, script, 1, ["-t", str(count)])
    return database


async def _sizes(ground: Ground, database: str) -> dict[str, float]:
    """The mean size of a row of each table, in bytes, without those that were there before."""
    connection = await asyncpg.connect(ground.owner_dsn(database))
    try:
        newest = {
            "evidence": "path = '/v1/payouts'", "audit_leaves": "leaf LIKE '%payout-recorded%'",
            "outbox": "topic = 'payout.created'", "ledger_postings": "kind = 'pending'",
        }
        return {
            table: float(await connection.fetchval(
                f"SELECT avg(pg_column_size(t.*)) FROM strongroom.{table} t WHERE {newest.get(table, 'true')}"
            ))
            for table in ("payouts", "evidence", "ledger_postings", "audit_leaves", "outbox")
        }
    finally:
        await connection.close()


def test_both_sides_write_the_same_rows_of_the_same_size(ground: Ground) -> None:
    theirs = _pays(ground, 50)
    asyncio.run(check_rows(ground, theirs, 50))
    ours = asyncio.run(ground.database())
    uvloop.run(measure_intake(ground, ours, 40, 10))
    asyncio.run(check_rows(ground, ours, 50))
    one, other = asyncio.run(_sizes(ground, theirs)), asyncio.run(_sizes(ground, ours))
    for table, size in one.items():
        assert size == pytest.approx(other[table], rel=0.06), table


def test_singles_and_runs_over_http_write_what_they_say(ground: Ground) -> None:
    singles = asyncio.run(ground.database())
    sample = intake_http.measure_http(ground, singles, intake_http.singles(ground, 20), 4)
    assert sample.payouts == 18
    asyncio.run(check_rows(ground, singles, 20))
    runs = asyncio.run(ground.database())
    intake_http.measure_http(ground, runs, [*intake_http.runs(ground, 3, items=7)], 2, payouts_each=7)
    asyncio.run(check_rows(ground, runs, 21, runs=3))
    assert set(expected_rows(21, 3)) <= set(TABLES)


def test_a_side_that_writes_less_than_it_says_ends_the_benchmark(ground: Ground) -> None:
    database = _pays(ground, 10)
    with pytest.raises(RowsError, match="should have"):
        asyncio.run(check_rows(ground, database, 11))
    asyncio.run(ground.owner_execute(
        database, "UPDATE strongroom.ledger_accounts SET credits_pending = credits_pending - 1 "
        "WHERE account = 'wallet:hot'",
    ))
    with pytest.raises(RowsError, match="are reserved for payouts"):
        asyncio.run(check_rows(ground, database, 10))


def test_both_sides_commit_under_the_same_settings(ground: Ground) -> None:
    """What each session itself says, not what we believe that it was told."""
    names = sorted({*DURABLE, "jit", "plan_cache_mode", "statement_timeout"})

    async def ours(database: str) -> str:
        session = await connect(ground.api_dsn(database), "test")
        try:
            said: str = await session.fetchval(WORD, names)
            return said
        finally:
            await session.close()

    async def prepare() -> str:
        database = await ground.database()
        await ground.owner_execute(
            database, "CREATE TABLE public.said (words text)", "GRANT INSERT ON public.said TO strongroom_api"
        )
        return database

    async def read(database: str) -> str:
        connection = await asyncpg.connect(ground.owner_dsn(database))
        try:
            said: str = await connection.fetchval("SELECT words FROM public.said")
            return said
        finally:
            await connection.close()

    database = asyncio.run(prepare())
    script = ground.folder / "settings.pgbench"
    script.write_text(f"INSERT INTO public.said {WORD.replace('$1', str(names).replace('[', 'ARRAY['))};\n")
    opponent.run_pgbench(ground, database, script, 1, ["-t", "1"])
    theirs = asyncio.run(read(database))
    assert theirs == asyncio.run(ours(database))
    assert {each.split("=")[0]: each.split("=")[1] for each in theirs.split()}.items() >= DURABLE.items()


def test_a_quick_pass_gives_every_figure(tmp_path: Path) -> None:
    output = tmp_path / "figures.json"
    done = subprocess.run(
        [sys.executable, "-m", "strongroom.cli", "bench", "--quick", "--output", str(output)],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=300,
    )
    assert done.returncode == 0, done.stderr
    written = json.loads(output.read_text())
    assert written["machine"]["size"] == "quick"
    figures = written["figures"]
    assert set(figures) >= NAMES
    for name, figure in figures.items():
        assert math.isfinite(figure["value"]), name
        assert figure["value"] > 0, name
        assert all(figure[part] for part in ("unit", "against", "runs")), name
        assert name in done.stdout
    assert str(ROOT) not in output.read_text()


def test_a_figure_that_is_no_number_is_refused_and_a_target_knows_its_side() -> None:
    with pytest.raises(ValueError, match="x is nan"):
        Figure("x", math.nan, "times", "nothing", [])
    assert Target(5.0, at_least=True).is_met(5.0)
    assert not Target(5.0, at_least=True).is_met(4.9)
    assert not Target(15.0, at_least=False).is_met(15.1)
