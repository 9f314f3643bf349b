"""What the commands about policies print: pages of 80 columns, and the same as JSON."""

import shutil
import textwrap
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from strongroom.advice.bound import Attacker, Most, Row
from strongroom.advice.cases import Tried
from strongroom.advice.difference import Change, Way
from strongroom.advice.problems import Problem
from strongroom.advice.simulation import Effect, Outcome, Replayed
from strongroom.advice.sums import asset_text, sum_text
from strongroom.advice.warnings import Warned
from strongroom.cli.output import table
from strongroom.domain.instant import HOUR_MS, MINUTE_MS
from strongroom.domain.policy import Policy
from strongroom.domain.timestamp import format_instant

WIDTH_MAXIMUM: Final = 100
SHOWN_MAXIMUM: Final = 20
SHORT_MAXIMUM: Final = 60
NO_BOUND: Final = "no bound"


@dataclass(frozen=True, slots=True)
class Moved:
    """What a bound was, and what it is now; `where` is `own_address` or `elsewhere`."""

    attacker: Attacker
    where: str
    before: Most
    after: Most

    def document(self) -> dict[str, Any]:
        return {
            "attacker": self.attacker.name.lower(), "where": self.where,
            "before_reference_minor": _minor(self.before), "after_reference_minor": _minor(self.after),
        }


def checked(file: Path, found: Policy | list[Problem], warned: Sequence[Warned]) -> str:
    if isinstance(found, list):
        head = f"{file}: {_count(len(found), 'problem')}; no signer takes it"
        said = [_item(each.field or "the document", each.reason) for each in found]
        return "\n".join([_wrapped(head, "", ""), "", *said])
    head = _wrapped(f"{file}: version {found.version} of {found.organisation}", "", "")
    if not warned:
        return f"{head}\nnothing is wrong, and nothing to warn about"
    said = [_item(each.field, each.reason) for each in warned]
    return "\n".join([head, f"nothing is wrong; {_count(len(warned), 'warning')}", "", *said])


def follows(before: Policy, after: Policy, hash_before: str) -> str | None:
    """Why the signer wouldn't take the one after the other; None if it would, with a quorum."""
    if before.organisation != after.organisation:
        return "it is of another organisation"
    if after.version != before.version + 1:
        return f"its version is {after.version}, and must be {before.version + 1}"
    if after.previous != hash_before:
        return f"its `previous` must be {hash_before}"
    return None


def moved(before: Sequence[Row], after: Sequence[Row]) -> list[Moved]:
    rows: list[Moved] = []
    for was, is_now in zip(before, after, strict=True):
        rows.append(Moved(was.attacker, "own_address", was.own_address, is_now.own_address))
        if was.elsewhere is not None and is_now.elsewhere is not None:
            rows.append(Moved(was.attacker, "elsewhere", was.elsewhere, is_now.elsewhere))
    return rows


def compared(
    before: Policy, after: Policy, changes: Sequence[Change], rows: Sequence[Moved], why_not: str | None
) -> str:
    lines = [f"version {before.version} -> version {after.version}"]
    if why_not is not None:
        lines.append(_wrapped(f"The signer doesn't take it as the next version: {why_not}.", "", ""))
    lines.append("")
    for each in changes:
        mark = each.way.value if each.way is Way.TIGHTER else each.way.upper()
        lines.append(_wrapped(f"{mark:<8} {each.field}", "", " " * 9))
        was, is_now = (text or "nothing" for text in (each.before, each.after))
        if len(was) + len(is_now) <= SHORT_MAXIMUM:
            lines.append(f"         {was} -> {is_now}")
        else:
            lines += [_wrapped(was, "         ", " " * 12), _wrapped(f"-> {is_now}", "         ", " " * 12)]
    ways = Counter(each.way for each in changes)
    said = f"{ways[Way.LOOSER]} looser, {ways[Way.TIGHTER]} tighter, {ways[Way.LOOK]} to look at"
    lines += ["", said if changes else "Nothing differs."]
    cells = [
        (f"{each.attacker}{', elsewhere' if each.where == 'elsewhere' else ''}", _sum(before, each.before),
         _sum(after, each.after), _moves(each.before.reference_minor, each.after.reference_minor))
        for each in rows if (each.before.reference_minor, each.after.reference_minor) != (0, 0)
    ]
    title = f"The most in 24 hours, {after.reference_currency}"
    return "\n".join([*lines, "", _table((title, "before", "after", ""), cells)])


