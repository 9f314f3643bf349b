"""Webhooks: what is verified, what escapes, and that a duplicate is handled once."""

import base64
import hashlib
import hmac
import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from strongroom.sdk import seen, webhooks
from strongroom.sdk.webhooks import BusyError, Inbox, WebhookError, unwrap

# The test suite of Standard Webhooks (github.com/standard-webhooks/standard-webhooks, libraries/*, "sign function
# works"; MIT licence).
PUBLISHED_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
PUBLISHED_BODY = b'{"test": 2432232314}'
PUBLISHED_HEADERS = {
    "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
    "webhook-timestamp": "1614265330",
    "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
}
AT = 1614265330

KEY = bytes(range(24))
SECRET = "whsec_" + base64.b64encode(KEY).decode()
OTHER_SECRET = "whsec_" + base64.b64encode(bytes(24)).decode()


def clock() -> float:
    return float(AT)


def signature(body: bytes, identifier: str = "evt_1", at: str = str(AT), key: bytes = KEY) -> str:
    digest = hmac.new(key, f"{identifier}.{at}.".encode() + body, hashlib.sha256).digest()
    return "v1," + base64.b64encode(digest).decode()


def headers(body: bytes, identifier: str = "evt_1", at: str = str(AT), key: bytes = KEY) -> dict[str, str]:
    return {
        "webhook-id": identifier, "webhook-timestamp": at, "webhook-signature": signature(body, identifier, at, key),
    }


def open_event(body: bytes, sent: dict[str, Any], **more: Any) -> dict[str, Any]:
    return unwrap(body, sent, **{"secrets": [SECRET], "clock": clock, **more})


def test_published_vector_of_standard_webhooks_holds() -> None:
    event = unwrap(PUBLISHED_BODY, PUBLISHED_HEADERS, secrets=[PUBLISHED_SECRET], clock=clock)
    assert event == {"test": 2432232314}


def test_header_names_have_any_case() -> None:
    sent = {name.title(): value for name, value in headers(b"{}").items()}
    assert open_event(b"{}", sent) == {}


@pytest.mark.parametrize("secrets", [[SECRET, OTHER_SECRET], [OTHER_SECRET, SECRET]])
def test_during_a_rotation_either_secret_opens(secrets: list[str]) -> None:
    assert open_event(b'{"a":1}', headers(b'{"a":1}'), secrets=secrets) == {"a": 1}


def test_one_good_signature_among_several_is_enough() -> None:
    sent = headers(b"{}")
    sent["webhook-signature"] = f"v1,AAAA v1a,BBBB {sent['webhook-signature']} v1,{'=' * 9}"
    assert open_event(b"{}", sent) == {}


GOOD = headers(b"{}")


