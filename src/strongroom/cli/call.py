"""Any call of the API, signed: for trying things out."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any, Final
from urllib.parse import parse_qsl

from cyclopts import Parameter

from strongroom.cli.output import Exit, Stop, show
from strongroom.cli.session import Data, Json, client, document, speaking
from strongroom.sdk.calls import CallPlan
from strongroom.sdk.exchange import new_key

METHODS: Final = ("GET", "POST", "PUT", "PATCH", "DELETE")


@speaking
def call(
    method: Annotated[str, Parameter(help="GET or POST")],
    path: Annotated[str, Parameter(help="Such as /v1/payouts?limit=5")],
    /,
    *,
    body: Annotated[
        str | None, Parameter(("-d", "--body"), allow_leading_hyphen=True, help="A JSON object; @FILE or @- reads it")
    ] = None,
    as_client: Annotated[str, Parameter("--client", help="Whose key signs: a name in sandbox.json")] = "payouts",
    idempotency_key: Annotated[str | None, Parameter(help="Else a fresh one")] = None,
    data: Data = None,
    as_json: Json = False,
) -> int:
    """Sign and send any call; prints the answer as JSON. The body is sent as it stands, byte for byte."""
    method = method.upper()
    if method not in METHODS:
        raise Stop(Exit.USAGE, f"METHOD: must be one of {', '.join(METHODS)}, not {method}")
    if method == "GET" and body is not None:
        raise Stop(Exit.USAGE, "-d: a GET has no body")
    raw = None if method == "GET" else _body("{}" if body is None else body)
    target, _, query = path.partition("?")
    if raw is not None and idempotency_key is None and not target.endswith("/preview"):
        idempotency_key = new_key()
    pairs = dict(parse_qsl(query, keep_blank_values=True))
    with client(document(data), as_client) as api:
        answer = api.send(CallPlan(method, target, pairs, raw, idempotency_key))
    show(answer, as_json or not isinstance(answer, str), answer if isinstance(answer, str) else "")
    return Exit.DONE


def _body(given: str) -> bytes:
    """Raises: Stop for what isn't a JSON object, which no call takes."""
    try:
        raw = given.encode() if not given.startswith("@") else _read(given[1:])
        value: Any = json.loads(raw)
    except (ValueError, RecursionError) as fault:
        raise Stop(Exit.USAGE, f"-d: isn't JSON: {fault}") from fault
    except OSError as fault:
        raise Stop(Exit.NOT_FOUND, f"-d: {given[1:]}: {fault.strerror}") from fault
    if not isinstance(value, dict):
        raise Stop(Exit.USAGE, "-d: must be a JSON object")
    return raw


def _read(name: str) -> bytes:
    return sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
