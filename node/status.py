"""What a person sees of the queue and does to it: status, why, retry, resend, cancel, purge. Lines of text; nothing here prints.

It works beside a running node, through the journal. No patient data: a study is its UID, which may be given by its last digits.
"""

from __future__ import annotations

import shutil
import time
from collections import Counter
from datetime import datetime

from node import audit_trail
from node.circuit import is_open
from node.errors import BetzError
from node.journal import Journal
from node.purge import is_due, lacks_proof, remove
from node.readiness import sentences
from node.records import (
    ANSWERED,
    CANCELLED,
    DELIVERED,
    FAILED,
    PARKED,
    PENDING,
    READY,
    RECEIVING,
    RUNNING,
    STORED,
    SUPERSEDED,
    ResultRow,
    StudyRow,
    WaitRow,
)
from node.service import is_running, open_storage
from node.settings import Settings
from node.spool import Spool

_MEANS = {
    RECEIVING: "Instances are coming; it is analysed when none came for {quiet:g} s and nothing of it is missing.",
    READY: "It waits for a free place, for room on the disk, or a while after an attempt that failed. To have it first: "
           "betz retry --first {study}",
    RUNNING: "It is being analysed.",
    ANSWERED: "Its answer is being delivered.",
    DELIVERED: "Its answer is at every destination.",
    PARKED: "A part of its answer was refused for good, or is not proven to be there. When that is put right: betz resend {study}",
    FAILED: "It could not be analysed; its answer says so. When the cause is put right: betz retry {study}",
    CANCELLED: "A person cancelled it. To take it up again: betz retry {study}",
}
_NO_ANSWER = ("It could not be analysed, and nothing was sent. When its images were put right in the archive, remove {folder} and send the "
              "study again; when the cause was here: betz retry {study}")


def status_lines(settings: Settings) -> list[str]:
    """The node, every study with its state, and what waits for each destination."""
    journal, spool, _ = open_storage(settings)
    running = "is running" if is_running(settings.storage.folder) else "is not running; start it with: betz serve"
    lines = [f"The node {running}. Storage: {settings.storage.folder}"]
    rows = journal.all()
    counted = Counter(row.state for row in rows)
    lines.append(f"{len(rows)} studies" + (": " + ", ".join(f"{n} {state}" for state, n in counted.items()) if rows else " so far."))
    lines += [f"  {row.state:<10} {_ago(row.since):>9}  {len(spool.instances(row.study)):>6} images  {row.study}  "
              f"{_waits_shortly(journal, spool, row) or row.reason}".rstrip() for row in rows]
    lines += [f"{count} objects wait for {peer}." for peer, count in journal.waiting().items()]
    lines += [f"{count} objects are stored at {peer}, which has not yet proven that it keeps them." for peer, count in
              journal.waiting(STORED).items()]
    lines += [line for peer in settings.destination for line in _away(journal, peer.name)]
    journal.close()
    return lines


def _away(journal: Journal, peer: str) -> list[str]:
    """A destination whose circuit is open."""
    row = journal.circuit(peer)
    if not is_open(row):
        return []
    return [f"{peer} is away since {_when(row.since)}: {row.failures} associations failed in a row, the last: {row.reason.rstrip('.')}. "
            f"It is called again at {_when(row.next_try)}."]


def why_lines(settings: Settings, study: str) -> list[str]:
    """Why one study is where it is, and what to do."""
    journal, spool, _ = open_storage(settings)
    row = journal.find(study)
    images = len(spool.instances(row.study))
    lines = [f"Study {row.study} is {row.state}, since {_when(row.since)} ({_ago(row.since)} ago), with {images} images.",
             (_MEANS[row.state] if row.state != FAILED or row.answer else _NO_ANSWER).format(
                 quiet=settings.study.quiet_s, study=row.study, folder=spool.folder_of(row.study))]
    lines += [f"Reason: {row.reason.rstrip('.')}."] if row.reason else []
    lines += _waits(journal, spool, row)
    lines += [f"Its analysis was started {row.attempts} times without an answer."] if row.attempts and row.state != RUNNING else []
    lines += [f"This is attempt number {row.attempts}."] if row.attempts > 1 and row.state == RUNNING else []
    if conflicts := spool.conflicts(row.study):
        lines.append(f"{len(conflicts)} objects came with other content under a UID that was taken; "
                     f"they lie in {spool.conflicts_folder / row.study} and were not analysed.")
    known = {peer.name for peer in settings.destination}
    lines += [_delivery(result, known) + _proof(journal, result) for result in journal.results_of(row.study) if result.state != SUPERSEDED]
    log = settings.storage.folder / "log" / f"{row.study}.txt"
    if row.state == FAILED and log.exists():
        lines.append(f"What the analysis said at last is in {log}.")
    journal.close()
    return lines


def _wait(journal: Journal, spool: Spool, row: StudyRow) -> WaitRow | None:
    """What a study waits for beside quiet, where a look that still holds found something missing."""
    wait = journal.wait_of(row.study) if row.state == RECEIVING else None
    return wait if wait and wait.changed == spool.changed_at(row.study) and sentences(wait) else None


def _waits(journal: Journal, spool: Spool, row: StudyRow) -> list[str]:
    if (wait := _wait(journal, spool, row)) is None:
        return []
    said = sentences(wait)
    return [f"It waits since {_when(row.since)}, and at most until {_when(wait.until)}, for what its images, seen at {_when(wait.looked)}, "
            f"say is missing:", *(f"  {one}" for one in said),
            f"Then it is analysed with what is there, and its report says what was missing. To have that at once: betz retry {row.study}"]


