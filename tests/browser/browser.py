"""A real Chromium for tests of pages: they fail on any CSP violation, error in the console, or finding of axe.

Playwright drives it over CDP on a loop of its own, in a thread, so that tests may call what they like: `page` gives a
Playwright page whose methods wait (`page.goto(…)`, `page.get_by_role(…).click()`, `with page.expect_download() as …`).
Passkeys are those of a virtual authenticator. The browser finds no host but this machine.
"""

import asyncio
import inspect
import re
import threading
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, Final

from playwright import async_api

from strongroom.sandbox import parts

TIMEOUT_MS: Final = 30_000
"""Of anything that is waited for: the machine may have much else to do."""
SIZES: Final = {"desktop": {"width": 1280, "height": 800}, "phone": {"width": 390, "height": 844}}
THEMES: Final = ("light", "dark")
_ARGUMENTS: Final = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE *.localhost, EXCLUDE 127.0.0.1",
)
_IGNORED: Final = re.compile(r"favicon\.ico")
"""Chromium asks each origin for one that no page names."""


class Browser:
    """`faults` has what went wrong on any page so far, in words; `expecting` takes what a test provokes out of it."""

    def __init__(self, loop: asyncio.AbstractEventLoop, browser: Any) -> None:
        self._loop = loop
        self._browser = browser
        self._attaching: list[asyncio.Task[None]] = []
        self._contexts: list[Any] = []
        self._sessions: dict[Any, Any] = {}
        self.faults: list[str] = []

    def page(self, theme: str = "light", size: str = "desktop", **options: Any) -> Any:
        """A fresh page with cookies of its own. `options` are Playwright's for a context: `user_agent`, `locale`, …"""
        return self.context(theme, size, **options).new_page()

    def context(self, theme: str = "light", size: str = "desktop", **options: Any) -> Any:
        """For pages that share cookies: `context.new_page()`, and what they open in new tabs."""
        made = self._run(self._context(color_scheme=theme, viewport=SIZES[size], **options))
        return _waiting(made, self._run)

    def passkey(
        self, page: Any, rp_id: str, credential_id: bytes, private_key: bytes, user_id: bytes, *, verifies: bool = True
    ) -> str:
        """Put a passkey into the page's authenticator, which is made if there is none; its id.

        `private_key` is PKCS #8 in DER, of P-256 or Ed25519. One that doesn't verify its person is asked in vain.
        """
        return self._run(self._passkey(page, verifies, {
            "credentialId": b64encode(credential_id).decode(), "isResidentCredential": True, "rpId": rp_id,
            "privateKey": b64encode(private_key).decode(), "userHandle": b64encode(user_id).decode(), "signCount": 0,
        }))

    def authenticator(self, page: Any, *, verifies: bool = True) -> str:
        """An empty one, for a page that enrols a passkey; its id."""
        return self._run(self._passkey(page, verifies, None))

    def credentials(self, page: Any, authenticator: str) -> list[dict[str, Any]]:
        """What a page's authenticator holds, as CDP says it."""
        answer = self.cdp(page, "WebAuthn.getCredentials", authenticatorId=authenticator)
        found: list[dict[str, Any]] = answer["credentials"]
        return found

    def cdp(self, page: Any, method: str, **parameters: Any) -> Any:
        """Any command of the DevTools protocol, to this page."""
        return self._run(self._cdp(_inner(page), method, parameters))

    def expect(self, located: Any) -> Any:
        """Playwright's assertions, which wait: `browser.expect(page.get_by_role("alert")).to_have_text("…")`."""
        async_api.expect.set_options(timeout=TIMEOUT_MS)
        return _waiting(async_api.expect(_inner(located)), self._run)

    @contextmanager
    def expecting(self, pattern: str) -> Iterator[None]:
        """What a test provokes: something that matches must go wrong inside, and is no fault then."""
        before = len(self.faults)
        yield
        self.settle()
        provoked = [each for each in self.faults[before:] if re.search(pattern, each)]
        assert provoked, f"nothing went wrong that matches {pattern!r}; there was {self.faults[before:]}"
        self.faults[before:] = [each for each in self.faults[before:] if each not in provoked]

    def settle(self) -> None:
        """Let what was reported arrive."""
        self._run(self._settle())

    def check(self, *pages: Any) -> None:
        """That nothing went wrong so far, and that axe finds nothing on these pages (all that are open, if none)."""
        self.settle()
        shown = [_inner(each) for each in pages] or [page for each in self._contexts for page in each.pages]
        for page in shown:
            self.faults += self._run(self._axe(page))
        assert not self.faults, "\n".join(self.faults)

    def axe(self, page: Any) -> list[str]:
        """What axe finds on the page as it stands, a line each; nothing, if all is well."""
        return self._run(self._axe(_inner(page)))

    def close_pages(self) -> None:
        self._run(self._close_pages())

    def _run(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _context(self, **options: Any) -> Any:
        context = await self._browser.new_context(**options)
        context.set_default_timeout(TIMEOUT_MS)
        context.on("page", lambda page: self._attaching.append(asyncio.ensure_future(self._attach(page))))
        self._contexts.append(context)
        return context

    async def _attach(self, page: Any) -> None:
        """Hear of all that goes wrong: by the console, by exceptions, and by the browser's own list of issues."""
        page.on("console", lambda message: message.type == "error" and self._note("console", message.text, message))
        page.on("pageerror", lambda fault: self._note("exception", str(fault)))
        session = await self._session(page)
        session.on("Audits.issueAdded", self._issue)
        await session.send("Audits.enable")

    def _issue(self, event: dict[str, Any]) -> None:
        details = event["issue"]["details"].get("contentSecurityPolicyIssueDetails")
        if details is not None:
            self._note("CSP", f"{details['violatedDirective']}: {details.get('blockedURL', 'inline')}")

    def _note(self, kind: str, text: str, message: Any = None) -> None:
        where = message.location.get("url", "") if message is not None else ""
        if not _IGNORED.search(where):
            self.faults.append(f"{kind}: {text} {where}".rstrip())

    async def _session(self, page: Any) -> Any:
        if page not in self._sessions:
            self._sessions[page] = await page.context.new_cdp_session(page)
        return self._sessions[page]

    async def _cdp(self, page: Any, method: str, parameters: dict[str, Any]) -> Any:
        await self._settle()
        return await (await self._session(page)).send(method, parameters)

    async def _settle(self) -> None:
        """Each page answers once more: what it reported before has come by then. A page may close meanwhile."""
        tasks, self._attaching = self._attaching, []
        pages = [page for each in self._contexts for page in each.pages]
        asked = [self._sessions[page].send("Audits.enable") for page in pages if page in self._sessions]
        await asyncio.gather(*tasks, *asked, return_exceptions=True)

    async def _passkey(self, page: Any, verifies: bool, credential: dict[str, Any] | None) -> str:
        page = _inner(page)
        found = getattr(page, "strongroom_authenticator", None)
        if found is None:
            await self._cdp(page, "WebAuthn.enable", {})
            made = await self._cdp(page, "WebAuthn.addVirtualAuthenticator", {"options": {
                "protocol": "ctap2", "ctap2Version": "ctap2_1", "transport": "internal", "hasResidentKey": True,
                "hasUserVerification": True, "isUserVerified": verifies, "automaticPresenceSimulation": True,
            }})
            found = page.strongroom_authenticator = made["authenticatorId"]
        if credential is not None:
            await self._cdp(page, "WebAuthn.addCredential", {"authenticatorId": found, "credential": credential})
        return str(found)

    async def _axe(self, page: Any) -> list[str]:
        """In a world of its own, which the page's CSP doesn't rule and the page doesn't see."""
        session = await self._session(page)
        frame = (await session.send("Page.getFrameTree"))["frameTree"]["frame"]["id"]
        world = (await session.send("Page.createIsolatedWorld", {"frameId": frame}))["executionContextId"]

        async def evaluate(expression: str) -> Any:
            answer = await session.send("Runtime.evaluate", {
                "expression": expression, "contextId": world, "awaitPromise": True, "returnByValue": True,
            })
            assert "exceptionDetails" not in answer, answer["exceptionDetails"]
            return answer["result"].get("value")

        await evaluate(_axe_source() + ";0")
        found = await evaluate("axe.run(document).then((done) => done.violations)")
        return [
            f"axe {each['id']} on {page.url}: {each['help']}: {node['html'][:200]}"
            for each in found for node in each["nodes"]
        ]

    async def _close_pages(self) -> None:
        await self._settle()
        contexts, self._contexts = self._contexts, []
        self._sessions.clear()
        for context in contexts:
            await context.close()


@contextmanager
def launch() -> Iterator[Browser]:
    """Chromium without a window, until the end. Raises: PartError if there is none and none can be fetched."""
    program, variables = parts.browser(print)
    with _loop() as loop:
        started = asyncio.run_coroutine_threadsafe(async_api.async_playwright().start(), loop).result()
        try:
            chromium = asyncio.run_coroutine_threadsafe(
                started.chromium.launch(executable_path=program, args=[*_ARGUMENTS], env=_environment(variables)), loop
            ).result()
            yield Browser(loop, chromium)
            asyncio.run_coroutine_threadsafe(chromium.close(), loop).result()
        finally:
            asyncio.run_coroutine_threadsafe(started.stop(), loop).result()


def _environment(variables: dict[str, str]) -> dict[str, str | float | bool]:
    return {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "TZ": "UTC", **variables}


@contextmanager
def _loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="browser")
    thread.start()
    try:
        yield loop
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@cache
def _axe_source() -> str:
    return (parts.node_modules(print) / "node_modules/axe-core/axe.min.js").read_text()


