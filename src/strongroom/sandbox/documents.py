"""What a sandbox writes of itself: sandbox.json for people and programs, processes.json for who ends it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from strongroom.sandbox.evm import CHAIN_ID
from strongroom.sandbox.evm_vault import vault_of
from strongroom.sandbox.funding import Nodes
from strongroom.sandbox.organisation import write_private
from strongroom.sandbox.ports import Ports
from strongroom.sandbox.process import Child, Known, start_time
from strongroom.store.postgres import Cluster


def read_deployment(data: Path) -> dict[str, Any]:
    """What was founded, once in the sandbox's life."""
    found: dict[str, Any] = json.loads((data / "deployment.json").read_text())
    return found


@dataclass(frozen=True, slots=True)
class Documents:
    data: Path
    ports: Ports
    rails: frozenset[str]
    nodes: Nodes

    def write(
        self, children: Sequence[Child], cluster: Cluster, admin_socket: Path, urls: Mapping[str, str], *, ready: bool
    ) -> None:
        """sandbox.json says what exists, and no more; `urls` are the pages for people."""
        founded = read_deployment(self.data)
        document: dict[str, Any] = {"ready": ready, "deployment": founded.pop("deployment")}
        if ready:
            document["api_url"] = f"http://127.0.0.1:{self.ports.api}"
            document["guard_url"] = f"http://127.0.0.1:{self.ports.guard}"
            document |= urls
            document["admin_socket"] = str(admin_socket)
            if "simulated" in self.rails:
                document["simulated"] = {"url": f"http://127.0.0.1:{self.ports.simulated}"}
        document |= founded
        document["isolation"] = {
            child.name: "a user of its own" if child.user is not None else "not isolated" for child in children
        }
        document |= self._nodes(founded)
        document["database_url"] = cluster.owner_dsn
        known = {child.name: child.known() for child in children if ready and child.running()}
        if ready and cluster.running():
            known["postgres"] = Known(cluster.pid, start_time(cluster.pid) or 0)
        document["pids"] = {name: each.pid for name, each in known.items()}
        write_private(self.data / "sandbox.json", json.dumps(document, indent=1) + "\n")
        started = {name: [each.pid, each.started] for name, each in known.items()}
        write_private(self.data / "processes.json", json.dumps(started) + "\n")

    def _nodes(self, founded: Mapping[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        if self.nodes.bitcoin is not None:
            found["bitcoin"] = {
                "rpc_url": f"http://127.0.0.1:{self.ports.bitcoin_rpc}",
                "cookie_file": str(self.data / "bitcoin" / "regtest" / ".cookie"),
            }
        if self.nodes.evm is not None:
            found["evm"] = {
                "rpc_url": f"http://127.0.0.1:{self.ports.evm}", "chain_id": CHAIN_ID,
                "hot_vault": vault_of(founded["organisation"]),
            }
        return found
