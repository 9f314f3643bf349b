"""Whatever is wrong with a body is answered with the contract's code, the field and a sentence, and changes nothing."""

import json
from collections.abc import Callable
from hashlib import sha256
from typing import Any, NamedTuple

import pytest
from tests.api.signer import JSON
from tests.api.world import (
    BTC,
    EUR,
    EVM,
    REGTEST,
    TOKEN,
    USDC,
    Organisation,
    address,
    declaration,
    fresh_key,
    item,
    payout,
    refused,
)

MEGABYTE = 2**20


class Bad(NamedTuple):
    """A body that is made from a good one, and what is said about it."""

    name: str
    change: Callable[[dict[str, Any]], object]
    code: str
    field: str | None
    words: str


def with_(**changes: Any) -> Callable[[dict[str, Any]], object]:
    return lambda body: {**body, **changes}


def without(name: str) -> Callable[[dict[str, Any]], object]:
    return lambda body: {key: value for key, value in body.items() if key != name}


def text(change: Callable[[str], str]) -> Callable[[dict[str, Any]], object]:
    """The JSON text itself is changed."""
    return lambda body: change(json.dumps(body, ensure_ascii=False)).encode("utf-8", "surrogatepass")


def number(written: str) -> Callable[[dict[str, Any]], object]:
    return text(lambda whole: whole.replace('"amount": "1000000"', f'"amount": {written}'))


UNITS = "base units as a string"
AMOUNTS = [
    *(Bad(f"the number {written}", number(written), "invalid", "amount", UNITS)
      for written in ("1000000", "1e6", "1.5", "-1", "0", "1E400", "9" * 80, "1000000.0", "-0")),
    *(Bad(f"the text {written!r}", with_(amount=written), "invalid", "amount", UNITS)
      for written in ("-1", "0", "00", "01", "+1", "1e6", "1E6", "1.0", "1,000", "1_000", " 1", "1 ", "1\n", "", "0x10",
                      "１２３", "١٢٣", "१२३", "1\u200b", "Infinity", "NaN", "9" * 79)),
    Bad("null", with_(amount=None), "invalid", "amount", UNITS),
    Bad("a list", with_(amount=["1"]), "invalid", "amount", UNITS),
    Bad("true", with_(amount=True), "invalid", "amount", UNITS),
    Bad("2^256", with_(amount=str(2**256)), "amount_out_of_range", "amount", "2^256-1"),
    Bad("78 nines", with_(amount="9" * 78), "amount_out_of_range", "amount", "2^256-1"),
    Bad("2^256-1, above the asset's maximum", with_(amount=str(2**256 - 1)), "amount_out_of_range", "amount", "USDC"),
    Bad("one above the asset's maximum", with_(amount=str(10**15 + 1)), "amount_out_of_range", "amount", str(10**15)),
    Bad("above the policy's last tier", with_(amount=str(10**15)), "limit_exceeded", "amount", "25000000"),
]

