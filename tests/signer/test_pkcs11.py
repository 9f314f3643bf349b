"""A Bitcoin wallet whose key is in a hardware module: SoftHSM by PKCS#11, and a module that lies.

The attacker has the engine, real coins of ours and any bytes, or is the module itself; wants coins burnt as fees, or a
signature out that isn't one. Second opinions on what is signed are wallycore's.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pkcs11
import pytest
import wallycore
from coincurve import PrivateKey, PublicKey, PublicKeyXOnly
from pkcs11 import Attribute
from tests.signer.soft_token import PIN, TOKEN, SoftToken, pin_descriptor
from tests.signer.test_sign_bitcoin import PAYEE, TREASURY, Bitcoin, wally_digest
from tests.signer.world import ORGANISATION, AskRefused

from strongroom.domain.ids import OrganisationId
from strongroom.domain.invariant import InvariantError
from strongroom.formats import bitcoin_psbt
from strongroom.formats.bitcoin_address import MAINNET, REGTEST, bitcoin_address_of, parse_bitcoin_address
from strongroom.formats.bitcoin_psbt import SEQUENCE
from strongroom.formats.bitcoin_transaction import (
    KEY_HASH,
    Input,
    Output,
    Transaction,
    encode_transaction,
    key_hash_script,
    transaction_id,
)
from strongroom.formats.simulated import NETWORK as SIMULATED
from strongroom.protocol.signer_wire import Ask
from strongroom.signer.config import ConfigError
from strongroom.signer.desk import ADMIN
from strongroom.signer.keys import ORDER, KeyFileError
from strongroom.signer.pkcs11_ceremony import make_token_key
from strongroom.signer.pkcs11_keys import TokenKey, TokenKeys, open_token_keys, read_pin, read_token_config
from strongroom.signer.pkcs11_token import open_token

FEE = 1_000
HALF = ORDER // 2
DIGEST = b"\x07" * 32


@pytest.fixture(scope="session")
def soft(tmp_path_factory: pytest.TempPathFactory) -> SoftToken:
    made = SoftToken(tmp_path_factory.mktemp("token"))
    os.environ.update(made.environment)
    return made


@pytest.fixture(scope="session")
def made_keys(soft: SoftToken) -> dict[str, bytes]:
    return {label: soft.make(label) for label in ("first", "second")}


@pytest.fixture(scope="session")
def opened(soft: SoftToken, made_keys: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory) -> TokenKeys:
    """As a signer opens it, once in this process. The wallet has been in the token since its first generation."""
    file = tmp_path_factory.mktemp("config") / "token.json"
    rows = [(generation, label, made_keys[label]) for generation, label in enumerate(("first", "second"))]
    file.write_text(soft.document(rows, pin_descriptor()))
    return open_token_keys(str(file))


@pytest.fixture
def signs(opened: TokenKeys) -> Callable[[str, bytes], bytes]:
    assert opened._signs is not None
    return opened._signs


class TokenWorld(Bitcoin):
    """Coins of its wallet come with the chain transaction that made them."""

    def coin(self, minor: int, generation: int = 0, **odd: Any) -> tuple[tuple[Input, Output], bytes]:
        self.numbers_of_coins += 1
        script = parse_bitcoin_address(self.ours.address(ORGANISATION, generation, 0), REGTEST).script_pubkey
        output = Output(minor, script)
        outputs = (Output(1, b"\x51"), output)
        made = Transaction(2, (Input(self.numbers_of_coins.to_bytes(32).hex(), 0, SEQUENCE),), outputs, 0, **odd)
        return (Input(transaction_id(made), 1, SEQUENCE), output), encode_transaction(made)


@pytest.fixture
def world(opened: TokenKeys, tmp_path: Path) -> TokenWorld:
    (tmp_path / "signer").mkdir()
    return TokenWorld(tmp_path / "signer", opened)


def hash_digest(transaction: Transaction, index: int, spent: Output) -> bytes:
    """Of wallycore's own reading of the bytes."""
    made = wallycore.tx_from_bytes(encode_transaction(transaction, with_witnesses=False), 0)
    code = b"\x76\xa9\x14" + spent.script[2:] + b"\x88\xac"
    return bytes(wallycore.tx_get_btc_signature_hash(
        made, index, code, spent.amount, wallycore.WALLY_SIGHASH_ALL, wallycore.WALLY_TX_FLAG_USE_WITNESS))


