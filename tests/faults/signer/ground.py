"""Where the shops of a test stand: a folder, a nursery over a patched copy, and ports.

In memory if there is such a folder: a kill leaves the page cache to the next process whatever the disk is, and what a
missing sync would lose is shown on a simulated disk (`power`).
"""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.adversary.build import Patch
from tests.faults.signer.points import build
from tests.faults.signer.shop import Nursery
from tests.ports import PortBlock, port_block

IS_FULL = os.environ.get("STRONGROOM_FAULTS") == "full"
SEED = int(os.environ.get("STRONGROOM_SEED", "20261124"))
MEMORY = Path("/dev/shm")


@dataclass
class Ground:
    root: Path
    source: Path
    nursery: Nursery
    block: PortBlock

    def ports(self) -> tuple[int, int]:
        return self.block.take(), self.block.take()


@contextmanager
def ground(*patches: Patch) -> Iterator[Ground]:
    folder = MEMORY if os.access(MEMORY, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="strongroom-faults-", dir=folder) as name, port_block() as block:
        source = build(Path(name), *patches)
        nursery = Nursery(source)
        try:
            yield Ground(Path(name), source, nursery, block)
        finally:
            nursery.close()
