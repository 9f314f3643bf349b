"""What attackers do to the vault. Each takes as much as it can and says what it took, and what its bound is.

A control is the same attack on a copy of the vault with a rule taken out (`patches.py`): it takes more than the bound.
Losses are base units of the token, or payees or payments where money is not what is lost.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from eth_account import Account
from tests.contracts.node import DEPLOYER, Contract, Node, Receipt, Reverted
from tests.contracts.vault import (
    CAPACITY,
    FUNDED,
    GAS_PER_ITEM,
    GUARDIAN,
    LIMIT,
    MAXIMUM,
    OPERATOR,
    OPERATOR_KEY,
    OWNER,
    REFILL,
    STRANGER,
    THIEF,
    USD,
    Batch,
    Item,
    Vault,
    account,
    balance,
    batch,
    behave,
)

PAYEE = account("payee")


@dataclass(frozen=True)
class Taken:
    loss: int
    bound: int


@dataclass(frozen=True)
class Ground:
    """Two chains, and a way to make the vault under attack on either."""

    here: Node
    elsewhere: Node
    found: Callable[..., Vault]

    def vault(self, *, operator: str = OPERATOR) -> Vault:
        return self.found(self.here, operator=operator)

    def twins(self) -> tuple[Vault, Vault]:
        """One vault at one address of both chains."""
        deployer = account(f"deployer {self.here.now} {self.elsewhere.now}")
        here, elsewhere = (self.found(node, deployer=deployer) for node in (self.here, self.elsewhere))
        assert here.address == elsewhere.address
        return here, elsewhere


def worked(act: Callable[..., object], *arguments: object, **options: object) -> bool:
    try:
        act(*arguments, **options)
    except Reverted:
        return False
    return True


def greedy(vault: Vault, token: Contract) -> int:
    """Pays the thief as much as goes in one batch: a hundred of the largest items, or what the bucket says it has."""
    before = balance(token, THIEF)
    if not worked(lambda: vault.pay(batch(token, *[(THIEF, MAXIMUM)] * 100))):
        left = int(vault.contract.read("available", token.address))
        full, rest = divmod(left, MAXIMUM)
        worked(vault.pay, batch(token, *[(THIEF, MAXIMUM)] * full, (THIEF, rest)))
    return balance(token, THIEF) - before


def rob(vault: Vault, token: Contract, seconds: int) -> tuple[int, int]:
    """Robs it every minute, that long. What was taken, and the most that the limit lets out in the time it took."""
    taken = greedy(vault, token)
    first = vault.node.now
    while vault.node.now < first + seconds:
        vault.node.next_block_at(vault.node.now + 60)
        taken += greedy(vault, token)
    return taken, CAPACITY + REFILL * (vault.node.now - first)


def operator_stolen(ground: Ground) -> Taken:
    """The attacker has the signer's key and wants all that is in the vault, until the guardian's pause and after it.

    The bound is the bucket, and what flows into it until the pause."""
    vault = ground.vault()
    taken, bound = rob(vault, vault.usdc, 600)
    vault.contract.send(STRANGER, "pauseBySignature", *vault.pause_message())
    return Taken(taken + rob(vault, vault.usdc, 600)[0], bound)


def operator_stolen_while_the_limit_changes(ground: Ground) -> Taken:
    """The attacker has the signer's key; the owner, who doesn't know yet, sets the same limit again.

    The bound is as if nothing had been set."""
    vault = ground.vault()
    taken, _ = rob(vault, vault.usdc, 0)
    vault.list(vault.usdc)
    more, _ = rob(vault, vault.usdc, 0)
    return Taken(taken + more, CAPACITY + 60 * REFILL)


def operator_stolen_for_one_payment(ground: Ground) -> Taken:
    """The attacker has the signer's key and wants more in one payment than the maximum, which is the bound."""
    vault = ground.vault()
    worked(vault.pay, batch(vault.usdc, (THIEF, CAPACITY)))
    return Taken(balance(vault.usdc, THIEF), MAXIMUM)


def operator_takes_another_token(ground: Ground) -> Taken:
    """The attacker has the signer's key and wants the vault's USDT, for which no limit was set. The bound is 0."""
    vault = ground.vault()
    worked(vault.pay, batch(vault.usdt, (THIEF, MAXIMUM)))
    return Taken(balance(vault.usdt, THIEF), 0)


