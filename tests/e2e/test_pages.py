"""Every page of the console in a real browser, by light and dark, on a desk and on a phone: no violation of the CSP, no
error, nothing that axe finds; and what people wrote stays text."""

import json

import pytest
from tests.browser.browser import Browser
from tests.browser.fixture import browser, chromium
from tests.e2e.people import Seated
from tests.e2e.sandbox import SIM, Sandbox
from tests.signer.world import payee

pytestmark = pytest.mark.sandbox
__all__ = ["browser", "chromium"]

SCRIPT = "<script>window.owned = 1</script>"
NAMES = (
    SCRIPT, "<img src=x onerror=window.owned=1>", "\"><svg onload=window.owned=1>", "{{ 7 * 7 }} ' onfocus=owned=1",
)
APPROVERS = (
    "/", "/approvals", "/payouts", "/find?q=hostile-0", "/exceptions", "/beneficiaries", "/treasury", "/policy",
    "/changes", "/sessions",
)
OFFICERS = ("/people", "/keys", "/audit", "/audit/3", "/freeze")


@pytest.fixture(scope="module")
def filled(house: Sandbox) -> Sandbox:
    """Payees with hostile names, one payout that waits for people, one that is paid, one that is held."""
    for number, name in enumerate(NAMES):
        made = house.declarer.beneficiaries.create(
            name=name, destination={"network": "sim:sandbox", "address": payee(f"hostile-{number}")})
        house.pay(dict(made), f"hostile-{number}", (2 if number else 600) * SIM, SCRIPT if number else "hostile-0")
    return house


@pytest.mark.parametrize(("theme", "size"), [("light", "desktop"), ("dark", "phone")])
def test_every_page_is_well_formed_and_accessible(browser: Browser, filled: Sandbox, theme: str, size: str) -> None:
    for login, pages in (("ada", APPROVERS), ("cleo", OFFICERS)):
        seated = Seated(browser, filled, login, theme=theme, size=size)
        seated.follow_link()
        for path in pages:
            seated.page.goto(filled.document["console_url"] + path)
            browser.check(seated.page)
            assert seated.page.evaluate("window.owned") is None, path


def test_what_people_wrote_is_neutral_in_files(browser: Browser, filled: Sandbox) -> None:
    made = dict(filled.declarer.beneficiaries.create(name="=cmd()", destination={
        "network": "sim:sandbox", "address": payee("formula")}))
    seated = Seated(browser, filled, "ada")
    seated.follow_link()
    url = filled.document["console_url"]
    csv = seated.page.evaluate("fetch('/beneficiaries?as=csv').then((answer) => answer.text())")
    assert f"{made['id']},'=cmd()," in csv
    lines = seated.page.evaluate("fetch('/beneficiaries?as=jsonl').then((answer) => answer.text())").splitlines()
    assert {json.loads(line)["name"] for line in lines} >= {"=cmd()", *NAMES}
    seated.page.goto(url + "/beneficiaries?q=%3Dcmd")
    browser.expect(seated.page.get_by_role("link", name="=cmd()")).to_be_visible()