BODIES = [
    Bad("empty", lambda _: b"", "malformed", None, "isn't JSON"),
    Bad("not JSON", lambda _: b"{", "malformed", None, "isn't JSON"),
    Bad("a list", lambda _: [], "malformed", None, "must be a JSON object"),
    Bad("a text", lambda _: "x", "malformed", None, "must be a JSON object"),
    Bad("null", lambda _: None, "malformed", None, "must be a JSON object"),
    Bad("NaN", text(lambda whole: whole.replace('"1000000"', "NaN")), "malformed", None, "NaN"),
    Bad("wrong UTF-8", lambda body: json.dumps(body).encode().replace(b"debt", b"d\xff"), "malformed", None, "UTF-8"),
    Bad("overlong UTF-8", lambda body: json.dumps(body).encode().replace(b"debt", b"\xc0\xaf"), "malformed", None,
        "UTF-8"),
    Bad("UTF-16", lambda body: json.dumps(body).encode("utf-16"), "malformed", None, "UTF-8"),
    Bad("a byte order mark", lambda body: b"\xef\xbb\xbf" + json.dumps(body).encode(), "malformed", None,
        "byte order mark"),
    Bad("a lone surrogate", text(lambda whole: whole.replace("debt", "\\ud800")), "malformed", None, "surrogate"),
    Bad("a surrogate in UTF-8", text(lambda whole: whole.replace("debt", "\ud800")), "malformed", None, "UTF-8"),
    Bad("a key twice", text(lambda whole: whole.replace("{", '{"amount": "1", ', 1)), "malformed", None, "'amount'"),
    Bad("a key twice, spelled in two ways", text(lambda whole: whole.replace("{", '{"am\\u006funt": "1", ', 1)),
        "malformed", None, "'amount'"),
    Bad("a key twice, deep", text(lambda whole: whole.replace("{", '{"metadata": {"a": "x", "b": "1", "b": "2"}, ', 1)),
        "malformed", None, "'b'"),
    Bad("a key twice, and a number that isn't ours", text(lambda whole: whole.replace(
        '"1000000"', '1.5, "amount": 1')), "malformed", None, "twice"),
    Bad("100,000 nested lists", text(lambda whole: whole.replace('"1000000"', "[" * 100_000 + "]" * 100_000)),
        "malformed", None, "deeper than 32"),
    Bad("100,000 opened objects", lambda _: b'{"a":' * 100_000, "malformed", None, "deeper than 32"),
    Bad("100,000 opened lists", lambda _: b"[" * 100_000, "malformed", None, "deeper than 32"),
    Bad("two values", text(lambda whole: whole + "{}"), "malformed", None, "isn't JSON"),
    Bad("a comment", text(lambda whole: "// hello\n" + whole), "malformed", None, "isn't JSON"),
    Bad("one byte over 1 MiB", lambda body: json.dumps(body).encode().ljust(MEGABYTE + 1), "too_large", None,
        "1048576"),
]
FIELDS = [
    Bad("unknown", with_(colour="red"), "invalid", "colour", "unknown"),
    Bad("unknown, with a name that pretends", with_(**{"a` - at `$.amount": 1}), "invalid", "amount.a", "unknown"),
    Bad("unknown, with a name of a megabyte", with_(**{"x" * 900_000: 1}), "invalid", "x" * 200, "unknown"),
    Bad("unknown, deep", with_(actor={"id": "a", "colour": 1}), "invalid", "actor.colour", "unknown"),
    *(Bad(f"{name} missing", without(name), "invalid", name, "missing")
      for name in ("beneficiary", "destination_digest", "asset", "amount", "external_id")),
    Bad("a beneficiary of another form", with_(beneficiary="ben_1"), "invalid", "beneficiary", "ben_"),
    Bad("a beneficiary with a newline", lambda body: {**body, "beneficiary": body["beneficiary"] + "\n"}, "invalid",
        "beneficiary", "ben_"),
    Bad("a digest in capitals", with_(destination_digest="A" * 64), "invalid", "destination_digest", "hex"),
    Bad("another digest", with_(destination_digest="a" * 64), "destination_mismatch", "destination_digest", "digest"),
    Bad("nobody's beneficiary", with_(beneficiary="ben_" + "a" * 26), "not_found", "beneficiary", "ben_"),
    Bad("a symbol instead of an asset", with_(asset="USDC"), "asset_unknown", "asset", "USDC"),
    Bad("a token of another chain", with_(asset=USDC.replace(":31337", ":1")), "asset_unknown", "asset", "eip155:1"),
    Bad("a token in lower case", with_(asset=USDC.lower()), "asset_unknown", "asset", "asset"),
    Bad("bitcoin to an EVM address", with_(asset=BTC, amount="1000"), "network_mismatch", "asset", "eip155:31337"),
    Bad("euro to an EVM address", with_(asset=EUR, amount="100"), "network_mismatch", "asset", "sepa"),
    *(Bad(f"an external id {value!r}", with_(external_id=value), "invalid", "external_id", words)
      for value, words in (("", "length"), ("x" * 101, "length"), ("a\0b", "seen"), ("a\u202eb", "seen"),
                           ("a\nb", "seen"), (7, "a string"), ("a\u200bb", "seen"))),
    Bad("a remittance of 141 characters", with_(remittance_information="x" * 141), "invalid", "remittance_information",
        "length"),
    Bad("a remittance that turns the text", with_(remittance_information="a\u2066b"), "invalid",
        "remittance_information", "seen"),
    Bad("1,001 activities", with_(activities=["a"] * 1_001), "invalid", "activities", "length"),
    Bad("an activity that can't be seen", with_(activities=["a", "b\x07"]), "invalid", "activities[1]", "seen"),
    Bad("a time without a zone", with_(not_before="2030-01-01T00:00:00"), "invalid", "not_before", "UTC"),
    Bad("a day that doesn't exist", with_(not_before="2030-02-30T00:00:00Z"), "invalid", "not_before", "exists"),
    Bad("an end in the past", with_(expires_at="2020-01-01T00:00:00Z"), "invalid", "expires_at", "future"),
    Bad("an end before the beginning",
        with_(not_before="2040-01-02T00:00:00Z", expires_at="2040-01-01T00:00:00Z"), "invalid", "expires_at",
        "not_before"),
    Bad("on_hold of another word", with_(on_hold="maybe"), "invalid", "on_hold", "maybe"),
    Bad("replaces what isn't an id", with_(replaces="x"), "invalid", "replaces", "po_"),
    Bad("replaces nothing", with_(replaces="po_" + "a" * 26), "invalid", "replaces", "last payout"),
    Bad("21 metadata entries", with_(metadata={str(n): "x" for n in range(21)}), "invalid", "metadata", "length"),
    Bad("a metadata number", with_(metadata={"a": 1}), "invalid", "metadata[...]", "string"),
    Bad("a metadata key of other letters", with_(metadata={"é": "x"}), "invalid", "metadata", "ASCII"),
    Bad("an actor's address", with_(actor={"id": "a", "ip": "1.2.3"}), "invalid", "actor.ip", "IPv4"),
    Bad("an actor's time", with_(actor={"id": "a", "mfa_at": "2030-13-01T00:00:00Z"}), "invalid", "actor.mfa_at",
        "time"),
    Bad("an actor that turns the text", with_(actor={"id": "a\u202e"}), "invalid", "actor.id", "seen"),
]


