"""Identifiers: a prefix that says what is named, then 26 characters of lower-case base32.

A type each, so that a payout's id can't be handed where a run's is expected; text becomes an id only by
`parse`, at the edge. Payout, beneficiary and run ids are derived from what a client signed
(`protocol.identifier`); the others are drawn at random where they are made. Nothing here derives or draws.
"""

import re
from collections.abc import Callable
from typing import Final, NewType, TypeVar

OrganisationId = NewType("OrganisationId", str)
ClientId = NewType("ClientId", str)
KeyId = NewType("KeyId", str)
PersonId = NewType("PersonId", str)
BeneficiaryId = NewType("BeneficiaryId", str)
PayoutId = NewType("PayoutId", str)
RunId = NewType("RunId", str)
DestinationDigest = NewType("DestinationDigest", str)
IdempotencyKey = NewType("IdempotencyKey", str)

Maker = ClientId | PersonId
"""Who asks for something: a client, or a person in the place of one."""
MakerKey = KeyId | PersonId
"""By what a maker asks: a client's key, or all credentials of a person together."""

ID_BODY_LENGTH: Final = 26
IDEMPOTENCY_KEY_MAXIMUM: Final = 255

_LETTERS = "abcdefghijklmnopqrstuvwxyz234567"
_PAIRS = tuple(first + second for first in _LETTERS for second in _LETTERS)
_BODY = "[a-z2-7]{26}"
_DIGEST = re.compile("[0-9a-f]{64}")
_IDEMPOTENCY_KEY = re.compile("[\x21-\x7e]{1,255}")

_Id = TypeVar("_Id", bound=str)


class IdError(ValueError):
    """The text isn't an identifier of the kind that was asked for."""


def _parser(kind: Callable[[str], _Id], prefix: str) -> Callable[[str], _Id]:
    pattern = re.compile(prefix + _BODY)

    def parse(text: str) -> _Id:
        if pattern.fullmatch(text) is None:
            raise IdError(f"must be {prefix} and {ID_BODY_LENGTH} characters of a-z and 2-7")
        return kind(text)

    return parse


parse_organisation_id = _parser(OrganisationId, "org_")
parse_client_id = _parser(ClientId, "cl_")
parse_key_id = _parser(KeyId, "ak_")
parse_person_id = _parser(PersonId, "pe_")
parse_beneficiary_id = _parser(BeneficiaryId, "ben_")
parse_payout_id = _parser(PayoutId, "po_")
parse_run_id = _parser(RunId, "run_")


def base32(number: int, pairs: int) -> str:
    """`pairs` pairs of letters for the lowest `10 * pairs` bits, highest first; quicker than the standard library's."""
    return "".join([_PAIRS[number >> place & 1023] for place in range(10 * pairs - 10, -1, -10)])


def is_person(maker: str) -> bool:
    return maker.startswith("pe_")


def parse_destination_digest(text: str) -> DestinationDigest:
    """The hash of a destination record: 64 lower-case hex digits. Raises: IdError."""
    if _DIGEST.fullmatch(text) is None:
        raise IdError("must be 64 lower-case hex digits")
    return DestinationDigest(text)


def parse_idempotency_key(text: str) -> IdempotencyKey:
    """1 to 255 visible ASCII characters, no spaces. Raises: IdError."""
    if _IDEMPOTENCY_KEY.fullmatch(text) is None:
        raise IdError(f"must be 1 to {IDEMPOTENCY_KEY_MAXIMUM} visible ASCII characters without spaces")
    return IdempotencyKey(text)
