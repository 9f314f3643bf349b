"""Whatever comes between, a limit with room for ten lets ten go, and nothing opens it again before its window is over.

By the real signer with the real guard: restarts, restored journals, clocks set by thirty days, limits changed by a
quorum. What went out is counted from signed bytes.
"""

import random
from base64 import b64encode
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from tests.adversary.siege import Siege, fast_folder, remove
from tests.adversary.till import Till
from tests.rules.cases import COOLING_MS, OLD_MS
from tests.signer.world import CLEO, DAN, AskRefused, limit, policy_document

from strongroom.domain.instant import DAY_MS, HOUR_MS
from strongroom.protocol.approval import assertion_document
from strongroom.protocol.canonical import encode
from strongroom.protocol.signer_wire import Ask
from strongroom.protocol.standing import POLICY_TYPE

EACH, ROOM, MANY = 1_000, 10, 64
SCOPES = ("organisation", "client", "key", "asset")


def policy(
    scope: str = "organisation", span_ms: int = DAY_MS, maximum: int = EACH * ROOM, **changes: Any
) -> dict[str, Any]:
    return policy_document(limits=[limit("ten", scope, "unattended", maximum, span_ms)], **changes)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    made = fast_folder(tmp_path)
    yield made
    remove(made)


class Crowd:
    """Sixty-four payouts to as many people, asked for and not yet signed."""

    def __init__(self, siege: Siege, count: int = MANY) -> None:
        self.siege, self.till = siege, Till()
        records = [siege.beneficiary() for _ in range(count)]
        siege.pass_by(COOLING_MS + OLD_MS)
        self.waiting = [siege.intent(record, EACH) for record in records]

    def try_all(self) -> None:
        for payout in self.waiting:
            with suppress(AskRefused):
                self.till.take(self.siege.sign([payout]))

    @property
    def signed(self) -> int:
        return len(self.till.signed)


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("span_ms", [HOUR_MS, DAY_MS])
def test_sixty_four_at_a_limit_with_room_for_ten_are_exactly_ten(folder: Path, scope: str, span_ms: int) -> None:
    crowd = Crowd(Siege(folder, policy(scope, span_ms)))
    chance = random.Random(20261124)
    chance.shuffle(crowd.waiting)
    crowd.try_all()
    crowd.try_all()
    assert crowd.signed == ROOM


def test_sixty_four_in_one_request_are_none(folder: Path) -> None:
    """All or nothing: one chain transaction of ten goes, one of sixty-four doesn't."""
    crowd = Crowd(Siege(folder, policy()))
    with pytest.raises(AskRefused, match="limit-window"):
        crowd.siege.sign(crowd.waiting)
    crowd.till.take(crowd.siege.sign(crowd.waiting[:ROOM]))
    crowd.try_all()
    assert crowd.till.loss(set(), {}) >= EACH * ROOM
    assert set(crowd.siege.payments.paid) == set(crowd.waiting[:ROOM])


def set_clock(days: int) -> Any:
    def act(siege: Siege, _: bytes) -> None:
        siege.times.wall_ms += days * DAY_MS

    return act


def set_clock_and_restart(days: int) -> Any:
    def act(siege: Siege, _: bytes) -> None:
        siege.times.wall_ms += days * DAY_MS
        siege.restart()

    return act


def set_clock_to_and_fro(siege: Siege, _: bytes) -> None:
    for days in (30, -60, 30):
        siege.times.wall_ms += days * DAY_MS
        siege.desk.idle()


def start_again(siege: Siege, _: bytes) -> None:
    siege.restart()


def restore(siege: Siege, backup: bytes) -> None:
    siege.restore(backup)


def change_limit(maximum: int) -> Any:
    """By two officers; waits out the delay."""

    def act(siege: Siege, _: bytes) -> None:
        standing = siege.payments.standing
        raw = encode(policy(maximum=maximum, version=standing.policy.version + 1, previous=standing.policy_hash))
        given = [assertion_document(each.asserts(raw, POLICY_TYPE)) for each in (CLEO, DAN)]
        siege.ask(Ask.CHANGE, document="policy", raw=b64encode(raw).decode(), assertions=given)
        siege.pass_by(standing.policy.governance.delay_ms)
        siege.desk.idle()
        assert siege.payments.standing.policy.version == standing.policy.version

    return act


EVENTS = {
    "nothing": lambda siege, backup: None,
    "the clock is set thirty days ahead": set_clock(30),
    "the clock is set thirty days back": set_clock(-30),
    "ahead, over a restart": set_clock_and_restart(30),
    "back, over a restart": set_clock_and_restart(-30),
    "to and fro": set_clock_to_and_fro,
    "a restart": start_again,
    "a journal from before is restored": restore,
    "the limit is changed to the same": change_limit(EACH * ROOM),
    "the limit is lowered": change_limit(EACH),
}


@pytest.mark.parametrize("event", EVENTS)
def test_nothing_opens_a_window_again(folder: Path, event: str) -> None:
    siege = Siege(folder, policy())
    crowd = Crowd(siege, 2 * ROOM)
    backup = siege.backup()
    crowd.try_all()
    assert crowd.signed == ROOM
    for _ in range(2):
        EVENTS[event](siege, backup)
        crowd.try_all()
    assert crowd.signed == ROOM


@pytest.mark.parametrize("event", EVENTS)
def test_a_day_later_ten_more_go(folder: Path, event: str) -> None:
    """The other side: what was spent leaves the window when a day has passed, and its bucket, by both clocks."""
    siege = Siege(folder, policy())
    crowd = Crowd(siege, 3 * ROOM)
    backup = siege.backup()
    crowd.try_all()
    EVENTS[event](siege, backup)
    siege.desk.idle()  # it reads its clocks five times in a second
    siege.pass_by(DAY_MS + DAY_MS // 96)
    crowd.try_all()
    assert crowd.signed == (ROOM + 1 if event == "the limit is lowered" else 2 * ROOM)


def test_a_raised_limit_counts_what_was_spent_under_the_old_one(folder: Path) -> None:
    siege = Siege(folder, policy())
    crowd = Crowd(siege, 3 * ROOM)
    crowd.try_all()
    change_limit(EACH * (ROOM + 5))(siege, b"")
    crowd.try_all()
    assert crowd.signed == ROOM + 5
