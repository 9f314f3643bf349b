"""What can't be sent is refused before anything is sent, by the name of the field."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from tests.sdk.honest import BENEFICIARY, DIGEST, USDC
from tests.sdk.hostile import Server, Told, answering
from tests.sdk.test_lying_server import ASKED, CHAIN, ITEMS

from strongroom.sdk import Client, calls, exchange

Call = Callable[[Client], Any]


def asks(**changes: Any) -> dict[str, Any]:
    return {**ASKED, **changes}


@pytest.mark.parametrize(
    ("call", "kind", "named"),
    [
        (lambda api: api.payouts.create(**asks(amount=12.5)), TypeError, "amount: a float"),
        (lambda api: api.payouts.create(**asks(amount=1.0)), TypeError, "amount: a float"),
        (lambda api: api.payouts.create(**asks(amount=True)), TypeError, "amount: a bool"),
        (lambda api: api.payouts.create(**asks(amount=Decimal(5))), TypeError, "amount: a Decimal"),
        (lambda api: api.payouts.create(**asks(amount=None)), TypeError, "amount: a NoneType"),
        (lambda api: api.payouts.create(**asks(amount=0)), ValueError, "amount: must be base units"),
        (lambda api: api.payouts.create(**asks(amount=-1)), ValueError, "amount: must be base units"),
        (lambda api: api.payouts.create(**asks(amount=10**78)), ValueError, "amount: must be base units"),
        (lambda api: api.payouts.create(**asks(amount="1.5")), ValueError, "amount: must be base units"),
        (lambda api: api.payouts.create(**asks(amount="٣")), ValueError, "amount: must be base units"),
        (lambda api: api.payouts.create(**asks(amount="1\n")), ValueError, "amount: must be base units"),
        (lambda api: api.payouts.create(**asks(amount="01")), ValueError, "amount: must be base units"),
        (lambda api: api.payouts.preview(**asks(amount=1.5)), TypeError, "amount: a float"),
        (lambda api: api.payouts.create(**asks(metadata={"a": 0.1})), TypeError, "float"),
        (lambda api: api.payouts.create(**asks(metadata={"a": 2**60})), ValueError, "2\\^53"),
        (lambda api: api.payouts.create(**asks(), idempotency_key="a b"), ValueError, "idempotency_key"),
        (lambda api: api.payouts.create(**asks(), idempotency_key="a\r\nX: y"), ValueError, "idempotency_key"),
        (lambda api: api.payouts.create(**asks(), idempotency_key="x" * 256), ValueError, "idempotency_key"),
        (lambda api: api.payouts.cancel("po_1", idempotency_key=""), ValueError, "idempotency_key"),
        (lambda api: api.runs.create([]), ValueError, "items"),
        (lambda api: api.runs.create([{**ITEMS[0], "amount": 0.5}]), TypeError, r"items\[0\].amount: a float"),
        (lambda api: api.runs.create([ITEMS[0], {"asset": USDC}]), ValueError, r"items\[1\].amount: is needed"),
        (lambda api: api.beneficiaries.create(name="R", destination={"network": "sepa", "iban": "x"}), ValueError,
         "destination.account_holder: is needed"),
        (lambda api: api.beneficiaries.create(name="R", destination={"address": "x"}), ValueError,
         "destination.network: is needed"),
        (lambda api: api.call("GET", "/v1/a b"), ValueError, "path"),
        (lambda api: api.call("GET", "/v1/a\r\nX: y"), ValueError, "path"),
        (lambda api: api.call("GET", "/v1/a?b=c"), ValueError, "path"),
        (lambda api: api.call("GET", "v1"), ValueError, "path"),
    ],
)
def test_it_is_refused_before_it_is_sent(call: Call, kind: type[Exception], named: str) -> None:
    with answering(lambda _: Told()) as server, server.client() as api, pytest.raises(kind, match=named):
        call(api)
    assert server.asked == []


@pytest.mark.parametrize("given", [1, "1", 2**200, "1" * 78])
def test_amounts_travel_as_text(given: int | str) -> None:
    assert calls.amount_text(given) == str(given)


def test_an_id_with_a_slash_stays_one_segment_of_the_path() -> None:
    def asked_for(server: Server, identifier: str) -> str:
        with server.client() as api, pytest.raises(Exception, match="id"):
            api.payouts.get(identifier)
        return server.asked[-1].path

    with answering(lambda _: Told(200, {"id": "other"})) as server:
        assert asked_for(server, "../runs?x=1#y") == "/v1/payouts/..%2Fruns%3Fx%3D1%23y"
        assert asked_for(server, "ö\n") == "/v1/payouts/%C3%B6%0A"


def test_a_long_run_goes_in_parts_whose_keys_follow_from_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "RUN_ITEMS_PER_CALL", 2)
    with Client("http://127.0.0.1:9", "0" * 16, "org_" + "a" * 26, "cl_" + "b" * 26, "ak_1", bytes(32)) as api:
        plans = calls.run_plans(api.credentials, [*ITEMS, *ITEMS[:2]], "payday", None)
        again = calls.run_plans(api.credentials, [*ITEMS, *ITEMS[:2]], "payday", None)
    assert [plan.idempotency_key for plan in plans] == ["payday", "payday/2", "payday/4", "payday/seal"]
    assert [plan.body for plan in plans] == [plan.body for plan in again], "the same run again is the same request"
    assert b'"first_index":4' in (plans[2].body or b"")


def test_unset_fields_are_not_sent() -> None:
    with answering(lambda _: Told(403, {"code": "scope_missing"})) as server, server.client() as api:
        with pytest.raises(Exception, match="scope_missing"):
            api.payouts.create(
                beneficiary=BENEFICIARY, destination_digest=DIGEST, asset=USDC, amount=1, external_id="x", on_hold=None
            )
        with pytest.raises(Exception, match="scope_missing"):
            api.beneficiaries.create(name="Rosa", destination=CHAIN)
    assert set(server.asked[0].json()) == {"beneficiary", "destination_digest", "asset", "amount", "external_id"}
    assert set(server.asked[1].json()) == {"name", "destination"}
