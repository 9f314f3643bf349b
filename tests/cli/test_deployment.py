"""A deployment of one's own: from an empty folder to a payout that is settled, each step a command of the walk-through.

Then what its people do when all must stop: freeze, and empty the hot wallet by an officer's word. All processes are
real ones; the chain is the simulated one, so that genesis says `sandbox`."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.cli.command import command, eventually
from tests.cli.deployment import OPENING, TREASURY, Deployment, deployment, rows
from tests.signer.world import payee

from strongroom.cli.output import Exit

AMOUNT = 700_000
LARGE = 30_000_000_000
"""300 USD to somebody whom nobody has paid before: two people of two groups."""
NETWORK = "sim:sandbox"


def test_a_deployment_of_ones_own_is_founded_pays_and_is_emptied_while_frozen(
    postgres_cluster: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """One story, as each step needs those before it."""
    with deployment(tmp_path_factory.mktemp("own"), postgres_cluster) as own:
        own.found()
        own.start_core()
        check_that_the_database_takes_what_genesis_names_once_and_nothing_else(own, tmp_path_factory.mktemp("other"))
        check_that_a_payout_of_its_own_client_settles(own)
        check_that_people_with_a_profile_that_only_reads_approve_what_needs_them(own)
        check_that_a_key_that_others_can_read_signs_nothing(own)
        check_that_while_all_is_frozen_an_officers_word_and_a_command_empty_the_wallet(own)


def check_that_the_database_takes_what_genesis_names_once_and_nothing_else(own: Deployment, tmp_path: Path) -> None:
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


def check_that_a_payout_of_its_own_client_settles(own: Deployment) -> None:
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
    eventually("the payout is settled", lambda: is_settled(own, payout), 40, [own.running.said("engine")])
    assert own("payout", "show", payout, "--json").json()["state"] == "settled"
    ledger = rows(own, "SELECT debits_posted - credits_posted AS has FROM strongroom.ledger_accounts "
                       "WHERE account = 'wallet:hot'")
    assert OPENING - AMOUNT - 100_000 < int(ledger[0]["has"]) < OPENING - AMOUNT


def is_settled(own: Deployment, payout: str) -> bool:
    own.chain.mine(1)
    return rows(own, "SELECT 1 FROM strongroom.payouts WHERE id = $1 AND state = 'settled'", payout) != []


def check_that_people_with_a_profile_that_only_reads_approve_what_needs_them(own: Deployment) -> None:
    rosa = own("beneficiary", "list", "--json").json()[0]["id"]
    asked = own(
        "payout", "create", "--beneficiary", rosa, "--asset", "SIM", "--amount", str(LARGE), "--external-id", "debt 2",
        "--json",
    )
    assert asked.code == 0, asked.err
    payout, profile = asked.json()["id"], ("--profile", own.file("approver.json"))
    wanted = "SELECT 1 FROM strongroom.approval_requests WHERE subject = $1"
    eventually("it waits for people", lambda: rows(own, wanted, payout), 40)
    assert payout in command("approve", *profile).out
    unable = command("payout", "create", "--beneficiary", rosa, "--asset", "SIM", "--amount", "1000", "--external-id",
                     "debt 3", *profile)
    assert (unable.code, "no client 'payouts' that signs; there are reader" in unable.err) == (Exit.USAGE, True), unable
    approved = command("approve", payout, "--as", "ada", "--as", "ben", *profile)
    assert approved.code == 0, approved.err
    assert payee("rosa") in approved.err
    eventually("the payout is settled", lambda: is_settled(own, payout), 40, [own.running.said("engine")])


def check_that_a_key_that_others_can_read_signs_nothing(own: Deployment) -> None:
    (own.folder / "reader.key").chmod(0o640)
    done = command("approve", "--profile", own.file("approver.json"))
    (own.folder / "reader.key").chmod(0o600)
    assert (done.code, "can be read by others: chmod 600" in done.err) == (Exit.REFUSED, True), done


def check_that_while_all_is_frozen_an_officers_word_and_a_command_empty_the_wallet(own: Deployment) -> None:
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

    def is_swept() -> bool:
        own.chain.mine(1)
        found = rows(own, "SELECT state FROM strongroom.attempts WHERE operation = 'sweep' AND state <> 'dropped'")
        return [row[0] for row in found] == ["settled"]

    eventually("the sweep is settled", is_swept, 40, [own.running.said("engine")])
    assert in_treasury(own) == int(done["amount"]) > OPENING - AMOUNT - LARGE - 200_000
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
