"""Items of runs with their proofs, as the signer wants them: each stands for itself, without the rest of its run."""

from base64 import b64encode

from strongroom.protocol.canonical import JsonValue
from strongroom.protocol.merkle_frontier import Frontier
from strongroom.protocol.merkle_proof import Node, inclusion_proof
from strongroom.store import engine as store
from strongroom.store.engine import DuePayout
from strongroom.store.session import Session


class RunProofs:
    """Builds a run's tree once for all items that are asked about."""

    def __init__(self, connection: Session) -> None:
        self._connection = connection
        self._trees: dict[str, tuple[int, dict[Node, bytes]]] = {}

    async def item(self, payout: DuePayout) -> JsonValue:
        """How the signer is told of a payout: by its id, or as an item of its run."""
        if payout.run is None or payout.run_index is None:
            return {"payout": payout.id}
        size, nodes = await self._tree(payout.run)
        leaf = await store.run_leaf(self._connection, payout.run, payout.run_index)
        proof = inclusion_proof(payout.run_index, size, nodes.__getitem__)
        return {"leaf": b64encode(leaf).decode(), "proof": [[each.hex()] for each in proof], "run": payout.run}

    async def _tree(self, run: str) -> tuple[int, dict[Node, bytes]]:
        if run not in self._trees:
            hashes = await store.run_leaf_hashes(self._connection, run)
            completed = Frontier().append(hashes)
            nodes = {(level, position): digest for level, position, digest in completed}
            self._trees[run] = (len(hashes), nodes)
        return self._trees[run]
