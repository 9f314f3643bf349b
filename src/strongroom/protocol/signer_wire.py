"""What the engine asks of the signer, and how it is answered: one canonical object each, in a bounded frame.

An ask has a `type` of `strongroom/ask/NAME/v1`. The answer is `{"answer": …}` or `{"refused": {"reason", "rule"}}`.
The signer believes nothing in an ask: what counts is the evidence inside.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from strongroom.domain.document import DocumentError, Fields
from strongroom.protocol.canonical import JsonValue, encode
from strongroom.protocol.record import parse_fields

FRAME_MAXIMUM: Final = 24 * 2**20
"""A run of 16 MiB in one call comes in base64."""
ITEMS_MAXIMUM: Final = 2_000
RECEIPT_TYPE: Final = "strongroom/receipt/v1"
RECOVERY_TYPE: Final = "strongroom/recovery/v1"


class Ask(StrEnum):
    STATUS = "status"
    DESTINATIONS = "destinations"
    INTENTS = "intents"
    RUN = "run"
    REQUEST = "request"
    SIGN = "sign"
    CANCEL = "cancel"
    RECEIPT = "receipt"
    VOID = "void"
    ADDRESSES = "addresses"
    CHANGE = "change"
    ORGANISATION = "organisation"
    ROTATE = "rotate"
    RECOVER = "recover"


@dataclass(frozen=True, slots=True)
class RefusedAnswer:
    """The signer said no; `rule` is the tag of the rule."""

    rule: str
    reason: str


def read_ask(raw: bytes) -> tuple[Ask, Fields]:
    """Raises: DocumentError."""
    fields = parse_fields(raw)
    name = fields.text("type")
    ask = next((each for each in Ask if name == type_of(each)), None)
    if ask is None:
        raise DocumentError("type", "isn't anything that the signer is asked")
    return ask, fields


def write_answer(answer: JsonValue | RefusedAnswer) -> bytes:
    if isinstance(answer, RefusedAnswer):
        return encode({"refused": {"reason": answer.reason, "rule": answer.rule}})
    return encode({"answer": answer})


def type_of(ask: Ask) -> str:
    return f"strongroom/ask/{ask.value}/v1"
