"""What the pure rooms load, seen from a fresh interpreter: import-linter doesn't follow what libraries do."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NEVER = ("socket", "ssl", "asyncio", "http", "urllib.request", "subprocess", "sqlite3", "asyncpg", "httpx", "uvicorn")
PROGRAM = """
import importlib, json, pathlib, sys
for file in sorted(pathlib.Path(sys.argv[1]).glob("*.py")):
    importlib.import_module(f"strongroom.{sys.argv[2]}.{file.stem}")
print(json.dumps(sorted(sys.modules)))
"""


@pytest.mark.parametrize("room", ["domain", "protocol", "formats"])
def test_a_pure_room_loads_nothing_that_talks(room: str) -> None:
    done = subprocess.run(
        [sys.executable, "-I", "-c", PROGRAM, str(ROOT / "src/strongroom" / room), room],
        capture_output=True, text=True, check=True,
    )
    loaded = set(json.loads(done.stdout))
    assert not loaded.intersection(NEVER)
