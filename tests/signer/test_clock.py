"""Two clocks: whatever is done to the wall clock, no window opens early and nothing expires late."""

import itertools
import time

from hypothesis import given, settings
from hypothesis import strategies as st

from strongroom.domain.instant import DAY_MS, HOUR_MS, MINUTE_MS, Instant
from strongroom.domain.velocity import Window
from strongroom.protocol.entry import Reading
from strongroom.signer.clock import Clock, Start, boot_ns, brought_back, resume

MS = 1_000_000
MONTH = 30 * DAY_MS
GENESIS = Instant(1_800_000_000_000)
START = Reading(GENESIS, GENESIS, GENESIS)


class Hands:
    """A monotonic and a wall clock that a test moves; nanoseconds."""

    def __init__(self) -> None:
        self.monotonic = 7 * MS
        self.wall = GENESIS * MS
        self.clock = Clock(lambda: self.monotonic, lambda: self.wall, START)

    def move(self, monotonic_ns: int, wall_ns: int) -> Reading:
        self.monotonic += monotonic_ns
        self.wall += wall_ns
        return self.clock.read()

    def agree(self, milliseconds: int) -> Reading:
        return self.move(milliseconds * MS, milliseconds * MS)


moves = st.lists(st.tuples(st.integers(0, HOUR_MS * MS), st.integers(-MONTH * MS, MONTH * MS)), min_size=1, max_size=30)


@given(moves)
def test_between_any_two_readings_the_truth_lies_between_the_clocks(moves: list[tuple[int, int]]) -> None:
    hands = Hands()
    seen = [(hands.monotonic, hands.wall, hands.clock.read())]
    for monotonic, wall in moves:
        reading = hands.move(monotonic, wall)
        seen.append((hands.monotonic, hands.wall, reading))
    for first, last in itertools.combinations(range(len(seen)), 2):
        (old_monotonic, old_wall, old), (new_monotonic, new_wall, new) = seen[first], seen[last]
        progress = (new_monotonic - old_monotonic, new_wall - old_wall)
        least, most = new.at_least - old.at_least, new.at_most - old.at_most
        assert least >= 0
        assert most * MS > max(0, *progress) - MS
        assert least * MS < progress[0] + MS
        # Had the wall clock been set back in between, its progress would say less than nothing of what passed.
        if all(wall >= 0 for _, wall in moves[first:last]):
            assert least * MS < progress[1] + MS


@given(moves, st.integers(1, 100))
def test_no_setting_of_the_wall_clock_opens_a_window(moves: list[tuple[int, int]], spent: int) -> None:
    hands = Hands()
    window = Window(DAY_MS)
    window.add(spent, hands.clock.read().at_least)
    true_ns = 0
    for monotonic, wall in moves:
        true_ns += monotonic
        reading = hands.move(monotonic, wall)
        if true_ns < (DAY_MS - 1) * MS:
            assert window.used(reading.at_least) == spent


@given(moves, st.integers(0, 120_000))
def test_no_setting_of_the_wall_clock_keeps_a_lease_alive(moves: list[tuple[int, int]], lease_ms: int) -> None:
    hands = Hands()
    expires = hands.clock.read().at_most + lease_ms
    true_ns = 0
    for monotonic, wall in moves:
        true_ns += monotonic
        reading = hands.move(monotonic, wall)
        if true_ns >= lease_ms * MS:
            assert reading.at_most >= expires


def test_a_month_forward_and_back_again_reopens_nothing_and_expiry_goes_on() -> None:
    hands = Hands()
    hands.agree(1_000)
    ahead = hands.move(MS, MONTH * MS)
    back = hands.move(MS, -MONTH * MS)
    assert back.at_least - GENESIS == 1_001
    assert ahead.at_most - GENESIS == 1_000 + MONTH
    later = hands.agree(5_000)
    assert later.at_least - back.at_least == 5_000
    assert later.at_most - back.at_most == 5_000


def test_a_month_back_stops_what_passed_at_least_for_no_longer_than_the_step() -> None:
    hands = Hands()
    before = hands.agree(1_000)
    step = hands.move(2 * MS, -MONTH * MS)
    assert (step.at_least, step.at_most) == (before.at_least, before.at_most + 2)
    assert hands.agree(500).at_least == before.at_least + 500


def test_a_monotonic_clock_that_jumps_opens_nothing_either() -> None:
    hands = Hands()
    reading = hands.move(MONTH * MS, 5 * MS)
    assert (reading.at_least, reading.at_most) == (GENESIS + 5, GENESIS + MONTH)
    assert hands.move(-MONTH * MS, 0).at_least == GENESIS + 5


