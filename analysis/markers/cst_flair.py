"""Brightness of the corticospinal tract on FLAIR, or on T2 where there is no FLAIR.

Gives: cst_flair_contrast (1: spreads of normal white matter above frontal and occipital white matter), left and right, for five levels;
the finding cst_hyperintensity; the mask `cst`.
Needs: a FLAIR or a T2 series of the head (role flair or t2); a T1 of the same study makes its place and its tissues surer.
Method: the uneven field is fitted to white matter without the tract; the tract is the atlas's, by level, without grey matter and CSF; the
value of a level is the median over sections across the tract of their medians, so that a vascular spot does not count; it is given above
the mean of frontal and occipital white matter, in units of the spread of deep white matter at 3 mm.
Trust: six series of two phantom heads that nothing was tuned on (seeds 11 and 12; with T1, 1.2 mm; tract 0, 9, 17 and 35 % brighter on one
or both sides, 24 vascular lesions, more noise): error 0.3 spreads (root mean square of 60 values), 0.8 at most; healthy levels −1.7 to
1.6, and 35 % is 6 to 10. The finding: healthy heads and sides absent, with the lesions too; 17 and 35 % present; 9 % missed (absent,
indeterminate). The tuning heads (seeds 1 and 3) again with axial slices of 5 and 6.5 mm, voxels of 2 mm, twice the noise, tissues by the
template alone: 0.3 to 0.7 (single level 2.0, at 6.5 mm), same findings. One real FLAIR of a presumably healthy head, without T1: −1.5 to
1.2, absent, spread 4.2 %. T2 on the phantom alone: 0.4 to 0.9. Twenty healthy phantom heads (seeds 11 to 30, other noise and voxels): 0.4
(200 values), 1.3 at most, no side found bright. A change is seen from 1.1 spreads on under the motor cortex and in the corona radiata, 1.5,
2.0 and 2.8 further down, and more where the tract is bright (stated errors): two phantom heads at three visits (seeds 221 and 222, without
T1, laid as made but for shifts of 1.5 mm; `benchmarks/change.py values --roles flair`) differed by 0.2 to 0.5 spreads within a head, half
of what is assumed, and a tract that was 5, 10 and 20 % brighter (1.2, 2.5 and 5.0 spreads) measured 1.2 to 1.5, 2.7 to 3.1 and 5.2 to 5.6
more by level, which was more than noise in 7, 18 and 20 of 20. Not measured: rescans, patients, a real T2, real vascular disease.
Refuses: what is not a head on FLAIR or T2; a series that does not lie over the T1; a field of view without frontal, occipital or enough
white matter; levels that the field of view does not hold.
References: Hecht 2001 (J Neurol Sci; the subcortical precentral white matter is the only level without physiological overlap); Zejlon 2022,
10.3389/fneur.2022.947347 (meta-analysis); PLoS One 2014, 10.1371/journal.pone.0104894 (spread units, reference white matter).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analysis import atlas, concepts
from analysis.examination import Examination
from analysis.marker import Marker
from analysis.outcome import MEASURED, Finding, Gap, Mask, Measurement, NotMeasurable, Outcome
from analysis.reference import placed
from analysis.steps.coregistration import Laid, on_template
from analysis.steps.signal import Signal, flair_signal, t2_signal, tissue_in
from analysis.steps.space import lps_grid, sample, share_inside
from analysis.volume import Volume
from analysis.words import joined, say

NAME, VERSION = "cst_flair", 3
LEVELS = ("subcortical", "corona_radiata", "plic", "peduncle", "pons")
DEEP_LEVELS = ("plic", "peduncle", "pons")  # where the template's white matter is a mixture, and no cortex lies near
LEAST_COVERED, LEAST_USABLE, LEAST_VOXELS = 0.95, 0.4, 6
WHITE, SOLID = 0.7, 0.9
LEAST_WEIGHT = 1e-3
SECTION_MM = 3.0
MARGIN_VOXELS = 2
# Chosen on phantom heads (seeds 1 to 3) and one real FLAIR: healthy levels reach 1.7, half the largest planted brightness 4.3 and more.
BRIGHT = {"subcortical": 2.5, "corona_radiata": 2.5, "plic": 4.0, "peduncle": 4.0, "pons": 4.0}
BRIGHT_BESIDE = 1.25
# One standard error: what phantoms and their resampled series showed together (Trust); more in the brainstem, where real heads are less
# well placed than the phantom.
ERROR = {"subcortical": 0.4, "corona_radiata": 0.4, "plic": 0.5, "peduncle": 0.7, "pons": 1.0}
ERROR_OF_UNIT = 0.1  # the spread itself
WORDS = {"flair": "FLAIR", "t2": "T2"}
NO_REFERENCE = say("no norm can be carried over from another scanner or protocol; compare with the site's own controls")
METHOD = say(
    "median over sections across the tract of their medians, minus frontal and occipital white matter, over the spread of white matter"
)
PHYSIOLOGICAL = say("a tract that is bright in the internal capsule, the peduncle or the pons is common in healthy people of every age")
OVERLAP = say(
    "A tract that is bright in the internal capsule, the peduncle or the pons is common in healthy people of every age: only the level "
    "under the motor cortex has no physiological overlap."
)
RULE = say(
    "Rule of the finding: present where the subcortical and the corona radiata level are both {upper:g} spreads or more above the "
    "reference and {beside:g} or more above the white matter beside the tract; one of them alone, or a lower level alone with {lower:g} "
    "spreads or more, is indeterminate.",
    upper=BRIGHT["subcortical"], beside=BRIGHT_BESIDE, lower=BRIGHT["plic"],
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Level:
    """One level of one side: its contrast and its voxels on the series, or the reason why there is none. `beside`: its contrast to the
    white matter beside the tract, None where there is none."""

    side: str
    level: str
    value: float | None = None
    voxels: np.ndarray | None = None
    beside: float | None = None
    reason: str | None = None


@dataclass(frozen=True, eq=False)
class Scene:
    """The box of the series around the tract: the atlas's labels, the weight of every voxel, its height on the template, its brightness in
    spreads above the reference, and by level which voxels are brain tissue of the right kind; all (slice, row, column) of the box."""

    box: tuple[slice, slice, slice]
    labels: np.ndarray
    weights: np.ndarray
    height_mm: np.ndarray
    brightness: np.ndarray
    usable: dict[str, np.ndarray]


def measure(examination: Examination) -> Outcome:
    role = "flair" if "flair" in examination.images else "t2"
    series = examination.image(role)
    series = series.with_array(np.asarray(series.array, np.float32))
    laid = on_template(examination, role)
    signal = examination.once(flair_signal if role == "flair" else t2_signal)
    levels = levels_of(series, laid, signal, examination)
    if all(level.value is None for level in levels):
        raise NotMeasurable(say("no level of the corticospinal tract can be measured: {reason}", reason=levels[0].reason))
    return Outcome(
        NAME,
        VERSION,
        MEASURED,
        measurements=tuple(_measurement(examination, level) for level in levels if level.value is not None),
        gaps=tuple(Gap("cst_flair_contrast", level.reason, level.side, level.level) for level in levels if level.value is None),
        findings=tuple(_finding(side, {one.level: one for one in levels if one.side == side}, role) for side in ("left", "right")),
        masks=tuple(
            Mask("cst", role, level.voxels, concepts.CORTICOSPINAL_TRACT, level.side, level.level)
            for level in levels
            if level.voxels is not None
        ),
        notes=notes(role, laid, signal),
    )


def scene_of(series: Volume, laid: Laid, signal: Signal, examination: Examination) -> Scene:
    """The part of the series that holds the tract."""
    box = tract_box(signal, series)
    part = series.part(box)
    template_lps = laid.place.template_on(part)
    seen = part.array > 0
    white = tissue_in(examination, laid, part, "white") > WHITE
    deep = white if laid.t1_from_series is not None else tissue_in(examination, laid, part, "grey", "white") > SOLID
    return Scene(
        box,
        sample(atlas.labels("tracts"), template_lps, order=0),
        np.maximum(sample(atlas.core(), template_lps), LEAST_WEIGHT),
        template_lps[2],
        signal.units(part),
        {level: seen & (deep if level in DEEP_LEVELS else white) for level in LEVELS},
    )


def levels_of(series: Volume, laid: Laid, signal: Signal, examination: Examination) -> tuple[Level, ...]:
    """Every level, left before right, in the order of LEVELS."""
    scene, thick_mm = scene_of(series, laid, signal, examination), section_mm(series, laid)
    tract, grid_lps = atlas.labels("tracts"), lps_grid(atlas.labels("tracts"))
    found = {}
    for one in (one for one in atlas.parts() if one.structure == "cst"):
        label, covered = scene.labels == one.label, share_inside(series, laid.place, grid_lps[:, tract.array == one.label])
        here = label & scene.usable[one.level]
        reason = reason_against(covered, label, here)
        if reason:
            found[one.level, one.side] = Level(one.side, one.level, reason=reason)
        else:
            voxels = np.zeros(series.array.shape, bool)
            voxels[scene.box] = here
            found[one.level, one.side] = measured(one, scene, signal, here, voxels, thick_mm)
    return tuple(found[level, side] for level in LEVELS for side in ("left", "right"))


def measured(one: atlas.Part, scene: Scene, signal: Signal, here: np.ndarray, voxels: np.ndarray, thick_mm: float) -> Level:
    """The level of the tract that lies `here` in the scene, and is `voxels` of the series."""
    height = scene.height_mm[here]
    value = along_tract(scene.brightness[here], scene.weights[here], height, thick_mm)
    beside = signal.beside_tract(float(height.min()), float(height.max()), one.side)
    return Level(one.side, one.level, value, voxels, None if beside is None else value - beside)


def reason_against(covered: float, label: np.ndarray, usable: np.ndarray) -> str | None:
    """Why a level cannot be measured, or None. `covered`: its share in the field of view; `label` and `usable`: its voxels."""
    if covered < LEAST_COVERED:
        return say("outside the field of view: the series holds {share:.0f} % of this level", share=100 * covered)
    if usable.sum() < max(LEAST_VOXELS, LEAST_USABLE * label.sum()):
        return say(
            "only {count} of the {whole} voxels of this level are white matter; the tract cannot be found there",
            count=int(usable.sum()), whole=int(label.sum()),
        )
    return None


def along_tract(values: np.ndarray, weights: np.ndarray, height_mm: np.ndarray, section_mm: float) -> float:
    """The median over sections across the tract of their weighted medians, all arrays (n,): what fills less than half of a section, or less
    than half of the sections, does not count. A vascular spot is so short; the change of a tract runs along it."""
    section = np.floor((height_mm - height_mm.min()) / section_mm).astype(int)
    return float(np.median([weighted_median(values[section == k], weights[section == k]) for k in np.unique(section)]))


def weighted_median(values: np.ndarray, weights: np.ndarray) -> float:
    """The value with half of the weight below it."""
    order = np.argsort(values)
    below = np.cumsum(weights[order].astype(float))
    return float(values[order][np.searchsorted(below, below[-1] / 2.0)])


def section_mm(series: Volume, laid: Laid) -> float:
    """How thick a section across the tract is on the template: no thinner than the slices of the series are along it."""
    template_from_index = laid.place.template_from_lps[:3, :3] @ series.lps_from_index[:3, :3]
    return max(SECTION_MM, float(np.abs(template_from_index[2]).max()))


def tract_box(signal: Signal, series: Volume) -> tuple[slice, slice, slice]:
    """The part of the series that holds the tract of both sides."""
    near = np.argwhere(signal.tract_mm < 1.0) if (signal.tract_mm < 1.0).any() else np.zeros((1, 3))
    index = np.linalg.inv(series.lps_from_index) @ signal.grid.lps_from_index @ np.c_[near, np.ones(len(near))].T
    size = np.array(series.array.shape)
    low = np.clip(np.floor(index[:3].min(1)) - MARGIN_VOXELS, 0, size - 1).astype(int)
    high = np.clip(np.ceil(index[:3].max(1)) + MARGIN_VOXELS + 1, low + 1, size).astype(int)
    return tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))


def _measurement(examination: Examination, level: Level) -> Measurement:
    error = float(np.hypot(ERROR[level.level], ERROR_OF_UNIT * level.value))
    return Measurement(
        "cst_flair_contrast", level.value, "1", concepts.FLAIR_CONTRAST, concepts.CORTICOSPINAL_TRACT, level.side, level.level,
        uncertainty=error, method=METHOD,
        **placed(examination, "cst_flair_contrast", level.value, error, level.side, level.level, NO_REFERENCE),
    )  # fmt: skip


def _finding(side: str, levels: dict[str, Level], role: str) -> Finding:
    value, reason = verdict(levels, role)
    return Finding("cst_hyperintensity", value, concepts.CST_HYPERINTENSITY, concepts.CORTICOSPINAL_TRACT, side, reason=reason)


def verdict(levels: dict[str, Level], role: str) -> tuple[str, str | None]:
    """Whether the tract of one side is bright along its way, and the reason for an answer that is neither present nor absent."""
    upper = [levels["subcortical"], levels["corona_radiata"]]
    missing = [words(one.level) for one in upper if one.value is None]
    if missing:
        return "not assessed", say("it needs the upper levels of the tract; not measured: {levels}", levels=joined(missing))
    bright = [name for name in LEVELS if levels[name].value is not None and levels[name].value >= BRIGHT[name]]
    if not bright:
        return "absent", None
    named = joined([words(name) for name in bright])
    if not {"subcortical", "corona_radiata"} <= set(bright):
        not_both = say("bright at {named}, but not both under the motor cortex and in the corona radiata", named=named)
        return "indeterminate", joined([not_both, PHYSIOLOGICAL], "; ") if set(bright) <= set(DEEP_LEVELS) else not_both
    if any(one.beside is not None and one.beside < BRIGHT_BESIDE for one in upper):
        beside = say("bright at {named}, but the white matter beside the tract is bright as well: this is not the tract alone", named=named)
        return "indeterminate", beside
    if role == "t2":
        on_t2 = say("bright at {named}, but on T2, where healthy tracts are often bright; the rule was made on FLAIR", named=named)
        return "indeterminate", on_t2
    return "present", None


def words(level: str) -> str:
    return {"plic": "internal capsule"}.get(level, level.replace("_", " "))


def notes(role: str, laid: Laid, signal: Signal) -> tuple[str, ...]:
    """Sentences for the reader of the report."""
    alone = say("placed on the template directly, as there is no usable T1 series")
    place = alone if laid.t1_from_series is None else say("laid over the T1 series")
    return (
        say(
            "Measured on the {series} series, {place}; one spread of its white matter is {share:.1f} % of its brightness.",
            series=WORDS[role], place=place, share=100 * signal.spread,
        ),
        OVERLAP,
        RULE,
    )


MARKER = Marker(
    NAME, VERSION, needs=(("flair", "t2"),), gives=("cst_flair_contrast",), findings=("cst_hyperintensity",), measure=measure, doc=__doc__
)
