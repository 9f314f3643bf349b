"""One request that came through the gate, and the reply to it."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from strongroom.domain.ids import IdempotencyKey
from strongroom.domain.instant import Instant
from strongroom.domain.invariant import InvariantError
from strongroom.domain.permissions import Permission
from strongroom.protocol.canonical import JsonValue
from strongroom.store.organisations import ClientKey
from strongroom.store.record import Caller, Evidence

JSON_TYPE: Final = "application/json"
CSV_TYPE: Final = "text/csv"
TEXT_TYPE: Final = "text/plain; charset=utf-8"


@dataclass(slots=True)
class Call:
    """Who asks, for what. `value` is the parsed JSON body; `evidence` is there for signed writes with a key."""

    key: ClientKey
    method: str
    path: str
    parameters: tuple[str, ...]
    query: Mapping[str, str]
    content_type: str
    body: bytes
    value: dict[str, JsonValue]
    idempotency_key: IdempotencyKey | None
    evidence: Evidence | None
    now: Instant

    @property
    def caller(self) -> Caller:
        return Caller(self.key.organisation, self.key.client, self.key.key_id)

    def signed(self) -> tuple[IdempotencyKey, Evidence]:
        """The key and the evidence of a write; the gate lets none by without. Raises: InvariantError."""
        if self.idempotency_key is None or self.evidence is None:
            raise InvariantError("a write came through the gate without its evidence")
        return self.idempotency_key, self.evidence


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    body: Any
    """An `Answer`, or text that is sent as it is."""
    replayed: bool = False


@dataclass(frozen=True, slots=True)
class Route:
    """One call of the API. `read` turns a call into what `act` takes and refuses what is `invalid`; scopes are
    checked between the two. `act` is given the service, the call, and what was read.

    `keyed` says that an Idempotency-Key is needed; `csv` that a CSV is taken as well. `asserted` is there where the
    body carries a passkey's assertion, which signs itself in: it says who that is.
    """

    method: str
    path: str
    permission: Permission
    read: Callable[[Call], Any]
    act: Callable[..., Any]
    body: type | None
    answer: type | None
    summary: str
    status: int = 200
    keyed: bool = False
    csv: bool = False
    asserted: Callable[..., Awaitable[ClientKey]] | None = None
    body_maximum: int = 2**20
    query: tuple[str, ...] = ()