def operator_plays_the_owner(ground: Ground) -> Taken:
    """The attacker has the signer's key and wants to be the owner: to withdraw, to raise the limit, to unpause.

    The bound is the bucket."""
    vault = ground.vault()
    send = vault.contract.send
    worked(send, OPERATOR, "setLimit", vault.usdc.address, *[100 * each for each in LIMIT[:3]], GAS_PER_ITEM)
    worked(send, OPERATOR, "withdraw", vault.usdc.address, THIEF, 20 * CAPACITY)
    worked(send, OPERATOR, "rotate", THIEF, STRANGER)
    send(OWNER, "pause")
    worked(send, OPERATOR, "unpause")
    taken, bound = rob(vault, vault.usdc, 0)
    return Taken(balance(vault.usdc, THIEF) + taken, bound)


def operator_sweeps_to_itself(ground: Ground) -> Taken:
    """The attacker has the signer's key and wants a sweep to end with it. The bound is 0."""
    vault = ground.vault()
    vault.contract.send(OPERATOR, "sweep", vault.usdc.address, 0)
    return Taken(balance(vault.usdc, OPERATOR) + balance(vault.usdc, THIEF), 0)


def guardian_stolen(ground: Ground) -> Taken:
    """The attacker has guard's key and wants money, or its going away. It can pause. The bound is 0."""
    vault = ground.vault()
    send, token = vault.contract.send, vault.usdc.address
    worked(vault.pay, batch(vault.usdc, (THIEF, MAXIMUM)), sender=GUARDIAN)
    worked(send, GUARDIAN, "withdraw", token, THIEF, CAPACITY)
    worked(send, GUARDIAN, "sweep", token, 0)
    worked(send, GUARDIAN, "rotate", THIEF, STRANGER)
    worked(vault.pay, batch(vault.usdc, (THIEF, MAXIMUM)), sender=THIEF)
    return Taken(FUNDED - vault.held(vault.usdc), 0)


def stranger_plays_the_operator(ground: Ground) -> Taken:
    """The attacker has no key and wants to pay itself. The bound is 0."""
    vault = ground.vault()
    worked(vault.pay, batch(vault.usdc, (THIEF, MAXIMUM)), sender=STRANGER)
    return Taken(balance(vault.usdc, THIEF), 0)


def stranger_empties_the_vault(ground: Ground) -> Taken:
    """The attacker has no key and wants payments to stop for want of money: a sweep, though to the owner. 0."""
    vault = ground.vault()
    worked(vault.contract.send, STRANGER, "sweep", vault.usdc.address, 0)
    return Taken(balance(vault.usdc, OWNER), 0)


def same_batch_again(ground: Ground) -> Taken:
    """The attacker has the engine's place and the signed call, and sends it twice. The bound is one payment."""
    vault = ground.vault()
    once = batch(vault.usdc, (PAYEE, MAXIMUM))
    vault.pay(once)
    worked(vault.pay, once)
    return Taken(balance(vault.usdc, PAYEE), MAXIMUM)


def same_call_to_another_vault(ground: Ground) -> Taken:
    """The attacker has the engine's place and brings the signer's call to a second vault. The bound is one payment."""
    vault, second = ground.vault(), ground.vault()
    second.contract.send(OWNER, "setLimit", vault.usdc.address, *LIMIT)
    vault.usdc.send(DEPLOYER, "mint", second.address, CAPACITY)
    once = batch(vault.usdc, (PAYEE, MAXIMUM))
    vault.pay(once)
    worked(second.contract.send_data, OPERATOR, vault.call_data(once))
    return Taken(balance(vault.usdc, PAYEE), MAXIMUM)


def same_chain_transaction_on_another_chain(ground: Ground) -> Taken:
    """The attacker has a chain transaction of the signer's that names no chain (before EIP-155), and sends it to the
    chain on which the vault's twin stands. The bound is nothing there."""
    here, elsewhere = ground.twins()
    once = batch(here.usdc, (PAYEE, MAXIMUM))
    signed = Account.sign_transaction(
        {
            "nonce": 0, "gasPrice": 0, "gas": 1_000_000, "to": bytes.fromhex(here.address[2:]), "value": 0,
            "data": here.call_data(once),
        },
        OPERATOR_KEY.secret,
    )
    for node in (here.node, elsewhere.node):
        digest = node.rpc("eth_sendRawTransaction", "0x" + signed.raw_transaction.hex())
        worked(node.receipt, digest)
    assert balance(here.usdc, PAYEE) == MAXIMUM
    return Taken(balance(elsewhere.usdc, PAYEE), 0)


