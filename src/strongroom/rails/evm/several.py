"""An EVM chain through several nodes: one's own and providers', of which none is believed alone.

All are asked. Where two answers differ, nothing is chosen: that is `Disagree`, nothing is known, and what depends on it
is held. One's own node always has to answer; of the others, as many as are `needed`. Who is silent can hold payments
up as far as that allows, and can't have anything believed.

Nodes aren't equally quick, so the newest block is the newest that all of them have, and must then be the same for all.
Two things aren't compared: what waits in a node's own pool, of which the least is taken, as the engine knows what it
sent; and what to offer for gas, which the policy's ceiling bounds.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeVar

from strongroom.domain.instant import Instant
from strongroom.rails.account_port import Account, AccountBlock, AccountRail, AccountStatus, FeeMarket, Mined, Nonces
from strongroom.rails.port import (
    Accepted,
    BroadcastOutcome,
    Identity,
    Pending,
    RailError,
    Rejected,
    Tip,
    Unknown,
    Unseen,
)

LAG_MAXIMUM: Final = 64
"""Blocks by which the slowest may be behind the quickest."""

Answer = TypeVar("Answer")


class Disagree(RailError):
    """Two nodes said different things of which only one can be so. Somebody lies, or is on another fork: hold."""


class SeveralRails:
    """Implements AccountRail. `needed` of the `others` have to answer, beside `own`."""

    def __init__(self, own: AccountRail, others: Sequence[AccountRail], needed: int) -> None:
        """Raises: RailError for rails of different networks, and for nobody to compare with."""
        if not 1 <= needed <= len(others):
            raise RailError("at least one other node has to be asked, and no more than there are")
        if any(each.network != own.network for each in others):
            raise RailError("the nodes are of different networks")
        self.network = own.network
        self._rails = (own, *others)
        self._needed = needed

    async def identity(self) -> Identity:
        """The software is that of one's own."""
        found = await self._ask("who it is", lambda rail: rail.identity())
        _same("who it is", [(each.network, each.genesis) for each in found])
        return found[0]

    async def tip(self) -> Tip:
        return await self._lowest("the newest block", await self._ask("the newest block", lambda rail: rail.tip()))

    async def final(self) -> Tip:
        return await self._lowest("the final block", await self._ask("the final block", lambda rail: rail.final()))

    async def block(self, height: int, contracts: Sequence[str]) -> AccountBlock | None:
        """None while one of them hasn't got it."""
        found = await self._ask("a block", lambda rail: rail.block(height, contracts))
        known = _same(f"block {height}", [each for each in found if each is not None])
        return None if None in found else known

    async def before(self, at: Instant) -> Tip:
        return await self._lowest("an early block", await self._ask("an early block", lambda rail: rail.before(at)))

    async def account(self, address: str, at: Tip) -> Account:
        found = await self._ask("an account", lambda rail: rail.account(address, at))
        return _same("an account", found) or found[0]

    async def nonces(self, address: str) -> Nonces:
        found = await self._ask("nonces", lambda rail: rail.nonces(address))
        mined = _same("the nonce of an account", [each.mined for each in found])
        return Nonces(mined or 0, min(each.waiting for each in found))

    async def balance(self, address: str) -> int:
        """The least: nothing but an alarm depends on it."""
        return min(await self._ask("a balance", lambda rail: rail.balance(address)))

    async def fees(self) -> FeeMarket:
        """The dearest block, so that it is mined, and the cheapest wish of who makes it, as that is what is paid."""
        found = await self._ask("fees", lambda rail: rail.fees())
        return FeeMarket(max(each.base_fee for each in found), min(each.priority_fee for each in found))

    async def code(self, address: str, at: Tip) -> bytes:
        return _same("the code at an address", await self._ask("code", lambda rail: rail.code(address, at))) or b""

    async def call(self, contract: str, data: bytes, at: Tip) -> bytes | None:
        found = await self._ask("a call", lambda rail: rail.call(contract, data, at))
        return _same("what a contract answers", found)

    async def broadcast(self, signed: bytes) -> BroadcastOutcome:
        """To all: one that takes it is enough, and only all of them together reject."""
        outcomes = await asyncio.gather(*(rail.broadcast(signed) for rail in self._rails))
        if Accepted() in outcomes:
            return Accepted()
        unknown = next((each for each in outcomes if isinstance(each, Unknown)), None)
        rejected = [each for each in outcomes if isinstance(each, Rejected)]
        if unknown is not None or not rejected:
            return unknown or Unknown("nobody answered")
        return Rejected(rejected[0].reason, all(each.permanent for each in rejected))

    async def status(self, signed: bytes) -> AccountStatus:
        """Mined as deep, and as final, as all of them say. Waiting if one has it and the rest haven't seen it."""
        found = await self._ask("what became of it", lambda rail: rail.status(signed))
        waiting = [each for each in found if isinstance(each, Unseen | Pending)]
        if len(waiting) == len(found):
            return Pending() if Pending() in found else Unseen()
        mined = [each for each in found if isinstance(each, Mined)]
        same = _same("what became of a chain transaction", [
            (each.height, each.block_hash, each.succeeded, each.fee) if isinstance(each, Mined) else each
            for each in found
        ])
        if len(mined) < len(found) or same is None:
            return found[0]  # it was replaced, and all say by what
        least = min(mined, key=lambda each: each.depth)
        return Mined(
            least.height, least.block_hash, least.depth, all(each.is_final for each in mined), least.succeeded,
            least.fee,
        )

    async def close(self) -> None:
        for rail in self._rails:
            await rail.close()

    async def _ask(self, what: str, question: Callable[[AccountRail], Awaitable[Answer]]) -> list[Answer]:
        """The answers, one's own first. Raises: RailError when too few came."""
        said = await asyncio.gather(*(_answer(question, rail) for rail in self._rails))
        silent = [each for each in said if isinstance(each, RailError)]
        answers = [each for each in said if not isinstance(each, RailError)]
        if isinstance(said[0], RailError):
            raise RailError(f"one's own node doesn't say {what}: {said[0]}")
        if len(answers) - 1 < self._needed:
            raise RailError(f"{len(answers) - 1} of the other nodes say {what}, {self._needed} have to: {silent[0]}")
        return answers

    async def _lowest(self, what: str, tips: Sequence[Tip]) -> Tip:
        """The lowest of the blocks, which all of them must have. Raises: RailError; Disagree."""
        lowest = min(tips, key=lambda each: each.height)
        if max(each.height for each in tips) - lowest.height > LAG_MAXIMUM:
            raise Disagree(f"{what}: one node is more than {LAG_MAXIMUM} blocks behind another")
        block = await self.block(lowest.height, [])
        if block is None or block.block_hash != lowest.block_hash:
            raise Disagree(f"{what}: the nodes have different blocks at height {lowest.height}")
        return lowest


async def _answer(question: Callable[[AccountRail], Awaitable[Answer]], rail: AccountRail) -> Answer | RailError:
    try:
        return await question(rail)
    except RailError as fault:
        return fault


def _same(what: str, answers: Sequence[Answer]) -> Answer | None:
    """None for no answers. Raises: Disagree."""
    if any(each != answers[0] for each in answers[1:]):
        raise Disagree(f"the nodes don't agree on {what}: nothing is known")
    return answers[0] if answers else None
