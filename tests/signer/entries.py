"""What stands in a journal, for tests that look at it."""

from strongroom.journal.journal import Journal
from strongroom.protocol.entry import Kind, read_entry


def kinds(journal: Journal) -> list[Kind]:
    return [read_entry(raw)[0] for raw in journal.entries()]
