"""Commands about runs: a CSV to a sealed run, and what became of every row."""

import hashlib
import time
from collections import Counter
from pathlib import Path
from typing import Annotated, Any, Final

import cyclopts
from cyclopts import Parameter

from strongroom.cli.approve import approve_for_the_sandbox
from strongroom.cli.output import Exit, Stop, bar, fields, progress, say, show, table
from strongroom.cli.session import Data, Json, client, document, speaking
from strongroom.domain.instant import parse_instant
from strongroom.domain.timestamp import format_instant
from strongroom.formats.payee_file import PayeeFileError, PayeeRow, parse_payee_file
from strongroom.sdk import ApiError, Client
from strongroom.sdk.calls import amount_text

SHOWN_MAXIMUM: Final = 20

app = cyclopts.App(name="run", help="Pay many people at once.")

COOLING_MAXIMUM_S: Final = 600
"""Longer than this nobody waits at a terminal: the payouts are sent, and held until their destinations cooled off."""
CLOCKS_APART_S: Final = 0.2
MadeWith = Annotated[str, Parameter(help="The key that it was made with")]
POLL_S: Final = 0.5
QUIET_S: Final = 60.0
WAITING_QUIET_S: Final = 5.0
"""When nothing of a run moved for so long, following it ends: sooner where all that is left waits for something, and is
looked at again later than that."""
LOOKED_AT_S: Final = 5.0
"""How long a look takes at the most at what was held."""
WAITING: Final = frozenset({"held", "awaiting_approval"})
FOLLOW_MAXIMUM_S: Final = 600.0
UNPAID_ENDS: Final = frozenset({"declined", "cancelled", "expired", "failed", "returned"})


@app.command(name="import")
@speaking
def import_file(
    file: Annotated[Path, Parameter(help="CSV: beneficiary | name,network,address; asset, amount, external_id")],
    /,
    *,
    external_id: Annotated[str | None, Parameter(help="Your own name for the run")] = None,
    idempotency_key: Annotated[
        str | None, Parameter(help="Else made from the file: the same file is the same run")
    ] = None,
    follow: Annotated[bool, Parameter(negative="--no-follow", help="Or only send the run, and exit with 7")] = True,
    approve: Annotated[
        bool, Parameter(negative="--no-approve", help="With the sandbox's software passkeys; or exit with 7")
    ] = True,
    data: Data = None,
    as_json: Json = False,
) -> int:
    """Declare who is unknown, wait for cooling-off, send one sealed run, follow it, and say how every row stands.

    Exits with 0 when all is settled, 1 when a payout ended unpaid, and 7 when some still wait.
    """
    sandbox = document(data)
    rows, key = _read(file)
    step = "nothing was sent"
    try:
        with client(sandbox, "beneficiaries") as declarer, client(sandbox, "payouts") as payer:
            step = "payees may have been declared; no run was sent"
            paid = _beneficiaries(declarer, rows)
            _wait_for_cooling(paid.values())
            items = [_item(sandbox, row, paid[row.number]) for row in rows]
            say(f"sending a run of {len(items)} payouts")
            step = "whether the run was taken isn't known; the same command again asks for nothing twice"
            run = payer.runs.create(items, idempotency_key=idempotency_key or key, external_id=external_id)
            step = f"the run {run['id']} was taken"
            payouts = _follow(payer, run["id"], len(rows), follow, sandbox if approve else None)
            run = payer.runs.get(run["id"])
    except KeyboardInterrupt as fault:
        raise Stop(Exit.FAILED, f"interrupted: {step}") from fault
    if len(payouts) != len(rows):
        listed = f"the run {run['id']} was sealed over {len(rows)} rows, and {len(payouts)} are listed"
        raise Stop(Exit.NOT_VERIFIED, listed)
    if as_json:
        show({"run": run, "rows": [_row(row, each) for row, each in zip(rows, payouts, strict=True)]}, True, "")
    else:
        _print(rows, payouts, run)
    return _verdict(payouts)


