"""When something of ours fails the client hears so, and neither a trace nor a secret; and it comes back by itself."""

import asyncio
import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import httpx
import pytest
from tests.api.server import DEPLOYMENT, ApiProcess, Owner, api_process
from tests.api.signer import JSON, Unsigned, sign
from tests.api.world import EVM, Organisation, address, create_world, declaration, fresh_key, payout, refused
from tests.conftest import ROLE_PASSWORD, renamed

from strongroom.store.migrate import migrate
from strongroom.store.organisations import record_deployment
from strongroom.store.postgres import DATABASE, Cluster

RECOVERY_S = 20
SECRETS = (ROLE_PASSWORD, "postgresql://", "strongroom_owner", "Traceback", "asyncpg", "SELECT", ".py")


@pytest.fixture
def own(
    postgres_cluster: Cluster, tmp_path: Path
) -> Iterator[tuple[ApiProcess, Owner, httpx.Client]]:
    """An API and a database that a test may break."""
    with (
        api_process(postgres_cluster, tmp_path, "api_broken") as (api, owner),
        httpx.Client(base_url=api.url, timeout=30, trust_env=False) as client,
    ):
        yield api, owner, client


def says_nothing(answer: httpx.Response) -> None:
    for secret in SECRETS:
        assert secret not in answer.text


def test_a_fault_of_ours_is_500_and_says_nothing_of_its_cause(
    own: tuple[ApiProcess, Owner, httpx.Client]
) -> None:
    api, owner, client = own
    world = create_world(api, owner, client)
    made = world.paid(world.declared())
    owner.execute("REVOKE SELECT ON strongroom.runs FROM strongroom_api")
    answer = world.payer.get("/v1/payout-runs")
    problem = refused(answer, "internal")
    says_nothing(answer)
    assert problem["request_id"] in api.log.read_text()  # where people find the cause
    assert "permission denied" in api.log.read_text()
    assert world.payer.get(f"/v1/payouts/{made['id']}").status_code == 200  # and all else goes on
    owner.execute("GRANT SELECT ON strongroom.runs TO strongroom_api")
    assert world.payer.get("/v1/payout-runs").status_code == 200


def test_a_process_whose_writer_met_the_impossible_answers_and_stops(
    own: tuple[ApiProcess, Owner, httpx.Client]
) -> None:
    """The policy gets an asset without a wallet, which whoever writes policies must never let happen."""
    api, owner, client = own
    world = create_world(api, owner, client)
    to = world.declared()
    token = f"{EVM}/erc20:{address()}"
    document = json.loads(owner.value("SELECT document FROM strongroom.policies WHERE organisation = $1", world.id))
    rule = next(each for each in document["assets"] if each["symbol"] == "USDC")
    document["assets"].append({**rule, "asset": token, "symbol": "NEW"})
    document["version"] = 2
    owner.execute(
        "INSERT INTO strongroom.policies VALUES ($1, 2, $2, 1)", world.id, json.dumps(document).encode())
    deadline = time.monotonic() + 5
    answer = world.payer.post("/v1/payouts", payout(to, asset=token), fresh_key())
    while answer.json()["code"] == "asset_unknown" and time.monotonic() < deadline:
        time.sleep(0.2)  # a new policy is seen within a second
        answer = world.payer.post("/v1/payouts", payout(to, asset=token), fresh_key())
    refused(answer, "unavailable")
    says_nothing(answer)
    assert api.ended(10) == 1
    assert "no wallet" in api.log.read_text()


def test_postgres_killed_under_it_is_503_until_it_is_back(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="strongroom-test-") as folder:
        Path(folder).chmod(0o755)
        cluster = Cluster(Path(folder))
        cluster.start()
        try:
            _check_with_a_cluster_of_its_own(cluster, tmp_path)
        finally:
            cluster.kill()


def _check_with_a_cluster_of_its_own(cluster: Cluster, folder: Path) -> None:
    asyncio.run(_prepare(cluster))
    api = ApiProcess(folder, cluster.dsn("strongroom_api", ROLE_PASSWORD, DATABASE)).start()
    try:
        with httpx.Client(base_url=api.url, timeout=40, trust_env=False) as client:
            _kill_and_recover(cluster, api, client)
    finally:
        assert api.stop() == 0


