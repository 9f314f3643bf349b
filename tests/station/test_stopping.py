"""Stopping from the page, through guard's own listener: a real guard, its signer, and a console that hears of it."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.browser.browser import Browser
from tests.guard import world as guard_world
from tests.guard.process import GuardProcess, Wire
from tests.guard.world import Signer, World
from tests.protocol.people import ADA, CLEO, DAN, ORGANISATION, Human
from tests.station.office import STATION_HOST, Console, console, free_origin, hand_key, serving

from strongroom.domain.document import Fields
from strongroom.domain.instant import Instant
from strongroom.protocol.approval import PersonAssertion, take_assertion
from strongroom.protocol.guard_wire import Reason
from strongroom.protocol.negative import Action
from strongroom.protocol.station_link import Asked, instruct, station_url


class Stopping:
    """The three processes that matter, and the page's origin."""

    def __init__(self, origin: str, console: Console, guard: GuardProcess, signer: Signer) -> None:
        self.origin, self.console, self.guard, self.signer = origin, console, guard, signer

    def standing(self) -> dict[str, Any]:
        found: dict[str, Any] = self.guard.call("GET", "/v1/status")[1]["organisations"][ORGANISATION]
        return found

    def open(self, browser: Browser, person: Human, action: Action, subject: str, **more: Any) -> Any:
        page = browser.page(size="phone")
        asked = Asked(person.id, f"{person.letter.upper()} Example", (person.letter.encode(),))
        page.goto(station_url(self.origin, instruct(asked, ORGANISATION, action, subject, **more)))
        page.get_by_role("button").or_(page.get_by_role("alert")).first.wait_for()
        hand_key(browser, page, 1_000 + ord(person.letter), person.letter.encode(), person.id)
        return page


@pytest.fixture
def stopping(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stopping]:
    origin = free_origin(STATION_HOST)
    monkeypatch.setattr(guard_world, "ORIGIN", origin)
    monkeypatch.setattr(guard_world, "RELYING_PARTY_ID", STATION_HOST)
    world = World(tmp_path / "guard", now=Instant(time.time_ns() // 1_000_000))
    with (
        GuardProcess(world, requests_per_second=1_000) as guard, console(origin) as taking,
        Wire.to(guard.ready().signer_port) as wire,
    ):
        signer = Signer(world, wire.exchange)
        signer.found()
        assert signer.sync().is_cosigned
        config = {
            "listen": f"127.0.0.1:{origin.rpartition(':')[2]}", "origin": origin, "console_origin": taking.origin,
            "guard_origin": f"http://127.0.0.1:{guard.officers_port}", "relying_party_id": STATION_HOST,
            "deployment": world.deployment, "statement_public_key": bytes(world.statement_key.verify_key).hex(),
        }
        with serving(config, tmp_path):
            yield Stopping(origin, taking, guard, signer)


def test_a_freeze_is_one_tap_here_and_stops_the_next_spend(browser: Browser, stopping: Stopping) -> None:
    page = stopping.open(browser, CLEO, Action.FREEZE, "organisation")
    page.get_by_role("button", name="Freeze with passkey").click()
    browser.expect(page.get_by_role("status")).to_contain_text("Guard keeps it, as instruction 1")
    assert stopping.standing()["frozen"] == ["organisation"]
    stopping.signer.spend()
    refused = stopping.signer.sync()
    assert (refused.is_cosigned, refused.reason) == (False, Reason.CONTROL)
    (told,) = stopping.console.of("instruct")
    assert told["control_length"] == 1


def test_a_freeze_needs_no_console(browser: Browser, stopping: Stopping) -> None:
    stopping.console.refuses = "the console is somebody else's"
    page = stopping.open(browser, CLEO, Action.FREEZE, "network:sim:sandbox")
    with browser.expecting("409"):
        page.get_by_role("button").click()
        browser.expect(page.get_by_role("status")).to_contain_text("It is in force; the console refuses (409)")
    assert stopping.standing()["frozen"] == ["network:sim:sandbox"]


def test_unfreezing_takes_a_quorum_that_passes_the_record_on(browser: Browser, stopping: Stopping) -> None:
    test_a_freeze_is_one_tap_here_and_stops_the_next_spend(browser, stopping)
    stopping.signer.apply_control(stopping.signer.sync())
    page = stopping.open(browser, CLEO, Action.UNFREEZE, "organisation")
    with browser.expecting("409"):
        page.get_by_role("button", name="Unfreeze with passkey").click()
        browser.expect(page.get_by_role("status")).to_contain_text("more people are needed")
    assert stopping.standing()["frozen"] == ["organisation"]
    partial = stopping.console.of("instruct")[-1]
    assert partial["control_length"] is None
    given = [assertion_of(each) for each in partial["assertions"]]
    page = stopping.open(
        browser, DAN, Action.UNFREEZE, "organisation", record=partial["record"].encode(), given=given
    )
    assert CLEO.id in page.locator("main").inner_text()
    page.get_by_role("button").click()
    browser.expect(page.get_by_role("status")).to_contain_text("Guard keeps it, as instruction 2")
    assert stopping.standing()["frozen"] == []


def assertion_of(document: dict[str, str]) -> PersonAssertion:
    return take_assertion(Fields(document))


def test_who_may_not_freeze_is_told_so_by_guard(browser: Browser, stopping: Stopping) -> None:
    page = stopping.open(browser, ADA, Action.FREEZE, "organisation")
    with browser.expecting("409"):
        page.get_by_role("button").click()
        browser.expect(page.get_by_text("may not freeze")).to_be_visible()
    assert stopping.standing()["frozen"] == []
    assert stopping.console.taken == []


WRONG: list[tuple[Action, str, dict[str, Any], str]] = [
    (Action.FREEZE, "everything", {}, "object: can't be what freeze is about"),
    (Action.VETO, "0" * 63, {}, "object: can't be what veto is about"),
    (Action.FREEZE, "organisation", {"record": b'{"action":"freeze"}'}, "type: is missing"),
]


def test_what_cant_be_an_instruction_is_refused(browser: Browser, stopping: Stopping) -> None:
    for action, subject, more, reason in WRONG:
        page = stopping.open(browser, CLEO, action, subject, **more)
        browser.expect(page.get_by_role("alert")).to_contain_text(reason)
        assert page.get_by_role("button").count() == 0
        page.close()
    assert stopping.console.taken == []


def test_a_record_that_isnt_what_the_link_says_is_refused(browser: Browser, stopping: Stopping) -> None:
    """The attacker has the console, and shows a suspension as a freeze that another officer began."""
    negative = stopping.guard.world.negative(Action.SUSPEND, DAN.id, CLEO)
    page = stopping.open(
        browser, CLEO, Action.FREEZE, "organisation", record=negative.record, given=list(negative.assertions)
    )
    browser.expect(page.get_by_role("alert")).to_contain_text("action: isn't what the link says")
