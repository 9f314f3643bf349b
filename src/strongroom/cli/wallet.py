"""An organisation's hot wallets: where they are funded, and the keys that change goes to.

Asks on the signer's admin socket, which takes only the admin's user: in a sandbox, whoever started it.
"""

from pathlib import Path
from typing import Annotated

import cyclopts
from cyclopts import Parameter, validators

from strongroom.cli.output import Exit, Stop, fields, show, table
from strongroom.cli.session import Data, Json, document, reader, speaking
from strongroom.formats import simulated
from strongroom.protocol.canonical import JsonValue
from strongroom.protocol.signer_wire import Ask
from strongroom.sandbox.trusted import SignerRefusedError, TrustedError, ask_signer

app = cyclopts.App(name="wallet", help="Hot wallets: what they hold, where to fund them; rotate their keys.")

Network = Annotated[str, Parameter("--network", help="The wallet's network")]


@app.command
@speaking
def address(
    *, network: Network = simulated.NETWORK,
    count: Annotated[int, Parameter("--count", help="How many", validator=validators.Number(gte=1, lte=1_000))] = 1,
    data: Data = None, as_json: Json = False,
) -> int:
    """Print addresses at which the wallet is funded, as the signer says them: of the newest keys, from the first on.

    A key in a hardware module has one address, whatever the count.

    On an EVM chain the first is the account that pays for gas. Tokens go to the
    vault that the policy names, and never there.
    """
    profile = document(data)
    socket = Path(profile["admin_socket"])
    body: dict[str, JsonValue] = {"network": network, "organisation": profile["organisation"]}
    try:
        asked: dict[str, JsonValue] = {**body, "count": count, "first": 0, "generation": _next(socket, body) - 1}
        found = list(dict.fromkeys(ask_signer(socket, Ask.ADDRESSES, asked)["addresses"]))
    except SignerRefusedError as fault:
        raise Stop(Exit.REFUSED, str(fault)) from fault
    except TrustedError as fault:
        raise Stop(Exit.UNREACHABLE, str(fault)) from fault
    show({"addresses": found, "network": network}, as_json, "\n".join(found))
    return Exit.DONE


@app.command(name="list")
@speaking
def find(*, data: Data = None, as_json: Json = False) -> int:
    """List what each wallet holds by the ledger, and by the chain as watch saw it last."""
    with reader(document(data)) as api:
        found = list(api.pages("/v1/wallets", {}))
    stands = {None: "not looked at", True: "equal", False: "NOT EQUAL"}
    rows = [
        (each["asset"], each["ledger"], each["under_way"], each["chain"], each["height"], stands[each["is_whole"]])
        for each in found
    ]
    show(found, as_json, table(("asset", "ledger", "under way", "chain", "at block", ""), rows))
    return Exit.DONE


@app.command
@speaking
def rotate(
    *,
    network: Network = simulated.NETWORK,
    generation: Annotated[
        int | None, Parameter("--generation", help="The one to begin, to ask again after no answer; else the next")
    ] = None,
    data: Data = None,
    as_json: Json = False,
) -> int:
    """Send change to keys of the next generation; what the keys before hold can still be paid from."""
    sandbox = document(data)
    socket = Path(sandbox["admin_socket"])
    body: dict[str, JsonValue] = {"network": network, "organisation": sandbox["organisation"]}
    wanted = generation
    try:
        wanted = _next(socket, body) if generation is None else generation
        answer = ask_signer(socket, Ask.ROTATE, {**body, "generation": wanted})
    except SignerRefusedError as fault:
        raise Stop(Exit.REFUSED, str(fault)) from fault
    except TrustedError as fault:
        again = "" if wanted is None else f"; ask again with --generation {wanted}"
        raise Stop(Exit.UNREACHABLE, f"{fault}{again}") from fault
    told = fields([("network", network), ("change goes to generation", answer["generation"])])
    show({**body, **answer}, as_json, told)
    return Exit.DONE


def _next(socket: Path, body: dict[str, JsonValue]) -> int:
    """The generation after the current one. Raises: TrustedError."""
    answer = ask_signer(socket, Ask.ADDRESSES, {**body, "count": 1, "first": 0, "generation": 0})
    return len(answer["former"]) + 1
