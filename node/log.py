"""The log of the service: one event per line on stderr, a JSON object with named fields.

No patient data: a field is a UID, a state, a count, a peer, or a reason in words; never a name, an ID or a date of birth.
A log that cannot be written stops nothing.
"""

from __future__ import annotations

import contextlib
import json
import sys
import threading
from datetime import UTC, datetime

_lock = threading.Lock()


def log(event: str, **fields: object) -> None:
    """Write one event."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    line = json.dumps({"time": now, "event": event, **fields}, default=str, ensure_ascii=False)
    with _lock, contextlib.suppress(OSError, ValueError):
        print(line, file=sys.stderr, flush=True)
