"""Patched copies of the package, for positive controls and for planted bugs: shipped code has no switch for them.

A patch replaces a text that stands in its file exactly once; one that doesn't fit any more is an error, so that no
control goes on by testing nothing. The copy is used by a process of its own, which says that it has loaded it.
"""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
TIMEOUT_S = 300


@dataclass(frozen=True, slots=True)
class Patch:
    """`file` is below src/strongroom."""

    file: str
    before: str
    after: str


def patched(folder: Path, *patches: Patch) -> Path:
    """A copy of src below `folder`, with these patches. Raises: ValueError for one that doesn't fit."""
    source = folder / "src"
    shutil.copytree(ROOT / "src", source, ignore=shutil.ignore_patterns("__pycache__", "static"))
    for patch in patches:
        file = source / "strongroom" / patch.file
        text = file.read_text()
        if text.count(patch.before) != 1:
            raise ValueError(f"{patch.file}: what is to be replaced stands there {text.count(patch.before)} times")
        file.write_text(text.replace(patch.before, patch.after))
    return source


def environment(source: Path) -> dict[str, str]:
    """In which `strongroom` is the copy, and `tests` and `tools` are those of the checkout."""
    return os.environ | {"PYTHONPATH": f"{source}{os.pathsep}{ROOT}", "PYTHONDONTWRITEBYTECODE": "1"}


def run(source: Path, module: str, *arguments: str) -> str:
    """What `module` prints when it runs with the copy. Raises: subprocess.CalledProcessError."""
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments], cwd=ROOT, env=environment(source), check=True, timeout=TIMEOUT_S,
        capture_output=True, text=True,
    )
    return done.stdout
