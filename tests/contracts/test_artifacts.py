"""The compiled contracts are what their sources compile to."""

import hashlib
import json
import subprocess
from pathlib import Path

import pytest

from strongroom.sandbox import parts

CONTRACTS = Path(__file__).parents[2] / "contracts"


@pytest.mark.parametrize("source", sorted(CONTRACTS.glob("*.sol")), ids=lambda file: file.stem)
def test_an_artifact_names_the_source_that_it_was_made_of(source: Path) -> None:
    artifact = json.loads((CONTRACTS / "artifacts" / f"{source.stem}.json").read_text())
    assert artifact["source_sha256"] == hashlib.sha256(source.read_bytes()).hexdigest()
    assert artifact["compiler"].startswith("0.8.37")


def test_compiling_again_gives_the_same_bytes() -> None:
    node_modules = parts.node_modules(lambda _: None)
    checked = subprocess.run(
        ["node", CONTRACTS / "build.mjs", "--check"], capture_output=True, text=True, check=False,
        env={"PATH": "/usr/bin:/bin:/usr/local/bin", "STRONGROOM_NODE_MODULES": str(node_modules)},
    )
    assert (checked.returncode, checked.stderr) == (0, "")
