"""The ASGI application: static files, the gate, a page. Whatever goes wrong, people get a page and never a trace."""

import logging
from collections.abc import Mapping
from typing import Any, Final

from strongroom.console import gate
from strongroom.console.assets import Assets
from strongroom.console.call import PUBLIC, STATION, Call, Service
from strongroom.console.gate import SignInError, StepUpError
from strongroom.console.rates import Rates
from strongroom.console.routes import find_route
from strongroom.console.session import seat_of
from strongroom.console.view import security_headers
from strongroom.console.web import JSON, Headers, Reply, Request, WebError, read_request, redirect
from strongroom.protocol.canonical import encode
from strongroom.store.session import OUTAGES

LOG = logging.getLogger("strongroom.console")

_FIXED: Final = ((b"x-content-type-options", b"nosniff"),)


class App:
    def __init__(self, service: Service, rates: Rates) -> None:
        self._service = service
        self._rates = rates
        self._assets = Assets()
        self._forwarded_by = frozenset(service.config.forwarded_by)
        self._headers = security_headers(service.config.station_origin)

    async def __call__(self, scope: Mapping[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            raise RuntimeError(f"this server speaks HTTP only, not {scope['type']}")
        reply = await self._answer(scope, receive)
        await _send(scope, send, reply)

    async def _answer(self, scope: Mapping[str, Any], receive: Any) -> Reply:
        request = Request(scope["method"], scope["path"], {}, {}, b"", "unknown")
        try:
            request = read_request(scope, b"", self._forwarded_by)
            return await self._page(request, receive)
        except WebError as fault:
            return self._refused(request, fault)
        except OUTAGES as fault:
            LOG.warning("the record can't be reached: %s", type(fault).__name__)
            return self._refused(request, WebError(503, "The record can't be reached at this moment. Try again."))
        except Exception:
            LOG.exception("fault while answering %s %s", request.method, request.path)
            return self._refused(request, WebError(500, "Something went wrong here. Nothing was changed."))

    async def _page(self, request: Request, receive: Any) -> Reply:
        if request.headers.get("host") != self._service.config.host:
            raise WebError(421, f"The console is at {self._service.config.origin}")
        static = self._assets.serve(request)
        if static is not None:
            return static
        self._rates.hit(request.address)
        route, parameters = find_route(request)
        request.body = await _read_body(receive, route.body_maximum)
        if request.method == "OPTIONS":
            if route.duty != STATION:
                raise WebError(405, f"This address takes {route.method}.")
            return _preflight(request, self._service.config.station_origin)
        try:
            call = await gate.admit(self._service, route, parameters, request)
        except SignInError as fault:
            return self._sign_in(request, fault.reason)
        except StepUpError:
            return redirect("/confirm-network") if request.method == "GET" else self._refused(
                request, WebError(403, "This network is new: confirm it first."))
        reply = await route.handle(call)
        if route.duty == STATION:
            reply.headers += _cors(self._service.config.station_origin)
        elif route.duty != PUBLIC:
            reply.headers.append((b"cache-control", b"no-store"))
        reply.headers += call.set_cookies
        return reply

    def _sign_in(self, request: Request, reason: str) -> Reply:
        if request.method != "GET" or request.headers.get("accept", "").startswith("text/event-stream"):
            return self._refused(request, WebError(401, reason or "Nobody is signed in."))
        headers = [gate.set_cookie(self._service, "")] if reason else []
        return redirect("/sign-in?over=1" if reason else "/sign-in", headers)

    def _refused(self, request: Request, fault: WebError) -> Reply:
        wants = request.headers.get("accept", "")
        if request.path.startswith("/station/") or "text/html" not in wants:
            raw = encode({"detail": fault.reason, "status": fault.status, "title": "Refused", "type": "about:blank"})
            cors = _cors(self._service.config.station_origin) if request.path.startswith("/station/") else []
            return Reply(fault.status, raw, JSON, [*self._headers, *cors])
        call = Call(self._service, request, seat_of({}, ""), None, (), {}, self._service.clock())
        return call.page("refused.html", fault.status, reason=fault.reason, code=fault.status)


def _cors(station: str) -> Headers:
    return [(b"access-control-allow-origin", station.encode()), (b"vary", b"Origin")]


def _preflight(request: Request, station: str) -> Reply:
    """The station may post JSON to its routes, and nobody else may ask."""
    if request.headers.get("origin") != station:
        raise WebError(403, "not from there")
    return Reply(204, b"", headers=[
        *_cors(station), (b"access-control-allow-methods", b"GET, POST"),
        (b"access-control-allow-headers", b"content-type"), (b"access-control-max-age", b"600"),
    ])


async def _read_body(receive: Any, maximum: int) -> bytes:
    pieces: list[bytes] = []
    size, more = 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise WebError(400, "the request ended too early")
        pieces.append(message.get("body", b""))
        size += len(pieces[-1])
        if size > maximum:
            raise WebError(413, f"this takes at most {maximum} bytes")
        more = message.get("more_body", False)
    return b"".join(pieces)


async def _send(scope: Mapping[str, Any], send: Any, reply: Reply) -> None:
    headers = [(b"content-type", reply.content_type.encode()), *_FIXED, *reply.headers]
    if isinstance(reply.body, bytes):
        headers.append((b"content-length", str(len(reply.body)).encode()))
        await send({"type": "http.response.start", "status": reply.status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else reply.body})
        return
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    async for piece in reply.body:
        await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": b""})
