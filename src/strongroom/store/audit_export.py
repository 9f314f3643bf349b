"""Writes the audit log, up to its newest checkpoint, as lines that prove themselves (`protocol.audit_export`)."""

from collections.abc import AsyncIterator

from strongroom.protocol.audit_export import BLOCK, export_head, export_lines
from strongroom.store.audit import read_checkpoint, read_entries
from strongroom.store.session import connect


class NothingToExportError(Exception):
    """The log has no checkpoint yet."""


async def export_log(dsn: str, origin: str) -> AsyncIterator[bytes]:
    """Line by line, a block of leaves in memory at most. Raises: NothingToExportError, SessionError."""
    connection = await connect(dsn, "strongroom export")
    try:
        checkpoint = await read_checkpoint(connection)
        if checkpoint is None:
            raise NothingToExportError("the audit log has no checkpoint yet")
        yield export_head(origin, checkpoint.note)
        for first in range(0, checkpoint.size, BLOCK):
            entries = await read_entries(connection, first, min(BLOCK, checkpoint.size - first))
            for line in export_lines(first, (leaf for _, leaf in entries)):
                yield line
    finally:
        await connection.close()
