"""How far a command is, where no terminal is there to draw on; and how long a run is followed."""

import time

import pytest

from strongroom.cli.output import bar
from strongroom.cli.run import QUIET_S, _held_s
from strongroom.domain.instant import Instant
from strongroom.domain.timestamp import format_instant


@pytest.mark.parametrize(
    ("total", "steps", "said"),
    [
        (1_000, range(0, 1_001, 7), 9),  # each step may go past a hundred
        (1_000, [0, 0, 334, 334, 1_000], 2),
        (90, range(91), 0),
        (10_000, range(10_001), 10),
    ],
)
def test_without_a_terminal_it_is_said_a_few_times_how_far_it_is(
    capsys: pytest.CaptureFixture[str], total: int, steps: range | list[int], said: int
) -> None:
    with bar(total, "payouts settled") as show_bar:
        for done in steps:
            show_bar(done)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == said
    assert all(f" of {total} payouts settled" in line for line in lines)


def held(in_s: float | None) -> dict[str, object]:
    retry_at = None if in_s is None else format_instant(Instant(time.time_ns() // 1_000_000 + int(in_s * 1_000)))
    return {"hold": {"reason": "rail", "retry_at": retry_at}}


def test_a_run_is_followed_until_what_is_held_is_looked_at_again_but_not_until_tomorrow() -> None:
    assert _held_s([{"hold": None}, held(None)]) == 0
    assert 29 < _held_s([held(80_000), held(30), {"hold": None}]) <= 30
    assert _held_s([held(QUIET_S + 5)]) == 0
    assert _held_s([held(-3)]) < 0
