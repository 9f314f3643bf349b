"""The real signer under an audit hook that sees all that its interpreter does; run by test_outside, never imported.

Arguments: the signer's configuration, and an open file to record to. Each line is an event of PEP 578 with its
arguments; the line LOCKED says where the process locked itself down. Nothing of the signer is changed.
"""

import os
import sys

RECORD = int(sys.argv.pop(2))
NOISE = ("compile", "exec", "marshal.loads", "code.__new__", "sys._getframe", "builtins.id", "object.__getattr__",
         "object.__setattr__", "object.__delattr__", "function.__new__", "gc.", "ctypes.addressof", "ctypes.cdata")


def record(event: str, arguments: tuple[object, ...]) -> None:
    if not event.startswith(NOISE):
        told = [str(each) for each in arguments[1:] if event.startswith("socket.")] or [str(each) for each in arguments]
        os.write(RECORD, ("\t".join([event, *told]).replace("\n", " ") + "\n").encode())


sys.addaudithook(record)

from strongroom.signer import main as signer  # noqa: E402 the hook comes first

lock_down = signer.lock_down


def locked(folder: str, *, is_production: bool) -> tuple[str, ...]:
    missing = lock_down(folder, is_production=is_production)
    os.write(RECORD, b"LOCKED\n")
    return missing


signer.lock_down = locked
signer.main()
