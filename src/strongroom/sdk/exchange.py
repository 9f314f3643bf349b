"""One request and its tries, without any network: what to send, what an answer means, and whether to send again."""

import json
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

import httpx

from strongroom.sdk.canonical import encode
from strongroom.sdk.errors import ApiError, TransportError, api_error
from strongroom.sdk.signing import Credentials, sign

TRIES_MAXIMUM: Final = 5
BACKOFF_S: Final = 0.2
BACKOFF_MAXIMUM_S: Final = 5.0
TIMEOUT_S: Final = 30.0
RUN_ITEMS_PER_CALL: Final = 10_000
_AGAIN: Final = frozenset({408, 429, 500, 502, 503, 504})


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
    """A request that may be sent several times: always the same body and key, each time signed anew."""

    credentials: Credentials
    base: httpx.URL
    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    idempotency_key: str | None = None
    content_type: str = "application/json"
    tries: int = 0

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

    def answer(self, response: httpx.Response) -> Any:
        """The body of an answer. Raises: ApiError."""
        if response.is_success:
            is_json = response.headers.get("content-type", "").startswith("application/json")
            return response.json() if is_json else response.text
        try:
            problem = response.json()
        except json.JSONDecodeError:
            problem = {"code": "unknown", "detail": response.text[:200]}
        after = response.headers.get("retry-after", "")
        raise api_error(problem, response.status_code, float(after) if after.isdigit() else None)

    def pause_s(self, fault: ApiError | httpx.TransportError) -> float | None:
        """How long to wait before the next try; None when there is none."""
        if self.tries >= TRIES_MAXIMUM:
            return None
        wait: float = min(BACKOFF_MAXIMUM_S, BACKOFF_S * 2**self.tries) * (0.5 + secrets.randbelow(1000) / 1000)
        if isinstance(fault, ApiError):
            if fault.status not in _AGAIN and fault.code != "in_progress":
                return None
            wait = max(wait, fault.retry_after_s or 0.0)
        return wait

    def give_up(self, fault: ApiError | httpx.TransportError) -> ApiError | TransportError:
        if isinstance(fault, ApiError):
            return fault
        reason = str(fault) or type(fault).__name__
        return TransportError(f"{self.method} {self.base.copy_with(path=self.path)}: {reason}")


def body_of(fields: Mapping[str, Any]) -> bytes:
    """Canonical JSON without the fields that are None. Raises: TypeError for a float anywhere."""
    present = {name: value for name, value in fields.items() if value is not None}
    if isinstance(present.get("amount"), int) and not isinstance(present["amount"], bool):
        present["amount"] = str(present["amount"])
    return encode(present)


def slices(items: list[dict[str, Any]]) -> Iterator[tuple[int, list[dict[str, Any]]]]:
    """(first index, items) of each call that a run is sent in."""
    for first in range(0, len(items), RUN_ITEMS_PER_CALL):
        yield first, items[first : first + RUN_ITEMS_PER_CALL]
