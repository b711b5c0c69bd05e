"""A command in a child process under guard: a time limit, a memory limit over its whole family, and no orphans.

Whatever happens in it ends it only: a hang, a crash in a C library, an appetite for memory. The end is a JobError with the reason in
words. The memory limit is watched, not set: RLIMIT_AS counts address space, which ITK and BLAS reserve generously and never use. The
child leads a session of its own, so that one signal reaches all of it, and asks the kernel to die with its parent (`die_with_parent`).
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from analysis.words import say
from node.disk import REFUSED
from node.errors import CrashError, JobError

PARENT = "BETZ_PARENT"
_LOOK_S, _LOG_BYTES, _LONGEST_REASON = 0.25, 65536, 500
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class Limits:
    """What a child may use."""

    time_s: float
    memory_gib: float


def run_child(
    command: Sequence[str], limits: Limits, log: Path, stopped: Callable[[], bool] = lambda: False, scratch: Path | None = None
) -> None:
    """Run to the end. JobError where the child does not end with status 0, or `stopped` says so; CrashError where another start may do.

    `log` keeps the last of what it said.
    `scratch`: the child's folder for temporary files; whoever removes it removes what a killed child left.
    """
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True,
                               env=_environment(scratch))
    said = bytearray()
    listener = threading.Thread(target=_listen, args=(process.stderr, said), daemon=True)
    listener.start()
    try:
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, process.pid, 5)  # receiving comes before computing
        broken = _watch(process, limits, stopped)
    finally:
        _end(process)
        listener.join(5)
        with contextlib.suppress(OSError):
            log.write_bytes(bytes(said))
    if broken:
        raise JobError(broken)
    if process.returncode == REFUSED:
        raise CrashError(say("there was no room on the disk"))
    if process.returncode:
        raise (CrashError if process.returncode < 0 else JobError)(_why(process.returncode, said))


def is_child() -> bool:
    """True in a process that `run_child` started."""
    return PARENT in os.environ


def die_with_parent() -> None:
    """Called by a child at its start: it is killed when the thread that started it ends."""
    if parent := os.environ.get(PARENT):
        die_with(int(parent))


def die_with(parent: int) -> None:
    """This process is killed when the thread of its parent, whose process id that is, ends (prctl PR_SET_PDEATHSIG)."""
    import ctypes

    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def _environment(scratch: Path | None) -> dict[str, str]:
    environment = {**os.environ, PARENT: str(os.getpid())}
    if scratch is not None:
        environment["TMPDIR"] = str(scratch)
    return environment


def _watch(process: subprocess.Popen, limits: Limits, stopped: Callable[[], bool]) -> str:
    """Wait for the end; return why it must be ended before, or ""."""
    deadline = time.monotonic() + limits.time_s
    while True:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_LOOK_S)
            return ""
        if time.monotonic() > deadline:
            return say("the analysis took longer than {time_s:g} s", time_s=limits.time_s)
        if memory_gib(process.pid) > limits.memory_gib:
            return say("the analysis needed more than {memory_gib:g} GiB of memory", memory_gib=limits.memory_gib)
        if stopped():
            return say("the analysis was stopped")


def memory_gib(pid: int) -> float:
    """What a process and its descendants hold in memory together."""
    total = 0
    for one in _family(pid):
        with contextlib.suppress(Exception):
            total += one.memory_info().rss
    return total / 2**30


def _family(pid: int) -> list:
    import psutil

    try:
        parent = psutil.Process(pid)
        return [parent, *parent.children(recursive=True)]
    except psutil.Error:
        return []


def _end(process: subprocess.Popen) -> None:
    """Leave nothing behind: descendants that made a session of their own are found before their parent goes."""
    family = _family(process.pid)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    for one in family:
        with contextlib.suppress(Exception):
            one.kill()
    process.wait()


def _listen(stream, said: bytearray) -> None:
    with stream:
        while chunk := stream.read1(8192):
            said += chunk
            del said[:-_LOG_BYTES]


def _why(status: int, said: bytearray) -> str:
    """The reason in words: the signal, or the last sentence that the child said. What a library wrote may quote a header."""
    if status < 0:
        return say("the analysis was ended by signal {number} ({name})", number=-status, name=signal.Signals(-status).name)
    lines = [line.removeprefix("betz: ").strip() for line in said.decode("utf-8", "replace").splitlines() if line.startswith("betz: ")]
    return lines[-1][:_LONGEST_REASON] if lines else say("the analysis ended with status {status} and said nothing", status=status)
