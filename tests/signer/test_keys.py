"""Keys: the same ones for ever from one seed, another for every purpose, and a file that the stock format can open."""

import copy
import hashlib
import hmac
import os
import pickle
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

import coincurve
import pyrage
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey, VerifyKey

from strongroom.domain.ids import OrganisationId
from strongroom.protocol.canonical import encode
from strongroom.signer.keys import KeyFileError, KeyStore, Secret, make_key_file, open_key_file

SEED = bytes(range(32))
ORGANISATION = OrganisationId("org_aaaaaaaaaaaaaaaaaaaaaaaaaa")
OTHER = OrganisationId("org_bbbbbbbbbbbbbbbbbbbbbbbbbb")
NETWORK = "sim:sandbox"
DIGEST = hashlib.sha256(b"what is signed").digest()
ORDER = 2**256 - 0x14551231950B75FC4402DA1732FC9BEBF

STORE = KeyStore(Secret(SEED))


def hkdf(length: int, info: bytes) -> bytes:
    """RFC 5869 by hand: the vectors below don't rest on the library that the product uses."""
    key = hmac.digest(bytes(32), SEED, "sha256")
    output = block = b""
    for number in range(1, length // 32 + 2):
        block = hmac.digest(key, block + info + bytes([number]), "sha256")
        output += block
    return output[:length]


def test_the_statement_key_is_derived_as_documented_and_fixed() -> None:
    seed = hkdf(32, b'{"purpose":"statement","type":"strongroom/key-derivation/v1"}')
    assert STORE.statement_public_key == bytes(SigningKey(seed).verify_key)
    assert STORE.statement_public_key.hex() == "5751a1af0064e2da61c30427b985e6ade3101965d37901f2ad5c04f9d99f0e14"


@pytest.mark.parametrize(
    ("organisation", "network", "generation", "index", "public_key"),
    [
        (ORGANISATION, "sim:sandbox", 0, 0, "03401db6cfacd1d3f909d72fe91b2830e92b470a09104a1780e9846863b708ab8e"),
        (ORGANISATION, "sim:sandbox", 0, 1, "0252afb267854d871b63980e60bec949d301dd584a54779de5a42adb44c30eeca1"),
        (ORGANISATION, "sim:sandbox", 1, 0, "0200f770639d4b1daab50d7921f2e9bc5ca2907c4669703a7b06e89bd6a6f1b662"),
        (OTHER, "sim:sandbox", 0, 0, "02b0fd2cde1bd69d0ea2a842766bb5da2d0eaae04119e88d5f468077f15c862bc2"),
        (ORGANISATION, "eip155:31337", 0, 0, "029987605b54ba4b0ed7522fa6c81cb89d44b98263093a0e3b1a8cfac90fc9cb85"),
    ],
)
def test_wallet_keys_are_derived_as_documented_and_fixed(
    organisation: OrganisationId, network: str, generation: int, index: int, public_key: str
) -> None:
    info = (
        f'{{"generation":{generation},"index":{index},"network":"{network}","organisation":"{organisation}",'
        '"purpose":"wallet","type":"strongroom/key-derivation/v1"}'
    )
    scalar = int.from_bytes(hkdf(48, info.encode())) % (ORDER - 1) + 1
    expected = coincurve.PrivateKey.from_int(scalar).public_key.format()
    assert STORE.wallet_public_key(organisation, network, generation, index) == expected
    assert expected.hex() == public_key


@pytest.mark.parametrize("wide", [0, 1, ORDER - 2, ORDER - 1, ORDER, ORDER + 1, 2**384 - 1])
def test_whatever_is_derived_is_a_private_key(wide: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(KeyStore, "_derive", lambda _self, length, _purpose: wide.to_bytes(48)[-length:])
    key = coincurve.PrivateKey.from_int(wide % (ORDER - 1) + 1).public_key.format()
    assert STORE.wallet_public_key(ORGANISATION, NETWORK, 0, 0) == key


@given(st.lists(st.tuples(st.sampled_from([ORGANISATION, OTHER]), st.sampled_from([NETWORK, "eip155:1"]),
                          st.integers(0, 3), st.integers(0, 30)), min_size=2, max_size=20, unique=True))
def test_no_two_wallets_share_a_key(places: list[tuple[OrganisationId, str, int, int]]) -> None:
    keys = {STORE.wallet_public_key(*place) for place in places}
    assert len(keys) == len(places)


def test_another_seed_gives_other_keys() -> None:
    other = KeyStore(Secret(bytes(32)))
    assert other.statement_public_key != STORE.statement_public_key
    assert other.wallet_public_key(ORGANISATION, NETWORK, 0, 0) != STORE.wallet_public_key(ORGANISATION, NETWORK, 0, 0)


def test_a_statement_is_signed_by_the_statement_key() -> None:
    signature = STORE.statement_sign(b"receipt")
    assert VerifyKey(STORE.statement_public_key).verify(b"receipt", signature) == b"receipt"
    with pytest.raises(BadSignatureError):
        VerifyKey(STORE.statement_public_key).verify(b"another", signature)


@given(st.binary(min_size=32, max_size=32), st.integers(0, 9))
def test_a_wallet_signature_is_compact_low_and_by_the_wallets_key(digest: bytes, index: int) -> None:
    signature = STORE.wallet_sign(ORGANISATION, NETWORK, 0, index, digest)
    r, s = int.from_bytes(signature[:32]), int.from_bytes(signature[32:])
    assert len(signature) == 64
    assert 0 < r < ORDER
    assert 0 < s <= ORDER // 2
    key = STORE.wallet_public_key(ORGANISATION, NETWORK, 0, index)
    assert any(
        coincurve.PublicKey.from_signature_and_message(signature + bytes([each]), digest, hasher=None).format() == key
        for each in (0, 1)
    )


def test_a_wallet_signature_is_the_same_each_time_and_fixed() -> None:
    signature = STORE.wallet_sign(ORGANISATION, NETWORK, 0, 0, DIGEST)
    assert signature == STORE.wallet_sign(ORGANISATION, NETWORK, 0, 0, DIGEST)
    assert signature.hex() == (
        "284a8f3227a50a8b4d5e7e0cdd7d4aa8cb6cd7b60f6f2d73ebd29322344ecd98"
        "51c49b02cd50ab36bef746a780679ef572fcfabbbb7899d4bd346f9d457d3e60"
    )


@pytest.mark.parametrize("length", [0, 31, 33, 64])
def test_only_a_digest_is_signed(length: int) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        STORE.wallet_sign(ORGANISATION, NETWORK, 0, 0, bytes(length))


def test_a_secret_is_never_shown_copied_or_compared() -> None:
    secret = Secret(SEED)
    assert secret.reveal() == SEED
    shown = [repr(secret), str(secret), f"{secret}", f"{[secret]}", f"{ {'seed': secret} }"]
    assert all("***" in each and "\\x" not in each for each in shown)
    for copied in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="isn't copied"):
            copied(secret)
    assert secret != Secret(SEED)
    assert SEED.hex() not in repr(STORE)


@contextmanager
def descriptor(raw: bytes) -> Iterator[int]:
    reading, writing = os.pipe()
    os.write(writing, raw)
    os.close(writing)
    try:
        yield reading
    finally:
        os.close(reading)


def opened(raw: bytes, identity: bytes) -> KeyStore:
    with descriptor(identity) as file:
        return open_key_file(raw, file)


IDENTITY = pyrage.x25519.Identity.generate()
RECIPIENT = str(IDENTITY.to_public())


def test_a_key_file_opens_for_each_of_its_recipients() -> None:
    safe = pyrage.x25519.Identity.generate()
    raw = make_key_file(Secret(SEED), [RECIPIENT, str(safe.to_public())])
    assert raw.startswith(b"age-encryption.org/v1\n")
    assert SEED not in raw
    assert SEED.hex().encode() not in raw
    for identity in (IDENTITY, safe):
        text = f"# created: 2026-11-24\n# public key: {identity.to_public()}\n\n{identity}\n".encode()
        assert opened(raw, text).statement_public_key == STORE.statement_public_key


def test_a_key_file_of_another_is_refused() -> None:
    raw = make_key_file(Secret(SEED), [str(pyrage.x25519.Identity.generate().to_public())])
    with pytest.raises(KeyFileError, match="by this identity"):
        opened(raw, str(IDENTITY).encode())


def test_a_key_file_with_any_byte_changed_is_refused() -> None:
    raw = make_key_file(Secret(SEED), [RECIPIENT])
    for at in range(len(raw)):
        changed = raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :]
        with pytest.raises(KeyFileError):
            opened(changed, str(IDENTITY).encode())
        with pytest.raises(KeyFileError):
            opened(raw[:at], str(IDENTITY).encode())


