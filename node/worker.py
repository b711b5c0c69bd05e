"""The worker: takes studies that are ready, has each analysed in a process of its own, and hands the answer to the outbox.

A study is ready when no new instance came for the quiet time. Whatever happens to an analysis ends that study only, and still gives an
answer: the objects that say "not analysed" and why. Instances that come during a run make its result void and the study receiving
again; instances that come after the answer make a new version of it. The executor, the answer to a failure and the clock, which only goes
forward, are arguments.
"""

from __future__ import annotations

import shutil
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from analysis.words import packed, say
from node.child import Limits, run_child
from node.errors import JobError
from node.journal import ARRIVED, CANCELLED, READY, RECEIVING, RUNNING, Journal
from node.log import log
from node.outbox import Answer, Outbox
from node.quiet import Quiet
from node.settings import Settings
from node.spool import Spool

STARTS_AT_MOST = 3
FAILURE_TIME_S = 300.0
_RECOVER_S, _STEP_S = 60.0, 0.5

Submit = Callable[[Path, Path, Path | None, Callable[[], bool]], None]
"""(study folder, out folder, folder of the answer that this one replaces, whether to stop): analyse, so that `out` exists and is whole;
JobError with the reason where it cannot."""

AnswerFailure = Callable[[Path, Path, Path | None, str], None]
"""(study folder, out folder, folder of the answer that this one replaces, reason): write the objects that say "not analysed"; JobError
where even that cannot be."""


