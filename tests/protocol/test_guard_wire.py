"""Frames between signer and guard: written, read back, signed, and refused by the field at fault."""

import base64
from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st
from nacl.signing import SigningKey

from strongroom.domain.document import DocumentError
from strongroom.domain.instant import Instant
from strongroom.protocol import guard_wire as wire
from strongroom.protocol.canonical import record_hash
from strongroom.protocol.guard_wire import FetchAnswer, Lease, Reason, Sync, SyncAnswer
from strongroom.protocol.journal_chain import Head

KEY = SigningKey(b"k" * 32)
PUBLIC = bytes(KEY.verify_key)
NONCE = b"n" * 32
HEAD, CONTROL = Head(7, b"h" * 32), Head(0, bytes(32))
SYNC = Sync(NONCE, HEAD, (b"one", b"two"), CONTROL, True, b"s" * 64)
ANSWER = SyncAnswer(NONCE, False, HEAD, CONTROL, (b"entry",), Lease.RECOVER, 120_000, Instant(9), Reason.BEHIND)
FETCHED = FetchAnswer(NONCE, HEAD, b"s" * 64, ())

SYNC_DOCUMENT: dict[str, Any] = {
    "control": {"head": "00" * 32, "length": 0},
    "entries": [base64.b64encode(b"one").decode(), base64.b64encode(b"two").decode()],
    "head_signature": "73" * 64, "journal": {"head": "68" * 32, "length": 7}, "nonce": "6e" * 32,
    "type": "strongroom/sync/v1", "wants_spend": True,
}
ANSWER_DOCUMENT: dict[str, Any] = {
    "control": {"head": "00" * 32, "length": 0}, "entries": [base64.b64encode(b"entry").decode()],
    "is_cosigned": False, "journal": {"head": "68" * 32, "length": 7}, "lease": "recover", "lease_ms": 120_000,
    "nonce": "6e" * 32, "now_ms": 9, "reason": "behind", "type": "strongroom/sync-answer/v1",
}
FETCH_DOCUMENT: dict[str, Any] = {"first": 3, "nonce": "6e" * 32, "type": "strongroom/fetch/v1"}
FETCHED_DOCUMENT: dict[str, Any] = {
    "entries": [], "head_signature": "73" * 64, "journal": {"head": "68" * 32, "length": 7}, "nonce": "6e" * 32,
    "type": "strongroom/fetch-answer/v1",
}
PARSERS = {
    "sync": (SYNC_DOCUMENT, wire.parse_sync), "answer": (ANSWER_DOCUMENT, wire.parse_sync_answer),
    "fetch": (FETCH_DOCUMENT, wire.parse_fetch), "fetched": (FETCHED_DOCUMENT, wire.parse_fetch_answer),
}


def test_what_is_written_is_this_and_is_read_back() -> None:
    assert wire.encode_sync(SYNC) == rfc8785.dumps(SYNC_DOCUMENT)
    assert wire.parse_sync(wire.encode_sync(SYNC)) == SYNC
    assert wire.encode_sync_answer(ANSWER) == rfc8785.dumps(ANSWER_DOCUMENT)
    assert wire.parse_sync_answer(wire.encode_sync_answer(ANSWER)) == ANSWER
    assert wire.encode_fetch(NONCE, 3) == rfc8785.dumps(FETCH_DOCUMENT)
    assert wire.parse_fetch(wire.encode_fetch(NONCE, 3)) == (NONCE, 3)
    assert wire.encode_fetch_answer(FETCHED) == rfc8785.dumps(FETCHED_DOCUMENT)
    assert wire.parse_fetch_answer(wire.encode_fetch_answer(FETCHED)) == FETCHED


def test_the_statement_of_a_head_names_deployment_length_and_head() -> None:
    expected = {"deployment": "d" * 16, "head": "68" * 32, "length": 7, "type": "strongroom/journal-head/v1"}
    assert wire.head_statement("d" * 16, HEAD) == rfc8785.dumps(expected)


def test_a_frame_opens_with_its_key_and_type() -> None:
    raw = wire.encode_sync(SYNC)
    frame = wire.sign_frame(KEY, raw, wire.SYNC_TYPE)
    assert frame == KEY.sign(record_hash(wire.SYNC_TYPE, raw)).signature + raw
    assert wire.open_frame(PUBLIC, frame, wire.SYNC_TYPE) == raw


