"""Standings take the entries that are about them, and refuse every other by its kind."""

import pytest
from tests.protocol.people import ORGANISATION, policy, roster

from strongroom.domain.document import DocumentError
from strongroom.domain.instant import Instant
from strongroom.protocol.entry import Kind, Reading, read_entry, write_entry
from strongroom.protocol.genesis import Mode
from strongroom.protocol.record_writer import write_roster
from strongroom.protocol.standing import open_standing
from strongroom.protocol.standings import KINDS, Standings

CLOCK = Reading(Instant(1), Instant(1), Instant(1))


@pytest.mark.parametrize("kind", sorted(set(Kind) - KINDS))
def test_an_entry_about_payments_has_no_standing(kind: Kind) -> None:
    standings = Standings(organisations={ORGANISATION: open_standing(policy(), write_roster(roster()), Mode.SANDBOX)})
    before = standings.copied()
    with pytest.raises(DocumentError, match=f"{kind} can't be applied: type: can't stand here"):
        standings.apply(*read_entry(write_entry(kind, CLOCK, {"organisation": ORGANISATION})))
    assert standings == before
