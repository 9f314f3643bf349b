"""A hot wallet whose key is in a hardware module (SoftHSM): funded, paid from, rotated, bumped.

Real processes and a real node. What left is read from the node's raw transactions; that it is of the token's key, by
its witness. The module's files stand in the signer's folder, where it can reach them once it is locked down.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest
from tests.e2e.sandbox import eventually
from tests.e2e.test_bitcoin import ASSET, MINOR, BitcoinSandbox
from tests.rails.bitcoin_node import REGTEST
from tests.rails.lying_node import LyingNode
from tests.sandbox.box import Box, box
from tests.signer.soft_token import PIN, TOKEN, SoftToken

from strongroom.formats.bitcoin_address import bitcoin_address_of
from strongroom.formats.bitcoin_transaction import Transaction, key_hash_script, parse_transaction
from strongroom.sandbox.process import Known

pytestmark = pytest.mark.sandbox

LABELS = ("hot-0", "hot-1")
PAYEES = 6
STUCK_MS = 1_000


class TokenSandbox(BitcoinSandbox):
    """`engines` is between the engine and its node."""

    def __init__(self, box: Box, keys: list[bytes]) -> None:
        super().__init__(box)
        self.keys = keys
        self.addresses_of_keys = [str(bitcoin_address_of(key_hash_script(each), REGTEST)) for each in keys]
        self.engines = LyingNode(int(self.document["bitcoin"]["rpc_url"].rpartition(":")[2]))
        file = box.data / "engine" / "config.json"
        config = json.loads(file.read_text())
        config["bump_after_ms"] = STUCK_MS
        config["nodes"][REGTEST]["url"] = self.engines.url
        file.write_text(json.dumps(config))
        Known(*json.loads((box.data / "processes.json").read_text())["engine"]).signal(signal.SIGKILL)

    def close(self) -> None:
        self.engines.close()
        super().close()

    def chain_transaction(self, name: str) -> Transaction:
        return parse_transaction(bytes.fromhex(self.miner.call("getrawtransaction", name)))

    def fee_of(self, name: str) -> int:
        made = self.chain_transaction(name)
        before = [(self.chain_transaction(each.txid), each.index) for each in made.inputs]
        return sum(other.outputs[index].amount for other, index in before) - sum(each.amount for each in made.outputs)

    def is_tokens(self, transaction: Transaction, generation: int) -> bool:
        """Whether each input is of the token's key; that the signatures hold, the node has verified."""
        return all(stack[1:] == (self.keys[generation],) for stack in transaction.witnesses)


def made_token(box: Box) -> list[bytes]:
    """Before the sandbox is there: the wallet's keys of two generations are in a token. Their public halves."""
    folder = box.data / "signer"
    folder.mkdir(mode=0o700, parents=True)
    soft = SoftToken(box.data, folder / "token")
    shutil.copy(soft.soft.module, folder / "module.so")  # where the signer's own user can read it
    soft.settings.chmod(0o644)
    pin = box.data / "pin"
    pin.write_text(PIN + "\n")
    pin.chmod(0o600)
    made: list[bytes] = []
    for label in LABELS:
        done = subprocess.run(
            [sys.executable, "-m", "strongroom.cli", "init", "token-key", "--module", str(folder / "module.so"),
             "--token", TOKEN, "--label", label, "--pin-file", str(pin),
             "--environment", f"SOFTHSM2_CONF={soft.settings}"],
            capture_output=True, text=True, check=False,
        )
        assert done.returncode == 0, done.stderr
        made.append(bytes.fromhex(done.stdout.strip()))
    (box.data / "token.json").write_text(json.dumps({
        "environment": soft.environment, "module": str(folder / "module.so"), "pin_file": str(pin), "token": TOKEN,
        "keys": [
            {"generation": generation, "label": label, "network": REGTEST, "public_key": made[generation].hex()}
            for generation, label in enumerate(LABELS)
        ],
    }))
    return made


@pytest.fixture(scope="module")
def sandbox() -> Iterator[TokenSandbox]:
    with box() as made:
        keys = made_token(made)
        started = made.up("--rails", "bitcoin")
        assert started.returncode == 0, started.stderr + (made.data / "signer.log").read_text()
        opened = TokenSandbox(made, keys)
        yield opened
        opened.close()


def test_a_wallet_in_a_token_pays_a_batch_changes_its_key_and_offers_more(sandbox: TokenSandbox) -> None:
    names = [f"held-{number}" for number in range(PAYEES)]
    payees = {name: sandbox.declare(name) for name in [*names, "late"]}
    payouts = [sandbox.pay(payees[name], name, MINOR) for name in names]
    shown = [sandbox.reaches(payout, "settled") for payout in payouts]
    assert [sandbox.paid(name) for name in names] == [[MINOR]] * PAYEES
    first = {name for each in shown for name in each["chain_transactions"]}
    assert all(sandbox.is_tokens(sandbox.chain_transaction(name), 0) for name in first)
    eventually("ledger and chain agree", sandbox.is_whole)
    estimate = sandbox.payer.payouts.preview(
        beneficiary=payees["late"]["id"], destination_digest=payees["late"]["destination"]["digest"], asset=ASSET,
        amount=str(MINOR), external_id="late",
    )["fee_estimate"]
    paid = [sandbox.fee_of(name) for name in first]
    assert int(estimate["least"]) <= sum(paid) // PAYEES <= int(estimate["most"]), (estimate, paid)

    rotated = sandbox.box.run("wallet", "rotate", "--network", REGTEST)
    assert rotated.returncode == 0, rotated.stderr
    said = sandbox.box.run("wallet", "address", "--network", REGTEST, "--count", "3")
    assert said.stdout.split() == [sandbox.addresses_of_keys[1]]
    with sandbox.without_miner():
        payout = sandbox.pay(payees["late"], "late", MINOR)
        sandbox.reaches(payout, "broadcast")
        (attempt,) = sandbox.show(payout)["chain_transactions"]
        before = sandbox.chain_transaction(attempt)
        assert sandbox.is_tokens(before, 0)
        assert sandbox.addresses_of_keys[1] == bitcoin_address_of(before.outputs[-1].script, REGTEST)
        sandbox.engines.lies["estimatesmartfee"] = lambda _asked, _true: {"feerate": 0.0005, "blocks": 2}
        eventually("more is offered", lambda: attempt not in sandbox.miner.call("getrawmempool"))
        (dearer,) = sandbox.miner.call("getrawmempool")
        after = sandbox.chain_transaction(dearer)
        assert [each.outpoint for each in after.inputs] == [each.outpoint for each in before.inputs]
        assert sandbox.is_tokens(after, 0)
        assert sum(each.amount for each in after.outputs) < sum(each.amount for each in before.outputs)
    sandbox.engines.honest()
    sandbox.reaches(payout, "settled")
    assert sandbox.paid("late") == [MINOR]
    eventually("ledger and chain agree", sandbox.is_whole)
    assert "not locked down" not in (sandbox.box.data / "signer.log").read_text() or os.geteuid() != 0
