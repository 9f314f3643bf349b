"""Bitcoin through a node of one's own, by JSON-RPC: Bitcoin Core from version 28, or one that speaks like it.

What is checked here: the chain is the configured one from its first block on, each block has the hash that its header
makes, the work that it claims and just the transactions that it commits to, and a transaction said to be confirmed
stands in the block that is named. What isn't: that this is the chain with the most work.

The node keeps a watch-only wallet of the addresses that were asked about. An address that is new to it is first looked
for among all unspent outputs, so that coins from before are found without reading the whole chain.
"""

import asyncio
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Final, TypeVar

import msgspec

from strongroom.domain.instant import DAY_MS, SECOND_MS, Instant
from strongroom.formats.bitcoin_address import NETWORKS
from strongroom.formats.bitcoin_block import parse_block
from strongroom.formats.bitcoin_transaction import (
    BitcoinError,
    Transaction,
    encode_transaction,
    parse_transaction,
    transaction_id,
)
from strongroom.rails import port
from strongroom.rails.bitcoin.rpc import Refused, Rpc, satoshi
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

VERSION_LEAST: Final = 280_000
WALLET: Final = "strongroom"
SCAN_TIMEOUT_S: Final = 1_800
"""All unspent outputs of the main chain take minutes; it happens for new addresses only."""
FEE_BLOCKS: Final = 2
ANCESTORS_MAXIMUM: Final = 25
"""Bitcoin Core's limit for a chain of waiting transactions."""
CHECKED_MAXIMUM: Final = 16

_NOT_FOUND: Final = -5
_OUT_OF_RANGE: Final = -8
_WALLET_THERE: Final = frozenset({-4, -35})
_NO_WALLET: Final = -18
_UNREADABLE: Final = -22
_IN_BLOCK_ALREADY: Final = -27
_FOR_GOOD: Final = (
    "bad-txns-", "bad-witness-", "mandatory-script-verify-flag", "mempool-script-verify-flag",
    "block-script-verify-flag", "tx-size", "scriptpubkey", "version",
)
"""How Bitcoin Core begins the reasons that time doesn't change (src/validation.cpp, policy.cpp, tx_check.cpp)."""
_FILTERS: Final = "basic block filter index"
_SPENT_OR_MISSING: Final = "bad-txns-inputs-missingorspent"

Hash = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}\\Z")]
Hex = Annotated[str, msgspec.Meta(pattern="^([0-9a-f]{2})*\\Z")]
Height = Annotated[int, msgspec.Meta(ge=0, le=port.HEIGHT_MAXIMUM)]


class _ChainInfo(msgspec.Struct):
    blocks: Height
    bestblockhash: Hash
    chain: str
    initialblockdownload: bool


class _NetworkInfo(msgspec.Struct):
    version: int
    subversion: str


class _DeploymentInfo(msgspec.Struct):
    deployments: dict[str, object]


class _MempoolInfo(msgspec.Struct):
    mempoolminfee: Decimal
    minrelaytxfee: Decimal


class _Estimate(msgspec.Struct):
    feerate: Decimal | None = None


class _Unspent(msgspec.Struct):
    txid: Hash
    vout: Annotated[int, msgspec.Meta(ge=0)]
    address: str
    amount: Decimal
    confirmations: Annotated[int, msgspec.Meta(ge=0)]


class _Header(msgspec.Struct):
    time: Annotated[int, msgspec.Meta(ge=0)]
    mediantime: Annotated[int, msgspec.Meta(ge=0)]


class _Index(msgspec.Struct):
    synced: bool
    best_block_height: int


class _FoundBlocks(msgspec.Struct):
    from_height: int
    to_height: int
    completed: bool
    relevant_blocks: list[str]


class _Described(msgspec.Struct):
    descriptor: str


class _Descriptor(msgspec.Struct):
    desc: str


class _Descriptors(msgspec.Struct):
    descriptors: list[_Descriptor]


