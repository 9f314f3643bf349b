"""How far payouts came after intake, for those who ask: what the signer, people, the chain and watch have said."""

from collections.abc import Sequence
from dataclasses import dataclass

from strongroom.domain.ids import PayoutId
from strongroom.domain.instant import Instant
from strongroom.store.session import Session


@dataclass(frozen=True, slots=True)
class Progress:
    """Times are None for what hasn't happened. `reason` is (code, source, detail).

    `attempts` are those that were signed, oldest first, by the signer's names, and `chain_transactions` the same by the
    chain's; the times of signing, sending and settling are of the
    newest. `people` have answered of the `approvals` that the signer asked for.
    """

    reason: tuple[str, str, str] | None = None
    attempts: tuple[str, ...] = ()
    chain_transactions: tuple[str, ...] = ()
    requested: Instant | None = None
    approvals: int = 0
    people: int = 0
    signed: Instant | None = None
    broadcast: Instant | None = None
    settled: Instant | None = None


@dataclass(frozen=True, slots=True)
class UnpaidReceipt:
    """The signer's word that a payout, or its run, will never be paid, with its signature.

    It was never signed; or it is void: then the word names each attempt, and the chain transaction that excludes it.
    """

    receipt: bytes
    signature: bytes


NOTHING = Progress()


async def read_progress(connection: Session, payouts: Sequence[PayoutId]) -> dict[PayoutId, Progress]:
    """Of each payout that there is."""
    rows = await connection.fetch(
        "SELECT p.id, p.status_code, p.status_source, p.status_detail, r.created_at AS requested, r.approvals, "
        "(SELECT count(DISTINCT a.person) FROM strongroom.approval_assertions a "
        "WHERE a.request_hash = r.request_hash) AS people, t.attempts, t.transactions, t.signed_at, "
        "t.broadcast_at, t.settled_at "
        "FROM strongroom.payouts p "
        "LEFT JOIN LATERAL (SELECT q.request_hash, q.created_at, q.approvals FROM strongroom.approval_requests q "
        "WHERE q.subject = coalesce(p.run, p.id) ORDER BY q.id DESC LIMIT 1) r ON true "
        "LEFT JOIN LATERAL (SELECT array_agg(a.chain_transaction ORDER BY a.created_at) AS attempts, "
        "array_agg(coalesce(n.chain_name, a.chain_transaction) ORDER BY a.created_at) AS transactions, "
        "max(a.signed_at) AS signed_at, max(a.broadcast_at) AS broadcast_at, max(a.settled_at) AS settled_at "
        "FROM strongroom.attempt_payouts m JOIN strongroom.attempts a USING (chain_transaction) "
        "LEFT JOIN strongroom.chain_names n USING (chain_transaction) "
        "WHERE m.payout = p.id AND a.signed IS NOT NULL) t ON true WHERE p.id = ANY ($1)",
        list(payouts),
    )
    return {
        PayoutId(row["id"]): Progress(
            None if row["status_code"] is None
            else (row["status_code"], row["status_source"], row["status_detail"] or ""),
            tuple(row["attempts"] or ()), tuple(row["transactions"] or ()), row["requested"], row["approvals"] or 0,
            row["people"], row["signed_at"], row["broadcast_at"], row["settled_at"],
        )
        for row in rows
    }


async def read_unpaid_receipt(connection: Session, payout: PayoutId) -> UnpaidReceipt | None:
    row = await connection.fetchrow(
        "SELECT r.receipt, r.signature FROM strongroom.payouts p JOIN strongroom.receipts r "
        "ON r.object = p.id OR r.object = p.run WHERE p.id = $1 ORDER BY r.object <> p.id LIMIT 1",
        payout,
    )
    return None if row is None else UnpaidReceipt(row["receipt"], row["signature"])
