"""What must be true after a trial: nothing that was answered 0000 is lost, every study has one current answer at the archive, all is clean.

Each fault is a sentence; no sentence, no fault.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hospital import Ledger, data_set_of, wait_for
from pydicom import dcmread

from node.journal import Journal
from node.outbox import Outbox
from node.records import DELIVERED, FAILED, PENDING, READY, RECEIVING, RUNNING, STORED
from node.service import JOURNAL
from node.spool import Spool


def wait_until_settled(storage: Path, within_s: float) -> None:
    """Every study is analysed, and its answer delivered or stuck for a reason."""
    journal, spool = Journal(storage / JOURNAL), Spool(storage)

    def is_settled() -> bool:
        return ({row.study for row in journal.all()} == set(spool.studies()) and not journal.all(RECEIVING, READY, RUNNING)
                and not journal.waiting(PENDING) and not journal.waiting(STORED))
    try:
        wait_for(is_settled, within_s, "every study settles")
    except TimeoutError:
        pass  # the judge says which
    finally:
        journal.close()


def faults(folder: Path, ledger: Ledger) -> Iterator[str]:
    """What is wrong in the end, a sentence each. `folder` holds the node's data and the archive's; both are stopped or idle."""
    storage = folder / "data"
    yield from missing(storage, ledger)
    yield from _left_over(storage)
    yield from _results(storage, folder / "archive")


def missing(storage: Path, ledger: Ledger) -> Iterator[str]:
    """Every instance that was answered 0000 is there, byte for byte: in the spool, or, under a UID that was taken, among the conflicts."""
    for study, instance, digest in sorted(ledger.answered):
        kept = [storage / "spool" / study / f"{instance}.dcm", *(storage / "conflicts" / study).glob(f"{instance}.*.dcm")]
        found = [path for path in kept if path.exists() and hashlib.sha256(data_set_of(path)).hexdigest() == digest]
        if len(found) != 1:
            yield f"{instance} of {study} was answered 0000 and is there {len(found)} times"


def _left_over(storage: Path) -> Iterator[str]:
    for place in ("incoming", "work"):
        yield from (f"{path} is left over" for path in (storage / place).rglob("*"))
    yield from (f"{path} is left over" for path in storage.rglob(".*"))
    for path in (storage / "spool").rglob("*.dcm"):
        try:
            dcmread(path)
        except Exception as error:
            yield f"{path} cannot be read: {error}"


@dataclass(frozen=True)
class Received:
    """An object at the archive. `predecessors` are the documents that it names as replaced."""

    study: str
    uid: str
    kind: str
    digest: str
    predecessors: frozenset[str]


def received(archive_folder: Path) -> list[Received]:
    found = []
    for path in sorted(archive_folder.glob("*.dcm")):
        ds = dcmread(path, stop_before_pixels=True, specific_tags=[
            "StudyInstanceUID", "SOPInstanceUID", "Modality", "SeriesNumber", "PredecessorDocumentsSequence"])
        named = [item for study in ds.get("PredecessorDocumentsSequence") or () for series in study.ReferencedSeriesSequence
                 for item in series.ReferencedSOPSequence]
        found.append(Received(str(ds.StudyInstanceUID), str(ds.SOPInstanceUID), f"{ds.Modality} {ds.get('SeriesNumber')}",
                              path.stem.partition("_")[2], frozenset(str(item.ReferencedSOPInstanceUID) for item in named)))
    return found


def _results(storage: Path, archive_folder: Path) -> Iterator[str]:
    """Each study has one current answer, whole, at the archive; every older report is named by a newer one; no UID has two contents."""
    journal, spool, outbox = Journal(storage / JOURNAL), Spool(storage), Outbox(storage)
    there = received(archive_folder)
    for uid in {one.uid for one in there}:
        if len({one.digest for one in there if one.uid == uid}) != 1:
            yield f"{uid} has several contents at the archive"
    rows = {row.study: row for row in journal.all()}
    for study in spool.studies():
        if (row := rows.get(study)) is None:
            yield f"{study} is in the spool, not in the journal"
            continue
        if row.state not in (DELIVERED, FAILED) or row.version != spool.version(study):
            version = "this" if row.version == spool.version(study) else "another"
            yield f"{study} is {row.state} ({row.reason}), and its answer is of {version} version"
            continue
        mine = [one for one in there if one.study == study]
        yield from _current(study, outbox.path_of(study, row.answer), mine)
        referred = {result.answer for result in journal.results_of(study)}
        yield from (f"the answer {path.name} of {study} is left over in the outbox"
                    for path in (storage / "outbox" / study).iterdir() if path.name not in referred)
    journal.close()


def _current(study: str, answer: Path, at_archive: list[Received]) -> Iterator[str]:
    current = {str(dcmread(path, stop_before_pixels=True).SOPInstanceUID): data_set_of(path) for path in sorted(answer.glob("*.dcm"))}
    digests = {one.uid: one.digest for one in at_archive}
    if not current:
        yield f"{study} has no answer in the outbox"
    for uid, content in current.items():
        if digests.get(uid) != hashlib.sha256(content).hexdigest()[:16]:
            yield f"{uid}, an object of the answer to {study}, is not at the archive as it was made"
    named = {uid for one in at_archive for uid in one.predecessors}
    reports = {one.uid for one in at_archive if one.kind.startswith("SR")}
    if stray := reports - named - current.keys():
        yield f"{study} has {len(stray)} older reports at the archive that no newer one names"
    if reports & named & current.keys():
        yield f"{study}: a current report is named as replaced"
