"""The sync of a folder, shared by all who wait for it: what was linked into it stays there after a power cut.

A sync serves everybody whose entry was made before it began. Who comes while one runs waits for the next, together with all the others
who do; each hears of the failure of the sync that was to cover it, and of no other.
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path


def sync_folder(folder: Path | str) -> None:
    """OSError where the disk refuses."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


class Round:
    """One sync: it begins when the one before is over, and has failed until it has not."""

    def __init__(self, before: Round | None) -> None:
        self.before, self.over = before, threading.Event()
        self.error: OSError | None = OSError(errno.EIO, "the folder could not be synced")


class FolderSyncs:
    """The syncs that run or wait to run, one of each for every folder. `sync` is what one of them does."""

    def __init__(self, sync: Callable[[str], None] = sync_folder) -> None:
        self._sync = sync
        self._lock = threading.Lock()
        self._running: dict[str, Round] = {}
        self._waiting: dict[str, Round] = {}

    def cover(self, folder: str) -> None:
        """Return when a sync of the folder that began after this call has ended. OSError where it failed."""
        with self._lock:
            mine = self._waiting.get(folder)
            if leads := mine is None:
                mine = self._waiting[folder] = Round(self._running.get(folder))
        if leads:
            self._lead(folder, mine)
        else:
            mine.over.wait()
        if mine.error:
            raise OSError(mine.error.errno, mine.error.strerror)

    def _lead(self, folder: str, mine: Round) -> None:
        if mine.before:
            mine.before.over.wait()
            mine.before = None
        with self._lock:
            self._running[folder] = self._waiting.pop(folder)
        try:
            self._sync(folder)
            mine.error = None
        except OSError as error:
            mine.error = error
        finally:
            with self._lock:
                if self._running.get(folder) is mine:
                    del self._running[folder]
            mine.over.set()
