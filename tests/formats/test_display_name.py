"""Names: what you see is all there is."""

import contextlib
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom.formats.display_name import DisplayNameError, parse_name


@pytest.mark.parametrize("text", ["Ada Lovelace", "Zoë", "Łukasz Żółć", "株式会社", "O'Neill & Søn (Ltd.)", "a" * 140])
def test_names_of_people_and_companies(text: str) -> None:
    assert parse_name(text) == text


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "1 to 140"), ("a" * 141, "1 to 140"), ("Ada\nLovelace", "U\\+000A"), ("Ada\u202eecalevoL", "U\\+202E"),
        ("Ada\u200bLovelace", "U\\+200B"), ("Ada\ufeff", "U\\+FEFF"), ("Ada\u00a0Lovelace", "U\\+00A0"),
        ("\ue000", "U\\+E000"), ("\u0378", "U\\+0378"), (" Ada", "begin or end"), ("Ada ", "begin or end"),
        ("Ada  Lovelace", "two in a row"), ("Zoe\u0308", "NFC"),
    ],
)
def test_what_deceives_is_refused(text: str, reason: str) -> None:
    with pytest.raises(DisplayNameError, match=reason):
        parse_name(text)


@given(st.text())
def test_only_its_own_error_escapes(text: str) -> None:
    with contextlib.suppress(DisplayNameError):
        assert unicodedata.normalize("NFC", parse_name(text)) == text
