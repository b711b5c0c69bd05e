"""Lesions of the white matter on a FLAIR: which voxels, how many, in which region.

A logistic regression of what a voxel shows (`lesion_features`), learned on synthetic heads alone, gives a belief. A voxel with a high
one, as bright as grey matter and in no cistern, says that there is a lesion; how far it reaches is told by brightness alone, part of the
way from the local white matter to the brightest such voxel near by: so its volume does not grow with the belief. It counts from 3 mm on.
What lies along the corticospinal tract and is long and thin is the tract's own signal, for `cst_flair` to measure, and no lesion. The T1,
where there is one, tells which lesions are dark on it.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files

import numpy as np
from scipy import ndimage
from scipy.special import expit

from analysis import atlas
from analysis.examination import Examination
from analysis.outcome import NotMeasurable
from analysis.steps.coregistration import Laid, on_template
from analysis.steps.lesion_features import NAMES, STEP_MM, Features, features_of
from analysis.steps.lesion_priors import infratentorial, priors_at
from analysis.steps.space import coarser, onto, sample
from analysis.steps.tissue import tissue_fractions
from analysis.volume import Volume
from analysis.words import say

REGIONS = ("periventricular", "juxtacortical", "infratentorial", "deep")
THICKEST_MM = 3.5
LEAST_CONTRAST = 1.2  # of grey to white matter, in spreads of white matter; 3.9 to 5.8 on phantoms
FARTHEST = 5.0  # as in training
# Chosen on phantom heads of the seeds 41, 43, 44 and 51 (Trust of the marker says what others gave)
POSSIBLE = 0.3  # belief
EDGE, SMOOTH_VOXELS = 0.43, 0.4  # of the way from white matter to the lesion's own brightness
NEAR_VOXELS, GROWS_VOXELS = 7, 3
LEAST_LENGTH_MM, LEAST_VOXELS = 3.0, 8
TOUCHES_MM = 2.5  # of the wall: a voxel between, of lesion and fluid, is as bright as white matter
GREY, CORTEX_VOXELS = 0.5, 3  # the template's: on a T1 a dark lesion is grey, and would be cortex
DARK_ON_T1 = 0.55  # of the way from white to grey matter
ON_TRACT, IS_TRACT, TRACT_LENGTH_MM, TRACT_SLENDER = 0.3, 0.6, 12.0, 2.0
MARGIN_VOXELS = 4
TOUCHING = np.ones((3, 3, 3))


@dataclass(frozen=True, eq=False)
class Lesion:
    """`voxels` (n, 3) on the grid of the `Lesions`. `region`: where it stands; `touches`: all regions that it touches. `is_dark`: on T1,
    None without one. `tract`: the side of the corticospinal tract that it lies on, or None."""

    voxels: np.ndarray
    region: str
    touches: frozenset[str]
    length_mm: float
    volume_ml: float
    is_dark: bool | None
    tract: str | None


@dataclass(frozen=True, eq=False)
class Lesions:
    """What was found, largest first, on a `grid` of 1 mm along the axes of the FLAIR. `tract_signal_ml`: bright along the tract, by side,
    and no lesion."""

    grid: Volume
    found: tuple[Lesion, ...]
    tract_signal_ml: dict[str, float] = field(default_factory=dict)

    def labels_on(self, series: Volume) -> np.ndarray:
        """The number of the region (1 for the first of REGIONS) in the voxels of the series, 0 outside lesions; uint8."""
        labels = np.zeros(self.grid.array.shape, np.uint8)
        for lesion in self.found:
            labels[tuple(lesion.voxels.T)] = 1 + REGIONS.index(lesion.region)
        out = np.zeros(series.array.shape, np.uint8)
        box = _box_on(self.grid, np.ones(self.grid.array.shape, bool), series)
        part = series.part(box)
        out[box] = onto(self.grid.with_array(labels), part, order=0)
        return out


@dataclass(frozen=True, eq=False)
class Surroundings:
    """What a lesion is told by, on the grid: distance from the ventricles in mm, cortex, what is infratentorial, the tract's side (1 left,
    2 right), and how dark the T1 is (0 white, 1 grey matter; None without one)."""

    ventricle_mm: np.ndarray
    cortex: np.ndarray
    below: np.ndarray
    tract: np.ndarray
    darkness: np.ndarray | None


def lesions_on_flair(examination: Examination) -> Lesions:
    """The lesions on the FLAIR. NotMeasurable where it is too coarse or too poor to see them."""
    series = examination.image("flair")
    refuse_thick(series)
    laid = on_template(examination, "flair")
    grid, template_lps = fine_grid(series, laid)
    features = features_of(grid.array, priors_at(template_lps))
    contrast = features.values[0, -1] if len(features.values) else 0.0
    if contrast < LEAST_CONTRAST:
        raise NotMeasurable(say(
            "grey and white matter cannot be told apart on the FLAIR: too much noise or motion, or too little contrast"
        ))
    voxels = lesion_voxels(features, belief_of(features))
    return told_apart(grid, voxels, surroundings(examination, laid, grid, template_lps, features))


def refuse_thick(series: Volume) -> None:
    longest_mm = float(series.spacing_mm.max())
    if longest_mm > THICKEST_MM:
        raise NotMeasurable(say(
            "the voxels of the FLAIR are {longest:.1f} mm long, at most {most:.1f} mm are needed: lesions of 3 mm would be missed",
            longest=longest_mm, most=THICKEST_MM,
        ))  # fmt: skip


def fine_grid(series: Volume, laid: Laid) -> tuple[Volume, np.ndarray]:
    """The brain of the series at 1 mm, and where its voxels are on the template."""
    inside = sample(_inside(), laid.place.template_lps) > 0.5
    part = series.part(_box_on(laid.place.grid, inside, series))
    grid = coarser(part.with_array(np.asarray(part.array, np.float32)), STEP_MM)
    return grid, laid.place.template_on(grid)


@cache
def _inside() -> Volume:
    layer = atlas.template()["inside"]
    return layer.with_array(layer.array.astype(np.float32))


def _box_on(grid: Volume, where: np.ndarray, series: Volume) -> tuple[slice, slice, slice]:
    """The box of the series that holds the voxels of a grid along the same axes."""
    edges = [np.flatnonzero(where.any(axis=tuple(one for one in range(3) if one != axis)))[[0, -1]] for axis in range(3)]
    corners = np.array(edges, float).T
    index = np.linalg.inv(series.lps_from_index) @ grid.lps_from_index @ np.c_[corners, [1, 1]].T
    low, high = index[:3].min(1) - MARGIN_VOXELS, index[:3].max(1) + MARGIN_VOXELS
    return tuple(slice(int(max(a, 0)), int(min(b + 1, size))) for a, b, size in zip(low, high, series.array.shape, strict=True))


@cache
def weights() -> dict[str, tuple[float, float, float]]:
    """Mean, spread and weight by feature, with `constant` and `threshold`."""
    text = (files(atlas) / "lesion_weights.csv").read_text(encoding="utf-8")
    return {row["feature"]: (float(row["mean"]), float(row["spread"]), float(row["weight"])) for row in csv.DictReader(text.splitlines())}


def belief_of(features: Features) -> np.ndarray:
    """How much every voxel looks like a lesion, 0 to 1, on the grid of the features."""
    mean, spread, weight = np.array([weights()[name] for name in NAMES], np.float32).T
    terms = np.clip((features.values - mean) / spread, -FARTHEST, FARTHEST)
    belief = np.zeros(features.candidates.shape, np.float32)
    belief[features.candidates] = expit(terms @ weight + weights()["constant"][2])
    return belief


def surroundings(examination: Examination, laid: Laid, grid: Volume, template_lps: np.ndarray, features: Features) -> Surroundings:
    """What lies around, by the template and, where there is one, by the T1."""
    grey = sample(atlas.template()["grey"], template_lps)
    darkness = None
    if laid.t1_from_series is not None:
        tissue = examination.once(tissue_fractions)
        place = np.linalg.inv(laid.t1_from_series) @ examination.image("t1").lps_from_index
        darkness = (1.0 - onto(Volume(tissue.even_t1, place), grid)) / (1.0 - tissue.brightness[1])
    labels = sample(atlas.labels("tracts"), template_lps, order=0)
    tract = np.zeros(grid.array.shape, np.uint8)
    for part in atlas.parts():
        if part.structure == "cst":
            tract[labels == part.label] = 1 if part.side == "left" else 2
    ventricle_mm = ndimage.distance_transform_edt(~features.ventricle) * STEP_MM if features.ventricle.any() else np.full(grey.shape, 99.0)
    below = infratentorial(template_lps)
    return Surroundings(ventricle_mm, (grey > GREY) & ~below, below, tract, darkness)


def lesion_voxels(features: Features, belief: np.ndarray) -> np.ndarray:
    """Which voxels are lesion, of any size: boolean, on the grid."""
    bright = ndimage.gaussian_filter(features.relative, SMOOTH_VOXELS)
    sure = (belief > weights()["threshold"][2]) & (bright > 1 + features.step) & ~features.cistern
    peak = ndimage.maximum_filter(np.where(sure, bright, np.float32(0)), NEAR_VOXELS)
    near = ndimage.binary_dilation(sure, iterations=GROWS_VOXELS)
    names, count = ndimage.label(near & (belief > POSSIBLE) & (bright > 1 + EDGE * (peak - 1)), TOUCHING)
    is_sure = np.bincount(names[sure], minlength=count + 1) > 0
    is_sure[0] = False
    return is_sure[names]


def told_apart(grid: Volume, lesion: np.ndarray, around: Surroundings) -> Lesions:
    """The lesions among the voxels (boolean) that look like one."""
    names, _ = ndimage.label(lesion, TOUCHING)
    near_tract = ndimage.grey_dilation(around.tract, size=3)
    found, signal = [], {"left": 0.0, "right": 0.0}
    for number, box in enumerate(ndimage.find_objects(names), start=1):
        voxels = np.argwhere(names[box] == number) + [side.start for side in box]
        length_mm, width_mm = extent_mm(voxels)
        if len(voxels) < LEAST_VOXELS or length_mm < LEAST_LENGTH_MM:
            continue
        on = near_tract[tuple(voxels.T)]
        if (on > 0).mean() > IS_TRACT and length_mm > max(TRACT_LENGTH_MM, TRACT_SLENDER * width_mm):
            signal["left" if (on == 1).sum() > (on == 2).sum() else "right"] += len(voxels) * grid.voxel_ml
        else:
            found.append(lesion_of(voxels, length_mm, grid.voxel_ml, around))
    found.sort(key=lambda one: -one.volume_ml)
    return Lesions(grid, tuple(found), {side: ml for side, ml in signal.items() if ml > 0})


def extent_mm(voxels: np.ndarray) -> tuple[float, float]:
    """The length along the main axis, and the width along the second one, mm: from end to end, with a voxel's own size."""
    centred = voxels - voxels.mean(0)
    _, _, axes = np.linalg.svd(centred, full_matrices=False) if len(voxels) > 2 else (None, None, np.eye(3))
    size = np.ptp(centred @ axes.T, axis=0) + 1
    return float(size[0]) * STEP_MM, float(size[1]) * STEP_MM


