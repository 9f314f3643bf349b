"""Calls and events of the HotVault contract (contracts/HotVault.sol): what a batch pays, and what became of it.

The signer builds the call from the list of items, so nothing that moves money comes from outside; a batch has the hash
of its chain, vault, token, salt and items for its name. Amounts are in the token's base units, addresses have 20 bytes,
batch names and salts 32.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from strongroom.formats.evm_abi import Value, encode_call, encode_values
from strongroom.formats.evm_transaction import keccak256

ITEMS_MAXIMUM: Final = 248
AMOUNT_MAXIMUM: Final = 2**96 - 1
_PAY: Final = "pay(bytes32,bytes32[],(bytes32,uint256)[],address,bytes32,uint256,bytes32[])"
_EXECUTED: Final = keccak256(b"Executed(bytes32,address,uint256,uint248)")
_KILLED: Final = keccak256(b"Killed(bytes32)")
_RETRIED: Final = keccak256(b"Retried(bytes32,uint256,bytes32)")
_TRANSFER: Final = keccak256(b"Transfer(address,address,uint256)")
_WORD: Final = 32


class HotVaultError(ValueError):
    """No batch that the vault would take, or no event of it; the message says why."""


@dataclass(frozen=True, slots=True)
class VaultItem:
    payee: bytes
    amount: int


@dataclass(frozen=True, slots=True)
class Retry:
    """The item of an executed batch that was skipped."""

    batch: bytes
    index: int


@dataclass(frozen=True, slots=True)
class Batch:
    """Checked when made. `deadline` is in seconds since 1970 and no part of its name. Raises: HotVaultError."""

    chain_id: int
    vault: bytes
    token: bytes
    salt: bytes
    items: tuple[VaultItem, ...]

    def __post_init__(self) -> None:
        if (len(self.vault), len(self.token), len(self.salt)) != (20, 20, 32) or self.chain_id < 1:
            raise HotVaultError("must name a chain, a vault and a token of 20 bytes, and a salt of 32")
        if not 1 <= len(self.items) <= ITEMS_MAXIMUM:
            raise HotVaultError(f"must have 1 to {ITEMS_MAXIMUM} items")
        for item in self.items:
            if len(item.payee) != 20 or not 1 <= item.amount <= AMOUNT_MAXIMUM:
                raise HotVaultError(f"must pay addresses of 20 bytes 1 to {AMOUNT_MAXIMUM}")

    @property
    def name(self) -> bytes:
        values: list[Value] = [self.chain_id, self.vault, self.token, self.salt, self._item_words()]
        return keccak256(encode_values("(uint256,address,address,bytes32,bytes32[])", values))

    def pay(self, kills: Sequence[bytes], retries: Sequence[Retry], deadline: int) -> bytes:
        """The call that pays it, makes sure that `kills` are never paid, and takes over what `retries` name."""
        taken = [(each.batch, each.index) for each in retries]
        return encode_call(_PAY, [self.name, kills, taken, self.token, self.salt, deadline, self._item_words()])

    def _item_words(self) -> list[bytes]:
        return [item.payee + item.amount.to_bytes(12) for item in self.items]


@dataclass(frozen=True, slots=True)
class Log:
    """An event as its block has it. `address` is the contract's."""

    address: bytes
    topics: tuple[bytes, ...]
    data: bytes


@dataclass(frozen=True, slots=True)
class Executed:
    """`skipped` are the indexes of the items that weren't paid; `paid` is the sum of the others."""

    batch: bytes
    token: bytes
    paid: int
    skipped: frozenset[int]


@dataclass(frozen=True, slots=True)
class Killed:
    batch: bytes


@dataclass(frozen=True, slots=True)
class Retried:
    """Item `index` of `batch` is taken over by the batch `by`."""

    batch: bytes
    index: int
    by: bytes


def encode_kill(batches: Sequence[bytes]) -> bytes:
    return encode_call("kill(bytes32[])", [batches])


def read_vault_event(log: Log) -> Executed | Killed | Retried | None:
    """None for another event of the vault. Raises: HotVaultError for one that isn't of its form."""
    kind, indexed = log.topics[0] if log.topics else b"", log.topics[1:]
    if kind == _EXECUTED:
        paid, flags = _words(log, 2, 2)
        skipped = frozenset(index for index in range(ITEMS_MAXIMUM) if flags >> index & 1)
        if flags >> ITEMS_MAXIMUM:
            raise HotVaultError("says that items were skipped that there can't be")
        return Executed(indexed[0], indexed[1][12:], paid, skipped)
    if kind == _KILLED:
        _words(log, 1, 0)
        return Killed(indexed[0])
    if kind == _RETRIED:
        (index,) = _words(log, 2, 1)
        return Retried(indexed[0], index, indexed[1])
    return None


def read_transfer(log: Log) -> tuple[bytes, bytes, int] | None:
    """Payer, payee and amount of a token's Transfer (ERC-20); None for another event. Raises: HotVaultError."""
    if not log.topics or log.topics[0] != _TRANSFER:
        return None
    (amount,) = _words(log, 2, 1)
    return log.topics[1][12:], log.topics[2][12:], amount


def _words(log: Log, indexed: int, plain: int) -> list[int]:
    """The words of its data. Raises: HotVaultError if the event has others than these."""
    if len(log.topics) != 1 + indexed or any(len(topic) != _WORD for topic in log.topics):
        raise HotVaultError(f"must have {indexed} indexed fields")
    if len(log.data) != plain * _WORD:
        raise HotVaultError(f"must have {plain} fields of data")
    return [int.from_bytes(log.data[at : at + _WORD]) for at in range(0, len(log.data), _WORD)]
