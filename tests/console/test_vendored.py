"""What others made is what its page says: every file listed, byte for byte, and each licence beside it."""

import hashlib
from pathlib import Path

from strongroom.console.assets import STATIC

VENDOR = STATIC / "vendor"


def test_every_vendored_file_is_listed_with_its_hash_and_licence() -> None:
    rows = [line.strip("| ").split(" | ") for line in (VENDOR / "README.md").read_text().splitlines() if "@" in line]
    listed = {row[0]: row[3] for row in rows if not row[0].startswith("..")}
    served = {file.name: file for file in VENDOR.iterdir() if file.suffix not in (".md", ".txt")}
    assert listed == {name: hashlib.sha256(file.read_bytes()).hexdigest() for name, file in served.items()}
    assert {file.name for file in VENDOR.glob("*.txt")} == {"inter-OFL.txt", "jetbrains-mono-OFL.txt", "tabler-MIT.txt"}


def test_every_file_that_a_page_names_is_there() -> None:
    templates = "".join(file.read_text() for file in Path(STATIC.parent / "templates").glob("*.html"))
    named = {part.partition('"')[0].partition("#")[0] for part in templates.split('"/static/')[1:]}
    assert named
    assert all((STATIC / name).is_file() for name in named)
    icons = (STATIC / "icons.svg").read_text()
    used = {part.partition('"')[0] for part in templates.split('icon("')[1:]}
    assert all(f'id="{name}"' in icons for name in used)
