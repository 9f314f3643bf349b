"""The browser's own tests use it as others do."""

from tests.browser.fixture import browser, chromium

__all__ = ["browser", "chromium"]