@pytest.mark.parametrize("bad", [*AMOUNTS, *BODIES, *FIELDS], ids=lambda bad: bad.name)
def test_a_bad_payout_is_refused_with_its_field_and_changes_nothing(world: Organisation, bad: Bad) -> None:
    body = bad.change(payout(_payee(world)))
    before = world.owner.counts()
    answer = world.payer.post("/v1/payouts", body, fresh_key())
    problem = refused(answer, bad.code, bad.field)
    assert bad.words in problem["detail"]
    assert len(answer.content) < 2_000
    assert world.owner.counts() == before


_payees: dict[str, dict[str, Any]] = {}


def _payee(world: Organisation) -> dict[str, Any]:
    if world.id not in _payees:
        _payees[world.id] = world.declared()
    return _payees[world.id]


def at(network: str, where: str) -> Callable[[dict[str, Any]], object]:
    return with_(destination={"network": network, "address": where})


def account(**changes: str) -> Callable[[dict[str, Any]], object]:
    good = {"network": "sepa", "iban": "DE89370400440532013000", "account_holder": "Ada Example", "country": "DE"}
    return with_(destination={**good, **changes})


MIXED = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"
WHERE = "destination.address"
DESTINATIONS = [
    Bad("lower-case EVM", at(EVM, MIXED.lower()), "address_invalid", WHERE, "EIP-55"),
    Bad("upper-case EVM", at(EVM, "0x" + MIXED[2:].upper()), "address_invalid", WHERE, "EIP-55"),
    Bad("one letter's case", at(EVM, MIXED.replace("aAeb", "AAeb")), "address_invalid", WHERE, "checksum"),
    Bad("39 digits", at(EVM, MIXED[:-1]), "address_invalid", WHERE, "40 hex digits"),
    Bad("no 0x", at(EVM, MIXED[2:]), "address_invalid", WHERE, "40 hex digits"),
    Bad("a space", at(EVM, MIXED + " "), "address_invalid", WHERE, "40 hex digits"),
    Bad("digits of another script", at(EVM, MIXED.replace("5a", "５a")), "address_invalid", WHERE, "40 hex digits"),
    Bad("zero", at(EVM, "0x" + "0" * 40), "address_forbidden", WHERE, "nobody holds"),
    Bad("a precompiled contract", at(EVM, "0x" + "0" * 39 + "4"), "address_forbidden", WHERE, "nobody holds"),
    Bad("the token itself", at(EVM, TOKEN), "address_forbidden", WHERE, "contract"),
    Bad("our own treasury", at(REGTEST, "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080"), "address_forbidden", WHERE,
        "wallet"),
    Bad("mainnet on regtest", at(REGTEST, "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4"), "network_mismatch", WHERE,
        "regtest"),
    Bad("mainnet base58 on regtest", at(REGTEST, "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa"), "network_mismatch", WHERE,
        "regtest"),
    Bad("EVM on regtest", at(REGTEST, MIXED), "address_invalid", WHERE, "base58"),
    Bad("bitcoin on EVM", at(EVM, "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080"), "address_invalid", WHERE, "0x"),
    Bad("upper-case bech32", at(REGTEST, "BCRT1QW508D6QEJXTDG4Y5R3ZARVARY0C5XW7KYGT080"), "address_invalid", WHERE,
        "lower case"),
    Bad("one letter of bech32", at(REGTEST, "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt08q"), "address_invalid", WHERE,
        "checksum"),
    Bad("witness version 2", at(REGTEST, "bcrt1zw508d6qejxtdg4y5r3zarvaryvdzur3w"), "address_invalid", WHERE,
        "witness version 2"),
    Bad("P2A", at(REGTEST, "bcrt1pfeesnyr2tx"), "address_invalid", WHERE, "taproot"),
    Bad("base58 of 19 bytes", at(REGTEST, "{19}"), "address_invalid", WHERE, "20 bytes"),
    Bad("one letter of base58", at(REGTEST, "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNb"), "address_invalid", WHERE,
        "checksum"),
    Bad("a chain that the policy pays nothing on", at("eip155:1", MIXED), "network_mismatch", "destination.network",
        "pays on"),
    Bad("the real bitcoin", at("bip122:000000000019d6689c085ae165831e93", "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa"),
        "network_mismatch", "destination.network", "pays on"),
    Bad("a network that isn't known", at("solana:5eykt4", "x"), "network_mismatch", "destination.network", "known"),
    Bad("no network", at("", "x"), "invalid", "destination.network", "length"),
    Bad("no address", with_(destination={"network": EVM}), "invalid", WHERE, "needed"),
    Bad("an address of 91", at(EVM, "0" * 91), "invalid", WHERE, "length"),
    Bad("an IBAN on a chain", with_(destination={"network": EVM, "address": MIXED, "iban": "DE89370400440532013000"}),
        "invalid", WHERE, "without account"),
    Bad("an IBAN with spaces", account(iban="DE89 3704 0044 0532 0130 00"), "address_invalid", "destination.iban",
        "no spaces"),
    Bad("an IBAN in lower case", account(iban="de89370400440532013000"), "address_invalid", "destination.iban", "SEPA"),
    Bad("an IBAN with a digit wrong", account(iban="DE89370400440532013001"), "address_invalid", "destination.iban",
        "check digits"),
    Bad("an IBAN from elsewhere", account(iban="US89370400440532013000"), "address_invalid", "destination.iban",
        "SEPA"),
    Bad("another country than the IBAN's", account(country="FR"), "address_invalid", "destination.country", "DE"),
    Bad("a country with a newline", account(country="DE\n"), "invalid", "destination.country", "capital"),
    Bad("a holder that turns the text", account(account_holder="Ada\u202eelpmaxE"), "address_invalid",
        "destination.account_holder", "U+202E"),
    Bad("an account without its holder", with_(destination={
        "network": "sepa", "iban": "DE89370400440532013000", "country": "DE"}), "invalid", "destination.account_holder",
        "needed"),
    *(Bad(f"the name {name!r}", with_(name=name), "invalid", "name", words)
      for name, words in (("", "length"), ("x" * 141, "length"), ("Ada\0", "U+0000"), ("Ada\nExample", "U+000A"),
                          ("Ada\u202eelpmaxE", "U+202E"), ("Ada\u2066x", "U+2066"), ("A\u200bda", "U+200B"),
                          (" Ada", "space"), ("Ada ", "space"), ("Ada  Example", "space"),
                          ("Ada\u00a0Example", "U+00A0"), ("Ade\u0301le", "NFC"), ("Ada\u00adx", "U+00AD"))),
    Bad("a name that is a number", with_(name=1), "invalid", "name", "a string"),
    Bad("an unknown field of the destination", with_(destination={"network": EVM, "address": MIXED, "memo": "x"}),
        "invalid", "destination.memo", "unknown"),
    Bad("an external id with a zero byte", with_(external_id="a\0"), "invalid", "external_id", "seen"),
]


