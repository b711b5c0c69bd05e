"""Area and diameters of the cervical cord, vertebra by vertebra.

Gives: cord_area (mm2), cord_ap_diameter and cord_rl_diameter (mm) at the levels C1 to C7, perpendicular to the cord; the finding
cord_atrophy; the masks `cervical_cord` and `cord_level`, one by vertebra.
Needs: a T2 or T2* series of the cervical cord (roles cord_t2, cord_t2star), else a T1 of the head (t1) whose lower edge reaches C2/C3.
Method: the cord is found as a core of tissue in a ring of fluid; its edge lies half-way between the brightness of cord and fluid on planes
perpendicular to it; discs are counted from C2/C3, above which none follows for a vertebra and a half. A value is the mean over the middle
half of a vertebra. Masks drawn by hand have their edge further in, at 0.22 of the step from cord to fluid: so the published populations,
which were made with such masks, are compared with the area inside that edge, and then shown on the scale of the half maximum.
Trust: computed ellipses of 8 x 12.5 mm, tilted by 0 to 30 degrees, voxels 0.8 to 1.2 mm: area -0.1 to +1.9 % with 3 mm of fluid around,
-4.6 to +2.2 % with 1.5 mm, on T2; T1 -0.1 to +1.6 % (3 mm). Sagittal slices of 2, 3, 3.3 and 4 mm: off by up to 4, 5, 7 and 10 %. One T2
and one T1 of 1 mm with masks drawn by hand: Dice .979 and .945 with the edge where such masks have it, .918 and .863 with the half maximum,
whose volume is 15 and 28 % larger. Discs of the template PAM50: C2/C3 to T1/T2 within 3 mm. Twenty computed healthy necks (seeds 101 to
120): on 3D T2 of 0.8 mm areas by level -3.5 to +5.6 % (mean +1.4), discs within 3.2 mm, atrophy called in none and unclear in one; in
sagittal slices of 3.3 mm areas -2.8 to +12 % (mean +3.1), discs within 3.1 mm, atrophy called in one, whose cord is small. Another (131) at
ten tilts of up to 20 degrees about several axes: on 3D T2 of 1 mm the levels were right at eight and refused at two, areas 0 to +7 %; in
sagittal slices of 3 mm right at all ten, areas 0 to +8 %. Two (111 and 112) that lost 6, 12, 19 and 25 % of their area, in both kinds of
series: the areas lie off as in the healthy, atrophy is called in none of eight at 6 and 12 %, unclear in three of four at 19 %, called in
three of four at 25 % (the fourth refused for its levels): a loss below a fifth is not seen against the population. Levels of fields cut at
many heights, necks 106 to 120 (rules made on 101 to 105, limits chosen afterwards): of 1,986 none wrong, 337 right, the others refused,
among them all that begin less than 28 mm above C2/C3; of 309 on PAM50 none wrong, 31 right. The two crops of patients are refused: they
begin 3 and 20 mm above the first disc, and the labels that come with the first contradict each other. A change of the area is seen from 6.7
% on at C2, 10.8 % at C3 (published rescans) and about 8 % elsewhere (stated errors): four computed necks at three visits (seeds 221 to 224,
3D T2 of 0.8 mm; `benchmarks/change.py values --roles cord_t2`) differed by 0.2 to 1.0 mm2 within a neck, a tenth to six tenths of what is
assumed (two of the twelve visits were refused for their levels), and losses of 3, 6 and 12 % measured 2.7 to 4.0, 5.4 to 7.0 and 12.3 to
13.6 % by level, of which none, one of 28 and all 28 were more than noise. Not measured: patients, rescans, other programs on the same
images; that the published masks have the edge of ours is taken from those two only.
Refuses: series where no cord is found (another part of the body, metal), discs as far apart as lumbar ones, a series whose C2/C3 cannot be
told, thick axial slices oblique to the cord; a vertebra that is cut off is a gap.
References: Valosek 2024, 10.1162/imag_a_00075 (PAM50 levels and populations); Wimmer 2020, Sci Rep 10:1783 (C1 to C3 in ALS: 60.8 against
63.8 mm2); Kato 2012, 10.1007/s00586-012-2176-4.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from scipy.spatial import cKDTree

from analysis import concepts
from analysis.examination import Examination
from analysis.marker import Marker
from analysis.outcome import MEASURED, Finding, Gap, Mask, Measurement, NotMeasurable, Outcome, Reference
from analysis.reference import placed
from analysis.steps.cord import LEVELS, Cord, cord_of
from analysis.steps.cord_edge import area_of, diameters_of
from analysis.words import Words, joined, say

NAME, VERSION = "cervical_cord", 1
SHOWN = range(1, 8)
QUANTITIES = {
    "cord_area": ("mm2", concepts.CORD_AREA), "cord_ap_diameter": ("mm", concepts.DEPTH), "cord_rl_diameter": ("mm", concepts.WIDTH),
}  # fmt: skip
METHOD = say("mean over the middle half of the vertebra, perpendicular to the cord, edge at half maximum")
LEAST_MM = 5.0  # of the middle half of a vertebra
CONVERSION_ERROR = 0.04  # of the area, of how far in the published masks have their edge: volumes 1 and 4 % off on two sets of masks
DIAMETER_ERROR_MM = {"cord_ap_diameter": (0.15, 0.02), "cord_rl_diameter": (0.25, 0.25)}  # on 1 mm, and for every mm that voxels are larger
# z of the mean of C2 and C3: the first is met by 5 of 100 healthy people or fewer, above the second all is usual (chosen)
CLEARLY_SMALL, STILL_USUAL = -2.0, -1.5
JUDGED = ("C2", "C3")
NOTE = say(
    "The area is that inside half of the step from cord to fluid. Masks that are drawn by hand lie further in, so their areas, and "
    "published ones, are smaller by a tenth to a fifth; the population is shown on our scale."
)


def measure(examination: Examination) -> Outcome:
    cord = examination.once(cord_of)
    if not cord.discs:
        raise NotMeasurable(joined(cord.refused, "; "))
    levels = {LEVELS[number]: _middle(cord, number) for number in SHOWN}
    known = {level: points for level, points in levels.items() if points.sum() * cord.step_mm >= LEAST_MM}
    if not known:
        raise NotMeasurable(say("no vertebra of the neck lies whole in the field of view"))
    measurements = tuple(one for level, points in known.items() for one in _measurements(examination, cord, level, points))
    reason = _why_missing(cord)
    gaps = tuple(Gap(name, reason, level=level) for level in levels if level not in known for name in QUANTITIES)
    return Outcome(
        NAME,
        VERSION,
        MEASURED,
        measurements=measurements,
        gaps=gaps,
        findings=(finding(measurements),),
        masks=_masks(cord),
        notes=(NOTE, *(say("{reason}.", reason=one) for one in cord.refused)),
    )


def _middle(cord: Cord, number: int) -> np.ndarray:
    """The measured points in the middle half of a vertebra that lies whole in the field."""
    at = np.flatnonzero(cord.level == number)
    points = np.zeros(len(cord.level), bool)
    if len(at) and cord.measured[at].mean() > 0.7:
        quarter = len(at) // 4
        points[at[quarter : len(at) - quarter]] = True
    return points & cord.measured


def _why_missing(cord: Cord) -> Words:
    first, last = cord.discs[0].name, cord.discs[-1].name
    return say("it does not lie whole in the part of the series where the cord was measured and discs were told ({first} to {last})",
               first=first, last=last)  # fmt: skip


def _measurements(examination: Examination, cord: Cord, level: str, points: np.ndarray) -> list[Measurement]:
    values = {"cord_area": cord.area_mm2, "cord_ap_diameter": cord.ap_mm, "cord_rl_diameter": cord.rl_mm}
    ap, rl = diameters_of(cord.drawn_mm)
    drawn = {"cord_area": area_of(cord.drawn_mm), "cord_ap_diameter": ap, "cord_rl_diameter": rl}
    more_mm = max(float(cord.mask.spacing_mm.max()) - 1.0, 0.0)
    made = []
    for name, (unit, quantity) in QUANTITIES.items():
        value, inner = float(values[name][points].mean()), float(drawn[name][points].mean())
        if name == "cord_area":
            error = float(cord.area_error_mm2[points].mean())
        else:
            error = DIAMETER_ERROR_MM[name][0] + DIAMETER_ERROR_MM[name][1] * more_mm
        made.append(Measurement(
            name, value, unit, quantity, concepts.CERVICAL_CORD, level=level, uncertainty=error, method=METHOD,
            **_placed(examination, name, level, value, inner, error),
        ))  # fmt: skip
    return made


def _placed(examination: Examination, name: str, level: str, value: float, drawn: float, error: float) -> dict[str, Reference | str]:
    """Where the value stands among the site's own controls; else, by the edge that drawn masks have, in a published population."""
    own = placed(examination, name, value, error, level=level)
    if "reference" in own:
        return own
    share = CONVERSION_ERROR if name == "cord_area" else CONVERSION_ERROR / 2
    uncertainty = drawn * math.hypot(error / value, share)
    found = placed(examination, f"{name}_drawn", drawn, uncertainty, level=level)
    return {key: in_half_maximum(one, value / drawn) if isinstance(one, Reference) else one for key, one in found.items()}


