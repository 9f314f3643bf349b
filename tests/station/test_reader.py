"""The station's readers and writers against Python's: what one takes the other takes, to the byte and to the field."""

import json
from base64 import b64encode
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.protocol.people import ADA, CLEO, NOW, ORGANISATION, policy
from tests.protocol.vectors import load
from tests.station.reading import Reader, RefusedError

from strongroom.domain.beneficiary import DestinationClass
from strongroom.domain.document import DocumentError
from strongroom.domain.ids import BeneficiaryId, DestinationDigest, IdempotencyKey
from strongroom.domain.instant import Instant
from strongroom.protocol import station_link
from strongroom.protocol.canonical import CanonicalError, encode, parse, record_hash
from strongroom.protocol.destination_record import BankAccountRecord, DestinationRecord, parse_destination_record
from strongroom.protocol.identifier import run_id
from strongroom.protocol.merkle import leaf_hash, root_of
from strongroom.protocol.negative import Action, Negative, parse_negative
from strongroom.protocol.phrase import phrase, proquint
from strongroom.protocol.record_writer import write_negative
from strongroom.protocol.station_link import Asked

PROQUINTS = (  # arXiv:0901.4016, §4
    ("127.0.0.1", "lusab babad"), ("63.84.220.193", "gutih tugad"), ("63.118.7.35", "gutuk bisog"),
    ("140.98.193.141", "mudof sakat"), ("64.255.6.200", "haguz biram"), ("128.30.52.45", "mabiv gibot"),
    ("147.67.119.2", "natag lisaf"), ("212.58.253.68", "tibup zujah"), ("216.35.68.215", "tobog higil"),
    ("216.68.232.21", "todah vobij"), ("198.81.129.136", "sinid makam"), ("12.110.110.204", "budov kuras"),
)
FUZZED = 300
TRICKS = '[]{}",:\\u0123eE.+-dD8tfnul \t\n\ud800\u2028é'

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("ab\x00é\u2028", max_size=4), inner, max_size=4)
)
spellings = st.builds(
    lambda value, indent, is_ascii: json.dumps(value, indent=indent, ensure_ascii=is_ascii).encode(),
    values, st.none() | st.integers(0, 2), st.booleans(),
)


def canonical_here(raw: bytes) -> str | None:
    try:
        return encode(parse(raw)).decode()
    except CanonicalError:
        return None


def there(reader: Reader, ask: str, **given: Any) -> Any:
    try:
        return reader(ask, **given)
    except RefusedError:
        return None


@st.composite
def spoiled(draw: st.DrawFn) -> bytes:
    """A good spelling with a few bytes changed, left out or doubled."""
    raw = bytearray(draw(spellings))
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(raw)))
        end = min(len(raw), at + draw(st.integers(0, 3)))
        raw[at:end] = draw(st.sampled_from([b"", bytes(raw[at:end]) * 2, draw(st.binary(max_size=2))]))
    return bytes(raw)


@settings(max_examples=FUZZED)
@given(raw=spellings | spoiled() | st.binary(max_size=60) | st.text(TRICKS, max_size=30).map(
    lambda text: text.encode(errors="surrogatepass")))
def test_any_bytes_have_one_canonical_form_in_both_or_in_none(reader: Reader, raw: bytes) -> None:
    assert there(reader, "canonical", raw=raw) == canonical_here(raw)


