"""The outbox: the encoded bytes of every answer, kept as they are sent, until the study is purged.

    outbox/<study uid>/<digest of the content>/*.dcm, report.json
    outbox/<study uid>/<the same>.instead/*.dcm      made for destinations that do not take a class of the answer (`replacement`)

An answer appears whole, by one rename, after its files are synced; the same content has the same folder, so a study that is answered twice
in the same way is kept once. What an object says of patient and study is compared with its source before it may leave.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import threading
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from node.folder_sync import sync_folder
from node.spool import digest_of, is_uid

_IDENTITY = ("PatientID", "IssuerOfPatientID", "PatientName", "PatientBirthDate", "PatientSex", "StudyInstanceUID", "StudyID", "StudyDate",
             "AccessionNumber")


@dataclass(frozen=True)
class Answer:
    """What is kept of one answer: the name of its folder, and its objects in the order in which they are sent."""

    name: str
    files: tuple[str, ...]


class Outbox:
    """The outbox in one storage folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "outbox"
        self.folder.mkdir(parents=True, exist_ok=True)

    def path_of(self, study: str, answer: str, file: str = "") -> Path:
        """`file` as the journal names it; what stands beside the answer begins with `instead/`."""
        beside, _, name = file.rpartition("/")
        return self.folder / study / (f"{answer}.{beside}" if beside else answer) / name

    def keep_instead(self, study: str, answer: str, file: str, data: bytes) -> None:
        """Keep an object beside the answer, durably; it appears whole."""
        target = self.path_of(study, answer, file)
        partial = target.with_suffix(f".{threading.get_ident()}.partial")  # two destinations may refuse the same class at once
        target.parent.mkdir(exist_ok=True)
        partial.write_bytes(data)
        _sync(partial)
        partial.rename(target)
        sync_folder(target.parent)
        sync_folder(target.parent.parent)

    def keep(self, study: str, out: Path) -> Answer:
        """Take the folder of a finished analysis, durably. `out` is gone afterwards."""
        answer = Answer(_content(out), _in_order(out))
        target = self.path_of(study, answer.name)
        if target.exists():
            shutil.rmtree(out)
            return answer
        for path in out.rglob("*"):
            _sync(path)
        target.parent.mkdir(exist_ok=True)
        sync_folder(out)
        out.rename(target)
        sync_folder(target.parent)
        sync_folder(self.folder)
        return answer

    def drop(self, study: str, known: Collection[str], since: float) -> None:
        """Remove the answers of a study that came since then (seconds since 1970) and are not known: nobody was told of them."""
        for answer in (self.folder / study).glob("*"):
            if answer.name not in known and answer.stat().st_mtime >= since - 1:
                shutil.rmtree(answer, ignore_errors=True)

    def remove(self, study: str) -> None:
        if is_uid(study):
            shutil.rmtree(self.folder / study, ignore_errors=True)


def identity_difference(result: Path, sources: Iterable[Path]) -> str | None:
    """None where the object says of patient and study what one of its sources says; else the attributes that differ, not their values.

    A source that cannot be read says nothing.
    """
    mine, different = _identity(result), None
    if mine is None:
        return "all of it, as the object cannot be read"
    for source in sources:
        if (other := _identity(source)) is None:
            continue
        found = [keyword for keyword in _IDENTITY if mine[keyword] != other[keyword]]
        if not found:
            return None
        different = different or found
    return ", ".join(different) if different else "all of it, as its source is gone"


def _identity(path: Path) -> dict[str, str] | None:
    from pydicom import dcmread

    try:
        header = dcmread(path, stop_before_pixels=True, specific_tags=list(_IDENTITY), force=True)
        return {keyword: str(header.get(keyword) or "").strip().rstrip("^") for keyword in _IDENTITY}
    except Exception:  # pydicom raises many kinds on a damaged file
        return None


def _in_order(out: Path) -> tuple[str, ...]:
    """The objects as report.json lists them (masks before the report that points to them), then any other."""
    there, listed = {path.name for path in out.glob("*.dcm")}, []
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        listed = [item["file"] for item in json.loads((out / "report.json").read_text())["objects"] if item["file"] in there]
    return (*listed, *sorted(there - set(listed)))


def _content(out: Path) -> str:
    """A digest of the objects. report.json tells how long it took, so it is not part of the content."""
    digest = hashlib.sha256()
    for path in sorted(out.glob("*.dcm")):
        digest.update(f"{path.name} {digest_of(path, 0)}\n".encode())
    return digest.hexdigest()[:16]


def _sync(path: Path) -> None:
    if path.is_dir():
        sync_folder(path)
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
