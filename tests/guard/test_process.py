"""Guard as a process: its sockets, its kills, its restores, and what strangers get from it."""

import http.client
import os
import random
import socket
import ssl
import struct
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import msgspec
import pytest
from tests.guard.process import GuardProcess, Process, Wire, certificate, eventually, given_document
from tests.guard.world import Signer, World, b64
from tests.protocol.people import ADA, CLEO, DAN, ORGANISATION, OTHER, PAYER, VIC
from tests.protocol.recovering import EPOCH

from strongroom.domain.instant import Instant
from strongroom.guardian.main import Status
from strongroom.protocol.entry import Kind
from strongroom.protocol.guard_wire import FRAME_MAXIMUM, Lease, Reason
from strongroom.protocol.negative import Action


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path, now=Instant(time.time_ns() // 1_000_000))


@pytest.fixture
def guard(world: World) -> Iterator[GuardProcess]:
    with GuardProcess(world, requests_per_second=10_000) as guard:
        yield guard.ready()


@pytest.fixture
def signer(world: World, guard: GuardProcess) -> Iterator[Signer]:
    """Enrolled, with watch's heartbeat."""
    with Wire.to(guard.signer_port) as wire:
        signer = Signer(world, wire.exchange)
        signer.found()
        assert signer.sync().is_cosigned
        assert guard.beat() == "all"
        yield signer


def test_a_freeze_is_effective_for_the_very_next_spend(world: World, guard: GuardProcess, signer: Signer) -> None:
    signer.spend()
    assert signer.sync().is_cosigned
    began = time.monotonic()
    status, answer = guard.give(world.negative(Action.FREEZE, "organisation", CLEO))
    assert (status, answer) == (202, {"control_length": 1})
    signer.spend()
    refused = signer.sync()
    assert time.monotonic() - began < 1
    assert (refused.is_cosigned, refused.reason, len(refused.control_entries)) == (False, Reason.CONTROL, 1)
    signer.apply_control(refused)
    assert signer.sync().is_cosigned
    status, stands = guard.call("GET", "/v1/status")
    assert status == 200
    assert stands["organisations"][ORGANISATION] == {
        "alarms": [], "freeze_epoch": 1, "frozen": ["organisation"], "pending_changes": [], "vaults": {},
    }
    assert msgspec.convert(stands, Status).organisations[ORGANISATION].vaults == {}
    assert (stands["lease"], stands["is_restored"]) == ("all", False)
    assert stands["journal"] == {"head": signer.head.head.hex(), "length": len(signer.entries)}
    assert stands["control"]["length"] == 1
    assert 0 <= stands["heartbeat_age_ms"] < 60_000


def test_only_the_stations_page_may_read_an_answer(world: World, guard: GuardProcess) -> None:
    """Whatever the answer is; before guard knows a genesis, nobody's page may."""
    def answered(method: str, path: str) -> tuple[int, str | None]:
        connection = http.client.HTTPConnection("127.0.0.1", guard.officers_port, timeout=20)
        connection.request(method, path, b"{", {"Content-Type": "text/plain", "Origin": "https://console.example"})
        answer = connection.getresponse()
        connection.close()
        return answer.status, answer.headers["access-control-allow-origin"]

    assert answered("GET", "/v1/status") == (200, None)
    with Wire.to(guard.signer_port) as wire:
        signer = Signer(world, wire.exchange)
        signer.found()
        assert signer.sync().is_cosigned
    (station,) = world.genesis.relying_party.origins
    assert [answered("GET", "/v1/status"), answered("POST", "/v1/negatives"), answered("GET", "/nothing")] == [
        (200, station), (400, station), (404, station),
    ]


def test_each_kind_of_instruction_is_effective_with_the_engine_dropping_everything(
    world: World, guard: GuardProcess, signer: Signer
) -> None:
    began = time.monotonic()
    for given in (
        PAYER.cancels("invoice-1", world.deployment), world.negative(Action.REVOKE, PAYER.key_id, CLEO),
        world.negative(Action.SUSPEND, DAN.id, CLEO), world.alarm("deficit"),
    ):
        assert guard.give(given)[0] == 202
    answer = signer.sync()
    assert time.monotonic() - began < 1
    assert (len(answer.control_entries), answer.lease) == (4, Lease.ALL)
    signer.spend()
    assert signer.sync().reason is Reason.CONTROL


def test_a_change_that_is_vetoed(world: World, guard: GuardProcess, signer: Signer) -> None:
    signer.write(Kind.CHANGE, organisation=ORGANISATION, document="policy", raw=b64(b"{}"), people=[[CLEO.id]])
    assert signer.sync().is_cosigned
    assert len((world.store / "notices.jsonl").read_text().splitlines()) == 4
    (change,) = guard.call("GET", "/v1/status")[1]["organisations"][ORGANISATION]["pending_changes"]
    assert guard.give(world.negative(Action.VETO, change, VIC))[0] == 202


@pytest.mark.parametrize("round_number", range(3))
def test_killed_between_persisting_and_answering_it_cosigns_the_same_sync_once(
    world: World, guard: GuardProcess, signer: Signer, round_number: int
) -> None:
    signer.spend()
    offered = signer.frame(signer.offer())
    size = (world.store / "journal").stat().st_size
    with Wire.to(guard.signer_port) as wire:
        wire.send(offered)
        assert eventually(lambda: (world.store / "journal").stat().st_size > size)
        guard.kill()
    with GuardProcess(world) as again, Wire.to(again.ready().signer_port) as wire:
        signer.exchange = wire.exchange
        assert again.beat() == "all"
        first = signer.read(wire.exchange(offered))
        second = signer.read(wire.exchange(offered))
        assert (first.is_cosigned, second.is_cosigned) == (True, True)
        assert first.journal == second.journal == signer.head
        assert list(signer.fetch(0).entries) == signer.entries


KILLS = 100 if os.environ.get("STRONGROOM_FAULTS") == "full" else 6


def test_killed_at_any_moment_it_forgets_nothing_that_it_cosigned(world: World) -> None:
    """Each offer that wasn't answered is made again to the next process; guard's chain stays the signer's."""
    signer, cosigned, chance = Signer(world, lambda frame: b""), 0, random.Random(7)
    signer.found()
    for _ in range(KILLS):
        with GuardProcess(world) as guard, Wire.to(guard.ready().signer_port) as wire:
            signer.exchange = wire.exchange
            killer = threading.Timer(chance.uniform(0, 0.2), guard.process.kill)
            killer.start()
            try:
                while True:
                    assert signer.sync().is_cosigned
                    cosigned += 1
                    signer.write(Kind.RESUMED)
            except (OSError, EOFError):
                killer.join()
    with GuardProcess(world) as guard, Wire.to(guard.ready().signer_port) as wire:
        signer.exchange = wire.exchange
        assert signer.sync().is_cosigned
        assert guard.beat() == "all"
        assert list(signer.fetch(0).entries)[: len(signer.entries)] == signer.entries[:4_096]
    assert cosigned >= KILLS


def test_a_restored_guard_gives_no_lease_until_its_operator_reconciles(world: World, tmp_path: Path) -> None:
    with GuardProcess(world) as guard, Wire.to(guard.ready().signer_port) as wire:
        signer = Signer(world, wire.exchange)
        signer.found()
        assert signer.sync().is_cosigned
        assert guard.beat() == "all"
        backup = (world.store / "journal").read_bytes()
        signer.spend()
        assert signer.sync().is_cosigned
    (world.store / "journal").write_bytes(backup)
    signer.spend()
    with GuardProcess(world) as guard, Wire.to(guard.ready().signer_port) as wire:
        signer.exchange = wire.exchange
        answer = signer.sync()
        assert (answer.is_cosigned, answer.reason, answer.lease) == (False, Reason.UNRECONCILED, Lease.NONE)
        status, problem = guard.give(world.negative(Action.FREEZE, "organisation", CLEO))
        assert (status, "reconciled" in problem["detail"]) == (503, True)
        assert guard.call("GET", "/v1/status")[1]["is_restored"]
    with GuardProcess(world, "--reconcile") as reconciling, Wire.to(reconciling.ready().signer_port) as wire:
        signer.exchange = wire.exchange
        for _ in range(3):
            signer.guard = signer.sync().journal.length
        assert reconciling.wait() == 0
        assert "reconciled at entry 4" in reconciling.log
    with GuardProcess(world) as guard, Wire.to(guard.ready().signer_port) as wire:
        signer.exchange = wire.exchange
        assert guard.beat() == "all"
        assert signer.sync().is_cosigned


def test_reconciling_with_a_signer_that_lost_the_same_ends_in_a_fault(world: World) -> None:
    with GuardProcess(world) as guard, Wire.to(guard.ready().signer_port) as wire:
        signer = Signer(world, wire.exchange)
        signer.found()
        assert signer.sync().is_cosigned
        backup = (world.store / "journal").read_bytes()
        signer.write(Kind.RESUMED)
        assert signer.sync().is_cosigned
    (world.store / "journal").write_bytes(backup)
    signer.entries.pop()
    signer.guard = len(signer.entries)
    with GuardProcess(world, "--reconcile") as reconciling, Wire.to(reconciling.ready().signer_port) as wire:
        wire.send(signer.frame(signer.offer()))
        assert reconciling.wait() == 1
        assert "both have lost some" in reconciling.log
    with GuardProcess(world, "--recover", "e" * 63) as wrong:
        assert wrong.wait() == 1
        assert "64 hex digits" in wrong.log
    (world.store / "journal").replace(world.store / "lost")
    with GuardProcess(world, "--recover", EPOCH) as recovering, Wire.to(recovering.ready().signer_port) as wire:
        signer.exchange = wire.exchange
        signer.guard = 0
        assert [signer.sync().reason for _ in range(2)] == [Reason.LOST, Reason.LOST]
        with GuardProcess(world, "--recover", EPOCH) as second:
            assert second.wait() == 1


def test_a_frame_that_doesnt_hold_ends_the_connection_and_changes_nothing(
    world: World, guard: GuardProcess, signer: Signer
) -> None:
    signer.write(Kind.RESUMED)
    frame, size = signer.frame(signer.offer()), (world.store / "journal").stat().st_size
    altered = frame.replace(b'"wants_spend":false', b'"wants_spend":true ')
    for bad in (altered, frame[:-1], b"\0" * 200, b""):
        with Wire.to(guard.signer_port) as wire:
            wire.send(bad)
            assert wire.ends()
    with Wire.to(guard.signer_port) as wire:
        wire.connection.sendall((FRAME_MAXIMUM + 1).to_bytes(4))
        assert wire.ends()
    with Wire.to(guard.signer_port) as wire:
        wire.connection.sendall(b"\0")
    assert (world.store / "journal").stat().st_size == size
    with Wire.to(guard.signer_port) as wire:
        signer.exchange = wire.exchange
        assert signer.sync().is_cosigned


def test_a_replayed_answer_answers_no_other_nonce(world: World, guard: GuardProcess, signer: Signer) -> None:
    old = signer.exchange(signer.frame(signer.offer()))
    signer.exchange = lambda frame: old
    with pytest.raises(AssertionError, match="another question"):
        signer.sync()


def test_a_new_connection_of_a_peer_ends_its_old_one(world: World, guard: GuardProcess, signer: Signer) -> None:
    with Wire.to(guard.signer_port) as first:
        signer.exchange = first.exchange
        assert signer.sync().is_cosigned
        with Wire.to(guard.signer_port) as second:
            assert first.ends()
            signer.exchange = second.exchange
            assert signer.sync().is_cosigned


def test_strangers_get_a_problem_that_says_why(world: World, guard: GuardProcess, signer: Signer) -> None:
    freeze = world.negative(Action.FREEZE, "organisation", CLEO)
    for status, field, answer in (
        (404, "", guard.call("GET", "/v1/nothing")),
        (404, "", guard.call("GET", "/v1/negatives")),
        (400, "", guard.call("POST", "/v1/negatives", b"{")),
        (400, "organisation", guard.call("POST", "/v1/negatives", b'{"organisation":"","organisation":""}')),
        (422, "organisation", guard.call("POST", "/v1/negatives", {})),
        (422, "organisation", guard.give(freeze, organisation="org_")),
        (422, "record", guard.call("POST", "/v1/negatives", {"organisation": ORGANISATION})),
        (422, "record", guard.give(freeze, record="=")),
        (422, "assertions", guard.give(freeze, assertions={})),
        (422, "x", guard.give(freeze, x=1)),
        (422, "evidence", guard.give(PAYER.cancels("1", world.deployment), evidence=["x"])),
        (422, "signature", guard.give(freeze, assertions=[
            {**each, "signature": "00"} for each in given_document(freeze)["assertions"]
        ])),
        (422, "frame", guard.call("POST", "/v1/heartbeat", {"frame": "?"})),
        (422, "x", guard.call("POST", "/v1/heartbeat", {"frame": "", "x": 1})),
        (422, "", guard.call("POST", "/v1/heartbeat", {"frame": ""})),
    ):
        assert answer[0] == status, answer
        assert answer[1]["field"] == field, answer
        assert answer[1]["status"] == status
        assert len(answer[1]["detail"]) > 5
    status, problem = guard.give(world.negative(Action.FREEZE, "organisation", ADA))
    assert (status, problem["detail"]) == (409, f"the instruction {ADA.id} may not freeze")
    status, problem = guard.give(freeze, organisation=OTHER)
    assert (status, problem["detail"]) == (409, "the instruction its organisation isn't known here")
    assert guard.call("GET", "/v1/status")[1]["control"]["length"] == 0


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GARBAGE\r\n\r\n", 400),
        (b"PUT /v1/status HTTP/1.1\r\n\r\n", 400),
        (b"GET /v1/status HTTP/2\r\n\r\n", 400),
        (b"POST /v1/negatives HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST /v1/negatives HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (b"POST /v1/negatives HTTP/1.1\r\nContent-Length: 65537\r\n\r\n", 413),
        (b"POST /v1/negatives HTTP/1.1\r\nContent-Length: 9999999999\r\n\r\n", 400),
        (b"GET /v1/status HTTP/1.1\r\nX: " + b"x" * 40_000 + b"\r\n\r\n", 413),
        (b"GET /v1/status HTTP/1.1\r\nX: " + b"x" * 20_000, 413),
        (b"POST /v1/negatives HTTP/1.1\r\nContent-Length: 5\r\n\r\n{}", 400),
        (b"GET /v1/sta", 400),
        (b"GET /v1/status HTTP/1.0\r\n\r\n", 200),
    ],
)
def test_a_request_outside_of_the_narrow_form_is_refused(
    guard: GuardProcess, request_bytes: bytes, status: int
) -> None:
    with socket.create_connection(("127.0.0.1", guard.officers_port), 20) as connection:
        connection.sendall(request_bytes)
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(2**16).startswith(f"HTTP/1.1 {status} ".encode())


