"""Names of people and companies, as approvers will read them: what you see is all there is.

One spelling (NFC), no control characters, nothing that changes the direction of the text or has no width. Whether two
names look alike is not judged here.
"""

import unicodedata
from typing import Final

NAME_MAXIMUM: Final = 140
"""Characters; ISO 20022 has 140 for a party's name."""


class DisplayNameError(ValueError):
    """The text isn't a name; the message goes on after its field: "must …"."""


def parse_name(text: str) -> str:
    """The name, unchanged. Raises: DisplayNameError."""
    if not 1 <= len(text) <= NAME_MAXIMUM:
        raise DisplayNameError(f"must be 1 to {NAME_MAXIMUM} characters")
    for character in text:
        if not character.isprintable():
            raise DisplayNameError(f"must not hold U+{ord(character):04X}, which can't be seen or turns the text")
    if text != " ".join(text.split(" ")).strip() or "  " in text:
        raise DisplayNameError("must not begin or end with a space, or hold two in a row")
    if not unicodedata.is_normalized("NFC", text):
        raise DisplayNameError("must be in Unicode's form NFC")
    return text
