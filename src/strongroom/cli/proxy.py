"""`proxy`: a loopback signer, so that a program in any language calls the API by plain HTTP.

It signs what it is given with one client key and passes the answer through unaltered; it tries nothing again and adds
no idempotency key, since only the program knows which calls are one. Whoever can connect to it can ask for payouts as
this client: it binds to 127.0.0.1 alone, and refuses what a web page could send (another Host, an Origin, Sec-Fetch).
On a machine with several users give it --token-file; callers then send `Authorization: Bearer` with its first line.
"""

import hmac
import json
import re
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Annotated, Any, Final

import httpx
from cyclopts import Parameter
from nacl.signing import SigningKey

from strongroom.cli.output import Exit, Stop, say, show
from strongroom.cli.profile import transport
from strongroom.cli.session import Data, Json, document, private_key
from strongroom.sdk.exchange import TIMEOUTS, Parts, checked_url
from strongroom.sdk.signing import Credentials, sign

BODY_MAXIMUM: Final = 16 * 2**20
IDLE_TIMEOUT_S: Final = 60
PORT_DEFAULT: Final = 8429

_NEEDED: Final = ("api_url", "deployment", "organisation", "client_id", "key_id", "private_key_file")
_HOP: Final = frozenset({"connection", "keep-alive", "transfer-encoding", "upgrade", "content-length", "trailer"})
_TARGET: Final = re.compile(r"/[!-~]*")
_KEY: Final = re.compile(r"[!-~]{1,255}")
_TYPE: Final = re.compile(r"[ -~]{1,200}")


def proxy(
    *,
    port: Annotated[int, Parameter("--port", help="On 127.0.0.1; 0 takes a free one")] = PORT_DEFAULT,
    as_client: Annotated[str, Parameter("--client", help="Whose key signs: a name in sandbox.json")] = "payouts",
    key_file: Annotated[
        Path | None, Parameter("--key-file", help="Instead of a sandbox: JSON with " + ", ".join(_NEEDED))
    ] = None,
    token_file: Annotated[Path | None, Parameter("--token-file", help="Callers must send what stands in it")] = None,
    data: Data = None,
    as_json: Json = False,
) -> int:
    """Sign for programs in any language: they call http://127.0.0.1:PORT, and it signs and sends. Ctrl-C ends it."""
    known = _sandbox_key(data, as_client) if key_file is None else _key_file(key_file)
    token = None if token_file is None else _read_token(token_file)
    try:
        relay = Relay(known, token)
        server = ThreadingHTTPServer(("127.0.0.1", port), _handler(relay))
    except (ValueError, OverflowError) as fault:
        raise Stop(Exit.USAGE, str(fault)) from fault
    except OSError as fault:
        raise Stop(Exit.FAILED, f"--port: {port} can't be listened on: {fault.strerror}") from fault
    server.daemon_threads = True
    relay.port = server.server_address[1]
    url = f"http://127.0.0.1:{relay.port}"
    value = {"url": url, "api_url": known["api_url"], "client_id": known["client_id"], "key_id": known["key_id"]}
    show(value, as_json, f"{url} signs as {known['client_id']} for {known['api_url']}")
    say("Ctrl-C ends it")
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        say("ended")
    finally:
        server.server_close()
    return Exit.DONE


