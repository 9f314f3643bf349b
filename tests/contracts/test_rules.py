"""What the vault takes and what it refuses, by the name of its error."""

from collections.abc import Callable
from typing import Any

import pytest
from eth_account import Account
from eth_account.messages import encode_typed_data
from tests.contracts.node import DEPLOYER, Node, Reverted, keccak
from tests.contracts.vault import (
    CAPACITY,
    FUNDED,
    GAS_PER_ITEM,
    GUARDIAN,
    GUARDIAN_KEY,
    LIMIT,
    MAXIMUM,
    NEVER,
    OPERATOR,
    OWNER,
    REFILL,
    STRANGER,
    USD,
    Batch,
    Vault,
    account,
    balance,
    batch,
    behave,
    founded,
)

NONE, EXECUTED, KILLED = range(3)
ANNA, BEN, CLEO = (account(name) for name in ("Anna", "Ben", "Cleo"))
NOBODY = "0x" + "00" * 20


def refused(name: str, act: Callable[..., object], *arguments: object, **options: object) -> tuple[Any, ...]:
    """What the error says besides its name."""
    with pytest.raises(Reverted) as caught:
        act(*arguments, **options)
    assert caught.value.name == name
    return caught.value.values


def available(vault: Vault) -> int:
    return int(vault.contract.read("available", vault.usdc.address))


def refuse(vault: Vault, payee: str, refused: bool = True) -> None:
    vault.usdc.send(DEPLOYER, "setBlacklisted", payee, refused)


def test_a_batch_is_paid_and_its_log_says_what(vault: Vault) -> None:
    paid = batch(vault.usdc, (ANNA, 3 * USD), (BEN, 4 * USD), (ANNA, 5 * USD))
    refuse(vault, BEN)
    receipt = vault.pay(paid)
    assert receipt.named("Executed") == [
        {"batch": vault.id(paid), "token": vault.usdc.address, "paid": 8 * USD, "skipped": 0b010}
    ]
    assert (balance(vault.usdc, ANNA), balance(vault.usdc, BEN)) == (8 * USD, 0)
    assert vault.held(vault.usdc) == FUNDED - 8 * USD
    assert vault.fate(paid) == (EXECUTED, 0b010)


def test_transfers_are_in_the_log_in_the_order_of_the_items(vault: Vault) -> None:
    paid = batch(vault.usdc, (CLEO, 3), (ANNA, 1), (BEN, 2))
    receipt = vault.pay(paid)
    moved = [log for log in receipt.raw_logs if log["address"] == vault.usdc.address]
    assert [(("0x" + log["topics"][2][-40:]), int(log["data"], 16)) for log in moved] == [
        (item.payee, item.amount) for item in paid.items
    ]


def test_an_id_is_that_of_an_independent_computation(vault: Vault) -> None:
    paid = batch(vault.usdc, (ANNA, 1), (BEN, 2**96 - 1))
    assert vault.contract.read("batchId", paid.token, paid.salt, paid.words) == vault.id(paid)


def test_any_wallet_that_signs_typed_data_signs_the_guardians_message(vault: Vault) -> None:
    for epoch in range(2):
        typed = encode_typed_data(
            {"name": "Strongroom HotVault", "version": "1", "chainId": 31337, "verifyingContract": vault.address},
            {"Pause": [{"name": "epoch", "type": "uint256"}]}, {"epoch": epoch},
        )
        signed = Account.sign_message(typed, GUARDIAN_KEY.secret)
        message = (signed.v, signed.r.to_bytes(32), signed.s.to_bytes(32))
        assert message == vault.pause_message()
        vault.contract.send(STRANGER, "pauseBySignature", *message)
        assert vault.paused()
        vault.contract.send(OWNER, "unpause")


