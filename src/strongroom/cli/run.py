"""Commands about runs: a CSV to a sealed run, and what became of every row."""

import time
from collections import Counter
from pathlib import Path
from typing import Annotated, Any, Final

import cyclopts
from cyclopts import Parameter

from strongroom.cli.output import Exit, Stop, fields, say, show, table
from strongroom.cli.session import Data, Json, client, document, speaking
from strongroom.domain.instant import format_instant, parse_instant
from strongroom.formats.payee_file import PayeeFileError, PayeeRow, parse_payee_file

app = cyclopts.App(name="run", help="Pay many people at once.")

COOLING_MAXIMUM_S: Final = 600
SAY_EVERY: Final = 200


@app.command(name="import")
@speaking
def import_file(
    file: Annotated[Path, Parameter(help="CSV: beneficiary | name,network,address; asset, amount, external_id")],
    /,
    *,
    external_id: str | None = None,
    idempotency_key: str | None = None,
    data: Data = None,
    as_json: Json = False,
) -> int:
    """Declare who is unknown, wait for cooling-off, send one sealed run, and say where every row stands."""
    sandbox = document(data)
    rows = _read(file)
    with client(sandbox, "beneficiaries") as declarer, client(sandbox, "payouts") as payer:
        paid = _beneficiaries(declarer, rows)
        _wait_for_cooling(paid.values())
        items = [_item(sandbox, row, paid[row.number]) for row in rows]
        say(f"sending a run of {len(items)} payouts")
        run = payer.runs.create(items, idempotency_key=idempotency_key, external_id=external_id)
        payouts = list(payer.runs.items(run["id"], limit="200"))
    states = Counter(f"held: {each['hold']['reason']}" if each["hold"] else each["state"] for each in payouts)
    if as_json:
        show({"run": run, "rows": [_row(row, each) for row, each in zip(rows, payouts, strict=True)]}, True, "")
        return Exit.DONE
    lines = [
        (row.number, each["id"], each["state"], (each["hold"] or {}).get("reason"), each["amount"], each["external_id"])
        for row, each in zip(rows, payouts, strict=True)
    ]
    print(table(("row", "payout", "state", "hold", "amount", "external id"), lines))
    print()
    print(_text(run))
    print(", ".join(f"{count} {state}" for state, count in states.items()))
    say("Recorded and sealed. Nothing pays yet: this version has no signer.")
    return Exit.DONE


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
def cancel(run: str, /, *, idempotency_key: str, data: Data = None, as_json: Json = False) -> int:
    """Ask that what isn't planned yet of a run shall not go out; needs the key that it was made with."""
    with client(document(data), "payouts") as api:
        found = api.runs.cancel(run, idempotency_key=idempotency_key)
    show(found, as_json, _text(found))
    return Exit.DONE


def _read(file: Path) -> list[PayeeRow]:
    try:
        rows = parse_payee_file(file.read_bytes())
    except OSError as fault:
        raise Stop(Exit.NOT_FOUND, f"{file}: {fault.strerror}") from fault
    except PayeeFileError as fault:
        raise Stop(Exit.REFUSED, f"{file} {fault}") from fault
    bad = [f"row {row.number}: {row.fault}" for row in rows if row.fault]
    if bad:
        raise Stop(Exit.REFUSED, f"{file}: nothing was sent\n" + "\n".join(bad[:20]))
    if not rows:
        raise Stop(Exit.REFUSED, f"{file} has no rows")
    return rows


def _beneficiaries(api: Any, rows: list[PayeeRow]) -> dict[int, dict[str, Any]]:
    """The beneficiary of every row; who stands there by name and address is declared, once for one address.

    The key of a declaration is made from what is declared, so importing a file again declares nobody twice.
    """
    known: dict[str, dict[str, Any]] = {}
    paid: dict[int, dict[str, Any]] = {}
    for place, row in enumerate(rows, start=1):
        named = row.fields.get("beneficiary")
        key = named or f"import/{row.fields['network']}/{row.fields['address']}"
        if key not in known and named:
            known[key] = api.beneficiaries.get(named)
        elif key not in known:
            destination = {"network": row.fields["network"], "address": row.fields["address"]}
            known[key] = api.beneficiaries.create(
                idempotency_key=key, name=row.fields["name"], destination=destination
            )
        paid[row.number] = known[key]
        if place % SAY_EVERY == 0:
            say(f"{place} of {len(rows)} beneficiaries known")
    return paid


def _wait_for_cooling(beneficiaries: Any) -> None:
    latest = max(parse_instant(each["destination"]["cooling_until"]) for each in beneficiaries)
    left_s = (latest - time.time_ns() // 1_000_000) / 1000
    if left_s > COOLING_MAXIMUM_S:
        say(f"some destinations cool off until {format_instant(latest)}; their payouts will be held until then")
    elif left_s > 0:
        say(f"waiting {left_s:.0f} s until new destinations have cooled off")
        time.sleep(left_s + 0.2)


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
    return {"row": row.number, "payout": payout["id"], "state": payout["state"], "hold": payout["hold"]}


def _text(run: dict[str, Any]) -> str:
    return fields(
        (
            ("run", run["id"]),
            ("state", run["state"]),
            ("payouts", run["count"]),
            *((asset, total) for asset, total in run["totals"].items()),
            ("held", ", ".join(f"{count} {reason}" for reason, count in run["held"].items()) or None),
            ("root", run["seal"]["root"] if run["seal"] else None),
        )
    )
