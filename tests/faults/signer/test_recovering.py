"""What signer and guard, two processes, still do when watch is silent or alarmed, when all is frozen, or without guard.

Their clocks are the test's, so that two minutes pass at once. What saves money is signed whenever guard can be heard;
without guard nothing is, not even again.
"""

import random
from base64 import b64decode, b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from tests.adversary.build import Patch
from tests.faults.signer.engine import Engine
from tests.faults.signer.ground import SEED, ground
from tests.faults.signer.proxy import Proxy
from tests.faults.signer.shop import TREASURY, Payout
from tests.faults.signer.test_link import heal
from tests.signer.world import CLEO, COOLING_MS, DAN, ORGANISATION, AskRefused

from strongroom.domain.instant import Instant
from strongroom.formats import simulated
from strongroom.guard.lease import SILENCE_MAXIMUM_MS
from strongroom.protocol.control import ALARM_TYPE
from strongroom.protocol.guard_wire import LEASE_MAXIMUM_MS, sign_frame
from strongroom.protocol.negative import Action
from strongroom.protocol.signer_wire import Ask
from strongroom.protocol.watch_record import alarm_record
from strongroom.signer.server import IDLE_MS

MINOR = 7_000
TRIES = 100
RECOVER = (Action.RECOVER, f"network:{simulated.NETWORK}", CLEO)


class Besieged(Engine):
    """One payment is signed, and another is asked for."""

    proxy: Proxy

    def open_shop(self) -> None:
        self.begin()
        self.until_leased()  # an empty guard enrols a signer only before it has taken anything
        self.record = self.beneficiary()
        self.pass_by(COOLING_MS + 1)
        self.paid_coin = self.coin(60_000)
        self.paid = self.asks_for()
        self.paid_raw = self.plan([(self.record.address, MINOR)], [(self.paid_coin, 0)], 500)
        self.signed = self.sign_it(self.paid_raw, "pay", [self.paid])
        self.waiting = self.asks_for()
        self.sync()

    def until_leased(self) -> None:
        """The signer hears guard by itself, as time passes."""
        for _ in range(TRIES):
            if self.lease == "all":
                return
            self.pass_by(IDLE_MS)
        raise AssertionError(f"the signer has no lease: {self.logs()}")

    def asks_for(self) -> Payout:
        return Payout(self.intent(self.record, MINOR), self.record.address, MINOR)

    def sign_it(self, raw: bytes, operation: str, payouts: list[Payout] | None = None) -> bytes:
        coins = [(coin, 0) for coin in simulated.parse_unsigned(raw).inputs]
        answer: Any = self.ask(Ask.SIGN, **self.signing(raw, operation, payouts or [], coins))
        return b64decode(answer["signed"])

    def pays(self) -> bytes:
        raw = self.plan([(self.record.address, MINOR)], [(self.coin(60_000), 0)], 500)
        return self.sign_it(raw, "pay", [self.waiting])

    def pays_again(self) -> bytes:
        """The same bytes, of which the answer was lost."""
        return self.sign_it(self.paid_raw, "pay", [self.paid])

    def cancels(self) -> bytes:
        return self.sign_it(self.plan([], [(self.paid_coin, 0)], 900), "cancel")

    def sweeps(self) -> bytes:
        raw = simulated.encode_unsigned(
            simulated.Transaction((self.coin(50_000),), (simulated.Output(49_500, TREASURY),))
        )
        return self.sign_it(raw, "sweep")

    def set_clocks(self, ms: int) -> None:
        """Nobody says a word meanwhile."""
        self.times.pass_by(ms)
        self.shared.set(self.times.boot_ms, self.times.wall_ms)

    def refusal(self, act: Any) -> str:
        with pytest.raises(AskRefused) as refused:
            act()
        return refused.value.rule

    @property
    def lease(self) -> str:
        return str(self.ask(Ask.STATUS)["lease"])

    def alarm(self) -> None:
        record = alarm_record("unknown-spend", ORGANISATION, self.book.deployment, Instant(self.times.wall_ms))
        frame = sign_frame(self.keys.checkpoint, record, ALARM_TYPE)
        status, answer = self.call(
            "/v1/alarms", {"organisation": ORGANISATION, "frame": b64encode(frame).decode()}
        )
        assert status == 202, answer


