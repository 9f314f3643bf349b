"""A theft from a hot vault by real processes on a real node: seen, alarmed at guard, and nothing is paid any more."""

import os
import secrets
from collections.abc import Iterator

import httpx
import pytest
from tests.e2e.sandbox import eventually
from tests.sandbox.box import Box, box
from tests.sandbox.test_running import evm_call, in_vault

from strongroom.formats.evm_abi import encode_call
from strongroom.formats.hot_vault import Batch, VaultItem

pytestmark = [pytest.mark.sandbox, pytest.mark.faults]
at_full_count = pytest.mark.skipif(os.environ.get("STRONGROOM_FAULTS") != "full", reason="under STRONGROOM_FAULTS=full")
MINOR = 200_000 * 10**6


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Box]:
    with box() as made:
        started = made.up("--rails", "evm")
        assert started.returncode == 0, started.stderr
        yield made


def raw(address: str) -> bytes:
    return bytes.fromhex(address[2:])


@at_full_count
def test_what_a_stranger_sends_is_in_suspense_and_what_a_thief_takes_is_an_alarm_at_guard(sandbox: Box) -> None:
    """The attacker has the key of the vault's operator, whose part the node plays for whoever asks it. It wants the
    bucket, and gets what stands in it; what it can't have is a payout after."""
    document = sandbox.document()
    organisation, vault = document["organisation"], document["evm"]["hot_vault"]
    token = document["assets"]["USDC"].removeprefix("eip155:31337/erc20:")

    def usdc() -> dict[str, object]:
        return next(each for each in sandbox.status()["assets"] if each["symbol"] == "USDC")

    eventually("ledger, chain and journal agree", lambda: bool(usdc()["is_equal"]))
    richest = evm_call(document, "eth_accounts")[0]
    gift = encode_call("transfer(address,uint256)", [raw(vault), 41])
    evm_call(document, "eth_sendTransaction", {"from": richest, "to": token, "data": "0x" + gift.hex()})
    eventually("the gift is there", lambda: in_vault(document, "USDC") == 10**13 + 41)
    eventually("it is in suspense", lambda: usdc()["ledger"] == str(10**13 + 41) and bool(usdc()["is_equal"]))

    found = evm_call(document, "eth_call", {"to": vault, "data": "0x" + encode_call("operator()", []).hex()}, "latest")
    operator, thief = "0x" + found[-40:], secrets.token_bytes(20)
    batch = Batch(31337, raw(vault), raw(token), secrets.token_bytes(32), (VaultItem(thief, MINOR),))
    evm_call(document, "anvil_impersonateAccount", operator)
    theft = {"from": operator, "to": vault, "data": "0x" + batch.pay((), (), 2**40).hex(), "gas": hex(1_000_000)}
    evm_call(document, "eth_sendTransaction", theft)
    with httpx.Client(base_url=document["guard_url"], timeout=10, trust_env=False) as guard:

        def alarms() -> list[str]:
            said: list[str] = guard.get("/v1/status").json()["organisations"][organisation]["alarms"]
            return said

        took_s = eventually("an alarm at guard", lambda: f"unknown-spend.{batch.name.hex()[:40]}" in alarms(), 15)
        print(f"the alarm stood at guard after {took_s:.2f} s")
        eventually("of the account's nonce too", lambda: f"unknown-spend.{operator[2:]}.1" in alarms(), 15)
        assert guard.get("/v1/status").json()["lease"] == "recover"
    assert not usdc()["is_equal"]
    assert in_vault(document, "USDC") == 10**13 + 41 - MINOR
