"""The memory of a process that is to run for months.

glibc gives the threads of a process up to eight heaps for each core, and what was freed in one is of no use to the others: with a thread or
two for every association they kept growing (1.2 MiB a minute under thirty peers at once) though nothing was held. One heap is enough where
one thread runs at a time.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc

_ARENA_MAX = -8  # M_ARENA_MAX of glibc's mallopt(3)


def one_heap() -> None:
    """For the start of a process, before its threads. Elsewhere than with glibc nothing happens."""
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).mallopt(_ARENA_MAX, 1)


def keep_for_good() -> None:
    """What is there now stays until the end, so that the collector need not look at it again: modules, classes, settings.

    The library collects after every sixtieth association, in the thread that takes connections: 30 ms each time, in which nobody else ran.
    """
    gc.collect()
    gc.freeze()