def test_more_requests_in_a_second_than_allowed_are_refused(world: World) -> None:
    with GuardProcess(world, requests_per_second=2) as guard:
        guard.ready()
        began = time.time()
        statuses = [guard.call("GET", "/v1/status")[0] for _ in range(20)]
        assert statuses[0] == 200
        assert set(statuses) == {200, 429}
        assert statuses.count(200) <= 2 * (time.time() - began + 2)
        assert eventually(lambda: guard.call("GET", "/v1/status")[0] == 200)


def test_who_asks_too_much_from_watchs_address_keeps_no_word_of_watchs_out(world: World) -> None:
    """The attacker shares watch's address and nothing else, and wants guard to hear no heartbeat and no alarm."""
    with GuardProcess(world, requests_per_second=2) as guard:
        guard.ready()
        with Wire.to(guard.signer_port) as wire:
            signer = Signer(world, wire.exchange)
            signer.found()
            assert signer.sync().is_cosigned
        officers = []
        for number in range(10):
            statuses = [guard.call("GET", "/v1/status")[0] for _ in range(4)]
            statuses += [guard.call("POST", "/v1/heartbeat", {"frame": b64(bytes(200))})[0] for _ in range(2)]
            assert guard.beat() == "all"
            assert guard.give(world.alarm(f"deficit.{number}"))[0] == 202
            assert set(statuses) <= {200, 429, 422}
            officers.append(guard.give(world.negative(Action.FREEZE, "organisation", CLEO))[0])
        assert officers.count(429) >= 5, "a second that begins just before an officer's word lets it through"
    assert "Traceback" not in guard.log


