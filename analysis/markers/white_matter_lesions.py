"""Lesions of the white matter on FLAIR: how many, how large, where; whether they lie as those of multiple sclerosis do.

Gives: lesion_count (1) and lesion_volume (ml), of all and by region (periventricular, juxtacortical, infratentorial, deep); the finding
ms_like_pattern; the mask `white_matter_lesion` by region.
Needs: a FLAIR of the head with voxels of at most 3.5 mm; a T1 of the same study tells which lesions are dark on it.
Method: the FLAIR is laid onto the template, over the T1 where there is one, and brought to 1 mm. A logistic regression weighs 25 features
of each voxel that is somewhat bright: brightness against the local white matter at several scales, how it stands out, distances to fluid,
ventricle, cortex and edge, the template's tissues. It was trained on synthetic heads alone (`analysis.atlas.lesion_weights`). Voxels above
its threshold that touch are one lesion, from 3 mm on. What is long, thin and mostly inside the corticospinal tract is the tract's own
signal (`cst_flair`), and not counted. A lesion is dark on T1 where it is more than half way from white to grey matter.
Trust: phantom heads (`benchmarks/lesions.py`), laid onto the template as they were made but for shifts of 1.5 mm, nothing tuned on them but
what is said. Two with 24 lesions as in multiple sclerosis (seeds 41 and 43): found 5 of 12 under 5 mm, 23 of 24 from 5 to 9 mm, 12 of 12
from 10 mm; periventricular 16 of 16, juxtacortical 5 of 12, infratentorial 7 of 8, deep 12 of 12; Dice 0.73 and 0.76, but volumes 42 % too
large; regions right in all but two. One with 24 round lesions and a tract 35 % brighter on one side (seed 7): 22 found, volume 17 % too
large, the tract told apart. Dark on T1 (seed 43, tissues as made): 9 of 12, none wrongly. The four lesions on the tract were told, and so
were pontine ones beside it. Five healthy heads (seeds 51 to 55): no false lesion, pattern absent. One with 16 vascular lesions (seed 44):
all found, volume 57 % too large; pattern present, and absent since each lesion counts for one region, a rule that was made on it; with
that rule another (seed 45): 14 of 16 found, volume 48 % too large, pattern absent. In one
real FLAIR of a presumably healthy head, without T1, placed by registration: one false lesion of 0.02 ml (midbrain), pattern absent.
Detection takes 10 to 13 s of one processor. Not measured: lesions of patients, heads with a T1 through the whole pipeline, slices of 2 to
3.5 mm, dose and response, twenty healthy heads, rescans.
Refuses: a study without FLAIR; voxels longer than 3.5 mm; a FLAIR on which grey and white matter cannot be told apart; what is not a head
on FLAIR; a field of view with too little white matter.
References: Thompson 2018, 10.1016/S1474-4422(17)30470-2 (a lesion is 3 mm long or more; regions); Barkhof 2025, Lancet Neurol 24:866
(MRI in the criteria of 2024: five regions, of which optic nerve and cord are not looked at here).
"""

from __future__ import annotations

import numpy as np

from analysis import concepts
from analysis.examination import Examination
from analysis.marker import Marker
from analysis.outcome import MEASURED, Finding, Mask, Measurement, Outcome, Verdict
from analysis.reference import placed
from analysis.steps.lesions import REGIONS, Lesion, Lesions, lesions_on_flair
from analysis.words import Words, joined, say

NAME, VERSION = "white_matter_lesions", 1
MS_REGIONS = ("periventricular", "juxtacortical", "infratentorial")
LEAST_REGIONS = 2
SEEN_WELL_MM = 5.0
VOLUME_ERROR, FALSE_ML = 0.4, 0.1  # of the volume, and what false lesions add (Trust)
REGION_WORDS = {
    "periventricular": say("periventricular"), "juxtacortical": say("juxtacortical"), "infratentorial": say("infratentorial"),
}  # fmt: skip
SIDE_WORDS = {"left": say("left"), "right": say("right")}
# Measured (Trust): heads with the finding, and lesions that were found, in percent
PATTERN = {"hits": 2, "ill": 2, "false": 0, "well": 5, "vascular": 0, "old": 2}
SEEN = {"small": 42, "middle": 96, "large": 100, "peri": 100, "juxta": 42, "infra": 88, "deep": 100, "false": 0.0}
NO_REFERENCE = say("how many lesions healthy people of an age have depends on scanner and method; compare with the site's own controls")
COUNT_METHOD = say("bright voxels that touch each other and reach 3 mm are one lesion")
VOLUME_METHOD = say("sum of the voxels of the lesions at 1 mm")


def measure(examination: Examination) -> Outcome:
    lesions = examination.once(lesions_on_flair)
    return Outcome(
        NAME,
        VERSION,
        MEASURED,
        measurements=tuple(_measurements(examination, lesions)),
        findings=(_finding(lesions.found),),
        masks=tuple(_masks(examination, lesions)),
        notes=notes(lesions),
    )


