"""Passkey assertions: the W3C's vectors, another implementation, and everything an approval must not be."""

from collections.abc import Mapping
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from fido2 import cbor
from fido2.cose import CoseKey
from fido2.webauthn import AuthenticatorData, CollectedClientData
from hypothesis import given
from hypothesis import strategies as st
from tests.protocol.passkey import ORIGIN, RELYING_PARTY_ID, Passkey
from tests.protocol.vectors import load

from strongroom.protocol.webauthn import (
    CLIENT_DATA_MAXIMUM,
    Assertion,
    RelyingParty,
    WebauthnError,
    check_credential_key,
    verify_assertion,
    verify_credential_signature,
)

VECTORS = {case["name"]: case for case in load("protocol_webauthn.json")["cases"]}
PUBLISHED_PARTY = RelyingParty("example.org", frozenset({"https://example.org"}))
PARTY = RelyingParty(RELYING_PARTY_ID, frozenset({ORIGIN, "http://station.localhost:8422"}))
CHALLENGE = bytes(range(32))
PASSKEYS = {"es256": Passkey(), "ed25519": Passkey(is_ed25519=True)}

PUBLISHED_FAULTS = {
    "none-es256": "authenticator_data.flags",
    "packed-self-es256": "authenticator_data.flags",
    "none-es256-crossOrigin": "client_data.crossOrigin",
    "none-es256-topOrigin": "client_data.crossOrigin",
    "packed-es384": "public_key",
    "packed-es512": "challenge",
    "packed-rs256": "authenticator_data.flags",
    "packed-eddsa": "authenticator_data.flags",
    "packed-ed448": "public_key",
    "android-key-es256": "authenticator_data.flags",
    "apple-es256": "authenticator_data.flags",
    "fido-u2f-es256": "authenticator_data.flags",
}
"""What we ask for and the vector lacks: mostly that the person was verified; one challenge is longer than a hash.
The others must hold."""


def published(name: str) -> tuple[Assertion, bytes, bytes]:
    case = {key: bytes.fromhex(value) for key, value in VECTORS[name].items() if key not in ("name", "title")}
    assertion = Assertion(case["client_data"], case["authenticator_data"], case["signature"])
    return assertion, case["challenge"], case["public_key"]


@pytest.mark.parametrize("name", VECTORS)
def test_published_assertions_hold_or_lack_what_we_ask_for(name: str) -> None:
    assertion, challenge, public_key = published(name)
    if name in PUBLISHED_FAULTS:
        with pytest.raises(WebauthnError) as refusal:
            verify_assertion(assertion, challenge, PUBLISHED_PARTY, public_key)
        assert refusal.value.field == PUBLISHED_FAULTS[name]
    else:
        verify_assertion(assertion, challenge, PUBLISHED_PARTY, public_key)


@pytest.mark.parametrize("name", [name for name in VECTORS if "es256" in name or "eddsa" in name])
def test_published_signatures_hold(name: str) -> None:
    assertion, _, public_key = published(name)
    signed = assertion.authenticator_data + CollectedClientData(assertion.client_data).hash
    verify_credential_signature(public_key, signed, assertion.signature)
    with pytest.raises(WebauthnError, match="doesn't hold"):
        verify_credential_signature(public_key, signed + b"x", assertion.signature)


@pytest.mark.parametrize("name", PASSKEYS)
def test_a_passkey_says_yes_to_one_hash(name: str) -> None:
    passkey = PASSKEYS[name]
    assertion = passkey.asserts(CHALLENGE, sign_count=7, flags=0x1D)
    verify_assertion(assertion, CHALLENGE, PARTY, passkey.public_key)
    with pytest.raises(WebauthnError, match=r"client_data\.challenge"):
        verify_assertion(assertion, bytes(32), PARTY, passkey.public_key)


