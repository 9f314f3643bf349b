"""Ids that both sides derive from what was signed, so that a restored database makes the same ones again.

26 characters of lower-case base32 (130 bits) of the SHA-256 of a canonical object; the type inside it keeps
the kinds of ids apart.
"""

import hashlib

from strongroom.domain.ids import BeneficiaryId, IdempotencyKey, Maker, OrganisationId, PayoutId, RunId, base32
from strongroom.protocol.canonical import encode_text


def payout_id(organisation: OrganisationId, client: Maker, key: IdempotencyKey) -> PayoutId:
    return PayoutId("po_" + _derived("strongroom/payout-id/v1", organisation, client, key))


def beneficiary_id(organisation: OrganisationId, client: Maker, key: IdempotencyKey) -> BeneficiaryId:
    return BeneficiaryId("ben_" + _derived("strongroom/beneficiary-id/v1", organisation, client, key))


def run_id(organisation: OrganisationId, client: Maker, key: IdempotencyKey) -> RunId:
    return RunId("run_" + _derived("strongroom/run-id/v1", organisation, client, key))


def _derived(record_type: str, organisation: str, client: str, key: str) -> str:
    record = (  # canonical JSON, written out, for it is said of every payout that is asked for
        f'{{"client":{encode_text(client)},"idempotency_key":{encode_text(key)},'
        f'"organisation":{encode_text(organisation)},"type":"{record_type}"}}'
    )
    return base32(int.from_bytes(hashlib.sha256(record.encode()).digest()) >> 256 - 130, 13)
