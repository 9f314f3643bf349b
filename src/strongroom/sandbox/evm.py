"""The EVM node of the sandbox: wait for it, and put the test tokens on it, always at the same addresses."""

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import httpx

from strongroom.formats.evm_abi import encode_call
from strongroom.formats.evm_address import eip55
from strongroom.formats.evm_transaction import keccak256
from strongroom.sandbox.parts import root

CHAIN_ID: Final = 31337
SUPPLY_MINOR: Final = 10**15
TIMEOUT_S: Final = 30
GENESIS_S: Final = 1_700_000_000
"""When the first block was made. Anvil makes one at each start, beside the one that it reads from its state, and which
of them counts is chance: so all must be the same."""
ARTIFACTS: Final = root() / "contracts" / "artifacts"
_GAS: Final = 5_000_000


class EvmError(Exception):
    """The node doesn't answer, or not as an EVM node of our chain would."""


def node_arguments(folder: Path, port: int) -> list[str]:
    """How the node is started; in `folder` it keeps its chain."""
    return [
        "--host", "127.0.0.1", "--port", str(port), "--chain-id", str(CHAIN_ID), "--timestamp", str(GENESIS_S),
        "--no-mining", "--silent", "--state", str(folder / "state.json"), "--state-interval", "5",
    ]


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

    def close(self) -> None:
        self._client.close()

    def wait(self, alive: Callable[[], bool]) -> None:
        """Until it answers, by our clock. Raises: EvmError when it ended, or takes too long, or is of another chain."""
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
            self.call("evm_setTime", int(time.time()))  # or it goes on from its newest block's
            return

    def deploy_tokens(self) -> dict[str, str]:
        """Symbol to EIP-55 address. Deploys what isn't there yet; the deployer's nonce decides the address."""
        deployer = self.call("eth_accounts")[0]
        tokens: dict[str, str] = {}
        for nonce, symbol in enumerate(("USDC", "USDT")):
            artifact = json.loads((ARTIFACTS / f"Test{symbol}.json").read_text())
            address, mint = created(deployer, 2 * nonce), mint_call(deployer, SUPPLY_MINOR)
            if int(self.call("eth_getTransactionCount", deployer, "latest"), 16) <= 2 * nonce:
                made = {"from": deployer, "gas": hex(_GAS)}
                self.send({**made, "data": artifact["bytecode"]}, {**made, "to": address, "data": mint})
            if self.call("eth_getCode", address, "latest") == "0x":
                raise EvmError(f"{symbol} isn't at {address}: the EVM node's state is of something else")
            tokens[symbol] = address
        return tokens

    def pending(self) -> int:
        """How many chain transactions wait for a block."""
        return int(self.call("txpool_status")["pending"], 16)

    def genesis(self) -> str:
        """The hash of the first block: 64 hex digits."""
        return str(self.call("eth_getBlockByNumber", "0x0", False)["hash"]).removeprefix("0x")

    def mine(self) -> None:
        self.call("evm_mine")

    def send(self, *sent: Mapping[str, str]) -> None:
        """Chain transactions of accounts that the node has unlocked, in one block. Raises: EvmError if one fails."""
        identifiers = [self.call("eth_sendTransaction", each) for each in sent]
        self.mine()
        for identifier in identifiers:
            receipt: dict[str, Any] | None = self.call("eth_getTransactionReceipt", identifier)
            if receipt is None or receipt["status"] != "0x1":
                raise EvmError(f"chain transaction {identifier} failed")


def mint_call(to: str, minor: int) -> str:
    """What the owner of a test token tells it, to have so much more there."""
    return "0x" + encode_call("mint(address,uint256)", [bytes.fromhex(to[2:]), minor]).hex()


def created(deployer: str, nonce: int) -> str:
    """The address of a contract by its deployer's address and nonce (below 128): Yellow Paper, section 7."""
    encoded = b"\xd6\x94" + bytes.fromhex(deployer[2:]) + (bytes([nonce]) if nonce else b"\x80")
    return eip55(keccak256(encoded)[-20:])
