"""What a vault is to be told, byte for byte: one spelling, nothing named twice, nothing that no vault would take."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom.formats.coins import CoinsError
from strongroom.formats.evm_address import eip55
from strongroom.formats.evm_transaction import keccak256
from strongroom.formats.evm_vault_call import (
    KILLS_MAXIMUM,
    RETRIES_MAXIMUM,
    VaultCall,
    VaultCallError,
    encode_vault_call,
    parse_vault_call,
    read_vault_call,
)
from strongroom.formats.hot_vault import ITEMS_MAXIMUM, Retry, VaultItem, encode_kill
from strongroom.formats.rlp import encode_rlp

SENDER, VAULT, TOKEN, PAYEE = (bytes([number]) * 20 for number in (0x11, 0xAA, 0xC0, 0x01))
NETWORK = "eip155:8453"
CALL = VaultCall(
    8453, 7, 10**9, 5 * 10**10, 300_000, 2_000_000_000, SENDER, VAULT, TOKEN, b"\x05" * 32,
    (VaultItem(PAYEE, 20_000), VaultItem(SENDER, 1)), (b"\x0a" * 32,), (Retry(b"\x0b" * 32, 247),),
)
KILL_ONLY = replace(CALL, deadline=0, token=b"", salt=b"", items=(), retries=())


@pytest.mark.parametrize("call", [CALL, KILL_ONLY])
def test_what_is_written_is_read_again(call: VaultCall) -> None:
    assert parse_vault_call(encode_vault_call(call)) == call


def test_a_batch_is_read_as_what_it_pays_and_covers() -> None:
    read = read_vault_call(NETWORK, encode_vault_call(CALL))
    assert read.identifier == keccak256(encode_vault_call(CALL)).hex()
    assert (read.network, read.asset, read.vault) == (NETWORK, f"{NETWORK}/erc20:{eip55(TOKEN)}", eip55(VAULT))
    assert read.outputs == ((eip55(PAYEE), 20_000), (eip55(SENDER), 1))
    assert [each.address for each in read.inputs] == [eip55(SENDER)]
    assert (read.fee, read.size) == (300_000 * 5 * 10**10, 300_000)
    assert read.spends == (f"{CALL.batch.name.hex()}:pay", f"{'0a' * 32}:kill", f"{'0b' * 32}:247")


def test_a_kill_pays_nobody() -> None:
    read = read_vault_call(NETWORK, encode_vault_call(KILL_ONLY))
    assert (read.asset, read.outputs, read.spends) == ("", (), (f"{'0a' * 32}:kill",))
    assert KILL_ONLY.transaction().data == encode_kill([b"\x0a" * 32])


def test_another_nonce_or_fee_is_the_same_batch_and_another_chain_transaction() -> None:
    again = replace(CALL, nonce=8, max_priority_fee=2 * 10**9, max_fee=6 * 10**10)
    assert again.batch == CALL.batch
    one, other = (read_vault_call(NETWORK, encode_vault_call(each)) for each in (CALL, again))
    assert one.identifier != other.identifier
    assert one.spends == other.spends


BENT: dict[str, tuple[VaultCall, str]] = {
    "another chain": (replace(CALL, chain_id=1), "is for chain 1, and not for eip155:8453"),
    "a kill with a token": (replace(KILL_ONLY, token=TOKEN), "must have items, or batches to be killed"),
    "a kill with a salt": (replace(KILL_ONLY, salt=b"\5" * 32), "must have items, or batches to be killed"),
    "a kill with a retry": (replace(KILL_ONLY, retries=CALL.retries), "must have items, or batches to be killed"),
    "a kill with a deadline": (replace(KILL_ONLY, deadline=1), "must have items, or batches to be killed"),
    "nothing at all": (replace(KILL_ONLY, kills=()), "must have items, or batches to be killed"),
    "a batch killed twice": (replace(CALL, kills=CALL.kills * 2), "covers a batch or an item twice"),
    "an item retried twice": (replace(CALL, retries=CALL.retries * 2), "covers a batch or an item twice"),
    "killed and retried": (replace(CALL, kills=(b"\x0b" * 32,)), "covers a batch or an item twice"),
    "too many kills": (
        replace(CALL, kills=tuple(each.to_bytes(32) for each in range(KILLS_MAXIMUM + 1))), "covers more than"
    ),
    "too many retries": (
        replace(CALL, retries=tuple(Retry(each.to_bytes(32), 0) for each in range(RETRIES_MAXIMUM + 1))),
        "covers more than",
    ),
    "too many items": (replace(CALL, items=CALL.items[:1] * (ITEMS_MAXIMUM + 1)), "must have 1 to 248 items"),
    "nothing paid": (replace(CALL, items=(VaultItem(PAYEE, 0),)), "must pay addresses"),
    "no token": (replace(CALL, token=b""), "must name a chain, a vault and a token"),
    "no salt": (replace(CALL, salt=b""), "must name a chain, a vault and a token"),
    "no chain": (replace(CALL, chain_id=0), "is for chain 0"),
    "fees the wrong way round": (replace(CALL, max_priority_fee=10**11), "maximum fee that isn't below"),
    "too little gas": (replace(CALL, gas_limit=20_999), "must have a gas limit"),
}


@pytest.mark.parametrize("what", BENT)
def test_what_no_vault_takes_is_refused(what: str) -> None:
    call, reason = BENT[what]
    with pytest.raises(VaultCallError, match=reason):
        read_vault_call(NETWORK, encode_vault_call(call))


FIELDS: list[Any] = [
    b"\x21\x05", b"\x07", b"\x01", b"\x02", b"\xff\xff", b"\x01", SENDER, VAULT, TOKEN, b"\5" * 32,
    [[PAYEE, b"\x01"]], [], [],
]


@pytest.mark.parametrize(("place", "value"), [
    (0, []), (0, b"\x00\x21"), (2, b"\x01" * 17), (6, SENDER + b"\0"), (6, []), (7, b""), (8, b"\1"), (9, b"\1" * 31),
    (10, b""), (10, [[PAYEE]]), (10, [[PAYEE, b"\1", b"\1"]]), (10, [[b"\1", b"\1"]]), (10, [[PAYEE, b"\1" * 13]]),
    (11, [b"\1"]), (11, b"\1"), (12, [[b"\1" * 32]]), (12, [[b"\1" * 32, b"\1\1"]]),
])
def test_fields_of_another_form_are_refused(place: int, value: Any) -> None:
    assert parse_vault_call(encode_rlp(FIELDS))
    with pytest.raises(VaultCallError):
        parse_vault_call(encode_rlp([*FIELDS[:place], value, *FIELDS[place + 1 :]]))


@given(st.binary(max_size=200))
def test_bytes_from_anybody_are_refused_by_no_other_error(raw: bytes) -> None:
    with pytest.raises(CoinsError):
        read_vault_call(NETWORK, raw)


@given(st.data())
def test_one_thing_has_one_spelling(data: st.DataObject) -> None:
    raw = bytearray(encode_vault_call(CALL))
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    try:
        read = parse_vault_call(bytes(raw))
    except VaultCallError:
        return
    assert encode_vault_call(read) == bytes(raw)
    assert read != CALL
