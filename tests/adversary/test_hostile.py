"""Nothing that an attacker sends ends the signer for good, fills it up, or stops it and guard together.

Each was shown first to do so: by the engine's socket, by a client, by guard's host, or by an end in the middle.
"""

import json
from base64 import b64encode
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.adversary.attacks import Liar
from tests.adversary.siege import KilledError, Siege, fast_folder, remove
from tests.rules.cases import OLD_MS, Run
from tests.signer.world import (
    CLEO,
    COOLING_MS,
    DECLARE_KEY,
    EVE,
    ORGANISATION,
    PAY_KEY,
    PAYER,
    AskRefused,
    payee,
)

from strongroom.domain.ids import IdempotencyKey
from strongroom.domain.instant import DAY_MS, Instant
from strongroom.domain.invariant import InvariantError
from strongroom.domain.timestamp import format_instant
from strongroom.formats import simulated
from strongroom.protocol.destination_record import destination_digest
from strongroom.protocol.entry import Kind, Reading, write_entry
from strongroom.protocol.identifier import payout_id
from strongroom.protocol.journal_chain import Head
from strongroom.protocol.negative import Action
from strongroom.protocol.signer_ask import read_answer, write_ask
from strongroom.protocol.signer_wire import Ask
from strongroom.signer.book import Book
from strongroom.signer.desk import ENGINE


@pytest.fixture
def siege(tmp_path: Path) -> Iterator[Siege]:
    folder = fast_folder(tmp_path)
    yield Siege(folder)
    remove(folder)


def test_a_batch_of_the_longest_names_is_taken(siege: Siege) -> None:
    """The engine has 1,000 declarations of the longest kind; together they are longer than an entry may be."""
    evidence = []
    for number in range(1_000):
        body = {"name": "\u0001" * 255, "destination": {"network": simulated.NETWORK, "address": payee(str(number))}}
        made = siege.request("/v1/beneficiaries", body, f"long-{number}", siege.keys.declarer, DECLARE_KEY)
        evidence.append(made.document())
    length = siege.journal.length
    rows = siege.ask(Ask.DESTINATIONS, evidence=evidence)
    assert all("digest" in row for row in rows)
    assert siege.journal.length > length + 1
    siege.restart()
    assert len(siege.payments.destinations) == 1_000


@pytest.mark.parametrize("entry", [b"", b"{}", b"\xff" * 100, b"[" * 1_000, bytes(2**20)],
                         ids=["empty", "an object", "no text", "deep", "long"])
def test_a_control_entry_that_is_none_leaves_a_journal_that_can_be_read(siege: Siege, entry: bytes) -> None:
    """Guard's host puts rubbish into its control log: it may stop payments, and not for ever."""
    payout = siege.intent(siege.cooled(), 1_000)
    honest = siege.guard
    liar = siege.guard = siege.notary._guard._link = Liar(honest)  # type: ignore[assignment] # the same wire
    liar.control.append(entry)
    with suppress(AskRefused, ValueError, InvariantError):  # void, refused, or the end of the process
        siege.sign([payout])
    siege.guard = honest
    book = Book()
    for raw in siege.journal.entries():
        book.apply(raw)
    assert book.organisations.keys() == siege.book.organisations.keys()


def test_guard_that_cosigns_what_it_was_not_offered_is_not_believed(siege: Siege) -> None:
    """Guard's host names a head that nobody has; the signer goes on with honest guard afterwards."""
    payout = siege.intent(siege.cooled(), 1_000)
    honest = siege.guard
    liar = siege.guard = siege.notary._guard._link = Liar(honest)  # type: ignore[assignment] # the same wire
    exchange = liar.exchange
    for head in (Head(10**6, b"\1" * 32), Head(1, b"\1" * 32)):
        liar.journal = head
        for _ in range(2):
            with pytest.raises(AskRefused, match="guard-agrees"):
                siege.sign([payout])
    assert liar.exchange == exchange
    siege.guard = siege.notary._guard._link = honest
    assert siege.sign([payout])


def test_a_payout_cancelled_before_it_was_shown_holds_no_destination_back(siege: Siege) -> None:
    """A client asks, cancels, and the engine shows the request late: its payee can move all the same."""
    record = siege.cooled()
    payout = payout_id(ORGANISATION, PAYER, IdempotencyKey("late"))
    siege.guard.instruct(Action.CANCEL, payout, CLEO)
    siege.desk.idle()
    assert siege.intent(record, 1_000, key="late") == payout
    second = siege.next_version(record, payee("moved"))
    siege.pass_by(COOLING_MS)
    assert siege.sign([siege.intent(second, 1_000)])


