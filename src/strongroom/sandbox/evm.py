"""The EVM node of the sandbox: wait for it, and put the test tokens on it, always at the same addresses."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import httpx
from sha3 import keccak_256

from strongroom.formats.evm_address import eip55

CHAIN_ID: Final = 31337
SUPPLY_MINOR: Final = 10**15
TIMEOUT_S: Final = 30
_MINT: Final = "0x40c10f19"  # mint(address,uint256)


class EvmError(Exception):
    """The node doesn't answer, or not as an EVM node of our chain would."""


class Evm:
    def __init__(self, url: str) -> None:
        self._client = httpx.Client(base_url=url, timeout=TIMEOUT_S, trust_env=False)

    def call(self, method: str, *parameters: object) -> Any:
        """Raises: EvmError."""
        request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": parameters}
        try:
            answer = self._client.post("/", json=request).json()
        except (httpx.HTTPError, json.JSONDecodeError) as fault:
            raise EvmError(f"the EVM node doesn't answer {method}: {fault}") from fault
        if "error" in answer:
            raise EvmError(f"the EVM node refuses {method}: {answer['error'].get('message')}")
        return answer["result"]

    def wait(self, alive: Callable[[], bool]) -> None:
        """Until it answers. Raises: EvmError when it ended, or takes too long, or is of another chain."""
        deadline = time.monotonic() + TIMEOUT_S
        while True:
            try:
                chain_id = int(self.call("eth_chainId"), 16)
            except EvmError:
                if not alive() or time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
                continue
            if chain_id != CHAIN_ID:
                raise EvmError(f"the EVM node is of chain {chain_id}, and not {CHAIN_ID}")
            return

    def deploy_tokens(self, artifacts: Path) -> dict[str, str]:
        """Symbol to EIP-55 address. Deploys what isn't there yet; the deployer's nonce decides the address."""
        deployer = self.call("eth_accounts")[0]
        tokens: dict[str, str] = {}
        for nonce, symbol in enumerate(("USDC", "USDT")):
            artifact = json.loads((artifacts / f"Test{symbol}.json").read_text())
            if int(self.call("eth_getTransactionCount", deployer, "latest"), 16) <= 2 * nonce:
                made = self._send({"from": deployer, "data": artifact["bytecode"]})
                to = "0" * 24 + deployer[2:]
                self._send({"from": deployer, "to": made["contractAddress"], "data": f"{_MINT}{to}{SUPPLY_MINOR:064x}"})
            address = _created(deployer, 2 * nonce)
            if self.call("eth_getCode", address, "latest") == "0x":
                raise EvmError(f"{symbol} isn't at {address}: the EVM node's state is of something else")
            tokens[symbol] = address
        return tokens

    def pending(self) -> int:
        """How many chain transactions wait for a block."""
        return int(self.call("txpool_status")["pending"], 16)

    def mine(self) -> None:
        self.call("evm_mine")

    def _send(self, transaction: dict[str, str]) -> dict[str, Any]:
        digest = self.call("eth_sendTransaction", {**transaction, "gas": hex(5_000_000)})
        self.mine()
        receipt: dict[str, Any] | None = self.call("eth_getTransactionReceipt", digest)
        if receipt is None or receipt["status"] != "0x1":
            raise EvmError(f"chain transaction {digest} failed")
        return receipt


def _created(deployer: str, nonce: int) -> str:
    """The address of a contract by its deployer's address and nonce (below 128): Yellow Paper, section 7."""
    encoded = b"\xd6\x94" + bytes.fromhex(deployer[2:]) + (bytes([nonce]) if nonce else b"\x80")
    return eip55(keccak_256(encoded).digest()[-20:])
