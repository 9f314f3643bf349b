"""What is offered for gas: never above the ceiling, never too little to replace; the base fee is the node's own."""

import asyncio

from hypothesis import given
from hypothesis import strategies as st
from tests.contracts.node import running_node

from strongroom.rails.evm.blocks import Blocks
from strongroom.rails.evm.fees import (
    Ceiling,
    Fees,
    TooDear,
    first_fees,
    next_base_fee,
    replacement_fees,
    replaces,
)
from strongroom.rails.evm.rail import EvmRail
from strongroom.rails.evm.rpc import Rpc

GWEI = 10**9
WEI = st.integers(0, 10**13)
GAS = st.integers(21_000, 2**24)
CEILINGS = st.builds(Ceiling, WEI, WEI, st.integers(0, 10**20))
FEES = st.tuples(WEI, WEI).map(lambda pair: Fees(max(pair), min(pair)))
CEILING = Ceiling(100 * GWEI, 3 * GWEI, 10**16)
GAS_LIMIT = 100_000
PRICE = hex(10 * GWEI)


@given(base_fee=WEI, suggested=WEI, gas_limit=GAS, ceiling=CEILINGS)
def test_first_fees_are_mined_in_the_next_block_and_under_the_ceiling(
    base_fee: int, suggested: int, gas_limit: int, ceiling: Ceiling
) -> None:
    fees = first_fees(base_fee, suggested, gas_limit, ceiling)
    if isinstance(fees, Fees):
        assert base_fee + fees.priority <= fees.most
        assert ceiling.allows(fees, gas_limit)
    else:
        assert base_fee + min(suggested, ceiling.priority) > ceiling.most_for(gas_limit)


@given(before=FEES, base_fee=WEI, suggested=WEI, gas_limit=GAS, ceiling=CEILINGS)
def test_a_replacement_is_taken_by_nodes_mined_and_under_the_ceiling_or_too_dear(
    before: Fees, base_fee: int, suggested: int, gas_limit: int, ceiling: Ceiling
) -> None:
    fees = replacement_fees(before, base_fee, suggested, gas_limit, ceiling)
    if isinstance(fees, Fees):
        assert replaces(before, fees)
        assert 10 * fees.most >= 11 * before.most
        assert 10 * fees.priority >= 11 * before.priority
        assert base_fee + fees.priority <= fees.most
        assert ceiling.allows(fees, gas_limit)


@given(before=FEES, base_fee=WEI, gas_limit=GAS, ceiling=CEILINGS)
def test_a_replacement_is_too_dear_only_when_the_least_that_is_taken_and_mined_is(
    before: Fees, base_fee: int, gas_limit: int, ceiling: Ceiling
) -> None:
    fees = replacement_fees(before, base_fee, 0, gas_limit, ceiling)
    priority = max(-(-before.priority * 11 // 10), before.priority + 1)
    least = Fees(max(-(-before.most * 11 // 10), before.most + 1, base_fee + priority), priority)
    assert isinstance(fees, Fees) == ceiling.allows(least, gas_limit)


def test_what_is_offered_in_figures() -> None:
    assert first_fees(20 * GWEI, 2 * GWEI, GAS_LIMIT, CEILING) == Fees(42 * GWEI, 2 * GWEI)
    assert first_fees(20 * GWEI, 50 * GWEI, GAS_LIMIT, CEILING) == Fees(43 * GWEI, 3 * GWEI)
    assert first_fees(80 * GWEI, 2 * GWEI, GAS_LIMIT, CEILING) == Fees(100 * GWEI, 2 * GWEI)
    assert isinstance(first_fees(99 * GWEI, 2 * GWEI, GAS_LIMIT, CEILING), TooDear)
    assert isinstance(first_fees(20 * GWEI, 2 * GWEI, 1_000_000, CEILING), TooDear)
    before = Fees(42 * GWEI, 2 * GWEI)
    assert replacement_fees(before, 20 * GWEI, 0, GAS_LIMIT, CEILING) == Fees(46_200_000_000, 2_200_000_000)
    assert replacement_fees(before, 30 * GWEI, 0, GAS_LIMIT, CEILING) == Fees(62_200_000_000, 2_200_000_000)
    assert isinstance(replacement_fees(Fees(95 * GWEI, GWEI), 1, 0, GAS_LIMIT, CEILING), TooDear)
    assert isinstance(replacement_fees(Fees(50 * GWEI, 3 * GWEI), 1, 0, GAS_LIMIT, CEILING), TooDear)
    assert replacement_fees(Fees(7, 0), 0, 0, GAS_LIMIT, CEILING) == Fees(8, 1)
    assert before.cost_maximum(GAS_LIMIT) == 4_200_000 * GWEI


def test_a_tenth_more_in_both_fees_and_not_a_wei_less_replaces() -> None:
    before = Fees(1_001, 11)
    assert replaces(before, Fees(1_102, 13))
    assert not replaces(before, Fees(1_101, 13))
    assert not replaces(before, Fees(1_102, 12))
    assert not replaces(Fees(0, 0), Fees(0, 0))


def test_the_base_fee_of_the_next_block_is_the_nodes_own_after_empty_half_full_and_full_ones() -> None:
    """By a real node, whose limit of gas is so low that a few payments fill a block."""

    async def story(url: str) -> tuple[list[int], int]:
        rpc = Rpc(url)
        rail = EvmRail("eip155:31337", url, "0x", 1)
        foreseen = (await rail.fees()).base_fee
        blocks, seen = Blocks(rpc), []
        tip = await blocks.tagged("latest")
        for height in range(1, tip.number):
            this, after = await blocks.at(height), await blocks.at(height + 1)
            assert this is not None
            assert this.base_fee is not None
            assert after is not None
            assert next_base_fee(this.base_fee, this.gas_used, this.gas_limit) == after.base_fee
            seen.append(after.base_fee - this.base_fee)
        await rpc.close()
        await rail.close()
        return seen, foreseen

    with running_node(31337, "--gas-limit", "105000") as node:
        node.rpc("anvil_setNextBlockBaseFeePerGas", hex(GWEI))
        sender = node.rpc("eth_accounts")[0]
        for payments in (0, 2, 3, 5, 5, 1, 0):
            for _ in range(payments):
                node.rpc("eth_sendTransaction", {"from": sender, "to": sender, "gas": "0x5208", "gasPrice": PRICE})
            node.rpc("evm_mine")
        changes, foreseen = asyncio.run(story(f"http://127.0.0.1:{node.port}"))
        node.rpc("evm_mine")
        assert int(node.rpc("eth_getBlockByNumber", "latest", False)["baseFeePerGas"], 16) == foreseen
    assert [(change > 0) - (change < 0) for change in changes] == [-1, -1, 1, 1, 1, -1]


def test_a_base_fee_rises_by_one_at_least_and_other_chains_have_other_rules() -> None:
    assert next_base_fee(0, 30, 30) == 1
    assert next_base_fee(100, 15, 30) == 100
    assert next_base_fee(1_000, 60, 60, elasticity=6, denominator=50) == 1_100
