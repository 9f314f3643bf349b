"""What every call of the API works with: the writer, a pool to read by, the clock, and keys seen lately."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from strongroom.domain.ids import KeyId
from strongroom.domain.instant import SECOND_MS, Instant
from strongroom.store.intake import Intake
from strongroom.store.organisations import ClientKey, find_bearer_key, find_signing_key
from strongroom.store.session import Pool

KEY_REMEMBERED_MS: Final = SECOND_MS
"""How long a key is taken as it was for what intake is about to record; intake itself looks whether it is revoked."""

KEYS_MAXIMUM: Final = 10_000


@dataclass(slots=True)
class Service:
    intake: Intake
    pool: Pool
    deployment: str
    clock: Callable[[], Instant]
    _keys: dict[KeyId, tuple[Instant, ClientKey]] = field(default_factory=dict)

    async def signing_key(self, key_id: KeyId, *, may_be_remembered: bool) -> ClientKey | None:
        known = self._keys.get(key_id)
        if may_be_remembered and known is not None and self.clock() - known[0] < KEY_REMEMBERED_MS:
            return known[1]
        async with self.pool.acquire() as connection:
            found = await find_signing_key(connection, key_id)
        if found is not None:
            self._remember(found)
        return found

    async def is_revoked(self, key_id: KeyId) -> bool:
        """As it is now, whatever is remembered."""
        found = await self.signing_key(key_id, may_be_remembered=False)
        return found is None or found.is_revoked

    async def bearer_key(self, token_hash: bytes) -> ClientKey | None:
        async with self.pool.acquire() as connection:
            return await find_bearer_key(connection, token_hash)

    def _remember(self, key: ClientKey) -> None:
        if len(self._keys) >= KEYS_MAXIMUM:
            self._keys.clear()
        self._keys[key.key_id] = (self.clock(), key)
