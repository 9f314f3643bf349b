"""What could never count as an approval is refused where it comes in, and says why; the signer judges the rest.

The requests are a real signer's, but for their end, which is by the API's clock; the people sign with real keys.
"""

import time
from base64 import b64decode
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import httpx
import pytest
from tests.api.server import ApiProcess, Owner, api_process
from tests.api.world import refused
from tests.rules.cases import LARGE, old
from tests.signer.world import ADA, BEN, CLEO, DECLARER, EVE, ORGANISATION, START, Human, World, roster

from strongroom.domain.instant import DAY_MS, Instant
from strongroom.protocol.approval import APPROVAL_REQUEST_TYPE, assertion_document
from strongroom.protocol.canonical import encode, parse_object, record_hash
from strongroom.protocol.signer_wire import Ask
from strongroom.store.organisations import NewOrganisation, create_organisation
from strongroom.store.postgres import Cluster


def declarers_custodian() -> Any:
    """EVE reaches the client's keys, and BEN those of who declares."""
    first = roster()
    clients = tuple(replace(each, custodians=(BEN.id,)) if each.id == DECLARER else each for each in first.clients)
    return replace(first, clients=clients)


@dataclass
class Desk:
    """An API, the signer whose requests it serves, and the people."""

    world: World
    api: ApiProcess
    owner: Owner
    request: bytes = b""

    def requested(self, payout: str, ends_in_ms: int = DAY_MS) -> str:
        """The signer makes a request, and the engine stores it; its hash."""
        answer = self.world.ask(Ask.REQUEST, subject=payout)
        expires_ms = time.time_ns() // 1_000_000 + ends_in_ms
        self.request = encode({**parse_object(b64decode(answer["request"])), "expires_ms": expires_ms})
        digest = record_hash(APPROVAL_REQUEST_TYPE, self.request).hex()
        self.owner.execute(
            "SELECT strongroom.engine_request($1, $2, $3, $4, $5, $6::smallint, $7::smallint, $8)", ORGANISATION,
            payout, self.request, digest, bytes.fromhex(answer["signature"]), answer["approvals"], answer["groups"],
            self.world.times.wall_ms,
        )
        return digest

    def asserts(self, digest: str, person: Human, **wrong: Any) -> httpx.Response:
        given = assertion_document(person.asserts(self.request, APPROVAL_REQUEST_TYPE, **wrong))
        url = f"{self.api.url}/v1/approvals/{digest}/assertions"
        return httpx.post(url, json=given, timeout=10, trust_env=False)

    def kept(self) -> int:
        return int(self.owner.value("SELECT count(*) FROM strongroom.approval_assertions"))


@pytest.fixture(scope="module")
def desk(postgres_cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    world = World(tmp_path_factory.mktemp("signer"), made_roster=declarers_custodian())
    folder = tmp_path_factory.mktemp("api")
    with api_process(postgres_cluster, folder, "api_approvals", genesis=world.genesis) as (api, owner):
        new = NewOrganisation(ORGANISATION, "Example Rides", world.policy, world.roster, [], {})
        owner.run(lambda connection: create_organisation(connection, new, Instant(START)))
        yield Desk(world, api, owner)


def test_an_approver_is_heard_once_and_again(desk: Desk) -> None:
    digest = desk.requested(old(desk.world, LARGE))
    before = desk.kept()
    answers = [desk.asserts(digest, ADA) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [201, 201]
    assert answers[1].json()["people"] == [ADA.id]
    assert desk.kept() == before + 1


@pytest.mark.parametrize(("person", "reason"), [
    (CLEO, "isn't an approver"), (EVE, "speaks for who asked for it"), (BEN, "or named its destination"),
], ids=["an officer", "the client's custodian", "the declarer's custodian"])
def test_who_could_never_count_is_refused_and_not_kept(desk: Desk, person: Human, reason: str) -> None:
    """The attacker has a passkey of somebody who may not approve this, wants it to be counted or to spoil the rest."""
    digest = desk.requested(old(desk.world, LARGE))
    before = desk.kept()
    problem = refused(desk.asserts(digest, person), "scope_missing", "person")
    assert reason in problem["detail"]
    assert person.id in problem["detail"]
    assert desk.kept() == before


def test_an_assertion_that_doesnt_hold_isnt_kept(desk: Desk) -> None:
    digest = desk.requested(old(desk.world, LARGE))
    before = desk.kept()
    refused(desk.asserts(digest, ADA, flags=1), "signature_invalid", "authenticator_data.flags")
    assert desk.kept() == before


def test_a_request_that_a_newer_one_replaced_takes_no_approval(desk: Desk) -> None:
    payout = old(desk.world, LARGE)
    first = desk.requested(payout)
    first_bytes = desk.request
    second = desk.requested(payout)
    second_bytes, desk.request = desk.request, first_bytes
    assert "a newer request" in refused(desk.asserts(first, ADA), "too_late")["detail"]
    desk.request = second_bytes
    assert desk.asserts(second, ADA).status_code == 201


def test_a_request_that_has_expired_takes_no_approval(desk: Desk) -> None:
    digest = desk.requested(old(desk.world, LARGE), ends_in_ms=0)
    assert "has expired" in refused(desk.asserts(digest, ADA), "too_late")["detail"]
