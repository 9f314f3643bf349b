"""Any call of the API, signed: for trying things out."""

import json
from typing import Annotated, Any
from urllib.parse import parse_qsl

from cyclopts import Parameter

from strongroom.cli.output import Exit, Stop
from strongroom.cli.session import Data, client, document, speaking


@speaking
def call(
    method: Annotated[str, Parameter(help="GET or POST")],
    path: Annotated[str, Parameter(help="Such as /v1/payouts?limit=5")],
    /,
    *,
    body: Annotated[str | None, Parameter(("-d", "--body"), help="A JSON object")] = None,
    as_client: Annotated[str, Parameter("--client", help="Whose key signs: a name in sandbox.json")] = "payouts",
    idempotency_key: str | None = None,
    data: Data = None,
) -> int:
    """Sign and send any call; prints the answer as JSON."""
    value: dict[str, Any] | None = None
    if body is not None:
        try:
            value = json.loads(body)
        except json.JSONDecodeError as fault:
            raise Stop(Exit.USAGE, f"the body isn't JSON: {fault}") from fault
        if not isinstance(value, dict):
            raise Stop(Exit.USAGE, "the body must be a JSON object")
    target, _, query = path.partition("?")
    with client(document(data), as_client) as api:
        answer = api.call(method.upper(), target, value, idempotency_key, dict(parse_qsl(query)))
    print(answer if isinstance(answer, str) else json.dumps(answer, indent=1, ensure_ascii=False))
    return Exit.DONE
