"""What a person did while a functional series ran: blocks of a task, or rest.

The site states it in its settings, or it is found from the images (analysis/steps/block_design.py); then `confidence` says how sure that
is. Times are seconds from the beginning of the first volume that was kept. Nothing here reads a file.
"""

from __future__ import annotations

from dataclasses import dataclass

LEFT, RIGHT, BOTH = "left", "right", "both"


class BadParadigm(ValueError):
    """Blocks that cannot have been; the message says what is wrong."""


@dataclass(frozen=True)
class Paradigm:
    """`onsets_s` and `durations_s` (block,): when the task began and how long it took, in order; empty for rest. `moves`: the hand that
    moved, LEFT, RIGHT or BOTH, "" where that is not known. `confidence`: 0 to 1 where it was found from the images, None where stated."""

    onsets_s: tuple[float, ...] = ()
    durations_s: tuple[float, ...] = ()
    moves: str = ""
    confidence: float | None = None

    def __post_init__(self) -> None:
        if len(self.onsets_s) != len(self.durations_s):
            raise BadParadigm(f"{len(self.onsets_s)} onsets, but {len(self.durations_s)} durations")
        if any(duration <= 0 for duration in self.durations_s):
            raise BadParadigm("a block takes longer than 0 s")
        ends = [onset + duration for onset, duration in zip(self.onsets_s, self.durations_s, strict=True)]
        if any(later < end for end, later in zip(ends, self.onsets_s[1:], strict=False)):
            raise BadParadigm("a block begins before the one before it ends")

    @property
    def is_rest(self) -> bool:
        return not self.onsets_s

    @property
    def bands(self) -> tuple[tuple[float, float], ...]:
        """Beginning and end of each block, s."""
        return tuple((onset, onset + duration) for onset, duration in zip(self.onsets_s, self.durations_s, strict=True))

    def until(self, end_s: float) -> Paradigm:
        """The part before the end of a run: the last block may be cut."""
        held = [(onset, min(end, end_s) - onset) for onset, end in self.bands if onset < end_s]
        return Paradigm(tuple(onset for onset, _ in held), tuple(length for _, length in held), self.moves, self.confidence)


def alternating(rest_s: float, task_s: float, first: str, end_s: float, moves: str = "", confidence: float | None = None) -> Paradigm:
    """Rest and task in turn until the end of a run, the `first` of them ("rest" or "task") first."""
    onsets, at_s = [], rest_s if first == "rest" else 0.0
    while at_s < end_s - 1e-6:
        onsets.append(at_s)
        at_s += rest_s + task_s
    return Paradigm(tuple(onsets), (task_s,) * len(onsets), moves, confidence).until(end_s)
