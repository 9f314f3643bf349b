"""The documents say what the code says: links, paths, words, states, errors, dependencies, commands, pictures."""

import ast
import json
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from tests.repository.documents import ROOT, anchors, code, documents, links, paths, prose, table_with, tables, unfenced

from strongroom.cli.output import Exit
from strongroom.domain.admission import COUNTED_HOLDS, ON_HOLD_CODE
from strongroom.domain.errors import CATALOGUE
from strongroom.domain.payout import MOVES, HoldReason, State
from strongroom.domain.policy import Counts, LimitScope, parse_policy
from strongroom.protocol.canonical import JsonValue, parse_object
from strongroom.sandbox.ports import Ports

SVG = "{http://www.w3.org/2000/svg}"
MARKETING = re.compile(
    r"\b(seamless\w*|blazing\w*|world[- ]class|cutting[- ]edge|bank[- ]grade|military[- ]grade|leverag\w+|"
    r"utili[sz]e\w*|effortless\w*|robust\w*|revolution\w*|enterprise[- ]ready|best[- ]in[- ]class)\b", re.IGNORECASE,
)
VALIDATE = re.compile(r"\bvalidat\w+", re.IGNORECASE)
PLAIN_TRANSACTION = re.compile(r"(?<!chain )(?<!database )\btransactions?\b", re.IGNORECASE)
MAY_SAY = {"GLOSSARY.md"}
"""The glossary says which words we don't use."""


def names(document: Path) -> str:
    return str(document.relative_to(ROOT))


@pytest.mark.parametrize("document", documents(), ids=names)
def test_every_relative_link_leads_somewhere(document: Path) -> None:
    lost = []
    for link in links(document.read_text()):
        target, _, anchor = link.partition("#")
        if re.match(r"[a-z]+:", target):
            continue
        file = (document.parent / target).resolve() if target else document
        is_there = file.exists() and file.is_relative_to(ROOT)
        if not is_there or (anchor and anchor not in anchors(file.read_text())):
            lost.append(link)
    assert lost == []


