"""What wallets hold by the ledger and by the chain, and how much of it was signed."""

import asyncio

import asyncpg
from tests.conftest import Database
from tests.domain.policy_document import NETWORK, USDC
from tests.store.organisation import create

from strongroom.domain.instant import Instant
from strongroom.store.reconciliations import Found, keep
from strongroom.store.wallets import HotWallet, Seen, read_wallets


def test_the_newest_that_watch_found_is_told_beside_the_ledger(database: Database) -> None:
    async def go() -> None:
        organisation = await create(database.owner_dsn, opening_minor=100)
        owner = await asyncpg.connect(database.owner_dsn)
        assert await read_wallets(owner, organisation.id) == [HotWallet(USDC, 100, None)]
        for chain, is_whole in ((100, True), (70, False), (60, True)):
            await keep(
                owner, Found(organisation.id, NETWORK, USDC, chain, "ab" * 32, chain, 100, 60, is_whole), Instant(5)
            )
        seen = Seen(NETWORK, 60, "ab" * 32, 100, 60, 40, is_whole=True, at=Instant(5))
        assert await read_wallets(owner, organisation.id) == [HotWallet(USDC, 100, seen)]
        await owner.close()

    asyncio.run(go())
