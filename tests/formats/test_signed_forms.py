"""What the signer gave is kept only if it is what it was asked for, signed: by whose account, and to the byte."""

from dataclasses import replace

import coincurve
import pytest
from tests.contracts.vault import address_of
from tests.signer.world import ORGANISATION

from strongroom.formats import simulated
from strongroom.formats.coins import CoinsError
from strongroom.formats.evm_transaction import EvmSignature, encode_signed, signing_hash
from strongroom.formats.evm_vault_call import VaultCall, encode_vault_call
from strongroom.formats.hot_vault import VaultItem
from strongroom.formats.signed_forms import is_signed_form
from strongroom.signer.keys import KeyStore, Secret
from strongroom.signer.sign_simulated import SimulatedWallet

NETWORK = "eip155:31337"
KEY, OTHER = coincurve.PrivateKey(b"\1" * 32), coincurve.PrivateKey(b"\2" * 32)
CALL = VaultCall(
    31337, 7, 10**9, 2 * 10**9, 200_000, 2_000_000_000, bytes.fromhex(address_of(KEY)[2:]), b"\xaa" * 20, b"\xc0" * 20,
    b"\5" * 32, (VaultItem(b"\1" * 20, 5),), (), (),
)


def signed(call: VaultCall, key: coincurve.PrivateKey = KEY) -> bytes:
    made = call.transaction()
    raw = key.sign_recoverable(signing_hash(made), hasher=None)
    return encode_signed(made, EvmSignature(raw[64], int.from_bytes(raw[:32]), int.from_bytes(raw[32:64])))


@pytest.mark.parametrize(("given", "expected"), [
    (signed(CALL), True), (signed(CALL, OTHER), False), (signed(replace(CALL, nonce=8)), False),
    (signed(replace(CALL, items=(VaultItem(b"\2" * 20, 5),))), False),
])
def test_a_call_is_signed_by_its_account_and_as_it_was_asked_for(given: bytes, expected: bool) -> None:
    assert is_signed_form(NETWORK, given, encode_vault_call(CALL)) is expected


def test_what_is_no_signed_call_is_refused() -> None:
    with pytest.raises(CoinsError):
        is_signed_form(NETWORK, b"\x02", encode_vault_call(CALL))
    with pytest.raises(CoinsError):
        is_signed_form(NETWORK, signed(CALL), b"\xc0")


def test_of_coins_it_is_the_same_bytes_with_signatures() -> None:
    wallet = SimulatedWallet(KeyStore(Secret(b"\5" * 32)))
    address = wallet.address(ORGANISATION, 0, 0)
    coin = simulated.Input(b"\1" * 32, 0, 10_000, address)
    one, other = (
        simulated.encode_unsigned(simulated.Transaction((coin,), (simulated.Output(minor, address),)))
        for minor in (9_000, 9_001)
    )
    given = wallet.sign(ORGANISATION, one, [(0, 0)])
    assert is_signed_form(simulated.NETWORK, given, one)
    assert not is_signed_form(simulated.NETWORK, given, other)
