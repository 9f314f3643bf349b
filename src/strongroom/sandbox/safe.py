"""The treasury's Safe, two of three, which owns a hot vault: on the sandbox's EVM node, by the contracts as their
authors published them (npm's @safe-global/safe-smart-account, pinned with its hash).

Its three keys are made at start and lie in the sandbox's folder, one file each: in a real treasury each is on hardware
of a person's own. Its address follows from them, so a node that lost it gets the same one again.
"""

import json
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from coincurve import PrivateKey

from strongroom.formats.evm_abi import Value, encode_call
from strongroom.formats.evm_address import eip55
from strongroom.formats.evm_transaction import address_of
from strongroom.sandbox import parts
from strongroom.sandbox.evm import Evm, created

OWNERS: Final = 3
THRESHOLD: Final = 2
_ARTIFACTS: Final = Path("node_modules/@safe-global/safe-smart-account/build/artifacts/contracts")
_ZERO: Final = bytes(20)
_CALL: Final = "address,uint256,bytes,uint8,uint256,uint256,uint256,address,address"
_SETUP: Final = "setup(address[],uint256,address,bytes,address,address,uint256,address)"


def treasurers(folder: Path) -> list[PrivateKey]:
    """The keys of an organisation's treasury, made when they are asked for first; in the order that a Safe wants."""
    keys: list[PrivateKey] = []
    for number in range(1, OWNERS + 1):
        file = folder / f"treasurer-{number}.key"
        if not file.exists():
            file.touch(mode=0o600)
            file.write_text(secrets.token_hex(32) + "\n")
        keys.append(PrivateKey.from_hex(file.read_text().strip()))
    return sorted(keys, key=_address)


def deploy_safe(node: Evm, deployer: str, keys: Sequence[PrivateKey]) -> str:
    """The address of the Safe of these owners; what it is made of are the deployer's first two contracts.

    Raises: EvmError, PartError.
    """
    single, factory = created(deployer, 0), created(deployer, 1)
    if node.call("eth_getCode", factory, "latest") == "0x":
        node.send(*({"from": deployer, "data": _artifact(name)["bytecode"], "gas": hex(6_000_000)}
                    for name in ("SafeL2", "proxies/SafeProxyFactory")))
    owners: list[Value] = [_address(key) for key in keys]
    setup = encode_call(_SETUP, [owners, THRESHOLD, _ZERO, b"", _ZERO, _ZERO, 0, _ZERO])
    make = encode_call("createProxyWithNonce(address,bytes,uint256)", [bytes.fromhex(single[2:]), setup, 0])
    call = {"from": deployer, "to": factory, "data": "0x" + make.hex()}
    safe = eip55(bytes.fromhex(str(node.call("eth_call", call, "latest"))[-40:]))
    node.send({**call, "gas": hex(1_000_000)})
    return safe


def executed(node: Evm, safe: str, nonce: int, to: str, data: bytes, keys: Sequence[PrivateKey]) -> bytes:
    """What anybody may bring to the Safe so that it calls `to`: signed by the first of its owners, as many as it needs.

    The Safe itself says what they sign, by way of the sandbox's node. Raises: EvmError.
    """
    asked: list[Value] = [bytes.fromhex(to[2:]), 0, data, 0, 0, 0, 0, _ZERO, _ZERO]
    question = encode_call(f"getTransactionHash({_CALL},uint256)", [*asked, nonce])
    digest = bytes.fromhex(node.call("eth_call", {"to": safe, "data": "0x" + question.hex()}, "latest")[2:])
    given = b"".join(_signature(key, digest) for key in keys[:THRESHOLD])
    return encode_call(f"execTransaction({_CALL},bytes)", [*asked, given])


def _signature(key: PrivateKey, digest: bytes) -> bytes:
    raw = key.sign_recoverable(digest, hasher=None)
    return raw[:64] + bytes([raw[64] + 27])


def _address(key: PrivateKey) -> bytes:
    return address_of(key.public_key.format(compressed=False))


def _artifact(name: str) -> Any:
    folder = parts.node_modules(lambda _: None) / _ARTIFACTS
    return json.loads((folder / f"{name}.sol" / f"{Path(name).name}.json").read_text())
