"""An organisation with a key of every kind, and clients that speak real HTTP to the API as each of them."""

import hashlib
import itertools
import json
import secrets
import time
from base64 import b32encode
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from tests.api.server import DEPLOYMENT, ApiProcess, Owner
from tests.api.signer import JSON, Profile, Unsigned, sign

from strongroom.domain.errors import CATALOGUE, Code
from strongroom.domain.ids import ClientId, KeyId, OrganisationId
from strongroom.domain.instant import Instant
from strongroom.domain.permissions import Permission
from strongroom.formats.evm_address import eip55
from strongroom.sandbox.organisation import policy_document
from strongroom.store.organisations import NewClient, NewKey, NewOrganisation, create_organisation

REGTEST = "bip122:0f9188f13cb7b2c71f2a335e3a4fc328"
EVM = "eip155:31337"
TOKEN = "0x5FbDB2315678afecb367f032d93F642f64180aa3"
ASSETS = {
    "BTC": f"{REGTEST}/slip44:0", "USDC": f"{EVM}/erc20:{TOKEN}",
    "USDT": f"{EVM}/erc20:0xe7f1725E7734CE288F8367e1Bb143E90bb3F0512", "EUR": "iso4217:EUR",
}
USDC, BTC, EUR = ASSETS["USDC"], ASSETS["BTC"], ASSETS["EUR"]
RICH = 10**15
TREASURY = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080"

READ = tuple(scope.value for scope in Permission if scope.value.endswith((":read", ":preview")))
SCOPES: dict[str, tuple[str, ...]] = {
    "payouts": ("payouts:create", "payouts:cancel", *READ),
    "payouts2": ("payouts:create", "payouts:cancel", *READ),
    "beneficiaries": ("beneficiaries:create", "beneficiaries:read"),
    "activities": ("activities:create",),
    "new": (),
}

_numbers = itertools.count(1)


def fresh_id(prefix: str) -> str:
    return prefix + b32encode(secrets.token_bytes(20)).decode().lower()[:26]


def fresh_key(name: str = "k") -> str:
    return f"{name}-{next(_numbers)}-{secrets.token_hex(4)}"


def address() -> str:
    """A fresh EVM address in its EIP-55 spelling."""
    return eip55(secrets.token_bytes(20))


@dataclass
class Client:
    """Signs and sends as one client key; `profile` may be bent by a test."""

    api: ApiProcess
    client_id: str
    profile: Profile
    http: httpx.Client = field(repr=False)

    def get(self, path: str, query: str = "") -> httpx.Response:
        return self.send(Unsigned("GET", path, query))

    def post(self, path: str, body: object, key: str | None = None, content_type: str = JSON) -> httpx.Response:
        """`body` is sent as it is if it is bytes. `key` None sends no Idempotency-Key."""
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.send(Unsigned("POST", path, "", raw, content_type, key))

    def send(self, request: Unsigned, headers: dict[str, str] | None = None) -> httpx.Response:
        """`headers` replace those that signing would set."""
        sent = sign(request, self.profile) if headers is None else headers
        target = f"{request.path}?{request.query}" if request.query else request.path
        return self.http.request(request.method, target, content=request.body or None, headers=sent)


@dataclass
class Organisation:
    """Its clients by name, and the token of its reading key."""

    id: str
    clients: dict[str, Client]
    bearer: str
    owner: Owner

    @property
    def payer(self) -> Client:
        return self.clients["payouts"]

    @property
    def declarer(self) -> Client:
        return self.clients["beneficiaries"]

    def declared(self, **changes: Any) -> dict[str, Any]:
        """A beneficiary, as the API answered."""
        answer = self.declarer.post("/v1/beneficiaries", declaration(**changes), fresh_key("ben"))
        assert answer.status_code == 201, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def paid(self, to: dict[str, Any], **changes: Any) -> dict[str, Any]:
        """A payout, as the API answered."""
        answer = self.payer.post("/v1/payouts", payout(to, **changes), fresh_key("po"))
        assert answer.status_code == 201, answer.text
        found: dict[str, Any] = answer.json()
        return found


def declaration(**changes: Any) -> dict[str, Any]:
    body = {"name": "Ada Example", "destination": {"network": EVM, "address": address()}}
    return {**body, **changes}


def payout(to: dict[str, Any], **changes: Any) -> dict[str, Any]:
    body = {
        "beneficiary": to["id"], "destination_digest": to["destination"]["digest"], "asset": USDC,
        "amount": "1000000", "external_id": fresh_key("debt"),
    }
    return {**body, **changes}


def item(to: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {"idempotency_key": fresh_key("item"), **payout(to), **changes}


def profile_of(api: ApiProcess, key_id: str, private_key: Ed25519PrivateKey) -> Profile:
    return Profile(api.authority, DEPLOYMENT, key_id, private_key)


def create_world(
    api: ApiProcess, owner: Owner, http: httpx.Client, *, opening: int = RICH, allowed: Sequence[str] = (),
    cooling_ms: int = 0, **policy: Any,
) -> Organisation:
    """A fresh organisation whose destinations cool off for `cooling_ms`; `allowed` limits every key's addresses."""
    organisation = OrganisationId(fresh_id("org_"))
    document = dict(policy_document(organisation, ASSETS))
    document["cooling_off_ms"] = dict.fromkeys(("declared", "payee_verified", "allowlisted"), cooling_ms)
    document["wallets"] = [{**wallet, "treasury": TREASURY} for wallet in document["wallets"]]
    document.update(policy)
    new_clients: list[NewClient] = []
    clients: dict[str, Client] = {}
    for name, scopes in SCOPES.items():
        client, key_id, private = fresh_id("cl_"), fresh_id("ak_"), Ed25519PrivateKey.generate()
        public = private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        key = NewKey(KeyId(key_id), public, scopes, tuple(allowed))
        new_clients.append(NewClient(ClientId(client), name, [key]))
        clients[name] = Client(api, client, profile_of(api, key_id, private), http)
    bearer = "srb_" + secrets.token_hex(20)
    reader = NewKey(KeyId(fresh_id("ak_")), hashlib.sha256(bearer.encode()).digest(), READ)
    new_clients.append(NewClient(ClientId(fresh_id("cl_")), "readonly", bearer_keys=[reader]))
    new = NewOrganisation(
        organisation, "Example Rides", json.dumps(document).encode(), b"{}", new_clients,
        dict.fromkeys(ASSETS.values(), opening),
    )
    now = Instant(time.time_ns() // 1_000_000)
    owner.run(lambda connection: create_organisation(connection, new, now))
    return Organisation(organisation, clients, bearer, owner)


def refused(answer: httpx.Response, code: str, field_name: str | None = None) -> dict[str, Any]:
    """The problem in this answer, once it is what the contract says of one with this code and field."""
    problem: dict[str, Any] = answer.json()
    row = CATALOGUE[Code(code)]
    assert (problem["code"], problem.get("field")) == (code, field_name), problem
    assert answer.status_code == problem["status"] == row.status
    assert answer.headers["content-type"] == "application/problem+json"
    assert problem["type"] == f"urn:strongroom:problem:{code}"
    assert problem["title"] == row.title
    assert problem["request_id"] == answer.headers["request-id"]
    assert len(problem["detail"]) >= 8
    assert "Traceback" not in answer.text
    assert "asyncpg" not in answer.text
    return problem
