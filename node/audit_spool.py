"""Audit messages on the disk, in the order in which they came, until the repository has them: `audit/` in the storage folder.

    audit/<time>.<process>.frames     syslog messages as they go over the wire: octet count, space, message (RFC 5425 4.3)
    audit/position.json               how far each file was sent

A file is appended to by one process, which holds its lock, and synced at each message; a new one begins at `_FILE_BYTES`, and at each
start. What a crash cut at the end of a file was never durable, and is passed over. What was sent stays as long as the settings say and
there is room, what was not sent is never thrown away: where there is no room for more, `append` says so.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from node.folder_sync import sync_folder
from node.lock import is_held

_FILE_BYTES = 2**20
_LONGEST_FRAME = 2**20
_NEW_S = 3600.0  # an empty file that is younger may be about to be locked and written


class AuditSpool:
    """The audit messages in one storage folder. `is_sent`: there is a repository, so what it has not got is not old."""

    def __init__(self, folder: Path, at_most_bytes: int = 2**30, keep_days: float = 0.0, is_sent: bool = True) -> None:
        self.folder = folder / "audit"
        self.at_most_bytes, self.keep_s, self.is_sent = at_most_bytes, keep_days * 86400, is_sent
        self._file, self._lock = None, threading.Lock()

    def append(self, messages: Sequence[bytes], even_if_full: bool = False) -> bool:
        """Keep messages durably; False, and nothing kept, where there is no room. OSError where the disk does not take them."""
        frames = b"".join(b"%d %s" % (len(message), message) for message in messages)
        with self._lock:
            if self.bytes() + len(frames) > self.at_most_bytes and not even_if_full and not self._has_made_room(len(frames)):
                return False
            file = self._current()
            try:
                begin, rest = file.tell(), memoryview(frames)
                while rest:
                    rest = rest[file.write(rest):]
                os.fsync(file.fileno())
            except OSError:
                self._cut(file, begin)
                raise
            return True

    def _current(self):
        if self._file is not None and self._file.tell() >= _FILE_BYTES:
            self._file.close()
            self._file = None
        if self._file is None:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            path = self.folder / f"{self._next():020d}.{os.getpid()}.frames"
            handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_APPEND, 0o600)
            fcntl.flock(handle, fcntl.LOCK_EX)
            self._file = os.fdopen(handle, "ab", buffering=0)
            sync_folder(self.folder)
        return self._file

    def _next(self) -> int:
        """The time in ns, but later than every file that is there: a clock that was put back changes no order."""
        there = self.files()
        return max(time.time_ns(), _number(there[-1]) + 1 if there else 0)

    def _cut(self, file, begin: int) -> None:
        """Nothing may follow half a message in the same file."""
        self._file = None
        with contextlib.suppress(OSError):
            file.truncate(begin)
        file.close()

    def close(self) -> None:
        with self._lock:
            if self._file is not None:
                self._file.close()
                self._file = None

    # what is there

    def files(self) -> list[Path]:
        """The oldest first."""
        return sorted(self.folder.glob("*.frames"))

    def bytes(self) -> int:
        return sum(_size(path) for path in self.files())

    def waiting(self) -> tuple[int, float | None]:
        """How many messages were not sent yet, and when the oldest of these files began, in seconds since 1970."""
        known, count, since = self.positions(), 0, None
        for path in self.files():
            frames = frames_of(path, known.get(path.name, 0))
            count += len(frames)
            since = since or (_number(path) / 1e9 if frames else None)
        return count, since

    # what was sent

    def positions(self) -> dict[str, int]:
        try:
            return {str(name): int(offset) for name, offset in json.loads((self.folder / "position.json").read_text()).items()}
        except (OSError, ValueError, AttributeError):
            return {}  # lost or broken: everything that is there is sent again

    def unsent(self, at_most: int = 200) -> list[tuple[Path, int, bytes]]:
        """The oldest messages that were not sent: file, offset of the end, the frame."""
        known, found = self.positions(), []
        for path in self.files():
            end = known.get(path.name, 0)
            for frame in frames_of(path, end, at_most - len(found)):
                end += len(frame)
                found.append((path, end, frame))
            if len(found) >= at_most:
                break
        return found

    def mark_sent(self, frames: Sequence[tuple[Path, int, bytes]]) -> None:
        """Remember durably how far they were sent."""
        with self._lock:
            there = {path.name for path in self.files()}
            known = {name: offset for name, offset in self.positions().items() if name in there}
            known.update({path.name: end for path, end, _ in frames})
            part = self.folder / "position.part"
            with open(part, "w", opener=_private) as file:
                json.dump(known, file)
                file.flush()
                os.fsync(file.fileno())
            part.replace(self.folder / "position.json")
            sync_folder(self.folder)

    # what goes

    def sweep(self) -> None:
        """Remove the files that were sent and are old enough."""
        with self._lock:
            known = self.positions()
            for path in self.files():
                if self._is_over(path, known) and time.time() - _changed_at(path) >= self.keep_s:
                    path.unlink(missing_ok=True)

    def _has_made_room(self, wanted: int) -> bool:
        known = self.positions()
        for path in self.files():
            if self.bytes() + wanted <= self.at_most_bytes:
                break
            if self._is_over(path, known):
                path.unlink(missing_ok=True)
        return self.bytes() + wanted <= self.at_most_bytes

    def _is_over(self, path: Path, known: dict[str, int]) -> bool:
        """Nobody writes to it any more, and nothing in it is still to be sent."""
        if is_held(path) or (not _size(path) and time.time() - _changed_at(path) < _NEW_S):
            return False
        return not self.is_sent or not frames_of(path, known.get(path.name, 0), 1)


def frames_of(path: Path, offset: int = 0, at_most: int = 10**9) -> list[bytes]:
    """The whole frames of a file from an offset on; half a frame at its end is left out."""
    found: list[bytes] = []
    with contextlib.suppress(FileNotFoundError), open(path, "rb") as file:
        file.seek(offset)
        data, at = file.read(), 0
        while len(found) < at_most and (frame := _frame(data, at)):
            found.append(frame)
            at += len(frame)
    return found


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _frame(data: bytes, at: int) -> bytes:
    count, space, _ = data[at:at + 12].partition(b" ")
    if not space or not count.isdigit() or int(count) > _LONGEST_FRAME:
        return b""
    end = at + len(count) + 1 + int(count)
    return data[at:end] if end <= len(data) else b""


def _number(path: Path) -> int:
    return int(path.name.partition(".")[0])


def _size(path: Path) -> int:
    with contextlib.suppress(FileNotFoundError):
        return path.stat().st_size
    return 0


def _changed_at(path: Path) -> float:
    with contextlib.suppress(FileNotFoundError):
        return path.stat().st_mtime
    return time.time()