def holds(signed: Transaction, index: int, spent: Output) -> bool:
    """Whether a node would take this input's witness for a coin of a key's hash."""
    signature, public_key = signed.witnesses[index]
    assert key_hash_script(public_key) == spent.script
    assert signature[-1] == wallycore.WALLY_SIGHASH_ALL
    return PublicKey(public_key).verify(signature[:-1], hash_digest(signed, index, spent), hasher=None)


# What is paid.


def test_a_payout_is_signed_by_the_token_so_that_others_take_it(world: TokenWorld, made_keys: dict[str, bytes]) -> None:
    payout = world.asked_for()
    coins, previous = zip(world.coin(15_000), world.coin(9_000), strict=True)
    signed = world.ask_sign(coins, [(PAYEE, 20_000), (world.change, 4_000 - FEE)], payout, previous=previous)
    assert world.change == bitcoin_address_of(key_hash_script(made_keys["first"]), REGTEST)
    assert all(holds(signed, index, spent) for index, (_, spent) in enumerate(coins))


def test_about_half_of_the_tokens_signatures_are_high_and_none_that_leaves_is(
    opened: TokenKeys, signs: Callable[[str, bytes], bytes], made_keys: dict[str, bytes]
) -> None:
    """Nodes relay no high one (BIP-146). Of 64 none is with a probability of 1 to 2**64."""
    key = opened.find(ORGANISATION, REGTEST, 0)
    assert key is not None
    raw = [signs("first", DIGEST) for _ in range(64)]
    assert any(int.from_bytes(each[32:]) > HALF for each in raw)
    for each in raw:
        der = TokenKeys([key], lambda _label, _digest, each=each: each).sign(key, DIGEST)
        assert PublicKey(made_keys["first"]).verify(der, DIGEST, hasher=None)
        assert int.from_bytes(der[-32:]) <= HALF


def test_a_higher_fee_a_cancel_and_a_sweep_are_signed_by_the_token_too(world: TokenWorld) -> None:
    payout = world.asked_for()
    coin, made = world.coin(25_000)
    world.ask_sign([coin], [(PAYEE, 20_000), (world.change, 4_600)], payout, previous=[made])
    dearer = world.ask_sign(
        [coin], [(PAYEE, 20_000), (world.change, 4_200)], payout, previous=[made], operation="bump")
    back = world.ask_sign([coin], [(world.change, 23_000)], previous=[made], operation="cancel")
    swept = world.ask_sign([coin], [(TREASURY, 23_000)], previous=[made], operation="sweep")
    assert all(holds(each, 0, coin[1]) for each in (dearer, back, swept))


# What is not.


def burn(world: TokenWorld) -> tuple[Transaction, list[Output], int]:
    """The attack on segwit's first version: of two coins one at a time is said to be small. Signatures of what is
    claimed true each time make one chain transaction; its fee by what the coins really have."""
    payout = world.asked_for()
    (first, _), (second, _) = world.coin(900_000), world.coin(800_000)
    small = 1_000
    outputs = [(PAYEE, 20_000), (world.change, 900_000 + small - 20_000 - FEE)]
    lies = [
        [first, (second[0], replace(second[1], amount=small))],
        [(first[0], replace(first[1], amount=100_000 + small)), second],
    ]
    halves = [world.ask_sign(coins, outputs, payout) for coins in lies]
    whole = replace(halves[0], witnesses=(halves[0].witnesses[0], halves[1].witnesses[1]))
    true = [first[1], second[1]]
    return whole, true, sum(each.amount for each in true) - sum(each.amount for each in whole.outputs)