def kill_of_what_was_executed(ground: Ground) -> Taken:
    """The attacker has the engine's place, has a batch executed, says that it is stuck, and has it replaced.

    The bound is one payment."""
    vault = ground.vault()
    first, second = (batch(vault.usdc, (PAYEE, MAXIMUM)) for _ in range(2))
    vault.pay(first)
    worked(vault.pay, second, kills=[first])
    return Taken(balance(vault.usdc, PAYEE), MAXIMUM)


def killed_and_then_sent(ground: Ground) -> Taken:
    """The attacker has the engine's place, keeps a signed batch until it was replaced, and then sends it.

    The bound is one payment."""
    vault = ground.vault()
    first, second = (batch(vault.usdc, (PAYEE, MAXIMUM)) for _ in range(2))
    vault.pay(second, kills=[first])
    worked(vault.pay, first)
    return Taken(balance(vault.usdc, PAYEE), MAXIMUM)


def skipped_and_retried_twice(ground: Ground) -> Taken:
    """The attacker has the engine's place and two batches that both replace an item that was skipped.

    The bound is one payment."""
    vault = ground.vault()
    first = skipping(vault)
    for _ in range(2):
        worked(vault.pay, batch(vault.usdc, (PAYEE, MAXIMUM)), retries=[(first, 0)])
    return Taken(balance(vault.usdc, PAYEE), MAXIMUM)


def paid_and_retried(ground: Ground) -> Taken:
    """The attacker has the engine's place and says that an item was skipped which was paid.

    The bound is one payment."""
    vault = ground.vault()
    first = batch(vault.usdc, (PAYEE, MAXIMUM))
    vault.pay(first)
    worked(vault.pay, batch(vault.usdc, (PAYEE, MAXIMUM)), retries=[(first, 0)])
    return Taken(balance(vault.usdc, PAYEE), MAXIMUM)


def sent_after_the_deadline(ground: Ground) -> Taken:
    """The attacker has the engine's place and sends a batch a day after it should have been there. The bound is 0."""
    vault = ground.vault()
    late = batch(vault.usdc, (PAYEE, MAXIMUM))
    data = vault.call_data(late, deadline=vault.node.now + 600)
    vault.node.next_block_at(vault.node.now + 86_400)
    worked(vault.contract.send_data, OPERATOR, data)
    return Taken(balance(vault.usdc, PAYEE), 0)


def token_calls_the_same_batch(ground: Ground) -> Taken:
    """The attacker has a listed token that is the vault's operator as well, and calls the batch inside of itself.

    The bound is one payment."""
    vault, hostile = reentrant(ground)
    again = batch(hostile, (PAYEE, MAXIMUM))
    hostile.send(DEPLOYER, "setCallback", vault.address, vault.call_data(again))
    perform(vault, vault.call_data(again))
    return Taken(balance(hostile, PAYEE), MAXIMUM)


def token_calls_other_batches(ground: Ground) -> Taken:
    """The attacker has a listed token that is the operator as well, and empties the bucket inside of a small batch.

    The bound is the bucket."""
    vault, hostile = reentrant(ground)
    inner = batch(hostile, *[(THIEF, MAXIMUM)] * 9)
    hostile.send(DEPLOYER, "setCallback", vault.address, vault.call_data(inner))
    first = vault.node.now
    perform(vault, vault.call_data(batch(hostile, (PAYEE, 1))))
    worked(perform, vault, vault.call_data(batch(hostile, *[(THIEF, MAXIMUM)] * 9)))
    return Taken(balance(hostile, THIEF), CAPACITY + REFILL * (vault.node.now - first))


def old_pause_message(ground: Ground) -> Taken:
    """The attacker has a pause message that was used, and stops the vault again after the owner's unpause. 0 times."""
    vault = ground.vault()
    message = vault.pause_message()
    vault.contract.send(STRANGER, "pauseBySignature", *message)
    vault.contract.send(OWNER, "unpause")
    worked(vault.contract.send, STRANGER, "pauseBySignature", *message)
    return Taken(int(vault.paused()), 0)


