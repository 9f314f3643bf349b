"""A connection profile: made from the documents of a deployment, checked field by field, used as sandbox.json is."""

import copy
import http.server
import json
import re
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from tests.cli.command import command
from tests.cli.conftest import Sandbox
from tests.cli.maker import private_key

from strongroom.cli.approve import get
from strongroom.cli.output import Exit, Stop
from strongroom.cli.profile import read_profile
from strongroom.cli.profiling import make_profile

WHOLE: dict[str, Any] = {
    "type": "strongroom/profile/v1", "api_url": "https://api.example.org", "guard_url": "https://guard.example.org:8423",
    "deployment": "0123456789abcdef", "organisation": "org_" + "a" * 26, "statement_public_key": "1" * 64,
    "guard_public_key": "2" * 64, "checkpoint_public_key": "3" * 64, "ca_file": "ca.pem",
    "relying_party": {"id": "example.org", "origin": "https://station.example.org"},
    "assets": {"BTC": "bip122:000000000019d6689c085ae165831e93/slip44:0"}, "admin_socket": "/run/admin.sock",
    "clients": {"payouts": {
        "client_id": "cl_" + "a" * 26, "key_id": "ak_" + "a" * 26, "private_key_file": "payouts.key",
        "scopes": ["payouts:create"],
    }},
    "people": [{
        "id": "pe_" + "a" * 26, "name": "Ada", "login": "ada", "roles": ["approver"], "groups": ["treasury"],
        "credential_ids": ["0a"],
    }],
}


def written(folder: Path, document: Any) -> Path:
    file = folder / "profile.json"
    file.write_text(json.dumps(document))
    return file


def test_a_whole_profile_is_read_and_its_files_stand_beside_it(tmp_path: Path) -> None:
    profile = read_profile(written(tmp_path, WHOLE))
    assert profile["ca_file"] == str(tmp_path / "ca.pem")
    assert profile["admin_socket"] == "/run/admin.sock"
    assert profile["clients"]["payouts"]["private_key_file"] == str(tmp_path / "payouts.key")
    assert profile["people"] == WHOLE["people"]


@pytest.mark.parametrize(("field", "value"), [
    ("type", "strongroom/profile/v2"), ("api_url", "http://api.example.org"), ("api_url", "api.example.org"),
    ("api_url", 7), ("guard_url", "https://user@guard.example.org"), ("guard_url", ""), ("deployment", "0123"),
    ("organisation", "org_1"), ("statement_public_key", "1" * 63), ("guard_public_key", "G" * 64),
    ("checkpoint_public_key", None), ("relying_party", []), ("relying_party.id", ""), ("relying_party.origin", 1),
    ("relying_party.name", "x"), ("assets", []), ("assets.BTC", 1), ("clients", 1), ("clients.payouts", 1),
    ("clients.payouts.client_id", "cl_"), ("clients.payouts.key_id", "x"), ("clients.payouts.private_key_file", ""),
    ("clients.payouts.scopes", ["all"]), ("clients.payouts.scopes", ["payouts:create", "beneficiaries:create"]),
    ("clients.payouts.more", 1), ("people", {}), ("people[0].id", "pe_"), ("people[0].name", ""),
    ("people[0].login", "A B"), ("people[0].roles", ["king"]), ("people[0].groups", "treasury"),
    ("people[0].credential_ids", ["0A"]), ("people[0].credential_ids", [""]), ("people[0].software_key_file", 1),
    ("people[0].pin", "1234"), ("private_key", "1" * 64),
])
def test_what_is_wrong_in_a_profile_is_named(tmp_path: Path, field: str, value: Any) -> None:
    document = copy.deepcopy(WHOLE)
    *road, last = field.replace("[0]", ".0").split(".")
    inner: Any = document
    for step in road:
        inner = inner[int(step)] if step.isdigit() else inner[step]
    inner[last] = value
    if field == "checkpoint_public_key":  # null is as if it weren't there
        with pytest.raises(Stop, match="checkpoint_public_key: is missing, and this command needs it"):
            _ = read_profile(written(tmp_path, document))["checkpoint_public_key"]
        return
    with pytest.raises(Stop) as stop:
        read_profile(written(tmp_path, document))
    assert (stop.value.code, f"profile.json: {field}" in stop.value.message) == (Exit.FAILED, True), stop.value.message


def test_two_people_of_one_login_and_files_that_are_no_profile_are_refused(tmp_path: Path) -> None:
    twice = {**WHOLE, "people": WHOLE["people"] * 2}
    with pytest.raises(Stop, match=r"people\[1\]\.login: stands there twice"):
        read_profile(written(tmp_path, twice))
    (tmp_path / "profile.json").write_text("{")
    with pytest.raises(Stop, match="can't be read"):
        read_profile(tmp_path / "profile.json")
    done = command("approve", "--profile", str(tmp_path / "none.json"))
    assert (done.code, "there is no profile" in done.err) == (Exit.NOT_FOUND, True), done


