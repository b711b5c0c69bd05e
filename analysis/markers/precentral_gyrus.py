"""Volume and thickness of the motor cortex.

Gives: precentral_volume (ml), precentral_thickness, postcentral_thickness (mm), precentral_postcentral_ratio (1), left and right; the
finding motor_cortex_atrophy by side; the masks `precentral_gyrus`, `postcentral_gyrus` (grey matter); the map thickness on both gyri.
Needs: a T1 of the head (role t1); for the thickness, voxels of at most 1.4 mm.
Method: the atlas's gyri are carried to the patient by registration; in a box around them at 0.5 mm the thickness is projected from
the white surface, with one fit of the pure tissues for both sides, and averaged over each gyrus; the volume is the sum of grey fractions.
Trust: shells and folds of 1.5 to 4 mm with sulci of 0 to 2 mm, voxels of 0.7 to 1.3 mm, turned, noise 3 and 6 %: mean error -0.01 to +0.06
mm, spread of single points 0.06 to 0.26 mm (`benchmarks/thickness.py`; the method was chosen on such sheets). Phantom heads that nothing
was tuned on: twenty healthy ones (seeds 11 to 30; voxels of 0.9 to 1.25 mm, noise 0.6 to 1.6 of the usual): precentral thickness +0.18 mm
(standard deviation 0.03), postcentral +0.13 (0.02), ratio +0.01 (0.01), volume +12 % (1 %; the atlas's gyrus is not cut as the phantom's
is), no atrophy found on any side. Two heads (seeds 31 and 32) with 9, 17 and 26 % of the thickness lost: thickness 0.25, 0.28 and 0.33 mm
too high, for a thin sheet keeps the blur of the voxels, and ratio 1.23, 1.15 and 1.07 (in truth 1.17, 1.06 and 0.95); so by these ratios
atrophy is absent, indeterminate and present. So the finding says little below a fifth of the thickness. Two real heads: precentral 2.7 and
2.5, postcentral 2.2 and 2.0 mm, ratio 1.25 and 1.21. A change of the volume is seen from 2.8 % on, by both images at once
(`analysis.steps.volume_change` has how far a planted one is followed); of the thickness from 0.22 mm on (a published reliability) and of
the ratio from 0.11 on (stated errors), which was not measured at several visits. Not measured: patients, rescans, the difference to the
program of the population.
Refuses: what is not the T1 of a head; a gyrus that the field of view cuts; thickness on voxels above 1.4 mm, and where noise hides the
border of grey and white matter.
References: Hutton 2008, 10.1016/j.neuroimage.2008.01.027 (method); Rutherford 2022, 10.7554/eLife.72904 (population); Walhout 2015,
10.1136/jnnp-2013-306839 (thinning in ALS, not in mimics).
"""

from __future__ import annotations

import numpy as np

from analysis import concepts
from analysis.examination import Examination
from analysis.marker import Marker
from analysis.outcome import MEASURED, Concept, Finding, Gap, Map, Mask, Measurement, NotMeasurable, Outcome, Side
from analysis.reference import placed
from analysis.steps.cortex import Thickness, mean_near, thickness
from analysis.steps.head import head_on_template
from analysis.steps.ribbon import GYRI, SIDES, Gyri, Ribbon, central_gyri, central_ribbon, code_at, code_of
from analysis.steps.space import Placement
from analysis.steps.tissue import tissue_fractions
from analysis.volume import Volume
from analysis.words import say

NAME, VERSION = "precentral_gyrus", 2
SITES = {"precentral_gyrus": concepts.PRECENTRAL_GYRUS, "postcentral_gyrus": concepts.POSTCENTRAL_GYRUS}
THICKNESS = {"precentral_gyrus": "precentral_thickness", "postcentral_gyrus": "postcentral_thickness"}
RATIO, VOLUME = "precentral_postcentral_ratio", "precentral_volume"
COARSEST_MM = 1.4  # at 1.5 mm the brightness of grey matter was not found on one of two real heads: thickness 0.5 mm off
LEAST_INSIDE = 0.98
LEAST_TRACED = 0.8
# One standard error (Trust): of a thickness in mm, of a ratio, of a volume as a share; and where noise comes near the contrast.
ERROR_MM, ERROR_RATIO = {"precentral_gyrus": 0.20, "postcentral_gyrus": 0.13}, 0.04
ERROR_VOLUME, ERROR_VOLUME_PER_MM = 0.12, 0.10
CLEAR_CONTRAST, UNCLEAR_FACTOR = 3.5, 2.0
# Atrophy is carried by the relation to the postcentral gyrus, which depends neither on program nor scanner; the thickness has to agree.
# Healthy gyri stand at 2.36 / 1.89 = 1.25 (Rutherford 2022), those of this method at 1.21 to 1.31; no spread of the ratio was published,
# 1.12 is chosen, and 1.18 as what is too near to it. The absolute thickness differs between programs as much as between people: a loss of
# a quarter of the phantom's cortex stayed above the 5th percentile. So it has to lie below the 30th, which in healthy people hardly goes
# with a low ratio (chosen).
LOW_RATIO, NEAR_RATIO, AVERAGE_PERCENTILE, LOW_PERCENTILE = 1.12, 1.18, 30.0, 5.0
NO_VOLUME_REFERENCE = say("no published population was measured with this outline of the gyrus; compare with the site's own controls")
NO_RATIO_REFERENCE = say("no population was published for the ratio; in healthy people it is about 1.24")
METHOD = say("mean over the gyrus, projected from the white surface")