@pytest.mark.parametrize("raw", [
    b"", b"[1", b"[1] 2", b"['a']", b'["\x01"]', b"\xff", b'"\xed\xa0\x80"', b"\xef\xbb\xbf{}", b"[1.0]", b"[1e3]",
    b"[NaN]", b"[-Infinity]", b"[9007199254740991]", b"[9007199254740992]", b"[-9007199254740991]", b"[-0]", b"[0]",
    b"[01]", b"[-]", b"[" + b"9" * 10_000 + b"]", b'["\\ud800"]', b'["\\ud83d\\ude00"]', b'{"\\udc00":1}',
    b'{"a":1,"\\u0061":2}', b'{"__proto__":1,"constructor":2}', b'{"a":1,"a":1}', b'["\\x"]', b'["\\u00g0"]',
    b'["\x7f\xc2\x80"]', b'["\\u0000"]', b"[" * 32 + b"1" + b"]" * 32, b"[" * 33 + b"1" + b"]" * 33,
    b'{"a":' * 32 + b"{}" + b"}" * 32, b"nul", b"true", b'{"a"}', b"[1,]", b'{"a":1,}', b"\xa01",
    b"\x0b1", "[\"\u2028\"]".encode(), b'{"\xc3\xa9":1}', b'"' + b"a" * 300_000 + b'"',
], ids=lambda raw: repr(raw[:20]))
def test_doubtful_bytes_are_read_alike(reader: Reader, raw: bytes) -> None:
    assert there(reader, "canonical", raw=raw) == canonical_here(raw)


@pytest.mark.parametrize("name", ["arrays", "unicode", "french", "weird", "structures", "values"])
def test_the_vectors_of_rfc_8785_are_read_alike(reader: Reader, name: str) -> None:
    (case,) = [each for each in load("protocol_canonical.json")["cases"] if each["name"] == name]
    assert there(reader, "canonical", raw=case["input"].encode()) == canonical_here(case["input"].encode())


@pytest.mark.parametrize(("address", "words"), PROQUINTS)
def test_a_phrase_is_made_of_proquints(reader: Reader, address: str, words: str) -> None:
    raw = bytes(int(each) for each in address.split("."))
    numbers = [int.from_bytes(raw[:2]), int.from_bytes(raw[2:])]
    assert " ".join(map(proquint, numbers)) == words
    assert " ".join(reader("proquint", number=each) for each in numbers) == words


@given(digest=st.binary(min_size=32, max_size=32))
def test_both_say_the_same_phrase(reader: Reader, digest: bytes) -> None:
    said = phrase(digest)
    assert reader("phrase", digest=digest) == said
    assert [len(word) for word in said.split(" ")] == [5] * 8


def test_hashes_ids_and_roots_are_the_same(reader: Reader) -> None:
    assert reader("hash", type="strongroom/x/v1", raw=b"{}") == record_hash("strongroom/x/v1", b"{}").hex()
    for key in ("a", "key-2", "~!{}"):
        made = run_id(ORGANISATION, ADA.id, IdempotencyKey(key))
        assert reader("run_id", organisation=ORGANISATION, client=ADA.id, key=key) == made
    for count in (1, 2, 3, 5, 8, 13):
        leaves = [f"leaf {each}".encode() for each in range(count)]
        coded = [b64encode(each).decode() for each in leaves]
        assert reader("root", leaves=coded) == root_of(map(leaf_hash, leaves)).hex()


# Records.

DESTINATION = DestinationRecord(
    ORGANISATION, BeneficiaryId("ben_" + "c" * 26), "Żółć \u05d0 & Søn", DestinationClass.DECLARED, "sim:sandbox",
    "sim1abc", 1, None,
)
DESTINATIONS = (
    DESTINATION,
    DestinationRecord(
        ORGANISATION, DESTINATION.beneficiary, "Bank", DestinationClass.ALLOWLISTED, "sepa",
        BankAccountRecord("A. Holder", "DE", "DE89370400440532013000"), 2, DestinationDigest("ab" * 32),
    ),
)


