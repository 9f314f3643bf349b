"""What should make an approver look twice: a case for each flag, and one beside it that has none."""

from typing import Any

import pytest

from strongroom.console.flags import Asked, flags_of
from strongroom.domain.instant import DAY_MS, HOUR_MS, Instant
from strongroom.store.console_pages import Past, Version

NOW = Instant(20_000 * DAY_MS + 12 * HOUR_MS)
OLD, OTHER = "sim1aaaabbbbcccc", "sim1aaaaxxxxcccc"


def asked(**changed: Any) -> Asked:
    return Asked(**{
        "amount": 100, "asset": "SIM", "reference_minor": 100, "address": OLD, "network": "sim:sandbox",
        "name": "Blue Harbor", "created_at": NOW, **changed,
    })


def past(days: int, **changed: Any) -> Past:
    """One that was paid so many days ago, at the same hour."""
    return Past(**{
        "id": f"po_{days}", "amount": 90 + days, "asset": "SIM", "reference_minor": 100, "state": "settled",
        "address": OLD, "network": "sim:sandbox", "external_id": f"trip {days}",
        "created_at": Instant(NOW - days * DAY_MS), **changed,
    })


def version(number: int, age_ms: int, address: str = OLD) -> Version:
    at = Instant(NOW - age_ms)
    return Version(f"{number:064x}", number, address, "sim:sandbox", "declared", "cl_x", at, at)


PAID = [past(day) for day in range(2, 14)]
KNOWN = [version(1, 90 * DAY_MS)]


def titles(payout: Asked, paid: list[Past], versions: list[Version]) -> list[str]:
    return [flag.title for flag in flags_of(payout, paid, versions, ["the client"] * len(versions))]


def test_what_is_as_always_has_none() -> None:
    assert titles(asked(), PAID, KNOWN) == []


@pytest.mark.parametrize(("payout", "paid", "versions", "title"), [
    (asked(near=(OTHER, "Marta")), PAID, KNOWN, "Looks like an address you pay, and is another one"),
    (asked(), PAID, [version(1, HOUR_MS)], "The address was set in the last 24 hours"),
    (asked(address=OTHER), PAID, [version(2, HOUR_MS, OTHER), *KNOWN], "The address was changed in the last 24 hours"),
    (asked(), [], KNOWN, "First payment to this beneficiary"),
    (asked(), [past(3, state="failed"), past(4, state="held")], KNOWN, "First payment to this beneficiary"),
    (asked(reference_minor=301), PAID, KNOWN, "3.0 times what they usually get"),
    (asked(reference_minor=101), PAID, KNOWN, "More than they ever got"),
    (asked(), [past(0, amount=100), *PAID], KNOWN, "The same amount again within 24 hours"),
    (asked(network="eip155:1"), PAID, KNOWN, "A network that they were never paid on"),
    (asked(created_at=Instant(NOW - 9 * HOUR_MS)), PAID, KNOWN, "An unusual hour"),
])
def test_each_flag(payout: Asked, paid: list[Past], versions: list[Version], title: str) -> None:
    assert titles(payout, paid, versions) == [title]


@pytest.mark.parametrize(("payout", "paid", "versions"), [
    (asked(), PAID, [version(1, DAY_MS)]), (asked(reference_minor=100), PAID, KNOWN),
    (asked(), [past(1, amount=100), *PAID], KNOWN), (asked(created_at=Instant(NOW + 2 * HOUR_MS)), PAID, KNOWN),
    (asked(created_at=Instant(NOW - 9 * HOUR_MS)), PAID[:9], KNOWN),
])
def test_its_neighbour_has_none(payout: Asked, paid: list[Past], versions: list[Version]) -> None:
    assert titles(payout, paid, versions) == []


def test_what_asks_for_a_sentence_names_what_was_to_be_done_and_the_worst_comes_first() -> None:
    flags = flags_of(
        asked(address=OTHER, near=(OLD, "Marta"), reference_minor=900), PAID, [version(2, HOUR_MS, OTHER), *KNOWN],
        ["the client"] * 2)
    assert [flag.weight for flag in flags] == ["bad", "bad", "warn"]
    assert [bool(flag.sentence) for flag in flags] == [True, True, False]
    assert "new address with Blue Harbor by phone" in flags[1].sentence
