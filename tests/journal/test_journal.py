"""The journal: what is synced stays, what is torn is seen, and nothing is cut or added before guard was heard."""

import hashlib
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.journal.disks import MemoryDisk

from strongroom.journal.journal import BehindError, FileDisk, ForkError, Journal, JournalError
from strongroom.protocol.journal_chain import EMPTY_HEAD, ENTRY_MAXIMUM, EntryError, head_after, next_head


def settled(disk: MemoryDisk, *entries: bytes) -> Journal:
    journal = Journal.load(disk)
    journal.settle(0, EMPTY_HEAD)
    for entry in entries:
        journal.append(entry)
    journal.sync()
    return journal


def written(*entries: bytes) -> bytes:
    disk = MemoryDisk()
    settled(disk, *entries)
    return bytes(disk.raw)


def test_the_head_is_the_hash_of_domain_head_and_entry() -> None:
    first = hashlib.sha256(b"strongroom/journal/v1\0" + bytes(32) + b"a").digest()
    second = hashlib.sha256(b"strongroom/journal/v1\0" + first + b"bc").digest()
    assert head_after(EMPTY_HEAD, [b"a", b"bc"]) == second


def test_frames_are_length_entry_and_head() -> None:
    first = next_head(EMPTY_HEAD, b"a")
    second = next_head(first, b"bc")
    assert written(b"a", b"bc") == b"\0\0\0\1a" + first + b"\0\0\0\2bc" + second


def test_what_was_appended_is_there_after_loading_again() -> None:
    disk = MemoryDisk()
    journal = settled(disk, b"a", b"bc", b"d" * ENTRY_MAXIMUM)
    again = Journal.load(disk)
    assert list(again.entries()) == [b"a", b"bc", b"d" * ENTRY_MAXIMUM]
    assert next(again.entries(1)) == b"bc"
    assert list(again.entries(3)) == []
    assert (again.length, again.head, again.is_torn) == (3, journal.head, False)
    assert [again.head_at(each) for each in (0, 1)] == [EMPTY_HEAD, next_head(EMPTY_HEAD, b"a")]


@pytest.mark.parametrize("length", [-1, 2])
def test_there_is_no_head_outside_of_the_journal(length: int) -> None:
    with pytest.raises(JournalError, match="no head at"):
        settled(MemoryDisk(), b"a").head_at(length)


@pytest.mark.parametrize("entry", [b"", b"x" * (ENTRY_MAXIMUM + 1)])
def test_an_entry_has_a_byte_and_at_most_a_mebibyte(entry: bytes) -> None:
    disk = MemoryDisk()
    journal = settled(disk, b"a")
    before = bytes(disk.raw)
    with pytest.raises(EntryError, match="1 to 1048576 bytes"):
        journal.append(entry)
    assert (bytes(disk.raw), journal.length) == (before, 1)


@given(st.data())
def test_any_change_of_a_byte_ends_the_journal_before_it(data: st.DataObject) -> None:
    entries = [b"first", b"second", b"third"]
    raw = bytearray(written(*entries))
    at = data.draw(st.integers(0, len(raw) - 1))
    raw[at] ^= data.draw(st.integers(1, 255))
    journal = Journal.load(MemoryDisk(bytes(raw)))
    good = [len(written(*entries[:count])) for count in range(4)]
    expected = max(count for count in range(4) if good[count] <= at)
    assert list(journal.entries()) == entries[:expected]
    assert journal.head == head_after(EMPTY_HEAD, entries[:expected])
    assert journal.is_torn


@given(st.integers(0, len(written(b"first", b"second"))))
def test_a_prefix_of_the_file_is_a_prefix_of_the_entries(length: int) -> None:
    raw = written(b"first", b"second")
    journal = Journal.load(MemoryDisk(raw[:length]))
    whole = [len(written(*[b"first", b"second"][:count])) for count in range(3)]
    assert journal.length == max(count for count in range(3) if whole[count] <= length)
    assert journal.is_torn == (length not in whole)


@given(st.binary(max_size=200))
def test_garbage_is_no_journal_and_is_not_cut(raw: bytes) -> None:
    disk = MemoryDisk(raw)
    journal = Journal.load(disk)
    assert (journal.length, journal.is_torn) == (0, raw != b"")
    assert disk.raw == raw
    assert set(disk.calls) == {"read"}


