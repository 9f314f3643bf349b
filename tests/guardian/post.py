"""The guardian at its post: a process with its configuration, a node or several, and what guard tells it."""

import json
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.contracts.vault import GUARDIAN_KEY, Vault
from tests.guard.process import Process, eventually

ALARM = "unknown-spend." + 40 * "a"


class Guard:
    """Answers `/v1/status` as guard does, in the part that the guardian reads (tests/guard holds it against guard)."""

    def __init__(self) -> None:
        self.alarms: list[str] = []
        self.vaults: Mapping[str, str] = {}
        self.others: Mapping[str, str] = {}
        """Those of another organisation, which has no alarm."""
        self.is_gone = False
        self.asked = 0
        guard = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                guard.asked += 1
                if guard.is_gone or self.path != "/v1/status":
                    self.send_error(503)
                    return
                organisations = {
                    "org_a": {"alarms": guard.alarms, "frozen": [], "vaults": dict(guard.vaults)},
                    "org_b": {"alarms": [], "frozen": [], "vaults": dict(guard.others)},
                }
                body = json.dumps({"lease": "all", "organisations": organisations}).encode()
                self.send_response(200)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Says nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def has_been_asked(self) -> None:
        """Twice from now on: what it said first was taken in."""
        before = self.asked
        assert eventually(lambda: self.asked > before + 1)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class Post:
    def __init__(self, folder: Path, vault: Vault, guard: Guard) -> None:
        self.folder, self.vault, self.guard = folder, vault, guard
        self.pauses = folder / "pauses"
        self.pauses.mkdir()
        self.node_url = f"http://127.0.0.1:{vault.node.port}"
        self.key_file = folder / "guardian.key"
        self.key_file.write_text(GUARDIAN_KEY.secret.hex() + "\n")

    def config(self, **changes: Any) -> Path:
        file = self.folder / "guardian.json"
        file.write_text(json.dumps({
            "folder": str(self.pauses), "guard_url": self.guard.url, "key_file": str(self.key_file),
            "nodes": {"eip155:31337": [self.node_url]}, "pause_ms": 50, "stuck_ms": 500,
        } | changes))
        return file

    def stand(self, **changes: Any) -> Process:
        return Process("strongroom.guardian.main", self.config(**changes))

    def waiting(self) -> list[dict[str, Any]]:
        """The guardian's chain transactions that wait for a block, by nonce."""
        pool = self.vault.node.rpc("txpool_content")["pending"]
        return [each for of_sender in pool.values() for _, each in sorted(of_sender.items())]

    def is_paused(self) -> bool:
        """After another block."""
        self.vault.node.rpc("evm_mine")
        return self.vault.paused()
