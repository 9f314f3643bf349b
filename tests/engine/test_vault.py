"""Payouts by a vault on a real EVM node, with a real signer and a real database: planned, signed, sent, settled."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.conftest import Database
from tests.contracts.vault import Vault
from tests.engine.vault_road import open_vault_road, vault_on_node


@pytest.fixture(scope="module")
def founded_vault() -> Iterator[Vault]:
    with vault_on_node() as vault:
        yield vault


@pytest.fixture
def vault(founded_vault: Vault) -> Iterator[Vault]:
    snapshot = founded_vault.node.snapshot()
    yield founded_vault
    founded_vault.node.revert(snapshot)


def test_payouts_in_two_tokens_go_out_as_two_batches_and_settle_to_the_unit(
    tmp_path: Path, database: Database, vault: Vault
) -> None:
    async def story() -> None:
        async with open_vault_road(tmp_path, database, vault) as road:
            for number in range(3):
                await road.pay(f"coin{number}", 1_000 + number)
                await road.pay(f"tether{number}", 2_000 + number, asset=road.asset_of(vault.usdt))
            await road.settle()
            assert set((await road.states()).values()) == {"settled"}
            assert [road.paid(f"coin{number}") for number in range(3)] == [1_000, 1_001, 1_002]
            assert [road.paid(f"tether{number}", vault.usdt) for number in range(3)] == [2_000, 2_001, 2_002]
            assert [(state, len(call.items)) for state, call in await road.calls()] == [("settled", 3), ("settled", 3)]
            assert [call.nonce for _, call in await road.calls()] == [0, 1]
            assert await road.is_balanced()

    asyncio.run(story())
