"""Ledger = chain = journal, for tokens of a vault and ether of its operator: whole while all is in order, and an alarm
when something left that our signer didn't sign, whoever was the thief and whatever was done to the record.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from tests.conftest import Database
from tests.contracts.node import DEPLOYER, Node, running_node
from tests.contracts.vault import FUNDED, GUARDIAN, OWNER, THIEF, account, address_of, key
from tests.rails.lying_node import lying_node
from tests.watch.vaults import ETHER, FINALITY, GWEI, NETWORK, House, play

from strongroom.formats.evm_transaction import EvmSignature, EvmTransaction, encode_signed, signing_hash
from strongroom.protocol.control import UNKNOWN_SPEND
from strongroom.rails.evm.several import SeveralRails

WHOLE = (FUNDED, FUNDED, True)


@pytest.fixture(scope="module")
def node() -> Iterator[Node]:
    with running_node() as running:
        yield running


@pytest.fixture
def house(node: Node, database: Database) -> House:
    return House(node, database)


async def whole(house: House) -> None:
    """As at the start of every story."""
    house.begin()
    assert await house.step()
    assert await house.found(house.usdc) == WHOLE
    assert await house.found(ETHER) == (house.ether, house.ether, True)


async def suspense(house: House, asset: str) -> int:
    found = await house.owner.fetchval(
        "SELECT (credits_posted - debits_posted)::text FROM strongroom.ledger_accounts WHERE account = 'suspense' "
        "AND asset = $1", asset,
    )
    return int(found or 0)


def test_books_are_whole_from_the_call_to_its_settlement_and_through_a_reorg(house: House) -> None:
    """The ledger says that it is paid, and what it cost, long after the chain; after a reorg, for a moment, before."""
    call = house.call(0, (account("a"), 500), (account("b"), 7))

    async def story() -> None:
        await whole(house)
        name = await house.pay(call)
        await house.step()
        fee = (await house.report(name))[2]
        assert await house.found(house.usdc) == (FUNDED - 507, FUNDED - 507, True)
        assert await house.found(ETHER) == (house.ether - fee, house.ether - fee, True)
        await house.post(house.usdc, "payouts", 507)
        await house.post(ETHER, "fees", fee)
        house.mine()
        await house.step()
        assert await house.found(house.usdc) == (FUNDED - 507, FUNDED - 507, True)
        assert await house.found(ETHER) == (house.ether - fee, house.ether - fee, True)
        house.reorg(2)
        await house.step()
        assert await house.found(house.usdc) == (FUNDED, FUNDED, False)
        assert not house.alarms.names
        house.send(call)
        house.mine()
        await house.step()
        assert (await house.found(house.usdc))[2] is True
        assert not house.alarms.names

    play(house, story)


def test_a_batch_that_nobody_here_signed_is_an_unknown_spend_of_vault_and_account(house: House) -> None:
    """The attacker has the operator's key, wants the bucket, and pays itself."""
    theft = house.call(0, (THIEF, 1_000))

    async def story() -> None:
        await whole(house)
        house.send(theft)
        house.mine()
        assert await house.step()
        batch, used = theft.batch.name.hex(), house.operator.removeprefix("0x") + ".1"
        assert set(house.alarms.names) >= {f"{UNKNOWN_SPEND}{batch[:40]}", f"{UNKNOWN_SPEND}{used}"}
        assert await house.found(house.usdc) == (FUNDED - 1_000, FUNDED, False)
        raised = list(house.alarms.names)
        house.mine()
        await house.step(2)
        assert house.alarms.names == raised

    play(house, story)


def test_a_batch_of_which_the_record_lost_the_bytes_is_one_as_well(house: House) -> None:
    """The attacker owns the database, has us pay, and wants the record of it gone: dropped, as if never sent."""
    call = house.call(0, (account("a"), 1_000))

    async def story() -> None:
        await whole(house)
        await house.record(call, state="dropped")
        house.send(call)
        house.mine()
        await house.step()
        assert f"{UNKNOWN_SPEND}{call.batch.name.hex()[:40]}" in house.alarms.names

    play(house, story)


def test_what_leaves_the_vault_with_no_batch_is_an_unknown_spend(house: House) -> None:
    """By its owner, whose keys were stolen, or by the token's issuer: nobody here signed it."""

    async def story() -> None:
        await whole(house)
        house.vault.contract.send(OWNER, "withdraw", house.vault.usdc.address, THIEF, 99)
        await house.step()
        (name,) = house.alarms.names
        assert name.startswith(UNKNOWN_SPEND)
        assert await house.found(house.usdc) == (FUNDED - 99, FUNDED, False)

    play(house, story)


def test_a_chain_transaction_of_the_accounts_that_pays_nobody_is_an_unknown_spend(house: House) -> None:
    """The thief of the operator's key burns its ether, or approves something for later; no vault logs it."""

    async def story() -> None:
        await whole(house)
        made = EvmTransaction(31337, 0, GWEI, 2 * GWEI, 100_000, bytes.fromhex(THIEF[2:]), 0, b"")
        raw = house.key.sign_recoverable(signing_hash(made), hasher=None)
        signed = encode_signed(made, EvmSignature(raw[64], int.from_bytes(raw[:32]), int.from_bytes(raw[32:64])))
        house.node.rpc("eth_sendRawTransaction", "0x" + signed.hex())
        house.mine()
        await house.step()
        assert f"{UNKNOWN_SPEND}{house.operator[2:]}.1" in house.alarms.names
        assert f"deficit.{NETWORK}" in house.alarms.names
        assert (await house.found(ETHER))[2] is False

    play(house, story)


