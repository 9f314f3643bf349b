"""The client library: signs, retries, pages, recomputes ids. Imports nothing else of the package.

    from strongroom.sdk import Client, webhooks

    with Client(api_url, deployment, organisation, client_id, key_id, private_key) as client:
        payout = client.payouts.create(beneficiary=..., destination_digest=..., asset=..., amount=1_250_000,
                                       external_id="trip 4711")
        for held in client.payouts.list(state="held"):
            print(held["id"], held["hold"]["reason"])

    event = webhooks.unwrap(request.body, request.headers, secrets=["whsec_..."])

`AsyncClient` is the same with `await`. An answer that doesn't follow from the request raises MismatchError.
"""

from strongroom.sdk import webhooks
from strongroom.sdk.async_client import AsyncClient
from strongroom.sdk.client import Client
from strongroom.sdk.errors import (
    ApiError,
    AuthenticationError,
    ConflictError,
    HeldError,
    IdempotencyKeyReusedError,
    InvalidRequestError,
    MismatchError,
    NotFoundError,
    RateLimitedError,
    SdkError,
    ServerError,
    TransportError,
)

__all__ = [
    "ApiError", "AsyncClient", "AuthenticationError", "Client", "ConflictError", "HeldError",
    "IdempotencyKeyReusedError", "InvalidRequestError", "MismatchError", "NotFoundError", "RateLimitedError",
    "SdkError", "ServerError", "TransportError", "webhooks",
]