def _measurements(examination: Examination, lesions: Lesions) -> list[Measurement]:
    made = []
    for level in (None, *REGIONS):
        here = [one for one in lesions.found if level in (None, one.region)]
        volume_ml = float(sum(one.volume_ml for one in here))
        for name, value, unit, quantity, method, error in (
            ("lesion_count", float(len(here)), "1", concepts.LESION_COUNT, COUNT_METHOD, None),
            ("lesion_volume", volume_ml, "ml", concepts.VOLUME, VOLUME_METHOD, float(np.hypot(VOLUME_ERROR * volume_ml, FALSE_ML))),
        ):
            place = placed(examination, name, value, error, None, level, NO_REFERENCE)
            made.append(Measurement(name, value, unit, quantity, concepts.WHITE_MATTER_LESION, level=level, uncertainty=error,
                                    method=method, **place))  # fmt: skip
    return made


def _masks(examination: Examination, lesions: Lesions) -> list[Mask]:
    labels = lesions.labels_on(examination.image("flair"))
    masks = ((region, labels == number) for number, region in enumerate(REGIONS, start=1))
    return [Mask(NAME.removesuffix("s"), "flair", mask, concepts.WHITE_MATTER_LESION, level=region) for region, mask in masks if mask.any()]


def _finding(found: tuple[Lesion, ...]) -> Finding:
    value, reason = verdict(found)
    return Finding("ms_like_pattern", value, concepts.MS_LIKE_PATTERN, concepts.WHITE_MATTER_LESION, reason=reason)


def verdict(found: tuple[Lesion, ...]) -> tuple[Verdict, Words]:
    """Whether lesions lie in two of the regions that count for multiple sclerosis, and how well that is seen. A lesion counts for one
    region: a vascular cap that reaches from the ventricle to the cortex is no second region."""
    any_size = [region for region in MS_REGIONS if any(region == one.region for one in found)]
    large = [region for region in MS_REGIONS if any(region == one.region and one.length_mm >= SEEN_WELL_MM for one in found)]
    regions = joined(REGION_WORDS[region] for region in any_size)
    if len(large) >= LEAST_REGIONS:
        return "present", say("lesions in {count} of the 3 regions that are looked at: {regions}; {known}",
                              count=len(any_size), regions=regions, known=KNOWN)  # fmt: skip
    if len(any_size) >= LEAST_REGIONS:
        return "indeterminate", say(
            "in two regions or more only with lesions under {size:.0f} mm ({regions}), single ones of which are often false; {known}",
            size=SEEN_WELL_MM, regions=regions, known=KNOWN,
        )  # fmt: skip
    return "absent", say("lesions in fewer than two of the regions periventricular, juxtacortical and infratentorial; {known}", known=KNOWN)


KNOWN = say(
    "computed heads: found in {hits} of {ill} with such lesions, in {false} of {well} without any and in {vascular} of {old} with lesions "
    "of small vessels", **PATTERN,
)  # fmt: skip


def notes(lesions: Lesions) -> tuple[Words, ...]:
    """Sentences for the reader of the report."""
    found = lesions.found
    dark = sum(bool(one.is_dark) for one in found)
    said = []
    if found and all(one.is_dark is not None for one in found):
        said.append(say("Dark on T1 (about as grey matter or darker): {count} of {all} lesions.", count=dark, all=len(found)))
    on_tract = [one for one in found if one.tract]
    if on_tract:
        sides = joined(say("{side} {size:.0f} mm", side=SIDE_WORDS[one.tract], size=one.length_mm) for one in on_tract)
        said.append(say("Lesions on the corticospinal tract: {sides}; what they do to the tract is not its own degeneration.", sides=sides))
    if lesions.tract_signal_ml:
        sides = joined(SIDE_WORDS[side] for side in lesions.tract_signal_ml)
        said.append(say("Bright along the corticospinal tract ({sides}): that is counted as signal of the tract and not as a lesion.",
                        sides=sides))  # fmt: skip
    return (*said, RULE, UNSEEN)


RULE = say(
    "Rule of the finding: present where lesions of {size:.0f} mm or more lie in two of three regions (at the lateral ventricles, at the "
    "cortex, in brainstem or cerebellum), each lesion counted once. Optic nerve and cord, which count as well, are not looked at; lesions "
    "of small vessels may lie in the same places.",
    size=SEEN_WELL_MM,
)  # fmt: skip
UNSEEN = say(
    "Of lesions of computed heads {small} % were found under 5 mm, {middle} % from 5 to 9 mm, {large} % from 10 mm; periventricular "
    "{peri} %, juxtacortical {juxta} %, infratentorial {infra} %, deep {deep} %; in heads without lesions {false:.1f} false ones on "
    "average. Lesions of patients were not measured: what is not found is not excluded.", **SEEN,
)  # fmt: skip

MARKER = Marker(
    NAME, VERSION, needs=(("flair",),), gives=("lesion_count", "lesion_volume"), findings=("ms_like_pattern",), measure=measure, doc=__doc__
)
