"""Writes docs/openapi.json from the route table and the schemas of the API. A test compares the two."""

import sys
from pathlib import Path

from strongroom.api.openapi import document

FILE = Path(__file__).resolve().parent.parent / "docs" / "openapi.json"


def main() -> int:
    FILE.parent.mkdir(exist_ok=True)
    before = FILE.read_bytes() if FILE.exists() else b""
    after = document()
    FILE.write_bytes(after)
    print(f"{FILE.name}: {'as it was' if before == after else 'written'}, {len(after)} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
