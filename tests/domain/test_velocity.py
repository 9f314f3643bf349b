"""Sliding windows: never too small a sum, at most a bucket too long."""

from hypothesis import given
from hypothesis import strategies as st

from strongroom.domain.instant import DAY_MS, HOUR_MS, Instant
from strongroom.domain.velocity import BUCKETS_PER_WINDOW, COUNT_MINIMUM, Window, Windows
from strongroom.domain.velocity_wait import fits_at

steps = st.lists(st.tuples(st.integers(-HOUR_MS, 5 * HOUR_MS), st.integers(0, 10**30)), max_size=40)
SPANS = st.sampled_from([HOUR_MS, DAY_MS])


@given(steps, SPANS, st.integers(0, 2 * DAY_MS))
def test_the_sum_is_never_below_the_exact_one_nor_above_that_of_a_bucket_more(
    steps: list[tuple[int, int]], span_ms: int, later: int
) -> None:
    window = Window(span_ms)
    added: list[tuple[int, int]] = []
    now, newest = 10 * DAY_MS, 0
    for step, value in steps:
        now += step
        newest = max(newest, now)
        window.add(value, Instant(now))
        added.append((newest, value))  # an earlier time counts as the newest one
    at = newest + later
    bucket = span_ms // BUCKETS_PER_WINDOW
    used = window.used(Instant(at))
    assert used >= sum(value for when, value in added if when > at - span_ms)
    assert used <= sum(value for when, value in added if when > at - span_ms - bucket)


@given(steps, SPANS, st.integers(0, 10**30), st.integers(1, 10**31))
def test_fits_at_is_the_first_instant_with_room(
    steps: list[tuple[int, int]], span_ms: int, value: int, maximum: int
) -> None:
    window = Windows()
    now = 10 * DAY_MS
    for step, each in steps:
        now = max(now, now + step)
        window.add("all", span_ms, each, Instant(now))
    at = fits_at(window, "all", span_ms, value, maximum, Instant(now))
    if value > maximum:
        assert at is None
        return
    assert at is not None
    if at > now:
        assert window.used("all", span_ms, Instant(at - 1)) + value > maximum
    assert window.used("all", span_ms, at) + value <= maximum


def test_memory_has_a_bound_however_much_is_added() -> None:
    window = Window(DAY_MS)
    for at in range(0, 5 * DAY_MS, 60_000):
        window.add(1, Instant(at))
        window.used(Instant(at))
    assert len(window._buckets) <= BUCKETS_PER_WINDOW + 1


def test_windows_are_made_when_counted_and_dropped_when_empty() -> None:
    windows = Windows()
    now = Instant(10 * DAY_MS)
    assert windows.used("all", DAY_MS, now) == 0
    assert fits_at(windows, "all", DAY_MS, 5, 5, now) == now
    assert fits_at(windows, "all", DAY_MS, 6, 5, now) is None
    windows.add("all", DAY_MS, 4, now)
    windows.add("all", DAY_MS, 1, now)
    windows.add("all", HOUR_MS, 2, now)
    assert windows.used("all", DAY_MS, now) == 5
    assert windows.used("all", HOUR_MS, now) == 2
    later = fits_at(windows, "all", DAY_MS, 1, 5, now)
    assert later is not None
    assert now + DAY_MS <= later <= now + DAY_MS + DAY_MS // BUCKETS_PER_WINDOW
    assert windows.forget_empty(Instant(now + 2 * HOUR_MS)) == 1
    assert windows.forget_empty(Instant(now + 2 * DAY_MS)) == 0


def test_empty_windows_are_dropped_as_others_come_and_nothing_that_counts_is() -> None:
    windows = Windows()
    for each in range(50 * COUNT_MINIMUM):
        windows.add(each, HOUR_MS, 1, Instant(each * 10_000))
    now = Instant((50 * COUNT_MINIMUM - 1) * 10_000)
    assert len(windows._windows) <= COUNT_MINIMUM
    first = 50 * COUNT_MINIMUM - HOUR_MS // 10_000
    assert all(windows.used(each, HOUR_MS, now) == 1 for each in range(first, 50 * COUNT_MINIMUM))


def test_as_many_windows_as_count_stand_there_however_many_that_are() -> None:
    windows = Windows()
    for each in range(3 * COUNT_MINIMUM):
        windows.add(each, DAY_MS, 1, Instant(0))
    assert windows.forget_empty(Instant(0)) == 3 * COUNT_MINIMUM


def test_room_comes_back_as_soon_as_enough_has_left_and_not_when_all_has() -> None:
    window = Windows()
    for hours in (0, 6, 12):
        window.add("all", DAY_MS, 10, Instant(hours * HOUR_MS))
    now = Instant(13 * HOUR_MS)
    first, second = (fits_at(window, "all", DAY_MS, value, 30, now) for value in (5, 15))
    assert first is not None
    assert second is not None
    assert DAY_MS <= first < second < DAY_MS + 7 * HOUR_MS
    assert fits_at(window, "all", DAY_MS, 31, 30, now) is None