@pytest.mark.parametrize(
    ("body", "sent", "more", "named"),
    [
        (b"{} ", GOOD, {}, "webhook-signature"),
        (b"{}", {**GOOD, "webhook-id": "evt_2"}, {}, "webhook-signature"),
        (b"{}", {**GOOD, "webhook-timestamp": str(AT + 1)}, {}, "webhook-signature"),
        (b"{}", {**GOOD, "webhook-signature": GOOD["webhook-signature"].replace("v1,", "v2,")}, {}, "webhook-signatur"),
        (b"{}", {**GOOD, "webhook-signature": GOOD["webhook-signature"][3:]}, {}, "webhook-signature"),
        (b"{}", {**GOOD, "webhook-signature": ""}, {}, "webhook-signature"),
        (b"{}", {**GOOD, "webhook-signature": " ".join(["v1,AAAA"] * 17)}, {}, "webhook-signature"),
        (b"{}", headers(b"{}", key=bytes(24)), {}, "webhook-signature"),
        (b"{}", {name: GOOD[name] for name in list(GOOD)[1:]}, {}, "webhook-id"),
        (b"{}", {**GOOD, "Webhook-Id": "evt_1"}, {}, "webhook-id"),
        (b"{}", headers(b"{}", "a.b"), {}, "webhook-id"),
        (b"{}", headers(b"{}", "x" * 256), {}, "webhook-id"),
        (b"{}", headers(b"{}", at="-5"), {}, "webhook-timestamp"),
        (b"{}", headers(b"{}", at="1e9"), {}, "webhook-timestamp"),
        (b"{}", headers(b"{}", at="٣"), {}, "webhook-timestamp"),
        (b"{}", headers(b"{}", at=str(AT - 301)), {}, "webhook-timestamp"),
        (b"{}", headers(b"{}", at=str(AT + 301)), {}, "webhook-timestamp"),
        (b"[]", headers(b"[]"), {}, "body"),
        (b'{"a":NaN}', headers(b'{"a":NaN}'), {}, "body"),
        (b'{"a":1,"a":2}', headers(b'{"a":1,"a":2}'), {}, "body"),
        (b"\xff", headers(b"\xff"), {}, "body"),
        (b"[" * 100_000, headers(b"[" * 100_000), {}, "body"),
        (b"x" * (2**20 + 1), headers(b"x" * (2**20 + 1)), {}, "body"),
        (b"{}", GOOD, {"secrets": []}, "secrets"),
        (b"{}", GOOD, {"secrets": SECRET}, "secrets"),
        (b"{}", GOOD, {"secrets": ["whsec_"]}, "secrets"),
        (b"{}", GOOD, {"secrets": ["whsec_not base64!"]}, "secrets"),
        (b"{}", GOOD, {"secrets": [SECRET] * 17}, "secrets"),
        ("{}", GOOD, {}, "body"),
    ],
)
def test_a_refusal_names_what_is_wrong(body: Any, sent: dict[str, str], more: dict[str, Any], named: str) -> None:
    with pytest.raises(WebhookError, match=f"^{named}"):
        open_event(body, sent, **more)


@pytest.mark.parametrize("away", [-300, 300])
def test_the_tolerance_window_includes_its_ends(away: int) -> None:
    assert open_event(b"{}", headers(b"{}", at=str(AT + away))) == {}


def test_a_secret_is_never_in_an_error() -> None:
    with pytest.raises(WebhookError) as caught:
        open_event(b"{}", GOOD, secrets=["whsec_c2hvcnQ="])
    assert "c2hvcnQ" not in str(caught.value)


def test_signatures_are_compared_in_constant_time_and_all_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[bytes] = []
    real = hmac.compare_digest

    def counting(one: bytes, other: bytes) -> bool:
        compared.append(one)
        return real(one, other)

    monkeypatch.setattr(webhooks.hmac, "compare_digest", counting)
    sent = headers(b"{}")
    sent["webhook-signature"] += " v1,AAAA v1,BBBB"
    open_event(b"{}", sent, secrets=[SECRET, OTHER_SECRET])
    assert len(compared) == 6


_texts = st.one_of(st.text(max_size=40), st.just(str(AT)), st.just("evt_1"), st.just(signature(b"{}")))
_names = st.sampled_from(["webhook-id", "webhook-timestamp", "webhook-signature", "Webhook-Id", "x"])


@settings(max_examples=300, deadline=None)
@given(
    body=st.one_of(st.binary(max_size=200), st.just(b"{}")),
    sent=st.dictionaries(_names, _texts, max_size=5),
    secrets=st.lists(st.one_of(st.just(SECRET), st.text(max_size=40)), max_size=3),
)
def test_only_its_own_error_escapes(body: bytes, sent: dict[str, str], secrets: list[str]) -> None:
    try:
        event = unwrap(body, sent, secrets=secrets, clock=clock)
    except WebhookError:
        return
    assert (body, event, SECRET in secrets) == (b"{}", {}, True), "nothing else was ever signed"


