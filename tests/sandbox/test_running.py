"""A running sandbox: what its document says is there, secrets are its owner's alone, and what dies comes back."""

import asyncio
import hashlib
import json
import os
import signal
import stat
import subprocess
import time
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
from nacl.signing import SigningKey
from tests.sandbox.box import Box

from strongroom.sandbox.process import Known, start_time
from strongroom.sdk.signing import Credentials, sign

pytestmark = pytest.mark.sandbox

CHAINED = {"BTC", "SIM", "USDC", "USDT", "ETH"}
"""Of a chain that watch reads."""
PROCESSES = {"api", "watch", "postgres", "bitcoin", "evm", "guardian"}
IS_ROOT = os.geteuid() == 0


def owner_query(document: dict[str, Any], sql: str) -> Any:
    async def go() -> Any:
        owner = await asyncpg.connect(document["database_url"])
        try:
            return await owner.fetchval(sql)
        finally:
            await owner.close()

    return asyncio.run(go())


def get(document: dict[str, Any], client: str, path: str) -> httpx.Response:
    """A call signed with one of the document's keys."""
    known = document["clients"][client]
    seed = bytes.fromhex(Path(known["private_key_file"]).read_text().strip())
    credentials = Credentials(
        document["organisation"], known["client_id"], known["key_id"], document["deployment"], SigningKey(seed)
    )
    url = document["api_url"]
    headers = sign(credentials, "GET", url.removeprefix("http://"), path, "", None, None)
    return httpx.get(url + path, headers=headers, timeout=10, trust_env=False)


def evm_call(document: dict[str, Any], method: str, *parameters: object) -> Any:
    request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": parameters}
    return httpx.post(document["evm"]["rpc_url"], json=request, timeout=10, trust_env=False).json()["result"]


def in_vault(document: dict[str, Any], symbol: str) -> int:
    """What the organisation's vault holds of a token, by the token."""
    token = document["assets"][symbol].removeprefix("eip155:31337/erc20:")
    data = "0x70a08231" + document["evm"]["hot_vault"][2:].lower().rjust(64, "0")  # balanceOf(address)
    held = evm_call(document, "eth_call", {"to": token, "data": data}, "latest")
    return int(held.removeprefix("0x") or "0", 16)


def asked(document: dict[str, Any], contract: str, selector: str) -> str:
    """What a function without arguments answers: the selector is the first four bytes of its signature's hash."""
    return str(evm_call(document, "eth_call", {"to": contract, "data": selector}, "latest"))


def operator_of(document: dict[str, Any]) -> str:
    """Whose calls the organisation's vault takes."""
    return "0x" + asked(document, document["evm"]["hot_vault"], "0x570ca735")[-40:]  # operator()


def evm_ether(document: dict[str, Any], account: str) -> int:
    return int(evm_call(document, "eth_getBalance", account, "latest"), 16)


def bitcoin_call(document: dict[str, Any], method: str, *parameters: object, wallet: str = "") -> Any:
    name, _, password = Path(document["bitcoin"]["cookie_file"]).read_text().strip().partition(":")
    url = document["bitcoin"]["rpc_url"] + (f"/wallet/{wallet}" if wallet else "/")
    request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": parameters}
    return httpx.post(url, json=request, auth=(name, password), timeout=10, trust_env=False).json()["result"]


def test_the_document_says_what_exists(sandbox: Box) -> None:
    document = sandbox.document()
    assert document["ready"] is True
    genesis = owner_query(document, "SELECT genesis FROM strongroom.deployment")
    kind = json.loads(genesis)["type"].encode()
    assert document["deployment"] == hashlib.sha256(kind + b"\0" + genesis).hexdigest()[:16]
    assert document["api_url"] == f"http://127.0.0.1:{sandbox.base}"
    assert set(document["clients"]) == {"payouts", "beneficiaries", "activities", "readonly"}
    for client in ("payouts", "beneficiaries"):
        assert get(document, client, "/v1/beneficiaries").status_code == 200
    bearer = {"Authorization": f"Bearer {document['clients']['readonly']['bearer']}"}
    assert httpx.get(f"{document['api_url']}/v1/balances", headers=bearer, trust_env=False).status_code == 200
    for person in document["people"]:
        assert set(person) == {
            "id", "name", "roles", "groups", "login", "software_key_file", "console_key_file"}
        assert Path(person["console_key_file"]).exists()
        assert Path(person["software_key_file"]).exists()
    assert set(document["assets"]) >= {"BTC", "USDC", "USDT", "EUR"}
    block = bitcoin_call(document, "getblockhash", 0)
    assert document["assets"]["BTC"] == f"bip122:{block[:32]}/slip44:0"
    assert int(evm_call(document, "eth_chainId"), 16) == 31337
    for symbol in ("USDC", "USDT"):
        token = document["assets"][symbol].removeprefix("eip155:31337/erc20:")
        assert len(evm_call(document, "eth_getCode", token, "latest")) > 1_000
    assert in_vault(document, "USDC") == in_vault(document, "USDT") == 10_000_000 * 10**6
    safe = "0x" + asked(document, document["evm"]["hot_vault"], "0x8da5cb5b")[-40:]  # owner()
    assert int(asked(document, safe, "0xe75235b8"), 16) == 2  # getThreshold()
    assert int(asked(document, safe, "0xa0e67e2b")[66:130], 16) == 3  # getOwners(), whose count is its second word
    assert set(document["pids"]) >= PROCESSES
    assert all(start_time(pid) is not None for pid in document["pids"].values())


