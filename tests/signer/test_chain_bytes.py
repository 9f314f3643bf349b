"""Chain transactions are decoded by the signer itself, for networks that its mode may pay on."""

import pytest

from strongroom.formats import simulated
from strongroom.formats.coins import Coin
from strongroom.protocol.genesis import Mode
from strongroom.signer.chain_bytes import read_transaction
from strongroom.signer.rules import Refused, Rule

OURS, THEIRS = (simulated.simulated_address(bytes([2]) + bytes(31) + bytes([place])) for place in (1, 2))
TRANSACTION = simulated.Transaction(
    (simulated.Input(b"\1" * 32, 7, 30_000, OURS), simulated.Input(b"\2" * 32, 0, 10_000, OURS)),
    (simulated.Output(20_000, THEIRS), simulated.Output(19_000, OURS)),
)
RAW = simulated.encode_unsigned(TRANSACTION)


def test_what_it_pays_and_spends_is_read_from_its_bytes() -> None:
    read = read_transaction(simulated.NETWORK, RAW, Mode.SANDBOX)
    assert read.identifier == simulated.transaction_id(RAW).hex()
    assert (read.network, read.asset) == (simulated.NETWORK, simulated.ASSET)
    assert read.inputs == (Coin("01" * 32 + ":7", 30_000, OURS), Coin("02" * 32 + ":0", 10_000, OURS))
    assert read.outputs == ((THEIRS, 20_000), (OURS, 19_000))
    assert (read.fee, read.dust_minor) == (1_000, simulated.DUST_MINOR)


def test_its_size_is_that_of_the_signed_bytes() -> None:
    signed = simulated.assemble(RAW, (simulated.Witness(1, b"\2" + bytes(32), bytes(64)),) * 2)
    assert read_transaction(simulated.NETWORK, RAW, Mode.SANDBOX).size == len(signed)


@pytest.mark.parametrize(("network", "mode"), [
    (simulated.NETWORK, Mode.PRODUCTION), ("eip155:1", Mode.SANDBOX), ("", Mode.SANDBOX), ("sepa", Mode.PRODUCTION),
])
def test_networks_that_it_may_not_pay_on_are_refused(network: str, mode: Mode) -> None:
    with pytest.raises(Refused, match=f"nothing is signed for {network} here") as refusal:
        read_transaction(network, RAW, mode)
    assert refusal.value.rule is Rule.BYTES_READ


@pytest.mark.parametrize("raw", [b"", RAW[:-1], RAW + b"\0", bytes(100)])
def test_bytes_in_another_spelling_are_refused(raw: bytes) -> None:
    with pytest.raises(Refused) as refusal:
        read_transaction(simulated.NETWORK, raw, Mode.SANDBOX)
    assert refusal.value.rule is Rule.BYTES_READ
