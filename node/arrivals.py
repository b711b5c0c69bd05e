"""What came over one association, by study, for the audit trail (PS3.15 A.5.3.7).

It is told when the association ends, and once a minute before, so that a node that is killed owes the trail one minute at most.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from pynetdicom.association import ServiceUser

from node import audit, audit_trail
from node.spool import Placed, Spool, Stored

EVERY_S = 60.0


class Arrivals:
    """The objects that one association brought and that are safe on the disk."""

    def __init__(self, peer: ServiceUser, spool: Spool, clock: Callable[[], float] = time.monotonic) -> None:
        self.peer, self.spool, self.clock = peer, spool, clock
        self._told_at = clock()
        self._classes: dict[tuple[str, Placed], Counter[str]] = {}
        self._examples: dict[tuple[str, Placed], str] = {}

    def add(self, stored: Stored, sop_class: str) -> None:
        group = (stored.study_instance_uid, stored.placed)
        self._classes.setdefault(group, Counter())[sop_class] += 1
        self._examples.setdefault(group, stored.sop_instance_uid)
        if self.clock() - self._told_at >= EVERY_S:
            self.tell()

    def tell(self) -> None:
        """One audit message for each study, and for what was new, repeated and in conflict there. An identical repeat changes nothing."""
        for (study, placed), classes in self._classes.items():
            action = audit.READ if placed is Placed.REPEAT else audit.CREATE
            failure = f"{placed.value}: kept aside, not analysed" if placed is Placed.CONFLICT else ""
            audit_trail.arrived(self.peer.ae_title, self.peer.address, study, action, classes, self._example(study, placed), failure)
        self._classes, self._examples, self._told_at = {}, {}, self.clock()

    def _example(self, study: str, placed: Placed) -> Path:
        instance = self._examples[study, placed]
        if placed is Placed.CONFLICT:
            return next(iter((self.spool.conflicts_folder / study).glob(f"{instance}.*.dcm")), self.spool.conflicts_folder)
        return self.spool.folder_of(study) / f"{instance}.dcm"
