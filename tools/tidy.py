"""The rules of the house that no other tool checks, as code. `python tools/tidy.py [ROOT]` exits with 1 on findings.

Each rule is a function from a file to findings, listed in one of the tables at the end. tests/repository shows each of
them failing on an injected fault.
"""

import ast
import io
import re
import subprocess
import sys
import tokenize
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

FUNCTION_MAXIMUM = 70
SIGNER_FUNCTION_MAXIMUM = 40
FILE_MAXIMUM = 500
CORE_MAXIMUM = 5_800
"""Lines of code of the trusted core, which is every module that signer or guard load (docs/adr/0028)."""
CHAINS = {"simulated": 230, "bitcoin": 650, "evm": 650, "pkcs11": 200}
"""What of it is for one chain alone, or for keys in a hardware module, by a part of its modules' names, and may have so
many (docs/adr/0042, 0052)."""
CORE_STARTS = ("signer", "guard")
EXACT = ("domain", "protocol", "formats", "journal", "signer")
"""Rooms in which nothing may be guessed, rounded or taken from outside."""
OPENING = ("journal", "signer")
"""Of these, the rooms with files of their own."""
TOKENS = tuple(f"src/strongroom/signer/pkcs11_{name}.py" for name in ("token", "ceremony"))
"""Who opens sessions with a hardware module."""

FORBIDDEN_CALLS = {"open", "eval", "exec", "__import__", "import_module", "now", "utcnow", "today", "float"}
BROAD = {"Exception", "BaseException"}
SQL = re.compile(r"\s*(SELECT|INSERT INTO|UPDATE|DELETE FROM|CREATE|ALTER|TRUNCATE)\s+(?:[\w*(\"'$]|$)")
# Written in parts, so that this file doesn't hold what it looks for.
HOSTS = re.compile("|".join(re.escape(first + second) for first, second in (
    ("pypi", ".org"), ("python", "hosted"), ("registry.npm", "js"), ("deb.debian", ".org"), ("debian", ".org/debian"),
)))
PATHS = re.compile("(?<![\\w./$}])/(" + "|".join(("work", "root", "farm")) + ")/")
SECRETS = re.compile("-----BEGIN " + "[A-Z ]*PRIVATE KEY-----")
NOT_CODE = {
    tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER,
}
EXCUSES = re.compile(r"#\s*(pragma: no cover|type: ignore(?:\[[\w, -]+\])?|noqa(?:: ?[A-Z0-9, ]+)?)(.*)$")
CHECKING = ("raises", "assert", "expect", "check", "verify", "must", "refuse", "test_")


@dataclass(frozen=True, order=True)
class Finding:
    path: str
    line: int
    rule: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line} {self.rule}: {self.message}"


@dataclass(frozen=True)
class Source:
    """A Python file of the package or of the tests."""

    path: str
    text: str
    tree: ast.Module

    @property
    def room(self) -> str:
        parts = Path(self.path).parts
        return parts[2] if parts[:2] == ("src", "strongroom") and len(parts) > 3 else ""


Found = Iterator[tuple[int, str]]


def module_docstring(source: Source) -> Found:
    if ast.get_docstring(source.tree) is None:
        yield 1, "the module says nothing of what it is for"


def function_length(source: Source) -> Found:
    maximum = SIGNER_FUNCTION_MAXIMUM if source.room == "signer" else FUNCTION_MAXIMUM
    for node in ast.walk(source.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > maximum:
                yield node.lineno, f"{node.name} has {length} lines, and may have {maximum}"


def file_length(source: Source) -> Found:
    length = source.text.count("\n")
    if length > FILE_MAXIMUM:
        yield length, f"the file has {length} lines, and may have {FILE_MAXIMUM}"


def unfinished(source: Source) -> Found:
    for number, line in enumerate(source.text.splitlines(), start=1):
        if re.search(r"\b(TODO|FIXME|XXX)\b", line):
            yield number, "unfinished work is said in an issue"


def exact(source: Source) -> Found:
    """In the rooms that decide about money: no clock, no file, no float, no division, nothing caught unseen."""
    if source.room not in EXACT:
        return
    for node in ast.walk(source.tree):
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Name(id="os"), attr="open")) if source.room in OPENING:
                pass  # by flags and mode; the pure rooms can't import os
            case ast.Call(func=ast.Attribute(value=ast.Name(id="token"), attr="open")) if source.path in TOKENS:
                pass  # a session of a hardware module, and no file
            case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name)) if name in FORBIDDEN_CALLS:
                yield node.lineno, f"{name}() is not for this room"
            case ast.Constant(value=float()):
                yield node.lineno, "a float literal"
            case ast.BinOp(op=ast.Div()) | ast.AugAssign(op=ast.Div()):
                yield node.lineno, "the operator / makes a float"
            case ast.ExceptHandler(type=None):
                yield node.lineno, "a bare except"
            case ast.ExceptHandler(type=ast.Name(id=name)) if name in BROAD:
                yield node.lineno, f"except {name} catches what nobody thought of"
            case ast.Assert():
                yield node.lineno, "assert vanishes under -O"


