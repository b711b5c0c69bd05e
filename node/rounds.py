"""Rounds: a step that is gone through again and again until it is told to stop, as the worker and the senders do.

A step that fails, for example on a full disk, is tried again and again, twice as long apart each time, until it succeeds; the log says
each reason once.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from node.log import log, unforeseen

STEP_S, LONGEST_S = 0.5, 30.0


def rounds(stop: threading.Event, step: Callable[[], object], event: str, pause_s: float = STEP_S, **fields: object) -> None:
    """Go through `step` until `stop` is set. Nothing that it raises comes out; `event` is what the log calls a failure."""
    wait_s, said = pause_s, ""
    while not stop.wait(wait_s):
        try:
            step()
            wait_s, said = pause_s, ""
        except Exception as error:
            wait_s = min(LONGEST_S, wait_s * 2)
            reason = unforeseen(error)
            if reason != said:
                log(event, reason=reason, **fields)
            said = reason
