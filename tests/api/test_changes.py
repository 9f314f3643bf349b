"""Changes of policy and roster over HTTP: what could never count isn't kept, and each fault is named."""

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import httpx
import pytest
from tests.api.server import ApiProcess, Owner, api_process
from tests.api.world import refused
from tests.signer.world import ADA, CLEO, DAN, ORGANISATION, START, Human, World, policy_document, roster

from strongroom.advice.proposal import TYPES, name_of
from strongroom.api.changes import LIFE_MS
from strongroom.domain.instant import Instant
from strongroom.protocol.approval import assertion_document
from strongroom.protocol.canonical import encode, parse_object
from strongroom.protocol.record_writer import write_roster
from strongroom.protocol.roster import roster_hash
from strongroom.protocol.standing import policy_hash
from strongroom.store.changes import OPEN_MAXIMUM
from strongroom.store.organisations import NewOrganisation, create_organisation
from strongroom.store.postgres import Cluster


class Office:
    """Officers at the API, each with a passkey, and what the record keeps."""

    def __init__(self, world: World, api: ApiProcess, owner: Owner) -> None:
        self.world, self.api, self.owner = world, api, owner
        self.numbers = iter(range(1, 10_000))

    def policy(self, **changes: Any) -> bytes:
        """The next version, unlike all before."""
        follows = {"version": 2, "previous": policy_hash(self.world.policy)}
        return encode(policy_document(browser_release_reference_minor=str(next(self.numbers))) | follows | changes)

    def proposes(self, raw: bytes, person: Human, document: str = "policy", **wrong: Any) -> httpx.Response:
        given = assertion_document(person.asserts(raw, TYPES[document], **wrong))
        return self.post("/v1/changes", {"document": document, "raw": raw.decode(), "assertion": given})

    def asserts(self, raw: bytes, person: Human, document: str = "policy", **wrong: Any) -> httpx.Response:
        given = assertion_document(person.asserts(raw, TYPES[document], **wrong))
        return self.post(f"/v1/changes/{name_of(document, raw)}/assertions", given)

    def post(self, path: str, body: Any) -> httpx.Response:
        return httpx.post(self.api.url + path, json=body, timeout=10, trust_env=False)

    def kept(self) -> tuple[int, int]:
        return (int(self.owner.value("SELECT count(*) FROM strongroom.proposed_changes")),
                int(self.owner.value("SELECT count(*) FROM strongroom.change_assertions")))


