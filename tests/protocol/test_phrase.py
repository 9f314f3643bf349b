"""The verification phrase: published vectors of proquints, and one bit's change is another phrase."""

import hashlib

import pytest

from strongroom.protocol.phrase import WORDS, phrase, proquint

# D. S. Wilkerson, arXiv:0901.4016, its examples of IPv4 addresses.
VECTORS = [
    ("127.0.0.1", "lusab-babad"), ("63.84.220.193", "gutih-tugad"), ("63.118.7.35", "gutuk-bisog"),
    ("140.98.193.141", "mudof-sakat"), ("64.255.6.200", "haguz-biram"), ("128.30.52.45", "mabiv-gibot"),
    ("147.67.119.2", "natag-lisaf"), ("212.58.253.68", "tibup-zujah"), ("216.35.68.215", "tobog-higil"),
    ("216.68.232.21", "todah-vobij"), ("198.81.129.136", "sinid-makam"), ("12.110.110.204", "budov-kuras"),
]


@pytest.mark.parametrize(("address", "words"), VECTORS)
def test_published_vectors(address: str, words: str) -> None:
    raw = bytes(int(part) for part in address.split("."))
    assert "-".join(proquint(int.from_bytes(raw[at : at + 2])) for at in (0, 2)) == words


def test_a_phrase_is_eight_words_of_the_first_sixteen_bytes() -> None:
    digest = hashlib.sha256(b"strongroom").digest()
    assert len(phrase(digest).split()) == WORDS
    assert phrase(digest) == phrase(digest[:16] + bytes(16))
    assert len({phrase((1 << bit).to_bytes(16)) for bit in range(128)}) == 128
