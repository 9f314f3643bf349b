"""What must be true of the record after any fault, computed from the rows by other code than the product's.

Each finding is a sentence. An empty list means that the books are in order.
"""

import base64
import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import asyncpg
from nacl.signing import VerifyKey
from tests.faults.deployment import ORIGIN
from tests.faults.load import Asked, Memory

from strongroom.sdk.canonical import derived_id

ACCOUNT_COLUMNS = ("debits_pending", "debits_posted", "credits_pending", "credits_posted")


async def findings(owner: asyncpg.Connection, log_key: VerifyKey, memories: Sequence[Memory]) -> list[str]:
    """All that is wrong. `owner` sees everything; `log_key` signs the log's checkpoints."""
    found = [*await _payouts(owner), *await _ledger(owner), *await _evidence(owner)]
    for memory in memories:
        found += await _limit(owner, memory)
    found += await _answered(owner, [each for memory in memories for each in memory.answered])
    return found + await _audit(owner, log_key, {note for memory in memories for note in memory.notes})


async def _payouts(owner: asyncpg.Connection) -> list[str]:
    found: list[str] = []
    rows = await owner.fetch(
        "SELECT p.id, p.organisation, p.client, p.idempotency_key, p.beneficiary, p.external_id, p.amount, p.run, "
        "d.beneficiary AS paid, count(o.id) AS told, "
        "EXISTS (SELECT FROM strongroom.run_items i WHERE i.payout = p.id AND i.run = p.run) AS is_item "
        "FROM strongroom.payouts p LEFT JOIN strongroom.destinations d ON d.digest = p.destination_digest "
        "LEFT JOIN strongroom.outbox o ON o.object = p.id GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9"
    )
    keys = Counter((row["client"], row["idempotency_key"]) for row in rows)
    found += (f"key {key} has {count} payouts" for key, count in keys.items() if count > 1)
    debts = Counter((row["client"], row["external_id"], row["beneficiary"]) for row in rows)
    found += (f"debt {debt} has {count} payouts" for debt, count in debts.items() if count > 1)
    for row in rows:
        if row["id"] != derived_id("po_", "payout", row["organisation"], row["client"], row["idempotency_key"]):
            found.append(f"{row['id']} isn't the id of its key")
        if row["paid"] != row["beneficiary"]:
            found.append(f"{row['id']} is paid to a destination of {row['paid']}")
        if row["told"] != 1:
            found.append(f"{row['id']} stands {row['told']} times in the outbox")
        if row["is_item"] != (row["run"] is not None):
            found.append(f"{row['id']} and its run don't know each other")
    return found


async def _ledger(owner: asyncpg.Connection) -> list[str]:
    """Every account is the sum of its postings, every reservation the amount of its payout."""
    found: list[str] = []
    sums: dict[int, Counter[str]] = defaultdict(Counter)
    reserved: Counter[str] = Counter()
    for row in await owner.fetch("SELECT * FROM strongroom.ledger_postings"):
        kind = {"posted": "posted", "pending": "pending"}[row["kind"]]  # nothing settles or voids yet
        amount = int(row["amount"])
        sums[row["debit_account"]][f"debits_{kind}"] += amount
        sums[row["credit_account"]][f"credits_{kind}"] += amount
        if kind == "pending":
            reserved[row["entry"]] += amount
    totals: Counter[tuple[str, str]] = Counter()
    for row in await owner.fetch("SELECT * FROM strongroom.ledger_accounts"):
        for column in ACCOUNT_COLUMNS:
            by_postings = sums[row["id"]][column]
            if int(row[column]) != by_postings:
                found.append(f"account {row['id']}: {column} is {row[column]}, its postings say {by_postings}")
            sign = 1 if column.startswith("debits") else -1
            totals[row["organisation"], row["asset"]] += sign * int(row[column])
        if row["account"] == "wallet:hot":
            left = int(row["debits_posted"]) - int(row["credits_posted"]) - int(row["credits_pending"])
            if left < 0:
                found.append(f"wallet {row['id']} has promised {-left} more than it holds")
    found += (f"{each} is out of balance by {total}" for each, total in totals.items() if total)
    counted = {row["id"]: int(row["amount"]) for row in
               await owner.fetch("SELECT id, amount FROM strongroom.payouts WHERE counted")}
    if counted != dict(reserved):
        differing = {entry for entry in {*counted, *reserved} if counted.get(entry, 0) != reserved[entry]}
        found.append(f"reservations and counted payouts differ for {sorted(differing)[:5]}")
    return found


async def _evidence(owner: asyncpg.Connection) -> list[str]:
    """One request stands behind each object; a request that was sent again leaves nothing."""
    found: list[str] = []
    asked = Counter(
        (row["client"], row["idempotency_key"], row["path"])
        for row in await owner.fetch("SELECT client, idempotency_key, path FROM strongroom.evidence")
    )
    found += (f"request {each} is kept {count} times" for each, count in asked.items() if count > 1)
    for table in ("payouts", "beneficiaries", "runs"):
        missing = await owner.fetch(
            f"SELECT id FROM strongroom.{table} t WHERE NOT EXISTS (SELECT FROM strongroom.evidence e "
            f"WHERE e.id = t.evidence AND e.client = t.client)"
        )
        found += (f"{row['id']} has no request behind it" for row in missing)
    return found


