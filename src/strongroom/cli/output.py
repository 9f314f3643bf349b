"""What commands print: tables for people, JSON for programs; and how they stop."""

import json
import sys
from collections.abc import Iterable, Sequence
from enum import IntEnum
from typing import Any


class Exit(IntEnum):
    DONE = 0
    FAILED = 1
    USAGE = 2
    NOT_FOUND = 3
    REFUSED = 4
    UNREACHABLE = 5
    WAITS = 7
    NOT_VERIFIED = 10


class Stop(Exception):
    """Ends the command with a code and, to standard error, a sentence."""

    def __init__(self, code: Exit, message: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def say(text: str) -> None:
    """Progress and remarks: to standard error, so that what is printed can be piped."""
    print(text, file=sys.stderr, flush=True)


def complain(text: str) -> None:
    say(f"strongroom: {text}")


def show(value: Any, as_json: bool, text: str) -> None:
    """`value` as JSON, or `text` for a person."""
    print(json.dumps(value, indent=1, ensure_ascii=False) if as_json else text, flush=True)


def table(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Columns as wide as they need to be; numbers stand to the right."""
    texts = [[("" if cell is None else str(cell)) for cell in row] for row in rows]
    if not texts:
        return "(none)"
    widths = [max(len(row[place]) for row in [list(headings), *texts]) for place in range(len(headings))]
    right = [all(row[place].replace(".", "").isdigit() for row in texts) for place in range(len(headings))]
    lines = [
        "  ".join(cell.rjust(width) if to_right else cell.ljust(width)
                  for cell, width, to_right in zip(row, widths, right, strict=True)).rstrip()
        for row in [list(headings), *texts]
    ]
    return "\n".join([lines[0], "  ".join("-" * width for width in widths), *lines[1:]])


def fields(pairs: Iterable[tuple[str, object]]) -> str:
    """Names and values, one to a line."""
    present = [(name, str(value)) for name, value in pairs if value is not None]
    width = max((len(name) for name, _ in present), default=0)
    return "\n".join(f"{name.ljust(width)}  {value}" for name, value in present)
