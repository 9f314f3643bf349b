"""The map of requirements is complete and claims nothing that isn't there."""

import re

import pytest
from tests.repository.documents import ROOT, code, table_with

DOCUMENT = "docs/requirements.md"
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


def test_the_map_is_complete_and_true() -> None:
    assert faults_of(table_with(DOCUMENT, "id", "requirement", "state")) == []


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
