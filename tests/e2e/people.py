"""One of a sandbox's people before a browser: passkeys in a virtual authenticator, the console, the station."""

import json
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, derive_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from tests.browser.browser import Browser
from tests.e2e.sandbox import Sandbox

STATION = "station.localhost"


class Seated:
    """`page` is the console's, signed in."""

    def __init__(self, browser: Browser, sandbox: Sandbox, login: str, **how: Any) -> None:
        self.browser, self.sandbox, self.login = browser, sandbox, login
        self.person = next(each for each in sandbox.document["people"] if each["login"] == login)
        self.context = browser.context(**how)
        self.page = self.context.new_page()

    def enrol(self) -> None:
        """Make a passkey by an invitation's link, and sign in with it."""
        done = self.sandbox.box.run("console", "invite", self.login, "--json")
        assert done.returncode == 0, done.stderr
        self.browser.authenticator(self.page)
        self.page.goto(json.loads(done.stdout)["link"])
        self.page.get_by_role("button", name="Make the passkey").click()
        self.page.wait_for_url("**/sign-in")
        self.page.get_by_role("button", name="Sign in with a passkey").click()
        self.page.wait_for_url(self.sandbox.document["console_url"] + "/")

    def follow_link(self) -> None:
        """Sign in by the sandbox's software passkey."""
        done = self.sandbox.box.run("console", "sign-in", "--as", self.login, "--json")
        assert done.returncode == 0, done.stderr
        self.page.goto(json.loads(done.stdout)["link"])

    def approve(self, subject: str) -> Any:
        """Open the request, confirm what is asked, and approve at the station; the station's page afterwards."""
        station = self.open_station(subject)
        station.get_by_role("button", name="Approve with passkey").wait_for()
        for box in station.get_by_role("checkbox").all():
            box.check()
        station.get_by_role("button", name="Approve with passkey").click()
        return station

    def instruct(self, link: str) -> Any:
        """Follow a link of the page that is open to the station."""
        with self.context.expect_page() as opened:
            self.page.get_by_role("link", name=link).click()
        self.browser.passkey(opened.value, STATION, *approval_key(self.person))
        return opened.value

    def open_station(self, subject: str) -> Any:
        self.page.goto(f"{self.sandbox.document['console_url']}/approvals/{subject}")
        for box in self.page.get_by_role("checkbox").all():
            box.check()
        with self.context.expect_page() as opened:
            self.page.get_by_role("button", name="Approve at the station").click()
        station = opened.value
        self.browser.passkey(station, STATION, *approval_key(self.person))
        return station


def approval_key(person: dict[str, Any]) -> tuple[bytes, bytes, bytes]:
    """Credential, private key as PKCS #8, and user handle, of a sandbox's software passkey."""
    found = json.loads(Path(person["software_key_file"]).read_text())
    key = derive_private_key(int(found["p256_private"], 16), SECP256R1())
    private = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    return bytes.fromhex(found["credential_id"]), private, person["id"].encode()
