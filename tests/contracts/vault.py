"""A vault on a node with its parties, tokens and limits, and what a signer and a guardian would make for it.

Ids, words and digests are computed here by themselves, so that they say what the contract should compute.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import coincurve
import eth_abi
from tests.contracts.node import DEPLOYER, GAS, Contract, Node, Receipt, keccak

USD = 10**6
CAPACITY = 10_000 * USD
REFILL = 1 * USD
MAXIMUM = 1_000 * USD
GAS_PER_ITEM = 100_000
MAXIMUM_ITEMS = 248
FUNDED = 1_000_000 * USD
NEVER = 2**40
LIMIT = (CAPACITY, REFILL, MAXIMUM, GAS_PER_ITEM)
BEHAVIOURS = (
    "Pays", "ReturnsNothing", "ReturnsFalse", "ReturnsTwo", "ReturnsShort", "Reverts", "RevertsWithBomb",
    "ReturnsBomb", "BurnsGas", "NeedsMuchGas", "CallsBack",
)
"""As in contracts/TestHostile.sol."""

_numbers = itertools.count(1)


def account(name: str) -> str:
    """An address that nobody else has."""
    return "0x" + keccak(f"account {name}".encode())[-20:].hex()


def key(name: str) -> coincurve.PrivateKey:
    return coincurve.PrivateKey(keccak(f"key {name}".encode()))


def address_of(private: coincurve.PrivateKey) -> str:
    return "0x" + keccak(private.public_key.format(compressed=False)[1:])[-20:].hex()


OWNER = account("the treasury's Safe")
OPERATOR_KEY = key("operator")
OPERATOR = address_of(OPERATOR_KEY)
GUARDIAN_KEY = key("guardian")
GUARDIAN = address_of(GUARDIAN_KEY)
THIEF = account("thief")
STRANGER = account("stranger")


@dataclass(frozen=True)
class Item:
    payee: str
    amount: int

    @property
    def word(self) -> bytes:
        return bytes.fromhex(self.payee[2:]) + self.amount.to_bytes(12)


@dataclass(frozen=True)
class Batch:
    """What the signer signs once, and may sign again with more kills, more gas or another deadline."""

    token: str
    items: Sequence[Item]
    salt: bytes = field(default_factory=lambda: keccak(b"salt %d" % next(_numbers)))

    @property
    def words(self) -> list[bytes]:
        return [item.word for item in self.items]

    @property
    def total(self) -> int:
        return sum(item.amount for item in self.items)

    def id(self, chain_id: int, vault: str) -> bytes:
        return keccak(eth_abi.encode(
            ["uint256", "address", "address", "bytes32", "bytes32[]"],
            [chain_id, vault, self.token, self.salt, self.words],
        ))


def batch(token: Contract, *items: tuple[str, int]) -> Batch:
    return Batch(token.address, [Item(payee, amount) for payee, amount in items])


def pause_digest(chain_id: int, vault: str, epoch: int) -> bytes:
    """EIP-712, by hand."""
    kind = keccak(b"EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)")
    domain = keccak(eth_abi.encode(
        ["bytes32", "bytes32", "bytes32", "uint256", "address"],
        [kind, keccak(b"Strongroom HotVault"), keccak(b"1"), chain_id, vault],
    ))
    return keccak(b"\x19\x01" + domain + keccak(eth_abi.encode(
        ["bytes32", "uint256"], [keccak(b"Pause(uint256 epoch)"), epoch]
    )))


def signature(private: coincurve.PrivateKey, digest: bytes) -> tuple[int, bytes, bytes]:
    """v, r, s."""
    made = private.sign_recoverable(digest, hasher=None)
    return 27 + made[64], made[:32], made[32:64]


class Vault:
    """One vault with money in it; USDC is listed, and USDT and the hostile token if a test lists them.

    The signer and the guardian of a patched copy compute ids and digests as that copy does."""

    def __init__(
        self, node: Node, contract: Contract, usdc: Contract, usdt: Contract, hostile: Contract, is_patched: bool
    ) -> None:
        self.node = node
        self.is_patched = is_patched
        self.contract = contract
        self.usdc = usdc
        self.usdt = usdt
        self.hostile = hostile

    @property
    def address(self) -> str:
        return self.contract.address

    def list(self, token: Contract, limit: Sequence[int] = LIMIT) -> None:
        self.contract.send(OWNER, "setLimit", token.address, *limit)

    def id(self, batch: Batch) -> bytes:
        if self.is_patched:
            return bytes(self.contract.read("batchId", batch.token, batch.salt, batch.words))
        return batch.id(self.node.chain_id, self.address)

    def call_data(
        self, batch: Batch, kills: Sequence[Batch] = (), retries: Sequence[tuple[Batch, int]] = (),
        deadline: int = NEVER,
    ) -> bytes:
        """What the signer signs to pay this batch."""
        return self.contract.data(
            "pay", self.id(batch), [self.id(each) for each in kills],
            [(self.id(each), index) for each, index in retries], batch.token, batch.salt, deadline, batch.words,
        )

    def pay(
        self, batch: Batch, kills: Sequence[Batch] = (), retries: Sequence[tuple[Batch, int]] = (),
        deadline: int = NEVER, *, sender: str = OPERATOR, gas: int = GAS,
    ) -> Receipt:
        """Raises: Reverted."""
        return self.contract.send_data(sender, self.call_data(batch, kills, retries, deadline), gas=gas)

    def fate(self, batch: Batch) -> tuple[int, int]:
        """Status (0 none, 1 executed, 2 killed) and the flags of what was skipped."""
        status, skipped = self.contract.read("fates", self.id(batch))
        return int(status), int(skipped)

    def held(self, token: Contract) -> int:
        return balance(token, self.address)

    def epoch(self) -> int:
        return int(self.contract.read("epoch"))

    def pause_message(self, private: coincurve.PrivateKey = GUARDIAN_KEY) -> tuple[int, bytes, bytes]:
        """The guardian's, for the epoch that is."""
        if self.is_patched:
            return signature(private, bytes(self.contract.read("pauseDigest")))
        return signature(private, pause_digest(self.node.chain_id, self.address, self.epoch()))

    def paused(self) -> bool:
        return bool(self.contract.read("paused"))


def balance(token: Contract, holder: str) -> int:
    return int(token.read("balanceOf", holder))


def behave(vault: Vault, payee: str, behaviour: str) -> None:
    """From now on the hostile token does that to this payee."""
    vault.hostile.send(DEPLOYER, "setBehaviour", payee, BEHAVIOURS.index(behaviour))


def founded(
    node: Node, made: Mapping[str, Any] | None = None, *, operator: str = OPERATOR, deployer: str = DEPLOYER
) -> Vault:
    """The shipped vault, or the one that was compiled from a patched copy. The same deployer's first is at the same
    address on every chain, and so are its tokens."""
    usdc, usdt, hostile = (
        node.deploy_artifact(name, deployer=deployer) for name in ("TestUSDC", "TestUSDT", "TestHostile")
    )
    parties = (OWNER, operator, GUARDIAN)
    if made is None:
        contract = node.deploy_artifact("HotVault", *parties, deployer=deployer)
    else:
        contract = node.deploy(made["abi"], made["bytecode"], *parties, deployer=deployer)
    for token in (usdc, usdt, hostile):
        token.send(deployer, "mint", contract.address, FUNDED)
    vault = Vault(node, contract, usdc, usdt, hostile, is_patched=made is not None)
    vault.list(usdc)
    return vault