def bound_page(policy: Policy, rows: Sequence[Row]) -> str:
    """One page: the table, the same in native units, and why."""
    currency = policy.reference_currency
    sums = [(row, [_sum(policy, each) for each in (row.own_address, row.elsewhere)]) for row in rows]
    cells = [(row.attacker.value, *texts) for row, texts in sums]
    heading = ("attacker has", "to its own address", "elsewhere")
    lines = [
        f"The most that each attacker can take in 24 hours: {currency}, by version {policy.version}", "",
        _table(heading, cells), "", *_native(policy, rows),
        "Why (what stands in quotes is a limit of the policy)", "",
    ]
    for row in rows:
        lines.append(row.attacker.value)
        like = next(each for each in rows if (each.own_address, each.elsewhere) == (row.own_address, row.elsewhere))
        if like is not row:
            lines.append(f"    as {like.attacker}")
        elif row.elsewhere is None or row.elsewhere.because == row.own_address.because:
            lines.append(_wrapped(row.own_address.because, "    ", "    "))
        else:
            lines.append(_wrapped(f"own: {row.own_address.because}", "    ", "      "))
            lines.append(_wrapped(f"elsewhere: {row.elsewhere.because}", "    ", "      "))
    note = (
        f"Sums are by the ceilings of the policy: where a price is above its ceiling, the same units are worth more "
        f"{currency}. What goes out elsewhere and to the own address is one sum, and not two."
    )
    return "\n".join([*lines, "", _wrapped(note, "", "")])


def bound_document(policy: Policy, rows: Sequence[Row]) -> dict[str, Any]:
    return {
        "organisation": policy.organisation, "version": policy.version, "currency": policy.reference_currency,
        "attackers": [
            {
                "attacker": row.attacker.name.lower(), "has": row.attacker.value,
                "own_address": _most(row.own_address),
                "elsewhere": None if row.elsewhere is None else _most(row.elsewhere),
            }
            for row in rows
        ],
    }


def tried(results: Sequence[Tried]) -> str:
    lines: list[str] = []
    for each in results:
        lines.append(_wrapped(f"{'passed' if each.passed else 'FAILED'}  {each.case.name}", "", " " * 8))
        if not each.passed:
            lines.append(_wrapped(f"expected {each.case.expected}", " " * 8, " " * 10))
            lines.append(_wrapped(f"got      {each.got}", " " * 8, " " * 10))
    failed = sum(not each.passed for each in results)
    return "\n".join([*lines, "", f"{len(results) - failed} passed, {failed} failed"])


def simulated(policy: Policy, replayed: Sequence[Replayed]) -> str:
    if not replayed:
        return "no payouts were recorded in that time"
    currency = policy.reference_currency
    times = sorted(each.recorded.created_at for each in replayed)
    first, last = (format_instant(time)[:16].replace("T", " ") for time in (times[0], times[-1]))
    cells = [
        (effect.value, str(count), sum_text(worth, currency)) for effect, count, worth in _effects(policy, replayed)
    ]
    lines = [
        f"{_count(len(replayed), 'payout')}, {first} to {last} UTC", "",
        _table(("by the new policy", "payouts", f"worth {currency}"), cells),
        "", _wrapped(f"Recorded as: {', '.join(f'{count} {state}' for state, count in _states(replayed))}.", "", ""),
    ]
    changed = [each for each in replayed if each.effect is not Effect.SAME]
    if changed:
        more = f", the first {SHOWN_MAXIMUM} of {len(changed)}; --json has all" if len(changed) > SHOWN_MAXIMUM else ""
        lines += ["", f"What changes (running -> new){more}", ""]
        for each in changed[:SHOWN_MAXIMUM]:
            lines.append(f"{each.recorded.payout}  {sum_text(_worth(policy, each), currency)} {currency}")
            lines.append(_wrapped(f"{_outcome(each.running)} -> {_outcome(each.new)}", "    ", "      "))
    return "\n".join(lines)


def simulated_document(policy: Policy, replayed: Sequence[Replayed]) -> dict[str, Any]:
    return {
        "payouts": len(replayed), "currency": policy.reference_currency,
        "effects": {
            effect.name.lower(): {"payouts": count, "reference_minor": str(worth)}
            for effect, count, worth in _effects(policy, replayed)
        },
        "recorded": dict(_states(replayed)),
        "changed": [
            {
                "payout": each.recorded.payout, "effect": each.effect.name.lower(),
                "reference_minor": str(_worth(policy, each)),
                "running": _outcome_document(each.running), "new": _outcome_document(each.new),
            }
            for each in replayed if each.effect is not Effect.SAME
        ],
    }


