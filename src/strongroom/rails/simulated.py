"""The simulated rail: `sim:sandbox` through the HTTP of a chain process on this machine. For sandboxes only.

The chain is another process and may lie, by request of a test or because it was taken over. What is checked here: each
answer has exactly the fields that it should, an id is the hash of the bytes that stand behind it, a block has the hash
that its content makes, and a transaction said to be confirmed stands in the block that is named. What isn't: that the
blocks are those of the one true chain. Nothing but its operator vouches for that.
"""

import asyncio
import re
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Annotated, Final, Literal, TypeVar
from urllib.parse import urlsplit

import httpx
import msgspec

from strongroom.domain.instant import Instant
from strongroom.formats import simulated
from strongroom.formats.simulated_block import block_hash
from strongroom.protocol.canonical import CanonicalError, JsonValue, encode, parse_object
from strongroom.rails import port
from strongroom.rails.port import (
    Accepted,
    Block,
    BroadcastOutcome,
    ChainStatus,
    ChainTransaction,
    ChainTransactionId,
    Coin,
    Confirmed,
    Conflicted,
    Identity,
    Pending,
    RailError,
    Rejected,
    Tip,
    Unknown,
    Unseen,
)

HOST: Final = "127.0.0.1"
"""The only one: the chain has no TLS and no accounts."""
FEE_RATE_MAXIMUM: Final = 1_000_000_000
CHECKED_MAXIMUM: Final = 16

_ID = re.compile("[0-9a-f]{64}")

Hash = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}\\Z")]
Hex = Annotated[str, msgspec.Meta(pattern="^([0-9a-f]{2})*\\Z")]
Text = Annotated[str, msgspec.Meta(max_length=2_000)]
Height = Annotated[int, msgspec.Meta(ge=0, le=port.HEIGHT_MAXIMUM)]
Amount = Annotated[str, msgspec.Meta(pattern="^[1-9][0-9]{0,18}\\Z")]
Index = Annotated[int, msgspec.Meta(ge=0, lt=simulated.OUTPUTS_MAXIMUM)]


class _Answer(msgspec.Struct, forbid_unknown_fields=True):
    pass


class _Identity(_Answer):
    network: Text
    genesis: Hash
    software: Text


class _Tip(_Answer):
    height: Height
    hash: Hash


class _Coin(_Answer):
    txid: Hash
    index: Index
    amount: Amount
    address: Text
    height: Height | None


class _Coins(_Answer):
    coins: Annotated[list[_Coin], msgspec.Meta(max_length=port.COINS_MAXIMUM)]


class _Broadcast(_Answer):
    accepted: bool
    txid: Hash | None
    reason: Text | None
    permanent: bool | None


class _Status(_Answer):
    state: Literal["unseen", "pending", "confirmed", "conflicted"]
    signed: Hex | None
    height: Height | None
    block_hash: Hash | None
    tip_height: Height | None
    by: Hash | None


class _Block(_Answer):
    height: Height
    hash: Hash
    previous: Hash
    salt: Hash
    transactions: Annotated[list[Hex], msgspec.Meta(max_length=port.BLOCK_TRANSACTIONS_MAXIMUM)]


class _FeeRate(_Answer):
    minor_per_1000_bytes: Annotated[int, msgspec.Meta(ge=1, le=FEE_RATE_MAXIMUM)]


_Kind = TypeVar("_Kind", bound=_Answer)


