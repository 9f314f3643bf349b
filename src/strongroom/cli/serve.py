"""`serve PROCESS`: becomes one of the product's processes."""

import os
import sys
from pathlib import Path
from typing import Annotated, Final

from cyclopts import Parameter

from strongroom.cli.output import Exit, Stop

BUILT: Final = ("api", "watch")
LATER: Final = ("signer", "guard", "link", "engine", "console", "station", "courier")


def serve(
    process: Annotated[str, Parameter(help="api or watch")], /, *, config: Annotated[Path, Parameter("--config")]
) -> int:
    """Run one process of the product in the foreground."""
    if process in LATER:
        raise Stop(Exit.FAILED, f"{process} isn't built yet; this version has {' and '.join(BUILT)}")
    if process not in BUILT:
        raise Stop(Exit.USAGE, f"there is no process {process!r}; there are {', '.join(BUILT)}")
    sys.stdout.flush()
    command = [sys.executable, "-m", f"strongroom.{process}.main", "--config", str(config)]
    os.execv(sys.executable, command)  # noqa: S606 no shell is wanted
