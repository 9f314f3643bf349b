"""The opponent: pgbench of the same PostgreSQL, one database transaction for each payout, on the same server.

See opponent.sql for what it does and what it is spared. It signs in as the API does, with the session settings that
the product's own connections have.
"""

import asyncio
import os
import re
import resource
import subprocess
import time
from pathlib import Path
from typing import Final

import asyncpg

from benchmarks.asks import asks
from benchmarks.ground import API_ROLE, ASSET, AUTHORITY, Ground
from benchmarks.machine import now, tree_cpu_s
from benchmarks.sample import Sample
from strongroom.store.session import SETTINGS

CLIENTS: Final = (1, 8, 32)
THREADS_MAXIMUM: Final = 2

_TPS = re.compile(r"tps = ([0-9.]+) \(without initial connection time\)")
_DONE = re.compile(r"number of transactions actually processed: ([0-9]+)")
_FAILED = re.compile(r"number of failed transactions: ([0-9]+)")


class OpponentError(Exception):
    """pgbench didn't do what was asked; the message has what it said."""


async def prepare_opponent(ground: Ground, database: str) -> Path:
    """Teach a database the opponent's function; the script that pgbench is to run."""
    ask = asks(ground, 1)[0]
    debit, credit = await ground.accounts(database)
    connection = await asyncpg.connect(ground.owner_dsn(database))
    try:
        await connection.execute((Path(__file__).parent / "opponent.sql").read_text())
        await connection.executemany(
            "INSERT INTO bench.payees VALUES ($1, $2, $3)",
            [(number, payee.beneficiary, payee.digest) for number, payee in enumerate(ground.payees, start=1)],
        )
        await connection.execute("ANALYZE bench.payees")
    finally:
        await connection.close()
    constants = [
        _text(ground.payer.organisation), _text(ground.payer.client), _text(ground.payer.key_id), _text(ASSET),
        str(debit), str(credit), _text(AUTHORITY),
        _bytes(ask.evidence.signature_base), _bytes(ask.evidence.body),
    ]
    script = ground.folder / f"{database}.pgbench"
    script.write_text(
        "\\set number random(1, 9000000000000000000)\n"
        f"\\set payee random(1, {len(ground.payees)})\n"
        "\\set minor random(1000000, 99999999)\n"
        f"SELECT bench.pay(:number, :payee, :minor, {now()}, {', '.join(constants)});\n"
    )
    return script


def run_opponent(ground: Ground, database: str, script: Path, clients: int, seconds: int) -> Sample:
    """One run of pgbench. Raises: OpponentError, also if a single payout failed."""
    postgres, own = tree_cpu_s(ground.cluster.pid), _children_cpu_s()
    started = time.perf_counter()
    text = run_pgbench(ground, database, script, clients, ["-T", str(seconds)])
    elapsed = time.perf_counter() - started
    postgres, own = tree_cpu_s(ground.cluster.pid) - postgres, _children_cpu_s() - own
    tps, done, failed = _TPS.search(text), _DONE.search(text), _FAILED.search(text)
    if tps is None or done is None or failed is None or int(failed[1]) or not int(done[1]):
        raise OpponentError(f"pgbench after {elapsed:.1f} s:\n{text}")
    count = int(done[1])
    return Sample(count, count / float(tps[1]), (postgres + own) / count * 1e6, postgres / count * 1e6)


def run_pgbench(ground: Ground, database: str, script: Path, clients: int, length: list[str]) -> str:
    """What it prints. Raises: OpponentError."""
    # Plans are made for empty tables and kept: without this the opponent would read whole tables as they grow.
    settings = {**SETTINGS, "enable_seqscan": "off"}
    options = " ".join(f"-c {name}={value.replace(' ', '')}" for name, value in settings.items())
    done = subprocess.run(
        [
            ground.cluster.bin("pgbench"), "-n", "-M", "prepared", "-f", script, "-c", str(clients),
            "-j", str(min(clients, THREADS_MAXIMUM)), *length, "-h", "127.0.0.1", "-p", str(ground.cluster.port),
            "-U", API_ROLE, database,
        ],
        capture_output=True, text=True, check=False, cwd="/",
        env={"PATH": os.defpath, "LC_ALL": "C", "PGPASSWORD": ground.password, "PGOPTIONS": options},
    )
    if done.returncode != 0:
        raise OpponentError(f"pgbench failed:\n{done.stderr}")
    return done.stdout


async def measure_opponent(ground: Ground, clients: int, seconds: int) -> tuple[str, Sample]:
    """On a fresh database, whose name is given too."""
    database = await ground.database()
    script = await prepare_opponent(ground, database)
    await ground.owner_execute("postgres", "CHECKPOINT")
    return database, await asyncio.to_thread(run_opponent, ground, database, script, clients, seconds)


def _children_cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _text(value: str) -> str:
    if "'" in value or "\\" in value:
        raise OpponentError(f"{value!r} can't be a constant")
    return f"'{value}'"


def _bytes(value: bytes) -> str:
    return f"'\\x{value.hex()}'"
