"""How bright a FLAIR or a T2 series is, in units of normal white matter: the patient's own, as such images have no units.

0 is the reference white matter, deep in the frontal and the occipital lobe; 1 is the spread of deep white matter above the brainstem, its
robust standard deviation at a fixed resolution. The resolution makes the unit the same for small and large voxels and leaves little of the
noise in it. The uneven field is fitted to white matter alone, with few degrees of freedom and without the corticospinal tract and its
surroundings: fitted to the whole brain it takes deep grey matter for shading, and could take a bright tract for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy import ndimage

from analysis import atlas
from analysis.examination import Examination
from analysis.outcome import NotMeasurable
from analysis.steps.coregistration import Laid, on_template
from analysis.steps.space import ants_image, ants_scratch, onto, sample
from analysis.steps.tissue import tissue_fractions
from analysis.volume import Volume
from analysis.words import joined, say

RESOLUTION_MM = 3.0  # full width at half maximum of what the spread is taken from
FIELD_ROUNDS = (50, 50)  # knots 200 and then 100 mm apart; with closer ones the brainstem was up to 4 % wrong (phantom, seed 1)
FIELD_SHRINK = 2
DEEP_WHITE, SOME_WHITE = 0.9, 0.8
BESIDE_TRACT_MM, REACH_MM, FAR_MM = 4.0, 12.0, 100.0
LEAST_REFERENCE_ML, LEAST_DEEP_ML = 0.3, 20.0
LOBES = ("frontal", "occipital")


@dataclass(frozen=True, eq=False)
class Signal:
    """`brightness`: what `units` gives for the 2 mm `grid` of the placement. `white`: the fraction of it there, 0 out of
    view. `tract_mm`: distance from the corticospinal tract of either side. `reference`: brightness of the reference in the series' own
    numbers; `spread`: of white matter, as a share of it. `field`: log of the uneven field."""

    grid: Volume
    template_lps: np.ndarray
    brightness: np.ndarray
    white: np.ndarray
    tract_mm: np.ndarray
    field: np.ndarray
    reference: float
    spread: float

    def units(self, part: Volume) -> np.ndarray:
        """A part of the series in units of the spread of white matter above its reference, float32."""
        even = part.array / np.exp(onto(self.grid.with_array(self.field), part))
        return ((even / self.reference - 1.0) / self.spread).astype(np.float32)

    def beside_tract(self, low_mm: float, high_mm: float, side: str) -> float | None:
        """The median of the white matter beside the tract between two heights on the template; None where there is none."""
        x, _, z = self.template_lps
        here = (self.white > DEEP_WHITE) & (self.tract_mm > BESIDE_TRACT_MM) & (self.tract_mm < REACH_MM)
        here &= (z >= low_mm) & (z < high_mm) & ((x > 0) == (side == "left"))
        return float(np.median(self.brightness[here])) if here.sum() * self.grid.voxel_ml > LEAST_REFERENCE_ML else None


def flair_signal(examination: Examination) -> Signal:
    """The signal of the FLAIR, which several markers look at."""
    return _signal(examination, "flair")


def t2_signal(examination: Examination) -> Signal:
    """The signal of the T2."""
    return _signal(examination, "t2")


def _signal(examination: Examination, role: str) -> Signal:
    series = examination.image(role)
    return signal_of(series.with_array(np.asarray(series.array, np.float32)), on_template(examination, role), examination)


def signal_of(series: Volume, laid: Laid, examination: Examination) -> Signal:
    """The signal of a series that lies on the template. NotMeasurable where too little normal white matter is in view."""
    grid, template_lps = laid.place.grid, laid.place.template_lps
    seen = onto(series.with_array((series.array > 0).astype(np.float32)), grid) > 0.5
    white = np.where(seen, tissue_in(examination, laid, grid, "white"), 0.0)
    tract_mm = FAR_MM - sample(_nearness(), template_lps)
    field = log_field(grid, (white > DEEP_WHITE) & (tract_mm > BESIDE_TRACT_MM))
    even = grid.array / np.exp(field)
    reference = reference_level(even, white, template_lps, grid.voxel_ml)
    deep = (white > DEEP_WHITE) & (tract_mm > BESIDE_TRACT_MM) & (template_lps[2] > 0)
    spread = spread_of(grid.with_array(even), white, deep, series.spacing_mm) / reference
    return Signal(grid, template_lps, (even / reference - 1.0) / spread, white, tract_mm, field, reference, spread)


def tissue_in(examination: Examination, laid: Laid, grid: Volume, *names: str) -> np.ndarray:
    """The fraction of the tissues with those names ("grey", "white"), added up, in the voxels of a grid of the series: by the T1 that the
    series was laid over, else the template's."""
    if laid.t1_from_series is None:
        layers = sum(sample(atlas.template()[name], laid.place.template_lps) for name in names)
        return averaged(laid.place.grid.with_array(layers), grid)
    tissue = examination.once(tissue_fractions)
    lps_from_index = np.linalg.inv(laid.t1_from_series) @ examination.image("t1").lps_from_index
    return averaged(Volume(sum(getattr(tissue, name) for name in names), lps_from_index), grid)


