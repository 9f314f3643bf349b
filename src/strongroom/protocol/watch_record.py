"""What watch signs for guard: that something is wrong, and that it looks and all is well. `control` reads them."""

from strongroom.domain.ids import OrganisationId
from strongroom.domain.instant import Instant
from strongroom.protocol.canonical import encode
from strongroom.protocol.control import ALARM_TYPE, HEARTBEAT_TYPE


def alarm_record(name: str, organisation: OrganisationId, deployment: str, at: Instant) -> bytes:
    """What watch signs to raise an alarm; the same again after it was resolved needs another time."""
    return encode(
        {"at_ms": at, "deployment": deployment, "name": name, "organisation": organisation, "type": ALARM_TYPE}
    )


def heartbeat_record(deployment: str, at: Instant) -> bytes:
    """What watch signs to say that it looks and that all is well."""
    return encode({"at_ms": at, "deployment": deployment, "type": HEARTBEAT_TYPE})
