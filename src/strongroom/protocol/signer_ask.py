"""The side of those who ask the signer: questions are written here, and answers read. `signer_wire` is the signer's."""

from collections.abc import Mapping

from strongroom.protocol.canonical import JsonValue, encode
from strongroom.protocol.record import parse_fields
from strongroom.protocol.signer_wire import Ask, RefusedAnswer, type_of


def write_ask(ask: Ask, body: Mapping[str, JsonValue]) -> bytes:
    return encode({**body, "type": type_of(ask)})


def read_answer(raw: bytes) -> JsonValue | RefusedAnswer:
    """Raises: DocumentError."""
    fields = parse_fields(raw)
    if not fields.has("refused"):
        return fields.take("answer")  # type: ignore[return-value]  # what a strict parser gave is a JsonValue
    inner = fields.inner("refused")
    return RefusedAnswer(inner.text("rule"), inner.text("reason", 2_000))