def averaged(source: Volume, grid: Volume) -> np.ndarray:
    """The mean of `source` over each voxel of a grid of the same space, by points as far apart as its own voxels; 0 outside."""
    counts = np.clip(np.round(grid.spacing_mm / source.spacing_mm.max()), 1, 6).astype(int)
    offsets = np.stack(np.meshgrid(*((np.arange(n) + 0.5) / n - 0.5 for n in counts), indexing="ij"), axis=-1).reshape(-1, 3)
    total = np.zeros(grid.array.shape, np.float32)
    for offset in offsets:
        index_from_index = np.eye(4)
        index_from_index[:3, 3] = offset
        total += onto(source, Volume(grid.array, grid.lps_from_index @ index_from_index))
    return total / np.float32(len(offsets))


def log_field(grid: Volume, normal: np.ndarray) -> np.ndarray:
    """The log of the uneven field (N4) by the white matter `normal`, continued smoothly everywhere; float32."""
    if normal.sum() * grid.voxel_ml < LEAST_DEEP_ML:
        raise NotMeasurable(say(
            "less than {least_ml:.0f} ml of white matter lie in the field of view: there is nothing to compare with",
            least_ml=LEAST_DEEP_ML,
        ))
    with ants_scratch() as (ants, _):
        field = ants.n4_bias_field_correction(
            ants_image(grid), mask=ants_image(grid.with_array(normal.astype(np.float32))), shrink_factor=FIELD_SHRINK,
            convergence={"iters": list(FIELD_ROUNDS), "tol": 1e-7}, return_bias_field=True,
        )  # fmt: skip
        return np.log(np.maximum(field.numpy(), 1e-3)).astype(np.float32)


def reference_level(even: np.ndarray, white: np.ndarray, template_lps: np.ndarray, voxel_ml: float) -> float:
    """The mean of both lobes of the medians of their reference white matter, left and right."""
    labels = sample(atlas.labels("white_matter"), template_lps, order=0)
    by_lobe: dict[str, list[float]] = {lobe: [] for lobe in LOBES}
    for part in atlas.parts():
        if part.structure == "reference_white_matter":
            values = even[(labels == part.label) & (white > SOME_WHITE)]
            if len(values) * voxel_ml >= LEAST_REFERENCE_ML:
                by_lobe[part.level].append(float(np.median(values)))
    absent = [lobe for lobe, medians in by_lobe.items() if not medians]
    if absent:
        lobes = joined(absent, " and ")
        raise NotMeasurable(say("the {lobes} white matter that the tract is compared with is not in the field of view", lobes=lobes))
    return float(np.mean([np.mean(medians) for medians in by_lobe.values()]))


def spread_of(even: Volume, white: np.ndarray, deep: np.ndarray, spacing_mm: np.ndarray) -> float:
    """The robust standard deviation of deep white matter at a resolution of RESOLUTION_MM, white matter alone being blurred. `spacing_mm`:
    of the series along the same axes; an axis that is coarser than the resolution stays as it is."""
    resolved_mm = np.maximum(even.spacing_mm, spacing_mm)
    sigma = np.sqrt(np.maximum(RESOLUTION_MM**2 - resolved_mm**2, 0.0)) / 2.355 / even.spacing_mm
    weight = (white > SOME_WHITE).astype(np.float32)
    smooth = ndimage.gaussian_filter(even.array * weight, sigma)[deep] / ndimage.gaussian_filter(weight, sigma)[deep]
    return float(1.4826 * np.median(np.abs(smooth - np.median(smooth))))


@cache
def _nearness() -> Volume:
    """How much nearer than FAR_MM the corticospinal tract of either side is, mm, on the template at 1 mm: what lies outside is far."""
    labels = atlas.labels("tracts")
    tract = np.isin(labels.array, [part.label for part in atlas.parts() if part.structure == "cst"])
    distance_mm = ndimage.distance_transform_edt(~tract)
    return labels.with_array(np.maximum(FAR_MM - distance_mm, 0.0).astype(np.float32))
