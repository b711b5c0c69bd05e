"""Two examinations of one person, side by side: what changed, and the pictures that show it.

With the images of both, volumes and lesions are followed from one to the other, in the space half-way; with the values alone, as an earlier
report carries them, only these are compared. What the images do not allow is a note, and the values stand in for it. Whether the two are
of one person is for the caller to know: a head that is not the same is refused only where it is very different.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from analysis.change import Change, NotCompared, Then, changes
from analysis.examination import Examination, Patient
from analysis.outcome import NotMeasurable, Outcome
from analysis.steps.brainstem import brainstem_parts
from analysis.steps.coregistration import Laying
from analysis.steps.halfway import Halfway
from analysis.steps.head import brain_mask, head_on_template
from analysis.steps.lesion_change import LesionChanges, lesion_changes
from analysis.steps.lesions import lesions_on_flair
from analysis.steps.ribbon import central_gyri
from analysis.steps.tissue import tissue_fractions
from analysis.steps.volume_change import t1_halfway, volume_changes
from analysis.words import Words, say

T = TypeVar("T")

ROLES = ("t1", "flair")
# what is asked of either examination alone, most of the time that a comparison takes
STEPS = (head_on_template, brain_mask, tissue_fractions, brainstem_parts, central_gyri, Laying("flair"), lesions_on_flair)


@dataclass(frozen=True, eq=False)
class Comparison:
    """`changes`: of every measurement that both have, and what is not compared. `t1`: both T1 images half-way; `lesions`: what became of
    each, with both FLAIR images half-way (`lesions.half`); None where there were not both images, or they did not do. `notes`: why."""

    years: float
    changes: tuple[Change | NotCompared, ...]
    t1: Halfway | None = None
    lesions: LesionChanges | None = None
    notes: tuple[Words, ...] = ()


def made_ready(examination: Examination) -> Examination:
    """What `compared` needs of the earlier examination, with its own steps done: it may be made before the present one is known."""
    return examination.extract(ROLES, STEPS)


def compared(
    then: Then, now: Sequence[Outcome], years: float, *, images: tuple[Examination, Examination] | None = None,
    patient: Patient | None = None, is_same_scanner: Mapping[str, bool | None] | None = None,
) -> Comparison:  # fmt: skip
    """What changed in `years` (more than 0, else ValueError). `then`: the earlier report, or its outcomes. `images`: the examinations then
    and now, with the steps that were done; without them the values alone. `patient` and `is_same_scanner` as in `analysis.change.changes`;
    the latter is what `same_acquisition` gives."""
    if images is None:
        notes = (say("The earlier images are not at hand: the values of the earlier report are compared, not the images."),)
        return Comparison(years, changes(then, now, years, patient=patient, is_same_scanner=is_same_scanner), notes=notes)
    of_t1: list[Words] = []
    of_flair: list[Words] = []
    t1 = _of_both("t1", t1_halfway, images, of_t1)
    with ThreadPoolExecutor(1) as beside:  # with the tissues known, the two share nothing more, and each takes as long
        found = beside.submit(_of_both, "flair", lesion_changes, images, of_flair)
        volumes = () if t1 is None else _of_both("t1", lambda *pair: volume_changes(*pair, t1), images, of_t1) or ()
    lesions = found.result()
    said = changes(then, now, years, patient=patient, is_same_scanner=is_same_scanner, volumes=volumes, lesions=lesions)
    return Comparison(years, said, t1, lesions, (*of_t1, *of_flair))


def _of_both(
    role: str, step: Callable[[Examination, Examination], T], images: tuple[Examination, Examination], notes: list[Words]
) -> T | None:
    """What a step makes of both images of a role; None where one has no such image, or with a note why they do not do."""
    if not all(role in one.images for one in images):
        return None
    try:
        return step(*images)
    except NotMeasurable as refusal:
        name = {"t1": say("T1"), "flair": say("FLAIR")}[role]
        notes.append(say("The two {series} images were not compared directly: {reason}.", series=name, reason=refusal.reason))
        return None