@pytest.mark.parametrize("bad", DESTINATIONS, ids=lambda bad: bad.name)
def test_a_bad_beneficiary_is_refused_with_its_field_and_changes_nothing(world: Organisation, bad: Bad) -> None:
    body = bad.change(declaration())
    if bad.name == "base58 of 19 bytes":
        body = at(REGTEST, base58_check(b"\x6f" + bytes(19)))(declaration())
    before = world.owner.counts()
    problem = refused(world.declarer.post("/v1/beneficiaries", body, fresh_key()), bad.code, bad.field)
    assert bad.words in problem["detail"]
    assert world.owner.counts() == before


def base58_check(payload: bytes) -> str:
    letters = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
    raw = payload + sha256(sha256(payload).digest()).digest()[:4]
    number, text_ = int.from_bytes(raw), ""
    while number:
        number, digit = divmod(number, 58)
        text_ = letters[digit] + text_
    return "1" * (len(raw) - len(raw.lstrip(b"\0"))) + text_


RUNS = [
    Bad("no items", with_(items=[]), "invalid", "items", "length"),
    Bad("items that aren't a list", with_(items={}), "invalid", "items", "a list"),
    Bad("an amount in the middle", lambda body: _item(body, 1, amount="0"), "invalid", "items[1].amount", UNITS),
    Bad("a number in the middle", lambda body: _item(body, 1, amount=1.5), "invalid", "items[1].amount", UNITS),
    Bad("above 2^256-1 in the middle", lambda body: _item(body, 1, amount="9" * 78), "amount_out_of_range",
        "items[1].amount", "2^256-1"),
    Bad("above the asset's maximum at the end", lambda body: _item(body, 2, amount=str(10**15 + 1)),
        "amount_out_of_range", "items[2].amount", "USDC"),
    Bad("an unknown field in an item", lambda body: _item(body, 2, colour=1), "invalid", "items[2].colour", "unknown"),
    Bad("a field that the leaf adds", lambda body: _item(body, 2, index=1), "invalid", "items[2].index", "unknown"),
    Bad("an item without a key", lambda body: {**body, "items": [without("idempotency_key")(each)
                                                                  for each in body["items"]]},
        "invalid", "items[0].idempotency_key", "missing"),
    Bad("a key with a newline", lambda body: _item(body, 0, idempotency_key="k\n"), "invalid",
        "items[0].idempotency_key", "visible"),
    Bad("a key with a space", lambda body: _item(body, 0, idempotency_key="k k"), "invalid",
        "items[0].idempotency_key", "visible"),
    Bad("one key twice", lambda body: _item(body, 1, idempotency_key=body["items"][0]["idempotency_key"]), "invalid",
        "items[1].idempotency_key", "twice"),
    Bad("one debt twice", lambda body: _item(body, 2, external_id=body["items"][0]["external_id"]),
        "duplicate_external_id", "items[2].external_id", "twice"),
    Bad("nobody's beneficiary", lambda body: _item(body, 1, beneficiary="ben_" + "a" * 26), "not_found",
        "items[1].beneficiary", "ben_"),
    Bad("an external id with a zero byte", with_(external_id="a\0"), "invalid", "external_id", "seen"),
    Bad("a seal of a number", with_(seal={"count": "3", "totals": {USDC: "3000000"}, "root": "0" * 64}), "invalid",
        "seal.count", "a whole number"),
    Bad("a seal of 1e0", text(lambda whole: whole[:-1] + ', "seal": {"count": 1e0, "totals": {}, "root": "0"}}'),
        "invalid", "seal.count", "number"),
    Bad("a seal with a zero total", with_(seal={"count": 3, "totals": {USDC: "0"}, "root": "0" * 64}), "invalid",
        "seal.totals[...]", "is wrong"),
    Bad("a seal of another count", with_(seal={"count": 2, "totals": {USDC: "3000000"}, "root": "0" * 64}),
        "seal_mismatch", "seal.count", "3 items"),
    Bad("a seal of another sum", with_(seal={"count": 3, "totals": {USDC: "3000001"}, "root": "0" * 64}),
        "seal_mismatch", f"seal.totals.{USDC}", "3000000"),
    Bad("a seal of another root", with_(seal={"count": 3, "totals": {USDC: "3000000"}, "root": "0" * 64}),
        "seal_mismatch", "seal.root", "root"),
    Bad("one byte over 16 MiB", lambda body: json.dumps(body).encode().ljust(16 * MEGABYTE + 1), "too_large", None,
        "16777216"),
    Bad("10,001 items", lambda body: {"items": body["items"] * 3_333 + body["items"][:2]}, "invalid", "items",
        "10000"),
]


