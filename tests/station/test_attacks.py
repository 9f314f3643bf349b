"""Attacks on the page itself: what an attacker writes stays text, nobody holds the window, and what is over stays over.

The attacker has the console's origin, another site, or a name that approvers read; wants the page to run, show or sign
something else. The bound is nothing.
"""

import json
import time
from base64 import b64encode
from typing import Any

import pytest
from tests.browser.browser import Browser
from tests.browser.pages import serving as serving_pages
from tests.rules.cases import MIDDLE, Run
from tests.signer.world import ADA, EVE, AskRefused, Human
from tests.station.office import CONSOLE_HOST, TOKEN, Office
from tests.station.test_page import approve, old, text_of

from strongroom.protocol import station_link
from strongroom.protocol.approval import APPROVAL_REQUEST_TYPE
from strongroom.protocol.canonical import encode, record_hash
from strongroom.protocol.station_link import Asked, station_url

INJECTIONS = (
    "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "\"><svg onload=alert(1)>", "javascript:alert(1)",
    "{{7*7}}", "${alert(1)}", "</title><script>alert(1)</script>", "<iframe srcdoc='<script>1</script>'>",
    "<!--", "&lt;b&gt;", "' onmouseover='alert(1)", "<a href=//evil.example>x</a>", "\\u003cscript\\u003e",
    "<style>*{display:none}</style>", "<base href=//evil.example>", "<form action=//evil.example><input>",
)
UNSEEN = {"\u202e": "⟨U+202E⟩", "\u200b": "⟨U+200B⟩", "\u00a0": "⟨U+00A0⟩", "\u2066": "⟨U+2066⟩", "\ufeff": "⟨U+FEFF⟩"}


def signed(office: Office, document: dict[str, Any]) -> tuple[bytes, bytes]:
    """A request as the signer would sign it, of fields that no honest intake would have let in."""
    raw = encode(document)
    return raw, office.world.store.statement_sign(record_hash(APPROVAL_REQUEST_TYPE, raw))


def document_of(office: Office) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(office.request(old(office.world, MIDDLE))[0])
    return document


def open_request(browser: Browser, office: Office, document: dict[str, Any], person: Human = ADA) -> Any:
    raw, signature = signed(office, document)
    page = browser.page()
    page.goto(station_url(office.origin, station_link.approve(office.asked(person), raw, signature)))
    page.get_by_role("button").or_(page.get_by_role("alert")).first.wait_for()
    return page


def test_names_and_references_stay_text(browser: Browser, office: Office) -> None:
    document = document_of(office)
    page = browser.page()
    for text in INJECTIONS:
        shown = {**document, "external_id": text, "destination": {**document["destination"], "name": text}}
        raw, signature = signed(office, shown)
        link = station_link.approve(Asked(ADA.id, text, ()), raw, signature)
        page.goto("about:blank")
        page.goto(station_url(office.origin, link))
        page.get_by_role("button").first.wait_for()
        assert text_of(page).count(text) >= 4, text  # name, external id, sentence, who is asked
        assert page.locator("main img, main svg, main script, main iframe, main a, main form, main style").count() == 0
        assert page.title() == "Strongroom station"
    browser.check(page)


def test_what_cant_be_seen_is_spelled_out(browser: Browser, office: Office) -> None:
    document = document_of(office)
    name = "Pay" + "".join(UNSEEN) + "ee"
    page = open_request(browser, office, {**document, "destination": {**document["destination"], "name": name}})
    assert page.locator(".name").inner_text() == "Pay" + "".join(UNSEEN.values()) + "ee"


def test_an_altered_request_shows_nothing_and_asks_nothing(browser: Browser, office: Office) -> None:
    """Each field in turn, by a proxy that can't sign; the page offers no button."""
    raw, signature = office.request(old(office.world, MIDDLE))
    page = browser.page()
    office.hand_passkey(browser, page, ADA)
    document = json.loads(raw)
    for field, value in document.items():
        other = value + 1 if isinstance(value, int) else [] if isinstance(value, list) else f"{value}"[:-1] + "x"
        changed = {**document, field: {**value, "address": "sim1x"} if isinstance(value, dict) else other}
        if changed == document:
            continue
        page.goto("about:blank")
        page.goto(station_url(office.origin, station_link.approve(office.asked(ADA), encode(changed), signature)))
        browser.expect(page.get_by_role("alert")).to_contain_text("isn't the signer's")
        assert page.get_by_role("button").count() == 0
    assert office.console.taken == []