def measure(examination: Examination) -> Outcome:
    gyri = examination.once(central_gyri)
    cut = {one.side: _cut(one) for one in gyri}
    if all(cut.values()):
        raise NotMeasurable(next(iter(cut.values())))
    masks = tuple(_mask(examination, one, name) for one in gyri if not cut[one.side] for name in GYRI)
    map_mm = np.zeros(examination.image("t1").array.shape, np.float32)
    measurements, gaps = [], []
    for one in gyri:
        if cut[one.side]:
            gaps += [Gap(name, cut[one.side], one.side) for name in (VOLUME, *THICKNESS.values(), RATIO)]
        else:
            measurements.append(_volume(examination, one))
            found, missing = _thicknesses(examination, one.side, masks, map_mm)
            measurements, gaps = measurements + found, gaps + missing
    return Outcome(
        NAME,
        VERSION,
        MEASURED,
        measurements=tuple(measurements),
        gaps=tuple(gaps),
        findings=tuple(finding(side, measurements, gaps) for side in SIDES),
        masks=masks,
        maps=(Map("thickness", "t1", map_mm, "mm", concepts.THICKNESS),) if map_mm.any() else (),
    )


def _cut(gyri: Gyri) -> str:
    """Why the field of view does not hold the gyri of a side; empty where it does."""
    if gyri.inside >= LEAST_INSIDE:
        return ""
    return say(
        "the T1 series cuts the cortex around the {side} central sulcus: it holds {share:.0f} % of it",
        side=gyri.side, share=100 * gyri.inside,
    )


def _grey(examination: Examination, gyri: Gyri, name: str) -> np.ndarray:
    return examination.once(tissue_fractions).grey[gyri.box] * gyri.mask(name)


def _volume(examination: Examination, gyri: Gyri) -> Measurement:
    t1 = examination.image("t1")
    value_ml = float(_grey(examination, gyri, "precentral_gyrus").sum(dtype=float)) * t1.voxel_ml
    error_ml = value_ml * (ERROR_VOLUME + ERROR_VOLUME_PER_MM * max(float(t1.spacing_mm.max()) - 1.0, 0.0))
    return Measurement(
        VOLUME, value_ml, "ml", concepts.VOLUME, SITES["precentral_gyrus"], gyri.side, uncertainty=error_ml,
        method=say("sum of grey matter fractions"),
        **placed(examination, VOLUME, value_ml, error_ml, gyri.side, otherwise=NO_VOLUME_REFERENCE),
    )  # fmt: skip


def _mask(examination: Examination, gyri: Gyri, name: str) -> Mask:
    array = np.zeros(examination.image("t1").array.shape, bool)
    array[gyri.box] = _grey(examination, gyri, name) > 0.5
    return Mask(name, "t1", array, SITES[name], gyri.side)


def _thicknesses(
    examination: Examination, side: Side, masks: tuple[Mask, ...], map_mm: np.ndarray
) -> tuple[list[Measurement], list[Gap]]:
    """Both thicknesses of a side and their ratio, or why there are none. What is measured is also drawn into `map_mm`, in its masks."""
    coarsest_mm = float(examination.image("t1").spacing_mm.max())
    if coarsest_mm > COARSEST_MM:
        return _no_thickness(side, say("voxels of {coarsest_mm:.1f} mm cannot resolve a cortex of 2 to 4 mm", coarsest_mm=coarsest_mm))
    try:
        ribbon = next(one for one in examination.once(central_ribbon) if one.side == side)
    except NotMeasurable as refusal:
        return _no_thickness(side, refusal.reason)
    found = thickness(ribbon.scale.array, ribbon.near)
    value = gyrus_thickness_mm(found, ribbon, examination.once(head_on_template))
    if None in value.values():
        return _no_thickness(side, say("the surface of the cortex could not be followed: too much noise or too little contrast"))
    draw(map_mm, np.logical_or.reduce([mask.array for mask in masks if mask.side == side]), found, examination.image("t1"), ribbon)
    unclear = UNCLEAR_FACTOR if ribbon.contrast < CLEAR_CONTRAST else 1.0
    measurements = [_thickness(examination, name, side, value[name], ERROR_MM[name] * unclear) for name in GYRI]
    ratio = value["precentral_gyrus"] / value["postcentral_gyrus"]
    return [*measurements, _ratio(examination, ratio, side, ERROR_RATIO * unclear)], []


