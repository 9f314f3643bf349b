"""Calls about the audit log, the ledger's balances and the hot wallets: reading only."""

from strongroom.api.call import Call, Reply
from strongroom.api.reading import refuse
from strongroom.api.schemas import (
    AuditEntries,
    AuditEntry,
    BalanceAnswer,
    BalanceList,
    ConsistencyAnswer,
    InclusionAnswer,
    WalletAnswer,
    WalletList,
)
from strongroom.api.service import Service
from strongroom.domain.errors import Code
from strongroom.domain.ids import OrganisationId
from strongroom.domain.timestamp import format_instant
from strongroom.protocol.canonical import parse_object
from strongroom.protocol.merkle import MerkleError, leaf_hash
from strongroom.store import audit, ledger, wallets
from strongroom.store.session import Session
from strongroom.store.wallets import HotWallet


async def checkpoint(service: Service, _: Call, __: None) -> Reply:
    async with service.pool.acquire() as connection:
        witnessed = await audit.read_witnessed(connection)
    if witnessed is None:
        raise refuse(Code.NOT_FOUND, "the log has no checkpoint yet")
    return Reply(200, witnessed.note)


def read_range(call: Call) -> tuple[int, int]:
    start, end = _number(call, "start", 0), _number(call, "end", None)
    if end < start:
        raise refuse(Code.INVALID, "must not be below start", "end")
    return start, min(end - start + 1, audit.ENTRIES_MAXIMUM)


async def entries(service: Service, call: Call, asked: tuple[int, int]) -> Reply:
    async with service.pool.acquire() as connection:
        found = await audit.read_entries(connection, *asked)
    rows = [
        AuditEntry(index, leaf_hash(leaf.encode()).hex(), leaf if _tells_of(leaf, call.key.organisation) else None)
        for index, leaf in found
    ]
    return Reply(200, AuditEntries(asked[0], rows))


def read_inclusion(call: Call) -> tuple[int, int]:
    return _number(call, "leaf_index", None), _number(call, "size", None)


async def inclusion(service: Service, _: Call, asked: tuple[int, int]) -> Reply:
    index, size = asked
    async with service.pool.acquire() as connection:
        try:
            await _check_size(connection, size)
            proof = await audit.read_inclusion(connection, index, size)
            leaf_hash = await audit.read_leaf_hash(connection, index)
        except MerkleError as fault:
            raise refuse(Code.NOT_FOUND, str(fault)) from fault
    return Reply(200, InclusionAnswer(index, size, leaf_hash.hex(), [each.hex() for each in proof]))


def read_consistency(call: Call) -> tuple[int, int]:
    return _number(call, "first", None), _number(call, "second", None)


async def consistency(service: Service, _: Call, asked: tuple[int, int]) -> Reply:
    first, second = asked
    async with service.pool.acquire() as connection:
        try:
            await _check_size(connection, second)
            proof = await audit.read_consistency(connection, first, second)
        except MerkleError as fault:
            raise refuse(Code.NOT_FOUND, str(fault)) from fault
    return Reply(200, ConsistencyAnswer(first, second, [each.hex() for each in proof]))


async def balances(service: Service, call: Call, _: None) -> Reply:
    async with service.pool.acquire() as connection:
        found = await ledger.read_balances(connection, call.key.organisation)
    rows = [
        BalanceAnswer(
            each.account, each.asset, str(each.balance.available), str(each.balance.credits_pending),
            str(each.balance.debits_posted - each.balance.credits_posted),
        )
        for each in found
    ]
    return Reply(200, BalanceList(rows, None))


async def hot_wallets(service: Service, call: Call, _: None) -> Reply:
    async with service.pool.acquire() as connection:
        found = await wallets.read_wallets(connection, call.key.organisation)
    return Reply(200, WalletList([_wallet(each) for each in found], None))


def _wallet(wallet: HotWallet) -> WalletAnswer:
    seen = wallet.seen
    if seen is None:
        return WalletAnswer(wallet.asset, str(wallet.ledger), None, None, None, None, None, None, None)
    return WalletAnswer(
        wallet.asset, str(seen.ledger), seen.network, str(seen.chain), str(seen.under_way), seen.is_whole,
        seen.height, seen.block_hash, format_instant(seen.at),
    )


def _tells_of(leaf: str, organisation: OrganisationId) -> bool:
    event = parse_object(leaf.encode()).get("event")
    return isinstance(event, dict) and event.get("organisation") == organisation


async def _check_size(connection: Session, size: int) -> None:
    newest = await audit.read_checkpoint(connection)
    if newest is None or size > newest.size:
        raise MerkleError(f"the log has no checkpoint of {size} leaves yet")


def _number(call: Call, name: str, default: int | None) -> int:
    text = call.query.get(name)
    if text is None and default is not None:
        return default
    if text is None or not text.isascii() or not text.isdigit() or len(text) > 15:
        raise refuse(Code.INVALID, "must be a whole number", name)
    return int(text)
