"""Commands about beneficiaries."""

from typing import Annotated, Any

import cyclopts
from cyclopts import Parameter

from strongroom.cli.output import Exit, fields, show, table
from strongroom.cli.session import Data, Json, client, document, speaking

app = cyclopts.App(name="beneficiary", help="Declare who is paid where.")

CLIENT = "beneficiaries"


@app.command
@speaking
def create(
    *,
    name: Annotated[str, Parameter(help="As approvers will read it")],
    network: Annotated[str, Parameter(help="CAIP-2, such as eip155:31337, or sepa")],
    address: str | None = None,
    iban: str | None = None,
    account_holder: str | None = None,
    country: str | None = None,
    external_id: str | None = None,
    idempotency_key: str | None = None,
    data: Data = None,
    as_json: Json = False,
) -> int:
    """Declare a beneficiary with its first destination."""
    destination = {
        "network": network, "address": address, "iban": iban, "account_holder": account_holder, "country": country,
    }
    with client(document(data), CLIENT) as api:
        found = api.beneficiaries.create(
            idempotency_key=idempotency_key, name=name, external_id=external_id,
            destination={part: value for part, value in destination.items() if value is not None},
        )
    show(found, as_json, _text(found))
    return Exit.DONE


@app.command(name="list")
@speaking
def find(*, external_id: str | None = None, limit: int = 50, data: Data = None, as_json: Json = False) -> int:
    """List beneficiaries, the oldest first."""
    with client(document(data), CLIENT) as api:
        rows = api.beneficiaries.list(**({} if external_id is None else {"external_id": external_id}))
        found = [row for row, _ in zip(rows, range(limit), strict=False)]
    lines = [
        (row["id"], row["name"], row["destination"]["network"], row["destination"]["address"],
         row["destination"]["version"], row["destination"]["cooling_until"])
        for row in found
    ]
    show(found, as_json, table(("id", "name", "network", "address", "version", "cooling until"), lines))
    return Exit.DONE


@app.command(name="show")
@speaking
def get(beneficiary: str, /, *, data: Data = None, as_json: Json = False) -> int:
    """Show a beneficiary with the history of its destinations."""
    with client(document(data), CLIENT) as api:
        found = api.beneficiaries.get(beneficiary)
    history = table(
        ("version", "class", "network", "address", "digest"),
        [
            (each["version"], each["class"], each["network"], each["address"], each["digest"][:16] + "…")
            for each in found["destinations"]
        ],
    )
    show(found, as_json, f"{_text(found)}\n\n{history}")
    return Exit.DONE


def _text(beneficiary: dict[str, Any]) -> str:
    destination = beneficiary["destination"]
    return fields(
        (
            ("beneficiary", beneficiary["id"]),
            ("name", beneficiary["name"]),
            ("external id", beneficiary["external_id"]),
            ("paid to", f"{destination['address']} on {destination['network']} (version {destination['version']})"),
            ("digest", destination["digest"]),
            ("cooling until", destination["cooling_until"]),
        )
    )