def test_a_batch_is_refused_for_each_of_its_faults(vault: Vault) -> None:
    good = batch(vault.usdc, (ANNA, MAXIMUM))
    send, token, now = vault.contract.send, vault.usdc.address, vault.node.now
    refused("NotAllowed", vault.pay, good, sender=OWNER)
    refused("NotAllowed", vault.pay, good, sender=GUARDIAN)
    refused("DeadlinePassed", vault.pay, good, deadline=now)
    assert refused("WrongBatch", send, OPERATOR, "pay", bytes(32), [], [], token, good.salt, NEVER, good.words) == (
        vault.id(good),
    )
    assert refused("NotListed", vault.pay, batch(vault.usdt, (ANNA, 1))) == (vault.usdt.address,)
    refused("WrongCount", vault.pay, batch(vault.usdc))
    assert refused("WrongCount", vault.pay, batch(vault.usdc, *[(ANNA, 1)] * 249)) == (249,)
    assert refused("OverMaximum", vault.pay, batch(vault.usdc, (ANNA, MAXIMUM), (BEN, MAXIMUM + 1))) == (1,)
    assert refused("OverLimit", vault.pay, batch(vault.usdc, *[(ANNA, MAXIMUM)] * 11)) == (11 * MAXIMUM, CAPACITY)
    refused("GasTooLow", vault.pay, good, gas=150_000)
    refused("AlreadyDecided", vault.pay, good, kills=[good])
    send(OWNER, "pause")
    refused("VaultPaused", vault.pay, good)
    send(OWNER, "unpause")
    assert vault.fate(good) == (NONE, 0)
    vault.pay(good, deadline=vault.node.now + 1)
    assert refused("AlreadyDecided", vault.pay, good) == (EXECUTED,)


def test_as_many_items_as_there_are_flags_are_paid(vault: Vault) -> None:
    payees = [account(f"payee {number}") for number in range(248)]
    for payee in payees[:100:3] + payees[247:]:
        refuse(vault, payee)
    paid = batch(vault.usdc, *[(payee, USD) for payee in payees])
    vault.pay(paid)
    skipped = sum(1 << index for index in [*range(0, 100, 3), 247])
    assert vault.fate(paid) == (EXECUTED, skipped)
    refuse(vault, payees[247], False)
    vault.pay(batch(vault.usdc, (payees[247], USD)), retries=[(paid, 247)])
    assert vault.fate(paid) == (EXECUTED, skipped - (1 << 247))


@pytest.mark.parametrize(
    ("behaviour", "is_paid"),
    [
        ("Pays", True), ("ReturnsNothing", True), ("ReturnsFalse", False), ("ReturnsTwo", False),
        ("ReturnsShort", False), ("Reverts", False), ("RevertsWithBomb", False), ("ReturnsBomb", False),
        ("BurnsGas", False), ("NeedsMuchGas", False),
    ],
)
def test_what_a_token_does_to_one_payee_stops_no_other(vault: Vault, behaviour: str, is_paid: bool) -> None:
    vault.list(vault.hostile)
    behave(vault, BEN, behaviour)
    paid = batch(vault.hostile, (ANNA, 1), (BEN, 2), (CLEO, 3))
    vault.pay(paid)
    assert [balance(vault.hostile, payee) for payee in (ANNA, BEN, CLEO)] == [1, 2 * is_paid, 3]
    assert vault.fate(paid) == (EXECUTED, 0 if is_paid else 0b010)


def test_a_token_that_needs_more_gas_gets_what_the_owner_says(vault: Vault) -> None:
    vault.list(vault.hostile, (*LIMIT[:3], 1_000_000))
    behave(vault, BEN, "NeedsMuchGas")
    vault.pay(batch(vault.hostile, (BEN, 2)))
    assert balance(vault.hostile, BEN) == 2


def test_a_token_that_returns_nothing_is_paid_and_its_fee_is_in_its_log(vault: Vault) -> None:
    vault.list(vault.usdt)
    vault.usdt.send(DEPLOYER, "setFee", 100, 10 * USD)
    receipt = vault.pay(batch(vault.usdt, (ANNA, 100 * USD)))
    assert balance(vault.usdt, ANNA) == 99 * USD
    assert receipt.named("Executed")[0]["paid"] == 100 * USD
    moved = [int(log["data"], 16) for log in receipt.raw_logs if log["address"] == vault.usdt.address]
    assert moved == [99 * USD, USD]


