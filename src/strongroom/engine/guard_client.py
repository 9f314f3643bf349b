"""Asks guard what its own node shows, on the officers' listener: anybody may, so the engine needs no power for it.

What comes is signed with guard's key; it is the signer that believes it or not, and here it is only carried.
"""

from base64 import b64decode
from binascii import Error
from typing import Final

import httpx

from strongroom.protocol.canonical import JsonValue

TIMEOUT_S: Final = 12
"""Guard gives its own node ten seconds."""


class SightError(Exception):
    """Guard attests nothing: it can't be reached, or doesn't see what it was asked about; the message says which."""


class GuardClient:
    def __init__(self, url: str) -> None:
        self._client = httpx.AsyncClient(base_url=url, timeout=TIMEOUT_S, trust_env=False)

    async def attest(self, network: str, chain_transaction: str, height: int, call: bytes = b"") -> bytes:
        """The attestation's frame; `height` is where guard is to look, `call` the VaultCall that an attempt is of.

        Raises: SightError.
        """
        asked: dict[str, JsonValue] = {"chain_transaction": chain_transaction, "height": height, "network": network}
        if call:
            asked["call"] = call.hex()
        try:
            answer = await self._client.post("/v1/attestations", json=asked)
            said = answer.json()
            if answer.is_success:
                return b64decode(str(said["attestation"]), validate=True)
        except (httpx.HTTPError, ValueError, KeyError, TypeError, Error) as fault:
            raise SightError(f"guard doesn't answer: {type(fault).__name__}") from fault
        raise SightError(f"guard attests nothing: {said.get('detail') if isinstance(said, dict) else said}")

    async def close(self) -> None:
        await self._client.aclose()
