"""Bank accounts: the IBAN registry's examples, and a second implementation."""

import pytest
import schwifty
from hypothesis import given
from hypothesis import strategies as st

from strongroom.formats.address_error import AddressError
from strongroom.formats.bank_account import _REGISTRY, parse_bank_account

# The examples of the IBAN registry (SWIFT), which stand in ISO 13616's public documents.
EXAMPLES = [
    "AT611904300234573201", "BE68539007547034", "BG80BNBG96611020345678", "CH9300762011623852957",
    "CY17002001280000001200527600", "CZ6508000000192000145399", "DE89370400440532013000", "DK5000400440116243",
    "EE382200221020145685", "ES9121000418450200051332", "FI2112345600000785", "FR1420041010050500013M02606",
    "GB29NWBK60161331926819", "GI75NWBK000000007099453", "GR1601101250000000012300695", "HR1210010051863000160",
    "HU42117730161111101800000000", "IE29AIBK93115212345678", "IS140159260076545510730339", "LI21088100002324013AA",
    "IT60X0542811101000000123456", "LT121000011101001000", "LU280019400644750000", "LV80BANK0000435195001",
    "MC5811222000010123456789030", "MT84MALT011000012345MTLCAST001S", "NL91ABNA0417164300", "NO9386011117947",
    "PL61109010140000071219812874", "PT50000201231234567890154", "RO49AAAA1B31007593840000",
    "SE4550000000058398257466", "SI56263300012039086", "SK3112000000198742637541", "SM86U0322509800000000270100",
    "VA59001123000012345678", "AD1200012030200359100100", "AL47212110090000000235698741",
    "MD24AG000225100013104168", "ME25505000012345678951", "MK07250120000058984", "RS35260005601001611379",
]


@pytest.mark.parametrize("iban", EXAMPLES)
def test_the_registrys_examples(iban: str) -> None:
    account = parse_bank_account("Ada Lovelace", iban[:2], iban)
    assert (account.iban, account.country, account.account_holder) == (iban, iban[:2], "Ada Lovelace")
    assert schwifty.IBAN(iban).compact == iban


def test_every_country_of_the_table_has_its_registered_length() -> None:
    rows = _REGISTRY.strip().replace("\n", "|").split("|")
    lengths = {row.split(" ")[0]: int(row.split(" ")[1]) for row in rows}
    assert lengths == {iban[:2]: len(iban) for iban in EXAMPLES}


@pytest.mark.parametrize(
    ("holder", "country", "iban", "field", "reason"),
    [
        ("", "DE", "DE89370400440532013000", "account_holder", "1 to 140"),
        ("Ada\u202eLovelace", "DE", "DE89370400440532013000", "account_holder", "U\\+202E"),
        ("Ada", "DE", "DE89 3704 0044 0532 0130 00", "iban", "no spaces"),
        ("Ada", "DE", "de89370400440532013000", "iban", "SEPA country"),
        ("Ada", "DE", "DE89370400440532013001", "iban", "check digits"),
        ("Ada", "DE", "DE8937040044053201300", "iban", "form of DE"),
        ("Ada", "US", "US89370400440532013000", "iban", "SEPA country"),
        ("Ada", "FR", "DE89370400440532013000", "country", "which is DE"),
        ("Ada", "DE", "", "iban", "SEPA country"),
    ],
)
def test_refusals_name_their_field(holder: str, country: str, iban: str, field: str, reason: str) -> None:
    with pytest.raises(AddressError, match=reason) as refused:
        parse_bank_account(holder, country, iban)
    assert refused.value.field == field


def test_a_territory_has_accounts_of_its_country() -> None:
    assert parse_bank_account("Ada", "RE", "FR1420041010050500013M02606").country == "RE"


@given(st.sampled_from(EXAMPLES), st.integers(2, 30), st.sampled_from("0123456789ABCXYZ"))
def test_one_changed_character_is_refused_wherever_the_second_implementation_refuses(
    iban: str, place: int, character: str
) -> None:
    place = 2 + place % (len(iban) - 2)
    changed = iban[:place] + character + iban[place + 1 :]
    if changed == iban:
        return
    try:
        schwifty.IBAN(changed, validate_bban=False)
        expected = True
    except ValueError:
        expected = False
    try:
        parse_bank_account("Ada", changed[:2], changed)
        found = True
    except AddressError:
        found = False
    assert found == expected


@given(st.text(), st.text(max_size=3), st.text())
def test_only_its_own_error_escapes(holder: str, country: str, iban: str) -> None:
    with pytest.raises(AddressError):
        parse_bank_account(holder, country, iban)
