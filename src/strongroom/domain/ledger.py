"""The ledger's rules: double entry in whole base units, append-only, balanced by construction.

A posting carries both its sides, one asset and one positive amount, so no entry can be out of balance. A
reservation is a `pending` posting; once and only once it is posted or voided, by a later posting that names
it. PostgreSQL keeps the balances by the same rules (`store`); a test holds the two against each other.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from strongroom.domain.money import Amount, AssetId


class Account(StrEnum):
    """The accounts of an organisation, one of each for every asset."""

    WALLET_HOT = "wallet:hot"
    COMPANY_FUNDING = "company:funding"
    PAYOUTS = "payouts"
    FEES = "fees"
    SUSPENSE = "suspense"
    """What came and isn't explained."""


NEVER_OVERDRAWN = frozenset({Account.WALLET_HOT})
"""Debits are what such an account has; credits, pending ones included, may not pass them."""


class PostingKind(StrEnum):
    POSTED = "posted"
    PENDING = "pending"
    POST_PENDING = "post_pending"
    VOID_PENDING = "void_pending"


class LedgerError(ValueError):
    """The posting breaks a rule of the ledger; nothing was changed."""


@dataclass(frozen=True, slots=True)
class Posting:
    """`amount` moves from `credit` to `debit`. `settles` names the pending posting that this one ends."""

    id: int
    kind: PostingKind
    debit: Account
    credit: Account
    amount: Amount
    settles: int | None = None


@dataclass(frozen=True, slots=True)
class Balance:
    """Base units, none negative."""

    debits_pending: int = 0
    debits_posted: int = 0
    credits_pending: int = 0
    credits_posted: int = 0

    @property
    def available(self) -> int:
        """What an account that is never overdrawn can still give away."""
        return self.debits_posted - self.credits_posted - self.credits_pending


class Book:
    """All accounts of one organisation, from its postings in their order."""

    def __init__(self, postings: Iterable[Posting] = ()) -> None:
        self._balances: dict[tuple[Account, AssetId], Balance] = {}
        self._pending: dict[int, Posting] = {}
        for posting in postings:
            self.post(posting)

    def balance(self, account: Account, asset: AssetId) -> Balance:
        return self._balances.get((account, asset), Balance())

    def post(self, posting: Posting) -> None:
        """Apply one posting. Raises: LedgerError, and then nothing has changed."""
        if posting.debit is posting.credit:
            raise LedgerError("both sides are the same account")
        reserved = self._settled_by(posting)
        asset = posting.amount.asset
        debit = _moved(self.balance(posting.debit, asset), posting.kind, posting.amount.minor, 0)
        credit = _moved(self.balance(posting.credit, asset), posting.kind, 0, posting.amount.minor)
        for account, balance in ((posting.debit, debit), (posting.credit, credit)):
            if account in NEVER_OVERDRAWN and balance.available < 0:
                raise LedgerError(f"{account} would be overdrawn by {-balance.available}")
        self._balances[posting.debit, asset] = debit
        self._balances[posting.credit, asset] = credit
        if posting.kind is PostingKind.PENDING:
            self._pending[posting.id] = posting
        elif reserved is not None:
            del self._pending[reserved.id]

    def _settled_by(self, posting: Posting) -> Posting | None:
        settles = posting.kind in (PostingKind.POST_PENDING, PostingKind.VOID_PENDING)
        if settles != (posting.settles is not None):
            raise LedgerError("settles must name a pending posting exactly when the kind posts or voids one")
        if posting.settles is None:
            return None
        reserved = self._pending.get(posting.settles)
        if reserved is None:
            raise LedgerError(f"posting {posting.settles} isn't pending")
        same_accounts = (reserved.debit, reserved.credit) == (posting.debit, posting.credit)
        if not same_accounts or reserved.amount != posting.amount:
            raise LedgerError(f"differs from the pending posting {posting.settles} in account or amount")
        return reserved


def _moved(balance: Balance, kind: PostingKind, debit: int, credit: int) -> Balance:
    pending = {PostingKind.POSTED: 0, PostingKind.PENDING: 1}.get(kind, -1)
    posted = 0 if kind in (PostingKind.PENDING, PostingKind.VOID_PENDING) else 1
    return Balance(
        balance.debits_pending + pending * debit,
        balance.debits_posted + posted * debit,
        balance.credits_pending + pending * credit,
        balance.credits_posted + posted * credit,
    )
