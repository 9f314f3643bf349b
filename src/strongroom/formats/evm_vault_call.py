"""What the engine hands the signer for an EVM chain: what a vault is to be told, of which the signer makes the call.

No calldata comes from outside. It is a list in RLP, which has one spelling: whose account sends it, with which nonce,
gas and fees; the vault; and either a batch with what it covers of earlier ones, or batches to be killed and no more.
"""

from dataclasses import dataclass
from typing import Final

from strongroom.formats.coins import ChainTransaction, Coin, CoinsError
from strongroom.formats.evm_address import eip55
from strongroom.formats.evm_transaction import EvmTransaction, EvmTransactionError, keccak256
from strongroom.formats.hot_vault import Batch, HotVaultError, Retry, VaultItem, encode_kill
from strongroom.formats.rlp import Decoded, RlpError, decode_number, decode_rlp, encode_number, encode_rlp

KILLS_MAXIMUM: Final = 64
RETRIES_MAXIMUM: Final = 248
PAY: Final = "pay"
KILL: Final = "kill"
_NUMBERS: Final = (64, 64, 128, 128, 64, 64)
_FIELDS: Final = len(_NUMBERS) + 7
_ADDRESS: Final = 20
_HASH: Final = 32


class VaultCallError(CoinsError):
    """Nothing that a vault can be told, or in another form; the message says why."""


@dataclass(frozen=True, slots=True)
class VaultCall:
    """Addresses are 20 bytes, batches and salt 32. Fees are in wei for a unit of gas, `deadline` in seconds since 1970.

    Without items `token`, `salt`, `retries` and `deadline` are empty, and `kills` isn't.
    """

    chain_id: int
    nonce: int
    max_priority_fee: int
    max_fee: int
    gas_limit: int
    deadline: int
    sender: bytes
    vault: bytes
    token: bytes
    salt: bytes
    items: tuple[VaultItem, ...]
    kills: tuple[bytes, ...]
    retries: tuple[Retry, ...]

    @property
    def batch(self) -> Batch:
        """Raises: HotVaultError."""
        return Batch(self.chain_id, self.vault, self.token, self.salt, self.items)

    def transaction(self) -> EvmTransaction:
        """As the signer makes it. Raises: HotVaultError, EvmTransactionError."""
        data = self.batch.pay(self.kills, self.retries, self.deadline) if self.items else encode_kill(self.kills)
        return EvmTransaction(
            self.chain_id, self.nonce, self.max_priority_fee, self.max_fee, self.gas_limit, self.vault, 0, data
        )


@dataclass(frozen=True, slots=True)
class VaultTransaction(ChainTransaction):
    """`spends` are the batch that is paid, `BATCH:pay`, and what it covers: `BATCH:kill`, `BATCH:INDEX` for a retry."""

    spends: tuple[str, ...] = ()
    fee: int = 0


def encode_vault_call(call: VaultCall) -> bytes:
    numbers = (call.chain_id, call.nonce, call.max_priority_fee, call.max_fee, call.gas_limit, call.deadline)
    return encode_rlp([
        *map(encode_number, numbers), call.sender, call.vault, call.token, call.salt,
        [[item.payee, encode_number(item.amount)] for item in call.items], list(call.kills),
        [[each.batch, encode_number(each.index)] for each in call.retries],
    ])


def parse_vault_call(raw: bytes) -> VaultCall:
    """Bytes from anybody. Raises: VaultCallError, and nothing else."""
    try:
        fields = _list(decode_rlp(raw), _FIELDS)
        chain_id, nonce, priority, most, gas, deadline = (
            decode_number(each, bits) for each, bits in zip(fields, _NUMBERS, strict=False)
        )
        sender, vault, token, salt, items, kills, retries = fields[len(_NUMBERS) :]
        call = VaultCall(
            chain_id, nonce, priority, most, gas, deadline, _bytes(sender, _ADDRESS), _bytes(vault, _ADDRESS),
            _bytes(token, _ADDRESS, 0), _bytes(salt, _HASH, 0),
            tuple(VaultItem(_bytes(payee, _ADDRESS), decode_number(amount, 96)) for payee, amount in _pairs(items)),
            tuple(_bytes(each, _HASH) for each in _list(kills)),
            tuple(Retry(_bytes(batch, _HASH), decode_number(index, 8)) for batch, index in _pairs(retries)),
        )
    except RlpError as fault:
        raise VaultCallError(str(fault)) from fault
    _check(call)
    return call


def _check(call: VaultCall) -> None:
    """One form for one thing, and nothing named twice."""
    if not call.items and (call.token or call.salt or call.retries or call.deadline or not call.kills):
        raise VaultCallError("must have items, or batches to be killed and nothing else")
    if len(call.kills) > KILLS_MAXIMUM or len(call.retries) > RETRIES_MAXIMUM:
        raise VaultCallError(f"covers more than {KILLS_MAXIMUM} batches and {RETRIES_MAXIMUM} items")
    named = [*call.kills, *((each.batch, each.index) for each in call.retries)]
    if len(set(named)) != len(named) or not {each.batch for each in call.retries}.isdisjoint(call.kills):
        raise VaultCallError("covers a batch or an item twice")


def read_vault_call(network: str, raw: bytes) -> VaultTransaction:
    """As those of every chain are read, and named by the hash of these bytes: what the chain calls it depends on the
    signature. Raises: VaultCallError, and nothing else."""
    call = parse_vault_call(raw)
    if f"eip155:{call.chain_id}" != network:
        raise VaultCallError(f"is for chain {call.chain_id}, and not for {network}")
    try:
        call.transaction()
        paid = [f"{call.batch.name.hex()}:{PAY}"] if call.items else []
    except (HotVaultError, EvmTransactionError) as fault:
        raise VaultCallError(str(fault)) from fault
    covered = [f"{each.hex()}:{KILL}" for each in call.kills]
    covered += [f"{each.batch.hex()}:{each.index}" for each in call.retries]
    return VaultTransaction(
        keccak256(raw).hex(), network, f"{network}/erc20:{eip55(call.token)}" if call.items else "",
        (Coin(f"{call.sender.hex()}:{call.nonce}", 0, eip55(call.sender)),),
        tuple((eip55(item.payee), item.amount) for item in call.items), call.gas_limit, 1, eip55(call.vault),
        spends=(*paid, *covered), fee=call.gas_limit * call.max_fee,
    )


def _list(item: Decoded, length: int | None = None) -> list[Decoded]:
    if not isinstance(item, list) or len(item) != (len(item) if length is None else length):
        raise RlpError("must be a list" if length is None else f"must be a list of {length}")
    return item


def _pairs(item: Decoded) -> list[list[Decoded]]:
    return [_list(each, 2) for each in _list(item)]


def _bytes(item: Decoded, *lengths: int) -> bytes:
    if not isinstance(item, bytes) or len(item) not in lengths:
        raise RlpError(f"must have {' or '.join(map(str, lengths))} bytes")
    return item
