"""The asynchronous client. What it sends and checks stands in `calls`; this is only the sending and waiting."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, cast

import httpx
from nacl.signing import SigningKey

from strongroom.sdk import calls
from strongroom.sdk.calls import CallPlan
from strongroom.sdk.errors import ApiError
from strongroom.sdk.exchange import TIMEOUTS, Exchange, Parts, body_of, checked_url, new_key
from strongroom.sdk.signing import Credentials

Json = dict[str, Any]
Amount = int | str
"""Base units, never a float: 1250000 is 1.25 USDC."""


class AsyncClient:
    """One client key at one deployment. `private_key` is the 32-byte Ed25519 seed.

    Every call raises ApiError (by code), TransportError, or MismatchError when an answer isn't what the request must
    lead to; ValueError or TypeError, before anything is sent, for what can't be sent. A call is tried again, under the
    same key, where that is safe; the error says which key it was.
    """

    def __init__(
        self, api_url: str, deployment: str, organisation: str, client_id: str, key_id: str, private_key: bytes,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.credentials = Credentials(organisation, client_id, key_id, deployment, SigningKey(private_key))
        self._base = checked_url(api_url)
        self._http = httpx.AsyncClient(timeout=TIMEOUTS, follow_redirects=False, trust_env=False, transport=transport)
        self.payouts = Payouts(self)
        self.beneficiaries = Beneficiaries(self)
        self.runs = Runs(self)

    async def __aenter__(self) -> "AsyncClient":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        await self._http.aclose()

    async def call(
        self, method: str, path: str, fields: Json | None = None, idempotency_key: str | None = None,
        query: Mapping[str, str] | None = None,
    ) -> Any:
        """Any call of the API, signed. A write without a key gets a fresh one. The answer is believed as it is."""
        body = None if method == "GET" else body_of(fields or {})
        if body is not None and idempotency_key is None and not path.endswith("/preview"):
            idempotency_key = new_key()
        return await self.send(CallPlan(method, path, query or {}, body, idempotency_key))

    async def send(self, plan: CallPlan) -> Any:
        """A planned call, with its tries, and its answer checked."""
        exchange = Exchange(
            self.credentials, self._base, plan.method, plan.path, plan.query, plan.body, plan.idempotency_key,
            plan.content_type,
        )
        while True:
            try:
                return exchange.checked(plan.check, await self._once(exchange))
            except (ApiError, httpx.RequestError) as fault:
                pause_s = exchange.pause_s(fault)
                if pause_s is None:
                    raise exchange.give_up(fault) from fault
                await asyncio.sleep(pause_s)

    async def _once(self, exchange: Exchange) -> Any:
        response = await self._http.send(exchange.request(), stream=True)
        try:
            parts = Parts()
            async for part in response.aiter_bytes():
                parts.add(part)
        finally:
            await response.aclose()
        return exchange.answer(response, parts.whole())

    async def pages(self, path: str, query: Mapping[str, str], each: calls.Check | None = None) -> AsyncIterator[Json]:
        """Every row of a list, page after page; `each` checks a row."""
        cursor: str | None = None
        check = calls.check_page(each)
        while True:
            asked = {**query, **({"cursor": cursor} if cursor else {})}
            page = await self.send(CallPlan("GET", path, asked, check=check))
            for row in page["data"]:
                yield row
            cursor = page["next_cursor"]
            if cursor is None:
                return


class Payouts:
    def __init__(self, client: AsyncClient) -> None:
        self._client = client

    async def create(
        self, *, beneficiary: str, destination_digest: str, asset: str, amount: Amount, external_id: str,
        idempotency_key: str | None = None, **more: Any,
    ) -> Json:
        """Ask for a payout. The answer's id, amount and destination are checked against what was asked."""
        fields = {
            "beneficiary": beneficiary, "destination_digest": destination_digest, "asset": asset, "amount": amount,
            "external_id": external_id, **more,
        }
        plan = calls.create_payout(self._client.credentials, idempotency_key, fields)
        return cast("Json", await self._client.send(plan))

    async def preview(
        self, *, beneficiary: str, destination_digest: str, asset: str, amount: Amount, external_id: str, **more: Any
    ) -> Json:
        """What would happen to a payout; nothing is stored."""
        fields = {
            "beneficiary": beneficiary, "destination_digest": destination_digest, "asset": asset, "amount": amount,
            "external_id": external_id, **more,
        }
        return cast("Json", await self._client.send(calls.preview_payout(fields)))

    async def get(self, payout: str) -> Json:
        return cast("Json", await self._client.send(calls.get_one("/v1/payouts", payout)))

    def list(self, **filters: str) -> AsyncIterator[Json]:
        """Every payout that fits, the oldest first; more pages are fetched while you read."""
        return self._client.pages("/v1/payouts", filters)

    async def evidence(self, payout: str) -> Json:
        """The signed request that asked for it."""
        plan = calls.get_one("/v1/payouts", payout, "/evidence", calls.has("signature_base"))
        return cast("Json", await self._client.send(plan))

    async def receipt(self, payout: str) -> Json:
        """The leaf of the audit log that tells of it, with its inclusion proof."""
        plan = calls.get_one("/v1/payouts", payout, "/receipt", calls.has("payout", payout))
        return cast("Json", await self._client.send(plan))

    async def cancel(self, payout: str, *, idempotency_key: str) -> Json:
        """`idempotency_key` is the one that the payout was made with."""
        return cast("Json", await self._client.send(calls.cancel("/v1/payouts", payout, idempotency_key)))


