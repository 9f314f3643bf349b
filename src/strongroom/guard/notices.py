"""Tells an organisation's members of a pending change: a line for each in `notices.jsonl`, for whoever sends mail.

The line of one member and one change is always the same bytes, so what was told before a crash isn't told again.
"""

from pathlib import Path

from strongroom.guard.marker import disk_work, write_last
from strongroom.protocol.canonical import encode
from strongroom.protocol.standings import Standings


def tell_members(file: Path, standings: Standings) -> None:
    """All lines last when this returns. Raises: JournalError."""
    with disk_work("notices"):
        before = file.read_bytes() if file.exists() else b""
    told = set(before.split(b"\n"))
    lines = [
        encode({
            "change": change, "delay_ms": standing.policy.governance.delay_ms, "document": pending.document,
            "name": person.name, "organisation": organisation, "person": person.id, "since_ms": pending.since,
            "people": [each.name for each in standing.roster.people if each.id in pending.people],
        })
        for organisation, standing in standings.organisations.items()
        for change, pending in standing.pending.items()
        for person in standing.roster.people
    ]
    if new := [line for line in lines if line not in told]:
        torn = b"" if before.endswith(b"\n") or not before else b"\n"
        write_last(file, torn + b"".join(line + b"\n" for line in new), "ab", "notices")