@contextmanager
def besieged(*patches: Patch) -> Iterator[Besieged]:
    with ground(*patches) as made:
        *ports, between = *made.ports(), made.block.take()
        proxy = Proxy(between, ports[0])
        made_shop = Besieged(made.root, "shop", made.nursery, ports, random.Random(SEED), between)
        made_shop.proxy = proxy
        try:
            made_shop.open_shop()
            yield made_shop
            made_shop.check_no_fault()
        finally:
            made_shop.end()
            made_shop.proxy.close()


@pytest.fixture
def shop() -> Iterator[Besieged]:
    with besieged() as made:
        yield made


@pytest.mark.faults
@pytest.mark.parametrize("what", ["watch is silent", "watch has raised an alarm"])
def test_while_guard_only_lets_money_be_saved_sweeps_and_cancels_are_signed(shop: Besieged, what: str) -> None:
    if what == "watch is silent":
        shop.set_clocks(SILENCE_MAXIMUM_MS)
    else:
        shop.alarm()
    assert shop.refusal(shop.pays) in ("lease-fresh", "guard-agrees")  # an alarm comes as an instruction first
    assert shop.refusal(shop.pays) == "lease-fresh"
    assert shop.refusal(shop.pays_again) == "lease-fresh"
    assert shop.lease == ("recover" if what == "watch is silent" else "all")  # an alarm is one organisation's
    assert shop.sweeps()
    assert shop.cancels()
    if what == "watch has raised an alarm":
        shop.instruct(Action.RESOLVE, "unknown-spend", CLEO)
    shop.beat()
    shop.sync()
    assert shop.pays()


@pytest.mark.faults
def test_while_frozen_one_is_signed_for_each_word_of_an_officer(shop: Besieged) -> None:
    shop.instruct(Action.FREEZE, "organisation", CLEO)
    shop.sync()
    for act in (shop.pays, shop.pays_again, shop.sweeps, shop.cancels):
        assert shop.refusal(act) == "not-frozen"
    shop.instruct(*RECOVER, epoch=1)
    shop.sync()
    assert shop.refusal(shop.pays) == "not-frozen"
    assert shop.sweeps()
    for act in (shop.sweeps, shop.cancels):
        assert shop.refusal(act) == "not-frozen"
    shop.instruct(*RECOVER, epoch=1)
    shop.sync()
    assert shop.cancels()
    assert shop.refusal(shop.sweeps) == "not-frozen"
    shop.instruct(Action.UNFREEZE, "organisation", CLEO, DAN, epoch=1)
    shop.sync()
    assert shop.pays()


@pytest.mark.faults
def test_with_guard_cut_off_nothing_new_and_nothing_again_is_signed_and_the_lease_ends_in_time(shop: Besieged) -> None:
    guard_port = shop.signer_port
    between = shop.link_port
    acts = (shop.pays, shop.pays_again, shop.sweeps, shop.cancels)
    shop.sync()
    shop.proxy.close()
    assert shop.lease == "all"
    for act in acts:
        assert shop.refusal(act) == "guard-agrees"
    shop.set_clocks(LEASE_MAXIMUM_MS - 1)
    assert shop.lease == "all"
    shop.set_clocks(1)
    assert shop.lease == "none"
    for act in acts:
        assert shop.refusal(act) == "guard-agrees"
    spends = [entry for entry in shop.recount.copy.read() if entry["type"].endswith("/spend/v1")]
    assert len(spends) == 1
    shop.proxy = Proxy(between, guard_port)
    shop.beat()
    heal(shop)
    assert shop.pays_again() == shop.signed
    assert shop.pays()


@pytest.mark.faults
def test_control_a_signer_that_doesnt_hear_guard_before_it_signs_signs_again_without_it() -> None:
    with besieged(Patch("signer/desk.py", "        ripen(notary)\n", "")) as shop:
        shop.proxy.close()
        assert shop.lease == "all"
        assert shop.pays_again() == shop.signed
        assert shop.refusal(shop.pays) == "guard-agrees"
        shop.proxy = Proxy(shop.link_port, shop.signer_port)
