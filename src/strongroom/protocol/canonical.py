"""Canonical JSON: one way to write a record down, and a reader that takes nothing doubtful.

A strict subset of RFC 8785: keys are ASCII (so that the order of code points is the order of UTF-16 units),
numbers are integers below 2^53, text holds no lone surrogates. Within the subset the standard library's
encoder writes what RFC 8785 asks for. The reader refuses duplicate keys at any depth, because two readers of
one record could keep different ones. It reads bytes from strangers and trusts nothing in them.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from typing import Final, NoReturn

JsonValue = None | bool | int | str | Sequence["JsonValue"] | Mapping[str, "JsonValue"]

INTEGER_MAXIMUM: Final = 2**53 - 1
DEPTH_MAXIMUM: Final = 32

_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_NOT_BRACKET = bytes(set(range(256)) - set(b"[]{}"))
_INTEGER_DIGITS = len(str(INTEGER_MAXIMUM)) + 1


class CanonicalError(ValueError):
    """The bytes aren't JSON that we read, or the value none that we write."""


def encode(value: JsonValue) -> bytes:
    """The canonical bytes (RFC 8785 §3.2) of a value from the subset above. Raises: CanonicalError."""
    try:
        _check(value, DEPTH_MAXIMUM)
        return _ENCODER.encode(value).encode()
    except UnicodeEncodeError as fault:
        raise CanonicalError("text holds a lone surrogate") from fault


def parse(raw: bytes, maximum_depth: int = DEPTH_MAXIMUM) -> JsonValue:
    """Any JSON value of the subset, canonical or not. Raises: CanonicalError, and nothing else."""
    if _depth(raw) > maximum_depth:
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
    except RecursionError as fault:
        raise CanonicalError(f"is nested deeper than {maximum_depth} levels") from fault
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
    if levels < 0:
        raise CanonicalError(f"is nested deeper than {DEPTH_MAXIMUM} levels")
    if value is None or isinstance(value, str | bool):
        return
    if isinstance(value, int):
        if abs(value) > INTEGER_MAXIMUM:
            raise CanonicalError("an integer of 2^53 or more must be a string")
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            if not key.isascii():
                raise CanonicalError("keys must be ASCII")
            _check(inner, levels - 1)
    elif isinstance(value, list | tuple):
        for inner in value:
            _check(inner, levels - 1)
    else:
        raise CanonicalError(f"a {type(value).__name__} has no canonical form here")


def _depth(raw: bytes) -> int:
    """How deep brackets nest outside of strings, without parsing; at least the truth for anything malformed.

    Whatever is no bracket goes first, then empty pairs are taken away from the inside, a level at a time.
    """
    brackets = raw.translate(None, _NOT_BRACKET)
    if len(brackets) <= DEPTH_MAXIMUM:
        return len(brackets)
    brackets = _STRING.sub(b"", raw).translate(None, _NOT_BRACKET)
    depth = 0
    while brackets and depth <= DEPTH_MAXIMUM:
        brackets = brackets.replace(b"[]", b"").replace(b"{}", b"")
        depth += 1
    return depth


def _unique(pairs: list[tuple[str, JsonValue]]) -> dict[str, JsonValue]:
    value = dict(pairs)
    if len(value) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise json.JSONDecodeError(f"the key {key!r} stands there twice", "", 0)
            seen.add(key)
    return value


def _integer(text: str) -> int:
    if len(text) <= _INTEGER_DIGITS and abs(value := int(text)) <= INTEGER_MAXIMUM and text != "-0":
        return value
    raise json.JSONDecodeError(f"the number {text[:24]} isn't an integer below 2^53", "", 0)


def _no_number(text: str) -> NoReturn:
    raise json.JSONDecodeError(f"the number {text[:24]} isn't a plain integer", "", 0)


def _refuse_lone_surrogates(value: JsonValue) -> None:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError as fault:
        raise CanonicalError("text holds a lone surrogate") from fault


_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
_DECODER = json.JSONDecoder(
    object_pairs_hook=_unique, parse_int=_integer, parse_float=_no_number, parse_constant=_no_number
)