def _no_thickness(side: Side, reason: str) -> tuple[list[Measurement], list[Gap]]:
    return [], [Gap(name, reason, side) for name in (*THICKNESS.values(), RATIO)]


def draw(map_mm: np.ndarray, where: np.ndarray, found: Thickness, t1: Volume, ribbon: Ribbon) -> None:
    """Write into the voxels of a mask (boolean, on the T1) how thick the cortex is there; 0 stays where nothing is near."""
    fine_from_index = np.linalg.inv(ribbon.scale.lps_from_index) @ t1.lps_from_index
    index = np.argwhere(where) @ fine_from_index[:3, :3].T + fine_from_index[:3, 3]
    map_mm[where] = mean_near(found, index)


def gyrus_thickness_mm(found: Thickness, ribbon: Ribbon, place: Placement) -> dict[str, float | None]:
    """The mean thickness of each gyrus of a side; None where too few tracks found an end."""
    code = code_at(place, ribbon.scale, found.index)
    value: dict[str, float | None] = {}
    for name in GYRI:
        mm = found.mm[code == code_of(name, ribbon.side)]
        known = np.isfinite(mm)
        value[name] = float(mm[known].mean()) if known.any() and known.mean() >= LEAST_TRACED else None
    return value


def _thickness(examination: Examination, gyrus: str, side: Side, value_mm: float, error_mm: float) -> Measurement:
    return Measurement(
        THICKNESS[gyrus], value_mm, "mm", concepts.THICKNESS, SITES[gyrus], side, uncertainty=error_mm, method=METHOD,
        **placed(examination, THICKNESS[gyrus], value_mm, error_mm, side),
    )  # fmt: skip


def _ratio(examination: Examination, value: float, side: Side, error: float) -> Measurement:
    return Measurement(
        RATIO, value, "1", concepts.THICKNESS_RATIO, SITES["precentral_gyrus"], side, uncertainty=error,
        method=say("mean thickness of the precentral over that of the postcentral gyrus"),
        **placed(examination, RATIO, value, error, side, otherwise=NO_RATIO_REFERENCE),
    )  # fmt: skip


def finding(side: Side, measurements: list[Measurement], gaps: list[Gap]) -> Finding:
    """Atrophy of one side: thin beside the postcentral gyrus, and below the average of the patient's age."""
    known = {m.name: m for m in measurements if m.side == side}
    thick, ratio = known.get("precentral_thickness"), known.get(RATIO)
    if thick is None or ratio is None:
        return _finding("not assessed", side, next(gap.reason for gap in gaps if gap.side == side))
    if thick.reference is None:
        return _finding("not assessed", side, thick.no_reference)
    percentile, low = thick.reference.percentile, ratio.value < LOW_RATIO
    if low and percentile < AVERAGE_PERCENTILE:
        return _finding("present", side)
    near = LOW_RATIO <= ratio.value < NEAR_RATIO
    if not low and not near and percentile >= LOW_PERCENTILE:
        return _finding("absent", side)
    if near:
        words = say(
            "thin beside the postcentral gyrus: the ratio of {ratio:.2f} is near the limit of {limit}",
            ratio=ratio.value, limit=LOW_RATIO,
        )
    elif low:
        words = say(
            "thin beside the postcentral gyrus (ratio {ratio:.2f}), but of ordinary thickness for the patient's age",
            ratio=ratio.value,
        )
    else:
        words = say("thin for the patient's age, but in the usual relation to the postcentral gyrus (ratio {ratio:.2f})", ratio=ratio.value)
    return _finding("indeterminate", side, say("the {side} precentral cortex is {words}", side=side, words=words))


def _finding(value: str, side: Side, reason: str | None = None) -> Finding:
    site: Concept = SITES["precentral_gyrus"]
    return Finding("motor_cortex_atrophy", value, concepts.MOTOR_CORTEX_ATROPHY, site, side, reason=reason)


MARKER = Marker(
    NAME, VERSION, needs=(("t1",),), gives=(VOLUME, *THICKNESS.values(), RATIO), findings=("motor_cortex_atrophy",), measure=measure,
    doc=__doc__,
)  # fmt: skip
