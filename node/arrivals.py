"""What came over one association, by study, for the audit trail, which hears it when the association ends (PS3.15 A.5.3.7)."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from node import audit, audit_trail
from node.spool import Placed, Spool, Stored


class Arrivals:
    """The objects that one association brought and that are safe on the disk."""

    def __init__(self) -> None:
        self._classes: dict[tuple[str, Placed], Counter[str]] = {}
        self._examples: dict[tuple[str, Placed], str] = {}

    def add(self, stored: Stored, sop_class: str) -> None:
        group = (stored.study_instance_uid, stored.placed)
        self._classes.setdefault(group, Counter())[sop_class] += 1
        self._examples.setdefault(group, stored.sop_instance_uid)

    def tell(self, calling: str, address: str, spool: Spool) -> None:
        """One audit message for each study, and for what was new, repeated and in conflict there. An identical repeat changes nothing."""
        for (study, placed), classes in self._classes.items():
            action = audit.READ if placed is Placed.REPEAT else audit.CREATE
            failure = f"{placed.value}: kept aside, not analysed" if placed is Placed.CONFLICT else ""
            audit_trail.arrived(calling, address, study, action, classes, self._example(spool, study, placed), failure)

    def _example(self, spool: Spool, study: str, placed: Placed) -> Path:
        instance = self._examples[study, placed]
        if placed is Placed.CONFLICT:
            return next(iter((spool.conflicts_folder / study).glob(f"{instance}.*.dcm")), spool.conflicts_folder)
        return spool.folder_of(study) / f"{instance}.dcm"