class SimulatedRail:
    """`genesis` is what `identity` must find; without it any simulated chain will do. Of an open event loop."""

    network: Final = simulated.NETWORK

    def __init__(
        self, url: str, genesis: str | None = None, *, answer_timeout_s: float = port.ANSWER_TIMEOUT_S
    ) -> None:
        """Raises: RailError when the URL isn't of this machine."""
        parts = urlsplit(url)
        if (parts.scheme, parts.hostname) != ("http", HOST) or parts.path.strip("/") or parts.query:
            raise RailError(f"the simulated chain must be at http://{HOST}:PORT")
        self._genesis = genesis
        self._answer_timeout_s = answer_timeout_s
        self._checked: dict[str, Block] = {}
        """By hash, which commits to all of it, so that a block is read once however often it is asked for."""
        timeout = httpx.Timeout(answer_timeout_s, connect=port.CONNECT_TIMEOUT_S)
        self._client = httpx.AsyncClient(base_url=url, timeout=timeout, trust_env=False, follow_redirects=False)

    async def identity(self) -> Identity:
        answer = await self._get("/identity", _Identity)
        if answer.network != self.network:
            raise RailError(f"the node is of the network {answer.network!r}, not of {self.network}")
        if self._genesis is not None and answer.genesis != self._genesis:
            raise RailError("the node's first block isn't the one that was configured: it is another chain")
        return Identity(answer.network, answer.genesis, answer.software[: port.REASON_MAXIMUM])

    async def tip(self) -> Tip:
        answer = await self._get("/tip", _Tip)
        return Tip(answer.height, answer.hash)

    async def coins(self, addresses: Sequence[str]) -> tuple[Coin, ...]:
        if len(addresses) > port.ADDRESSES_MAXIMUM:
            raise RailError(f"at most {port.ADDRESSES_MAXIMUM} addresses at once")
        answer = await self._call("POST", "/coins", {"addresses": list(addresses)})
        coins = _convert(answer, _Coins).coins
        asked = set(addresses)
        if any(coin.address not in asked for coin in coins):
            raise RailError("the node names coins of an address that wasn't asked for")
        if len({(coin.txid, coin.index) for coin in coins}) != len(coins):
            raise RailError("the node names one coin twice")
        return tuple(
            Coin(ChainTransactionId(coin.txid), coin.index, int(coin.amount), coin.address, coin.height)
            for coin in coins
        )

    async def made_by(self, chain_transaction: ChainTransactionId) -> bytes:
        answer = await self._get(f"/transactions/{chain_transaction}", _Status)
        if answer.signed is None or _id_of(bytes.fromhex(answer.signed)) != chain_transaction:
            raise RailError("the node doesn't give the bytes of the transaction asked for")
        return simulated.encode_unsigned(simulated.parse_signed(bytes.fromhex(answer.signed))[0])

    async def broadcast(self, signed: bytes) -> BroadcastOutcome:
        try:
            chain_transaction = _id_of(signed)
        except RailError as fault:
            return Rejected(f"never sent: {fault}", permanent=True)
        try:
            answer = _convert(await self._call("POST", "/transactions", {"signed": signed.hex()}), _Broadcast)
        except RailError as fault:
            return Unknown(str(fault))
        if answer.accepted:
            taken = answer.txid == chain_transaction
            return Accepted() if taken else Unknown("the node says that it took another transaction")
        if answer.reason is None or answer.permanent is None:
            return Unknown("the node refused without saying why")
        return Rejected(answer.reason[: port.REASON_MAXIMUM], answer.permanent)

    async def status(self, chain_transaction: ChainTransactionId) -> ChainStatus:
        if _ID.fullmatch(chain_transaction) is None:
            raise RailError("a chain transaction's id must be 64 lower-case hex digits")
        answer = await self._get(f"/transactions/{chain_transaction}", _Status)
        if answer.state == "unseen":
            return Unseen()
        if answer.state == "conflicted":
            if answer.by is None or answer.by == chain_transaction:
                raise RailError("the node says that a transaction is in conflict, and not with which other")
            return Conflicted(ChainTransactionId(answer.by))
        if answer.signed is None or _id_of(bytes.fromhex(answer.signed)) != chain_transaction:
            raise RailError("the node gave other bytes than those of the transaction asked for")
        if answer.state == "pending":
            return Pending()
        return await self._confirmed(chain_transaction, answer)

    async def block(self, height: int) -> Block | None:
        answer = await self._call("GET", f"/blocks/{height}")
        if answer is None:
            return None
        block = _convert(answer, _Block)
        known = self._checked.get(block.hash)
        if known is None or known.height != height:
            known = _checked(block, height)
            if len(self._checked) == CHECKED_MAXIMUM:
                self._checked.pop(next(iter(self._checked)))
            self._checked[block.hash] = known
        return known

    async def height_before(self, at: Instant) -> int:
        return 0

    async def may_touch(self, addresses: Sequence[str], first: int, last: int) -> bool:
        return True

    async def fee_rate(self) -> int:
        return (await self._get("/fee-rate", _FeeRate)).minor_per_1000_bytes

    async def close(self) -> None:
        await self._client.aclose()

    async def _confirmed(self, chain_transaction: ChainTransactionId, answer: _Status) -> Confirmed:
        """Only if the block says so too. A reorg between the two answers looks like a lie, and asking again helps."""
        if answer.height is None or answer.block_hash is None or answer.tip_height is None:
            raise RailError("the node says that a transaction is confirmed, and not where")
        if answer.tip_height < answer.height:
            raise RailError("the node names a block above its own tip")
        block = await self.block(answer.height)
        if block is None or block.block_hash != answer.block_hash:
            raise RailError("the node names a block that isn't the one at its height")
        if all(each.id != chain_transaction for each in block.transactions):
            raise RailError("the node says that a transaction is confirmed in a block that doesn't hold it")
        return Confirmed(answer.height, answer.block_hash, answer.tip_height - answer.height + 1)

    async def _get(self, path: str, kind: type[_Kind]) -> _Kind:
        return _convert(await self._call("GET", path), kind)

    async def _call(
        self, method: str, path: str, body: Mapping[str, JsonValue] | None = None
    ) -> dict[str, JsonValue] | None:
        """The object of an answer 200, None for 404. Raises: RailError, and nothing else for a fault of the node."""
        content = None if body is None else encode(body)
        try:
            async with (
                asyncio.timeout(self._answer_timeout_s),
                self._client.stream(method, path, content=content, headers={"Accept-Encoding": "identity"}) as answer,
            ):
                raw = b""
                async for part in answer.aiter_raw():
                    raw += part
                    if len(raw) > port.ANSWER_BYTES_MAXIMUM:
                        raise RailError(f"{path}: the answer is longer than {port.ANSWER_BYTES_MAXIMUM} bytes")
        except TimeoutError as fault:
            raise RailError(f"{path}: no answer within {self._answer_timeout_s} s") from fault
        except (httpx.HTTPError, httpx.InvalidURL) as fault:
            raise RailError(f"{path}: {type(fault).__name__}") from fault
        if answer.status_code == HTTPStatus.NOT_FOUND:
            return None
        if answer.status_code != HTTPStatus.OK:
            raise RailError(f"{path}: answered {answer.status_code}")
        try:
            return parse_object(raw)
        except CanonicalError as fault:
            raise RailError(f"{path}: the answer {fault}") from fault