def test_what_a_command_needs_and_the_profile_lacks_is_said(tmp_path: Path) -> None:
    lacking = {name: value for name, value in WHOLE.items() if name not in ("guard_url", "ca_file")}
    file = written(tmp_path, lacking)
    done = command("unfreeze", "--as", "ada", "--profile", str(file))
    assert (done.code, "guard_url: is missing" in done.err) == (Exit.USAGE, True), done


@contextmanager
def tls_server(folder: Path) -> Iterator[str]:
    """One that shows a certificate of its own authority."""
    key = private_key(611)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder().issuer_name(name).subject_name(name).public_key(key.public_key()).serial_number(1)
        .not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False)
        .sign(key, SHA256())
    )
    (folder / "ca.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
    (folder / "tls.key").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'{"organisations": {}}')

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "ca.pem", folder / "tls.key")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"https://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_peer_is_believed_by_the_profiles_authority_and_by_no_other(tmp_path: Path) -> None:
    with tls_server(tmp_path) as url:
        known = read_profile(written(tmp_path, WHOLE))
        assert get(known, url) == {"organisations": {}}
        stranger = {name: value for name, value in WHOLE.items() if name != "ca_file"}
        with pytest.raises(Stop, match="CERTIFICATE_VERIFY_FAILED"):
            get(read_profile(written(tmp_path, stranger)), url)
    with pytest.raises(Stop, match=r"ca_file: .* can't be read as certificates"):
        get(read_profile(written(tmp_path, {**WHOLE, "ca_file": "none.pem"})), url)


def test_a_profile_of_the_sandboxs_documents_pays_freezes_and_unfreezes(
    sandbox: Sandbox, asked: list[str], tmp_path: Path
) -> None:
    """Nothing of sandbox.json is used but where things answer, and who has which software passkey."""
    known = sandbox.document
    keys = sandbox.data / "keys" / known["organisation"]
    file = tmp_path / "profile.json"
    made = [
        "init", "profile", "--genesis", str(sandbox.data / "genesis.json"), "--roster", str(keys / "roster.json"),
        "--policy", str(keys / "policy.json"), "--api-url", known["api_url"], "--guard-url", known["guard_url"],
        "--client-key", str(keys / "payouts.key"), "--client-key", str(keys / "beneficiaries.key"), "--out", str(file),
    ]
    done = command(*made)
    assert done.code == 0, done.err
    assert command(*made).code == Exit.REFUSED
    profile = json.loads(file.read_text())
    for name in ("deployment", "organisation", "statement_public_key", "checkpoint_public_key", "relying_party",
                 "assets"):
        assert profile[name] == known[name], name
    assert [each["login"] for each in profile["people"]] == [each["login"] for each in known["people"]]
    for person, other in zip(profile["people"], known["people"], strict=True):
        person["software_key_file"] = other["software_key_file"]
    file.write_text(json.dumps(profile))

    paid = command("payout", "create", *asked, "--profile", str(file), "--json")
    assert paid.code == 0, paid.err
    listed = command("payout", "show", paid.json()["id"], STRONGROOM_PROFILE=str(file))
    assert listed.code == 0, listed.err
    frozen = command("freeze", "--scope", "asset:iso4217:EUR", "--as", "cleo", STRONGROOM_PROFILE=str(file))
    assert frozen.code == 0, frozen.err
    freed = command(
        "unfreeze", "--scope", "asset:iso4217:EUR", "--as", "cleo", "--as", "dan", STRONGROOM_PROFILE=str(file)
    )
    assert freed.code == 0, freed.err


def test_no_profile_is_made_of_what_doesnt_belong_together(sandbox: Sandbox, tmp_path: Path) -> None:
    known = sandbox.document
    keys = sandbox.data / "keys" / known["organisation"]
    roster = json.loads((keys / "roster.json").read_text())
    other = tmp_path / "roster.json"
    other.write_text(json.dumps({**roster, "people": roster["people"][::-1]}))
    stranger = tmp_path / "stranger.key"
    stranger.write_text("7" * 64)

    whole: dict[str, Any] = {
        "genesis": sandbox.data / "genesis.json", "roster": keys / "roster.json", "policy": keys / "policy.json",
        "api_url": known["api_url"], "guard_url": known["guard_url"], "client_key": [keys / "payouts.key"],
        "out": tmp_path / "made.json",
    }
    wrong: tuple[tuple[dict[str, Any], str], ...] = (
        ({"roster": other}, "isn't the roster that genesis names"),
        ({"client_key": [stranger]}, "is no client's of this roster"),
        ({"client_key": [tmp_path / "none"]}, "can't be read as a key"),
        ({"client_key": [keys / "payouts.key"] * 2}, "is the second that is called payouts"),
        ({"api_url": "http://api.example.org"}, "api_url: must be https"),
        ({"genesis": keys / "policy.json"}, "type"),
    )
    for changes, said in wrong:
        with pytest.raises(Stop, match=re.escape(said)) as stop:
            make_profile(**{**whole, **changes})
        assert (stop.value.code, (tmp_path / "made.json").exists()) == (Exit.FAILED, False)
