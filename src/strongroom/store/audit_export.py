"""Writes the audit log, up to a checkpoint, as lines that prove themselves (`protocol.audit_export`)."""

from collections.abc import AsyncIterator

from strongroom.protocol.audit_export import BLOCK, BLOCK_LEVEL, export_head, export_lines
from strongroom.store.audit import read_block, read_checkpoint, read_nodes, read_witnessed
from strongroom.store.session import connect


class NothingToExportError(Exception):
    """The log has no checkpoint yet."""


async def export_log(dsn: str, origin: str, *, everything: bool = False) -> AsyncIterator[bytes]:
    """Up to the newest checkpoint that guard cosigned, or to the newest of all if it cosigned none or `everything` is
    asked for. Line by line, a block of leaves in memory at most. Raises: NothingToExportError, SessionError."""
    connection = await connect(dsn, "strongroom export")
    try:
        checkpoint = await (read_checkpoint if everything else read_witnessed)(connection)
        if checkpoint is None:
            raise NothingToExportError("the audit log has no checkpoint yet")
        yield export_head(origin, checkpoint.note)
        for first in range(0, checkpoint.size, BLOCK):
            entries = await read_block(connection, first, min(BLOCK, checkpoint.size - first))
            number = first // BLOCK
            whole = await read_nodes(connection, [(BLOCK_LEVEL, number)] if first + BLOCK <= checkpoint.size else [])
            for line in export_lines(number, entries, whole.get((BLOCK_LEVEL, number))):
                yield line
    finally:
        await connection.close()
