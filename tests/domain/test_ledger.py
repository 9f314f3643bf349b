"""The ledger's rules: whatever is posted, money is neither made nor lost."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom.domain.ledger import Account, Balance, Book, LedgerError, Posting, PostingKind
from strongroom.domain.money import Amount, AssetId

BTC, EUR = AssetId("BTC"), AssetId("EUR")
FUNDING, HOT, PAYOUTS = Account.COMPANY_FUNDING, Account.WALLET_HOT, Account.PAYOUTS


def posting(
    number: int, kind: str, debit: Account, credit: Account, minor: int,
    settles: int | None = None, asset: AssetId = BTC,
) -> Posting:
    return Posting(number, PostingKind(kind), debit, credit, Amount(minor, asset), settles)


def opened(minor: int = 100) -> Book:
    return Book([posting(1, "posted", HOT, FUNDING, minor)])


def test_a_reservation_takes_from_what_is_available_and_is_settled_once() -> None:
    book = opened()
    book.post(posting(2, "pending", PAYOUTS, HOT, 60))
    assert book.balance(HOT, BTC) == Balance(debits_posted=100, credits_pending=60)
    assert book.balance(HOT, BTC).available == 40
    book.post(posting(3, "post_pending", PAYOUTS, HOT, 60, settles=2))
    assert book.balance(HOT, BTC) == Balance(debits_posted=100, credits_posted=60)
    assert book.balance(PAYOUTS, BTC) == Balance(debits_posted=60)


def test_a_voided_reservation_gives_the_money_back() -> None:
    book = opened()
    book.post(posting(2, "pending", PAYOUTS, HOT, 60))
    book.post(posting(3, "void_pending", PAYOUTS, HOT, 60, settles=2))
    assert book.balance(HOT, BTC) == Balance(debits_posted=100)
    assert book.balance(PAYOUTS, BTC) == Balance()


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (posting(3, "pending", PAYOUTS, HOT, 41), "overdrawn by 1"),
        (posting(3, "posted", PAYOUTS, HOT, 41), "overdrawn by 1"),
        (posting(3, "pending", HOT, HOT, 1), "same account"),
        (posting(3, "post_pending", PAYOUTS, HOT, 60), "must name a pending posting"),
        (posting(3, "pending", PAYOUTS, HOT, 1, settles=2), "must name a pending posting"),
        (posting(3, "post_pending", PAYOUTS, HOT, 60, settles=9), "isn't pending"),
        (posting(3, "void_pending", PAYOUTS, HOT, 59, settles=2), "differs"),
        (posting(3, "void_pending", HOT, PAYOUTS, 60, settles=2), "differs"),
        (posting(3, "void_pending", PAYOUTS, HOT, 60, settles=2, asset=EUR), "differs"),
    ],
)
def test_a_posting_that_breaks_a_rule_changes_nothing(wrong: Posting, reason: str) -> None:
    book = opened()
    book.post(posting(2, "pending", PAYOUTS, HOT, 60))
    before = {account: book.balance(account, BTC) for account in Account}
    with pytest.raises(LedgerError, match=reason):
        book.post(wrong)
    assert {account: book.balance(account, BTC) for account in Account} == before


def test_a_reservation_cannot_be_settled_twice() -> None:
    book = opened()
    book.post(posting(2, "pending", PAYOUTS, HOT, 60))
    book.post(posting(3, "void_pending", PAYOUTS, HOT, 60, settles=2))
    with pytest.raises(LedgerError, match="isn't pending"):
        book.post(posting(4, "post_pending", PAYOUTS, HOT, 60, settles=2))


postings = st.lists(
    st.builds(
        Posting,
        id=st.integers(1, 12),
        kind=st.sampled_from(PostingKind),
        debit=st.sampled_from(Account),
        credit=st.sampled_from(Account),
        amount=st.builds(Amount, minor=st.integers(1, 50), asset=st.sampled_from([BTC, EUR])),
        settles=st.none() | st.integers(1, 12),
    ),
    max_size=30,
)


@given(postings)
def test_whatever_is_posted_money_is_conserved_and_the_wallet_is_never_overdrawn(
    postings: list[Posting],
) -> None:
    book = opened(100)
    for each in postings:
        with contextlib.suppress(LedgerError):
            book.post(each)
        for asset in (BTC, EUR):
            balances = [book.balance(account, asset) for account in Account]
            assert sum(b.debits_posted for b in balances) == sum(b.credits_posted for b in balances)
            assert sum(b.debits_pending for b in balances) == sum(b.credits_pending for b in balances)
            assert book.balance(HOT, asset).available >= 0
            assert all(min(b.debits_pending, b.credits_pending, b.debits_posted) >= 0 for b in balances)
