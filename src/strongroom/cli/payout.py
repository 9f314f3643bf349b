"""Commands about single payouts."""

import time
from itertools import islice
from typing import Annotated, Any, Final, Literal

import cyclopts
from cyclopts import Parameter

from strongroom.cli.approve import As, OnKey, instruct, signers_of
from strongroom.cli.output import Exit, Stop, fields, say, show, table
from strongroom.cli.session import LIMIT_DEFAULT, PAGE_MAXIMUM, Data, Json, Limit, client, document, reader, speaking
from strongroom.protocol.negative import REASON_MAXIMUM, Action

app = cyclopts.App(name="payout", help="Ask for payouts and look at them.")

CLIENT = "payouts"

_ENDED: Final = frozenset({"settled", "failed", "returned"})

MadeWith = Annotated[str, Parameter(help="The key that it was made with")]


@app.command
@speaking
def create(
    *,
    beneficiary: Annotated[str, Parameter(help="Who is paid: ben_…")],
    asset: Annotated[str, Parameter(help="BTC, USDC, USDT, EUR, or a CAIP-19 name")],
    amount: Annotated[str, Parameter(help="Base units, such as 1250000 for 1.25 USDC")],
    external_id: Annotated[str, Parameter(help="Your own name for this debt")],
    idempotency_key: Annotated[str | None, Parameter(help="Your own: the same again is the same payout")] = None,
    remittance_information: Annotated[str | None, Parameter(help="What the payee reads, up to 140 characters")] = None,
    on_hold: Annotated[
        Literal["hold", "refuse"] | None, Parameter(help="What can't go out now: hold it (the default), or refuse it")
    ] = None,
    data: Data = None,
    as_json: Json = False,
) -> int:
    """Ask for a payout to the newest destination of a beneficiary."""
    sandbox = document(data)
    with client(sandbox, CLIENT) as api:
        payout = api.payouts.create(
            idempotency_key=idempotency_key, **_body(api, sandbox, beneficiary, asset, amount, external_id),
            remittance_information=remittance_information, on_hold=on_hold,
        )
    show(payout, as_json, _text(payout))
    return Exit.DONE


@app.command
@speaking
def preview(
    *,
    beneficiary: Annotated[str, Parameter(help="Who would be paid: ben_…")],
    asset: Annotated[str, Parameter(help="BTC, USDC, USDT, EUR, or a CAIP-19 name")],
    amount: Annotated[str, Parameter(help="Base units, such as 1250000 for 1.25 USDC")],
    external_id: Annotated[str | None, Parameter(help="Your own name for this debt")] = None,
    data: Data = None,
    as_json: Json = False,
) -> int:
    """See what would happen to a payout; nothing is stored."""
    sandbox = document(data)
    with client(sandbox, CLIENT) as api:
        body = _body(api, sandbox, beneficiary, asset, amount, external_id or f"preview {time.time_ns()}")
        found = api.payouts.preview(**body)
    hold = found["hold"]
    text = fields(
        (
            ("tier", found["tier"]),
            ("approvals", f"{found['approvals']['count']} of {found['approvals']['groups']} groups"),
            ("worth at most", f"{int(found['reference']['minor']) / 100:,.2f} {found['reference']['currency']}"),
            ("fee", _fee(found["fee_estimate"])),
            ("hold", "none" if hold is None else f"{hold['reason']} until {hold['retry_at'] or 'people end it'}"),
            *((limit["name"], f"{limit['left']} of {limit['maximum']} left") for limit in found["limits"]),
            *(("warning", warning) for warning in found["warnings"]),
        )
    )
    show(found, as_json, text)
    return Exit.DONE


def _fee(estimate: dict[str, Any] | None) -> str:
    """Beside the amount, in base units of the asset that pays it."""
    if estimate is None:
        return "not known now"
    least, most = (f"{int(estimate[name]):,}" for name in ("least", "most"))
    return f"{least} in a large batch to {most} alone, of {_short(estimate['asset'])}, by {estimate['measured_at']}"


app.command("strongroom.cli.run:import_file", name="import", help="The same as `run import`")


