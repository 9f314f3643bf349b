"""What the engine reads and writes to offer more for what no block takes: one chain transaction in place of another, or
a child that pays for both."""

from collections.abc import Sequence
from typing import Final

from strongroom.domain.ids import OrganisationId
from strongroom.domain.instant import Instant
from strongroom.store.engine import (
    ATTEMPTS,
    REPORTED,
    ROWS_MAXIMUM,
    PlannedBeforeError,
    StoredAttempt,
    attempt_of,
    no_funds,
)
from strongroom.store.session import Session

_UNMINED: Final = REPORTED + """
WHERE a.nonce IS NULL AND a.state = 'broadcast' AND a.operation IN ('pay', 'bump') AND r.status = 'pending'
AND a.signed_at <= $1 AND a.due_at <= $2 ORDER BY a.created_at LIMIT $3
"""
_OUTBID: Final = ATTEMPTS + """
WHERE a.nonce IS NULL AND a.state IN ('signed', 'broadcast') AND a.operation IN ('pay', 'bump', 'child') AND EXISTS (
    SELECT FROM strongroom.attempt_coins mine JOIN strongroom.attempt_coins other USING (outpoint)
    JOIN strongroom.attempts o ON o.chain_transaction = other.chain_transaction
    WHERE mine.chain_transaction = a.chain_transaction AND o.state = 'settled'
        AND o.operation IN ('pay', 'bump', 'child'))
"""
_ORPHANS: Final = ATTEMPTS + """
JOIN strongroom.attempt_coins mine ON mine.chain_transaction = a.chain_transaction
JOIN strongroom.attempts parent ON parent.chain_transaction = split_part(mine.outpoint, ':', 1)
WHERE a.operation = 'child' AND a.state IN ('planned', 'signed', 'broadcast') AND parent.state = 'dropped'
"""
_OF_WALLET: Final = ATTEMPTS + """
WHERE a.nonce IS NULL AND a.organisation = $1 AND a.network = $2 AND a.state IN ('signed', 'broadcast')
ORDER BY a.created_at, a.chain_transaction
"""
_WAITS: Final = """
SELECT c.status = 'pending' FROM strongroom.chain_reports c WHERE c.chain_transaction = $1 ORDER BY c.id DESC LIMIT 1
"""
_UNDER_WAY: Final = """
SELECT a.chain_transaction, a.replaces, (SELECT array_agg(c.outpoint) FROM strongroom.attempt_coins c
    WHERE c.chain_transaction = a.chain_transaction) AS outpoints
FROM strongroom.attempts a WHERE a.nonce IS NULL AND a.state IN ('planned', 'signed', 'broadcast', 'confirmed')
"""
_IS_KIN: Final = """
WITH paid AS (
    SELECT a.chain_transaction, (SELECT array_agg(p.payout ORDER BY p.payout) FROM strongroom.attempt_payouts p
        WHERE p.chain_transaction = CASE a.operation WHEN 'child' THEN (SELECT split_part(c.outpoint, ':', 1)
            FROM strongroom.attempt_coins c WHERE c.chain_transaction = a.chain_transaction LIMIT 1)
        ELSE a.chain_transaction END) AS payouts FROM strongroom.attempts a WHERE a.chain_transaction IN ($1, $2))
SELECT count(*) = 2 AND count(DISTINCT payouts) = 1 AND bool_and(payouts IS NOT NULL) FROM paid
"""


async def unmined_attempts(connection: Session, signed_before: Instant, now: Instant) -> list[StoredAttempt]:
    """Payments that wait for a block since then or longer, the newest of each row."""
    rows = await connection.fetch(_UNMINED, signed_before, now, ROWS_MAXIMUM)
    replaced = await connection.fetch(
        "SELECT replaces FROM strongroom.attempts WHERE replaces IS NOT NULL AND nonce IS NULL AND state <> 'dropped'"
    ) if rows else []
    names = {row["replaces"] for row in replaced}
    return [attempt_of(row) for row in rows if row["chain_transaction"] not in names]


async def under_way(connection: Session, attempt: StoredAttempt) -> list[StoredAttempt]:
    """All of its wallet that is signed and in no block, oldest first."""
    rows = await connection.fetch(_OF_WALLET, attempt.organisation, attempt.network)
    return [attempt_of(row) for row in rows]


async def is_waiting(connection: Session, chain_transaction: str) -> bool:
    """Whether the node has it for a block, as watch saw it last."""
    return bool(await connection.fetchval(_WAITS, chain_transaction))


async def outbid_attempts(connection: Session) -> list[StoredAttempt]:
    """What can never be mined any more: another with one of its coins is settled, or it is a child of such."""
    rows = [*await connection.fetch(_OUTBID), *await connection.fetch(_ORPHANS)]
    return list({each.chain_transaction: each for each in map(attempt_of, rows)}.values())


async def contested(connection: Session, organisation: OrganisationId) -> frozenset[str]:
    """Chain transactions of which only one in a row will be mined, and children: until one is, nothing may be built on
    them."""
    rows = await connection.fetch(
        "SELECT a.chain_transaction, a.replaces FROM strongroom.attempts a WHERE a.organisation = $1 AND (a.replaces "
        "IS NOT NULL OR a.operation = 'child') AND a.nonce IS NULL AND a.state NOT IN ('dropped', 'settled')",
        organisation,
    )
    return frozenset(each for row in rows for each in row if each is not None)


async def is_kin(connection: Session, chain_transaction: str, other: str) -> bool:
    """Whether both are ours and pay the same payouts, or are children of such: then either may be mined."""
    return bool(await connection.fetchval(_IS_KIN, chain_transaction, other))


async def newest_and_free(connection: Session, attempts: Sequence[StoredAttempt]) -> list[StoredAttempt]:
    """Those that have no successor, and on whose coins and change nothing of ours is built but what they replace."""
    if not attempts:
        return []
    rows = await connection.fetch(_UNDER_WAY)
    replaces = {row["chain_transaction"]: row["replaces"] for row in rows}
    coins = {row["chain_transaction"]: set(row["outpoints"] or ()) for row in rows}
    succeeded = set(replaces.values())

    def line(name: str | None) -> set[str]:
        found: set[str] = set()
        while name is not None:
            found.add(name)
            name = replaces.get(name)
        return found

    return [each for each in attempts if each.chain_transaction not in succeeded and not any(
        _meets(line(each.chain_transaction), coins[each.chain_transaction], spends)
        for other, spends in coins.items() if other not in line(each.chain_transaction)
    )]


async def keep_bump(connection: Session, attempt: StoredAttempt, fee: int, at: Instant) -> None:
    """Write a successor of `attempt.replaces` down, and reserve its fee.

    Raises: NoFundsError when the fee is more than the wallet has left, PlannedBeforeError.
    """
    with no_funds(PlannedBeforeError):
        await connection.execute(
            "SELECT strongroom.engine_bump($1, $2, $3, $4, $5, $6)", attempt.chain_transaction, attempt.unsigned,
            attempt.paths, str(fee), attempt.replaces, at,
        )


def _meets(names: set[str], mine: set[str], spends: set[str]) -> bool:
    """Whether another spends one of the coins that these spend, or that they make."""
    return bool(mine & spends) or any(each.rpartition(":")[0] in names for each in spends)
