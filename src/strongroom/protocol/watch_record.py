"""What watch signs for guard: that something is wrong, that it looks and all is well, how far the audit log goes."""

from collections.abc import Sequence

from strongroom.domain.ids import OrganisationId
from strongroom.domain.instant import Instant
from strongroom.protocol.canonical import encode
from strongroom.protocol.checkpoint import Checkpoint
from strongroom.protocol.control import ALARM_TYPE, HEARTBEAT_TYPE
from strongroom.protocol.tree_head import TREE_TYPE


def alarm_record(name: str, organisation: OrganisationId, deployment: str, at: Instant) -> bytes:
    """What watch signs to raise an alarm; the same again after it was resolved needs another time."""
    return encode(
        {"at_ms": at, "deployment": deployment, "name": name, "organisation": organisation, "type": ALARM_TYPE}
    )


def tree_record(deployment: str, at: Instant, checkpoint: Checkpoint, old_size: int, proof: Sequence[bytes]) -> bytes:
    """What watch signs to have a checkpoint cosigned; `proof` is that it continues the tree of `old_size` leaves."""
    return encode({
        "at_ms": at, "deployment": deployment, "old_size": old_size, "proof": b"".join(proof).hex() or None,
        "root": checkpoint.root.hex(), "size": checkpoint.size, "type": TREE_TYPE,
    })


def heartbeat_record(deployment: str, at: Instant) -> bytes:
    """What watch signs to say that it looks and that all is well."""
    return encode({"at_ms": at, "deployment": deployment, "type": HEARTBEAT_TYPE})
