"""What all lists share: the cursor in the address, the link to the next page, and files of the same rows."""

import csv
import io
import json
from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import urlencode

from strongroom.console.call import Call
from strongroom.console.web import Reply
from strongroom.store.console_lists import NO_CURSOR

PAGE: Final = 50
EXPORT_MAXIMUM: Final = 10_000
_DANGEROUS: Final = ("=", "+", "-", "@", "\t", "\r")
"""How a cell begins that a spreadsheet would run (CWE-1236)."""


def cursor(call: Call) -> int:
    """Where the page begins; what isn't a number begins at the newest."""
    text = call.request.query.get("after", "")
    return int(text) if text.isdecimal() and len(text) < 19 else NO_CURSOR


def is_file(call: Call) -> str | None:
    """The kind of file that is asked for in place of a page."""
    kind = call.request.query.get("as")
    return kind if kind in ("csv", "jsonl") else None


def wanted(call: Call) -> int:
    """How many rows to read: one more than a page shows."""
    return EXPORT_MAXIMUM if is_file(call) else PAGE + 1


def next_page(call: Call, rows: Sequence[Any]) -> str | None:
    """The address of the next page, if there is one."""
    if len(rows) <= PAGE:
        return None
    query = {**call.request.query, "after": str(rows[PAGE - 1].position)}
    return f"{call.request.path}?{urlencode(query)}"


def file_reply(call: Call, name: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> Reply:
    """The rows as CSV or JSON lines; a cell that a spreadsheet would run begins with an apostrophe."""
    if is_file(call) == "jsonl":
        lines = [json.dumps(dict(zip(columns, row, strict=True)), ensure_ascii=False) for row in rows]
        body, kind = "".join(line + "\n" for line in lines), "application/jsonl; charset=utf-8"
    else:
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\r\n")
        writer.writerow(columns)
        writer.writerows([neutral(cell) for cell in row] for row in rows)
        body, kind = out.getvalue(), "text/csv; charset=utf-8"
    disposition = f'attachment; filename="{name}.{is_file(call)}"'
    return Reply(200, body.encode(), kind, [(b"content-disposition", disposition.encode())])


def neutral(cell: Any) -> str:
    text = "" if cell is None else str(cell)
    return "'" + text if text.startswith(_DANGEROUS) else text
