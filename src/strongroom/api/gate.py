"""The gate: everything that a request must pass before any of our code acts on it, in one fixed order.

rate of the address → the route → size → signature or bearer token → key revoked → address allowed → rate of the key
→ strict JSON → idempotency key → schema and fields → scope. The order is part of the contract: a request with several
faults hears of the first. Nothing of the body is parsed before its signature holds over the raw bytes.
"""

import asyncio
import hashlib
import ipaddress
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qsl

from strongroom.api.call import CSV_TYPE, JSON_TYPE, Call, Reply, Route
from strongroom.api.exchange import WHOLE_BODY
from strongroom.api.rate_limit import RateLimiter
from strongroom.api.reading import FIELD_SHOWN_MAXIMUM, check_visible, read_object, refuse
from strongroom.api.routes import find_route
from strongroom.api.service import Service
from strongroom.domain.errors import Code, RefusalError
from strongroom.domain.ids import IdempotencyKey, IdError, parse_idempotency_key
from strongroom.domain.instant import SECOND_MS, Instant
from strongroom.domain.permissions import allows
from strongroom.protocol.canonical import JsonValue
from strongroom.protocol.http_signature import Signature, SignedRequest, UnsignedError, check_signature, parse_signature
from strongroom.protocol.signature_base import SignatureError, holds
from strongroom.store.organisations import ClientKey
from strongroom.store.record import Evidence

QUERY_MAXIMUM: Final = 2_000
PARAMETERS_MAXIMUM: Final = 20
BEARER_MAXIMUM: Final = 200

_SINGLE: Final = frozenset({
    b"host", b"content-type", b"content-digest", b"content-length", b"idempotency-key", b"signature",
    b"signature-input", b"authorization",
})


class MethodNotAllowedError(Exception):
    """The path is there, with other methods."""

    def __init__(self, methods: tuple[str, ...]) -> None:
        super().__init__(", ".join(methods))
        self.methods = methods


@dataclass(slots=True)
class Admitted:
    """A call that may be acted on, and what `read` made of it."""

    route: Route
    call: Call
    asked: Any


