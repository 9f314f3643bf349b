"""The ledger in PostgreSQL keeps the rules of `domain.ledger`, posting by posting."""

import asyncio
import random
import re

import asyncpg
import pytest
from tests.conftest import Database
from tests.domain.policy_document import USDC
from tests.store.organisation import create

from strongroom.domain.ledger import Account, Book, LedgerError, Posting, PostingKind
from strongroom.domain.money import Amount, AssetId
from strongroom.store.ledger import read_balances

ASSET = AssetId(USDC)


@pytest.mark.parametrize("seed", range(6))
def test_postgresql_and_the_model_agree_on_every_posting(database: Database, seed: int) -> None:
    chance = random.Random(seed)

    async def go() -> None:
        organisation = await create(database.owner_dsn, opening_minor=100)
        owner = await asyncpg.connect(database.owner_dsn)
        rows = await owner.fetch("SELECT id, account FROM strongroom.ledger_accounts")
        accounts = {Account(row["account"]): row["id"] for row in rows}
        opening = await owner.fetchval("SELECT id FROM strongroom.ledger_postings")
        book = Book([_posting(opening, "posted", Account.WALLET_HOT, Account.COMPANY_FUNDING, 100)])
        pending: list[int] = []
        for _ in range(60):
            debit, credit = (chance.choice(list(Account)) for _ in range(2))
            kind = chance.choice(list(PostingKind))
            settles = chance.choice(pending) if pending and kind.value.endswith("_pending") else None
            number = await owner.fetchval("SELECT nextval('strongroom.ledger_postings_id_seq')")
            posting = _posting(number, kind, debit, credit, chance.randint(1, 40), settles)
            assert await _accepted(owner, posting, accounts) == _modelled(book, posting)
            if kind is PostingKind.PENDING:
                pending.append(number)
            found = {each.account: each.balance for each in await read_balances(owner, organisation.id)}
            assert found == {account: book.balance(account, ASSET) for account in Account}
        await owner.close()

    asyncio.run(go())


def test_a_posting_between_two_organisations_is_refused(database: Database) -> None:
    async def go() -> None:
        organisations = [await create(database.owner_dsn) for _ in range(2)]
        owner = await asyncpg.connect(database.owner_dsn)
        ids = [
            await owner.fetchval(
                "SELECT id FROM strongroom.ledger_accounts WHERE organisation = $1 AND account = $2", each.id, account
            )
            for each, account in zip(organisations, ("payouts", "wallet:hot"), strict=True)
        ]
        with pytest.raises(asyncpg.CheckViolationError, match="one organisation and asset"):
            await owner.execute(
                "INSERT INTO strongroom.ledger_postings "
                "(kind, debit_account, credit_account, amount, entry, created_at) VALUES ('posted', $1, $2, 1, 'x', 1)",
                *ids,
            )
        await owner.close()

    asyncio.run(go())


def _posting(
    number: int, kind: str, debit: Account, credit: Account, minor: int, settles: int | None = None
) -> Posting:
    return Posting(number, PostingKind(kind), debit, credit, Amount(minor, ASSET), settles)


def _modelled(book: Book, posting: Posting) -> bool:
    try:
        book.post(posting)
    except LedgerError:
        return False
    return True


async def _accepted(owner: asyncpg.Connection, posting: Posting, accounts: dict[Account, int]) -> bool:
    try:
        await owner.execute(
            "INSERT INTO strongroom.ledger_postings "
            "(id, kind, settles, debit_account, credit_account, amount, entry, created_at) OVERRIDING SYSTEM VALUE "
            "VALUES ($1, $2, $3, $4, $5, $6, 'test', 1)",
            posting.id, posting.kind.value, posting.settles, accounts[posting.debit], accounts[posting.credit],
            posting.amount.minor,
        )
    except (asyncpg.CheckViolationError, asyncpg.UniqueViolationError):
        return False
    return True




def test_every_account_that_the_database_takes_is_known(database: Database) -> None:
    """Who reads balances would fail on one that isn't."""

    async def go() -> None:
        owner = await asyncpg.connect(database.owner_dsn)
        rule = await owner.fetchval(
            "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = 'ledger_accounts_account_check'"
        )
        await owner.close()
        assert set(re.findall("'([a-z:]+)'", rule)) == {each.value for each in Account}

    asyncio.run(go())