@pytest.mark.parametrize("fault", ["setPaused", "setBlacklisted"])
def test_what_stops_every_item_changes_nothing(vault: Vault, fault: str) -> None:
    first, second = batch(vault.usdc, (ANNA, 1), (BEN, 1)), batch(vault.usdc, (ANNA, 1), (BEN, 1))
    arguments = (vault.address,) if fault == "setBlacklisted" else ()
    vault.usdc.send(DEPLOYER, fault, *arguments, True)
    refused("NothingPaid", vault.pay, second, kills=[first])
    assert (vault.fate(first), vault.fate(second), available(vault)) == ((NONE, 0), (NONE, 0), CAPACITY)
    vault.usdc.send(DEPLOYER, fault, *arguments, False)
    vault.pay(second, kills=[first])
    assert (vault.fate(first), vault.fate(second)) == ((KILLED, 0), (EXECUTED, 0))


def test_a_kill_is_final_and_says_so_once(vault: Vault) -> None:
    first, second = batch(vault.usdc, (ANNA, 1)), batch(vault.usdc, (ANNA, 1))
    assert vault.pay(second, kills=[first, first]).named("Killed") == [{"batch": vault.id(first)}]
    refused("AlreadyDecided", vault.pay, first)
    assert vault.pay(batch(vault.usdc, (BEN, 1)), kills=[first]).named("Killed") == []
    third = batch(vault.usdc, (BEN, 1))
    assert refused("KillExecuted", vault.pay, third, kills=[first, second]) == (vault.id(second),)
    assert vault.fate(third) == (NONE, 0)


@pytest.mark.parametrize("sender", [OPERATOR, OWNER])
def test_a_batch_is_killed_without_another_and_while_paused(vault: Vault, sender: str) -> None:
    first = batch(vault.usdc, (ANNA, 1))
    refused("NotAllowed", vault.contract.send, GUARDIAN, "kill", [vault.id(first)])
    vault.contract.send(OWNER, "pause")
    vault.contract.send(sender, "kill", [vault.id(first)])
    vault.contract.send(OWNER, "unpause")
    refused("AlreadyDecided", vault.pay, first)
    paid = batch(vault.usdc, (ANNA, 1))
    vault.pay(paid)
    refused("KillExecuted", vault.contract.send, sender, "kill", [vault.id(paid)])


def test_a_skipped_item_is_taken_over_once(vault: Vault) -> None:
    first = batch(vault.usdc, (ANNA, 1), (BEN, 2))
    for index in (0, 1, 247, 248, 2**255):
        assert refused("NotSkipped", vault.pay, batch(vault.usdc, (BEN, 2)), retries=[(first, index)])[1] == index
    refuse(vault, BEN)
    vault.pay(first)
    second = batch(vault.usdc, (CLEO, 1), (BEN, 2))
    refused("NotSkipped", vault.pay, second, retries=[(first, 1), (first, 1)])
    refused("NotSkipped", vault.pay, second, retries=[(first, 0)])
    refused("NotSkipped", vault.pay, second, retries=[(second, 1)])
    receipt = vault.pay(second, retries=[(first, 1)])
    assert receipt.named("Retried") == [{"batch": vault.id(first), "index": 1, "by": vault.id(second)}]
    assert (vault.fate(first), vault.fate(second)) == ((EXECUTED, 0), (EXECUTED, 0b10))
    third = batch(vault.usdc, (BEN, 2))
    refused("NotSkipped", vault.pay, third, retries=[(first, 1)])
    refuse(vault, BEN, False)
    vault.pay(third, retries=[(second, 1)])
    assert balance(vault.usdc, BEN) == 2


def test_the_bucket_drains_to_nothing_and_fills_again_by_time(vault: Vault) -> None:
    node = vault.node
    vault.pay(batch(vault.usdc, *[(ANNA, MAXIMUM)] * 10))
    empty = node.now
    node.next_block_at(empty + 500)
    assert refused("OverLimit", vault.pay, batch(vault.usdc, (ANNA, 501 * REFILL))) == (501 * REFILL, 500 * REFILL)
    node.next_block_at(empty + 700)
    vault.pay(batch(vault.usdc, (ANNA, 700 * REFILL)))
    node.next_block_at(empty + 10**9)
    node.rpc("evm_mine")
    assert available(vault) == CAPACITY


