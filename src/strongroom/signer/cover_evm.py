"""Whether attempts that a vault pays exclude each other: by what they cover, and nothing that the chain says.

A vault executes a batch once or never (docs/vault.md). So a new attempt may pay a payout again if it is the same batch,
or if it kills each earlier one, or takes over its item of one that was executed without it: directly, or by way of a
later attempt that covered the earlier one already.
"""

from collections.abc import Sequence
from typing import Final

from strongroom.formats.coins import ChainTransaction
from strongroom.formats.evm_vault_call import KILL, PAY
from strongroom.signer.book import Attempt, Payments
from strongroom.signer.rules import Rule, refuse

DEPTH_MAXIMUM: Final = 50
"""Retries of retries that are followed; what lies further doesn't count as covered, which refuses."""


def check_batch(payments: Payments, transaction: ChainTransaction, payouts: Sequence[str]) -> None:
    """A vault's batch is of the same payouts whenever it is signed, and takes over items of theirs only; what no vault
    pays is none. Raises: Refused.

    Two payouts of one amount to one address make the same item: both would count as paid by it. And what was taken
    over by a batch that doesn't pay it could never be paid again.
    """
    if transaction.vault is None:
        return
    for batch, what in (each.split(":") for each in transaction.spends):
        for attempt in _attempts(payments, batch):
            if what == PAY and attempt.payouts != tuple(payouts):
                refuse(Rule.PAYOUT_ONCE, f"the batch {batch} was signed for other payouts")
            if what.isdigit() and not set(attempt.payouts[int(what) : int(what) + 1]) <= set(payouts):
                refuse(Rule.PAYOUT_ONCE, f"item {what} of the batch {batch} is of a payout that isn't paid here")


def covers(payments: Payments, spends: Sequence[str], earlier: Attempt, payout: str, depth: int = 0) -> bool:
    """Whether a vault can't pay the payout by `earlier` and by what spends these."""
    before, said = _batch(earlier.inputs), [each.split(":") for each in spends]
    if [before, PAY] in said or [before, KILL] in said:
        return True
    return depth < DEPTH_MAXIMUM and any(
        what.isdigit() and _takes_over(payments, batch, int(what), earlier, payout, depth) for batch, what in said
    )


def _takes_over(payments: Payments, batch: str, index: int, earlier: Attempt, payout: str, depth: int) -> bool:
    """Whether this item is the payout's, of the earlier batch or of one that covers that, however it was signed."""
    retried = _attempts(payments, batch)
    return bool(retried) and all(
        payout in each.payouts[index : index + 1]
        and (batch == _batch(earlier.inputs) or covers(payments, each.inputs, earlier, payout, depth + 1))
        for each in retried
    )


def _attempts(payments: Payments, batch: str) -> list[Attempt]:
    """All that were signed of a batch."""
    return [payments.attempts[each] for each in payments.spenders.get(f"{batch}:{PAY}", ())]


def _batch(spends: Sequence[str]) -> str:
    """What an attempt pays; nothing if it only kills."""
    return next((batch for batch, what in (each.split(":") for each in spends) if what == PAY), "")
