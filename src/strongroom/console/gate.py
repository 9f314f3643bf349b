"""The gate: all that a request must pass before a page acts on it, in one fixed order.

host → route → size → rate of the address → from where a change is posted → session → network → duty → step-up. A
change comes from a page of ours or not at all; what the station posts is signed in itself, and has no session.
"""

from typing import Final

from strongroom.console.call import OWN, PUBLIC, STATION, Call, Route, Service, Visitor
from strongroom.console.duties import NEEDS, Duty, Way, duties_of
from strongroom.console.mirror import roles_text
from strongroom.console.session import Seat, Standing, draw_token, judge, seat_of, token_hash
from strongroom.console.step_up import check_step_up
from strongroom.console.web import Request, WebError
from strongroom.domain.instant import SECOND_MS, Instant
from strongroom.store import console
from strongroom.store.console import ConsoleSession
from strongroom.store.session import Session

READS: Final = frozenset({"GET", "HEAD"})
SEEN_EVERY_MS: Final = 5 * SECOND_MS


class SignInError(Exception):
    """Nobody is signed in: the sign-in page comes first. `forget` says that the cookie is worth nothing."""

    def __init__(self, reason: str = "") -> None:
        super().__init__(reason)
        self.reason = reason


class StepUpError(Exception):
    """The person has to show the passkey again, as the network is new."""


async def admit(service: Service, route: Route, parameters: tuple[str, ...], request: Request) -> Call:
    """Raises: WebError, SignInError, StepUpError."""
    config, now = service.config, service.clock()
    seat = seat_of(dict(request.headers), request.address)
    call = Call(service, request, seat, None, parameters, {}, now)
    if request.method not in READS:
        _check_origin(route, request, config.origin, config.station_origin)
    if route.duty in (PUBLIC, STATION):
        return call
    async with service.pool.acquire() as connection:
        call.visitor = await _visitor(connection, service, request, seat, now, call.set_cookies)
        session = call.visitor.session
        if route.duty != OWN:
            if judge(session, seat, config.idle_ms, now) is Standing.NEW_NETWORK:
                raise StepUpError
            await _check_duty(connection, route, call)
    return call


def cookie_name(service: Service) -> str:
    """`__Host-` cookies are taken by browsers over TLS only."""
    return "__Host-session" if service.config.is_secure else "session"


def set_cookie(service: Service, token: str) -> tuple[bytes, bytes]:
    """An empty token takes the cookie away."""
    secure = "; Secure" if service.config.is_secure else ""
    age = service.config.life_ms // SECOND_MS if token else 0
    text = f"{cookie_name(service)}={token}; Path=/; HttpOnly; SameSite=Strict; Max-Age={age}{secure}"
    return b"set-cookie", text.encode()


async def rotate(
    connection: Session, call: Call, session: ConsoleSession, roles: str, stepped_up_at: Instant | None
) -> None:
    """Another token for the session, from where the request came."""
    token = draw_token()
    network = call.seat.network if stepped_up_at is not None else session.network
    if await console.rotate(connection, session, token_hash(token), network, roles, stepped_up_at, call.now):
        call.set_cookies.append(set_cookie(call.service, token))


def _check_origin(route: Route, request: Request, own: str, station: str) -> None:
    """A browser says from which page a POST comes, and a page can't make it say otherwise. Raises: WebError."""
    expected = station if route.duty == STATION else own
    if request.headers.get("origin") != expected:
        raise WebError(403, "this can only be sent from a page of " + expected)
    if route.duty != STATION and request.headers.get("sec-fetch-site", "same-origin") != "same-origin":
        raise WebError(403, "this can only be sent from a page of the console")


async def _visitor(
    connection: Session, service: Service, request: Request, seat: Seat, now: Instant,
    cookies: list[tuple[bytes, bytes]],
) -> Visitor:
    token = request.cookie(cookie_name(service))
    if token is None:
        raise SignInError
    session = await console.find_session(connection, token_hash(token))
    if session is None:
        raise SignInError
    standing = judge(session, seat, service.config.idle_ms, now)
    if standing is Standing.OTHER_BROWSER:
        await console.end(connection, [session.id], "its cookie came from another browser", None, seat.network, now)
        raise SignInError("This session was opened in another browser, and is ended.")
    if standing is Standing.OVER:
        raise SignInError("Your session is over.")
    mirror = await service.mirrors.read(connection, session.organisation)
    person = mirror.person(session.person)
    if person is None:
        raise SignInError("You are not in the roster any more.")
    if standing is Standing.NEW_NETWORK and session.is_confirmed:
        await console.act(connection, session.organisation, session.person, session.id, "new_network", session.network,
                          seat.network, seat.network, now)
    if now - session.seen_at >= SEEN_EVERY_MS or standing is Standing.NEW_NETWORK:
        await console.seen(connection, session.id, standing is Standing.GOOD, now)
    visitor = Visitor(session, person, duties_of(person.roles), mirror)
    if standing is Standing.GOOD and session.roles != roles_text(person):
        fresh = draw_token()
        if await console.rotate(connection, session, token_hash(fresh), session.network, roles_text(person), None, now):
            cookies.append(set_cookie(service, fresh))
    return visitor


async def _check_duty(connection: Session, route: Route, call: Call) -> None:
    """Raises: WebError."""
    visitor, duty = call.who, Duty(route.duty)
    if duty not in visitor.duties:
        await console.act(
            connection, visitor.session.organisation, visitor.person.id, visitor.session.id, "refused",
            call.request.path, f"needs {duty.value}", call.seat.network, call.now,
        )
        raise WebError(403, f"Your roles don't include “{duty.value}”.")
    if call.request.method in READS:
        return
    call.form = call.request.form()
    if NEEDS[duty] is Way.STEP_UP:
        call.form = await check_step_up(connection, route.act, call)
