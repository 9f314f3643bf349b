"""Members hear of every pending change, by a process that may be killed, a server that fails, and TLS that holds.

Guard's own notices, the real process, and a mail server on loopback with a certificate.
"""

import json
import random
import subprocess
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.guard.process import Process, certificate, eventually
from tests.guard.world import Signer, World, b64
from tests.notify.server import Server
from tests.protocol.people import CLEO, DAN, ORGANISATION, PEOPLE, policy

from strongroom.notify.config import ConfigError, read_config
from strongroom.notify.notice import digest_of, message_of, read_notice
from strongroom.notify.outbox import WAIT_MAXIMUM_S, Outbox
from strongroom.protocol.canonical import encode, parse_object
from strongroom.protocol.entry import Kind
from strongroom.protocol.standing import policy_hash

DEPLOYMENT = "0123456789abcdef"
SENDER = "strongroom@guard.example"
KILLS = 8


def address(person: str) -> str:
    return f"{person[-3:]}@firm.example"


class Ground:
    """Guard's notices, where they are sent, and notify's configuration."""

    def __init__(self, folder: Path, *, implicit: bool = True, **server: Any) -> None:
        self.folder = folder
        self.certificate = certificate(folder, "mail")
        self.server = Server(self.certificate, implicit=implicit, **server)
        self.notices = folder / "notices.jsonl"
        (folder / "state").mkdir()
        tls = "implicit" if implicit else "starttls"
        self.config: dict[str, Any] = {
            "notices_file": str(self.notices), "folder": str(folder / "state"), "deployment": DEPLOYMENT,
            "sender": SENDER, "members": {each.id: address(each.id) for each in PEOPLE}, "pause_ms": 20,
            "smtp": {"host": "127.0.0.1", "port": self.server.port, "tls": tls, "ca_file": self.certificate[0]},
        }

    def notice(self, change: str, person: str, **said: Any) -> bytes:
        """A line as guard writes it."""
        return encode({
            "change": change, "delay_ms": 86_400_000, "document": "policy", "name": "Ada Example",
            "organisation": ORGANISATION, "people": ["Cleo Example", "Dan Example"], "person": person,
            "since_ms": 1_800_000_000_000,
        } | said)

    def write(self, *lines: bytes) -> None:
        with self.notices.open("ab") as handle:
            handle.write(b"".join(line + b"\n" for line in lines))

    def begin(self, **changes: Any) -> Process:
        file = self.folder / "notify.json"
        file.write_text(json.dumps({key: value for key, value in (self.config | changes).items() if value is not None}))
        return Process("strongroom.notify.main", file)

    def sent(self) -> Counter[str]:
        """Each message that the server took, by its id."""
        return Counter(str(each["Message-ID"]) for each in self.server.taken)

    def took(self, count: int) -> bool:
        return len(self.server.taken) >= count

    def says(self, name: str) -> object:
        return self.state().get(name)

    def state(self) -> dict[str, Any]:
        file = self.folder / "state" / "state.json"
        found: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
        return found


@pytest.fixture
def ground(tmp_path: Path) -> Iterator[Ground]:
    made = Ground(tmp_path)
    yield made
    made.server.close()


def test_each_member_is_told_what_guard_wrote_of_a_change(tmp_path: Path, ground: Ground) -> None:
    """Who wants it, from when on it is in force, and how to veto it, to the member's own address."""
    (tmp_path / "guard").mkdir()
    world = World(tmp_path / "guard")
    guard = world.open()
    signer = Signer(world, guard.witness.answer)
    signer.found()
    assert signer.sync().is_cosigned
    changed = encode({**parse_object(policy()), "version": 2, "previous": policy_hash(policy())})
    signer.write(
        Kind.CHANGE, organisation=ORGANISATION, document="policy", raw=b64(changed), people=[[CLEO.id], [DAN.id]]
    )
    assert signer.sync().is_cosigned
    change, known = policy_hash(changed), guard.log.standings.organisations[ORGANISATION].roster.people
    wanted = [each.name for each in known if each.id in (CLEO.id, DAN.id)]
    assert len(wanted) == 2
    with ground.begin(notices_file=str(world.store / "notices.jsonl")):
        assert eventually(lambda: ground.state().get("sent") == len(PEOPLE))
    assert Counter(str(each["To"]) for each in ground.server.taken) == {address(each.id): 1 for each in PEOPLE}
    for each in ground.server.taken:
        text = each.get_payload(decode=True).decode()  # type: ignore[union-attr]  # it has one part
        for said in (*wanted, f"strongroom veto {change} --as", DEPLOYMENT, ORGANISATION, "UTC, unless"):
            assert said in text
        assert (each["From"], "policy" in str(each["Subject"])) == (SENDER, True)
    guard.close()