def test_a_spend_given_up_never_pays_what_was_cancelled_meanwhile_and_frees_its_destination(siege: Siege) -> None:
    record = siege.cooled()
    payout = siege.intent(record, 1_000)
    siege.guard.before_spend = lambda: siege.guard.instruct(Action.CANCEL, payout, CLEO)
    with pytest.raises(AskRefused, match="guard-agrees"):
        siege.sign([payout])
    siege.restart()
    with pytest.raises(AskRefused, match="intent-alive"):
        siege.sign([payout])
    assert "receipt" in siege.ask(Ask.RECEIPT, object=payout)
    second = siege.next_version(record, payee("moved"))
    siege.pass_by(COOLING_MS)
    assert siege.sign([siege.intent(second, 1_000)])


def test_the_receipt_of_a_run_says_how_many_of_its_items_were_signed(siege: Siege) -> None:
    run = Run(siege, [5_000, 6_000, 7_000]).sealed()
    run.pay(1)
    siege.guard.instruct(Action.CANCEL, run.id, CLEO)
    siege.desk.idle()
    receipt = json.loads(siege.bytes_of(siege.ask(Ask.RECEIPT, object=run.id)["receipt"]))
    assert (receipt["object"], receipt["signed_items"]) == (run.id, 1)
    with pytest.raises(AskRefused, match="intent-alive"):
        run.pay(0)


def test_what_was_signed_gets_no_receipt_however_it_is_asked_for(siege: Siege) -> None:
    """A client cancels late, an officer cancels late, it expires: the money may have gone, so no word frees it."""
    expires = format_instant(Instant(siege.times.wall_ms + 60_000))
    payout = siege.intent(siege.cooled(), 1_000, key="late", expires_at=expires)
    raw, _ = siege.transaction([siege.output(payout)])
    siege.sign([payout], raw=raw)
    path, body = f"/v1/payouts/{payout}/cancel", {"idempotency_key": "late"}
    evidence = siege.request(path, body, "cancel", siege.keys.payer, PAY_KEY)
    with pytest.raises(AskRefused, match="payout-once"):
        siege.ask(Ask.CANCEL, evidence=evidence.document())
    siege.guard.instruct(Action.CANCEL, payout, CLEO)
    siege.pass_by(61_000)
    siege.desk.idle()
    with pytest.raises(AskRefused, match="intent-alive"):
        siege.ask(Ask.RECEIPT, object=payout)
    assert siege.sign([payout], raw=raw)


@pytest.mark.parametrize("when", ["before", "after"])
def test_an_end_between_journal_and_cosignature_heals(siege: Siege, when: str) -> None:
    """The process ends as it offers a spend: the same bytes are signed later, once, and nothing else for it."""
    payout = siege.intent(siege.cooled(), 1_000)
    raw, _ = siege.transaction([siege.output(payout)])

    def end() -> None:
        siege.guard.kills = when

    siege.guard.before_spend = end
    with pytest.raises(KilledError):
        siege.sign([payout], raw=raw)
    siege.restart()
    with pytest.raises(AskRefused, match="payout-once"):
        siege.sign([payout])
    assert siege.sign([payout], raw=raw)
    assert simulated.transaction_id(raw).hex() in siege.spends_at_guard()


def test_what_an_ended_signer_left_keeps_no_money_from_being_saved(siege: Siege) -> None:
    """The process ends as it offers a payment, and then watch raises an alarm: a cancel is signed all the same, and
    the payment isn't, before the alarm is resolved.
    """
    coin = siege.coin(60_000)
    siege.sign([siege.intent(siege.cooled(), 1_000)], coins=[coin])
    payout = siege.intent(siege.cooled(), 1_000)
    raw, _ = siege.transaction([siege.output(payout)])
    siege.guard.before_spend = lambda: setattr(siege.guard, "kills", "before")
    with pytest.raises(KilledError):
        siege.sign([payout], raw=raw)
    siege.restart()
    siege.guard.alarm("deficit")
    assert siege.sign([], operation="cancel", coins=[coin], fee=900)
    with pytest.raises(AskRefused, match="lease-fresh"):
        siege.sign([payout], raw=raw)
    siege.guard.instruct(Action.RESOLVE, "deficit", CLEO)
    assert siege.sign([payout], raw=raw)


