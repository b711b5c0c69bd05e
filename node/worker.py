"""The worker: takes studies that are ready, has each analysed in a process of its own, and hands the answer to the outbox.

A study is ready when no new instance came for the quiet time and `allows` says that it need not wait for more. Whatever happens to an
analysis ends that study only, and still gives an answer: the objects that say "not analysed" and why. What may pass (a process that was
killed or crashed, a node that died, a full disk) is tried again, after the others and after a pause; a start is counted before it happens,
and the third that fails so is the last. Limits of time and of memory, and what the analysis itself says, are final at once. Instances that
come during a run make its result void and the study receiving again; instances that come after the answer make a new version of it. Studies
that a person put first go first, then those never tried, then those never answered, each in the order in which they became ready. The
executor, the answer to a failure and the clock, which only goes forward, are arguments.
"""

from __future__ import annotations

import shutil
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from analysis.words import packed, say
from node.child import Limits, run_child
from node.disk import trouble
from node.errors import CrashError, JobError
from node.journal import Journal
from node.log import log, unforeseen
from node.machine import memory_gib, places_of
from node.outbox import Answer, Outbox
from node.priors_found import Found
from node.quiet import Quiet
from node.records import READY, RECEIVING, RUNNING, StudyRow
from node.rounds import rounds
from node.settings import Settings
from node.spool import Spool

STARTS_AT_MOST = 3
FAILURE_TIME_S = 300.0
_RECOVER_S = 60.0

Submit = Callable[[Path, Path, Path | None, Callable[[], bool]], None]
"""(study folder, out folder, folder of the answer that this one replaces, whether to stop): analyse, so that `out` exists and is whole;
JobError with the reason where it cannot."""

AnswerFailure = Callable[[Path, Path, Path | None, str, Callable[[], bool]], None]
"""(study folder, out folder, folder of the answer that this one replaces, reason, whether to stop): write the objects that say "not
analysed"; JobError where even that cannot be."""