async def _prepare(cluster: Cluster) -> None:
    await migrate(cluster.owner_dsn)
    connection = await asyncpg.connect(renamed(cluster.owner_dsn, DATABASE))
    await connection.execute(f"ALTER ROLE strongroom_api PASSWORD '{ROLE_PASSWORD}'")
    await record_deployment(connection, DEPLOYMENT, b"{}", 1)  # type: ignore[arg-type]  # an instant
    await connection.close()


def _kill_and_recover(cluster: Cluster, api: ApiProcess, client: httpx.Client) -> None:
    owner = Owner(renamed(cluster.owner_dsn, DATABASE))
    world = create_world(api, owner, client)
    to = world.declared()
    known = world.paid(to)
    owner.close()
    request = Unsigned("POST", "/v1/payouts", "", json.dumps(payout(to)).encode(), JSON, fresh_key())
    cluster.kill()
    for number in range(3):
        answers = [
            world.payer.get("/v1/payouts"), world.payer.get(f"/v1/payouts/{known['id']}/receipt"),
            world.payer.send(request), world.payer.post("/v1/payouts/preview", payout(to)),
            world.declarer.post("/v1/beneficiaries", declaration(), fresh_key()),
            client.get("/v1/balances", headers={"Authorization": f"Bearer {world.bearer}"}),
        ]
        for answer in answers:
            refused(answer, "unavailable")
            says_nothing(answer)
            assert int(answer.headers["retry-after"]) >= 1
        if number == 0:
            assert client.get("/livez").status_code == 200
    assert client.get("/readyz").status_code == 503
    cluster.start()
    recovered(world, request, api)
    assert world.payer.get(f"/v1/payouts/{known['id']}").json() == known  # nothing that was answered is gone
    assert len(world.payer.get("/v1/payouts").json()["data"]) == 2


def recovered(world: Organisation, request: Unsigned, api: ApiProcess) -> None:
    """The same request again is recorded, once."""
    deadline = time.monotonic() + RECOVERY_S
    while not api.ready() and time.monotonic() < deadline:
        time.sleep(0.1)
    answer = world.payer.send(request, sign(request, world.payer.profile))
    assert answer.status_code == 201, answer.text
    again = world.payer.send(request)
    assert (again.status_code, again.content) == (201, answer.content)


def test_a_process_that_is_told_to_stop_answers_what_it_has_taken(
    own: tuple[ApiProcess, Owner, httpx.Client]
) -> None:
    api, owner, client = own
    world = create_world(api, owner, client)
    to = world.declared()
    assert world.payer.post("/v1/payouts", payout(to), fresh_key()).status_code == 201
    client.close()
    assert api.stop() == 0
    assert "Traceback" not in api.log.read_text()


def test_a_second_process_on_one_database_is_refused(
    own: tuple[ApiProcess, Owner, httpx.Client], tmp_path: Path
) -> None:
    first, _, _ = own
    (tmp_path / "second").mkdir()
    config = json.loads(first.config.read_text())
    second = ApiProcess(tmp_path / "second", config["database_url"])
    with pytest.raises(AssertionError, match="another intake writer"):
        second.start()
    assert first.ready()


def test_a_database_of_another_deployment_is_refused(
    own: tuple[ApiProcess, Owner, httpx.Client], tmp_path: Path
) -> None:
    first, _, _ = own
    (tmp_path / "second").mkdir()
    url = json.loads(first.config.read_text())["database_url"]
    with pytest.raises(AssertionError, match="of deployment 0123456789abcdef") as fault:
        ApiProcess(tmp_path / "second", url, deployment="f" * 16).start()
    assert ROLE_PASSWORD not in str(fault.value)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"listen": "0.0.0.0:8420"}, "isn't loopback"), ({"metrics_listen": "192.168.1.1:1"}, "isn't loopback"),
        ({"listen": "127.0.0.1"}, "listen: must be"), ({"listen": "127.0.0.1:99999"}, "listen: must be"),
        ({"deployment": "x"}, "deployment"), ({"colour": 1}, "colour"), ({"body_timeout_ms": 0}, "body_timeout_ms"),
    ],
)
def test_a_configuration_that_is_wrong_names_its_field(
    tmp_path: Path, change: dict[str, object], words: str
) -> None:
    api = ApiProcess(tmp_path, "postgresql://nobody@127.0.0.1:1/none", **change)
    with pytest.raises(AssertionError, match="ended at once") as fault:
        api.start()
    assert words in str(fault.value)
    assert "Traceback" not in str(fault.value)
