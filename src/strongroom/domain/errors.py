"""The catalogue of refusals, and the one exception for a broken invariant.

A refusal is a normal answer: it has a row here, with a code that clients may rely on for ever. Malformed
input has its parser's own exception, which the edge turns into a refusal. An `InvariantError` is neither:
something that can't be true is, and whoever sees it stops.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Code(StrEnum):
    """What a client can branch on. The order is the order in which the API looks for them."""

    RATE_LIMITED = "rate_limited"
    TOO_LARGE = "too_large"
    SIGNATURE_MISSING = "signature_missing"
    SIGNATURE_INVALID = "signature_invalid"
    KEY_REVOKED = "key_revoked"
    ADDRESS_NOT_ALLOWED = "address_not_allowed"
    MALFORMED = "malformed"
    IDEMPOTENCY_KEY_REQUIRED = "idempotency_key_required"
    INVALID = "invalid"
    SCOPE_MISSING = "scope_missing"
    IDEMPOTENCY_KEY_REUSED = "idempotency_key_reused"
    IN_PROGRESS = "in_progress"
    NOT_FOUND = "not_found"
    ASSET_UNKNOWN = "asset_unknown"
    NETWORK_MISMATCH = "network_mismatch"
    ADDRESS_INVALID = "address_invalid"
    ADDRESS_FORBIDDEN = "address_forbidden"
    AMOUNT_OUT_OF_RANGE = "amount_out_of_range"
    DESTINATION_MISMATCH = "destination_mismatch"
    DUPLICATE_EXTERNAL_ID = "duplicate_external_id"
    LIMIT_EXCEEDED = "limit_exceeded"
    TOO_LATE = "too_late"
    INSUFFICIENT_FUNDS = "insufficient_funds"
    BENEFICIARY_COOLING = "beneficiary_cooling"
    FROZEN = "frozen"
    LIMIT_WINDOW = "limit_window"
    HELD = "held"
    RUN_SEALED = "run_sealed"
    SEAL_MISMATCH = "seal_mismatch"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    TIMEOUT = "timeout"
    UNAVAILABLE = "unavailable"
    INTERNAL = "internal"


@dataclass(frozen=True, slots=True)
class CatalogueRow:
    """`status` is HTTP's; `retryable`: the same request may succeed later, without a change."""

    title: str
    status: int
    retryable: bool


CATALOGUE: Final[dict[Code, CatalogueRow]] = {
    Code.RATE_LIMITED: CatalogueRow("Too many requests", 429, True),
    Code.TOO_LARGE: CatalogueRow("The body is too large", 413, False),
    Code.SIGNATURE_MISSING: CatalogueRow("The request isn't signed", 401, False),
    Code.SIGNATURE_INVALID: CatalogueRow("The signature doesn't hold", 401, False),
    Code.KEY_REVOKED: CatalogueRow("The key is revoked", 401, False),
    Code.ADDRESS_NOT_ALLOWED: CatalogueRow("The key may not be used from this address", 403, False),
    Code.MALFORMED: CatalogueRow("The body can't be read", 400, False),
    Code.IDEMPOTENCY_KEY_REQUIRED: CatalogueRow("An idempotency key is needed", 400, False),
    Code.INVALID: CatalogueRow("A field is wrong", 422, False),
    Code.SCOPE_MISSING: CatalogueRow("The key lacks the scope", 403, False),
    Code.IDEMPOTENCY_KEY_REUSED: CatalogueRow("The idempotency key was used for another request", 422, False),
    Code.IN_PROGRESS: CatalogueRow("The same request is being answered", 409, True),
    Code.NOT_FOUND: CatalogueRow("Not found", 404, False),
    Code.ASSET_UNKNOWN: CatalogueRow("The policy knows no such asset", 422, False),
    Code.NETWORK_MISMATCH: CatalogueRow("Asset, network and address don't fit together", 422, False),
    Code.ADDRESS_INVALID: CatalogueRow("The address is wrong", 422, False),
    Code.ADDRESS_FORBIDDEN: CatalogueRow("This address is never paid", 422, False),
    Code.AMOUNT_OUT_OF_RANGE: CatalogueRow("The amount is out of range", 422, False),
    Code.DESTINATION_MISMATCH: CatalogueRow("The destination isn't the one in force", 422, False),
    Code.DUPLICATE_EXTERNAL_ID: CatalogueRow("This external id was paid already", 409, False),
    Code.LIMIT_EXCEEDED: CatalogueRow("Above what the policy ever allows", 409, False),
    Code.TOO_LATE: CatalogueRow("Too late", 409, False),
    Code.INSUFFICIENT_FUNDS: CatalogueRow("Not enough funds", 409, True),
    Code.BENEFICIARY_COOLING: CatalogueRow("The destination is cooling off", 409, True),
    Code.FROZEN: CatalogueRow("Payments are frozen", 409, True),
    Code.LIMIT_WINDOW: CatalogueRow("A limit is used up for now", 409, True),
    Code.HELD: CatalogueRow("It can't go out now", 409, True),
    Code.RUN_SEALED: CatalogueRow("The run is sealed", 409, False),
    Code.SEAL_MISMATCH: CatalogueRow("The seal doesn't fit the items", 422, False),
    Code.METHOD_NOT_ALLOWED: CatalogueRow("The path has no such method", 405, False),
    Code.TIMEOUT: CatalogueRow("The request took too long to arrive", 408, True),
    Code.UNAVAILABLE: CatalogueRow("Not ready", 503, True),
    Code.INTERNAL: CatalogueRow("A fault of ours", 500, True),
}


@dataclass(frozen=True, slots=True)
class Refusal:
    """One answer that says no.

    `detail` is a sentence that helps; `field` a path in the body such as `items[17].amount`, a header or a
    parameter, where one is at fault; `retry_after_ms` only with retryable codes.
    """

    code: Code
    detail: str
    field: str | None = None
    retry_after_ms: int | None = None

    @property
    def row(self) -> CatalogueRow:
        return CATALOGUE[self.code]

    def within(self, prefix: str) -> "Refusal":
        """The same refusal about a field inside `prefix`, as in `items[3]`."""
        inner = f".{self.field}" if self.field else ""
        return Refusal(self.code, self.detail, prefix + inner, self.retry_after_ms)


class RefusalError(Exception):
    """Carries a refusal up to the edge that answers."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(f"{refusal.code}: {refusal.detail}")
        self.refusal = refusal
