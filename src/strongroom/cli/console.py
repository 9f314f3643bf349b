"""`console …`: into the console of a sandbox, as one of its people, without a passkey of one's own."""

import json
from base64 import urlsafe_b64encode
from typing import Annotated, Any

import httpx
from cyclopts import App, Parameter

from strongroom.cli.output import Exit, Stop, fields, show
from strongroom.cli.passkey import console_passkey
from strongroom.cli.session import Data, Json, document, speaking

app = App(name="console")
app.command("strongroom.cli.invite:invite", name="invite", help="A link to make a passkey by; needs the database")


@app.command(name="sign-in")
@speaking
def sign_in(
    *,
    person: Annotated[str, Parameter("--as", help="Whose software passkey signs in, such as ada")],
    data: Data = None,
    as_json: Json = False,
) -> int:
    """A link that opens the console as one of a sandbox's people: good for a minute, and once."""
    sandbox = document(data)
    origin = sandbox.get("console_url")
    if origin is None:
        raise Stop(Exit.USAGE, "this is for a sandbox that runs a console")
    passkey = console_passkey(sandbox, person)
    headers = {"origin": origin, "host": httpx.URL(origin).netloc.decode()}
    with httpx.Client(timeout=10, trust_env=False, headers=headers) as http:
        base = f"http://127.0.0.1:{httpx.URL(origin).port}"
        challenge = _said(http, f"{base}/sign-in/challenge", {})["challenge"]
        given = passkey.answers(bytes.fromhex(challenge))
        answer = _said(http, f"{base}/sign-in/hand-off", {
            "authenticator_data": _text(given.authenticator_data), "client_data": _text(given.client_data),
            "credential": _text(passkey.credential), "signature": _text(given.signature),
        })
    show({"link": answer["link"], "person": passkey.person}, as_json,
         fields([("open", answer["link"]), ("as", passkey.name), ("good for", "a minute, once")]))
    return Exit.DONE


def _said(http: httpx.Client, url: str, value: dict[str, str]) -> Any:
    """Raises: Stop."""
    try:
        answer = http.post(url, json=value)
    except httpx.HTTPError as fault:
        raise Stop(Exit.UNREACHABLE, f"the console doesn't answer: {fault}") from fault
    said = json.loads(answer.content) if "json" in answer.headers.get("content-type", "") else {}
    if not answer.is_success:
        raise Stop(Exit.REFUSED, said.get("detail", f"the console answered {answer.status_code}"))
    return said


def _text(raw: bytes) -> str:
    return urlsafe_b64encode(raw).decode().rstrip("=")