def _changes(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Every field left out, made null, of another kind, changed; and one that nobody knows."""
    changed = [{**document, "unknown": 1}]
    for name, value in document.items():
        others: list[Any] = [None, 0, -1, "", "x", [], {}, True]
        if isinstance(value, str):
            others += [value + " ", value[:-1], value.upper(), value * 300]
        if isinstance(value, dict):
            others += _changes(value)
        changed += [{**document, name: other} for other in others]
        changed.append({key: each for key, each in document.items() if key != name})
    return changed


def test_destination_records_are_read_alike_and_so_is_each_changed_one(reader: Reader) -> None:
    compared = 0
    for record in DESTINATIONS:
        for document in [json.loads(record.encode()), *_changes(json.loads(record.encode()))]:
            raw = encode(document)
            try:
                expected = parse_destination_record(raw)
            except DocumentError:
                expected = None
            found = there(reader, "destination", raw=raw)
            if found is not None and expected is None:  # the station is stricter in words, never looser
                pytest.fail(f"only the station takes {raw!r}")
            if found is None and expected is not None:
                assert not expected.network.isascii() or " " in expected.network or len(expected.network) > 60
            compared += found is not None
    assert compared > len(DESTINATIONS)
    shown = reader("destination", raw=DESTINATION.encode())
    assert (shown["name"], shown["address"], shown["class"]) == (DESTINATION.name, "sim1abc", "declared")


@pytest.mark.parametrize(("action", "subject"), [
    (Action.FREEZE, "organisation"), (Action.FREEZE, "asset:eip155:1/erc20:0x" + "a" * 40),
    (Action.UNFREEZE, "network:sim:sandbox"), (Action.CANCEL, "po_" + "a" * 26), (Action.DECLINE, "run_" + "a" * 26),
    (Action.REVOKE, "ak_" + "a" * 26), (Action.SUSPEND, ADA.id), (Action.VETO, "0" * 64),
    (Action.RESOLVE, "unknown-spend.x"), (Action.RECOVER, "network:sim:sandbox"),
])
def test_an_instruction_is_written_and_read_as_python_does(reader: Reader, action: Action, subject: str) -> None:
    negative = Negative(action, Instant(NOW + 1), 7, subject, ORGANISATION, "ab" * 32)
    raw = write_negative(negative)
    given = {
        "action": action.value, "expires": NOW + 1, "epoch": 7, "object": subject, "organisation": ORGANISATION,
        "recordId": "ab" * 32,
    }
    assert reader("write_negative", negative=given).encode() == raw
    assert reader("negative", raw=raw) == given
    for document in _changes(json.loads(raw)):
        changed = encode(document)
        try:
            parse_negative(changed)
        except (DocumentError, ValueError):
            assert there(reader, "negative", raw=changed) is None, changed
        else:
            assert there(reader, "negative", raw=changed) is not None, changed


@pytest.mark.parametrize("raw", [
    b'{"b":1,"a":2,"type":"t"}', b'{"a": 1,"type":"t"}', b'{"a":1,"type":"other"}', b'{"a":1}', b"[]", b'"t"',
    b'{"type":"t"}\n', b'{"a":"\\u0061","type":"t"}',
])
def test_what_isnt_canonical_or_of_another_type_is_no_record(reader: Reader, raw: bytes) -> None:
    with pytest.raises(RefusedError):
        reader("record", raw=raw, type="t")


def test_a_record_is_one_in_its_canonical_form(reader: Reader) -> None:
    assert reader("record", raw=b'{"a":2,"b":1,"type":"t"}', type="t") is True


# Links.

ASKED = Asked(ADA.id, "A Example", (b"credential",))
LINKS = {
    "approve": station_link.approve(ASKED, b'{"x":"\xc3\xa9"}', b"s" * 64, policy=policy(), items="t" * 22),
    "instruct": station_link.instruct(ASKED, ORGANISATION, Action.FREEZE, "organisation"),
    "joined": station_link.instruct(
        ASKED, ORGANISATION, Action.UNFREEZE, "organisation", record=b"{}", given=[CLEO.asserts(b"{}")]
    ),
    "change": station_link.change(ASKED, "policy", b"{}", None),
    "intent": station_link.intent(ASKED, b"{}", destination=b"{}"),
    "enrol": station_link.enrol(ASKED, ORGANISATION, bytes(32)),
}


def fragment(document: dict[str, Any]) -> str:
    return "#" + station_link.station_url("https://s.example", document).partition("#")[2]


@pytest.mark.parametrize("name", LINKS)
def test_a_link_is_read_as_it_was_written_and_no_other_is(reader: Reader, name: str) -> None:
    document: dict[str, Any] = LINKS[name]
    read = reader("link", fragment=fragment(document))
    assert (read["kind"], read["person"], read["name"]) == (document["kind"], ADA.id, "A Example")
    assert read["credentials"] == [b"credential".hex()]
    for changed in ({**document, "unknown": None}, {key: document[key] for key in document if key != "credentials"}):
        with pytest.raises(RefusedError):
            reader("link", fragment=fragment(changed))


@pytest.mark.parametrize("given", [
    "", "#", "#!", "#e30=", "#" + "A" * 1_000_001, "#W10", "#eyJhIjogMX0", "#eyJhIjoxfQ",
])
def test_what_isnt_a_link_is_refused(reader: Reader, given: str) -> None:
    with pytest.raises(RefusedError):
        reader("link", fragment=given)


def test_what_is_too_long_for_an_address_isnt_written() -> None:
    with pytest.raises(station_link.LinkError, match="of at most"):
        station_link.station_url("https://s.example", station_link.change(ASKED, "policy", b"x" * 800_000, None))


# Amounts, and what differs.


@pytest.mark.parametrize(("minor", "rule", "text"), [
    ("1", None, "1 base units of a"), ("1234567", None, "1\u2009234\u2009567 base units of a"),
    ("1", {"symbol": "X", "decimals": 6}, "0.000001 X"),
    ("1234500000", {"symbol": "X", "decimals": 6}, "1\u2009234.500000 X"),
    ("100", {"symbol": "X", "decimals": 2}, "1.00 X"), ("5", {"symbol": "X", "decimals": 0}, "5 X"),
    (str(2**256 - 1), {"symbol": "X", "decimals": 18}, None),
])
def test_amounts_are_exact(reader: Reader, minor: str, rule: Any, text: str | None) -> None:
    shown = reader("worth", minor=minor, asset="a", rule=rule)
    assert text is None or shown == text
    assert "".join(each for each in shown.split(" ")[0] if each.isdigit()).lstrip("0") == minor


def test_what_differs_between_two_versions_is_named(reader: Reader) -> None:
    before, after = json.loads(policy()), json.loads(policy())
    after["tiers"][1]["approvals"], after["version"] = 3, 2
    after["limits"].append({"name": "new"})
    found = reader("difference", before=encode(before), after=encode(after))
    assert [(each["path"], each["old"], each["now"]) for each in found["fields"]] == [
        ("limits[3]", None, '{"name":"new"}'), ("tiers[1].approvals", "1", "3"), ("version", "1", "2"),
    ]
    lines = found["lines"]
    gone = [each["line"].strip() for each in lines if each["sign"] == "-"]
    assert gone[-1] == '"version": 1,'
    old = "\n".join(each["line"] for each in lines if each["sign"] != "+")
    new = "\n".join(each["line"] for each in lines if each["sign"] != "-")
    assert (json.loads(old), json.loads(new)) == (before, after)


@settings(max_examples=100)
@given(before=values, after=values)
def test_a_difference_gives_both_texts_back(reader: Reader, before: Any, after: Any) -> None:
    try:
        raw = encode(before), encode(after)
    except CanonicalError:
        return
    found = reader("difference", before=raw[0], after=raw[1])
    assert json.loads("\n".join(each["line"] for each in found["lines"] if each["sign"] != "+")) == before
    assert json.loads("\n".join(each["line"] for each in found["lines"] if each["sign"] != "-")) == after
    assert (found["fields"] == []) == (raw[0] == raw[1])
