"""The rules of the simulated chain: which transactions wait, which stand in blocks, and which coins that leaves.

It believes nobody: each transaction is read and its signatures checked by `formats.simulated`, and each coin that it
spends must exist, be unspent, and have the amount and address that the signature commits to. Everything that is live
(waiting or in a block) spends its coins once. Nothing here reads a clock, a file or a socket.

Nobody earns the fees: they are gone. The first block has no transactions and makes one coin by decree, owned by the
faucet, whose key is known to everybody. The coin's id is that block's hash: signatures of one chain hold on no other.
"""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from coincurve import PrivateKey

from strongroom.formats.simulated import (
    AMOUNT_MAXIMUM,
    DUST_MINOR,
    SIGHASH_ALL,
    Input,
    Output,
    SimulatedError,
    Transaction,
    Witness,
    assemble,
    encode_unsigned,
    fee,
    parse_signed,
    signature_hash,
    signed_size,
    simulated_address,
    transaction_id,
    verify_witnesses,
)
from strongroom.formats.simulated_block import GENESIS_PREVIOUS, block_hash

RELAY_MINOR_PER_1000_BYTES: Final = 1_000
"""Below it nothing is relayed; at it everything is mined in the next block, as there are never more than fit."""
WAITING_MAXIMUM: Final = 20_000
SEEN_MAXIMUM: Final = 1_000_000
BLOCK_BYTES_MAXIMUM: Final = 2_000_000
BLOCK_TRANSACTIONS_MAXIMUM: Final = 10_000
REORG_MAXIMUM: Final = 100
FAUCET: Final = PrivateKey(hashlib.sha256(b"strongroom/sim-faucet/v1\0").digest())

Outpoint = tuple[bytes, int]


class Refused(Exception):
    """The chain doesn't take the transaction; `is_permanent` while its blocks stay what they are."""

    def __init__(self, reason: str, *, is_permanent: bool) -> None:
        super().__init__(reason)
        self.is_permanent = is_permanent


@dataclass(frozen=True, slots=True)
class Known:
    """A transaction that was taken once, whatever became of it."""

    txid: bytes
    signed: bytes
    transaction: Transaction


@dataclass(frozen=True, slots=True)
class ChainBlock:
    height: int
    hash: bytes
    previous: bytes
    salt: bytes
    txids: tuple[bytes, ...]