@pytest.mark.parametrize("asset", ["usdc", "ether"])
def test_a_ledger_that_says_more_than_is_there_is_a_deficit_though_no_block_comes(house: House, asset: str) -> None:
    name = ETHER if asset == "ether" else house.usdc

    async def story() -> None:
        await whole(house)
        await house.post(name, "wallet:hot", 5, credit="company:funding")
        await house.step()
        assert house.alarms.names == [f"deficit.{NETWORK}"]

    play(house, story)


def test_what_was_said_to_be_settled_and_was_never_paid_is_not_whole(house: House) -> None:
    async def story() -> None:
        await whole(house)
        await house.post(house.usdc, "payouts", 5)
        house.mine()
        await house.step()
        assert await house.found(house.usdc) == (FUNDED, FUNDED, False)

    play(house, story)


def test_a_surplus_is_held_in_suspense_once_it_is_final(house: House) -> None:
    async def story() -> None:
        await whole(house)
        house.vault.usdc.send(DEPLOYER, "mint", house.vault.address, 41)
        balance = int(house.node.rpc("eth_getBalance", house.operator, "latest"), 16)
        house.node.rpc("anvil_setBalance", house.operator, hex(balance + 17))
        house.mine()
        await house.step()
        house.vault.usdc.send(DEPLOYER, "mint", house.vault.address, 2)
        await house.step()
        assert (await suspense(house, house.usdc), await suspense(house, ETHER)) == (0, 0)
        house.mine(FINALITY - 1)
        await house.step()
        assert (await suspense(house, house.usdc), await suspense(house, ETHER)) == (41, 17)
        house.mine(FINALITY + 1)
        await house.step()
        house.mine(FINALITY)
        await house.step()
        assert (await suspense(house, house.usdc), await suspense(house, ETHER)) == (43, 17)
        house.mine()
        await house.step()
        assert (await house.found(house.usdc))[2] is True
        assert not house.alarms.names

    play(house, story)


def test_what_a_reorg_took_back_is_held_nowhere(house: House) -> None:
    async def story() -> None:
        await whole(house)
        house.mine(FINALITY)
        house.vault.usdc.send(DEPLOYER, "mint", house.vault.address, 41)
        await house.step()
        house.reorg(1)
        house.mine(2 * FINALITY)
        await house.step(2)
        assert await suspense(house, house.usdc) == 0
        assert await house.found(house.usdc) == WHOLE

    play(house, story)


def test_an_operator_that_is_no_account_of_our_signers_is_an_alarm(house: House) -> None:
    """The attacker has the owner's keys, and makes an account of its own the operator."""
    other = address_of(key("another generation"))

    async def story() -> None:
        await whole(house)
        house.vault.contract.send(OWNER, "rotate", THIEF, GUARDIAN)
        await house.step(2)
        assert house.alarms.names == [f"operator.{THIEF[2:]}"]
        house.vault.contract.send(OWNER, "rotate", other, GUARDIAN)
        await house.owner.execute("UPDATE strongroom.payouts SET due_at = 0")
        await house.owner.execute(
            "INSERT INTO strongroom.wallet_addresses SELECT organisation, network, 1, 0, $1, 0 "
            "FROM strongroom.wallet_addresses", other,
        )
        await house.step(2)
        assert len(house.alarms.names) == 1

    play(house, story)


def test_an_unpause_is_an_alarm_and_a_pause_none(house: House) -> None:
    async def story() -> None:
        await whole(house)
        house.vault.contract.send(GUARDIAN, "pause")
        await house.step()
        assert not house.alarms.names
        house.vault.contract.send(OWNER, "unpause")
        await house.step(2)
        assert house.alarms.names == [f"unpaused.{house.vault.address[2:]}.1"]

    play(house, story)


def test_a_token_that_says_another_balance_than_its_logs_make_blinds_watch(house: House) -> None:
    """The issuer seized what is there and logged nothing, or the node lies: nobody knows what the vault has."""

    async def story() -> None:
        with lying_node(house.node.port) as provider:
            house.begin(rail=house.rail(provider.url))
            assert await house.step()
            provider.lies["eth_call"] = lambda _asked, true: hex(int(true, 16) - 1)[2:].rjust(64, "0").join(["0x", ""])
            house.mine()
            assert not await house.step()
            provider.honest()
            assert await house.step()

    play(house, story)


def test_nodes_that_disagree_blind_watch_and_say_so(house: House, caplog: pytest.LogCaptureFixture) -> None:
    """The attacker has one of two nodes, and wants a payment of another block of its own to count."""
    call = house.call(0, (account("a"), 5))

    async def story() -> None:
        with ExitStack() as stack:
            providers = [stack.enter_context(lying_node(house.node.port)) for _ in range(2)]
            rails: list[Any] = [house.rail(each.url) for each in providers]
            house.begin(rail=SeveralRails(rails[0], rails[1:], 1))
            assert await house.step()
            await house.pay(call)
            old = house.node.rpc("eth_getBlockByNumber", hex(int(house.node.rpc("eth_blockNumber"), 16) - 1), False)
            providers[1].lies["eth_getBlockByNumber"] = lambda asked, true: (
                old if asked[0] == "latest" else None if int(asked[0], 16) > int(old["number"], 16) else true
            )
            assert await house.step()
            assert await house.fates(call) == []  # one node hasn't got the block yet
            providers[1].lies["eth_getBlockByNumber"] = lambda asked, true: true if asked[0] == "latest" else old
            assert not await house.step()
            assert "can't be followed now: " in caplog.text
            assert await house.fates(call) == []
            providers[1].honest()
            assert await house.step()
            assert await house.fates(call) == [("paid", False)]

    play(house, story)
