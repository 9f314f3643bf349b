"""Organisations, their clients, keys and policies: written by the owner, read by every process.

Writing is for the one who sets a deployment up; no process's role may.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import asyncpg

from strongroom.domain.ids import ClientId, KeyId, OrganisationId, PersonId
from strongroom.domain.instant import Instant
from strongroom.domain.ledger import Account
from strongroom.domain.permissions import Permission, SignIn, parse_scopes
from strongroom.domain.policy import Policy, parse_policy
from strongroom.protocol.canonical import parse_object
from strongroom.store.session import Session


@dataclass(frozen=True, slots=True)
class NewKey:
    """`secret_or_public` is the public key of a signing key, or the SHA-256 of a bearer token; 32 bytes."""

    key_id: KeyId
    public_key: bytes
    scopes: Sequence[str]
    allowed_addresses: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class NewClient:
    id: ClientId
    name: str
    signing_keys: Sequence[NewKey] = ()
    bearer_keys: Sequence[NewKey] = ()


@dataclass(frozen=True, slots=True)
class NewOrganisation:
    """`policy` and `roster` are verbatim documents; `opening` base units for each asset of the policy, booked under
    the name `opening_entry`."""

    id: OrganisationId
    name: str
    policy: bytes
    roster: bytes
    clients: Sequence[NewClient]
    opening: Mapping[str, int]
    opening_entry: str = "sandbox opening"
    console_keys: Sequence[tuple[PersonId, str, bytes]] = ()
    """A sandbox's software passkeys for its console: person, credential, COSE key."""


@dataclass(frozen=True, slots=True)
class ClientKey:
    """A key that can sign in. `public_key` is empty for a bearer key."""

    key_id: KeyId
    client: ClientId
    organisation: OrganisationId
    sign_in: SignIn
    public_key: bytes
    scopes: frozenset[Permission]
    allowed_addresses: tuple[str, ...]
    is_revoked: bool


async def record_deployment(owner: asyncpg.Connection, deployment: str, genesis: bytes, at: Instant) -> None:
    await owner.execute("INSERT INTO strongroom.deployment VALUES (true, $1, $2, $3)", deployment, genesis, at)


async def read_deployment(connection: Session) -> str | None:
    found: str | None = await connection.fetchval("SELECT deployment FROM strongroom.deployment")
    return found


async def found_deployment(
    owner_dsn: str, deployment: str, genesis: bytes, first: NewOrganisation, at: Instant
) -> None:
    """The genesis record and the first organisation, in one database transaction."""
    owner = await asyncpg.connect(owner_dsn)
    try:
        async with owner.transaction():
            await record_deployment(owner, deployment, genesis, at)
            await create_organisation(owner, first, at)
    finally:
        await owner.close()


async def add_organisation(owner_dsn: str, new: NewOrganisation, at: Instant) -> None:
    """One more organisation in a deployment that has begun."""
    owner = await asyncpg.connect(owner_dsn)
    try:
        await create_organisation(owner, new, at)
    finally:
        await owner.close()


async def create_organisation(owner: asyncpg.Connection, new: NewOrganisation, at: Instant) -> None:
    """All of an organisation in one database transaction, with an opening entry for each wallet.

    Raises: DocumentError if the policy isn't one, ScopeError for a forbidden set of scopes.
    """
    policy = parse_policy(parse_object(new.policy))
    async with owner.transaction():
        await owner.execute("INSERT INTO strongroom.organisations VALUES ($1, $2, $3)", new.id, new.name, at)
        await owner.execute("INSERT INTO strongroom.policies VALUES ($1, 1, $2, $3)", new.id, new.policy, at)
        await owner.execute("INSERT INTO strongroom.rosters VALUES ($1, 1, $2, $3)", new.id, new.roster, at)
        for client in new.clients:
            await create_client(owner, new.id, client, at)
        await owner.executemany(
            "INSERT INTO strongroom.console_credentials VALUES ($1, $2, $3, $4, 'software', 'a sandbox''s', $5)",
            [(credential, new.id, person, key, at) for person, credential, key in new.console_keys],
        )
        for asset in policy.assets:
            await _open_wallet(owner, new, asset, at)
        await owner.fetchval(
            "SELECT strongroom.audit_append($1)",
            f'{{"at":{at},"organisation":"{new.id}","type":"strongroom/event/organisation-created/v1"}}',
        )


