"""An exported audit log proves itself, and says which leaf is wrong."""

import contextlib
import json
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nacl.signing import SigningKey

from strongroom.protocol.audit_export import BLOCK, ExportError, export_head, export_lines, verify_export
from strongroom.protocol.checkpoint import Checkpoint, sign_checkpoint
from strongroom.protocol.merkle import leaf_hash, root_of
from strongroom.protocol.tree_head import cosign, witness_name

KEY = SigningKey(bytes(32))
PUBLIC = bytes(KEY.verify_key)
ORIGIN = "strongroom/0123456789abcdef"
SIZE = 2 * BLOCK + 44


def export(size: int = SIZE, signed: int | None = None) -> list[bytes]:
    leaves = [f'{{"event":{{"number":{number}}},"role":"r"}}' for number in range(size)]
    root = root_of(leaf_hash(leaf.encode()) for leaf in leaves)
    checkpoint = Checkpoint(ORIGIN, size if signed is None else signed, root)
    return [export_head(ORIGIN, sign_checkpoint(checkpoint, ORIGIN, KEY)), *lines_of(0, leaves)]


def lines_of(first: int, leaves: list[str]) -> Iterator[bytes]:
    """As they come from a record in which nothing was changed."""
    for start in range(0, len(leaves), BLOCK):
        hashes = [leaf_hash(leaf.encode()) for leaf in leaves[start : start + BLOCK]]
        entries = [(first + start + at, digest, leaves[start + at]) for at, digest in enumerate(hashes)]
        block = root_of(hashes) if len(hashes) == BLOCK else None
        yield from export_lines((first + start) // BLOCK, entries, block)


def line_of(lines: list[bytes], index: int) -> int:
    """Where the line of a leaf stands."""
    return next(place for place, line in enumerate(lines) if f'"index":{index},'.encode() in line)


@pytest.mark.parametrize("size", [1, 2, BLOCK - 1, BLOCK, BLOCK + 1, SIZE])
def test_an_honest_export_is_verified(size: int) -> None:
    found = verify_export(export(size), PUBLIC)
    assert (found.size, found.origin) == (size, ORIGIN)


def test_a_witness_is_demanded_if_its_key_is_given() -> None:
    guard = SigningKey(b"g" * 32)
    head, *rest = export(2)
    note = json.loads(head)["checkpoint"]
    line = cosign(note.partition("\n\n")[0] + "\n", witness_name(ORIGIN), guard, 1_800_000_000)
    witnessed = [export_head(ORIGIN, note + line), *rest]
    assert verify_export(witnessed, PUBLIC, bytes(guard.verify_key)).witnessed_s == 1_800_000_000
    assert verify_export(witnessed, PUBLIC).witnessed_s is None
    with pytest.raises(ExportError, match=f"isn't signed by {ORIGIN}/guard"):
        verify_export([head, *rest], PUBLIC, bytes(guard.verify_key))
    other = cosign(note.partition("\n\n")[0] + "\n", witness_name(ORIGIN), guard, 1_800_000_001)
    forged = line.replace(line[-40:-2], other[-40:-2])
    with pytest.raises(ExportError, match="doesn't hold"):
        verify_export([export_head(ORIGIN, note + forged), *rest], PUBLIC, bytes(guard.verify_key))


def test_a_changed_leaf_is_named() -> None:
    lines = export()
    place = line_of(lines, 300)
    lines[place] = lines[place].replace(b"300}", b"301}")
    with pytest.raises(ExportError, match="leaf 300 was changed"):
        verify_export(lines, PUBLIC)


def test_a_missing_leaf_is_named() -> None:
    lines = export()
    del lines[line_of(lines, 7)]
    with pytest.raises(ExportError, match="leaf 7 is missing, or stands after leaf 8") as fault:
        verify_export(lines, PUBLIC)
    assert fault.value.leaf == 7


def test_leaves_cut_from_the_end_are_named() -> None:
    with pytest.raises(ExportError, match=f"leaf {SIZE - 2} is missing: the checkpoint signs {SIZE}"):
        verify_export(export()[:-2], PUBLIC)


def test_reordered_leaves_are_named() -> None:
    lines = export()
    one, other = line_of(lines, 10), line_of(lines, 11)
    lines[one], lines[other] = lines[other], lines[one]
    with pytest.raises(ExportError, match="leaf 10 is missing, or stands after leaf 11"):
        verify_export(lines, PUBLIC)


def test_a_leaf_that_stands_twice_is_named() -> None:
    lines = export()
    lines.insert(line_of(lines, 20), lines[line_of(lines, 19)])
    with pytest.raises(ExportError, match="leaf 19 stands again"):
        verify_export(lines, PUBLIC)


def test_an_added_leaf_is_named() -> None:
    lines = export(3)
    with pytest.raises(ExportError, match="leaf 3 is one too many"):
        verify_export([*lines, *lines_of(3, ["{}"])], PUBLIC)


def forged(lines: list[bytes], index: int) -> list[bytes]:
    """A leaf changed together with its hash."""
    return [*lines[: line_of(lines, index)], *lines_of(index, ["{}"]), *lines[line_of(lines, index) + 1 :]]


def test_a_leaf_changed_with_its_hash_is_narrowed_to_its_block() -> None:
    with pytest.raises(ExportError, match="leaf 256 to 511: one of them was changed") as fault:
        verify_export(forged(export(), 300), PUBLIC)
    assert fault.value.leaf == BLOCK


def test_a_leaf_changed_with_its_hash_after_the_last_block_breaks_the_root() -> None:
    with pytest.raises(ExportError, match="don't lead to the root"):
        verify_export(forged(export(), SIZE - 1), PUBLIC)


@pytest.mark.parametrize(
    ("head", "reason"),
    [
        (b"", "the head: isn't JSON"),
        (b"{}\n", "isn't the head"),
        (export_head("strongroom/other", "x"), "the checkpoint:"),
        (export(signed=5)[0], "leaf 5 is one too many"),
    ],
)
def test_a_head_that_signs_something_else_is_refused(head: bytes, reason: str) -> None:
    with pytest.raises(ExportError, match=reason):
        verify_export([head, *export()[1:]], PUBLIC)


def test_another_key_is_not_believed() -> None:
    with pytest.raises(ExportError, match="the checkpoint: "):
        verify_export(export(), bytes(SigningKey(b"\1" * 32).verify_key))


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"not json\n", "leaf 4 can't be read"),
        (b'{"index":4,"leaf":"x"}\n', "without index, leaf and hash"),
        (b'{"hash":"x","index":4,"leaf":"\\ud800"}\n', "leaf 4 can't be read"),
        (b'{"block":0,"hash":"x"}\n', "a block's line stands where"),
    ],
)
def test_a_line_that_is_no_leaf_is_named(line: bytes, reason: str) -> None:
    lines = export()
    lines[line_of(lines, 4)] = line
    with pytest.raises(ExportError, match=reason):
        verify_export(lines, PUBLIC)


def test_two_leaves_swapped_with_their_hashes_break_their_block() -> None:
    lines = export()
    one, other = line_of(lines, 30), line_of(lines, 31)
    first, second = json.loads(lines[one]), json.loads(lines[other])
    first["index"], second["index"] = second["index"], first["index"]
    lines[one], lines[other] = (json.dumps(each).encode() for each in (second, first))
    with pytest.raises(ExportError, match=r"leaf 0 to 255: .* or two were swapped"):
        verify_export(lines, PUBLIC)


@given(st.lists(st.binary(max_size=60), max_size=4), st.integers(0, 5))
def test_only_its_own_error_escapes(junk: list[bytes], place: int) -> None:
    lines = export(5)
    with contextlib.suppress(ExportError):
        assert verify_export([*lines[:place], *junk, *lines[place:]], PUBLIC).size == 5
