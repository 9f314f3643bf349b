"""A theft from a hot vault by real processes on a real node: seen, alarmed at guard, nothing is paid any more, and the
guardian's process pauses the vault."""

import os
import secrets
import signal
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from tests.e2e.sandbox import eventually
from tests.sandbox.box import Box, box
from tests.sandbox.test_running import evm_call, in_vault

from strongroom.domain.ids import OrganisationId
from strongroom.formats.evm_abi import encode_call
from strongroom.formats.evm_transaction import EvmSignature, EvmTransaction, encode_signed, sender, signing_hash
from strongroom.formats.hot_vault import Batch, VaultItem
from strongroom.formats.vault_orders import encode_unpause
from strongroom.guardian.message import read_pause
from strongroom.sandbox.evm import Evm
from strongroom.sandbox.evm_vault import LIMIT
from strongroom.sandbox.safe import executed, treasurers
from strongroom.signer.keys import open_key_file

pytestmark = [pytest.mark.sandbox, pytest.mark.faults]
at_full_count = pytest.mark.skipif(os.environ.get("STRONGROOM_FAULTS") != "full", reason="under STRONGROOM_FAULTS=full")
GWEI = 10**9
HOUR_S = 3_600
CAPACITY, REFILL = LIMIT[:2]
TOKENS = ("USDC", "USDT")


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Box]:
    with box() as made:
        started = made.up("--rails", "evm")
        assert started.returncode == 0, started.stderr
        yield made


def raw(address: str) -> bytes:
    return bytes.fromhex(address[2:])


class Thief:
    """Has been on the signer's host: it holds the key file and what opens it, and so the vault operator's key."""

    def __init__(self, sandbox: Box) -> None:
        self.document: dict[str, Any] = sandbox.document()
        self.organisation = OrganisationId(self.document["organisation"])
        identity = os.open(sandbox.data / "signer.identity", os.O_RDONLY)
        try:
            self._keys = open_key_file(next((sandbox.data / "signer").glob("*.age")).read_bytes(), identity)
        finally:
            os.close(identity)
        self.vault = raw(self.document["evm"]["hot_vault"])
        self.operator = raw("0x" + self.ask("operator()")[-40:])
        self.account = secrets.token_bytes(20)

    def ask(self, signature: str, *arguments: bytes, of: bytes = b"") -> str:
        data = encode_call(signature, list(arguments))
        asked = {"to": "0x" + (of or self.vault).hex(), "data": "0x" + data.hex()}
        return str(evm_call(self.document, "eth_call", asked, "latest"))

    def token(self, symbol: str) -> bytes:
        return raw(self.document["assets"][symbol].removeprefix("eip155:31337/erc20:"))

    def has(self, symbol: str) -> int:
        return int(self.ask("balanceOf(address)", self.account, of=self.token(symbol)), 16)

    def is_paused(self) -> bool:
        return int(self.ask("paused()"), 16) != 0

    def now(self) -> int:
        return int(evm_call(self.document, "eth_getBlockByNumber", "latest", False)["timestamp"], 16)

    def take(self) -> list[Batch]:
        """All that each bucket holds, in the next block, at whatever the gas costs."""
        nonce = int(evm_call(self.document, "eth_getTransactionCount", "0x" + self.operator.hex(), "latest"), 16)
        batches: list[Batch] = []
        for symbol in TOKENS:
            left = int(self.ask("available(address)", self.token(symbol)), 16)
            if left:
                items = (VaultItem(self.account, left),)
                batches.append(Batch(31337, self.vault, self.token(symbol), secrets.token_bytes(32), items))
        for place, batch in enumerate(batches):
            self._send(nonce + place, batch.pay((), (), 2**40))
        evm_call(self.document, "evm_mine")
        return batches

    def _send(self, nonce: int, data: bytes) -> None:
        made = EvmTransaction(31337, nonce, 2 * GWEI, 100 * GWEI, 1_000_000, self.vault, 0, data)
        signed = self._keys.wallet_sign(self.organisation, "eip155:31337", 0, 0, signing_hash(made))
        r, s = int.from_bytes(signed[:32]), int.from_bytes(signed[32:])
        signature = next(
            each for each in (EvmSignature(parity, r, s) for parity in (0, 1)) if sender(made, each) == self.operator
        )
        evm_call(self.document, "eth_sendRawTransaction", "0x" + encode_signed(made, signature).hex())

    def takes_for_hours(self) -> dict[str, int]:
        """What it has after two hours more of taking, whatever reverts."""
        for _ in range(2):
            evm_call(self.document, "evm_increaseTime", HOUR_S)
            evm_call(self.document, "evm_mine")
            self.take()
        return {symbol: self.has(symbol) for symbol in TOKENS}


