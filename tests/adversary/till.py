"""What can leave, counted from signed bytes alone: an independent reading, which asks the signer nothing.

Every witness is verified. A chain may confirm any set of transactions in which no two spend one coin and every parent
is there; the loss is the largest that any such set makes. What a payee was promised is no loss, once.
"""

import itertools
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from strongroom.formats import simulated

EXACTLY_MAXIMUM = 12
"""So many transactions are tried in every combination; of more, each that fits is taken, in both orders."""


@dataclass
class Till:
    signed: dict[str, simulated.Transaction] = field(default_factory=dict)

    def take(self, raw: bytes) -> None:
        transaction, witnesses = simulated.parse_signed(raw)
        simulated.verify_witnesses(transaction, witnesses)
        if any(each.sighash_flag != simulated.SIGHASH_ALL for each in witnesses):
            raise AssertionError("a witness doesn't cover all of its transaction")
        self.signed[simulated.transaction_id(simulated.encode_unsigned(transaction)).hex()] = transaction

    def worlds(self) -> list[list[simulated.Transaction]]:
        """Sets that a chain could hold."""
        names = list(self.signed)
        if len(names) > EXACTLY_MAXIMUM:
            return [self._fill(names), self._fill(names[::-1])]
        chosen = itertools.chain.from_iterable(
            itertools.combinations(names, count) for count in range(len(names) + 1)
        )
        return [[self.signed[name] for name in each] for each in chosen if self._can_confirm(each)]

    def loss(self, own: Collection[str], promised: Mapping[str, int]) -> int:
        """The most that reaches addresses that aren't ours, above what was promised to each."""
        return max(
            sum(max(0, got - promised.get(address, 0)) for address, got in received(world, own).items())
            for world in self.worlds()
        )

    def fees(self) -> int:
        return max(sum(map(simulated.fee, world)) for world in self.worlds())

    def _can_confirm(self, names: Collection[str]) -> bool:
        spent = [coin for name in names for coin in coins_of(self.signed[name])]
        parents = {coin[0] for coin in spent} & self.signed.keys()
        return len(set(spent)) == len(spent) and parents <= set(names)

    def _fill(self, names: list[str]) -> list[simulated.Transaction]:
        taken: set[str] = set()
        for _ in range(2):  # a parent may come after its child
            for name in names:
                if name not in taken and self._can_confirm([*taken, name]):
                    taken.add(name)
        return [self.signed[name] for name in taken]


def coins_of(transaction: simulated.Transaction) -> list[tuple[str, int]]:
    return [(coin.txid.hex(), coin.index) for coin in transaction.inputs]


def received(transactions: Collection[simulated.Transaction], own: Collection[str]) -> dict[str, int]:
    """Address to base units, for the addresses that aren't ours."""
    sums: dict[str, int] = {}
    for transaction in transactions:
        for output in transaction.outputs:
            if output.address not in own:
                sums[output.address] = sums.get(output.address, 0) + output.amount
    return sums