def pause_message_of_another_vault(ground: Ground) -> Taken:
    """The attacker has a pause message for one vault and stops another that has the same guardian. 0 times."""
    vault, second = ground.vault(), ground.vault()
    worked(second.contract.send, STRANGER, "pauseBySignature", *vault.pause_message())
    return Taken(int(second.paused()), 0)


def pause_message_of_another_chain(ground: Ground) -> Taken:
    """The attacker has a pause message for one chain and stops the vault's twin on another. 0 times."""
    here, elsewhere = ground.twins()
    worked(elsewhere.contract.send, STRANGER, "pauseBySignature", *here.pause_message())
    return Taken(int(elsewhere.paused()), 0)


def forged_pause_message(ground: Ground) -> Taken:
    """The attacker has a key of its own, or none, and stops the vault. 0 times."""
    vault = ground.vault()
    for message in (vault.pause_message(OPERATOR_KEY), (27, bytes(32), bytes(32)), (0, bytes(32), bytes(32))):
        worked(vault.contract.send, STRANGER, "pauseBySignature", *message)
    return Taken(int(vault.paused()), 0)


def too_little_gas(ground: Ground) -> Taken:
    """The attacker has the engine's place and chooses the gas so that the last payee's transfer has too little.

    The bound is 0 payees skipped that would have been paid."""
    vault = ground.vault()
    behave(vault, PAYEE, "NeedsMuchGas")
    enough = least_gas(vault)
    gas, skipped = enough + 60_000, 0
    while balance(vault.hostile, PAYEE) == 0:
        gas += 2_000
        once = batch(vault.hostile, (STRANGER, 1), (PAYEE, MAXIMUM))
        worked(vault.pay, once, gas=gas)
        skipped += vault.fate(once)[1].bit_count()
    return Taken(skipped, 0)


def least_gas(vault: Vault) -> int:
    """The least for each transfer with which PAYEE, as the second of a batch, is paid; it is set."""
    low, high = 700_000, 900_000
    while high - low > 1:
        middle = (low + high) // 2
        vault.list(vault.hostile, (*LIMIT[:3], middle))
        snapshot, once = vault.node.snapshot(), batch(vault.hostile, (STRANGER, 1), (PAYEE, 1))
        vault.pay(once)
        is_paid = vault.fate(once)[1] == 0
        vault.node.revert(snapshot)
        low, high = (low, middle) if is_paid else (middle, high)
    vault.list(vault.hostile, (*LIMIT[:3], high))
    return high


def payee_burns_gas(ground: Ground) -> Taken:
    """The attacker is a payee whose transfers burn all gas that they get. The bound is 0 other payees unpaid."""
    return crowd_with(ground, "BurnsGas", gas=2_000_000)


def payee_throws_bombs(ground: Ground) -> Taken:
    """The attacker is ten payees whose transfers return 180 kB. The bound is 0 other payees unpaid."""
    loss = sum(crowd_with(ground, each, gas=2_000_000).loss for each in ("RevertsWithBomb", "ReturnsBomb"))
    return Taken(loss, 0)


def token_without_code(ground: Ground) -> Taken:
    """The attacker is a token's issuer, and its code is gone. The bound is 0 payees that count as paid."""
    vault = ground.vault()
    vault.node.rpc("anvil_setCode", vault.usdc.address, "0x")
    once = batch(vault.usdc, (PAYEE, MAXIMUM))
    worked(vault.pay, once)
    return Taken(int(vault.fate(once)[0] == 1), 0)


def token_stopped_for_a_moment(ground: Ground) -> Taken:
    """The attacker is a token's issuer who pauses it. The bound is 0 of the limit spent on payments that weren't."""
    vault = ground.vault()
    vault.usdc.send(DEPLOYER, "setPaused", True)
    worked(vault.pay, batch(vault.usdc, (PAYEE, MAXIMUM), (STRANGER, MAXIMUM)))
    return Taken(CAPACITY - int(vault.contract.read("available", vault.usdc.address)), 0)


def skipped_and_forgotten(ground: Ground) -> Taken:
    """The attacker has nothing; payees are skipped at each end of a batch, and must be paid later.

    The bound is 0 payees that neither were paid nor can be."""
    vault = ground.vault()
    lost = 0
    for count in (248, 249, 257):
        payees = [account(f"one of {count}: {number}") for number in range(count)]
        for payee in (payees[0], payees[-1]):
            vault.usdc.send(DEPLOYER, "setBlacklisted", payee, True)
        first = batch(vault.usdc, *[(payee, USD) for payee in payees])
        if worked(vault.pay, first):
            for index in (0, count - 1):
                later = batch(vault.usdc, (STRANGER, USD))
                lost += not worked(vault.pay, later, retries=[(first, index)])
    return Taken(lost, 0)


