"""Tells guard that something is wrong: from then on only what saves money is signed, until an officer resolves it.

An alarm that guard hasn't taken is tried again, and as long as there is one, no heartbeat says that all is well.
"""

import logging
from base64 import b64encode
from typing import Final

import httpx
from nacl.signing import SigningKey

from strongroom.domain.ids import OrganisationId
from strongroom.domain.instant import Instant
from strongroom.protocol.control import ALARM_TYPE
from strongroom.protocol.guard_wire import sign_frame
from strongroom.protocol.watch_record import alarm_record

LOG = logging.getLogger("strongroom.watch")
TIMEOUT_S: Final = 2
_TAKEN_BEFORE: Final = 409


class Alarms:
    def __init__(self, guard_url: str | None, deployment: str, key: SigningKey) -> None:
        self._client = (
            None if guard_url is None
            else httpx.AsyncClient(base_url=guard_url, timeout=TIMEOUT_S, trust_env=False)
        )
        self._deployment = deployment
        self._key = key
        self.undelivered: set[tuple[OrganisationId, str]] = set()

    async def raise_alarm(self, organisation: OrganisationId, name: str, detail: str, now: Instant) -> bool:
        """Whether guard has it, now or since before. Without a guard it is only logged."""
        LOG.error("alarm: %s: %s: %s", organisation, name, detail)
        if self._client is None:
            return True
        self.undelivered.add((organisation, name))
        frame = sign_frame(self._key, alarm_record(name, organisation, self._deployment, now), ALARM_TYPE)
        body = {"frame": b64encode(frame).decode(), "organisation": organisation}
        try:
            answer = await self._client.post("/v1/alarms", json=body)
        except httpx.HTTPError as fault:
            LOG.warning("guard didn't take the alarm: %s", fault)
            return False
        if not answer.is_success and answer.status_code != _TAKEN_BEFORE:
            LOG.warning("guard didn't take the alarm: it answered %d", answer.status_code)
            return False
        self.undelivered.discard((organisation, name))
        return True

    async def close(self) -> None:
        if self._client is not None:
            await self._client.aclose()