def test_killed_again_and_again_it_forgets_nobody_and_a_second_message_has_the_same_id(ground: Ground) -> None:
    lines = [ground.notice(f"{number:064x}", each.id) for number in range(6) for each in PEOPLE]
    chance = random.Random(20261130)
    for _ in range(KILLS):
        ground.write(*[lines.pop() for _ in range(min(3, len(lines)))])
        with ground.begin() as process:
            before = len(ground.server.taken)
            wanted = chance.randint(1, 2)
            eventually(partial(ground.took, before + wanted))
            process.kill()
    ground.write(*lines)
    every = ground.notices.read_bytes().splitlines()
    with ground.begin() as process:
        assert eventually(lambda: ground.state().get("sent") == len(every))
        assert process.stop() == 0
    expected = {f"<{digest_of(line)[:40]}@guard.example>" for line in every}
    assert set(ground.sent()) == expected
    assert sum(ground.sent().values()) <= len(expected) + KILLS
    assert ground.state() == {
        "fault": "", "sent": len(every), "unreadable": 0, "waiting": 0, "without_address": 0,
    }


def test_nothing_is_sent_to_a_server_whose_certificate_isnt_verified_nor_without_tls(tmp_path: Path) -> None:
    """The attacker sits between guard's machine and the mail server, and wants to read who governs what."""
    (tmp_path / "other").mkdir()
    other = certificate(tmp_path / "other", "other")[0]
    for number, (implicit, changes, offers) in enumerate((
        (True, {"ca_file": other}, True), (True, {"ca_file": None}, True), (False, {"ca_file": other}, True),
        (False, {}, False),
    )):
        folder = tmp_path / str(number)
        folder.mkdir()
        ground = Ground(folder, implicit=implicit, offers_tls=offers)
        ground.write(ground.notice("ab" * 32, PEOPLE[0].id))
        with ground.begin(smtp={**ground.config["smtp"], **changes}) as process:
            assert eventually(partial(ground.says, "fault"))
            assert process.process.poll() is None
        assert (ground.server.taken, ground.state()["waiting"]) == ([], 1)
        assert b"MAIL" not in b"".join(ground.server.plain).upper()
        ground.server.close()


def test_over_starttls_it_is_sent_too(tmp_path: Path) -> None:
    ground = Ground(tmp_path, implicit=False)
    ground.write(ground.notice("ab" * 32, PEOPLE[0].id))
    with ground.begin():
        assert eventually(lambda: len(ground.server.taken) == 1)
    ground.server.close()


def test_a_member_that_the_server_refuses_holds_no_other_up(ground: Ground) -> None:
    ground.server.refuses.add(address(PEOPLE[0].id))
    ground.write(*(ground.notice("ab" * 32, each.id) for each in PEOPLE))
    with ground.begin():
        assert eventually(lambda: ground.state().get("sent") == len(PEOPLE) - 1)
        assert "nobody here" in ground.state()["fault"] or ground.state()["waiting"] == 1
        ground.server.refuses.clear()
        assert eventually(lambda: ground.state().get("waiting") == 0)


def test_a_server_that_is_down_or_hangs_up_is_tried_again(ground: Ground) -> None:
    ground.server.is_closed, ground.server.hangs_up_after_data = True, 1
    ground.write(ground.notice("ab" * 32, PEOPLE[0].id))
    with ground.begin():
        assert eventually(lambda: ground.state().get("fault"))
        ground.server.is_closed = False
        assert eventually(lambda: ground.state().get("sent") == 1)
    assert set(ground.sent().values()) == {2}