def test_nothing_is_appended_before_guard_was_heard() -> None:
    disk = MemoryDisk(written(b"a"))
    journal = Journal.load(disk)
    with pytest.raises(JournalError, match="before the journal was compared"):
        journal.append(b"b")
    journal.settle(1, next_head(EMPTY_HEAD, b"a"))
    assert journal.append(b"b") == head_after(EMPTY_HEAD, [b"a", b"b"])


def test_settling_cuts_the_torn_tail_and_makes_the_rest_last() -> None:
    disk = MemoryDisk(written(b"a") + b"\0\0\0\5torn")
    journal = Journal.load(disk)
    disk.calls.clear()
    journal.settle(1, next_head(EMPTY_HEAD, b"a"))
    assert (bytes(disk.raw), journal.is_torn) == (written(b"a"), False)
    assert disk.calls == ["truncate", "sync"]


def test_settling_syncs_what_a_killed_process_left_unsynced() -> None:
    disk = MemoryDisk(written(b"a", b"b"))
    journal = Journal.load(disk)
    disk.calls.clear()
    journal.settle(1, next_head(EMPTY_HEAD, b"a"))
    assert disk.calls == ["sync"]
    assert list(journal.entries(1)) == [b"b"]


def test_a_journal_behind_guard_is_not_settled_and_not_cut() -> None:
    disk = MemoryDisk(written(b"a") + b"torn")
    journal = Journal.load(disk)
    with pytest.raises(BehindError, match="guard has 2 entries, and the journal 1"):
        journal.settle(2, head_after(EMPTY_HEAD, [b"a", b"b"]))
    with pytest.raises(JournalError):
        journal.append(b"b")
    assert disk.raw == written(b"a") + b"torn"


@pytest.mark.parametrize("guard", [[b"x"], [b"a", b"x"]])
def test_a_journal_that_says_something_else_is_not_settled(guard: list[bytes]) -> None:
    disk = MemoryDisk(written(b"a", b"b") + b"torn")
    journal = Journal.load(disk)
    with pytest.raises(ForkError, match=f"first {len(guard)}"):
        journal.settle(len(guard), head_after(EMPTY_HEAD, guard))
    assert disk.raw == written(b"a", b"b") + b"torn"


def test_a_journal_is_brought_forward_by_what_guard_signed() -> None:
    disk = MemoryDisk(written(b"a") + b"torn")
    journal = Journal.load(disk)
    journal.bring_forward([b"b"], head_after(EMPTY_HEAD, [b"a", b"b"]))
    journal.bring_forward([b"c", b"d"], head_after(EMPTY_HEAD, [b"a", b"b", b"c", b"d"]))
    assert bytes(disk.raw) == written(b"a", b"b", b"c", b"d")
    assert disk.calls[-1] == "sync"
    journal.settle(4, journal.head)
    assert list(journal.entries()) == [b"a", b"b", b"c", b"d"]
    with pytest.raises(JournalError, match="settled journal"):
        journal.bring_forward([b"e"], next_head(journal.head, b"e"))


def test_entries_that_do_not_lead_to_guards_head_are_not_written() -> None:
    disk = MemoryDisk(written(b"a") + b"torn")
    journal = Journal.load(disk)
    with pytest.raises(ForkError, match="don't continue"):
        journal.bring_forward([b"b"], head_after(EMPTY_HEAD, [b"x", b"b"]))
    assert disk.raw == written(b"a") + b"torn"


FAULTS: list[tuple[str, Callable[[Journal], object]]] = [
    ("append", lambda journal: journal.append(b"b")),
    ("sync", lambda journal: journal.sync()),
    ("read", lambda journal: list(journal.entries())),
    ("sync", lambda journal: journal.settle(0, EMPTY_HEAD)),
]


@pytest.mark.parametrize(("fault", "act"), FAULTS)
def test_after_a_fault_of_the_disk_every_call_is_refused(fault: str, act: Callable[[Journal], object]) -> None:
    disk = MemoryDisk()
    journal = settled(disk, b"a")
    disk.failing = {fault}
    with pytest.raises(JournalError, match=f"disk failed.*{fault} failed"):
        act(journal)
    disk.failing = set()
    disk.calls.clear()
    every: list[Callable[[], object]] = [
        lambda: journal.append(b"b"), journal.sync, lambda: journal.head, lambda: journal.head_at(0),
        lambda: list(journal.entries()), lambda: journal.settle(1, next_head(EMPTY_HEAD, b"a")),
    ]
    for call in every:
        with pytest.raises(JournalError, match="can't be used any more"):
            call()
    assert disk.calls == []


