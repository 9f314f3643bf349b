"""One API process for all tests of this folder, and an organisation of its own for each module."""

from collections.abc import Iterator

import httpx
import pytest
from tests.api.server import ApiProcess, Owner, api_process
from tests.api.world import Organisation, create_world

from strongroom.store.postgres import Cluster


@pytest.fixture(scope="session")
def api_and_owner(
    postgres_cluster: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[ApiProcess, Owner]]:
    with api_process(postgres_cluster, tmp_path_factory.mktemp("api"), "api_shared", body_timeout_ms=1_500) as made:
        yield made


@pytest.fixture(scope="session")
def api(api_and_owner: tuple[ApiProcess, Owner]) -> ApiProcess:
    return api_and_owner[0]


@pytest.fixture(scope="session")
def owner(api_and_owner: tuple[ApiProcess, Owner]) -> Owner:
    return api_and_owner[1]


@pytest.fixture(scope="session")
def http(api: ApiProcess) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=api.url, timeout=30, trust_env=False) as client:
        yield client


@pytest.fixture(scope="module")
def world(api: ApiProcess, owner: Owner, http: httpx.Client) -> Organisation:
    return create_world(api, owner, http)
