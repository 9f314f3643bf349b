"""The company's list: what is on it is a hit, what isn't is clear, and a list that can't be read clears nothing."""

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from strongroom.engine import screening
from strongroom.engine.screening import Clear, Hit, ListScreen, NoScreen, ScreeningError


def screened(screen: Any, address: str) -> Clear | Hit:
    found: Clear | Hit = asyncio.run(screen.screen(SimpleNamespace(address=address)))
    return found


def test_what_is_on_the_list_is_a_hit_with_its_reason(tmp_path: Path) -> None:
    file = tmp_path / "list"
    file.write_text("# addresses that we don't pay\n\nsim1bad  # a court said so\n sim1worse\n")
    screen = ListScreen(file)
    assert screened(screen, "sim1bad") == Hit("the company's list", "a court said so")
    assert screened(screen, "sim1worse") == Hit("the company's list", "it is on the list")
    for address in ("sim1good", "sim1ba", "sim1bad ", ""):
        assert screened(screen, address) == Clear()


def test_a_changed_list_counts_at_once(tmp_path: Path) -> None:
    file = tmp_path / "list"
    file.write_text("")
    screen = ListScreen(file)
    assert screened(screen, "sim1bad") == Clear()
    file.write_text("sim1bad\n")
    assert isinstance(screened(screen, "sim1bad"), Hit)


def test_a_list_that_cannot_be_read_clears_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "list"
    screen = ListScreen(file)
    with pytest.raises(ScreeningError, match="can't be read"):
        screened(screen, "sim1good")
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(ScreeningError, match="can't be read"):
        screened(screen, "sim1good")
    monkeypatch.setattr(screening, "LIST_BYTES_MAXIMUM", 3)
    file.write_text("sim1bad\n")
    with pytest.raises(ScreeningError, match="longer than"):
        screened(screen, "sim1good")


def test_without_a_screen_everything_is_clear() -> None:
    assert screened(NoScreen(), "sim1bad") == Clear()