def test_status_asks_the_processes_and_doctor_finds_nothing_bad(sandbox: Box) -> None:
    found = sandbox.status()
    assert found["ready"]
    assert set(found["processes"]) >= PROCESSES
    assert all(each["running"] for each in found["processes"].values())
    assert start_time(found["supervisor"]) is not None
    deadline = time.monotonic() + 40
    while True:  # watch may not have looked at all chains yet
        assets = {each["symbol"]: each for each in sandbox.status()["assets"]}
        assert set(assets) >= CHAINED
        if all(assets[symbol]["is_equal"] for symbol in CHAINED):
            break
        assert time.monotonic() < deadline, assets
        time.sleep(0.2)
    assert all(assets[symbol]["ledger"] == assets[symbol]["chain"] for symbol in CHAINED)
    shown = sandbox.run("status")
    assert shown.returncode == 0
    assert all(name in shown.stdout for name in PROCESSES)
    doctor = sandbox.run("doctor", "--ports", str(sandbox.base), "--json")
    assert doctor.returncode == 0, doctor.stdout
    assert {each["what"] for each in json.loads(doctor.stdout)} >= {"python", "disk", "postgres", "sandbox"}


def test_up_again_leaves_everything_as_it_is(sandbox: Box) -> None:
    before = sandbox.document()
    again = sandbox.up("--json")
    assert again.returncode == 0
    assert json.loads(again.stdout) == before == sandbox.document()


def test_files_with_secrets_are_their_owners_alone(sandbox: Box) -> None:
    modes: dict[str, int] = {}
    for path in (sandbox.data, *sandbox.data.rglob("*")):
        mode = path.lstat().st_mode
        name = str(path.relative_to(sandbox.data))
        if stat.S_ISDIR(mode):  # others may at most pass through to what is theirs
            assert mode & 0o066 == 0, f"{name} is {mode:o}"
        elif stat.S_ISREG(mode):
            shared = 0o040 if path.name == "notices.jsonl" else 0  # what guard writes for notify, by two names
            assert mode & 0o077 & ~shared == 0, f"{name} is {mode:o}"
            modes[name] = stat.S_IMODE(mode)
    passed_through = {".", "notices", "postgres", "run"}
    for path in sandbox.data.iterdir():
        if path.is_dir() and path.name not in passed_through:
            assert stat.S_IMODE(path.stat().st_mode) == 0o700, path.name
    secrets = [name for name in modes if name.endswith((".key", ".passkey", "sandbox.json", "config.json"))]
    assert len(secrets) >= 12
    for name in (*secrets, "roles.json", "deployment.json", "postgres/owner_password", "bitcoin/regtest/.cookie"):
        assert modes[name] == 0o600, f"{name} is {modes[name]:o}"


