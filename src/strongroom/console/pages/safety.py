"""Treasury, policy, audit and keys: what the record says of money, rules and what was done. Reading only."""

import json
from typing import Any, Final

from strongroom.advice.bound import bounds
from strongroom.console.call import Call
from strongroom.console.draw import bars
from strongroom.console.duties import Duty
from strongroom.console.listing import PAGE, cursor, file_reply, is_file, wanted
from strongroom.console.web import Reply, WebError
from strongroom.domain.instant import DAY_MS, HOUR_MS, Instant
from strongroom.protocol.merkle import leaf_hash
from strongroom.store import audit, console_lists, console_pages, ledger, wallets
from strongroom.store.console_lists import ListedLeaf

KEY_OLD_MS: Final = 90 * DAY_MS


async def treasury(call: Call) -> Reply:
    organisation = call.who.session.organisation
    since = Instant(call.now - DAY_MS)
    async with call.service.pool.acquire() as connection:
        hot = await wallets.read_wallets(connection, organisation)
        balances = await ledger.read_balances(connection, organisation)
        signed = await console_pages.signed_since(connection, organisation, since)
        spent = await console_pages.reference_since(connection, organisation, since)
    hours = list(range(since // HOUR_MS, call.now // HOUR_MS + 1))
    flows = {
        wallet.asset: bars([sum(minor for asset, hour, minor, _ in signed if (asset, hour) == (wallet.asset, each))
                            for each in hours], 520, 90)
        for wallet in hot
    }
    out = {wallet.asset: sum(minor for asset, _, minor, _ in signed if asset == wallet.asset) for wallet in hot}
    reserved = {each.asset: each.balance.credits_pending for each in balances if each.account.value == "wallet:hot"}
    return call.page("treasury.html", hot=hot, flows=flows, out=out, reserved=reserved, spent=spent)


async def policy(call: Call) -> Reply:
    mirror = call.who.mirror
    return call.page(
        "policy.html", policy=mirror.policy, rows=bounds(mirror.policy, mirror.roster),
        text=json.dumps(json.loads(mirror.policy_text), indent=1, ensure_ascii=False),
    )


async def keys(call: Call) -> Reply:
    async with call.service.pool.acquire() as connection:
        rows = await console_lists.keys(connection, call.who.session.organisation)
    return call.page("keys.html", rows=rows, old_ms=KEY_OLD_MS)


async def audit_log(call: Call) -> Reply:
    """Filtered by one word: an id, or a kind of event. A file of it takes a duty of its own."""
    if is_file(call) and Duty.AUDIT_EXPORT not in call.who.duties:
        raise WebError(403, f"Your roles don't include “{Duty.AUDIT_EXPORT.value}”.")
    word = call.request.query.get("q", "").strip() or None
    organisation = call.who.session.organisation
    async with call.service.pool.acquire() as connection:
        rows = await console_lists.leaves(connection, organisation, word, cursor(call), wanted(call))
        checkpoint = await audit.read_witnessed(connection)
    if is_file(call):
        return file_reply(call, "audit", ("index", "leaf_hash", "leaf"), [
            (row.index, leaf_hash(row.leaf.encode()).hex(), row.leaf) for row in rows
        ])
    shown = [_read(call, row) for row in rows[:PAGE]]
    following = f"/audit?after={rows[PAGE - 1].index}" + (f"&q={word}" if word else "") if len(rows) > PAGE else None
    return call.page("audit.html", rows=shown, next=following, text=word or "", checkpoint=checkpoint)


def _read(call: Call, row: ListedLeaf) -> tuple[ListedLeaf, dict[str, Any], str]:
    """A leaf, what it tells, and by whom: a person, a client, or else the process whose role wrote it."""
    told = json.loads(row.leaf)
    event = told["event"]
    maker = event.get("person") or event.get("client") or event.get("source")
    return row, event, call.who.mirror.name(maker) if maker else str(told["role"]).removeprefix("strongroom_")


async def leaf(call: Call) -> Reply:
    """One leaf with the proof that it is in the log, and how to verify it without us."""
    if not call.parameters[0].isdecimal() or len(call.parameters[0]) > 18:
        raise WebError(404, "There is no such leaf.")
    index = int(call.parameters[0])
    organisation = call.who.session.organisation
    async with call.service.pool.acquire() as connection:
        rows = await console_lists.leaves(connection, organisation, None, index + 1, 1)
        if not rows or rows[0].index != index:
            raise WebError(404, "There is no such leaf of this organisation's.")
        witnessed = await audit.read_witnessed(connection, index + 1)
        proof = None
        if witnessed is not None and witnessed.size > index:
            proof = await audit.read_inclusion(connection, index, witnessed.size)
    return call.page(
        "leaf.html", row=rows[0], event=json.loads(rows[0].leaf)["event"], proof=proof, checkpoint=witnessed,
        hash=leaf_hash(rows[0].leaf.encode()).hex(),
    )