def test_what_was_skipped_stays_spent(vault: Vault) -> None:
    refuse(vault, BEN)
    vault.pay(batch(vault.usdc, (ANNA, 1), (BEN, MAXIMUM)))
    assert available(vault) == CAPACITY - MAXIMUM - 1


def test_a_change_of_limit_keeps_what_was_spent(vault: Vault) -> None:
    vault.list(vault.usdc, (CAPACITY, 0, MAXIMUM, GAS_PER_ITEM))
    vault.pay(batch(vault.usdc, *[(ANNA, MAXIMUM)] * 6))
    for capacity, left in ((2 * CAPACITY, 14 * MAXIMUM), (5 * MAXIMUM, 0), (CAPACITY, 4 * MAXIMUM)):
        vault.list(vault.usdc, (capacity, 0, MAXIMUM, GAS_PER_ITEM))
        assert available(vault) == left
    vault.list(vault.usdc, (0, 0, 0, 0))
    refused("NotListed", vault.pay, batch(vault.usdc, (ANNA, 1)))
    vault.list(vault.usdc, (CAPACITY, 0, MAXIMUM, GAS_PER_ITEM))
    assert available(vault) == 4 * MAXIMUM


def test_a_change_of_limit_counts_the_time_before_it_by_the_old_rate(vault: Vault) -> None:
    vault.pay(batch(vault.usdc, *[(ANNA, MAXIMUM)] * 10))
    emptied = vault.node.now
    vault.node.next_block_at(emptied + 600)
    limit = (CAPACITY, 5 * REFILL, MAXIMUM, GAS_PER_ITEM)
    receipt = vault.contract.send(OWNER, "setLimit", vault.usdc.address, *limit)
    assert list(receipt.named("LimitSet")[0].values()) == [vault.usdc.address, *limit]
    vault.node.next_block_at(emptied + 700)
    left = 600 * REFILL + 100 * 5 * REFILL
    assert refused("OverLimit", vault.pay, batch(vault.usdc, *[(ANNA, MAXIMUM)] * 2))[1] == left


def test_what_stands_behind_a_call_is_no_item(vault: Vault) -> None:
    paid = batch(vault.usdc, (ANNA, 1), (BEN, 2))
    vault.contract.send_data(OPERATOR, vault.call_data(paid) + batch(vault.usdc, (CLEO, MAXIMUM + 1)).words[0])
    assert [balance(vault.usdc, payee) for payee in (ANNA, BEN, CLEO)] == [1, 2, 0]
    more = batch(vault.usdc, (ANNA, 1), (BEN, 2))
    vault.contract.send_data(OPERATOR, vault.call_data(more) + batch(vault.usdc, (CLEO, 3)).words[0])
    assert [balance(vault.usdc, payee) for payee in (ANNA, BEN, CLEO)] == [2, 4, 0]


def test_nothing_of_zero_amounts_forgets_what_was_spent(vault: Vault) -> None:
    vault.pay(batch(vault.usdc, *[(ANNA, MAXIMUM)] * 10))
    vault.list(vault.usdc, (MAXIMUM, 0, MAXIMUM, GAS_PER_ITEM))
    refused("OverLimit", vault.pay, batch(vault.usdc, (ANNA, 0)))


@pytest.mark.parametrize(
    "limit",
    [
        (CAPACITY, REFILL, 0, GAS_PER_ITEM), (CAPACITY, REFILL, CAPACITY + 1, GAS_PER_ITEM),
        (CAPACITY, REFILL, MAXIMUM, 29_999), (0, REFILL, 0, 0), (CAPACITY, 0, 0, 0), (0, 0, MAXIMUM, 0),
    ],
)
def test_a_limit_that_makes_no_sense_is_refused(vault: Vault, limit: tuple[int, ...]) -> None:
    refused("WrongLimit", vault.list, vault.usdt, limit)
    vault.list(vault.usdt, (CAPACITY, REFILL, CAPACITY, 30_000))


def test_a_limit_is_for_a_token_that_exists(vault: Vault) -> None:
    refused("WrongLimit", vault.contract.send, OWNER, "setLimit", ANNA, *LIMIT)