@pytest.mark.parametrize("name", PASSKEYS)
def test_another_implementation_agrees(name: str) -> None:
    passkey = PASSKEYS[name]
    assertion = passkey.asserts(CHALLENGE)
    key = CoseKey.parse(cbor.decode(passkey.public_key))
    client_data = CollectedClientData(assertion.client_data)
    assert AuthenticatorData(assertion.authenticator_data).is_user_verified()
    key.verify(assertion.authenticator_data + client_data.hash, assertion.signature)
    verify_assertion(assertion, client_data.challenge, PARTY, passkey.public_key)


@pytest.mark.parametrize(
    ("client_data", "field"),
    [
        ({"type": "webauthn.create"}, "client_data.type"),
        ({"type": ...}, "client_data.type"),
        ({"challenge": "AAAA"}, "client_data.challenge"),
        ({"challenge": ...}, "client_data.challenge"),
        ({"challenge": "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="}, "client_data.challenge"),
        ({"challenge": None}, "client_data.challenge"),
        ({"origin": "https://approve.example.com.evil.example"}, "client_data.origin"),
        ({"origin": "https://approve.example.com/"}, "client_data.origin"),
        ({"origin": "http://approve.example.com"}, "client_data.origin"),
        ({"origin": ["https://approve.example.com"]}, "client_data.origin"),
        ({"origin": ...}, "client_data.origin"),
        ({"crossOrigin": True}, "client_data.crossOrigin"),
        ({"crossOrigin": 0}, "client_data.crossOrigin"),
        ({"topOrigin": "https://evil.example"}, "client_data.crossOrigin"),
        ({"tokenBinding": {"status": "supported"}}, "client_data.tokenBinding"),
        ({"padding": "x" * CLIENT_DATA_MAXIMUM}, "client_data"),
        ({"fraction": 1.5}, "client_data"),
    ],
)
def test_the_page_must_be_ours_and_ask_for_this(client_data: Mapping[str, object], field: str) -> None:
    passkey = PASSKEYS["es256"]
    with pytest.raises(WebauthnError) as refusal:
        verify_assertion(passkey.asserts(CHALLENGE, client_data), CHALLENGE, PARTY, passkey.public_key)
    assert refusal.value.field == field
    assert refusal.value.reason


@pytest.mark.parametrize("client_data", [{"crossOrigin": ...}, {"extraData": "browsers add some"},
                                         {"origin": "http://station.localhost:8422"}])
def test_what_browsers_may_do_holds(client_data: Mapping[str, object]) -> None:
    passkey = PASSKEYS["es256"]
    verify_assertion(passkey.asserts(CHALLENGE, client_data), CHALLENGE, PARTY, passkey.public_key)


@pytest.mark.parametrize("flags", [0x00, 0x01, 0x04, 0x15, 0x45, 0x85, 0xC5])
def test_the_person_must_be_present_and_verified_and_nothing_else_ride_along(flags: int) -> None:
    passkey = PASSKEYS["es256"]
    with pytest.raises(WebauthnError, match=r"authenticator_data\.flags"):
        verify_assertion(passkey.asserts(CHALLENGE, flags=flags), CHALLENGE, PARTY, passkey.public_key)


def test_another_relying_party_or_length_is_refused() -> None:
    passkey = PASSKEYS["es256"]
    for assertion, field in (
        (passkey.asserts(CHALLENGE, relying_party_id="example.com"), "authenticator_data.rp_id_hash"),
        (passkey.asserts(CHALLENGE, extra=b"\xa0"), "authenticator_data"),
        (replace(passkey.asserts(CHALLENGE), authenticator_data=b""), "authenticator_data"),
    ):
        with pytest.raises(WebauthnError) as refusal:
            verify_assertion(assertion, CHALLENGE, PARTY, passkey.public_key)
        assert refusal.value.field == field


def test_a_challenge_must_be_a_whole_hash() -> None:
    with pytest.raises(WebauthnError, match="must be 32 bytes"):
        verify_assertion(PASSKEYS["es256"].asserts(b""), b"", PARTY, PASSKEYS["es256"].public_key)