def test_who_has_no_address_is_an_alarm_and_told_once_there_is_one(ground: Ground) -> None:
    ground.write(ground.notice("ab" * 32, PEOPLE[0].id))
    with ground.begin(members={}) as process:
        assert eventually(lambda: ground.state().get("without_address") == 1)
        assert f"alarm: {PEOPLE[0].id}" in process.log
    with ground.begin():
        assert eventually(lambda: ground.state().get("sent") == 1)


def test_what_cant_be_read_is_left_out_and_what_isnt_whole_waits(ground: Ground) -> None:
    whole = ground.notice("ab" * 32, PEOPLE[0].id)
    ground.write(b"{", b"[]", b"", b"x" * 70_000, ground.notice("zz", PEOPLE[1].id))
    with ground.notices.open("ab") as handle:
        handle.write(whole[:-9])
    with ground.begin():
        assert eventually(lambda: ground.state().get("unreadable") == 4)
        assert ground.server.taken == []
        with ground.notices.open("ab") as handle:
            handle.write(whole[-9:] + b"\n")
        assert eventually(lambda: ground.state().get("sent") == 1)
        ground.notices.write_bytes(ground.notice("cd" * 32, PEOPLE[1].id) + b"\n")  # guard's store was restored
        assert eventually(lambda: ground.state().get("sent") == 2)


def test_into_a_folder_for_a_sandbox(ground: Ground) -> None:
    ground.write(ground.notice("ab" * 32, PEOPLE[0].id))
    with ground.begin(smtp=None, maildir=str(ground.folder / "mail")):
        assert eventually(lambda: ground.state().get("sent") == 1)
    (file,) = (ground.folder / "mail" / "new").iterdir()
    assert f"strongroom veto {'ab' * 32}" in file.read_text()


def test_no_name_gets_into_a_header_or_acts_on_a_terminal(ground: Ground) -> None:
    evil = "Eve\r\nBcc: all@firm.example\x1b[2J"
    line = ground.notice("ab" * 32, PEOPLE[0].id, name=evil, people=[evil], document=evil)
    message = message_of(read_notice(line), digest_of(line), SENDER, "a@firm.example", DEPLOYMENT)
    assert message["Bcc"] is None
    assert "\x1b" not in message.as_string()
    assert "\nBcc" not in message.get_content()


def test_tries_come_ever_later_and_never_end(tmp_path: Path) -> None:
    ground = Ground(tmp_path)
    ground.write(ground.notice("ab" * 32, PEOPLE[0].id))
    outbox = Outbox(ground.notices, tmp_path / "state")
    outbox.follow()
    waits = []
    for _ in range(14):
        ((digest, waiting),) = outbox.waiting.items()
        outbox.later(digest, 0.0)
        waits.append(waiting.due_s)
    assert waits[:4] == [1, 2, 4, 8]
    assert waits[-1] == WAIT_MAXIMUM_S
    ground.server.close()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"smtp": None}, "one of the two"), ({"maildir": "x"}, "one of the two"), ({"sender": "nobody"}, "sender"),
        ({"members": {"ada": "a@b.c"}}, "members"), ({"nonsense": 1}, "nonsense"), ({"deployment": "x"}, "deployment"),
        ({"smtp": {"host": "a", "port": 25, "tls": "never"}}, "smtp.tls"),
        ({"smtp": {"host": "a", "port": 25, "login": "x"}}, "smtp.password_file"),
    ],
)
def test_a_configuration_that_cant_be_used_names_its_field(ground: Ground, changes: Any, reason: str) -> None:
    file = ground.folder / "c.json"
    file.write_text(json.dumps({key: value for key, value in (ground.config | changes).items() if value is not None}))
    with pytest.raises(ConfigError, match=reason):
        read_config(file)


def test_guard_loads_nothing_of_it() -> None:
    done = subprocess.run(
        [".venv-signer/bin/python", "-I", "-c", "import sys, strongroom.guard.main; print(*sys.modules)"],
        capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2],
    )
    loaded = done.stdout.split()
    assert not {"smtplib", "mailbox"}.intersection(loaded)
    assert not [each for each in loaded if each.startswith("strongroom.notify")]