@pytest.mark.parametrize("sender", [OPERATOR, OWNER])
def test_a_sweep_goes_to_the_owner_even_while_paused(vault: Vault, sender: str) -> None:
    vault.contract.send(OWNER, "pause")
    refused("NotAllowed", vault.contract.send, GUARDIAN, "sweep", vault.usdc.address, 0)
    receipt = vault.contract.send(sender, "sweep", vault.usdc.address, CAPACITY)
    assert receipt.named("Swept") == [{"token": vault.usdc.address, "value": FUNDED - CAPACITY}]
    assert (vault.held(vault.usdc), balance(vault.usdc, OWNER)) == (CAPACITY, FUNDED - CAPACITY)
    refused("NothingAbove", vault.contract.send, sender, "sweep", vault.usdc.address, CAPACITY)
    vault.contract.send(sender, "sweep", vault.usdt.address, 0)
    assert vault.held(vault.usdt) == 0
    vault.usdc.send(DEPLOYER, "setPaused", True)
    refused("TransferFailed", vault.contract.send, sender, "sweep", vault.usdc.address, 0)


def test_the_owner_withdraws_to_anybody(vault: Vault) -> None:
    send = vault.contract.send
    for sender in (OPERATOR, GUARDIAN, STRANGER):
        refused("NotAllowed", send, sender, "withdraw", vault.usdc.address, STRANGER, 1)
    receipt = send(OWNER, "withdraw", vault.usdc.address, CLEO, 2 * CAPACITY)
    assert receipt.named("Withdrawn") == [{"token": vault.usdc.address, "to": CLEO, "value": 2 * CAPACITY}]
    assert balance(vault.usdc, CLEO) == 2 * CAPACITY
    refused("TransferFailed", send, OWNER, "withdraw", vault.usdc.address, CLEO, 2 * FUNDED)
    refused("TransferFailed", send, OWNER, "withdraw", ANNA, CLEO, 1)


@pytest.mark.parametrize("sender", [GUARDIAN, OPERATOR, OWNER])
def test_three_parties_pause_and_the_owner_alone_ends_it(vault: Vault, sender: str) -> None:
    send = vault.contract.send
    refused("NotAllowed", send, STRANGER, "pause")
    refused("VaultNotPaused", send, OWNER, "unpause")
    assert send(sender, "pause").named("Paused") == [{"epoch": 0}]
    for other in (GUARDIAN, OPERATOR, STRANGER):
        refused("NotAllowed", send, other, "unpause")
    assert send(OWNER, "unpause").named("Unpaused") == [{"epoch": 1}]
    vault.pay(batch(vault.usdc, (ANNA, 1)))


def test_the_guardians_message_is_worth_one_epoch(vault: Vault) -> None:
    send, old = vault.contract.send, vault.pause_message()
    send(STRANGER, "pauseBySignature", *old)
    send(STRANGER, "pauseBySignature", *old)
    assert vault.paused()
    send(OWNER, "unpause")
    refused("WrongSignature", send, STRANGER, "pauseBySignature", *old)
    send(STRANGER, "pauseBySignature", *vault.pause_message())
    assert vault.paused()


def test_who_was_rotated_out_can_do_nothing_more(vault: Vault) -> None:
    send, old = vault.contract.send, vault.pause_message()
    begun, later = batch(vault.usdc, (ANNA, 1)), batch(vault.usdc, (BEN, 1))
    assert send(OWNER, "rotate", BEN, CLEO).named("Rotated") == [{"operator": BEN, "guardian": CLEO}]
    refused("NotAllowed", vault.pay, begun)
    for call in (("sweep", vault.usdc.address, 0), ("kill", []), ("pause",)):
        refused("NotAllowed", send, OPERATOR, *call)
    refused("WrongSignature", send, STRANGER, "pauseBySignature", *old)
    vault.pay(begun, sender=BEN)
    vault.pay(later, kills=[], sender=BEN)
    assert (balance(vault.usdc, ANNA), balance(vault.usdc, BEN)) == (1, 1)