def _waits_shortly(journal: Journal, spool: Spool, row: StudyRow) -> str:
    if (wait := _wait(journal, spool, row)) is None:
        return ""
    first, *more = sentences(wait)
    return f"waits at most until {_when(wait.until)}: {first}" + (f", and {len(more)} more" if more else "")


def _delivery(result: ResultRow, known: set[str]) -> str:
    line = f"  {result.file} to {result.destination}: {result.state}"
    if result.reason:
        line += f", {result.reason}"
    if result.state == PENDING and result.destination not in known:
        return f"{line}; no destination of that name is configured any more"
    if result.state == PENDING and result.next_try:
        line += f"; tried {result.attempts} times, again at {_when(result.next_try)}"
    return line


def _proof(journal: Journal, result: ResultRow) -> str:
    if result.state != STORED:
        return ""
    asked = journal.proofs_of(result.study, result.answer, result.destination)
    if not asked:
        return "; its proof is asked for when every object of the answer is stored"
    said = asked[-1].reason or "no report yet"
    return f"; its proof was asked for {len(asked)} times, the last at {_when(asked[-1].asked)}: {said}"


def retry(settings: Settings, study: str, first: bool = False) -> list[str]:
    """Analyse a study again, or now; with `first` before all others that wait."""
    journal, _, _ = open_storage(settings)
    row = journal.find(study)
    pausing = row.state == READY and (first or row.attempts)
    states = (FAILED, CANCELLED, ANSWERED, DELIVERED, PARKED, RECEIVING, *([READY] if pausing else []))
    if not journal.move(row.study, states, READY, f"asked for by a person{', before the others' if first else ''}", attempts=0):
        raise BetzError(f"Study {row.study} is {row.state}; it needs no retry."
                        + (f" To have it analysed before the others: betz retry --first {row.study}" if row.state == READY else ""))
    if first:
        journal.hurry(row.study)
    return [f"Study {row.study} is ready to be analysed{' before the others' if first else ' again'}.", *_if_stopped(settings)]


def resend(settings: Settings, study: str, destination: str = "") -> list[str]:
    """Send the answer of a study again, to every destination or to the one of that name."""
    journal, _, _ = open_storage(settings)
    row = journal.find(study)
    if row.state in (RECEIVING, READY, RUNNING):
        raise BetzError(f"Study {row.study} is {row.state}; its answer is sent when it is there.")
    known = {peer.name for peer in settings.destination}
    if destination and destination not in known:
        raise BetzError(f"There is no destination {destination!r} in the settings; there is: {', '.join(sorted(known)) or 'none'}.")
    count = journal.resend(row.study, destination)
    if not count:
        to = f" to {destination}" if destination else ""
        raise BetzError(f"Study {row.study} has no answer that could be sent{to}; `betz why {row.study}` says more.")
    return [f"{count} objects of study {row.study} are to be sent again.", *_if_stopped(settings)]


def cancel(settings: Settings, study: str) -> list[str]:
    """Stop what is still to be done with a study; its images and results stay."""
    journal, _, _ = open_storage(settings)
    row = journal.find(study)
    journal.cancel(row.study)
    return [f"Study {row.study} is cancelled. Its images stay; betz retry {row.study} takes it up again."]


def purge(settings: Settings, older_than_days: float) -> list[str]:
    """Remove images and results of every study whose whole answer is at every destination for so many days.

    Where a destination is to prove what it has, the days count from the proof. A study with conflicting objects is kept: nobody but a
    person can say which content is right.
    """
    journal, spool, outbox = open_storage(settings)
    rows = journal.all()
    due = [row for row in rows if is_due(row, spool, older_than_days, time.time())]
    asking = {peer.name for peer in settings.destination if peer.is_to_prove}
    unproven = [row for row in due if lacks_proof(journal, row, asking)]
    before = shutil.disk_usage(settings.storage.folder).free
    with audit_trail.taking(settings):
        gone = [row for row in due if row not in unproven and remove(settings, row, journal, spool, outbox)]
    freed = max(0, shutil.disk_usage(settings.storage.folder).free - before) / 2**30
    kept = Counter(row.state for row in rows if row not in gone)
    journal.close()
    lines = [f"{len(gone)} studies removed, {freed:.1f} GiB freed."]
    lines += [f"Kept: {', '.join(f'{n} {state}' for state, n in kept.items())}."] if kept else []
    lines += [f"Study {row.study} has conflicting objects and is kept; look, remove {spool.conflicts_folder / row.study}, then purge."
              for row in due if spool.conflicts(row.study)]
    lines += [f"Study {row.study} was delivered before a proof was asked for, and is kept; send it again with: betz resend {row.study}"
              for row in unproven]
    return lines


def _if_stopped(settings: Settings) -> list[str]:
    return [] if is_running(settings.storage.folder) else ["The node is not running; it does so when you start it with: betz serve"]


def _when(seconds: float) -> str:
    return datetime.fromtimestamp(seconds).strftime("%Y-%m-%d %H:%M:%S")


def _ago(seconds: float) -> str:
    passed = max(0.0, time.time() - seconds)
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if passed >= size:
            return f"{passed / size:.1f} {unit}"
    return f"{passed:.0f} s"
