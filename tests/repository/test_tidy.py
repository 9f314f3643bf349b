"""Each rule of tools/tidy.py fails on a fault, and the repository has none."""

from pathlib import Path

import pytest
from tools import tidy

ROOT = Path(__file__).parents[2]
DOC = '"""What it is for."""\n'

FAULTS = [
    ("docstring", "src/strongroom/api/x.py", "X = 1\n"),
    ("function-length", "src/strongroom/api/x.py", DOC + "def f() -> None:\n" + "    g()\n" * 70),
    ("function-length", "src/strongroom/signer/x.py", DOC + "def f() -> None:\n" + "    g()\n" * 40),
    ("file-length", "src/strongroom/api/x.py", DOC + "X = 1\n" * 500),
    ("unfinished", "src/strongroom/api/x.py", DOC + "# TO" + "DO: later\n"),
    *(
        ("exact", f"src/strongroom/{room}/x.py", DOC + fault)
        for room in ("domain", "protocol", "formats", "journal", "signer")
        for fault in (
            "open('x')\n", "eval('1')\n", "exec('1')\n", "__import__('os')\n", "importlib.import_module('os')\n",
            "datetime.now()\n", "datetime.utcnow()\n", "date.today()\n", "float('1')\n", "X = 1.5\n", "X = 1 / 2\n",
            "X = 4\nX /= 2\n", "try:\n    f()\nexcept:\n    g()\n", "try:\n    f()\nexcept Exception:\n    g()\n",
            "try:\n    f()\nexcept BaseException:\n    g()\n", "assert X\n",
        )
    ),
    ("sql", "src/strongroom/api/x.py", DOC + "X = 'SELECT * FROM payouts'\n"),
    ("sql", "src/strongroom/sandbox/x.py", DOC + "X = f'INSERT INTO {table} VALUES (1)'\n"),
    ("print", "src/strongroom/watch/x.py", DOC + "print(1)\n"),
    ("bare-test", "tests/x/test_x.py", DOC + "def test_nothing() -> None:\n    f()\n"),
    ("bare-test", "tests/x/test_x.py", DOC + "@pytest.mark.skip\ndef test_x() -> None:\n    assert f()\n"),
    ("excuse", "src/strongroom/api/x.py", DOC + "X = f()  # type: " + "ignore[attr-defined]\n"),
    ("excuse", "src/strongroom/api/x.py", DOC + "X = f()  # no" + "qa: S101\n"),
    ("excuse", "src/strongroom/api/x.py", DOC + "X = f()  # pragma: " + "no cover\n"),
    ("host-or-path", "docs/x.md", "see https://py" + "pi.org/simple\n"),
    ("host-or-path", "docs/x.md", "in /ro" + "ot/.cache\n"),
    ("secret", "docs/x.md", "-----BEGIN " + "PRIVATE KEY-----\n"),
    ("whitespace", "docs/x.md", "no newline"),
    ("whitespace", "docs/x.md", "return\r\n"),
    ("whitespace", "src/strongroom/api/x.py", DOC + "X = 1 \n"),
    ("whitespace", "src/strongroom/api/x.py", DOC + "if X:\n\tf()\n"),
    ("requirements", "requirements/server.txt", "httpx==0.28.1\n"),
    ("requirements", "requirements/server.txt", "--index-url x\n"),
    ("lock-file", "package-lock.json", '{"resolved": "x"}\n'),
    ("core-size", "src/strongroom/signer/x.py", DOC + "X = 1\n" * 6_001),
    ("core-size", "src/strongroom/signer/sign_bitcoin.py", DOC + "X = 1\n" * 1_001),
]


@pytest.mark.parametrize(("rule", "path", "text"), FAULTS)
def test_a_rule_fails_on_its_fault(tmp_path: Path, rule: str, path: str, text: str) -> None:
    file = tmp_path / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(text.encode())
    assert rule in {finding.rule for finding in tidy.tidy(tmp_path, [path])}


def test_every_rule_has_a_fault_here() -> None:
    assert {rule for rule, _, _ in FAULTS} == {*tidy.SOURCE_RULES, *tidy.FILE_RULES, "core-size"}


def sizes_of(root: Path, files: dict[str, str]) -> dict[str, int]:
    for name, text in files.items():
        file = root / "src/strongroom" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return tidy.core_sizes(root)


def test_the_core_is_what_signer_and_guard_load_and_only_code_counts(tmp_path: Path) -> None:
    files = {
        "signer/a.py": DOC + "# why\n\nfrom strongroom.protocol import b\nfrom strongroom.domain.c import X\n",
        "guard/d.py": DOC + 'import strongroom.protocol.b\n\ndef f() -> str:\n    """What."""\n    return """2\n"""\n',
        "protocol/b.py": DOC + "X = (\n    1,\n)\n",
        "domain/c.py": DOC + "from strongroom.domain.e import X  # a name, and no module\n",
        "domain/e.py": DOC + "X = 1\n",
        "domain/of_nobody.py": DOC + "X = 1\n",
    }
    assert sizes_of(tmp_path, files) == {"domain": 2, "guard": 4, "protocol": 3, "signer": 2}


def test_what_is_for_one_chain_alone_is_counted_beside_the_core(tmp_path: Path) -> None:
    files = {
        "signer/a.py": DOC + "from strongroom.signer.sign_bitcoin import X\nfrom strongroom.formats.c import Y\n",
        "signer/sign_bitcoin.py": DOC + "from strongroom.formats.b import X\nfrom strongroom.formats.c import Y\n",
        "formats/b.py": DOC + "X = 1\nZ = 1\n",
        "formats/c.py": DOC + "Y = 1\n",
        "formats/bitcoin_of_nobody.py": DOC + "X = 1\n",
        "guard/eyes_bitcoin.py": DOC + "X = 1\n",
    }
    assert sizes_of(tmp_path, files) == {"bitcoin": 5, "formats": 1, "signer": 2}


def test_only_signer_and_journal_open_files_and_only_by_flags(tmp_path: Path) -> None:
    cases = [("signer", "os.open", 0), ("journal", "os.open", 0), ("signer", "io.open", 1), ("domain", "os.open", 1)]
    for room, call, found in cases:
        path = f"src/strongroom/{room}/x.py"
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(DOC + f"{call}('x', 0)\n")
        assert len(tidy.tidy(tmp_path, [path])) == found


def test_the_repository_is_tidy() -> None:
    assert [str(finding) for finding in tidy.tidy(ROOT, tidy.tracked(ROOT))] == []


def test_what_is_not_text_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(b"\xff\xfe")
    assert tidy.tidy(tmp_path, ["x.png", "gone.py"]) == []
