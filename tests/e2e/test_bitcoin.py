"""Payouts in bitcoin, end to end: real processes, a real node, and a count by the node's raw blocks."""

import hashlib
import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from nacl.signing import VerifyKey
from tests.e2e.sandbox import Sandbox, eventually
from tests.rails.bitcoin_node import REGTEST, new_key
from tests.sandbox.box import box
from tests.sandbox.test_running import owner_query

from strongroom.domain.ids import OrganisationId
from strongroom.formats.bitcoin_address import bitcoin_address_of
from strongroom.formats.bitcoin_block import parse_block
from strongroom.formats.coin_formats import COIN_FORMATS, Moved
from strongroom.formats.coins import Coin
from strongroom.protocol.canonical import record_hash
from strongroom.protocol.signer_wire import RECEIPT_TYPE
from strongroom.sandbox.bitcoin import Bitcoin
from strongroom.signer.keys import open_key_file
from strongroom.signer.pkcs11_keys import TokenKeys
from strongroom.signer.sign_bitcoin import BitcoinWallet

pytestmark = pytest.mark.sandbox

MINOR = 25_000
RUN = 2_000
ASSET = f"{REGTEST}/slip44:0"


class BitcoinSandbox(Sandbox):
    """`miner` is the node with the miner's cookie, as the outside world has it."""

    def __init__(self, box: Any) -> None:
        super().__init__(box)
        known = self.document["bitcoin"]
        self.miner = Bitcoin(known["rpc_url"], Path(known["cookie_file"]))
        self.addresses: dict[str, str] = {}

    def close(self) -> None:
        self.miner.close()
        super().close()

    def declare(self, name: str) -> dict[str, Any]:
        self.addresses[name] = new_key().address
        return dict(self.declarer.beneficiaries.create(
            idempotency_key=f"declare-{name}", name=f"Payee {name}",
            destination={"network": REGTEST, "address": self.addresses[name]},
        ))

    def pay(self, to: dict[str, Any], key: str, minor: int, external_id: str = "", **more: Any) -> str:
        made = self.payer.payouts.create(
            idempotency_key=key, beneficiary=to["id"], destination_digest=to["destination"]["digest"], asset=ASSET,
            amount=str(minor), external_id=external_id or key, **more,
        )
        return str(made["id"])

    def moves(self) -> list[Moved]:
        """All that ever moved, by the raw blocks."""
        found: list[Moved] = []
        for height in range(self.miner.call("getblockcount") + 1):
            raw = self.miner.call("getblock", self.miner.call("getblockhash", height), 0)
            found += [COIN_FORMATS[REGTEST].read_signed(each.raw) for each in parse_block(bytes.fromhex(raw)).entries]
        return found

    def paid(self, name: str) -> list[int]:
        return [minor for moved in self.moves() for address, minor in moved.pays if address == self.addresses[name]]

    def is_whole(self) -> bool:
        return bool(owner_query(
            self.document,
            f"SELECT is_whole FROM strongroom.reconciliations WHERE asset = '{ASSET}' ORDER BY created_at DESC LIMIT 1",
        ))

    def stolen_wallet(self) -> BitcoinWallet:
        data = self.box.data
        identity = os.open(data / "signer.identity", os.O_RDONLY)
        keys = open_key_file(next((data / "signer").glob("*.age")).read_bytes(), identity)
        os.close(identity)
        return BitcoinWallet(keys, REGTEST, TokenKeys())

    @contextmanager
    def without_miner(self) -> Iterator[None]:
        """Nothing is mined meanwhile: the supervisor does it."""
        supervisor = self.box.status()["supervisor"]
        os.kill(supervisor, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(supervisor, signal.SIGCONT)


@pytest.fixture(scope="module")
def sandbox() -> Iterator[BitcoinSandbox]:
    with box() as made:
        started = made.up("--rails", "bitcoin")
        assert started.returncode == 0, started.stderr
        opened = BitcoinSandbox(made)
        yield opened
        opened.close()


def test_a_payout_in_bitcoin_is_settled_and_ledger_and_chain_agree_to_the_satoshi(sandbox: BitcoinSandbox) -> None:
    payout = sandbox.pay(sandbox.declare("rosa"), "rosa-1", MINOR)
    shown = sandbox.reaches(payout, "settled")
    assert sandbox.paid("rosa") == [MINOR]
    assert [each["result"] for each in shown["checkpoints"]] == [
        "passed", "passed", "passed", "not_needed", "passed", "passed", "passed"]
    (chain_transaction,) = shown["chain_transactions"]
    assert [each.identifier for each in sandbox.moves() if (sandbox.addresses["rosa"], MINOR) in each.pays] == [
        chain_transaction]
    eventually("ledger and chain agree", sandbox.is_whole)
    organisation = sandbox.document["organisation"]
    assert sandbox.guard.get("/v1/status").json()["organisations"][organisation]["alarms"] == []


def test_guard_may_ask_the_node_for_blocks_and_for_nothing_else(sandbox: BitcoinSandbox) -> None:
    """Its own name and password, in its own folder."""
    guards = Bitcoin(sandbox.document["bitcoin"]["rpc_url"], sandbox.box.data / "guard" / "bitcoin.cookie")
    try:
        assert guards.genesis() == sandbox.miner.genesis()
        with pytest.raises(Exception, match="doesn't answer sendrawtransaction"):
            guards.call("sendrawtransaction", "00")
    finally:
        guards.close()


at_full_count = pytest.mark.skipif(os.environ.get("STRONGROOM_FAULTS") != "full", reason="under STRONGROOM_FAULTS=full")


@pytest.mark.faults
@at_full_count
def test_called_back_before_it_is_mined_it_is_void_by_what_guard_sees_and_paid_in_its_place_once(
    sandbox: BitcoinSandbox,
) -> None:
    to = sandbox.declare("called-back")
    with sandbox.without_miner():
        payout = sandbox.pay(to, "called-back-1", MINOR)
        sandbox.reaches(payout, "broadcast")
        (attempt,) = sandbox.show(payout)["chain_transactions"]
        declined = sandbox.box.run("approve", payout, "--decline", "--as", "cleo")
        assert declined.returncode == 0, declined.stderr
        eventually("it is replaced", lambda: attempt not in sandbox.miner.call("getrawmempool"))
        assert len(sandbox.miner.call("getrawmempool")) == 1
    shown = sandbox.reaches(payout, "failed")
    assert shown["status_reason"]["code"] == "void"
    proof = sandbox.payer.payouts.receipt(payout)["unpaid"]
    raw = proof["receipt"].encode()
    key = VerifyKey(bytes.fromhex(sandbox.document["statement_public_key"]))
    key.verify(record_hash(RECEIPT_TYPE, raw), bytes.fromhex(proof["signature"]))
    ((excluded, by),) = json.loads(raw)["void"]
    assert excluded == attempt
    assert by in [each.identifier for each in sandbox.moves()]
    again = sandbox.pay(to, "called-back-2", MINOR, external_id="called-back-1", replaces=payout)
    sandbox.reaches(again, "settled")
    assert sandbox.paid("called-back") == [MINOR]
    eventually("ledger and chain agree", sandbox.is_whole)


@pytest.mark.faults
@at_full_count
def test_a_run_of_two_thousand_costs_31_vbytes_for_each(
    sandbox: BitcoinSandbox, tmp_path: Path
) -> None:
    payees = {
        str(bitcoin_address_of(b"\x00\x14" + hashlib.sha256(b"%d" % each).digest()[:20], REGTEST))
        for each in range(RUN)
    }
    rows = [f"Payee,{REGTEST},{address},BTC,1000,{address}" for address in payees]
    (tmp_path / "run.csv").write_text("\n".join(["name,network,address,asset,amount,external_id", *rows]) + "\n")
    done = sandbox.box.run("run", "import", str(tmp_path / "run.csv"), "--json")
    assert done.returncode == 0, done.stdout[-2_000:] + done.stderr
    batches = [moved for moved in sandbox.moves() if any(address in payees for address, _ in moved.pays)]
    paid = [(address, minor) for moved in batches for address, minor in moved.pays if address in payees]
    assert sorted(paid) == sorted((address, 1_000) for address in payees)
    sizes = [sandbox.miner.call("getrawtransaction", moved.identifier, 1)["vsize"] for moved in batches]
    print(f"{sizes} vbytes, {sum(sizes) / RUN:.3f} for each")
    assert sum(sizes) <= 31.3 * RUN + 150 * (len(batches) - 1)  # it goes as it is ready: mostly in one, or in a few
    eventually("ledger and chain agree", sandbox.is_whole)


@pytest.mark.faults
@at_full_count
def test_what_a_stranger_sends_is_in_suspense_and_what_a_thief_takes_is_an_alarm_at_guard(
    sandbox: BitcoinSandbox,
) -> None:
    """The attacker has the payment key and a node. It wants the coins; what it can't have is a second payment after."""
    organisation = OrganisationId(sandbox.document["organisation"])
    wallet = sandbox.stolen_wallet()
    own = {wallet.address(organisation, 0, index): (0, index) for index in range(100)}
    sandbox.miner.fund([next(iter(own))], 70_000)
    suspense = (
        "SELECT credits_posted - debits_posted FROM strongroom.ledger_accounts WHERE organisation = "
        f"'{organisation}' AND account = 'suspense' AND asset = '{ASSET}'"
    )
    sandbox.miner.mine(3)
    eventually("it is in suspense", lambda: owner_query(sandbox.document, suspense) == 70_000)
    eventually("ledger and chain agree", sandbox.is_whole)
    spent = {each for moved in sandbox.moves() for each in moved.spends}
    taken = next(
        Coin(f"{moved.identifier}:{index}", minor, address) for moved in sandbox.moves()
        for index, (address, minor) in enumerate(moved.pays)
        if address in own and f"{moved.identifier}:{index}" not in spent and minor > 70_000
    )
    thief = new_key().address
    unsigned = COIN_FORMATS[REGTEST].write_unsigned([taken], [(thief, taken.amount - 1_000)])
    stolen = sandbox.miner.call(
        "sendrawtransaction", wallet.sign(organisation, unsigned, [own[taken.address]]).hex())
    sandbox.miner.mine()

    def alarms() -> list[str]:
        found: list[str] = sandbox.guard.get("/v1/status").json()["organisations"][organisation]["alarms"]
        return found

    took_s = eventually("an alarm at guard", lambda: f"unknown-spend.{stolen[:40]}" in alarms(), 10)
    print(f"the alarm stood at guard after {took_s:.2f} s")
    assert sandbox.guard.get("/v1/status").json()["lease"] == "recover"
    payout = sandbox.pay(sandbox.declare("after"), "after-1", MINOR)
    eventually("it is told", lambda: (sandbox.show(payout)["status_reason"] or {}).get("code") == "lease-fresh", 30)
    assert sandbox.paid("after") == []
