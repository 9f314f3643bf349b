"""The genesis ceremony as people do it, in production: until the signer is locked, agrees with guard, and refuses."""

import http.client
import json
import os
import resource
import socket
import subprocess
import time
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from nacl.signing import SigningKey
from tests.cli.command import PROGRAM, Done, command, environment, eventually
from tests.cli.maker import enrolment, write_makers
from tests.ports import PortBlock, port_block
from tests.protocol.passkey import Passkey
from tests.signer.world import payee

from strongroom.advice.quorums import roster_warnings
from strongroom.cli.founding import FoundingError, read_founders
from strongroom.cli.skeleton import FILL_IN, TEAMS, skeleton
from strongroom.domain.instant import Instant
from strongroom.formats import simulated
from strongroom.protocol.canonical import record_hash
from strongroom.protocol.control import HEARTBEAT_TYPE
from strongroom.protocol.genesis import GENESIS_TYPE, Mode, parse_genesis
from strongroom.protocol.guard_wire import sign_frame
from strongroom.protocol.roster import CredentialClass
from strongroom.protocol.signer_wire import Ask
from strongroom.protocol.watch_record import heartbeat_record
from strongroom.sandbox.trusted import SignerRefusedError, ask_signer

CAN_LOCK = os.geteuid() == 0 or resource.getrlimit(resource.RLIMIT_MEMLOCK)[1] == resource.RLIM_INFINITY
"""Whether a signer that we start may lock its memory, which production asks for."""


def credential(number: int) -> dict[str, Any]:
    """Of a person's key; `Ceremony` has its enrolment."""
    key = Passkey(seed=1_000 + number)
    return {"class": "terminal", "id": f"{number:064x}", "public_key": key.public_key.hex()}


def filled(team: int = 3) -> tuple[dict[str, Any], dict[str, Any]]:
    """The proposal for a team, with what only the team knows."""
    policy, roster = skeleton(team)
    for number, person in enumerate(roster["people"]):
        person["name"] = f"Person {number}"
        person["credentials"] = [credential(number)]
    for number, client in enumerate(roster["clients"]):
        client["custodians"] = []
        client["keys"][0]["public_key"] = bytes(SigningKey(bytes([number + 1]) * 32).verify_key).hex()
    return policy, roster


@dataclass
class Ceremony:
    """What the people have in front of them."""

    folder: Path
    policy: dict[str, Any] = field(default_factory=dict)
    roster: dict[str, Any] = field(default_factory=dict)
    keys: dict[str, str] = field(default_factory=dict)

    def init(self, *arguments: str) -> Done:
        return command("init", *arguments)

    def good(self, *arguments: str) -> str:
        done = self.init(*arguments)
        assert done.code == 0, done.err
        return done.out.strip()

    def make_keys(self) -> None:
        recipients = [self.good("identity", "--out", str(self.folder / f"{name}.identity")) for name in ("own", "safe")]
        self.keys["statement"] = self.good(
            "keys", "--folder", str(self.folder / "signer"), "--recipient", recipients[0], "--recipient", recipients[1]
        )
        for name in ("guard", "checkpoint"):
            self.keys[name] = self.good("key", "--out", str(self.folder / f"{name}.key"))

    def write(self) -> None:
        for name in ("policy", "roster"):
            (self.folder / f"{name}.json").write_text(json.dumps(getattr(self, name), indent=3))

    def enrolments(self) -> Iterator[str]:
        """The options for all that keys have vouched for, as `init credential` writes them."""
        yield from ("--makers", str(write_makers(self.folder)))
        for number, person in enumerate(self.roster["people"]):
            kinds = {CredentialClass(each["class"]) for each in person["credentials"]}
            for kind in kinds - {CredentialClass.SOFTWARE}:
                file = self.folder / f"{number}.enrolment.json"
                file.write_bytes(enrolment(1_000 + number, number.to_bytes(32), credential_class=kind).encode())
                yield from ("--enrolment", str(file))

    def genesis(self, **changes: str) -> Done:
        self.write()
        options = {
            "mode": "production", "statement-key": self.keys["statement"], "guard-key": self.keys["guard"],
            "checkpoint-key": self.keys["checkpoint"], "relying-party": "example.org",
            "origin": "https://station.example.org", "policy": str(self.folder / "policy.json"),
            "roster": str(self.folder / "roster.json"), "out": str(self.folder / "genesis.json"),
        } | {name.replace("_", "-"): value for name, value in changes.items()}
        named = (each for name, value in options.items() for each in (f"--{name}", value))
        return self.init("genesis", *named, *self.enrolments())