def test_reading_often_neither_stops_nor_doubles_a_clock() -> None:
    hands = Hands()
    hands.move(600_000, 300_000)  # the two are out of step by a part of a millisecond
    for _ in range(100_000):
        reading = hands.move(10_000, 10_000)
    assert 1_000 <= reading.at_least - GENESIS <= 1_001
    assert 1_000 <= reading.at_most - GENESIS <= 1_001


def test_the_wall_is_said_as_it_is() -> None:
    hands = Hands()
    assert hands.move(0, -5 * MS).wall == GENESIS - 5


jump = st.integers(-MONTH, MONTH)
passing = st.integers(0, 2 * DAY_MS)


class Lives:
    """A signer that is started again and again, and hears guard's time now and then; true time is known here only, and
    lies are told by wall or guard. `tickets` are the true times of approval requests that live, and when they expire.
    """

    def __init__(self) -> None:
        self.true = GENESIS
        self.wall_lie = self.guard_lie = 0
        self.seen = [(self.true, START)]
        self.stretches = [0]
        """How often what passed at most had been brought back, at each of those readings."""
        self.tickets: list[tuple[int, int]] = []
        self.before = Start(START, GENESIS)
        self.last = START
        self.clock = self.restart(0)

    def restart(self, down_ms: int) -> Clock:
        self.true = Instant(self.true + down_ms)
        wall, guard_now = Instant(self.true + self.wall_lie), Instant(self.true + self.guard_lie)
        reading = resume(self.before, self.last, wall, guard_now)
        self.before = Start(reading, guard_now)
        self.clock = Clock(lambda: self.true * MS, lambda: (self.true + self.wall_lie) * MS, reading)
        self.read()
        return self.clock

    def live(self, passing_ms: int) -> None:
        self.true = Instant(self.true + passing_ms)
        self.read()

    def read(self) -> None:
        self.last = self.clock.read()
        self.seen.append((self.true, self.last))
        self.stretches.append(self.stretches[-1])
        for issued, expires in self.tickets:
            assert self.last.at_most >= expires or self.true < issued + DAY_MS, "a ticket lives longer than a day"

    def hear_guard(self, delay_ms: int = 0) -> bool:
        """As `notary` does, with an answer that took so long; whether what passed at most was brought back."""
        guard_now = Instant(self.true + self.guard_lie)
        self.live(delay_ms)
        at_most = brought_back(self.last, guard_now)
        if at_most is None:
            return False
        self.clock.bring_back(at_most)
        self.tickets.clear()
        self.read()
        self.stretches[-1] += 1
        self.before = Start(self.last, guard_now)
        return True

    def ask_people(self) -> None:
        self.tickets.append((self.true, self.last.at_most + DAY_MS))

    def check(self, error_ms: int = 0) -> None:
        """`error_ms`: what guard's answers may have been late in all."""
        for (one, (earlier, old)), (other, (later, new)) in itertools.combinations(enumerate(self.seen), 2):
            assert 0 <= new.at_least - old.at_least <= later - earlier + error_ms
            if self.stretches[one] == self.stretches[other]:
                assert new.at_most - old.at_most >= later - earlier
        assert all(reading.at_most >= true for true, reading in self.seen)


ACTS = ("live", "restart", "hear guard", "ask people")
lives = st.lists(st.tuples(st.sampled_from(ACTS), passing, jump), max_size=25)


def lived(lives: list[tuple[str, int, int]], *, is_wall_lying: bool, delay_ms: int = 0) -> Lives:
    signer = Lives()
    for kind, passing_ms, lie in lives:
        if is_wall_lying:
            signer.wall_lie = lie
        elif kind in ("restart", "hear guard"):
            signer.guard_lie = lie
        match kind:
            case "live":
                signer.live(passing_ms)
            case "restart":
                signer.restart(passing_ms)
            case "ask people":
                signer.ask_people()
            case _:
                signer.hear_guard(delay_ms)
    return signer


@given(lives, st.booleans())
def test_over_any_number_of_restarts_one_honest_clock_is_enough(
    lives: list[tuple[str, int, int]], is_wall_lying: bool
) -> None:
    """A wall or a guard that lies gains nothing: no window opens early, nothing lives too long, no expiry is undone."""
    lived(lives, is_wall_lying=is_wall_lying).check()


