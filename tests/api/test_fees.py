"""What a preview says of the fee: a range, of when it was measured; or that it isn't known."""

import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from tests.api.server import ApiProcess, Owner
from tests.api.world import ASSETS, BTC, EUR, EVM, REGTEST, USDC, Organisation, create_world, item, payout

from strongroom.domain.ids import OrganisationId
from strongroom.domain.instant import MINUTE_MS
from strongroom.formats.bitcoin_address import bitcoin_address_of
from strongroom.formats.fee_model import ALONE_GAS, BATCHED_GAS
from strongroom.sandbox.organisation import policy_document

ETHER = f"{EVM}/slip44:60"
GWEI = 10**9
UNKNOWN = "the fee isn't known now: no node has said lately what its chain asks for"
DEAR = "fees are above what the policy pays: it would be held until they fall"


@pytest.fixture(autouse=True)
def none_measured(world: Organisation) -> Iterator[None]:
    yield
    world.owner.execute("DELETE FROM strongroom.fee_rates")


@pytest.fixture(scope="module")
def payee(world: Organisation) -> dict[str, Any]:
    address = bitcoin_address_of(b"\x00\x14" + b"\x07" * 20, REGTEST)
    return world.declared(destination={"network": REGTEST, "address": address})


def measured(world: Organisation, network: str, expected: int, offered: int, age_ms: int = 0) -> None:
    """As the engine writes it down."""
    at = time.time_ns() // 1_000_000 - age_ms
    world.owner.execute(
        "SELECT strongroom.engine_fee_rate($1, $2, $3, $4)", network, str(expected), str(offered), at)


def preview(world: Organisation, to: dict[str, Any], **changes: Any) -> dict[str, Any]:
    answer = world.payer.post("/v1/payouts/preview", payout(to, **changes))
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_on_bitcoin_it_is_between_the_share_of_a_large_batch_and_one_alone(
    world: Organisation, payee: dict[str, Any]
) -> None:
    measured(world, REGTEST, 20_500, 20_500)
    found = preview(world, payee, asset=BTC)
    estimate = found["fee_estimate"]
    assert (estimate["asset"], estimate["rate"]) == (BTC, "20500")
    assert (estimate["least"], estimate["most"]) == (str(32 * 20_500 // 1_000), str(142 * 20_500 // 1_000))
    assert estimate["measured_at"].endswith("Z")
    assert UNKNOWN not in found["warnings"]
    assert DEAR not in found["warnings"]


def test_of_a_token_it_is_gas_between_what_it_costs_and_what_is_offered(
    api: ApiProcess, owner: Owner, http: httpx.Client
) -> None:
    """Another organisation, whose policy has ether to pay for gas."""
    made = policy_document(OrganisationId("org_" + "a" * 26), {**ASSETS, "ETH": ETHER})
    world = create_world(api, owner, http, assets=made["assets"], wallets=made["wallets"])
    measured(world, EVM, 2_000 * GWEI, 3_000 * GWEI)
    estimate = preview(world, world.declared(), asset=USDC)["fee_estimate"]
    assert estimate["asset"] == ETHER
    assert (estimate["least"], estimate["most"]) == (str(2 * GWEI * BATCHED_GAS), str(3 * GWEI * ALONE_GAS))


@pytest.mark.parametrize(("age_ms", "is_known"), [(9 * MINUTE_MS, True), (11 * MINUTE_MS, False)])
def test_what_is_old_says_nothing_of_now(
    world: Organisation, payee: dict[str, Any], age_ms: int, is_known: bool
) -> None:
    measured(world, REGTEST, 20_500, 20_500, age_ms)
    found = preview(world, payee, asset=BTC)
    assert (found["fee_estimate"] is not None, UNKNOWN in found["warnings"]) == (is_known, not is_known)


def test_where_nobody_measured_and_where_nothing_pays_it_isnt_known(world: Organisation, payee: dict[str, Any]) -> None:
    bank = world.declared(destination={
        "network": "sepa", "iban": "DE89370400440532013000", "account_holder": "Ada Example", "country": "DE"})
    for found in (preview(world, payee, asset=BTC), preview(world, bank, asset=EUR, amount="100")):
        assert found["fee_estimate"] is None
        assert UNKNOWN in found["warnings"]


def test_fees_above_the_policys_ceiling_are_said(world: Organisation, payee: dict[str, Any]) -> None:
    measured(world, REGTEST, 200_001, 200_001)
    found = preview(world, payee, asset=BTC)
    assert found["fee_estimate"] is not None
    assert DEAR in found["warnings"]


def test_a_run_has_the_sums_of_its_rows(world: Organisation, payee: dict[str, Any]) -> None:
    measured(world, REGTEST, 1_000, 1_000)
    items = [item(payee, asset=BTC), item(payee, asset=BTC), item(payee, asset=BTC, amount=str(10**16))]
    answer = world.payer.post("/v1/payout-runs/preview", {"items": items})
    assert answer.status_code == 200, answer.text
    assert answer.json()["fees"] == {BTC: {"least": "64", "most": "284"}}
    assert [row["preview"] is not None for row in answer.json()["rows"]] == [True, True, False]
