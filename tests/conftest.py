"""What every kind of test may use: a real PostgreSQL, and a fresh database in it for each test."""

import asyncio
import ctypes
import itertools
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest
from hypothesis import HealthCheck, settings

from strongroom.store.migrate import migrate
from strongroom.store.postgres import Cluster

ROLES = ("api", "watch", "engine", "console", "courier")
ROLE_PASSWORD = "for tests only"

# How long an example takes says something of the machine and of its other work, and nothing of the code.
settings.register_profile("strongroom", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("strongroom")

_numbers = itertools.count(1)
_RECURSIONS = sys.getrecursionlimit()


def pytest_runtest_setup() -> None:
    """A library that some tests use lifts the limit when it is loaded, and then JSON that is too deep ends Python."""
    sys.setrecursionlimit(_RECURSIONS)


def pytest_unconfigure() -> None:
    """wallycore, a second opinion here, crashes the interpreter as it is taken down: let it never be."""
    if "swig_runtime_data4" in sys.modules:
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(sys.modules["swig_runtime_data4"].type_pointer_capsule))


@dataclass(frozen=True)
class Database:
    """A migrated database of its own: the owner's connection string, and one for every role."""

    cluster: Cluster
    name: str
    owner_dsn: str

    def dsn(self, role: str) -> str:
        return self.cluster.dsn(f"strongroom_{role}", ROLE_PASSWORD, self.name)


def renamed(dsn: str, database: str) -> str:
    return urlunsplit(urlsplit(dsn)._replace(path=f"/{database}"))


@pytest.fixture(scope="session")
def postgres_cluster() -> Iterator[Cluster]:
    with tempfile.TemporaryDirectory(prefix="strongroom-test-") as folder:
        Path(folder).chmod(0o755)
        cluster = Cluster(Path(folder))
        cluster.start()
        asyncio.run(_prepare(cluster))
        yield cluster
        cluster.kill()


@pytest.fixture
def database(postgres_cluster: Cluster) -> Iterator[Database]:
    with own_database(postgres_cluster) as made:
        yield made


@contextmanager
def own_database(cluster: Cluster) -> Iterator[Database]:
    name = f"test_{next(_numbers)}"
    asyncio.run(_execute(cluster, f"CREATE DATABASE {name} TEMPLATE strongroom"))
    yield Database(cluster, name, renamed(cluster.owner_dsn, name))
    asyncio.run(_execute(cluster, f"DROP DATABASE {name} WITH (FORCE)"))


async def _prepare(cluster: Cluster) -> None:
    await migrate(cluster.owner_dsn)
    for role in ROLES:
        await _execute(cluster, f"ALTER ROLE strongroom_{role} PASSWORD '{ROLE_PASSWORD}'")


async def _execute(cluster: Cluster, sql: str) -> None:
    connection = await asyncpg.connect(renamed(cluster.owner_dsn, "postgres"))
    try:
        await connection.execute(sql)
    finally:
        await connection.close()
