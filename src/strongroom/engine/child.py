"""Pays for what no block takes by a child: its change goes back to change, for a fee that is enough for all of them.

Miners look at a chain transaction with all that it needs before it. So a child helps where a `bump` can't, as something
of ours is built on what is stuck; and it costs less where that is large and the node asks for little more, as what
replaces another pays for its relay anew and at least a fifth more. A child dies with its parent, moves no payout, and
nothing is built on it before it stands in a block.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from strongroom.domain.policy import WalletRule
from strongroom.engine.recall import REPLACES_PERCENT
from strongroom.engine.waits import shown_rate
from strongroom.engine.wallets import Wallet
from strongroom.formats.coin_formats import COIN_FORMATS
from strongroom.formats.coins import ChainTransaction
from strongroom.formats.coins import Coin as Spent
from strongroom.rails.port import ChainTransactionId, Coin
from strongroom.store.engine import StoredAttempt

CHILD = "child"
_PAYS = frozenset({"pay", "bump"})


class CantPayError(Exception):
    """Nothing can be offered that would help; the message says why."""


@dataclass(frozen=True, slots=True)
class Package:
    """What a child can pay for: `tip`, whose change it spends, and all before it that is in no block.

    `before` is the child that is there already, which another would have to replace.
    """

    tip: StoredAttempt
    members: tuple[ChainTransaction, ...]
    before: ChainTransaction | None


def package_of(attempt: StoredAttempt, under_way: Sequence[StoredAttempt]) -> Package | None:
    """With what is built on the attempt; None where the last of it isn't a payment with change. `under_way` is all of
    the wallet that is signed and in no block, oldest first.
    """
    read = {each.chain_transaction: COIN_FORMATS[each.network].read_unsigned(each.unsigned) for each in under_way}
    spender = {outpoint: each for each in under_way for outpoint in read[each.chain_transaction].spends}
    tip = attempt
    while (after := spender.get(_change(tip))) is not None and after.operation in _PAYS:
        tip = after
    if after is not None and after.operation != CHILD:
        return None
    if tip.chain_transaction not in read or len(read[tip.chain_transaction].outputs) == len(tip.payouts):
        return None
    members = tuple(read[name] for name in _needed(tip.chain_transaction, read))
    return Package(tip, members, None if after is None else read[after.chain_transaction])


def change_of(package: Package) -> Coin:
    """What a child of it spends."""
    tip = package.tip
    address, minor = COIN_FORMATS[tip.network].read_unsigned(tip.unsigned).outputs[len(tip.payouts)]
    return Coin(ChainTransactionId(tip.chain_transaction), len(tip.payouts), minor, address, None)


def build_child(
    package: Package, coin: Spent, wallet: Wallet, rate_per_1000: int, rule: WalletRule
) -> tuple[StoredAttempt, int]:
    """It, and its fee, by which all of them offer this rate. Raises: CantPayError."""
    tip, form = package.tip, COIN_FORMATS[package.tip.network]
    parent = form.read_unsigned(tip.unsigned)
    address, minor = coin.address, coin.amount
    size = form.signed_sizes([wallet.change])([address])
    whole, paid = size + sum(each.size for each in package.members), sum(each.fee for each in package.members)
    before = 0 if package.before is None else package.before.fee
    if rate_per_1000 * whole <= (paid + before) * 1_000:
        raise CantPayError(f"the node asks for {shown_rate(rate_per_1000)} {form.rate_unit}, which it offers already")
    fee = max(-(-rate_per_1000 * whole // 1_000) - paid, -(-rate_per_1000 * size // 1_000))
    if package.before is not None:
        fee = max(fee, -(-before * REPLACES_PERCENT // 100), before - -form.relay_per_1000 * size // 1_000)
    most = min(rule.fee_maximum_minor, rule.fee_rate_maximum * (size + parent.size) // 1_000) - parent.fee
    if fee > most:
        raise CantPayError(f"a child's fee of {fee} > {most}")
    if minor - fee < form.dust_minor:
        raise CantPayError("its change isn't enough for a child's fee")
    if address not in wallet.paths:
        raise CantPayError("its change isn't known to be the wallet's")
    unsigned = form.write_unsigned([coin], [(wallet.change, minor - fee)])
    paths = f"[[{wallet.paths[address][0]}, {wallet.paths[address][1]}]]"
    made = StoredAttempt(
        form.read_unsigned(unsigned).identifier, tip.organisation, tip.network, CHILD, "planned", unsigned, None,
        paths, (),
    )
    return made, fee


def parent_of(child: StoredAttempt) -> str:
    """The chain transaction whose change it spends."""
    (outpoint,) = COIN_FORMATS[child.network].read_unsigned(child.unsigned).spends
    return outpoint.partition(":")[0]


def _change(attempt: StoredAttempt) -> str:
    """The outpoint of the first change of a payment: what a child spends."""
    return f"{attempt.chain_transaction}:{len(attempt.payouts)}"


def _needed(name: str, read: Mapping[str, ChainTransaction]) -> list[str]:
    """It, and all before it that is in no block."""
    found, waiting = [], [name]
    while waiting:
        name = waiting.pop()
        if name in read and name not in found:
            found.append(name)
            waiting += [outpoint.partition(":")[0] for outpoint in read[name].spends]
    return found
