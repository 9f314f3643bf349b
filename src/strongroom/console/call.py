"""What every page works with: who looks, at what, and what the process has."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from strongroom.console.config import Config
from strongroom.console.duties import Duty
from strongroom.console.mirror import Mirror, Mirrors
from strongroom.console.session import Seat
from strongroom.console.view import View
from strongroom.console.web import Reply, Request
from strongroom.domain.instant import Instant
from strongroom.protocol.roster import Person
from strongroom.store.console import ConsoleSession
from strongroom.store.session import Pool

PUBLIC: Final = "public"
OWN: Final = "own"
STATION: Final = "station"


@dataclass(slots=True)
class Service:
    config: Config
    pool: Pool
    view: View
    mirrors: Mirrors
    clock: Callable[[], Instant]


@dataclass(slots=True)
class Visitor:
    """A person of the roster with a session that is good."""

    session: ConsoleSession
    person: Person
    duties: frozenset[Duty]
    mirror: Mirror

    def may(self, name: str) -> bool:
        return Duty(name) in self.duties


@dataclass(slots=True)
class Call:
    """`form` is empty for what was read; `parameters` are what the path names."""

    service: Service
    request: Request
    seat: Seat
    visitor: Visitor | None
    parameters: tuple[str, ...]
    form: Mapping[str, str]
    now: Instant
    set_cookies: list[tuple[bytes, bytes]] = field(default_factory=list)

    @property
    def who(self) -> Visitor:
        """Raises: LookupError on a page that anybody may see."""
        if self.visitor is None:
            raise LookupError("nobody is signed in")
        return self.visitor

    def page(self, template: str, status: int = 200, **values: Any) -> Reply:
        """A page of ours, with the frame around it."""
        return self.service.view.page(template, self, status, values)


@dataclass(frozen=True, slots=True)
class Route:
    """One address. `duty` is what it takes; `PUBLIC`, `OWN` (any session, confirmed or not) and `STATION` (the station
    posts there, and what it posts is signed) are the three that take none.

    `act` names what a change is in the audit log and in a step-up.
    """

    method: str
    path: str
    duty: Duty | str
    handle: Callable[[Call], Awaitable[Reply]]
    act: str = ""
    body_maximum: int = 64 * 2**10