class Worker:
    """Drives studies from receiving to answered."""

    def __init__(self, settings: Settings, journal: Journal, spool: Spool, outbox: Outbox, submit: Submit, answer_failure: AnswerFailure,
                 clock: Callable[[], float] = time.monotonic, allows: Callable[[str], bool] = lambda study: True) -> None:
        self.settings, self.journal, self.spool, self.outbox, self.allows = settings, journal, spool, outbox, allows
        self.submit, self.answer_failure, self.clock = submit, answer_failure, clock
        self.quiet, self._rest = Quiet(clock), Quiet(clock)
        self.places = places_of(settings.worker, memory_gib()).count
        self.work = settings.storage.folder / "work"
        self.logs = settings.storage.folder / "log"
        self._running: set[str] = set()
        self._lacks, self._recovered = "", clock()
        for folder in (self.work, self.logs):
            folder.mkdir(parents=True, exist_ok=True)

    def serve(self, stop: threading.Event) -> None:
        """Work until told to stop; then end what runs. What was running is ready again at the next start."""
        self.recover()
        with ThreadPoolExecutor(self.places, "worker") as pool:
            rounds(stop, lambda: self.step(lambda study: pool.submit(self.run, study, stop.is_set)), "worker_failed")

    def step(self, start: Callable[[str], object]) -> None:
        """Look after the queue once, and `start` each study that has its turn."""
        if self.clock() - self._recovered > _RECOVER_S:
            self.recover()
        self.find_ready()
        for study in self.take():
            start(study)

    def recover(self) -> None:
        for sentence in self.journal.recover(self.spool, self._running.__contains__):
            log("recovered", reason=sentence)
        self._recovered = self.clock()

    def sweep(self) -> None:
        """Remove what an earlier node left of analyses whose end it did not see. Only a node that starts and holds the lock may."""
        for path in self.work.iterdir():
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
        for row in self.journal.all(RUNNING):
            self.outbox.drop(row.study, {row.answer, *(result.answer for result in self.journal.results_of(row.study))}, row.started)

    def find_ready(self) -> list[str]:
        """receiving → ready for every study that is quiet and need not wait for more."""
        receiving = [row.study for row in self.journal.all(RECEIVING)]
        self.quiet.only(receiving)
        quiet = [study for study in receiving if self._is_quiet(study) and self.allows(study)]
        return [study for study in quiet if self.journal.move(study, (RECEIVING,), READY)]

    def _is_quiet(self, study: str) -> bool:
        changed = self.spool.changed_at(study)
        return changed > 0 and self.quiet.for_s(study, changed) >= self.settings.study.quiet_s

    def take(self) -> list[str]:
        """The ready studies for which there is a free place now, in their order."""
        free = self.places - len(self._running)
        ready = [row for row in self.journal.all(READY) if row.study not in self._running and self._is_rested(row)]
        if not ready or free <= 0 or self._waits_for_room():
            return []
        urgent = self.journal.urgent()
        ready.sort(key=lambda row: (row.study not in urgent, row.attempts, row.answer != ""))
        chosen = [row.study for row in ready[:free]]
        self._running.update(chosen)
        return chosen

    def _is_rested(self, row: StudyRow) -> bool:
        """False while a study has its pause after an attempt that failed."""
        rested_s = self._rest.for_s(row.study, row.attempts)
        return row.attempts == 0 or rested_s >= pause_s(row.attempts)

    def _trouble(self) -> str:
        return trouble(self.work, self.spool.minimum_free_bytes)

    def _waits_for_room(self) -> bool:
        before, self._lacks = self._lacks, self._trouble()
        if self._lacks and self._lacks != before:
            log("worker_waits", reason=f"{self._lacks}; nothing is analysed until there is room")
        return self._lacks != ""

    def run(self, study: str, stop: Callable[[], bool] = lambda: False) -> None:
        """One ready study, from start to answer. Never raises: what goes wrong is the study's reason."""
        try:
            if self.journal.start(study):
                self._analyse(study, stop)
        except Exception as error:
            log("worker_failed", study=study, reason=unforeseen(error))
            with suppress(Exception):  # a journal that cannot be written now: `recover` finds the study again
                self._give_back(study, f"the node failed: {unforeseen(error)}")
        finally:
            self._running.discard(study)

    def _give_back(self, study: str, reason: str) -> None:
        """The node itself failed: another start, but not for ever. Without room on the disk the start does not count."""
        starts, lacks = self.journal.study(study).attempts, self._trouble()
        if lacks or starts <= STARTS_AT_MOST:
            self._again(study, lacks or reason, starts - bool(lacks))
        else:
            self.journal.answer(study, self.spool.version(study), "", (), (), reason)

    def _again(self, study: str, reason: str, starts: int) -> None:
        if self.journal.move(study, (RUNNING,), READY, reason, attempts=starts):
            log("analysis_waits", study=study, reason=reason, attempts=starts, wait_s=pause_s(starts))

    def _analyse(self, study: str, stop: Callable[[], bool]) -> None:
        began, version, starts = time.monotonic(), self.spool.version(study), self.journal.study(study).attempts
        log("analysis_started", study=study, version=version, attempt=starts)
        out, stopped = self._fresh(study), lambda: stop() or not self._is_running(study)
        failure, may_pass = self._outcome(study, out, starts, stopped)
        if failure and stopped():
            self.journal.move(study, (RUNNING,), READY, "the node stopped during its analysis", attempts=starts - 1)
            log("analysis_stopped", study=study)
        elif self.spool.version(study) != version:
            self.journal.move(study, (RUNNING,), RECEIVING, "instances came during its analysis", attempts=0)
            log("analysis_void", study=study, reason="instances came meanwhile; it is analysed again")
        elif may_pass and starts < STARTS_AT_MOST:
            self._again(study, failure, starts)
        else:
            self._answer(study, version, out, failure, stopped, began)
        shutil.rmtree(out.parent, ignore_errors=True)

    def _outcome(self, study: str, out: Path, starts: int, stopped: Callable[[], bool]) -> tuple[str, bool]:
        """The reason why there is no result, or "", and whether another start may give one."""
        if starts > STARTS_AT_MOST:
            return say("the node stopped {count} times while it was analysed", count=STARTS_AT_MOST), False
        try:
            self.submit(self.spool.folder_of(study), out, self._earlier(study), stopped)
        except JobError as error:
            lacks = self._trouble()
            reason = say("there was no room on the disk") if lacks else error.reason
            if not lacks and not isinstance(error, CrashError):
                return reason, False
            return (reason if starts < STARTS_AT_MOST else say("{reason}, {count} times", reason=reason, count=starts)), True
        return "" if any(out.glob("*.dcm")) else say("the analysis ended without an object"), False

    def _answer(self, study: str, version: str, out: Path, failure: str, stopped: Callable[[], bool], began: float) -> None:
        """Keep the result, or the objects that say why there is none, and have them sent; what cannot be kept for now is made again."""
        answer, failure = self._kept(study, out, failure, stopped)
        if not answer.name and ((lacks := self._trouble()) or stopped()):
            self._again(study, lacks or "the node stopped during its analysis", self.journal.study(study).attempts - 1)
            return
        names = [peer.name for peer in self.settings.destination]
        self.journal.answer(study, version, answer.name, answer.files, names, failure)
        log("study_failed" if failure else "study_answered", study=study, objects=len(answer.files), reason=failure,
            seconds=round(time.monotonic() - began, 1))

    def _kept(self, study: str, out: Path, failure: str, stopped: Callable[[], bool]) -> tuple[Answer, str]:
        """What is in the outbox now; the failure with both reasons where even the objects that tell it cannot be made."""
        try:
            if failure:
                self.answer_failure(self.spool.folder_of(study), self._fresh(study), self._earlier(study), failure, stopped)
            return self.outbox.keep(study, out), failure
        except (JobError, FileNotFoundError) as error:
            more = "" if str(error) == failure else f"; and no answer could be made: {error}"
            return Answer("", ()), f"{failure}{more}"

    def _earlier(self, study: str) -> Path | None:
        """The latest answer that a reader may have seen: the next one names it."""
        answer = self.journal.latest_seen(study)
        folder = self.outbox.path_of(study, answer) if answer else None
        return folder if folder and folder.is_dir() else None

    def _is_running(self, study: str) -> bool:
        """False when a person cancelled it, or asked for it anew."""
        row = self.journal.study(study)
        return row is not None and row.state == RUNNING

    def _fresh(self, study: str) -> Path:
        """A folder for the result that does not exist yet, alone in a folder of its own."""
        shutil.rmtree(self.work / study, ignore_errors=True)
        (self.work / study).mkdir()
        return self.work / study / "out"