def lesion_of(voxels: np.ndarray, length_mm: float, voxel_ml: float, around: Surroundings) -> Lesion:
    """One lesion with its region: infratentorial before periventricular before juxtacortical, else deep."""
    at = tuple(voxels.T)
    touches = set()
    if around.below[at].mean() > 0.5:
        touches.add("infratentorial")
    else:
        if around.ventricle_mm[at].min() <= TOUCHES_MM:
            touches.add("periventricular")
        if cortex_beside(voxels, around.cortex) >= CORTEX_VOXELS:
            touches.add("juxtacortical")
    region = next((one for one in ("infratentorial", "periventricular", "juxtacortical") if one in touches), "deep")
    is_dark = None if around.darkness is None else bool(np.percentile(around.darkness[at], 60) > DARK_ON_T1)
    on = around.tract[at]
    side = None if (on > 0).mean() < ON_TRACT else "left" if (on == 1).sum() > (on == 2).sum() else "right"
    return Lesion(voxels, region, frozenset(touches or {"deep"}), length_mm, len(voxels) * voxel_ml, is_dark, side)


def cortex_beside(voxels: np.ndarray, cortex: np.ndarray) -> int:
    """How many voxels of cortex touch a lesion, itself left out."""
    low, high = np.maximum(voxels.min(0) - 2, 0), voxels.max(0) + 3
    box = tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    own = np.zeros(cortex[box].shape, bool)
    own[tuple((voxels - low).T)] = True
    return int((ndimage.binary_dilation(own, np.ones((3, 3, 3))) & ~own & cortex[box]).sum())
