"""What the station served, as watch saw it: a row and a leaf of the audit log whenever it is another bundle."""

from strongroom.domain.instant import Instant
from strongroom.store.session import Session


async def note_bundle(connection: Session, origin: str, bundle: str, now: Instant) -> bool:
    """Whether it is another one than was noted last."""
    changed: bool = await connection.fetchval(
        "SELECT strongroom.watch_station_bundle($1, $2, $3)", origin, bundle, now
    )
    return changed