def test_without_the_rule_lies_about_two_coins_burn_one_of_them(
    world: TokenWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: coins of a key's hash are believed by their word."""
    monkeypatch.setattr(bitcoin_psbt, "KEY_HASH", b"\xff\xff")
    whole, true, fee = burn(world)
    assert all(holds(whole, index, each) for index, each in enumerate(true))
    assert fee == 800_000  # where the policy's ceiling is 50,000


def test_what_a_coin_of_a_keys_hash_has_is_read_from_what_made_it(world: TokenWorld) -> None:
    with pytest.raises(AskRefused, match=r"bytes-read: .*what made a coin in full"):
        burn(world)


@pytest.mark.parametrize("lie", ["amount", "another", "witnesses"])
def test_what_made_a_coin_is_what_its_input_names(world: TokenWorld, lie: str) -> None:
    payout = world.asked_for()
    coin, made = world.coin(900_000)
    raw = {
        "amount": made.replace((900_000).to_bytes(8, "little"), (25_000).to_bytes(8, "little")),
        "another": world.coin(25_000)[1],
        "witnesses": made[:4] + b"\0\1" + made[4:-4] + b"\1\1\1" + made[-4:],
    }[lie]
    assert raw != made
    with pytest.raises(AskRefused, match="another chain transaction than the one"):
        world.ask_sign([coin], [(PAYEE, 20_000), (world.change, 4_600)], payout, previous=[raw])
    assert not world.payments.attempts


def other_key(_: str, digest: bytes) -> bytes:
    return PrivateKey(b"\x09" * 32).sign_recoverable(digest, hasher=None)[:64]


LIES: dict[str, Callable[[str, bytes], bytes]] = {
    "another key's": other_key,
    "of zeros": lambda _label, _digest: bytes(64),
    "above the curve's order": lambda _label, _digest: b"\xff" * 64,
    "of 63 bytes": lambda label, digest: other_key(label, digest)[:63],
    "of 65 bytes": lambda label, digest: other_key(label, digest) + b"\0",
    "none": lambda _label, _digest: b"",
}


@pytest.mark.parametrize("lie", LIES)
def test_a_token_that_answers_wrong_ends_the_signer_and_nothing_leaves_it(
    world: TokenWorld, opened: TokenKeys, lie: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The attacker is the module. What was asked for stands in the journal, and is signed when it is honest again."""
    payout = world.asked_for()
    coin, made = world.coin(25_000)
    outputs = [(PAYEE, 20_000), (world.change, 4_600)]
    with monkeypatch.context() as lying:
        lying.setattr(opened, "_signs", LIES[lie])
        with pytest.raises(InvariantError, match=r"isn't (a signature|one of first)"):
            world.ask_sign([coin], outputs, payout, previous=[made])
    world.restart()
    assert holds(world.ask_sign([coin], outputs, payout, previous=[made]), 0, coin[1])


def test_without_the_check_a_wrong_signature_would_leave(
    world: TokenWorld, opened: TokenKeys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control."""
    payout = world.asked_for()
    coin, made = world.coin(25_000)
    monkeypatch.setattr(opened, "_signs", other_key)
    monkeypatch.setattr(PublicKey, "verify", lambda *_, **__: True)
    signed = world.ask_sign([coin], [(PAYEE, 20_000), (world.change, 4_600)], payout, previous=[made])
    monkeypatch.undo()
    assert not holds(signed, 0, coin[1])


def test_a_token_that_fails_ends_the_signer(signs: Callable[[str, bytes], bytes]) -> None:
    with pytest.raises(InvariantError, match="doesn't sign with nothing: NoSuchKey"):
        signs("nothing", DIGEST)
    with pytest.raises(InvariantError, match="there is no token"):
        TokenKeys().sign(TokenKey(ORGANISATION, REGTEST, 0, "first", b""), DIGEST)


# Which key.


def test_every_index_of_a_generation_has_the_one_address_and_rotation_goes_to_the_next_key(
    world: TokenWorld, made_keys: dict[str, bytes]
) -> None:
    def said(generation: int) -> list[str]:
        answer = world.ask(Ask.ADDRESSES, network=REGTEST, first=0, generation=generation, count=3)
        return list(answer["addresses"])

    assert said(0) == [bitcoin_address_of(key_hash_script(made_keys["first"]), REGTEST)] * 3
    coin, made = world.coin(50_000)
    world.ask_sign([coin], [(PAYEE, 20_000), (world.change, 29_000)], world.asked_for(), previous=[made])
    assert world.payments.change_next[REGTEST] == 1
    assert world.ask(Ask.ROTATE, channel=ADMIN, network=REGTEST, generation=1) == {"generation": 1}
    assert said(1) == [bitcoin_address_of(key_hash_script(made_keys["second"]), REGTEST)] * 3
    assert world.change == said(1)[0]
    older, made = world.coin(50_000, generation=0)
    signed = world.ask_sign([older], [(world.change, 49_000)], previous=[made], operation="consolidate")
    assert holds(signed, 0, older[1])
    with pytest.raises(AskRefused, match="bytes-read: the token has no key of generation 2"):
        world.ask(Ask.ROTATE, channel=ADMIN, network=REGTEST, generation=2)
    assert world.payments.generation(REGTEST) == 1
    with pytest.raises(AskRefused, match="bytes-read: the token has no key of generation 2"):
        said(2)


def test_a_wallet_moves_into_a_token_by_a_rotation_and_spends_coins_of_both_kinds_at_once(
    signs: Callable[[str, bytes], bytes], made_keys: dict[str, bytes], tmp_path: Path
) -> None:
    key = TokenKey(ORGANISATION, REGTEST, 1, "second", made_keys["second"])
    world = TokenWorld(tmp_path, TokenKeys([key], signs))
    taproot = world.own_coin(15_000)
    assert taproot[1].script.startswith(b"\x51\x20")
    world.ask(Ask.ROTATE, channel=ADMIN, network=REGTEST, generation=1)
    held, made = world.coin(9_000, generation=1)
    assert held[1].script.startswith(KEY_HASH)
    signed = world.ask_sign(
        [taproot, held], [(PAYEE, 20_000), (world.change, 4_000 - FEE)], world.asked_for(),
        paths=[(0, 0), (1, 0)], previous=[b"", made],
    )
    assert holds(signed, 1, held[1])
    digest = wally_digest(signed, [taproot[1], held[1]], 0)
    assert PublicKeyXOnly(taproot[1].script[2:]).verify(signed.witnesses[0][0], digest)


def test_other_organisations_and_networks_have_no_key_in_the_token(opened: TokenKeys) -> None:
    assert opened.find(OrganisationId("org_" + "b" * 26), REGTEST, 0) is None
    assert opened.find(ORGANISATION, MAINNET, 0) is None
    assert TokenKeys().find(ORGANISATION, REGTEST, 0) is None


# What the signer is told, and how it begins.


KEY = {"generation": 0, "label": "a", "network": REGTEST, "organisation": ORGANISATION,
       "public_key": PrivateKey(b"\x01" * 32).public_key.format().hex()}
OTHER = KEY | {"public_key": PrivateKey(b"\x02" * 32).public_key.format().hex()}
GOOD: dict[str, Any] = {"keys": [KEY], "module": "/lib.so", "pin": 7, "token": "t"}


def test_what_the_token_holds_is_what_its_file_says(tmp_path: Path) -> None:
    file = tmp_path / "token.json"
    file.write_text(json.dumps(GOOD | {"environment": {"CONF": "/etc/conf"}, "keys": [KEY, OTHER | {"generation": 1}]}))
    read = read_token_config(str(file))
    assert (read.module, read.token, read.pin, read.environment) == ("/lib.so", "t", 7, {"CONF": "/etc/conf"})
    assert [(each.generation, each.label) for each in read.keys] == [(0, "a"), (1, "a")]


@pytest.mark.parametrize(("document", "reason"), [
    ("{", "JSON"),
    (GOOD | {"pin": "1234"}, "pin: must be an integer from 3"),
    (GOOD | {"pin": 1}, "pin: must be an integer from 3"),
    (GOOD | {"slot": 1}, "slot: is unknown"),
    (GOOD | {"keys": []}, "keys: must be a list of 1"),
    (GOOD | {"environment": {"A": 1}}, "environment.A: must be a string"),
    (GOOD | {"keys": [KEY | {"network": SIMULATED}]}, r"keys\[0\].network: isn't a Bitcoin network"),
    (GOOD | {"keys": [KEY | {"public_key": "02" + "ff" * 32}]}, r"keys\[0\].public_key: isn't a point"),
    (GOOD | {"keys": [KEY | {"public_key": KEY["public_key"] + "00"}]}, r"keys\[0\].public_key: must be a string of 1"),
    (GOOD | {"keys": [KEY | {"organisation": "org_x"}]}, r"keys\[0\].organisation"),
    (GOOD | {"keys": [KEY, OTHER]}, "keys: generation 0 on .* doesn't follow generation 0"),
    (GOOD | {"keys": [KEY, OTHER | {"generation": 2}]}, "keys: generation 2 on .* doesn't follow generation 0"),
    (GOOD | {"keys": [KEY, KEY | {"generation": 1}]}, "keys: a public key stands there twice"),
])
def test_a_token_file_that_is_wrong_says_where(document: Any, reason: str, tmp_path: Path) -> None:
    file = tmp_path / "token.json"
    file.write_text(document if isinstance(document, str) else json.dumps(document))
    with pytest.raises(ConfigError, match=reason):
        read_token_config(str(file))


@pytest.mark.parametrize("pin", ["", "\n", "1" * 256, "é"])
def test_a_pin_is_read_from_its_descriptor_which_is_closed(pin: str) -> None:
    descriptor = pin_descriptor(pin)
    with pytest.raises(KeyFileError, match="must have 1 to"):
        read_pin(descriptor)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)
    with pytest.raises(KeyFileError, match="can't be read"):
        read_pin(descriptor)
    assert read_pin(pin_descriptor()).reveal() == PIN.encode()
    assert repr(read_pin(pin_descriptor())) == "***"


def test_a_signer_without_a_token_has_no_such_keys() -> None:
    assert open_token_keys(None).find(ORGANISATION, REGTEST, 0) is None


def test_a_token_that_isnt_there_is_said(soft: SoftToken, opened: TokenKeys) -> None:
    with pytest.raises(KeyFileError, match="the token none can't be opened: NoSuchToken"):
        open_token(str(soft.soft.module), "none", read_pin(pin_descriptor()))


def test_a_key_in_the_token_that_isnt_the_one_that_was_written_down_is_found_at_the_start(
    opened: TokenKeys, soft: SoftToken, made_keys: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody changed the token, or the file: no address would be the one that is written down, and no coin spent."""
    monkeypatch.setattr("strongroom.signer.pkcs11_token.open_token", lambda *_: opened._signs)  # it is logged in once
    file = tmp_path / "token.json"
    file.write_text(soft.document([(0, "first", made_keys["second"])], pin_descriptor()))
    with pytest.raises(KeyFileError, match="the token's signature isn't one of first"):
        open_token_keys(str(file))


# The ceremony.


def test_a_key_is_made_in_the_token_once_and_cant_be_taken_out(soft: SoftToken, made_keys: dict[str, bytes]) -> None:
    again = soft.ceremony("first")
    assert (again.returncode, again.stdout) == (1, "")
    assert "first is in the token already" in again.stderr
    assert len(set(made_keys.values())) == 2


@pytest.mark.parametrize(("given", "reason"), [
    ({"pin": "wrong"}, "makes no such key: PinIncorrect"), ({"token": "none"}, "makes no such key: NoSuchToken"),
    ({"pin": ""}, "PIN must have"),
])
def test_a_ceremony_that_fails_says_why_and_never_the_pin(soft: SoftToken, given: dict[str, str], reason: str) -> None:
    done = soft.ceremony("third", **given)
    assert (done.returncode, done.stdout) == (1, "")
    assert reason in done.stderr
    assert "wrong" not in done.stderr


class LaxToken:
    """A module that makes a key otherwise than it was asked to: it can be taken out, or be read."""

    def __init__(self, odd: Attribute) -> None:
        self.private = {Attribute.SENSITIVE: True, Attribute.EXTRACTABLE: False}
        self.private[odd] = not self.private[odd]

    def get_token(self, **_: str) -> "LaxToken":
        return self

    @contextmanager
    def open(self, **_: object) -> Iterator["LaxToken"]:
        yield self

    def get_objects(self, _: object) -> list[object]:
        return []

    def create_domain_parameters(self, *_: object, **__: object) -> "LaxToken":
        return self

    def generate_keypair(self, **_: object) -> tuple[dict[Attribute, bytes], dict[Attribute, bool]]:
        point = PrivateKey(b"\x01" * 32).public_key.format(compressed=False)
        return {Attribute.EC_POINT: b"\x04\x41" + point}, self.private


@pytest.mark.parametrize("odd", [Attribute.EXTRACTABLE, Attribute.SENSITIVE])
def test_a_key_that_could_be_taken_out_is_not_what_was_asked_for(
    odd: Attribute, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pkcs11, "lib", lambda _: LaxToken(odd))
    with pytest.raises(KeyFileError, match="so that it can be taken out"):
        make_token_key("module", TOKEN, "lax", read_pin(pin_descriptor()))


def test_a_ceremony_without_a_label_is_no_ceremony() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "strongroom.signer.pkcs11_ceremony", "module"], capture_output=True, check=False
    )
    assert (done.returncode, done.stdout) == (2, b"")
