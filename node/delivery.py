"""What one attempt makes of a result: delivered, stored and to be proven, tried again, or parked with its reason.

What may pass is tried again, twice as long apart each time, less up to a half by chance, and parked after the time in the settings. What
will not pass is parked at once. A warning counts as delivered and is said. The clock and the random numbers are arguments.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from pathlib import Path

from node import audit_trail
from node.errors import RefusedError
from node.journal import Journal
from node.log import log
from node.records import DELIVERED, PARKED, PENDING, PROVEN, STORED, ResultRow
from node.settings import Destination, Sender
from node.storage import Sent


def wait_s(rules: Sender, attempts: int, chance: float) -> float:
    """How long to wait after so many failures before this one; `chance` is in [0, 1)."""
    return min(rules.retry_maximum_s, rules.retry_first_s * 2.0 ** min(attempts, 60)) * (1.0 - chance / 2.0)


class Delivery:
    """Writes the outcomes at one destination into the journal and the log."""

    def __init__(self, journal: Journal, peer: Destination, rules: Sender, clock: Callable[[], float], chance: Callable[[], float]) -> None:
        self.journal, self.peer, self.rules, self.clock, self.chance = journal, peer, rules, clock, chance
        self._untold: dict[tuple[str, str], list[ResultRow]] = {}

    def noted(self, row: ResultRow, sent: Sent) -> None:
        """What the audit trail is to be told of one object."""
        if sent.error is None or isinstance(sent.error, RefusedError):
            self._untold.setdefault((row.study, str(sent.error or "")), []).append(row)

    def record(self, row: ResultRow, sent: Sent) -> None:
        """What a C-STORE gave."""
        if sent.error is None:
            self._write("result_delivered", row, STORED if self.peer.is_to_prove else DELIVERED, sent.warning)
        elif isinstance(sent.error, RefusedError):
            self.park(row, str(sent.error))
        else:
            self.again(row, str(sent.error))

    def begin(self, rows: Iterable[ResultRow], path_of: Callable[[ResultRow], Path]) -> None:
        """Tell the audit trail what is about to be sent, a message for each study."""
        for study, mine in itertools.groupby(sorted(rows, key=lambda row: row.study), key=lambda row: row.study):
            audit_trail.begun(self.peer.ae_title, self.peer.host or self.peer.url, study, [path_of(row) for row in mine])

    def tell(self, path_of: Callable[[ResultRow], Path]) -> None:
        """Tell the audit trail what went there since the last time, and what was refused for good: a message for each study and reason."""
        untold, self._untold = self._untold, {}
        for (study, failure), rows in untold.items():
            audit_trail.sent(self.peer.ae_title, self.peer.host or self.peer.url, study, [path_of(row) for row in rows], failure)

    def proven(self, row: ResultRow, how: str) -> None:
        self._write("result_proven", row, PROVEN, "; ".join(filter(None, (row.reason, how))))

    def park(self, row: ResultRow, reason: str) -> None:
        self._write("result_parked", row, PARKED, reason)

    def again(self, row: ResultRow, reason: str) -> None:
        """Send it (again) later, or park it when it was tried for too long."""
        now = self.clock()
        if row.first_try and now - row.first_try > self.rules.give_up_h * 3600:
            self.park(row, f"given up after {self.rules.give_up_h:g} hours; the last reason was: {reason}")
            return
        pause_s = wait_s(self.rules, row.attempts, self.chance())
        self._write("result_waits", row, PENDING, reason, now + pause_s, wait_s=round(pause_s, 1))

    def _write(self, event: str, row: ResultRow, state: str, reason: str, next_try: float = 0.0, **fields: object) -> None:
        if self.journal.sent(row, state, reason, next_try):
            log(event, destination=self.peer.name, study=row.study, file=row.file, reason=reason, **fields)
