"""Events that Strongroom sends to you: verified before anything of them is read, and each handled once.

    event = webhooks.unwrap(body, headers, secrets=["whsec_..."])

or, where a duplicate must do nothing:

    inbox = webhooks.Inbox(secrets=["whsec_..."], folder="inbox")
    with inbox.receive(body, headers) as event:
        if event is not None:
            handle(event)

Standard Webhooks 1.0: HMAC-SHA256 over `id.timestamp.body`, several signatures while a secret is rotated. `body` must
be the raw bytes that came. Only WebhookError escapes from what a sender can influence: answer it with 400.
"""

import base64
import binascii
import hashlib
import hmac
import json
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NoReturn

from strongroom.sdk.seen import Folder, Memory, Seen, Taken

TOLERANCE_S: Final = 300
"""How far a timestamp may be from our clock, either way."""
BODY_MAXIMUM: Final = 1 << 20
ID_MAXIMUM: Final = 255
SIGNATURES_MAXIMUM: Final = 16
SECRETS_MAXIMUM: Final = 16
SECRET_MINIMUM: Final = 16

_ID: Final = re.compile(r"[!-~]+")
_SECONDS: Final = re.compile(r"[0-9]{1,12}")

Event = dict[str, Any]


class WebhookError(Exception):
    """This isn't a good event of ours: refuse it, and do nothing."""


class BusyError(WebhookError):
    """The same event is being handled at this moment. Answer with 503: the sender comes again."""


def unwrap(
    body: bytes, headers: Mapping[str, str], *, secrets: Sequence[str], tolerance_s: float = TOLERANCE_S,
    clock: Callable[[], float] = time.time,
) -> Event:
    """The event, a JSON object. Its signature is verified over the raw bytes before they are parsed.

    `secrets` are those in force, `whsec_` and base64: two during a rotation. Raises: WebhookError.
    """
    return _unwrap(body, headers, secrets, tolerance_s, clock)[1]


class Inbox:
    """Hands every event out once.

    An event counts as handled when the `with` block ends without an error; else, also when the handler's process
    died, the next delivery gets it again. With `folder` this holds over restarts and between processes on one machine;
    without, for the life of this object. Who handles an event by writing to a database does best to keep its id there,
    in the same database transaction.
    """

    def __init__(
        self, *, secrets: Sequence[str], folder: str | Path | None = None, tolerance_s: float = TOLERANCE_S,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._secrets = tuple(secrets)
        self._tolerance_s = tolerance_s
        self._clock = clock
        self._seen: Seen = Memory() if folder is None else Folder(Path(folder))

    @contextmanager
    def receive(self, body: bytes, headers: Mapping[str, str]) -> Iterator[Event | None]:
        """The event, or None if it was handled before: answer 200 to both. Raises: WebhookError, BusyError."""
        identifier, event = _unwrap(body, headers, self._secrets, self._tolerance_s, self._clock)
        try:
            with self._seen.once(identifier) as is_new:
                yield event if is_new else None
        except Taken as fault:
            raise BusyError(f"the event {identifier} is being handled") from fault


def _unwrap(
    body: bytes, headers: Mapping[str, str], secrets: Sequence[str], tolerance_s: float, clock: Callable[[], float]
) -> tuple[str, Event]:
    if type(body) is not bytes:
        raise WebhookError("body: must be the raw bytes that came, not text or parsed JSON")
    if len(body) > BODY_MAXIMUM:
        raise WebhookError(f"body: is longer than {BODY_MAXIMUM} bytes")
    identifier, timestamp, signatures = (
        _header(headers, name) for name in ("webhook-id", "webhook-timestamp", "webhook-signature")
    )
    if _ID.fullmatch(identifier) is None or len(identifier) > ID_MAXIMUM or "." in identifier:
        raise WebhookError(f"webhook-id: must be 1 to {ID_MAXIMUM} visible ASCII characters without a dot")
    if _SECONDS.fullmatch(timestamp) is None:
        raise WebhookError("webhook-timestamp: must be seconds since 1970")
    signed = f"{identifier}.{timestamp}.".encode() + body
    if not _is_signed(signed, signatures, secrets):
        raise WebhookError("webhook-signature: no signature holds under a secret in force")
    if abs(clock() - int(timestamp)) > tolerance_s:
        raise WebhookError(f"webhook-timestamp: is more than {tolerance_s:g} s from our clock")
    return identifier, _parse(body)


def _is_signed(signed: bytes, header: str, secrets: Sequence[str]) -> bool:
    """Every secret against every signature, in constant time, without stopping at the first that holds."""
    if isinstance(secrets, str) or not 1 <= len(secrets) <= SECRETS_MAXIMUM:
        raise WebhookError(f"secrets: must be a list of 1 to {SECRETS_MAXIMUM}")
    given = header.split(" ")
    if len(given) > SIGNATURES_MAXIMUM:
        raise WebhookError(f"webhook-signature: has more than {SIGNATURES_MAXIMUM} signatures")
    holds = False
    for secret in secrets:
        expected = base64.b64encode(hmac.new(_key(secret), signed, hashlib.sha256).digest())
        for each in given:
            version, _, signature = each.partition(",")
            equal = hmac.compare_digest(signature.encode("utf-8", "replace"), expected)
            holds = (equal and version == "v1") or holds
    return holds


def _key(secret: str) -> bytes:
    try:
        key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except (binascii.Error, ValueError, AttributeError, TypeError):
        key = b""
    if len(key) < SECRET_MINIMUM:
        raise WebhookError(f"secrets: each must be whsec_ and the base64 of at least {SECRET_MINIMUM} bytes") from None
    return key


def _header(headers: Mapping[str, str], name: str) -> str:
    """A header whatever the case of its name. Standing there twice, or not at all, it is refused."""
    found: list[object] = [value for each, value in headers.items() if str(each).lower() == name]
    if len(found) != 1 or not isinstance(found[0], str):
        raise WebhookError(f"{name}: the header must be there once, as text")
    return found[0]


def _parse(body: bytes) -> Event:
    try:
        event = json.loads(body, parse_constant=_no_constant, object_pairs_hook=_once)
    except (ValueError, RecursionError) as fault:
        raise WebhookError(f"body: isn't JSON: {fault}") from fault
    if not isinstance(event, dict):
        raise WebhookError("body: must be a JSON object")
    return event


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands there twice")
    return found


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")
