"""`serve PROCESS`: becomes one of the product's processes.

Signer and guard run in an environment of their own and in no other: nothing of the command line comes along.
"""

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Final, NoReturn

from cyclopts import Parameter

from strongroom.cli.output import Exit, Stop
from strongroom.sandbox.environment import VARIABLES, NoEnvironmentError, core_command

BUILT: Final = ("api", "console", "engine", "guard", "guardian", "link", "notify", "signer", "station", "watch")
LATER: Final = ("courier",)


def serve(
    process: Annotated[str, Parameter(help=f"{', '.join(BUILT)}; later {', '.join(LATER)}")],
    /,
    *,
    config: Annotated[Path, Parameter("--config", help="The process's own configuration, a JSON file")],
    reconcile: Annotated[
        bool, Parameter("--reconcile", negative="", help="guard only, after a restore: take the signer's journal, end")
    ] = False,
    recover: Annotated[
        str, Parameter("--recover", help="guard only, when the signer has lost some too: 64 new hex digits")
    ] = "",
    tree: Annotated[
        str, Parameter("--tree", help="guard only: SIZE:ROOT of the audit log that it goes on from; ends")
    ] = "",
) -> NoReturn:
    """Become one process of the product, in the foreground. What it says goes to standard error.

    Ends as the process ends: 0 when it was told to, 1 with a sentence when it can't go on.
    """
    if process in LATER:
        raise Stop(Exit.FAILED, f"{process} isn't built yet; this version has {', '.join(BUILT)}")
    if process not in BUILT:
        raise Stop(Exit.USAGE, f"there is no process {process!r}; there are {', '.join(BUILT)}")
    given = {"--reconcile": reconcile, "--recover": recover, "--tree": tree}
    more = [part for name, value in given.items() if value for part in (name, value) if part is not True]
    if more and process != "guard":
        raise Stop(Exit.USAGE, f"{more[0]} is for guard, and {process} has no copy of a journal to take")
    if not config.is_file():
        raise Stop(Exit.NOT_FOUND, f"--config: there is no file {config}")
    try:
        command, environment = _command(process, config.absolute(), [str(each) for each in more])
    except NoEnvironmentError as fault:
        raise Stop(Exit.FAILED, str(fault)) from fault
    sys.stdout.flush()
    os.execve(command[0], command, environment)  # noqa: S606 no shell is wanted


def _command(process: str, config: Path, more: Sequence[str]) -> tuple[list[str], Mapping[str, str]]:
    """What to become, and with which variables: signer and guard get none of ours. Raises: NoEnvironmentError."""
    module = f"strongroom.{process}.main"
    match process:
        case "signer":
            return core_command(module, str(config)), VARIABLES
        case "guard":
            return core_command(module, "--config", str(config), *more), VARIABLES
        case _:
            return [sys.executable, "-m", module, "--config", str(config)], os.environ
