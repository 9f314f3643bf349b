"""What became of a batch and of each of its items, from what its vault and its token logged.

Only logs of the vault's own address say anything of a batch, and only Transfers of the batch's token, out of the vault
and between the vault's last event and its Executed, say what a payee got. Where the two don't agree to the unit, the
answer is `Differs`: nobody knows then, and people have to look.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from strongroom.formats.hot_vault import (
    Batch,
    Executed,
    HotVaultError,
    Killed,
    Log,
    Retried,
    read_transfer,
    read_vault_event,
)
from strongroom.rails.port import RailError


@dataclass(frozen=True, slots=True)
class Transfer:
    """Out of the vault."""

    token: bytes
    payee: bytes
    amount: int


@dataclass(frozen=True, slots=True)
class Execution:
    """`transfers` are all out of the vault, of any token, in their order."""

    event: Executed
    transfers: tuple[Transfer, ...]


VaultEvent = Execution | Killed | Retried


@dataclass(frozen=True, slots=True)
class Where:
    """The block of an event. `is_final`: it won't be undone."""

    height: int
    block_hash: str
    is_final: bool


@dataclass(frozen=True, slots=True)
class NotSeen:
    """Nothing of its batch stands in a block that was read. It may still be executed."""


@dataclass(frozen=True, slots=True)
class Paid:
    """The payee got `received`: less than the item where the token takes a fee."""

    received: int
    where: Where


@dataclass(frozen=True, slots=True)
class Skipped:
    """The batch was executed without it: only a retry that names it can pay it."""

    where: Where


@dataclass(frozen=True, slots=True)
class TakenOver:
    """The batch skipped it, and it is an item of the batch `by` since: ask what became of that one."""

    by: bytes
    where: Where


@dataclass(frozen=True, slots=True)
class Dead:
    """Its batch was killed: never paid by it, and never will be."""

    where: Where


@dataclass(frozen=True, slots=True)
class Differs:
    """Vault and token don't say the same, or not what the batch says."""

    reason: str
    where: Where


ItemFate = NotSeen | Paid | Skipped | TakenOver | Dead | Differs


def read_vault_logs(vault: bytes, logs: Sequence[Log]) -> list[VaultEvent]:
    """Of all logs of one chain transaction. Raises: RailError if the vault logged what a vault doesn't."""
    events: list[VaultEvent] = []
    transfers: list[Transfer] = []
    for log in logs:
        if log.address != vault:
            moved = transfer_of(log)
            if moved is not None and moved[0] == vault:
                transfers.append(Transfer(log.address, moved[1], moved[2]))
            continue
        try:
            event = read_vault_event(log)
        except HotVaultError as fault:
            raise RailError(f"an event of the vault {fault}: another contract is at its address") from fault
        if isinstance(event, Executed):
            events.append(Execution(event, tuple(transfers)))
        elif event is not None:
            events.append(event)
        transfers = []
    return events


def settle(batch: Batch, found: Sequence[tuple[VaultEvent, Where]]) -> tuple[ItemFate, ...]:
    """For each item of the batch. `found` are the events that name this batch, in the order of the chain."""
    decisions = [(event, where) for event, where in found if not isinstance(event, Retried)]
    if not decisions:
        return (NotSeen(),) * len(batch.items)
    decided, where = decisions[0]
    if len(decisions) > 1:
        return (Differs("the batch was decided more than once", where),) * len(batch.items)
    if isinstance(decided, Killed):
        return (Dead(where),) * len(batch.items)
    fates = list(_executed(batch, decided, where))
    for retried, retried_at in found:
        if isinstance(retried, Retried):
            known = fates[retried.index] if retried.index < len(fates) else None
            if not isinstance(known, Skipped):
                return (Differs(f"item {retried.index} was taken over without being skipped", retried_at),) * len(fates)
            fates[retried.index] = TakenOver(retried.by, retried_at)
    return tuple(fates)


def _executed(batch: Batch, execution: Execution, where: Where) -> Sequence[ItemFate]:
    event = execution.event
    items = [each for index, each in enumerate(batch.items) if index not in event.skipped]
    if event.batch != batch.name or event.token != batch.token:
        return [Differs("the event is of another batch or token", where)] * len(batch.items)
    if event.paid != sum(each.amount for each in items) or max(event.skipped, default=0) >= len(batch.items):
        return [Differs("the vault says another sum than that of the items that it paid", where)] * len(batch.items)
    received = _received([(each.payee, each.amount) for each in items], batch.token, execution.transfers)
    if received is None:
        return [Differs("the token's transfers aren't those of the items", where)] * len(batch.items)
    left = iter(received)
    return [
        Skipped(where) if index in event.skipped else Paid(next(left), where) for index in range(len(batch.items))
    ]


def _received(
    items: Sequence[tuple[bytes, int]], token: bytes, transfers: Sequence[Transfer]
) -> list[int] | None:
    """What each payee got, if the transfers are one for each item and, where that is less, one of the rest: its fee."""
    left = [each for each in transfers if each.token == token]
    received: list[int] = []
    for payee, amount in items:
        if not left or left[0].payee != payee or left[0].amount > amount:
            return None
        got = left.pop(0).amount
        if got < amount and (not left or left.pop(0).amount != amount - got):
            return None
        received.append(got)
    return None if left else received


def transfer_of(log: Log) -> tuple[bytes, bytes, int] | None:
    """Of any contract; what isn't of the form of a Transfer is something else."""
    try:
        return read_transfer(log)
    except HotVaultError:
        return None
