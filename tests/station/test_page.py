"""The page in a real browser: people see what the signer wrote, say yes to exactly that, and the signer takes it."""

import json
from base64 import b64encode, urlsafe_b64decode
from dataclasses import replace
from typing import Any

import pytest
from tests.browser.browser import THEMES, Browser
from tests.rules.cases import LARGE, MIDDLE, Run
from tests.signer.world import ADA, BEN, EVE, AskRefused, Human, World
from tests.station.office import TOKEN, Office

from strongroom.protocol import station_link
from strongroom.protocol.approval import APPROVAL_REQUEST_TYPE
from strongroom.protocol.canonical import encode, record_hash
from strongroom.protocol.phrase import phrase
from strongroom.protocol.station_link import station_url


def old(world: World, minor: int, **how: Any) -> str:
    record = world.cooled(**how)
    world.pass_by(60_000)
    return world.intent(record, minor)


def text_of(page: Any) -> str:
    return str(page.locator("main").inner_text())


def confirm_all(page: Any) -> None:
    page.get_by_role("button").last.wait_for()
    for box in page.get_by_role("checkbox").all():
        box.check()


def approve(browser: Browser, office: Office, person: Human, url: str, **how: Any) -> Any:
    """Open, confirm what is asked, give the passkey; the page afterwards."""
    page = browser.page(**how)
    page.goto(url)
    office.hand_passkey(browser, page, person)
    confirm_all(page)
    page.get_by_role("button", name="Approve with passkey").click()
    browser.expect(page.get_by_role("status")).to_contain_text("Approved and handed over")
    return page


def test_two_people_approve_in_their_browsers_and_the_signer_pays(browser: Browser, office: Office) -> None:
    """The same payout: with one of them it isn't signed, with one person twice neither; with both it is."""
    world = office.world
    subject = old(world, LARGE)
    raw, signature = office.request(subject)
    for person in (ADA, BEN):
        link = station_link.approve(office.asked(person), raw, signature, **office.papers())
        url, theme = station_url(office.origin, link), THEMES[person is BEN]
        page = approve(browser, office, person, url, theme=theme, size="phone")
        assert office.console.of("approve")[-1]["request"] == record_hash(APPROVAL_REQUEST_TYPE, raw).hex()
        assert "/#" not in page.url
    first, second = (each["assertion"] for each in office.console.of("approve"))

    def paid(*assertions: Any) -> Any:
        return world.sign([subject], approvals=[
            {"assertions": [*assertions], "request": b64encode(raw).decode(), "subject": subject}
        ])

    for too_few in ((first,), (first, first), ()):
        with pytest.raises(AskRefused, match="approval-enough"):
            paid(*too_few)
    assert paid(first, second)


def test_what_is_shown_is_what_the_signer_wrote(browser: Browser, office: Office) -> None:
    world = office.world
    subject = old(world, LARGE, name="Blue Harbor Søn & Co")
    raw, _ = office.request(subject)
    page = browser.page()
    page.goto(office.link(ADA, subject))
    shown = json.loads(office.request(subject)[0])
    text = text_of(page)
    for said in (
        "20\u2009000\u2009000 base units", shown["asset"], "Blue Harbor Søn & Co", shown["external_id"],
        "2 people, of 2 different groups", shown["destination"]["network"],
    ):
        assert said in text
    address = page.locator(".address .groups")
    assert address.get_attribute("aria-label") == shown["destination"]["address"]
    assert address.inner_text().replace("\n", "") == shown["destination"]["address"]
    page.get_by_text("The exact bytes").click()
    bytes_shown = page.locator("pre").inner_text().encode()
    assert json.loads(bytes_shown)["ticket"] != json.loads(raw)["ticket"]  # a later request of the same payout
    digest = record_hash(APPROVAL_REQUEST_TYPE, bytes_shown)
    assert page.locator(".phrase").inner_text() == phrase(digest)
    assert digest.hex() in text_of(page)


def test_amounts_and_names_come_with_the_papers_that_the_request_names(browser: Browser, office: Office) -> None:
    subject = old(office.world, LARGE)
    page = browser.page("dark")
    page.goto(office.link(ADA, subject, **office.papers()))
    assert "0.20000000 SIM" in text_of(page)
    assert EVE.name in text_of(page)  # who doesn't count, by name
    other = {**json.loads(office.world.policy), "version": 2}
    page.goto("about:blank")
    page.goto(office.link(ADA, subject, policy=encode(other)))
    browser.expect(page.get_by_role("alert")).to_contain_text("policy: isn't the one that is named")


def test_approve_waits_for_what_must_be_confirmed(browser: Browser, office: Office) -> None:
    page = browser.page(size="phone")
    page.goto(office.link(ADA, old(office.world, MIDDLE)))
    button = page.get_by_role("button", name="Approve with passkey")
    browser.expect(button).to_be_disabled()
    page.get_by_role("checkbox", name="I checked this address with Payee").check()
    browser.expect(button).to_be_enabled()


