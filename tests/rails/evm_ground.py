"""An EVM chain for the suite of account rails: a real node behind a provider that lies, or behind several of them."""

import itertools
from typing import Any

from tests.contracts.node import Node
from tests.contracts.vault import Vault, address_of, key
from tests.rails.account_conformance import FINAL_DEPTH
from tests.rails.lying_node import LyingNode

from strongroom.formats.evm_abi import encode_call
from strongroom.formats.evm_address import eip55
from strongroom.formats.evm_transaction import (
    EvmSignature,
    EvmTransaction,
    encode_signed,
    signing_hash,
    transaction_hash,
)
from strongroom.rails.account_port import AccountRail
from strongroom.rails.evm.rail import EvmRail, Finality
from strongroom.rails.evm.several import SeveralRails
from strongroom.rails.port import ChainTransactionId

_numbers = itertools.count()
GWEI = 10**9
PAYEE = bytes([0xEE] * 20)


class EvmGround:
    """With several providers all of them have the same fault. Accounts pay from a vault's node."""

    network = "eip155:31337"

    def __init__(self, node: Node, vault: Vault, *providers: LyingNode) -> None:
        self.node = node
        self.providers = providers
        self.vault = vault
        self.genesis = str(node.rpc("eth_getBlockByNumber", "0x0", False)["hash"])
        self._keys: dict[str, str] = {}

    def open(
        self, genesis: str | None = None, answer_timeout_s: float = 10, finality: Finality = FINAL_DEPTH, **more: Any
    ) -> AccountRail:
        own, *others = (
            EvmRail(
                self.network, each.url, genesis or self.genesis, finality, answer_timeout_s=answer_timeout_s, **more
            )
            for each in self.providers
        )
        return SeveralRails(own, others, len(others)) if others else own

    def account(self) -> str:
        name = f"sender {next(_numbers)}"
        address = address_of(key(name))
        self.node.rpc("anvil_setBalance", address, hex(10**18))
        text = eip55(bytes.fromhex(address[2:]))
        self._keys[text] = name
        return text

    def stranger(self) -> str:
        return eip55(bytes.fromhex(address_of(key(f"stranger {next(_numbers)}"))[2:]))

    def pay(self, account: str, nonce: int, rate: int = 1, *, fails: bool = False) -> bytes:
        """Half a unit of ether per unit of rate is more than anybody has from 10^12 on."""
        to = bytes.fromhex(self.vault.address[2:]) if fails else PAYEE
        return self._signed(account, nonce, rate, to, b"\x01\x02\x03\x04" if fails else b"")

    def emits(self, account: str, nonce: int) -> tuple[str, bytes]:
        token = bytes.fromhex(self.vault.usdc.address[2:])
        call = encode_call("approve(address,uint256)", [PAYEE, 5])
        return eip55(token), self._signed(account, nonce, 1, token, call)

    def id_of(self, signed: bytes) -> ChainTransactionId:
        return ChainTransactionId(transaction_hash(signed))

    def made_at(self, height: int) -> int:
        return int(self.node.rpc("eth_getBlockByNumber", hex(height), False)["timestamp"], 16)

    def mine(self, blocks: int = 1) -> None:
        for _ in range(blocks):
            self.node.rpc("evm_mine")

    def reorg(self, depth: int) -> None:
        self.node.rpc("anvil_reorg", depth, [])
        self.node.rpc("anvil_dropAllTransactions")

    def lose(self) -> None:
        for each in self.providers:
            each.swallows.add("eth_sendRawTransaction")

    def cut(self) -> None:
        for each in self.providers:
            each.cuts.add("eth_sendRawTransaction")

    def delay(self) -> None:
        for each in self.providers:
            each.delays.add("eth_sendRawTransaction")

    def gone(self) -> None:
        for each in self.providers:
            each.is_gone = True

    def honest(self) -> None:
        for each in self.providers:
            each.honest()

    def claim_mined(self, signed: bytes) -> None:
        block = self.node.rpc("eth_getBlockByNumber", "latest", False)["hash"]
        for each in self.providers:
            each.lies["eth_getTransactionByHash"] = lambda *_: {"blockHash": block}

    def _signed(self, account: str, nonce: int, rate: int, to: bytes, data: bytes) -> bytes:
        made = EvmTransaction(31337, nonce, rate * GWEI, rate * 2 * GWEI, 100_000, to, 0, data)
        raw = key(self._keys[account]).sign_recoverable(signing_hash(made), hasher=None)
        return encode_signed(made, EvmSignature(raw[64], int.from_bytes(raw[:32]), int.from_bytes(raw[32:64])))
