"""The log of the service: one event per line on stderr, a JSON object with named fields.

No patient data: a field is a UID, a state, a count, a peer, or a reason in words; never a name, an ID or a date of birth. What a library
says of an error, a warning or a thread that ended may quote the values of a header, so none of it is written: `unforeseen` gives the kind
of an error and its place, and `quiet` stills the libraries. A log that cannot be written stops nothing.
"""

from __future__ import annotations

import contextlib
import json
import logging
import sys
import threading
import traceback
import warnings
from datetime import UTC, datetime
from pathlib import Path

_lock = threading.Lock()


def log(event: str, **fields: object) -> None:
    """Write one event."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    line = json.dumps({"time": now, "event": event, **fields}, default=str, ensure_ascii=False)
    with _lock, contextlib.suppress(OSError, ValueError):
        print(line, file=sys.stderr, flush=True)


def unforeseen(error: BaseException) -> str:
    """Kind and place of an error that nobody foresaw; what the system says of a file or a socket, without its name."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if Path(frame.filename).parent.name in ("node", "analysis", "steps", "markers")] or frames
    place = f"{Path(ours[-1].filename).name}, line {ours[-1].lineno}" if ours else "an unknown place"
    system = f": {error.strerror}" if isinstance(error, OSError) and error.strerror else ""
    return f"{type(error).__name__}{system} in {place}"


def quiet() -> None:
    """No warning, no log of a library and no traceback of a thread reaches stderr in this process."""
    warnings.simplefilter("ignore")
    logging.lastResort = None
    threading.excepthook = _of_thread
    sys.unraisablehook = lambda found: log("unraisable", reason=unforeseen(found.exc_value) if found.exc_value else str(found.exc_type))


def _of_thread(found: threading.ExceptHookArgs) -> None:
    if found.exc_type is not SystemExit:
        log("thread_failed", thread=found.thread.name if found.thread else "", reason=unforeseen(found.exc_value))


def uid_in_log(text: str) -> str:
    """A UID that came from outside, as a log may hold it: what is no UID could be anything."""
    from node.spool import is_uid

    return text if is_uid(text) else "(no valid UID)"
