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
"""A revoked key is refused within this time here, and at once by intake."""

KEYS_MAXIMUM: Final = 10_000


@dataclass(slots=True)
class Service:
    intake: Intake
    pool: Pool
    deployment: str
    clock: Callable[[], Instant]
    _keys: dict[str | bytes, tuple[Instant, ClientKey | None]] = field(default_factory=dict)

    async def signing_key(self, key_id: KeyId) -> ClientKey | None:
        known = self._remembered(key_id)
        if known is not None:
            return known[1]
        async with self.pool.acquire() as connection:
            found = await find_signing_key(connection, key_id)
        self._remember(key_id, found)
        return found

    async def bearer_key(self, token_hash: bytes) -> ClientKey | None:
        known = self._remembered(token_hash)
        if known is not None:
            return known[1]
        async with self.pool.acquire() as connection:
            found = await find_bearer_key(connection, token_hash)
        self._remember(token_hash, found)
        return found

    def _remembered(self, name: str | bytes) -> tuple[Instant, ClientKey | None] | None:
        known = self._keys.get(name)
        return known if known is not None and self.clock() - known[0] < KEY_REMEMBERED_MS else None

    def _remember(self, name: str | bytes, key: ClientKey | None) -> None:
        if len(self._keys) >= KEYS_MAXIMUM:
            self._keys.clear()
        self._keys[name] = (self.clock(), key)