@pytest.mark.parametrize(
    ("identity", "reason"),
    [
        ("", "one identity"),
        ("# only a comment\n", "one identity"),
        ("{identity}{identity}", "isn't an AGE-SECRET-KEY"),
        ("{identity}\n{identity}\n", "one identity"),
        ("AGE-SECRET-KEY-1QQQ", "isn't an AGE-SECRET-KEY"),
        ("\udcff", "isn't an AGE-SECRET-KEY"),
        ("{recipient}", "isn't an AGE-SECRET-KEY"),
        ("{long}", "one identity"),
        ("{identity}\n{long}", "one identity"),
    ],
)
def test_what_is_no_identity_is_refused(identity: str, reason: str) -> None:
    text = identity.format(identity=IDENTITY, recipient=RECIPIENT, long="#" * 65_536)
    raw = make_key_file(Secret(SEED), [RECIPIENT])
    reading, writing = os.pipe()
    if not os.fork():
        os.close(reading)
        os.write(writing, text.encode(errors="surrogateescape"))
        os._exit(0)
    os.close(writing)
    try:
        with pytest.raises(KeyFileError, match=reason) as caught:
            open_key_file(raw, reading)
    finally:
        os.close(reading)
        os.wait()
    assert str(IDENTITY) not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    "record",
    [
        {"type": "strongroom/key-file/v1"},
        {"seed": SEED.hex()},
        {"seed": SEED.hex()[2:], "type": "strongroom/key-file/v1"},
        {"seed": SEED.hex().upper(), "type": "strongroom/key-file/v1"},
        {"seed": SEED.hex(), "type": "strongroom/key-file/v2"},
        {"more": 1, "seed": SEED.hex(), "type": "strongroom/key-file/v1"},
    ],
)
def test_a_key_file_that_holds_something_else_is_refused_without_showing_it(record: dict[str, str | int]) -> None:
    raw = pyrage.encrypt(encode(record), [IDENTITY.to_public()])
    with pytest.raises(KeyFileError, match="doesn't hold what it should") as caught:
        opened(raw, str(IDENTITY).encode())
    assert SEED.hex()[2:] not in "".join(traceback.format_exception(caught.value)).lower()


@pytest.mark.parametrize("seed", [b"", bytes(31), bytes(33)])
def test_a_seed_has_32_bytes(seed: bytes) -> None:
    with pytest.raises(KeyFileError, match="32 bytes"):
        make_key_file(Secret(seed), [RECIPIENT])


@pytest.mark.parametrize("recipients", [[], ["age1nobody"], ["ours", "ssh-ed25519 AAAA"]])
def test_a_key_file_is_for_somebody(recipients: list[str]) -> None:
    recipients = [RECIPIENT if each == "ours" else each for each in recipients]
    with pytest.raises(KeyFileError):
        make_key_file(Secret(SEED), recipients)
