"""What one payout of 200 costs in gas, by the hot vault and the test USDC, on the sandbox's EVM node.

Gas isn't time: every machine finds the same, in one run. Where it goes is told in docs/vault.md.
"""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from sha3 import keccak_256

from strongroom.sandbox import parts
from strongroom.sandbox.evm import CHAIN_ID, Evm, EvmError
from strongroom.sandbox.process import die_with_parent
from strongroom.store.postgres import free_port

COUNT: Final = 200
USD: Final = 10**6
GAS: Final = 16_000_000
NEVER: Final = 2**40


def measure_gas() -> tuple[float, float]:
    """Gas for each payout, to payees who had none of the token, and to the same ones again. Raises: EvmError."""
    with _node() as node:
        owner, operator, guardian = node.call("eth_accounts")[:3]
        token = _deploy(node, owner, "TestUSDC")
        vault = _deploy(node, owner, "HotVault", _address(owner), _address(operator), _address(guardian))
        _send(node, owner, token, "mint(address,uint256)", _address(vault), _number(10**6 * USD))
        _send(
            node, owner, vault, "setLimit(address,uint96,uint96,uint96,uint32)", _address(token),
            *map(_number, (10**5 * USD, USD, 1_000 * USD, 100_000)),
        )
        cold, warm = (_pay(node, operator, vault, token, bytes([salt]) * 32) / COUNT for salt in (1, 2))
        return cold, warm


def _pay(node: Evm, operator: str, vault: str, token: str, salt: bytes) -> int:
    items = b"".join(
        keccak_256(b"payee %d" % number).digest()[:20] + (25 * USD + 1_000 * number).to_bytes(12)
        for number in range(COUNT)
    )
    listed = _number(COUNT) + items
    batch = keccak_256(
        _number(CHAIN_ID) + _address(vault) + _address(token) + salt + _number(5 * 32) + listed
    ).digest()
    kills = 7 * 32
    return _send(
        node, operator, vault, "pay(bytes32,bytes32[],(bytes32,uint256)[],address,bytes32,uint256,bytes32[])", batch,
        _number(kills), _number(kills + 32), _address(token), salt, _number(NEVER), _number(kills + 64),
        _number(0), _number(0), listed,
    )


def _deploy(node: Evm, sender: str, name: str, *arguments: bytes) -> str:
    artifact = json.loads((parts.root() / "contracts/artifacts" / f"{name}.json").read_text())
    receipt = _mined(node, {"from": sender, "data": artifact["bytecode"] + b"".join(arguments).hex()})
    return str(receipt["contractAddress"])


def _send(node: Evm, sender: str, to: str, signature: str, *arguments: bytes) -> int:
    """The gas that it used."""
    data = keccak_256(signature.encode()).digest()[:4] + b"".join(arguments)
    return int(_mined(node, {"from": sender, "to": to, "data": "0x" + data.hex()})["gasUsed"], 16)


def _mined(node: Evm, request: dict[str, str]) -> dict[str, Any]:
    digest = node.call("eth_sendTransaction", {**request, "gas": hex(GAS)})
    node.mine()
    receipt: dict[str, Any] | None = node.call("eth_getTransactionReceipt", digest)
    if receipt is None or receipt["status"] != "0x1":
        raise EvmError(f"chain transaction {digest} failed")
    return receipt


def _number(value: int) -> bytes:
    return value.to_bytes(32)


def _address(text: str) -> bytes:
    return bytes(12) + bytes.fromhex(text[2:])


@contextmanager
def _node() -> Iterator[Evm]:
    port = free_port()
    process = subprocess.Popen(
        [
            *parts.anvil(lambda _: None), "--host", "127.0.0.1", "--port", str(port), "--chain-id", str(CHAIN_ID),
            "--no-mining", "--silent",
        ],
        preexec_fn=die_with_parent,  # noqa: PLW1509 one prctl; it takes no lock
    )
    try:
        node = Evm(f"http://127.0.0.1:{port}")
        node.wait(lambda: process.poll() is None)
        yield node
    finally:
        process.kill()
        process.wait()
