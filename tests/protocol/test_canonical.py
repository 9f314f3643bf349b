"""Canonical JSON against RFC 8785's own vectors, an independent encoder, and hostile bytes."""

import hashlib
import json
import time
from collections import UserString

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st
from tests.protocol.vectors import load

from strongroom.protocol.canonical import (
    DEPTH_MAXIMUM,
    INTEGER_MAXIMUM,
    CanonicalError,
    JsonValue,
    encode,
    parse,
    parse_object,
    record_hash,
)

CASES = {case["name"]: case for case in load("protocol_canonical.json")["cases"]}

texts = st.text(st.characters(exclude_categories=["Cs"]))
keys = st.text(st.characters(max_codepoint=127), max_size=8)
integers = st.integers(-INTEGER_MAXIMUM, INTEGER_MAXIMUM)
values = st.recursive(
    st.none() | st.booleans() | integers | texts,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(keys, inner, max_size=5),
)


def nested(opening: str, closing: str, levels: int) -> bytes:
    return (opening * levels + "1" + closing * levels).encode()


@pytest.mark.parametrize("name", ["arrays", "unicode"])
def test_rfc_8785_vectors_inside_the_subset_come_out_to_the_byte(name: str) -> None:
    case = CASES[name]
    assert encode(parse(case["input"].encode())).hex() == case["output"]


@pytest.mark.parametrize("name", ["french", "weird"])
def test_rfc_8785_vectors_with_keys_outside_ascii_are_read_and_not_written(name: str) -> None:
    value = parse(CASES[name]["input"].encode())
    assert rfc8785.dumps(value).hex() == CASES[name]["output"]
    with pytest.raises(CanonicalError, match="keys must be ASCII"):
        encode(value)


@pytest.mark.parametrize("name", ["structures", "values"])
def test_rfc_8785_vectors_with_fractions_are_refused(name: str) -> None:
    with pytest.raises(CanonicalError, match="isn't a plain integer"):
        parse(CASES[name]["input"].encode())


@given(values)
def test_encoding_equals_that_of_an_independent_encoder(value: JsonValue) -> None:
    assert encode(value) == rfc8785.dumps(value)


def test_every_character_comes_out_as_an_independent_encoder_writes_it_alone_and_after_a_backslash() -> None:
    """What escapes by number is found by how the quick encoder writes it, and a backslash before a u looks alike."""
    for character in (*map(chr, range(0x250)), "\u2028", "\ufeff", "\uffff", "\U0001f600"):
        for value in (character, "\\" + character, "\\u00e9" + character):
            assert encode([value]) == rfc8785.dumps([value])


@given(values)
def test_what_is_written_is_read_back_as_it_was(value: JsonValue) -> None:
    assert parse(encode(value)) == value


@given(values)
def test_any_spelling_of_a_value_has_one_canonical_form(value: JsonValue) -> None:
    spelled = json.dumps(value, indent=2).encode()
    assert encode(parse(spelled)) == encode(value)


@given(st.binary(max_size=200) | st.text("[]{}\",:\\u0123eE.+-dD8tfn \ud800", max_size=60).map(
    lambda text: text.encode(errors="surrogatepass")))
def test_only_its_own_error_escapes_the_parser(raw: bytes) -> None:
    try:
        assert parse(encode(parse(raw))) == parse(raw)
    except CanonicalError as refusal:
        str(refusal).encode()
        refusal.field.encode()


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "isn't JSON"),
        (b"[1", "isn't JSON"),
        (b"[1] 2", "isn't JSON"),
        (b"['a']", "isn't JSON"),
        (b'["\x01"]', "isn't JSON"),
        (b"\xff", "isn't UTF-8 at byte 0"),
        (b'"\xed\xa0\x80"', "isn't UTF-8 at byte 1"),
        (b"\xef\xbb\xbf{}", "byte order mark"),
        (b"[1.0]", "the number 1.0 isn't a plain integer"),
        (b"[1e3]", "the number 1e3 isn't a plain integer"),
        (b"[NaN]", "the number NaN isn't a plain integer"),
        (b"[-Infinity]", "the number -Infinity isn't a plain integer"),
        (b"[9007199254740992]", "isn't an integer below"),
        (b"[-9007199254740992]", "isn't an integer below"),
        (b"[-0]", "isn't an integer below"),
        (b"[" + b"9" * 100_000 + b"]", "isn't an integer below"),
        (b'["\\ud800"]', "lone surrogate"),
        (b'{"\\udc00":1}', "lone surrogate"),
    ],
)
def test_doubtful_bytes_are_refused(raw: bytes, reason: str) -> None:
    with pytest.raises(CanonicalError, match=reason):
        parse(raw)


@pytest.mark.parametrize(
    ("raw", "key"),
    [
        (b'{"a":1,"b":2,"a":1}', "a"),
        (b'[{"x":{"amount":"1","amount":"2"}}]', "amount"),
        (b'{"a":1,"\\u0061":2}', "a"),
        (b'{"\\ud800":1,"\\ud800":2}', "\\ud800"),
        (b'{"%s":1,"%s":2}' % (b"k" * 500, b"k" * 500), "k" * 64),
    ],
)
def test_a_key_that_stands_there_twice_is_named(raw: bytes, key: str) -> None:
    with pytest.raises(CanonicalError, match="stands there twice") as refusal:
        parse(raw)
    assert refusal.value.field == key


