"""The loopback signer: what passes through unaltered, and what it never signs."""

import http.client
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from tests.cli.command import Running, command
from tests.cli.conftest import Sandbox


def ask(
    url: str, method: str, path: str, body: bytes | None = None, **headers: str
) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)
    try:
        connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    finally:
        connection.close()


def started(*options: str) -> tuple[Running, str]:
    running = Running("proxy", "--port", "0", *options)
    return running, running.wait_for("signs as").split()[0]


@pytest.fixture(scope="module")
def proxy(sandbox: Sandbox) -> Iterator[str]:
    running, url = started("--data", str(sandbox.data))
    yield url
    done = running.interrupt()
    assert done.code == 0, done
    assert "ended" in done.out


def test_a_program_that_signs_nothing_gets_the_apis_own_answers(
    sandbox: Sandbox, proxy: str, rosa: dict[str, Any]
) -> None:
    body = json.dumps({
        "beneficiary": rosa["id"], "destination_digest": rosa["destination"]["digest"], "amount": "7700",
        "asset": sandbox.document["assets"]["SIM"], "external_id": "by proxy",
    }).encode()
    json_type = {"Content_Type": "application/json"}
    status, headers, made = ask(proxy, "POST", "/v1/payouts", body, Idempotency_Key="by-proxy", **json_type)
    assert status == 201, made
    assert headers["request-id"].startswith("req_")
    status, headers, again = ask(proxy, "POST", "/v1/payouts", body, Idempotency_Key="by-proxy", **json_type)
    assert (status, headers["idempotent-replayed"]) == (201, "true")
    assert json.loads(again)["id"] == json.loads(made)["id"]
    status, headers, listed = ask(proxy, "GET", "/v1/payouts?external_id=by%20proxy&limit=1")
    assert (status, len(json.loads(listed)["data"])) == (200, 1)
    status, headers, refused = ask(proxy, "POST", "/v1/payouts", body, **json_type)
    assert (status, json.loads(refused)["code"]) == (400, "idempotency_key_required")
    assert headers["content-type"] == "application/problem+json"
    status, _, refused = ask(proxy, "POST", "/v1/payouts", b"{", Idempotency_Key="x", **json_type)
    assert (status, json.loads(refused)["code"]) == (400, "malformed")
    assert ask(proxy, "GET", "/v1/nothing")[0] == 404
    assert ask(proxy, "GET", "/v1/audit/checkpoint")[2].startswith(b"strongroom/")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "attacker.example"}, 403),
        ({"Host": "attacker.example:80"}, 403),
        ({"Origin": "https://attacker.example"}, 403),
        ({"Sec_Fetch_Site": "cross-site"}, 403),
        ({"Idempotency_Key": "two words"}, 400),
        ({"Transfer_Encoding": "chunked"}, 411),
        ({"Content_Length": "99999999"}, 413),
    ],
)
def test_nothing_is_signed_for_a_web_page_or_a_malformed_request(
    proxy: str, headers: dict[str, str], status: int
) -> None:
    """The attacker has a page in the operator's browser, and wants it to ask for a payout through the proxy."""
    found, _, body = ask(proxy, "POST", "/v1/payouts", **headers)
    assert (found, json.loads(body)["code"]) == (status, "proxy_refused")


@pytest.mark.parametrize(
    ("path", "status"), [("http://attacker.example/", 403), ("//attacker.example/", 404), ("v1", 400), ("@x:1/", 400)]
)
def test_it_reaches_the_api_and_nothing_else(proxy: str, path: str, status: int) -> None:
    assert ask(proxy, "GET", path)[0] == status


def test_it_listens_on_loopback_only(proxy: str) -> None:
    port = int(urlsplit(proxy).port or 0)
    wanted = f":{port:04X}"
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    assert [row[1] for row in rows if row[1].endswith(wanted) and row[3] == "0A"] == ["0100007F" + wanted]


def test_a_token_keeps_other_programs_out(sandbox: Sandbox, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("a token of twenty characters\n")
    running, url = started("--data", str(sandbox.data), "--token-file", str(token))
    try:
        assert ask(url, "GET", "/v1/payouts")[0] == 401
        assert ask(url, "GET", "/v1/payouts", Authorization="Bearer a token of twenty character")[0] == 401
        assert ask(url, "GET", "/v1/payouts", Authorization="Bearer a token of twenty characters")[0] == 200
    finally:
        running.interrupt()


def key_file(sandbox: Sandbox, folder: Path, **changes: Any) -> Path:
    known = sandbox.document["clients"]["payouts"]
    found = {name: sandbox.document[name] for name in ("api_url", "deployment", "organisation")}
    found |= {name: known[name] for name in ("client_id", "key_id", "private_key_file")}
    file = folder / "key.json"
    file.write_text(json.dumps({name: value for name, value in (found | changes).items() if value is not None}))
    file.chmod(0o600)
    return file


def test_a_key_file_serves_without_a_sandbox_and_says_when_the_api_is_away(sandbox: Sandbox, tmp_path: Path) -> None:
    running, url = started("--key-file", str(key_file(sandbox, tmp_path)))
    try:
        assert ask(url, "GET", "/v1/payouts")[0] == 200
    finally:
        running.interrupt()
    running, url = started("--key-file", str(key_file(sandbox, tmp_path, api_url="http://127.0.0.1:25999")))
    try:
        status, _, body = ask(url, "GET", "/v1/payouts")
        assert (status, json.loads(body)["code"]) == (502, "unreachable")
    finally:
        running.interrupt()


def test_a_bad_key_file_is_refused_by_name(sandbox: Sandbox, tmp_path: Path) -> None:
    file = key_file(sandbox, tmp_path, key_id=None)
    done = command("proxy", "--key-file", str(file))
    assert (done.code, "lacks key_id" in done.err) == (2, True)
    file.chmod(0o644)
    done = command("proxy", "--key-file", str(file))
    assert (done.code, "can be read by others" in done.err) == (4, True)
    done = command("proxy", "--key-file", str(key_file(sandbox, tmp_path, api_url="http://example.com")))
    assert (done.code, "loopback" in done.err) == (2, True)
    done = command("proxy", "--key-file", str(tmp_path / "none"))
    assert done.code == 3
    done = command("proxy", "--key-file", str(key_file(sandbox, tmp_path, private_key_file="none")))
    assert done.code == 3
