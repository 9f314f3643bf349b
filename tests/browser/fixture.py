"""The fixture `browser`: one Chromium for a session, a clean one for each test, which must end without a fault.

A folder's conftest.py takes it in with `from tests.browser.fixture import browser, chromium`.
"""

from collections.abc import Iterator

import pytest
from tests.browser.browser import Browser, launch


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    with launch() as started:
        yield started


@pytest.fixture
def browser(chromium: Browser) -> Iterator[Browser]:
    """At the end of a test all pages that are open are looked at by axe, and nothing may have gone wrong on any."""
    chromium.faults.clear()
    yield chromium
    try:
        chromium.check()
    finally:
        chromium.close_pages()
        chromium.faults.clear()
