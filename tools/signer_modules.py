"""Writes tests/repository/signer_modules.txt: every module that the signer loads, seen from a fresh interpreter.

And beside it signer_modules_pkcs11.txt: what it loads besides when its keys are in a hardware module.

`python tools/signer_modules.py`. A module that comes into the list is a decision: look at the difference, and say
below why it is there if its name makes one wonder. What must never be in it stands in the test that reads the list.
"""

import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LIST = ROOT / "tests/repository/signer_modules.txt"
TOKEN_LIST = ROOT / "tests/repository/signer_modules_pkcs11.txt"
MAIN, TOKEN = "strongroom.signer.main", "strongroom.signer.pkcs11_token"
PROGRAM = "import sys, {}; print(*sorted(sys.modules), sep='\\n')"
PYTHON = f"Python {sys.version_info[0]}.{sys.version_info[1]}"
HEAD = f"""\
# Every module that the signer has loaded, in its own environment; made by tools/signer_modules.py, compared by
# tests/repository/test_closure.py. The standard library's are those of {PYTHON}.
"""
TOKEN_HEAD = f"""\
# What the signer loads besides when its configuration names a token (PKCS#11), before it locks itself down; made by
# tools/signer_modules.py, compared by tests/repository/test_closure.py. The standard library's are those of {PYTHON}.
"""
TOKEN_REASONS = {
    "asn1crypto.core": "python-pkcs11 imports it for keys and curves in DER; nothing here is parsed by it",
    "pkcs11": "its C side loads the module by dlopen, and calls it",
    "urllib": "of the next",
    "urllib.parse": "asn1crypto takes addresses in certificates apart by it; it fetches nothing",
}
REASONS = {
    "_openssl": "the C side of cryptography.hazmat.bindings",
    "_sodium": "libsodium, the C side of nacl",
    "cryptography.hazmat.bindings.openssl.binding": "cryptography loads its backend when a signature is first checked, "
    "so main loads it before the lock",
    "cryptography.hazmat.decrepit.ciphers.algorithms": "cryptography's list of ciphers names the old ones too; none is "
    "used",
    "cryptography.hazmat.primitives.asymmetric.rsa": "cryptography's elliptic curves import its paddings, which import "
    "RSA; no RSA key is accepted",
    "ctypes": "hardening calls prctl, mlockall, Landlock and seccomp by it; afterwards there is nothing new to load",
    "inspect": "dataclasses imports it, and it ast, dis, importlib.machinery, linecache and tokenize",
    "nacl.public": "nacl.signing imports it; no box is opened",
    "pyrage.plugin": "pyrage has it inside; an age plugin would be a program, and none can be started once locked",
    "random": "cryptography's RSA imports it; nothing here draws from it",
    "selectors": "socket imports it",
    "sitecustomize": "Debian's, run at every start of Python; it does nothing unless apport is installed",
    "socket": "for the listening Unix sockets that are inherited and their accepted connections; none is made",
    "threading": "cryptography's binding holds a lock of it; no thread is started",
}
OPTIONAL = ("sitecustomize",)
"""Of the machine's Python, there or not."""


def loaded(python: Path, *modules: str) -> list[str]:
    """The modules of a signer in the environment of this interpreter, without how we looked."""
    command = [str(python), "-I", "-B", "-c", PROGRAM.format(", ".join([MAIN, *modules]))]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd="/")
    return [name for name in done.stdout.split() if name != "__main__"]


def is_standard(name: str) -> bool:
    top = name.partition(".")[0]
    return top in sys.stdlib_module_names or top in OPTIONAL


def listed(file: Path = LIST) -> set[str]:
    lines = (line.partition("#")[0].strip() for line in file.read_text().splitlines())
    return {line for line in lines if line}


def text(names: Iterable[str]) -> str:
    return _text(HEAD, {*names, *OPTIONAL}, REASONS)


def token_text(names: Iterable[str]) -> str:
    return _text(TOKEN_HEAD, names, TOKEN_REASONS)


def _text(head: str, names: Iterable[str], reasons: Mapping[str, str]) -> str:
    groups: dict[str, list[str]] = {"strongroom": [], "libraries": [], "standard library": []}
    for name in sorted(names):
        ours = name.partition(".")[0] == "strongroom"
        groups["strongroom" if ours else "standard library" if is_standard(name) else "libraries"].append(name)
    return head + "".join("\n".join(["", f"# {title}", *_lines(group, reasons), ""]) for title, group in groups.items())


def _lines(names: Iterable[str], reasons: Mapping[str, str]) -> Iterator[str]:
    for name in names:
        yield f"{name}  # {reasons[name]}" if name in reasons else name


def main() -> int:
    python = ROOT / ".venv-signer/bin/python"
    names = loaded(python)
    besides = set(loaded(python, TOKEN)) - set(names)
    unused = (REASONS.keys() - {*names, *OPTIONAL}) | (TOKEN_REASONS.keys() - besides)
    if unused:
        sys.stderr.write(f"reasons for what isn't loaded: {', '.join(sorted(unused))}\n")
        return 1
    LIST.write_text(text(names))
    TOKEN_LIST.write_text(token_text(besides))
    return 0


if __name__ == "__main__":
    sys.exit(main())