class Relay:
    """Signs requests and sends them. Raises: ValueError for an address or a key that can't be used."""

    def __init__(self, known: dict[str, Any], token: str | None) -> None:
        self.credentials = Credentials(
            known["organisation"], known["client_id"], known["key_id"], known["deployment"],
            SigningKey(known["private_key"]),
        )
        self.base = checked_url(known["api_url"])
        self.token = token
        self.port = 0
        self._http = httpx.Client(
            timeout=TIMEOUTS, follow_redirects=False, trust_env=False, transport=transport(known)
        )

    def refusal(self, target: str, headers: Any) -> tuple[int, str, str] | None:
        """(status, code, sentence) for what isn't signed."""
        if headers.get_all("host") not in ([f"127.0.0.1:{self.port}"], [f"localhost:{self.port}"]):
            return 403, "proxy_refused", "Host: must be this proxy's own address: a web page may be behind this"
        if "origin" in headers or any(name.lower().startswith("sec-fetch-") for name in headers):
            return 403, "proxy_refused", "Origin: nothing is signed for a web page"
        if self.token is not None and not hmac.compare_digest(
            headers.get("authorization", "").encode(), f"Bearer {self.token}".encode()
        ):
            return 401, "proxy_refused", "Authorization: must be Bearer and the proxy's token"
        if _TARGET.fullmatch(target) is None or target.startswith("//"):
            return 400, "proxy_refused", "path: must be such as /v1/payouts, percent-encoded"
        for name in ("content-type", "content-length", "idempotency-key"):
            if len(headers.get_all(name, [])) > 1:
                return 400, "proxy_refused", f"{name}: stands there twice"
        if _KEY.fullmatch(headers.get("idempotency-key", "x")) is None:
            return 400, "proxy_refused", "Idempotency-Key: must be 1 to 255 visible ASCII characters"
        if _TYPE.fullmatch(headers.get("content-type", "x")) is None:
            return 400, "proxy_refused", "Content-Type: must be ASCII"
        length = headers.get("content-length", "0")
        if "transfer-encoding" in headers or not (length.isascii() and length.isdigit() and len(length) < 12):
            return 411, "proxy_refused", "Content-Length: is needed"
        if int(length) > BODY_MAXIMUM:
            return 413, "proxy_refused", f"the body may have {BODY_MAXIMUM} bytes"
        return None

    def send(self, method: str, target: str, headers: Any, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        """Status, headers and body of the API's answer, as they came. Raises: httpx.HTTPError."""
        path, _, query = target.partition("?")
        signed = sign(
            self.credentials, method, self.base.netloc.decode(), path, query, None if method == "GET" else body,
            headers.get("idempotency-key"), headers.get("content-type", "application/json"),
        )
        url = self.base.copy_with(raw_path=target.encode())
        request = httpx.Request(method, url, headers=signed, content=None if method == "GET" else body)
        answer = self._http.send(request, stream=True)
        try:
            parts = Parts()
            for part in answer.iter_raw():
                parts.add(part)
        finally:
            answer.close()
        passed = [(name, value) for name, value in answer.headers.multi_items() if name.lower() not in _HOP]
        return answer.status_code, passed, parts.whole()


def _handler(relay: Relay) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = IDLE_TIMEOUT_S
        wbufsize = 1 << 16

        def relayed(self) -> None:
            refused = relay.refusal(self.path, self.headers)
            if refused is not None:
                self.close_connection = True  # its body isn't read
                self.answer(*_problem(*refused))
                return
            body = self.rfile.read(int(self.headers.get("content-length", "0")))
            try:
                self.answer(*relay.send(self.command, self.path, self.headers, body))
            except httpx.HTTPError as fault:
                self.answer(*_problem(502, "unreachable", f"can't reach the API: {fault!r}"))

        def answer(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
            self.send_response_only(status)
            for name, value in headers:
                self.send_header(name, value)
            self.send_header("content-length", str(len(body)))
            if self.close_connection:
                self.send_header("connection", "close")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Nothing: bodies and keys stay out of logs."""

    for method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
        setattr(Handler, f"do_{method}", Handler.relayed)
    return Handler


def _problem(status: int, code: str, detail: str) -> tuple[int, list[tuple[str, str]], bytes]:
    """What the proxy itself says, in the API's form."""
    body = {
        "type": "about:blank", "title": "The proxy didn't pass this on", "status": status, "code": code,
        "detail": detail,
    }
    return status, [("content-type", "application/problem+json")], json.dumps(body).encode()


def _sandbox_key(data: Path | None, name: str) -> dict[str, Any]:
    sandbox = document(data)
    return {**sandbox, **private_key(sandbox, name)}


def _key_file(file: Path) -> dict[str, Any]:
    """Raises: Stop."""
    try:
        if file.stat().st_mode & 0o077:
            raise Stop(Exit.REFUSED, f"--key-file: {file} can be read by others: chmod 600 {file}")
        found = json.loads(file.read_text())
        missing = [name for name in _NEEDED if not isinstance(found.get(name), str)]
        if missing:
            raise Stop(Exit.USAGE, f"--key-file: {file} lacks {missing[0]}")
        seed = (file.parent / found["private_key_file"]).read_text().strip()
        return {**found, "private_key": bytes.fromhex(seed)}
    except FileNotFoundError as fault:
        raise Stop(Exit.NOT_FOUND, f"--key-file: {fault.filename}: {fault.strerror}") from fault
    except OSError as fault:
        raise Stop(Exit.FAILED, f"--key-file: {fault.filename}: {fault.strerror}") from fault
    except (ValueError, AttributeError) as fault:
        raise Stop(Exit.USAGE, f"--key-file: {file} must be a JSON object, and its key 64 hex digits") from fault


def _read_token(file: Path) -> str:
    try:
        token = file.read_text().partition("\n")[0].strip()
    except (OSError, UnicodeDecodeError) as fault:
        raise Stop(Exit.NOT_FOUND, f"--token-file: {file} can't be read") from fault
    if len(token) < 20 or not token.isascii():
        raise Stop(Exit.USAGE, f"--token-file: the first line of {file} must have at least 20 ASCII characters")
    return token
