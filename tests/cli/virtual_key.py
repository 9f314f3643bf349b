"""A security key in software, at the port where `fido2` has its devices: it speaks CTAP2 in CBOR, with a real P-256
key, real flags, and the PIN protocol's encryption. It signs nothing that a real one wouldn't.

`python -m tests.cli.virtual_key FILE ARGUMENT…` is the command line with the keys that FILE describes plugged in.
"""

import hashlib
import hmac
import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ec import (
    ECDH,
    ECDSA,
    SECP256R1,
    EllipticCurvePrivateKey,
    EllipticCurvePublicNumbers,
    generate_private_key,
)
from cryptography.hazmat.primitives.hashes import SHA256
from fido2 import cbor
from fido2.cose import ES256
from fido2.ctap import STATUS, CtapDevice, CtapError
from fido2.ctap2.pin import PinProtocolV2
from fido2.hid import CAPABILITY, CTAPHID
from tests.cli.maker import authenticator_data, made_id, private_key, statement

PRESENT, VERIFIED, ELIGIBLE, ATTESTED = 0x01, 0x04, 0x08, 0x40
TRIES = 8
TRIES_IN_A_ROW = 3
ERR = CtapError.ERR


@dataclass
class VirtualKey(CtapDevice):
    """`credentials`: (relying party, id) to private key. `pin` empty: none is set. `lies`: says nothing of whom it
    verified, though it took the PIN. `made_seed` is of the key that it makes when asked for one.
    `vouches`: who speaks for it, as `maker.py` has them."""

    credentials: dict[tuple[str, bytes], EllipticCurvePrivateKey]
    pin: str = ""
    is_touched: bool = True
    is_old: bool = False
    lies: bool = False
    made_seed: int = 0
    vouches: str = "maker"
    is_synced: bool = False
    is_unplugged: bool = False
    left: list[Any] = field(default_factory=list)
    tries: int = TRIES
    in_a_row: int = 0
    count: int = 0
    token: bytes = bytes(range(32))
    agreement: EllipticCurvePrivateKey = field(default_factory=lambda: generate_private_key(SECP256R1()))
    protocol: PinProtocolV2 = field(default_factory=PinProtocolV2)

    @property
    def capabilities(self) -> int:
        return CAPABILITY.WINK if self.is_old else CAPABILITY.CBOR

    def call(
        self, cmd: int, data: bytes = b"", event: Event | None = None,
        on_keepalive: Callable[[STATUS], None] | None = None,
    ) -> bytes:
        if self.is_unplugged:
            raise OSError(19, "No such device")
        if cmd != CTAPHID.CBOR:
            raise CtapError(ERR.INVALID_COMMAND)
        asked: Any = cbor.decode(data[1:]) if len(data) > 1 else {}
        commands = {1: self._make, 2: self._assert, 4: self._info, 6: self._client_pin, 8: self._next}
        if data[0] not in commands:
            return bytes([ERR.INVALID_COMMAND])
        try:
            return b"\0" + cbor.encode(commands[data[0]](asked, on_keepalive))
        except CtapError as fault:
            return bytes([fault.code])

    @classmethod
    def list_devices(cls) -> Any:
        return iter(())

    def _info(self, _: Any, __: Any) -> Mapping[int, Any]:
        options = {"rk": True, "up": True, "clientPin": bool(self.pin)}
        return {1: ["FIDO_2_0"], 3: bytes(16), 4: options, 6: [2]}

    def _client_pin(self, asked: Any, _: Any) -> Mapping[int, Any]:
        """CTAP 2.1 §6.5.5: tries left, key agreement, and a token for the PIN."""
        match asked[2]:
            case 1:
                return {3: self.tries, 4: self.in_a_row >= TRIES_IN_A_ROW}
            case 2:
                return {1: {**ES256.from_cryptography_key(self.agreement.public_key()), 3: -25}}
            case 5:
                return {2: self._token_for(asked)}
        raise CtapError(ERR.INVALID_SUBCOMMAND)

    def _token_for(self, asked: Any) -> bytes:
        if not self.tries:
            raise CtapError(ERR.PIN_BLOCKED)
        if self.in_a_row >= TRIES_IN_A_ROW:
            raise CtapError(ERR.PIN_AUTH_BLOCKED)
        x, y = (int.from_bytes(asked[3][place]) for place in (-2, -3))
        theirs = EllipticCurvePublicNumbers(x, y, SECP256R1()).public_key()
        shared = self.protocol.kdf(self.agreement.exchange(ECDH(), theirs))
        given = self.protocol.decrypt(shared, asked[6])
        if not hmac.compare_digest(given, hashlib.sha256(self.pin.encode()).digest()[:16]):
            self.tries, self.in_a_row = self.tries - 1, self.in_a_row + 1
            last = ERR.PIN_AUTH_BLOCKED if self.in_a_row >= TRIES_IN_A_ROW else ERR.PIN_INVALID
            raise CtapError(last if self.tries else ERR.PIN_BLOCKED)
        self.tries, self.in_a_row = TRIES, 0
        return self.protocol.encrypt(shared, self.token)

    def _assert(self, asked: Any, on_keepalive: Callable[[STATUS], None] | None) -> Mapping[int, Any]:
        """CTAP 2.1 §6.2: the first credential that is allowed, or that is kept for this relying party."""
        flags = 0
        if 6 in asked:
            proof = self.protocol.authenticate(self.token, asked[2])
            if not hmac.compare_digest(proof, asked[6]):
                raise CtapError(ERR.PIN_AUTH_INVALID)
            flags |= VERIFIED
        allowed = [each["id"] for each in asked.get(3, ())]
        kept = [name for name in self.credentials if name[0] == asked[1] and (name[1] in allowed or 3 not in asked)]
        wants_touch = asked.get(5, {}).get("up", True)
        if wants_touch:
            if on_keepalive:
                on_keepalive(STATUS.UPNEEDED)
            if not self.is_touched:
                raise CtapError(ERR.USER_ACTION_TIMEOUT)
            flags |= PRESENT
        if not kept:
            raise CtapError(ERR.NO_CREDENTIALS)
        if self.lies and wants_touch:
            flags &= ~VERIFIED
        first, *self.left = [self._signed(name, flags, asked[2]) for name in kept]
        return first | ({5: len(kept)} if self.left else {})

    def _make(self, asked: Any, on_keepalive: Callable[[STATUS], None] | None) -> Mapping[int, Any]:
        """CTAP 2.1 §6.1."""
        flags = PRESENT | ATTESTED | (ELIGIBLE if self.is_synced else 0)
        if 8 in asked:
            if not hmac.compare_digest(self.protocol.authenticate(self.token, asked[1]), asked[8]):
                raise CtapError(ERR.PIN_AUTH_INVALID)
            flags |= VERIFIED
        if {"alg": -7, "type": "public-key"} not in asked[4]:
            raise CtapError(ERR.UNSUPPORTED_ALGORITHM)
        if on_keepalive:
            on_keepalive(STATUS.UPNEEDED)
        if not self.is_touched:
            raise CtapError(ERR.USER_ACTION_TIMEOUT)
        if self.lies:
            flags &= ~VERIFIED
        key, party = private_key(self.made_seed), asked[2]["id"]
        self.credentials[party, made_id(self.made_seed)] = key
        said = authenticator_data(party, flags, made_id(self.made_seed), key)
        return {1: "packed", 2: said, 3: statement(self.vouches, key, said + asked[1])} | (
            {1: "none", 3: {}} if self.vouches == "nobody" else {}
        )

    def _next(self, _: Any, __: Any) -> Mapping[int, Any]:
        if not self.left:
            raise CtapError(ERR.NOT_ALLOWED)
        return dict(self.left.pop(0))

    def _signed(self, name: tuple[str, bytes], flags: int, client_data_hash: bytes) -> dict[int, Any]:
        self.count += 1
        said = hashlib.sha256(name[0].encode()).digest() + bytes([flags]) + self.count.to_bytes(4)
        signature = self.credentials[name].sign(said + client_data_hash, ECDSA(SHA256()))
        return {1: {"id": name[1], "type": "public-key"}, 2: said, 3: signature}


def described(text: str) -> list[VirtualKey]:
    """A list of objects: `credentials` are [relying party, id in hex, seed]; the rest as `VirtualKey` names it."""
    keys = []
    for each in json.loads(text):
        made = {(party, bytes.fromhex(name)): private_key(seed) for party, name, seed in each.pop("credentials", [])}
        keys.append(VirtualKey(made, **each))
    return keys


def main() -> int:
    from strongroom.cli import security_key
    from strongroom.cli.app import main as command_line

    keys = described(Path(sys.argv[1]).read_text())
    security_key.plugged_in = lambda: keys
    return command_line(sys.argv[2:])


if __name__ == "__main__":
    sys.exit(main())
