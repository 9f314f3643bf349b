"""A batch's whole road on an EVM chain by the parts of the rail: asked before, signed, sent, stuck, bumped, settled."""

import asyncio
from contextlib import ExitStack

from tests.contracts.node import DEPLOYER, Node, running_node
from tests.contracts.vault import OPERATOR, OPERATOR_KEY, account, balance, founded
from tests.rails.lying_node import lying_node

from strongroom.formats.evm_address import eip55
from strongroom.formats.evm_transaction import (
    EvmSignature,
    EvmTransaction,
    encode_signed,
    signing_hash,
    transaction_hash,
)
from strongroom.formats.hot_vault import Batch, Retry, VaultItem
from strongroom.rails.account_port import AccountRail, Mined, Replaced
from strongroom.rails.evm.fees import Ceiling, Fees, first_fees, replacement_fees
from strongroom.rails.evm.preflight import USDC, Planned, Reason, Token, check
from strongroom.rails.evm.rail import EvmRail
from strongroom.rails.evm.settlement import Paid, Skipped, TakenOver
from strongroom.rails.evm.several import SeveralRails
from strongroom.rails.evm.vault_history import VaultHistory
from strongroom.rails.evm.vault_sums import base_at
from strongroom.rails.port import Accepted, Pending, Unseen

GWEI = 10**9
GAS_LIMIT = 2_000_000
CEILING = Ceiling(most=200 * GWEI, priority=5 * GWEI, cost=10**18)
NEVER = 2**40
FINAL_DEPTH = 3


def raw(address: str) -> bytes:
    return bytes.fromhex(address[2:])


def signed(nonce: int, fees: Fees, vault: str, data: bytes) -> bytes:
    """By the vault's operator."""
    made = EvmTransaction(31337, nonce, fees.priority, fees.most, GAS_LIMIT, raw(vault), 0, data)
    made_by = OPERATOR_KEY.sign_recoverable(signing_hash(made), hasher=None)
    numbers = (int.from_bytes(made_by[:32]), int.from_bytes(made_by[32:64]))
    return encode_signed(made, EvmSignature(made_by[64], *numbers))


def offered(fees: object) -> Fees:
    assert isinstance(fees, Fees)
    return fees


def test_a_batch_is_asked_about_signed_sent_bumped_and_settled_and_its_skipped_item_paid_by_another() -> None:
    async def road(node: Node, rail: AccountRail) -> None:
        vault = founded(node)
        node.rpc("anvil_setBalance", OPERATOR, hex(10**19))
        node.rpc("evm_mine")
        operator, good, late = eip55(raw(OPERATOR)), eip55(raw(account("good"))), eip55(raw(account("late")))
        history = VaultHistory(rail, base_at(await rail.tip(), [raw(vault.address)]))
        token = Token(eip55(raw(vault.usdc.address)), USDC)
        plan = Planned(eip55(raw(vault.address)), operator, token, [(good, 500), (late, 700)])
        assert (await check(rail, plan)).obstacles == ()
        vault.usdc.send(DEPLOYER, "setBlacklisted", late, True)  # after it was asked about

        items = tuple(VaultItem(raw(payee), amount) for payee, amount in plan.items)
        batch = Batch(31337, raw(vault.address), raw(vault.usdc.address), b"\1" * 32, items)
        node.rpc("anvil_setNextBlockBaseFeePerGas", hex(10 * GWEI))
        node.rpc("evm_mine")
        market, nonce = await rail.fees(), (await rail.nonces(operator)).mined
        fees = offered(first_fees(market.base_fee, market.priority_fee, GAS_LIMIT, CEILING))
        first = signed(nonce, fees, vault.address, batch.pay([], [], NEVER))
        assert await rail.broadcast(first) == Accepted()
        node.rpc("anvil_setNextBlockBaseFeePerGas", hex(60 * GWEI))  # more than was offered
        node.rpc("evm_mine")
        assert await rail.status(first) in (Pending(), Unseen())  # this node forgets what offers too little by then
        await history.advance()

        market = await rail.fees()
        fees = offered(replacement_fees(fees, market.base_fee, market.priority_fee, GAS_LIMIT, CEILING))
        bumped = signed(nonce, fees, vault.address, batch.pay([], [], NEVER))
        assert await rail.broadcast(bumped) == Accepted()
        node.rpc("evm_mine")
        assert await rail.status(first) == Replaced(transaction_hash(bumped))
        status = await rail.status(bumped)
        assert isinstance(status, Mined)
        assert status.succeeded
        await history.advance()
        paid, skipped = history.fates(batch)
        assert isinstance(paid, Paid)
        assert (paid.received, paid.where.block_hash, paid.where.is_final) == (500, status.block_hash, False)
        assert isinstance(skipped, Skipped)
        assert [each.reason for each in (await check(rail, plan)).obstacles] == [Reason.PAYEE_REFUSED]

        node.rpc("anvil_setNextBlockBaseFeePerGas", "0x0")
        vault.usdc.send(DEPLOYER, "setBlacklisted", late, False)
        again = Batch(31337, raw(vault.address), raw(vault.usdc.address), b"\2" * 32, items[1:])
        data = again.pay([], [Retry(batch.name, 1)], NEVER)
        fees = offered(first_fees((await rail.fees()).base_fee, GWEI, GAS_LIMIT, CEILING))
        assert await rail.broadcast(signed(nonce + 1, fees, vault.address, data)) == Accepted()
        for _ in range(FINAL_DEPTH):
            node.rpc("evm_mine")
        await history.advance()
        first_fate, second_fate = history.fates(batch)
        (third_fate,) = history.fates(again)
        assert isinstance(first_fate, Paid)
        assert isinstance(second_fate, TakenOver)
        assert isinstance(third_fate, Paid)
        assert (second_fate.by, second_fate.where.is_final, third_fate.where.is_final) == (again.name, True, True)
        assert (balance(vault.usdc, good), balance(vault.usdc, late)) == (500, 700)

    async def go(node: Node, urls: list[str]) -> None:
        genesis = node.rpc("eth_getBlockByNumber", "0x0", False)["hash"]
        own, *others = (EvmRail("eip155:31337", url, genesis, FINAL_DEPTH) for url in urls)
        rail = SeveralRails(own, others, len(others))
        await rail.identity()
        await road(node, rail)
        await rail.close()

    with ExitStack() as stack:
        node = stack.enter_context(running_node())
        providers = [stack.enter_context(lying_node(node.port)) for _ in range(2)]
        asyncio.run(go(node, [f"http://127.0.0.1:{node.port}", *(each.url for each in providers)]))
