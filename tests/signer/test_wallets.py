"""Bytes are read by the signer itself, by the wallet of their network; and there is none that its genesis doesn't let
it sign on."""

from pathlib import Path

import pytest
from tests.signer.world import AskRefused, World

from strongroom.formats import simulated
from strongroom.formats.bitcoin_address import NETWORKS, REGTEST
from strongroom.formats.coins import Coin, CoinsError
from strongroom.formats.evm_address import DEVELOPMENT_CHAIN
from strongroom.protocol.genesis import Mode
from strongroom.protocol.signer_wire import Ask
from strongroom.signer.keys import KeyStore, Secret
from strongroom.signer.pkcs11_keys import TokenKeys
from strongroom.signer.rules import Refused, Rule
from strongroom.signer.wallets import Wallets, open_wallets, wallet_on

OURS, THEIRS = (simulated.simulated_address(bytes([2]) + bytes(31) + bytes([place])) for place in (1, 2))
TRANSACTION = simulated.Transaction(
    (simulated.Input(b"\1" * 32, 7, 30_000, OURS), simulated.Input(b"\2" * 32, 0, 10_000, OURS)),
    (simulated.Output(20_000, THEIRS), simulated.Output(19_000, OURS)),
)
RAW = simulated.encode_unsigned(TRANSACTION)
KEYS = KeyStore(Secret(bytes(32)))
SANDBOX, PRODUCTION = (open_wallets(KEYS, mode, TokenKeys()) for mode in (Mode.SANDBOX, Mode.PRODUCTION))


def test_what_it_pays_and_spends_is_read_from_its_bytes() -> None:
    read = wallet_on(SANDBOX, simulated.NETWORK).read(RAW)
    assert read.identifier == simulated.transaction_id(RAW).hex()
    assert (read.network, read.asset) == (simulated.NETWORK, simulated.ASSET)
    assert read.inputs == (Coin("01" * 32 + ":7", 30_000, OURS), Coin("02" * 32 + ":0", 10_000, OURS))
    assert read.outputs == ((THEIRS, 20_000), (OURS, 19_000))
    assert (read.fee, read.dust_minor) == (1_000, simulated.DUST_MINOR)


def test_its_size_is_that_of_the_signed_bytes() -> None:
    signed = simulated.assemble(RAW, (simulated.Witness(1, b"\2" + bytes(32), bytes(64)),) * 2)
    assert wallet_on(SANDBOX, simulated.NETWORK).read(RAW).size == len(signed)


EVM = ("eip155:1", "eip155:10", "eip155:8453")


def test_what_anybody_makes_is_the_sandboxs_and_all_else_never() -> None:
    networks = (simulated.NETWORK, *NETWORKS, *EVM, DEVELOPMENT_CHAIN)
    sandbox, production = ({each for each in networks if wallets(each)} for wallets in (SANDBOX, PRODUCTION))
    assert sandbox == {simulated.NETWORK, REGTEST, DEVELOPMENT_CHAIN}
    assert production == set(networks) - sandbox


@pytest.mark.parametrize(("network", "wallets"), [
    (simulated.NETWORK, PRODUCTION), (REGTEST, PRODUCTION), (DEVELOPMENT_CHAIN, PRODUCTION), ("", SANDBOX),
    ("sepa", PRODUCTION), ("eip155:01", PRODUCTION), ("eip155:0", PRODUCTION), ("eip155:", PRODUCTION),
    *((network, SANDBOX) for network in (*EVM, *NETWORKS) if network != REGTEST),
])
def test_networks_that_it_may_not_sign_on_are_refused(network: str, wallets: Wallets) -> None:
    with pytest.raises(Refused, match=f"there is no wallet on {network} here") as refusal:
        wallet_on(wallets, network)
    assert refusal.value.rule is Rule.BYTES_READ


@pytest.mark.parametrize("raw", [b"", RAW[:-1], RAW + b"\0", bytes(100)])
def test_bytes_in_another_spelling_are_refused(raw: bytes) -> None:
    with pytest.raises(CoinsError):
        wallet_on(SANDBOX, simulated.NETWORK).read(raw)


@pytest.mark.parametrize("ask", [Ask.ADDRESSES, Ask.SIGN])
def test_a_production_signer_has_no_wallet_of_the_sandbox(tmp_path: Path, ask: Ask) -> None:
    world = World(tmp_path)
    world.desk._wallets = PRODUCTION
    act = {
        Ask.SIGN: lambda: world.sign([world.intent(world.cooled(), 1_000)]),
        Ask.ADDRESSES: lambda: world.ask(ask, network=simulated.NETWORK, first=0, generation=0, count=1),
    }[ask]
    with pytest.raises(AskRefused, match="bytes-read: there is no wallet on sim:sandbox here"):
        act()
