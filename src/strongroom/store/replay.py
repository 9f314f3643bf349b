"""The same key again: is it the same request, and if not, what differs first?"""

from collections.abc import Mapping

from strongroom.domain.errors import Code, Refusal
from strongroom.protocol.canonical import CanonicalError, JsonValue, parse
from strongroom.store.record import Evidence
from strongroom.store.session import Session


async def difference(connection: Session, earlier: int, now: Evidence) -> Refusal | None:
    """None if request number `earlier` has the method, path and body bytes of this one."""
    row = await connection.fetchrow("SELECT method, path, body FROM strongroom.evidence WHERE id = $1", earlier)
    if row is not None and (row["method"], row["path"], row["body"]) == (now.method, now.path, now.body):
        return None
    if row is None or (row["method"], row["path"]) != (now.method, now.path):
        used = "another request" if row is None else f"{row['method']} {row['path']}"
        return Refusal(Code.IDEMPOTENCY_KEY_REUSED, f"the key was used for {used}", "")
    field = first_difference(row["body"], now.body)
    named = f"the field {field}" if field else "only the bytes (send the same bytes again)"
    return Refusal(Code.IDEMPOTENCY_KEY_REUSED, f"the key was used for another body: it differs in {named}", field)


def first_difference(earlier: bytes, later: bytes) -> str:
    """The path of the first field that differs, in the order of names; "" when only the bytes do."""
    try:
        return _differs(parse(earlier), parse(later), "") or ""
    except CanonicalError:
        return ""


def _differs(earlier: JsonValue, later: JsonValue, path: str) -> str | None:
    if isinstance(earlier, Mapping) and isinstance(later, Mapping):
        for name in sorted({*earlier, *later}):
            inner = f"{path}.{name}" if path else name
            if (name in earlier) != (name in later):
                return inner
            found = _differs(earlier[name], later[name], inner)
            if found is not None:
                return found
        return None
    if isinstance(earlier, list) and isinstance(later, list):
        for index, (one, other) in enumerate(zip(earlier, later, strict=False)):
            found = _differs(one, other, f"{path}[{index}]")
            if found is not None:
                return found
        return None if len(earlier) == len(later) else f"{path}[{min(len(earlier), len(later))}]"
    return None if type(earlier) is type(later) and earlier == later else path
