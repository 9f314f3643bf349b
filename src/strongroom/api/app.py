"""The ASGI application: gate, call, answer. Whatever goes wrong, a client gets a problem and never a trace."""

import logging
from collections.abc import Mapping
from time import perf_counter
from typing import Any, Final

import msgspec

from strongroom.api.gate import Gate, MethodNotAllowedError
from strongroom.api.metrics import Metrics
from strongroom.api.openapi import document
from strongroom.api.problems import FAULT, PROBLEM_TYPE, UNREACHABLE, RequestIds, problem, retry_after_s
from strongroom.api.schemas import Health
from strongroom.api.service import Service
from strongroom.domain.errors import Code, Refusal, RefusalError
from strongroom.protocol.signature_base import KEYED_COMPONENTS, READ_COMPONENTS, TAG_PREFIX
from strongroom.store.session import OUTAGES

LOG = logging.getLogger("strongroom.api")

_JSON: Final = b"application/json"
UNAUTHORISED: Final = 401
_TEXT: Final = b"text/plain; charset=utf-8"
_FIXED: Final = ((b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff"))

Headers = list[tuple[bytes, bytes]]


def challenges(method: str, deployment: str) -> Headers:
    """How to sign in, for a 401 (RFC 9110 §11.6.1), and what such a request has to sign (RFC 9421 §5.1)."""
    components = READ_COMPONENTS if method == "GET" else KEYED_COMPONENTS
    covered = " ".join(f'"{name}"' for name in components)
    accepted = f'sig1=({covered});created;expires;keyid;alg="ed25519";tag="{TAG_PREFIX}{deployment}"'
    return [(b"www-authenticate", b'Bearer realm="strongroom"'), (b"accept-signature", accepted.encode())]


class App:
    def __init__(self, service: Service, gate: Gate, metrics: Metrics) -> None:
        self._service = service
        self._gate = gate
        self._metrics = metrics
        self._openapi = document()
        self._encoder = msgspec.json.Encoder()
        self._request_ids = RequestIds()

    async def __call__(self, scope: Mapping[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            raise RuntimeError(f"this server speaks HTTP only, not {scope['type']}")
        started = perf_counter()
        request_id = self._request_ids.draw()
        headers: Headers = [(b"request-id", request_id.encode()), *_FIXED]
        status, body = await self._answer(scope, receive, request_id, headers)
        self._metrics.count(scope["method"], status, perf_counter() - started)
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _answer(
        self, scope: Mapping[str, Any], receive: Any, request_id: str, headers: Headers
    ) -> tuple[int, bytes]:
        public = self._public(scope)
        if public is not None:
            headers.append((b"content-type", _JSON))
            return public
        standing: list[int] = []
        try:
            reply = await self._gate.act(await self._gate.admit(scope, receive, standing))
        except RefusalError as refused:
            if refused.refusal.row.status == UNAUTHORISED:
                headers += challenges(scope["method"], self._service.deployment)
            return self._refused(refused.refusal, request_id, headers)
        except MethodNotAllowedError as other:
            headers.append((b"allow", str(other).encode()))
            refusal = Refusal(Code.METHOD_NOT_ALLOWED, f"this path has {other}")
            return self._refused(refusal, request_id, headers)
        except OUTAGES as fault:
            LOG.warning("%s: the record can't be reached: %s", request_id, type(fault).__name__)
            return self._refused(UNREACHABLE, request_id, headers)
        except Exception:
            LOG.exception("%s: fault while answering", request_id)
            return self._refused(FAULT, request_id, headers)
        self._rate_headers(standing, headers)
        if reply.replayed:
            headers.append((b"idempotent-replayed", b"true"))
        if isinstance(reply.body, str):
            headers.append((b"content-type", _TEXT))
            return reply.status, reply.body.encode()
        headers.append((b"content-type", _JSON))
        return reply.status, self._encoder.encode(reply.body)

    def _public(self, scope: Mapping[str, Any]) -> tuple[int, bytes] | None:
        """What anybody may ask: whether we live, whether we are ready, what the API is."""
        if scope["method"] != "GET":
            return None
        path = scope["path"]
        if path == "/livez":
            return 200, self._encoder.encode(Health("alive"))
        if path == "/readyz":
            ready = self._service.intake.ready()
            return 200 if ready else 503, self._encoder.encode(Health("ready" if ready else "not ready"))
        return (200, self._openapi) if path == "/openapi.json" else None

    def _refused(self, refusal: Refusal, request_id: str, headers: Headers) -> tuple[int, bytes]:
        headers.append((b"content-type", PROBLEM_TYPE))
        seconds = retry_after_s(refusal)
        if seconds is not None:
            headers.append((b"retry-after", str(seconds).encode()))
        if refusal.code in (Code.TOO_LARGE, Code.TIMEOUT):
            headers.append((b"connection", b"close"))  # the rest of the body is not read
        return refusal.row.status, problem(refusal, request_id)

    def _rate_headers(self, standing: list[int], headers: Headers) -> None:
        """draft-ietf-httpapi-ratelimit-headers: one window of a second for the address, one for the key."""
        address, key = standing
        headers.append(self._gate.rate_policy)
        headers.append((b"ratelimit", b'"address";r=%d;t=1, "key";r=%d;t=1' % (address, key)))
