"""The genesis record `strongroom/genesis/v1`: what a deployment is from its first moment, and what names it.

Its hash's start is the deployment id that every signed request carries in its tag, so that nothing signed for one
deployment is worth anything in another. `sandbox` pays on test networks only and takes software keys; `production`
takes none. Who may write it is the ceremony's to say.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from strongroom.domain.document import DocumentError, Fields
from strongroom.domain.ids import OrganisationId, parse_organisation_id
from strongroom.domain.instant import INSTANT_MAXIMUM, Instant
from strongroom.protocol.canonical import record_hash
from strongroom.protocol.record import read_record, take_bytes, take_distinct, take_hash
from strongroom.protocol.webauthn import RelyingParty

GENESIS_TYPE: Final = "strongroom/genesis/v1"
ORGANISATIONS_MAXIMUM: Final = 1_000
ORIGINS_MAXIMUM: Final = 8
DEPLOYMENT_LENGTH: Final = 16


class Mode(StrEnum):
    SANDBOX = "sandbox"
    PRODUCTION = "production"


@dataclass(frozen=True, slots=True)
class FoundingOrganisation:
    """The hashes, in hex, of an organisation's first policy and roster."""

    organisation: OrganisationId
    policy: str
    roster: str


@dataclass(frozen=True, slots=True)
class Genesis:
    """Three Ed25519 public keys: `checkpoint_key` signs the audit log's checkpoints, `statement_key` what the signer
    says, `guard_key` what guard says. Approvals are given to `relying_party`."""

    mode: Mode
    created: Instant
    checkpoint_key: bytes
    statement_key: bytes
    guard_key: bytes
    relying_party: RelyingParty
    organisations: tuple[FoundingOrganisation, ...]


def deployment_id(raw: bytes) -> str:
    """The first 16 hex digits of the hash of the verbatim genesis record."""
    return record_hash(GENESIS_TYPE, raw).hex()[:DEPLOYMENT_LENGTH]


def parse_genesis(raw: bytes) -> Genesis:
    """A genesis record from its verbatim bytes. Raises: DocumentError with the field at fault."""
    fields = read_record(raw, GENESIS_TYPE)
    genesis = Genesis(
        mode=fields.parsed("mode", Mode), created=Instant(fields.integer("created_ms", 0, INSTANT_MAXIMUM)),
        checkpoint_key=take_bytes(fields, "checkpoint_key", 32, 32),
        statement_key=take_bytes(fields, "statement_key", 32, 32), guard_key=take_bytes(fields, "guard_key", 32, 32),
        relying_party=_relying_party(fields.inner("relying_party")),
        organisations=tuple(_founding(each) for each in fields.each("organisations", 0, ORGANISATIONS_MAXIMUM)),
    )
    fields.close()
    if len({each.organisation for each in genesis.organisations}) != len(genesis.organisations):
        raise DocumentError("organisations", "name one organisation twice")
    if genesis.mode is not Mode.SANDBOX:
        _check_origins(genesis.relying_party)
    return genesis


def _relying_party(fields: Fields) -> RelyingParty:
    origins = take_distinct(fields, "origins", ORIGINS_MAXIMUM, str)
    if not origins or list(origins) != sorted(origins):
        raise DocumentError(fields.path("origins"), "must be 1 or more, in the order of their letters")
    return fields.done(RelyingParty(fields.text("id"), frozenset(origins)))


def _check_origins(relying_party: RelyingParty) -> None:
    """A page that anybody's machine can serve asks for no approvals in production."""
    for origin in relying_party.origins:
        scheme, _, host = origin.partition("://")
        if scheme != "https" or host.partition(":")[0].rpartition(".")[2] == "localhost":
            raise DocumentError("relying_party.origins", f"{origin!r} isn't for production")


def _founding(fields: Fields) -> FoundingOrganisation:
    return fields.done(FoundingOrganisation(
        fields.parsed("organisation", parse_organisation_id), take_hash(fields, "policy"), take_hash(fields, "roster")
    ))
