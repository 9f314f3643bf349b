"""A deployment of one's own: from an empty folder to a payout that is settled, each step a command of the walk-through.

Then what its people do when all must stop: freeze, and empty the hot wallet by an officer's word. All processes are
real ones; the chain is the simulated one, so that genesis says `sandbox`."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.cli.command import eventually
from tests.cli.deployment import OPENING, TREASURY, Deployment, deployment, rows
from tests.signer.world import payee

from strongroom.cli.output import Exit

AMOUNT = 700_000
NETWORK = "sim:sandbox"


@pytest.fixture(scope="module")
def own(postgres_cluster: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    with deployment(tmp_path_factory.mktemp("own"), postgres_cluster) as made:
        made.found()
        made.start_core()
        yield made


def test_the_database_takes_what_genesis_names_once_and_nothing_else(own: Deployment, tmp_path: Path) -> None:
    for name in ("policy", "roster"):
        other = json.loads((own.folder / f"{name}.json").read_text())
        other |= {"fee_budget_reference_minor": "1"} if name == "policy" else {"people": other["people"][::-1]}
        (tmp_path / f"{name}.json").write_text(json.dumps(other))
        refused = own.database(**{name: str(tmp_path / f"{name}.json")})
        assert (refused.code, f"--{name}: isn't the document" in refused.err) == (Exit.REFUSED, True), refused
    for given, said in (("SIM=0", "SIM=0"), ("BTC=5", "must be SYMBOL=AMOUNT"), ("SIM", "SIM")):
        refused = own.database(opening=given)
        assert (refused.code, said in refused.err) == (Exit.REFUSED, True), refused
    (tmp_path / "owner.url").write_text("host=x")
    assert own.database(owner=str(tmp_path / "owner.url")).code == Exit.USAGE

    done = own.database()
    assert (done.code, "is in the database" in done.out) == (0, True), done
    before = rows(own, "SELECT * FROM strongroom.audit_leaves")
    again = own.database()
    assert (again.code, "was there already" in again.out) == (0, True), again
    assert rows(own, "SELECT * FROM strongroom.audit_leaves") == before
    less = own.database(opening="SIM=5")
    assert (less.code, "with another opening" in less.err) == (Exit.REFUSED, True), less

    genesis = json.loads((own.folder / "genesis.json").read_text())
    (tmp_path / "genesis.json").write_text(json.dumps({**genesis, "created_ms": genesis["created_ms"] + 1}))
    stranger = own.database(genesis=str(tmp_path / "genesis.json"))
    assert (stranger.code, "this database is of the deployment" in stranger.err) == (Exit.REFUSED, True), stranger
    secret = (own.folder / "passwords.json").read_text()
    assert json.loads(secret)["strongroom_api"] not in done.out + done.err + again.out


def test_a_payout_of_its_own_client_settles(own: Deployment) -> None:
    own.start_product()
    own.fund()
    declared = own(
        "beneficiary", "create", "--name", "Rosa Example", "--network", NETWORK, "--address", payee("rosa"),
        "--external-id", "rosa", "--json",
    )
    assert declared.code == 0, declared.err
    asked = own(
        "payout", "create", "--beneficiary", declared.json()["id"], "--asset", "SIM", "--amount", str(AMOUNT),
        "--external-id", "debt 1", "--json",
    )
    assert asked.code == 0, asked.err
    payout = asked.json()["id"]

    def is_settled() -> bool:
        own.chain.mine(1)
        found = own("payout", "show", payout, "--json").json()
        return bool(found["state"] == "settled")

    eventually("the payout is settled", is_settled, 40, [own.running.said("engine")])
    ledger = rows(own, "SELECT debits_posted - credits_posted AS has FROM strongroom.ledger_accounts "
                       "WHERE account = 'wallet:hot'")
    assert OPENING - AMOUNT - 100_000 < int(ledger[0]["has"]) < OPENING - AMOUNT


def test_while_all_is_frozen_an_officers_word_and_a_command_empty_the_wallet(own: Deployment) -> None:
    sweep = ("sweep", NETWORK, "--engine-config", own.file("engine.json"), "--json")
    frozen = own("freeze", "--as", "ada")
    assert frozen.code == 0, frozen.err
    refused = own(*sweep)
    assert (refused.code, "not-frozen" in refused.err, "allow-recovery sim:sandbox" in refused.err) == (
        Exit.REFUSED, True, True), refused
    assert in_treasury(own) == 0

    allowed = own("allow-recovery", NETWORK, "--as", "ben")
    assert allowed.code == 0, allowed.err
    swept = own(*sweep)
    assert swept.code == 0, swept.err
    done = swept.json()
    assert (done["treasury"], done["is_sent"]) == (TREASURY, True)

    def is_settled() -> bool:
        own.chain.mine(1)
        found = rows(own, "SELECT state FROM strongroom.attempts WHERE operation = 'sweep' AND state <> 'dropped'")
        return [row[0] for row in found] == ["settled"]

    eventually("the sweep is settled", is_settled, 40, [own.running.said("engine")])
    assert in_treasury(own) == int(done["amount"]) > OPENING - AMOUNT - 200_000
    ledger = rows(own, "SELECT debits_posted - credits_posted FROM strongroom.ledger_accounts WHERE account = "
                       "'wallet:hot'")
    assert int(ledger[0][0]) == 0
    assert rows(own, "SELECT name FROM strongroom.alarms") == []

    for address in own("wallet", "address").out.split():  # something is there to be swept again
        own.chain.fund(address, 1_000_000)
    own.chain.mine(3)
    second = own(*sweep)
    assert (second.code, "not-frozen" in second.err) == (Exit.REFUSED, True), second


def in_treasury(own: Deployment) -> int:
    return sum(int(coin["amount"]) for coin in own.chain.call("POST", "/coins", {"addresses": [TREASURY]})["coins"])