@pytest.mark.parametrize("document", documents(), ids=names)
def test_every_path_that_is_named_exists(document: Path) -> None:
    assert [path for path in paths(document.read_text()) if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("document", documents(), ids=names)
def test_the_words_are_ours(document: Path) -> None:
    text = prose(document.read_text())
    assert MARKETING.findall(text) == []
    if names(document) not in MAY_SAY and not names(document).startswith("docs/signer"):
        assert VALIDATE.findall(text) == []
        assert PLAIN_TRANSACTION.findall(" ".join(text.split())) == []


def test_the_words_that_are_looked_for_are_found() -> None:
    assert MARKETING.findall("a seamless, robust thing")
    assert VALIDATE.findall("it validates input")
    assert PLAIN_TRANSACTION.findall("the transaction of a chain transaction") == ["transaction"]
    assert links("[a](b.md#c) ![d](e.svg)") == ["b.md#c", "e.svg"]
    assert paths("`src/x.py` and `else/y.py`") == ["src/x.py"]
    assert anchors("# A payout's states\n") == {"a-payouts-states"}


def test_the_glossary_maps_every_state() -> None:
    rows = table_with("GLOSSARY.md", "our state", "ISO 20022", "Stripe payouts", "Fireblocks")
    assert [code(row["our state"]) for row in rows] == [[state.value] for state in State]
    assert all(cell not in ("", "–") for row in rows for cell in row.values())


def test_the_glossary_is_in_order_and_says_each_word_once() -> None:
    words = [row["word"] for row in table_with("GLOSSARY.md", "word", "means")]
    assert words == sorted(words, key=str.lower)
    assert len(words) == len(set(words))


def test_the_moves_are_those_of_the_table() -> None:
    rows = table_with("docs/payout-flow.md", "state", "may go to")
    assert {code(row["state"])[0]: set(code(row["may go to"])) for row in rows} == {
        state.value: {after.value for after in MOVES[state]} for state in State
    }
    assert len(rows) == len(MOVES)


def test_the_holds_are_those_of_the_code() -> None:
    rows = table_with("docs/payout-flow.md", "reason", "refused as")
    refused = {HoldReason(code(row["reason"])[0]): row["refused as"] for row in rows}
    assert set(refused) == set(HoldReason)
    assert refused.pop(HoldReason.NOT_BEFORE) == "never refused"
    assert refused == {
        reason: f"`{ON_HOLD_CODE[reason]}`" if reason in ON_HOLD_CODE else "`held`" for reason in refused
    }
    counted = re.search(r"only time stands in its way \((.*?)\)", (ROOT / "docs/payout-flow.md").read_text())
    assert counted is not None
    assert set(code(counted[1])) == COUNTED_HOLDS


def test_the_picture_of_the_states_shows_every_state() -> None:
    picture = ElementTree.parse(ROOT / "docs/images/payout-states.svg")
    shown = {element.text for element in picture.iter(f"{SVG}text")}
    assert {state.value for state in State} <= shown


def test_the_errors_are_those_of_the_catalogue() -> None:
    rows = table_with("docs/api.md", "code", "status", "title", "again")
    assert [(row["code"], row["status"], row["title"], row["again"]) for row in rows] == [
        (f"`{each}`", str(row.status), row.title, "yes" if row.retryable else "no") for each, row in CATALOGUE.items()
    ]


def fields_of(value: JsonValue, path: str = "") -> set[str]:
    """The paths of everything that isn't an object or a list, such as `tiers[].approvals`."""
    if isinstance(value, dict):
        return {field for name, each in value.items() for field in fields_of(each, f"{path}.{name}".lstrip("."))}
    if isinstance(value, list):
        return {field for each in value for field in fields_of(each, f"{path}[]")}
    return {path}


def test_the_policy_of_the_document_is_one_and_every_field_is_explained() -> None:
    text = (ROOT / "docs/policy-language.md").read_text()
    example = re.search(r"^```json\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)
    assert example is not None
    document = parse_object(example[1].encode())
    policy = parse_policy(document)
    assert [tier.approvals for tier in policy.tiers] == [0, 1, 2]
    explained = [code(row["field"])[0] for row in table_with("docs/policy-language.md", "field", "says")]
    assert len(explained) == len(set(explained))
    assert set(explained) == fields_of(document)
    assert [code(row["scope"]) for row in table_with("docs/policy-language.md", "scope", "adds up over")] == [
        [each.value] for each in LimitScope
    ]
    assert [code(row["counts"]) for row in table_with("docs/policy-language.md", "counts", "which payouts")] == [
        [each.value] for each in Counts
    ]


def required(name: str) -> list[str]:
    """The packages that a requirements file asks for itself."""
    lines = (ROOT / "requirements" / name).read_text().splitlines()
    return [re.split(r"[\s<>=~\[;]", line)[0] for line in lines if line and not line.startswith(("-", "#"))]


def test_every_dependency_has_its_reason_and_nothing_else_has() -> None:
    text = (ROOT / "docs/dependencies.md").read_text()
    npm = json.loads((ROOT / "package.json").read_text())
    wanted = {name: required(name) for name in ("signer.in", "server.in", "dev.in")}
    wanted["package.json"] = [*npm["dependencies"], *npm.get("devDependencies", {})]
    found = {}
    for part in re.split(r"^## ", text, flags=re.MULTILINE)[1:]:
        heading, rows = part.split(":")[0], [row for table in tables(part) for row in table]
        if heading in wanted:
            found[heading] = [row["package"] for row in rows]
            assert all(row["why"] and row["licence"] for row in rows)
    assert {name: sorted(each) for name, each in found.items()} == {name: sorted(each) for name, each in wanted.items()}


def test_every_decision_is_listed_and_numbered() -> None:
    files = sorted(file.name for file in (ROOT / "docs/adr").glob("0*.md"))
    listed = [link for link in links((ROOT / "docs/adr/README.md").read_text()) if link.startswith("0")]
    assert listed == files
    assert [int(name[:4]) for name in files] == list(range(1, len(files) + 1))
    titles = {name: (ROOT / "docs/adr" / name).read_text().splitlines()[0] for name in files}
    told = re.findall(r"^\| \[(\d{4})\]\((\S+)\) \| (.*) \|$", (ROOT / "docs/adr/README.md").read_text(), re.MULTILINE)
    assert {name: f"# {number}: {title}" for number, name, title in told} == titles
    for name in files:
        lines = (ROOT / "docs/adr" / name).read_text().splitlines()
        assert lines[0].startswith(f"# {name[:4]}: ")
        assert re.match(r"(Accepted|Superseded by \[\d{4}\]\(.*\)), \d{4}-\d{2}-\d{2}\.", lines[2])
        assert len(lines) <= 60, f"{name} is longer than a page"


def test_every_room_is_described_and_an_empty_one_is_not_called_built() -> None:
    rows = table_with("ARCHITECTURE.md", "room", "what it is", "state")
    described = {room: row["state"] for row in rows for room in code(row["room"])}
    rooms = {file.parent.name: file for file in (ROOT / "src/strongroom").glob("*/__init__.py")}
    assert set(described) == set(rooms)
    says = {name: ast.get_docstring(ast.parse(file.read_text())) or "" for name, file in rooms.items()}
    empty = [name for name, text in says.items() if "Empty so far" in text]
    assert [name for name in empty if described[name] not in ("not built yet", "being built")] == []


def test_the_picture_of_the_house_shows_every_room() -> None:
    shown = {element.text for element in ElementTree.parse(ROOT / "docs/images/house.svg").iter(f"{SVG}text")}
    assert {file.parent.name for file in (ROOT / "src/strongroom").glob("*/__init__.py")} <= shown


def test_a_process_that_is_said_to_run_is_started_by_the_sandbox() -> None:
    rows = table_with("ARCHITECTURE.md", "process", "holds", "can't", "state")
    supervisor = (ROOT / "src/strongroom/sandbox/supervisor.py").read_text()
    started = set(re.findall(r'self\._product\(\s*"(\w+)"', supervisor))
    started |= set(re.findall(r"trusted\.(\w+)_child\(", supervisor))
    running = {code(row["process"])[0] for row in rows if row["state"].startswith("runs")}
    assert running
    assert running <= started


def test_every_target_of_make_that_is_named_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    named = {name for file in documents() for name in re.findall(r"\bmake ([a-z]+)\b`", file.read_text())}
    assert named <= targets
    assert {"up", "test", "check", "faults", "bench", "down"} <= named


def test_every_command_that_is_named_exists() -> None:
    named = {
        tuple(command.split()[1:3]) for file in documents() for command in code(unfenced(file.read_text()))
        if re.match(r"bin/strongroom [a-z]", command)
    }
    assert {("up", "--data"), ("audit", "export"), ("run", "import")} <= named
    for words in sorted(named):
        group = [word for word in words if word.isalpha() and word.islower()]
        done = subprocess.run(
            [sys.executable, "-m", "strongroom.cli", *group, "--help"], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{words}: {done.stderr}"
        assert f"strongroom {' '.join(group)}" in done.stdout, words


def test_the_ports_are_those_of_the_sandbox() -> None:
    rows = table_with("docs/operations.md", "port", "listens")
    offsets = {0 if row["port"] == "BASE" else int(row["port"].removeprefix("BASE + ")) for row in rows}
    assert offsets == {
        getattr(Ports(0), name) for name, kind in vars(Ports).items() if isinstance(kind, property)
    }


def test_the_exit_codes_are_those_of_the_command_line() -> None:
    text = " ".join((ROOT / "docs/operations.md").read_text().split())
    told = re.search(r"Exit codes of every command: (.*?)\.", text)
    assert told is not None
    assert [int(each.split()[0]) for each in told[1].split(", ")] == list(Exit)


def test_every_folder_of_tests_is_in_the_map() -> None:
    folders = {file.parent.relative_to(ROOT / "tests").parts[0] for file in (ROOT / "tests").glob("*/**/test_*.py")}
    described = {name for row in table_with("tests/README.md", "folder", "proves") for name in code(row["folder"])}
    assert folders <= described


@pytest.mark.parametrize("picture", sorted((ROOT / "docs").rglob("*.svg")), ids=names)
def test_a_picture_parses_says_what_it_shows_and_fetches_nothing(picture: Path) -> None:
    text = picture.read_text()
    root = ElementTree.fromstring(text)
    assert root.tag == f"{SVG}svg"
    assert root.find(f"{SVG}title") is not None
    assert root.find(f"{SVG}desc") is not None
    assert "prefers-color-scheme: dark" in text
    assert re.findall(r"https?://(?!www\.w3\.org/2000/svg)|@import|<script|<image|data:", text) == []
    used = {name for element in root.iter() for name in (element.get("class") or "").split()}
    assert {name for name in used if f".{name} " not in text} == set()
