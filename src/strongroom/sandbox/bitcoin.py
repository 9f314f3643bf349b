"""The Bitcoin node of the sandbox: regtest, with a wallet of the miner's and coins that can be spent."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import httpx

TIMEOUT_S: Final = 30
MATURE_BLOCKS: Final = 101
WALLET: Final = "miner"


class BitcoinError(Exception):
    """The node doesn't answer, or refuses."""


class Bitcoin:
    """JSON-RPC with the cookie that the node writes when it starts."""

    def __init__(self, url: str, cookie: Path) -> None:
        self._url = url
        self._cookie = cookie
        self._client = httpx.Client(timeout=TIMEOUT_S, trust_env=False)

    def call(self, method: str, *parameters: object, wallet: str = "") -> Any:
        """Raises: BitcoinError."""
        path = f"/wallet/{wallet}" if wallet else "/"
        request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": parameters}
        try:
            name, _, password = self._cookie.read_text().strip().partition(":")
            answer = self._client.post(self._url + path, json=request, auth=(name, password)).json()
        except (OSError, httpx.HTTPError, json.JSONDecodeError) as fault:
            raise BitcoinError(f"the Bitcoin node doesn't answer {method}: {fault}") from fault
        if answer.get("error"):
            raise BitcoinError(f"the Bitcoin node refuses {method}: {answer['error'].get('message')}")
        return answer["result"]

    def close(self) -> None:
        self._client.close()

    def wait(self, alive: Callable[[], bool]) -> None:
        """Until it answers. Raises: BitcoinError when it ended, or takes too long."""
        deadline = time.monotonic() + TIMEOUT_S
        while True:
            try:
                chain = self.call("getblockchaininfo")["chain"]
            except BitcoinError:
                if not alive() or time.monotonic() > deadline:
                    raise
                time.sleep(0.1)
                continue
            if chain != "regtest":
                raise BitcoinError(f"the Bitcoin node is on {chain}, and the sandbox only ever uses regtest")
            return

    def prepare(self) -> None:
        """The miner's wallet, with coins that have matured."""
        if WALLET not in self.call("listwallets"):
            known = {each["name"] for each in self.call("listwalletdir")["wallets"]}
            self.call("loadwallet" if WALLET in known else "createwallet", WALLET)
        height = self.call("getblockcount")
        if height < MATURE_BLOCKS:
            self.mine(MATURE_BLOCKS - height)

    def pending(self) -> int:
        """How many chain transactions wait for a block."""
        return int(self.call("getmempoolinfo")["size"])

    def mine(self, blocks: int = 1) -> None:
        address = self.call("getnewaddress", wallet=WALLET)
        self.call("generatetoaddress", blocks, address)