@pytest.fixture(scope="module")
def office(postgres_cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    world = World(tmp_path_factory.mktemp("signer"))
    folder = tmp_path_factory.mktemp("api")
    with api_process(postgres_cluster, folder, "api_changes", genesis=world.genesis) as (api, owner):
        new = NewOrganisation(ORGANISATION, "Example Rides", world.policy, world.roster, [], {})
        owner.run(lambda connection: create_organisation(connection, new, Instant(START)))
        yield Office(world, api, owner)


@pytest.fixture(autouse=True)
def _all_end(office: Office) -> Iterator[None]:
    yield
    office.owner.execute(
        "INSERT INTO strongroom.change_steps (change, state, detail, created_at) "
        "SELECT change, 'expired', '', 1 FROM strongroom.proposed_changes ON CONFLICT DO NOTHING"
    )


def test_an_officer_proposes_and_another_joins(office: Office) -> None:
    raw = office.policy()
    made = office.proposes(raw, CLEO)
    assert made.status_code == 201, made.text
    answer = made.json()
    assert (answer["id"], answer["raw"]) == (policy_hash(raw), raw.decode())
    assert (answer["people"], answer["needed"], answer["state"], answer["version"]) == ([CLEO.id], 2, "proposed", 2)
    assert office.asserts(raw, DAN).json()["people"] == sorted([CLEO.id, DAN.id])
    again = office.asserts(raw, DAN)
    assert again.headers["idempotent-replayed"] == "true"
    before = office.kept()
    assert office.proposes(raw, DAN).headers["idempotent-replayed"] == "true"
    assert office.kept() == before


def test_a_roster_is_proposed_likewise(office: Office) -> None:
    people = roster().people[1:]
    raw = write_roster(replace(roster(), version=2, previous=roster_hash(office.world.roster), people=people[::-1],
                               clients=()))
    assert office.proposes(raw, DAN, "roster").json()["id"] == roster_hash(raw)


@pytest.mark.parametrize(("person", "reason"), [(ADA, "isn't of the group officers")])
def test_who_could_never_count_is_refused_and_nothing_kept(office: Office, person: Human, reason: str) -> None:
    raw, before = office.policy(), office.kept()
    assert reason in refused(office.proposes(raw, person), "scope_missing", "person")["detail"]
    assert office.kept() == before
    office.proposes(raw, CLEO)
    refused(office.asserts(raw, person), "scope_missing", "person")
    assert office.kept() == (before[0] + 1, before[1] + 1)


def test_an_assertion_that_doesnt_hold_isnt_kept(office: Office) -> None:
    """The attacker has what an officer asserted, wants it to count for another document, or without the officer."""
    raw, other, before = office.policy(), office.policy(), office.kept()
    given = assertion_document(CLEO.asserts(raw, TYPES["policy"]))
    body = {"document": "policy", "raw": other.decode(), "assertion": given}
    refused(office.post("/v1/changes", body), "signature_invalid", "client_data.challenge")
    refused(office.proposes(raw, CLEO, flags=1), "signature_invalid", "authenticator_data.flags")
    office.proposes(raw, CLEO)
    refused(office.post(f"/v1/changes/{policy_hash(raw)}/assertions", assertion_document(
        DAN.asserts(other, TYPES["policy"]))), "signature_invalid", "client_data.challenge")
    assert office.kept() == (before[0] + 1, before[1] + 1)


@pytest.mark.parametrize(("changes", "field", "reason"), [
    ({"version": 3}, "raw.version", "must be 2: version 1 is running"),
    ({"previous": "ab" * 32}, "raw.previous", "must be the hash of the running version"),
    ({"fee_budget_reference_minor": "0x"}, "raw.fee_budget_reference_minor", ""),
    ({"governance": {"group": "nobody", "delay_ms": 1}}, "raw", "no quorum of nobody"),
    ({"more": 1}, "raw.more", "unknown"),
])
def test_a_document_that_the_signer_wouldnt_take_is_named_by_its_field(
    office: Office, changes: dict[str, Any], field: str, reason: str
) -> None:
    before = office.kept()
    assert reason in refused(office.proposes(office.policy(**changes), CLEO), "invalid", field)["detail"]
    assert office.kept() == before


def test_what_is_no_document_is_named(office: Office) -> None:
    stranger = office.policy(organisation="org_" + "b" * 26)
    assert "no organisation" in refused(office.proposes(stranger, CLEO), "not_found", "raw.organisation")["detail"]
    refused(office.proposes(b"{}", CLEO), "invalid", "raw.organisation")
    refused(office.proposes(b"{", CLEO), "invalid", "raw")
    spaced = json.dumps(parse_object(office.policy())).encode()
    assert "canonical" in refused(office.proposes(spaced, CLEO), "invalid", "raw")["detail"]
    refused(office.post("/v1/changes", {"document": "genesis", "raw": "{}", "assertion": {}}), "invalid", "document")
    refused(office.post("/v1/changes", {"document": "policy", "raw": "{}"}), "invalid", "assertion")
    refused(office.asserts(office.policy(), CLEO), "not_found")


def test_what_has_ended_takes_no_assertion(office: Office) -> None:
    raw = office.policy()
    office.proposes(raw, CLEO)
    office.owner.execute(
        "INSERT INTO strongroom.change_steps (change, state, detail, created_at) VALUES ($1, 'vetoed', '', 1)",
        policy_hash(raw),
    )
    assert "is vetoed" in refused(office.asserts(raw, DAN), "too_late")["detail"]
    assert "is vetoed" in refused(office.proposes(raw, DAN), "too_late")["detail"]
    late, now = office.policy(), int(time.time() * 1_000)
    office.owner.execute(
        "INSERT INTO strongroom.proposed_changes (change, organisation, document, raw, proposer, created_at, "
        "expires_at) VALUES ($1, $2, 'policy', $3, $4, $5, $6)",
        policy_hash(late), ORGANISATION, late, CLEO.id, now - LIFE_MS - 1, now - 1,
    )
    assert "is expired" in refused(office.asserts(late, DAN), "too_late")["detail"]


def test_so_many_are_open_and_no_more(office: Office) -> None:
    for _ in range(OPEN_MAXIMUM):
        assert office.proposes(office.policy(), CLEO).status_code == 201
    answer = office.proposes(office.policy(), CLEO)
    assert f"{OPEN_MAXIMUM} changes are open" in refused(answer, "rate_limited")["detail"]


def test_a_document_isnt_kept_under_another_name(office: Office) -> None:
    """The database's own check, whoever calls."""
    raw = office.policy()
    with pytest.raises(Exception, match="check constraint"):
        office.owner.execute(
            "SELECT strongroom.change_propose($1, $2, 'policy', $3, $4, 2, 1)", "ab" * 32, ORGANISATION, raw, CLEO.id
        )
