"""What the console keeps of people: credentials to sign in with, invitations, sessions, challenges.

Every change is a function of the database that tells the audit log in the same database transaction.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import asyncpg

from strongroom.domain.ids import OrganisationId, PersonId
from strongroom.domain.instant import Instant
from strongroom.store.session import Session


@dataclass(frozen=True, slots=True)
class ConsoleCredential:
    """`kind` is `passkey`, or `software` in a sandbox."""

    credential: str
    organisation: OrganisationId
    person: PersonId
    public_key: bytes
    kind: str
    name: str
    created_at: Instant


@dataclass(frozen=True, slots=True)
class ConsoleSession:
    """`is_confirmed` is false while it comes from a network that is new to it."""

    id: str
    organisation: OrganisationId
    person: PersonId
    credential: str
    kind: str
    token_hash: bytes
    browser: str
    browser_hash: bytes
    network: str
    roles: str
    created_at: Instant
    seen_at: Instant
    expires_at: Instant
    is_confirmed: bool
    stepped_up_at: Instant | None
    ended_at: Instant | None
    ended_why: str | None


@dataclass(frozen=True, slots=True)
class Invitation:
    """`consents` are the people who agreed that `person` makes a passkey, of `needs`."""

    id: str
    person: PersonId
    needs: int
    consents: tuple[str, ...]
    created_at: Instant
    expires_at: Instant
    is_used: bool


_SESSIONS = """
SELECT s.*, c.kind FROM strongroom.console_sessions s JOIN strongroom.console_credentials c USING (credential)
"""


async def find_credential(connection: Session, credential: str) -> ConsoleCredential | None:
    """One that is enrolled and wasn't taken away."""
    row = await connection.fetchrow(
        "SELECT c.* FROM strongroom.console_credentials c WHERE c.credential = $1 AND NOT EXISTS "
        "(SELECT FROM strongroom.console_credential_ends e WHERE e.credential = c.credential)",
        credential,
    )
    return None if row is None else _credential(row)


async def credentials_of(connection: Session, organisation: OrganisationId) -> list[ConsoleCredential]:
    rows = await connection.fetch(
        "SELECT c.* FROM strongroom.console_credentials c WHERE c.organisation = $1 AND NOT EXISTS "
        "(SELECT FROM strongroom.console_credential_ends e WHERE e.credential = c.credential) "
        "ORDER BY c.person, c.created_at",
        organisation,
    )
    return [_credential(row) for row in rows]


async def find_session(connection: Session, token_hash: bytes) -> ConsoleSession | None:
    row = await connection.fetchrow(f"{_SESSIONS} WHERE s.token_hash = $1", token_hash)
    return None if row is None else _session(row)


async def live_sessions(
    connection: Session, organisation: OrganisationId, person: PersonId | None, seen_after: Instant, now: Instant
) -> list[ConsoleSession]:
    """Those that aren't over, the last seen first; of one person, or of everybody."""
    rows = await connection.fetch(
        f"{_SESSIONS} WHERE s.organisation = $1 AND ($2::text IS NULL OR s.person = $2) AND s.ended_at IS NULL "
        "AND s.seen_at > $3 AND s.expires_at > $4 ORDER BY s.seen_at DESC LIMIT 200",
        organisation, person, seen_after, now,
    )
    return [_session(row) for row in rows]


async def challenge(
    connection: Session, value: bytes, purpose: str, session: str | None, record: str | None, expires: Instant,
    now: Instant,
) -> None:
    await connection.execute(
        "SELECT strongroom.console_challenge($1, $2, $3, $4, $5, $6)", value, purpose, session, record, expires, now
    )


async def answer(
    connection: Session, value: bytes, purpose: str, session: str | None, now: Instant
) -> tuple[str | None] | None:
    """The record of a challenge, which is used up by this; None if it isn't good."""
    row = await connection.fetchrow(
        "SELECT record FROM strongroom.console_answer($1, $2, $3, $4)", value, purpose, session, now
    )
    return None if row is None else (row["record"],)


