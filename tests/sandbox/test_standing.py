"""What the journal says was signed is counted once for each payout, and what can't be paid any more isn't."""

from pathlib import Path
from typing import Any

from strongroom.domain.instant import Instant
from strongroom.journal.journal import FileDisk, Journal
from strongroom.protocol.entry import Kind, Reading, write_entry
from strongroom.protocol.journal_chain import EMPTY_HEAD
from strongroom.sandbox.standing import read_journaled

CLOCK = Reading(Instant(1), Instant(1), Instant(1))
OURS, THEIRS = "org_" + "a" * 26, "org_" + "b" * 26


def spend(transaction: str, *paid: tuple[str, str, int], organisation: str = OURS) -> tuple[Kind, dict[str, Any]]:
    items: list[Any] = [
        [payout, "", "", "", asset, str(minor), *[""] * 8] for payout, asset, minor in paid
    ]
    return Kind.SPEND, {"items": items, "organisation": organisation, "transaction": transaction}


def journaled(folder: Path, *entries: tuple[Kind, dict[str, Any]], torn: bytes = b"") -> dict[str, int]:
    folder.chmod(0o700)
    journal = Journal.load(FileDisk(str(folder), create=True))
    journal.settle(0, EMPTY_HEAD)
    for kind, body in entries:
        journal.append(write_entry(kind, CLOCK, body))
    journal.sync()
    with (folder / "journal").open("ab") as file:
        file.write(torn)
    return dict(read_journaled(folder / "journal", OURS))  # while its process holds it


def test_a_payout_that_was_signed_again_counts_once_and_others_wallets_dont(tmp_path: Path) -> None:
    assert journaled(
        tmp_path, spend("t1", ("a", "BTC", 5), ("b", "BTC", 7)), spend("t2", ("b", "BTC", 7), ("c", "USDC", 9)),
        spend("t3", ("d", "BTC", 100), organisation=THEIRS), torn=b"\0\0\0\xffhalf of an entry",
    ) == {"BTC": 12, "USDC": 9}


def test_what_guard_didnt_agree_to_wasnt_signed_unless_it_was_before(tmp_path: Path) -> None:
    assert journaled(
        tmp_path, spend("t1", ("a", "BTC", 5)), spend("t2", ("a", "BTC", 5), ("b", "BTC", 7)),
        (Kind.ABANDONED, {"organisation": OURS, "transaction": "t2"}),
    ) == {"BTC": 5}


def test_what_is_void_isnt_counted(tmp_path: Path) -> None:
    void = {"attestations": [], "object": "a", "organisation": OURS, "void": []}
    assert journaled(tmp_path, spend("t1", ("a", "BTC", 5), ("b", "BTC", 7)), (Kind.VOID, void)) == {"BTC": 7}