@dataclass(slots=True)
class Ledger:
    """`waiting` keeps the order of arrival, parents first; `coins` and `spender` are of all that is live, `of_address`
    has the coins among them that nothing spends."""

    salt: bytes
    blocks: list[ChainBlock] = field(default_factory=list)
    seen: dict[bytes, Known] = field(default_factory=dict)
    waiting: dict[bytes, Known] = field(default_factory=dict)
    height_of: dict[bytes, int] = field(default_factory=dict)
    coins: dict[Outpoint, Output] = field(default_factory=dict)
    spender: dict[Outpoint, bytes] = field(default_factory=dict)
    of_address: dict[str, set[Outpoint]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        first = block_hash(GENESIS_PREVIOUS, 0, self.salt, ())
        self.blocks.append(ChainBlock(0, first, GENESIS_PREVIOUS, self.salt, ()))
        self.height_of[first] = 0
        self._make((first, 0), Output(AMOUNT_MAXIMUM, simulated_address(FAUCET.public_key.format())))

    @property
    def tip(self) -> ChainBlock:
        return self.blocks[-1]

    def is_live(self, txid: bytes) -> bool:
        return txid in self.waiting or txid in self.height_of

    def check(self, signed: bytes) -> Known:
        """A transaction that is live already, or that could be taken now. Raises: Refused."""
        known = _read(signed)
        if self.is_live(known.txid):
            return known
        paid = _check_alone(known)
        if len(self.waiting) >= WAITING_MAXIMUM or len(self.seen) >= SEEN_MAXIMUM:
            raise Refused("too many transactions wait", is_permanent=False)
        replaced = self._replaced(known.transaction)
        if any(spent.txid in replaced for spent in known.transaction.inputs):
            raise Refused("builds on a transaction that it would replace", is_permanent=False)
        before = sum(fee(self.waiting[txid].transaction) for txid in replaced)
        if replaced and paid * 10 < before * 11:
            raise Refused(f"pays {paid}, and replaces what pays {before}: 110 % are needed", is_permanent=False)
        return known

    def take(self, known: Known) -> None:
        """Among those that wait, in the place of those that it replaces. It was checked and isn't live."""
        for txid in self._replaced(known.transaction):
            self._remove(txid)
        self.seen[known.txid] = self.waiting[known.txid] = known
        for spent in known.transaction.inputs:
            self.spender[spent.txid, spent.index] = known.txid
            self.of_address[spent.address].discard((spent.txid, spent.index))
        for index, made in enumerate(known.transaction.outputs):
            self._make((known.txid, index), made)

    def choose(self, is_held: Callable[[bytes], bool]) -> tuple[bytes, ...]:
        """What the next block takes, in order: all that waits, but for what is held and its descendants."""
        chosen: dict[bytes, None] = {}
        size = 0
        for txid, known in self.waiting.items():
            size += len(known.signed)
            if size > BLOCK_BYTES_MAXIMUM or len(chosen) == BLOCK_TRANSACTIONS_MAXIMUM:
                break
            parents = {spent.txid for spent in known.transaction.inputs}
            if not is_held(txid) and all(parent in self.height_of or parent in chosen for parent in parents):
                chosen[txid] = None
            else:
                size -= len(known.signed)
        return tuple(chosen)

    def connect(self, txids: Sequence[bytes], salt: bytes) -> ChainBlock:
        """A block of these waiting transactions on the tip."""
        height, previous = self.tip.height + 1, self.tip.hash
        signed = [self.waiting.pop(txid).signed for txid in txids]
        self.blocks.append(
            ChainBlock(height, block_hash(previous, height, salt, signed), previous, salt, tuple(txids))
        )
        self.height_of.update(dict.fromkeys(txids, height))
        return self.tip

    def disconnect(self, depth: int) -> None:
        """Takes the last blocks off; what stood in them waits again, before all others."""
        taken = self.blocks[len(self.blocks) - depth :]
        del self.blocks[len(self.blocks) - depth :]
        again = [txid for block in taken for txid in block.txids]
        for txid in again:
            del self.height_of[txid]
        self.waiting = {**{txid: self.seen[txid] for txid in again}, **self.waiting}

    def unspent(self, addresses: Iterable[str]) -> list[tuple[Outpoint, Output, int | None]]:
        """The coins of these addresses, each with the height of its block or None."""
        found = sorted({outpoint for address in addresses for outpoint in self.of_address.get(address, ())})
        return [(outpoint, self.coins[outpoint], self.height_of.get(outpoint[0])) for outpoint in found]

    def conflict(self, txid: bytes) -> bytes | None:
        """Which live transaction keeps this one from being live: it spends one of its coins, or of its ancestors'."""
        looked: set[bytes] = set()
        open_ids = [txid]
        while open_ids:
            known = self.seen.get(open_ids.pop())
            if known is None or known.txid in looked or self.is_live(known.txid):
                continue
            looked.add(known.txid)
            spenders = [self.spender.get((spent.txid, spent.index)) for spent in known.transaction.inputs]
            confirmed_first = sorted((each for each in spenders if each is not None), key=self._unconfirmed)
            if confirmed_first:
                return confirmed_first[0]
            open_ids += [spent.txid for spent in known.transaction.inputs]
        return None

    def faucet_payment(self, address: str, amount: int) -> bytes:
        """A signed payment of the faucet. Raises: Refused when it has no coin that is large enough."""
        mine = simulated_address(FAUCET.public_key.format())
        paid = signed_size(1, 2) * RELAY_MINOR_PER_1000_BYTES // 1_000
        for (txid, index), coin, _ in self.unspent([mine]):
            left = coin.amount - amount - paid
            if left >= DUST_MINOR:
                coins = (Input(txid, index, coin.amount, mine),)
                unsigned = encode_unsigned(Transaction(coins, (Output(amount, address), Output(left, mine))))
                signature = FAUCET.sign_recoverable(signature_hash(unsigned, SIGHASH_ALL), None)[:64]
                return assemble(unsigned, (Witness(SIGHASH_ALL, FAUCET.public_key.format(), signature),))
        raise Refused("the faucet has run dry", is_permanent=False)

    def _replaced(self, transaction: Transaction) -> list[bytes]:
        """Which waiting ones would go: those that spend its coins and all that build on them, children before parents.

        Raises: Refused when not all of its coins exist as it says.
        """
        family: dict[bytes, None] = {}
        for spent in transaction.inputs:
            coin, spender = self.coins.get((spent.txid, spent.index)), self.spender.get((spent.txid, spent.index))
            if coin is None:
                raise Refused("spends a coin that isn't known here", is_permanent=False)
            if (coin.amount, coin.address) != (spent.amount, spent.address):
                raise Refused("claims another amount or address than its coin has", is_permanent=True)
            if spender in self.height_of:
                raise Refused("spends a coin that was spent in a block", is_permanent=True)
            if spender is not None:
                family[spender] = None
        if not family:
            return []
        for txid, known in self.waiting.items():
            if any(spent.txid in family for spent in known.transaction.inputs):
                family[txid] = None
        return [txid for txid in reversed(self.waiting) if txid in family]

    def _remove(self, txid: bytes) -> None:
        known = self.waiting.pop(txid)
        for spent in known.transaction.inputs:
            del self.spender[spent.txid, spent.index]
            self.of_address[spent.address].add((spent.txid, spent.index))
        for index, made in enumerate(known.transaction.outputs):
            del self.coins[txid, index]
            self.of_address[made.address].discard((txid, index))

    def _make(self, outpoint: Outpoint, coin: Output) -> None:
        self.coins[outpoint] = coin
        self.of_address.setdefault(coin.address, set()).add(outpoint)

    def _unconfirmed(self, txid: bytes) -> bool:
        return txid not in self.height_of


def _read(signed: bytes) -> Known:
    try:
        transaction, witnesses = parse_signed(signed)
        verify_witnesses(transaction, witnesses)
    except SimulatedError as fault:
        raise Refused(str(fault), is_permanent=True) from fault
    return Known(transaction_id(encode_unsigned(transaction)), signed, transaction)


def _check_alone(known: Known) -> int:
    """The fee, when it and all outputs are large enough to be relayed. Raises: Refused."""
    try:
        paid = fee(known.transaction)
    except SimulatedError as fault:
        raise Refused(str(fault), is_permanent=True) from fault
    if any(made.amount < DUST_MINOR for made in known.transaction.outputs):
        raise Refused(f"makes a coin below {DUST_MINOR}: dust isn't relayed", is_permanent=True)
    if paid * 1_000 < len(known.signed) * RELAY_MINOR_PER_1000_BYTES:
        raise Refused("pays less than the least fee that is relayed", is_permanent=False)
    return paid
