"""Purge: images and results of a study are removed together, and only when its whole answer is where it belongs.

A person may purge what every destination has taken (`betz purge`). By itself the node removes only what every destination has proven to
keep, for `keep_days` of [storage]: a destination that is asked for no proof keeps everything here. Never removed are results that are not
delivered, studies of which an instance came after the answer, and those with conflicting objects: nobody but a person can say which
content is right. An instance that comes in the very moment of the removal keeps its study. A removal that was cut off is finished by the
next.
"""

from __future__ import annotations

import contextlib
import fcntl
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from node import audit_trail
from node.journal import Journal
from node.log import log, unforeseen
from node.outbox import Outbox
from node.records import DELIVERED, PROVEN, REPLACED, SUPERSEDED, StudyRow
from node.settings import Settings
from node.spool import EMPTY, Spool

_EVERY_S, _STEP_S, _DAY_S = 600.0, 0.5, 86400.0


class Purge:
    """Removes by itself what is proven at every destination for `keep_days`. The clock is an argument."""

    def __init__(self, settings: Settings, journal: Journal, spool: Spool, outbox: Outbox, clock: Callable[[], float] = time.time) -> None:
        self.settings, self.journal, self.spool, self.outbox, self.clock = settings, journal, spool, outbox, clock

    def serve(self, stop: threading.Event) -> None:
        if not self.settings.storage.keep_days:
            return
        looked = float("-inf")
        while not stop.wait(_STEP_S):
            if time.monotonic() - looked < _EVERY_S:
                continue
            looked = time.monotonic()
            try:
                self.step()
            except Exception as error:
                log("purge_failed", reason=unforeseen(error))

    def step(self) -> list[str]:
        """Remove what is due now; the studies."""
        gone = [row.study for row in self.due() if remove(self.settings, row, self.journal, self.spool, self.outbox)]
        for study in gone:
            log("study_purged", study=study, reason=f"proven at every destination for {self.settings.storage.keep_days:g} days")
        return gone

    def due(self) -> Sequence[StudyRow]:
        names = {peer.name for peer in self.settings.destination}
        days = self.settings.storage.keep_days
        return [row for row in self.journal.all(DELIVERED) if names and days and is_due(row, self.spool, days, self.clock())
                and self._is_proven_at(row, names)]

    def _is_proven_at(self, row: StudyRow, names: set[str]) -> bool:
        """True where every destination in the settings, and every other that got the answer, has proven all of it."""
        sent = [result for result in self.journal.results_of(row.study) if result.answer == row.answer and result.state != SUPERSEDED]
        return names <= {result.destination for result in sent} and all(result.state in (PROVEN, REPLACED) for result in sent)


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One removal at a time: that of a person may meet that of the node."""
    with open(folder / "purge.lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def remove(settings: Settings, row: StudyRow, journal: Journal, spool: Spool, outbox: Outbox) -> bool:
    """Remove one delivered study with its images, results and log; False where a conflict or a late instance keeps it."""
    with _alone(settings.storage.folder):
        return not spool.conflicts(row.study) and _remove(settings, row, journal, spool, outbox)


def _remove(settings: Settings, row: StudyRow, journal: Journal, spool: Spool, outbox: Outbox) -> bool:
    images = spool.instances(row.study)
    tell = audit_trail.deletion(row.study, images)
    if not spool.remove(row.study, row.version if images else EMPTY):
        return False
    for name in (f"{row.study}.txt", f"{row.study}.failed.txt"):
        (settings.storage.folder / "log" / name).unlink(missing_ok=True)
    for name in (f"{row.study}.json", f"{row.study}.txt"):
        (settings.storage.folder / "inventory" / name).unlink(missing_ok=True)
    outbox.remove(row.study)
    journal.forget(row.study, DELIVERED)
    tell()
    return True


def is_due(row: StudyRow, spool: Spool, days: float, now: float) -> bool:
    """A study without any image is what a removal that was cut off left."""
    is_whole = not spool.instances(row.study) or row.version == spool.version(row.study)
    return row.state == DELIVERED and now - row.since >= days * _DAY_S and is_whole


def lacks_proof(journal: Journal, row: StudyRow, asking: set[str]) -> bool:
    """True where a destination that is to prove what it has did not, for example as the settings did not ask when it was sent."""
    return any(result.answer == row.answer and result.destination in asking and result.state not in (PROVEN, REPLACED)
               for result in journal.results_of(row.study))