def _item(body: dict[str, Any], place: int, **changes: Any) -> dict[str, Any]:
    items = [dict(each) for each in body["items"]]
    items[place].update(changes)
    return {**body, "items": items}


@pytest.mark.parametrize("bad", RUNS, ids=lambda bad: bad.name)
def test_a_bad_run_is_refused_whole_and_its_place_is_named(world: Organisation, bad: Bad) -> None:
    body = bad.change({"items": [item(_payee(world)) for _ in range(3)]})
    before = world.owner.counts()
    problem = refused(world.payer.post("/v1/payout-runs", body, fresh_key()), bad.code, bad.field)
    assert bad.words in problem["detail"]
    assert world.owner.counts() == before


def test_a_body_just_within_its_size_is_read(world: Organisation) -> None:
    body = json.dumps(payout(_payee(world))).encode().ljust(MEGABYTE)
    assert world.payer.post("/v1/payouts", body, fresh_key()).status_code == 201
    run = json.dumps({"items": [item(_payee(world))]}).encode().ljust(16 * MEGABYTE)
    assert world.payer.post("/v1/payout-runs", run, fresh_key()).status_code == 201


QUERIES = [
    ("/v1/payouts", "colour=red", "colour"), ("/v1/payouts", "limit=0", "limit"), ("/v1/payouts", "limit=201", "limit"),
    ("/v1/payouts", "limit=1e2", "limit"), ("/v1/payouts", "limit=-1", "limit"), ("/v1/payouts", "limit=", "limit"),
    ("/v1/payouts", "limit=%D9%A1", "limit"), ("/v1/payouts", "limit=1&limit=2", "limit"),
    ("/v1/payouts", "cursor=x", "cursor"), ("/v1/payouts", "cursor=%FF", "?"), ("/v1/payouts", "cursor=LTE=", "cursor"),
    ("/v1/payouts", "state=paid", "state"), ("/v1/payouts", "created_after=yesterday", "created_after"),
    ("/v1/payouts", "external_id=%00", "external_id"), ("/v1/payouts", "run=%00", "run"),
    ("/v1/beneficiaries", "external_id=a%00b", "external_id"), ("/v1/payouts", "external_id=%ff%fe", "?"),
    ("/v1/payouts", "&".join(f"limit={number}" for number in range(30)), "?"), ("/v1/payouts", "limit", "?"),
    ("/v1/payouts", "external_id=" + "x" * 2_000, "?"), ("/v1/balances", "a=b", "a"),
    ("/v1/audit/entries", "start=5&end=4", "end"), ("/v1/audit/entries", "start=a&end=4", "start"),
    ("/v1/audit/entries", "", "end"), ("/v1/audit/proofs/inclusion", "leaf_index=1", "size"),
    ("/v1/audit/proofs/consistency", "first=9999999999999999&second=1", "first"),
]