likely_lives = st.lists(
    st.tuples(
        st.sampled_from(ACTS), st.sampled_from([0, 1_000, HOUR_MS, DAY_MS]),
        st.sampled_from([0, -MINUTE_MS, MINUTE_MS, MINUTE_MS + 1, -DAY_MS, DAY_MS, MONTH]),
    ),
    min_size=3, max_size=12,
)
"""Lies that bring something back, and those that are small enough to agree."""


@settings(max_examples=1_000)
@given(likely_lives, st.booleans(), st.integers(0, 2_000))
def test_a_lie_that_is_small_enough_to_agree_gains_nothing_either(
    lives: list[tuple[str, int, int]], is_wall_lying: bool, delay_ms: int
) -> None:
    heard = sum(kind == "hear guard" for kind, *_ in lives)
    signer = lived(lives, is_wall_lying=is_wall_lying, delay_ms=delay_ms)
    signer.check(error_ms=heard * delay_ms)


@given(lives, st.booleans())
def test_when_nobody_lies_any_more_what_passed_at_most_is_the_true_time_within_an_hour(
    lives: list[tuple[str, int, int]], is_wall_lying: bool
) -> None:
    signer = lived(lives, is_wall_lying=is_wall_lying)
    signer.wall_lie = signer.guard_lie = 0
    signer.live(1)
    signer.hear_guard()
    assert 0 <= signer.last.at_most - signer.true <= HOUR_MS
    assert not signer.hear_guard()


def test_a_month_ahead_and_back_again_is_brought_back_once_wall_and_guard_agree() -> None:
    signer = Lives()
    signer.wall_lie = MONTH
    signer.live(1_000)
    assert not signer.hear_guard()
    signer.wall_lie = 2 * MINUTE_MS
    signer.live(1_000)
    assert not signer.hear_guard()
    signer.wall_lie = MINUTE_MS
    signer.live(1_000)
    before = signer.last
    assert signer.hear_guard()
    assert signer.last.at_most == signer.true + 2 * MINUTE_MS
    assert (signer.last.at_least, signer.last.wall) == (before.at_least, before.wall)
    signer.live(500)
    assert signer.last.at_most == signer.true + 2 * MINUTE_MS


def test_what_passed_at_most_is_never_brought_below_what_passed_at_least() -> None:
    reading = Reading(Instant(GENESIS + DAY_MS), Instant(GENESIS + MONTH), GENESIS)
    assert brought_back(reading, GENESIS) == GENESIS + DAY_MS + MINUTE_MS


def test_an_hour_ahead_is_left_as_it_is() -> None:
    reading = Reading(GENESIS, Instant(GENESIS + HOUR_MS), GENESIS)
    assert brought_back(reading, GENESIS) is None
    assert brought_back(Reading(GENESIS, Instant(GENESIS + HOUR_MS + 1), GENESIS), GENESIS) == GENESIS + MINUTE_MS


@given(st.lists(passing, max_size=20), st.lists(passing, max_size=20))
def test_while_nobody_lies_both_clocks_are_right_over_restarts(lived: list[int], down: list[int]) -> None:
    signer = Lives()
    for live_ms, down_ms in zip(lived, down, strict=False):
        signer.live(live_ms)
        signer.restart(down_ms)
    assert signer.last == Reading(signer.true, signer.true, signer.true)


def test_a_wall_clock_set_back_before_a_restart_and_right_after_it_opens_nothing() -> None:
    signer = Lives()
    signer.wall_lie = -MONTH
    signer.live(1_000)
    signer.wall_lie = 0
    before = signer.last
    signer.restart(2_000)
    assert signer.last.at_least - before.at_least <= 2_000
    assert signer.last.at_most - before.at_most >= 2_000


def test_a_wall_clock_set_forward_before_a_restart_expires_nothing_late() -> None:
    signer = Lives()
    signer.wall_lie = MONTH
    signer.live(1_000)
    signer.wall_lie = 0
    before = signer.last
    signer.restart(2_000)
    assert signer.last.at_least == before.at_least
    assert signer.last.at_most - before.at_most >= 2_000


def test_the_real_clocks_agree_within_a_second() -> None:
    clock = Clock(boot_ns, time.time_ns, START)
    time.sleep(0.02)
    reading = clock.read()
    assert 19 <= reading.at_least - GENESIS <= reading.at_most - GENESIS < 1_000
    assert abs(reading.wall - time.time_ns() // MS) < 1_000