def owner_unpauses(sandbox: Box, thief: Thief) -> None:
    """Two of the Safe's three people."""
    node = Evm(thief.document["evm"]["rpc_url"])
    safe = "0x" + thief.ask("owner()")[-40:]
    nonce = int(thief.ask("nonce()", of=raw(safe)), 16)
    keys = treasurers(sandbox.data / "keys" / thief.organisation)
    said = executed(node, safe, nonce, "0x" + thief.vault.hex(), encode_unpause(), keys)
    node.send({"from": node.call("eth_accounts")[0], "to": safe, "data": "0x" + said.hex(), "gas": hex(1_000_000)})
    node.close()


@at_full_count
def test_a_stolen_signer_key_takes_the_bucket_until_the_guardians_pause(sandbox: Box) -> None:
    """The attacker has the signer's key and a node. It wants all that the vault has; the bound is the bucket of each
    token, and what flows into it until the pause. Watch sees it, guard has the alarm, the guardian's process pauses.

    The control is a guardian that stands still: every hour the thief takes another hour's refill, without end."""
    thief = Thief(sandbox)

    def usdc() -> dict[str, object]:
        return next(each for each in sandbox.status()["assets"] if each["symbol"] == "USDC")

    eventually("ledger, chain and journal agree", lambda: bool(usdc()["is_equal"]))
    richest = evm_call(thief.document, "eth_accounts")[0]
    gift = encode_call("transfer(address,uint256)", [thief.vault, 41])
    token = "0x" + thief.token("USDC").hex()
    evm_call(thief.document, "eth_sendTransaction", {"from": richest, "to": token, "data": "0x" + gift.hex()})
    eventually("the gift is there", lambda: in_vault(thief.document, "USDC") == 10**13 + 41)
    eventually("it is in suspense", lambda: usdc()["ledger"] == str(10**13 + 41) and bool(usdc()["is_equal"]))

    began = thief.now()
    first = thief.take()
    with httpx.Client(base_url=thief.document["guard_url"], timeout=10, trust_env=False) as guard:

        def alarms() -> list[str]:
            said: list[str] = guard.get("/v1/status").json()["organisations"][thief.organisation]["alarms"]
            return said

        wanted = {f"unknown-spend.{batch.name.hex()[:40]}" for batch in first}
        alarm_s = eventually("an alarm at guard", lambda: not wanted.isdisjoint(alarms()), 15)
        assert guard.get("/v1/status").json()["lease"] == "recover"
    pause_s = alarm_s + eventually("the vault is paused", lambda: bool(thief.take() and thief.is_paused()), 30)
    paused_at = thief.now()
    print(f"the alarm stood at guard after {alarm_s:.2f} s, and the vault was paused after {pause_s:.2f} s")
    taken = {symbol: thief.has(symbol) for symbol in TOKENS}
    assert all(CAPACITY <= each <= CAPACITY + REFILL * (paused_at - began) for each in taken.values())
    assert thief.takes_for_hours() == taken
    (file,) = (sandbox.data / "guardian" / "pauses").iterdir()
    assert read_pause(file.read_bytes()).pause.vault == thief.vault
    assert not usdc()["is_equal"]
    assert in_vault(thief.document, "USDC") == 10**13 + 41 - taken["USDC"]

    guardian = sandbox.status()["processes"]["guardian"]["pid"]
    os.kill(guardian, signal.SIGSTOP)
    try:
        owner_unpauses(sandbox, thief)
        assert not thief.is_paused()
        left = {symbol: taken[symbol] + CAPACITY for symbol in TOKENS}
        assert all(thief.takes_for_hours()[symbol] > taken[symbol] + HOUR_S * REFILL for symbol in TOKENS)
        assert all(thief.takes_for_hours()[symbol] < left[symbol] for symbol in TOKENS)
    finally:
        os.kill(guardian, signal.SIGCONT)
    eventually("it is paused again, as the alarm still stands", thief.is_paused, 15)
    taken = {symbol: thief.has(symbol) for symbol in TOKENS}
    assert thief.takes_for_hours() == taken
    files = sorted((sandbox.data / "guardian" / "pauses").iterdir())
    assert [read_pause(each.read_bytes()).pause.epoch for each in files] == [0, 1]
