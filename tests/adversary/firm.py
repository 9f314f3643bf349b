"""An organisation on the ground and its honest parties: clients who ask, people who assert, an officer at guard.

What honest clients asked for is promised; whatever else leaves its wallet is a loss. Whoever robs it may hold the keys
of any of these parties.
"""

import asyncio
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx
from nacl.signing import SigningKey
from tests.adversary.ground import Ground
from tests.guard.process import given_document
from tests.signer.world import payee, policy_document

from strongroom.advice.bound import Attacker, Most, bounds
from strongroom.cli.passkey import SoftwarePasskey, software_passkey
from strongroom.domain.ids import OrganisationId
from strongroom.domain.instant import DAY_MS, Instant
from strongroom.domain.policy import Policy, parse_policy
from strongroom.formats import simulated
from strongroom.protocol.approval import APPROVAL_REQUEST_TYPE, PersonAssertion, assertion_document
from strongroom.protocol.canonical import encode, parse_object, record_hash
from strongroom.protocol.control import ByPeople
from strongroom.protocol.genesis import Mode
from strongroom.protocol.negative import NEGATIVE_TYPE, Action, Negative
from strongroom.protocol.record_writer import write_negative, write_roster
from strongroom.protocol.request import INTENT_TYPE, PersonEvidence
from strongroom.protocol.roster import Role, Roster, parse_roster
from strongroom.protocol.signer_wire import Ask
from strongroom.sandbox.funding import fund_wallet
from strongroom.sandbox.organisation import make_organisation
from strongroom.sandbox.trusted import ask_signer, let_in
from strongroom.sdk import Client
from strongroom.store.organisations import add_organisation

H = 200_000_000
"""All that a hot wallet holds here, in twenty coins; a base unit is worth a minor unit of the reference currency."""
ADDRESSES = 200
PASSING = ["lease-fresh", "guard-agrees"]
MOVING = frozenset({"received", "ready", "planned", "signed", "broadcast", "confirmed", "due"})


@dataclass
class Firm:
    """`promised` is what honest clients asked for, by address; `policy` and `roster` are those in force at first."""

    ground: Ground
    document: dict[str, Any]
    policy: Policy
    roster: Roster
    addresses: Sequence[str]
    promised: dict[str, int] = field(default_factory=dict)

    @property
    def id(self) -> OrganisationId:
        return self.policy.organisation

    # Bounds, as the product itself computes them from the policy.

    def bound(self, attacker: Attacker, *, elsewhere: bool = False) -> int:
        """In base units of the simulated coin."""
        (row,) = (each for each in bounds(self.policy, self.roster) if each.attacker is attacker)
        most: Most | None = row.elsewhere if elsewhere else row.own_address
        if most is None or most.reference_minor is None:
            raise AssertionError(f"the policy bounds nothing here: {most}")
        found = most.native.get(self.policy.wallets[simulated.NETWORK].fee_asset, most.reference_minor)
        assert found <= most.reference_minor
        return found

    # Clients.

    def seed(self, client: str) -> bytes:
        return bytes.fromhex(Path(self.document["clients"][client]["private_key_file"]).read_text().strip())

    def client(self, name: str, seed: bytes | None = None) -> Client:
        """That signs with the client's own key, or with another that says it is this one."""
        known = self.document["clients"][name]
        made = Client(
            self.ground.api_url, self.ground.document["deployment"], self.id, known["client_id"], known["key_id"],
            self.seed(name) if seed is None else seed,
        )
        self.ground.closing.append(made.close)
        return made

    def stranger(self, name: str) -> Client:
        """Whoever knows the client's public name and has a key of its own."""
        return self.client(name, bytes(SigningKey.generate()))

    def declare(self, name: str, address: str | None = None, by: Client | None = None) -> dict[str, Any]:
        return dict((by or self.client("beneficiaries")).beneficiaries.create(
            idempotency_key=f"declare-{name}", name="Payee",
            destination={"network": simulated.NETWORK, "address": address or payee(name)},
        ))

    def ask(self, to: dict[str, Any], key: str, minor: int, by: Client | None = None, **changes: Any) -> str:
        """A payout that nobody promised; its id."""
        asked = {
            "beneficiary": to["id"], "destination_digest": to["destination"]["digest"], "asset": simulated.ASSET,
            "amount": str(minor), "external_id": key,
        } | changes
        return str((by or self.client("payouts")).payouts.create(idempotency_key=key, **asked)["id"])

    def promise(self, name: str, minor: int, to: dict[str, Any] | None = None) -> str:
        """A payout that an honest client asked for."""
        made = self.ask(to or self.declare(name), f"promise-{name}", minor)
        self.promised[payee(name)] = self.promised.get(payee(name), 0) + minor
        return made

    # People.

    def passkey(self, login: str) -> SoftwarePasskey:
        return software_passkey({**self.ground.document, **self.document}, login)

    def request_for(self, subject: str) -> bytes:
        """The signer's own request, once people can see it."""
        with self.client("payouts") as api:
            found: list[dict[str, Any]] = []

            def is_there() -> bool:
                rows = api.pages("/v1/approvals", {"limit": "200"})
                found[:] = [each for each in rows if each["subject"] == subject]
                return bool(found)

            self.ground.eventually(is_there, f"people are asked about {subject}")
        return str(found[0]["request"]).encode()

    def intent(self, login: str, path: str, body: dict[str, Any], key: str) -> PersonEvidence:
        """What this person asks for at the station."""
        person = self.passkey(login)
        record = encode({
            "body": body, "created_ms": now(), "deployment": self.ground.document["deployment"],
            "idempotency_key": key, "organisation": self.id, "path": path, "person": person.person,
            "type": INTENT_TYPE,
        })
        return PersonEvidence(record, person.asserts(record, INTENT_TYPE))

    def approve(self, request: bytes, given: PersonAssertion) -> int:
        """At the API; the status of its answer."""
        digest = hash_of(request)
        url = f"{self.ground.api_url}/v1/approvals/{digest}/assertions"
        return httpx.post(url, json=assertion_document(given), timeout=10, trust_env=False).status_code

    def assert_by(self, request: bytes, *logins: str) -> list[PersonAssertion]:
        return [self.passkey(login).asserts(request, APPROVAL_REQUEST_TYPE) for login in logins]

    def instruct(self, action: Action, subject: str, *logins: str, epoch: int = 0) -> httpx.Response:
        """At guard's own listener."""
        record = negative(self.id, action, subject, epoch)
        given = ByPeople(record, tuple(self.passkey(login).asserts(record, NEGATIVE_TYPE) for login in logins))
        return self.ground.guard.post("/v1/negatives", json={"organisation": self.id, **given_document(given)})

    def release(self, payout: str, attempts: Sequence[str], *logins: str) -> httpx.Response:
        """Of a signed payout's money, at guard's listener."""
        expires, name = Instant(now() + DAY_MS), secrets.token_hex(32)
        said = Negative(Action.RELEASE, expires, 0, payout, self.id, name, tuple(attempts), "it isn't with the payee")
        record = write_negative(said)
        given = ByPeople(record, tuple(self.passkey(login).asserts(record, said.type) for login in logins))
        return self.ground.guard.post("/v1/negatives", json={"organisation": self.id, **given_document(given)})

    def resolve(self, alarm: str) -> None:
        answer = self.instruct(Action.RESOLVE, alarm, "cleo")
        assert answer.status_code in (202, 409), answer.text

    # What became of the payouts.

    def states(self) -> dict[str, str]:
        """`due` if it waits and the engine looks at it next, or if guard alone stood in its way a moment ago."""
        rows = self.ground.query(
            "owner", "SELECT id, CASE WHEN state IN ('held', 'awaiting_approval') AND (due_at <= $2 OR "
            "status_code = ANY ($3)) THEN 'due' ELSE state END AS state FROM strongroom.payouts "
            "WHERE organisation = $1", self.id, now(), PASSING,
        )
        return {row["id"]: row["state"] for row in rows}

    def mine(self) -> None:
        self.ground.mine()

    def rest(self) -> dict[str, str]:
        """What each payout came to, once nothing moves by itself any more; all that was sent stands in a block."""

        def is_at_rest() -> bool:
            self.mine()
            self.ground.resolve()
            return MOVING.isdisjoint(self.states().values())

        self.ground.eventually(is_at_rest, f"the payouts of {self.id} are at rest")
        return self.states()