def sql_in_store(source: Source) -> Found:
    if source.room in ("", "store"):
        return
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and SQL.match(node.value):
            yield node.lineno, "SQL stands only in store"


def printing(source: Source) -> Found:
    if source.room in ("", "cli"):
        return
    for node in ast.walk(source.tree):
        match node:
            case ast.Call(func=ast.Name(id="print")):
                yield node.lineno, "only the command line prints"


def bare_tests(source: Source) -> Found:
    if not source.path.startswith("tests/"):
        return
    for node in ast.walk(source.tree):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or not node.name.startswith("test_"):
            continue
        inside = list(ast.walk(node))
        calls = [ast.unparse(each.func) for each in inside if isinstance(each, ast.Call)]
        calls += [ast.unparse(each) for each in node.decorator_list]
        asserts = any(isinstance(each, ast.Assert) for each in inside)
        if not asserts and not any(word in call for call in calls for word in CHECKING):
            yield node.lineno, f"{node.name} can't fail"
        if any(re.search(r"\b(skip|xfail)", call) for call in calls) and "reason=" not in ast.unparse(node):
            yield node.lineno, f"{node.name} is skipped without a reason"


def excuses(source: Source) -> Found:
    for number, line in enumerate(source.text.splitlines(), start=1):
        excuse = EXCUSES.search(line)
        if excuse is not None and len(excuse[2].strip(" #:")) < 8:
            yield number, f"{excuse[1]} needs its reason on the line"


def hosts_and_paths(_: str, text: str) -> Found:
    for number, line in enumerate(text.splitlines(), start=1):
        if HOSTS.search(line):
            yield number, "names the host of a package registry"
        if PATHS.search(line):
            yield number, "names a path of one machine"


def secrets(_: str, text: str) -> Found:
    for number, line in enumerate(text.splitlines(), start=1):
        if SECRETS.search(line):
            yield number, "a private key"


def whitespace(path: str, text: str) -> Found:
    if "\r" in text:
        yield 1, "a carriage return"
    if text and not text.endswith("\n"):
        yield text.count("\n") + 1, "no newline at the end"
    for number, line in enumerate(text.splitlines(), start=1):
        if line != line.rstrip() and not path.endswith((".md", ".csv")):
            yield number, "space at the end of a line"
        if "\t" in line and path.endswith(".py"):
            yield number, "a tab"


def requirements(path: str, text: str) -> Found:
    if not re.fullmatch(r"requirements/\w+\.txt", path):
        return
    whole = re.sub(r"\\\n\s*", " ", text)
    for number, line in enumerate(whole.splitlines(), start=1):
        if line.startswith("-") or "://" in line:
            yield number, "a requirement file names no index and no other file"
        elif line.strip() and not line.lstrip().startswith("#") and "--hash=sha256:" not in line:
            yield number, f"{line.split('=')[0]} has no hash"


def lock_file(path: str, text: str) -> Found:
    if path.endswith("package-lock.json") and '"resolved"' in text:
        yield 1, "names where packages come from"


SOURCE_RULES: dict[str, Callable[[Source], Found]] = {
    "docstring": module_docstring,
    "function-length": function_length,
    "file-length": file_length,
    "unfinished": unfinished,
    "exact": exact,
    "sql": sql_in_store,
    "print": printing,
    "bare-test": bare_tests,
    "excuse": excuses,
}
FILE_RULES: dict[str, Callable[[str, str], Found]] = {
    "host-or-path": hosts_and_paths,
    "secret": secrets,
    "whitespace": whitespace,
    "requirements": requirements,
    "lock-file": lock_file,
}
ONLY_IN_SOURCE = {"file-length", "function-length", "unfinished"}