@pytest.mark.parametrize(("path", "query", "field"), QUERIES)
def test_a_bad_query_is_refused_with_its_parameter(world: Organisation, path: str, query: str, field: str) -> None:
    refused(world.payer.get(path, query), "invalid", field)


HEADER = "beneficiary,asset,amount,external_id\n"


def test_a_file_of_a_thousand_rows_names_its_one_bad_row(world: Organisation) -> None:
    to = _payee(world)["id"]
    rows = [f"{to},{USDC},1000000,csv {number}" for number in range(1_000)]
    rows[700] = f"{to},{USDC},1e6,csv 700"
    before = world.owner.counts()
    answer = world.payer.post("/v1/payout-runs/preview", (HEADER + "\n".join(rows) + "\n").encode(), None, "text/csv")
    assert answer.status_code == 200, answer.text
    found = answer.json()
    bad = [row for row in found["rows"] if row["problem"] is not None]
    named = [(row["row"], row["problem"]["code"], row["problem"]["field"]) for row in bad]
    assert named == [(702, "invalid", "amount")]
    assert UNITS in bad[0]["problem"]["detail"]
    assert (found["count"], found["totals"]) == (1_000, {USDC: "999000000"})
    assert found["rows"][0]["preview"]["approvals"] == {"count": 0, "groups": 0}
    assert world.owner.counts() == before


