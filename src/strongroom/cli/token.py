"""`init token-key`: a payment key in a hardware module. The key never leaves the module, and the PIN is in a file."""

import subprocess
from pathlib import Path
from typing import Annotated, Final

from cyclopts import Parameter

from strongroom.cli.output import Exit, Stop, show
from strongroom.cli.session import Json
from strongroom.sandbox.environment import VARIABLES, NoEnvironmentError, core_command

CEREMONY_TIMEOUT_S: Final = 120
"""Some modules take long to draw a key."""


def make_token_key(
    *,
    module: Annotated[Path, Parameter("--module", help="The PKCS#11 library of the module's maker")],
    token: Annotated[str, Parameter("--token", help="The token's label")],
    label: Annotated[str, Parameter("--label", help="Of the new key; refused if it is there")],
    pin_file: Annotated[Path, Parameter("--pin-file", help="A file with the token's PIN")],
    environment: Annotated[
        list[str] | None, Parameter("--environment", negative="", help="NAME=VALUE, for the library; repeatable")
    ] = None,
    as_json: Json = False,
) -> int:
    """Make a payment key in a hardware module, as the signer's user; prints its public key."""
    given = [each.partition("=") for each in environment or ()]
    if not all(name and separator for name, separator, _ in given):
        raise Stop(Exit.USAGE, "--environment: must be NAME=VALUE")
    variables = {**VARIABLES, **{name: value for name, _, value in given}}
    try:
        command = core_command("strongroom.signer.pkcs11_ceremony", str(module.absolute()), token, label)
        with pin_file.open("rb") as pin:
            done = subprocess.run(
                command, stdin=pin, capture_output=True, text=True, check=False, timeout=CEREMONY_TIMEOUT_S,
                env=variables, cwd="/",
            )
    except (NoEnvironmentError, OSError) as fault:
        raise Stop(Exit.FAILED, str(fault)) from fault
    if done.returncode != 0:
        raise Stop(Exit.FAILED, done.stderr.strip().removeprefix("ceremony: "))
    public_key = done.stdout.strip()
    show({"label": label, "public_key": public_key, "token": token}, as_json, public_key)
    return Exit.DONE
