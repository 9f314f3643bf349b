"""What each hot wallet holds by the ledger, and by the chain as watch saw it last; and what of it was signed."""

from dataclasses import dataclass

from strongroom.domain.ids import OrganisationId
from strongroom.domain.instant import Instant
from strongroom.domain.ledger import Account
from strongroom.store.session import Session


@dataclass(frozen=True, slots=True)
class Seen:
    """As of one block, when something changed last. `under_way` left the wallet on the chain, or came back to it, and
    isn't settled in the ledger yet: where nothing is wrong, `chain` is `ledger` less `under_way`."""

    network: str
    height: int
    block_hash: str
    ledger: int
    chain: int
    under_way: int
    is_whole: bool
    at: Instant


@dataclass(frozen=True, slots=True)
class HotWallet:
    """`ledger` is what it has posted now, in base units; `seen` None where watch reads no chain for it."""

    asset: str
    ledger: int
    seen: Seen | None


async def read_wallets(connection: Session, organisation: OrganisationId) -> list[HotWallet]:
    """In the order of their assets' names."""
    rows = await connection.fetch(
        "SELECT l.asset, (l.debits_posted - l.credits_posted)::text AS posted, r.network, r.height, r.block_hash, "
        "r.ledger::text AS ledger, r.chain::text AS chain, (r.ledger - r.expected)::text AS under_way, r.is_whole, "
        "r.created_at FROM strongroom.ledger_accounts l LEFT JOIN LATERAL (SELECT * FROM strongroom.reconciliations f "
        "WHERE f.organisation = l.organisation AND f.asset = l.asset ORDER BY f.id DESC LIMIT 1) r ON true "
        "WHERE l.organisation = $1 AND l.account = $2 ORDER BY l.asset",
        organisation, Account.WALLET_HOT.value,
    )
    return [
        HotWallet(row["asset"], int(row["posted"]), None if row["network"] is None else Seen(
            row["network"], row["height"], row["block_hash"], int(row["ledger"]), int(row["chain"]),
            int(row["under_way"]), row["is_whole"], Instant(row["created_at"]),
        ))
        for row in rows
    ]


async def read_signed(connection: Session, organisation: OrganisationId) -> dict[str, int]:
    """By asset, the sum of the payouts that were signed and aren't void. Reads all of them: for people who look."""
    rows = await connection.fetch(
        "SELECT p.asset, sum(p.amount)::text AS signed FROM strongroom.payouts p WHERE p.organisation = $1 "
        "AND p.state <> 'failed' AND EXISTS (SELECT FROM strongroom.attempt_payouts m JOIN strongroom.attempts a "
        "USING (chain_transaction) WHERE m.payout = p.id AND a.signed IS NOT NULL) GROUP BY p.asset",
        organisation,
    )
    return {row["asset"]: int(row["signed"]) for row in rows}