@pytest.mark.parametrize(
    ("change", "content_type"),
    [
        (lambda file: b"\xef\xbb\xbf" + file, "text/csv"),
        (lambda file: file.replace(b"\n", b"\r\n"), "text/csv"),
        (lambda file: b"\xef\xbb\xbf" + file.replace(b"\n", b"\r\n"), "text/csv; charset=utf-8"),
        (lambda file: file.rstrip(b"\n"), "text/csv"),
        (lambda file: file.replace(b"1000000", b'"1000000"'), "text/csv"),
    ],
    ids=["byte order mark", "CRLF", "both", "no newline at the end", "quotes"],
)
def test_a_file_as_spreadsheets_write_it_is_read(
    world: Organisation, change: Callable[[bytes], bytes], content_type: str
) -> None:
    file = f"{HEADER}{_payee(world)['id']},{USDC},1000000,{fresh_key()}\n".encode()
    answer = world.payer.post("/v1/payout-runs/preview", change(file), None, content_type)
    assert [row["problem"] for row in answer.json()["rows"]] == [None], answer.text


FILES = [
    ("semicolons", HEADER.replace(",", ";").encode(), "semicolons"),
    ("empty", b"", "empty"),
    ("a column missing", b"beneficiary,asset,amount\n", "external_id"),
    ("an unknown column", b"beneficiary,asset,amount,external_id,colour\n", "colour"),
    ("a column twice", b"beneficiary,asset,amount,external_id,amount\n", "amount"),
    ("Latin-1", HEADER.encode() + "ben,é,1,x".encode("latin-1"), "UTF-8"),
    ("a zero byte", HEADER.encode() + b"a,b\0,1,x", "zero byte"),
    ("a quote that never ends", HEADER.encode() + b'"a,b,1,x', "CSV"),
    ("10,001 rows", HEADER.encode() + b"a,b,1,x\n" * 10_001, "10001"),
]


