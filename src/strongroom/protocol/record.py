"""Reading a signed record: canonical bytes, of one type, whose fields the caller then takes one by one.

A record that isn't in canonical form is refused, so that two programs that rewrite it never get another hash.
"""

from collections.abc import Callable
from typing import Final, TypeVar

from strongroom.domain.document import DocumentError, Fields
from strongroom.protocol.canonical import CanonicalError, encode, parse_object

VERSION_MAXIMUM: Final = 2**31

_Value = TypeVar("_Value")


def read_record(raw: bytes, record_type: str) -> Fields:
    """The fields of a record but for its `type`, which is checked. Raises: DocumentError."""
    try:
        document = parse_object(raw)
        canonical = encode(document)
    except CanonicalError as fault:
        raise DocumentError(fault.field, fault.reason) from fault
    if canonical != raw:
        raise DocumentError("", "isn't in the canonical form of RFC 8785")
    fields = Fields(document)
    fields.exactly("type", record_type)
    return fields


def parse_fields(raw: bytes) -> Fields:
    """The fields of any object, canonical or not. Raises: DocumentError."""
    try:
        return Fields(parse_object(raw))
    except CanonicalError as fault:
        raise DocumentError(fault.field, fault.reason) from fault


def take_version(fields: Fields) -> tuple[int, str | None]:
    """`version`, from 1, and `previous`: the hash of the version before in hex, null for the first and only there."""
    version = fields.integer("version", 1, VERSION_MAXIMUM)
    if version > 1:
        return version, take_hash(fields, "previous")
    if fields.take("previous") is not None:
        raise DocumentError(fields.path("previous"), "must be null in version 1")
    return version, None


def take_hash(fields: Fields, name: str) -> str:
    """A SHA-256 as 64 lower-case hex digits. Raises: DocumentError."""
    return take_bytes(fields, name, 32, 32).hex()


def take_bytes(fields: Fields, name: str, minimum: int, maximum: int) -> bytes:
    """`minimum` to `maximum` bytes in lower-case hex. Raises: DocumentError."""
    text = fields.text(name, 2 * maximum)
    try:
        value = bytes.fromhex(text)
    except ValueError as fault:
        raise DocumentError(fields.path(name), "must be lower-case hex") from fault
    if value.hex() != text or len(value) < minimum:
        raise DocumentError(fields.path(name), f"must be {minimum} to {maximum} bytes in lower-case hex")
    return value


def take_distinct(fields: Fields, name: str, maximum: int, parse: Callable[[str], _Value]) -> tuple[_Value, ...]:
    """A list of at most `maximum` strings, none of them twice, each turned into a type. Raises: DocumentError."""
    values = fields.take(name)
    if not isinstance(values, list) or len(values) > maximum:
        raise DocumentError(fields.path(name), f"must be a list of at most {maximum} strings")
    parsed: dict[str, _Value] = {}
    for index, value in enumerate(values):
        field = f"{fields.path(name)}[{index}]"
        if not isinstance(value, str) or value in parsed:
            raise DocumentError(field, "must be a string that isn't there twice")
        try:
            parsed[value] = parse(value)
        except ValueError as fault:
            raise DocumentError(field, str(fault)) from fault
    return tuple(parsed.values())
