"""Hands messages over: to a mail server, by verified TLS and never without, or into a folder of files."""

import mailbox
import smtplib
import ssl
from email.message import EmailMessage
from typing import Final, Protocol

from strongroom.notify.config import Config, Smtp, read_password

TIMEOUT_S: Final = 10


class RefusedError(Exception):
    """The server takes other messages, and not this one."""


class SendError(Exception):
    """Nothing can be sent now."""


class Post(Protocol):
    def send(self, message: EmailMessage) -> None:
        """Taken when this returns. Raises: RefusedError, SendError."""


class SmtpPost:
    """A connection for each message."""

    def __init__(self, smtp: Smtp) -> None:
        """Raises: ConfigError for a password, OSError for authorities that can't be read."""
        self._smtp, self._password = smtp, read_password(smtp)
        self._tls = ssl.create_default_context(cafile=smtp.ca_file)

    def send(self, message: EmailMessage) -> None:
        try:
            with self._connect() as server:
                if self._smtp.login is not None:
                    server.login(self._smtp.login, self._password)
                server.send_message(message)
        except smtplib.SMTPRecipientsRefused as fault:
            raise RefusedError(str(fault)) from fault
        except (smtplib.SMTPException, OSError) as fault:
            raise SendError(f"{self._smtp.host}:{self._smtp.port}: {fault}") from fault

    def _connect(self) -> smtplib.SMTP:
        smtp = self._smtp
        if smtp.tls == "implicit":
            return smtplib.SMTP_SSL(smtp.host, smtp.port, timeout=TIMEOUT_S, context=self._tls)
        server = smtplib.SMTP(smtp.host, smtp.port, timeout=TIMEOUT_S)
        try:
            server.starttls(context=self._tls)
        except BaseException:
            server.close()
            raise
        return server


class MaildirPost:
    def __init__(self, folder: str) -> None:
        """Raises: OSError."""
        self._box = mailbox.Maildir(folder)

    def send(self, message: EmailMessage) -> None:
        try:
            self._box.add(message)
        except OSError as fault:
            raise SendError(str(fault)) from fault


def open_post(config: Config) -> Post:
    """Raises: ConfigError, OSError."""
    if config.smtp is not None:
        return SmtpPost(config.smtp)
    return MaildirPost(str(config.maildir))
