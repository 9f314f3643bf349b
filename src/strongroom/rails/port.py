"""What engine and watch ask of a chain, whichever it is: one port, a plug-in for each network.

A rail reads and relays. It holds no key and decides nothing: that an answer came from a node makes it news, not truth.
Plug-ins parse every answer strictly and check what can be checked without a second node (that a block has the hash
it claims, that it holds the transaction that is said to be confirmed in it); a node that lies well can still mislead
one rail, which is why money is freed by guard's node and people, never by an answer from here.

Two ways to have no answer, kept apart on purpose. Reading raises RailError: nothing is known, ask again later.
Sending never raises: an answer that didn't come says nothing of whether the transaction went out, so it is `Unknown`,
a result that waits and is looked into by `status`, and is never retried with other bytes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NewType, Protocol

from strongroom.domain.instant import Instant

ChainTransactionId = NewType("ChainTransactionId", str)
"""As its chain writes it; for `sim:sandbox` 64 lower-case hex digits."""

CONNECT_TIMEOUT_S: Final = 2
ANSWER_TIMEOUT_S: Final = 10
"""From the first byte sent to the last received."""
ANSWER_BYTES_MAXIMUM: Final = 8 * 1_024 * 1_024
ADDRESSES_MAXIMUM: Final = 1_000
COINS_MAXIMUM: Final = 10_000
BLOCK_TRANSACTIONS_MAXIMUM: Final = 10_000
HEIGHT_MAXIMUM: Final = 2**31 - 1
REASON_MAXIMUM: Final = 200
"""Characters kept of a node's own words."""


class RailError(Exception):
    """No answer, or none that can be believed: of what was asked, nothing is known."""


@dataclass(frozen=True, slots=True)
class Identity:
    """`network` is CAIP-2, `genesis` the hash of the first block; `software` is what the node calls itself."""

    network: str
    genesis: str
    software: str


@dataclass(frozen=True, slots=True)
class Tip:
    height: int
    block_hash: str


@dataclass(frozen=True, slots=True)
class Coin:
    """An output that nothing spends, in blocks or waiting. `height` is None while its transaction waits itself."""

    chain_transaction: ChainTransactionId
    index: int
    amount_minor: int
    address: str
    height: int | None

    @property
    def outpoint(self) -> str:
        return f"{self.chain_transaction}:{self.index}"


@dataclass(frozen=True, slots=True)
class ChainTransaction:
    """`raw` is verbatim, signatures included, as it stands in its block."""

    id: ChainTransactionId
    raw: bytes


@dataclass(frozen=True, slots=True)
class Block:
    height: int
    block_hash: str
    previous_hash: str
    transactions: tuple[ChainTransaction, ...]


@dataclass(frozen=True, slots=True)
class Accepted:
    """The node says that it relays these bytes, now or since before. It may forget them all the same."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """The node didn't take the bytes. `permanent`: the same bytes are refused as long as the chain stays what it is.

    Not a proof: a reorg, another node or an earlier sending of the same bytes may still confirm them.
    """

    reason: str
    permanent: bool


@dataclass(frozen=True, slots=True)
class Unknown:
    """No answer that could be read: the bytes may be out, or not."""

    reason: str


BroadcastOutcome = Accepted | Rejected | Unknown


@dataclass(frozen=True, slots=True)
class Unseen:
    """The node knows no such transaction. It may have been lost, or not have come yet."""


@dataclass(frozen=True, slots=True)
class Pending:
    """It waits for a block."""


@dataclass(frozen=True, slots=True)
class Confirmed:
    """It stands in this block of the node's best chain; `depth` is 1 when that block is the tip."""

    height: int
    block_hash: str
    depth: int


@dataclass(frozen=True, slots=True)
class Conflicted:
    """Another transaction spends one of its coins, or a coin that it descends from. Ask how deep that one is."""

    by: ChainTransactionId


ChainStatus = Unseen | Pending | Confirmed | Conflicted


class Rail(Protocol):
    """One network through one node. Methods may be called at the same time."""

    @property
    def network(self) -> str:
        """CAIP-2."""

    async def identity(self) -> Identity:
        """To be asked at start. Raises: RailError, also when the node is of another chain than the configured one."""

    async def tip(self) -> Tip:
        """Raises: RailError."""

    async def coins(self, addresses: Sequence[str]) -> tuple[Coin, ...]:
        """The coins of at most ADDRESSES_MAXIMUM addresses, each of the rail's own form, largest first.

        Of strangers' transactions that still wait, the coins may be left out: whoever made them can replace them.

        At most COINS_MAXIMUM: strangers who send many small coins can't keep the large ones from being found. The sum
        of so many is no balance. Raises: RailError.
        """

    async def made_by(self, chain_transaction: ChainTransactionId) -> bytes:
        """What made a coin, without witnesses: bytes that have this name. Raises: RailError."""

    async def broadcast(self, signed: bytes) -> BroadcastOutcome:
        """Sends the bytes once; sending what is known already is `Accepted`. Raises nothing for a node's fault."""

    async def status(self, chain_transaction: ChainTransactionId) -> ChainStatus:
        """Raises: RailError."""

    async def block(self, height: int) -> Block | None:
        """The block of the node's best chain at this height, None above its tip. Raises: RailError."""

    async def height_before(self, at: Instant) -> int:
        """A height whose block, as all below it, was made before this moment; 0 where blocks have no time.

        Raises: RailError.
        """

    async def may_touch(self, addresses: Sequence[str], first: int, last: int) -> bool:
        """Whether a block from `first` to `last` may pay one of these, or spend what one of them had.

        True as well where the node can't say. Raises: RailError.
        """

    async def fee_rate(self) -> int:
        """What to offer to be mined soon, in base units per 1,000 bytes. Raises: RailError."""

    async def close(self) -> None:
        """Ends its connections; a closed rail answers nothing."""
