"""The ports of a sandbox: a base and what follows it, each for one purpose."""

import os
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Final

SPAN: Final = 20
_LISTEN_STATE: Final = "0A"


class PortTakenError(Exception):
    """A port that is needed is taken; the message says by whom, and how to move."""


@dataclass(frozen=True, slots=True)
class Ports:
    base: int

    @property
    def api(self) -> int:
        return self.base

    @property
    def console(self) -> int:
        return self.base + 1

    @property
    def station(self) -> int:
        return self.base + 2

    @property
    def guard(self) -> int:
        return self.base + 3

    @property
    def guard_signer(self) -> int:
        return self.base + 6

    @property
    def simulated(self) -> int:
        return self.base + 13

    @property
    def api_metrics(self) -> int:
        return self.base + 5

    @property
    def postgres(self) -> int:
        return self.base + 10

    @property
    def bitcoin_rpc(self) -> int:
        return self.base + 11

    @property
    def evm(self) -> int:
        return self.base + 12

    def check(self) -> None:
        """Raises: PortTakenError for the first that is taken."""
        if not 1024 <= self.base <= 65535 - SPAN:
            raise PortTakenError(f"the base port must be from 1024 to {65535 - SPAN}")
        for name in (
            "api", "station", "guard", "api_metrics", "guard_signer", "postgres", "bitcoin_rpc", "evm", "simulated",
        ):
            port: int = getattr(self, name)
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind(("127.0.0.1", port))
                except OSError as fault:
                    raise PortTakenError(
                        f"port {port} ({name.replace('_', ' ')}) is taken by {_holder(port)}; "
                        f"end it, or move the sandbox: --ports {self.base + 100}"
                    ) from fault


def _holder(port: int) -> str:
    """The process that listens on a port, as far as we may see."""
    inodes = {
        columns[9]
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]
        if (columns := line.split())[3] == _LISTEN_STATE and int(columns[1].rpartition(":")[2], 16) == port
    }
    for process in Path("/proc").glob("[0-9]*"):
        try:
            for descriptor in (process / "fd").iterdir():
                if os.readlink(descriptor).removeprefix("socket:[").rstrip("]") in inodes:
                    command = (process / "cmdline").read_bytes().split(b"\0")[0].decode(errors="replace")
                    return f"{command} (pid {process.name})"
        except OSError:
            continue
    return "another process"