@pytest.mark.parametrize(("name", "file", "words"), FILES, ids=[name for name, _, _ in FILES])
def test_a_file_that_cant_be_read_is_refused_whole(world: Organisation, name: str, file: bytes, words: str) -> None:
    before = world.owner.counts()
    problem = refused(world.payer.post("/v1/payout-runs/preview", file, None, "text/csv"), "invalid", "")
    assert words in problem["detail"], name
    assert world.owner.counts() == before


ROWS = [
    ("{ben},{usdc},1000000,{key},extra", "invalid", "", "5 fields"),
    ("{ben},{usdc},,{key}", "invalid", "", "amount"),
    (",{usdc},1,{key}", "invalid", "", "beneficiary"),
    ("ben_1,{usdc},1,{key}", "invalid", "beneficiary", "ben_"),
    ("{ben},{usdc},1\u00a0000,{key}", "invalid", "amount", UNITS),
    ("{ben},USDC,1,{key}", "asset_unknown", "asset", "USDC"),
    ("{nobody},{usdc},1,{key}", "not_found", "beneficiary", "ben_"),
    ("{ben},{usdc},{huge},{key}", "amount_out_of_range", "amount", "2^256-1"),
    ("{ben},{usdc},1,=cmd|'/c calc'!A1\u202e", "invalid", "external_id", "seen"),
]


@pytest.mark.parametrize(("row", "code", "field", "words"), ROWS)
def test_a_bad_row_is_named_and_the_others_are_previewed(
    world: Organisation, row: str, code: str, field: str, words: str
) -> None:
    to = _payee(world)["id"]
    written = row.format(ben=to, usdc=USDC, key=fresh_key(), nobody="ben_" + "a" * 26, huge="9" * 78)
    file = f"{HEADER}{to},{USDC},1000000,{fresh_key()}\n{written}\n{to},{USDC},1000000,{fresh_key()}\n".encode()
    answer = world.payer.post("/v1/payout-runs/preview", file, None, "text/csv")
    assert answer.status_code == 200, answer.text
    rows = answer.json()["rows"]
    assert [row["row"] for row in rows] == [2, 3, 4]
    assert [row["problem"] is None for row in rows] == [True, False, True]
    problem = rows[1]["problem"]
    assert (problem["code"], problem["field"]) == (code, field), problem
    assert words in problem["detail"]


def test_rows_that_name_their_payees_are_checked_as_far_as_they_can_be(world: Organisation) -> None:
    header = "name,network,address,asset,amount,external_id\n"
    wrong = f"Ada,{EVM},{MIXED.lower()},{USDC},1,a\nA\u202eda,{EVM},{address()},{USDC},1,b\n"
    file = header + wrong + f"Ada,{EVM},{address()},{USDC},1,c\nAda,{EVM},{address()},{USDC},x,d\n"
    answer = world.payer.post("/v1/payout-runs/preview", file.encode(), None, "text/csv")
    problems = [(row["problem"]["code"], row["problem"]["field"]) for row in answer.json()["rows"]]
    assert problems == [
        ("address_invalid", "address"), ("invalid", "name"), ("not_found", "beneficiary"), ("invalid", "amount"),
    ]


@pytest.mark.parametrize("content_type", ["text/plain", "application/json; charset=utf-8", "text/csv"])
def test_a_body_of_another_kind_is_malformed(world: Organisation, content_type: str) -> None:
    answer = world.payer.post("/v1/payouts", payout(_payee(world)), fresh_key(), content_type)
    assert JSON in refused(answer, "malformed", "Content-Type")["detail"]
