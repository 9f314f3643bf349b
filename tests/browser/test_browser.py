"""The fixture itself: it sees what goes wrong on a page, and its passkeys are real ones."""

import hashlib
import json
from base64 import urlsafe_b64decode

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from tests.browser.browser import Browser
from tests.browser.pages import serving

GOOD = b'<!doctype html><html lang="en"><title>Page</title><main><h1>Page</h1><p>Text</p></main></html>'


def _with(part: bytes) -> bytes:
    return GOOD.replace(b"<p>", part + b"<p>")


def test_a_good_page_has_no_fault(browser: Browser) -> None:
    with serving({"/": GOOD}) as origin:
        page = browser.page("dark", "phone")
        page.goto(origin)
        assert page.get_by_role("heading").inner_text() == "Page"
        assert page.evaluate("[innerWidth, matchMedia('(prefers-color-scheme: dark)').matches]") == [390, True]
        browser.check()


@pytest.mark.parametrize(("pages", "fault"), [
    ({"/": _with(b"<script>document.title = 'changed'</script>")}, "CSP: script-src"),
    ({"/": _with(b'<p style="color: red">Red</p>')}, "CSP: style-src"),
    ({"/": _with(b'<script src="/a.js"></script>'), "/a.js": b"document.body.innerHTML = '<b>x</b>'"}, "CSP: require-"),
    ({"/": _with(b'<script src="/a.js"></script>'), "/a.js": b"nothing.at.all"}, "exception: .*nothing"),
    ({"/": _with(b'<script src="/a.js"></script>'), "/a.js": b"console.error('bad')"}, "console: bad"),
    ({"/": _with(b'<script src="/gone.js"></script>')}, "console: .*404"),
])
def test_what_goes_wrong_on_a_page_is_seen(browser: Browser, pages: dict[str, bytes], fault: str) -> None:
    with serving(pages) as origin, browser.expecting(fault):
        page = browser.page()
        page.goto(origin)
    browser.faults.clear()  # most are reported twice


def test_what_goes_wrong_in_another_tab_is_seen(browser: Browser) -> None:
    pages = {"/": _with(b'<a target="_blank" rel="noopener" href="/b">b</a>'), "/b": _with(b"<script>1</script>")}
    with serving(pages) as origin, browser.expecting("CSP: script-src"):
        page = browser.page()
        page.goto(origin)
        with page.context.expect_page() as opened:
            page.get_by_role("link").click()
        opened.value.wait_for_load_state()
        assert opened.value.evaluate("window.opener") is None
    browser.faults.clear()


def test_axe_finds_what_cant_be_read(browser: Browser) -> None:
    with serving({"/": _with(b'<img src="data:,">'), "/fixed": GOOD}) as origin:
        page = browser.page()
        page.goto(origin)
        assert any("axe image-alt" in each for each in browser.axe(page))
        with pytest.raises(AssertionError, match="image-alt"):
            browser.check(page)
        browser.faults.clear()
        page.goto(f"{origin}/fixed")
        assert browser.axe(page) == []


def test_a_passkey_signs_for_its_host_and_no_other(browser: Browser) -> None:
    key = generate_private_key(SECP256R1())
    secret = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    with serving({"/": GOOD}) as origin:
        page = browser.page()
        page.goto(origin)
        browser.passkey(page, "localhost", b"credential", secret, b"person")
        given = page.evaluate("""async () => {
            const found = await navigator.credentials.get({publicKey: {
                challenge: new Uint8Array(32), rpId: "localhost", userVerification: "required",
                allowCredentials: [{type: "public-key", id: new TextEncoder().encode("credential")}],
            }});
            return found.toJSON().response;
        }""")
        other = page.evaluate("""() => navigator.credentials.get({publicKey: {
            challenge: new Uint8Array(32), rpId: "example.com"}}).then(() => "signed", (fault) => fault.name)""")
    client_data, data, signature = (
        urlsafe_b64decode(given[name] + "==") for name in ("clientDataJSON", "authenticatorData", "signature")
    )
    key.public_key().verify(signature, data + hashlib.sha256(client_data).digest(), ECDSA(SHA256()))
    assert json.loads(client_data)["origin"] == origin
    assert data[32] & 0x05 == 0x05  # present and verified
    assert other == "SecurityError"