def test_two_guards_on_one_store_are_one_too_many(world: World, guard: GuardProcess) -> None:
    with GuardProcess(world) as second:
        assert second.wait() == 1
        assert "another process holds the journal" in second.log


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"signer_listen": "0.0.0.0:28000"}, "signer_listen: 0.0.0.0 isn't loopback"),
        ({"officers_listen": "10.1.2.3:28000"}, "officers_listen: 10.1.2.3 isn't loopback"),
        ({"officers_listen": "localhost:28000"}, "officers_listen: must be an IPv4 address"),
        ({"officers_listen": "127.0.0.1:99999"}, "officers_listen: must be an IPv4 address"),
        ({"officers_listen": "127.0.0.999:1"}, "officers_listen: must be an IPv4 address"),
        ({"genesis_hash": "ab"}, "genesis_hash"),
        ({"unknown": 1}, "unknown"),
        ({"key_file": "/nowhere"}, "key_file"),
        ({"signer_tls": {"certificate_file": "a", "key_file": "b"}}, "signer_tls.peer_file"),
        ({"officers_tls": {"certificate_file": "a", "key_file": "b"}}, "officers_tls: a certificate or key"),
    ],
)
def test_a_configuration_that_cant_be_used_is_refused_by_its_field(
    world: World, changes: dict[str, object], reason: str
) -> None:
    with GuardProcess(world, **changes) as guard:
        assert guard.wait() == 1
        assert reason in guard.log