class Gate:
    def __init__(
        self, service: Service, authority: str, addresses: RateLimiter, keys: RateLimiter, body_timeout_ms: int
    ) -> None:
        self._service = service
        self._authority = authority
        self._addresses = addresses
        self._keys = keys
        self._body_timeout_s = body_timeout_ms / SECOND_MS
        policy = b'"address";q=%d;w=1, "key";q=%d;w=1' % (addresses.per_second, keys.per_second)
        self.rate_policy: Final = (b"ratelimit-policy", policy)

    async def admit(self, scope: Mapping[str, Any], receive: Any, standing: list[int]) -> Admitted:
        """`standing` gets how many requests of this second the address has left, and then the key.

        Raises: RefusalError, MethodNotAllowedError.
        """
        peer: str = scope["client"][0]
        standing.append(self._addresses.hit(peer))
        method, path = scope["method"], scope["raw_path"].decode("latin-1")
        found = find_route(method, path)
        if len(found) != 2 or not isinstance(found[0], Route):
            if found:
                raise MethodNotAllowedError(tuple(str(each) for each in found))
            raise refuse(Code.NOT_FOUND, "there is no such path")
        route, parameters = found[0], found[1]
        headers, twice = _headers(scope["headers"])
        body = await self._read_body(scope, headers, receive, route.body_maximum)
        if twice:
            raise refuse(Code.SIGNATURE_INVALID, f"the header {twice} stands there twice")
        now = self._service.clock()
        request = _signed_request(method, self._authority, path, scope["query_string"], headers)
        if route.asserted is not None:
            key, signature = await route.asserted(self._service, parameters, body), None
        else:
            key, signature = await self._sign_in(route, request, headers, body, now)
        _check_key(key, peer)
        standing.append(self._keys.hit(key.key_id))
        try:
            return self._read(route, parameters, request, body, key, signature, now)
        except RefusalError:
            await self._look_again(route, key)
            raise

    async def act(self, admitted: Admitted) -> Reply:
        """Act on a call. Raises: RefusalError.

        A key may be one that the service remembers. It speaks for nothing but what intake records now, which looks
        for itself whether the key is revoked; before any other answer we look.
        """
        route, call = admitted.route, admitted.call
        try:
            reply: Reply = await route.act(self._service, call, admitted.asked)
        except RefusalError:
            await self._look_again(route, call.key)
            raise
        if reply.replayed:
            await self._look_again(route, call.key)
        return reply

    async def _look_again(self, route: Route, key: ClientKey) -> None:
        if route.keyed and await self._service.is_revoked(key.key_id):
            raise refuse(Code.KEY_REVOKED, f"the key {key.key_id} is revoked")

    def _read(
        self, route: Route, parameters: tuple[str, ...], request: SignedRequest, body: bytes, key: ClientKey,
        signature: Signature | None, now: Instant,
    ) -> Admitted:
        """What is asked, once it is known who asks: JSON, the idempotency key, the fields, and then the scope."""
        content_type = request.content_type or ""
        value = {} if request.method == "GET" else _read_value(route, content_type, body)
        idempotency_key = _read_key(route, request.idempotency_key)
        call = Call(
            key, request.method, request.path, parameters, _read_query(route, request.query[1:]), content_type, body,
            value, idempotency_key, None, now,
        )
        if idempotency_key is not None and signature is not None:
            call.evidence = Evidence(
                request.method, request.path, self._authority, idempotency_key, signature.base, signature.signature,
                body, now,
            )
        asked = route.read(call)
        if not allows(route.permission, key.sign_in, key.scopes):
            raise refuse(Code.SCOPE_MISSING, f"this call needs the scope {route.permission}")
        return Admitted(route, call, asked)

    async def _read_body(
        self, scope: Mapping[str, Any], headers: Mapping[bytes, bytes], receive: Any, maximum: int
    ) -> bytes:
        """Whole, within its size and its time."""
        declared = headers.get(b"content-length", b"0")
        if not declared.isdigit() or int(declared) > maximum:
            raise refuse(Code.TOO_LARGE, f"the body may have {maximum} bytes")
        whole: bytes | None = scope[WHOLE_BODY]
        if whole is None:
            return await self._receive_body(receive, maximum)
        if len(whole) > maximum:
            raise refuse(Code.TOO_LARGE, f"the body may have {maximum} bytes")
        return whole

    async def _receive_body(self, receive: Any, maximum: int) -> bytes:
        """One that didn't come in one piece with its headers."""
        parts: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(self._body_timeout_s):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise refuse(Code.TIMEOUT, "the connection ended before the body did")
                    parts.append(message.get("body", b""))
                    size += len(parts[-1])
                    if size > maximum:
                        raise refuse(Code.TOO_LARGE, f"the body may have {maximum} bytes")
                    if not message.get("more_body", False):
                        return b"".join(parts)
        except TimeoutError as fault:
            raise refuse(Code.TIMEOUT, f"the body took longer than {self._body_timeout_s:g} s") from fault

    async def _sign_in(
        self, route: Route, request: SignedRequest, headers: Mapping[bytes, bytes], body: bytes, now: Instant
    ) -> tuple[ClientKey, Signature | None]:
        authorization = _text(headers, b"authorization")
        if authorization is not None and request.method == "GET" and request.signature is None:
            return await self._bearer(authorization), None
        try:
            signature = parse_signature(request, self._service.deployment)
            key = await self._service.signing_key(signature.key_id, may_be_remembered=route.keyed)
            if key is None:
                raise SignatureError("no key is enrolled under this keyid")
            check_signature(signature, request, body, now)
            if not holds(signature.base, signature.signature, key.public_key):
                raise SignatureError("the signature isn't that of this request by this key")
        except UnsignedError as fault:
            raise refuse(Code.SIGNATURE_MISSING, str(fault)) from fault
        except SignatureError as fault:
            raise refuse(Code.SIGNATURE_INVALID, str(fault)) from fault
        return key, signature

    async def _bearer(self, authorization: str) -> ClientKey:
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer" or not 1 <= len(token) <= BEARER_MAXIMUM:
            raise refuse(Code.SIGNATURE_INVALID, "the header Authorization must be Bearer and a token")
        key = await self._service.bearer_key(hashlib.sha256(token.encode()).digest())
        if key is None:
            raise refuse(Code.SIGNATURE_INVALID, "no such token is enrolled")
        return key


