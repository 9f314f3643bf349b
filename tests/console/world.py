"""The console's application on a real database, its clock in the test's hand, and people with passkeys before it."""

import asyncio
import hashlib
import json
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, derive_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from nacl.signing import SigningKey
from tests.api.server import Owner
from tests.conftest import Database

from strongroom.console.app import App
from strongroom.console.call import Service
from strongroom.console.config import Config
from strongroom.console.mirror import Mirrors
from strongroom.console.rates import Rates
from strongroom.console.view import View
from strongroom.domain.instant import Instant
from strongroom.domain.policy import POLICY_TYPE
from strongroom.protocol.canonical import record_hash
from strongroom.protocol.genesis import FoundingOrganisation, Genesis, Mode, deployment_id
from strongroom.protocol.record_writer import write_genesis
from strongroom.protocol.roster import roster_hash
from strongroom.protocol.webauthn import RelyingParty
from strongroom.sandbox.organisation import Made, assets_of, make_organisation
from strongroom.store.organisations import found_deployment
from strongroom.store.session import open_pool

ORIGIN = "http://console.localhost:8421"
STATION = "http://station.localhost:8422"
START = 1_790_000_000_000
FIREFOX, CHROME = "Mozilla/5.0 Firefox/140", "Mozilla/5.0 Chrome/156"
HOME, CAFE = "198.51.100.7", "203.0.113.9"


class World:
    def __init__(self, database: Database, folder: Path) -> None:
        self.now = START
        self.runner = asyncio.Runner()
        self.made: Made = make_organisation(folder, "Example Rides", assets_of({}, {"simulated"}))
        station = RelyingParty("station.localhost", frozenset({STATION}))
        keys = [bytes(SigningKey.generate().verify_key) for _ in range(3)]
        founding = FoundingOrganisation(
            self.made.new.id, record_hash(POLICY_TYPE, self.made.new.policy).hex(), roster_hash(self.made.new.roster))
        genesis = write_genesis(Genesis(Mode.SANDBOX, Instant(START), *keys, station, (founding,)))
        self.runner.run(found_deployment(
            database.owner_dsn, deployment_id(genesis), genesis, self.made.new, Instant(START)))
        self.config = Config(
            "127.0.0.1:8421", ORIGIN, STATION, database.dsn("console"),
            deployment_id(genesis), is_sandbox=True)
        self.pool = self.runner.run(open_pool(self.config.database_url, "console test"))
        service = Service(
            self.config, self.pool, View(STATION, is_sandbox=True), Mirrors(), lambda: Instant(self.now))
        self.app = App(service, Rates(10_000))
        self.owner = Owner(database.owner_dsn)

    def close(self) -> None:
        self.owner.close()
        self.runner.run(self.pool.close())
        self.runner.close()

    def person(self, login: str) -> dict[str, Any]:
        return next(each for each in self.made.document["people"] if each["login"] == login)

    def visitor(self, login: str = "ada", **seat: str) -> "Visitor":
        """Somebody who isn't signed in yet."""
        return Visitor(self, login, **seat)

    def signed_in(self, login: str = "ada", **seat: str) -> "Visitor":
        visitor = self.visitor(login, **seat)
        assert visitor.sign_in().status_code == 303
        return visitor

    def acts(self) -> list[str]:
        return [row["act"] for row in self.owner.fetch("SELECT act FROM strongroom.console_acts ORDER BY id")]


@dataclass
class Visitor:
    """A browser at a place, with the cookie that it got; and the software passkey of who sits before it."""

    world: World
    login: str
    browser: str = FIREFOX
    address: str = HOME
    cookie: str | None = None
    faults: Mapping[str, Any] = field(default_factory=dict)
    """How the passkey's answers are bent."""

    def send(
        self, method: str, path: str, headers: Mapping[str, str] | None = None, **how: Any
    ) -> httpx.Response:
        sent = {"user-agent": self.browser, "accept": "text/html", **(headers or {})}
        if method != "GET":
            sent.setdefault("origin", ORIGIN)
        if self.cookie is not None:
            sent["cookie"] = f"session={self.cookie}"

        async def go() -> httpx.Response:
            transport = httpx.ASGITransport(self.world.app, raise_app_exceptions=True, client=(self.address, 4711))
            async with httpx.AsyncClient(transport=transport, base_url=ORIGIN) as http:
                return await http.request(method, path, headers=sent, **how)

        answer = self.world.runner.run(go())
        given = answer.headers.get("set-cookie", "")
        if given.startswith("session="):
            self.cookie = given.removeprefix("session=").partition(";")[0] or None
        return answer

    def get(self, path: str, **how: Any) -> httpx.Response:
        return self.send("GET", path, **how)

    def post(self, path: str, fields: Mapping[str, str], **how: Any) -> httpx.Response:
        return self.send("POST", path, data=dict(fields), **how)

    def json(self, path: str, value: object, **how: Any) -> httpx.Response:
        return self.send("POST", path, json=value, headers={"accept": "application/json", **how})

    def assertion(self, challenge: bytes) -> dict[str, str]:
        """What a browser gives back, but for the faults."""
        found = json.loads(Path(self.world.person(self.login)["console_key_file"]).read_text())
        key = derive_private_key(int(found["p256_private"], 16), SECP256R1())
        bent = {
            "type": "webauthn.get", "origin": ORIGIN, "rp": "console.localhost", "flags": 0x05, "challenge": challenge,
            **self.faults,
        }
        client_data = json.dumps({
            "type": bent["type"], "challenge": text(bent["challenge"]), "origin": bent["origin"], "crossOrigin": False,
        }).encode()
        data = hashlib.sha256(bent["rp"].encode()).digest() + bytes([bent["flags"]]) + bytes(4)
        signature = key.sign(data + hashlib.sha256(client_data).digest(), ECDSA(SHA256()))
        return {
            "authenticator_data": text(data), "client_data": text(client_data),
            "credential": text(bytes.fromhex(found["credential_id"])), "signature": text(signature),
        }

    def sign_in(self) -> httpx.Response:
        """By the sandbox's link."""
        challenge = self.json("/sign-in/challenge", {}).json()["challenge"]
        handed = self.json("/sign-in/hand-off", self.assertion(bytes.fromhex(challenge)))
        if handed.status_code != 200:
            return handed
        return self.get(handed.json()["link"].removeprefix(ORIGIN))

    def step_up(self, act: str, fields: Mapping[str, str]) -> str:
        """The field that a form carries when the person has said yes to it."""
        asked = self.json("/step-up", {"act": act, "fields": dict(fields)}).json()
        return json.dumps(self.assertion(bytes.fromhex(asked["challenge"])))


def text(raw: bytes) -> str:
    return urlsafe_b64encode(raw).decode().rstrip("=")