@settings(max_examples=300, deadline=None, database=None, print_blob=True,
          suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(data=st.data())
def test_no_frame_ends_the_process(siege: Siege, data: st.DataObject) -> None:
    """The engine's socket carries any bytes, and any JSON in the place of any field of a right frame."""
    payout = siege.payments.intents.keys() or [siege.intent(siege.cooled(), 1_000)]
    raw, _ = siege.transaction([(payee("one"), 1_000)])
    right = {
        Ask.SIGN: {"operation": "pay", "network": simulated.NETWORK, "transaction": b64encode(raw).decode(),
                   "paths": [{"generation": 0, "index": 0}], "items": [{"payout": next(iter(payout))}],
                   "approvals": []},
        Ask.INTENTS: {"evidence": [["YQ==", "YQ==", "YQ=="]]}, Ask.RUN: {"evidence": ["YQ==", "YQ==", "YQ=="]},
        Ask.CANCEL: {"evidence": ["YQ==", "YQ==", "YQ=="]}, Ask.RECEIPT: {"object": "po_x"},
        Ask.REQUEST: {"subject": "po_x"}, Ask.CHANGE: {"document": "policy", "raw": "YQ==", "assertions": []},
        Ask.ADDRESSES: {"network": simulated.NETWORK, "first": 0, "generation": 0, "count": 1},
    }
    ask = data.draw(st.sampled_from(sorted(right)))
    body = {"organisation": ORGANISATION, **right[ask]}
    scalars = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=20)
    anything = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["run", "leaf", "proof", "payout", "generation", "index", "subject", "x"]), inner, max_size=4
    ), max_leaves=8)
    body[data.draw(st.sampled_from(sorted(body)))] = data.draw(anything)
    try:
        frame = write_ask(ask, body)
    except ValueError:
        frame = data.draw(st.binary(max_size=200))
    assert read_answer(siege.desk.answer(ENGINE, frame))


def test_what_the_book_cannot_apply_never_reaches_the_journal(siege: Siege) -> None:
    length, head = siege.journal.length, siege.journal.head
    with pytest.raises(InvariantError):
        siege.notary.write(Kind.TOMBSTONE, {"organisation": ORGANISATION, "object": ""}, siege.notary.reading())
    assert (siege.journal.length, siege.journal.head) == (length, head)
    reading = Reading(siege.book.clock.at_least, siege.book.clock.at_most, siege.book.clock.wall)
    with pytest.raises(InvariantError):
        Book().apply(write_entry(Kind.TOMBSTONE, reading, {"organisation": ORGANISATION, "object": "x"}))


def test_a_payment_key_is_used_only_for_what_lasts_and_guard_has(siege: Siege) -> None:
    """At the moment of a signature its spend is synced and in guard's copy; at each frame to guard all is synced."""
    order: list[str] = []
    journal_sync, exchange, sign = siege.journal.sync, siege.guard.exchange, siege.wallet.sign
    synced = [siege.journal.length]

    def sync() -> None:
        journal_sync()
        synced[0] = siege.journal.length
        order.append("synced")

    def exchanged(frame: bytes) -> bytes:
        assert synced[0] == siege.journal.length
        order.append("guard")
        return bytes(exchange(frame))

    def signed(organisation: Any, unsigned: bytes, paths: Any) -> bytes:
        assert simulated.transaction_id(unsigned).hex() in siege.spends_at_guard()
        order.append("signed")
        return sign(organisation, unsigned, paths)

    siege.journal.sync = sync  # type: ignore[method-assign] # it does what it did, and is watched
    siege.guard.exchange = exchanged
    siege.wallet.sign = signed  # type: ignore[method-assign] # as above
    assert siege.sign([siege.intent(siege.cooled(), 1_000)])
    assert order[-3:] == ["synced", "guard", "signed"]


def test_an_approval_request_shows_all_that_the_gate_checks(siege: Siege) -> None:
    """People sign these bytes: whom they pay, to which version of a destination, and for which request."""
    first = siege.cooled()
    record = siege.next_version(first, payee("moved"))
    siege.pass_by(OLD_MS)
    payout = siege.intent(record, 900_000, external_id="trip")
    standing = siege.payments.standing
    shown = json.loads(siege.bytes_of(siege.ask(Ask.REQUEST, subject=payout)["request"]))
    assert len(shown.pop("ticket")) == 32
    assert shown == {
        "amount": "900000", "approvals": 1, "asset": simulated.ASSET, "beneficiary": record.beneficiary,
        "client": PAYER, "excluded": [EVE.id], "deployment": siege.book.deployment,
        "destination": {
            "address": record.address, "class": "declared", "digest": destination_digest(record.encode()),
            "name": record.name, "network": simulated.NETWORK, "version": 2,
        },
        "expires_ms": siege.book.clock.at_most + DAY_MS, "external_id": "trip", "freeze_epoch": 0, "groups": 1,
        "intent": siege.payments.intents[payout].digest, "kind": "payout", "organisation": ORGANISATION,
        "payout": payout, "policy": standing.policy_hash, "roster": standing.roster_hash,
        "type": "strongroom/approval-request/v1",
    }
