"""The EVM rail against a real node, through a provider that lies."""

import asyncio
import itertools
from collections.abc import Iterator
from typing import Any

import pytest
from tests.contracts.node import Node, running_node
from tests.contracts.vault import Vault, address_of, founded, key
from tests.rails.account_conformance import FINAL_DEPTH, AccountConformance
from tests.rails.lying_node import LyingNode, lying_node

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
from strongroom.rails.port import ChainTransactionId, RailError

_numbers = itertools.count()
GWEI = 10**9
PAYEE = bytes([0xEE] * 20)


class EvmGround:
    network = "eip155:31337"

    def __init__(self, node: Node, provider: LyingNode, vault: Vault) -> None:
        self.node = node
        self.provider = provider
        self.vault = vault
        self.genesis = str(node.rpc("eth_getBlockByNumber", "0x0", False)["hash"])
        self._keys: dict[str, str] = {}
        self.gone, self.honest = self._gone, provider.honest

    def open(
        self, genesis: str | None = None, answer_timeout_s: float = 10, finality: Finality = FINAL_DEPTH, **more: Any
    ) -> AccountRail:
        return EvmRail(
            self.network, self.provider.url, genesis or self.genesis, finality, answer_timeout_s=answer_timeout_s,
            **more,
        )

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

    def mine(self, blocks: int = 1) -> None:
        for _ in range(blocks):
            self.node.rpc("evm_mine")

    def reorg(self, depth: int) -> None:
        self.node.rpc("anvil_reorg", depth, [])
        self.node.rpc("anvil_dropAllTransactions")

    def lose(self) -> None:
        self.provider.swallows.add("eth_sendRawTransaction")

    def cut(self) -> None:
        self.provider.cuts.add("eth_sendRawTransaction")

    def delay(self) -> None:
        self.provider.delays.add("eth_sendRawTransaction")

    def _gone(self) -> None:
        self.provider.is_gone = True

    def claim_mined(self, signed: bytes) -> None:
        block = self.node.rpc("eth_getBlockByNumber", "latest", False)["hash"]
        self.provider.lies["eth_getTransactionByHash"] = lambda *_: {"blockHash": block, "transactionIndex": "0x0"}

    def _signed(self, account: str, nonce: int, rate: int, to: bytes, data: bytes) -> bytes:
        made = EvmTransaction(31337, nonce, rate * GWEI, rate * 2 * GWEI, 100_000, to, 0, data)
        raw = key(self._keys[account]).sign_recoverable(signing_hash(made), hasher=None)
        return encode_signed(made, EvmSignature(raw[64], int.from_bytes(raw[:32]), int.from_bytes(raw[32:64])))


@pytest.fixture(scope="module")
def node() -> Iterator[Node]:
    with running_node(31337, "--slots-in-an-epoch", "2") as running:
        yield running


@pytest.fixture(scope="module")
def vault(node: Node) -> Vault:
    return founded(node)


@pytest.fixture
def provider(node: Node) -> Iterator[LyingNode]:
    with lying_node(node.port) as running:
        yield running


@pytest.fixture
def ground(node: Node, provider: LyingNode, vault: Vault) -> EvmGround:
    return EvmGround(node, provider, vault)


class TestEvm(AccountConformance):
    """Every test of the suite."""


def asked(ground: EvmGround, rail: AccountRail, ask: str) -> Any:
    async def go() -> Any:
        try:
            return await getattr(rail, ask)()
        finally:
            await rail.close()

    return asyncio.run(go())


@pytest.mark.parametrize(("tag", "behind"), [("safe", 2), ("finalized", 4)])
def test_finality_can_be_the_nodes_own_word(ground: EvmGround, tag: Finality, behind: int) -> None:
    ground.mine(5)
    tip = asked(ground, ground.open(), "tip")
    assert asked(ground, ground.open(finality=tag), "final").height == tip.height - behind


def test_another_chain_id_is_refused_and_a_lie_about_it_does_not_help(ground: EvmGround) -> None:
    """Chains that were forked off each other have the same first block."""
    with pytest.raises(RailError, match="chain id is 31337, and 1 is configured"):
        asked(ground, EvmRail("eip155:1", ground.provider.url, ground.genesis, 1), "identity")
    ground.provider.lies["eth_chainId"] = lambda *_: "0x1"
    with pytest.raises(RailError, match="first block isn't"):
        asked(ground, EvmRail("eip155:1", ground.provider.url, "0x" + "d4" * 32, 1), "identity")


def test_a_chain_that_differs_at_a_checkpoint_or_is_not_there_yet_is_refused(ground: EvmGround) -> None:
    ground.mine(2)
    passed = ground.node.rpc("eth_getBlockByNumber", "0x2", False)["hash"]
    assert asked(ground, ground.open(checkpoint=(2, passed)), "identity").genesis == ground.genesis
    with pytest.raises(RailError, match="block 2 isn't the one that was configured"):
        asked(ground, ground.open(checkpoint=(2, ground.genesis)), "identity")
    with pytest.raises(RailError, match="hasn't block 9999 yet"):
        asked(ground, ground.open(checkpoint=(9_999, passed)), "identity")


@pytest.mark.parametrize("network", ["eip155", "eip155:0", "eip155:x", "bip122:1", "eip155:9223372036854775808"])
def test_a_network_that_is_none_is_refused(network: str) -> None:
    with pytest.raises(RailError, match="isn't an EVM network"):
        EvmRail(network, "https://node.example", "0x", 1)


@pytest.mark.parametrize("finality", [0, -1, True, "latest"])
def test_a_finality_that_is_none_is_refused(finality: Any) -> None:
    with pytest.raises(RailError, match="finality must be"):
        EvmRail("eip155:1", "https://node.example", "0x", finality)
