"""A signed pause as a file: made where the guardian's key is, and brought by anybody from anywhere.

There is nothing secret in it. It pauses one vault in one epoch, and is worth nothing once the owner has unpaused.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from coincurve import PrivateKey

from strongroom.formats.evm_address import eip55
from strongroom.formats.vault_orders import SIGNATURE_LENGTH, Pause, VaultOrderError, encode_pause

Address = Annotated[str, msgspec.Meta(pattern="^0x[0-9a-fA-F]{40}\\Z")]


class MessageError(ValueError):
    """No signed pause; the message says why."""


class _File(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """`data` is what `vault` is to be called with, for whoever brings it with a wallet of his own."""

    type: Literal["strongroom/vault-pause/v1"]
    chain_id: Annotated[int, msgspec.Meta(ge=1, le=2**63 - 1)]
    vault: Address
    epoch: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
    guardian: Address
    signature: Annotated[str, msgspec.Meta(pattern="^0x[0-9a-f]{130}\\Z")]
    data: str


@dataclass(frozen=True, slots=True)
class SignedPause:
    """Of one signature that holds; whether it is the guardian's, the vault says."""

    pause: Pause
    signature: bytes

    @property
    def guardian(self) -> bytes:
        return self.pause.signer(self.signature)

    @property
    def data(self) -> bytes:
        return encode_pause(self.signature)

    @property
    def file_name(self) -> str:
        pause = self.pause
        return f"pause-{pause.chain_id}-{pause.vault.hex()}-{pause.epoch}.json"

    def write(self) -> str:
        pause = self.pause
        said = _File(
            "strongroom/vault-pause/v1", pause.chain_id, eip55(pause.vault), pause.epoch, eip55(self.guardian),
            "0x" + self.signature.hex(), "0x" + self.data.hex(),
        )
        return msgspec.json.format(msgspec.json.encode(said), indent=1).decode() + "\n"


def sign_pause(key: PrivateKey, pause: Pause) -> SignedPause:
    return SignedPause(pause, pause.sign(key))


def read_pause(raw: bytes) -> SignedPause:
    """A file from anybody. Raises: MessageError, and nothing else."""
    try:
        said = msgspec.json.decode(raw, type=_File)
        made = take_signature(Pause(said.chain_id, bytes.fromhex(said.vault[2:]), said.epoch), said.signature)
    except msgspec.DecodeError as fault:
        raise MessageError(f"isn't a signed pause: {fault}") from fault
    if eip55(made.guardian).lower() != said.guardian.lower() or said.data != "0x" + made.data.hex():
        raise MessageError("guardian, data: aren't those of its signature")
    return made


def take_signature(pause: Pause, signature: str) -> SignedPause:
    """As a wallet gave it, 0x and 130 hex digits. Raises: MessageError."""
    try:
        raw = bytes.fromhex(signature.removeprefix("0x"))
        pause.signer(raw)
    except VaultOrderError as fault:
        raise MessageError(f"signature: {fault}") from fault
    except ValueError as fault:
        raise MessageError(f"signature: must be 0x and {2 * SIGNATURE_LENGTH} hex digits") from fault
    return SignedPause(pause, raw)


def keep(folder: Path, signed: SignedPause) -> Path:
    """Where anybody finds it; once. Raises: OSError."""
    file = folder / signed.file_name
    if file.exists():
        return file
    unfinished = file.with_name(file.name + ".unfinished")
    unfinished.write_text(signed.write())
    unfinished.rename(file)
    return file
