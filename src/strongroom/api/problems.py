"""Refusals as `application/problem+json` (RFC 9457)."""

import secrets
from base64 import b32encode
from typing import Final

import msgspec

from strongroom.api.schemas import ProblemAnswer
from strongroom.domain.errors import Code, Refusal
from strongroom.domain.ids import ID_BODY_LENGTH
from strongroom.domain.instant import SECOND_MS

PROBLEM_TYPE: Final = b"application/problem+json"
DRAWN_AT_ONCE: Final = 32

FAULT: Final = Refusal(Code.INTERNAL, "a fault of ours; it is logged under the request id")


UNREACHABLE: Final = Refusal(
    Code.UNAVAILABLE, "the record can't be reached now: send the request again as it is", None, SECOND_MS
)


def new_request_id() -> str:
    """What an answer is found by in the log."""
    return RequestIds().draw()


class RequestIds:
    """Chance is drawn for many ids at once, which costs a tenth of drawing it for each."""

    def __init__(self) -> None:
        self._drawn: list[str] = []

    def draw(self) -> str:
        if not self._drawn:
            text = b32encode(secrets.token_bytes(DRAWN_AT_ONCE * ID_BODY_LENGTH * 5 // 8)).decode().lower()
            self._drawn = [text[place : place + ID_BODY_LENGTH] for place in range(0, len(text), ID_BODY_LENGTH)]
        return "req_" + self._drawn.pop()


def problem(refusal: Refusal, request_id: str) -> bytes:
    """The body of a refusal."""
    row = refusal.row
    return msgspec.json.encode(
        ProblemAnswer(
            type=f"urn:strongroom:problem:{refusal.code}",
            title=row.title,
            status=row.status,
            code=refusal.code.value,
            detail=refusal.detail,
            request_id=request_id,
            field=refusal.field,
        )
    )


def retry_after_s(refusal: Refusal) -> int | None:
    """Whole seconds, rounded up, for the header Retry-After."""
    if refusal.retry_after_ms is None:
        return None
    return max(1, -(-refusal.retry_after_ms // SECOND_MS))
