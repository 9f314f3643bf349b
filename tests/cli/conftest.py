"""One sandbox for all tests of this folder, with the cheapest rails."""

import itertools
import json
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.cli.command import Done, command, free_base

NETWORK = "sim:sandbox"
ADDRESS = "sim1b5yvxl25jqxngklyltxstzlc642irsfcvsqokg6h"

_numbers = itertools.count(1)


class Sandbox:
    def __init__(self, data: Path) -> None:
        self.data = data
        self.document: dict[str, Any] = json.loads((data / "sandbox.json").read_text())

    def __call__(self, *arguments: str, stdin: bytes = b"") -> Done:
        return command(*arguments, "--data", str(self.data), stdin=stdin)

    def but(self, folder: Path, **changes: Any) -> "Sandbox":
        """The same with another sandbox.json."""
        folder.mkdir(exist_ok=True)
        (folder / "sandbox.json").write_text(json.dumps({**self.document, **changes}))
        return Sandbox(folder)


@pytest.fixture(scope="session")
def sandbox() -> Iterator[Sandbox]:
    with tempfile.TemporaryDirectory(prefix="strongroom-cli-") as folder:
        Path(folder).chmod(0o755)
        data = Path(folder) / "data"
        options = ("--data", str(data), "--ports", str(free_base()), "--rails", "simulated", "--detach", "--json")
        up = command("up", *options)
        assert up.code == 0, up.err
        assert up.json()["ready"] is True
        try:
            yield Sandbox(data)
        finally:
            down = command("down", "--data", str(data))
            assert down.code == 0, down.err


@pytest.fixture(scope="session")
def rosa(sandbox: Sandbox) -> dict[str, Any]:
    """A beneficiary whose destination has cooled off in time, or nearly."""
    done = sandbox(
        "beneficiary", "create", "--name", "Rosa Example", "--network", NETWORK, "--address", ADDRESS,
        "--external-id", "rosa", "--json",
    )
    assert done.code == 0, done.err
    found: dict[str, Any] = done.json()
    return found


@pytest.fixture
def asked(rosa: dict[str, Any]) -> list[str]:
    """The options of a payout that was never asked for before."""
    debt = f"debt {next(_numbers)}"
    return ["--beneficiary", rosa["id"], "--asset", "SIM", "--amount", "1000", "--external-id", debt]


@pytest.fixture
def payee_file(tmp_path: Path) -> Callable[..., Path]:
    """Writes a CSV of rows that were never imported before."""

    def write(*rows: str, header: str = "name,network,address,asset,amount,external_id") -> Path:
        file = tmp_path / f"payees {next(_numbers)}.csv"
        given = rows or tuple(
            f"Payee {number},{NETWORK},{ADDRESS},SIM,{1000 + number},{file.name} {number}" for number in range(3)
        )
        file.write_text("\n".join([header, *given]) + "\n")
        return file

    return write
