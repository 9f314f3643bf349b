"""What the engine makes for Bitcoin, as a real node takes it."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.rails.bitcoin_node import REGTEST, Key, Node, encoded, new_key, running_node

from strongroom.domain.ids import OrganisationId, PayoutId
from strongroom.domain.money import AssetId
from strongroom.domain.policy import WalletRule
from strongroom.engine.bump import build_bump
from strongroom.engine.child import build_child, package_of
from strongroom.engine.child import change_of as last_change
from strongroom.engine.recall import build_cancel
from strongroom.engine.waits import shown_rate
from strongroom.engine.wallets import Wallet, spendable
from strongroom.formats import coins
from strongroom.formats.bitcoin_psbt import parse_psbt
from strongroom.formats.coin_formats import COIN_FORMATS
from strongroom.rails.bitcoin.rail import BitcoinRail
from strongroom.rails.port import Accepted, ChainTransactionId, Coin
from strongroom.store.engine import StoredAttempt

FORM = COIN_FORMATS[REGTEST]
COIN_MINOR = 1_000_000
RATE = 2_000
ORGANISATION = OrganisationId("org_" + "a" * 26)
RULE = WalletRule(REGTEST, AssetId(FORM.asset), 100_000, 100_000, 2, None)


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    with running_node(tmp_path_factory.mktemp("node")) as running:
        yield running


def signed(key: Key, given: list[Coin], unsigned: bytes) -> bytes:
    """By another library than the signer's; the same chain transaction."""
    outputs = FORM.read_unsigned(unsigned).outputs
    spending = key.spend(given, outputs)
    assert FORM.is_signed_form(encoded(spending), unsigned)
    return encoded(spending)


@pytest.mark.parametrize(
    ("rate", "shown"), [(62_000, "62"), (62_500, "62.5"), (100_000, "100"), (1_234, "1.234"), (10, "0.01"), (0, "0")]
)
def test_a_rate_is_shown_as_people_write_it(rate: int, shown: str) -> None:
    assert shown_rate(rate) == shown


@pytest.mark.parametrize("payees", [1, 40])
@pytest.mark.parametrize("what", ["cancel", "bump"])
def test_a_node_takes_a_cancel_or_a_bump_in_the_place_of_what_it_replaces(
    what: str, payees: int, node: Node, tmp_path: Path
) -> None:
    """For one payee the fee of before and a fifth isn't enough: what replaces pays for its own relay as well."""
    key, change = new_key(), new_key().address

    async def story() -> None:
        rail = BitcoinRail(REGTEST, node.url, None, node.cookie, wallet=tmp_path.name)
        try:
            node.fund(key.address, COIN_MINOR)
            node.mine()
            given = list(await rail.coins([key.address]))
            paid = [(new_key().address, 10_000) for _ in range(payees)]
            fee = -(-RATE * FORM.signed_sizes([*(to for to, _ in paid), change])([key.address]) // 1_000)
            spent = [coins.Coin(each.outpoint, each.amount_minor, each.address) for each in given]
            unsigned = FORM.write_unsigned(spent, [*paid, (change, COIN_MINOR - 10_000 * payees - fee)])
            assert await rail.broadcast(signed(key, given, unsigned)) == Accepted()
            payouts = tuple(PayoutId(f"po_{number}") for number in range(payees))
            attempt = StoredAttempt(
                "", ORGANISATION, REGTEST, "pay", "broadcast", unsigned, None, json.dumps([[0, 0]]), payouts
            )
            wallet = Wallet({key.address: (0, 0)}, new_key().address)
            if what == "cancel":
                other, other_fee = build_cancel(attempt, wallet, RATE)
            else:
                other, other_fee = build_bump(attempt, wallet, RATE + 1, RULE)
                assert FORM.read_unsigned(other.unsigned).outputs[:-1] == tuple(paid)
            assert parse_psbt(other.unsigned).fee == other_fee
            assert await rail.broadcast(signed(key, given, other.unsigned)) == Accepted()
            assert node.rpc.call("getrawmempool") == [other.chain_transaction]
            node.mine()
        finally:
            await rail.close()

    asyncio.run(story())


def test_miners_take_a_batch_for_its_childs_fee_and_what_was_built_on_it(tmp_path: Path) -> None:
    """The node mines nothing below 10 sat/vB. Two payments, one on the other's change, offer 2 each; their child pays
    for all three, and none is left."""
    key, first_change, second_change, last = new_key(), new_key(), new_key(), new_key().address
    wallet = Wallet({first_change.address: (0, 1), second_change.address: (0, 2)}, last)

    def paid(coin: Coin, keys: tuple[Key, Key], operation: str, payees: int) -> StoredAttempt:
        to = [(new_key().address, 10_000) for _ in range(payees)]
        outputs = [*to, (keys[1].address, coin.amount_minor - 10_000 * payees)]
        fee = -(-RATE * FORM.signed_sizes([each for each, _ in outputs])([coin.address]) // 1_000)
        outputs[-1] = (keys[1].address, outputs[-1][1] - fee)
        unsigned = FORM.write_unsigned([coins.Coin(coin.outpoint, coin.amount_minor, coin.address)], outputs)
        return StoredAttempt(
            FORM.read_unsigned(unsigned).identifier, ORGANISATION, REGTEST, operation, "broadcast", unsigned,
            signed(keys[0], [coin], unsigned), "", tuple(PayoutId(f"po_{number}") for number in range(payees)),
        )

    def change_of(attempt: StoredAttempt) -> Coin:
        address, minor = FORM.read_unsigned(attempt.unsigned).outputs[-1]
        return Coin(ChainTransactionId(attempt.chain_transaction), len(attempt.payouts), minor, address, None)

    async def story(node: Node) -> None:
        rail = BitcoinRail(REGTEST, node.url, None, node.cookie, wallet=tmp_path.name)
        try:
            await rail.coins([key.address])
            node.fund(key.address, COIN_MINOR)
            node.mine()
            (coin,) = await rail.coins([key.address])
            parent = paid(coin, (key, first_change), "pay", 20)
            second = paid(change_of(parent), (first_change, second_change), "pay", 3)
            for each in (parent, second):
                assert await rail.broadcast(each.signed or b"") == Accepted()
            node.mine()
            assert set(node.rpc.call("getrawmempool")) == {parent.chain_transaction, second.chain_transaction}
            package = package_of(parent, [parent, second])
            assert package is not None
            (given,) = await spendable(rail, [last_change(package)])
            child, fee = build_child(package, given, wallet, 10_000, RULE)
            assert parse_psbt(child.unsigned).fee == fee
            sent = signed(second_change, [change_of(second)], child.unsigned)
            assert await rail.broadcast(sent) == Accepted()
            known = [node.rpc.call("getmempoolentry", each.chain_transaction) for each in (parent, second, child)]
            assert 10_000 <= sum(int(each["fees"]["base"] * 10**8) for each in known) * 1_000 / sum(
                each["vsize"] for each in known) <= 10_050
            node.mine()
            assert node.rpc.call("getrawmempool") == []
        finally:
            await rail.close()

    with running_node(tmp_path, "-blockmintxfee=0.0001") as node:
        node.rpc.call("settxfee", 0.0003, wallet="miner")
        asyncio.run(story(node))
