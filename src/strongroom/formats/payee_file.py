"""The CSV of a payout run: rows that people write in a spreadsheet, to fields, with every fault named by its place.

Columns: `beneficiary`, or `name`, `network` and `address`; `asset`, `amount`, `external_id`; optionally
`remittance_information`. UTF-8 with or without a byte order mark, LF or CRLF, commas. A file of semicolons is
refused with a word about it, since some spreadsheets write them. What the fields mean is checked by whoever pays.
"""

import csv
from dataclasses import dataclass
from typing import Final

ROWS_MAXIMUM: Final = 10_000
FIELD_MAXIMUM: Final = 500

_ALWAYS: Final = ("asset", "amount", "external_id")
_NAMED: Final = ("name", "network", "address")
_KNOWN: Final = frozenset({"beneficiary", *_NAMED, *_ALWAYS, "remittance_information"})


class PayeeFileError(ValueError):
    """The file as a whole can't be read."""


@dataclass(frozen=True, slots=True)
class PayeeRow:
    """A row as written. `number` counts lines of the table from 1, the header; empty fields are left out."""

    number: int
    fields: dict[str, str]
    fault: str = ""
    """What is wrong with the row's form; its fields are then not to be used."""


def parse_payee_file(raw: bytes) -> list[PayeeRow]:
    """All rows, good and bad. Raises: PayeeFileError."""
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as fault:
        raise PayeeFileError(f"isn't UTF-8 at byte {fault.start}: save it as CSV UTF-8") from fault
    if "\0" in text:
        raise PayeeFileError("holds a zero byte: it isn't a text file")
    lines = text.splitlines(keepends=True)
    if not lines:
        raise PayeeFileError("is empty")
    if ";" in lines[0] and "," not in lines[0]:
        raise PayeeFileError("is separated by semicolons: save it with commas")
    try:
        table = list(csv.reader(lines, strict=True))
    except csv.Error as fault:
        raise PayeeFileError(f"isn't CSV: {fault}") from fault
    columns = [column.strip() for column in table[0]]
    _check_columns(columns)
    if len(table) - 1 > ROWS_MAXIMUM:
        raise PayeeFileError(f"has {len(table) - 1} rows; at most {ROWS_MAXIMUM} go at once")
    return [_row(number, columns, cells) for number, cells in enumerate(table[1:], start=2) if cells]


def _check_columns(columns: list[str]) -> None:
    for column in columns:
        if column not in _KNOWN:
            raise PayeeFileError(f"has a column {column!r}; known are {', '.join(sorted(_KNOWN))}")
        if columns.count(column) > 1:
            raise PayeeFileError(f"has the column {column} twice")
    needed = _ALWAYS if "beneficiary" in columns else (*_ALWAYS, *_NAMED)
    missing = [column for column in needed if column not in columns]
    if missing:
        raise PayeeFileError(f"lacks the column {missing[0]}")


def _row(number: int, columns: list[str], cells: list[str]) -> PayeeRow:
    if len(cells) != len(columns):
        return PayeeRow(number, {}, f"has {len(cells)} fields, and the header has {len(columns)}")
    fields = {column: cell for column, cell in zip(columns, cells, strict=True) if cell}
    for column, cell in fields.items():
        if len(cell) > FIELD_MAXIMUM:
            return PayeeRow(number, {}, f"{column} is longer than {FIELD_MAXIMUM} characters")
    named = [column for column in _NAMED if column in fields]
    if ("beneficiary" in fields) == bool(named):
        return PayeeRow(number, {}, "needs either beneficiary, or name, network and address")
    missing = [column for column in (*_ALWAYS, *(_NAMED if named else ())) if column not in fields]
    if missing:
        return PayeeRow(number, {}, f"lacks {missing[0]}")
    return PayeeRow(number, fields)
