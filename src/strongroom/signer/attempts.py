"""Whether two chain transactions exclude each other, by what the journal knows of coins.

They do if they, or signed ancestors of theirs, spend one outpoint in different transactions: then no chain can hold
both. A rebuild that happens to pick other coins excludes nothing; that is the classic way to pay twice.
"""

from collections.abc import Iterable, Sequence
from typing import Final

from strongroom.formats.coins import ChainTransaction
from strongroom.formats.evm_address import EVM_NETWORK
from strongroom.protocol.guard_wire import Attestation
from strongroom.signer.book import Attempt, Payments
from strongroom.signer.cover_evm import covers
from strongroom.signer.due import Due
from strongroom.signer.rules import Rule, refuse

ANCESTORS_MAXIMUM: Final = 1_000
"""How far back it is looked; what lies further doesn't count as excluding, which refuses."""


def excludes(payments: Payments, new: ChainTransaction | Attestation, earlier: Attempt, payout: str = "") -> bool:
    """Whether `new`, which is to be signed or was seen by guard, and `earlier` can never both be on the chain.

    Of a vault's, whether they can never both pay the payout.
    """
    if EVM_NETWORK.fullmatch(new.network) is not None:
        return covers(payments, new.spends, earlier, payout)
    mine = set(new.spends)
    ours = {new.identifier, *_ancestors(payments, mine)}
    theirs = {earlier.transaction, *_ancestors(payments, earlier.inputs)}
    for transaction in theirs - ours:
        for outpoint in payments.attempts[transaction].inputs:
            if outpoint in mine or any(other in ours for other in payments.spenders[outpoint]):
                return True
    return False


def parent_of(payments: Payments, child: ChainTransaction, dues: Sequence[Due]) -> Attempt:
    """The payment that a child pays for: it spends the first of its change and nothing else, so that the chain holds
    one child of it at the most, and dies with it. Raises: Refused.

    What was taken back is hurried along by none, if nothing else is paid with it. What was signed before fees were
    written down has no weight here.
    """
    parent = payments.attempts.get(child.spends[0].partition(":")[0])
    if parent is None or child.spends != [f"{parent.transaction}:{len(parent.payouts)}"] or not parent.weight or (
            {each.payout for each in dues} != set(parent.payouts)):
        refuse(Rule.CHILD_PARENT, f"{child.spends[0]} isn't the first change of what pays these, with a known fee")
    is_new = child.identifier not in payments.attempts
    if is_new and all(payments.taken_back & {each.payout, each.subject} for each in dues):
        refuse(Rule.CHILD_PARENT, f"all that {parent.transaction} pays was taken back")
    return parent


def _ancestors(payments: Payments, outpoints: Iterable[str]) -> set[str]:
    """The signed transactions that made these outpoints, and those before them."""
    found: set[str] = set()
    waiting = list(outpoints)
    while waiting and len(found) < ANCESTORS_MAXIMUM:
        parent = waiting.pop().partition(":")[0]
        if parent in payments.attempts and parent not in found:
            found.add(parent)
            waiting += payments.attempts[parent].inputs
    return found
