"""Has guard cosign the newest checkpoint, and keeps what it says beside watch's own note.

Beside the sequencer and never in its way: while guard is away the log grows, and afterwards one proof, from the head
that guard knows, is for all that lies between. What guard refuses is said, and asked again: people must look into it.
"""

import logging
from base64 import b64encode
from collections.abc import Callable
from typing import Final

import httpx
from nacl.signing import SigningKey

from strongroom.domain.instant import Instant
from strongroom.protocol.checkpoint import Checkpoint, CheckpointError, verify_checkpoint, verify_cosignature
from strongroom.protocol.guard_wire import sign_frame
from strongroom.protocol.tree_head import TREE_TYPE, log_origin, witness_name
from strongroom.protocol.watch_record import tree_record
from strongroom.store.audit import keep_cosignature, read_checkpoint, read_consistency, read_cosigned_size
from strongroom.store.session import Session

LOG = logging.getLogger("strongroom.watch")
TIMEOUT_S: Final = 2
TRIES: Final = 2
"""The second with a proof from the size that guard named."""


class Witnessing:
    """`cosigned` is how many leaves guard is known to have cosigned."""

    def __init__(self, guard_url: str, guard_key: bytes, deployment: str, key: SigningKey) -> None:
        self._client = httpx.AsyncClient(base_url=guard_url, timeout=TIMEOUT_S, trust_env=False)
        self._guard_key, self._deployment, self._key = guard_key, deployment, key
        self._origin = log_origin(deployment)
        self._told = ""
        self.cosigned = 0

    async def step(self, connection: Session, now: Callable[[], Instant]) -> bool:
        """Whether guard has cosigned the newest checkpoint. Raises: the database's faults."""
        newest = await read_checkpoint(connection)
        kept = await read_cosigned_size(connection)
        if newest is None or newest.size == kept:
            return True
        self.cosigned = max(self.cosigned, kept)
        try:
            checkpoint = verify_checkpoint(newest.note, self._origin, self._origin, bytes(self._key.verify_key))
            line = await self._ask(connection, checkpoint, now)
            verify_cosignature(newest.note + line, witness_name(self._origin), self._guard_key)
        except (httpx.HTTPError, KeyError, TypeError, ValueError) as fault:
            reason = str(fault) or type(fault).__name__
            self._tell(f"guard didn't cosign the checkpoint of {newest.size} leaves: {reason}")
            return False
        await keep_cosignature(connection, newest.size, line, now())
        self.cosigned = newest.size
        self._tell("")
        return True

    async def _ask(self, connection: Session, checkpoint: Checkpoint, now: Callable[[], Instant]) -> str:
        """Guard's line. Raises: many kinds; the caller knows."""
        reason = "guard names another size each time"
        for _ in range(TRIES):
            known = min(self.cosigned, checkpoint.size)
            proof = await read_consistency(connection, known, checkpoint.size) if known else []
            raw = tree_record(self._deployment, now(), checkpoint, known, proof)
            frame = b64encode(sign_frame(self._key, raw, TREE_TYPE)).decode()
            answer = await self._client.post("/v1/checkpoints", json={"frame": frame})
            document = answer.json()
            if answer.is_success:
                return str(document["cosignature"])
            reason = f"{document['detail']} ({answer.status_code})"
            if answer.status_code != httpx.codes.CONFLICT or type(document.get("size")) is not int:
                break
            self.cosigned = document["size"]
        raise CheckpointError(reason)

    def _tell(self, what: str) -> None:
        """Once, until it is something else."""
        reason = what.partition(" leaves: ")[2]
        if reason != self._told:
            LOG.warning("%s", what or "guard cosigns again")
        self._told = reason

    async def close(self) -> None:
        await self._client.aclose()