def test_the_marker_stands_outside_of_the_store(world: World) -> None:
    with GuardProcess(world, marker_file=str(world.store / "marker")) as guard:
        assert guard.wait() == 1
        assert "marker_file: must stand outside" in guard.log


def test_a_missing_configuration_is_said(tmp_path: Path) -> None:
    with Process("strongroom.guard.main", tmp_path / "nothing.json") as guard:
        assert guard.wait() == 1
        assert "nothing.json" in guard.log


def test_a_key_file_without_a_key_is_refused(world: World) -> None:
    (world.folder / "guard.key").write_text("zz")
    with GuardProcess(world) as guard:
        assert guard.wait() == 1
        assert "key_file" in guard.log


def test_with_tls_only_the_pinned_certificate_reaches_the_signers_side(world: World, tmp_path: Path) -> None:
    guards, links, strangers = (certificate(tmp_path, name) for name in ("guard", "link", "stranger"))
    signer_tls = {"certificate_file": guards[0], "key_file": guards[1], "peer_file": links[0]}
    officers_tls = {"certificate_file": guards[0], "key_file": guards[1]}
    with GuardProcess(world, signer_tls=signer_tls, officers_tls=officers_tls) as guard:
        guard.ready()
        context = ssl.create_default_context(cafile=guards[0])
        plain = socket.create_connection(("127.0.0.1", guard.officers_port), 20)
        with context.wrap_socket(plain, server_hostname="127.0.0.1") as secured:
            secured.sendall(b"GET /v1/status HTTP/1.1\r\n\r\n")
            assert secured.recv(2**16).startswith(b"HTTP/1.1 200")
        for files in (None, strangers, links):
            context = ssl.create_default_context(cafile=guards[0])
            if files is not None:
                context.load_cert_chain(*files)
            plain = socket.create_connection(("127.0.0.1", guard.signer_port), 20)
            # A stranger is turned away in the handshake or just after it, whichever the machine is quick enough for.
            refused = pytest.raises((OSError, EOFError)) if files is not links else nullcontext()
            with refused, Wire(context.wrap_socket(plain, server_hostname="127.0.0.1")) as wire:
                signer = Signer(world, wire.exchange)
                signer.found()
                assert signer.sync().is_cosigned