async def revoke_key(owner: asyncpg.Connection, key_id: KeyId, at: Instant) -> None:
    await owner.execute("INSERT INTO strongroom.key_revocations VALUES ($1, $2)", key_id, at)


async def read_policies(connection: Session) -> dict[OrganisationId, Policy]:
    """The policy in force of every organisation."""
    rows = await connection.fetch(
        "SELECT DISTINCT ON (organisation) organisation, document FROM strongroom.policies "
        "ORDER BY organisation, version DESC"
    )
    return {OrganisationId(row["organisation"]): parse_policy(parse_object(row["document"])) for row in rows}


async def find_signing_key(connection: Session, key_id: KeyId) -> ClientKey | None:
    row = await connection.fetchrow(
        "SELECT k.key_id, k.client, c.organisation, k.public_key, k.allowed_addresses, "
        "coalesce((SELECT s.scopes FROM strongroom.key_scopes s WHERE s.key_id = k.key_id "
        "ORDER BY s.roster_version DESC LIMIT 1), k.scopes) AS scopes, "
        "EXISTS (SELECT FROM strongroom.key_revocations r WHERE r.key_id = k.key_id) AS is_revoked "
        "FROM strongroom.client_keys k JOIN strongroom.clients c ON c.id = k.client WHERE k.key_id = $1",
        key_id,
    )
    return None if row is None else _key(row, SignIn.CLIENT_SIGNATURE)


async def find_bearer_key(connection: Session, token_hash: bytes) -> ClientKey | None:
    row = await connection.fetchrow(
        "SELECT k.key_id, k.client, c.organisation, ''::bytea AS public_key, k.scopes, '{}'::text[] AS "
        "allowed_addresses, EXISTS (SELECT FROM strongroom.key_revocations r WHERE r.key_id = k.key_id) AS "
        "is_revoked FROM strongroom.bearer_keys k JOIN strongroom.clients c ON c.id = k.client "
        "WHERE k.token_hash = $1",
        token_hash,
    )
    return None if row is None else _key(row, SignIn.BEARER)


def _key(row: asyncpg.Record, sign_in: SignIn) -> ClientKey:
    return ClientKey(
        key_id=KeyId(row["key_id"]),
        client=ClientId(row["client"]),
        organisation=OrganisationId(row["organisation"]),
        sign_in=sign_in,
        public_key=row["public_key"],
        scopes=parse_scopes(row["scopes"], sign_in),
        allowed_addresses=tuple(row["allowed_addresses"]),
        is_revoked=row["is_revoked"],
    )


async def create_client(
    owner: asyncpg.Connection, organisation: OrganisationId, client: NewClient, at: Instant
) -> None:
    """With its keys. Raises: ScopeError for a forbidden set of scopes."""
    await owner.execute(
        "INSERT INTO strongroom.clients VALUES ($1, $2, $3, $4)", client.id, organisation, client.name, at
    )
    for key in client.signing_keys:
        parse_scopes(key.scopes, SignIn.CLIENT_SIGNATURE)
        await owner.execute(
            "INSERT INTO strongroom.client_keys VALUES ($1, $2, $3, $4, $5, $6)",
            key.key_id, client.id, key.public_key, list(key.scopes), list(key.allowed_addresses), at,
        )
    for key in client.bearer_keys:
        parse_scopes(key.scopes, SignIn.BEARER)
        await owner.execute(
            "INSERT INTO strongroom.bearer_keys VALUES ($1, $2, $3, $4, $5)",
            key.key_id, client.id, key.public_key, list(key.scopes), at,
        )


async def _open_wallet(owner: asyncpg.Connection, new: NewOrganisation, asset: str, at: Instant) -> None:
    accounts = {
        account: await owner.fetchval(
            "INSERT INTO strongroom.ledger_accounts (organisation, account, asset) VALUES ($1, $2, $3) RETURNING id",
            new.id, account.value, asset,
        )
        for account in Account
    }
    opening_minor = new.opening.get(asset, 0)
    if opening_minor:
        await owner.execute(
            "INSERT INTO strongroom.ledger_postings (kind, debit_account, credit_account, amount, entry, created_at) "
            "VALUES ('posted', $1, $2, $3::text::numeric, $4, $5)",
            accounts[Account.WALLET_HOT], accounts[Account.COMPANY_FUNDING], str(opening_minor), new.opening_entry, at,
        )
