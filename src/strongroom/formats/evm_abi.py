"""Arguments of EVM calls, and typed messages: values to the bytes that a contract reads, by the types that it names.

Solidity's contract ABI (strict encoding) of the types that are used here: `uintN`, `address`, `bool`, `bytes32`,
`bytes`, `string`, tuples, and arrays of any length. EIP-712 for what is signed without being sent.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Final

from strongroom.formats.evm_transaction import keccak256

Value = int | bool | bytes | str | Sequence["Value"]
_WORD: Final = 32
_UINT: Final = re.compile("uint([1-9][0-9]{0,2})")


class AbiError(ValueError):
    """A type that isn't known here, or a value that isn't of its type."""


def encode_call(signature: str, values: Sequence[Value]) -> bytes:
    """`signature` is `name(type,…)` without spaces. Raises: AbiError."""
    return keccak256(signature.encode())[:4] + encode_values(signature[signature.index("(") :], values)


def encode_values(types: str, values: Sequence[Value]) -> bytes:
    """`types` is `(type,…)`. Raises: AbiError."""
    return _encode(types, values)


def typed_digest(domain: Mapping[str, Value], primary: str, values: Sequence[Value]) -> bytes:
    """What a key signs of a message of EIP-712 whose type `primary` is `Name(type name,…)` with no struct inside.

    `domain` has `name`, `version`, `chainId` and `verifyingContract`, in this order. Raises: AbiError.
    """
    separator = _struct(
        "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)", list(domain.values())
    )
    return keccak256(b"\x19\x01" + separator + _struct(primary, values))


def _struct(primary: str, values: Sequence[Value]) -> bytes:
    members = [each.split(" ")[0] for each in primary[primary.index("(") + 1 : -1].split(",")]
    if len(members) != len(values):
        raise AbiError(f"{primary} has {len(members)} members, not {len(values)}")
    parts = [keccak256(primary.encode())]
    for kind, value in zip(members, values, strict=True):
        if kind in ("string", "bytes"):
            parts.append(keccak256(_raw(kind, value)))
        else:
            parts.append(_encode(kind, value))
    return keccak256(b"".join(parts))


def _encode(kind: str, value: Value) -> bytes:
    if kind.endswith("[]"):
        items = _sequence(kind, value)
        return _word(len(items)) + _sequenced([kind[:-2]] * len(items), items)
    if kind.startswith("("):
        members, items = _members(kind), _sequence(kind, value)
        if len(members) != len(items):
            raise AbiError(f"{kind} has {len(members)} members, not {len(items)}")
        return _sequenced(members, items)
    if kind in ("bytes", "string"):
        raw = _raw(kind, value)
        return _word(len(raw)) + raw + bytes(-len(raw) % _WORD)
    return _static(kind, value)


def _static(kind: str, value: Value) -> bytes:
    uint = _UINT.fullmatch(kind)
    if uint is not None and int(uint[1]) <= 256 and int(uint[1]) % 8 == 0:
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 1 << int(uint[1]):
            raise AbiError(f"{value!r} is no {kind}")
        return _word(value)
    if kind == "bool" and isinstance(value, bool):
        return _word(value)
    lengths = {"address": 20, "bytes32": 32}
    if isinstance(value, bytes) and len(value) == lengths.get(kind):
        return value.rjust(_WORD, b"\0")
    raise AbiError(f"{value!r} is no {kind}")


def _sequenced(kinds: Sequence[str], values: Sequence[Value]) -> bytes:
    """Heads, then tails: what has no fixed length stands behind, and its place before."""
    encoded = [_encode(kind, value) for kind, value in zip(kinds, values, strict=True)]
    dynamic = [_is_dynamic(kind) for kind in kinds]
    at = sum(_WORD if moved else len(raw) for moved, raw in zip(dynamic, encoded, strict=True))
    heads: list[bytes] = []
    tails: list[bytes] = []
    for moved, raw in zip(dynamic, encoded, strict=True):
        heads.append(_word(at) if moved else raw)
        if moved:
            tails.append(raw)
            at += len(raw)
    return b"".join(heads + tails)


def _is_dynamic(kind: str) -> bool:
    if kind.startswith("(") and not kind.endswith("[]"):
        return any(map(_is_dynamic, _members(kind)))
    return kind.endswith("[]") or kind in ("bytes", "string")


def _members(kind: str) -> list[str]:
    """Of `(a,(b,c)[],d)`: its members. Raises: AbiError."""
    if not kind.endswith(")"):
        raise AbiError(f"{kind} isn't a tuple")
    members: list[str] = []
    depth, begin = 0, 1
    for at, character in enumerate(kind):
        depth += (character == "(") - (character == ")")
        if (character == "," and depth == 1) or (depth == 0 and at > begin):
            members.append(kind[begin:at])
            begin = at + 1
    return members


def _sequence(kind: str, value: Value) -> Sequence[Value]:
    if isinstance(value, (str, bytes, int)):
        raise AbiError(f"{value!r} is no {kind}")
    return value


def _raw(kind: str, value: Value) -> bytes:
    if kind == "string" and isinstance(value, str):
        return value.encode()
    if kind == "bytes" and isinstance(value, bytes):
        return value
    raise AbiError(f"{value!r} is no {kind}")


def _word(value: int) -> bytes:
    return value.to_bytes(_WORD)
