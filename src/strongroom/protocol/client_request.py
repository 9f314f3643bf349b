"""What a client asked for, read again from its evidence by whoever trusts nobody in between.

Evidence is the verbatim signature base, signature and body of one signed HTTP request. The API checked it once for
itself; signer and guard check it again for themselves, and take from it alone what is to be done. Paths are
literal, queries empty. Whether the key may ask this, and whether the request is young enough, is for the caller to say.
"""

import re
from base64 import b64encode
from binascii import a2b_base64, b2a_base64
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from typing import Final, NamedTuple

from strongroom.domain.document import DocumentError, Fields
from strongroom.domain.ids import IdempotencyKey, IdError, MakerKey, parse_idempotency_key
from strongroom.domain.instant import Instant
from strongroom.protocol.canonical import JsonValue
from strongroom.protocol.record import parse_fields
from strongroom.protocol.signature_base import SignatureError, content_digest, holds, read_keyed_base

JSON_TYPE: Final = "application/json"


class Ask(StrEnum):
    """What a path asks for."""

    PAYOUT = "payout"
    RUN = "run"
    SEAL = "seal"
    BENEFICIARY = "beneficiary"
    DESTINATION = "destination"
    CANCEL_PAYOUT = "cancel_payout"
    CANCEL_RUN = "cancel_run"


_PATHS: Final = {
    Ask.PAYOUT: re.compile("/v1/payouts"), Ask.RUN: re.compile("/v1/payout-runs"),
    Ask.SEAL: re.compile("/v1/payout-runs/(run_[a-z2-7]{26})/seal"),
    Ask.BENEFICIARY: re.compile("/v1/beneficiaries"),
    Ask.DESTINATION: re.compile("/v1/beneficiaries/(ben_[a-z2-7]{26})/destinations"),
    Ask.CANCEL_PAYOUT: re.compile("/v1/payouts/(po_[a-z2-7]{26})/cancel"),
    Ask.CANCEL_RUN: re.compile("/v1/payout-runs/(run_[a-z2-7]{26})/cancel"),
}


@dataclass(frozen=True, slots=True)
class ClientEvidence:
    """One signed request, byte for byte."""

    base: bytes
    signature: bytes
    body: bytes

    def document(self) -> JsonValue:
        """As it stands in frames between processes."""
        return [*base64_list((self.base, self.signature, self.body))]

    def verify(self, public_key: bytes) -> None:
        """That the holder of `public_key` signed it. Raises: SignatureError."""
        if not holds(self.base, self.signature, public_key):
            raise SignatureError("the signature isn't that of this request by this key")


class Request(NamedTuple):
    """What was asked for with this body; that `key_id` signed it isn't verified yet.

    `object` is the id in its path, empty if there is none. `digest` is what a later request of the same key must
    share to be the same request: the hash of method, path and content digest, in hex.
    """

    ask: Ask
    object: str
    key_id: MakerKey
    created: Instant
    idempotency_key: IdempotencyKey
    digest: str
    body: bytes

    def fields(self) -> Fields:
        """The body, strictly parsed. Raises: DocumentError."""
        return parse_fields(self.body)


def read_client_request(evidence: ClientEvidence, deployment: str) -> Request:
    """Raises: SignatureError if it isn't a request that this deployment's API would have taken."""
    base = read_keyed_base(evidence.base, deployment)
    if (base.method, base.query, base.content_type) != ("POST", "?", JSON_TYPE):
        raise SignatureError(f"must be a POST of {JSON_TYPE} without a query")
    if base.content_digest != (hashed := content_digest(evidence.body)):
        raise SignatureError("Content-Digest isn't the SHA-256 of this body")
    try:
        key = parse_idempotency_key(base.idempotency_key)
    except IdError as fault:
        raise SignatureError(f"Idempotency-Key {fault}") from fault
    return request_of(base.path, base.key_id, base.created, key, evidence.body, hashed)


def request_of(path: str, key_id: MakerKey, created: Instant, key: IdempotencyKey, body: bytes, hashed: str) -> Request:
    """What a POST of this body, `hashed` by `content_digest`, to this literal path asks for. Raises: SignatureError."""
    for ask, pattern in _PATHS.items():
        if (match := pattern.fullmatch(path)) is not None:
            digest = sha256(f'["POST","{path}","{hashed}"]'.encode()).hexdigest()  # canonical JSON, written out
            return Request(ask, match[1] if match.groups() else "", key_id, created, key, digest, body)
    raise SignatureError(f"{path} isn't a path that moves money")


def take_client_evidence(value: object, field: str) -> ClientEvidence:
    """Evidence as `ClientEvidence.document` writes it. Raises: DocumentError."""
    if not isinstance(value, list) or len(value) != 3:
        raise DocumentError(field, "must be a list of base, signature and body")
    return ClientEvidence(*[take_base64(part, f"{field}[{index}]") for index, part in enumerate(value)])


def base64_list(values: Sequence[bytes]) -> list[JsonValue]:
    return [b64encode(value).decode() for value in values]


def take_base64(value: object, field: str) -> bytes:
    """Raises: DocumentError."""
    try:
        raw = a2b_base64(value, strict_mode=True) if isinstance(value, str) else None
    except ValueError:
        raw = None
    if raw is None or b2a_base64(raw, newline=False).decode() != value:
        raise DocumentError(field, "must be base64 (RFC 4648) with its padding")
    return raw
