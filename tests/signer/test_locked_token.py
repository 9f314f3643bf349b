"""The real process, locked down, with its Bitcoin key in a hardware module (SoftHSM): it signs after the lock, too.

Started in the signer's own environment. Guard is the stand-in of the other tests, at the other end of a real socket.
"""

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.signer import world as worlds
from tests.signer.soft_token import PIN, SoftToken, pin_descriptor
from tests.signer.test_locked_signer import COOLING_MS, LINK, LockedWorld
from tests.signer.test_pkcs11 import PAYEE, TokenWorld, holds
from tests.signer.world import ORGANISATION

from strongroom.formats.bitcoin_address import REGTEST
from strongroom.protocol.signer_wire import Ask
from strongroom.sandbox.environment import FOLDER, ROOT
from strongroom.signer.desk import ADMIN, ENGINE
from strongroom.signer.pkcs11_keys import TokenKey, TokenKeys

PAYOUTS = 8


class LockedTokenWorld(LockedWorld, TokenWorld):
    """`label` and `pin` are what the signer is told. Here only the public key is known."""

    interpreter = (str(ROOT / FOLDER / "bin/python"), "-I", "-B")
    label, pin = "hot", PIN

    def __init__(self, folder: Path, soft: SoftToken, public_key: bytes) -> None:
        super().__init__(folder, TokenKeys([TokenKey(ORGANISATION, REGTEST, 0, self.label, public_key)]))
        self.soft, self.public_key = soft, public_key

    def more(self) -> tuple[dict[str, Any], list[int]]:
        file, descriptor = self.folder.parent / "token.json", pin_descriptor(self.pin)
        file.write_text(self.soft.document([(0, self.label, self.public_key)], descriptor))
        return {"token": str(file)}, [descriptor]

    def say_the_end(self) -> str:
        """What it says when it can't begin."""
        return self.process.communicate(timeout=20)[1].decode()

    def restart(self) -> None:
        self.end()
        for name in (ENGINE, ADMIN, LINK):
            (self.folder.parent / name).unlink()
        self.start()


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[LockedTokenWorld]:
    monkeypatch.setattr(worlds, "START", time.time_ns() // 1_000_000)
    monkeypatch.setattr(worlds, "COOLING_MS", COOLING_MS)
    base = Path(tempfile.mkdtemp(prefix="sr"))
    (base / "signer").mkdir(mode=0o700)
    soft = SoftToken(base, base / "signer" / "token")
    made = LockedTokenWorld(base / "signer", soft, soft.make("hot"))
    made.found()
    yield made
    made.end()
    shutil.rmtree(base)


def test_a_locked_signer_signs_with_the_key_in_the_token_and_after_a_restart_as_well(world: LockedTokenWorld) -> None:
    world.start()
    record = world.cooled(network=REGTEST, address=PAYEE)
    for number in range(PAYOUTS):
        if number == PAYOUTS // 2:
            world.restart()
            assert world.ask(Ask.STATUS)
        payout = world.intent(record, 20_000, asset=f"{REGTEST}/slip44:0")
        coin, made = world.coin(25_000)
        signed = world.ask_sign([coin], [(PAYEE, 20_000), (world.change, 4_000)], payout, previous=[made])
        assert holds(signed, 0, coin[1])
    status = dict(
        line.split(":", 1) for line in Path(f"/proc/{world.process.pid}/status").read_text().splitlines()
    )
    assert (status["Seccomp"].strip(), status["NoNewPrivs"].strip()) == ("2", "1")
    if os.geteuid() == 0:
        shown = Path(f"/proc/{world.process.pid}/environ").read_bytes() + Path(
            f"/proc/{world.process.pid}/cmdline").read_bytes()
        assert PIN.encode() not in shown


@pytest.mark.parametrize(("field", "value", "reason"), [
    ("pin", "0000-wrong", "the token payments can't be opened: PinIncorrect"),
    ("label", "cold", "the token doesn't sign with cold: NoSuchKey"),
])
def test_a_signer_that_cant_use_its_token_doesnt_begin_and_says_why(
    world: LockedTokenWorld, field: str, value: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    setattr(world, field, value)
    monkeypatch.setattr(world, "connect_guard", lambda: None)  # it doesn't come so far
    world.start()
    said = world.say_the_end()
    assert "can't begin" in said
    assert reason in said
    assert value not in said or field == "label"
    assert world.process.returncode == 1
