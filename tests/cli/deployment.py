"""A deployment of one's own, founded as docs/operations.md says, on the simulated chain: every step is a command.

People have software keys, so genesis says `sandbox`; all else is as in production, and each process a real one."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from tests.api.server import Owner
from tests.cli.command import Done, command, eventually
from tests.cli.test_init import Ceremony, Running
from tests.conftest import ROLE_PASSWORD, _execute, renamed
from tests.ports import PortBlock, port_block
from tests.protocol.passkey import Passkey
from tests.rails.chain import Chain, running_chain
from tests.signer.world import payee

from strongroom.cli.database import ROLES
from strongroom.formats import simulated
from strongroom.protocol.canonical import record_hash
from strongroom.protocol.genesis import GENESIS_TYPE
from strongroom.store.postgres import Cluster

OPENING = 500_000_000_000
TREASURY = payee("the treasury")
FINALITY = 2
CLIENTS = ("payouts", "beneficiaries", "reader")


class Deployment:
    """What its people have in front of them, a profile among it."""

    def __init__(self, folder: Path, cluster: Cluster, chain: Chain, ports: PortBlock) -> None:
        self.folder, self.chain, self.ports = folder, chain, ports
        self.ceremony = Ceremony(folder)
        self.owner_url = renamed(cluster.owner_dsn, f"own_{ports.base}")
        self.role_url = {name: cluster.dsn(name, ROLE_PASSWORD, f"own_{ports.base}") for name in ROLES}
        self.processes: list[Any] = []

    def file(self, name: str) -> str:
        return str(self.folder / name)

    def good(self, *arguments: str) -> str:
        done = command(*arguments)
        assert done.code == 0, done.err
        return done.out.strip()

    def __call__(self, *arguments: str) -> Done:
        """A command with the profile."""
        return command(*arguments, "--profile", self.file("profile.json"))

    def found(self) -> None:
        """Steps 1 to 5: keys, the two documents, genesis."""
        self.ceremony.make_keys()
        self.good("init", "draft", "--team", "3", "--policy", self.file("policy.json"), "--roster",
                  self.file("roster.json"))
        publics = [self.good("init", "key", "--out", self.file(f"{name}.key")) for name in CLIENTS]
        policy, roster = (json.loads((self.folder / f"{name}.json").read_text()) for name in ("policy", "roster"))
        for client, public in zip(roster["clients"], publics, strict=True):
            client["custodians"] = []
            client["keys"][0]["public_key"] = public
        for number, person in enumerate(roster["people"]):
            person["name"] = f"{('Ada', 'Ben', 'Cleo')[number]} Example"
            person["credentials"] = [self._software_key(number)]
        self.ceremony.policy, self.ceremony.roster = _on_the_simulated_chain(policy), roster
        done = self.ceremony.genesis(
            mode="sandbox", relying_party="localhost", origin="http://station.localhost:8422"
        )
        assert done.code == 0, done.err

    def _software_key(self, number: int) -> dict[str, str]:
        scalar = {"credential_id": f"{number + 1:064x}", "p256_private": f"{1_000 + number:064x}"}
        (self.folder / f"{number}.passkey").write_text(json.dumps(scalar))
        public = Passkey(seed=1_000 + number).public_key.hex()
        return {"class": "software", "id": scalar["credential_id"], "public_key": public}

    def start_core(self) -> None:
        """Steps 6 to 8: guard, the journal, the signer, the organisation."""
        raw = (self.folder / "genesis.json").read_bytes()
        self.good("init", "journal", "--folder", self.file("signer"), "--genesis", self.file("genesis.json"))
        genesis = httpx.get(f"{self.chain.url}/identity", trust_env=False).json()["genesis"]
        self.nodes = {simulated.NETWORK: {"genesis": genesis, "url": self.chain.url}}
        self.running = Running(self.ceremony, record_hash(GENESIS_TYPE, raw).hex(), self.ports, self.nodes)
        eventually("the signer is ready", lambda: "ready at" in self.running.said("signer"), 60)
        self.good("init", "organisation", "--admin-socket", self.file("admin.sock"), *self.documents)

    @property
    def documents(self) -> tuple[str, ...]:
        return ("--policy", self.file("policy.json"), "--roster", self.file("roster.json"))

    def database(self, **changes: str) -> Done:
        """Step 9."""
        options = {
            "owner": self.file("owner.url"), "genesis": self.file("genesis.json"), "policy": self.file("policy.json"),
            "roster": self.file("roster.json"), "name": "Example Rides", "passwords": self.file("passwords.json"),
            "opening": f"SIM={OPENING}",
        } | changes
        return command("init", "database", *(each for name, value in options.items() for each in (f"--{name}", value)))

    def start_product(self) -> None:
        """Step 10: watch, engine and API, with what was printed and made before."""
        deployment = record_hash(GENESIS_TYPE, (self.folder / "genesis.json").read_bytes()).hex()[:16]
        guard = f"http://127.0.0.1:{self.running.officers_port}"
        api, metrics = f"127.0.0.1:{self.ports.take()}", f"127.0.0.1:{self.ports.take()}"
        self.running.serve("watch", {
            "database_url": self.role_url["strongroom_watch"], "checkpoint_key_file": self.file("checkpoint.key"),
            "origin": f"strongroom/{deployment}", "last_checkpoint_file": self.file("last_checkpoint"),
            "nodes": self.nodes, "guard_url": guard, "deployment": deployment,
        })
        self.running.serve("engine", {
            "database_url": self.role_url["strongroom_engine"], "nodes": self.nodes, "guard_url": guard,
            "signer_socket": self.file("engine.sock"),
        })
        self.running.serve("api", {
            "listen": api, "authority": api, "database_url": self.role_url["strongroom_api"], "deployment": deployment,
            "metrics_listen": metrics,
        })
        self.urls = ("--api-url", f"http://{api}", "--guard-url", guard)
        self.make_profile("profile", "payouts", "beneficiaries")
        self.make_profile("approver", "reader")
        eventually("the API is ready", lambda: _is_ready(f"http://{api}/readyz"), 60)

    def make_profile(self, name: str, *clients: str) -> None:
        """With these clients' keys; people have the software keys that a sandbox's genesis allows."""
        file = self.folder / f"{name}.json"
        keys = [part for each in clients for part in ("--client-key", self.file(f"{each}.key"))]
        self.good(
            "init", "profile", "--genesis", self.file("genesis.json"), *self.documents, *self.urls, *keys,
            "--admin-socket", self.file("admin.sock"), "--out", str(file),
        )
        profile = json.loads(file.read_text())
        for number, person in enumerate(profile["people"]):
            person["software_key_file"] = f"{number}.passkey"
        file.write_text(json.dumps(profile))

    def fund(self) -> None:
        done = self("wallet", "address", "--count", "2")
        assert done.code == 0, done.err
        for address in done.out.split():
            self.chain.fund(address, OPENING // 2)
        self.chain.mine(FINALITY)

    def end(self) -> None:
        if hasattr(self, "running"):
            self.running.end()


def _on_the_simulated_chain(policy: dict[str, Any]) -> dict[str, Any]:
    asset = {
        "asset": simulated.ASSET, "symbol": "SIM", "decimals": 8, "network": simulated.NETWORK,
        "maximum_minor": str(10**15), "ceiling": {"units": "1000000", "reference_minor": "1"},
    }
    wallet = {
        "network": simulated.NETWORK, "fee_asset": simulated.ASSET, "fee_maximum_minor": "5000000",
        "fee_rate_maximum": "20000", "finality_blocks": FINALITY, "treasury": TREASURY,
    }
    cooling = dict.fromkeys(policy["cooling_off_ms"], 0)
    return {**policy, "assets": [asset], "wallets": [wallet], "cooling_off_ms": cooling}


def _is_ready(url: str) -> bool:
    try:
        return httpx.get(url, timeout=1, trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False


@contextmanager
def deployment(folder: Path, cluster: Cluster) -> Iterator[Deployment]:
    """An empty database, a chain, and nothing else: what is founded is the test's to say."""
    with port_block() as ports, running_chain(folder) as chain:
        made = Deployment(folder, cluster, chain, ports)
        asyncio.run(_execute(cluster, f"CREATE DATABASE own_{ports.base}"))
        (folder / "owner.url").write_text(made.owner_url + "\n")
        (folder / "passwords.json").write_text(json.dumps(dict.fromkeys(ROLES, ROLE_PASSWORD)))
        try:
            yield made
        finally:
            made.end()
            asyncio.run(_execute(cluster, f"DROP DATABASE own_{ports.base} WITH (FORCE)"))


def rows(made: Deployment, sql: str, *arguments: object) -> list[Any]:
    """Behind the API, as the owner sees it."""
    owner = Owner(made.owner_url)
    try:
        return owner.fetch(sql, *arguments)
    finally:
        owner.close()