def pause_s(attempts: int) -> float:
    """How long a study rests after so many attempts that failed: 10 s, a minute, six minutes."""
    return 10.0 * 6.0 ** (attempts - 1) if attempts > 0 else 0.0


def in_child(settings: Settings, logs: Path, missing: Callable[[str], str] = lambda study: "",
             priors: Callable[[Path, Path, Callable[[], bool]], Found] = lambda study, scratch, stopped: Found(),
             ) -> tuple[Submit, AnswerFailure]:  # fmt: skip
    """The executor of this machine: the command `betz process` in a child process.

    `missing`: a sentence on what a study lacks, or ""; `priors`: the earlier examinations of its patient, which are looked for first.
    """
    memory_limit_gib = places_of(settings.worker, memory_gib()).limit_gib
    limits = Limits(settings.worker.time_limit_s, memory_limit_gib)

    def command(study: Path, out: Path, earlier: Path | None) -> list[str]:
        source = ["--config", str(settings.source)] if settings.source else []
        replaced = ["--earlier", str(earlier)] if earlier else []
        lacking = ["--missing", packed(said)] if (said := missing(study.name)) else []
        return [sys.executable, "-m", "node.command", "process", str(study), "--out", str(out), *source, *replaced, *lacking]

    def submit(study: Path, out: Path, earlier: Path | None, stopped: Callable[[], bool]) -> None:
        found = priors(study, out.parent, stopped)
        more = [word for folder in found.folders for word in ("--prior", folder)]
        more += [word for sentence in found.said for word in ("--told", packed(sentence))]
        run_child([*command(study, out, earlier), *more], limits, logs / f"{study.name}.txt", stopped, scratch=out.parent)

    def answer_failure(study: Path, out: Path, earlier: Path | None, reason: str, stopped: Callable[[], bool]) -> None:
        shorter = Limits(min(FAILURE_TIME_S, limits.time_s), limits.memory_gib)
        told = [*command(study, out, earlier), "--failed", packed(reason)]
        run_child(told, shorter, logs / f"{study.name}.failed.txt", stopped, scratch=out.parent)

    return submit, answer_failure
