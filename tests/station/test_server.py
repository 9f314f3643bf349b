"""The station's server: what it hands out, to whom, under which policy; and that its bundle is what it says."""

import json
import re
import signal
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.guard.process import Process, eventually
from tests.signer.world import World
from tests.station.office import Office, config_of, free_origin

from strongroom.protocol.station_bundle import bundle_hash
from strongroom.sandbox import parts
from strongroom.station.app import BUNDLE
from strongroom.station.config import ConfigError, read_config

FONTS = {
    "inter.woff2": "inter/files/inter-latin-wght-normal.woff2",
    "jetbrains-mono.woff2": "jetbrains-mono/files/jetbrains-mono-latin-wght-normal.woff2",
}
MARKUP = (
    r"innerHTML|outerHTML|insertAdjacent|document\.write|\beval\b|new Function|postMessage|localStorage|DOMParser|"
    r"srcdoc|\.on[a-z]+ ?="
)
NOT_SERVED = {".md", ".txt"}


def ask(office: Office, path: str, method: str = "GET", **headers: str) -> httpx.Response:
    port, host = office.origin.rpartition(":")[2], office.origin.partition("://")[2]
    url = f"http://127.0.0.1:{port}{path}"
    return httpx.request(method, url, headers={"host": host, **headers}, trust_env=False)


@pytest.fixture
def configured(world: World) -> dict[str, Any]:
    (origin,) = world.book.genesis.relying_party.origins
    return config_of(origin, "https://console.example", "https://guard.example", world)


def test_the_process_serves_its_files_until_it_is_told_to_stop(tmp_path: Path, configured: dict[str, Any]) -> None:
    file = tmp_path / "station.json"
    file.write_text(json.dumps(configured))
    with Process("strongroom.station.main", file) as process:
        assert eventually(lambda: process.process.poll() is not None or "the bundle is" in process.log)
        url, host = f"http://{configured['listen']}/bundle.json", configured["origin"].partition("://")[2]
        bundle: list[Any] = []

        def answers() -> bool:
            try:
                bundle.append(httpx.get(url, headers={"host": host}, trust_env=False).json())
            except httpx.TransportError:
                return False
            return True

        assert eventually(answers), process.log
        assert bundle[-1]["hash"] in process.log
        process.process.send_signal(signal.SIGTERM)
        assert process.wait() == 0


def test_a_process_without_a_configuration_says_so_and_ends(tmp_path: Path) -> None:
    with Process("strongroom.station.main", tmp_path / "gone.json") as process:
        assert process.wait() == 1
        assert "gone.json" in process.log


def test_every_answer_has_the_policy(office: Office) -> None:
    for answer in (ask(office, "/"), ask(office, "/nothing"), ask(office, "/", "POST"), ask(office, "/", host="x")):
        policy = answer.headers["content-security-policy"]
        guard = re.findall(r"http://guard[^ ;]*", policy)[0]
        assert policy == (
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; "
            f"connect-src 'self' {office.console.origin} {guard}; form-action 'none'; "
            "frame-ancestors 'none'; base-uri 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
        )
        assert {name: answer.headers[name] for name in (
            "x-content-type-options", "referrer-policy", "cross-origin-opener-policy", "cross-origin-resource-policy",
            "cache-control", "x-frame-options",
        )} == {
            "x-content-type-options": "nosniff", "referrer-policy": "no-referrer", "x-frame-options": "DENY",
            "cross-origin-opener-policy": "same-origin", "cross-origin-resource-policy": "same-origin",
            "cache-control": "no-store",
        }
        allowed = [each for each in answer.headers["permissions-policy"].split(", ") if not each.endswith("=()")]
        assert allowed == ["publickey-credentials-create=(self)", "publickey-credentials-get=(self)"]
        assert "access-control-allow-origin" not in answer.headers
        assert "set-cookie" not in answer.headers


