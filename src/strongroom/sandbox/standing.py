"""What an organisation's wallets hold and paid, three times over: by the ledger in PostgreSQL, by the chain as watch
saw it, and by the journal, of which guard's copy is read here, entry by entry along its chain.

For people who look at a sandbox. It reads what belongs to other processes, which its owner may, and decides nothing.
"""

import asyncio
import os
import time
from collections import Counter
from pathlib import Path
from typing import Any, Final

from strongroom.domain.document import Fields
from strongroom.domain.ids import OrganisationId
from strongroom.journal.journal import Journal
from strongroom.protocol.entry import Kind, read_entry
from strongroom.store.session import FAULTS, connect
from strongroom.store.wallets import HotWallet, read_signed, read_wallets

LOOKS: Final = 3
AGAIN_S: Final = 0.2
"""A payout is in the journal a moment before it is written down that it was signed."""
ITEMS_MAXIMUM: Final = 2**20
_ITEM: Final = 14
_PAYOUT, _ASSET, _AMOUNT = 0, 4, 5
"""Places in an item of a spend."""


def standing_of(data: Path, database_url: str, organisation: str) -> list[dict[str, Any]]:
    """A row for each asset; `is_equal` None where watch reads no chain for it.

    Empty if PostgreSQL or guard's copy can't be read now.
    """
    rows: list[dict[str, Any]] = []
    for _ in range(LOOKS):
        try:
            wallets, recorded = asyncio.run(_read(database_url, OrganisationId(organisation)))
            journaled = read_journaled(data / "guard" / "store" / "journal", organisation)
        except (OSError, *FAULTS):
            return []
        rows = [_row(each, journaled[each.asset], recorded.get(each.asset, 0)) for each in wallets]
        if all(each["is_equal"] is not False for each in rows):
            break
        time.sleep(AGAIN_S)
    return rows


def read_journaled(file: Path, organisation: str) -> Counter[str]:
    """By asset, the sum of the payouts that were signed, each once however often, and can still be paid.

    Raises: OSError.
    """
    disk = _ReadOnly(file)
    try:
        signed: dict[str, tuple[str, int]] = {}
        attempts: dict[str, list[str]] = {}
        for raw in Journal.load(disk).entries():
            kind, _, fields = read_entry(raw)
            if kind in (Kind.SPEND, Kind.ABANDONED, Kind.VOID) and fields.take("organisation") == organisation:
                _follow(kind, fields, signed, attempts)
        sums: Counter[str] = Counter()
        for asset, minor in signed.values():
            sums[asset] += minor
        return sums
    finally:
        disk.close()


def _follow(kind: Kind, fields: Fields, signed: dict[str, tuple[str, int]], attempts: dict[str, list[str]]) -> None:
    """`attempts` has the payouts that the attempt was the first to pay: if it is abandoned, they weren't signed."""
    if kind is Kind.SPEND:
        items = {each[_PAYOUT]: (each[_ASSET], int(each[_AMOUNT])) for each in
                 fields.rows("items", _ITEM, ITEMS_MAXIMUM)}
        attempts[fields.text("transaction")] = [each for each in items if each not in signed]
        signed.update(items)
    elif kind is Kind.ABANDONED:
        for payout in attempts.pop(fields.text("transaction"), []):
            signed.pop(payout, None)
    else:
        signed.pop(fields.text("object"), None)


async def _read(database_url: str, organisation: OrganisationId) -> tuple[list[HotWallet], dict[str, int]]:
    connection = await connect(database_url, "strongroom status")
    try:
        return await read_wallets(connection, organisation), await read_signed(connection, organisation)
    finally:
        await connection.close()


def _row(wallet: HotWallet, journaled: int, recorded: int) -> dict[str, Any]:
    seen = wallet.seen
    is_equal = None if seen is None else seen.is_whole and journaled == recorded
    return {
        "asset": wallet.asset, "ledger": str(wallet.ledger if seen is None else seen.ledger),
        "under_way": None if seen is None else str(seen.under_way), "chain": None if seen is None else str(seen.chain),
        "signed_by_record": str(recorded), "signed_by_journal": str(journaled), "is_equal": is_equal,
    }


class _ReadOnly:
    """A journal's file that another process holds and appends to; what isn't whole yet counts as not there."""

    def __init__(self, file: Path) -> None:
        self._file = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)

    def read(self, offset: int, length: int) -> bytes:
        return os.pread(self._file, length, offset)

    def append(self, raw: bytes) -> None:
        raise OSError("this journal is somebody else's")

    def sync(self) -> None:
        raise OSError("this journal is somebody else's")

    def truncate(self, length: int) -> None:
        raise OSError("this journal is somebody else's")

    def close(self) -> None:
        os.close(self._file)
