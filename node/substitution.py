"""What becomes of an object whose SOP class one destination refuses: another object in its place, or those that carry it (`replacement`).

    pending ──class refused──▶ replaced      a simpler class of it is pending in its place
                          └──▶ unsupported ──all else decided──▶ replaced   other objects that arrived carry it
                                                            └──▶ parked     nothing does

What was refused and what stands for it is the reason of the row, which `betz why` says, and an event in the log.
"""

from __future__ import annotations

from pathlib import Path

from node import replacement
from node.delivery import Delivery
from node.journal import Journal
from node.log import log
from node.outbox import Outbox
from node.records import ARRIVED, PARKED, UNSUPPORTED, ResultRow


class Substitution:
    """At one destination."""

    def __init__(self, journal: Journal, outbox: Outbox, destination: str, delivery: Delivery) -> None:
        self.journal, self.outbox, self.destination, self.delivery = journal, outbox, destination, delivery

    def refused(self, row: ResultRow, reason: str) -> None:
        """The destination does not take the class of that object."""
        try:
            original = self._original(row)
            name = replacement.next_name(row.file, replacement.kind_of(original))
            if name and not self.outbox.path_of(row.study, row.answer, name).exists():
                self.outbox.keep_instead(row.study, row.answer, name, replacement.made_as(name, original))
        except (OSError, AttributeError, ValueError, KeyError) as error:
            self.delivery.park(row, f"{reason}; nothing could be made in its place ({type(error).__name__})")
            return
        if name:
            self._replace(row, f"{reason}; in its place: {name}", name)
        else:
            self.journal.sent(row, UNSUPPORTED, reason)

    def settle(self) -> None:
        """Decide what is unsupported, of every answer of which all else is decided."""
        for study, answer in self.journal.to_carry(self.destination):
            rows = [row for row in self.journal.results_of(study) if (row.answer, row.destination) == (answer, self.destination)]
            kinds = {row.file: kind for row in rows if (kind := self._kind(row))}
            arrived = {row.file: kinds[row.file] for row in rows if row.state in ARRIVED and row.file in kinds}
            missing = [kinds[row.file] for row in rows if row.state in (PARKED, UNSUPPORTED) and row.file in kinds]
            for row in rows:
                if row.state == UNSUPPORTED:
                    about = kinds.get(replacement.original_of(row.file))
                    self._decide(row, replacement.carriers(about, arrived, missing) if about else [])

    def _decide(self, row: ResultRow, carriers: list[str]) -> None:
        if carriers:
            self._replace(row, f"{row.reason}; what it says stands in {', '.join(carriers)}, which arrived")
        else:
            self.delivery.park(row, f"{row.reason}; nothing that arrived there says the same")

    def _replace(self, row: ResultRow, reason: str, file: str = "") -> None:
        if self.journal.replace(row, reason, file):
            log("result_replaced", destination=self.destination, study=row.study, file=row.file, reason=reason)

    def _original(self, row: ResultRow) -> Path:
        return self.outbox.path_of(row.study, row.answer, replacement.original_of(row.file))

    def _kind(self, row: ResultRow) -> replacement.Kind | None:
        try:
            return replacement.kind_of(self.outbox.path_of(row.study, row.answer, row.file))
        except (OSError, AttributeError, ValueError):
            return None
