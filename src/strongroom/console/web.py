"""One request of a browser as the console reads it, and what it answers."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from typing import Any, Final
from urllib.parse import parse_qsl

FIELDS_MAXIMUM: Final = 200
HTML: Final = "text/html; charset=utf-8"
JSON: Final = "application/json"

Headers = list[tuple[bytes, bytes]]


class WebError(Exception):
    """An answer that isn't a page: its status, and a sentence for who asked."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


@dataclass(slots=True)
class Request:
    """`address` is the browser's, as near as it is known. A header that stands there twice is refused before."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    address: str

    def cookie(self, name: str) -> str | None:
        try:
            found = SimpleCookie(self.headers.get("cookie", "")).get(name)
        except CookieError:
            return None
        return None if found is None else found.value

    def form(self) -> dict[str, str]:
        """The fields of a form, each once. Raises: WebError."""
        if self.headers.get("content-type", "").partition(";")[0] != "application/x-www-form-urlencoded":
            raise WebError(415, "this takes a form")
        return read_fields(self.body.decode("latin-1"))


@dataclass(slots=True)
class Reply:
    """`body` is sent at once, or in pieces as they come."""

    status: int
    body: bytes | AsyncIterator[bytes]
    content_type: str = HTML
    headers: Headers = field(default_factory=list)


def redirect(path: str, headers: Headers | None = None) -> Reply:
    """To a page of ours, by GET."""
    return Reply(303, b"", headers=[(b"location", path.encode()), *(headers or [])])


def read_fields(text: str) -> dict[str, str]:
    """What a query or a form says. Raises: WebError for a field that stands there twice, or too many."""
    try:
        pairs = parse_qsl(text, keep_blank_values=True, strict_parsing=bool(text), encoding="utf-8", errors="strict",
                          max_num_fields=FIELDS_MAXIMUM)
    except ValueError as fault:
        raise WebError(400, "the fields can't be read") from fault
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise WebError(400, "a field stands there twice")
    return fields


def read_request(scope: Mapping[str, Any], body: bytes, forwarded_by: frozenset[str]) -> Request:
    """Raises: WebError."""
    headers: dict[str, str] = {}
    for name, value in scope["headers"]:
        key = name.decode("latin-1")
        if key in headers:
            raise WebError(400, f"the header {key} stands there twice")
        headers[key] = value.decode("latin-1")
    address: str = scope["client"][0]
    if address in forwarded_by and "x-forwarded-for" in headers:
        address = headers["x-forwarded-for"].rpartition(",")[2].strip()
    return Request(
        scope["method"], scope["path"], read_fields(scope["query_string"].decode("latin-1")), headers, body, address
    )
