"""How long a study has been quiet, by a clock that only goes forward: one that is put right, or wrong, ends no wait and prolongs none.

What the clock of the file system says is a mark that changes, never a time. A node that starts knows no marks, and waits the whole quiet
time anew.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable


class Quiet:
    """Since when the mark of each study is the same. `clock` gives seconds that only grow."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self._seen: dict[str, tuple[object, float]] = {}

    def for_s(self, study: str, mark: object) -> float:
        """Seconds since the mark of the study changed, or was seen first."""
        now = self.clock()
        known, since = self._seen.get(study, (None, now))
        if known != mark:
            since = now
        self._seen[study] = (mark, since)
        return now - since

    def only(self, studies: Iterable[str]) -> None:
        """Forget every other study."""
        wanted = set(studies)
        self._seen = {study: seen for study, seen in self._seen.items() if study in wanted}
