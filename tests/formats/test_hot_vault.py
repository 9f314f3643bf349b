"""The vault's calls and events, without a chain: what is never made, and what isn't read. The contract itself is held
against the same in tests/contracts/test_format.py."""

import eth_abi
import pytest

from strongroom.formats.evm_transaction import keccak256
from strongroom.formats.hot_vault import (
    AMOUNT_MAXIMUM,
    ITEMS_MAXIMUM,
    Batch,
    Executed,
    HotVaultError,
    Killed,
    Log,
    Retried,
    Retry,
    VaultItem,
    encode_kill,
    read_transfer,
    read_vault_event,
)

SALT, OTHER = bytes(range(32)), bytes(range(32))[::-1]
VAULT, TOKEN, PAYEE = b"\x11" * 20, b"\x22" * 20, b"\x33" * 20
BATCH = Batch(31337, VAULT, TOKEN, SALT, (VaultItem(PAYEE, 5), VaultItem(TOKEN, AMOUNT_MAXIMUM)))


def topic(raw: bytes) -> bytes:
    return raw.rjust(32, b"\0")


EXECUTED = Log(
    VAULT, (keccak256(b"Executed(bytes32,address,uint256,uint248)"), SALT, topic(TOKEN)),
    eth_abi.encode(["uint256", "uint248"], [14, 1 << 247 | 2]),
)
KILLED = Log(VAULT, (keccak256(b"Killed(bytes32)"), SALT), b"")
RETRIED = Log(
    VAULT, (keccak256(b"Retried(bytes32,uint256,bytes32)"), SALT, OTHER), eth_abi.encode(["uint256"], [3])
)
TRANSFER = Log(
    TOKEN, (keccak256(b"Transfer(address,address,uint256)"), topic(VAULT), topic(PAYEE)),
    eth_abi.encode(["uint256"], [9]),
)


def test_a_batch_is_named_and_called_by_its_chain_vault_token_salt_and_items() -> None:
    words = [item.payee + item.amount.to_bytes(12) for item in BATCH.items]
    kinds = ["uint256", "address", "address", "bytes32", "bytes32[]"]
    assert BATCH.name == keccak256(eth_abi.encode(kinds, [31337, VAULT, TOKEN, SALT, words]))
    called = eth_abi.encode(
        ["bytes32", "bytes32[]", "(bytes32,uint256)[]", "address", "bytes32", "uint256", "bytes32[]"],
        [BATCH.name, [OTHER], [(OTHER, 3)], TOKEN, SALT, 99, words],
    )
    assert BATCH.pay([OTHER], [Retry(OTHER, 3)], 99)[4:] == called
    assert encode_kill([SALT, OTHER])[4:] == eth_abi.encode(["bytes32[]"], [[SALT, OTHER]])


def test_events_are_read() -> None:
    assert read_vault_event(EXECUTED) == Executed(SALT, TOKEN, 14, frozenset({1, 247}))
    assert read_vault_event(KILLED) == Killed(SALT)
    assert read_vault_event(RETRIED) == Retried(SALT, 3, OTHER)
    assert read_transfer(TRANSFER) == (VAULT, PAYEE, 9)
    assert read_vault_event(TRANSFER) is None
    assert read_transfer(EXECUTED) is None
    assert read_vault_event(Log(b"", (), b"")) is read_transfer(Log(b"", (), b"")) is None


@pytest.mark.parametrize(
    "good", [EXECUTED, KILLED, RETRIED, TRANSFER], ids=["executed", "killed", "retried", "transfer"]
)
def test_events_of_another_form_are_refused(good: Log) -> None:
    read = read_transfer if good is TRANSFER else read_vault_event
    for topics, data in (
        (good.topics[:-1], good.data), ((*good.topics, SALT), good.data), (good.topics, good.data + b"\0"),
        (good.topics, good.data + bytes(32)), ((*good.topics[:-1], b""), good.data),
    ):
        with pytest.raises(HotVaultError, match="must have"):
            read(Log(good.address, topics, data))


def test_a_flag_beyond_the_last_item_is_refused() -> None:
    with pytest.raises(HotVaultError, match="that there can't be"):
        read_vault_event(Log(VAULT, EXECUTED.topics, EXECUTED.data[:32] + b"\xff" * 32))


@pytest.mark.parametrize(
    ("chain", "vault_length", "salt", "items", "reason"),
    [
        (0, 20, SALT, ((20, 1),), "must name a chain"),
        (1, 19, SALT, ((20, 1),), "must name a chain"),
        (1, 20, b"", ((20, 1),), "must name a chain"),
        (1, 20, SALT, (), "1 to 248 items"),
        (1, 20, SALT, ((20, 1),) * (ITEMS_MAXIMUM + 1), "1 to 248 items"),
        (1, 20, SALT, ((19, 1),), "must pay addresses"),
        (1, 20, SALT, ((20, 0),), "must pay addresses"),
        (1, 20, SALT, ((20, AMOUNT_MAXIMUM + 1),), "must pay addresses"),
    ],
)
def test_a_batch_that_the_vault_would_not_take_is_never_made(
    chain: int, vault_length: int, salt: bytes, items: tuple[tuple[int, int], ...], reason: str
) -> None:
    paid = tuple(VaultItem(bytes(length), amount) for length, amount in items)
    with pytest.raises(HotVaultError, match=reason):
        Batch(chain, bytes(vault_length), bytes(20), salt, paid)
