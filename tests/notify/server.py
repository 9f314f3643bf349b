"""A mail server on loopback, over TLS from the first byte or after STARTTLS, that keeps what it takes.

Small, and by RFC 5321 as far as smtplib speaks it. `refuses` are recipients that it doesn't know; while `is_closed` it
hangs up on everybody; `hangs_up_after_data` ends the connection before it says that it took the message, once each.
"""

import socketserver
import ssl
import threading
from email import message_from_bytes
from email.message import Message


class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, certificate: tuple[str, str], *, implicit: bool, offers_tls: bool = True) -> None:
        super().__init__(("127.0.0.1", 0), Session)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(*certificate)
        self.implicit, self.offers_tls = implicit, offers_tls
        self.taken: list[Message] = []
        self.plain: list[bytes] = []
        self.refuses: set[str] = set()
        self.is_closed = False
        self.hangs_up_after_data = 0
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    def handle_error(self, *_: object) -> None:
        """A client that was killed is no news."""

    def close(self) -> None:
        self.shutdown()
        self.server_close()


class Session(socketserver.BaseRequestHandler):
    server: Server

    def handle(self) -> None:
        self.is_secure = False
        if self.server.is_closed:
            return
        if self.server.implicit:
            self._secure()
        self._say("220 test")
        while line := self.lines.readline():
            word, _, rest = line.decode("ascii", "replace").strip().partition(" ")
            if not self.is_secure:
                self.server.plain.append(line)
            if word.upper() == "QUIT":
                self._say("221 bye")
                return
            self._answer(word.upper(), rest)

    def setup(self) -> None:
        self.stream = self.request
        self.lines = self.stream.makefile("rb")
        self.to = ""

    def finish(self) -> None:
        self.lines.close()
        self.stream.close()

    def _secure(self) -> None:
        self.lines.close()
        self.stream = self.server.context.wrap_socket(self.stream, server_side=True)
        self.lines, self.is_secure = self.stream.makefile("rb"), True

    def _answer(self, word: str, rest: str) -> None:
        match word:
            case "EHLO":
                offers = self.server.offers_tls and not self.is_secure
                self._say("250-test\r\n250-STARTTLS\r\n250 8BITMIME" if offers else "250-test\r\n250 8BITMIME")
            case "STARTTLS":
                self._say("220 go on")
                self._secure()
            case "RCPT":
                self.to = rest.partition("<")[2].partition(">")[0]
                self._say("550 nobody here" if self.to in self.server.refuses else "250 ok")
            case "DATA":
                self._say("354 go on")
                raw = bytearray()
                while (line := self.lines.readline()) not in (b".\r\n", b""):
                    raw += line.removeprefix(b".") if line.startswith(b"..") else line
                if not self.is_secure:
                    raise AssertionError("a message came without TLS")
                self.server.taken.append(message_from_bytes(bytes(raw)))
                if self.server.hangs_up_after_data:
                    self.server.hangs_up_after_data -= 1
                    raise ConnectionError
                self._say("250 taken")
            case _:
                self._say("250 ok")

    def _say(self, text: str) -> None:
        self.stream.sendall(text.encode() + b"\r\n")
