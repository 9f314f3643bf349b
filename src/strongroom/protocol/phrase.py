"""The verification phrase: eight words by which people compare a digest by eye or over the telephone.

Proquints (D. S. Wilkerson, arXiv:0901.4016): five letters say 16 bits, consonants 4, vowels 2. The first 128 bits of a
digest are said. Terminal, signer and station show the same words for the same bytes.
"""

from typing import Final

WORDS: Final = 8
_CONSONANTS: Final = "bdfghjklmnprstvz"
_VOWELS: Final = "aiou"


def proquint(number: int) -> str:
    """Five letters for 16 bits, the first bits first."""
    c, v = _CONSONANTS, _VOWELS
    return c[number >> 12] + v[number >> 10 & 3] + c[number >> 6 & 15] + v[number >> 4 & 3] + c[number & 15]


def phrase(digest: bytes) -> str:
    """Eight words of the first 16 bytes."""
    return " ".join(proquint(int.from_bytes(digest[each : each + 2])) for each in range(0, 2 * WORDS, 2))
