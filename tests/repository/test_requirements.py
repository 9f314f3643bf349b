"""The map of requirements is complete and claims nothing that isn't there."""

import re

import pytest
from tests.repository.documents import ROOT, code, links, table_with

DOCUMENT = "docs/requirements.md"
DRILLS = "docs/drills.md"
STATES = {"done", "part", "open"}


def faults_of(rows: list[dict[str, str]]) -> list[str]:
    """What is wrong with the map, a sentence each."""
    ids = [row["id"] for row in rows]
    faults = [f"{name} is missing" for name in (f"M{number}" for number in range(1, 47)) if name not in ids]
    faults += [f"{name} stands there twice" for name in sorted(set(ids)) if ids.count(name) > 1]
    faults += [f"{name} isn't a requirement" for name in ids if not re.fullmatch(r"M([1-9]|[1-3][0-9]|4[0-6])", name)]
    for row in rows:
        named = [*code(row["code"]), *code(row["test"])]
        drills = code(row["drill"])
        lost = [path for path in named + drills if not (ROOT / path).is_file()]
        faults += [f"{row['id']} names {path}, which isn't there" for path in lost]
        if row["state"] not in STATES:
            faults.append(f"{row['id']} has the state {row['state']!r}")
        if row["state"] != "open" and not code(row["code"]):
            faults.append(f"{row['id']} is {row['state']} without code")
        if row["state"] == "open" and (code(row["code"]) or code(row["test"])):
            faults.append(f"{row['id']} is open and names code")
        if row["state"] == "done" and not code(row["test"]):
            faults.append(f"{row['id']} is done without a test")
        if row["state"] == "done" and not drills and row["drill"] != "no attack":
            faults.append(f"{row['id']} is done without a drill")
        if row["state"] == "part" and row["note"] in ("", "–"):
            faults.append(f"{row['id']} is part and doesn't say what is missing")
        if not all(path.startswith("tests/") for path in code(row["test"])):
            faults.append(f"{row['id']} names a test outside of tests")
    return faults


def drills_of(cell: str) -> set[int]:
    """The numbers of the drills that a cell names: `D1–D3 D7` are 1, 2, 3 and 7."""
    found: set[int] = set()
    for first, last in re.findall(r"D(\d+)(?:–D(\d+))?", cell):
        found |= set(range(int(first), int(last or first) + 1))
    return found


def test_the_map_is_complete_and_true() -> None:
    assert faults_of(table_with(DOCUMENT, "id", "requirement", "state")) == []


def test_every_drill_belongs_to_a_requirement_and_every_one_that_is_named_exists() -> None:
    rows = table_with(DRILLS, "drill", "attack", "must happen", "state", "shown by")
    numbers = [int(row["drill"].removeprefix("D")) for row in rows]
    assert numbers == list(range(1, len(rows) + 1))
    named = set().union(*(drills_of(row["drill"]) for row in table_with(DOCUMENT, "id", "drill")))
    assert named <= set(numbers)
    assert set(numbers) - named == set()
    assert drills_of("planned: D1–D3, D7") == {1, 2, 3, 7}


def test_a_drill_that_is_called_done_has_a_file() -> None:
    for row in table_with(DRILLS, "drill", "attack", "state", "shown by"):
        assert row["state"] in {"done", "tested", "open"}
        assert row["state"] != "done" or any(path.startswith("src/strongroom/drill/") for path in code(row["shown by"]))


def test_a_drill_that_is_called_tested_names_tests_that_are_there() -> None:
    for row in table_with(DRILLS, "drill", "attack", "state", "shown by"):
        named = [each.partition("::") for each in code(row["shown by"])]
        assert row["state"] != "tested" or (named and all(test for _, _, test in named)), row
        for path, _, test in named:
            assert not test or f"def {test}(" in (ROOT / path).read_text(), f"{row['drill']}: {path} has no {test}"


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"id": "M2"}, "M1 is missing"),
        ({"id": "M2"}, "M2 stands there twice"),
        ({"id": "M47"}, "M47 isn't a requirement"),
        ({"state": "finished"}, "M1 has the state 'finished'"),
        ({"state": "part"}, "M1 is part without code"),
        ({"state": "done", "code": "`tools/tidy.py`"}, "M1 is done without a test"),
        ({"state": "done", "code": "`tools/tidy.py`", "test": "`tests/conftest.py`"}, "M1 is done without a drill"),
        ({"state": "part", "code": "`tools/gone.py`"}, "M1 names tools/gone.py, which isn't there"),
        ({"state": "part", "code": "`tools/tidy.py`", "note": "–"}, "M1 is part and doesn't say what is missing"),
        ({"code": "`tools/tidy.py`"}, "M1 is open and names code"),
        ({"state": "part", "test": "`tools/tidy.py`"}, "M1 names a test outside of tests"),
    ],
)
def test_each_lie_is_found(change: dict[str, str], fault: str) -> None:
    true = [
        {"id": f"M{number}", "state": "open", "code": "–", "test": "–", "drill": "none yet", "note": "–"}
        for number in range(1, 47)
    ]
    assert faults_of(true) == []
    assert fault in faults_of([{**true[0], **change}, *true[1:]])


def test_each_surface_has_a_page_that_names_its_requirement_and_its_drills() -> None:
    drills = {row["drill"] for row in table_with(DRILLS, "drill", "attack")}
    listed = table_with("docs/surfaces/README.md", "surface", "requirement")
    assert [row["requirement"] for row in listed] == [f"M{number}" for number in range(41, 47)]
    covered: set[str] = set()
    for row in listed:
        page = "docs/surfaces/" + links(row["surface"])[0]
        opening = " ".join((ROOT / page).read_text().split("|")[0].split())
        assert f"{row['requirement']}." in opening
        for first, last in re.findall(r"D(\d+)(?: to D(\d+))?", opening):
            covered |= {f"D{number}" for number in range(int(first), int(last or first) + 1)}
        lines = table_with(page, "what can happen", "what stops it", "today")
        assert all(cell for line in lines for cell in line.values())
    assert covered == drills
