"""The simulated chain as a process: what it answered survives SIGKILL, faults are counted, bounds are kept."""

import contextlib
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.rails.chain import ENVIRONMENT, HOST, Chain, free_port, running_chain
from tests.rails.wallet import Wallet, id_of, new_wallet

from strongroom.rails.port import ChainTransactionId, Coin
from strongroom.sandbox.simulated_chain import Chain as Inner
from strongroom.sandbox.simulated_chain import State
from strongroom.sandbox.simulated_http import BODY_MAXIMUM, HEAD_MAXIMUM, BadRequest

FEE_MINOR = 5_000


@pytest.fixture
def chain(tmp_path: Path) -> Iterator[Chain]:
    with running_chain(tmp_path) as running:
        yield running


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    """For tests that change nothing."""
    with running_chain(tmp_path_factory.mktemp("chain")) as running:
        yield running


def coins(chain: Chain, wallet: Wallet) -> list[Coin]:
    found = chain.call("POST", "/coins", {"addresses": [wallet.address]})["coins"]
    return [Coin(ChainTransactionId(each["txid"]), each["index"], int(each["amount"]), each["address"], each["height"])
            for each in found]


def payment(chain: Chain, amount: int = 1_000_000) -> bytes:
    """The signed bytes of a payment whose coin stands in a block."""
    wallet = new_wallet()
    chain.fund(wallet.address, amount)
    chain.mine()
    return wallet.spend(coins(chain, wallet), [(new_wallet().address, amount - FEE_MINOR)])


def broadcast(chain: Chain, signed: bytes) -> bool:
    return bool(chain.call("POST", "/transactions", {"signed": signed.hex()})["accepted"])


def state_of(chain: Chain, signed: bytes) -> str:
    return str(chain.call("GET", f"/transactions/{id_of(signed)}")["state"])


@pytest.mark.faults
def test_a_kill_at_any_moment_loses_nothing_that_was_answered(chain: Chain) -> None:
    """Eight senders, and SIGKILL while they send: every payment that was called accepted is there afterwards."""
    wallets = [new_wallet() for _ in range(120)]
    for wallet in wallets:
        chain.fund(wallet.address, 100_000)
    chain.mine()
    payments = [wallet.spend(coins(chain, wallet), [(new_wallet().address, 95_000)]) for wallet in wallets]
    accepted: set[bytes] = set()

    def send(client: httpx.Client, signed: bytes) -> None:
        with contextlib.suppress(httpx.TransportError):
            if client.post("/transactions", json={"signed": signed.hex()}).json()["accepted"]:
                accepted.add(signed)

    for kill in range(6):
        before = len(accepted)
        with httpx.Client(base_url=chain.url, trust_env=False) as client, ThreadPoolExecutor(8) as pool:
            sending = [pool.submit(send, client, signed) for signed in payments[kill * 20 : (kill + 1) * 20]]
            while len(accepted) < before + 1 + kill * 2:
                time.sleep(0.001)
            chain.kill()
            for each in sending:
                each.result()
        chain.start()
        assert {state_of(chain, signed) for signed in accepted} <= {"pending", "confirmed"}
        chain.mine()
        assert {state_of(chain, signed) for signed in accepted} == {"confirmed"}
    assert len(accepted) < len(payments), "no kill came in the middle"


def test_a_torn_last_line_is_cut_off_and_nothing_else_is_lost(chain: Chain) -> None:
    signed = payment(chain)
    assert broadcast(chain, signed)
    chain.kill()
    whole = chain.state.read_bytes()
    for torn in (b'{"accept":"', whole.splitlines(keepends=True)[-1][:-1]):
        chain.state.write_bytes(whole + torn)
        chain.start()
        assert state_of(chain, signed) == "pending"
        chain.kill()
        assert chain.state.read_bytes() == whole


def started(state: Path, listen: str = "") -> subprocess.CompletedProcess[str]:
    """A start that should fail."""
    listen = listen or f"{HOST}:{free_port()}"
    return subprocess.run(
        [sys.executable, "-m", "strongroom.sandbox.simulated_chain", "--listen", listen, "--state", str(state)],
        env=ENVIRONMENT, capture_output=True, text=True, timeout=20, check=False,
    )


@pytest.mark.parametrize(
    "line", [b"nonsense", b'{"accept":"00"}', b'{"accept":5}', b'{"blocks":[{"salt":"00"}]}', b'{"blocks":[]}', b"{}"]
)
def test_a_line_in_the_middle_that_isnt_its_own_keeps_it_from_starting(chain: Chain, line: bytes) -> None:
    broadcast(chain, payment(chain))
    chain.kill()
    lines = chain.state.read_bytes().splitlines(keepends=True)
    chain.state.write_bytes(b"".join([*lines[:-1], line + b"\n", lines[-1]]))
    failed = started(chain.state)
    assert failed.returncode == 1
    assert "isn't a change of this chain" in failed.stderr


def test_two_processes_never_share_a_file(chain: Chain) -> None:
    failed = started(chain.state)
    assert (failed.returncode, "another process has it" in failed.stderr) == (1, True)


