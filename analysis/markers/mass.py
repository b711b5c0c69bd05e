"""Signs of a mass: a midline that is pushed away from a dark region, and, with contrast, brain that takes it up.

Gives: midline_shift (mm); the findings mass_effect and abnormal_enhancement; the masks `lateral_ventricle` (left, right) and, where there
is one, `dark_region` and `enhancing_region`.
Needs: a T1 of the head (role t1); for enhancement a T1 with contrast as well (role t1_contrast).
Method: the warp of the template finds the middle between the lateral ventricles; how far it lies from the plane through the frontal and the
occipital midline is the shift. Brain that is darker on T1 than grey matter and than the other side is a dark region. Both together, the
shift away from the region, are mass effect. Enhancement is the quotient of the T1 with and without contrast, without surface, sinuses, deep
veins, plexus, pituitary and tentorium. No published limit was found: it is a flag for a person to look.
Trust: with its registration from end to end. Shift on twenty-three computed heads (101 to 117 healthy, but for 114, whose T1 did not find
its place and was refused; lesions 61, 63 and 66, an old infarct 70, masses 64, 65 and 71): true 0.0 to 4.8 mm, measured within 0.31 mm.
Masses of 23, 27 and 8 ml without their oedema (seeds 64, 71 and, at half severity, 65): the shift of 4.8, 4.3 and 4.0 mm pointed away from
a dark region of 13, 15 and 2 ml, and each rim was found to take up contrast. By its own shape a mass shifts the midline by 3.5 mm or more
in 9 of 10 heads at a severity of 1, in 8 at 0.75, in 3 at 0.5 and in 2 at 0.25 (seeds 201 to 210): small ones are mostly not flagged by
their push. The shift of twenty healthy heads (101 to 120) reaches 3.3 mm. False alarms: none of the twenty heads without a mass for mass
effect, none of four healthy heads (101 to 104) with contrast for enhancement. Limits were chosen on seeds 2, 3 and 5. Two real T1s
(without a known mass): shift 0.2 and 1.3 mm, absent. A change of the shift is seen from 2.8 mm on (stated errors); not measured at several
visits. Not measured: other real heads, patients.
Refuses: what is not the T1 of a head; a field of view without the midline. A mass without push or contrast, at the surface, in the middle
or at the base is not seen.
References: none with a threshold for a computed shift was found; the limits are chosen on phantoms.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from analysis import concepts
from analysis.examination import Examination
from analysis.marker import Marker
from analysis.outcome import MEASURED, Accuracy, Finding, Mask, Measurement, NotMeasurable, Outcome, Verdict
from analysis.reference import placed
from analysis.steps.head import head_on_template
from analysis.steps.mass_effect import (
    Region,
    Ventricles,
    contrast_from_t1,
    dark_regions,
    enhancing_regions,
    lateral_ventricles,
    midline_shift_mm,
)
from analysis.steps.space import onto
from analysis.volume import Volume
from analysis.words import Words, say

NAME, VERSION = "mass", 1
SHIFTED_MM, HARDLY_SHIFTED_MM = 3.5, 2.5
LARGE_DARK_ML = 5.0
ERROR_MM = 1.0
NO_REFERENCE = say("no population was measured in this way; compare with the site's own controls")
METHOD = say("distance of the middle between the ventricles from the plane through the frontal and the occipital midline")
TOWARDS = {"left": say("to the left"), "right": say("to the right")}
IN_SIDE = {"left": say("on the left"), "right": say("on the right")}
SCREEN = say(
    "A flag for a person to look, not a clearance: a mass that pushes the midline by less than 3.5 mm is not flagged by its push, and "
    "patients with a mass were not measured."
)
COMPUTED = say("computed heads")
PUSHES, ENHANCES = Accuracy(3, 3, 0, 20, COMPUTED), Accuracy(3, 3, 0, 4, COMPUTED)


def measure(examination: Examination) -> Outcome:
    shift_mm = midline_shift_mm(examination.once(head_on_template))
    ventricles, dark = examination.once(lateral_ventricles), examination.once(dark_regions)
    enhancing, no_contrast = _enhancing(examination)
    return Outcome(
        NAME,
        VERSION,
        MEASURED,
        measurements=(_shift(examination, abs(shift_mm)),),
        findings=(mass_effect(shift_mm, dark), _enhancement(enhancing, no_contrast)),
        masks=(
            *_ventricle_masks(ventricles),
            *_masks(examination, "dark_region", dark),
            *_masks(examination, "enhancing_region", enhancing, "t1_contrast"),
        ),
        notes=(_ventricles(ventricles), SCREEN),
    )


def _enhancing(examination: Examination) -> tuple[tuple[Region, ...], Words | str | None]:
    """The regions, and the reason where nobody could look."""
    try:
        return examination.once(enhancing_regions), None
    except NotMeasurable as refusal:
        return (), refusal.reason


def mass_effect(shift_mm: float, dark: Sequence[Region]) -> Finding:
    """By the shift (mm, to the left) and the largest dark region that it points away from."""
    value, reason = _verdict(shift_mm, dark)
    return Finding("mass_effect", value, concepts.MASS_EFFECT, concepts.BRAIN, reason=reason, accuracy=PUSHES)


def _verdict(shift_mm: float, dark: Sequence[Region]) -> tuple[Verdict, Words | None]:
    towards, behind = ("left", "right") if shift_mm > 0 else ("right", "left")
    pushing = next((region for region in dark if region.side == behind), None)
    shift = say("the midline lies {shift:.1f} mm {towards}", shift=abs(shift_mm), towards=TOWARDS[towards])
    if pushing and abs(shift_mm) >= SHIFTED_MM:
        return "present", say("{shift}, away from a dark region of {volume:.0f} ml", shift=shift, volume=pushing.volume_ml)
    if abs(shift_mm) >= SHIFTED_MM:
        return "indeterminate", say("{shift}, and no dark region explains it", shift=shift)
    if pushing and abs(shift_mm) >= HARDLY_SHIFTED_MM:
        return "indeterminate", say("{shift}, away from a dark region of {volume:.0f} ml", shift=shift, volume=pushing.volume_ml)
    if dark and dark[0].volume_ml >= LARGE_DARK_ML:
        volume_ml, side = dark[0].volume_ml, IN_SIDE[dark[0].side]
        return "indeterminate", say("a dark region of {volume:.0f} ml {side} does not push the midline", volume=volume_ml, side=side)
    return "absent", None


def _enhancement(regions: Sequence[Region], no_contrast: Words | str | None) -> Finding:
    value: Verdict = "not assessed" if no_contrast else "present" if regions else "absent"
    reason = no_contrast
    if regions:
        reason = say("the largest region: {volume:.1f} ml {side}", volume=regions[0].volume_ml, side=IN_SIDE[regions[0].side])
    known = None if no_contrast else ENHANCES
    return Finding("abnormal_enhancement", value, concepts.ABNORMAL_ENHANCEMENT, concepts.BRAIN, reason=reason, accuracy=known)


def _shift(examination: Examination, shift_mm: float) -> Measurement:
    return Measurement(
        "midline_shift", shift_mm, "mm", concepts.MIDLINE_SHIFT, concepts.BRAIN, uncertainty=ERROR_MM, method=METHOD,
        **placed(examination, "midline_shift", shift_mm, ERROR_MM, otherwise=NO_REFERENCE),
    )  # fmt: skip


def _ventricle_masks(ventricles: Ventricles) -> tuple[Mask, ...]:
    return tuple(
        Mask("lateral_ventricle", "t1", voxels, concepts.LATERAL_VENTRICLE, side)
        for side, voxels in ventricles.voxels.items()
        if voxels.any()
    )  # fmt: skip


def _masks(examination: Examination, name: str, regions: Sequence[Region], role: str = "t1") -> tuple[Mask, ...]:
    """By side, on the grid of the T1 or of the T1 with contrast."""
    masks = []
    for side in ("left", "right"):
        here = [region.voxels for region in regions if region.side == side]
        if here:
            grid, image = examination.once(head_on_template).grid, examination.image(role)
            there = examination.once(contrast_from_t1) if role == "t1_contrast" else np.eye(4)
            whole = Volume(np.logical_or.reduce(here).astype(np.float32), there @ grid.lps_from_index)
            masks.append(Mask(name, role, onto(whole, image) > 0.5, concepts.LESION, side))
    return tuple(masks)


def _ventricles(ventricles: Ventricles) -> Words:
    return say("Lateral ventricles: left {left:.0f} ml, right {right:.0f} ml; they differ in healthy people as well.",
               left=ventricles.volume_ml["left"], right=ventricles.volume_ml["right"])  # fmt: skip


MARKER = Marker(
    NAME, VERSION, needs=(("t1",), ("t1", "t1_contrast")), gives=("midline_shift",), findings=("mass_effect", "abnormal_enhancement"),
    measure=measure, doc=__doc__,
)  # fmt: skip
