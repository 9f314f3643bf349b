"""The engine's way to guard's listener: what is no attestation is said in one sentence, and nothing else escapes."""

import asyncio
from base64 import b64encode

import pytest
from tests.rails.chain import free_port

from strongroom.engine.guard_client import GuardClient, SightError


def ask(answer: bytes | None) -> bytes:
    """One question to a listener that answers with these bytes, or isn't there."""

    async def go() -> bytes:
        port = free_port()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"}")
            writer.write(answer or b"")
            writer.close()

        server = None if answer is None else await asyncio.start_server(serve, "127.0.0.1", port)
        client = GuardClient(f"http://127.0.0.1:{port}")
        try:
            return await client.attest("sim:sandbox", "a" * 64, 7)
        finally:
            await client.close()
            if server is not None:
                server.close()

    return asyncio.run(go())


def http(body: bytes, status: bytes = b"200 OK") -> bytes:
    return b"HTTP/1.1 " + status + b"\r\ncontent-length: " + str(len(body)).encode() + b"\r\n\r\n" + body


def test_an_attestation_is_carried_as_it_came() -> None:
    assert ask(http(b'{"attestation":"' + b64encode(b"frame") + b'"}')) == b"frame"


@pytest.mark.parametrize(
    ("answer", "match"),
    [
        (http(b'{"detail":"guard reads no node of it"}', b"422 Invalid"), "attests nothing: guard reads no node of it"),
        (http(b"[]", b"422 Invalid"), r"attests nothing: \[\]"),
        (http(b'{"attestation":"?"}'), "doesn't answer: Error"),
        (http(b"{}"), "doesn't answer: KeyError"),
        (http(b"[]"), "doesn't answer: TypeError"),
        (http(b"{"), "doesn't answer: JSONDecodeError"),
        (b"", "doesn't answer: RemoteProtocolError"),
        (None, "doesn't answer: ConnectError"),
    ],
)
def test_whatever_else_comes_is_no_attestation(answer: bytes | None, match: str) -> None:
    with pytest.raises(SightError, match=match):
        ask(answer)
