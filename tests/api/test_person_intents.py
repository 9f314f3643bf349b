"""What people ask for over HTTP: recorded as a client's request would be, by the person, with the evidence kept; never
without an approver; and nothing of anybody who may not, or that was changed."""

import asyncio
import hashlib
import json
import time
from base64 import b64decode
from collections.abc import Iterator
from typing import Any

import asyncpg
import httpx
import pytest
from tests.api.server import DEPLOYMENT, ApiProcess, Owner, api_process
from tests.api.world import refused
from tests.conftest import ROLE_PASSWORD
from tests.signer.world import ADA, ORGANISATION, OTTO, PIA, START, Human, World, payee

from strongroom.domain.document import Fields
from strongroom.domain.ids import IdempotencyKey
from strongroom.domain.instant import Instant
from strongroom.formats import simulated
from strongroom.protocol.approval import assertion_document, take_assertion
from strongroom.protocol.canonical import parse_object, record_hash
from strongroom.protocol.genesis import parse_genesis
from strongroom.protocol.identifier import beneficiary_id, payout_id
from strongroom.protocol.request import INTENT_TYPE
from strongroom.protocol.webauthn import verify_assertion
from strongroom.store import person_requests
from strongroom.store.organisations import NewClient, NewKey, NewOrganisation, create_organisation
from strongroom.store.postgres import Cluster

TOKEN = "srb_reader"


class Counter:
    """Where people ask: the API, and the world whose people they are."""

    def __init__(self, world: World, api: ApiProcess, owner: Owner, console_dsn: str) -> None:
        self.world, self.api, self.owner, self.console_dsn = world, api, owner, console_dsn
        self.numbers = iter(range(10_000))

    def asks(
        self, person: Human, path: str, body: Any, key: str | None = None, asserted_by: Human | None = None,
        wrong: dict[str, Any] | None = None,
    ) -> httpx.Response:
        said = {"created_ms": int(time.time() * 1_000), "deployment": DEPLOYMENT, **(wrong or {})}
        made = self.world.person_request(
            person, path, body, key or f"own-{next(self.numbers)}", asserted_by=asserted_by, wrong=said
        )
        return self.sends(made.record, assertion_document(made.given))

    def sends(self, record: bytes, given: Any) -> httpx.Response:
        body = {"record": record.decode(), "assertion": given}
        return httpx.post(f"{self.api.url}/v1/person-intents", json=body, timeout=10, trust_env=False)

    def get(self, path: str) -> Any:
        headers = {"Authorization": f"Bearer {TOKEN}"}
        answer = httpx.get(self.api.url + path, headers=headers, timeout=10, trust_env=False)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def declared(self, name: str, person: Human = OTTO) -> Any:
        where = {"address": payee(name), "network": simulated.NETWORK}
        answer = self.asks(person, "/v1/beneficiaries", {"destination": where, "name": f"Payee {name}"}, f"to-{name}")
        assert answer.status_code == 201, answer.text
        return answer.json()

    def payout(self, to: Any, **changes: Any) -> dict[str, Any]:
        return {
            "amount": "1000", "asset": simulated.ASSET, "beneficiary": to["id"],
            "destination_digest": to["destination"]["digest"], "external_id": f"debt {next(self.numbers)}", **changes,
        }

    def answer(self, request: int) -> tuple[int, Any]:
        status = self.owner.value("SELECT status FROM strongroom.person_answers WHERE request = $1", request)
        body = self.owner.value("SELECT body FROM strongroom.person_answers WHERE request = $1", request)
        return int(status), json.loads(body)

    def kept(self) -> int:
        return int(self.owner.value("SELECT count(*) FROM strongroom.evidence"))


@pytest.fixture(scope="module")
def counter(postgres_cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Counter]:
    world = World(tmp_path_factory.mktemp("signer"))
    folder = tmp_path_factory.mktemp("api")
    with api_process(postgres_cluster, folder, "api_people", genesis=world.genesis) as (api, owner):
        reads = NewKey("ak_" + "r" * 26, hashlib.sha256(TOKEN.encode()).digest(), ("payouts:read",))  # type: ignore[arg-type] # an id as text
        reader = NewClient("cl_" + "r" * 26, "reader", bearer_keys=[reads])  # type: ignore[arg-type] # an id as text
        new = NewOrganisation(
            ORGANISATION, "Example Rides", world.policy, world.roster, [reader], {simulated.ASSET: 10**9}
        )
        owner.run(lambda connection: create_organisation(connection, new, Instant(START)))
        yield Counter(
            world, api, owner, postgres_cluster.dsn("strongroom_console", ROLE_PASSWORD, "api_people")
        )


def test_an_operator_names_a_payee_and_asks_for_a_payout(counter: Counter) -> None:
    to = counter.declared("rosa")
    assert to["id"] == beneficiary_id(ORGANISATION, OTTO.id, IdempotencyKey("to-rosa"))
    assert to["client"] == OTTO.id
    body = counter.payout(to)
    made = counter.asks(OTTO, "/v1/payouts", body, "pay-rosa")
    assert made.status_code == 201, made.text
    payout = made.json()
    assert payout["id"] == payout_id(ORGANISATION, OTTO.id, IdempotencyKey("pay-rosa"))
    assert payout["client"] == OTTO.id
    (listed,) = (each for each in counter.get("/v1/payouts")["data"] if each["id"] == payout["id"])
    assert listed["client"] == OTTO.id
    rows = counter.owner.value("SELECT approvals FROM strongroom.payouts WHERE id = $1", payout["id"])
    assert rows == 1, "somebody else approves, however little it is"
    again = counter.asks(OTTO, "/v1/payouts", body, "pay-rosa")
    assert (again.json(), again.headers["idempotent-replayed"]) == (payout, "true")
    other = counter.asks(OTTO, "/v1/payouts", {**body, "amount": "2000"}, "pay-rosa")
    refused(other, "idempotency_key_reused", "amount")