@app.command(name="show")
@speaking
def get(run: str, /, *, data: Data = None, as_json: Json = False) -> int:
    """Show one run."""
    with client(document(data), "payouts") as api:
        found = api.runs.get(run)
    show(found, as_json, _text(found))
    return Exit.DONE


@app.command
@speaking
def cancel(run: str, /, *, idempotency_key: MadeWith, data: Data = None, as_json: Json = False) -> int:
    """Ask that what isn't planned yet of a run shall not go out; needs the key that it was made with."""
    with client(document(data), "payouts") as api:
        found = api.runs.cancel(run, idempotency_key=idempotency_key)
    show(found, as_json, _text(found))
    return Exit.DONE


def _follow(
    payer: Client, run: str, count: int, on: bool, approving: dict[str, Any] | None
) -> list[dict[str, Any]]:
    """The payouts of a run, once all have ended, or nothing of it has moved for a while.

    `approving` is the sandbox whose people approve what waits for them; None leaves that to people.
    """
    asked: set[str] = set()
    began = moved = time.monotonic()
    before: list[tuple[Any, ...]] = []
    with bar(count, "payouts settled") as show_bar:
        while True:
            payouts = list(payer.runs.items(run, limit="200"))
            states = [(each["state"], each["hold"] and each["hold"]["reason"]) for each in payouts]
            show_bar(sum(state == "settled" for state, _ in states))
            now = time.monotonic()
            moved = moved if states == before else now
            before = states
            if approving is not None and any(state == "awaiting_approval" for state, _ in states):
                approve_for_the_sandbox(approving, run, asked)
            left = {state for state, _ in states if state != "settled" and state not in UNPAID_ENDS}
            patience_s = QUIET_S if left - WAITING else max(WAITING_QUIET_S, _held_s(payouts) + LOOKED_AT_S)
            if not left or not on or now - moved >= patience_s or now - began >= FOLLOW_MAXIMUM_S:
                return payouts
            time.sleep(POLL_S)


