"""What engine and watch ask of a chain of accounts, beside `port.py`, which is for chains of coins.

The same holds as there: a rail reads and relays, holds no key and decides nothing; reading raises RailError when
nothing is known; sending never raises, and an answer that didn't come is `Unknown`. What differs is what there is to
ask: an account has one line of nonces instead of coins, a chain transaction in a block may have failed, and what was
paid stands in logs.

Addresses are of the chain's own text (EIP-55), hashes 0x and 64 lower-case hex digits, fees and balances in wei.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from strongroom.domain.instant import Instant
from strongroom.formats.hot_vault import Log
from strongroom.rails.port import BroadcastOutcome, ChainTransactionId, Identity, Pending, Tip, Unseen


@dataclass(frozen=True, slots=True)
class Nonces:
    """The next nonce of an account: by the newest block, and after what the node has waiting for it without a gap."""

    mined: int
    waiting: int


@dataclass(frozen=True, slots=True)
class Account:
    """After a block: what it has for gas, and how many nonces it has used."""

    balance: int
    nonce: int


@dataclass(frozen=True, slots=True)
class FeeMarket:
    """For a unit of gas: what the next block burns, and what the node would add for whoever makes it."""

    base_fee: int
    priority_fee: int


@dataclass(frozen=True, slots=True)
class Emitted:
    """All logs of the chain transaction at this place of its block, which is from 0."""

    place: int
    logs: tuple[Log, ...]


@dataclass(frozen=True, slots=True)
class AccountBlock:
    """`emitted` are its chain transactions in which one of the contracts that were asked about logged something.

    None is left out: the header commits to all of them.
    """

    height: int
    block_hash: str
    previous_hash: str
    emitted: tuple[Emitted, ...]


@dataclass(frozen=True, slots=True)
class Mined:
    """It stands in this block of the node's best chain; `depth` is 1 when that block is the tip.

    `succeeded` False: it used up its nonce and its gas, and did nothing else. `fee` is what the gas that it used cost.
    """

    height: int
    block_hash: str
    depth: int
    is_final: bool
    succeeded: bool
    fee: int


@dataclass(frozen=True, slots=True)
class Replaced:
    """By the node's newest block its nonce is used, and not by it. `by`: the chain transaction that did, if it shows.

    Without `by` that is the node's bare word. With it, it is as good as the block: a reorg may still undo it.
    """

    by: ChainTransactionId | None


AccountStatus = Unseen | Pending | Mined | Replaced


class AccountRail(Protocol):
    """One network through one node or several. Methods may be called at the same time."""

    @property
    def network(self) -> str:
        """CAIP-2."""

    async def identity(self) -> Identity:
        """To be asked at start. Raises: RailError, also when the node is of another chain than the configured one."""

    async def tip(self) -> Tip:
        """Raises: RailError."""

    async def final(self) -> Tip:
        """The newest block that won't be undone, as it is configured what that means. Raises: RailError."""

    async def block(self, height: int, contracts: Sequence[str]) -> AccountBlock | None:
        """The block of the node's best chain at this height, None above its tip. Raises: RailError."""

    async def before(self, at: Instant) -> Tip:
        """A block that was made a day before this moment or earlier; the first one if there is none such.

        Raises: RailError.
        """

    async def account(self, address: str, at: Tip) -> Account:
        """The node's word, of one of the newest blocks. Raises: RailError."""

    async def nonces(self, address: str) -> Nonces:
        """Raises: RailError."""

    async def balance(self, address: str) -> int:
        """What is there for gas. Raises: RailError."""

    async def fees(self) -> FeeMarket:
        """Raises: RailError."""

    async def code(self, address: str, at: Tip) -> bytes:
        """The code at this address after this block, none at an account's. Raises: RailError."""

    async def call(self, contract: str, data: bytes, at: Tip) -> bytes | None:
        """What the contract answers after this block; None when it reverts. The node's word. Raises: RailError."""

    async def broadcast(self, signed: bytes) -> BroadcastOutcome:
        """Sends the bytes once; sending what is known already is `Accepted`. Raises nothing for a node's fault."""

    async def status(self, signed: bytes) -> AccountStatus:
        """What became of these bytes, by their hash and by their nonce. Raises: RailError."""

    async def close(self) -> None:
        """Ends its connections; a closed rail answers nothing."""