@app.command(name="list")
@speaking
def find(
    *, beneficiary: str | None = None, external_id: str | None = None, run: str | None = None,
    state: str | None = None, limit: Limit = LIMIT_DEFAULT, data: Data = None, as_json: Json = False,
) -> int:
    """List payouts, the oldest first."""
    filters = {"beneficiary": beneficiary, "external_id": external_id, "run": run, "state": state}
    with client(document(data), CLIENT) as api:
        filters["limit"] = str(min(limit, PAGE_MAXIMUM))
        rows = api.payouts.list(**{name: value for name, value in filters.items() if value is not None})
        found = list(islice(rows, limit))
    columns = ("id", "state", "hold", "amount", "asset", "external id", "created")
    lines = [
        (row["id"], row["state"], (row["hold"] or {}).get("reason"), row["amount"], _short(row["asset"]),
         row["external_id"], row["created_at"])
        for row in found
    ]
    show(found, as_json, table(columns, lines))
    return Exit.DONE


@app.command(name="show")
@speaking
def get(payout: str, /, *, data: Data = None, as_json: Json = False) -> int:
    """Show one payout with its checkpoints."""
    with reader(document(data)) as api:
        found = api.payouts.get(payout)
    road = table(
        ("checkpoint", "by", "result", "at"),
        [(each["name"], each["by"], each["result"], each["at"]) for each in found["checkpoints"]],
    )
    show(found, as_json, f"{_text(found)}\n\n{road}")
    return Exit.DONE


@app.command
@speaking
def cancel(payout: str, /, *, idempotency_key: MadeWith, data: Data = None, as_json: Json = False) -> int:
    """Ask that a payout shall not go out; needs the key that it was made with."""
    with client(document(data), CLIENT) as api:
        found = api.payouts.cancel(payout, idempotency_key=idempotency_key)
    show(found, as_json, f"{found['id']}: {found['state']}, cancel requested; the signer confirms it")
    return Exit.DONE


@app.command
@speaking
def release(
    payout: str, /, *, reason: Annotated[str, Parameter(help="Why: people read it later, up to 500 characters")],
    people: As = None, security_key: OnKey = False, data: Data = None, as_json: Json = False,
) -> int:
    """Free a signed payout's money where the chain alone doesn't; needs a quorum.

    For a payout whose coins were swept or stolen. Guard must have seen that for
    itself, and the signer decides: what can still be paid isn't freed. People of
    the profile sign: --as one --as another.
    """
    sandbox = document(data)
    signers = signers_of(sandbox, people, security_key)
    with reader(sandbox) as api:
        found = api.payouts.get(payout)
    attempts = found["attempts"]
    if not attempts:
        raise Stop(Exit.REFUSED, f"{payout} was never signed, so there is nothing to release; it can be cancelled")
    if found["state"] in _ENDED:
        raise Stop(Exit.REFUSED, f"{payout} is {found['state']}: there is nothing to release")
    if not 1 <= len(reason) <= REASON_MAXIMUM:
        raise Stop(Exit.USAGE, f"--reason: must have 1 to {REASON_MAXIMUM} characters")
    if not as_json:
        say(_text(found))
        say(fields([("attempt", each) for each in attempts]))
    return instruct(sandbox, Action.RELEASE, payout, signers, 0, as_json, attempts=attempts, reason=reason)


def _body(
    api: Any, sandbox: dict[str, Any], beneficiary: str, asset: str, amount: str, external_id: str
) -> dict[str, Any]:
    known = api.beneficiaries.get(beneficiary)
    return {
        "beneficiary": beneficiary, "destination_digest": known["destination"]["digest"],
        "asset": sandbox["assets"].get(asset, asset), "amount": amount, "external_id": external_id,
    }


def _text(payout: dict[str, Any]) -> str:
    hold = payout["hold"]
    return fields(
        (
            ("payout", payout["id"]),
            ("state", payout["state"] + (" (cancel requested)" if payout["cancel_requested"] else "")),
            ("hold", None if hold is None else f"{hold['reason']} until {hold['retry_at'] or 'people end it'}"),
            ("amount", f"{payout['amount']} {_short(payout['asset'])}"),
            ("to", f"{payout['destination']['address']} on {payout['destination']['network']}"),
            ("beneficiary", payout["beneficiary"]),
            ("external id", payout["external_id"]),
            ("next", payout["explanation"]["next_step"]),
        )
    )


def _short(asset: str) -> str:
    head, _, tail = asset.rpartition("/")
    return asset if len(asset) <= 24 else f"{head.partition(':')[0]}…{tail[-8:]}"
