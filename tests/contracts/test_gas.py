"""What a payout by the vault costs in gas, and where it goes; the document says the same numbers."""

from dataclasses import dataclass

import pytest
from tests.contracts.node import DEPLOYER, Contract, Node
from tests.contracts.vault import OPERATOR, STRANGER, USD, Batch, Item, Vault, account, founded
from tests.repository.documents import table_with

COUNT = 200
INTRINSIC = 21_000
DOCUMENT = "docs/vault.md"
WHATS = ("the chain transaction", "its calldata", "the token's code", "the vault")
AT_MOST = {"cold": 29_500, "warm": 12_400}


@dataclass(frozen=True)
class Gas:
    """Of one chain transaction, by where it goes; in the order of WHATS."""

    parts: tuple[int, ...]

    @property
    def total(self) -> int:
        return sum(self.parts)

    def each(self) -> list[int]:
        return [round(part / COUNT) for part in (self.total, *self.parts)]


def calldata_gas(data: bytes) -> int:
    """EIP-2028. Batches never meet the floor of EIP-7623, as most of their gas is storage."""
    return sum(16 if byte else 4 for byte in data)


def measured(vault: Vault, digest: str, data: bytes) -> Gas:
    traced = vault.node.rpc("debug_traceTransaction", digest, {"tracer": "callTracer"})
    total, calldata = int(traced["gasUsed"], 16), calldata_gas(data)
    token = sum(int(call["gasUsed"], 16) for call in traced["calls"])
    return Gas((INTRINSIC, calldata, token, total - INTRINSIC - calldata - token))


def drivers(token: Contract, name: str, count: int = COUNT) -> Batch:
    """That many payees, who are others for each name."""
    items = [Item(account(f"{name} {number}"), 25 * USD + 1_000 * number) for number in range(count)]
    return Batch(token.address, items, salt=b"\x11" * 32)


def paid(vault: Vault, token: Contract) -> dict[str, Gas]:
    """The same payees twice: in the first batch none of them had any of the token."""
    found = {}
    for name, salt in (("cold", b"\x11" * 32), ("warm", b"\x22" * 32)):
        batch = Batch(token.address, drivers(token, "driver").items, salt=salt)
        found[name] = measured(vault, vault.pay(batch).digest, vault.call_data(batch))
    return found


@pytest.fixture
def vault(node: Node) -> Vault:
    made = founded(node)
    for token in (made.usdc, made.usdt):
        made.list(token, (10**12, USD, 10**9, 100_000))
    return made


def test_the_document_says_what_a_payout_costs(vault: Vault) -> None:
    rows = {row["gas for each of 200 payouts"]: row for row in table_with(DOCUMENT, "gas for each of 200 payouts")}
    for symbol, token in (("USDC", vault.usdc), ("USDT", vault.usdt)):
        for name, gas in paid(vault, token).items():
            names = [f"{symbol}, all of it", *(f"{symbol}: {what}" for what in WHATS)]
            told = [int(rows[each][name].replace(",", "")) for each in names]
            assert told == gas.each(), (symbol, name, gas)
            if symbol == "USDC":
                assert gas.total <= COUNT * AT_MOST[name]


def test_the_document_says_what_else_costs(vault: Vault) -> None:
    told = {
        row["what else costs"]: int(row["gas"].replace(",", "")) for row in table_with(DOCUMENT, "what else costs")
    }
    found = {}
    for what, gas in ELSE.items():
        snapshot = vault.node.snapshot()
        found[what] = gas(vault)
        vault.node.revert(snapshot)
    assert found == told


def one_transfer(vault: Vault) -> int:
    vault.usdc.send(DEPLOYER, "mint", OPERATOR, 100 * USD)
    return vault.usdc.send(OPERATOR, "transfer", account("driver 0"), 25 * USD).gas


def one_payout(vault: Vault) -> int:
    return vault.pay(drivers(vault.usdc, "single", 1)).gas


def with_kills(vault: Vault) -> int:
    """What each of ten kills adds to a batch."""
    plain = drivers(vault.usdc, "plain", 10)
    other = Batch(plain.token, drivers(vault.usdc, "other", 10).items, salt=b"\x33" * 32)
    dead = [drivers(vault.usdc, f"dead {number}", 1) for number in range(10)]
    return (vault.pay(other, kills=dead).gas - vault.pay(plain).gas) // 10


def with_retries(vault: Vault) -> int:
    """What each of ten retries adds to a batch of the same items, which by then are other payees' first."""
    refused = drivers(vault.usdc, "refused", 20)
    for item in refused.items[10:]:
        vault.usdc.send(DEPLOYER, "setBlacklisted", item.payee, True)
    vault.pay(refused)
    plain = drivers(vault.usdc, "plain", 10)
    other = Batch(plain.token, drivers(vault.usdc, "other", 10).items, salt=b"\x33" * 32)
    retries = [(refused, index) for index in range(10, 20)]
    return (vault.pay(other, retries=retries).gas - vault.pay(plain).gas) // 10


ELSE = {
    "one payment of USDC from an account, without a vault": one_transfer,
    "a batch of one": one_payout,
    "each batch that is killed": with_kills,
    "each item that is retried": with_retries,
    "a sweep": lambda vault: vault.contract.send(OPERATOR, "sweep", vault.usdc.address, 0).gas,
    "a pause by the guardian's message": lambda vault: vault.contract.send(
        STRANGER, "pauseBySignature", *vault.pause_message()
    ).gas,
}
"""Each on a fresh vault."""