@pytest.mark.parametrize(
    ("operator", "guardian"),
    [(NOBODY, CLEO), (BEN, NOBODY), (BEN, BEN), (OWNER, CLEO), (BEN, OWNER)],
)
def test_the_parties_are_three(vault: Vault, operator: str, guardian: str) -> None:
    refused("WrongParties", vault.contract.send, OWNER, "rotate", operator, guardian)
    refused("WrongParties", vault.node.deploy_artifact, "HotVault", OWNER, operator, guardian)
    vault.node.deploy_artifact("HotVault", OWNER, BEN, CLEO)


def test_a_vault_has_an_owner(node: Node) -> None:
    refused("WrongParties", node.deploy_artifact, "HotVault", NOBODY, BEN, CLEO)


@pytest.mark.parametrize("name", ["setLimit", "withdraw", "rotate", "unpause"])
def test_what_the_owner_does_nobody_else_does(vault: Vault, name: str) -> None:
    arguments: dict[str, tuple[object, ...]] = {
        "setLimit": (vault.usdc.address, *LIMIT), "withdraw": (vault.usdc.address, OWNER, 1), "rotate": (BEN, CLEO),
        "unpause": (),
    }
    vault.contract.send(OWNER, "pause")
    for sender in (OPERATOR, GUARDIAN, STRANGER, vault.usdc.address):
        refused("NotAllowed", vault.contract.send, sender, name, *arguments[name])
    vault.contract.send(OWNER, name, *arguments[name])


def test_every_function_that_changes_something_is_known_here(vault: Vault) -> None:
    changing = {
        each["name"] for each in vault.contract.abi
        if each["type"] == "function" and each["stateMutability"] not in ("view", "pure")
    }
    assert changing == {
        "pay", "kill", "sweep", "withdraw", "pause", "pauseBySignature", "unpause", "rotate", "setLimit",
    }


def test_ether_and_unknown_calls_are_refused(vault: Vault) -> None:
    vault.node.rpc("anvil_setBalance", STRANGER, hex(10**18))
    assert [each for each in vault.contract.abi if each.get("stateMutability") == "payable"] == []
    for data, value in (("0x", 1), ("0x", 0), ("0x" + keccak(b"upgradeTo(address)")[:4].hex(), 0)):
        request = {"from": STRANGER, "to": vault.address, "data": data, "value": hex(value), "gas": "0x30000"}
        digest = vault.node.rpc("eth_sendTransaction", {**request, "gasPrice": "0x0"})
        refused("execution reverted", vault.node.receipt, digest)


def test_its_code_can_call_and_can_neither_delegate_nor_make_nor_end_anything(vault: Vault) -> None:
    found = opcodes(bytes.fromhex(vault.node.rpc("eth_getCode", vault.address, "latest")[2:]))
    forbidden = {"CREATE": 0xF0, "CALLCODE": 0xF2, "DELEGATECALL": 0xF4, "CREATE2": 0xF5, "SELFDESTRUCT": 0xFF}
    assert {name for name, code in forbidden.items() if code in found} == set()
    assert 0xF1 in found  # CALL, so that something was looked at


def opcodes(code: bytes) -> set[int]:
    """Without what PUSH instructions carry, and without the compiler's note at the end, whose length stands last."""
    found, place, end = set(), 0, len(code) - int.from_bytes(code[-2:]) - 2
    while place < end:
        found.add(code[place])
        place += 1 + (code[place] - 0x5F if 0x60 <= code[place] <= 0x7F else 0)
    return found


def test_what_a_node_estimates_is_enough_gas_for_every_item(vault: Vault) -> None:
    paid = batch(vault.usdc, *[(account(f"payee {number}"), USD) for number in range(20)])
    request = {"from": OPERATOR, "to": vault.address, "data": "0x" + vault.call_data(paid).hex()}
    gas = int(vault.node.rpc("eth_estimateGas", request), 16)
    refused("GasTooLow", vault.pay, paid, gas=gas - GAS_PER_ITEM // 4)
    vault.pay(paid, gas=gas)
    assert vault.fate(paid) == (EXECUTED, 0)


def test_a_batch_of_one_vault_is_of_no_other(vault: Vault) -> None:
    second = founded(vault.node)
    paid = Batch(vault.usdc.address, batch(vault.usdc, (ANNA, 1)).items)
    assert vault.id(paid) != second.id(paid)
    refused("WrongBatch", second.contract.send_data, OPERATOR, vault.call_data(paid))
