"""The journal: what is to be done with each study, and with each result at each destination. It holds nothing that the spool already says.

    receiving ──quiet──▶ ready ──▶ running ──▶ answered ──▶ delivered      every object is at every destination
        ▲                  ▲          │            └──────▶ parked         a peer refused for good: `betz resend`
        │ a new instance   │ retry    └──────────────────▶ failed          no analysis; the answer "not analysed" is on its way
        └── answered, delivered, parked, failed     any ──▶ cancelled      by a person; stays so until `betz retry`

A study is delivered when nothing of its answer is pending, stored or unsupported at a destination (`delivery_journal`). Every change is a
durable transaction and is conditional on the state before, so the service and the command line may write at the same time. After a crash
`recover` compares the spool with the journal: nothing that was stored is forgotten, nothing that ran is taken for done.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from sqlalchemy import insert, select, update
from sqlalchemy.exc import IntegrityError

from node.database import opened
from node.delivery_journal import DeliveryJournal
from node.errors import BetzError
from node.records import (
    ANSWERED,
    CANCELLED,
    DELIVERED,
    FAILED,
    PARKED,
    PENDING,
    PROVEN,
    READY,
    RECEIVING,
    REPLACED,
    RUNNING,
    STORED,
    SUPERSEDED,
    UNSUPPORTED,
    StudyRow,
    WaitRow,
    circuits,
    offered,
    proofs,
    results,
    studies,
    urgent,
    waits,
)
from node.spool import Spool


class Journal(DeliveryJournal):
    """The journal at a path (SQLite) or an SQLAlchemy URL. `clock` gives seconds since 1970."""

    def __init__(self, place: Path | str, clock: Callable[[], float] = time.time) -> None:
        super().__init__(opened(place), clock)
        self._compared: dict[str, tuple[str, float]] = {}
        self._states, self._lock = None, threading.Lock()

    def close(self) -> None:
        if self._states:
            self._states.close()
        self.engine.dispose()

    def shift(self, seconds: float) -> None:
        """Move every time of what waits or is kept by so many seconds; 0 says that there is none, and stays."""
        moments = ((studies, "since"), (results, "first_try"), (results, "next_try"), (proofs, "asked"), (circuits, "since"),
                   (circuits, "next_try"))
        with self.engine.begin() as connection:
            for table, name in moments:
                connection.execute(update(table).where(table.c[name] != 0.0).values({name: table.c[name] + seconds}))

    # studies

    def stored(self, study: str) -> None:
        """A new instance came: the study is receiving, unless it runs (the worker sees it at the end) or was cancelled."""
        if (state := self._state(study)) is None:
            self._insert(study)
        elif state not in (RECEIVING, RUNNING, CANCELLED):
            self.move(study, (READY, ANSWERED, DELIVERED, PARKED, FAILED), RECEIVING)

    def _state(self, study: str) -> str | None:
        """Asked for every instance, so SQLite is asked over a connection of its own: SQLAlchemy takes twenty times as long."""
        if self.engine.dialect.name != "sqlite":
            return row.state if (row := self.study(study)) else None
        with self._lock:
            self._states = self._states or self.engine.raw_connection()
            found = self._states.cursor().execute("SELECT state FROM studies WHERE study = ?", (study,)).fetchall()
        return found[0][0] if found else None

    def _insert(self, study: str) -> None:
        try:
            with self.engine.begin() as connection:
                connection.execute(insert(studies).values(study=study, state=RECEIVING, since=self.clock()))
        except IntegrityError:
            return  # another association was first

    def study(self, study: str) -> StudyRow | None:
        with self.engine.connect() as connection:
            found = connection.execute(select(studies).where(studies.c.study == study)).first()
        return StudyRow(**found._mapping) if found else None

    def find(self, text: str) -> StudyRow:
        """The study with that UID, or the only one whose UID ends so; BetzError where there is none, or more than one."""
        matching = [row for row in self.all() if row.study.endswith(text)]
        exact = [row for row in matching if row.study == text]
        if len(exact or matching) != 1:
            what = "No study" if not matching else f"{len(matching)} studies"
            raise BetzError(f"{what} in the journal has a UID that ends in {text!r}; `betz status` lists them.")
        return (exact or matching)[0]

    def all(self, *states: str) -> list[StudyRow]:
        """The studies in those states, or every one; the longest in its state first."""
        wanted = select(studies).order_by(studies.c.since)
        with self.engine.connect() as connection:
            found = connection.execute(wanted.where(studies.c.state.in_(states)) if states else wanted).all()
        return [StudyRow(**row._mapping) for row in found]

    def move(self, study: str, before: Iterable[str], after: str, reason: str = "", **more: object) -> bool:
        """Change the state where it is one of `before`; False where it is not."""
        change = update(studies).where(studies.c.study == study, studies.c.state.in_(tuple(before)))
        with self.engine.begin() as connection:
            return connection.execute(change.values(state=after, reason=reason, since=self.clock(), **more)).rowcount == 1

    def start(self, study: str) -> bool:
        """ready → running, counted; False where another was first."""
        return self.move(study, (READY,), RUNNING, attempts=studies.c.attempts + 1, started=self.clock())

    def answer(self, study: str, version: str, answer: str, files: Sequence[str], destinations: Sequence[str], failure: str = "") -> bool:
        """running → answered (or failed, with the reason), and its objects due at every destination, in one transaction.

        What older answers have not delivered is superseded. False, and nothing changed, where the study is no longer running.
        """
        reason = failure or ("" if destinations else "no destination is configured; the answer lies in the outbox")
        change = update(studies).where(studies.c.study == study, studies.c.state == RUNNING).values(
            state=FAILED if failure else ANSWERED, reason=reason, since=self.clock(), version=version, answer=answer, attempts=0)
        older = update(results).where(results.c.study == study, results.c.answer != answer,
                                      results.c.state.in_((PENDING, PARKED, UNSUPPORTED)))
        unproven = update(results).where(results.c.study == study, results.c.answer != answer, results.c.state == STORED)
        known = select(results.c.file, results.c.destination).where(results.c.study == study, results.c.answer == answer)
        with self.engine.begin() as connection:
            if connection.execute(change).rowcount != 1:
                return False
            connection.execute(urgent.delete().where(urgent.c.study == study))
            connection.execute(older.values(state=SUPERSEDED, reason="a newer answer exists"))
            connection.execute(unproven.values(state=DELIVERED, reason="not proven: a newer answer exists"))
            there = set(connection.execute(known).tuples())
            for file, peer in ((file, peer) for file in files for peer in destinations if (file, peer) not in there):
                connection.execute(insert(results).values(study=study, answer=answer, file=file, destination=peer, state=PENDING))
        self.settle(study)
        return True

    def hurry(self, study: str) -> None:
        """The study is to be analysed before the others, until it has its answer."""
        with suppress(IntegrityError), self.engine.begin() as connection:
            connection.execute(insert(urgent).values(study=study))

    def urgent(self) -> set[str]:
        """The studies that are to be analysed before the others."""
        with self.engine.connect() as connection:
            return set(connection.execute(select(urgent.c.study)).scalars())

    def cancel(self, study: str) -> None:
        """Stop whatever is still to be done with a study."""
        self.move(study, (RECEIVING, READY, RUNNING, ANSWERED, DELIVERED, PARKED, FAILED), CANCELLED, "cancelled by a person")
        with self.engine.begin() as connection:
            connection.execute(urgent.delete().where(urgent.c.study == study))
            waits = results.c.state.in_((PENDING, UNSUPPORTED))
            connection.execute(update(results).where(results.c.study == study, waits).values(state=CANCELLED))
            connection.execute(update(results).where(results.c.study == study, results.c.state == STORED).values(
                state=DELIVERED, reason="not proven: a person cancelled it"))

    def forget(self, study: str, state: str) -> None:
        """Nothing more is known of a study that was in that state; one that got a new instance meanwhile stays."""
        with self.engine.begin() as connection:
            if connection.execute(studies.delete().where(studies.c.study == study, studies.c.state == state)).rowcount != 1:
                return
            connection.execute(results.delete().where(results.c.study == study))
            connection.execute(proofs.delete().where(proofs.c.study == study))
            connection.execute(offered.delete().where(offered.c.study == study))
            connection.execute(urgent.delete().where(urgent.c.study == study))
            connection.execute(waits.delete().where(waits.c.study == study))

    def recover(self, spool: Spool, may_run: Callable[[str], bool] = lambda study: False) -> list[str]:
        """Compare with the spool; return a sentence for each correction. `may_run` says which studies really run now."""
        said = []
        rows = {row.study: row for row in self.all()}
        for study in spool.studies():
            row = rows.get(study)
            if row is None:
                self._insert(study)
                said.append(f"{study} was in the spool, not in the journal")
            elif self._is_stale(row, spool) and self.move(study, (row.state,), RECEIVING):
                said.append(f"{study} has instances that its answer does not know")
        for row in rows.values():
            if row.state == RUNNING and not may_run(row.study):
                self.move(row.study, (RUNNING,), READY, "the node stopped during its analysis")
                said.append(f"{row.study} was being analysed when the node stopped; it is ready again")
            elif row.state == ANSWERED:
                self.settle(row.study)  # the node may have stopped after its last object was sent, and before that
        return said

    def _is_stale(self, row: StudyRow, spool: Spool) -> bool:
        """Whether a study has other instances than its answer. What was compared is compared again only when the folder changed: the
        clock cannot say which came first, as it may have been put back in between."""
        changed = spool.changed_at(row.study)
        if row.state not in (ANSWERED, DELIVERED, PARKED, FAILED) or self._compared.get(row.study) == (row.version, changed):
            return False
        if row.version != spool.version(row.study):
            return True
        self._compared[row.study] = (row.version, changed)
        return False

    # waits: what the images of a study lack

    def wait_of(self, study: str) -> WaitRow | None:
        """What the last look found."""
        with self.engine.connect() as connection:
            found = connection.execute(select(waits).where(waits.c.study == study)).first()
        return WaitRow(**found._mapping) if found else None

    def looked(self, row: WaitRow) -> None:
        with self.engine.begin() as connection:
            connection.execute(waits.delete().where(waits.c.study == row.study))
            connection.execute(insert(waits).values(**vars(row)))

    # what follows from its results

    def settle(self, study: str) -> None:
        """Derive whether an answered study is delivered or parked from its results."""
        row = self.study(study)
        states = {result.state for result in self.results_of(study) if row and result.answer == row.answer}
        if row is None or row.state not in (ANSWERED, PARKED) or {PENDING, STORED, UNSUPPORTED} & states or not states:
            return
        refused = next((result.reason for result in self.results_of(study, PARKED)), "")
        self.move(study, (row.state,), PARKED if PARKED in states else DELIVERED, refused)

    def resend(self, study: str, destination: str = "") -> int:
        """Make the latest answer due again, everywhere or at one destination: what has not arrived, or, where everything has, all of it.

        Return how many objects. What was made in place of a refused class goes: the answer itself is tried first.
        """
        row = self.study(study)
        mine = [result for result in self.results_of(study) if result.answer == row.answer and destination in ("", result.destination)]
        of_answer = [result.id for result in mine if "/" not in result.file]
        again = [result.id for result in mine if result.state not in (DELIVERED, PROVEN, REPLACED)] or of_answer
        made = [result.id for result in mine if "/" in result.file] if again is of_answer else []
        change = update(results).where(results.c.id.in_(again)).values(state=PENDING, next_try=0.0, attempts=0, first_try=0.0, reason="")
        asked = (proofs.c.study == study, proofs.c.answer == row.answer, *([proofs.c.destination == destination] if destination else []))
        with self.engine.begin() as connection:
            connection.execute(change)
            connection.execute(results.delete().where(results.c.id.in_(made)))
            connection.execute(proofs.delete().where(*asked))
        if again:
            self.move(study, (PARKED, DELIVERED, CANCELLED), ANSWERED)
        return len(again)
