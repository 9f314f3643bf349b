"""What the engine asks of the signer is read as it was written, and nothing else is."""

from base64 import b64decode

import pytest

from strongroom.domain.document import DocumentError
from strongroom.protocol.client_request import base64_list
from strongroom.protocol.signer_ask import read_answer, write_ask
from strongroom.protocol.signer_wire import Ask, RefusedAnswer, read_ask, write_answer


@pytest.mark.parametrize("ask", Ask)
def test_what_is_asked_is_read_back(ask: Ask) -> None:
    found, fields = read_ask(write_ask(ask, {"subject": "x"}))
    assert (found, fields.names(), fields.text("subject")) == (ask, ["subject"], "x")


@pytest.mark.parametrize("answer", [{"a": 1}, [], None, "x", RefusedAnswer("not-frozen", "x" * 2_000)])
def test_an_answer_is_read_back(answer: object) -> None:
    assert read_answer(write_answer(answer)) == answer  # type: ignore[arg-type]  # each is one of its kinds


@pytest.mark.parametrize(("raw", "reason"), [
    (b"{", "JSON"),
    (b"{}", "type: is missing"),
    (b'{"type":"strongroom/ask/approve/v1"}', "type: isn't anything that the signer is asked"),
    (b'{"type":"strongroom/ask/sign/v2"}', "type: isn't anything that the signer is asked"),
])
def test_nothing_else_is_asked(raw: bytes, reason: str) -> None:
    with pytest.raises(DocumentError, match=reason):
        read_ask(raw)


@pytest.mark.parametrize(("raw", "reason"), [
    (b"{", "JSON"),
    (b"{}", "answer: is missing"),
    (b'{"refused":1}', "refused: must be an object"),
    (b'{"refused":{"rule":"x"}}', "refused.reason: is missing"),
])
def test_what_is_no_answer_isnt_read_as_one(raw: bytes, reason: str) -> None:
    with pytest.raises(DocumentError, match=reason):
        read_answer(raw)


def test_bytes_travel_in_base64() -> None:
    assert [b64decode(str(each)) for each in base64_list([b"", b"\xff"])] == [b"", b"\xff"]
