"""Bitcoin at the signer: its own keys, its own reading of a PSBT, and signatures that others take.

The attacker is the engine, with a real coin of ours and any bytes; wants an output that nobody asked for, change to a
key of its own, or a fee above the policy's. Vectors: BIP-32 and BIP-86 (BSD-2-Clause); second opinions are wallycore's.
"""

from base64 import b64decode, b64encode
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import wallycore
from coincurve import PrivateKey, PublicKeyXOnly
from hypothesis import given
from hypothesis import strategies as st
from tests.signer.world import CLEO, ORGANISATION, AskRefused, World, policy_document

from strongroom.domain.invariant import InvariantError
from strongroom.formats.bitcoin_address import MAINNET, REGTEST, bitcoin_address_of, parse_bitcoin_address
from strongroom.formats.bitcoin_psbt import SEQUENCE, encode_psbt
from strongroom.formats.bitcoin_transaction import (
    Input,
    Output,
    Transaction,
    encode_transaction,
    parse_transaction,
    signed_vsize,
    transaction_id,
)
from strongroom.protocol.negative import Action
from strongroom.protocol.signer_wire import Ask
from strongroom.signer import sign_bitcoin
from strongroom.signer.keys import KeyStore, Secret
from strongroom.signer.pkcs11_keys import TokenKeys
from strongroom.signer.sign_bitcoin import BitcoinWallet, derive, output_key
from strongroom.signer.wallets import wallet_on

ASSET = f"{REGTEST}/slip44:0"
PAYEE = str(bitcoin_address_of(b"\x00\x14" + b"\x07" * 20, REGTEST))
THIEF = str(bitcoin_address_of(b"\x00\x14" + b"\x66" * 20, REGTEST))
TREASURY = str(bitcoin_address_of(b"\x00\x20" + b"\x05" * 32, REGTEST))
FEE = 400
SEED_32 = bytes(range(16))
HARDENED = 2**31
VECTORS_32 = [
    ([], "e8f32e723decf4051aefac8e2c93c9c5b214313817cdb01a1494b917c8436b35"),
    ([HARDENED], "edb2e14f9ee77d26dd93b4ecede8d16ed408ce149b6cd80b0715a2d911a0afea"),
    ([HARDENED, 1], "3c6cb8d0f6a264c91ea8b5030fadaa8e538b020f0a387421a12de9319dc93368"),
    ([HARDENED, 1, 2 + HARDENED], "cbce0d719ecf7431d88e6a89fa1483e02e35092af60c042b1df2ff59fa424dca"),
]
"""Vector 1."""
SEED_86 = wallycore.bip39_mnemonic_to_seed512("abandon " * 11 + "about", "")
GOLDEN = "bc1p89n6tdx2zseu7ex5dp0054qfwm5mckt26dcwdzu0jcpvhl34apkqpw0565"
FIRST_86 = (
    "bc1p5cyxnuxmeuwuvkwfem96lqzszd02n6xdcjrs20cac6yqjjwudpxqkedrcr",
    "bc1p4qhjn9zdvkux4e44uhx8tc55attvtyu358kutcqkudyccelu0was9fqzwh",
)


def bitcoin_policy() -> dict[str, Any]:
    """A satoshi is worth a tenth of a cent at most."""
    document = policy_document(sweep_fee_budget_reference_minor="1000")
    document["assets"].append({
        "asset": ASSET, "symbol": "BTC", "decimals": 8, "network": REGTEST, "maximum_minor": "1000000000",
        "ceiling": {"units": "10", "reference_minor": "1"},
    })
    document["assets"].sort(key=lambda each: each["asset"])
    document["wallets"].append({
        "network": REGTEST, "fee_asset": ASSET, "fee_maximum_minor": "50000", "fee_rate_maximum": "20000",
        "finality_blocks": 2, "treasury": TREASURY,
    })
    document["wallets"].sort(key=lambda each: each["network"])
    return document


class Bitcoin(World):
    """The world of the signer's tests, with a policy that pays on regtest."""

    numbers_of_coins = 0

    def __init__(self, folder: Path, token: TokenKeys | None = None) -> None:
        super().__init__(folder, bitcoin_policy(), token=token)
        self.ours = wallet_on(self.wallets, REGTEST)

    def asked_for(self, minor: int = 20_000, address: str = PAYEE) -> str:
        record = self.cooled(network=REGTEST, address=address)
        return self.intent(record, minor, asset=ASSET)

    def own_coin(self, minor: int, generation: int = 0, index: int = 0) -> tuple[Input, Output]:
        self.numbers_of_coins += 1
        script = script_of(self.ours.address(ORGANISATION, generation, index))
        return Input(self.numbers_of_coins.to_bytes(32).hex(), 1, SEQUENCE), Output(minor, script)

    @property
    def change(self) -> str:
        return self.ours.address(
            ORGANISATION, self.payments.generation(REGTEST), self.payments.change_next.get(REGTEST, 0)
        )

    def ask_sign(
        self, coins: Sequence[tuple[Input, Output]], outputs: Sequence[tuple[str, int]], *payouts: str,
        operation: str = "pay", network: str = REGTEST, paths: Sequence[tuple[int, int]] | None = None,
        previous: Sequence[bytes] = (),
    ) -> Transaction:
        unsigned = Transaction(
            2, tuple(spend for spend, _ in coins), tuple(Output(minor, script_of(at)) for at, minor in outputs), 0
        )
        raw = encode_psbt(unsigned, [spent for _, spent in coins], previous)
        answer = self.ask(
            Ask.SIGN, operation=operation, network=network, transaction=b64encode(raw).decode(), approvals=[],
            paths=[{"generation": generation, "index": index} for generation, index in paths or [(0, 0)] * len(coins)],
            items=[{"payout": payout} for payout in payouts],
        )
        signed = parse_transaction(b64decode(answer["signed"]))
        assert answer["transaction"] == transaction_id(signed) == transaction_id(unsigned)
        assert replace(signed, witnesses=()) == unsigned
        return signed


