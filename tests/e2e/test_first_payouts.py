"""The first payouts, end to end: real processes, real sockets, and a count by the chain's raw blocks."""

import json
import os
import time
from pathlib import Path

import pytest
from nacl.signing import VerifyKey
from tests.e2e.sandbox import SIM, Load, Sandbox, eventually, written
from tests.signer.world import payee

from strongroom.domain.ids import OrganisationId
from strongroom.formats import simulated
from strongroom.protocol.canonical import record_hash
from strongroom.protocol.signer_wire import RECEIPT_TYPE
from strongroom.signer.keys import open_key_file

pytestmark = pytest.mark.sandbox

RUN = 200
KILLED = ("engine", "signer", "watch", "link", "guard", "api", "postgres", "simulated")


def test_a_payout_by_the_command_line_is_settled(sandbox: Sandbox) -> None:
    declared = sandbox.box.run(
        "beneficiary", "create", "--name", "Rosa Example", "--network", simulated.NETWORK, "--address", payee("rosa"),
        "--json",
    )
    assert declared.returncode == 0, declared.stderr
    made = sandbox.box.run(
        "payout", "create", "--beneficiary", json.loads(declared.stdout)["id"], "--asset", "SIM", "--amount",
        str(12 * SIM), "--external-id", "rosa-1", "--json",
    )
    assert made.returncode in (0, 7), made.stderr
    payout = json.loads(made.stdout)["id"]
    shown = sandbox.reaches(payout, "settled")
    assert sandbox.received("rosa") == {"rosa": [12 * SIM]}
    assert [each["result"] for each in shown["checkpoints"]] == [
        "passed", "passed", "passed", "not_needed", "passed", "passed", "passed"]
    assert all(each["at"] for each in shown["checkpoints"])
    (chain_transaction,) = shown["chain_transactions"]
    assert sandbox.transactions_paying("rosa") == {chain_transaction: 1}
    found = sandbox.payer.pages("/v1/payouts", {"chain_transaction": chain_transaction})
    assert [each["id"] for each in found] == [payout]


