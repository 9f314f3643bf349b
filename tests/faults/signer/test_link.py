"""The way between signer and guard is cut and delayed: before the request, after it, and before its answer.

200 under STRONGROOM_FAULTS=full. Whatever was lost, the signer refuses or signs what guard has; the engine asks again.
"""

import random
from contextlib import suppress

import pytest
from tests.faults.signer.engine import Engine
from tests.faults.signer.ground import IS_FULL, SEED, ground
from tests.faults.signer.proxy import Fault, Proxy
from tests.signer.world import AskRefused

from strongroom.protocol.signer_wire import Ask
from strongroom.signer.guard_link import TIMEOUT_MS

CUTS = 200 if IS_FULL else 21
LATE = 10 if IS_FULL else 1
"""Answers that come when the signer doesn't wait any more."""


def heal(shop: Engine) -> None:
    """A connection that broke is noticed at the next exchange, and the one after it goes over a new one."""
    with suppress(AskRefused):
        shop.sync()
    shop.sync()


def pay_through(shop: Engine, proxy: Proxy, fault: Fault, after: int) -> bool:
    """A payout under whose signing the link fails; whether it was signed at once. It is signed when asked again.

    The same bytes are asked for first. If the spend was given up they are refused for their change, whose index stays
    used, and the engine builds anew.
    """
    shop.unfreeze()
    shop.pass_by(90_000_000)
    shop.ask_for()
    payout = list(shop.open.values())[-1]
    approvals = shop.approve([payout], anew=True)
    coin = (shop.coin(payout.minor + 5_000), 0)
    shop.sync()
    signed = len(shop.signatures)
    raw = shop.plan([(payout.address, payout.minor)], [coin], 500)
    proxy.fail(fault, after)
    rules: list[str] = []
    while len(shop.signatures) == signed and len(rules) < 4:
        try:
            shop.ask(Ask.SIGN, **shop.signing(raw, "pay", [payout], [coin], approvals))
        except AskRefused as refused:
            rules.append(refused.rule)
            if refused.rule == "approval-requested":  # what was given up still counts for its address
                approvals = shop.approve([payout], anew=True)
            if refused.rule == "bytes-change":
                raw = shop.plan([(payout.address, payout.minor)], [coin], 500)
    assert len(shop.signatures) == signed + 1, (fault, rules)
    assert set(rules) <= {"guard-agrees", "bytes-change", "approval-requested"}, (fault, rules)
    shop.open.pop(payout.id)
    heal(shop)
    shop.look()
    return not rules


@pytest.mark.faults
def test_a_cut_between_signer_and_guard_neither_loses_nor_doubles_a_payout() -> None:
    print(f"{CUTS} cuts and delays from seed {SEED}")
    chance, at_once = random.Random(SEED), 0
    with ground() as made:
        *ports, between = *made.ports(), made.block.take()
        proxy = Proxy(between, ports[0])
        try:
            shop = Engine(made.root, "shop", made.nursery, ports, chance, between)
            shop.begin()
            for number in range(CUTS):
                # The first exchange is what the signer hears before it decides, the second brings the spend.
                at_once += pay_through(shop, proxy, list(Fault)[number % len(Fault)], chance.choice((1, 2, 2)))
            proxy.delay_s = TIMEOUT_MS / 1_000 + 0.2
            for _ in range(LATE):
                assert not pay_through(shop, proxy, Fault.DELAYED_ANSWER, 2)
            shop.drain()
            shop.end()
        finally:
            proxy.close()
    print(f"{proxy.failed}; {at_once} signed at once, {shop.refused}")
    assert sum(proxy.failed.values()) == CUTS + LATE
    assert CUTS // 5 < at_once < CUTS
    abandoned = sum(entry["type"].endswith("abandoned/v1") for entry in shop.recount.copy.entries)
    assert abandoned > CUTS // 5
