"""`serve PROCESS`: becomes one of the product's processes."""

import os
import sys
from pathlib import Path
from typing import Annotated, Final

from cyclopts import Parameter

from strongroom.cli.output import Exit, Stop

BUILT: Final = ("api", "engine", "guard", "link", "signer", "watch")
LATER: Final = ("console", "station", "courier")


def serve(
    process: Annotated[str, Parameter(help=", ".join(BUILT))],
    /,
    *,
    config: Annotated[Path, Parameter("--config", help="The process's own configuration, a JSON file")],
) -> int:
    """Run one process of the product in the foreground."""
    if process in LATER:
        raise Stop(Exit.FAILED, f"{process} isn't built yet; this version has {', '.join(BUILT)}")
    if process not in BUILT:
        raise Stop(Exit.USAGE, f"there is no process {process!r}; there are {', '.join(BUILT)}")
    sys.stdout.flush()
    module = f"strongroom.{process}.main"
    command = [sys.executable, "-m", module, "--config", str(config)]
    if process == "signer":  # alone in its interpreter: nothing of the command line or the environment comes along
        command = [sys.executable, "-I", "-m", module, str(config)]
    os.execv(sys.executable, command)  # noqa: S606 no shell is wanted
