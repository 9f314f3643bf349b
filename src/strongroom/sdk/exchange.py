"""One request and its tries, without any network: what to send, what an answer means, and whether to send again."""

import json
import re
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

import httpx

from strongroom.sdk.canonical import encode
from strongroom.sdk.errors import ApiError, MismatchError, SdkError, TransportError, api_error
from strongroom.sdk.signing import Credentials, sign

TRIES_MAXIMUM: Final = 5
"""How often one call is sent at most."""
BACKOFF_S: Final = 0.2
BACKOFF_MAXIMUM_S: Final = 5.0
RETRY_AFTER_MAXIMUM_S: Final = 30.0
"""A server that asks for more patience than this gets none: the error says how much it asked for."""
CONNECT_TIMEOUT_S: Final = 5.0
SILENCE_TIMEOUT_S: Final = 30.0
"""The longest that a server may say nothing."""
ANSWER_TIMEOUT_S: Final = 120.0
"""The longest that one answer's body may take, however steadily it drips."""
ANSWER_MAXIMUM: Final = 64 * 2**20
TIMEOUTS: Final = httpx.Timeout(SILENCE_TIMEOUT_S, connect=CONNECT_TIMEOUT_S)
RUN_ITEMS_PER_CALL: Final = 10_000
KEY_MAXIMUM: Final = 255
PROBLEM_SHOWN: Final = 200

_AGAIN: Final = frozenset({408, 429, 500, 502, 503, 504})
_PATH: Final = re.compile(r"/[!-~]*")
_KEY: Final = re.compile(r"[!-~]+")
_SECONDS: Final = re.compile(r"[0-9]{1,9}")


def new_key() -> str:
    """An idempotency key that nobody else will make."""
    return secrets.token_urlsafe(24)


def checked_url(url: str) -> httpx.URL:
    """Plain HTTP only to this machine. Raises: ValueError."""
    parts = urlsplit(url)
    if parts.scheme != "https" and (parts.scheme != "http" or parts.hostname not in ("127.0.0.1", "::1", "localhost")):
        raise ValueError(f"{url}: use https; http is for loopback only")
    return httpx.URL(url)


@dataclass
class Exchange:
    """A request that may be sent several times: always the same body and key, each time signed anew.

    Raises: ValueError for a path or a key that can't stand in a request.
    """

    credentials: Credentials
    base: httpx.URL
    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    idempotency_key: str | None = None
    content_type: str = "application/json"
    tries: int = 0

    def __post_init__(self) -> None:
        if _PATH.fullmatch(self.path) is None or "?" in self.path or "#" in self.path:
            raise ValueError(f"path: {self.path!r} must be a path such as /v1/payouts, without its query")
        if self.idempotency_key is not None:
            check_key(self.idempotency_key)

    def request(self) -> httpx.Request:
        """The next try."""
        self.tries += 1
        query = urlencode(self.query)
        headers = sign(
            self.credentials, self.method, self.base.netloc.decode(), self.path, query, self.body,
            self.idempotency_key, self.content_type,
        )
        url = self.base.copy_with(raw_path=(self.path + (f"?{query}" if query else "")).encode())
        return httpx.Request(self.method, url, headers=headers, content=self.body)

    def answer(self, response: httpx.Response, body: bytes) -> Any:
        """What an answer says. Raises: ApiError, MismatchError."""
        content_type = response.headers.get("content-type", "")
        if response.is_success:
            if not content_type.startswith("application/json"):
                return body.decode(errors="replace")
            try:
                return json.loads(body)
            except (ValueError, RecursionError) as fault:
                raise MismatchError(f"{self.method} {self.path}: the answer says JSON and isn't: {fault}") from fault
        after = response.headers.get("retry-after", "")
        raise api_error(
            _problem(body), response.status_code, float(after) if _SECONDS.fullmatch(after) is not None else None
        )

    def pause_s(self, fault: ApiError | httpx.RequestError) -> float | None:
        """How long to wait before the next try; None when there is none."""
        if self.tries >= TRIES_MAXIMUM or isinstance(fault, httpx.UnsupportedProtocol | httpx.LocalProtocolError):
            return None
        wait: float = min(BACKOFF_MAXIMUM_S, BACKOFF_S * 2 ** (self.tries - 1)) * (0.5 + secrets.randbelow(1000) / 1000)
        if isinstance(fault, ApiError):
            if fault.status not in _AGAIN and fault.code != "in_progress":
                return None
            asked_s = fault.retry_after_s or 0.0
            if asked_s > RETRY_AFTER_MAXIMUM_S:
                return None
            wait = max(wait, asked_s + wait / 4)  # not all who were told the same second come back in it
        return wait

    def give_up(self, fault: ApiError | httpx.RequestError) -> SdkError:
        """What the caller hears in the end."""
        if isinstance(fault, ApiError):
            return self.named(fault)
        reason = str(fault) or type(fault).__name__
        return self.named(TransportError(f"{self.method} {self.base.copy_with(path=self.path)}: {reason}"))

    def named(self, fault: SdkError) -> SdkError:
        fault.idempotency_key = self.idempotency_key
        return fault

    def checked(self, check: Callable[[Any], None] | None, answer: Any) -> Any:
        """The answer, once it has passed its check. Raises: MismatchError."""
        try:
            if check is not None:
                check(answer)
        except MismatchError as fault:
            raise self.named(fault) from fault
        except (KeyError, IndexError, TypeError, ValueError, AttributeError) as fault:
            lacks = f"{self.method} {self.path}: the answer hasn't the form that the API promises ({fault!r})"
            raise self.named(MismatchError(lacks)) from fault
        return answer


class Parts:
    """Collects an answer's body within its bounds. Raises: httpx.ReadError past one of them."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._deadline = clock() + ANSWER_TIMEOUT_S
        self._parts: list[bytes] = []
        self._size = 0

    def add(self, part: bytes) -> None:
        self._size += len(part)
        if self._size > ANSWER_MAXIMUM:
            raise httpx.ReadError(f"the answer is longer than {ANSWER_MAXIMUM} bytes")
        if self._clock() > self._deadline:
            raise httpx.ReadError(f"the answer took longer than {ANSWER_TIMEOUT_S:g} s")
        self._parts.append(part)

    def whole(self) -> bytes:
        return b"".join(self._parts)


def check_key(key: str) -> None:
    """Raises: ValueError."""
    if _KEY.fullmatch(key) is None or len(key) > KEY_MAXIMUM:
        raise ValueError(f"idempotency_key: must be 1 to {KEY_MAXIMUM} visible ASCII characters")


def body_of(fields: Mapping[str, Any]) -> bytes:
    """Canonical JSON without the fields that are None. Raises: TypeError for a float anywhere."""
    return encode({name: value for name, value in fields.items() if value is not None})


def slices(items: list[dict[str, Any]]) -> Iterator[tuple[int, list[dict[str, Any]]]]:
    """(first index, items) of each call that a run is sent in."""
    for first in range(0, len(items), RUN_ITEMS_PER_CALL):
        yield first, items[first : first + RUN_ITEMS_PER_CALL]


def _problem(body: bytes) -> Mapping[str, Any]:
    """What a refusal says; what isn't a problem document has the code `unknown`."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        found = None
    if isinstance(found, dict):
        return found
    return {"code": "unknown", "detail": body[:PROBLEM_SHOWN].decode(errors="replace")}
