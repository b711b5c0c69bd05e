"""Copies of earlier examinations that were fetched from an archive: a spool of their own, apart from what was received to be analysed.

    priors/spool/<study uid>/<sop uid>.dcm      what the archive gave
    priors/expected/<study uid>@<study uid>     it is being fetched now, for that other study: of no other anything is taken

A copy is only that: the archive has the object, so the copies of a study go when nobody used them for some days, and all of what one study
needs may be gone without harm. They are stored as durably as everything else, and on a short disk not at all.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from node.errors import SpoolError
from node.incoming import Part
from node.spool import Spool, Stored

NOT_AUTHORIZED = 0x0124  # PS3.7 C.4.1
_DAY_S = 86400.0


class Copies(Spool):
    """The copies in one storage folder. Several processes use them: the node that listens, and every child that fetches.

    `owner`: the study that the child fetches for.
    """

    def __init__(self, folder: Path, minimum_free_gib: float = 0.0, owner: str = "") -> None:
        super().__init__(folder / "priors", minimum_free_gib)
        self.owner, self.expected = owner, folder / "priors" / "expected"
        self.expected.mkdir(exist_ok=True)

    @contextlib.contextmanager
    def expecting(self, study: str) -> Iterator[None]:
        """What comes of that study meanwhile is taken."""
        self.folder_of(study)  # a UID from outside is checked before it becomes a path
        mark = self.expected / f"{study}@{self.owner}"
        mark.touch()
        try:
            yield
        finally:
            mark.unlink(missing_ok=True)

    def is_expected(self, study: str) -> bool:
        return any(self.expected.glob(f"{study}@*"))

    def wants(self, part: Part) -> bool:
        """Whether a received object is of a study that is expected."""
        if not any(self.expected.iterdir()):
            return False
        try:
            return self.is_expected(self._checked(part)["StudyInstanceUID"])
        except (SpoolError, OSError):
            return False

    def expect_nothing(self, owner: str = "*") -> None:
        """What a fetch that was ended left open is closed: that for one study, or all."""
        for mark in self.expected.glob(f"*@{owner}"):
            mark.unlink(missing_ok=True)

    def take(self, sop_class_uid: str, sop_instance_uid: str, transfer_syntax_uid: str, data_set: bytes) -> Stored:
        """Keep one object that is in memory; SpoolError as `commit`."""
        part = self.begin(sop_class_uid, sop_instance_uid, transfer_syntax_uid)
        part.write(data_set)
        return self.commit(part)

    def used(self, study: str) -> None:
        """A study asked for these copies now."""
        with contextlib.suppress(FileNotFoundError):
            os.utime(self.folder_of(study))

    def forget(self, keep_days: float, now: float | None = None) -> list[str]:
        """Remove the copies that nobody used for so many days, 0 for none; the studies."""
        now = time.time() if now is None else now
        old = [study for study in self.studies() if keep_days and now - self.changed_at(study) > keep_days * _DAY_S]
        for study in old:
            self.remove(study)
            shutil.rmtree(self.conflicts_folder / study, ignore_errors=True)
        return old

    def _place(self, part: Part, study: str, instance: str) -> Stored:
        if not self.is_expected(study):
            raise SpoolError("Nobody asked for an object of this study.", NOT_AUTHORIZED)
        return super()._place(part, study, instance)
