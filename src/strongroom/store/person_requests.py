"""What the console took from people for the API's process to record, and what that answered. Both append-only."""

from dataclasses import dataclass
from typing import Final

from strongroom.domain.instant import Instant
from strongroom.store.session import Session

BATCH_MAXIMUM: Final = 50


@dataclass(frozen=True, slots=True)
class PersonRequest:
    """A record as text, and its assertion as JSON: not looked at by whoever wrote them here."""

    id: int
    record: str
    assertion: str


@dataclass(frozen=True, slots=True)
class PersonAnswer:
    """As it would have been given over HTTP: the status, and a body in JSON."""

    status: int
    body: str


async def ask(connection: Session, record: str, assertion: str, at: Instant) -> int:
    """The request's number, by which its answer is found. For the console."""
    number: int = await connection.fetchval("SELECT strongroom.console_ask($1, $2, $3)", record, assertion, at)
    return number


async def answer_of(connection: Session, request: int) -> PersonAnswer | None:
    """None while the API hasn't answered yet: within a moment, if it runs."""
    row = await connection.fetchrow("SELECT status, body FROM strongroom.person_answers WHERE request = $1", request)
    return None if row is None else PersonAnswer(row["status"], row["body"])


async def waiting(connection: Session, after: int) -> list[PersonRequest]:
    """Those without an answer and with a larger number, oldest first, at most `BATCH_MAXIMUM`."""
    rows = await connection.fetch(
        "SELECT r.id, r.record, r.assertion FROM strongroom.person_requests r WHERE r.id > $1 AND NOT EXISTS "
        "(SELECT FROM strongroom.person_answers a WHERE a.request = r.id) ORDER BY r.id LIMIT $2", after, BATCH_MAXIMUM,
    )
    return [PersonRequest(row["id"], row["record"], row["assertion"]) for row in rows]


async def answer(connection: Session, request: int, status: int, body: str, at: Instant) -> None:
    await connection.execute("SELECT strongroom.intake_answer($1, $2, $3, $4)", request, status, body, at)
