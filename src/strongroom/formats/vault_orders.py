"""What a HotVault (contracts/HotVault.sol) is told by its guardian and its owner. The signer tells it none of this.

The guardian's word is a message of EIP-712 that anybody may bring; the owner is a Safe, whose calls its people sign.
Addresses have 20 bytes, amounts are in the token's base units.
"""

from dataclasses import dataclass
from typing import Final

from coincurve import PrivateKey, PublicKey

from strongroom.formats.evm_abi import Value, encode_call, typed_digest
from strongroom.formats.evm_address import eip55
from strongroom.formats.evm_transaction import address_of

SIGNATURE_LENGTH: Final = 65
EPOCH_MAXIMUM: Final = 2**64 - 1
_NAME: Final = "Strongroom HotVault"
_VERSION: Final = "1"
_MESSAGE: Final = "Pause(uint256 epoch)"
_V: Final = 27


class VaultOrderError(ValueError):
    """Nothing that a vault would take; the message says why."""


@dataclass(frozen=True, slots=True)
class Pause:
    """What the guardian says: this vault is paused, if its epoch is still that one."""

    chain_id: int
    vault: bytes
    epoch: int

    @property
    def digest(self) -> bytes:
        """What its key signs."""
        domain: dict[str, Value] = {
            "name": _NAME, "version": _VERSION, "chainId": self.chain_id, "verifyingContract": self.vault,
        }
        return typed_digest(domain, _MESSAGE, [self.epoch])

    def typed_data(self) -> dict[str, object]:
        """The same as wallets are asked for it (`eth_signTypedData_v4`)."""
        members = (("name", "string"), ("version", "string"), ("chainId", "uint256"), ("verifyingContract", "address"))
        return {
            "domain": {
                "name": _NAME, "version": _VERSION, "chainId": self.chain_id, "verifyingContract": eip55(self.vault),
            },
            "message": {"epoch": str(self.epoch)}, "primaryType": "Pause",
            "types": {
                "EIP712Domain": [{"name": name, "type": kind} for name, kind in members],
                "Pause": [{"name": "epoch", "type": "uint256"}],
            },
        }

    def sign(self, guardian: PrivateKey) -> bytes:
        """65 bytes: r, s and v."""
        made = guardian.sign_recoverable(self.digest, hasher=None)
        return made[:64] + bytes([_V + made[64]])

    def signer(self, signature: bytes) -> bytes:
        """The address whose key signed. Raises: VaultOrderError when there is none."""
        if len(signature) != SIGNATURE_LENGTH or signature[64] not in (_V, _V + 1):
            raise VaultOrderError("a signature has 65 bytes, of which the last is 27 or 28")
        raw = signature[:64] + bytes([signature[64] - _V])
        try:
            key = PublicKey.from_signature_and_message(raw, self.digest, hasher=None)
        except ValueError as fault:
            raise VaultOrderError("no key made this signature") from fault
        return address_of(key.format(compressed=False))


def encode_pause(signature: bytes) -> bytes:
    """The call by which anybody brings the guardian's signature, of 65 bytes."""
    values: list[Value] = [signature[64], signature[:32], signature[32:64]]
    return encode_call("pauseBySignature(uint8,bytes32,bytes32)", values)


def encode_sweep(token: bytes, keep: int) -> bytes:
    """All of a token that is above `keep`, to the owner."""
    return encode_call("sweep(address,uint256)", [token, keep])


def encode_unpause() -> bytes:
    return encode_call("unpause()", [])


def encode_rotate(operator: bytes, guardian: bytes) -> bytes:
    return encode_call("rotate(address,address)", [operator, guardian])
