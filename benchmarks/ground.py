"""What every measurement stands on: one PostgreSQL, one organisation with its payees, and fresh copies of them.

The server runs with the product's own settings (`store.postgres.SETTINGS`): fsync, synchronous commit and page
checksums on. Each run gets a database of its own, a copy of the same template, and begins right after a checkpoint, so
that no run pays for what the one before it wrote.
"""

import asyncio
import contextlib
import itertools
import json
import secrets
import tempfile
from base64 import b32encode
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit, urlunsplit

import asyncpg
from nacl.signing import SigningKey

from benchmarks.machine import now
from strongroom.domain.beneficiary import DestinationClass
from strongroom.domain.ids import BeneficiaryId, ClientId, DestinationDigest, IdempotencyKey, KeyId, OrganisationId
from strongroom.protocol.canonical import encode
from strongroom.protocol.destination_record import DestinationRecord, destination_digest
from strongroom.protocol.identifier import beneficiary_id
from strongroom.sandbox.organisation import EVM, policy_document
from strongroom.store.intake import Intake
from strongroom.store.migrate import migrate
from strongroom.store.organisations import NewClient, NewKey, NewOrganisation, found_deployment
from strongroom.store.postgres import Cluster
from strongroom.store.record import BeneficiaryRecord, BeneficiaryRequest, Caller, Evidence
from strongroom.store.roles import set_passwords

AUTHORITY: Final = "127.0.0.1:8420"
DEPLOYMENT: Final = "be5c4a11be5c4a11"
TOKEN: Final = "0x5FbDB2315678afecb367f032d93F642f64180aa3"
ASSET: Final = f"{EVM}/erc20:{TOKEN}"
RICH_MINOR: Final = 10**18
PAYEES: Final = 1_000
API_ROLE: Final = "strongroom_api"
TABLES: Final = (
    "payouts", "evidence", "ledger_postings", "audit_leaves", "outbox", "runs", "run_calls", "run_seals", "run_items",
    "other_requests", "cancel_requests", "beneficiaries", "destinations",
)
"""Every table that intake can write rows to."""

_TEMPLATE: Final = "template_of_runs"


@dataclass(frozen=True)
class Payee:
    beneficiary: BeneficiaryId
    digest: DestinationDigest


@dataclass
class Ground:
    cluster: Cluster
    payer: Caller
    key: SigningKey
    payees: list[Payee]
    password: str
    folder: Path
    rows_of_template: dict[str, int] = field(default_factory=dict)
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    async def database(self, template: str = _TEMPLATE) -> str:
        """The name of a fresh database, after a checkpoint."""
        name = f"run_{next(self._numbers)}"
        await self.owner_execute("postgres", f"CREATE DATABASE {name} TEMPLATE {template}", "CHECKPOINT")
        return name

    async def drop(self, name: str) -> None:
        await self.owner_execute("postgres", f"DROP DATABASE {name} WITH (FORCE)")

    async def owner_execute(self, database: str, *statements: str) -> None:
        connection = await asyncpg.connect(self.owner_dsn(database))
        try:
            for statement in statements:
                await connection.execute(statement)
        finally:
            await connection.close()

    def owner_dsn(self, database: str) -> str:
        return urlunsplit(urlsplit(self.cluster.owner_dsn)._replace(path=f"/{database}"))

    def api_dsn(self, database: str) -> str:
        return self.cluster.dsn(API_ROLE, self.password, database)

    async def accounts(self, database: str) -> tuple[int, int]:
        """The accounts of a reservation: what is debited, and the hot wallet, which is credited."""
        connection = await asyncpg.connect(self.owner_dsn(database))
        try:
            found = {row["account"]: row["id"] for row in await connection.fetch(
                "SELECT account, id FROM strongroom.ledger_accounts WHERE organisation = $1 AND asset = $2",
                self.payer.organisation, ASSET,
            )}
            return found["payouts"], found["wallet:hot"]
        finally:
            await connection.close()

    async def rows(self, database: str) -> dict[str, int]:
        """How many rows each of `TABLES` has."""
        connection = await asyncpg.connect(self.owner_dsn(database))
        try:
            return {table: await connection.fetchval(f"SELECT count(*) FROM strongroom.{table}") for table in TABLES}
        finally:
            await connection.close()