def test_a_disk_that_can_not_be_read_is_no_empty_journal() -> None:
    disk = MemoryDisk(written(b"a"))
    disk.failing = {"read"}
    with pytest.raises(JournalError, match="disk failed"):
        Journal.load(disk)


def test_an_entry_that_changes_on_the_disk_later_is_seen_when_read_again() -> None:
    disk = MemoryDisk()
    journal = settled(disk, b"a", b"b")
    disk.raw[4] ^= 1
    with pytest.raises(JournalError, match="entry 0 has changed"):
        list(journal.entries())
    with pytest.raises(JournalError, match="any more: entry 0 has changed"):
        journal.append(b"c")


def test_another_whole_journal_in_its_place_is_seen_when_read_again() -> None:
    disk = MemoryDisk()
    journal = settled(disk, b"a", b"b")
    disk.raw[:] = written(b"x", b"y")
    with pytest.raises(JournalError, match="entry 0 has changed"):
        list(journal.entries())


def test_a_closed_journal_is_refused_and_says_so() -> None:
    disk = MemoryDisk()
    journal = settled(disk)
    journal.close()
    with pytest.raises(JournalError, match="it was closed"):
        journal.append(b"a")
    assert disk.is_closed


def own_folder(tmp_path: Path) -> str:
    folder = tmp_path / "signer"
    folder.mkdir(mode=0o700)
    return str(folder)


def test_a_real_file_keeps_the_journal(tmp_path: Path) -> None:
    folder = own_folder(tmp_path)
    journal = Journal.load(FileDisk(folder, create=True))
    journal.settle(0, EMPTY_HEAD)
    for number in range(100):
        journal.append(b"entry %d" % number)
    journal.sync()
    head = journal.head
    journal.close()
    file = Path(folder, "journal")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    with file.open("ab") as torn:
        torn.write(b"torn")
    again = Journal.load(FileDisk(folder))
    assert (again.length, again.head, again.is_torn) == (100, head, True)
    again.settle(100, head)
    again.append(b"more")
    again.close()
    last = Journal.load(FileDisk(folder))
    assert list(last.entries(99)) == [b"entry 99", b"more"]
    last.close()


def test_two_processes_can_not_hold_one_journal(tmp_path: Path) -> None:
    folder = own_folder(tmp_path)
    disk = FileDisk(folder, create=True)
    with pytest.raises(JournalError, match="another process holds"):
        FileDisk(folder)
    disk.close()
    FileDisk(folder).close()
    assert os.listdir(folder) == ["journal"]


def test_a_missing_journal_is_never_a_new_one_and_a_new_one_never_an_old(tmp_path: Path) -> None:
    folder = own_folder(tmp_path)
    with pytest.raises(JournalError, match="No such file"):
        FileDisk(folder)
    FileDisk(folder, create=True).close()
    with pytest.raises(JournalError, match="File exists"):
        FileDisk(folder, create=True)


def test_a_journal_that_others_may_open_is_refused(tmp_path: Path) -> None:
    folder = own_folder(tmp_path)
    FileDisk(folder, create=True).close()
    for path, mode in ((folder, 0o750), (f"{folder}/journal", 0o604)):
        before = os.stat(path).st_mode
        os.chmod(path, mode)
        with pytest.raises(JournalError, match="open to nobody else"):
            FileDisk(folder)
        os.chmod(path, before)
    FileDisk(folder).close()


def test_a_link_in_place_of_the_journal_is_refused(tmp_path: Path) -> None:
    folder = own_folder(tmp_path)
    Path(folder, "journal").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere").touch(mode=0o600)
    with pytest.raises(JournalError, match="can't be opened"):
        FileDisk(folder)


def test_a_short_write_is_carried_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = own_folder(tmp_path)
    disk = FileDisk(folder, create=True)
    whole = os.write
    monkeypatch.setattr(os, "write", lambda file, raw: whole(file, bytes(raw[:3])))
    disk.append(b"0123456789")
    monkeypatch.undo()
    assert disk.read(0, 99) == b"0123456789"
    disk.close()
