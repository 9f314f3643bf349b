"""Commands that the contract names and this version can't do: each says which part is missing, and nothing pretends."""

from collections.abc import Callable, Mapping
from typing import Annotated, Final

from cyclopts import Parameter

from strongroom.cli.output import Exit, Stop

_KEYS: Final = "the calls that enrol and revoke client keys"

LATER: Final[Mapping[str, str]] = {
    "key": _KEYS,
    "webhook": "the courier, which sends events",
    "treasury": "the tools of the treasury",
    "playbook": "the crisis playbooks",
    "backup": "backup and restore",
    "drill": "the drills",
}


def missing(name: str) -> Callable[..., int]:
    """The command that says so, whatever else stands on the line."""

    def command(*anything: Annotated[str, Parameter(show=False, allow_leading_hyphen=True)]) -> int:
        raise Stop(Exit.FAILED, f"`{name}` can't be done yet: this version lacks {LATER[name]}")

    command.__doc__ = f"Not in this version yet: it lacks {LATER[name]}."
    return command