class Worker:
    """Drives studies from receiving to answered."""

    def __init__(self, settings: Settings, journal: Journal, spool: Spool, outbox: Outbox, submit: Submit, answer_failure: AnswerFailure,
                 clock: Callable[[], float] = time.monotonic) -> None:
        self.settings, self.journal, self.spool, self.outbox = settings, journal, spool, outbox
        self.submit, self.answer_failure, self.clock = submit, answer_failure, clock
        self.quiet = Quiet(clock)
        self.work = settings.storage.folder / "work"
        self.logs = settings.storage.folder / "log"
        self._running: set[str] = set()
        for folder in (self.work, self.logs):
            folder.mkdir(parents=True, exist_ok=True)

    def serve(self, stop: threading.Event) -> None:
        """Work until told to stop; then end what runs. What was running is ready again at the next start."""
        self.recover()
        recovered = time.monotonic()
        with ThreadPoolExecutor(self.settings.worker.studies_at_once, "worker") as pool:
            while not stop.wait(_STEP_S):
                try:
                    if time.monotonic() - recovered > _RECOVER_S:
                        self.recover()
                        recovered = time.monotonic()
                    self.find_ready()
                    for study in self.take():
                        pool.submit(self.run, study, stop.is_set)
                except Exception as error:
                    log("worker_failed", reason=f"{type(error).__name__}: {error}")

    def recover(self) -> None:
        for sentence in self.journal.recover(self.spool, self._running.__contains__):
            log("recovered", reason=sentence)

    def find_ready(self) -> list[str]:
        """receiving → ready for every study that is quiet."""
        receiving = [row.study for row in self.journal.all(RECEIVING)]
        self.quiet.only(receiving)
        quiet = [study for study in receiving if self._is_quiet(study)]
        return [study for study in quiet if self.journal.move(study, (RECEIVING,), READY)]

    def _is_quiet(self, study: str) -> bool:
        changed = self.spool.changed_at(study)
        return changed > 0 and self.quiet.for_s(study, changed) >= self.settings.study.quiet_s

    def take(self) -> list[str]:
        """The ready studies for which there is a free place now, the longest waiting first."""
        free = self.settings.worker.studies_at_once - len(self._running)
        ready = [row.study for row in self.journal.all(READY) if row.study not in self._running]
        if ready and free and not self.spool.has_room():
            log("worker_waits", reason="the free space is below the minimum; nothing is analysed until there is room")
            return []
        chosen = ready[:free]
        self._running.update(chosen)
        return chosen

    def run(self, study: str, stop: Callable[[], bool] = lambda: False) -> None:
        """One ready study, from start to answer. Never raises: what goes wrong is the study's reason."""
        try:
            if self.journal.start(study):
                self._analyse(study, stop)
        except Exception as error:
            log("worker_failed", study=study, reason=f"{type(error).__name__}: {error}")
            self._give_back(study, f"the node failed: {type(error).__name__}: {error}")
        finally:
            self._running.discard(study)

    def _give_back(self, study: str, reason: str) -> None:
        """The node itself failed, for example on a full disk: another start, but not for ever."""
        if self.journal.study(study).attempts <= STARTS_AT_MOST:
            self.journal.move(study, (RUNNING,), READY, reason)
        else:
            self.journal.answer(study, self.spool.version(study), "", (), (), reason)

    def _analyse(self, study: str, stop: Callable[[], bool]) -> None:
        began, version = time.monotonic(), self.spool.version(study)
        log("analysis_started", study=study, version=version)
        out = self._fresh(study)
        failure = self._outcome(study, out, stop)
        if failure and (stop() or self._is_cancelled(study)):
            self.journal.move(study, (RUNNING,), READY, "the node stopped during its analysis", attempts=0)
            log("analysis_stopped", study=study)
        elif self.spool.version(study) != version:
            self.journal.move(study, (RUNNING,), RECEIVING, "instances came during its analysis", attempts=0)
            log("analysis_void", study=study, reason="instances came meanwhile; it is analysed again")
        else:
            answer, failure = self._answer(study, out, failure)
            names = [peer.name for peer in self.settings.destination]
            self.journal.answer(study, version, answer.name, answer.files, names, failure)
            log("study_failed" if failure else "study_answered", study=study, objects=len(answer.files), reason=failure,
                seconds=round(time.monotonic() - began, 1))
        shutil.rmtree(out.parent, ignore_errors=True)

    def _outcome(self, study: str, out: Path, stop: Callable[[], bool]) -> str:
        """The reason why there is no result, or ""."""
        starts = self.journal.study(study).attempts
        if starts > STARTS_AT_MOST:
            return say("the node stopped {count} times while it was analysed", count=STARTS_AT_MOST)
        try:
            self.submit(self.spool.folder_of(study), out, self._earlier(study), lambda: stop() or self._is_cancelled(study))
        except JobError as error:
            return error.reason
        return "" if any(out.glob("*.dcm")) else say("the analysis ended without an object")

    def _answer(self, study: str, out: Path, failure: str) -> tuple[Answer, str]:
        """Keep the result, or the objects that say why there is none; the failure with both reasons where even those cannot be made."""
        try:
            if failure:
                self.answer_failure(self.spool.folder_of(study), self._fresh(study), self._earlier(study), failure)
            return self.outbox.keep(study, out), failure
        except (JobError, FileNotFoundError) as error:
            more = "" if str(error) == failure else f"; and no answer could be made: {error}"
            return Answer("", ()), f"{failure}{more}"

    def _earlier(self, study: str) -> Path | None:
        """The latest answer of which something has arrived: a reader may have seen it, so the next one names it."""
        delivered = self.journal.results_of(study, *ARRIVED)
        if not delivered:
            return None
        folder = self.outbox.path_of(study, max(delivered, key=lambda row: row.id).answer)
        return folder if folder.is_dir() else None

    def _is_cancelled(self, study: str) -> bool:
        row = self.journal.study(study)
        return row is None or row.state == CANCELLED

    def _fresh(self, study: str) -> Path:
        """A folder for the result that does not exist yet, alone in a folder of its own."""
        shutil.rmtree(self.work / study, ignore_errors=True)
        (self.work / study).mkdir()
        return self.work / study / "out"


def in_child(settings: Settings, logs: Path) -> tuple[Submit, AnswerFailure]:
    """The executor of this machine: the command `betz process` in a child process."""
    limits = Limits(settings.worker.time_limit_s, settings.worker.memory_limit_gib, settings.worker.threads)

    def command(study: Path, out: Path, earlier: Path | None) -> list[str]:
        source = ["--config", str(settings.source)] if settings.source else []
        replaced = ["--earlier", str(earlier)] if earlier else []
        return [sys.executable, "-m", "node.command", "process", str(study), "--out", str(out), *source, *replaced]

    def submit(study: Path, out: Path, earlier: Path | None, stopped: Callable[[], bool]) -> None:
        run_child(command(study, out, earlier), limits, logs / f"{study.name}.txt", stopped, scratch=out.parent)

    def answer_failure(study: Path, out: Path, earlier: Path | None, reason: str) -> None:
        shorter = Limits(min(FAILURE_TIME_S, limits.time_s), limits.memory_gib, limits.threads)
        told = [*command(study, out, earlier), "--failed", packed(reason)]
        run_child(told, shorter, logs / f"{study.name}.failed.txt", scratch=out.parent)

    return submit, answer_failure
