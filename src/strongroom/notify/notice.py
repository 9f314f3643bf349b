"""Guard's notices, and the message that each of them becomes.

A line of guard's file tells one member of one change. It is believed, as guard's user alone may write there; one that
can't be read is left out and counted. What people named goes into the text, never into a header.
"""

import hashlib
from datetime import UTC, datetime
from email import policy
from email.message import EmailMessage
from email.utils import format_datetime
from typing import Annotated, Final

import msgspec

LINE_MAXIMUM: Final = 64 * 2**10
_LONG_LINES: Final = policy.default.clone(max_line_length=200)
"""So that a command with a hash in it stays on one line, and can be copied from the raw message too."""


class Notice(msgspec.Struct, frozen=True):
    """`people` are the names of who wants the change; it is in force `delay_ms` after `since_ms` at the earliest."""

    change: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
    delay_ms: Annotated[int, msgspec.Meta(ge=0)]
    document: str
    name: str
    organisation: str
    people: list[str]
    person: str
    since_ms: Annotated[int, msgspec.Meta(ge=0, le=253_402_300_799_000)]


def read_notice(line: bytes) -> Notice:
    """Raises: msgspec.DecodeError."""
    return msgspec.json.decode(line, type=Notice)


def digest_of(line: bytes) -> str:
    """By which it is known that it was sent: guard writes the same notice in the same bytes."""
    return hashlib.sha256(line).hexdigest()


def message_of(notice: Notice, digest: str, sender: str, to: str, deployment: str) -> EmailMessage:
    """The same notice is the same message, with the same Message-ID, however often it is sent."""
    message = EmailMessage(_LONG_LINES)
    message["From"], message["To"] = sender, to
    message["Subject"] = f"Strongroom: a change of the {_what(notice)} waits, and you may veto it"
    message["Date"] = format_datetime(_time(notice.since_ms))
    message["Message-ID"] = f"<{digest[:40]}@{sender.rpartition('@')[2]}>"
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(_text(notice, deployment))
    return message


def _text(notice: Notice, deployment: str) -> str:
    return f"""{_plain(notice.name)},

a change of the {_what(notice)} of {_plain(notice.organisation)} was signed and waits:

    who wants it    {", ".join(map(_plain, notice.people))}
    since           {_time(notice.since_ms):%Y-%m-%d %H:%M:%S} UTC
    in force from   {_time(notice.since_ms + notice.delay_ms):%Y-%m-%d %H:%M:%S} UTC, unless somebody vetoes it before
    change          {notice.change}
    deployment      {deployment}

One veto ends it, and yours is enough. With your security key:

    strongroom veto {notice.change} --as YOUR-LOGIN

It goes to guard by a way of its own. If you don't know of this change, veto it first and ask then. This message holds
no link on purpose, and nobody will ever ask you by mail to approve anything.
"""


def _what(notice: Notice) -> str:
    return notice.document if notice.document in ("policy", "roster") else "rules"


def _plain(text: str) -> str:
    """On one line, with nothing that a terminal or mail program would act on."""
    return "".join(each if each.isprintable() else "?" for each in text)[:200]


def _time(ms: int) -> datetime:
    return datetime.fromtimestamp(min(ms, 253_402_300_799_000) / 1_000, UTC)