@pytest.mark.parametrize("listen", ["0.0.0.0:26999", "localhost:26999", ":26999", f"{HOST}:x", "[::1]:26999"])
def test_it_listens_on_loopback_only(tmp_path: Path, listen: str) -> None:
    failed = started(tmp_path / "chain", listen)
    assert (failed.returncode, "there is no TLS here" in failed.stderr) == (2, True)


def test_it_ends_when_it_is_told_to(chain: Chain) -> None:
    chain.stop()
    chain.start()
    assert chain.call("GET", "/tip")["height"] == 0


def test_a_miner_mines_what_waits_gives_it_depth_and_rests(tmp_path: Path) -> None:
    with running_chain(tmp_path, "--mine-every-ms", "10") as chain:
        wallet = new_wallet()
        chain.fund(wallet.address, 10_000)
        deadline = time.monotonic() + 10
        while chain.call("GET", "/tip")["height"] < 7 and time.monotonic() < deadline:
            time.sleep(0.02)
        assert [coin.height for coin in coins(chain, wallet)] == [1]
        time.sleep(0.3)
        assert chain.call("GET", "/tip")["height"] == 7


def test_a_fault_happens_as_often_as_was_ordered(chain: Chain) -> None:
    chain.fault("lose_broadcast", count=2)
    first, *others = [payment(chain) for _ in range(3)]
    states = []
    for signed in (first, first, first, *others):
        assert broadcast(chain, signed)
        states.append(state_of(chain, signed))
    assert states == ["unseen", "unseen", "pending", "pending", "pending"]
    assert chain.faults() == []


def test_a_refused_broadcast_uses_no_fault_up(chain: Chain) -> None:
    chain.fault("lose_broadcast")
    assert not broadcast(chain, b"\x00")
    assert [each["count"] for each in chain.faults()] == [1]


def test_late_and_skip_hold_one_transaction_and_clearing_lets_it_go(chain: Chain) -> None:
    late, skipped = payment(chain), payment(chain)
    broadcast(chain, late)
    broadcast(chain, skipped)
    chain.fault("late", txid=id_of(late), blocks=2)
    chain.fault("skip", txid=id_of(skipped))
    chain.mine(2)
    assert [state_of(chain, each) for each in (late, skipped)] == ["pending", "pending"]
    chain.mine()
    assert [state_of(chain, each) for each in (late, skipped)] == ["confirmed", "pending"]
    chain.behave()
    chain.mine()
    assert state_of(chain, skipped) == "confirmed"


def test_the_children_of_what_is_held_wait_with_it(chain: Chain) -> None:
    wallet = new_wallet()
    chain.fund(wallet.address, 100_000)
    chain.mine()
    parent = wallet.spend(coins(chain, wallet), [(wallet.address, 90_000)])
    broadcast(chain, parent)
    child = wallet.spend(coins(chain, wallet), [(new_wallet().address, 80_000)])
    broadcast(chain, child)
    chain.fault("skip", txid=id_of(parent))
    chain.mine()
    assert [state_of(chain, each) for each in (parent, child)] == ["pending", "pending"]


def test_a_reorg_survives_a_kill_whole(chain: Chain) -> None:
    signed = payment(chain)
    broadcast(chain, signed)
    chain.mine(3)
    chain.fault("reorg", depth=3)
    before = [chain.call("GET", "/tip"), state_of(chain, signed)]
    chain.restart()
    assert [chain.call("GET", "/tip"), state_of(chain, signed)] == before
    assert before[1] == "pending"


NO_FAULTS: list[dict[str, Any]] = [
    {}, {"fault": "catch_fire"}, {"fault": "lose_broadcast", "count": 0}, {"fault": "lose_broadcast", "count": 10_001},
    {"fault": "lose_broadcast", "more": 1}, {"fault": "delay_answer"}, {"fault": "delay_answer", "ms": 60_001},
    {"fault": "cut_answer", "call": "mine"}, {"fault": "skip"}, {"fault": "skip", "txid": "ab"}, {"fault": "late"},
    {"fault": "lie", "txid": "ab" * 32, "mode": "white"}, {"fault": "reorg", "depth": 0},
    {"fault": "reorg", "depth": 1},
]


@pytest.mark.parametrize("order", NO_FAULTS, ids=str)
def test_a_fault_that_cant_be_ordered_is_refused(shared: Chain, order: dict[str, Any]) -> None:
    assert shared.refused("POST", "/faults", order)
    assert shared.faults() == []


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/fund", {"address": "sim1nobody", "amount": "1000"}),
        ("POST", "/fund", {"address": new_wallet().address, "amount": 1_000}),
        ("POST", "/fund", {"address": new_wallet().address, "amount": "545"}),
        ("POST", "/fund", {"address": new_wallet().address, "amount": str(2**63 - 1)}),
        ("POST", "/fund", {"address": new_wallet().address, "amount": "9999999999999999999"}),
        ("POST", "/mine", {"blocks": 0}),
        ("POST", "/mine", {"blocks": True}),
        ("POST", "/mine", {"blocks": 1_001}),
        ("POST", "/mine", {}),
        ("POST", "/coins", {"addresses": "sim1"}),
        ("POST", "/coins", {"addresses": [new_wallet().address] * 1_001}),
        ("POST", "/coins", {"addresses": ["bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080"]}),
        ("POST", "/transactions", {"signed": "0G"}),
        ("POST", "/transactions", {}),
        ("GET", "/transactions/ab", None),
        ("GET", "/blocks/-1", None),
        ("GET", "/blocks/01", None),
    ],
)
def test_a_request_that_cant_be_served_is_refused(
    shared: Chain, method: str, path: str, body: dict[str, Any] | None
) -> None:
    assert shared.refused(method, path, body)


