"""Pages of a list. A cursor says where the page before ended; to clients it is opaque."""

import base64
import binascii
from collections.abc import Mapping, Sequence
from typing import Final, Protocol

from strongroom.api.reading import refuse
from strongroom.domain.errors import Code

LIMIT_DEFAULT: Final = 50
LIMIT_MAXIMUM: Final = 200


class Listed(Protocol):
    @property
    def position(self) -> int: ...


def read_page(query: Mapping[str, str]) -> tuple[int, int]:
    """(position after which to go on, how many). Raises: RefusalError `invalid`."""
    limit = query.get("limit", str(LIMIT_DEFAULT))
    if not limit.isascii() or not limit.isdigit() or not 1 <= int(limit[:4]) <= LIMIT_MAXIMUM or len(limit) > 3:
        raise refuse(Code.INVALID, f"must be a number from 1 to {LIMIT_MAXIMUM}", "limit")
    return _position(query.get("cursor")), int(limit)


def page(found: Sequence[Listed], limit: int) -> str | None:
    """The cursor of the next page; None when this one wasn't full."""
    if len(found) < limit:
        return None
    return base64.urlsafe_b64encode(str(found[-1].position).encode()).decode()


def _position(cursor: str | None) -> int:
    if cursor is None:
        return 0
    try:
        text = base64.b64decode(cursor.encode(), altchars=b"-_", validate=True).decode()
    except (binascii.Error, UnicodeDecodeError, UnicodeEncodeError) as fault:
        raise refuse(Code.INVALID, "isn't a cursor that a list gave", "cursor") from fault
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise refuse(Code.INVALID, "isn't a cursor that a list gave", "cursor")
    return int(text)
