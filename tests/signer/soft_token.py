"""A token for tests: SoftHSM, which speaks PKCS#11 like a hardware module, with keys that our ceremony made.

The module reads where its tokens are once in a process. So a process has one such folder, which is the first one here;
other folders are for processes of their own.
"""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.signer.world import ORGANISATION

from strongroom.formats.bitcoin_address import REGTEST
from strongroom.sandbox import parts

PIN = "4711-0815"
TOKEN = "payments"


class SoftToken:
    """`files` are the token's own, which whoever signs with it must be able to read and to write."""

    def __init__(self, folder: Path, files: Path | None = None) -> None:
        self.soft, self.folder = parts.softhsm(print), folder
        self.files = files or folder / "tokens"
        self.files.mkdir(mode=0o700)
        self.settings = folder / "softhsm2.conf"
        self.settings.write_text(
            f"directories.tokendir = {self.files}\nobjectstore.backend = file\nlog.level = ERROR\n"
        )
        self.environment = {"SOFTHSM2_CONF": str(self.settings)}
        subprocess.run(
            [str(self.soft.util), "--module", str(self.soft.module), "--init-token", "--free", "--label", TOKEN,
             "--so-pin", PIN + "-officer", "--pin", PIN],
            env={**os.environ, **self.environment}, check=True, capture_output=True,
        )

    def ceremony(self, label: str, pin: str = PIN, token: str = TOKEN) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "strongroom.signer.pkcs11_ceremony", str(self.soft.module), token, label]
        return subprocess.run(
            command, input=pin, capture_output=True, text=True, check=False, env={**os.environ, **self.environment}
        )

    def make(self, label: str) -> bytes:
        done = self.ceremony(label)
        assert done.returncode == 0, done.stderr
        return bytes.fromhex(done.stdout.strip())

    def document(self, keys: Sequence[tuple[int, str, bytes]], pin: int, **changes: Any) -> str:
        """What the signer is told of it; keys are generation, label and public key."""
        return json.dumps({
            "environment": self.environment, "module": str(self.soft.module), "pin": pin, "token": TOKEN,
            "keys": [
                {"generation": generation, "label": label, "network": REGTEST, "organisation": ORGANISATION,
                 "public_key": public_key.hex()} for generation, label, public_key in keys
            ],
        } | changes)


def pin_descriptor(pin: str = PIN) -> int:
    """That somebody opened for us."""
    reading, writing = os.pipe()
    os.write(writing, pin.encode() + b"\n")
    os.close(writing)
    return reading
