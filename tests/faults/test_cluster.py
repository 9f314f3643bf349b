"""The launcher's kill is the end of all of PostgreSQL's processes, as a power cut is; not of the first alone."""

import asyncio
import tempfile
from pathlib import Path

import asyncpg
import pytest
from tests.faults.deployment import descendants
from tests.ports import port_block

from strongroom.sandbox.process import Known
from strongroom.store.postgres import Cluster


@pytest.mark.faults
def test_kill_ends_a_backend_that_is_in_the_middle_of_a_statement() -> None:
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

    with tempfile.TemporaryDirectory(prefix="strongroom-faults-") as folder, port_block() as ports:
        Path(folder).chmod(0o755)
        cluster = Cluster(Path(folder) / "postgres", ports.take())
        try:
            cluster.start()
            asyncio.run(busy(cluster))
            cluster.start()
        finally:
            cluster.kill()
