"""Tells guard that watch looks and that all is well; without it guard's lease falls back to saving what there is.

Goes to guard's own listener, not by the engine's road. A heartbeat that can't be delivered is simply missing: that is
what it means.
"""

import logging
from base64 import b64encode
from typing import Final

import httpx
from nacl.signing import SigningKey

from strongroom.domain.instant import Instant
from strongroom.protocol.control import HEARTBEAT_TYPE
from strongroom.protocol.guard_wire import sign_frame
from strongroom.protocol.watch_record import heartbeat_record

LOG = logging.getLogger("strongroom.watch")
TIMEOUT_S: Final = 2


class Heartbeat:
    def __init__(self, guard_url: str, deployment: str, key: SigningKey) -> None:
        self._client = httpx.AsyncClient(base_url=guard_url, timeout=TIMEOUT_S, trust_env=False)
        self._deployment = deployment
        self._key = key

    async def beat(self, now: Instant) -> bool:
        """Whether guard took it."""
        frame = sign_frame(self._key, heartbeat_record(self._deployment, now), HEARTBEAT_TYPE)
        try:
            answer = await self._client.post("/v1/heartbeat", json={"frame": b64encode(frame).decode()})
        except httpx.HTTPError as fault:
            LOG.warning("guard didn't take the heartbeat: %s", fault)
            return False
        return answer.is_success

    async def close(self) -> None:
        await self._client.aclose()