def test_a_link_that_is_used_again_after_its_end_is_refused(browser: Browser, office: Office) -> None:
    document = document_of(office)
    page = open_request(browser, office, {**document, "expires_ms": time.time_ns() // 1_000_000})
    browser.expect(page.get_by_role("alert")).to_contain_text("expires_ms: has passed")


def test_what_expires_while_it_is_open_cant_be_approved_any_more(browser: Browser, office: Office) -> None:
    document = document_of(office)
    page = open_request(browser, office, {**document, "expires_ms": time.time_ns() // 1_000_000 + 6_000})
    browser.expect(page.get_by_text("This can't be signed any more")).to_be_visible()
    assert page.get_by_role("button").count() == 0


def test_what_is_open_isnt_swapped(browser: Browser, office: Office) -> None:
    first, second = (office.link(ADA, old(office.world, MIDDLE)) for _ in range(2))
    page = browser.page()
    page.goto(first)
    page.get_by_role("checkbox").first.wait_for()
    page.evaluate("(hash) => { location.hash = hash; }", second.partition("#")[2])
    browser.expect(page.get_by_role("alert")).to_contain_text("something else was opened in this tab")
    assert page.get_by_role("button").count() == 0


def test_who_doesnt_count_isnt_asked(browser: Browser, office: Office) -> None:
    page = open_request(browser, office, document_of(office), person=EVE)
    browser.expect(page.get_by_role("alert")).to_contain_text("your approval wouldn't count")


def test_it_runs_in_no_frame(browser: Browser, office: Office) -> None:
    html = f'<!doctype html><html lang="en"><title>x</title><main><h1>x</h1><iframe title="x" src="{office.origin}/">'
    pages = {"/": f"{html}</iframe></main></html>".encode()}
    with serving_pages(pages, policy="default-src *") as origin, browser.expecting("frame-ancestors|refused|CSP"):
        page = browser.page()
        page.goto(origin)
        frame = page.frames[1]
        assert "Strongroom" not in frame.content()
        page.close()


def test_whoever_opens_it_has_no_hold_on_it(browser: Browser, office: Office) -> None:
    """By window.open, which keeps a handle: the page is in a group of its own, so that the handle is dead."""
    script = b"document.querySelector('button').onclick = () => { held = window.open(document.body.dataset.url); };"
    head = '<!doctype html><html lang="en"><title>x</title>'
    html = f'{head}<body data-url="URL"><main><h1>x</h1><button>open</button></main>'
    url = office.link(ADA, old(office.world, MIDDLE))
    pages = {"/": f"{html.replace('URL', url)}<script src=/a.js></script></body></html>".encode(), "/a.js": script}
    with serving_pages(pages) as origin:
        page = browser.page()
        page.goto(origin)
        with page.context.expect_page() as opened:
            page.get_by_role("button").click()
        station = opened.value
        station.get_by_role("button", name="Approve with passkey").wait_for()
        assert station.evaluate("window.opener") is None
        assert page.evaluate("held.closed") is True
        station.close()


def test_no_other_origin_reads_the_station_or_asks_its_passkeys(browser: Browser, office: Office) -> None:
    """From the console's host: no file of the station's, and no assertion for its relying party."""
    pages = {"/": b'<!doctype html><html lang="en"><title>x</title><main><h1>x</h1></main></html>'}
    with serving_pages(pages, policy="default-src *") as origin, browser.expecting("CORS|Failed to load"):
        page = browser.page()
        page.goto(origin.replace("localhost", CONSOLE_HOST))
        office.hand_passkey(browser, page, ADA)
        read = page.evaluate(
            "(url) => fetch(url).then(() => 'read', (fault) => fault.name)", f"{office.origin}/config.json"
        )
        asked = page.evaluate("""() => navigator.credentials.get({publicKey: {challenge: new Uint8Array(32),
            rpId: "station.localhost"}}).then(() => "signed", (fault) => fault.name)""")
    assert (read, asked) == ("TypeError", "SecurityError")


def test_an_assertion_over_one_request_is_worth_nothing_for_another(browser: Browser, office: Office) -> None:
    world = office.world
    first, second = old(world, MIDDLE), old(world, MIDDLE)
    raw, signature = office.request(first)
    approve(browser, office, ADA, station_url(office.origin, station_link.approve(office.asked(ADA), raw, signature)))
    (given,) = office.console.of("approve")
    other, _ = office.request(second)
    with pytest.raises(AskRefused, match="isn't the hash of what was to be approved"):
        world.sign([second], approvals=[
            {"assertions": [given["assertion"]], "request": b64encode(other).decode(), "subject": second}
        ])
    assert world.sign([first], approvals=[
        {"assertions": [given["assertion"]], "request": b64encode(raw).decode(), "subject": first}
    ])


def test_a_large_run_is_recomputed_and_can_be_scrolled(browser: Browser, office: Office) -> None:
    """A thousand items: half of them at once, the rest by hand."""
    world = office.world
    record = world.cooled()
    run = Run(world, [100 + each for each in range(1_000)], record=record).sealed()
    office.send_items(run.items, run.records)
    page = browser.page()
    page.goto(office.link(ADA, run.id, items=TOKEN, **office.papers()))
    page.get_by_role("button", name="Show more: 500 are left").click()
    browser.expect(page.locator("tbody tr")).to_have_count(1_000)
    page.close()  # axe would take a minute for them, and has seen a smaller one
