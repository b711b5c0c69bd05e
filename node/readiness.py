"""Whether a study that receives may be analysed: its images show that nothing is missing, or it has waited until its deadline.

What is missing: what the images of a series say of themselves (`node.completeness`), roles that the site expects, and images that an
archive has, where one is asked. A look is made when a study was quiet for half of the quiet time, in a process of its own, and its result
is kept in the journal; it holds until another instance comes. Quiet is always asked for, by the worker; the deadline ends only the wait for
evidence, and counts from the first image. A look that fails, or an archive that does not answer, makes nobody wait.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from analysis.words import joined, packed, say, unpacked
from node import inventory
from node.child import Limits, run_child
from node.completeness import fewer_than, gaps, lacking
from node.errors import BetzError, DeliveryError
from node.inventory import Inventory, SeriesFacts
from node.journal import Journal
from node.log import log, unforeseen
from node.outbox import Outbox
from node.query import images_of
from node.quiet import Quiet
from node.records import RECEIVING, StudyRow, WaitRow
from node.rounds import rounds
from node.settings import Settings
from node.spool import Spool

ASK_AGAIN_S, ASK_TIMEOUT_S, LOOK_TIME_S, TOLD_AT_MOST = 300.0, 10.0, 300.0, 5
LOOK_MEMORY_GIB = 4.0

Look = Callable[[Path, Path, Callable[[], bool]], None]
"""(study folder, file, whether to stop): bring the inventory in the file up to date; BetzError with the reason where it cannot."""


class Readiness:
    """Looks at the studies that receive. `look` brings an inventory up to date; `clock` only goes forward, `now` is seconds since 1970."""

    def __init__(self, settings: Settings, journal: Journal, spool: Spool, outbox: Outbox, look: Look,
                 clock: Callable[[], float] = time.monotonic, now: Callable[[], float] = time.time) -> None:
        self.settings, self.journal, self.spool, self.outbox = settings, journal, spool, outbox
        self.look, self.clock, self.now, self.quiet = look, clock, now, Quiet(clock)
        self._began: dict[tuple[str, float], tuple[float, float]] = {}
        self._asked: dict[str, float] = {}

    def serve(self, stop: threading.Event) -> None:
        rounds(stop, lambda: self.step(stop.is_set), "readiness_failed")

    def step(self, stopped: Callable[[], bool] = lambda: False) -> None:
        """Look once at every study that is due."""
        rows = self.journal.all(RECEIVING)
        self.quiet.only(row.study for row in rows)
        self._began = {key: began for key, began in self._began.items() if key in {(row.study, row.since) for row in rows}}
        for row in rows:
            self._waited_s(row)  # the wait of a study is known from when it is first seen
            changed = self.spool.changed_at(row.study)
            is_quiet = self.quiet.for_s(row.study, changed) >= self.settings.study.quiet_s / 2
            if changed and is_quiet and self.settings.study.deadline_s and self._is_due(row.study, changed) and not stopped():
                self._look_at(row, changed, stopped)

    def allows(self, study: str) -> bool:
        """True where a quiet study need not wait any longer."""
        row = self.journal.study(study)
        if row is None or self._waited_s(row) >= self.settings.study.deadline_s:
            return row is not None
        wait = self._valid(study)
        return wait is not None and not json.loads(wait.missing)

    def missing(self, study: str) -> str:
        """A sentence for the report on what has not come; "" where nothing is known to be missing."""
        wait = self._valid(study)
        said = sentences(wait) if wait else []
        rest = [say("and {count} more", count=len(said) - TOLD_AT_MOST)] if len(said) > TOLD_AT_MOST else []
        what = joined([*said[:TOLD_AT_MOST], *rest], "; ")
        return say("The study was analysed before all of it had come: {what}.", what=what) if said else ""

    def _valid(self, study: str) -> WaitRow | None:
        """The last look, unless something came since."""
        wait = self.journal.wait_of(study)
        return wait if wait and wait.changed == self.spool.changed_at(study) else None

    def _is_due(self, study: str, changed: float) -> bool:
        wait = self.journal.wait_of(study)
        if wait is None or wait.changed != changed:
            return True
        asked = self._asked.setdefault(study, self.clock())
        return bool(self.settings.study.ask) and wait.missing != "[]" and self.clock() - asked >= ASK_AGAIN_S

    def _waited_s(self, row: StudyRow) -> float:
        """Since its first image came. A clock that is put right meanwhile changes nothing; one that was ahead starts the wait anew."""
        rule_s = self.settings.study.deadline_s
        before, seen = self._began.setdefault((row.study, row.since), (min(max(0.0, self.now() - row.since), rule_s), self.clock()))
        return before + self.clock() - seen

    def _look_at(self, row: StudyRow, changed: float, stopped: Callable[[], bool]) -> None:
        """One look; where the study is so large that more of it remains, it comes to its next turn."""
        try:
            found = self._inventory(row.study, stopped)
        except (BetzError, OSError) as error:
            if stopped():
                return
            log("look_failed", study=row.study, reason=str(error) if isinstance(error, BetzError) else unforeseen(error))
            found = {}
        if found is not None:
            missing = self._missing_in(row.study, found)
            until = self.now() + max(0.0, self.settings.study.deadline_s - self._waited_s(row))
            self.journal.looked(WaitRow(row.study, changed, json.dumps([packed(one) for one in missing]), self.now(), until))
            if missing:
                log("study_waits", study=row.study, missing=[str(one) for one in missing])

    def _inventory(self, study: str, stopped: Callable[[], bool]) -> Inventory | None:
        """Of the whole study; None where more of it is to be read."""
        file = inventory_file(self.settings, study)
        file.parent.mkdir(exist_ok=True)
        folder, found = self.spool.folder_of(study), inventory.read(file)
        wanted = set(inventory.marks_of(folder))
        before = len(inventory.marks_in(found) & wanted)
        if before < len(wanted):
            self.look(folder, file, stopped)
            found = inventory.read(file)
        there = len(inventory.marks_in(found) & wanted)
        if before == there < len(wanted):
            raise BetzError("the look found nothing new where something had come")
        return inventory.only(found, wanted) if there == len(wanted) else None

    def _missing_in(self, study: str, found: Inventory) -> list[str]:
        of_itself = [(one, what) for one in found.values() for what in gaps(one)]
        known = {id(one) for one, _ in of_itself}
        more = [(one, what) for one, what in self._archive_has(study, found) if id(one) not in known]
        absent = lacking(found.values(), self.settings.study.expect) if found else []
        return [*(_of(one, what) for one, what in (*of_itself, *more)), *absent]

    def _archive_has(self, study: str, found: Inventory) -> list[tuple[SeriesFacts | None, str]]:
        """What an archive has more of."""
        peer = next((peer for peer in self.settings.destination if peer.name == self.settings.study.ask), None)
        if peer is None:
            return []
        self._asked[study] = self.clock()
        try:
            stated = images_of(peer, self.settings.listener.ae_title, study, ASK_TIMEOUT_S)
        except DeliveryError as error:
            log("ask_failed", study=study, peer=peer.name, reason=str(error))
            return []
        return fewer_than(found, stated, self._own_series(study))

    def _own_series(self, study: str) -> set[str]:
        """The series of the results that went out for this study."""
        from pydicom import dcmread

        paths = self.outbox.path_of(study, "").glob("*/*.dcm")
        return {str(dcmread(path, stop_before_pixels=True, specific_tags=["SeriesInstanceUID"]).SeriesInstanceUID) for path in paths}


def _of(series: SeriesFacts | None, what: str) -> str:
    if series is None:
        return what
    if not series.number:
        return say("a series ({role}): {what}", role=series.role, what=what)
    return say("series {number} ({role}): {what}", number=series.number, role=series.role, what=what)


def sentences(wait: WaitRow) -> Sequence[str]:
    """What a look found missing."""
    return [unpacked(one) for one in json.loads(wait.missing)]


def inventory_file(settings: Settings, study: str) -> Path:
    return settings.storage.folder / "inventory" / f"{study}.json"


def look_in_child() -> Look:
    """The look in a child process of this machine."""
    limits = Limits(LOOK_TIME_S, LOOK_MEMORY_GIB)

    def look(folder: Path, file: Path, stopped: Callable[[], bool]) -> None:
        run_child([sys.executable, "-m", "node.inventory", str(folder), str(file)], limits, file.with_suffix(".txt"), stopped)

    return look
