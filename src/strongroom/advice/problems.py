"""All that is wrong in a policy document, and not only the first thing.

Asks the real parser, which stops at the first fault, again and again: each time the field at fault is replaced by one
that is right. So no rule stands here twice, and what the parser refuses is what is said.
"""

import re
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Final

from strongroom.domain.document import DocumentError
from strongroom.domain.instant import DAY_MS, HOUR_MS
from strongroom.domain.policy import POLICY_TYPE, Policy, parse_policy
from strongroom.protocol.canonical import CanonicalError, parse_object

PROBLEMS_MAXIMUM: Final = 100

_RIGHT: Final[dict[str, Any]] = {
    "type": POLICY_TYPE, "organisation": "org_" + "a" * 26, "version": 1, "previous": None,
    "reference_currency": "USD",
    "assets": [
        {
            "asset": "an asset", "symbol": "X", "decimals": 0, "network": "x", "maximum_minor": "1",
            "ceiling": {"units": "1", "reference_minor": "1"},
        }
    ],
    "tiers": [{"up_to_reference_minor": "1", "approvals": 0, "groups": 0}],
    "risk": {"above_reference_minor": "1", "young_for_ms": 0},
    "limits": [
        {
            "name": "a limit", "scope": "organisation", "counts": "all", "span_ms": DAY_MS,
            "maximum_reference_minor": "1",
        }
    ],
    "fee_budget_reference_minor": "1", "sweep_fee_budget_reference_minor": "1", "browser_release_reference_minor": "1",
    "cooling_off_ms": {"declared": 0, "payee_verified": 0, "allowlisted": 0},
    "intent_maximum_age_ms": HOUR_MS,
    "wallets": [
        {
            "network": "x", "fee_asset": "an asset", "fee_maximum_minor": "1", "fee_rate_maximum": "1",
            "finality_blocks": 1, "treasury": None,
        }
    ],
    "governance": {"group": "x", "delay_ms": 0},
}
"""A right value for every field, to read on with; a test holds it against the parser."""
_TELLING_APART: Final = frozenset({"asset", "name", "network"})
"""Of these no two may be the same, so what comes in their place is named after where it stands."""
_ASSET_LOST: Final = re.compile(r"assets(\[\d+\](\.asset)?)?")
_STEP: Final = re.compile(r"([a-z_]+)(?:\[(\d+)\])?")


@dataclass(frozen=True, slots=True)
class Problem:
    """`field` is its path as it stands in the document, empty for the document itself."""

    field: str
    reason: str


def read_policy(raw: bytes) -> Policy | list[Problem]:
    """The policy, or all that is wrong with it, as far as it can be told apart."""
    try:
        document = parse_object(raw)
    except CanonicalError as fault:
        return [Problem(fault.field, fault.reason)]
    try:
        return parse_policy(document)
    except DocumentError:
        return problems(document)


def problems(document: object) -> list[Problem]:
    """What the parser refuses in this document, in the parser's order after what is unknown."""
    left, places = deepcopy(document), dict[str, list[int]]()
    found = list(_take_unknown(left, _RIGHT, ""))
    while len(found) < PROBLEMS_MAXIMUM:
        try:
            parse_policy(left)
            break
        except DocumentError as fault:
            if not isinstance(left, dict):
                return [Problem(fault.field, fault.reason)]
            problem = Problem(_path_before(fault.field, places), fault.reason)
            if not _follows(problem, found):
                found.append(problem)
            _repair(left, places, fault.field)
    return found


def _take_unknown(value: Any, right: Any, path: str) -> list[Problem]:
    """Take away what no policy has, so that from here on every path is of known names."""
    if isinstance(value, list) and isinstance(right, list):
        return [each for at, inner in enumerate(value) for each in _take_unknown(inner, right[0], f"{path}[{at}]")]
    if not isinstance(value, dict) or not isinstance(right, dict):
        return []
    found: list[Problem] = []
    for name in list(value):
        inner_path = f"{path}.{name}" if path else name
        if name in right:
            found += _take_unknown(value[name], right[name], inner_path)
        else:
            found.append(Problem(inner_path, "is unknown"))
            value.pop(name)
    return found


def _repair(left: dict[str, Any], places: dict[str, list[int]], path: str) -> None:
    """Put a right value in the place of a wrong one; a tier, or what stands there twice, leaves as a whole."""
    steps = [(name, int(at) if at else None) for name, at in _STEP.findall(path)]
    (name, at), last = steps[0], steps[-1][0]
    if at is None:
        inside, right = left, _RIGHT
    elif len(steps) == 1 or name == "tiers":
        _leave(left, places, name, at)
        return
    else:
        inside, right = left[name][at], _RIGHT[name][0]
    for each, _ in steps[:-1] if at is None else steps[1:-1]:
        inside, right = inside[each], right[each]
    value = deepcopy(right[last])
    if (name, last) == ("wallets", "fee_asset"):
        value = left["assets"][0]["asset"]
    elif at is not None and last in _TELLING_APART and len(steps) == 2:
        value = f"{value} instead of {path}"
    inside[last] = value


def _leave(left: dict[str, Any], places: dict[str, list[int]], name: str, at: int) -> None:
    objects = left[name]
    kept = places.setdefault(name, list(range(len(objects))))
    objects.pop(at)
    kept.pop(at)
    if not objects:
        objects.append(deepcopy(_RIGHT[name][0]))
        kept.append(0)
        if name == "wallets":
            objects[0]["fee_asset"] = left["assets"][0]["asset"]


def _path_before(path: str, places: dict[str, list[int]]) -> str:
    """The path in the document as it came, before objects left it."""
    step = _STEP.match(path)
    if step is None or step[2] is None or step[1] not in places:
        return path
    return f"{step[1]}[{places[step[1]][int(step[2])]}]{path[step.end():]}"


def _follows(problem: Problem, found: list[Problem]) -> bool:
    """Whether it may only be there because something else is wrong, and was taken away."""
    asks_for_assets = problem.field.startswith("wallets[") and problem.field.endswith(".fee_asset")
    return asks_for_assets and any(_ASSET_LOST.fullmatch(each.field) for each in found)
