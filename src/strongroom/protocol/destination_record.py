"""The record `strongroom/destination/v1`: who is paid where. Its digest is what a payout names.

Everything that decides where money ends up is inside, and the digest of the version before, so that nobody can
hang another address on a beneficiary's id. Addresses are checked elsewhere (`formats`); here is only the form.
"""

from dataclasses import dataclass
from typing import Final

from strongroom.domain.beneficiary import DestinationClass
from strongroom.domain.document import Fields
from strongroom.domain.ids import (
    BeneficiaryId,
    DestinationDigest,
    OrganisationId,
    parse_beneficiary_id,
    parse_organisation_id,
)
from strongroom.protocol.canonical import JsonValue, encode, record_hash
from strongroom.protocol.record import read_record, take_version

DESTINATION_TYPE: Final = "strongroom/destination/v1"


@dataclass(frozen=True, slots=True)
class BankAccountRecord:
    account_holder: str
    country: str
    iban: str


@dataclass(frozen=True, slots=True)
class DestinationRecord:
    """`where` is a chain address or a bank account; `previous` the digest of version - 1, None for the first."""

    organisation: OrganisationId
    beneficiary: BeneficiaryId
    name: str
    destination_class: DestinationClass
    network: str
    where: str | BankAccountRecord
    version: int
    previous: DestinationDigest | None

    def encode(self) -> bytes:
        """The canonical bytes that are hashed. Raises: CanonicalError for text that has no UTF-8 form."""
        record: dict[str, JsonValue] = {
            "beneficiary": self.beneficiary, "class": self.destination_class.value, "name": self.name,
            "network": self.network, "organisation": self.organisation, "previous": self.previous,
            "type": DESTINATION_TYPE, "version": self.version,
        }
        if isinstance(self.where, str):
            record["address"] = self.where
        else:
            account = self.where
            record["account"] = {
                "account_holder": account.account_holder, "country": account.country, "iban": account.iban,
            }
        return encode(record)

    @property
    def address(self) -> str:
        """What is compared when payouts to one place are added up."""
        return self.where if isinstance(self.where, str) else self.where.iban


def destination_digest(raw: bytes) -> DestinationDigest:
    """64 hex digits for the verbatim bytes of a destination record."""
    return DestinationDigest(record_hash(DESTINATION_TYPE, raw).hex())


def parse_destination_record(raw: bytes) -> DestinationRecord:
    """A record from its verbatim bytes. Raises: DocumentError with the field at fault."""
    fields = read_record(raw, DESTINATION_TYPE)
    version, previous = take_version(fields)
    return fields.done(DestinationRecord(
        organisation=fields.parsed("organisation", parse_organisation_id),
        beneficiary=fields.parsed("beneficiary", parse_beneficiary_id), name=fields.text("name"),
        destination_class=fields.parsed("class", DestinationClass), network=fields.text("network"),
        where=_bank_account(fields) if "account" in fields.names() else fields.text("address"), version=version,
        previous=None if previous is None else DestinationDigest(previous),
    ))


def _bank_account(fields: Fields) -> BankAccountRecord:
    account = fields.inner("account")
    holder, country = account.text("account_holder"), account.text("country", 2)
    return account.done(BankAccountRecord(holder, country, account.text("iban", 34)))