def script_of(address: str) -> bytes:
    return parse_bitcoin_address(address, REGTEST).script_pubkey


@pytest.fixture
def world(tmp_path: Path) -> Bitcoin:
    return Bitcoin(tmp_path)


def wally_digest(transaction: Transaction, spent: Sequence[Output], index: int) -> bytes:
    """Of wallycore's own reading of the bytes."""
    bare = encode_transaction(transaction, with_witnesses=False)
    made = wallycore.tx_from_bytes(bare, 0)
    scripts = wallycore.map_init(len(spent), None)
    for place, each in enumerate(spent):
        wallycore.map_add_integer(scripts, place, each.script)
    amounts = [each.amount for each in spent]
    return bytes(wallycore.tx_get_btc_taproot_signature_hash(
        made, index, scripts, amounts, None, 0, wallycore.WALLY_NO_CODESEPARATOR, None, wallycore.WALLY_SIGHASH_DEFAULT,
        0,
    ))


def test_a_payout_is_signed_so_that_others_take_it(world: Bitcoin) -> None:
    payout = world.asked_for()
    coins = [world.own_coin(15_000), world.own_coin(9_000, index=3)]
    signed = world.ask_sign(
        coins, [(PAYEE, 20_000), (world.change, 4_000 - FEE)], payout, paths=[(0, 0), (0, 3)]
    )
    spent = [each for _, each in coins]
    for index, ((signature,), output) in enumerate(zip(signed.witnesses, spent, strict=True)):
        assert PublicKeyXOnly(output.script[2:]).verify(signature, wally_digest(signed, spent, index))
    weight = 3 * len(encode_transaction(signed, with_witnesses=False)) + len(encode_transaction(signed))
    assert -(-weight // 4) == signed_vsize(replace(signed, witnesses=()), spent)
    assert world.payments.paid[payout].address == PAYEE


@pytest.mark.parametrize(("rule", "outputs"), [
    ("bytes-outputs", [(THIEF, 20_000), ("change", 4_600)]),
    ("bytes-outputs", [(PAYEE, 20_001), ("change", 4_599)]),
    ("bytes-outputs", [("change", 4_600), (PAYEE, 20_000)]),
    ("bytes-change", [(PAYEE, 20_000), (THIEF, 4_600)]),
    ("bytes-change", [(PAYEE, 20_000), ("change", 545)]),
    ("bytes-fee", [(PAYEE, 20_000)]),
    ("bytes-fee", [(PAYEE, 20_000), ("change", 5_001)]),
])
def test_bytes_that_nobody_asked_for_are_refused(world: Bitcoin, rule: str, outputs: list[tuple[str, int]]) -> None:
    payout = world.asked_for()
    made = [(world.change if to == "change" else to, minor) for to, minor in outputs]
    with pytest.raises(AskRefused, match=rule):
        world.ask_sign([world.own_coin(25_000)], made, payout)


@pytest.mark.parametrize(("generation", "index"), [(1, 0), (0, 1)])
def test_a_coin_of_another_key_isnt_signed_for(world: Bitcoin, generation: int, index: int) -> None:
    coin = world.own_coin(25_000, generation, index)
    with pytest.raises(AskRefused, match="bytes-inputs"):
        world.ask_sign([coin], [(PAYEE, 20_000), (world.change, 4_600)], world.asked_for())


def test_an_amount_that_was_lied_about_makes_a_signature_of_no_worth(world: Bitcoin) -> None:
    """The engine names less than the coin has, so that the rest would be the miner's."""
    payout, (spend, spent) = world.asked_for(), world.own_coin(900_000)
    said = replace(spent, amount=24_600 + FEE)
    signed = world.ask_sign([(spend, said)], [(PAYEE, 20_000), (world.change, 4_600)], payout)
    key, signature = PublicKeyXOnly(spent.script[2:]), signed.witnesses[0][0]
    assert key.verify(signature, wally_digest(signed, [said], 0))
    assert not key.verify(signature, wally_digest(signed, [spent], 0))


def test_a_higher_fee_with_the_same_inputs_is_signed_and_with_others_it_isnt(world: Bitcoin) -> None:
    payout, coin = world.asked_for(), world.own_coin(25_000)
    world.ask_sign([coin], [(PAYEE, 20_000), (world.change, 4_600)], payout)
    with pytest.raises(AskRefused, match="payout-once"):
        world.ask_sign([world.own_coin(25_000)], [(PAYEE, 20_000), (world.change, 4_200)], payout, operation="bump")
    assert world.ask_sign([coin], [(PAYEE, 20_000), (world.change, 4_200)], payout, operation="bump")


def test_all_goes_to_the_treasury_and_to_nobody_else_by_a_sweep(world: Bitcoin) -> None:
    coin = world.own_coin(25_000)
    with pytest.raises(AskRefused, match="bytes-outputs"):
        world.ask_sign([coin], [(THIEF, 24_600)], operation="sweep")
    assert world.ask_sign([coin], [(TREASURY, 24_600)], operation="sweep")


def test_while_frozen_nothing_is_signed(world: Bitcoin) -> None:
    payout = world.asked_for()
    world.guard.instruct(Action.FREEZE, f"network:{REGTEST}", CLEO)
    world.desk.idle()
    with pytest.raises(AskRefused, match="not-frozen"):
        world.ask_sign([world.own_coin(25_000)], [(PAYEE, 20_000), (world.change, 4_600)], payout)


def test_a_sandbox_signs_for_no_coin_that_is_worth_something(world: Bitcoin) -> None:
    with pytest.raises(AskRefused, match="bytes-read"):
        world.ask_sign([world.own_coin(25_000)], [(PAYEE, 20_000)], world.asked_for(), network=MAINNET)


def test_a_psbt_in_another_form_is_refused(world: Bitcoin) -> None:
    with pytest.raises(AskRefused, match="bytes-read: isn't a PSBT"):
        world.ask(
            Ask.SIGN, operation="cancel", network=REGTEST, transaction=b64encode(b"psbt").decode(), approvals=[],
            paths=[{"generation": 0, "index": 0}], items=[],
        )


# Keys.


@given(st.binary(min_size=16, max_size=64), st.lists(st.integers(0, 2**32 - 1), max_size=5))
def test_keys_are_derived_and_tweaked_as_wallycore_does(seed: bytes, path: list[int]) -> None:
    master = wallycore.bip32_key_from_seed(
        (seed * 4)[:64], wallycore.BIP32_VER_MAIN_PRIVATE, wallycore.BIP32_FLAG_SKIP_HASH
    )
    child = wallycore.bip32_key_from_parent_path(master, path, wallycore.BIP32_FLAG_SKIP_HASH) if path else master
    private = bytes(wallycore.bip32_key_get_priv_key(child))
    assert derive((seed * 4)[:64], path).secret == private
    assert output_key(PrivateKey(private)).secret == bytes(wallycore.ec_private_key_bip341_tweak(private, None, 0))


@pytest.mark.parametrize(("path", "private"), VECTORS_32)
def test_keys_are_those_of_bip_32(path: list[int], private: str) -> None:
    assert derive(SEED_32, path).secret.hex() == private


def test_keys_stand_where_bip_86_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(KeyStore, "wallet_seed", lambda *_: Secret(bytes(SEED_86)))
    wallet = BitcoinWallet(KeyStore(Secret(bytes(32))), MAINNET, TokenKeys())
    assert tuple(wallet.address(ORGANISATION, 0, index) for index in range(2)) == FIRST_86


def test_addresses_stay_what_they_are_and_differ_by_all_that_they_are_of() -> None:
    """Another spelling of the derivation would leave the coins where nobody looks."""
    keys = KeyStore(Secret(bytes(32)))
    main, test = BitcoinWallet(keys, MAINNET, TokenKeys()), BitcoinWallet(keys, REGTEST, TokenKeys())
    other = type(ORGANISATION)("org_" + "b" * 26)
    made = [
        main.address(ORGANISATION, 0, 0), main.address(ORGANISATION, 0, 1), main.address(ORGANISATION, 1, 0),
        main.address(other, 0, 0),
    ]
    assert len({parse_bitcoin_address(each, MAINNET).script_pubkey for each in made}) == 4
    assert script_of(test.address(ORGANISATION, 0, 0)) != parse_bitcoin_address(made[0], MAINNET).script_pubkey
    assert made[0] == GOLDEN


def test_a_signature_that_a_fault_has_spoilt_never_leaves(world: Bitcoin, monkeypatch: pytest.MonkeyPatch) -> None:
    payout, spoilt = world.asked_for(), PrivateKey(b"\x09" * 32)
    monkeypatch.setattr(sign_bitcoin, "output_key", lambda _: spoilt)
    with pytest.raises(InvariantError, match="isn't one of its coin's key"):
        world.ask_sign([world.own_coin(25_000)], [(PAYEE, 20_000), (world.change, 4_600)], payout)


def test_a_script_without_an_address_would_end_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    wallet = BitcoinWallet(KeyStore(Secret(bytes(32))), REGTEST, TokenKeys())
    monkeypatch.setattr("strongroom.signer.sign_bitcoin.bitcoin_address_of", lambda *_: None)
    with pytest.raises(InvariantError, match="has no address"):
        wallet.address(ORGANISATION, 0, 0)