def _effects(policy: Policy, replayed: Sequence[Replayed]) -> list[tuple[Effect, int, int]]:
    counts = Counter(each.effect for each in replayed)
    return [
        (effect, counts[effect], sum(_worth(policy, each) for each in replayed if each.effect is effect))
        for effect in Effect
    ]


def _states(replayed: Sequence[Replayed]) -> list[tuple[str, int]]:
    return Counter(each.recorded.state for each in replayed).most_common()


def _worth(policy: Policy, each: Replayed) -> int:
    """By the running policy's ceilings; 0 for an asset that it never had."""
    rule = policy.assets.get(each.recorded.amount.asset)
    return 0 if rule is None else rule.reference_minor(each.recorded.amount.minor)


def _outcome(outcome: Outcome) -> str:
    if outcome.said.refused is not None or outcome.waited_ms is None:
        return str(outcome.said)
    if outcome.waited_ms == 0:
        return str(outcome.said)
    hours, rest = divmod(outcome.waited_ms, HOUR_MS)
    # Minutes are rounded up: what waits is never said to wait for no time.
    minutes = -(-rest // MINUTE_MS)
    people = str(outcome.said).partition(", held")[0]
    return f"{people}, after {hours + minutes // 60} h {minutes % 60:02d} min"


def _outcome_document(outcome: Outcome) -> dict[str, Any]:
    said = outcome.said
    return {
        "refused": said.refused, "approvals": said.approvals, "groups": said.groups, "waited_ms": outcome.waited_ms,
        "limit": said.limit,
    }


def _native(policy: Policy, rows: Sequence[Row]) -> list[str]:
    """The bounds of the four attackers that matter, if all goes out in one asset."""
    by_attacker = {row.attacker: row for row in rows}
    columns: tuple[tuple[str, Most | None], ...] = (
        ("payout key", by_attacker[Attacker.PAYOUT_KEY].elsewhere),
        ("both keys, own", by_attacker[Attacker.BOTH_KEYS].own_address),
        ("station", by_attacker[Attacker.STATION].own_address),
        ("engine's fees", by_attacker[Attacker.ENGINE].own_address),
    )
    cells = [
        [rule.symbol] + [
            asset_text(most.native[asset], rule).partition(" ")[0] if most is not None and asset in most.native else "-"
            for _, most in columns
        ]
        for asset, rule in policy.assets.items() if any(most and asset in most.native for _, most in columns)
    ]
    return [] if not cells else ["The same in native units, if all of it goes out in one asset", "",
            _table(("asset", *(name for name, _ in columns)), cells), ""]


def _most(most: Most) -> dict[str, Any]:
    return {
        "reference_minor": _minor(most), "because": most.because,
        "native": {asset: str(minor) for asset, minor in most.native.items()},
    }


def _minor(most: Most) -> str | None:
    return None if most.reference_minor is None else str(most.reference_minor)


def _sum(policy: Policy, most: Most | None) -> str:
    if most is None:
        return "-"
    if most.reference_minor is None:
        return NO_BOUND
    return "0" if most.reference_minor == 0 else sum_text(most.reference_minor, policy.reference_currency)


def _moves(before: int | None, after: int | None) -> str:
    if before == after:
        return ""
    return "MORE" if after is None or (before is not None and after > before) else "less"


def _table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """As `output.table`, with every column but the first to the right."""
    cells = [list(row) for row in rows]
    widths = [max(len(row[at]) for row in [list(headings), *cells]) for at in range(len(headings))]
    return table(headings, []) if not cells else "\n".join(
        "  ".join(cell.ljust(width) if at == 0 else cell.rjust(width) for at, (cell, width) in
                  enumerate(zip(row, widths, strict=True))).rstrip()
        for row in [list(headings), ["-" * width for width in widths], *cells]
    )


def _item(field: str, reason: str) -> str:
    return f"{field}\n{_wrapped(reason, '    ', '    ')}"


def _wrapped(line: str, first: str, rest: str) -> str:
    """As wide as the terminal, with these indents of the first and of the other lines."""
    width = min(shutil.get_terminal_size().columns, WIDTH_MAXIMUM)
    return textwrap.fill(
        line, width, initial_indent=first, subsequent_indent=rest, break_long_words=False, break_on_hyphens=False
    )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