@pytest.fixture
def ceremony(tmp_path: Path) -> Ceremony:
    policy, roster = filled()
    keys = {name: f"{number}" * 64 for number, name in enumerate(("statement", "guard", "checkpoint"), start=1)}
    return Ceremony(tmp_path, policy, roster, keys)


class Running:
    """Guard, link and the signer, as `serve` starts them."""

    def __init__(
        self, ceremony: Ceremony, genesis_hash: str, ports: PortBlock, nodes: dict[str, Any] | None = None
    ) -> None:
        self.folder = ceremony.folder
        self.signer_port, self.officers_port = ports.take(), ports.take()
        (self.folder / "guard").mkdir(mode=0o700)
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.listeners = {name: self._listen(name) for name in ("engine", "admin", "link")}
        self.serve("guard", {
            "folder": str(self.folder / "guard"), "marker_file": str(self.folder / "marker"),
            "key_file": str(self.folder / "guard.key"), "genesis_hash": genesis_hash,
            "signer_listen": f"127.0.0.1:{self.signer_port}", "officers_listen": f"127.0.0.1:{self.officers_port}",
            "nodes": nodes or {},
        })
        self.serve("link", {
            "guard_host": "127.0.0.1", "guard_port": self.signer_port, "signer_socket": str(self.folder / "link.sock"),
        })
        with (self.folder / "own.identity").open() as identity:
            numbers = {name: each.fileno() for name, each in self.listeners.items()}
            self.serve("signer", {
                "folder": str(self.folder / "signer"), "identity": identity.fileno(), "engine_user": os.geteuid(),
                "admin_user": os.geteuid(), **numbers,
            }, (identity.fileno(), *numbers.values()))

    def _listen(self, name: str) -> socket.socket:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(self.folder / f"{name}.sock"))
        listener.listen(4)
        return listener

    def serve(self, name: str, config: dict[str, Any], inherited: tuple[int, ...] = ()) -> None:
        file = self.folder / f"{name}.json"
        file.write_text(json.dumps(config))
        with (self.folder / f"{name}.log").open("wb") as log:
            self.processes[name] = subprocess.Popen(
                [PROGRAM, "serve", name, "--config", str(file)], stderr=log, stdout=log, pass_fds=inherited,
                env=environment(),
            )

    def said(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text()

    def beat(self, deployment: str) -> str:
        """As watch does; guard's lease."""
        key = SigningKey(bytes.fromhex((self.folder / "checkpoint.key").read_text()))
        frame = sign_frame(key, heartbeat_record(deployment, Instant(time.time_ns() // 1_000_000)), HEARTBEAT_TYPE)
        connection = http.client.HTTPConnection("127.0.0.1", self.officers_port, timeout=10)
        connection.request("POST", "/v1/heartbeat", json.dumps({"frame": b64encode(frame).decode()}))
        answer = json.loads(connection.getresponse().read())
        connection.close()
        return str(answer["lease"])

    def ask(self, channel: str, ask: Ask, **body: Any) -> Any:
        return ask_signer(self.folder / f"{channel}.sock", ask, body)

    def end(self) -> None:
        for process in reversed(self.processes.values()):
            process.kill()
            process.wait()
        for listener in self.listeners.values():
            listener.close()


@pytest.fixture
def founded(tmp_path: Path) -> Iterator[tuple[Ceremony, dict[str, Any], Running]]:
    """All of docs/operations.md's walk-through, up to a signer that begins."""
    policy, roster = filled()
    made = Ceremony(tmp_path, policy, roster)
    made.make_keys()
    done = made.genesis()
    assert done.code == 0, done.err
    raw = (tmp_path / "genesis.json").read_bytes()
    genesis_hash = record_hash(GENESIS_TYPE, raw).hex()
    assert genesis_hash in done.out
    deployment = made.good("journal", "--folder", str(tmp_path / "signer"), "--genesis", str(tmp_path / "genesis.json"))
    assert deployment == genesis_hash[:16]
    with port_block() as ports:
        running = Running(made, genesis_hash, ports)
        yield made, {"deployment": deployment, "hash": genesis_hash}, running
        running.end()


def test_the_whole_ceremony_in_production(founded: tuple[Ceremony, dict[str, Any], Running]) -> None:
    ceremony, told, running = founded
    if not CAN_LOCK:
        assert running.processes["signer"].wait(20) == 1
        assert "can't be locked down: memory locked" in running.said("signer")
        return
    eventually("the signer is ready", lambda: "ready at" in running.said("signer"), 30)
    assert "not locked down" not in running.said("signer")
    status = running.ask("admin", Ask.STATUS)
    assert (status["deployment"], status["organisations"]) == (told["deployment"], {})

    files = ("--policy", str(ceremony.folder / "policy.json"), "--roster", str(ceremony.folder / "roster.json"))
    door = ("organisation", "--admin-socket", str(ceremony.folder / "admin.sock"))
    let_in = ceremony.good(*door, *files)
    assert let_in == f"{ceremony.policy['organisation']} is in"
    assert "in already" in ceremony.good(*door, *files)
    # Another policy for the organisation that genesis names.
    ceremony.policy["fee_budget_reference_minor"] = "99999999"
    ceremony.write()
    refused = ceremony.init(*door, *files)
    assert refused.code == 4, refused
    assert "change-quorum" in refused.err

    # An organisation that genesis doesn't name, with a wallet on the simulated chain: it gets in and is paid nothing.
    policy, roster = filled()
    for key, client in enumerate(roster["clients"]):
        client["keys"][0]["public_key"] = bytes(SigningKey(bytes([key + 9]) * 32).verify_key).hex()
    text = json.dumps(policy).replace(policy["assets"][0]["asset"], simulated.ASSET)
    ceremony.policy = json.loads(text.replace(policy["assets"][0]["network"], simulated.NETWORK))
    ceremony.roster = roster
    ceremony.write()
    ceremony.good(*door, *files)
    eventually("guard lends", lambda: running.beat(told["deployment"]) == "all", 10)
    eventually("the lease is there", lambda: running.ask("admin", Ask.STATUS)["lease"] == "all", 10)
    coin = simulated.Input(b"\1" * 32, 0, 10_500, payee("coin"))
    raw = simulated.encode_unsigned(simulated.Transaction((coin,), (simulated.Output(10_000, payee("payee")),)))
    with pytest.raises(SignerRefusedError, match=r"bytes-read: there is no wallet on sim:sandbox here"):
        running.ask(
            "engine", Ask.SIGN, organisation=ceremony.policy["organisation"], operation="pay", approvals=[],
            network=simulated.NETWORK, transaction=b64encode(raw).decode(), paths=[{"generation": 0, "index": 0}],
            items=[{"payout": "po_x"}],
        )
    assert running.processes["signer"].poll() is None


def test_what_genesis_means_is_said_in_words(ceremony: Ceremony) -> None:
    done = ceremony.genesis()
    assert done.code == 0, done.err
    for said in (
        "up to 250.00 USD: nobody", "above 250.00 USD, up to 10,000.00 USD: 1 person",
        "above 10,000.00 USD, up to 250,000.00 USD: 2 people of 2 groups", "above 250,000.00 USD: refused",
        "Person 0 (treasury, officers)", "2 of the 3 in officers change policy and roster, after 1 day, and unfreeze",
    ):
        assert said in done.out
    assert parse_genesis((ceremony.folder / "genesis.json").read_bytes()).mode is Mode.PRODUCTION


def test_one_away_and_a_policy_that_is_dangerous_are_warned_of(ceremony: Ceremony) -> None:
    ceremony.policy["cooling_off_ms"]["declared"] = 0
    ceremony.roster["clients"][0]["custodians"] = [ceremony.roster["people"][0]["id"]]
    done = ceremony.genesis()
    assert done.code == 0, done.err
    warned = done.out.partition("Think again about")[2]
    assert "cooling_off_ms.declared: is no" in warned
    assert "nobody is paid when Person 1 or Person 2 is away" in warned


def test_the_same_documents_give_the_same_hashes_however_they_are_written(ceremony: Ceremony) -> None:
    assert ceremony.genesis().code == 0
    first = parse_genesis((ceremony.folder / "genesis.json").read_bytes())
    (ceremony.folder / "policy.json").write_text(json.dumps(ceremony.policy, sort_keys=True, indent=1))
    found = read_founders(ceremony.folder / "policy.json", ceremony.folder / "roster.json", Mode.PRODUCTION)
    assert found.founding == first.organisations[0]


def software(ceremony: Ceremony) -> None:
    ceremony.roster["people"][0]["credentials"][0]["class"] = "software"


def unfilled(ceremony: Ceremony) -> None:
    ceremony.roster["clients"][0]["keys"][0]["public_key"] = FILL_IN


def browsers_govern(ceremony: Ceremony) -> None:
    for person in ceremony.roster["people"]:
        if "officers" in person["groups"]:
            person["credentials"][0]["class"] = "browser"


def no_credentials(ceremony: Ceremony) -> None:
    for person in ceremony.roster["people"][:2]:
        person["credentials"] = []


def simulated_chain(ceremony: Ceremony) -> None:
    asset = ceremony.policy["assets"][0]
    text = json.dumps(ceremony.policy).replace(asset["asset"], simulated.ASSET)
    ceremony.policy = json.loads(text.replace(asset["network"], simulated.NETWORK))


def another_organisation(ceremony: Ceremony) -> None:
    ceremony.roster["organisation"] = "org_" + "z" * 26


def second_version(ceremony: Ceremony) -> None:
    ceremony.policy |= {"version": 2, "previous": "0" * 64}


def two_faults(ceremony: Ceremony) -> None:
    ceremony.policy["reference_currency"] = ""
    ceremony.policy["tiers"] = []


def nothing(_: Ceremony) -> None:
    pass


@pytest.mark.parametrize(
    ("change", "options", "code", "said"),
    [
        (software, {}, 1, "software keys are for sandboxes only"),
        (unfilled, {}, 1, "clients[0].keys[0].public_key"),
        (no_credentials, {}, 4, "asks 2 people of 2 groups with credentials"),
        (no_credentials, {}, 4, "officers has no quorum with credentials"),
        (browsers_govern, {}, 4, "nobody of officers has a credential of class terminal"),
        (simulated_chain, {}, 4, "sim:sandbox is the simulated chain, which pays nobody"),
        (another_organisation, {}, 1, "is another than the policy's"),
        (second_version, {}, 1, "a deployment begins with version 1"),
        (two_faults, {}, 1, "tiers"),
        (two_faults, {}, 1, "reference_currency"),
        (nothing, {"origin": "http://station.example.org"}, 1, "isn't for production"),
        (nothing, {"origin": "https://station.localhost", "relying_party": "localhost"}, 1, "isn't for production"),
        (nothing, {"origin": "https://station.example.com"}, 1, "isn't of example.org"),
        (nothing, {"origin": "https://station.example.org/approve"}, 1, "without a path"),
        (nothing, {"origin": "https://10.0.0.1", "relying_party": "10.0.0.1"}, 4, "is an address"),
        (nothing, {"guard_key": "ab"}, 1, "--guard-key: must be 64 hex digits"),
        (nothing, {"guard_key": "1" * 64}, 4, "the three keys must be three"),
        (nothing, {"mode": "rehearsal"}, 2, "--mode"),
        (nothing, {"policy": "/none.json"}, 1, "/none.json"),
    ],
)
def test_no_genesis_is_made_that_must_not_be(
    change: Any, options: dict[str, str], code: int, said: str, ceremony: Ceremony
) -> None:
    change(ceremony)
    done = ceremony.genesis(**options)
    assert (done.code, "Traceback" in done.err) == (code, False), done
    assert said in done.err
    assert not (ceremony.folder / "genesis.json").exists()


def test_a_sandbox_may_have_what_production_refuses(ceremony: Ceremony) -> None:
    software(ceremony)
    simulated_chain(ceremony)
    done = ceremony.genesis(mode="sandbox", origin="http://station.localhost:8422", relying_party="localhost")
    assert done.code == 0, done.err


@pytest.mark.parametrize("team", TEAMS)
def test_a_proposal_works_with_anyone_away_and_is_refused_until_it_is_filled_in(team: int, tmp_path: Path) -> None:
    drafted = command(
        "init", "draft", "--team", str(team), "--policy", str(tmp_path / "p"), "--roster", str(tmp_path / "r")
    )
    assert drafted.code == 0, drafted.err
    policy, roster = filled(team)
    assert len(roster["people"]) == team
    made = Ceremony(tmp_path, policy, roster)
    made.write()
    founders = read_founders(tmp_path / "policy.json", tmp_path / "roster.json", Mode.PRODUCTION)
    warned = [each.reason for each in roster_warnings(founders.policy, founders.roster)]
    assert [reason for reason in warned if "away" in reason or "can't" in reason or "alone" in reason] == []
    with pytest.raises(FoundingError, match="credentials"):
        read_founders(tmp_path / "p", tmp_path / "r", Mode.PRODUCTION)


def test_nothing_is_made_twice_and_secrets_are_their_owners(ceremony: Ceremony) -> None:
    ceremony.make_keys()
    folder = ceremony.folder
    before = {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()}
    assert {file.stat().st_mode & 0o777 for file in before if file.suffix in (".identity", ".key", ".age")} == {0o600}
    assert (folder / "signer").stat().st_mode & 0o777 == 0o700
    recipient = (folder / "own.identity").read_text().split()[3]
    for again in (
        ["identity", "--out", str(folder / "own.identity")], ["key", "--out", str(folder / "guard.key")],
        ["keys", "--folder", str(folder / "signer"), "--recipient", recipient],
    ):
        done = ceremony.init(*again)
        assert done.code in (1, 4)
        assert "is there already" in done.err
    assert ceremony.genesis().code == 0
    assert ceremony.genesis().code == 4
    journal = ["journal", "--folder", str(folder / "signer"), "--genesis", str(folder / "genesis.json")]
    assert ceremony.init(*journal).code == 0
    begun = (folder / "signer/journal").read_bytes()
    assert ceremony.init(*journal).code == 1
    assert (folder / "signer/journal").read_bytes() == begun
    assert all(file.read_bytes() == raw for file, raw in before.items())


def test_a_key_file_for_nobody_or_in_an_open_folder_is_not_made(tmp_path: Path) -> None:
    wrong = command("init", "keys", "--folder", str(tmp_path / "signer"), "--recipient", "age1nobody")
    assert (wrong.code, "can't be encrypted" in wrong.err) == (1, True)
    (tmp_path / "open").mkdir(mode=0o755)
    (tmp_path / "open").chmod(0o755)
    shared = command("init", "keys", "--folder", str(tmp_path / "open"), "--recipient", "age1nobody")
    assert (shared.code, "other users can enter" in shared.err) == (1, True)


def test_no_signer_to_let_an_organisation_in_is_said(ceremony: Ceremony) -> None:
    ceremony.write()
    done = ceremony.init(
        "organisation", "--admin-socket", str(ceremony.folder / "none.sock"),
        "--policy", str(ceremony.folder / "policy.json"), "--roster", str(ceremony.folder / "roster.json"),
    )
    assert (done.code, "doesn't answer" in done.err) == (5, True)
