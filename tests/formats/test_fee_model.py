"""What a payout costs, in a large batch and alone: held against what the formats and the vault's measurements say."""

import re
from pathlib import Path

import pytest

from strongroom.formats import simulated
from strongroom.formats.bitcoin_address import REGTEST, bitcoin_address_of
from strongroom.formats.evm_address import DEVELOPMENT_CHAIN
from strongroom.formats.fee_model import ALONE_GAS, BATCHED_GAS, Cost, cost_of

KEY_HASH = str(bitcoin_address_of(b"\x00\x14" + b"\x07" * 20, REGTEST))
SCRIPT_HASH = str(bitcoin_address_of(b"\x00\x20" + b"\x07" * 32, REGTEST))
VAULT = (Path(__file__).parents[2] / "docs/vault.md").read_text()


def test_on_bitcoin_it_depends_on_the_payees_address() -> None:
    """31.1 vbytes are measured for each of a thousand; rounded up."""
    assert cost_of(REGTEST, KEY_HASH) == Cost(32, 142)
    assert cost_of(REGTEST, SCRIPT_HASH) == Cost(44, 154)


def test_on_the_simulated_chain_any_address_is_alike() -> None:
    found = cost_of(simulated.NETWORK, "whoever")
    assert found is not None
    assert found == Cost(simulated.signed_size(1, 3) - simulated.signed_size(1, 2) + 1, simulated.signed_size(1, 2))


def test_gas_is_as_measured_for_the_vault() -> None:
    (warm,) = (int(each.replace(",", "")) for each in re.findall(r"\| USDT, all of it \| [\d,]+ \| ([\d,]+) \|", VAULT))
    (one,) = (int(each.replace(",", "")) for each in re.findall(r"\| a batch of one \| ([\d,]+) \|", VAULT))
    assert BATCHED_GAS <= warm <= BATCHED_GAS * 11 // 10
    assert one <= ALONE_GAS <= one * 12 // 10
    assert cost_of(DEVELOPMENT_CHAIN, "0x" + "11" * 20) == Cost(BATCHED_GAS, ALONE_GAS)


@pytest.mark.parametrize(("network", "address"), [("sepa", "DE00"), (REGTEST, "bc1q"), ("eip155:", "0x")])
def test_where_nothing_pays_or_to_no_address_there_is_no_cost(network: str, address: str) -> None:
    assert cost_of(network, address) is None
