"""What isn't Python: a Bitcoin and an EVM node for the sandbox, a browser and SoftHSM for tests; each fetched once.

A `bitcoind` on PATH is taken; else Debian's bitcoin-knots with its own libraries is unpacked into a folder, so that
nothing of the system is upgraded (packages are verified by apt as always; regtest only); Chromium and SoftHSM alike,
of the machine's own release of Debian. anvil comes from its npm package, pinned with its hash in package-lock.json. The
cache is `~/.cache/strongroom`, or STRONGROOM_CACHE. Whoever fetches holds a lock of the part meanwhile; who comes
second waits, and finds it there.
"""

import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from strongroom.sandbox.process import die_with_parent

Say = Callable[[str], None]

FETCH_TIMEOUT_S: Final = 240
_KEYRING: Final = "/usr/share/keyrings/debian-archive-keyring.gpg"
_LIBRARIES: Final = (
    "libc6 libstdc++6 libgcc-s1 libsqlite3-0 libzmq5 libsodium23 libpgm-5.3-0t64 libnorm1t64 libevent-core-2.1-7t64 "
    "libevent-extra-2.1-7t64 libevent-pthreads-2.1-7t64 libbsd0 libmd0 libgssapi-krb5-2 libkrb5-3 libk5crypto3 "
    "libkrb5support0 libcom-err2 libkeyutils1"
)


class PartError(Exception):
    """A part is missing and can't be fetched; the message says what to do."""


def root() -> Path:
    """The checkout."""
    return Path(__file__).resolve().parents[3]


def cache() -> Path:
    folder = Path(os.environ.get("STRONGROOM_CACHE", "~/.cache/strongroom")).expanduser()
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def bitcoind(say: Say) -> list[str]:
    """The command that starts a Bitcoin node. Raises: PartError."""
    on_path = shutil.which("bitcoind")
    if on_path is not None:
        return [on_path]
    prefix = cache() / "bitcoin-knots"
    if not (prefix / "usr/bin/bitcoind").exists():
        with _only_one(prefix, say):
            if not (prefix / "usr/bin/bitcoind").exists():
                say("fetching a Bitcoin node (Debian's bitcoin-knots, 15 MB, once)")
                _fetch_knots(prefix)
    libraries = prefix / "usr/lib/x86_64-linux-gnu"
    return [
        str(libraries / "ld-linux-x86-64.so.2"), "--argv0", "bitcoind", "--inhibit-cache", "--library-path",
        str(libraries), str(prefix / "usr/bin/bitcoind"),
    ]


def anvil(say: Say) -> list[str]:
    """The command that starts an EVM node. Raises: PartError."""
    on_path = shutil.which("anvil")
    if on_path is not None:
        return [on_path]
    program = node_modules(say) / "node_modules/@foundry-rs/anvil-linux-amd64/bin/anvil"
    if not program.exists():
        raise PartError(f"the npm package of anvil has no {program.name}")
    return [str(program)]


def node_modules(say: Say) -> Path:
    """The folder whose `node_modules` is what package-lock.json says. Raises: PartError."""
    lock = root() / "package-lock.json"
    folder = cache() / f"node-{hashlib.sha256(lock.read_bytes()).hexdigest()[:16]}"
    if folder.exists():
        return folder
    if shutil.which("npm") is None:
        raise PartError("npm is missing, and the EVM node comes from it. On Debian: apt-get install nodejs npm")
    with _only_one(folder, say):
        if not folder.exists():
            say("fetching an EVM node (anvil, from npm, once)")
            with _unfinished(folder) as unfinished:
                for name in ("package.json", "package-lock.json", ".npmrc"):
                    shutil.copy(root() / name, unfinished / name)
                command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
                _run(command, unfinished, "anvil can't be fetched from npm: is its registry reachable?")
                unfinished.rename(folder)
    return folder


def browser(say: Say) -> tuple[str, dict[str, str]]:
    """Chromium for tests and pictures of pages: the program, and the variables that it needs. Raises: PartError."""
    on_path = shutil.which("chromium")
    if on_path is not None:
        return on_path, {}
    prefix = cache() / "chromium"
    program = prefix / "usr/lib/chromium/chromium"
    if not program.exists():
        with _only_one(prefix, say):
            if not program.exists():
                say("fetching a browser (Debian's chromium, 200 MB, once)")
                what = "the browser can't be fetched: install chromium, or make Debian's packages reachable"
                with _unfinished(prefix) as folder:
                    _fetch_chromium_into(folder, what)
                    (folder / "prefix").rename(prefix)
    libraries = prefix / "usr/lib/x86_64-linux-gnu"
    return str(program), {
        "LD_LIBRARY_PATH": f"{libraries}:{prefix / 'lib/x86_64-linux-gnu'}:{libraries / 'pulseaudio'}",
        "FONTCONFIG_PATH": str(prefix / "etc/fonts"), "FONTCONFIG_SYSROOT": str(prefix),
    }


def _fetch_chromium_into(folder: Path, what: str) -> None:
    """With all that it depends on but the C library, which is this machine's: of its own release of Debian."""
    environment = _private_apt(folder, [_release(what)], what)
    (folder / "no-packages").touch()
    _run([
        "apt-get", "install", "-qq", "--yes", "--download-only", "--no-install-recommends", "-o",
        f"Dir::State::status={folder / 'no-packages'}", "chromium", "fonts-dejavu-core",
    ], folder, what, environment)
    for package in sorted((folder / "cache/archives").glob("*.deb")):
        if not package.name.startswith("libc6_"):
            _run(["dpkg", "-x", str(package), str(folder / "prefix")], folder, what)