class _Waiting:
    """A Playwright object whose methods return when they are done, and what they return likewise."""

    def __init__(self, inner: Any, run: Callable[[Any], Any]) -> None:
        self.__dict__["inner"] = inner
        self.__dict__["run"] = run

    def __getattr__(self, name: str) -> Any:
        return _waiting(getattr(self.inner, name), self.run)

    def __enter__(self) -> Any:
        return _waiting(self.run(self.inner.__aenter__()), self.run)

    def __exit__(self, *about: Any) -> None:
        self.run(self.inner.__aexit__(*about))


def _waiting(value: Any, run: Callable[[Any], Any]) -> Any:
    if isinstance(value, list | tuple):
        return [_waiting(each, run) for each in value]
    if inspect.isawaitable(value):
        return _waiting(run(_wait_for(value)), run)
    if callable(value) and not isinstance(value, type):
        def call(*arguments: Any, **named: Any) -> Any:
            given = [_inner(each) for each in arguments]
            return _waiting(run(_call(value, given, {name: _inner(each) for name, each in named.items()})), run)
        return call
    is_playwrights = type(value).__module__.startswith("playwright.")
    return _Waiting(value, run) if is_playwrights and not isinstance(value, dict) else value


def _inner(value: Any) -> Any:
    return value.__dict__["inner"] if isinstance(value, _Waiting) else value


async def _call(function: Callable[..., Any], arguments: list[Any], named: dict[str, Any]) -> Any:
    """In the browser's loop, even what doesn't wait: Playwright's objects belong to it."""
    answer = function(*arguments, **named)
    return await answer if inspect.isawaitable(answer) else answer


async def _wait_for(value: Any) -> Any:
    return await value