def test_processes_are_users_of_their_own_or_say_that_they_are_not(sandbox: Box) -> None:
    document = sandbox.document()
    users = {name: Path(f"/proc/{pid}").stat().st_uid for name, pid in document["pids"].items()}
    isolation = document["isolation"]
    assert set(isolation) == set(document["pids"]) - {"postgres"}
    for name, said in isolation.items():
        assert (said == "a user of its own") is (users[name] != os.geteuid()), name
    if not IS_ROOT:
        assert set(isolation.values()) == {"not isolated"}
        return
    assert len({users["api"], users["watch"], users["postgres"], 0}) == 4
    others = {
        users["api"]: ("watch/config.json", "watch/checkpoint.key", "sandbox.json", "postgres/owner_password"),
        users["watch"]: ("api/config.json", "roles.json", "guard.key", "keys"),
        users["postgres"]: ("checkpoint.key", "api/config.json", "deployment.json"),
    }
    for user, files in others.items():
        for file in files:
            read = subprocess.run(
                ["ls" if file == "keys" else "cat", str(sandbox.data / file)], user=user, group=user, extra_groups=[],
                capture_output=True, check=False,
            )
            assert (sandbox.data / file).exists()
            assert read.returncode != 0, f"user {user} reads {file}"
    own = subprocess.run(
        ["cat", str(sandbox.data / "api/config.json")], user=users["api"], group=users["api"], extra_groups=[],
        capture_output=True, check=False,
    )
    assert own.returncode == 0  # what stops the others isn't in everybody's way


def test_a_fresh_organisation_has_keys_wallets_and_the_same_form(sandbox: Box) -> None:
    made = sandbox.run("sandbox", "organisation", "--name", "Another")
    assert made.returncode == 0, made.stderr
    document, first = json.loads(made.stdout), sandbox.document()
    assert set(document) == set(first)
    assert document["organisation"] != first["organisation"]
    assert document["evm"]["hot_vault"] != first["evm"]["hot_vault"]
    assert in_vault(document, "USDC") == 10_000_000 * 10**6
    assert evm_ether(document, operator_of(document)) == 10 * 10**18
    policy = json.loads((sandbox.data / "keys" / document["organisation"] / "policy.json").read_text())
    wallets = {each["network"]: each.get("vault") for each in policy["wallets"]}
    assert wallets["eip155:31337"] == document["evm"]["hot_vault"]
    answer = get(document, "payouts", "/v1/balances")
    assert answer.status_code == 200
    assert {row["asset"] for row in answer.json()["data"]} == set(document["assets"].values())
    assert all(int(row["available"]) > 0 for row in answer.json()["data"] if row["account"] == "wallet:hot")


def test_what_is_killed_comes_back_and_works(sandbox: Box) -> None:
    before = sandbox.document()["pids"]
    for name in sorted(PROCESSES):
        known = Known(before[name], start_time(before[name]) or 0)
        known.signal(signal.SIGKILL)
    deadline = time.monotonic() + 40
    while True:
        after = sandbox.document()["pids"]
        if all(after.get(name, before[name]) != before[name] for name in PROCESSES) and sandbox.status()["ready"]:
            break
        assert time.monotonic() < deadline, (sandbox.data / "progress.log").read_text()
        time.sleep(0.2)
    document = sandbox.document()
    assert get(document, "payouts", "/v1/balances").status_code == 200
    for symbol in ("USDC", "USDT"):
        while in_vault(document, symbol) != 10_000_000 * 10**6:
            assert time.monotonic() < deadline
            time.sleep(0.2)
    while "miner" not in bitcoin_call(document, "listwallets"):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    to = bitcoin_call(document, "getnewaddress", wallet="miner")
    sent = bitcoin_call(document, "sendtoaddress", to, "0.5", wallet="miner")
    while bitcoin_call(document, "gettransaction", sent, wallet="miner")["confirmations"] < 1:
        assert time.monotonic() < deadline  # a block a second is mined while something waits
        time.sleep(0.2)


def test_a_member_is_told_of_a_pending_change_by_a_message_in_a_folder(sandbox: Box) -> None:
    """As guard writes it, which has its own tests: what is shown is that notify's user may read it."""
    person = sandbox.document()["people"][0]
    line = {
        "change": "ab" * 32, "delay_ms": 86_400_000, "document": "policy", "name": person["name"],
        "organisation": sandbox.document()["organisation"], "people": ["Cleo Example"], "person": person["id"],
        "since_ms": 1_800_000_000_000,
    }
    with (sandbox.data / "guard" / "store" / "notices.jsonl").open("a") as handle:
        handle.write(json.dumps(line) + "\n")
    new, ends = sandbox.data / "notify" / "mail" / "new", time.monotonic() + 20
    while not (new.is_dir() and list(new.iterdir())):
        assert time.monotonic() < ends, (sandbox.data / "notify.log").read_text()
        time.sleep(0.05)
    (message,) = new.iterdir()
    assert f"strongroom veto {'ab' * 32}" in message.read_text()
    if IS_ROOT:
        assert message.stat().st_uid != (sandbox.data / "guard" / "store" / "notices.jsonl").stat().st_uid
