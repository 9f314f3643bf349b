"""The addresses of a wallet, as the signer says them. Written down before use: watch reads the chain by them.

Who alters what is written down makes plans that the signer refuses, and nothing else.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from strongroom.domain.document import Fields
from strongroom.domain.ids import OrganisationId
from strongroom.engine.bench import Bench
from strongroom.engine.vault import vault_of
from strongroom.formats.coin_formats import COIN_FORMATS
from strongroom.formats.coins import Coin as Spent
from strongroom.protocol.canonical import JsonValue
from strongroom.protocol.signer_wire import Ask, RefusedAnswer
from strongroom.rails.port import ADDRESSES_MAXIMUM, Coin, Rail, RailError
from strongroom.store import engine as store

GAP: Final = 20
"""Addresses looked at beyond the next one for change."""
STRIDE: Final = 100
"""So many are published at once, so that watch doesn't have to read the chain again for each."""
INDEX_MAXIMUM: Final = 2**31
MADE_BY_MAXIMUM: Final = 8 * 2**20
"""Bytes; the signer takes 24 MiB in one question, in base64."""


@dataclass(frozen=True, slots=True)
class Wallet:
    """The wallet's addresses with their paths (generation and index), of every generation; where change goes next."""

    paths: Mapping[str, tuple[int, int]]
    change: str


async def publish(bench: Bench) -> bool:
    """Write down the addresses of every wallet, once in this process. Never news to go on for."""
    for organisation, policy in (await bench.policies()).items():
        for network in policy.wallets.keys() & bench.rails.keys():
            if (organisation, network) not in bench.published and await wallet_of(bench, organisation, network):
                bench.published.add((organisation, network))
        for network in policy.wallets.keys() & bench.accounts.keys():
            if (organisation, network) not in bench.published and await vault_of(bench, organisation, network):
                bench.published.add((organisation, network))
    return False


async def wallet_of(bench: Bench, organisation: OrganisationId, network: str) -> Wallet | None:
    """None if the signer knows no such wallet, yet."""
    body: dict[str, JsonValue] = {
        "count": 1, "first": 0, "generation": 0, "network": network, "organisation": organisation,
    }
    answer = await bench.signer.ask(Ask.ADDRESSES, body)
    if isinstance(answer, RefusedAnswer):
        return None
    change_next, former = Fields(answer).integer("change_next", 0, INDEX_MAXIMUM), Fields(answer).take("former")
    ends = [*(each for each in former if type(each) is int), change_next] if isinstance(former, list) else []
    paths: dict[str, tuple[int, int]] = {}
    addresses: list[str] = []
    for generation, end in enumerate(ends):
        addresses = await _published(bench, {**body, "generation": generation}, organisation, network, generation, end)
        paths.update((address, (generation, index)) for index, address in enumerate(addresses))
    return Wallet(paths, addresses[change_next]) if len(addresses) > change_next else None


async def _published(
    bench: Bench, body: Mapping[str, JsonValue], organisation: OrganisationId, network: str, generation: int, end: int
) -> list[str]:
    """A generation's addresses, some beyond the `end` of its change; fewer if the signer doesn't give them."""
    addresses = await store.addresses_of(bench.connection, organisation, network, generation)
    wanted = -(-(end + GAP) // STRIDE) * STRIDE
    while len(addresses) < wanted:
        first = len(addresses)
        more = await bench.signer.ask(
            Ask.ADDRESSES, {**body, "count": min(wanted - first, ADDRESSES_MAXIMUM), "first": first}
        )
        if isinstance(more, RefusedAnswer):
            break
        found = _texts(Fields(more).take("addresses"))
        await store.publish_addresses(
            bench.connection, organisation, network, generation, first, found, bench.clock()
        )
        addresses += found
    return addresses


async def spendable(rail: Rail, coins: Sequence[Coin]) -> list[Spent]:
    """These coins as the signer is told of them, where their format needs it with what made them. Raises: RailError."""
    form, made = COIN_FORMATS[rail.network], dict[str, bytes]()
    for coin in coins:
        name = coin.chain_transaction
        if form.needs_made_by(coin.address) and name not in made:
            made[name] = await rail.made_by(name)
    if sum(map(len, made.values())) > MADE_BY_MAXIMUM:
        raise RailError(f"what made its coins is more than {MADE_BY_MAXIMUM} bytes")
    return [
        Spent(coin.outpoint, coin.amount_minor, coin.address,
              made[coin.chain_transaction] if form.needs_made_by(coin.address) else b"")
        for coin in coins
    ]


async def coins_of(rail: Rail, wallet: Wallet) -> list[Coin]:
    """Of any number of addresses, asked about in lots. Raises: RailError."""
    found: list[Coin] = []
    addresses = list(wallet.paths)
    for first in range(0, len(addresses), ADDRESSES_MAXIMUM):
        found += await rail.coins(addresses[first : first + ADDRESSES_MAXIMUM])
    return found


def _texts(value: object) -> list[str]:
    return [str(each) for each in value] if isinstance(value, list) else []