def hash_of(request: bytes) -> str:
    return record_hash(APPROVAL_REQUEST_TYPE, request).hex()


def negative(organisation: OrganisationId, action: Action, subject: str, epoch: int = 0) -> bytes:
    expires = Instant(now() + DAY_MS)
    return write_negative(Negative(action, expires, epoch, subject, organisation, secrets.token_hex(32)))


def now() -> Instant:
    return Instant(time.time_ns() // 1_000_000)


def found(
    ground: Ground, policy: dict[str, Any], custodians: Sequence[str] = (), operators: Sequence[str] = ()
) -> Firm:
    """A new organisation, let in at the signer's admin socket and written to PostgreSQL by its owner, as `sandbox
    organisation` does. `policy` is as in `policy_document`. `custodians` of the client that pays, and `operators`, who
    ask for payouts and name destinations besides what else they do, are logins.
    """
    made = make_organisation(ground.data / "keys", "Example Rides", {"SIM": simulated.ASSET})
    roster = parse_roster(made.new.roster, Mode.SANDBOX)
    people = {each["login"]: each["id"] for each in made.document["people"]}
    payer = made.document["clients"]["payouts"]["client_id"]
    roster = replace(roster, clients=tuple(
        replace(each, custodians=tuple(people[login] for login in custodians)) if each.id == payer else each
        for each in roster.clients
    ), people=tuple(
        replace(each, roles=(*each.roles, Role.OPERATOR)) if each.id in [people[login] for login in operators] else each
        for each in roster.people
    ))
    raw = encode(policy_document(**{**policy, "organisation": made.new.id}))
    new = replace(made.new, policy=raw, roster=write_roster(roster), opening={simulated.ASSET: H})
    asyncio.run(add_organisation(ground.dsn("owner"), new, now()))
    let_in(ground.admin_socket, new.policy, new.roster)
    fund_wallet(ground.admin_socket, str(ground.chain.base_url), new.id, H)
    body: Any = {"count": ADDRESSES, "first": 0, "generation": 0, "network": simulated.NETWORK, "organisation": new.id}
    addresses = ask_signer(ground.admin_socket, Ask.ADDRESSES, body)["addresses"]
    firm = Firm(ground, made.document, parse_policy(parse_object(raw)), roster, addresses)
    ground.officers[firm.id] = firm.resolve
    ground.eventually(lambda: firm.id in ground.status()["organisations"], "guard knows the new organisation")
    return firm