@contextlib.contextmanager
def prepared_ground(payees: int = PAYEES) -> Iterator[Ground]:
    """A running server with a template of one organisation and its declared payees; all of it is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="strongroom-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # the server runs as another user when we are root
        cluster = Cluster(folder / "postgres")
        cluster.directory.mkdir()
        cluster.start()
        try:
            yield asyncio.run(_prepare(cluster, folder, payees))
        finally:
            cluster.stop()


async def _prepare(cluster: Cluster, folder: Path, payees: int) -> Ground:
    await migrate(cluster.owner_dsn)
    password = secrets.token_urlsafe(24)
    await set_passwords(cluster.owner_dsn, {API_ROLE: password})
    organisation = OrganisationId(_fresh("org_"))
    key, declaring = SigningKey.generate(), SigningKey.generate()
    payer = Caller(organisation, ClientId(_fresh("cl_")), KeyId(_fresh("ak_")))
    declarer = Caller(organisation, ClientId(_fresh("cl_")), KeyId(_fresh("ak_")))
    clients = [
        NewClient(payer.client, "payouts", [NewKey(payer.key_id, bytes(key.verify_key), ["payouts:create"])]),
        NewClient(
            declarer.client, "beneficiaries",
            [NewKey(declarer.key_id, bytes(declaring.verify_key), ["beneficiaries:create"])],
        ),
    ]
    new = NewOrganisation(organisation, "Example Rides", _policy(organisation), b"{}", clients, {ASSET: RICH_MINOR})
    await found_deployment(cluster.owner_dsn, DEPLOYMENT, b"{}", new, now())
    intake = await Intake.start(cluster.dsn(API_ROLE, password), now)
    try:
        declared = await asyncio.gather(*(_declare(intake, declarer, number) for number in range(payees)))
    finally:
        await intake.stop()
    ground = Ground(cluster, payer, key, declared, password, folder)
    await ground.owner_execute("strongroom", "VACUUM ANALYZE")
    ground.rows_of_template = await ground.rows("strongroom")
    await ground.owner_execute("postgres", f"ALTER DATABASE strongroom RENAME TO {_TEMPLATE}")
    return ground


def _policy(organisation: OrganisationId) -> bytes:
    """The sandbox's policy with its three limits, so large that none is ever met, and without cooling-off."""
    document = json.loads(encode(policy_document(organisation, {"USDC": ASSET})))
    for limit in document["limits"]:
        limit["maximum_reference_minor"] = str(10**15)
    document["cooling_off_ms"] = dict.fromkeys(document["cooling_off_ms"], 0)
    return encode(document)


async def _declare(intake: Intake, declarer: Caller, number: int) -> Payee:
    key = IdempotencyKey(f"payee-{number}")
    beneficiary = beneficiary_id(declarer.organisation, declarer.client, key)
    record = DestinationRecord(
        declarer.organisation, beneficiary, f"Payee {number}", DestinationClass.DECLARED, EVM, f"0x{number + 1:040x}",
        1, None,
    )
    body = encode({"destination": {"address": record.address, "network": EVM}, "name": record.name})
    base = b"declared for a benchmark"
    evidence = Evidence("POST", "/v1/beneficiaries", AUTHORITY, key, base, bytes(64), body, now())
    answer = await intake.declare(declarer, BeneficiaryRequest(beneficiary, key, None, record), evidence)
    if not isinstance(answer, BeneficiaryRecord):
        raise RuntimeError(f"a payee wasn't declared: {answer}")
    return Payee(beneficiary, destination_digest(record.encode()))


def _fresh(prefix: str) -> str:
    return prefix + b32encode(secrets.token_bytes(20)).decode().lower()[:26]