def test_a_run_of_two_hundred_is_settled_in_one_batch_or_two(sandbox: Sandbox, tmp_path: Path) -> None:
    names = [f"run-{number}" for number in range(RUN)]
    done = sandbox.box.run("run", "import", str(written(tmp_path / "payees.csv", names, SIM // 10)), "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    assert sandbox.received(*names) == {name: [SIM // 10] for name in names}
    batches = sandbox.transactions_paying(*names)
    assert len(batches) <= 2, batches


def test_a_large_one_goes_when_the_right_people_say_yes(sandbox: Sandbox) -> None:
    payout = sandbox.pay(sandbox.declare("large"), "large-1", 900 * SIM)
    request = sandbox.request_for(payout)
    for login in ("cleo", "dan"):  # officers, who aren't approvers; one is of the treasury
        assert sandbox.assert_by(request, login).status_code == 403
    time.sleep(3)
    shown = sandbox.show(payout)
    assert shown["state"] in ("awaiting_approval", "held"), shown
    assert sandbox.received("large") == {"large": []}
    for login in ("ada", "ben"):
        answer = sandbox.assert_by(request, login)
        assert answer.status_code == 201, answer.text
    shown = sandbox.reaches(payout, "settled")
    assert sandbox.received("large") == {"large": [900 * SIM]}
    assert {each["name"]: each["result"] for each in shown["checkpoints"]}["approval"] == "passed"


def test_a_cancelled_one_has_the_signers_receipt(sandbox: Sandbox) -> None:
    payout = sandbox.pay(sandbox.declare("cancelled"), "cancelled-1", 900 * SIM)
    request = sandbox.request_for(payout)
    sandbox.payer.payouts.cancel(payout, idempotency_key="cancelled-1")
    shown = sandbox.reaches(payout, "cancelled")
    assert {each["result"] for each in shown["checkpoints"][-3:]} == {"not_needed"}
    for login in ("ada", "ben"):
        sandbox.assert_by(request, login)
    receipt = sandbox.payer.payouts.receipt(payout)["unpaid"]
    raw = receipt["receipt"].encode()
    key = VerifyKey(bytes.fromhex(sandbox.document["statement_public_key"]))
    key.verify(record_hash(RECEIPT_TYPE, raw), bytes.fromhex(receipt["signature"]))
    assert json.loads(raw)["object"] == payout
    assert sandbox.received("cancelled") == {"cancelled": []}


def test_a_veto_of_what_isnt_pending_is_refused_by_guard_with_its_reason(sandbox: Sandbox) -> None:
    refused = sandbox.box.run("veto", "ab" * 32, "--as", "cleo")
    assert refused.returncode == 4, refused
    assert "there is no" in refused.stderr


def test_a_freeze_through_guard_stops_the_next_until_two_officers_lift_it(sandbox: Sandbox) -> None:
    to = sandbox.declare("frozen")
    frozen = sandbox.box.run("freeze", "--as", "cleo")
    assert frozen.returncode == 0, frozen.stderr
    payout = sandbox.pay(to, "frozen-1", SIM)
    eventually("the freeze is told", lambda: (sandbox.show(payout)["status_reason"] or {}).get("code") == "not-frozen")
    alone = sandbox.box.run("unfreeze", "--as", "dan")
    assert alone.returncode != 0, alone.stdout
    time.sleep(2)
    assert sandbox.state(payout) == "held"
    assert sandbox.received("frozen") == {"frozen": []}
    together = sandbox.box.run("unfreeze", "--as", "cleo", "--as", "dan")
    assert together.returncode == 0, together.stderr
    sandbox.reaches(payout, "settled")
    assert sandbox.received("frozen") == {"frozen": [SIM]}


def test_keys_that_are_rotated_under_load_lose_no_payout(sandbox: Sandbox) -> None:
    names = [f"rotated-{number}" for number in range(24)]
    load = Load(sandbox, [sandbox.declare(name) for name in names], SIM, "rotated")
    load.start()
    for generation in (1, 2):
        eventually("some are acknowledged", lambda at=6 * generation: len(load.acknowledged) >= at)
        done = sandbox.box.run("wallet", "rotate", "--json")
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["generation"] == generation
    again = sandbox.box.run("wallet", "rotate", "--generation", "2")
    assert again.returncode == 0, again.stderr
    back = sandbox.box.run("wallet", "rotate", "--generation", "1")
    assert back.returncode == 4, back.stdout
    load.join(60)
    assert len(load.acknowledged) == len(names)
    for payout in load.acknowledged:
        sandbox.reaches(payout, "settled", within_s=90)
    assert sandbox.received(*names) == {name: [SIM] for name in names}
    organisation = sandbox.document["organisation"]
    assert sandbox.guard.get("/v1/status").json()["organisations"][organisation]["alarms"] == []


def test_whatever_is_killed_under_load_each_is_paid_once(sandbox: Sandbox) -> None:
    names = [f"load-{number}" for number in range(60)]
    load = Load(sandbox, [sandbox.declare(name) for name in names], SIM)
    load.start()
    for process in KILLED:
        sandbox.kill(process)
        time.sleep(1)
    load.join(60)
    assert len(load.acknowledged) == len(names), "not every request was acknowledged"
    for payout in load.acknowledged:
        sandbox.reaches(payout, "settled", within_s=90)
    assert sandbox.received(*names) == {name: [SIM] for name in names}


def test_taken_back_after_it_was_signed_it_is_called_back_and_paid_again_in_its_place_once(sandbox: Sandbox) -> None:
    """No miner takes its chain transaction; an officer declines it through guard, and a signed cancel is mined."""
    to = sandbox.declare("called-back")
    payout = sandbox.pay_late(to, "called-back-1", SIM)
    (attempt,) = sandbox.show(payout)["chain_transactions"]
    declined = sandbox.box.run("approve", payout, "--decline", "--as", "cleo")
    assert declined.returncode == 0, declined.stderr
    shown = sandbox.reaches(payout, "failed")
    assert shown["status_reason"]["code"] == "void"
    assert {each["name"]: each["result"] for each in shown["checkpoints"][-3:]} == {
        "bytes": "passed", "broadcast": "passed", "settlement": "not_needed"}
    proof = sandbox.payer.payouts.receipt(payout)["unpaid"]
    raw = proof["receipt"].encode()
    key = VerifyKey(bytes.fromhex(sandbox.document["statement_public_key"]))
    key.verify(record_hash(RECEIPT_TYPE, raw), bytes.fromhex(proof["signature"]))
    ((excluded, by),) = json.loads(raw)["void"]
    assert excluded == attempt
    assert sandbox.chain.get(f"/transactions/{by}").json()["state"] == "confirmed"
    again = sandbox.pay(to, "called-back-2", SIM, external_id="called-back-1", replaces=payout)
    sandbox.reaches(again, "settled")
    assert sandbox.received("called-back") == {"called-back": [SIM]}


def test_nothing_is_released_that_was_never_signed_or_is_settled(sandbox: Sandbox) -> None:
    waiting = sandbox.pay(sandbox.declare("unsigned"), "unsigned-1", 900 * SIM)
    release = ("--reason", "a drill", "--as", "cleo", "--as", "dan")
    refused = sandbox.box.run("payout", "release", waiting, *release)
    assert (refused.returncode, "never signed" in refused.stderr) == (4, True), refused.stderr
    settled = sandbox.pay(sandbox.declare("settled"), "settled-1", SIM)
    sandbox.reaches(settled, "settled")
    refused = sandbox.box.run("payout", "release", settled, *release)
    assert (refused.returncode, "is settled" in refused.stderr) == (4, True), refused.stderr


def test_a_theft_with_the_wallets_own_key_is_an_alarm_within_a_second(sandbox: Sandbox) -> None:
    """The attacker has the payment key and a node. It wants the coins; what it can't have is a second payment after.

    It takes the very coin of a payout that is under way: that one's money is free when a quorum says so, not before.
    """
    stuck = sandbox.pay_late(sandbox.declare("robbed"), "robbed-1", SIM)
    attempt = sandbox.chain.get(f"/transactions/{sandbox.show(stuck)['chain_transactions'][0]}").json()["signed"]
    taken = simulated.parse_signed(bytes.fromhex(attempt))[0].inputs[0]
    data = sandbox.box.data
    identity = os.open(data / "signer.identity", os.O_RDONLY)
    keys = open_key_file(next((data / "signer").glob("*.age")).read_bytes(), identity)
    os.close(identity)
    organisation = OrganisationId(sandbox.document["organisation"])
    paths = [(generation, index) for generation in range(3) for index in range(200)]
    public = {path: keys.wallet_public_key(organisation, simulated.NETWORK, *path) for path in paths}
    path = next(each for each in paths if simulated.simulated_address(public[each]) == taken.address)
    raw = simulated.encode_unsigned(
        simulated.Transaction((taken,), (simulated.Output(taken.amount - 20_000, payee("thief")),))
    )
    digest = simulated.signature_hash(raw, simulated.SIGHASH_ALL, 0)
    signature = keys.wallet_sign(organisation, simulated.NETWORK, *path, digest)
    signed = simulated.assemble(raw, (simulated.Witness(simulated.SIGHASH_ALL, public[path], signature),))
    assert sandbox.chain.post("/transactions", json={"signed": signed.hex()}).json()["accepted"]
    sandbox.chain.post("/mine", json={"blocks": 1})

    def alarms() -> list[str]:
        found: list[str] = sandbox.guard.get("/v1/status").json()["organisations"][organisation]["alarms"]
        return found

    took_s = eventually("an alarm at guard", lambda: any(each.startswith("unknown-spend") for each in alarms()), 10)
    print(f"the alarm stood at guard after {took_s:.2f} s")
    assert took_s < 2, took_s
    assert sandbox.guard.get("/v1/status").json()["lease"] == "recover"  # one seed makes the keys of all
    payout = sandbox.pay(sandbox.declare("after"), "after-1", SIM)
    eventually("it is told", lambda: (sandbox.show(payout)["status_reason"] or {}).get("code") == "lease-fresh", 30)
    assert sandbox.received("after") == {"after": []}
    sandbox.chain.post("/mine", json={"blocks": 1})
    eventually("people are asked", lambda: sandbox.show(stuck)["status_reason"]["code"] == "payout-released")
    release = ("payout", "release", stuck, "--reason", "stolen; made good from the reserve")
    alone = sandbox.box.run(*release, "--as", "cleo")
    assert (alone.returncode, "quorum" in alone.stderr) == (4, True), alone.stderr
    time.sleep(2)
    assert sandbox.state(stuck) == "broadcast"
    together = sandbox.box.run(*release, "--as", "cleo", "--as", "dan")
    assert together.returncode == 0, together.stderr
    assert sandbox.reaches(stuck, "failed", within_s=90)["status_reason"]["code"] == "void"
    assert sandbox.received("robbed") == {"robbed": []}
