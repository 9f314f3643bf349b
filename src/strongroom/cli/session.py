"""Which sandbox or deployment a command talks to, and as whom."""

import os
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, Final, ParamSpec, TypeVar

from cyclopts import Parameter, validators

from strongroom.cli.output import Exit, Stop
from strongroom.cli.profile import Profile, read_profile, transport
from strongroom.sdk import ApiError, Client, MismatchError, TransportError

DATA_DEFAULT: Final = Path(".sandbox")

Data = Annotated[
    Path | None,
    Parameter(
        ("--data", "--profile"),
        help="A sandbox's folder, or a deployment's profile; STRONGROOM_PROFILE, STRONGROOM_DATA, else ./.sandbox",
    ),
]
SandboxFolder = Annotated[
    Path | None, Parameter("--data", help="The sandbox's folder; STRONGROOM_DATA, else ./.sandbox")
]
Json = Annotated[bool, Parameter("--json", negative="", help="Print JSON")]

Limit = Annotated[int, Parameter("--limit", validator=validators.Number(gte=1), help="How many rows at most")]

LIMIT_DEFAULT: Final = 50
PAGE_MAXIMUM: Final = 200
"""The most that the API gives in one page."""

_Parameters = ParamSpec("_Parameters")
_Result = TypeVar("_Result")


def folder(data: Path | None) -> Path:
    """The sandbox's."""
    return data or Path(os.environ.get("STRONGROOM_DATA") or DATA_DEFAULT)


def profile_file(data: Path | None) -> Path:
    """What is named: a profile, or the sandbox.json of a folder. Raises: Stop if there is none."""
    named = data or Path(os.environ.get("STRONGROOM_PROFILE") or folder(None))
    if named.is_dir() or (named.suffix != ".json" and not named.exists()):
        file = named / "sandbox.json"
        if not file.exists():
            raise Stop(Exit.UNREACHABLE, f"there is no sandbox in {named}: strongroom up")
        return file
    if not named.exists():
        raise Stop(Exit.NOT_FOUND, f"there is no profile {named}: strongroom init profile makes one")
    return named


def document(data: Path | None) -> Profile:
    """The profile that is named, or that of the sandbox, which must run. Raises: Stop."""
    file = profile_file(data)
    found = read_profile(file)
    if not found.get("ready", True):
        raise Stop(Exit.UNREACHABLE, f"the sandbox in {file.parent} is stopped: start it with `strongroom up`")
    return found


def reader(profile: dict[str, Any]) -> Client:
    """Whoever may look at things: a client that can only read, if the profile has one. Raises: Stop."""
    return client(profile, "reader" if "reader" in profile["clients"] else "payouts")


def client(sandbox: dict[str, Any], name: str) -> Client:
    """A client of the organisation, by its name in the profile. Raises: Stop."""
    known = private_key(sandbox, name)
    return Client(
        sandbox["api_url"], sandbox["deployment"], sandbox["organisation"], known["client_id"], known["key_id"],
        known["private_key"], transport(sandbox),
    )


def private_key(sandbox: dict[str, Any], name: str) -> dict[str, Any]:
    """A client's entry in the profile, with its `private_key`. Raises: Stop."""
    known = sandbox["clients"].get(name)
    if known is None or "private_key_file" not in known:
        signing = ", ".join(each for each, keys in sandbox["clients"].items() if "private_key_file" in keys)
        raise Stop(Exit.USAGE, f"--client: there is no client {name!r} that signs; there are {signing or 'none'}")
    file = Path(known["private_key_file"])
    try:
        if "ready" not in sandbox and file.stat().st_mode & 0o077:
            raise Stop(Exit.REFUSED, f"the key of {name} in {file} can be read by others: chmod 600 {file}")
        return {**known, "private_key": bytes.fromhex(file.read_text().strip())}
    except (OSError, ValueError) as fault:
        raise Stop(Exit.FAILED, f"the key of {name} in {file} can't be read: {fault}") from fault


def speaking(command: Callable[_Parameters, _Result]) -> Callable[_Parameters, _Result]:
    """Turns what the SDK raises into a sentence and an exit code."""

    @wraps(command)
    def run(*arguments: _Parameters.args, **options: _Parameters.kwargs) -> _Result:
        try:
            return command(*arguments, **options)
        except ApiError as fault:
            raise Stop(_code(fault), str(fault)) from fault
        except TransportError as fault:
            again = "" if fault.idempotency_key is None else (
                "; whether it was taken isn't known: the same command with "
                f"--idempotency-key {fault.idempotency_key} asks for nothing twice"
            )
            raise Stop(Exit.UNREACHABLE, f"can't reach the API: {fault}{again}") from fault
        except MismatchError as fault:
            raise Stop(Exit.NOT_VERIFIED, f"the API's answer isn't to be believed: {fault}") from fault
        except (TypeError, ValueError) as fault:
            if os.environ.get("STRONGROOM_TRACE"):
                raise
            raise Stop(Exit.USAGE, str(fault)) from fault

    return run


def _code(fault: ApiError) -> Exit:
    if fault.status in (502, 503, 504):
        return Exit.UNREACHABLE
    if fault.status >= 500:
        return Exit.FAILED
    return Exit.NOT_FOUND if fault.code == "not_found" else Exit.REFUSED