async def enrol(
    connection: Session, token_hash: bytes, credential: str, public_key: bytes, kind: str, name: str, now: Instant
) -> PersonId | None:
    """Whose passkey it is now; None if the invitation isn't good, or the passkey is somebody's already."""
    try:
        person = await connection.fetchval(
            "SELECT strongroom.console_enrol($1, $2, $3, $4, $5, $6)", token_hash, credential, public_key, kind, name,
            now,
        )
    except asyncpg.UniqueViolationError:
        return None
    return None if person is None else PersonId(person)


async def invited(connection: Session, token_hash: bytes, now: Instant) -> tuple[OrganisationId, PersonId] | None:
    """Whom an open invitation is for, by its token."""
    row = await connection.fetchrow("SELECT * FROM strongroom.console_invited($1, $2)", token_hash, now)
    return None if row is None else (OrganisationId(row["organisation"]), PersonId(row["person"]))


async def sign_in(connection: Session, made: ConsoleSession) -> None:
    await connection.execute(
        "SELECT strongroom.console_sign_in($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
        made.id, made.organisation, made.person, made.credential, made.token_hash, made.browser, made.browser_hash,
        made.network, made.roles, made.expires_at, made.created_at,
    )


async def seen(connection: Session, session: str, is_confirmed: bool, now: Instant) -> None:
    await connection.execute("SELECT strongroom.console_seen($1, $2, $3)", session, is_confirmed, now)


async def rotate(
    connection: Session, session: ConsoleSession, token_hash: bytes, network: str, roles: str,
    stepped_up_at: Instant | None, now: Instant,
) -> bool:
    """False if another request has rotated it already."""
    done: bool = await connection.fetchval(
        "SELECT strongroom.console_rotate($1, $2, $3, $4, $5, $6, $7)",
        session.id, session.token_hash, token_hash, network, roles, stepped_up_at, now,
    )
    return done


async def end(
    connection: Session, sessions: Sequence[str], why: str, by: PersonId | None, network: str, now: Instant
) -> int:
    ended: int = await connection.fetchval(
        "SELECT strongroom.console_end($1, $2, $3, $4, $5)", list(sessions), why, by, network, now
    )
    return ended


async def act(
    connection: Session, organisation: OrganisationId, person: PersonId, session: str | None, what: str,
    subject: str | None, detail: str | None, network: str, now: Instant,
) -> None:
    """Somebody did something on a page, or was refused it."""
    await connection.execute(
        "SELECT strongroom.console_act($1, $2, $3, $4, $5, $6, $7, $8)",
        organisation, person, session, what, subject, detail, network, now,
    )


@dataclass(frozen=True, slots=True)
class Instruction:
    """What people have asserted to guard, or begun to: `control_length` None until guard has kept it."""

    action: str
    object: str
    record: str
    assertions: str
    control_length: int | None
    by: str
    expires: Instant
    created_at: Instant


async def instruct(
    connection: Session, organisation: OrganisationId, action: str, subject: str, record: str, assertions: str,
    control_length: int | None, by: PersonId, network: str, expires: Instant, now: Instant,
) -> None:
    await connection.execute(
        "SELECT strongroom.console_instruct($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        organisation, action, subject, record, assertions, control_length, by, network, expires, now,
    )


async def instructions(connection: Session, organisation: OrganisationId) -> list[Instruction]:
    """The newest of each record, the last 50."""
    rows = await connection.fetch(
        "SELECT * FROM (SELECT DISTINCT ON (record) * FROM (SELECT * FROM strongroom.console_instructions "
        "WHERE organisation = $1 ORDER BY id DESC LIMIT 200) n ORDER BY record, id DESC) r ORDER BY id DESC LIMIT 50",
        organisation,
    )
    return [
        Instruction(
            row["action"], row["object"], row["record"], row["assertions"], row["control_length"], row["by_person"],
            Instant(row["expires_at"]), Instant(row["created_at"]),
        )
        for row in rows
    ]


