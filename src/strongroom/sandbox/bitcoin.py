"""The Bitcoin node of the sandbox: regtest, with a wallet of the miner's and coins that can be spent.

The miner has the cookie that the node writes. Each process that reads the chain has a name and a password of its own,
in a file in its folder; guard's may ask for blocks and for nothing else.
"""

import hmac
import json
import os
import secrets
import shutil
import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any, Final

import httpx

TIMEOUT_S: Final = 30
MATURE_BLOCKS: Final = 101
FUNDING_BLOCKS_MAXIMUM: Final = 500
WALLET: Final = "miner"
SATOSHI: Final = 100_000_000
COOKIE_FILE: Final = "bitcoin.cookie"
_GUARD_MAY: Final = "getblockhash,getblockheader,getblock"


class BitcoinError(Exception):
    """The node doesn't answer, or refuses."""


def node_arguments(folder: Path, port: int, readers: Sequence[Path]) -> list[str]:
    """How the node is started; `readers` are the folders of processes that may ask it, each called by its name."""
    return [
        "-regtest", f"-datadir={folder}", "-server", "-printtoconsole", "-listen=0", "-txindex=1", "-rpcbind=127.0.0.1",
        "-rpcallowip=127.0.0.1", f"-rpcport={port}", "-rest", "-fallbackfee=0.00001", "-blockmaxweight=3990000",
        "-blockfilterindex=1", "-dnsseed=0", "-fixedseeds=0", "-rpcwhitelistdefault=0",
        f"-rpcwhitelist=guard:{_GUARD_MAY}", *(f"-rpcauth={_granted(each)}" for each in readers),
    ]


def forget_filters(folder: Path) -> None:
    """Before each start. Killed after a reorg and before it wrote down its blocks, bitcoind finds its index of block
    filters of another branch and doesn't start; without one it makes it anew, here in a moment."""
    shutil.rmtree(folder / "regtest" / "indexes" / "blockfilter", ignore_errors=True)


def _granted(folder: Path) -> str:
    """What the node is told of a process that has its password in its folder, made there the first time."""
    file = folder / COOKIE_FILE
    if not file.exists():
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as handle:
            handle.write(f"{folder.name}:{secrets.token_urlsafe(24)}\n")
    name, _, password = file.read_text().strip().partition(":")
    salt = secrets.token_hex(16)
    return f"{name}:{salt}${hmac.digest(salt.encode(), password.encode(), 'sha256').hex()}"


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

    def genesis(self) -> str:
        return str(self.call("getblockhash", 0))

    def fund(self, addresses: Collection[str], amount: int) -> None:
        """So much to these, in shares, in a block. Raises: BitcoinError."""
        for _ in range(FUNDING_BLOCKS_MAXIMUM):
            if self.call("getbalance", wallet=WALLET) * SATOSHI > amount + SATOSHI:
                break
            self.mine()
        places = dict.fromkeys(addresses)  # a key in a token has one, however many were asked for
        share, rest = divmod(amount, len(places))
        amounts = {each: share + (rest if place == 0 else 0) for place, each in enumerate(places)}
        paid = {each: f"{minor // SATOSHI}.{minor % SATOSHI:08}" for each, minor in amounts.items()}
        self.call("sendmany", "", paid, wallet=WALLET)
        self.mine()

    def pending(self) -> int:
        """How many chain transactions wait for a block."""
        return int(self.call("getmempoolinfo")["size"])

    def mine(self, blocks: int = 1) -> None:
        address = self.call("getnewaddress", wallet=WALLET)
        self.call("generatetoaddress", blocks, address)
        self.keep()

    def keep(self) -> None:
        """Have it write down now what it does once an hour: killed, it would begin with what was written, and it has
        no peers to get the rest from. Counting all coins is preceded by that, and takes a moment here."""
        self.call("gettxoutsetinfo", "none")
