"""The motor band sign: dark cortex in front of the central sulcus on susceptibility-weighted images.

Gives: motor_band_contrast (1; the share of its signal that the cortex has lost against its neighbours: positive is darker) and
motor_band_score (0 none, 1 mild or a part, 2 marked), left and right, medial (leg and trunk), intermediate (hand) and lateral (face and
tongue); the finding motor_band_sign by side, its grade the sum of the three scores; the masks `motor_band_medial`,
`motor_band_intermediate` and `motor_band_lateral`.
Needs: a susceptibility-weighted series (role swi), else a T2*-weighted one (t2star), magnitude; and a T1 of the same study, from which the
cortex is known.
Method: the brightness that the cortex of the postcentral and superior frontal gyrus has at a given mixture of CSF, grey and white matter
says how bright the cortex facing the central sulcus should be; what is missing is divided by the signal of grey matter. The median of
each patch of 6 mm, then the mean over the darker half of the patches, less the same for the neighbours: a vein is a line and
darkens few voxels of a patch, a band follows the cortex. Dark lines, and places where everything around is dark, are left out first.
Trust: phantom heads, all with veins. Two that nothing was tuned on (seeds 11 and 12): without a band 0.00 to 0.03 and no score above 0 in
18 regions; a loss of 10, 20 and 39 % measured 0.08 to 0.11, 0.16 to 0.21 and 0.30 to 0.42, least in the hand area; every score was that of
the truth. Tuned on seeds 1 to 3, the last two with 0.5 to 1 mm of cortex lost as well: there 0.13 to 0.19 for 20 %, 0.22 to 0.38 for 38 %,
so thin cortex is underestimated, and three marked scores of six became mild ones. Twenty healthy heads (seeds 11 to 30, other noise and
voxels): up to 0.06, no score above 0 in 120 regions. Two heads with the band and worn cortex (a loss of 13, 26 and 37 % of the signal, 9
to 26 % of the cortex): 0.11, 0.18 and 0.22 in the hand area, 0.13, 0.26 and 0.37 laterally; sign indeterminate or present, then present.
Twice as many veins of 2 to 3 mm changed nothing by more than 0.02; voxels of 3 x 1.2 x 1.2 mm lost a quarter of the contrast, dark fluid a
third; a T1 of 4 mm slices did not matter. On the T1 of two real heads the bank lies on the posterior wall of the precentral gyrus, by eye.
No real susceptibility-weighted series of a whole head was seen, no patient, no rescan: how dark healthy motor cortex is on scanners is not
known here. A change is seen from 0.06 on where the cortex is not dark, 0.08 where it lost 15 % and more where it is darker (stated errors),
in the score from two grades on: one phantom head at two visits (seed 221; `benchmarks/change.py values --roles t1,swi --markers
motor_band`) differed by 0.01, half of what is assumed, and a loss of 10 % (0.09) measured 0.06 to 0.10 more, which was more than noise in 5
of 6 parts.
Refuses: a study without a T1 (from the template alone a loss of 20 % measured 3 to 8 %); voxels too coarse to show a band; noise; what
cannot be placed; parts that the field of view does not hold, or where veins or signal loss leave too little cortex.
References: Zejlon 2024, 10.1002/acn3.52066 (medial, intermediate and lateral scores); "Diagnostic utility of SWI in ALS" (the motor cortex
low intensity score of 0 to 12 and its cut-off of 3: 36 patients, 19 healthy people); Chakraborty 2015, Can J Neurol Sci (the sign).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analysis import concepts
from analysis.examination import Examination
from analysis.marker import Marker
from analysis.outcome import MEASURED, Finding, Gap, Mask, Measurement, NotMeasurable, Outcome, Side, Verdict
from analysis.reference import placed
from analysis.steps.band import LEVELS, SIDES, Cortex, Region, around_cortex, dark_lines, motor_strip
from analysis.volume import Volume
from analysis.words import say

NAME, VERSION = "motor_band", 3
ROLES = ("swi", "t2star")
GIVES = ("motor_band_contrast", "motor_band_score")
NO_REFERENCE = say(
    "no transferable norm: the contrast depends on field strength, echo time and filter, and the motor cortex darkens with age; "
    "compare with the site's own controls"
)
NOTE = say(
    "A dark motor cortex supports involvement of the upper motor neuron; it is no diagnosis: iron of the motor cortex also rises with age, "
    "and the sign is seen in other diseases."
)
METHOD = say("mean over the darker half of patches of 6 mm, each the median of its voxels, less that of the neighbouring cortex")
IN_PLANE_MM, SLICE_MM = 1.5, 3.5
LEAST_COVERED = 0.9
# chosen on phantom seeds 1 to 3 (healthy up to 0.03; 0.13 to 0.21 and 0.22 to 0.41 for a loss of 20 and 38 %), with room for the iron of
# healthy motor cortex, whose effect is not known; no published contrast was found
SCORES_FROM = (0.12, 0.25)
# of 12 for the patient (References); a side shares in it with 2 of its own 6
CUT_OFF, SIDE_CUT_OFF = 3, 2
LEAST_GREY, LEAST_TISSUE, PURE_WHITE = 0.5, 0.95, 0.9
LINE, LEAST_AROUND = 0.03, 0.6  # of the brightness of white matter; of the usual brightness
PATCH_MM, LEAST_IN_PATCH, LEAST_PATCHES, LEAST_USABLE = 6.0, 6, 5, 0.5
MOST_NOISE = 0.2  # of a voxel of grey matter: at 0.3 half-dark cortex lost a fifth of its contrast (a synthetic sulcus)
OUTLIER, FIT_ROUNDS = 3.0, 6
ERROR, RELATIVE_ERROR = 0.02, 0.15


@dataclass(frozen=True, eq=False)
class Darkness:
    """`loss`: what is missing in each voxel, in signals of grey matter; `ribbon`: its cortex; `usable`: without lines and signal loss.
    (slice, row, column) of the strip. `noise`: the spread of the loss between the voxels of the neighbours."""

    loss: np.ndarray
    ribbon: np.ndarray
    usable: np.ndarray
    noise: float


def measure(examination: Examination) -> Outcome:
    role = next((role for role in ROLES if role in examination.images), ROLES[0])
    series = examination.image(role)
    refuse_coarse(series)
    cortex = motor_strip(examination, role)
    even = without_field(cortex)
    where = np.logical_or.reduce([region.bank | region.neighbours for region in cortex.regions])
    line = dark_lines(cortex.part, even, where) >= LINE
    darkness = {side: darkness_of(cortex, side, even, line) for side in SIDES}
    found = {(region.side, region.level): contrast_of(cortex, darkness[region.side], region) for region in cortex.regions}
    values = {place: one for place, one in found.items() if not isinstance(one, str)}
    reasons = {place: one for place, one in found.items() if isinstance(one, str)}
    if not values:
        raise NotMeasurable(say("no part of the motor cortex can be assessed: {reason}", reason=next(iter(reasons.values()))))
    return Outcome(
        NAME,
        VERSION,
        MEASURED,
        measurements=tuple(one for (side, level), value in values.items() for one in _pair(examination, side, level, *value)),
        gaps=tuple(Gap(name, reason, side, level) for (side, level), reason in reasons.items() for name in GIVES),
        findings=findings_of({place: score_of(values[place][0]) if place in values else None for place in found}),
        masks=tuple(
            _mask(role, series, cortex, region, darkness[region.side]) for region in cortex.regions if (region.side, region.level) in values
        ),
        notes=(NOTE,),
    )


def refuse_coarse(series: Volume) -> None:
    """NotMeasurable where the voxels are too coarse to show a band 2 to 3 mm wide."""
    fine, middle, coarse = sorted(series.spacing_mm)
    if middle > IN_PLANE_MM or coarse > SLICE_MM:
        raise NotMeasurable(
            say(
                "the voxels of {fine:.1f} x {middle:.1f} x {coarse:.1f} mm are too coarse to show a dark band in the cortex: it "
                "needs {in_plane_mm:g} mm in the plane and slices of at most {slice_mm:g} mm",
                fine=fine, middle=middle, coarse=coarse, in_plane_mm=IN_PLANE_MM, slice_mm=SLICE_MM,
            )
        )


def darkness_of(cortex: Cortex, side: Side, even: np.ndarray, line: np.ndarray) -> Darkness:
    """What is missing in the cortex of a side, against what its neighbours say of that mixture of tissues. `even`: the brightness, `line`:
    where dark lines run, boolean."""
    csf, grey, white = cortex.tissues
    neighbours = np.logical_or.reduce([region.neighbours for region in cortex.regions if region.side == side])
    tissue = csf + grey + white > LEAST_TISSUE
    known = neighbours & tissue & ~line
    if known.sum() < 100:
        nothing = np.zeros(even.shape, bool)
        return Darkness(np.zeros_like(even), nothing, nothing, 0.0)
    terms = _terms(cortex.tissues)
    weights = robust_fit(even[known], terms[:, known].T)
    usual = np.tensordot(weights, terms, axes=1)
    pure_grey = weights[1] + np.tensordot(weights[3:], _axes(even.shape), axes=1)
    ribbon = (grey > LEAST_GREY) & tissue
    with np.errstate(divide="ignore", invalid="ignore"):
        loss = np.where(ribbon, (usual - even) / (grey * pure_grey), 0.0)
        around = around_cortex(np.where(tissue, even / usual, 1.0), cortex)
    rest = loss[known & ribbon]
    noise = 1.4826 * float(np.median(np.abs(rest - np.median(rest)))) if rest.size else 0.0
    return Darkness(loss, ribbon, ribbon & ~line & (around > LEAST_AROUND), noise)


def without_field(cortex: Cortex) -> np.ndarray:
    """The brightness of the strip in units of its white matter, without the smooth field that its white matter shows, float32."""
    image = np.maximum(np.asarray(cortex.part.array, np.float32), 0.0)
    sure = np.flatnonzero((cortex.tissues[2] > PURE_WHITE) & (image > 0))
    if sure.size < 1000:
        raise NotMeasurable(say("the series shows too little white matter around the central sulcus"))
    chosen = sure[:: max(sure.size // 20000, 1)]
    terms = _smooth(_axes(image.shape))
    weights = robust_fit(np.log(image.ravel()[chosen]), terms.reshape(len(terms), -1)[:, chosen].T)
    return image / np.exp(np.tensordot(weights, terms, axes=1))


def robust_fit(values: np.ndarray, terms: np.ndarray) -> np.ndarray:
    """Weights (m,) of terms (n, m) that give values (n,), by least squares without outliers."""
    keep = np.ones(len(values), bool)
    for _ in range(FIT_ROUNDS):
        weights = np.linalg.lstsq(terms[keep], values[keep], rcond=None)[0]
        rest = np.abs(values - terms @ weights)
        keep = rest <= OUTLIER * 1.4826 * np.median(rest[keep]) + 1e-6
    return weights


def _axes(shape: tuple[int, ...]) -> np.ndarray:
    """Position along each axis, -1 to 1: (3, slice, row, column)."""
    return np.stack(np.meshgrid(*(np.linspace(-1, 1, size, dtype=np.float32) for size in shape), indexing="ij"))


def _smooth(axes: np.ndarray) -> np.ndarray:
    """The terms of a quadratic field."""
    x, y, z = axes
    return np.stack([np.ones_like(x), x, y, z, x * x, y * y, z * z, x * y, y * z, x * z])


def _terms(tissues: np.ndarray) -> np.ndarray:
    """The three tissues, and how the solid ones change with place: (6, slice, row, column)."""
    return np.concatenate([tissues, (tissues[1] + tissues[2]) * _axes(tissues.shape[1:])])


def contrast_of(cortex: Cortex, darkness: Darkness, region: Region) -> tuple[float, float] | str:
    """The contrast of a region and its standard error, or the reason why there is none."""
    if region.covered < LEAST_COVERED:
        return say("the field of view holds {share:.0f} % of this part of the motor cortex", share=100 * region.covered)
    if darkness.noise > MOST_NOISE:
        return say(
            "the cortex varies by {share:.0f} % from voxel to voxel: too much noise or motion to see a band",
            share=100 * darkness.noise,
        )
    bank, others = (patches_of(darkness, mask, cortex.part.spacing_mm) for mask in (region.bank, region.neighbours))
    ribbon = int((region.bank & darkness.ribbon).sum())
    usable = int((region.bank & darkness.usable).sum())
    if ribbon and usable < LEAST_USABLE * ribbon:
        return say("veins or signal loss cover more than half of this part of the motor cortex")
    if min(len(bank[0]), len(others[0])) < LEAST_PATCHES:
        return say("the series shows too little cortex of this part, or of its neighbours")
    contrast = darker_half(*bank) - darker_half(*others)
    spread = 1.4826 * np.median(np.abs(others[0] - np.median(others[0]))) / np.sqrt(len(bank[0]) / 2)
    return contrast, float(np.sqrt(spread**2 + ERROR**2 + (RELATIVE_ERROR * contrast) ** 2))


def patches_of(darkness: Darkness, mask: np.ndarray, spacing_mm: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The median loss in each patch of PATCH_MM of a mask, and how many voxels it has."""
    chosen = mask & darkness.usable
    loss, cell = darkness.loss[chosen], (np.argwhere(chosen) * spacing_mm // PATCH_MM).astype(int)
    if not len(loss):
        return np.zeros(0), np.zeros(0)
    _, patch, count = np.unique(cell, axis=0, return_inverse=True, return_counts=True)
    order = np.argsort(patch.ravel(), kind="stable")
    parts = np.split(loss[order], np.cumsum(count)[:-1])
    large = count >= LEAST_IN_PATCH
    return np.array([np.median(part) for part, enough in zip(parts, large, strict=True) if enough]), count[large]


def darker_half(loss: np.ndarray, count: np.ndarray) -> float:
    """The mean over the darker half of the cortex: patches with their loss and their number of voxels."""
    order = np.argsort(-loss)
    half = count.sum() / 2
    before = np.cumsum(count[order]) - count[order]
    weight = np.clip(half - before, 0, count[order])
    return float((loss[order] * weight).sum() / half)


def score_of(contrast: float) -> int:
    """0 none, 1 mild or a part of the region, 2 marked."""
    return sum(contrast >= least for least in SCORES_FROM)


def findings_of(scores: dict[tuple[str, str], int | None]) -> tuple[Finding, ...]:
    """By side: present where the sum of the patient reaches the cut-off and the side has its share of it. Parts that could not be
    measured count as 0 towards presence, and stand against absence."""
    total = sum(score or 0 for score in scores.values())
    return tuple(_finding(side, [scores[side, level] for level in LEVELS], total) for side in SIDES)


def _finding(side: Side, scores: list[int | None], total: int) -> Finding:
    known = [score for score in scores if score is not None]
    value, grade, reason = _verdict(known, len(scores) - len(known), total)
    return Finding(NAME + "_sign", value, concepts.MOTOR_BAND_SIGN, concepts.PRECENTRAL_GYRUS, side, grade, reason)


def _verdict(known: list[int], missing: int, total: int) -> tuple[Verdict, int | None, str | None]:
    own = sum(known)
    if not known:
        return "not assessed", None, say("no part of the motor cortex of this side could be measured")
    if total >= CUT_OFF and own >= SIDE_CUT_OFF:
        return "present", own, None
    if own:
        short = say("{needed} of 6 are needed on a side", needed=SIDE_CUT_OFF)
        if total < CUT_OFF:
            short = say("{total} of 12 on both sides, {needed} are needed", total=total, needed=CUT_OFF)
        return "indeterminate", own, say("slightly dark: the scores of this side sum to {own}; {short}", own=own, short=short)
    if missing:
        return "not assessed", None, say(
            "{missing} of 3 parts of the motor cortex of this side could not be measured; the others are not dark", missing=missing
        )
    return "absent", 0, None


def _pair(examination: Examination, side: Side, level: str, contrast: float, error: float) -> tuple[Measurement, Measurement]:
    """The contrast and the score of a region."""
    site, score = concepts.PRECENTRAL_GYRUS, float(score_of(contrast))
    return (
        Measurement(
            "motor_band_contrast", contrast, "1", concepts.BAND_CONTRAST, site, side, level, uncertainty=error, method=METHOD,
            **placed(examination, "motor_band_contrast", contrast, error, side, level, NO_REFERENCE),
        ),
        Measurement(
            "motor_band_score", score, "1", concepts.BAND_SCORE, site, side, level,
            method=say("1 where the contrast is at least {one}, 2 where it is at least {two}", one=SCORES_FROM[0], two=SCORES_FROM[1]),
            **placed(examination, "motor_band_score", score, None, side, level, NO_REFERENCE),
        ),
    )  # fmt: skip


def _mask(role: str, series: Volume, cortex: Cortex, region: Region, darkness: Darkness) -> Mask:
    """The cortex of a region that was measured, on the grid of the series."""
    whole = np.zeros(series.array.shape, bool)
    whole[cortex.box] = region.bank & darkness.usable
    return Mask(f"motor_band_{region.level}", role, whole, concepts.PRECENTRAL_GYRUS, region.side)


MARKER = Marker(NAME, VERSION, needs=(ROLES,), gives=GIVES, findings=(NAME + "_sign",), measure=measure, doc=__doc__)
