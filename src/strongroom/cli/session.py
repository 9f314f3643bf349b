"""Which sandbox a command talks to, and as whom."""

import json
import os
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, Final, ParamSpec, TypeVar

from cyclopts import Parameter

from strongroom.cli.output import Exit, Stop
from strongroom.sdk import ApiError, Client, MismatchError, TransportError

DATA_DEFAULT: Final = Path(".sandbox")

Data = Annotated[Path | None, Parameter("--data", help="The sandbox's folder; STRONGROOM_DATA, else ./.sandbox")]
Json = Annotated[bool, Parameter("--json", negative="", help="Print JSON")]

_Parameters = ParamSpec("_Parameters")
_Result = TypeVar("_Result")


def folder(data: Path | None) -> Path:
    return data or Path(os.environ.get("STRONGROOM_DATA") or DATA_DEFAULT)


def document(data: Path | None) -> dict[str, Any]:
    """sandbox.json. Raises: Stop."""
    file = folder(data) / "sandbox.json"
    try:
        found: dict[str, Any] = json.loads(file.read_text())
    except FileNotFoundError as fault:
        raise Stop(Exit.UNREACHABLE, f"there is no sandbox in {folder(data)}: strongroom up") from fault
    except (OSError, json.JSONDecodeError) as fault:
        raise Stop(Exit.FAILED, f"{file} can't be read: {fault}") from fault
    if not found.get("ready"):
        raise Stop(Exit.UNREACHABLE, f"the sandbox in {folder(data)} is stopped: start it with `strongroom up`")
    return found


def client(sandbox: dict[str, Any], name: str) -> Client:
    """A client of the sandbox's organisation, by its name in sandbox.json. Raises: Stop."""
    known = sandbox["clients"].get(name)
    if known is None or "private_key_file" not in known:
        signing = [each for each, keys in sandbox["clients"].items() if "private_key_file" in keys]
        raise Stop(Exit.USAGE, f"there is no client {name!r}; there are {', '.join(signing)}")
    seed = bytes.fromhex(Path(known["private_key_file"]).read_text().strip())
    return Client(
        sandbox["api_url"], sandbox["deployment"], sandbox["organisation"], known["client_id"], known["key_id"], seed
    )


def speaking(command: Callable[_Parameters, _Result]) -> Callable[_Parameters, _Result]:
    """Turns what the SDK raises into a sentence and an exit code."""

    @wraps(command)
    def run(*arguments: _Parameters.args, **options: _Parameters.kwargs) -> _Result:
        try:
            return command(*arguments, **options)
        except ApiError as fault:
            code = Exit.NOT_FOUND if fault.status == 404 else Exit.REFUSED
            raise Stop(Exit.UNREACHABLE if fault.status >= 500 else code, str(fault)) from fault
        except TransportError as fault:
            raise Stop(Exit.UNREACHABLE, f"can't reach the API: {fault}") from fault
        except MismatchError as fault:
            raise Stop(Exit.NOT_VERIFIED, str(fault)) from fault
        except (TypeError, ValueError) as fault:
            raise Stop(Exit.USAGE, str(fault)) from fault

    return run