def test_the_evidence_of_a_person_verifies_offline(counter: Counter) -> None:
    to = counter.declared("evi")
    payout = counter.asks(OTTO, "/v1/payouts", counter.payout(to)).json()["id"]
    found = counter.get(f"/v1/payouts/{payout}/evidence")
    record, public_key = b64decode(found["signature_base"]), b64decode(found["public_key"])
    given = take_assertion(Fields(parse_object(b64decode(found["signature"]))))
    party = parse_genesis(counter.world.genesis).relying_party
    verify_assertion(given.assertion, record_hash(INTENT_TYPE, record), party, public_key)
    said = parse_object(record)
    assert (said["person"], said["path"], found["key_id"]) == (OTTO.id, "/v1/payouts", OTTO.id)
    assert parse_object(b64decode(found["body"])) == said["body"]


def test_the_next_destination_is_named_by_who_named_the_last(counter: Counter) -> None:
    to = counter.declared("moves")
    body = {"address": payee("moved"), "network": simulated.NETWORK, "version": 2,
            "previous": to["destination"]["digest"]}
    path = f"/v1/beneficiaries/{to['id']}/destinations"
    answer = counter.asks(OTTO, path, body)
    assert answer.status_code == 202, answer.text
    assert len(answer.json()["destinations"]) == 2
    refused(counter.asks(PIA, path, {**body, "version": 3}), "not_found")


def test_who_is_no_operator_asks_for_nothing(counter: Counter) -> None:
    to = counter.declared("no")
    before = counter.kept()
    problem = refused(counter.asks(ADA, "/v1/payouts", counter.payout(to)), "scope_missing", "person")
    assert "isn't an operator" in problem["detail"]
    assert counter.kept() == before


@pytest.mark.parametrize(("wrong", "code", "field"), [
    ({"deployment": "0" * 16}, "invalid", "record.deployment"),
    ({"organisation": "org_" + "b" * 26}, "not_found", "record.organisation"),
    ({"person": ADA.id}, "invalid", "record.person"),
    ({"created_ms": 1}, "invalid", "record.created_ms"),
    ({"created_ms": START * 2}, "invalid", "record.created_ms"),
    ({"path": "/v1/payout-runs"}, "invalid", "record.path"),
    ({"path": "/v1/balances"}, "invalid", "record.path"),
    ({"more": 1}, "invalid", "record.more"),
    ({"body": {"amount": "1"}}, "invalid", "record.body.beneficiary"),
    ({"body": []}, "invalid", "record.body"),
])
def test_a_record_that_isnt_right_is_named_by_its_field(
    counter: Counter, wrong: dict[str, Any], code: str, field: str
) -> None:
    to = counter.declared("wrong")
    before = counter.kept()
    refused(counter.asks(OTTO, "/v1/payouts", counter.payout(to), wrong=wrong), code, field)
    assert counter.kept() == before


def test_a_changed_record_or_anothers_assertion_is_nothing(counter: Counter) -> None:
    """The attacker has what an operator asserted, and wants more, or another payee, or to be the operator."""
    to = counter.declared("changed")
    before = counter.kept()
    said = {"created_ms": int(time.time() * 1_000), "deployment": DEPLOYMENT}
    made = counter.world.person_request(OTTO, "/v1/payouts", counter.payout(to), "changed", wrong=said)
    more = made.record.replace(b'"amount":"1000"', b'"amount":"9000"')
    assert more != made.record
    refused(counter.sends(more, assertion_document(made.given)), "signature_invalid", "client_data.challenge")
    refused(counter.asks(OTTO, "/v1/payouts", counter.payout(to), asserted_by=ADA), "invalid", "record.person")
    assert counter.kept() == before


async def _console_asks(dsn: str, record: str, assertion: str) -> int:
    console = await asyncpg.connect(dsn)
    try:
        return await person_requests.ask(console, record, assertion, Instant(int(time.time() * 1_000)))
    finally:
        await console.close()


def test_what_people_ask_at_the_console_is_recorded_and_answered(counter: Counter) -> None:
    to = counter.declared("console")
    said = {"created_ms": int(time.time() * 1_000), "deployment": DEPLOYMENT}
    made = counter.world.person_request(OTTO, "/v1/payouts", counter.payout(to), "at-console", wrong=said)
    good = (made.record.decode(), json.dumps(assertion_document(made.given)))
    spoilt = [(good[0], "{}"), (good[0], "["), ("{", good[1]), (good[0].replace("1000", "9000", 1), good[1])]
    numbers = [asyncio.run(_console_asks(counter.console_dsn, *each)) for each in (*spoilt, good, good)]
    deadline = time.monotonic() + 20
    while (answered := int(counter.owner.value("SELECT count(*) FROM strongroom.person_answers"))) < len(numbers):
        assert time.monotonic() < deadline, answered
        time.sleep(0.05)
    found = [counter.answer(number) for number in numbers]
    assert [status for status, _ in found] == [422, 400, 422, 401, 201, 201]
    assert found[4][1]["id"] == found[5][1]["id"] == payout_id(ORGANISATION, OTTO.id, IdempotencyKey("at-console"))
    assert counter.get(f"/v1/payouts/{found[4][1]['id']}")["client"] == OTTO.id
