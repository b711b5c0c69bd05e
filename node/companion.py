"""A function in a second process, beside this one: what it gives is fetched when it is needed.

A study is analysed on one core; what does not need its result has another. What happens in the companion ends it only, and is a JobError
with the reason in words where the result is asked for. It is ended with the `with` block, and with this process whatever ends that; its
temporary files go with it. Function, arguments and result are pickled, so the function stands at the top of a module.
"""

from __future__ import annotations

import os
import pickle
import signal
import tempfile
from collections.abc import Callable
from contextlib import suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, Generic, TypeVar

from analysis.words import Name, say
from node.child import die_with
from node.errors import JobError
from node.log import quiet, unforeseen

T = TypeVar("T")


class Companion(Generic[T]):
    """`work(*arguments)`, begun at once."""

    def __init__(self, work: Callable[..., T], *arguments: Any) -> None:
        context = get_context("spawn")  # a fork would inherit the locks of libraries whose threads it has not
        self._scratch = tempfile.TemporaryDirectory(prefix="betz-companion-", ignore_cleanup_errors=True)
        self._result, end = context.Pipe(duplex=False)
        self._process = context.Process(target=_run, args=(os.getpid(), self._scratch.name, end, work, arguments), daemon=True)
        with suppress(OSError):  # of a machine that starts no more processes there is no result
            self._process.start()
        end.close()  # now only the companion holds it, so that its end is seen here

    def __enter__(self) -> Companion[T]:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._process.pid:
            self._process.kill()
            self._process.join()
        self._result.close()
        self._scratch.cleanup()

    def result(self, wait_s: float) -> T:
        """What the function gave, to be asked for once. JobError where it raised, its process did not start or ended, or it took longer
        than `wait_s`."""
        try:
            if not self._result.poll(max(wait_s, 0.0)):
                raise JobError(say("it took too long"))
            found, reason = pickle.loads(self._result.recv_bytes())
        except (EOFError, OSError):  # OSError: in the middle of the result
            raise JobError(self._why()) from None
        if reason:
            raise JobError(reason)
        return found

    def _why(self) -> str:
        """Why there is no result."""
        if not self._process.pid:
            return say("its process could not be started")
        self._process.join()
        return say("its process was ended with status {status}", status=self._process.exitcode)


def _run(parent: int, scratch: str, end: Connection, work: Callable[..., T], arguments: tuple[Any, ...]) -> None:
    """In the companion."""
    die_with(parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupt at the terminal reaches both; the parent ends this one
    quiet()
    tempfile.tempdir = scratch
    try:
        message = pickle.dumps((work(*arguments), None))
    except Exception as error:
        message = pickle.dumps((None, Name(unforeseen(error))))
    with suppress(BrokenPipeError):
        end.send_bytes(message)
