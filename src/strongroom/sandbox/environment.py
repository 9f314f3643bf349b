"""The environment of signer and guard: `.venv-signer`, with what `requirements/signer.txt` names and nothing else.

`bin/strongroom` makes it. Whoever starts the signer, its ceremony or guard asks here, and there is no other environment
to fall back to: with the others' libraries beside its own the core would be open to all who publish those.
"""

import hashlib
import os
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[3]
FOLDER: Final = ".venv-signer"
REMEMBERED: Final = "requirements.sha256"
VARIABLES: Final = {"HOME": "/", "LC_ALL": "C.UTF-8"}
"""What they are given. Without a home Python asks who its user is, and for that the C library loads whatever
nsswitch.conf names, some of which talks to services."""
_REQUIREMENTS: Final = "requirements/signer.txt"
_ADVICE: Final = "any command of bin/strongroom makes it"


class NoEnvironmentError(Exception):
    """The signer's environment isn't there, or was made from other requirements."""


def core_command(module: str, *arguments: str, root: Path = ROOT) -> list[str]:
    """Python, alone in that environment: no variable, no current folder, no written bytecode is looked at.

    Raises: NoEnvironmentError.
    """
    folder = root / FOLDER
    python, remembered = folder / "bin/python", folder / REMEMBERED
    wanted = hashlib.sha256((root / _REQUIREMENTS).read_bytes()).hexdigest()
    if not os.access(python, os.X_OK) or not remembered.is_file():
        raise NoEnvironmentError(f"the signer's environment {folder} isn't there: {_ADVICE}")
    if remembered.read_text().split() != ["signer", wanted]:
        raise NoEnvironmentError(f"the signer's environment {folder} isn't made from {_REQUIREMENTS}: {_ADVICE}")
    return [str(python), "-I", "-B", "-m", module, *arguments]