@pytest.mark.parametrize("name", PASSKEYS)
def test_another_key_or_signature_is_refused(name: str) -> None:
    passkey = PASSKEYS[name]
    stranger = Passkey(is_ed25519=name == "ed25519", seed=8)
    assertion = passkey.asserts(CHALLENGE)
    for signature in (b"", b"\x00" * 64, assertion.signature[:-1], assertion.signature + b"\x00",
                      stranger.asserts(CHALLENGE).signature):
        with pytest.raises(WebauthnError, match="signature: doesn't hold"):
            verify_assertion(replace(assertion, signature=signature), CHALLENGE, PARTY, passkey.public_key)
    with pytest.raises(WebauthnError, match="signature: doesn't hold"):
        verify_assertion(assertion, CHALLENGE, PARTY, stranger.public_key)


def test_high_s_signatures_of_p256_are_good_signatures() -> None:
    """Authenticators make both; nothing here is named by its signature's bytes."""
    passkey = PASSKEYS["es256"]
    assertion = passkey.asserts(CHALLENGE)
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    r, s = decode_dss_signature(assertion.signature)
    other = replace(assertion, signature=encode_dss_signature(r, order - s))
    verify_assertion(other, CHALLENGE, PARTY, passkey.public_key)


ES256 = PASSKEYS["es256"].public_key
EDDSA = PASSKEYS["ed25519"].public_key


@pytest.mark.parametrize("public_key", [ES256, EDDSA], ids=["es256", "eddsa"])
def test_keys_that_we_verify_with_are_taken(public_key: bytes) -> None:
    check_credential_key(public_key)


@pytest.mark.parametrize(
    "public_key",
    [
        b"", EDDSA[:-1], EDDSA + b"\x00", ES256[:-1], ES256 + b"\x00", ES256[:-32] + b"\x01" * 32,
        ES256[:10] + b"\xff" * 32 + ES256[42:], ES256[:42] + b"\x23" + ES256[43:], b"\xa6" + ES256[1:],
        cbor.encode({1: 2, 3: -35, -1: 1, -2: ES256[10:42], -3: ES256[45:]}),
        cbor.encode({1: 2, 3: -7, -1: 8, -2: ES256[10:42], -3: ES256[45:]}),
    ],
    ids=["empty", "short", "long", "short p256", "long p256", "off the curve", "x too large", "no y", "no map", "es384",
         "secp256k1"],
)
def test_other_keys_and_spellings_are_refused(public_key: bytes) -> None:
    with pytest.raises(WebauthnError) as refusal:
        check_credential_key(public_key)
    assert refusal.value.field == "public_key"
    with pytest.raises(WebauthnError):
        verify_assertion(PASSKEYS["es256"].asserts(CHALLENGE), CHALLENGE, PARTY, public_key)


parts = st.sampled_from(["client_data", "authenticator_data", "signature"])


@given(st.sampled_from(sorted(PASSKEYS)), parts, st.data())
def test_no_changed_assertion_holds(name: str, part: str, data: st.DataObject) -> None:
    """The attacker has an assertion and wants it to say more; the bound is a refusal."""
    passkey = PASSKEYS[name]
    assertion = passkey.asserts(CHALLENGE)
    raw: bytes = getattr(assertion, part)
    place = data.draw(st.integers(0, len(raw) - 1))
    changed = raw[:place] + bytes([raw[place] ^ data.draw(st.integers(1, 255))]) + raw[place + 1 :]
    with pytest.raises(WebauthnError):
        verify_assertion(replace(assertion, **{part: changed}), CHALLENGE, PARTY, passkey.public_key)


@given(st.binary(max_size=80), st.binary(max_size=80), st.binary(max_size=80), st.binary(max_size=80) | st.just(EDDSA))
def test_only_its_own_error_escapes(client_data: bytes, data: bytes, signature: bytes, public_key: bytes) -> None:
    for assertion in (
        Assertion(client_data, data, signature),
        replace(PASSKEYS["es256"].asserts(CHALLENGE), signature=signature),
        PASSKEYS["es256"].asserts_raw(client_data, data),
    ):
        with pytest.raises(WebauthnError):
            verify_assertion(assertion, CHALLENGE, PARTY, public_key)
