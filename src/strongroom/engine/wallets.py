"""The addresses of a wallet, as the signer says them. Written down before use: watch reads the chain by them.

Who alters what is written down makes plans that the signer refuses, and nothing else.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from strongroom.domain.document import Fields
from strongroom.domain.ids import OrganisationId
from strongroom.engine.bench import Bench
from strongroom.protocol.canonical import JsonValue
from strongroom.protocol.signer_wire import Ask, RefusedAnswer
from strongroom.rails.port import ADDRESSES_MAXIMUM, Coin, Rail
from strongroom.store import engine as store

GAP: Final = 20
"""Addresses looked at beyond the next one for change."""
STRIDE: Final = 100
"""So many are published at once, so that watch doesn't have to read the chain again for each."""
INDEX_MAXIMUM: Final = 2**31


@dataclass(frozen=True, slots=True)
class Wallet:
    """The wallet's addresses by their path's index, and where change goes next."""

    addresses: Sequence[str]
    change_next: int
    generation: int


async def publish(bench: Bench) -> bool:
    """Write down the addresses of every wallet, once in this process. Never news to go on for."""
    for organisation, policy in (await bench.policies()).items():
        for network in policy.wallets.keys() & bench.rails.keys():
            if (organisation, network) not in bench.published and await wallet_of(bench, organisation, network):
                bench.published.add((organisation, network))
    return False


async def wallet_of(bench: Bench, organisation: OrganisationId, network: str) -> Wallet | None:
    """None if the signer knows no such wallet, yet."""
    body: dict[str, JsonValue] = {"count": 1, "first": 0, "network": network, "organisation": organisation}
    answer = await bench.signer.ask(Ask.ADDRESSES, body)
    if isinstance(answer, RefusedAnswer):
        return None
    change_next = Fields(answer).integer("change_next", 0, INDEX_MAXIMUM)
    generation = Fields(answer).integer("generation", 0, INDEX_MAXIMUM)
    addresses = await store.addresses_of(bench.connection, organisation, network, generation)
    wanted = -(-(change_next + GAP) // STRIDE) * STRIDE
    while len(addresses) < wanted:
        first = len(addresses)
        body = {**body, "count": min(wanted - first, ADDRESSES_MAXIMUM), "first": first}
        more = await bench.signer.ask(Ask.ADDRESSES, body)
        if isinstance(more, RefusedAnswer):
            return None
        found = _texts(Fields(more).take("addresses"))
        await store.publish_addresses(
            bench.connection, organisation, network, generation, first, found, bench.clock()
        )
        addresses += found
    return Wallet(addresses, change_next, generation)


async def coins_of(rail: Rail, wallet: Wallet) -> list[Coin]:
    """Of any number of addresses, asked about in lots. Raises: RailError."""
    found: list[Coin] = []
    for first in range(0, len(wallet.addresses), ADDRESSES_MAXIMUM):
        found += await rail.coins(wallet.addresses[first : first + ADDRESSES_MAXIMUM])
    return found


def _texts(value: object) -> list[str]:
    return [str(each) for each in value] if isinstance(value, list) else []
