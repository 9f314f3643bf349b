"""What came to a vault and left it, and what its owner did to it, up to a block: sums, and no blocks any more.

It grows with what the vault did, and not with the chain, so that a history can go on from a block long ago. Addresses,
batches and tokens are hex digits without 0x.
"""

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

import msgspec

from strongroom.formats.evm_transaction import keccak256
from strongroom.formats.hot_vault import Killed, Log, Retried
from strongroom.rails.account_port import AccountBlock
from strongroom.rails.evm.settlement import Execution, Transfer, VaultEvent, read_vault_logs, transfer_of
from strongroom.rails.port import RailError, Tip

_ROTATED: Final = keccak256(b"Rotated(address,address)")
_UNPAUSED: Final = keccak256(b"Unpaused(uint64)")
_WORD: Final = 32


@dataclass(frozen=True, slots=True)
class VaultBlock:
    """What one block has of one vault. `strays` left it with no batch, by the place of their chain transaction;
    `operator` is the last that it was given, `unpaused` are epochs. Tokens are the listed ones."""

    events: tuple[VaultEvent, ...]
    received: tuple[Transfer, ...]
    strays: tuple[tuple[int, Transfer], ...]
    operator: str
    unpaused: tuple[int, ...]


def read_block(block: AccountBlock, vault: bytes, tokens: Collection[bytes]) -> VaultBlock | None:
    """None if it has nothing of the vault. Raises: RailError if the vault logged what a vault doesn't."""
    events: list[VaultEvent] = []
    received: list[Transfer] = []
    strays: list[tuple[int, Transfer]] = []
    operator, unpaused = "", []
    for emitted in block.emitted:
        decided = read_vault_logs(vault, emitted.logs)
        events += decided
        came, left = _transfers(vault, tokens, emitted.logs)
        received += came
        paid = Counter(
            each for event in decided if isinstance(event, Execution) for each in event.transfers
            if each.token == event.event.token
        )
        strays += [(emitted.place, each) for each in (Counter(left) - paid).elements()]
        for log in (each for each in emitted.logs if each.address == vault and each.topics):
            if log.topics[0] == _ROTATED:
                operator = _word(log, 0, 2)[-20:].hex()
            if log.topics[0] == _UNPAUSED:
                unpaused.append(int.from_bytes(_word(log, 0, 1)))
    if not (events or received or strays or operator or unpaused):
        return None
    return VaultBlock(tuple(events), tuple(received), tuple(strays), operator, tuple(unpaused))


def _transfers(vault: bytes, tokens: Collection[bytes], logs: tuple[Log, ...]) -> tuple[list[Transfer], list[Transfer]]:
    """Those to the vault, with who paid, and those out of it."""
    moved = [(each.address, found) for each in logs if each.address in tokens and (found := transfer_of(each))]
    came = [Transfer(token, payer, amount) for token, (payer, payee, amount) in moved if payee == vault]
    return came, [Transfer(token, payee, amount) for token, (payer, payee, amount) in moved if payer == vault]


def _word(log: Log, at: int, words: int) -> bytes:
    if len(log.data) != words * _WORD:
        raise RailError("an event of the vault has another form: another contract is at its address")
    return log.data[at * _WORD : (at + 1) * _WORD]


class Skips(msgspec.Struct):
    """The items that a batch was executed without, and by which batch each was taken over since; none is empty."""

    height: int
    block_hash: str
    items: dict[int, str]


class VaultSums(msgspec.Struct):
    """`flows` is what came less what left, by token; `paid` batches that were executed with their token and what left
    with them; `strays` what left with no batch, by block and place."""

    flows: dict[str, int] = {}
    paid: dict[str, tuple[str, int]] = {}
    killed: set[str] = set()
    skipped: dict[str, Skips] = {}
    strays: dict[str, tuple[str, int]] = {}
    operator: str = ""
    unpaused: list[int] = []

    def copy(self) -> "VaultSums":
        skipped = {batch: Skips(each.height, each.block_hash, dict(each.items)) for batch, each in self.skipped.items()}
        return VaultSums(
            dict(self.flows), dict(self.paid), set(self.killed), skipped, dict(self.strays), self.operator,
            list(self.unpaused),
        )

    def add(self, at: Tip, found: VaultBlock) -> None:
        for transfer in found.received:
            self._flow(transfer.token, transfer.amount)
        for number, (place, transfer) in enumerate(found.strays):
            self._flow(transfer.token, -transfer.amount)
            self.strays[f"{at.block_hash}:{place}:{number}"] = transfer.token.hex(), transfer.amount
        for event in found.events:
            self._decide(at, event)
        self.operator = found.operator or self.operator
        self.unpaused += found.unpaused

    def _decide(self, at: Tip, event: VaultEvent) -> None:
        match event:
            case Execution(executed, transfers):
                left = sum(each.amount for each in transfers if each.token == executed.token)
                self._flow(executed.token, -left)
                self.paid[executed.batch.hex()] = executed.token.hex(), left
                if executed.skipped:
                    items = dict.fromkeys(sorted(executed.skipped), "")
                    self.skipped[executed.batch.hex()] = Skips(at.height, at.block_hash, items)
            case Killed(batch):
                self.killed.add(batch.hex())
            case Retried(batch, index, by):
                if batch.hex() in self.skipped:
                    self.skipped[batch.hex()].items[index] = by.hex()

    def _flow(self, token: bytes, amount: int) -> None:
        self.flows[token.hex()] = self.flows.get(token.hex(), 0) + amount


class Base(msgspec.Struct, forbid_unknown_fields=True):
    """After a block that no reorg reaches. `openings` is what a vault had of a token besides what flowed since."""

    height: int
    block_hash: str
    tokens: set[str]
    vaults: dict[str, VaultSums]
    openings: dict[str, dict[str, int]] = {}

    @property
    def tip(self) -> Tip:
        return Tip(self.height, self.block_hash)


def base_at(tip: Tip, vaults: Collection[bytes], tokens: Collection[bytes] = ()) -> Base:
    """Where nothing of these vaults is known to have happened."""
    known = {each.hex(): VaultSums() for each in vaults}
    return Base(tip.height, tip.block_hash, {each.hex() for each in tokens}, known)