def test_the_whole_is_done_with_the_keyboard(browser: Browser, office: Office) -> None:
    page = browser.page()
    page.goto(office.link(ADA, old(office.world, MIDDLE)))
    office.hand_passkey(browser, page, ADA)
    page.get_by_role("checkbox").focus()
    page.keyboard.press("Space")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    browser.expect(page.get_by_role("status")).to_contain_text("Approved and handed over")
    assert office.console.of("approve")[0]["confirmed"] == [
        "I checked this address with Payee by another way than this message."
    ]


def test_what_the_console_refuses_is_said_and_can_be_sent_again(browser: Browser, office: Office) -> None:
    page = browser.page()
    page.goto(office.link(ADA, old(office.world, MIDDLE)))
    office.hand_passkey(browser, page, ADA)
    confirm_all(page)
    office.console.refuses = "the queue <b>is</b> closed"
    with browser.expecting("409"):
        page.get_by_role("button").click()
        browser.expect(page.get_by_text("the console refuses (409): the queue <b>is</b> closed")).to_be_visible()
    office.console.refuses = ""
    page.get_by_role("button", name="Hand over again").click()
    browser.expect(page.get_by_role("status")).to_contain_text("Approved and handed over")


def test_without_the_passkey_nothing_is_handed_over(browser: Browser, office: Office) -> None:
    """Another person's passkey, one that doesn't verify its person, and one made for the console."""
    subject = old(office.world, MIDDLE)
    for prepare in (
        lambda page: office.hand_passkey(browser, page, BEN),
        lambda page: browser.authenticator(page, verifies=False),
    ):
        page = browser.page()
        page.goto(office.link(ADA, subject))
        prepare(page)
        confirm_all(page)
        page.get_by_role("button").click()
        browser.expect(page.get_by_text("the passkey wasn't given")).to_be_visible()
    assert office.console.taken == []


# Runs.


def run_link(office: Office, run: Run, person: Human = ADA) -> str:
    return office.link(person, run.id, items=TOKEN, **office.papers())


def a_run(office: Office, count: int = 12) -> Run:
    run = Run(office.world, [100_000 + each for each in range(count - 1)] + [900_000]).sealed()
    office.send_items(run.items, run.records)
    return run


def test_a_run_is_shown_with_all_its_items_and_what_stands_out(browser: Browser, office: Office) -> None:
    run = a_run(office)
    page = approve(browser, office, ADA, run_link(office, run), size="phone")
    text = text_of(page)
    assert "12 payouts" in text
    assert "above 3 × the median; the largest" in text
    assert page.locator("tbody tr").count() == 12
    shown = [each.get_attribute("aria-label") for each in page.locator("tbody .groups").all()]
    assert shown == [each.address for each in run.records]
    assert office.console.of("approve")[0]["confirmed"] == [
        "I know why 12 of these addresses were declared and not confirmed."
    ]


def _without(run: Run) -> Any:
    return run.items[:-1], run.records


def _swapped(run: Run) -> Any:
    return [run.items[1], run.items[0], *run.items[2:]], run.records


def _raised(run: Run) -> Any:
    return [{**run.items[0], "amount": "1"}, *run.items[1:]], run.records


def _readdressed(run: Run) -> Any:
    return run.items, [replace(run.records[0], where="sim1" + "a" * 40), *run.records[1:]]


def _without_a_destination(run: Run) -> Any:
    return run.items, run.records[:-1]


def test_items_that_dont_recompute_are_refused(browser: Browser, office: Office) -> None:
    run, page = a_run(office), browser.page()
    for change in (_without, _swapped, _raised, _readdressed, _without_a_destination):
        office.send_items(*change(run))
        page.goto("about:blank")
        page.goto(run_link(office, run))
        browser.expect(page.get_by_role("alert")).to_be_visible()
        assert page.get_by_role("button").count() == 0


def test_a_run_without_its_items_isnt_shown(browser: Browser, office: Office) -> None:
    page = browser.page()
    page.goto(office.link(ADA, a_run(office).id))
    browser.expect(page.get_by_role("alert")).to_contain_text("items: are missing")


def test_the_challenge_is_the_hash_of_the_request(browser: Browser, office: Office) -> None:
    subject = old(office.world, MIDDLE)
    raw, signature = office.request(subject)
    approve(browser, office, ADA, station_url(office.origin, station_link.approve(office.asked(ADA), raw, signature)))
    (given,) = office.console.of("approve")
    client_data = json.loads(bytes.fromhex(given["assertion"]["client_data"]))
    assert urlsafe_b64decode(client_data["challenge"] + "=") == record_hash(APPROVAL_REQUEST_TYPE, raw)
    assert client_data["origin"] == office.origin
