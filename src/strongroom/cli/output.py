"""What commands print: tables for people, JSON for programs; and how they stop.

Names and texts come from files and from servers: nothing of them may steer a terminal, so what isn't printable is
shown as a code.
"""

import io
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from enum import IntEnum
from typing import Any, Final, TypeVar

SAID_PARTS: Final = 10
"""So often at most a command says how far it is, where it draws no bar."""
SAY_EVERY: Final = 100
"""How many more must be done for that at least."""
BAR_WIDTH: Final = 24

_Item = TypeVar("_Item")


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


def plain_output() -> None:
    """A character that the terminal's encoding lacks is printed as a code, and ends nothing."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def visible(text: str) -> str:
    """The text with its control and other unprintable characters as \\u codes; line ends stay."""
    return text if text.isprintable() else "".join(
        each if each.isprintable() or each == "\n" else json.dumps(each)[1:-1] for each in text
    )


def say(text: str) -> None:
    """Progress and remarks: to standard error, so that what is printed can be piped."""
    print(visible(text), file=sys.stderr, flush=True)


def complain(text: str) -> None:
    say(f"strongroom: {text}")


def show(value: Any, as_json: bool, text: str) -> None:
    """`value` as JSON, or `text` for a person."""
    print(visible(json.dumps(value, indent=1, ensure_ascii=False) if as_json else text), flush=True)


def progress(items: Sequence[_Item], what: str) -> Iterator[_Item]:
    """The items, with a bar on a terminal; elsewhere a line now and then."""
    with bar(len(items), what) as show_bar:
        for done, item in enumerate(items, start=1):
            yield item
            show_bar(done)


@contextmanager
def bar(total: int, what: str) -> Iterator[Callable[[int], None]]:
    """Something to call with how many are done. Elsewhere than on a terminal it says a line now and then."""
    on_terminal = sys.stderr.isatty()
    every, said = max(SAY_EVERY, total // SAID_PARTS), 0

    def show_bar(done: int) -> None:
        nonlocal said
        if on_terminal:
            filled = BAR_WIDTH * done // max(total, 1)
            drawn = "#" * filled + "." * (BAR_WIDTH - filled)
            print(f"\r[{drawn}] {done} of {total} {what}", end="", file=sys.stderr, flush=True)
        elif done >= said + every:
            said = done
            say(f"{done} of {total} {what}")

    try:
        yield show_bar
    finally:
        if on_terminal:
            print(file=sys.stderr, flush=True)


def table(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Columns as wide as they need to be; numbers stand to the right."""
    texts = [[("" if cell is None else visible(str(cell)).replace("\n", " ")) for cell in row] for row in rows]
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
