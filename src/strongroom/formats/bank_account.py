"""Bank accounts in the SEPA area: an IBAN in its electronic form, its holder, and the country it is in.

Structure and check digits by ISO 13616; lengths and SEPA countries from the IBAN registry and the EPC's list of SEPA
countries (facts). Nothing is normalised: spaces and lower case are refused. Whether the account exists, and whether
its holder has this name, only the bank can say.
"""

import re
from dataclasses import dataclass
from typing import Final

from strongroom.formats.address_error import AddressError, AddressFault
from strongroom.formats.display_name import DisplayNameError, parse_name

# IBAN registry: country, length, and the form of what follows the check digits.
# n: digits, a: capital letters, c: either.
_REGISTRY: Final = """
AD 24 8n12c|AT 20 16n|BE 16 12n|BG 22 4a6n8c|CH 21 5n12c|CY 28 8n16c|CZ 24 20n|DE 22 18n|DK 18 14n|EE 20 16n
ES 24 20n|FI 18 14n|FR 27 10n11c2n|GB 22 4a14n|GI 23 4a15c|GR 27 7n16c|HR 21 17n|HU 28 24n|IE 22 4a14n|IS 26 22n
IT 27 1a10n12c|LI 21 5n12c|LT 20 16n|LU 20 3n13c|LV 21 4a13c|MC 27 10n11c2n|MT 31 4a5n18c|NL 18 4a10n|NO 15 11n
PL 28 24n|PT 25 21n|RO 24 4a16c|SE 24 20n|SI 19 15n|SK 24 20n|SM 27 1a10n12c|VA 22 18n|AL 28 8n16c|MD 24 20c
ME 22 18n|MK 19 3n10c2n|RS 22 18n
"""
_CLASSES: Final = {"n": "[0-9]", "a": "[A-Z]", "c": "[A-Z0-9]"}
# Territories whose accounts have the IBAN of another country.
_TERRITORIES: Final = {"AX": "FI", "BL": "FR", "GF": "FR", "GP": "FR", "MF": "FR", "MQ": "FR", "PM": "FR", "RE": "FR",
                       "YT": "FR", "GG": "GB", "IM": "GB", "JE": "GB"}


@dataclass(frozen=True, slots=True)
class BankAccount:
    account_holder: str
    country: str
    iban: str


def parse_bank_account(account_holder: str, country: str, iban: str) -> BankAccount:
    """Raises: AddressError naming the field."""
    try:
        parse_name(account_holder)
    except DisplayNameError as fault:
        raise AddressError(AddressFault.INVALID, str(fault), "account_holder") from fault
    form = _FORMS.get(iban[:2])
    if form is None:
        raise AddressError(AddressFault.INVALID, "must begin with the code of a SEPA country", "iban")
    if form.fullmatch(iban) is None:
        reason = f"isn't of the form of {iban[:2]} (electronic form: no spaces, capitals)"
        raise AddressError(AddressFault.INVALID, reason, "iban")
    if int("".join(str(int(character, 36)) for character in iban[4:] + iban[:4])) % 97 != 1:
        raise AddressError(AddressFault.INVALID, "has wrong check digits: a character is mistyped", "iban")
    if _TERRITORIES.get(country, country) != iban[:2]:
        raise AddressError(AddressFault.INVALID, f"isn't the country of the IBAN, which is {iban[:2]}", "country")
    return BankAccount(account_holder, country, iban)


def _forms() -> dict[str, re.Pattern[str]]:
    forms: dict[str, re.Pattern[str]] = {}
    for row in _REGISTRY.strip().replace("\n", "|").split("|"):
        country, _, structure = row.split(" ")
        parts = re.findall("([0-9]+)([nac])", structure)
        body = "".join(f"{_CLASSES[kind]}{{{count}}}" for count, kind in parts)
        forms[country] = re.compile(f"{country}[0-9]{{2}}{body}")
    return forms


_FORMS: Final = _forms()
