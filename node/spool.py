"""The spool: every instance that arrived, as a whole file or not at all. It is the record of what arrived.

    spool/<study uid>/<sop uid>.dcm                       what the analysis reads
    conflicts/<study uid>/<sop uid>.<digest>.dcm          another content under a UID that was taken: kept for a person, never analysed
    incoming/                                             half-received objects; swept at start

An object is written chunk by chunk beside its place, walked to its end, synced, and linked to its name without overwriting; then
the folder is synced, once for all who wait for it. Only then `commit` returns and the sender may hear 0000. An identical repeat changes
nothing; what was linked when the sync failed is new when it comes again. UIDs come from outside and become a path only after they were
checked. What cannot be stored is a SpoolError with the C-STORE status: A700 no room, A900 not what was announced, C000 not a whole data
set.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
import re
import shutil
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from node.errors import SpoolError
from node.folder_sync import FolderSyncs
from node.incoming import Part, data_set_offset
from node.wholeness import NotWhole, texts_of

OUT_OF_RESOURCES, NOT_AS_ANNOUNCED, CANNOT_UNDERSTAND = 0xA700, 0xA900, 0xC000
_UID = re.compile(r"[0-9]+(\.[0-9]+)*")
_WANTED = {(0x0008, 0x0016): "SOPClassUID", (0x0008, 0x0018): "SOPInstanceUID", (0x0020, 0x000D): "StudyInstanceUID",
           (0x0020, 0x000E): "SeriesInstanceUID"}

EMPTY = hashlib.sha256(b"").hexdigest()[:16]  # the version of a study without an instance


class Placed(Enum):
    """What became of an instance."""

    NEW = "new"
    REPEAT = "identical repeat"
    CONFLICT = "other content under the same SOP Instance UID"


@dataclass(frozen=True)
class Stored:
    """An instance that is safe on the disk."""

    study_instance_uid: str
    sop_instance_uid: str
    placed: Placed


def is_uid(text: str) -> bool:
    """True for digits and single dots, at most 64 of them (PS3.5 9.1); nothing else may become a path."""
    return len(text) <= 64 and _UID.fullmatch(text) is not None


class Spool:
    """The spool in one storage folder. On the way of an instance places are text: as paths they took a sixth of the interpreter's time."""

    def __init__(self, folder: Path, minimum_free_gib: float = 0.0) -> None:
        self.studies_folder, self.incoming, self.conflicts_folder = folder / "spool", folder / "incoming", folder / "conflicts"
        self._studies, self._incoming = str(self.studies_folder), str(self.incoming)
        self.minimum_free_bytes = int(minimum_free_gib * 2**30)
        self._numbers = itertools.count()
        self._syncs = FolderSyncs()
        self._folders: set[str] = set()  # known to last
        self._doubtful: set[str] = set()  # linked, but not known to last
        for place in (self.studies_folder, self.incoming, self.conflicts_folder):
            place.mkdir(parents=True, exist_ok=True)

    def sweep(self) -> int:
        """Remove what an earlier node received half; return how many. Only the node that holds the lock may call it."""
        for leaving in self.incoming.glob("*.leaving"):  # a removal that was cut off before it was decided
            self._put_back(leaving)
        for gone in self.incoming.glob("*.gone"):
            shutil.rmtree(gone)
        left = [path for path in self.incoming.iterdir() if path.is_file()]
        for path in left:
            path.unlink()
        return len(left)

    def has_room(self) -> bool:
        try:
            return shutil.disk_usage(self._incoming).free >= self.minimum_free_bytes
        except OSError:
            return False

    def begin(self, sop_class_uid: str, sop_instance_uid: str, transfer_syntax_uid: str) -> Part:
        """A place for one object; where there is no room, one that swallows and is refused at `commit`."""
        part = Part(f"{self._incoming}/{os.getpid()}.{next(self._numbers)}.part", sop_class_uid, sop_instance_uid, transfer_syntax_uid)
        if self.has_room():
            part.begin()
        else:
            part.failed = "the free space is below the minimum"
        return part

    def commit(self, part: Part) -> Stored:
        """Put a received object in its place, durably. SpoolError, and no trace, where it cannot be."""
        try:
            texts = self._checked(part)
            part.sync()
            if part.failed:
                raise SpoolError(f"There is no room: {part.failed}.", OUT_OF_RESOURCES)
            return self._place(part, texts["StudyInstanceUID"], texts["SOPInstanceUID"])
        except OSError as error:
            raise SpoolError(f"The object could not be written: {error.strerror}.", OUT_OF_RESOURCES) from error
        finally:
            part.close()

    def _checked(self, part: Part) -> dict[str, str]:
        if part.failed:
            raise SpoolError(f"There is no room: {part.failed}.", OUT_OF_RESOURCES)
        try:
            texts = texts_of(part.path, part.offset, part.transfer_syntax_uid, _WANTED, part.head)
        except NotWhole as error:
            raise SpoolError(f"The object is not a whole data set: {error}.", CANNOT_UNDERSTAND) from None
        for keyword in _WANTED.values():
            if not is_uid(texts.get(keyword, "")):
                raise SpoolError(f"The object has no valid {keyword}.", CANNOT_UNDERSTAND)
        if (texts["SOPClassUID"], texts["SOPInstanceUID"]) != (part.sop_class_uid, part.sop_instance_uid):
            raise SpoolError("The object is of another SOP class or instance than the command announced.", NOT_AS_ANNOUNCED)
        return texts

    def _place(self, part: Part, study: str, instance: str) -> Stored:
        target = f"{self._studies}/{study}/{instance}.dcm"
        if self._link(part.path, target):
            return Stored(study, instance, Placed.NEW)
        mine = digest_of(part.path, part.offset)
        if mine == digest_of(target, data_set_offset(target)):
            return Stored(study, instance, Placed.NEW if self._keep(target) else Placed.REPEAT)
        kept = f"{self.conflicts_folder}/{study}/{instance}.{mine[:16]}.dcm"
        return Stored(study, instance, Placed.CONFLICT if self._link(part.path, kept) or self._keep(kept) else Placed.REPEAT)

    def _link(self, source: str, target: str) -> bool:
        """Give a synced file its name, durably; False where the name is taken."""
        folder = os.path.dirname(target)
        while True:
            self._make_folder(folder)
            try:
                os.link(source, target)
                break
            except FileExistsError:
                return False
            except FileNotFoundError:
                if not os.path.exists(source):
                    raise
                self._folders.discard(folder)  # the study was purged meanwhile
        self._doubtful.add(target)
        self._keep(target)
        return True

    def _make_folder(self, folder: str) -> None:
        """It is there, durably, when this returns; also where another association made it a moment ago."""
        if folder not in self._folders:
            with contextlib.suppress(FileExistsError):
                os.mkdir(folder)
            self._syncs.cover(os.path.dirname(folder))
            self._folders.add(folder)

    def _keep(self, target: str) -> bool:
        """The name lasts when this returns. True where it was not known to: its sender never heard success."""
        self._syncs.cover(os.path.dirname(target))
        was_doubtful = target in self._doubtful
        self._doubtful.discard(target)
        return was_doubtful

    def studies(self) -> list[str]:
        """Those of which an instance is there; a full disk may leave a folder without one."""
        return sorted(folder.name for folder in self.studies_folder.iterdir() if is_uid(folder.name) and _holds_any(folder))

    def folder_of(self, study: str) -> Path:
        if not is_uid(study):
            raise SpoolError(f"{study!r} is not a Study Instance UID.", CANNOT_UNDERSTAND)
        return self.studies_folder / study

    def instances(self, study: str) -> list[Path]:
        return sorted(self.folder_of(study).glob("*.dcm"))

    def conflicts(self, study: str) -> list[Path]:
        return sorted((self.conflicts_folder / study).glob("*.dcm")) if is_uid(study) else []

    def version(self, study: str) -> str:
        """A digest of which instances are there. The bytes under a SOP Instance UID never change, so names are enough."""
        return _version(self.folder_of(study))

    def changed_at(self, study: str) -> float:
        """When the last instance came, in seconds since 1970; 0 where the study is not there."""
        try:
            return self.folder_of(study).stat().st_mtime
        except FileNotFoundError:
            return 0.0

    def remove(self, study: str, version: str | None = None) -> bool:
        """Take a study and its conflicts away. False, and its images stay, where one came that `version` does not know.

        It leaves the spool by one rename, so that an instance that comes meanwhile is either seen here or makes the study anew.
        """
        leaving, gone = (self.incoming / f"{study}.{end}" for end in ("leaving", f"{os.getpid()}.{next(self._numbers)}.gone"))
        self._put_back(leaving)
        for folder in (self.folder_of(study), self.conflicts_folder / study):
            self._folders.discard(str(folder))
        with contextlib.suppress(FileNotFoundError):
            self.folder_of(study).rename(leaving)
            if version not in (None, _version(leaving)):
                self._put_back(leaving)
                return False
            leaving.rename(gone)
            shutil.rmtree(gone)
        with contextlib.suppress(FileNotFoundError):
            (self.conflicts_folder / study).rename(gone)
            shutil.rmtree(gone)
        return True

    def _put_back(self, leaving: Path) -> None:
        for path in sorted(leaving.glob("*.dcm")):
            self._link(str(path), f"{self._studies}/{leaving.stem}/{path.name}")
        shutil.rmtree(leaving, ignore_errors=True)


def _version(folder: Path) -> str:
    return hashlib.sha256("\n".join(path.name for path in sorted(folder.glob("*.dcm"))).encode()).hexdigest()[:16]


def _holds_any(folder: Path) -> bool:
    with contextlib.suppress(FileNotFoundError), os.scandir(folder) as entries:
        return any(entries)
    return False


def digest_of(path: str | os.PathLike[str], offset: int) -> str:
    """SHA-256 of a file from an offset on."""
    with open(path, "rb") as file:
        file.seek(offset)
        return hashlib.file_digest(file, "sha256").hexdigest()