def _headers(raw: list[tuple[bytes, bytes]]) -> tuple[dict[bytes, bytes], str]:
    """The headers by their names, and the name of one that may stand there once and doesn't, empty if none does."""
    headers = dict(raw)
    if len(headers) == len(raw):
        return headers, ""
    times = Counter(name for name, _ in raw if name in _SINGLE)
    return headers, next((name.decode() for name, count in times.items() if count > 1), "")


def _signed_request(
    method: str, authority: str, path: str, query: bytes, headers: Mapping[bytes, bytes]
) -> SignedRequest:
    return SignedRequest(
        method,
        authority,
        path,
        "?" + query.decode("latin-1"),
        _text(headers, b"content-type"),
        _text(headers, b"content-digest"),
        _text(headers, b"idempotency-key"),
        _text(headers, b"signature-input"),
        _text(headers, b"signature"),
    )


def _text(headers: Mapping[bytes, bytes], name: bytes) -> str | None:
    value = headers.get(name)
    return None if value is None else value.decode("latin-1")


def _check_key(key: ClientKey, peer: str) -> None:
    if key.is_revoked:
        raise refuse(Code.KEY_REVOKED, f"the key {key.key_id} is revoked")
    if key.allowed_addresses and not any(
        ipaddress.ip_address(peer) in ipaddress.ip_network(allowed) for allowed in key.allowed_addresses
    ):
        raise refuse(Code.ADDRESS_NOT_ALLOWED, f"the key {key.key_id} may not be used from {peer}")


def _read_value(route: Route, content_type: str, body: bytes) -> dict[str, JsonValue]:
    media_type = content_type.partition(";")[0].strip()
    if route.csv and media_type == CSV_TYPE:
        return {}
    if content_type != JSON_TYPE:
        raise refuse(Code.MALFORMED, f"Content-Type must be {JSON_TYPE}", "Content-Type")
    return read_object(body)


def _read_query(route: Route, raw: str) -> dict[str, str]:
    if not raw:
        return {}
    if route.method != "GET":
        raise refuse(Code.INVALID, f"a {route.method} has no query: the signer would refuse it", "?")
    if len(raw) > QUERY_MAXIMUM:
        raise refuse(Code.INVALID, f"the query may have {QUERY_MAXIMUM} characters", "?")
    try:
        pairs = parse_qsl(raw, True, True, errors="strict", max_num_fields=PARAMETERS_MAXIMUM)
    except ValueError as fault:
        detail = f"must be at most {PARAMETERS_MAXIMUM} parameters such as name=value, percent-encoded UTF-8"
        raise refuse(Code.INVALID, detail, "?") from fault
    query: dict[str, str] = {}
    for name, value in pairs:
        if name not in route.query:
            raise refuse(Code.INVALID, "is not a parameter of this call", name[:FIELD_SHOWN_MAXIMUM])
        if name in query:
            raise refuse(Code.INVALID, "stands there twice", name)
        check_visible(name, value)
        query[name] = value
    return query


def _read_key(route: Route, key: str | None) -> IdempotencyKey | None:
    if not route.keyed:
        return None
    if key is None:
        raise refuse(Code.IDEMPOTENCY_KEY_REQUIRED, "the header Idempotency-Key is needed", "Idempotency-Key")
    try:
        return parse_idempotency_key(key)
    except IdError as fault:
        raise refuse(Code.INVALID, str(fault), "Idempotency-Key") from fault