@settings(max_examples=300, deadline=None)
@given(body=st.one_of(st.binary(max_size=60), st.text(alphabet='{}[]":,0123456789eE-+.aNn\\u', max_size=60)))
def test_only_its_own_error_escapes_from_a_signed_body(body: bytes | str) -> None:
    raw = body if isinstance(body, bytes) else body.encode()
    try:
        event = open_event(raw, headers(raw))
    except WebhookError:
        return
    assert event == json.loads(raw)


@pytest.fixture(params=["memory", "folder"])
def inbox(request: pytest.FixtureRequest, tmp_path: Path) -> Inbox:
    folder = None if request.param == "memory" else tmp_path / "inbox"
    return Inbox(secrets=[SECRET], folder=folder, clock=clock)


def receive(inbox: Inbox, identifier: str = "evt_1") -> bool:
    """Whether there was something to handle."""
    with inbox.receive(b"{}", headers(b"{}", identifier)) as event:
        return event is not None


def test_a_duplicate_is_handed_out_once(inbox: Inbox) -> None:
    assert [receive(inbox), receive(inbox), receive(inbox, "evt_2")] == [True, False, True]


def test_an_event_whose_handler_failed_comes_again(inbox: Inbox) -> None:
    with pytest.raises(RuntimeError), inbox.receive(b"{}", headers(b"{}")):
        raise RuntimeError("the handler's database is away")
    assert [receive(inbox), receive(inbox)] == [True, False]


def test_a_duplicate_that_comes_while_the_first_is_handled_is_busy(inbox: Inbox) -> None:
    with inbox.receive(b"{}", headers(b"{}")) as event:
        assert event == {}
        with pytest.raises(BusyError):
            receive(inbox)
    assert not receive(inbox)


def test_a_forged_duplicate_does_not_mark_the_event_as_handled(inbox: Inbox) -> None:
    with pytest.raises(WebhookError):
        receive_forged(inbox)
    assert receive(inbox)


def receive_forged(inbox: Inbox) -> None:
    with inbox.receive(b"{}", headers(b"{}", key=bytes(24))):
        raise AssertionError("handed out without a signature")


def test_many_threads_handle_each_event_once(inbox: Inbox) -> None:
    handled: list[str] = []

    def deliver() -> None:
        for number in range(20):
            identifier = f"evt_{number}"
            try:
                with inbox.receive(b"{}", headers(b"{}", identifier)) as event:
                    if event is not None:
                        handled.append(identifier)
            except BusyError:
                continue

    threads = [threading.Thread(target=deliver) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(handled) == sorted(f"evt_{number}" for number in range(20))


def test_a_folder_remembers_over_restarts(tmp_path: Path) -> None:
    assert receive(Inbox(secrets=[SECRET], folder=tmp_path, clock=clock))
    assert not receive(Inbox(secrets=[SECRET], folder=tmp_path, clock=clock))


def test_an_event_whose_process_died_comes_again(tmp_path: Path) -> None:
    program = (
        "import os\nfrom pathlib import Path\nfrom strongroom.sdk.seen import Folder\n"
        f"with Folder(Path({str(tmp_path)!r})).once('evt_1') as is_new:\n    os._exit(9 if is_new else 1)\n"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 9
    assert receive(Inbox(secrets=[SECRET], folder=tmp_path, clock=clock))


def test_a_folder_forgets_what_is_older_than_any_retry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert receive(Inbox(secrets=[SECRET], folder=tmp_path, clock=clock))
    later = seen.time.time() + seen.KEEP_S + 60
    monkeypatch.setattr(seen.time, "time", lambda: later)
    assert receive(Inbox(secrets=[SECRET], folder=tmp_path, clock=clock), "evt_2")
    assert len(list(tmp_path.iterdir())) == 1


def test_memory_forgets_the_oldest_when_it_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seen, "MEMORY_MAXIMUM", 2)
    inbox = Inbox(secrets=[SECRET], clock=clock)
    for number in range(3):
        assert receive(inbox, f"evt_{number}")
    assert not receive(inbox, "evt_2")
    assert receive(inbox, "evt_0")