def skipping(vault: Vault) -> Batch:
    """A batch whose first item was skipped, as the payee was refused for a moment."""
    made = batch(vault.usdc, (PAYEE, MAXIMUM), (STRANGER, USD))
    vault.usdc.send(DEPLOYER, "setBlacklisted", PAYEE, True)
    vault.pay(made)
    vault.usdc.send(DEPLOYER, "setBlacklisted", PAYEE, False)
    assert balance(vault.usdc, PAYEE) == 0
    return made


def reentrant(ground: Ground) -> tuple[Vault, Contract]:
    """A vault whose operator is the hostile token, which calls back when it pays PAYEE."""
    vault = ground.vault()
    vault.list(vault.hostile)
    vault.contract.send(OWNER, "rotate", vault.hostile.address, vault.contract.read("guardian"))
    vault.contract.send(OWNER, "setLimit", vault.hostile.address, *LIMIT[:3], 2_000_000)
    behave(vault, PAYEE, "CallsBack")
    return vault, vault.hostile


def perform(vault: Vault, data: bytes) -> Receipt:
    """The hostile token calls the vault."""
    return vault.hostile.send(DEPLOYER, "perform", vault.address, data)


def crowd_with(ground: Ground, behaviour: str, *, gas: int) -> Taken:
    """Ten payees of that kind among ten honest ones, in a batch with gas for all of them."""
    vault = ground.vault()
    vault.list(vault.hostile)
    items: list[Item] = []
    honest = [account(f"honest {number}") for number in range(10)]
    for number, payee in enumerate(honest):
        nasty = account(f"nasty {number}")
        behave(vault, nasty, behaviour)
        items += [Item(nasty, USD), Item(payee, USD)]
    worked(vault.pay, Batch(vault.hostile.address, items), gas=gas)
    return Taken(sum(balance(vault.hostile, payee) != USD for payee in honest), 0)


@dataclass(frozen=True)
class Case:
    act: Callable[[Ground], Taken]
    controls: Sequence[str]


CASES = {
    case.act.__name__: case for case in (
        Case(operator_stolen, ["no limit", "no pause"]),
        Case(operator_stolen_while_the_limit_changes, ["a new limit forgets"]),
        Case(operator_stolen_for_one_payment, ["no maximum"]),
        Case(operator_takes_another_token, ["one bucket for all"]),
        Case(operator_plays_the_owner, ["anybody is the owner"]),
        Case(operator_sweeps_to_itself, ["sweeps go to the caller"]),
        Case(guardian_stolen, ["anybody is the owner", "anybody is the operator", "anybody sweeps"]),
        Case(stranger_plays_the_operator, ["anybody is the operator"]),
        Case(stranger_empties_the_vault, ["anybody sweeps"]),
        Case(same_batch_again, ["no status"]),
        Case(same_call_to_another_vault, ["id without vault", "id isn't checked"]),
        Case(same_chain_transaction_on_another_chain, ["id without chain", "id isn't checked"]),
        Case(kill_of_what_was_executed, ["executed can be killed"]),
        Case(killed_and_then_sent, ["kills leave no mark", "no status"]),
        Case(skipped_and_retried_twice, ["retries clear no flag"]),
        Case(paid_and_retried, ["retries need no flag"]),
        Case(sent_after_the_deadline, ["no deadline"]),
        Case(token_calls_the_same_batch, ["executed after the calls"]),
        Case(token_calls_other_batches, ["charged after the calls"]),
        Case(old_pause_message, ["an unpause voids nothing"]),
        Case(pause_message_of_another_vault, ["a pause for any vault"]),
        Case(pause_message_of_another_chain, ["a pause for any chain"]),
        Case(forged_pause_message, ["anybody pauses"]),
        Case(too_little_gas, ["gas isn't looked at"]),
        Case(payee_burns_gas, ["gas has no bound"]),
        Case(payee_throws_bombs, ["what is returned is copied"]),
        Case(token_without_code, ["code isn't looked for"]),
        Case(token_stopped_for_a_moment, ["a batch may be all skipped"]),
        Case(skipped_and_forgotten, ["skips leave no flag", "any count"]),
    )
}