class Beneficiaries:
    def __init__(self, client: AsyncClient) -> None:
        self._client = client

    async def create(
        self, *, name: str, destination: Mapping[str, str], external_id: str | None = None,
        idempotency_key: str | None = None,
    ) -> Json:
        """Declare a beneficiary; its id and the digest of its destination are checked.

        `destination` is {network, address}, or for banks {network: "sepa", iban, account_holder, country}.
        """
        plan = calls.create_beneficiary(self._client.credentials, idempotency_key, name, destination, external_id)
        return cast("Json", await self._client.send(plan))

    async def get(self, beneficiary: str) -> Json:
        """A beneficiary, its addresses checked against their digests."""
        check = calls.check_beneficiary(self._client.credentials, beneficiary)
        return cast("Json", await self._client.send(calls.get_one("/v1/beneficiaries", beneficiary, check=check)))

    def list(self, **filters: str) -> AsyncIterator[Json]:
        """Every beneficiary that fits, the oldest first; addresses checked as in `get`."""
        each = calls.check_beneficiary(self._client.credentials, None)
        return self._client.pages("/v1/beneficiaries", filters, each)

    async def add_destination(
        self, beneficiary: Json, destination: Mapping[str, str], *, idempotency_key: str | None = None
    ) -> Json:
        """The next version of where a beneficiary, as read, is paid."""
        plan = calls.add_destination(self._client.credentials, idempotency_key, beneficiary, destination)
        return cast("Json", await self._client.send(plan))


class Runs:
    def __init__(self, client: AsyncClient) -> None:
        self._client = client

    async def create(
        self, items: Sequence[Mapping[str, Any]], *, idempotency_key: str | None = None, external_id: str | None = None
    ) -> Json:
        """Send a run and seal it: in one call if it fits, else in parts. The root is computed from what is sent.

        The same items under the same key are the same run, also when an earlier try broke off between its parts.
        """
        answer: Any = None
        for plan in calls.run_plans(self._client.credentials, items, idempotency_key or new_key(), external_id):
            answer = await self._client.send(plan)
        return cast("Json", answer)

    async def get(self, run: str) -> Json:
        return cast("Json", await self._client.send(calls.get_one("/v1/payout-runs", run)))

    def list(self) -> AsyncIterator[Json]:
        """Every run, the oldest first."""
        return self._client.pages("/v1/payout-runs", {})

    def items(self, run: str, **filters: str) -> AsyncIterator[Json]:
        """The payouts of a run in their order."""
        return self._client.pages(f"/v1/payout-runs/{calls.quoted(run)}/items", filters)

    async def cancel(self, run: str, *, idempotency_key: str) -> Json:
        """`idempotency_key` is the one that the run was made with."""
        return cast("Json", await self._client.send(calls.cancel("/v1/payout-runs", run, idempotency_key)))

    async def preview_file(self, raw: bytes) -> Json:
        """What would happen to each row of a CSV."""
        return cast("Json", await self._client.send(calls.preview_file(raw)))