class _Imported(msgspec.Struct):
    success: bool


class _Scanned(msgspec.Struct):
    class Found(msgspec.Struct):
        height: Height

    success: bool
    unspents: list[Found]


class _WalletTransaction(msgspec.Struct):
    """Negative `confirmations`: another transaction in a block spends a coin of it or of one before it."""

    hex: Hex
    confirmations: int
    walletconflicts: list[Hash]
    mempoolconflicts: list[Hash] = []
    blockhash: Hash | None = None
    blockheight: Height | None = None


_Kind = TypeVar("_Kind")


class BitcoinRail:
    """`genesis` is what `identity` must find; None takes the one of `network`. Of an open event loop."""

    def __init__(
        self, network: str, url: str, genesis: str | None, cookie_file: Path, *,
        answer_timeout_s: float = port.ANSWER_TIMEOUT_S, wallet: str = WALLET,
    ) -> None:
        """Raises: RailError for a network that is none of Bitcoin's, and for a URL that isn't safe."""
        if network not in NETWORKS:
            raise RailError(f"{network} isn't a Bitcoin network that is known here")
        self.network = network
        self._genesis = genesis
        self._wallet = wallet
        self._rpc = Rpc(url, cookie_file, answer_timeout_s)
        self._checked: dict[str, Block] = {}
        """By hash, which commits to all of it, so that a block is read once however often it is asked for."""
        self._watched: set[str] = set()
        self._sent: dict[str, Transaction] = {}
        self._one_import = asyncio.Lock()

    async def identity(self) -> Identity:
        node = await self._ask(_NetworkInfo, "getnetworkinfo")
        genesis = await self._ask(str, "getblockhash", 0)
        if not genesis.startswith(self.network.removeprefix("bip122:")) or self._genesis not in (None, genesis):
            raise RailError("the node's first block isn't the one that was configured: it is another chain")
        if node.version < VERSION_LEAST:
            raise RailError(f"the node is of version {node.version}, and {VERSION_LEAST} is the least")
        deployments = (await self._ask(_DeploymentInfo, "getdeploymentinfo")).deployments
        if "blake2b" in deployments and NETWORKS[self.network].name != "regtest":
            raise RailError("the node follows a fork with other hashes (blake2b): it is another chain")
        return Identity(self.network, genesis, node.subversion[: port.REASON_MAXIMUM])

    async def tip(self) -> Tip:
        info = await self._ask(_ChainInfo, "getblockchaininfo")
        if info.initialblockdownload and info.chain == "main":
            raise RailError(f"the node is still reading the chain, at block {info.blocks}")
        return Tip(info.blocks, info.bestblockhash)

    async def coins(self, addresses: Sequence[str]) -> tuple[Coin, ...]:
        """Of strangers' transactions that still wait nothing is shown: they can be replaced."""
        if len(addresses) > port.ADDRESSES_MAXIMUM:
            raise RailError(f"at most {port.ADDRESSES_MAXIMUM} addresses at once")
        if not addresses:
            return ()
        await self._watch(addresses)
        tip = await self.tip()
        options = {"maximumCount": port.COINS_MAXIMUM, "include_immature_coinbase": False}
        found = await self._ask_wallet(
            list[_Unspent], "listunspent", 0, 9_999_999, list(addresses), False, options
        )
        asked = set(addresses)
        if any(each.address not in asked for each in found):
            raise RailError("the node names coins of an address that wasn't asked for")
        coins = [_coin(each, tip.height) for each in found]
        return tuple(sorted(coins, key=lambda each: (-each.amount_minor, each.outpoint)))

    async def made_by(self, chain_transaction: ChainTransactionId) -> bytes:
        known = await self._known(chain_transaction)
        if known is None:
            raise RailError("the node doesn't know the transaction that made a coin which it named")
        made = _parsed(known.hex)
        if transaction_id(made) != chain_transaction:
            raise RailError("the node gave other bytes than those of the transaction asked for")
        return encode_transaction(made, with_witnesses=False)

    async def broadcast(self, signed: bytes) -> BroadcastOutcome:
        try:
            transaction = parse_transaction(signed)
        except BitcoinError as fault:
            return Rejected(f"never sent: {fault}", permanent=True)
        identifier = transaction_id(transaction)
        self._sent[identifier] = transaction
        try:
            # The most that a fee may be is the policy's to say, and the signer's: 0 turns the node's own limit off.
            answer = await self._rpc.call(str, "sendrawtransaction", signed.hex(), 0)
        except RailError as fault:
            return Unknown(str(fault))
        except Refused as fault:
            if fault.code == _IN_BLOCK_ALREADY:
                return Accepted()
            return await self._rejected(identifier, transaction, fault)
        return Accepted() if answer == identifier else Unknown("the node says that it took another transaction")

    async def _rejected(self, identifier: str, transaction: Transaction, refused: Refused) -> BroadcastOutcome:
        """What is in a block already, and whose outputs are all spent, is refused like a coin that is gone."""
        if refused.code == _UNREADABLE:
            return Rejected(refused.reason, permanent=True)
        if refused.reason.startswith(_SPENT_OR_MISSING):
            try:
                if isinstance(await self.status(ChainTransactionId(identifier)), Confirmed):
                    return Accepted()
                return Rejected(refused.reason, permanent=await self._is_excluded(transaction))
            except RailError as fault:
                return Unknown(str(fault))
        return Rejected(refused.reason, permanent=refused.reason.startswith(_FOR_GOOD))

    async def status(self, chain_transaction: ChainTransactionId) -> ChainStatus:
        known = await self._known(chain_transaction)
        if known is None:
            return Pending() if await self._waits(chain_transaction) else Unseen()
        if transaction_id(_parsed(known.hex)) != chain_transaction:
            raise RailError("the node gave other bytes than those of the transaction asked for")
        if known.confirmations > 0:
            return await self._confirmed(chain_transaction, known)
        if known.confirmations == 0 and await self._waits(chain_transaction):
            return Pending()
        by = await self._excluded_by(known, ANCESTORS_MAXIMUM)
        return Unseen() if by is None else Conflicted(by)

    async def block(self, height: int) -> Block | None:
        try:
            block_hash = await self._rpc.call(str, "getblockhash", height)
        except Refused as fault:
            if fault.code == _OUT_OF_RANGE:
                return None
            raise RailError(f"getblockhash: {fault.reason}") from fault
        known = self._checked.get(block_hash)
        if known is None or known.height != height:
            raw = await self._ask(str, "getblock", block_hash, 0)
            known = await asyncio.to_thread(_read_block, raw, height, block_hash)
            if len(self._checked) == CHECKED_MAXIMUM:
                self._checked.pop(next(iter(self._checked)))
            self._checked[block_hash] = known
        return known

    async def height_before(self, at: Instant) -> int:
        """By the median time of the eleven blocks up to each, which never falls; a day earlier, as clocks are off."""
        wanted_s = (at - DAY_MS) // SECOND_MS
        low, high = 0, (await self.tip()).height
        while low < high:
            middle = (low + high + 1) // 2
            block_hash = await self._ask(str, "getblockhash", middle)
            if (await self._ask(_Header, "getblockheader", block_hash)).mediantime < wanted_s:
                low = middle
            else:
                high = middle - 1
        return low

    async def may_touch(self, addresses: Sequence[str], first: int, last: int) -> bool:
        """By the node's block filters (BIP-158). They name a block too many for one address in 784,931 blocks, so the
        node looks into those that they name."""
        index = (await self._ask(dict[str, _Index], "getindexinfo", _FILTERS)).get(_FILTERS)
        if index is None or not index.synced or index.best_block_height < last:
            return True
        described = [await self._described(each) for each in addresses]
        found = await self._ask(
            _FoundBlocks, "scanblocks", "start", described, first, last, "basic", {"filter_false_positives": True},
            timeout_s=SCAN_TIMEOUT_S,
        )
        if not found.completed or (found.from_height, found.to_height) != (first, last):
            raise RailError("scanblocks: broken off")
        return bool(found.relevant_blocks)

    async def fee_rate(self) -> int:
        """Without an estimate, which a chain with few transactions doesn't give, the least that is relayed, doubled."""
        pool = await self._ask(_MempoolInfo, "getmempoolinfo")
        least = max(pool.mempoolminfee, pool.minrelaytxfee)
        estimate = await self._ask(_Estimate, "estimatesmartfee", FEE_BLOCKS, "economical")
        if estimate.feerate is None and NETWORKS[self.network].name == "mainnet":
            raise RailError("the node has no estimate of the fee yet")
        wanted = least * 2 if estimate.feerate is None else max(estimate.feerate, least)
        return satoshi(wanted)

    async def close(self) -> None:
        await self._rpc.close()

    async def _watch(self, addresses: Sequence[str]) -> None:
        """Have the node's wallet know these addresses, with the coins that they have had before."""
        async with self._one_import:
            await self._open_wallet()
            new = sorted(set(addresses) - self._watched)
            if not new:
                return
            listed = await self._ask_wallet(_Descriptors, "listdescriptors")
            self._watched = {_address_of(each.desc) for each in listed.descriptors}
            new = [each for each in new if each not in self._watched]
            if new:
                await self._import(new)
                self._watched.update(new)

    async def _import(self, addresses: Sequence[str]) -> None:
        described = [await self._described(each) for each in addresses]
        found = await self._ask(_Scanned, "scantxoutset", "start", described, timeout_s=SCAN_TIMEOUT_S)
        if not found.success:
            raise RailError("scantxoutset: broken off")
        since: str | int = "now"
        if found.unspents:
            first = await self._ask(str, "getblockhash", min(each.height for each in found.unspents))
            since = (await self._ask(_Header, "getblockheader", first)).time
        wanted = [{"desc": each, "timestamp": since} for each in described]
        imported = await self._ask_wallet(list[_Imported], "importdescriptors", wanted, timeout_s=SCAN_TIMEOUT_S)
        if len(imported) != len(described) or not all(each.success for each in imported):
            raise RailError("importdescriptors: the node's wallet didn't take all addresses")

    async def _described(self, address: str) -> str:
        return (await self._ask(_Described, "getdescriptorinfo", f"addr({address})")).descriptor

    async def _open_wallet(self) -> None:
        """The watch-only wallet, loaded; made if the node has none. It can't hold a key."""
        if self._wallet in await self._ask(list[str], "listwallets"):
            return
        self._watched.clear()
        try:
            await self._rpc.call(dict[str, object], "loadwallet", self._wallet)
        except Refused as fault:
            if fault.code in _WALLET_THERE:
                return
            if fault.code != _NO_WALLET:
                raise RailError(f"loadwallet: {fault.reason}") from fault
            await self._ask(dict[str, object], "createwallet", self._wallet, True, True)

    async def _known(self, identifier: str) -> _WalletTransaction | None:
        """None if the node's wallet has never heard of it."""
        await self._open_wallet()
        try:
            return await self._rpc.call(_WalletTransaction, "gettransaction", identifier, wallet=self._wallet)
        except Refused as fault:
            if fault.code == _NOT_FOUND:
                return None
            raise RailError(f"gettransaction: {fault.reason}") from fault

    async def _waits(self, identifier: str) -> bool:
        try:
            await self._rpc.call(dict[str, object], "getmempoolentry", identifier)
        except Refused as fault:
            if fault.code == _NOT_FOUND:
                return False
            raise RailError(f"getmempoolentry: {fault.reason}") from fault
        return True

    async def _excluded_by(self, known: _WalletTransaction, ancestors: int) -> ChainTransactionId | None:
        """What spends a coin of it, or of one that it descends from, in a block or waiting for one."""
        for identifier in dict.fromkeys([*known.mempoolconflicts, *known.walletconflicts]):
            other = await self._known(identifier)
            if other is not None and (other.confirmations > 0 or await self._waits(identifier)):
                return ChainTransactionId(identifier)
        for spent in _parsed(known.hex).inputs if ancestors else ():
            before = await self._known(spent.txid)
            if before is not None and before.confirmations <= 0 and not await self._waits(spent.txid):
                return await self._excluded_by(before, ancestors - 1)
        return None

    async def _is_excluded(self, transaction: Transaction) -> bool:
        """Whether a coin of it is gone for as long as the chain stays what it is: its transaction is in a block."""
        for spent in transaction.inputs:
            before = await self._known(spent.txid)
            if before is None or before.confirmations <= 0:
                continue
            if await self._rpc.find(dict[str, object], "gettxout", spent.txid, spent.index, False) is None:
                return True
        return False

    async def _confirmed(self, chain_transaction: ChainTransactionId, known: _WalletTransaction) -> Confirmed:
        """Only if the block says so too. A reorg between two answers looks like a lie, and asking again helps."""
        if known.blockheight is None or known.blockhash is None:
            raise RailError("the node says that a transaction is confirmed, and not where")
        block = await self.block(known.blockheight)
        if block is None or block.block_hash != known.blockhash:
            raise RailError("the node names a block that isn't the one at its height")
        if all(each.id != chain_transaction for each in block.transactions):
            raise RailError("the node says that a transaction is confirmed in a block that doesn't hold it")
        tip = await self.tip()
        if tip.height < block.height:
            raise RailError("the node names a block above its own tip")
        return Confirmed(block.height, block.block_hash, tip.height - block.height + 1)

    async def _ask(
        self, kind: type[_Kind], method: str, *parameters: object, wallet: str = "", timeout_s: float | None = None
    ) -> _Kind:
        """Raises: RailError, also when the node says no."""
        try:
            return await self._rpc.call(kind, method, *parameters, wallet=wallet, timeout_s=timeout_s)
        except Refused as fault:
            raise RailError(f"{method}: {fault.reason}") from fault

    async def _ask_wallet(
        self, kind: type[_Kind], method: str, *parameters: object, timeout_s: float | None = None
    ) -> _Kind:
        return await self._ask(kind, method, *parameters, wallet=self._wallet, timeout_s=timeout_s)


def _coin(found: _Unspent, tip_height: int) -> Coin:
    height = tip_height - found.confirmations + 1 if found.confirmations else None
    return Coin(ChainTransactionId(found.txid), found.vout, satoshi(found.amount), found.address, height)


def _address_of(descriptor: str) -> str:
    """Of `addr(…)#checksum`; another kind is none of ours."""
    return descriptor.removeprefix("addr(").partition(")")[0] if descriptor.startswith("addr(") else ""


def _parsed(raw: str) -> Transaction:
    try:
        return parse_transaction(bytes.fromhex(raw))
    except BitcoinError as fault:
        raise RailError(f"the node gave a transaction that can't be read: it {fault}") from fault


def _read_block(raw: str, height: int, block_hash: str) -> Block:
    """The block, if it has this hash and holds what its header commits to. Raises: RailError."""
    try:
        block = parse_block(bytes.fromhex(raw))
    except ValueError as fault:
        raise RailError(f"the node gave a block that {fault}") from fault
    if block.block_hash != block_hash:
        raise RailError("the node gave another block than the one asked for")
    transactions = tuple(ChainTransaction(ChainTransactionId(each.txid), each.raw) for each in block.entries)
    return Block(height, block.block_hash, block.previous, transactions)