def in_half_maximum(place: Reference, ratio: float) -> Reference:
    """The place of a value inside drawn edges, with the figures of its population on the scale of the half maximum."""
    return replace(place, **{name: getattr(place, name) * ratio for name in ("mean", "sd", "low", "high")})


def finding(measurements: tuple[Measurement, ...]) -> Finding:
    """Atrophy by the mean z of the areas at C2 and C3, where populations are best known."""
    judged = [one for one in measurements if one.name == "cord_area" and one.level in JUDGED]
    known = [one.reference.z for one in judged if one.reference is not None]
    if not known:
        reason = judged[0].no_reference if judged else say("neither C2 nor C3 was measured")
        return _finding("not assessed", reason)
    z = sum(known) / len(known)
    if z <= CLEARLY_SMALL:
        return _finding("present")
    if z > STILL_USUAL:
        return _finding("absent")
    return _finding("indeterminate", say("the area at C2 and C3 is at the lower end of its population (z {z:.1f})", z=z))


def _finding(value: str, reason: str | None = None) -> Finding:
    return Finding("cord_atrophy", value, concepts.CORD_ATROPHY, concepts.CERVICAL_CORD, reason=reason)


def _masks(cord: Cord) -> tuple[Mask, ...]:
    """The cord, and each vertebra's part of it."""
    whole = cord.mask.array
    index = np.argwhere(whole)
    lps = index @ cord.mask.lps_from_index[:3, :3].T + cord.mask.lps_from_index[:3, 3]
    level = cord.level[cKDTree(cord.centreline_lps).query(lps)[1]]
    made = [Mask("cervical_cord", cord.role, whole, concepts.CERVICAL_CORD)]
    for number in SHOWN:
        part = np.zeros(whole.shape, bool)
        part[tuple(index[level == number].T)] = True
        if part.any():
            made.append(Mask("cord_level", cord.role, part, concepts.CERVICAL_CORD, level=LEVELS[number]))
    return tuple(made)


MARKER = Marker(
    NAME, VERSION, needs=(("cord_t2", "cord_t2star", "t1"),), gives=tuple(QUANTITIES), findings=("cord_atrophy",), measure=measure,
    doc=__doc__,
)  # fmt: skip