def test_escaped_pairs_of_surrogates_are_one_character() -> None:
    assert parse(b'"\\ud83d\\ude02"') == "\U0001f602"


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}"), ('[{"a":', "}]")])
def test_depth_is_exact(opening: str, closing: str) -> None:
    each = 2 if opening.startswith("[{") else 1
    parse(nested(opening, closing, DEPTH_MAXIMUM // each))
    with pytest.raises(CanonicalError, match="deeper than 32"):
        parse(nested(opening, closing, DEPTH_MAXIMUM // each + 1))


def test_depth_is_exact_where_brackets_stand_side_by_side() -> None:
    def spread(levels: int) -> bytes:
        return b"[[]," * (levels - 1) + b"[]" + b"]" * (levels - 1)

    parse(spread(DEPTH_MAXIMUM))
    with pytest.raises(CanonicalError, match="deeper than 32"):
        parse(spread(DEPTH_MAXIMUM + 1))


@pytest.mark.parametrize("text", ['"plain [[[ text"', '"escaped \\" [[[ text"'])
def test_depth_is_exact_in_what_is_long(text: str) -> None:
    def long(levels: int) -> bytes:
        return (f"[{text}," * levels + "1" + "]" * levels).encode() + b" " * 10_000

    parse(long(DEPTH_MAXIMUM))
    with pytest.raises(CanonicalError, match="deeper than 32"):
        parse(long(DEPTH_MAXIMUM + 1))


@pytest.mark.parametrize("end", ["", '"', '"[[[', '\\"[['])
def test_a_text_that_never_ends_is_refused_however_long_it_is(end: str) -> None:
    with pytest.raises(CanonicalError):
        parse(b"[" * 40 + b'"' + b"[" * 10_000 + end.encode())


def test_depth_can_be_set_lower() -> None:
    assert parse(b"[[],[],[],[],[],[]]", maximum_depth=2) == [[]] * 6
    with pytest.raises(CanonicalError, match="deeper than 2"):
        parse(b"[[],[[]],[],[],[],[]]", maximum_depth=2)


def test_brackets_in_text_and_side_by_side_are_not_depth() -> None:
    wide = b"[" + b"[]," * 1_000 + b'"\\"[[[{{{", "' + b"[" * 1_000 + b'"]'
    assert isinstance(parse(wide), list)


def test_what_is_too_deep_is_never_parsed_nor_written() -> None:
    value: JsonValue = 1
    for _ in range(DEPTH_MAXIMUM):
        value = [value]
    assert parse(encode(value)) == value
    with pytest.raises(CanonicalError, match="deeper than 32"):
        encode([value])


@given(st.lists(st.sampled_from(["[", "]", "{", "}", '"', "\\", "a"]), max_size=60))
def test_the_depth_check_never_lets_malformed_bytes_exhaust_the_stack(parts: list[str]) -> None:
    with pytest.raises(CanonicalError):
        parse("".join(parts).encode() * 50)


@pytest.mark.parametrize(
    "raw",
    [
        b"[" * 100_000,
        b"[" * 100_000 + b"]" * 100_000,
        b"[" * 40 + b'"' + b'\\"' * 40_000,
        b"[" * 40 + b'"a"' * 40_000 + b"\\",
        b"]" * 50_000 + b"[" * 50_000,
    ],
    ids=["open", "closed", "quotes", "strings", "backwards"],
)
def test_hostile_nesting_is_refused_in_milliseconds(raw: bytes) -> None:
    """The attacker has bytes and wants CPU; the bound is 5 ms of it for 100 kB, ten times that on a slow machine."""
    start = time.process_time()
    with pytest.raises(CanonicalError):
        parse(raw)
    assert time.process_time() - start < 0.05


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (INTEGER_MAXIMUM + 1, "2\\^53"),
        (-INTEGER_MAXIMUM - 1, "2\\^53"),
        ("\ud800", "lone surrogate"),
        ({"\u20ac": 1}, "ASCII"),
        ({1: 1}, "ASCII"),
        (1.5, "a float has no canonical form"),
        ([b"bytes"], "a bytes has no canonical form"),
        (UserString("text"), "a UserString has no canonical form"),
    ],
)
def test_what_has_no_canonical_form_is_not_written(value: JsonValue, reason: str) -> None:
    with pytest.raises(CanonicalError, match=reason):
        encode(value)


def test_only_objects_are_objects() -> None:
    assert parse_object(b'{"a":[1]}') == {"a": [1]}
    with pytest.raises(CanonicalError, match="must be a JSON object"):
        parse_object(b"[]")


def test_hashes_are_of_the_type_a_zero_and_the_bytes() -> None:
    raw = b'{"type":"strongroom/test/v1"}'
    assert record_hash("strongroom/test/v1", raw) == hashlib.sha256(b"strongroom/test/v1\0" + raw).digest()
    assert encode({"b": 1, "a": 2}) == b'{"a":2,"b":1}'
