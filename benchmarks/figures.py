"""A figure, the table of them that is printed, and the file that they are written to."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

Run = float | Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Target:
    """What the product keeps: a bound, and on which side of it a figure must be."""

    bound: float
    at_least: bool

    def is_met(self, value: float) -> bool:
        return value >= self.bound if self.at_least else value <= self.bound

    def __str__(self) -> str:
        return f"{'at least' if self.at_least else 'at most'} {self.bound:g}"


@dataclass(frozen=True, slots=True)
class Figure:
    """`against` says in words what the value is measured against; `runs` are all runs that it was made from."""

    name: str
    value: float
    unit: str
    against: str
    runs: Sequence[Run]
    target: Target | None = None
    notes: Mapping[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not math.isfinite(self.value):
            raise ValueError(f"{self.name} is {self.value}")

    def document(self) -> dict[str, object]:
        known: dict[str, object] = {
            "value": _rounded(self.value), "unit": self.unit, "against": self.against, **self.notes,
            "runs": list(self.runs),
        }
        if self.target is not None:
            known["target"] = str(self.target)
            known["met"] = self.target.is_met(self.value)
        return known


def write_figures(file: Path, machine: Mapping[str, object], at: str, figures: Sequence[Figure]) -> None:
    document = {"machine": machine, "at": at, "figures": {figure.name: figure.document() for figure in figures}}
    file.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")


def as_table(figures: Sequence[Figure]) -> str:
    rows = [("figure", "value", "unit", "target", "against")]
    for figure in figures:
        target = "" if figure.target is None else str(figure.target)
        if figure.target is not None and not figure.target.is_met(figure.value):
            target += ": MISSED"
        rows.append((figure.name, f"{_rounded(figure.value):,g}", figure.unit, target, figure.against))
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    lines = [
        "  ".join((
            row[0].ljust(widths[0]), row[1].rjust(widths[1]), row[2].ljust(widths[2]), row[3].ljust(widths[3]), row[4]
        ))
        for row in rows
    ]
    return "\n".join([lines[0], "-" * min(120, max(map(len, lines))), *lines[1:]])


def _rounded(value: float) -> float:
    """Three digits, or whole numbers when they are large: more would be noise."""
    return round(value) if abs(value) >= 1_000 else float(f"{value:.3g}")
