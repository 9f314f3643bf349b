"""A Bitcoin node for tests: regtest, started, killed with SIGKILL, started again; and keys that pay from it."""

import contextlib
import os
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import wallycore
from coincurve import PrivateKey
from tests.rails.chain import free_port

from strongroom.formats.bitcoin_address import bitcoin_address_of, parse_bitcoin_address
from strongroom.formats.bitcoin_psbt import SEQUENCE
from strongroom.formats.bitcoin_transaction import (
    Input,
    Output,
    Transaction,
    encode_transaction,
    key_output_script,
    key_spend_digests,
)
from strongroom.rails.port import Coin
from strongroom.sandbox import parts
from strongroom.sandbox.bitcoin import WALLET, Bitcoin

REGTEST = "bip122:0f9188f13cb7b2c71f2a335e3a4fc328"
ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


class Key:
    """A taproot key alone, as BIP-86 makes addresses."""

    def __init__(self, secret: bytes) -> None:
        inner = PrivateKey(secret)
        if inner.public_key.format()[0] == 3:
            inner = PrivateKey((ORDER - int.from_bytes(secret)).to_bytes(32))
        self.script = key_output_script(inner.public_key.format()[1:])
        self.address = str(bitcoin_address_of(self.script, REGTEST))
        self._secret = _tweaked(inner)

    def spend(self, coins: Sequence[Coin], outputs: Sequence[tuple[str, int]]) -> Transaction:
        """Signed; what is left is the fee."""
        inputs = tuple(Input(coin.chain_transaction, coin.index, SEQUENCE) for coin in coins)
        paid = tuple(Output(amount, parse_bitcoin_address(to, REGTEST).script_pubkey) for to, amount in outputs)
        unsigned = Transaction(2, inputs, paid, 0)
        digests = key_spend_digests(unsigned, [Output(coin.amount_minor, self.script) for coin in coins])
        witnesses = tuple((self._secret.sign_schnorr(digest, None),) for digest in digests)
        return Transaction(2, inputs, paid, 0, witnesses)


def _tweaked(inner: PrivateKey) -> PrivateKey:
    """By the library that signs in production, which is another than the one that makes the script."""
    return PrivateKey(bytes(wallycore.ec_private_key_bip341_tweak(inner.secret, None, 0)))


class Node:
    """`rpc` is for the test, which is the outside world: the miner's wallet, blocks, reorgs."""

    def __init__(self, folder: Path, *more: str) -> None:
        self.folder = folder
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.cookie = folder / "regtest" / ".cookie"
        self.rpc = Bitcoin(self.url, self.cookie)
        self._command = parts.bitcoind(print)
        self._more = more
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with (self.folder / "node.log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *self._command, "-regtest", f"-datadir={self.folder}", "-server", "-listen=0", "-printtoconsole",
                    "-rpcbind=127.0.0.1", "-rpcallowip=127.0.0.1", f"-rpcport={self.port}", "-fallbackfee=0.00001",
                    "-blockmaxweight=3990000", "-blockfilterindex=1", "-dnsseed=0", "-fixedseeds=0",
                    *self._more,
                ],
                stdout=log, stderr=log,
            )
        self.rpc.wait(lambda: self._process is not None and self._process.poll() is None)
        self.rpc.prepare()

    def kill(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait(20)

    def fund(self, address: str, amount: int) -> None:
        self.rpc.call("sendtoaddress", address, f"{amount / 10**8:.8f}", wallet=WALLET)

    def mine(self, blocks: int = 1) -> None:
        self.rpc.mine(blocks)

    def reorg(self, depth: int) -> None:
        """The last blocks are put aside for a longer branch without their transactions."""
        tip = self.rpc.call("getblockcount")
        self.rpc.call("invalidateblock", self.rpc.call("getblockhash", tip - depth + 1))
        address = self.rpc.call("getnewaddress", wallet=WALLET)
        for _ in range(depth + 1):
            self.rpc.call("generateblock", address, [])


@contextlib.contextmanager
def running_node(folder: Path, *more: str) -> Iterator[Node]:
    """`more` are arguments of bitcoind's."""
    node = Node(folder, *more)
    try:
        node.start()
        yield node
    finally:
        node.kill()
        node.rpc.close()


def new_key() -> Key:
    return Key(os.urandom(32))


def encoded(transaction: Transaction) -> bytes:
    return encode_transaction(transaction)