def spoken(chain: Chain, raw: bytes) -> bytes:
    """All that it says to these bytes before it hangs up, or within a second."""
    with socket.create_connection((HOST, chain.port), timeout=1) as connection:
        said = b""
        with contextlib.suppress(TimeoutError, ConnectionError):
            connection.sendall(raw)
            connection.shutdown(socket.SHUT_WR)
            while part := connection.recv(65_536):
                said += part
        return said


@pytest.mark.parametrize(
    "raw",
    [
        b"hello\r\n\r\n",
        b"\xff\xfe\r\n\r\n",
        b"GET /tip HTTP/1.0\r\n\r\n",
        b"PUT /tip HTTP/1.1\r\n\r\n",
        b"GET http://127.0.0.1/tip HTTP/1.1\r\n\r\n",
        b"POST /mine HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /mine HTTP/1.1\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\n{}",
        b"POST /mine HTTP/1.1\r\nContent-Length: -2\r\n\r\n{}",
        f"POST /mine HTTP/1.1\r\nContent-Length: {BODY_MAXIMUM + 1}\r\n\r\n".encode(),
    ],
)
def test_a_client_that_speaks_nonsense_is_hung_up_on(shared: Chain, raw: bytes) -> None:
    assert spoken(shared, raw).startswith(b"HTTP/1.1 400 ")
    assert shared.call("GET", "/tip")


def test_a_head_without_an_end_and_a_body_that_stops_are_left_without_an_answer(shared: Chain) -> None:
    assert spoken(shared, b"GET /tip HTTP/1.1\r\nX: " + b"x" * HEAD_MAXIMUM * 3) == b""
    assert spoken(shared, b"POST /mine HTTP/1.1\r\nContent-Length: 100\r\n\r\n{") == b""
    assert spoken(shared, b"POST /mine HTTP/1.1\r\nContent-Length: 10\r\n\r\n{\"a\":1.50}").startswith(b"HTTP/1.1 400 ")
    assert shared.call("GET", "/tip") == shared.call("GET", "/tip")


def test_an_unknown_path_is_not_found(shared: Chain) -> None:
    for path in ("/", "/tip/1", "/transactions", "/nothing"):
        assert httpx.get(shared.url + path, trust_env=False).status_code == 404


def test_a_delayed_answer_keeps_nobody_else_waiting(chain: Chain) -> None:
    chain.fault("delay_answer", call="tip", ms=1_500)
    slow = threading.Thread(target=chain.call, args=("GET", "/tip"))
    begun = time.monotonic()
    slow.start()
    while chain.faults():
        time.sleep(0.01)
    assert chain.call("GET", "/identity")
    assert time.monotonic() - begun < 1
    slow.join()
    assert time.monotonic() - begun >= 1.5


steps = st.lists(
    st.tuples(st.sampled_from(["fund", "pay", "pay", "mine", "reorg", "lose"]), st.integers(0, 1_000)), max_size=25
)


@settings(max_examples=30, deadline=None)
@given(steps)
def test_the_file_makes_the_same_chain_again(story: list[tuple[str, int]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "chain"
        chain = Inner(State(file))
        wallet = new_wallet()
        for what, choice in [("fund", 9), ("mine", 1), *story]:
            found = chain.answer("POST", "/coins", {"addresses": [wallet.address]}).body["coins"]
            assert isinstance(found, list)
            with contextlib.suppress(BadRequest):
                if what == "fund":
                    chain.answer("POST", "/fund", {"address": wallet.address, "amount": str(100_000 + choice)})
                elif what == "pay" and found:
                    each = found[choice % len(found)]
                    coin = Coin(each["txid"], each["index"], int(each["amount"]), each["address"], each["height"])
                    payee = wallet.address if choice % 2 else new_wallet().address
                    signed = wallet.spend([coin], [(payee, max(coin.amount_minor - 1_000 - choice, 546))])
                    chain.answer("POST", "/transactions", {"signed": signed.hex()})
                elif what == "mine":
                    chain.answer("POST", "/mine", {"blocks": 1 + choice % 3})
                elif what == "reorg":
                    chain.answer("POST", "/faults", {"fault": "reorg", "depth": 1 + choice % 3})
                elif what == "lose":
                    chain.answer("POST", "/faults", {"fault": "lose_broadcast"})
        copy = Path(shutil.copy(file, Path(folder) / "copy"))
        again = State(copy)
        assert again.ledger == chain.ledger
        assert list(again.ledger.waiting) == list(chain.ledger.waiting)
        chain.state.close()
        again.close()
