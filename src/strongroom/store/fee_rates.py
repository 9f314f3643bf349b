"""What each network asks for a chain transaction to be mined soon, as the engine's nodes said last."""

from collections.abc import Mapping
from dataclasses import dataclass

from strongroom.domain.instant import Instant
from strongroom.store.session import Session


@dataclass(frozen=True, slots=True)
class FeeRate:
    """In base units of the asset that pays the fees, for 1,000 bytes or 1,000 gas: what it would cost now, and what
    would be offered for it."""

    expected: int
    offered: int
    measured_at: Instant


async def keep_fee_rate(connection: Session, network: str, rate: FeeRate) -> None:
    await connection.execute(
        "SELECT strongroom.engine_fee_rate($1, $2, $3, $4)", network, str(rate.expected), str(rate.offered),
        rate.measured_at,
    )


async def read_fee_rates(connection: Session) -> Mapping[str, FeeRate]:
    """By network."""
    rows = await connection.fetch(
        "SELECT network, expected::text AS expected, offered::text AS offered, measured_at FROM strongroom.fee_rates"
    )
    return {
        row["network"]: FeeRate(int(row["expected"]), int(row["offered"]), Instant(row["measured_at"])) for row in rows
    }