@pytest.mark.parametrize(("path", "method", "status"), [
    ("/", "GET", 200), ("/", "HEAD", 200), ("/main.js", "GET", 200), ("/fonts/inter.woff2", "GET", 200),
    ("/", "POST", 405), ("/", "OPTIONS", 405), ("/config.json", "PUT", 405), ("/index.html", "GET", 404),
    ("/?x=1", "GET", 404), ("/main.js/", "GET", 404), ("//main.js", "GET", 404), ("/%6dain.js", "GET", 404),
    ("/../config.py", "GET", 404), ("/fonts/README.md", "GET", 404), ("/fonts/", "GET", 404),
])
def test_exact_paths_are_read_and_nothing_else(office: Office, path: str, method: str, status: int) -> None:
    answer = ask(office, path, method)
    assert answer.status_code == status
    assert (answer.content == b"") == (method == "HEAD")


@pytest.mark.parametrize("host", ["127.0.0.1", "console.localhost", "station.localhost", "station.localhost:1"])
def test_it_answers_to_its_own_name_only(office: Office, host: str) -> None:
    assert ask(office, "/", host=host).status_code == 421


def test_the_bundles_hash_is_over_everything_that_is_served(office: Office) -> None:
    said = ask(office, "/bundle.json").json()
    found = {path: sha256(ask(office, path).content).hexdigest() for path in said["files"]}
    assert found == said["files"]
    assert bundle_hash(found) == said["hash"]
    files = [file for file in BUNDLE.rglob("*") if file.is_file() and file.suffix not in NOT_SERVED]
    served = {file.relative_to(BUNDLE).as_posix() for file in files}
    assert set(found) == {"/" if name == "index.html" else f"/{name}" for name in served} | {"/config.json"}
    for path in found:  # one changed file, or one renamed, is another bundle
        assert bundle_hash({**found, path: "0" * 64}) != said["hash"]
    assert bundle_hash({**found, "/more.js": "0" * 64}) != said["hash"]


def test_the_fonts_are_those_of_their_packages_to_the_byte() -> None:
    manifest = (BUNDLE / "fonts/README.md").read_text()
    packages = parts.node_modules(print) / "node_modules/@fontsource-variable"
    for name, file in FONTS.items():
        raw = (BUNDLE / "fonts" / name).read_bytes()
        assert raw == (packages / file).read_bytes()
        assert sha256(raw).hexdigest() in manifest
        assert file.partition("/")[2] in manifest


def test_no_script_makes_markup_of_text() -> None:
    """What Trusted Types would stop in a browser isn't even tried."""
    for file in BUNDLE.glob("*.js"):
        assert not re.search(MARKUP, file.read_text()), file.name


@pytest.mark.parametrize(("field", "value", "reason"), [
    ("listen", "0.0.0.0:1", "listen: 0.0.0.0 isn't loopback"), ("listen", "127.0.0.1", "listen"),
    ("listen", "999.0.0.1:1", "listen"), ("origin", "http://station.localhost:1/", "origin"),
    ("origin", "https://other.example", "relying_party_id"), ("deployment", "x", "deployment"),
    ("statement_public_key", "ab", "statement_public_key"), ("guard_origin", "guard", "guard_origin"),
    ("unknown", "x", "unknown"), ("console_origin", "http://station.localhost:9", "console_origin: must be of another"),
])
def test_a_wrong_configuration_is_refused_by_its_field(
    tmp_path: Path, configured: dict[str, Any], field: str, value: str, reason: str
) -> None:
    file = tmp_path / "station.json"
    file.write_text(json.dumps({**configured, field: value}))
    with pytest.raises(ConfigError, match=re.escape(reason)):
        read_config(file)


def test_a_free_origin_is_one(tmp_path: Path, configured: dict[str, Any]) -> None:
    file = tmp_path / "station.json"
    file.write_text(json.dumps(configured))
    assert read_config(file).authority == configured["origin"].removeprefix("http://")
    assert free_origin("a.localhost").startswith("http://a.localhost:")
