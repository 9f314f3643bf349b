"""The asynchronous client. What it sends and checks stands in `calls`; this is only the sending and waiting."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, cast

import httpx
from nacl.signing import SigningKey

from strongroom.sdk import calls
from strongroom.sdk.calls import CallPlan
from strongroom.sdk.errors import ApiError
from strongroom.sdk.exchange import TIMEOUT_S, Exchange, body_of, checked_url, new_key, slices
from strongroom.sdk.signing import Credentials

Json = dict[str, Any]


class AsyncClient:
    """One client key at one deployment. `private_key` is the 32-byte Ed25519 seed.

    Every call raises ApiError (by code), TransportError, or MismatchError when an answer isn't what the request must
    lead to. A call is tried again, under the same key, where that is safe.
    """

    def __init__(
        self, api_url: str, deployment: str, organisation: str, client_id: str, key_id: str, private_key: bytes,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.credentials = Credentials(organisation, client_id, key_id, deployment, SigningKey(private_key))
        self._base = checked_url(api_url)
        self._http = httpx.AsyncClient(
            timeout=TIMEOUT_S, follow_redirects=False, trust_env=False, transport=transport
        )
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
        """Any call of the API, signed. A write without a key gets a fresh one."""
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
                answer = exchange.answer(await self._http.send(exchange.request()))
            except (ApiError, httpx.TransportError) as fault:
                pause_s = exchange.pause_s(fault)
                if pause_s is None:
                    raise exchange.give_up(fault) from fault
                await asyncio.sleep(pause_s)
                continue
            if plan.check is not None:
                plan.check(answer)
            return answer

    async def pages(self, path: str, query: Mapping[str, str]) -> AsyncIterator[Json]:
        """Every row of a list, page after page."""
        cursor: str | None = None
        while True:
            page = await self.call("GET", path, query={**query, **({"cursor": cursor} if cursor else {})})
            for row in page["data"]:
                yield row
            cursor = page["next_cursor"]
            if cursor is None:
                return


class Payouts:
    def __init__(self, client: AsyncClient) -> None:
        self._client = client

    async def create(self, *, idempotency_key: str | None = None, **fields: Any) -> Json:
        """Ask for a payout. The answer's id, amount and destination are checked against what was asked."""
        plan = calls.create_payout(self._client.credentials, idempotency_key, fields)
        return cast("Json", await self._client.send(plan))

    async def preview(self, **fields: Any) -> Json:
        return cast("Json", await self._client.call("POST", "/v1/payouts/preview", fields))

    async def get(self, payout: str) -> Json:
        return cast("Json", await self._client.call("GET", f"/v1/payouts/{payout}"))

    def list(self, **filters: str) -> AsyncIterator[Json]:
        return self._client.pages("/v1/payouts", filters)

    async def evidence(self, payout: str) -> Json:
        return cast("Json", await self._client.call("GET", f"/v1/payouts/{payout}/evidence"))

    async def receipt(self, payout: str) -> Json:
        return cast("Json", await self._client.call("GET", f"/v1/payouts/{payout}/receipt"))

    async def cancel(self, payout: str, *, idempotency_key: str) -> Json:
        """`idempotency_key` is the one that the payout was made with."""
        fields = {"idempotency_key": idempotency_key}
        return cast("Json", await self._client.call("POST", f"/v1/payouts/{payout}/cancel", fields))


class Beneficiaries:
    def __init__(self, client: AsyncClient) -> None:
        self._client = client

    async def create(self, *, idempotency_key: str | None = None, **fields: Any) -> Json:
        """Declare a beneficiary; its id and the digest of its destination are checked."""
        plan = calls.create_beneficiary(self._client.credentials, idempotency_key, fields)
        return cast("Json", await self._client.send(plan))

    async def get(self, beneficiary: str) -> Json:
        return cast("Json", await self._client.call("GET", f"/v1/beneficiaries/{beneficiary}"))

    def list(self, **filters: str) -> AsyncIterator[Json]:
        return self._client.pages("/v1/beneficiaries", filters)

    async def add_destination(
        self, beneficiary: Json, destination: Json, *, idempotency_key: str | None = None
    ) -> Json:
        """The next version of where a beneficiary, as read, is paid."""
        newest = beneficiary["destinations"][-1]
        fields = {**destination, "version": newest["version"] + 1, "previous": newest["digest"]}
        plan = calls.add_destination(
            self._client.credentials, idempotency_key, beneficiary["id"], beneficiary["name"], fields
        )
        return cast("Json", await self._client.send(plan))


class Runs:
    def __init__(self, client: AsyncClient) -> None:
        self._client = client

    async def create(
        self, items: Sequence[Mapping[str, Any]], *, idempotency_key: str | None = None, external_id: str | None = None
    ) -> Json:
        """Send a run and seal it: in one call if it fits, else in parts. The root is computed from what is sent."""
        key = idempotency_key or new_key()
        run = calls.run_of(self._client.credentials, key)
        sent = [calls.run_item(item) for item in items]
        seal = calls.seal_of(run, sent)
        parts = list(slices(sent))
        first: Json = {"items": parts[0][1], "external_id": external_id}
        if len(parts) == 1:
            first["seal"] = seal
        check = calls.check_run(run, len(parts[0][1]))
        answer = await self._client.send(CallPlan("POST", "/v1/payout-runs", {}, body_of(first), key, check))
        for first_index, part in parts[1:]:
            body = body_of({"first_index": first_index, "items": part})
            check = calls.check_run(run, first_index + len(part))
            plan = CallPlan("POST", f"/v1/payout-runs/{run}/items", {}, body, f"{key}/{first_index}", check)
            await self._client.send(plan)
        if len(parts) > 1:
            check = calls.check_run(run, len(sent))
            plan = CallPlan("POST", f"/v1/payout-runs/{run}/seal", {}, body_of(seal), f"{key}/seal", check)
            answer = await self._client.send(plan)
        return cast("Json", answer)

    async def get(self, run: str) -> Json:
        return cast("Json", await self._client.call("GET", f"/v1/payout-runs/{run}"))

    def items(self, run: str, **filters: str) -> AsyncIterator[Json]:
        return self._client.pages(f"/v1/payout-runs/{run}/items", filters)

    async def cancel(self, run: str, *, idempotency_key: str) -> Json:
        """`idempotency_key` is the one that the run was made with."""
        fields = {"idempotency_key": idempotency_key}
        return cast("Json", await self._client.call("POST", f"/v1/payout-runs/{run}/cancel", fields))

    async def preview_file(self, raw: bytes) -> Json:
        """What would happen to each row of a CSV."""
        plan = CallPlan("POST", "/v1/payout-runs/preview", body=raw, content_type="text/csv")
        return cast("Json", await self._client.send(plan))
