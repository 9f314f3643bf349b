"""Journal entries: written, and read by kind, clock and the rest."""

from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from strongroom.domain.document import DocumentError
from strongroom.domain.instant import Instant
from strongroom.protocol.entry import Kind, Reading, read_entry, write_entry

CLOCK = Reading(Instant(1), Instant(3), Instant(2))


@pytest.mark.parametrize("kind", Kind)
def test_an_entry_is_written_like_this_and_read_back(kind: Kind) -> None:
    raw = write_entry(kind, CLOCK, {"b": "x", "a": 1})
    assert raw == rfc8785.dumps({"a": 1, "b": "x", "clock": [1, 3, 2], "type": f"strongroom/journal/{kind.value}/v1"})
    read, clock, fields = read_entry(raw)
    assert (read, clock) == (kind, CLOCK)
    assert (fields.text("b"), fields.integer("a", 1, 1)) == ("x", 1)
    fields.close()


@pytest.mark.parametrize(
    ("raw", "field"),
    [
        (b"", ""),
        (b"[]", ""),
        (b'{"a":1,"a":2}', "a"),
        (b"{}", "type"),
        (b'{"type":"strongroom/journal/spend/v2","clock":[1,2,3]}', "type"),
        (b'{"type":"spend","clock":[1,2,3]}', "type"),
        (b'{"type":1,"clock":[1,2,3]}', "type"),
        (b'{"type":"strongroom/journal/spend/v1"}', "clock"),
        (b'{"type":"strongroom/journal/spend/v1","clock":1}', "clock"),
        (b'{"type":"strongroom/journal/spend/v1","clock":[1,2]}', "clock"),
        (b'{"type":"strongroom/journal/spend/v1","clock":[1,2,true]}', "clock"),
        (b'{"type":"strongroom/journal/spend/v1","clock":[1,2,"3"]}', "clock"),
    ],
)
def test_what_is_no_entry_is_refused_by_the_field_at_fault(raw: bytes, field: str) -> None:
    with pytest.raises(DocumentError) as refusal:
        read_entry(raw)
    assert refusal.value.field == field


@given(
    st.binary(max_size=60)
    | st.fixed_dictionaries(
        {
            "type": st.sampled_from([f"strongroom/journal/{kind.value}/v1" for kind in Kind]) | st.text(max_size=9),
            "clock": st.none() | st.lists(st.integers(-3, 3) | st.booleans() | st.text(max_size=2), max_size=4),
        }
    ).map(rfc8785.dumps)
)
def test_only_its_own_error_escapes(raw: bytes) -> None:
    try:
        kind, clock, _ = read_entry(raw)
    except DocumentError:
        return
    assert kind in Kind
    assert all(type(value) is int for value in (clock.at_least, clock.at_most, clock.wall))


def test_a_body_cant_take_the_place_of_type_or_clock() -> None:
    body: dict[str, Any] = {"type": "strongroom/journal/genesis/v1", "clock": [9, 9, 9]}
    assert read_entry(write_entry(Kind.SPEND, CLOCK, body))[:2] == (Kind.SPEND, CLOCK)
