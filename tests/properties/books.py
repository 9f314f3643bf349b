"""What must hold of the record after any sequence of requests, and of the answers that were given."""

from collections import Counter

import asyncpg

CONSERVED = """
SELECT a.id FROM strongroom.ledger_accounts a LEFT JOIN LATERAL (
    SELECT coalesce(sum(amount) FILTER (WHERE debit_account = a.id AND kind = 'pending'), 0) AS debits_pending,
           coalesce(sum(amount) FILTER (WHERE debit_account = a.id AND kind = 'posted'), 0) AS debits_posted,
           coalesce(sum(amount) FILTER (WHERE credit_account = a.id AND kind = 'pending'), 0) AS credits_pending,
           coalesce(sum(amount) FILTER (WHERE credit_account = a.id AND kind = 'posted'), 0) AS credits_posted
    FROM strongroom.ledger_postings WHERE a.id IN (debit_account, credit_account)) p ON true
WHERE (a.debits_pending, a.debits_posted, a.credits_pending, a.credits_posted)
    IS DISTINCT FROM (p.debits_pending, p.debits_posted, p.credits_pending, p.credits_posted)
"""
BALANCE = """
SELECT organisation, asset FROM strongroom.ledger_accounts GROUP BY 1, 2
HAVING sum(debits_pending) <> sum(credits_pending) OR sum(debits_posted) <> sum(credits_posted)
"""
RESERVED = """
SELECT coalesce(p.id, l.entry) AS id FROM (SELECT * FROM strongroom.payouts WHERE counted) p
FULL JOIN (SELECT * FROM strongroom.ledger_postings WHERE kind = 'pending') l ON l.entry = p.id
WHERE p.id IS NULL OR l.id IS NULL OR l.amount <> p.amount OR l.id <> p.posting
"""
DEBTS = """
SELECT p.client, p.external_id, d.network, d.address, p.replaces FROM strongroom.payouts p
JOIN strongroom.destinations d ON d.digest = p.destination_digest
"""
OVERDRAWN = """
SELECT id FROM strongroom.ledger_accounts
WHERE account = 'wallet:hot' AND debits_posted < credits_posted + credits_pending
"""


async def check_books(owner: asyncpg.Connection, limit_minor: int) -> None:
    """Money is conserved, each key and each debt has one payout, and no more is counted than the limit."""
    for broken in (CONSERVED, BALANCE, RESERVED, OVERDRAWN):
        rows = await owner.fetch(broken)
        assert rows == [], (broken, rows)
    keys = Counter((row["client"], row["idempotency_key"]) for row in await owner.fetch(
        "SELECT client, idempotency_key FROM strongroom.payouts"))
    assert all(count == 1 for count in keys.values()), keys
    requests = Counter((row["client"], row["idempotency_key"], row["path"]) for row in await owner.fetch(
        "SELECT client, idempotency_key, path FROM strongroom.evidence"))
    assert all(count == 1 for count in requests.values()), requests
    debts = Counter(tuple(row.values()) for row in await owner.fetch(DEBTS))
    assert all(count == 1 for count in debts.values()), debts
    counted = await owner.fetch(
        "SELECT organisation, sum(reference_minor) AS used FROM strongroom.payouts "
        "WHERE counted AND approvals = 0 GROUP BY organisation"
    )
    assert all(row["used"] <= limit_minor for row in counted), counted


async def check_exact(owner: asyncpg.Connection, organisation: str, limit_minor: int, wallet_minor: int) -> None:
    """Each payout was counted if and only if it fitted into the limit and the wallet, in the order of the log.

    For stories of one day, in which nothing needs people.
    """
    used = reserved = 0
    for row in await owner.fetch(
        "SELECT id, reference_minor, amount, counted, limit_name FROM strongroom.payouts WHERE organisation = $1 "
        "ORDER BY leaf", organisation,
    ):
        reference, amount = int(row["reference_minor"]), int(row["amount"])
        has_room, has_funds = used + reference <= limit_minor, reserved + amount <= wallet_minor
        assert row["counted"] is (has_room and has_funds), row
        assert (row["limit_name"] is None) is has_room, row
        if row["counted"]:
            used, reserved = used + reference, reserved + amount
