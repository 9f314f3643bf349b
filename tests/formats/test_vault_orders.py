"""What guardian and owner tell a vault, without a chain. The contract itself is held against the same in
tests/contracts/test_format.py."""

import eth_abi
import pytest
from coincurve import PrivateKey
from eth_account import Account
from eth_account.messages import encode_typed_data

from strongroom.formats.evm_transaction import address_of
from strongroom.formats.vault_orders import (
    Pause,
    VaultOrderError,
    encode_pause,
    encode_rotate,
    encode_sweep,
    encode_unpause,
)

VAULT, TOKEN = b"\x11" * 20, b"\x22" * 20
KEY = PrivateKey(b"\x07" * 32)
GUARDIAN = address_of(KEY.public_key.format(compressed=False))


def test_a_pause_is_of_one_chain_vault_and_epoch() -> None:
    assert len({Pause(*what).digest for what in ((1, VAULT, 0), (2, VAULT, 0), (1, TOKEN, 0), (1, VAULT, 1))}) == 4


def test_the_guardian_signs_it_as_any_wallet_does() -> None:
    pause = Pause(31337, VAULT, 3)
    wallets = Account.sign_message(encode_typed_data(full_message=pause.typed_data()), KEY.secret).signature
    assert pause.sign(KEY) == bytes(wallets)
    assert pause.signer(bytes(wallets)) == GUARDIAN
    assert Pause(31337, VAULT, 4).signer(bytes(wallets)) != GUARDIAN


def test_a_signature_that_no_key_made_is_none() -> None:
    pause = Pause(1, VAULT, 0)
    good = pause.sign(KEY)
    with pytest.raises(VaultOrderError, match="65 bytes"):
        pause.signer(good[:64])
    with pytest.raises(VaultOrderError, match="27 or 28"):
        pause.signer(good[:64] + b"\x01")
    with pytest.raises(VaultOrderError, match="no key"):
        pause.signer(bytes(64) + b"\x1b")


def test_calls_are_what_the_contract_reads() -> None:
    signature = bytes(range(64)) + b"\x1c"
    kinds = ["uint8", "bytes32", "bytes32"]
    assert encode_pause(signature)[4:] == eth_abi.encode(kinds, [28, signature[:32], signature[32:64]])
    assert encode_sweep(TOKEN, 9)[4:] == eth_abi.encode(["address", "uint256"], [TOKEN, 9])
    assert encode_rotate(VAULT, TOKEN)[4:] == eth_abi.encode(["address", "address"], [VAULT, TOKEN])
    assert encode_unpause()[4:] == b""
