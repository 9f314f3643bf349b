"""The treasury's Safe, two of three, owns a vault: what only the owner may do is done by its signatures."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import coincurve
import pytest
from eth_account import Account
from eth_account.messages import encode_typed_data
from tests.contracts.node import DEPLOYER, Contract, Node, Receipt, Reverted
from tests.contracts.vault import (
    CAPACITY,
    GUARDIAN,
    LIMIT,
    MAXIMUM,
    OPERATOR,
    STRANGER,
    Vault,
    account,
    address_of,
    balance,
    batch,
    key,
    signature,
)

from strongroom.sandbox import parts

ZERO = "0x" + "00" * 20
PEOPLE = sorted((key(f"treasurer {number}") for number in range(3)), key=address_of)
PAYEE = account("payee")


def published(name: str) -> Any:
    """An artifact as Safe's authors published it."""
    package = parts.node_modules(lambda _: None) / "node_modules/@safe-global/safe-smart-account"
    return json.loads((package / "build/artifacts/contracts" / f"{name}.sol" / f"{Path(name).name}.json").read_text())


@dataclass(frozen=True)
class Safe:
    contract: Contract

    def digest(self, to: str, data: bytes) -> bytes:
        """What its owners sign, in its own words."""
        nonce = self.contract.read("nonce")
        return bytes(self.contract.read("getTransactionHash", to, 0, data, 0, 0, 0, 0, ZERO, ZERO, nonce))

    def execute(self, to: Contract, name: str, *arguments: object, by: list[coincurve.PrivateKey]) -> Receipt:
        """Anybody brings the signatures. Raises: Reverted."""
        data = to.data(name, *arguments)
        signatures = b"".join(r + s + bytes([v]) for v, r, s in (
            signature(each, self.digest(to.address, data)) for each in by
        ))
        return self.contract.send(
            STRANGER, "execTransaction", to.address, 0, data, 0, 0, 0, 0, ZERO, ZERO, signatures
        )


@pytest.fixture
def safe(node: Node) -> Safe:
    single, factory = published("SafeL2"), published("proxies/SafeProxyFactory")
    master = node.deploy(single["abi"], single["bytecode"])
    maker = node.deploy(factory["abi"], factory["bytecode"])
    owners = [address_of(each) for each in PEOPLE]
    setup = master.data("setup", owners, 2, ZERO, b"", ZERO, ZERO, 0, ZERO)
    made = maker.send(DEPLOYER, "createProxyWithNonce", master.address, setup, 0).named("ProxyCreation")[0]
    safe = Safe(Contract(node, made["proxy"], single["abi"]))
    assert (safe.contract.read("getThreshold"), list(safe.contract.read("getOwners"))) == (2, owners)
    return safe


@pytest.fixture
def vault(node: Node, safe: Safe) -> Vault:
    usdc, usdt, hostile = (node.deploy_artifact(name) for name in ("TestUSDC", "TestUSDT", "TestHostile"))
    contract = node.deploy_artifact("HotVault", safe.contract.address, OPERATOR, GUARDIAN)
    usdc.send(DEPLOYER, "mint", contract.address, 100 * CAPACITY)
    made = Vault(node, contract, usdc, usdt, hostile, is_patched=False)
    safe.execute(contract, "setLimit", usdc.address, *LIMIT, by=PEOPLE[:2])
    return made


def test_two_of_three_set_limits_unpause_rotate_and_withdraw(safe: Safe, vault: Vault) -> None:
    vault.pay(batch(vault.usdc, (PAYEE, MAXIMUM)))
    safe.execute(vault.contract, "setLimit", vault.usdc.address, *LIMIT[:2], 2 * MAXIMUM, LIMIT[3], by=PEOPLE[1:])
    vault.pay(batch(vault.usdc, (PAYEE, 2 * MAXIMUM)))
    vault.contract.send(STRANGER, "pauseBySignature", *vault.pause_message())
    operator, guardian = account("the next operator"), account("the next guardian")
    safe.execute(vault.contract, "rotate", operator, guardian, by=PEOPLE[::2])
    safe.execute(vault.contract, "unpause", by=PEOPLE[:2])
    vault.pay(batch(vault.usdc, (PAYEE, MAXIMUM)), sender=operator)
    assert balance(vault.usdc, PAYEE) == 4 * MAXIMUM
    vault.contract.send(operator, "sweep", vault.usdc.address, CAPACITY)
    assert balance(vault.usdc, safe.contract.address) == 100 * CAPACITY - 4 * MAXIMUM - CAPACITY
    safe.execute(vault.contract, "withdraw", vault.usdc.address, PAYEE, CAPACITY, by=PEOPLE[:2])
    assert vault.held(vault.usdc) == 0


@pytest.mark.parametrize(("name", "arguments"), [("unpause", ()), ("rotate", (STRANGER, PAYEE))])
def test_one_of_three_does_nothing(safe: Safe, vault: Vault, name: str, arguments: tuple[object, ...]) -> None:
    safe.execute(vault.contract, "pause", by=PEOPLE[:2])
    for by in (PEOPLE[:1], [PEOPLE[0], PEOPLE[0]], [PEOPLE[0], key("a stranger")]):
        with pytest.raises(Reverted):
            safe.execute(vault.contract, name, *arguments, by=by)
    assert vault.paused()
    assert vault.contract.read("operator") == OPERATOR
    safe.execute(vault.contract, name, *arguments, by=PEOPLE[:2])


def test_what_a_person_signs_is_what_any_wallet_would_show(safe: Safe, vault: Vault) -> None:
    data = vault.contract.data("unpause")
    kind = [
        ("to", "address"), ("value", "uint256"), ("data", "bytes"), ("operation", "uint8"), ("safeTxGas", "uint256"),
        ("baseGas", "uint256"), ("gasPrice", "uint256"), ("gasToken", "address"), ("refundReceiver", "address"),
        ("nonce", "uint256"),
    ]
    message = {
        "to": vault.address, "value": 0, "data": data, "operation": 0, "safeTxGas": 0, "baseGas": 0, "gasPrice": 0,
        "gasToken": ZERO, "refundReceiver": ZERO, "nonce": safe.contract.read("nonce"),
    }
    typed = encode_typed_data(
        {"chainId": 31337, "verifyingContract": safe.contract.address},
        {"SafeTx": [{"name": name, "type": each} for name, each in kind]}, message,
    )
    signed = Account.sign_message(typed, PEOPLE[0].secret)
    ours = signature(PEOPLE[0], safe.digest(vault.address, data))
    assert (signed.v, signed.r.to_bytes(32), signed.s.to_bytes(32)) == ours
