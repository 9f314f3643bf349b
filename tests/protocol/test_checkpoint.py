"""Signed notes and checkpoints against C2SP's and Go's examples, and hostile notes."""

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nacl.signing import SigningKey
from tests.protocol.vectors import load

from strongroom.protocol.checkpoint import (
    NOTE_MAXIMUM,
    Checkpoint,
    CheckpointError,
    key_hash,
    sign_checkpoint,
    sign_note,
    verify_checkpoint,
    verify_note,
)

VECTORS = load("protocol_note.json")
KEY = SigningKey(bytes(range(32)))
PUBLIC = bytes(KEY.verify_key)
NAME = "strongroom/0123456789abcdef"
CHECKPOINT = Checkpoint(NAME, 20_852_163, bytes(range(32)))


@pytest.mark.parametrize("case", VECTORS["notes"], ids=lambda case: case["verifier_key"][:12])
def test_published_notes_verify(case: dict[str, Any]) -> None:
    name, hashed, encoded = case["verifier_key"].split("+", 2)
    algorithm, public_key = base64.b64decode(encoded)[:1], base64.b64decode(encoded)[1:]
    assert (algorithm, key_hash(name, public_key).hex()) == (b"\x01", hashed)
    assert verify_note(case["note"], name, public_key) == case["text"]
    with pytest.raises(CheckpointError, match="doesn't hold"):
        verify_note("X" + case["note"], name, public_key)


def test_published_checkpoint_text() -> None:
    published = VECTORS["checkpoint"]
    checkpoint = Checkpoint(published["origin"], published["size"], base64.b64decode(published["root"]))
    assert checkpoint.text() == published["text"]


@given(st.integers(0, 10**18 - 1), st.binary(min_size=32, max_size=32))
def test_a_signed_checkpoint_reads_back(size: int, root: bytes) -> None:
    checkpoint = Checkpoint(NAME, size, root)
    assert verify_checkpoint(sign_checkpoint(checkpoint, NAME, KEY), NAME, NAME, PUBLIC) == checkpoint


def test_lines_by_other_keys_are_skipped_and_extensions_ignored() -> None:
    """A key of the same name with another hash is another key."""
    text = CHECKPOINT.text() + "an extension\n"
    other = sign_note(text, NAME, SigningKey(bytes(32))).split("\n\n")[1]
    witness = sign_note(text, "witness", SigningKey(bytes(32))).split("\n\n")[1]
    note = sign_note(text, NAME, KEY) + other + witness
    assert verify_checkpoint(note, NAME, NAME, PUBLIC) == CHECKPOINT


def signed(text: str) -> str:
    return sign_note(text, NAME, KEY)


ROOT = base64.b64encode(bytes(32)).decode()
GOOD_LINE = sign_checkpoint(CHECKPOINT, NAME, KEY).split("\n\n")[1]
FORGED_LINE = f"\u2014 {NAME} {base64.b64encode(key_hash(NAME, PUBLIC) + bytes(64)).decode()}\n"


@pytest.mark.parametrize(
    ("note", "reason"),
    [
        ("", "ends in an empty line"),
        (CHECKPOINT.text(), "ends in an empty line"),
        (CHECKPOINT.text() + "\n", "ends in an empty line"),
        (CHECKPOINT.text() + "\n" + GOOD_LINE.rstrip("\n"), "ends in an empty line"),
        (CHECKPOINT.text() + "\n" + GOOD_LINE * 17, "1 to 16 signatures"),
        (CHECKPOINT.text() + "\n" + "- " + GOOD_LINE[2:], "malformed"),
        (CHECKPOINT.text() + "\n" + "\u2014 " + GOOD_LINE.split(" ")[2], "malformed"),
        (CHECKPOINT.text() + "\n" + f"\u2014 {NAME} AAAA\n", "malformed"),
        (CHECKPOINT.text() + "\n" + f"\u2014 {NAME} \u00e9AAAAAAA\n", "isn't base64"),
        (CHECKPOINT.text() + "\n" + f"\u2014 {NAME} AAAAAAB=\n", "canonical form"),
        (CHECKPOINT.text() + "\n" + FORGED_LINE, "doesn't hold"),
        (CHECKPOINT.text() + "\n" + GOOD_LINE + FORGED_LINE, "doesn't hold"),
        (sign_checkpoint(CHECKPOINT, NAME, SigningKey(bytes(32))), "isn't signed by"),
        (sign_checkpoint(CHECKPOINT, "strongroom/other", KEY), "isn't signed by"),
        ("a" * NOTE_MAXIMUM + sign_checkpoint(CHECKPOINT, NAME, KEY), "longer than"),
        (signed("a\tb\n"), "control characters"),
        (signed(f"other\n1\n{ROOT}\n"), "isn't a checkpoint of"),
        (signed(f"{NAME}\n1\n"), "isn't a checkpoint of"),
        (signed(f"{NAME}\n1\n\n{ROOT}\n"), "isn't a checkpoint of"),
        (signed(f"{NAME}\n01\n{ROOT}\n"), "size isn't"),
        (signed(f"{NAME}\n-1\n{ROOT}\n"), "size isn't"),
        (signed(f"{NAME}\n\u0661\n{ROOT}\n"), "size isn't"),
        (signed(f"{NAME}\n{10**18}\n{ROOT}\n"), "size isn't"),
        (signed(f"{NAME}\n1\n{ROOT}=\n"), "base64"),
        (signed(f"{NAME}\n1\nAAAA\n"), "isn't a SHA-256"),
        (CHECKPOINT.text() + "\ud800\n\n" + GOOD_LINE, "doesn't hold"),
    ],
)
def test_what_is_no_checkpoint_by_the_key_is_refused(note: str, reason: str) -> None:
    with pytest.raises(CheckpointError, match=reason):
        verify_checkpoint(note, NAME, NAME, PUBLIC)


def test_a_public_key_of_the_wrong_length_verifies_nothing() -> None:
    line = f"\u2014 {NAME} {base64.b64encode(key_hash(NAME, b'short') + bytes(64)).decode()}\n"
    with pytest.raises(CheckpointError, match="doesn't hold"):
        verify_note(CHECKPOINT.text() + "\n" + line, NAME, b"short")


@given(st.data())
def test_no_changed_note_is_believed(data: st.DataObject) -> None:
    """The attacker has a signed note and wants another size or root; the bound is a refusal."""
    note = sign_checkpoint(CHECKPOINT, NAME, KEY)
    place = data.draw(st.integers(0, len(note) - 1))
    changed = note[:place] + data.draw(st.characters() | st.just("")) + note[place + 1 :]
    try:
        assert verify_checkpoint(changed, NAME, NAME, PUBLIC) == CHECKPOINT
    except CheckpointError:
        assert changed != note
    else:
        assert changed == note


@given(st.text())
def test_only_its_own_error_escapes(text: str) -> None:
    for note in (text, signed(text + "\n"), CHECKPOINT.text() + "\n" + text):
        with pytest.raises(CheckpointError):
            verify_checkpoint(note, NAME, NAME, PUBLIC)
