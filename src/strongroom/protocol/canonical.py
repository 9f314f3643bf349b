"""Canonical JSON: one way to write a record down, and a reader that takes nothing doubtful.

A strict subset of RFC 8785: keys are ASCII (so that the order of code points is the order of UTF-16 units),
numbers are integers below 2^53, text holds no lone surrogates. Within the subset the standard library's
encoder writes what RFC 8785 asks for. The reader refuses duplicate keys at any depth, because two readers of
one record could keep different ones. It reads bytes from strangers and trusts nothing in them; how long they
may be is for its caller to say.
"""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final, NoReturn, cast

JsonValue = None | bool | int | str | Sequence["JsonValue"] | Mapping[str, "JsonValue"]

INTEGER_MAXIMUM: Final = 2**53 - 1
DEPTH_MAXIMUM: Final = 32

_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
"""A string, or what is left of the bytes if it never ends: one pass, whatever the bytes are."""
_NOT_BRACKET = bytes(set(range(256)) - set(b"[]{}"))
_SQUARE = bytes.maketrans(b"{}", b"[]")
_INTEGER_DIGITS = len(str(INTEGER_MAXIMUM)) + 1
_SHOWN_CHARACTERS = 64
_COUNTED_MAXIMUM = 2**12
"""Counting is quick for what is short, and takes longer than the rest for what is long."""


class CanonicalError(ValueError):
    """The bytes aren't JSON that we read, or the value none that we write; `field` is the key at fault, or empty."""

    def __init__(self, reason: str, field: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.field = field


class NumberError(CanonicalError):
    """A number that isn't an integer below 2^53: JSON, and not ours."""


def encode(value: JsonValue) -> bytes:
    """The canonical bytes (RFC 8785 §3.2) of a value from the subset above. Raises: CanonicalError."""
    try:
        _check(value, DEPTH_MAXIMUM)
        text = _PLAIN_ENCODER.encode(value)
        return (_ENCODER.encode(value) if "\\u" in text else text).encode()
    except UnicodeEncodeError as fault:
        raise CanonicalError("text holds a lone surrogate") from fault


def encode_text(text: str) -> str:
    """As `encode`, for a text that goes into a record which is written out. A lone surrogate passes."""
    return _ENCODER.encode(text)


def parse(raw: bytes, maximum_depth: int = DEPTH_MAXIMUM) -> JsonValue:
    """Any JSON value of the subset, canonical or not. Raises: CanonicalError, and nothing else."""
    if _is_deeper(raw, maximum_depth):
        raise CanonicalError(f"is nested deeper than {maximum_depth} levels")
    try:
        text = raw.decode()
    except UnicodeDecodeError as fault:
        raise CanonicalError(f"isn't UTF-8 at byte {fault.start}") from fault
    if text.startswith("\ufeff"):
        raise CanonicalError("starts with a byte order mark")
    try:
        value: JsonValue = _DECODER.decode(text)
    except json.JSONDecodeError as fault:
        raise CanonicalError(f"isn't JSON: {fault.msg} at character {fault.pos}") from fault
    if "\\u" in text:
        _refuse_lone_surrogates(value)
    return value


def parse_object(raw: bytes, maximum_depth: int = DEPTH_MAXIMUM) -> dict[str, JsonValue]:
    """As `parse`, for an object. Raises: CanonicalError."""
    value = parse(raw, maximum_depth)
    if not isinstance(value, dict):
        raise CanonicalError("must be a JSON object")
    return value


def record_hash(record_type: str, raw: bytes) -> bytes:
    """What is signed of a record: SHA-256 of its type, a zero byte, and its verbatim bytes."""
    return hashlib.sha256(record_type.encode() + b"\0" + raw).digest()


def _check(value: JsonValue, levels: int) -> None:
    """Exact types only: a subclass could encode itself in its own way."""
    kind = type(value)
    if kind is str or value is None or kind is bool:
        return
    if kind is int:
        if not -INTEGER_MAXIMUM <= cast("int", value) <= INTEGER_MAXIMUM:
            raise CanonicalError("an integer of 2^53 or more must be a string")
        return
    if levels == 0:
        raise CanonicalError(f"is nested deeper than {DEPTH_MAXIMUM} levels")
    if kind is dict:
        for key, inner in cast("dict[str, JsonValue]", value).items():
            if type(key) is not str or not key.isascii():
                raise CanonicalError("keys must be ASCII")
            if type(inner) is not str:
                _check(inner, levels - 1)
    elif kind is list or kind is tuple:
        for inner in cast("list[JsonValue]", value):
            if type(inner) is not str:
                _check(inner, levels - 1)
    else:
        raise CanonicalError(f"a {kind.__name__} has no canonical form here")


def _is_deeper(raw: bytes, levels: int) -> bool:
    """Whether brackets outside of strings nest deeper, without parsing. Exact for JSON; for what is malformed it
    may say yes, and never says no where a parser would go deeper before it stops.

    Strings and all that is no bracket go first, then empty pairs are taken away from the inside, a level at a time.
    """
    if len(raw) < _COUNTED_MAXIMUM and raw.count(b"[") + raw.count(b"{") <= levels:
        return False
    # Where nothing is escaped, strings are just what stands between quotes.
    outside = _STRING.sub(b"", raw) if b"\\" in raw else b"".join(raw.split(b'"')[::2])
    brackets = outside.translate(_SQUARE, _NOT_BRACKET)
    if b"[" * (levels + 1) in brackets:
        return True
    for _ in range(levels):
        brackets, before = brackets.replace(b"[]", b""), len(brackets)
        if len(brackets) == before:
            break
        levels -= 1
    return brackets.count(b"[") > levels


def _unique(pairs: list[tuple[str, JsonValue]]) -> dict[str, JsonValue]:
    value = dict(pairs)
    if len(value) != len(pairs):
        ((key, _),) = Counter(key for key, _ in pairs).most_common(1)
        shown = ascii(key[:_SHOWN_CHARACTERS])
        raise CanonicalError(f"the key {shown} stands there twice", shown[1:-1])
    return value


def _integer(text: str) -> int:
    if len(text) <= _INTEGER_DIGITS and abs(value := int(text)) <= INTEGER_MAXIMUM and text != "-0":
        return value
    raise NumberError(f"the number {text[:_SHOWN_CHARACTERS]} isn't an integer below 2^53")


def _no_number(text: str) -> NoReturn:
    raise NumberError(f"the number {text[:_SHOWN_CHARACTERS]} isn't a plain integer")


def _refuse_lone_surrogates(value: JsonValue) -> None:
    try:
        _ENCODER.encode(value).encode()
    except UnicodeEncodeError as fault:
        raise CanonicalError("text holds a lone surrogate") from fault


_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
_PLAIN_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False)
"""Several times as fast, and writes the same unless it escapes what isn't printable ASCII by number."""
_DECODER = json.JSONDecoder(
    object_pairs_hook=_unique, parse_int=_integer, parse_float=_no_number, parse_constant=_no_number
)
