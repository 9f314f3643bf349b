"""A whole sandbox on the simulated chain, as its users have it: command line, SDK, guard's listener. What payees got
is counted from the chain's raw blocks, by nothing of the product's but the reader of the bytes."""

import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
from tests.sandbox.box import Box
from tests.signer.world import payee

from strongroom.cli.passkey import software_passkey
from strongroom.formats import simulated
from strongroom.protocol.approval import APPROVAL_REQUEST_TYPE, assertion_document
from strongroom.sdk import Client

SIM = 10**8
PATIENCE_S = 60
NETWORK = simulated.NETWORK


def eventually(what: str, holds: Callable[[], bool], within_s: float = PATIENCE_S) -> float:
    """How long it took."""
    started = time.monotonic()
    while not holds():
        assert time.monotonic() - started < within_s, f"not within {within_s} s: {what}"
        time.sleep(0.1)
    return time.monotonic() - started


class Sandbox:
    def __init__(self, box: Box) -> None:
        self.box = box
        self.document: dict[str, Any] = box.document()
        self.payer, self.declarer = self._client("payouts"), self._client("beneficiaries")
        self.chain = httpx.Client(base_url=f"http://127.0.0.1:{box.base + 13}", timeout=10, trust_env=False)
        self.guard = httpx.Client(base_url=self.document["guard_url"], timeout=10, trust_env=False)

    def _client(self, name: str) -> Client:
        known = self.document["clients"][name]
        seed = bytes.fromhex(Path(known["private_key_file"]).read_text().strip())
        return Client(
            self.document["api_url"], self.document["deployment"], self.document["organisation"], known["client_id"],
            known["key_id"], seed,
        )

    def close(self) -> None:
        for each in (self.payer, self.declarer, self.chain, self.guard):
            each.close()

    def declare(self, name: str) -> dict[str, Any]:
        return dict(self.declarer.beneficiaries.create(
            idempotency_key=f"declare-{name}", name=f"Payee {name}",
            destination={"network": NETWORK, "address": payee(name)},
        ))

    def pay(self, to: dict[str, Any], key: str, minor: int, external_id: str = "", **more: Any) -> str:
        made = self.payer.payouts.create(
            idempotency_key=key, beneficiary=to["id"], destination_digest=to["destination"]["digest"],
            asset=self.document["assets"]["SIM"], amount=str(minor), external_id=external_id or key, **more,
        )
        return str(made["id"])

    def pay_late(self, to: dict[str, Any], key: str, minor: int) -> str:
        """It is sent, and no miner takes it."""
        self.chain.post("/faults", json={"fault": "late", "blocks": 10_000}).raise_for_status()
        payout = self.pay(to, key, minor)
        self.reaches(payout, "broadcast")
        return payout

    def show(self, payout: str) -> dict[str, Any]:
        return dict(self.payer.payouts.get(payout))

    def state(self, payout: str) -> str:
        return str(self.show(payout)["state"])

    def reaches(self, payout: str, *states: str, within_s: float = PATIENCE_S) -> dict[str, Any]:
        try:
            eventually(f"{payout} is {states}", lambda: self.state(payout) in states, within_s)
        except AssertionError:
            log = (self.box.data / "engine.log").read_text()[-3_000:]
            raise AssertionError(f"{self.show(payout)}\n{log}") from None
        return self.show(payout)

    def request_for(self, subject: str) -> dict[str, Any]:
        """The approval request that waits for people."""
        found: list[dict[str, Any]] = []

        def is_there() -> bool:
            with self._client("payouts") as api:
                found[:] = [
                    each for each in api.pages("/v1/approvals", {"limit": "200"}) if each["subject"] == subject
                ]
            return bool(found)

        eventually(f"a request for {subject}", is_there)
        return found[0]

    def assert_by(self, request: dict[str, Any], login: str) -> httpx.Response:
        """This person's passkey says yes to the signer's own bytes."""
        given = software_passkey(self.document, login).asserts(request["request"].encode(), APPROVAL_REQUEST_TYPE)
        url = f"{self.document['api_url']}/v1/approvals/{request['id']}/assertions"
        return httpx.post(url, json=assertion_document(given), timeout=10, trust_env=False)

    def blocks(self) -> list[list[simulated.Transaction]]:
        tip = self.chain.get("/tip").json()["height"]
        raw = [self.chain.get(f"/blocks/{each}").json()["transactions"] for each in range(tip + 1)]
        return [[simulated.parse_signed(bytes.fromhex(signed))[0] for signed in block] for block in raw]

    def received(self, *names: str) -> dict[str, list[int]]:
        """What each of these payees got, by the raw blocks."""
        by_address = {payee(name): name for name in names}
        found: dict[str, list[int]] = {name: [] for name in names}
        for block in self.blocks():
            for transaction in block:
                for output in transaction.outputs:
                    if output.address in by_address:
                        found[by_address[output.address]].append(output.amount)
        return found

    def transactions_paying(self, *names: str) -> Counter[str]:
        """How many of these payees each chain transaction pays."""
        addresses = {payee(name) for name in names}
        return Counter(
            simulated.transaction_id(simulated.encode_unsigned(transaction)).hex()
            for block in self.blocks() for transaction in block
            for output in transaction.outputs if output.address in addresses
        )

    def kill(self, process: str) -> None:
        """SIGKILL of one of the sandbox's own, which its supervisor starts again."""
        os.kill(self.box.status()["processes"][process]["pid"], signal.SIGKILL)


class Load(threading.Thread):
    """Asks for payouts, one after the other, whatever happens meanwhile: each until it was acknowledged."""

    def __init__(self, sandbox: Sandbox, to: list[dict[str, Any]], minor: int, name: str = "load") -> None:
        super().__init__(daemon=True)
        self._name = name
        self._sandbox, self._to, self._minor = sandbox, to, minor
        self.acknowledged: list[str] = []

    def run(self) -> None:
        for number, each in enumerate(self._to):
            while True:
                try:
                    self.acknowledged.append(self._sandbox.pay(each, f"{self._name}-{number}", self._minor))
                    break
                except Exception:  # whatever it was: the same request again, with the same key
                    time.sleep(0.2)
            time.sleep(0.1)


def written(file: Path, names: list[str], minor: int) -> Path:
    rows = [f"Payee {name},{NETWORK},{payee(name)},SIM,{minor},{name}" for name in names]
    file.write_text("\n".join(["name,network,address,asset,amount,external_id", *rows]) + "\n")
    return file
