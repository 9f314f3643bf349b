"""The station's own readers, run by Node.js from its very files."""

import json
import shutil
import subprocess
import tempfile
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from strongroom.station.app import BUNDLE

OURS = {"CanonicalError", "DocumentError"}


class RefusedError(Exception):
    """The reader refused; `field` as it names it."""

    def __init__(self, reason: str, field: str) -> None:
        super().__init__(reason)
        self.field = field


class Reader:
    """Asks `reader.mjs`: bytes go in as base64, and come out as hex."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def __call__(self, ask: str, **given: Any) -> Any:
        """Raises: RefusedError; AssertionError if something else than a refusal came of it."""
        coded = {name: b64encode(each).decode() if isinstance(each, bytes) else each for name, each in given.items()}
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"ask": ask, **coded}) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        if "refused" in answer:
            assert answer["kind"] in OURS, answer
            raise RefusedError(answer["refused"], answer["field"])
        return answer["value"]


@contextmanager
def reading() -> Iterator[Reader]:
    node = shutil.which("node")
    assert node is not None, "Node.js runs the station's readers here. On Debian: apt-get install nodejs npm"
    with tempfile.TemporaryDirectory(prefix="strongroom-station-") as folder:
        for file in BUNDLE.glob("*.js"):
            shutil.copy(file, folder)
        shutil.copy(Path(__file__).with_name("reader.mjs"), folder)
        (Path(folder) / "package.json").write_text('{"type": "module"}')
        with subprocess.Popen(
            [node, "reader.mjs"], cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as process:
            try:
                yield Reader(process)
            finally:
                assert process.stdin is not None
                process.stdin.close()
                process.wait(10)