async def invite(
    connection: Session, invitation: str, organisation: OrganisationId, person: PersonId, by: PersonId, network: str,
    expires: Instant, now: Instant,
) -> int:
    """How many have to consent."""
    needs: int = await connection.fetchval(
        "SELECT strongroom.console_invite($1, $2, $3, $4, $5, $6, $7)",
        invitation, organisation, person, by, network, expires, now,
    )
    return needs


async def consent(
    connection: Session, invitation: str, organisation: OrganisationId, by: PersonId, token_hash: bytes, network: str,
    now: Instant,
) -> bool | None:
    """True when the token is good from now on; None if there is nothing that this person may consent to."""
    try:
        enough: bool = await connection.fetchval(
            "SELECT strongroom.console_consent($1, $2, $3, $4, $5, $6)",
            invitation, organisation, by, token_hash, network, now,
        )
    except asyncpg.CheckViolationError:
        return None
    return enough


async def invitations(connection: Session, organisation: OrganisationId, now: Instant) -> list[Invitation]:
    """Those that can still be used or consented to, the newest first."""
    rows = await connection.fetch(
        "SELECT i.*, (SELECT array_agg(c.by_person ORDER BY c.created_at) FROM strongroom.console_consents c "
        "WHERE c.invitation = i.id) AS consents, EXISTS (SELECT FROM strongroom.console_invitation_uses u "
        "WHERE u.invitation = i.id) AS is_used FROM strongroom.console_invitations i "
        "WHERE i.organisation = $1 AND i.expires_at > $2 ORDER BY i.created_at DESC LIMIT 100",
        organisation, now,
    )
    return [
        Invitation(
            row["id"], PersonId(row["person"]), row["needs"], tuple(row["consents"] or ()),
            Instant(row["created_at"]), Instant(row["expires_at"]), row["is_used"],
        )
        for row in rows
    ]


async def end_credential(
    connection: Session, credential: str, organisation: OrganisationId, by: PersonId, network: str, now: Instant
) -> bool:
    """Take a passkey away, with the sessions that it opened; False if it was gone or never there."""
    done: bool = await connection.fetchval(
        "SELECT strongroom.console_end_credential($1, $2, $3, $4, $5)", credential, organisation, by, network, now
    )
    return done


async def invite_first(
    owner_dsn: str, invitation: str, organisation: OrganisationId, person: PersonId, token_hash: bytes,
    expires: Instant, now: Instant,
) -> None:
    """The owner of the database lets the first person in, who needs nobody's consent but the founder's."""
    owner = await asyncpg.connect(owner_dsn)
    try:
        async with owner.transaction():
            await owner.execute(
                "SELECT strongroom.console_invite($1, $2, $3, 'founder', 'founding', $4, $5)",
                invitation, organisation, person, expires, now,
            )
            await owner.execute(
                "SELECT strongroom.console_consent($1, $2, 'founder', $3, 'founding', $4)",
                invitation, organisation, token_hash, now,
            )
    finally:
        await owner.close()


def _credential(row: asyncpg.Record) -> ConsoleCredential:
    return ConsoleCredential(
        row["credential"], OrganisationId(row["organisation"]), PersonId(row["person"]), row["public_key"],
        row["kind"], row["name"], Instant(row["created_at"]),
    )


def _session(row: asyncpg.Record) -> ConsoleSession:
    return ConsoleSession(
        row["id"], OrganisationId(row["organisation"]), PersonId(row["person"]), row["credential"], row["kind"],
        row["token_hash"], row["browser"], row["browser_hash"], row["network"], row["roles"],
        Instant(row["created_at"]), Instant(row["seen_at"]), Instant(row["expires_at"]), row["is_confirmed"],
        row["stepped_up_at"], row["ended_at"], row["ended_why"],
    )