async def _limit(owner: asyncpg.Connection, memory: Memory) -> list[str]:
    """All payouts of the test are of one day."""
    found: list[str] = []
    rows = await owner.fetch(
        "SELECT coalesce(sum(reference_minor), 0) AS used FROM strongroom.payouts "
        "WHERE organisation = $1 AND counted AND approvals = 0", memory.clients.organisation,
    )
    used, limit = int(rows[0]["used"]), memory.clients.limit_cents
    if used > limit:
        found.append(f"{memory.clients.organisation} counts {used}, and its limit is {limit}")
    return found


async def _answered(owner: asyncpg.Connection, answered: Iterable[Asked]) -> list[str]:
    """What a client was told is there, with what it asked for."""
    found: list[str] = []
    payouts = {row["id"]: row for row in await owner.fetch("SELECT * FROM strongroom.payouts")}
    payees = {row["id"]: row for row in await owner.fetch(
        "SELECT b.id, d.address FROM strongroom.beneficiaries b JOIN strongroom.destinations d "
        "ON d.beneficiary = b.id AND d.version = 1")}
    runs = {row["id"]: row["items"] for row in await owner.fetch(
        "SELECT r.id, (SELECT count(*) FROM strongroom.run_items i WHERE i.run = r.id) AS items "
        "FROM strongroom.runs r JOIN strongroom.run_seals s ON s.run = r.id")}
    for each in answered:
        if each.kind == "beneficiary":
            row = payees.get(each.expected_id)
            if row is None or row["address"] != each.body["destination"]["address"]:
                found.append(f"{each.expected_id} was acknowledged and isn't there as it was")
        elif each.kind == "payout":
            found += _differs(each.expected_id, each.body, payouts)
        else:
            if runs.get(each.expected_id) != len(each.body["items"]):
                found.append(f"{each.expected_id} was acknowledged and isn't there in full")
            for item in each.body["items"]:
                payer = each.credentials
                key = item["idempotency_key"]
                found += _differs(
                    derived_id("po_", "payout", payer.organisation, payer.client_id, key), item, payouts
                )
    return found


def _differs(payout: str, body: dict[str, Any], payouts: dict[str, Any]) -> Iterator[str]:
    row = payouts.get(payout)
    if row is None:
        yield f"{payout} was acknowledged and is lost"
        return
    for name in ("beneficiary", "destination_digest", "asset", "external_id"):
        if row[name] != body[name]:
            yield f"{payout}: {name} is {row[name]}, and was {body[name]}"
    if int(row["amount"]) != int(body["amount"]):
        yield f"{payout}: amount is {row['amount']}, and was {body['amount']}"


async def _audit(owner: asyncpg.Connection, log_key: VerifyKey, seen: Iterable[str]) -> list[str]:
    """Leaves without gaps, each object said once, and every checkpoint that anybody saw a root of this very log."""
    found: list[str] = []
    rows = await owner.fetch(
        "SELECT s.leaf_index, s.leaf_id, l.leaf FROM strongroom.audit_sequence s "
        "JOIN strongroom.audit_leaves l ON l.id = s.leaf_id ORDER BY s.leaf_index"
    )
    if [row["leaf_index"] for row in rows] != list(range(len(rows))):
        found.append("the leaves' indexes have gaps")
    ids = [row["leaf_id"] for row in rows]
    if ids != sorted(ids):
        found.append("the leaves aren't in the order in which they were said")
    left = await owner.fetchval(
        "SELECT count(*) FROM strongroom.audit_leaves WHERE id <= $1", ids[-1] if ids else 0
    )
    if left != len(rows):
        found.append(f"{left - len(rows)} leaves were passed over")
    unsaid = await owner.fetch(
        "SELECT p.id FROM strongroom.payouts p LEFT JOIN strongroom.audit_leaves l ON l.id = p.leaf "
        "WHERE l.leaf IS NULL OR position(p.id IN l.leaf) = 0"
    )
    found += (f"{row['id']} has no leaf that tells of it" for row in unsaid)
    stored = {row["note"] for row in await owner.fetch("SELECT note FROM strongroom.audit_checkpoints")}
    checkpoints = [_checkpoint(note, log_key) for note in {*stored, *seen}]
    roots = _roots([row["leaf"].encode() for row in rows], {size for size, _ in checkpoints})
    for size, root in checkpoints:
        if roots.get(size) != root:
            found.append(f"a checkpoint of {size} leaves was signed that isn't of this log")
    return found


def _checkpoint(note: str, log_key: VerifyKey) -> tuple[int, bytes]:
    """Size and root of a note, once its signature holds (C2SP signed-note, read here without the product's code)."""
    text, _, signature = note.rpartition("\n\n")
    name, blob = signature.removeprefix("\u2014 ").split()
    assert name == ORIGIN
    log_key.verify((text + "\n").encode(), base64.b64decode(blob)[4:])
    origin, size, root = text.splitlines()
    assert origin == ORIGIN
    return int(size), base64.b64decode(root)


def _roots(leaves: Sequence[bytes], sizes: set[int]) -> dict[int, bytes]:
    """The root at each of these sizes (RFC 6962 section 2.1)."""
    found: dict[int, bytes] = {}
    stack: list[tuple[int, bytes]] = []
    for size, leaf in enumerate(leaves, start=1):
        level, digest = 0, hashlib.sha256(b"\0" + leaf).digest()
        while stack and stack[-1][0] == level:
            digest = hashlib.sha256(b"\1" + stack.pop()[1] + digest).digest()
            level += 1
        stack.append((level, digest))
        if size in sizes:
            root = stack[-1][1]
            for _, left in reversed(stack[:-1]):
                root = hashlib.sha256(b"\1" + left + root).digest()
            found[size] = root
    return found
