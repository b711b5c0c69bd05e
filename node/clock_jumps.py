"""Jumps of the wall clock: when it is put right, or wrong, while the node runs, the times of what waits go with it.

The journal holds times of the wall clock, so that a person can read them and a restart finds them. What is told by them (how long a result
was tried, when it is tried again, how long a study is kept) is a duration, and a jump of the clock is none: whatever is to be given up
after 72 hours is not given up because the battery of the machine's clock was empty at its start. A jump while no node runs is not seen.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from node.journal import Journal
from node.log import log

_SMALLEST_S = 30.0  # less is the daily work of NTP


def steady() -> float:
    """Seconds that only grow, also while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class ClockJumps:
    """Compares the wall clock of the journal with one that cannot be put."""

    def __init__(self, journal: Journal, clock: Callable[[], float] = steady) -> None:
        self.journal, self.clock = journal, clock
        self._lock, self._ahead = threading.Lock(), self._now_ahead()

    def _now_ahead(self) -> float:
        return self.journal.clock() - self.clock()

    def follow(self) -> float:
        """Shift the journal by the jump since the last call, in seconds; 0 where there was none."""
        with self._lock:
            ahead = self._now_ahead()
            jump_s = ahead - self._ahead
            if abs(jump_s) < _SMALLEST_S:
                jump_s = 0.0
            else:
                self.journal.shift(jump_s)
                log("clock_jumped", seconds=round(jump_s), reason="the times of what waits were moved with it")
            self._ahead = ahead
        return jump_s
