"""A signed pause as a file: what is written is read, and what was altered isn't."""

import json

import pytest
from coincurve import PrivateKey

from strongroom.formats.evm_transaction import address_of
from strongroom.formats.vault_orders import Pause
from strongroom.guardian.message import MessageError, read_pause, sign_pause, take_signature

KEY = PrivateKey(b"\x07" * 32)
PAUSE = Pause(31337, b"\x11" * 20, 3)
SIGNED = sign_pause(KEY, PAUSE)
FILE = json.loads(SIGNED.write())


def test_it_is_read_as_it_was_written() -> None:
    assert read_pause(SIGNED.write().encode()) == SIGNED
    assert SIGNED.guardian == address_of(KEY.public_key.format(compressed=False))
    assert SIGNED.file_name == f"pause-31337-{'11' * 20}-3.json"
    assert take_signature(PAUSE, "0x" + SIGNED.signature.hex()) == SIGNED


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("type", "strongroom/other/v1"), ("chain_id", 0), ("chain_id", 1), ("vault", "0x12"), ("epoch", -1),
        ("epoch", 4), ("epoch", 2**63), ("guardian", "0x" + "22" * 20), ("signature", "0x" + "00" * 65),
        ("signature", "0x12"), ("data", "0x"), ("more", 1),
    ],
)
def test_whatever_is_altered_is_refused(field: str, value: object) -> None:
    with pytest.raises(MessageError):
        read_pause(json.dumps({**FILE, field: value}).encode())


@pytest.mark.parametrize("raw", [b"", b"[]", b"\xff", b"{"])
def test_what_is_no_message_is_refused(raw: bytes) -> None:
    with pytest.raises(MessageError):
        read_pause(raw)


@pytest.mark.parametrize("signature", ["", "0x", "zz", "0x" + "00" * 64 + "1b", "0x" + "11" * 64 + "01"])
def test_a_signature_that_holds_for_nothing_is_refused(signature: str) -> None:
    with pytest.raises(MessageError, match="signature"):
        take_signature(PAUSE, signature)