def test_a_disk_that_fails_stops_guard(world: World) -> None:
    """The process may write no file above what it has: the next entry can't be appended."""
    with GuardProcess(world) as guard, Wire.to(guard.ready().signer_port) as wire:
        signer = Signer(world, wire.exchange)
        signer.found()
        assert signer.sync().is_cosigned
        size = (world.store / "journal").stat().st_size
        subprocess.run(["prlimit", f"--pid={guard.process.pid}", f"--fsize={size + 10}"], check=True)
        signer.write(Kind.RESUMED)
        wire.send(signer.frame(signer.offer()))
        assert guard.wait() == 1
        assert "disk failed" in guard.log


def test_a_broken_connection_stops_no_guard(world: World, tmp_path: Path) -> None:
    """The attacker can reach the ports and wants guard down: garbage inside TLS, resets in the middle of a request."""
    files = certificate(tmp_path, "guard")
    tls = {"certificate_file": files[0], "key_file": files[1]}
    with GuardProcess(world, officers_tls=tls) as guard:
        guard.ready()
        context = ssl.create_default_context(cafile=files[0])
        for _ in range(3):
            plain = socket.create_connection(("127.0.0.1", guard.officers_port), 20)
            with context.wrap_socket(plain, server_hostname="127.0.0.1") as secured:
                secured.sendall(b"GET /")
                with socket.socket(fileno=os.dup(secured.fileno())) as under:
                    under.sendall(b"\x17\x03\x03\x00\x20" + b"garbage, not a record of TLS 1.3")
                    time.sleep(0.1)
        for port in (guard.signer_port, guard.officers_port):
            for sent in (b"", b"\0\0", b"GET / HTTP"):
                with socket.create_connection(("127.0.0.1", port), 20) as connection:
                    connection.sendall(sent)
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        time.sleep(0.2)
        with Wire.to(guard.signer_port) as wire:
            signer = Signer(world, wire.exchange)
            signer.found()
            assert signer.sync().is_cosigned
        assert guard.process.poll() is None, guard.log
        assert "Traceback" not in guard.log
