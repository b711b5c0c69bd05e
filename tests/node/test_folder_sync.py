"""A folder's sync is shared: whoever waits is covered by one that began after he asked, and hears of that one's failure only."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from node.folder_sync import FolderSyncs, sync_folder

FOLDER = Path("study")


class Disk:
    """Syncs that are held until they are let go; `failing` numbers them from one."""

    def __init__(self, failing: tuple[int, ...] = ()) -> None:
        self.failing, self.begun, self.gate, self.entered = failing, 0, threading.Semaphore(0), threading.Semaphore(0)

    def sync(self, folder: Path) -> None:
        self.begun += 1
        number = self.begun
        self.entered.release()
        assert self.gate.acquire(timeout=20)
        if number in self.failing:
            raise OSError(5, "Input/output error")


def _callers(syncs: FolderSyncs, count: int, heard: list[str], folder: Path = FOLDER) -> list[threading.Thread]:
    def call() -> None:
        try:
            syncs.cover(folder)
            heard.append("synced")
        except OSError as error:
            heard.append(error.strerror)

    threads = [threading.Thread(target=call) for _ in range(count)]
    for thread in threads:
        thread.start()
    return threads


def _end(threads: list[threading.Thread]) -> None:
    for thread in threads:
        thread.join(20)
    assert not any(thread.is_alive() for thread in threads)


def _all_wait(syncs: FolderSyncs, threads: list[threading.Thread], soon) -> None:
    """One of them leads, the others wait for it."""
    soon(lambda: FOLDER in syncs._waiting and len(syncs._waiting[FOLDER].over._cond._waiters) == len(threads) - 1)


def test_those_who_come_while_a_sync_runs_share_the_next(soon):
    disk, first, later = Disk(), [], []
    syncs = FolderSyncs(disk.sync)
    begun = _callers(syncs, 1, first)
    assert disk.entered.acquire(timeout=20)
    waiting = _callers(syncs, 5, later)
    _all_wait(syncs, waiting, soon)
    assert disk.begun == 1 and first == later == []
    disk.gate.release()
    _end(begun)
    assert first == ["synced"] and later == [], "their entries may be younger than the sync that has ended"
    disk.gate.release()
    _end(waiting)
    assert later == ["synced"] * 5 and disk.begun == 2


def test_a_sync_that_fails_is_told_to_those_it_was_for_and_to_nobody_else(soon):
    disk, first, later = Disk(failing=(2,)), [], []
    syncs = FolderSyncs(disk.sync)
    begun = _callers(syncs, 1, first)
    assert disk.entered.acquire(timeout=20)
    waiting = _callers(syncs, 3, later)
    _all_wait(syncs, waiting, soon)
    disk.gate.release(2)
    _end(begun + waiting)
    assert first == ["synced"] and later == ["Input/output error"] * 3
    disk.gate.release()
    syncs.cover(FOLDER)
    assert disk.begun == 3 and not syncs._running and not syncs._waiting


def test_folders_do_not_wait_for_each_other():
    disk, heard = Disk(), []
    syncs = FolderSyncs(disk.sync)
    threads = _callers(syncs, 1, heard) + _callers(syncs, 1, heard, Path("another"))
    assert disk.entered.acquire(timeout=20) and disk.entered.acquire(timeout=20)
    disk.gate.release(2)
    _end(threads)


def test_a_sync_that_breaks_in_an_unknown_way_is_no_success():
    def breaks(folder: Path) -> None:
        raise MemoryError

    syncs, heard = FolderSyncs(breaks), []
    with pytest.raises(MemoryError):
        syncs.cover(FOLDER)
    syncs._sync = lambda folder: None
    _end(_callers(syncs, 1, heard))
    assert heard == ["synced"]


def test_a_folder_on_the_disk_is_synced(tmp_path):
    sync_folder(tmp_path)
    with pytest.raises(FileNotFoundError):
        sync_folder(tmp_path / "none")
