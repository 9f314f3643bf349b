"""Lets the first person in to the console: the owner of the database writes the invitation."""

import hashlib
import secrets
from base64 import b32encode

from strongroom.domain.ids import OrganisationId, PersonId
from strongroom.domain.instant import Instant
from strongroom.store.console import invite_first


async def invite_person(
    owner_dsn: str, organisation: OrganisationId, person: PersonId, expires: Instant, now: Instant
) -> str:
    """The token of the link; the database knows its hash alone."""
    token, name = secrets.token_urlsafe(32), "inv_" + b32encode(secrets.token_bytes(20)).decode().lower()[:26]
    hashed = hashlib.sha256(token.encode()).digest()
    await invite_first(owner_dsn, name, organisation, person, hashed, expires, now)
    return token
