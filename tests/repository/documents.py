"""Reading the project's own documents: tables, links, headings."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
GENERATED = ("docs/openapi.json",)

_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
_PATH = re.compile(r"`((?:src|tests|docs|tools|examples|requirements|contracts|benchmarks|deploy)/[\w./-]+)`")


def documents() -> list[Path]:
    """Every Markdown file that is ours."""
    return sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), ROOT / "tests/README.md"])


def unfenced(text: str) -> str:
    """Without fenced blocks."""
    return re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)


def prose(text: str) -> str:
    """Without fenced blocks and inline code."""
    return re.sub(r"`[^`\n]*`", "", unfenced(text))


def tables(text: str) -> list[list[dict[str, str]]]:
    """Every table as its rows, each from the column's heading to the cell's text."""
    found: list[list[dict[str, str]]] = []
    lines = text.splitlines()
    for number, line in enumerate(lines):
        if re.fullmatch(r"\|(?: ?-+ ?\|)+", line) and number > 0:
            headings = _cells(lines[number - 1])
            rows: list[dict[str, str]] = []
            for row in lines[number + 1 :]:
                if not row.startswith("|"):
                    break
                rows.append(dict(zip(headings, _cells(row), strict=True)))
            found.append(rows)
    return found


def table_with(document: str, *headings: str) -> list[dict[str, str]]:
    """The rows of all tables of a document that have these columns."""
    text = (ROOT / document).read_text()
    rows = [row for table in tables(text) for row in table if set(headings) <= set(row)]
    if not rows:
        raise LookupError(f"{document} has no table with {headings}")
    return rows


def links(text: str) -> list[str]:
    return _LINK.findall(text)


def paths(text: str) -> list[str]:
    """Paths of the repository that stand in code quotes."""
    return _PATH.findall(text)


def anchors(text: str) -> set[str]:
    """What a link may name after `#`: headings as they are usually turned into anchors."""
    headings = re.findall(r"^#+ (.*)$", prose(text), flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def code(cell: str) -> list[str]:
    """The words in code quotes of a cell."""
    return re.findall(r"`([^`]+)`", cell)


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]
