"""Payouts as clients ask for them: the same ones, in the same shape and size, for every side that is measured."""

import itertools
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from nacl.signing import SigningKey

from benchmarks.ground import ASSET, AUTHORITY, DEPLOYMENT, Ground
from benchmarks.machine import now
from strongroom.domain.ids import IdempotencyKey
from strongroom.domain.instant import SECOND_MS
from strongroom.domain.money import Amount, AssetId
from strongroom.domain.payout import PayoutRequest
from strongroom.protocol.canonical import encode
from strongroom.protocol.http_signature import SignedRequest, parse_signature, sign_request
from strongroom.protocol.identifier import payout_id
from strongroom.protocol.signature_base import content_digest
from strongroom.store.record import Evidence

SIGNATURE_LIFE_S = 280


@dataclass(frozen=True, slots=True)
class Ask:
    """One payout asked for, as intake takes it."""

    request: PayoutRequest
    evidence: Evidence


def bodies(ground: Ground, count: int) -> Iterator[tuple[IdempotencyKey, dict[str, Any]]]:
    """Bodies of payouts of 1 to 100 units to payees in turn, with keys that nobody has used."""
    run = secrets.token_hex(8)
    for number, payee in zip(range(count), itertools.cycle(ground.payees), strict=False):
        yield IdempotencyKey(f"{run}-{secrets.token_hex(8)}-{number:06}"), {
            "amount": str(1_000_000 + number * 7_919 % 99_000_000),
            "asset": ASSET,
            "beneficiary": payee.beneficiary,
            "destination_digest": payee.digest,
            "external_id": f"trip-{run}-{number:06}",
        }


def asks(ground: Ground, count: int) -> list[Ask]:
    """As they leave the gate. They aren't signed, for intake takes verified requests and doesn't look again."""
    made: list[Ask] = []
    template = _signed(ground, b"", IdempotencyKey("k"), SigningKey.generate(), "/v1/payouts")
    base = parse_signature(template, DEPLOYMENT).base
    for key, body in bodies(ground, count):
        request = PayoutRequest(
            id=payout_id(ground.payer.organisation, ground.payer.client, key),
            idempotency_key=key,
            beneficiary=body["beneficiary"],
            destination_digest=body["destination_digest"],
            amount=Amount(int(body["amount"]), AssetId(ASSET)),
            external_id=body["external_id"],
        )
        signed = base.replace(b'"idempotency-key": k', b'"idempotency-key": ' + key.encode())
        raw = encode(body)
        evidence = Evidence("POST", "/v1/payouts", AUTHORITY, key, signed, bytes(64), raw, now())
        made.append(Ask(request, evidence))
    return made


def http_request(ground: Ground, path: str, key: IdempotencyKey, body: bytes) -> bytes:
    """A signed request, byte for byte as it goes over the socket."""
    signed = _signed(ground, body, key, ground.key, path)
    head = (
        f"POST {path} HTTP/1.1\r\nHost: {AUTHORITY}\r\nContent-Type: {signed.content_type}\r\n"
        f"Content-Digest: {signed.content_digest}\r\nContent-Length: {len(body)}\r\nIdempotency-Key: {key}\r\n"
        f"Signature-Input: {signed.signature_input}\r\nSignature: {signed.signature}\r\n\r\n"
    )
    return head.encode() + body


def _signed(ground: Ground, body: bytes, key: IdempotencyKey, private: SigningKey, path: str) -> SignedRequest:
    unsigned = SignedRequest(
        "POST", AUTHORITY, path, "?", "application/json", content_digest(body), key, None, None
    )
    signature_input, signature = sign_request(
        unsigned, ground.payer.key_id, private, DEPLOYMENT, now() // SECOND_MS, SIGNATURE_LIFE_S
    )
    return SignedRequest(
        "POST", AUTHORITY, path, "?", "application/json", unsigned.content_digest, key, signature_input, signature
    )
