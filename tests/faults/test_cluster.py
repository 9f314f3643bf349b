"""The launcher's kill is the end of all of PostgreSQL's processes, as a power cut is; not of the first alone."""

import asyncio
from pathlib import Path

import asyncpg
import pytest
from tests.faults.deployment import descendants
from tests.ports import port_block

from strongroom.sandbox.process import Known
from strongroom.store.postgres import Cluster


@pytest.mark.faults
def test_kill_ends_a_backend_that_is_in_the_middle_of_a_statement(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path.parent, tmp_path.parent.parent):
        folder.chmod(0o755)
    async def busy(cluster: Cluster) -> None:
        connection = await asyncpg.connect(cluster.owner_dsn)
        working = asyncio.create_task(connection.execute("DO 'BEGIN LOOP NULL; END LOOP; END'"))
        await asyncio.sleep(0.3)
        processes = [Known(pid, started) for pid, started in descendants(cluster.pid)]
        assert len(processes) > 4
        cluster.kill()
        alive = [each.pid for each in processes if each.alive()]
        assert alive == []
        with pytest.raises((asyncpg.PostgresError, OSError)):
            await working

    with port_block() as ports:
        cluster = Cluster(tmp_path / "postgres", ports.take())
        try:
            cluster.start()
            asyncio.run(busy(cluster))
            cluster.start()
        finally:
            cluster.kill()