def tidy(root: Path, files: Iterable[str]) -> list[Finding]:
    """All findings in these files of `root`; what isn't text is passed over."""
    findings: list[Finding] = []
    for path in files:
        try:
            text = (root / path).read_bytes().decode("utf-8")
        except (UnicodeDecodeError, FileNotFoundError):
            continue
        for rule, check in FILE_RULES.items():
            findings += [Finding(path, line, rule, message) for line, message in check(path, text)]
        if path.endswith(".py"):
            source = Source(path, text, ast.parse(text))
            for name, look in SOURCE_RULES.items():
                if name not in ONLY_IN_SOURCE or path.startswith("src/"):
                    findings += [Finding(path, line, name, message) for line, message in look(source)]
    return sorted([*findings, *_core_size(root)])


def core_sizes(root: Path) -> dict[str, int]:
    """Lines of code of the trusted core by room: all of signer and guard, and what they import, however far away.

    What they load for one chain alone stands under its name.
    """
    modules = {_module(file, root): file for file in (root / "src/strongroom").rglob("*.py")}
    trees = {name: ast.parse(file.read_text("utf-8")) for name, file in modules.items()}
    found: dict[str, str] = {}
    ends: dict[str, set[str]] = {"": {name for name in modules if [*name.split("."), ""][1] in CORE_STARTS}}
    for chain in ("", *CHAINS):  # the core first: what both need is the core's
        waiting = ends.pop(chain, set())
        while waiting:
            name = waiting.pop()
            own = _chain(name)
            if own not in ("", chain):
                ends.setdefault(own, set()).add(name)
            elif name not in found:
                found[name] = chain or [*name.split("."), ""][1]
                waiting |= imported(trees[name]) & modules.keys()
    sizes: Counter[str] = Counter()
    for name, part in found.items():
        sizes[part] += code_lines(modules[name].read_text("utf-8"), trees[name])
    return dict(sorted(sizes.items()))


def _chain(module: str) -> str:
    """For which chain alone it is, by its name; empty if for none."""
    return next((chain for chain in CHAINS if chain in module.rpartition(".")[2]), "")


def _module(file: Path, root: Path) -> str:
    return ".".join(file.relative_to(root / "src").with_suffix("").parts).removesuffix(".__init__")


def imported(tree: ast.Module) -> set[str]:
    """The names that a module imports, each of which may be a module or stand in one."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{each.name}" for each in node.names)}
        elif isinstance(node, ast.Import):
            names |= {each.name for each in node.names}
    return names


def code_lines(text: str, tree: ast.Module) -> int:
    """Lines on which code stands: neither blank, nor a comment, nor a docstring."""
    told = {
        line for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)
    }
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in NOT_CODE:
            lines.update(range(token.start[0], token.end[0] + 1))
    return len(lines - told)


def _core_size(root: Path) -> list[Finding]:
    sizes = core_sizes(root)
    parts = {"the trusted core": (_core_total(sizes), CORE_MAXIMUM)}
    parts |= {f"its part for {chain}": (sizes.get(chain, 0), maximum) for chain, maximum in CHAINS.items()}
    return [
        Finding("src/strongroom", 1, "core-size", f"{part} has {size} lines of code, and may have {maximum}")
        for part, (size, maximum) in parts.items() if size > maximum
    ]


def _core_total(sizes: dict[str, int]) -> int:
    return sum(size for part, size in sizes.items() if part not in CHAINS)


def tracked(root: Path) -> list[str]:
    listed = subprocess.run(
        ["git", "-C", str(root), "ls-files", "-co", "--exclude-standard"], capture_output=True, text=True, check=True
    )
    return listed.stdout.splitlines()


def main() -> int:
    root = Path(sys.argv[1] if len(sys.argv) > 1 else ".").resolve()
    findings = tidy(root, tracked(root))
    for finding in findings:
        print(finding)
    sizes = core_sizes(root)
    parts = ", ".join(f"{room} {size}" for room, size in sizes.items() if room not in CHAINS)
    chains = ", ".join(f"{chain} {sizes.get(chain, 0)} of {maximum}" for chain, maximum in CHAINS.items())
    print(f"trusted core: {_core_total(sizes)} of {CORE_MAXIMUM} lines of code ({parts}); beside it {chains}")
    print(f"{len(findings)} findings")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
