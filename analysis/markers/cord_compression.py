"""Flattening of the cervical cord at one height, what lies in front of it at each disc, and signal inside it.

Gives: cord_compression_ratio (%; at the worst height, named by the nearest disc); the findings cord_compression and
cord_t2_hyperintensity; the masks `cord_compression` and `cord_t2_hyperintensity`.
Needs: a T2 or T2* series of the cervical cord (roles cord_t2, cord_t2star).
Method: the depth of the cord (front to back, perpendicular to it) against the mean of its depth from 10 to 30 mm above and below: 1
minus the quotient, between C2/C3 and C7/T1, where it is largest. The limits are those of healthy profiles by the same formula: 95 and 99 of
100 lie below 11.6 and 14.0 % in young adults on T2, below 14.5 and 18.9 % at 66 years. A disc touches the cord where less than half a
millimetre of fluid lies between. A place in the cord is bright where it is brighter than the same place of the section above and below by
a share of the step from cord to fluid.
Trust: phantom necks that nothing was tuned on (seeds 11 and 12; 3D T2 of 1 mm, upright and tilted by 15 degrees, and sagittal slices of 3
mm). Eleven protrusions of 10 to 51 % at C3/C4 to C6/C7: error -5.8 to +3.3 points, -2.5 on average, 3.6 root mean square; large losses come
out too low by a tenth, as a film of fluid too thin to be seen counts as cord (the phantom leaves 0.15 mm). The disc was right in all. Of
the nine of 17 % and more eight present, one indeterminate (13.6 for 17.5 %); of the two of 10 and 12 % one indeterminate, one present. Two
more (13 and 14; 3D of 0.8 mm and sagittal slices of 3.3 mm) with 7 to 40 % at C5/C6: error -7.5 to +1.5 points, 3.3 root mean square, the
disc right in all sixteen; all twelve of 17 % and more present, all four of 7 and 9 % indeterminate, as no fluid is left there. Twenty
healthy ones (101 to 120) in both kinds of series: 2 to 5 %, absent in all forty, no disc said to touch. The rule of the verdict was made
after others had been seen (seeds 11 to 13, by an earlier edge). Where a bright spot lay at the flattened height the loss came out 7 to 8
points too low (two necks: 32.5 for 39.5, 20.7 for 28.6 %). Bright spots of 53 mm3: present at their level in nine of nine, two of them
where the cord was flat (two thirds brightness and more 5 of 5, a half to full 4 of 4 in one neck); none was said in the forty healthy
series nor in sixteen compressed ones. A change is seen from 11 percentage points on (stated errors), and only where the flattest place is
at the same disc both times: on four healthy computed necks at three visits (seeds 221 to 224) it was in 4 of 8 pairs, which differed by 1.4
points at most. Not measured: patients, compressed or not, rescans, motion of fluid.
Refuses: what the segmentation of the cord refuses (another region, metal, thick oblique slices); a T1; a height without 10 mm of measured
cord in the reach above and below it; signal in the cord where slices are too thick for a voxel to lie inside it.
References: Miyanji 2007, 10.1148/radiol.2433060583 (ratio); Valosek 2024, 10.1162/imag_a_00075 (healthy profiles); Kovalova 2016 and Kato
2012, 10.1007/s00586-012-2176-4 (compression without symptoms).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

from analysis import concepts
from analysis.examination import Examination
from analysis.marker import Marker
from analysis.outcome import MEASURED, Accuracy, Finding, Mask, Measurement, NotMeasurable, Outcome
from analysis.reference import placed
from analysis.steps.cord import LEVELS, Cord, cord_of
from analysis.steps.cord_signal import INNER, CordSignal, cord_signal, directions
from analysis.volume import Volume
from analysis.words import Name, Words, joined, say

NAME, VERSION = "cord_compression", 1
NEAR_MM, FAR_MM, LEAST_MM = 10.0, 30.0, 10.0
JUDGED = (3, 7)  # vertebrae: from C2/C3 to C7/T1
# 95th and 99th percentile of healthy profiles, %: 203 young adults (28.7 years on average, T2), 1,025 of 66 years (T1, C3 and C4)
YOUNG, OLD, MIDDLE_AGE = (11.6, 14.0), (14.5, 18.9), 47.0
LEAST_SHARE = 0.8  # of the neck that must be measured for "absent"
TOUCH_MM, AT_DISC_MM = 0.5, 3
SMOOTH_MM = 0.3  # sigma of the depth along the cord
RATIO_ERROR = 4.0  # percentage points, one standard error (Trust)
BRIGHT, DOUBTFUL, LEAST_BRIGHT_MM, LEAST_SEEN = 0.28, 0.18, 2.0, 0.15
AT_LEVEL_MM = 12.0
# Trust: present, of protrusions of 17 % and more and of healthy necks; of spots of two thirds brightness and more and of 3D necks without
ACCURACY = {
    "cord_compression": Accuracy(20, 21, 0, 40, on=say("series of computed necks")),
    "cord_t2_hyperintensity": Accuracy(9, 9, 0, 56, on=say("series of computed necks")),
}
WORST_MM = 4.0  # above and below the worst height: what the mask shows
METHOD = say("1 - depth / mean depth 10 to 30 mm above and below, at its largest between C2/C3 and C7/T1")
NO_REFERENCE = say("healthy profiles have limits by age, but no published mean and spread; the limits are said with the finding")
BASE_RATE = say(
    "Compression without symptoms is common: a changed contour of the cord in 59 % of 183 adults from 40 years on (Kovalova 2016), "
    "compression in 5.3 % and bright signal in 2.3 % of 1,211 volunteers by a stricter definition (Kato 2012). It can stand beside ALS: "
    "compression is reported, and never excludes ALS."
)
LIMITS = say(
    "The limits go by age: below {middle:.0f} years those of 203 adults of 29 years on average (T2, C3 to C6), from {middle:.0f} years on "
    "and where the age is not known those of 1,025 adults of 66 years (T1, C3 and C4 only); {middle:.0f} lies half-way between the two.",
    middle=MIDDLE_AGE,
)


@dataclass(frozen=True)
class Worst:
    """The height where the cord is flattest: its index, the ratio in %, the nearest disc, and how much of the neck was looked at."""

    index: int
    ratio: float
    disc: str
    share: float


def measure(examination: Examination) -> Outcome:
    cord = examination.once(cord_of)
    if not cord.bright_fluid:
        raise NotMeasurable(say("the cord was found on a T1 series only, where fluid is dark: its compression is read on T2"))
    worst = worst_of(cord)
    image = examination.image(cord.role)
    signal = cord_signal(image, cord)
    touching = touching_discs(cord, signal)
    spots = bright_points(signal)
    findings = (compression(worst, touching, examination.patient.age_years), hyperintensity(cord, worst, signal, spots))
    return Outcome(
        NAME,
        VERSION,
        MEASURED,
        measurements=(_measurement(examination, worst),),
        findings=findings,
        masks=tuple(_masks(image, cord, worst, spots)),
        notes=(*_notes(cord, worst, touching, examination.patient.age_years), *_place_of(spots, worst, cord), LIMITS, BASE_RATE),
    )


def ratios_of(cord: Cord) -> np.ndarray:
    """The ratio (n,) in % along the cord, NaN where it cannot be told."""
    known = cord.measured & (cord.ap_mm > 0)
    depth = _smooth(cord.ap_mm, known, SMOOTH_MM / cord.step_mm)
    far_mm = np.abs(np.arange(len(depth))[:, None] - np.arange(len(depth))[None]) * cord.step_mm
    after = np.arange(len(depth))[None] > np.arange(len(depth))[:, None]
    reach = (far_mm >= NEAR_MM) & (far_mm <= FAR_MM) & known[None]
    means = []
    for side in (reach & ~after, reach & after):
        count = side.sum(axis=1)
        means.append(np.where(count * cord.step_mm >= LEAST_MM, (side @ depth) / np.maximum(count, 1), np.nan))
    ratio = 100.0 * (1.0 - depth / np.mean(means, axis=0))
    return np.where(known, ratio, np.nan)


def _smooth(values: np.ndarray, known: np.ndarray, sigma: float) -> np.ndarray:
    weights = ndimage.gaussian_filter1d(known.astype(float), sigma)
    return np.where(known, ndimage.gaussian_filter1d(np.where(known, values, 0.0), sigma) / np.maximum(weights, 1e-6), 0.0)


def worst_of(cord: Cord) -> Worst:
    """The flattest height; NotMeasurable where none could be judged."""
    ratio = ratios_of(cord)
    judged = (cord.level >= JUDGED[0]) & (cord.level <= JUDGED[1])
    if not judged.any():
        raise NotMeasurable(joined(cord.refused, "; ") if cord.refused else say("no vertebra from C3 to C7 was told in the series"))
    there = judged & np.isfinite(ratio)
    if not there.any():
        raise NotMeasurable(say("no height of the cord has 10 mm of measured cord between 10 and 30 mm above it and below it"))
    index = int(np.flatnonzero(there)[np.argmax(ratio[there])])
    disc = min(cord.discs, key=lambda one: abs(one.index - index))
    whole = {level: bool((judged & (cord.level == level)).any()) for level in range(JUDGED[0], JUDGED[1] + 1)}
    share = float(there.sum() / judged.sum()) * sum(whole.values()) / len(whole)
    return Worst(index, float(ratio[index]), disc.name, share)


def limits(age_years: float | None) -> tuple[float, float]:
    """The 95th and the 99th percentile of the healthy, %; the wider of the two where the age is not known."""
    return YOUNG if age_years is not None and age_years < MIDDLE_AGE else OLD


def touching_discs(cord: Cord, signal: CordSignal) -> tuple[str, ...]:
    """The discs with less than TOUCH_MM of fluid between them and the cord."""
    names = []
    for disc in cord.discs:
        near = slice(max(disc.index - AT_DISC_MM, 0), disc.index + AT_DISC_MM + 1)
        if cord.measured[near].any() and signal.room_mm[near][cord.measured[near]].min() < TOUCH_MM:
            names.append(disc.name)
    return tuple(names)


def compression(worst: Worst, touching: tuple[str, ...], age_years: float | None) -> Finding:
    """Present beyond the 99th percentile of the healthy, or beyond the 95th where the disc touches; one of the two alone is open."""
    usual, rare = limits(age_years)
    if worst.ratio > rare or (worst.ratio > usual and worst.disc in touching):
        return _finding("cord_compression", "present", concepts.CORD_COMPRESSION, level=worst.disc)
    said = say("the cord is {ratio:.0f} % less deep at {disc}; of 100 healthy people 95 lie below {usual:g} %, 99 below {rare:g} %",
               ratio=worst.ratio, disc=Name(worst.disc), usual=usual, rare=rare)  # fmt: skip
    if worst.ratio > usual:
        return _finding("cord_compression", "indeterminate", concepts.CORD_COMPRESSION, said, worst.disc)
    if touching:
        reason = say("no fluid is left in front of the cord at {discs}, but the cord is not flatter than in healthy people",
                     discs=joined(Name(one) for one in touching))  # fmt: skip
        return _finding("cord_compression", "indeterminate", concepts.CORD_COMPRESSION, reason, touching[0])
    if worst.share < LEAST_SHARE:
        reason = say("{share:.0f} % of the cord from C3 to C7 could be compared with what is above and below", share=100 * worst.share)
        return _finding("cord_compression", "indeterminate", concepts.CORD_COMPRESSION, reason)
    return _finding("cord_compression", "absent", concepts.CORD_COMPRESSION)


def bright_points(signal: CordSignal, least: float = BRIGHT) -> np.ndarray:
    """Where (n, 72, k) the cord is bright on LEAST_BRIGHT_MM and more of its length."""
    with np.errstate(invalid="ignore"):
        bright = signal.excess > least
    parts, count = ndimage.label(np.concatenate([bright, bright[:, :1]], axis=1), np.ones((3, 3, 3)))
    keep = np.zeros(bright.shape, bool)
    for number, where in enumerate(ndimage.find_objects(parts), start=1):
        if where[0].stop - where[0].start >= LEAST_BRIGHT_MM:
            keep |= parts[:, :-1] == number
    return keep if count else bright


def hyperintensity(cord: Cord, worst: Worst, signal: CordSignal, spots: np.ndarray) -> Finding:
    """Signal inside the cord, at the compressed height or away from it."""
    concept = concepts.CORD_T2_HYPERINTENSITY
    if float(np.median(signal.seen[cord.measured])) < LEAST_SEEN:
        return _finding("cord_t2_hyperintensity", "not assessed", concept,
                        say("the voxels are too large for one to lie inside the cord"))  # fmt: skip
    if spots.any():
        heights = np.flatnonzero(spots.any(axis=(1, 2)))
        return _finding("cord_t2_hyperintensity", "present", concept, level=height_of(cord, int(np.median(heights))))
    if bright_points(signal, DOUBTFUL).any():
        at = int(np.median(np.flatnonzero(bright_points(signal, DOUBTFUL).any(axis=(1, 2)))))
        reason = say("a place at {level} is slightly brighter than the cord above and below", level=Name(height_of(cord, at)))
        return _finding("cord_t2_hyperintensity", "indeterminate", concept, reason, height_of(cord, at))
    return _finding("cord_t2_hyperintensity", "absent", concept)


def height_of(cord: Cord, index: int) -> str:
    """The disc nearest to a point of the cord, or its vertebra where that is nearer to its middle."""
    disc = min(cord.discs, key=lambda one: abs(one.index - index))
    return disc.name if abs(disc.index - index) * cord.step_mm <= 5.0 else LEVELS.get(int(cord.level[index]), disc.name)


def _finding(name: str, value: str, concept: concepts.Concept, reason: Words | None = None, level: str | None = None) -> Finding:
    return Finding(name, value, concept, concepts.CERVICAL_CORD, reason=reason, level=level, accuracy=ACCURACY[name])


def _measurement(examination: Examination, worst: Worst) -> Measurement:
    return Measurement(
        "cord_compression_ratio", worst.ratio, "%", concepts.CORD_COMPRESSION_RATIO, concepts.CERVICAL_CORD, level=worst.disc,
        uncertainty=RATIO_ERROR, method=METHOD, **placed(examination, "cord_compression_ratio", worst.ratio, RATIO_ERROR, None, worst.disc,
                                                         NO_REFERENCE),
    )  # fmt: skip


def _masks(image: Volume, cord: Cord, worst: Worst, spots: np.ndarray) -> list[Mask]:
    """The cord at the worst height, and what is bright in it."""
    index = np.argwhere(cord.mask.array)
    lps = index @ image.lps_from_index[:3, :3].T + image.lps_from_index[:3, 3]
    nearest = cKDTree(cord.centreline_lps).query(lps)[1]
    part = np.zeros(cord.mask.array.shape, bool)
    part[tuple(index[np.abs(nearest - worst.index) * cord.step_mm <= WORST_MM].T)] = True
    made = [Mask("cord_compression", cord.role, part, concepts.CERVICAL_CORD, level=worst.disc)] if part.any() else []
    if spots.any():
        bright = np.zeros(part.shape, bool)
        n, angle, ring = np.nonzero(spots)
        at = cord.centreline_lps[n] + (cord.radius_mm[n, angle] * INNER[ring])[:, None] * directions(cord)[n, angle]
        distance = cKDTree(at).query(lps)[0]
        bright[tuple(index[distance <= float(np.sort(image.spacing_mm)[1]) * 0.75].T)] = True
        if bright.any():
            made.append(Mask("cord_t2_hyperintensity", cord.role, bright, concepts.CORD_T2_HYPERINTENSITY))
    return made


def _notes(cord: Cord, worst: Worst, touching: tuple[str, ...], age_years: float | None) -> list[Words]:
    usual, rare = limits(age_years)
    years = say("of about 29 years") if (usual, rare) == YOUNG else say("of about 66 years")
    notes = [say(
        "The cord is flattest at {disc}: {ratio:.1f} % less deep than above and below. Of 100 healthy people {years} 95 lie below "
        "{usual:g} %, 99 below {rare:g} %.", disc=Name(worst.disc), ratio=worst.ratio, years=years, usual=usual, rare=rare,
    )]  # fmt: skip
    if touching:
        notes.append(say("No fluid is left between the cord and the disc at {discs}.", discs=joined(Name(one) for one in touching)))
    else:
        names = joined(Name(one.name) for one in cord.discs)
        notes.append(say("There is fluid in front of the cord at every disc that was told ({discs}).", discs=names))
    return notes


def _place_of(spots: np.ndarray, worst: Worst, cord: Cord) -> list[Words]:
    """Whether what is bright lies at the flattest height; nothing where nothing is bright."""
    heights = np.flatnonzero(spots.any(axis=(1, 2)))
    if not len(heights):
        return []
    level, far_mm = Name(height_of(cord, int(np.median(heights)))), np.abs(heights - worst.index).min() * cord.step_mm
    if far_mm <= AT_LEVEL_MM:
        return [say("The bright signal in the cord at {level} lies where the cord is flattest.", level=level)]
    return [say("The bright signal in the cord at {level} lies {far_mm:.0f} mm from where the cord is flattest: another cause than "
                "compression is to be thought of.", level=level, far_mm=far_mm)]  # fmt: skip


MARKER = Marker(
    NAME, VERSION, needs=(("cord_t2", "cord_t2star"),), gives=("cord_compression_ratio",),
    findings=("cord_compression", "cord_t2_hyperintensity"), measure=measure, doc=__doc__,
)  # fmt: skip
