"""Small drawings as numbers for SVG: bars, dots and maps. Pure; the templates write the markup."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Bar:
    x: int
    y: int
    width: int
    height: int
    value: int


def bars(values: Sequence[int], width: int, height: int) -> list[Bar]:
    """One for each value, as high as its share of the largest; a value above 0 is never invisible."""
    largest = max(values, default=0)
    step = max(1, width // max(1, len(values)))
    drawn = []
    for index, value in enumerate(values):
        tall = 0 if largest == 0 or value == 0 else max(2, value * height // largest)
        drawn.append(Bar(index * step, height - tall, max(1, step - 2), tall, value))
    return drawn


@dataclass(frozen=True, slots=True)
class Dot:
    x: int
    y: int
    radius: int
    title: str


def dots(values: Sequence[tuple[int, int, str]], width: int, height: int) -> list[Dot]:
    """(time, size, title) as dots along a line of time: the higher, the larger against the others."""
    if not values:
        return []
    first, last = min(at for at, _, _ in values), max(at for at, _, _ in values)
    largest = max(1, *(size for _, size, _ in values))
    inner = 6
    return [
        Dot(
            inner + (at - first) * (width - 2 * inner) // max(1, last - first),
            height - inner - size * (height - 2 * inner) // largest, 4, title,
        )
        for at, size, title in values
    ]
