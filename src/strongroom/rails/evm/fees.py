"""What to offer for gas: integers of wei for a unit of gas, and nothing from outside that has no ceiling.

Nodes replace a waiting chain transaction only by one of the same nonce that offers at least a tenth more in both of its
fees (geth's `PriceBump`, and the others'). The sandbox's node takes one wei more, so this rule is ours to keep.
"""

from dataclasses import dataclass
from typing import Final

ELASTICITY: Final = 2
CHANGE_DENOMINATOR: Final = 8
"""Of Ethereum (EIP-1559); other chains may have others."""
BUMP_PERCENT: Final = 10
BASE_FEE_ROOM: Final = 2
"""Six full blocks in a row double the base fee; what isn't burnt isn't paid."""


@dataclass(frozen=True, slots=True)
class Fees:
    """`most` is all that is paid, the base fee and the `priority` for whoever makes the block."""

    most: int
    priority: int

    def cost_maximum(self, gas_limit: int) -> int:
        """All that the account can lose by gas, in wei."""
        return gas_limit * self.most


@dataclass(frozen=True, slots=True)
class Ceiling:
    """The policy's: for a unit of gas, and in wei for a whole chain transaction."""

    most: int
    priority: int
    cost: int

    def allows(self, fees: Fees, gas_limit: int) -> bool:
        return (
            fees.most <= self.most and fees.priority <= self.priority and fees.cost_maximum(gas_limit) <= self.cost
        )

    def most_for(self, gas_limit: int) -> int:
        return min(self.most, self.cost // gas_limit)


@dataclass(frozen=True, slots=True)
class TooDear:
    """It can't be mined now, or not replace what waits, under the ceiling: wait, or ask people."""

    reason: str


def next_base_fee(
    base_fee: int, gas_used: int, gas_limit: int, *, elasticity: int = ELASTICITY, denominator: int = CHANGE_DENOMINATOR
) -> int:
    """Of the block after one with these. EIP-1559, `base fee`."""
    target = gas_limit // elasticity
    if gas_used > target:
        return base_fee + max(base_fee * (gas_used - target) // target // denominator, 1)
    return base_fee - base_fee * (target - gas_used) // target // denominator


def first_fees(base_fee: int, suggested_priority: int, gas_limit: int, ceiling: Ceiling) -> Fees | TooDear:
    """To be mined soon. `base_fee` is the next block's; what the node suggests is cut to the ceiling."""
    priority = min(suggested_priority, ceiling.priority)
    most = min(base_fee * BASE_FEE_ROOM + priority, ceiling.most_for(gas_limit))
    if most < base_fee + priority:
        return TooDear(f"the next block takes {base_fee + priority} wei for a unit of gas, and {most} is the most")
    return Fees(most, priority)


def replacement_fees(
    before: Fees, base_fee: int, suggested_priority: int, gas_limit: int, ceiling: Ceiling
) -> Fees | TooDear:
    """What nodes take instead of `before` at its nonce, and that is mined soon."""
    priority = max(_bumped(before.priority), min(suggested_priority, ceiling.priority))
    most = max(_bumped(before.most), min(base_fee * BASE_FEE_ROOM + priority, ceiling.most_for(gas_limit)))
    fees = Fees(max(most, priority), priority)
    if not ceiling.allows(fees, gas_limit):
        return TooDear(f"a replacement must offer {fees.most} and {fees.priority} wei for a unit of gas")
    if fees.most < base_fee + priority:
        return TooDear(f"the next block takes {base_fee + priority} wei for a unit of gas, and {fees.most} is the most")
    return fees


def replaces(before: Fees, after: Fees) -> bool:
    """Whether nodes would take it."""
    return after.most >= _bumped(before.most) and after.priority >= _bumped(before.priority)


def _bumped(fee: int) -> int:
    """A tenth more, rounded up, and never the same."""
    return max(fee + 1, -(-fee * (100 + BUMP_PERCENT) // 100))
