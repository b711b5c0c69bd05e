"""What changed since earlier examinations of the same patient: values against values, images against images, and all of it over time.

The present examination is compared with the last one before it that can be compared, and its values stand beside those of all earlier ones
in trends. What cannot be compared is a sentence, never a silent gap. Nothing here finds or fetches an examination: the caller has them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from scipy.special import ndtri

from analysis.change import Change, NotCompared, same_acquisition
from analysis.comparison import Comparison, compared
from analysis.earlier import Acquisition, Earlier
from analysis.examination import Examination
from analysis.outcome import Outcome
from analysis.steps.halfway import Halfway
from analysis.steps.lesion_change import LesionChanges
from analysis.trend import Treatment, Trend, trends_of
from analysis.words import say

DAYS_PER_YEAR = 365.25
LEAST_DAYS = 1  # two examinations of one day are one time point


@dataclass(frozen=True, eq=False)
class Prior:
    """An earlier examination. `examination`: its images where they are at hand, with the steps that were run on them; None: its report
    alone."""

    earlier: Earlier
    examination: Examination | None = None


@dataclass(frozen=True, eq=False)
class FollowUp:
    """`since`: the examination that `changes` compare with, None where none could be. `t1` and `lesions`: the images of both half-way, None
    where they were not compared. `notes`: sentences on what could not be, and why."""

    day: str
    earlier: tuple[Earlier, ...]
    since: Earlier | None = None
    changes: tuple[Change | NotCompared, ...] = ()
    t1: Halfway | None = None
    lesions: LesionChanges | None = None
    trends: tuple[Trend, ...] = ()
    treatments: tuple[Treatment, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def years(self) -> float | None:
        return None if self.since is None else self.since.days_before / DAYS_PER_YEAR

    @property
    def sure_index(self) -> float:
        """The reliable change index that noise alone exceeds, in any of the values, in 5 of 100 pairs of examinations (Bonferroni)."""
        return float(-ndtri(0.025 / max(len(self.seen), 1)))

    @property
    def seen(self) -> tuple[Change, ...]:
        """What was compared."""
        return tuple(one for one in self.changes if isinstance(one, Change))


def follow_up_of(
    now: Examination, outcomes: Sequence[Outcome], day: str, acquisitions: Mapping[str, Acquisition], priors: Sequence[Prior]
) -> FollowUp | None:
    """The comparison with the examinations before `day`, oldest first; None where there are none. `acquisitions`: of now, by role."""
    held = sorted((one for one in priors if one.earlier.days_before >= LEAST_DAYS), key=lambda one: one.earlier.day)
    if not held:
        return None
    earlier = tuple(one.earlier for one in held)
    found = FollowUp(day, earlier, trends=trends_of(outcomes, day, earlier))
    last = next((one for one in reversed(held) if one.earlier.markers), None)
    if last is None:
        return replace(found, notes=(say("no earlier examination has values that could be compared"),))
    same = same_acquisition(last.earlier.acquisitions, acquisitions)
    said = _compared(last, now, outcomes, same)
    return replace(found, since=last.earlier, changes=said.changes, t1=said.t1, lesions=said.lesions, notes=said.notes)


def _compared(last: Prior, now: Examination, outcomes: Sequence[Outcome], same: Mapping[str, bool | None]) -> Comparison:
    """Images and values, or the values alone where whatever a library throws ends the comparison of the images."""
    years, more = last.earlier.days_before / DAYS_PER_YEAR, {"patient": now.patient, "is_same_scanner": same}
    if last.examination is None:
        return compared(last.earlier, outcomes, years, **more)
    try:
        return compared(last.earlier, outcomes, years, images=(last.examination, now), **more)
    except Exception as error:
        kind = type(error).__name__
        unknown = say("The images were not compared directly: an error that this version does not know ({kind}).", kind=kind)
        return replace(compared(last.earlier, outcomes, years, **more), notes=(unknown,))
