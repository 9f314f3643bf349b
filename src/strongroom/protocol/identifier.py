"""Ids that both sides derive from what was signed, so that a restored database makes the same ones again.

26 characters of lower-case base32 (130 bits) of the SHA-256 of a canonical object; the type inside it keeps
the kinds of ids apart.
"""

import base64
from typing import Final

from strongroom.domain.ids import BeneficiaryId, ClientId, IdempotencyKey, OrganisationId, PayoutId, RunId
from strongroom.protocol.canonical import canonical_digest

_LENGTH: Final = 26


def payout_id(organisation: OrganisationId, client: ClientId, key: IdempotencyKey) -> PayoutId:
    return PayoutId("po_" + _derived("strongroom/payout-id/v1", organisation, client, key))


def beneficiary_id(organisation: OrganisationId, client: ClientId, key: IdempotencyKey) -> BeneficiaryId:
    return BeneficiaryId("ben_" + _derived("strongroom/beneficiary-id/v1", organisation, client, key))


def run_id(organisation: OrganisationId, client: ClientId, key: IdempotencyKey) -> RunId:
    return RunId("run_" + _derived("strongroom/run-id/v1", organisation, client, key))


def _derived(record_type: str, organisation: str, client: str, key: str) -> str:
    record = {"client": client, "idempotency_key": key, "organisation": organisation, "type": record_type}
    return base64.b32encode(canonical_digest(record)[:20]).decode().lower()[:_LENGTH]
