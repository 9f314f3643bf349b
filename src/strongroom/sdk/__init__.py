"""The client library: signs, retries, pages, recomputes ids. Imports nothing else of the package.

    from strongroom.sdk import Client

    with Client(api_url, deployment, organisation, client_id, key_id, private_key) as client:
        payout = client.payouts.create(beneficiary=..., destination_digest=..., asset=..., amount="125000",
                                       external_id="trip 4711")
"""

from strongroom.sdk.async_client import AsyncClient
from strongroom.sdk.client import Client
from strongroom.sdk.errors import ApiError, MismatchError, TransportError

__all__ = ["ApiError", "AsyncClient", "Client", "MismatchError", "TransportError"]