def _convert(answer: dict[str, JsonValue] | None, kind: type[_Kind]) -> _Kind:
    if answer is None:
        raise RailError("the node says that there is no such thing")
    try:
        return msgspec.convert(answer, kind)
    except msgspec.ValidationError as fault:
        raise RailError(f"the answer can't be read: {str(fault)[: port.REASON_MAXIMUM]}") from fault


def _id_of(signed: bytes) -> ChainTransactionId:
    """Raises: RailError when the bytes are no signed transaction."""
    try:
        transaction, _ = simulated.parse_signed(signed)
        return ChainTransactionId(simulated.transaction_id(simulated.encode_unsigned(transaction)).hex())
    except simulated.SimulatedError as fault:
        raise RailError(f"not a transaction: it {fault}") from fault


def _checked(block: _Block, height: int) -> Block:
    """The block, if its hash is that of its content and each of its transactions can be read. Raises: RailError."""
    signed = [bytes.fromhex(each) for each in block.transactions]
    made = block_hash(bytes.fromhex(block.previous), block.height, bytes.fromhex(block.salt), signed)
    if block.height != height or made.hex() != block.hash:
        raise RailError("the node gave a block whose hash isn't that of its content")
    transactions = tuple(ChainTransaction(_id_of(raw), raw) for raw in signed)
    if len({each.id for each in transactions}) != len(transactions):
        raise RailError("the node gave a block that holds a transaction twice")
    return Block(block.height, block.hash, block.previous, transactions)