def _held_s(payouts: list[dict[str, Any]]) -> float:
    """How long until the first that is held is looked at again; 0 if that is too far off to wait for it."""
    times = [each["hold"]["retry_at"] for each in payouts if each["hold"] and each["hold"]["retry_at"]]
    if not times:
        return 0
    left_s = (min(map(parse_instant, times)) - time.time_ns() // 1_000_000) / 1000
    return left_s if left_s <= QUIET_S else 0


def _verdict(payouts: list[dict[str, Any]]) -> Exit:
    states = Counter(each["state"] for each in payouts)
    unpaid = sum(states[state] for state in UNPAID_ENDS)
    waiting = len(payouts) - states["settled"] - unpaid
    if waiting:
        say(f"{waiting} of {len(payouts)} are recorded and not paid yet; `strongroom payout show` says why")
    if unpaid:
        say(f"{unpaid} of {len(payouts)} ended unpaid")
        return Exit.FAILED
    return Exit.WAITS if waiting else Exit.DONE


def _print(rows: list[PayeeRow], payouts: list[dict[str, Any]], run: dict[str, Any]) -> None:
    lines = [
        (row.number, each["id"], each["state"], (each["hold"] or {}).get("reason"), each["amount"], row.fields["asset"],
         each["external_id"])
        for row, each in zip(rows, payouts, strict=True)
    ]
    states = Counter(f"held: {each['hold']['reason']}" if each["hold"] else each["state"] for each in payouts)
    counts = ", ".join(f"{count} {state}" for state, count in states.items())
    listing = table(("row", "payout", "state", "hold", "amount", "asset", "external id"), lines)
    show(None, False, f"{listing}\n\n{_text(run)}\n{counts}")


def _read(file: Path) -> tuple[list[PayeeRow], str]:
    """The rows, and the idempotency key that follows from the file's bytes. Raises: Stop; then nothing was sent."""
    try:
        raw = file.read_bytes()
        rows = parse_payee_file(raw)
    except OSError as fault:
        raise Stop(Exit.NOT_FOUND, f"{file}: {fault.strerror}") from fault
    except PayeeFileError as fault:
        raise Stop(Exit.REFUSED, f"{file} {fault}") from fault
    wrong = [(row.number, row.fault or _bad_amount(row.fields["amount"])) for row in rows]
    bad = [f"row {number}: {reason}" for number, reason in wrong if reason]
    if bad:
        more = f"\nand {len(bad) - SHOWN_MAXIMUM} more rows" if len(bad) > SHOWN_MAXIMUM else ""
        raise Stop(Exit.REFUSED, f"{file}: nothing was sent\n" + "\n".join(bad[:SHOWN_MAXIMUM]) + more)
    if not rows:
        raise Stop(Exit.REFUSED, f"{file} has no rows")
    return rows, f"import/{hashlib.sha256(raw).hexdigest()}"


def _bad_amount(text: str) -> str:
    try:
        amount_text(text)
    except ValueError as fault:
        return str(fault)
    return ""


def _beneficiaries(api: Any, rows: list[PayeeRow]) -> dict[int, dict[str, Any]]:
    """The beneficiary of every row; who stands there by name and address is declared, once for both.

    The key of a declaration is made from what is declared, so importing a file again declares nobody twice.
    """
    known: dict[str, dict[str, Any]] = {}
    paid: dict[int, dict[str, Any]] = {}
    for row in progress(rows, "payees known"):
        named = row.fields.get("beneficiary")
        key = named or _declaration_key(row)
        try:
            if key not in known and named:
                known[key] = api.beneficiaries.get(named)
            elif key not in known:
                destination = {"network": row.fields["network"], "address": row.fields["address"]}
                known[key] = api.beneficiaries.create(
                    idempotency_key=key, name=row.fields["name"], destination=destination
                )
        except ApiError as fault:
            fault.args = (f"row {row.number}: {fault} (no run was sent)",)
            raise
        paid[row.number] = known[key]
    return paid


def _declaration_key(row: PayeeRow) -> str:
    declared = "\0".join(row.fields[part] for part in ("network", "address", "name"))
    return f"import/{hashlib.sha256(declared.encode()).hexdigest()}"


def _wait_for_cooling(beneficiaries: Any) -> None:
    latest = max(parse_instant(each["destination"]["cooling_until"]) for each in beneficiaries)
    left_s = (latest - time.time_ns() // 1_000_000) / 1000
    if left_s > COOLING_MAXIMUM_S:
        say(f"some destinations cool off until {format_instant(latest)}; their payouts will be held until then")
    elif left_s > 0:
        say(f"waiting {left_s:.0f} s until new destinations have cooled off")
        time.sleep(left_s + CLOCKS_APART_S)


def _item(sandbox: dict[str, Any], row: PayeeRow, beneficiary: dict[str, Any]) -> dict[str, Any]:
    return {
        "beneficiary": beneficiary["id"],
        "destination_digest": beneficiary["destination"]["digest"],
        "asset": sandbox["assets"].get(row.fields["asset"], row.fields["asset"]),
        "amount": row.fields["amount"],
        "external_id": row.fields["external_id"],
        "remittance_information": row.fields.get("remittance_information"),
    }


def _row(row: PayeeRow, payout: dict[str, Any]) -> dict[str, Any]:
    return {
        "row": row.number, "payout": payout["id"], "external_id": payout["external_id"], "state": payout["state"],
        "hold": payout["hold"], "asset": payout["asset"], "amount": payout["amount"],
        "address": payout["destination"]["address"], "chain_transactions": payout["chain_transactions"],
        "status_reason": payout["status_reason"],
    }


def _text(run: dict[str, Any]) -> str:
    return fields(
        (
            ("run", run["id"]),
            ("state", run["state"]),
            ("external id", run["external_id"]),
            ("payouts", run["count"]),
            *((asset, total) for asset, total in run["totals"].items()),
            ("held", ", ".join(f"{count} {reason}" for reason, count in run["held"].items()) or None),
            ("root", run["seal"]["root"] if run["seal"] else None),
        )
    )
