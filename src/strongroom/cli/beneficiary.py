"""Commands about beneficiaries."""

from itertools import islice
from typing import Annotated, Any

import cyclopts
from cyclopts import Parameter

from strongroom.cli.output import Exit, fields, show, table
from strongroom.cli.session import LIMIT_DEFAULT, PAGE_MAXIMUM, Data, Json, Limit, client, document, speaking

app = cyclopts.App(name="beneficiary", help="Declare who is paid where.")

CLIENT = "beneficiaries"

Network = Annotated[str, Parameter(help="CAIP-2, such as eip155:31337, or sepa")]
Address = Annotated[str | None, Parameter(help="On a chain, exactly as its checksum wants it")]
Iban = Annotated[str | None, Parameter(help="For sepa, without spaces")]
Holder = Annotated[str | None, Parameter(help="For sepa")]
Country = Annotated[str | None, Parameter(help="For sepa, such as DE")]


@app.command
@speaking
def create(
    *,
    name: Annotated[str, Parameter(help="As approvers will read it")],
    network: Network,
    address: Address = None,
    iban: Iban = None,
    account_holder: Holder = None,
    country: Country = None,
    external_id: Annotated[str | None, Parameter(help="Your own name for this person")] = None,
    idempotency_key: Annotated[str | None, Parameter(help="Your own: the same again is the same one")] = None,
    data: Data = None,
    as_json: Json = False,
) -> int:
    """Declare a beneficiary with its first destination."""
    with client(document(data), CLIENT) as api:
        found = api.beneficiaries.create(
            idempotency_key=idempotency_key, name=name, external_id=external_id,
            destination=_destination(network, address, iban, account_holder, country),
        )
    show(found, as_json, _text(found))
    return Exit.DONE


@app.command
@speaking
def move(
    beneficiary: str,
    /,
    *,
    network: Network,
    address: Address = None,
    iban: Iban = None,
    account_holder: Holder = None,
    country: Country = None,
    idempotency_key: Annotated[str | None, Parameter(help="Your own: the same again is the same change")] = None,
    data: Data = None,
    as_json: Json = False,
) -> int:
    """Declare the next version of where a beneficiary is paid; payouts that are open keep theirs."""
    with client(document(data), CLIENT) as api:
        found = api.beneficiaries.get(beneficiary)
        newest = found["destination"]
        if network == "sepa" or (newest["network"], newest["address"]) != (network, address):
            destination = _destination(network, address, iban, account_holder, country)
            found = api.beneficiaries.add_destination(found, destination, idempotency_key=idempotency_key)
    show(found, as_json, _text(found))
    return Exit.DONE


@app.command(name="list")
@speaking
def find(
    *, external_id: str | None = None, limit: Limit = LIMIT_DEFAULT, data: Data = None, as_json: Json = False
) -> int:
    """List beneficiaries, the oldest first."""
    with client(document(data), CLIENT) as api:
        filters = {} if external_id is None else {"external_id": external_id}
        found = list(islice(api.beneficiaries.list(**filters, limit=str(min(limit, PAGE_MAXIMUM))), limit))
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


def _destination(
    network: str, address: str | None, iban: str | None, account_holder: str | None, country: str | None
) -> dict[str, str]:
    parts = {
        "network": network, "address": address, "iban": iban, "account_holder": account_holder, "country": country,
    }
    return {name: value for name, value in parts.items() if value is not None}


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
