"""`betz serve` that counts its steps, and kills itself at one of them. Used by `benchmarks/kill.py`.

    python benchmarks/mortal_node.py --config FILE --census FILE              count the steps; write them at the end
    python benchmarks/mortal_node.py --config FILE --step NAME --at K         SIGKILL at the K-th time of that step
    python benchmarks/mortal_node.py --config FILE --trace FILE               the steps in their order

A step is a moment before or after something that the system outside can see: a file synced, linked, renamed, removed or opened for writing,
a folder made, a transaction committed, an analysis started, bytes sent or received. The steps are found by watching, not listed by hand:
the functions of `os`, `socket`, `subprocess` and the database driver are wrapped in this process, and nothing in `node` knows of it. What
lies between two steps cannot be told apart after a crash, so a kill at each of them is a kill at every instruction that matters; what
SQLite does within a commit is left to the kills at random moments. The name says who (the listener, the worker, the sender, or the node as
it starts), when, what and where: "listener, after link in spool".
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path

FILE_CALLS = ("fsync", "fdatasync", "link", "rename", "replace", "unlink", "remove", "mkdir", "rmdir")
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
PDUS = {1: "A-ASSOCIATE-RQ", 2: "A-ASSOCIATE-AC", 3: "A-ASSOCIATE-RJ", 4: "P-DATA", 5: "A-RELEASE-RQ", 6: "A-RELEASE-RP", 7: "A-ABORT"}
PLACES = ("incoming", "spool", "conflicts", "outbox", "work", "log")


class Steps:
    """Counts the steps of this process, and ends it at one."""

    def __init__(self, storage: Path, port: int, step: str, at: int) -> None:
        self.storage, self.port, self.step, self.at = str(storage), port, step, at
        self.counts: Counter[str] = Counter()
        self.trace: list[str] | None = None
        self.lock = threading.Lock()

    def pass_by(self, name: str) -> None:
        with self.lock:
            self.counts[name] += 1
            if self.trace is not None:
                self.trace.append(name)
            if name == self.step and self.counts[name] == self.at:
                os.kill(os.getpid(), signal.SIGKILL)

    def wrap(self, owner: object, call: str, name: Callable[..., str | None]) -> None:
        """Pass by before and after `owner.call`; `name` gives what and where, or None where it is of no interest."""
        real = getattr(owner, call)

        def wrapped(*arguments, **more):
            what = name(*arguments, **more)
            if what is None:
                return real(*arguments, **more)
            who = what if ", " in what else f"{self.who()}, %s {what}"
            self.pass_by(who % "before")
            try:
                return real(*arguments, **more)
            finally:
                self.pass_by(who % "after")
        setattr(owner, call, wrapped)

    def who(self) -> str:
        name = threading.current_thread().name.lower()
        return next((one for one in ("worker", "sender") if one in name), "start" if name == "mainthread" else "listener")

    def place(self, path: str | int, folder: int | None = None) -> str | None:
        """The part of the storage folder that a path or descriptor is in."""
        try:
            if isinstance(path, int):
                path = os.readlink(f"/proc/self/fd/{path}")
            elif folder is not None:
                path = os.path.join(os.readlink(f"/proc/self/fd/{folder}"), os.fspath(path))
        except OSError:
            return None
        path = os.fspath(path)
        if not isinstance(path, str) or not path.startswith(self.storage):
            return None
        rest = path[len(self.storage):].strip("/").split("/")
        return rest[0] if rest[0] in PLACES else "storage"

    def of_file(self, call: str) -> Callable[..., str | None]:
        def name(path, *others, dir_fd=None, **_) -> str | None:
            place = self.place(others[0] if call in ("link", "rename", "replace") else path, dir_fd)
            is_folder = call == "fsync" and isinstance(path, int) and os.path.isdir(f"/proc/self/fd/{path}")
            return place and f"{call}{' of a folder' if is_folder else ''} in {place}"
        return name

    def of_socket(self, call: str) -> Callable[..., str | None]:
        def name(endpoint, content=b"", *_) -> str | None:
            if endpoint.family not in (socket.AF_INET, socket.AF_INET6) or endpoint.fileno() < 0:
                return None
            who = "listener" if endpoint.getsockname()[1] == self.port else "sender"
            kind = PDUS.get(bytes(content[:1])[0], "more") if call.startswith("send") and len(content) else ""
            return f"{who}, %s {call} {kind}".strip()
        return name

    def watch_opens(self) -> None:
        """An audit hook: whoever opens a file for writing, by whatever call."""
        def heard(event: str, arguments: tuple) -> None:
            if event != "open" or not isinstance(arguments[0], str) or not isinstance(arguments[2], int):
                return
            if arguments[2] & WRITING and (place := self.place(arguments[0])):
                self.pass_by(f"{self.who()}, before opening a file in {place}")
        sys.addaudithook(heard)


def watched(steps: Steps) -> None:
    """Wrap what the outside can see."""
    from sqlalchemy.engine.default import DefaultDialect

    for call in FILE_CALLS:
        steps.wrap(os, call, steps.of_file(call))
    for call in ("send", "sendall", "recv"):
        steps.wrap(socket.socket, call, steps.of_socket(call))
    steps.wrap(subprocess.Popen, "__init__", lambda *_, **__: "start of an analysis")
    steps.wrap(DefaultDialect, "do_commit", lambda *_: "commit")
    steps.watch_opens()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--census", type=Path)
    parser.add_argument("--trace", type=Path)
    parser.add_argument("--step", default="")
    parser.add_argument("--at", type=int, default=1)
    chosen = parser.parse_args()
    from node.command import main as betz
    from node.settings_file import read_settings

    settings = read_settings(chosen.config)
    assert shutil.rmtree.avoids_symlink_attacks  # it has looked at `os` before that is wrapped
    steps = Steps(settings.storage.folder, settings.listener.port, chosen.step, chosen.at)
    steps.trace = [] if chosen.trace else None
    watched(steps)
    status = betz(["serve", "--config", str(chosen.config)])
    if chosen.census:
        chosen.census.write_text(json.dumps(steps.counts))
    if chosen.trace:
        chosen.trace.write_text(json.dumps(steps.trace))
    return status


if __name__ == "__main__":
    sys.exit(main())
