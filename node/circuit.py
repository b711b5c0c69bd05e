"""The circuit breaker of one destination.

After `FAILURES` failed associations in a row the destination is called only now and then, with a C-ECHO before anything else; one that
answers gets everything that waits at once. It is kept in the journal, so that `betz status` sees it and a restart does not forget it.
"""

from __future__ import annotations

from collections.abc import Callable

from node.delivery import wait_s
from node.journal import Journal
from node.log import log
from node.records import CircuitRow
from node.settings import Sender

FAILURES = 3
_ASK_AT_MOST_S = 300.0


class Circuit:
    """What is known of one destination from the last associations with it."""

    def __init__(self, journal: Journal, destination: str, rules: Sender, clock: Callable[[], float], chance: Callable[[], float]) -> None:
        self.journal, self.destination, self.rules, self.clock, self.chance = journal, destination, rules, clock, chance

    def row(self) -> CircuitRow:
        return self.journal.circuit(self.destination)

    def failed(self, reason: str) -> None:
        """One more association failed."""
        before, now = self.row(), self.clock()
        failures, pause_s = before.failures + 1, 0.0
        if failures >= FAILURES:
            pause_s = min(_ASK_AT_MOST_S, wait_s(self.rules, failures - FAILURES, self.chance()))
            log("destination_away", destination=self.destination, failures=failures, reason=reason, wait_s=round(pause_s, 1))
        self.journal.break_circuit(CircuitRow(self.destination, failures, reason, before.since if before.failures else now, now + pause_s))

    def reached(self) -> None:
        """An association did what it was for."""
        before = self.row()
        if before.failures:
            self.journal.close_circuit(self.destination)
        if is_open(before):
            log("destination_back", destination=self.destination, away_s=round(self.clock() - before.since, 1))


def is_open(row: CircuitRow) -> bool:
    """True where the destination is not called before `row.next_try`."""
    return row.failures >= FAILURES


def is_due(row: CircuitRow, now: float) -> bool:
    """True where it is time to call it again; a time further ahead than any pause was written by a clock that was wrong."""
    return not now < row.next_try <= now + _ASK_AT_MOST_S
