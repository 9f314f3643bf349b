"""The papers of a recovery: what is wrong in them is said before anybody asserts it, and the database learns of them.

What the signer does with them is in tests/faults/signer/test_recovery.py, where these commands are run while both have
lost some."""

import asyncio
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.api.server import Owner
from tests.cli.command import Done, command
from tests.conftest import Database
from tests.protocol.recovering import EPOCH, new_roster
from tests.signer.world import CLEO, ORGANISATION, policy_document, roster

from strongroom.cli.founding import FoundingError, client_name
from strongroom.cli.output import Exit, Stop
from strongroom.cli.papers import new_record, read_papers, write_papers
from strongroom.cli.recover import begin
from strongroom.domain.instant import Instant
from strongroom.protocol.canonical import encode
from strongroom.protocol.record_writer import write_roster
from strongroom.protocol.signer_wire import RECOVERY_TYPE
from strongroom.store.founding import found
from strongroom.store.organisations import NewClient, NewKey, NewOrganisation

DEPLOYMENT = "0123456789abcdef"
POLICY = encode(policy_document())
MADE = new_roster(roster(), "n")
NEW = write_roster(MADE)
JOURNAL: dict[str, Any] = {"head": "c" * 64, "length": 7}


@pytest.fixture
def papers(tmp_path: Path) -> Path:
    file = tmp_path / "recovery.json"
    write_papers(file, new_record(DEPLOYMENT, EPOCH, JOURNAL, POLICY, NEW), POLICY, NEW)
    return file


def test_papers_are_read_as_they_were_written_with_what_people_have_asserted(papers: Path) -> None:
    read = read_papers(papers)
    assert (read.deployment, read.epoch, read.organisation) == (DEPLOYMENT, EPOCH, ORGANISATION)
    assert (read.policy_raw, read.roster_raw, read.assertions) == (POLICY, NEW, ())
    given = CLEO.asserts(read.record, RECOVERY_TYPE)
    assert read.with_assertion(given).assertions == (given,)


def other_roster(document: dict[str, Any]) -> None:
    document["roster"]["clients"] = document["roster"]["clients"][:1]


def other_policy(document: dict[str, Any]) -> None:
    document["policy"]["fee_budget_reference_minor"] = "1"


def other_organisation(document: dict[str, Any]) -> None:
    document["record"]["organisation"] = "org_" + "z" * 26


def no_epoch(document: dict[str, Any]) -> None:
    document["record"]["epoch"] = "soon"


def no_record(document: dict[str, Any]) -> None:
    document["record"] = "all is well"


def unknown(document: dict[str, Any]) -> None:
    document["note"] = "urgent"


def other_type(document: dict[str, Any]) -> None:
    document["type"] = "strongroom/policy/v1"


@pytest.mark.parametrize(("change", "field"), [
    (other_roster, "roster"), (other_policy, "policy"), (other_organisation, "organisation"), (no_epoch, "epoch"),
    (no_record, "record"), (unknown, "note"), (other_type, "type"),
])
def test_nobody_is_shown_something_else_than_is_asserted(
    papers: Path, change: Callable[[dict[str, Any]], None], field: str
) -> None:
    """The attacker has the file on its way, and wants people to read one roster and assert another."""
    document = json.loads(papers.read_text())
    change(document)
    papers.write_text(json.dumps(document))
    with pytest.raises(FoundingError, match=field):
        read_papers(papers)


def test_people_assert_for_their_own_deployment_only(papers: Path, tmp_path: Path) -> None:
    person = {"id": CLEO.id, "name": "Cleo", "login": "cleo"}
    profile = tmp_path / "profile.json"
    profile.write_text(json.dumps({"deployment": "f" * 16, "organisation": ORGANISATION, "people": [person]}))
    done = command("recover", "sign", str(papers), "--as", "cleo", "--profile", str(profile))
    assert (done.code, "deployment: is 0123456789abcdef" in done.err) == (Exit.REFUSED, True), done


@pytest.mark.parametrize(("changes", "code", "said"), [
    ({"epoch": "12"}, Exit.USAGE, "--epoch: must be 64"),
    ({}, Exit.UNREACHABLE, "doesn't answer"),
    ({"roster": Path("/none.json")}, Exit.FAILED, "/none.json"),
])
def test_no_papers_are_made_of_what_is_wrong(
    tmp_path: Path, changes: dict[str, Any], code: Exit, said: str
) -> None:
    (tmp_path / "policy.json").write_bytes(POLICY)
    (tmp_path / "roster.json").write_bytes(write_roster(roster()))
    options: dict[str, Any] = {
        "admin_socket": Path("/none.sock"), "epoch": EPOCH, "policy": tmp_path / "policy.json",
        "roster": tmp_path / "roster.json", "new_key": [f"{MADE.clients[0].id}={'a' * 64}"],
        "out": tmp_path / "papers.json", "new_roster": tmp_path / "new.json",
    } | changes
    with pytest.raises(Stop, match=re.escape(said)) as stop:
        begin(**options)
    assert (stop.value.code, (tmp_path / "papers.json").exists()) == (code, False)


def test_the_database_learns_of_new_clients_once_and_the_old_ones_sign_in_no_more(
    papers: Path, tmp_path: Path, database: Database
) -> None:
    before = roster()
    clients = [
        NewClient(each.id, client_name(each), [NewKey(key.id, key.public_key, key.scopes) for key in each.keys])
        for each in before.clients
    ]
    first = NewOrganisation(ORGANISATION, "Example", POLICY, write_roster(before), clients, {})
    asyncio.run(found(database.owner_dsn, DEPLOYMENT, b"{}", first, Instant(1)))
    (tmp_path / "owner.url").write_text(database.owner_dsn)

    def book() -> Done:
        return command("recover", "book", str(papers), "--owner", str(tmp_path / "owner.url"))

    done = book()
    assert (done.code, "is in the database" in done.out) == (0, True), done
    owner = Owner(database.owner_dsn)
    try:
        revoked = {row[0] for row in owner.fetch("SELECT key_id FROM strongroom.key_revocations")}
        assert revoked == {key.id for client in before.clients for key in client.keys}
        known = {row[0]: row[1] for row in owner.fetch("SELECT client, public_key FROM strongroom.client_keys")}
        assert all(known[each.id] == each.keys[0].public_key for each in MADE.clients)
        assert owner.value("SELECT document FROM strongroom.rosters WHERE version = 2") == NEW
        counts = owner.counts()
        again = book()
        assert (again.code, "was there already" in again.out) == (0, True), again
        assert owner.counts() == counts
        other = write_roster(new_roster(roster(), "m"))
        papers.unlink()
        write_papers(papers, new_record(DEPLOYMENT, EPOCH, JOURNAL, POLICY, other), POLICY, other)
        refused = book()
        assert (refused.code, "is there with another roster 2" in refused.err) == (Exit.REFUSED, True), refused
        papers.unlink()
        write_papers(papers, new_record("f" * 16, EPOCH, JOURNAL, POLICY, NEW), POLICY, NEW)
        assert book().code == Exit.REFUSED
        assert owner.counts() == counts
    finally:
        owner.close()
