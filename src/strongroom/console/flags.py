"""What about a payout should make an approver look twice, in words: pure, from what was paid before.

Each flag that asks for it has a sentence that the approver confirms; it is kept in the audit log. Nothing here lets
anything through: the signer's own rules do that, and count nothing that is said here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median_high
from typing import Final

from strongroom.domain.instant import DAY_MS, HOUR_MS, Instant
from strongroom.store.console_pages import Past, Version

SENT: Final = frozenset({"signed", "broadcast", "confirmed", "settled", "returned"})
TIMES_MEDIAN: Final = 3
HOURS_KNOWN: Final = 10
"""So many payments before a usual hour can be told from an unusual one."""

HOUR_AROUND: Final = 2


@dataclass(frozen=True, slots=True)
class Flag:
    """`weight` is `bad` or `warn`; `sentence` is what the approver confirms, empty where nothing is to be confirmed."""

    weight: str
    title: str
    text: str
    sentence: str = ""


@dataclass(frozen=True, slots=True)
class Asked:
    """What is to be paid now. `near` is an address that this one resembles, and whose it is."""

    amount: int
    asset: str
    reference_minor: int
    address: str
    network: str
    name: str
    created_at: Instant
    near: tuple[str, str] | None = None


def flags_of(asked: Asked, past: Sequence[Past], versions: Sequence[Version], names: Sequence[str]) -> list[Flag]:
    """The worst first. `versions` are the beneficiary's destinations, the newest first; `names` who declared them."""
    sent = [each for each in past if each.state in SENT]
    found = [
        *_look_alike(asked), *_changed(asked, versions, names), *_first(asked, sent), *_size(asked, sent),
        *_twice(asked, past), *_new_network(asked, sent), *_hour(asked, sent),
    ]
    return sorted(found, key=lambda flag: flag.weight != "bad")


def _look_alike(asked: Asked) -> list[Flag]:
    if asked.near is None:
        return []
    return [Flag(
        "bad", "Looks like an address you pay, and is another one",
        f"Its beginning and end are those of the address of {asked.near[1]}. The characters that differ are marked.",
        f"I compared the whole address with what {asked.name} gave us, character by character",
    )]


def _changed(asked: Asked, versions: Sequence[Version], names: Sequence[str]) -> list[Flag]:
    for index, (version, name) in enumerate(zip(versions, names, strict=True)):
        if version.address != asked.address or asked.created_at - version.created_at >= DAY_MS:
            continue
        is_first = index == len(versions) - 1
        verb = "set" if is_first else "changed"
        return [Flag(
            "warn" if is_first else "bad", f"The address was {verb} in the last 24 hours", f"By {name}.",
            f"I checked the {'' if is_first else 'new '}address with {asked.name} by phone, at a number we had before",
        )]
    return []


def _first(asked: Asked, sent: Sequence[Past]) -> list[Flag]:
    if sent:
        return []
    return [Flag("warn", "First payment to this beneficiary", "Nothing was ever sent to them before.")]


def _size(asked: Asked, sent: Sequence[Past]) -> list[Flag]:
    if not sent:
        return []
    usual, largest = median_high([each.reference_minor for each in sent]), max(each.reference_minor for each in sent)
    if usual and asked.reference_minor > TIMES_MEDIAN * usual:
        times = asked.reference_minor * 10 // usual
        title = f"{times // 10}.{times % 10} times what they usually get"
        return [Flag("warn", title, "Of the last payments, the median.")]
    if asked.reference_minor > largest:
        return [Flag("warn", "More than they ever got", "Of the last payments, the largest was less.")]
    return []


def _twice(asked: Asked, past: Sequence[Past]) -> list[Flag]:
    same = [each for each in past if each.amount == asked.amount and each.asset == asked.asset
            and asked.created_at - each.created_at < DAY_MS]
    if not same:
        return []
    return [Flag(
        "warn", "The same amount again within 24 hours", f"As {same[0].id}, “{same[0].external_id}”.",
        f"I checked that {asked.name} is owed both",
    )]


def _new_network(asked: Asked, sent: Sequence[Past]) -> list[Flag]:
    if not sent or any(each.network == asked.network for each in sent):
        return []
    return [Flag("warn", "A network that they were never paid on", f"Before, it was {sent[0].network}.")]


def _hour(asked: Asked, sent: Sequence[Past]) -> list[Flag]:
    """Far from every hour of the day at which something was asked for before."""
    if len(sent) < HOURS_KNOWN:
        return []
    hour = asked.created_at // HOUR_MS % 24
    usual = {each.created_at // HOUR_MS % 24 for each in sent}
    apart = min(min((hour - each) % 24, (each - hour) % 24) for each in usual)
    if apart <= HOUR_AROUND:
        return []
    return [Flag("warn", "An unusual hour", f"Asked for at {hour:02d} h UTC.")]
