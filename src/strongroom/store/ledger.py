"""Reading the ledger."""

from dataclasses import dataclass

from strongroom.domain.ids import OrganisationId
from strongroom.domain.ledger import Account, Balance
from strongroom.store.session import Session


@dataclass(frozen=True, slots=True)
class AccountBalance:
    account: Account
    asset: str
    balance: Balance


async def read_balances(connection: Session, organisation: OrganisationId) -> list[AccountBalance]:
    """All accounts of an organisation."""
    rows = await connection.fetch(
        "SELECT account, asset, debits_pending::text, debits_posted::text, credits_pending::text, credits_posted::text "
        "FROM strongroom.ledger_accounts WHERE organisation = $1 ORDER BY account, asset",
        organisation,
    )
    return [
        AccountBalance(
            Account(row["account"]),
            row["asset"],
            Balance(
                int(row["debits_pending"]), int(row["debits_posted"]), int(row["credits_pending"]),
                int(row["credits_posted"]),
            ),
        )
        for row in rows
    ]