@dataclass(frozen=True, slots=True)
class SoftHsm:
    """A hardware module that is none: `module` speaks PKCS#11 in this machine's Python, `util` makes tokens."""

    module: Path
    util: Path


def softhsm(say: Say) -> SoftHsm:
    """Raises: PartError."""
    prefix = cache() / "softhsm"
    made = SoftHsm(prefix / "usr/lib/softhsm/libsofthsm2.so", prefix / "usr/bin/softhsm2-util")
    if not made.util.exists():
        with _only_one(prefix, say):
            if not made.util.exists():
                say("fetching SoftHSM (Debian's softhsm2, 1 MB, once)")
                what = "SoftHSM can't be fetched: make Debian's packages reachable"
                _fetch(prefix, [_release(what)], ["libsofthsm2", "softhsm2"], what)
    return made


def _release(what: str) -> str:
    """Of Debian, this machine's. Raises: PartError."""
    release = re.search(r"^VERSION_CODENAME=(\w+)$", Path("/etc/os-release").read_text(), re.MULTILINE)
    if release is None:
        raise PartError(what)
    return release[1]


def _fetch_knots(prefix: Path) -> None:
    what = "the Bitcoin node can't be fetched: install Bitcoin Core 29 or newer, or make Debian's packages reachable"
    packages = ["bitcoin-knots/trixie-backports", *_LIBRARIES.split()]
    _fetch(prefix, ["trixie", "trixie-backports"], packages, what)


def _fetch(prefix: Path, releases: list[str], packages: list[str], what: str) -> None:
    """Just these packages, unpacked there. Raises: PartError."""
    with _unfinished(prefix) as folder:
        environment = _private_apt(folder, releases, what)
        _run(["apt-get", "download", "-qq", *packages], folder / "debs", what, environment)
        for package in sorted((folder / "debs").iterdir()):
            _run(["dpkg", "-x", str(package), str(folder / "prefix")], folder, what)
        (folder / "prefix").rename(prefix)


def _private_apt(folder: Path, releases: list[str], what: str) -> dict[str, str]:
    """The variables by which apt knows these releases, and nothing of the system's packages. Raises: PartError."""
    for tool in ("apt-get", "dpkg"):
        if shutil.which(tool) is None:
            raise PartError(f"{what} (there is no {tool})")
    for part in ("lists/partial", "cache/archives/partial", "debs", "prefix"):
        (folder / part).mkdir(parents=True)
    mirror = _debian_mirror(what)
    lines = [f"deb [signed-by={_KEYRING}] {mirror} {release} main\n" for release in releases]
    (folder / "sources.list").write_text("".join(lines))
    (folder / "apt.conf").write_text(
        f'Dir::Etc::sourcelist "{folder}/sources.list";\nDir::Etc::sourceparts "/dev/null";\n'
        f'Dir::State::Lists "{folder}/lists";\nDir::Cache "{folder}/cache";\nAPT::Sandbox::User "root";\n'
        'Acquire::Languages "none";\n'
    )
    environment = {"APT_CONFIG": str(folder / "apt.conf")}
    _run(["apt-get", "update", "-qq"], folder, what, environment)
    return environment


def _debian_mirror(what: str) -> str:
    """Where this machine gets Debian from."""
    files = [Path("/etc/apt/sources.list"), *sorted(Path("/etc/apt/sources.list.d").glob("*"))]
    for file in files:
        text = file.read_text(errors="replace") if file.is_file() else ""
        found = re.search(r"^URIs: *(\S+/debian/?)\s*$", text, re.MULTILINE) or re.search(
            r"^deb (?:\[.*?\] )?(\S+/debian/?) ", text, re.MULTILINE
        )
        if found is not None:
            return found[1]
    raise PartError(f"{what} (apt has no Debian source)")


def _run(command: list[str], folder: Path, what: str, environment: dict[str, str] | None = None) -> None:
    """Ends with us, and all that it started with it. Raises: PartError."""
    with subprocess.Popen(
        command, cwd=folder, env={**os.environ, **(environment or {})}, text=True, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
        preexec_fn=die_with_parent,  # noqa: PLW1509 one prctl; it takes no lock
    ) as process:
        try:
            output, errors = process.communicate(timeout=FETCH_TIMEOUT_S)
        except subprocess.TimeoutExpired as fault:
            raise PartError(f"{what} ({command[0]} took longer than {FETCH_TIMEOUT_S} s)") from fault
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    if process.returncode != 0:
        last = (errors.strip() or output.strip()).splitlines()[-3:]
        raise PartError(f"{what} ({' '.join(last)})")


@contextmanager
def _only_one(part: Path, say: Say) -> Iterator[None]:
    """The lock of a part; the kernel frees it when its holder ends, however that ends."""
    with part.with_name(f"{part.name}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"waiting for another process that fetches {part.name}")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def _unfinished(final: Path) -> Iterator[Path]:
    """A fresh folder beside `final`, in which what is to stand there is made; nothing of it is left behind."""
    folder = final.with_name(f"{final.name}.unfinished")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
