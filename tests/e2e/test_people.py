"""Two people before their browsers approve a payout at the station, and it is paid; one of them alone, twice, or its
maker's custodian, and it isn't. Everything is real: console, station, signer, Chromium."""

import time

import pytest
from tests.browser.browser import Browser
from tests.browser.fixture import browser, chromium
from tests.e2e.people import STATION, Seated, approval_key
from tests.e2e.sandbox import SIM, Sandbox

pytestmark = pytest.mark.sandbox
__all__ = ["browser", "chromium"]


def test_two_people_approve_in_their_browsers_and_it_is_settled(browser: Browser, house: Sandbox) -> None:
    payout = house.pay(house.declare("browsers"), "browsers-1", 20_000 * SIM)
    request = house.request_for(payout)
    ada, ben = Seated(browser, house, "ada"), Seated(browser, house, "ben", theme="dark", size="phone")
    ada.enrol()
    station = ada.approve(request["id"])
    browser.expect(station.get_by_role("status")).to_contain_text("Approved and handed over")
    ada.page.reload()
    browser.expect(ada.page.get_by_text("You have approved it.")).to_be_visible()
    browser.check(ada.page)
    time.sleep(2)  # time enough for a signer that counts one person twice
    assert house.state(payout) == "awaiting_approval"
    assert house.assert_by(request, "ada").status_code == 201  # again, by the same person
    assert house.state(payout) == "awaiting_approval"

    ben.enrol()
    station = ben.approve(request["id"])
    browser.expect(station.get_by_role("status")).to_contain_text("Approved and handed over")
    house.reaches(payout, "settled")
    assert house.received("browsers") == {"browsers": [20_000 * SIM]}
    ben.page.goto(house.document["console_url"] + "/approvals")
    browser.check(ben.page)


def test_an_operator_asks_on_a_page_and_another_approves(browser: Browser, house: Sandbox) -> None:
    """However small it is: who asks never suffices."""
    payee = house.declare("asked")
    time.sleep(6)  # it cools off
    eve = Seated(browser, house, "eve")
    eve.follow_link()
    eve.page.goto(f"{house.document['console_url']}/beneficiaries/{payee['id']}")
    browser.check(eve.page)
    eve.page.get_by_label("Amount").fill("12.5")
    eve.page.get_by_label("Reference, yours").fill("asked by eve")
    with eve.context.expect_page() as opened:
        eve.page.get_by_role("button", name="Ask at the station").click()
    browser.passkey(opened.value, STATION, *approval_key(eve.person))
    browser.expect(opened.value.get_by_role("heading", level=1)).to_contain_text("12.5")
    opened.value.get_by_role("button", name="Ask for it with passkey").wait_for()
    for box in opened.value.get_by_role("checkbox").all():
        box.check()
    opened.value.get_by_role("button", name="Ask for it with passkey").click()
    browser.expect(opened.value.get_by_role("status")).to_contain_text("Asked for and handed over")
    (payout,) = house.payer.pages("/v1/payouts", {"external_id": "asked by eve"})
    request = house.request_for(payout["id"])
    ada = Seated(browser, house, "ada")
    ada.follow_link()
    station = ada.approve(request["id"])
    browser.expect(station.get_by_role("status")).to_contain_text("Approved and handed over")
    house.reaches(payout["id"], "settled")
    assert house.received("asked") == {"asked": [12 * SIM + SIM // 2]}


def test_an_officer_freezes_in_two_taps_and_two_let_it_go_on(browser: Browser, house: Sandbox) -> None:
    cleo, dan = Seated(browser, house, "cleo"), Seated(browser, house, "dan")
    cleo.enrol()
    cleo.page.goto(house.document["console_url"] + "/freeze")
    browser.check(cleo.page)
    station = cleo.instruct("Freeze all payments")
    station.get_by_role("button").last.click()
    browser.expect(station.get_by_role("status")).to_contain_text("Guard keeps it")
    organisation = house.document["organisation"]
    assert house.guard.get("/v1/status").json()["organisations"][organisation]["frozen"] == ["organisation"]

    cleo.page.goto(house.document["console_url"] + "/freeze")
    station = cleo.instruct("Begin to unfreeze")
    with browser.expecting("409"):  # guard says that one is no quorum
        station.get_by_role("button").last.click()
        browser.expect(station.get_by_role("status")).to_contain_text("more")
    assert house.guard.get("/v1/status").json()["organisations"][organisation]["frozen"] == ["organisation"]
    dan.enrol()
    dan.page.goto(house.document["console_url"] + "/freeze")
    station = dan.instruct("Join: unfreeze organisation")
    station.get_by_role("button").last.click()
    browser.expect(station.get_by_role("status")).to_contain_text("Guard keeps it")
    assert house.guard.get("/v1/status").json()["organisations"][organisation]["frozen"] == []