@pytest.mark.parametrize(
    ("key", "frame", "record_type"),
    [
        (bytes(SigningKey(b"x" * 32).verify_key), wire.sign_frame(KEY, b"raw", "a"), "a"),
        (PUBLIC, wire.sign_frame(KEY, b"raw", "a"), "b"),
        (PUBLIC, wire.sign_frame(KEY, b"raw", "a") + b"x", "a"),
        (PUBLIC, wire.sign_frame(KEY, b"raw", "a")[1:], "a"),
        (PUBLIC, b"", "a"),
        (b"short", wire.sign_frame(KEY, b"raw", "a"), "a"),
    ],
)
def test_any_other_frame_doesnt_open(key: bytes, frame: bytes, record_type: str) -> None:
    with pytest.raises(DocumentError, match="signed by the expected key"):
        wire.open_frame(key, frame, record_type)


@pytest.mark.parametrize(
    ("name", "change", "field"),
    [
        ("sync", {"type": "strongroom/sync/v2"}, "type"),
        ("sync", {"nonce": "6e" * 31}, "nonce"),
        ("sync", {"entries": "b25l"}, "entries"),
        ("sync", {"entries": ["b25l"] * 4_097}, "entries"),
        ("sync", {"entries": ["b25l", "b2"]}, "entries[1]"),
        ("sync", {"entries": ["b25m"[:-1] + "="]}, "entries[0]"),
        ("sync", {"entries": [1]}, "entries[0]"),
        ("sync", {"entries": ["b25l\n"]}, "entries[0]"),
        ("sync", {"entries": ["\u00e9"]}, "entries[0]"),
        ("sync", {"journal": {"head": "68" * 32, "length": -1}}, "journal.length"),
        ("sync", {"journal": {"head": "68" * 31, "length": 1}}, "journal.head"),
        ("sync", {"journal": {"head": "68" * 32, "length": 1, "x": 1}}, "journal.x"),
        ("sync", {"control": []}, "control"),
        ("sync", {"wants_spend": 1}, "wants_spend"),
        ("sync", {"head_signature": "73" * 63}, "head_signature"),
        ("sync", {"x": 1}, "x"),
        ("answer", {"is_cosigned": None}, "is_cosigned"),
        ("answer", {"lease": "most"}, "lease"),
        ("answer", {"lease_ms": 120_001}, "lease_ms"),
        ("answer", {"now_ms": -1}, "now_ms"),
        ("answer", {"reason": "why not"}, "reason"),
        ("answer", {"x": 1}, "x"),
        ("fetch", {"first": -1}, "first"),
        ("fetch", {"first": "3"}, "first"),
        ("fetch", {"x": 1}, "x"),
        ("fetched", {"head_signature": ""}, "head_signature"),
        ("fetched", {"x": 1}, "x"),
    ],
)
def test_a_wrong_record_is_refused_by_the_field_at_fault(name: str, change: dict[str, Any], field: str) -> None:
    document, parse = PARSERS[name]
    with pytest.raises(DocumentError) as refusal:
        parse(rfc8785.dumps(document | change))
    assert refusal.value.field == field


VALUES = st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(max_size=8) | st.lists(
    st.text(max_size=8), max_size=3
) | st.just({"head": "68" * 32, "length": 7})


@given(st.data(), st.sampled_from(sorted(PARSERS)), VALUES)
def test_only_the_parsers_own_error_escapes(data: st.DataObject, name: str, value: Any) -> None:
    document, parse = PARSERS[name]
    changed = document | {data.draw(st.sampled_from([*document, "extra"])): value}
    try:
        parse(rfc8785.dumps(changed))
    except DocumentError:
        return
    assert set(changed) == set(document)


@given(st.binary(max_size=200))
def test_bytes_from_strangers_open_nothing(raw: bytes) -> None:
    with pytest.raises(DocumentError):
        wire.open_frame(PUBLIC, raw, wire.SYNC_TYPE)
    for _, parse in PARSERS.values():
        with pytest.raises(DocumentError):
            parse(raw)
