"""Lesions of the white matter on FLAIR: how many, how large, where; whether they lie as those of multiple sclerosis do.

Gives: lesion_count (1) and lesion_volume (ml), of all and by region (periventricular, juxtacortical, infratentorial, deep); the finding
ms_like_pattern; the mask `white_matter_lesion` by region.
Needs: a FLAIR of the head with voxels of at most 3.5 mm; a T1 of the same study tells which lesions are dark on it.
Method: the FLAIR is laid onto the template, over the T1 where there is one, and brought to 1 mm. A logistic regression weighs 25 features
of each voxel that is somewhat bright: brightness against the local white matter at several scales, how it stands out, distances to fluid,
ventricle, cortex and edge, the template's tissues. It was trained on synthetic heads alone (`analysis.atlas.lesion_weights`). A voxel above
its threshold, as bright as grey matter and in no cistern, is a lesion, which reaches out to 43 % of the way from the local white matter to
its own brightness, and counts from 3 mm on. What is long, thin and mostly inside the corticospinal tract is the tract's own signal
(`cst_flair`), and not counted. A lesion is dark on T1 where it is more than half way from white to grey matter.
Trust: phantom heads. Its constants were chosen on the seeds 41, 43, 44 and 51 and on one real FLAIR; these were not. Through the whole
pipeline with a T1: 24 lesions as in multiple sclerosis (seed 61): found 5 of 6 under 5 mm, 11 of 12 from 5 to 9 mm, 6 of 6 from 10 mm
(periventricular 8 of 8, juxtacortical 5 of 6, infratentorial 3 of 4, deep 6 of 6), every region right, Dice 0.94, volume 6 % too small,
dark on T1 12 of 12 and none wrongly; two of two lesions on the tract told, and another one wrongly. At half the severity (66): 12 of 12,
Dice 0.93, volume 3 % too small, one region wrong. With 1.6 times the noise and voxels of 1.25 mm (67): 23 of 24, Dice 0.93, volume 8 % too
small. The first one in slices of 3 mm: 20 of 24, Dice 0.87, volume 4 % too small. The pattern was present in all. 16 vascular ones (seed
63): all found, Dice 0.97, volume 3 % too small, pattern absent. Sixteen healthy heads (seeds 101 to 117; the T1 of 114 did not find its
place and was refused): no lesion, pattern absent. One with a mass and an old infarct (70): the oedema and the rim were taken for two
lesions, and the pattern was present, wrongly. Laid onto the template as it was made, but for shifts of 1.5 mm (`benchmarks/lesions.py`),
with 1.6 times the noise and voxels of 1.25 mm (seed 46): 22 of 24, Dice 0.92, volume 9 % too small; two regions wrong (4 mm, deep, 1 mm
from the template's cortex; 7 mm, 6 mm from the fluid of the ventricle that is seen there). On synthetic heads with fainter lesions (301 to
303) Dice was 0.65, 0.83 and 0.66, half of the lesions were found, and volumes were 10 to 48 % too small. In the real FLAIR, of a presumably
healthy head without T1, nothing is found; a bright cistern was, before that rule. The step takes 10 to 12 s of one processor. A change of
the volume of all lesions is seen from 0.14 ml on, from 0.31 ml where there are 5 ml, each lesion compared with itself: on three phantom
heads (seeds 213 to 215, `benchmarks/change.py lesions`) 30 of 30 planted changes were told and none of 55 unchanged ones was
(`analysis.steps.lesion_change`). Not measured: lesions of patients, rescans.
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
from analysis.outcome import MEASURED, Accuracy, Finding, Mask, Measurement, Outcome, Verdict
from analysis.reference import placed
from analysis.steps.lesions import EDGE, REGIONS, Lesion, Lesions, lesions_on_flair
from analysis.words import Words, joined, say

NAME, VERSION = "white_matter_lesions", 1
MS_REGIONS = ("periventricular", "juxtacortical", "infratentorial")
LEAST_REGIONS = 2
SEEN_WELL_MM = 5.0
VOLUME_ERROR, FALSE_ML = 0.3, 0.05  # of the volume, and what false lesions add (Trust)
REGION_WORDS = {
    "periventricular": say("periventricular"), "juxtacortical": say("juxtacortical"), "infratentorial": say("infratentorial"),
}  # fmt: skip
SIDE_WORDS = {"left": say("left"), "right": say("right")}
# Measured (Trust) on heads that nothing was chosen on; lesions that were found in percent
ACCURACY = Accuracy(4, 4, 1, 18, say(
    "computed heads, one of those without it with lesions of small vessels, one with a mass and an infarct"
))  # fmt: skip
SEEN = {"small": 83, "middle": 98, "large": 100, "peri": 100, "juxta": 80, "infra": 93, "deep": 100, "false": 0.0}
NO_REFERENCE = say("how many lesions healthy people of an age have depends on scanner and method; compare with the site's own controls")
COUNT_METHOD = say("bright voxels that touch each other and reach 3 mm are one lesion")
VOLUME_METHOD = say("voxels of 1 mm that are bright by {edge:.0f} % or more of the way from white matter to the lesion", edge=100 * EDGE)


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
    return Finding("ms_like_pattern", value, concepts.MS_LIKE_PATTERN, concepts.WHITE_MATTER_LESION, reason=reason, accuracy=ACCURACY)


def verdict(found: tuple[Lesion, ...]) -> tuple[Verdict, Words]:
    """Whether lesions lie in two of the regions that count for multiple sclerosis, and in which. A lesion counts for one region: a vascular
    cap that reaches from the ventricle to the cortex is no second region."""
    any_size = [region for region in MS_REGIONS if any(region == one.region for one in found)]
    large = [region for region in MS_REGIONS if any(region == one.region and one.length_mm >= SEEN_WELL_MM for one in found)]
    if not any_size:
        return "absent", say("no lesion in the 3 regions that are looked at: periventricular, juxtacortical and infratentorial")
    regions = joined(REGION_WORDS[region] for region in any_size)
    touched = say("lesions in {count} of the 3 regions that are looked at: {regions}", count=len(any_size), regions=regions)
    if len(large) < LEAST_REGIONS <= len(any_size):
        return "indeterminate", say("{touched}; in two or more only with lesions under {size:.0f} mm, single ones of which may be false",
                                    touched=touched, size=SEEN_WELL_MM)  # fmt: skip
    return "present" if len(large) >= LEAST_REGIONS else "absent", touched


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
    "cortex, in brainstem or cerebellum), each lesion counted once. Optic nerve and cord, which the McDonald criteria of 2024 count as "
    "well, are not looked at; lesions of small vessels may lie in the same places.",
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
