"""How freely water moves in every voxel of the brain, and how bright it is with diffusion weighting: what an infarct is told by.

Where the series gives a tensor, mean diffusivity is the apparent diffusion coefficient (ADC), and the trace-weighted image is what b = 0
and it make; motion and distortion are out of both. A series of b = 0 and a trace image, or of fewer than six directions, is taken as it is:
the ADC is the logarithm of the ratio of b = 0 and the geometric mean. Both are smoothed to a fixed resolution inside the brain. Brightness
is relative to the patient's own brain, without a smooth field; nothing here is an absolute threshold.

Without a tensor the place on the template is rough, and whether it is a brain at all is said by where water is free: the correlation of the
ADC with the template's fluid was 0.80 to 0.84 on two phantoms (seeds 62 and 101; also with slices of 5 mm, the upper half alone, turned by
26 degrees), 0.77 and 0.69 on two real heads (b = 0 and the mean of their directions), and at most 0.14 on computed bodies: lumbar spine
axial 0.09 and sagittal -0.15, chest 0.14, a ball -0.01. Knees and a thigh have too little of what could be brain.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

from analysis import atlas
from analysis.examination import Examination
from analysis.outcome import NotMeasurable
from analysis.steps.diffusion import diffusion_brain, diffusion_on_template, diffusion_tensor
from analysis.steps.diffusion_prediction import B_ZERO_S_MM2
from analysis.steps.space import Placement, affine_of, ants_image, ants_scratch, around, coarser, lps_grid, sample
from analysis.volume import Diffusion, Volume
from analysis.words import say

WANTED_B_S_MM2, LEAST_B_S_MM2, SAME_B_S_MM2 = 1000.0, 500.0, 100.0
RESOLUTION_MM = 3.0  # full width at half maximum
MOST_ADC = 3.0  # of water at body temperature
FLUID_ADC = 1.2  # 10⁻³ mm²/s: above, a voxel is at least half fluid
EDGE_MM, LEAST_ML = 4.0, 200.0
FIELD_ROUNDS, OUTLIER = 6, 2.5
TRACE_SHRINK, ROUGH_STEP_MM = 4, 2.0
SMOOTH_MM, CORE_MM, LEAST_SIMILARITY = 5.0, 6.0, 0.4


@dataclass(frozen=True, eq=False)
class Water:
    """On the grid of the diffusion series. `adc` (10⁻³ mm²/s) and `brightness` (1 is the patient's brain tissue), 0 outside `brain`;
    `still`: brightness without weighting, likewise. `depth_mm`: from the surface of the brain. `usual_adc`: the median of tissue,
    `spread`: of log brightness in tissue (robust). `place`: where the grid lies on the template."""

    grid: Volume
    brain: np.ndarray
    adc: np.ndarray
    brightness: np.ndarray
    still: np.ndarray
    depth_mm: np.ndarray
    usual_adc: float
    spread: float
    place: Placement

    def mirrored(self, values: np.ndarray) -> np.ndarray:
        """The values of the place on the other side of the head, by the affine part of the placement; 0 where it is out of view."""
        return sample(self.grid.with_array(values), self.place.mirrored_lps(self.grid))


def brain_water(examination: Examination) -> Water:
    """The water of the diffusion series. NotMeasurable where it has no b = 0, no weighting, or is no brain."""
    try:
        tensor, place = examination.once(diffusion_tensor), examination.once(diffusion_on_template)
    except NotMeasurable:
        return _of_trace(examination)
    b_zero = tensor.b_zero
    return water_of(b_zero, b_zero.array * np.exp(-tensor.b_value_s_mm2 * tensor.md), tensor.b_value_s_mm2, tensor.brain, place)


def _of_trace(examination: Examination) -> Water:
    """From a series that gives no tensor, or whose directions cannot be trusted: they do not matter here."""
    b_zero, weighted, b_s_mm2 = trace_of(examination.image("dwi"))
    brain = diffusion_brain(b_zero, TRACE_SHRINK)
    water = water_of(b_zero, weighted, b_s_mm2, brain, roughly_placed(b_zero, brain))
    similarity = fluid_similarity(water)
    if similarity < LEAST_SIMILARITY:
        raise NotMeasurable(say(
            "the diffusion series does not look like a brain: the correlation of free water with the fluid of the template is "
            "{similarity:.2f}, at least {least} is needed", similarity=similarity, least=LEAST_SIMILARITY,
        ))
    return replace(water, place=replace(water.place, similarity=similarity))


def fluid_similarity(water: Water) -> float:
    """The correlation of the ADC with the fluid of the template, deep in the head and at a resolution that forgives a rough placement; 0
    where there is too little to compare."""
    layers = atlas.template()
    fluid = np.clip(layers["inside"].array - layers["grey"].array - layers["white"].array, 0, 1).astype(np.float32)
    there = sample(layers["grey"].with_array(fluid), water.place.template_lps)
    inside = sample(layers["grey"].with_array(layers["inside"].array.astype(np.float32)), water.place.template_lps) > 0.5
    core = inside & (water.depth_mm > CORE_MM)
    if core.sum() * water.grid.voxel_ml < LEAST_ML:
        return 0.0
    sigma = SMOOTH_MM / 2.355 / water.grid.spacing_mm
    found, wanted = (ndimage.gaussian_filter(image, sigma)[core] for image in (np.clip(water.adc, 0, MOST_ADC), there))
    return float(np.corrcoef(found, wanted)[0, 1]) if found.std() > 0 else 0.0


def trace_of(series: Diffusion) -> tuple[Volume, np.ndarray, float]:
    """b = 0, the geometric mean of the shell nearest to b 1000, and its b-value. NotMeasurable where directions would not average out."""
    b = series.b_values_s_mm2
    if not (b <= B_ZERO_S_MM2).any():
        raise NotMeasurable(say("the diffusion series has no volume without diffusion weighting (b = 0)"))
    strong = b[b >= LEAST_B_S_MM2]
    if not len(strong):
        raise NotMeasurable(say("the diffusion series has no volume with a b-value of at least {least:.0f} s/mm²", least=LEAST_B_S_MM2))
    wanted = strong[np.argmin(np.abs(strong - WANTED_B_S_MM2))]
    chosen = np.abs(b - wanted) <= SAME_B_S_MM2
    directed = series.b_vectors_lps[chosen]
    has_trace = ~directed.any(axis=1)
    if has_trace.any():
        chosen[np.flatnonzero(chosen)[~has_trace]] = False
    elif np.linalg.matrix_rank(directed, tol=0.3) < 3:
        raise NotMeasurable(say("the diffusion series has fewer than three independent directions and no trace image"))
    weighted = np.exp(np.log(np.maximum(series.array[..., chosen], 0.5)).mean(axis=-1))
    return series.mean_where(b <= B_ZERO_S_MM2), weighted, float(b[chosen].mean())


def water_of(b_zero: Volume, weighted: np.ndarray, b_s_mm2: float, brain: np.ndarray, place: Placement) -> Water:
    """The water of a brain (boolean) from an image without weighting and one with it."""
    sigma = RESOLUTION_MM / 2.355 / b_zero.spacing_mm
    share = np.maximum(ndimage.gaussian_filter(brain.astype(np.float32), sigma), 1e-3)
    images = (np.where(brain, image, 0.0).astype(np.float32) for image in (b_zero.array, weighted))
    still, moved = (ndimage.gaussian_filter(image, sigma) / share for image in images)
    low = 1e-3 * float(np.median(still[brain]))
    still, moved = np.maximum(still, low), np.maximum(moved, low)
    adc = 1000.0 * np.log(still / moved) / b_s_mm2
    depth_mm = ndimage.distance_transform_edt(np.pad(brain, 1), sampling=b_zero.spacing_mm)[1:-1, 1:-1, 1:-1]
    tissue = brain & (depth_mm > EDGE_MM) & (adc > 0.0) & (adc < FLUID_ADC)
    if tissue.sum() * b_zero.voxel_ml < LEAST_ML:
        raise NotMeasurable(say(
            "the diffusion series shows less than {least:.0f} ml of brain tissue: there is nothing to compare with", least=LEAST_ML
        ))
    even, even_still = (without_field(np.log(image), tissue) for image in (moved, still))
    spread = 1.4826 * float(np.median(np.abs(even[tissue])))
    bright, bright_still = np.exp(even) * brain, np.exp(even_still) * brain
    usual_adc = float(np.median(adc[tissue]))
    return Water(b_zero, brain, adc * brain, bright, bright_still, depth_mm, usual_adc, spread, place)


def without_field(log_image: np.ndarray, tissue: np.ndarray) -> np.ndarray:
    """A log image less the smooth quadratic field that its tissue (boolean) shows, outliers left out."""
    axes = np.meshgrid(*(np.linspace(-1, 1, size, dtype=np.float32) for size in log_image.shape), indexing="ij")
    x, y, z = axes
    terms = np.stack([np.ones_like(x), x, y, z, x * x, y * y, z * z, x * y, y * z, x * z])
    known = np.flatnonzero(tissue)
    known = known[:: max(known.size // 20000, 1)]
    values, rows = log_image.ravel()[known], terms.reshape(len(terms), -1)[:, known].T
    keep = np.ones(len(values), bool)
    for _ in range(FIELD_ROUNDS):
        weights = np.linalg.lstsq(rows[keep], values[keep], rcond=None)[0]
        rest = values - rows @ weights
        keep = np.abs(rest) <= OUTLIER * 1.4826 * np.median(np.abs(rest[keep])) + 1e-6
    return log_image - np.tensordot(weights, terms, axes=1)


def roughly_placed(b_zero: Volume, brain: np.ndarray) -> Placement:
    """Where the series lies on the template, without a warp: rigid, then of the right size. Its `similarity` is 0: the caller says it."""
    layers = atlas.template()
    fixed = coarser(layers["brain"].part(around(layers["inside"], 4)), ROUGH_STEP_MM)
    with ants_scratch() as (ants, _):
        still, options = ants_image(b_zero.with_array(b_zero.array * brain)), {"aff_metric": "mattes", "aff_random_sampling_rate": 0.5}
        file = ants.registration(ants_image(fixed), still, "Rigid", **options)["fwdtransforms"][0]
        file = ants.registration(ants_image(fixed), still, "Similarity", initial_transform=file, **options)["fwdtransforms"][0]
        matrix = np.linalg.inv(affine_of(ants, file))
    lps = lps_grid(b_zero)
    template_lps = np.tensordot(matrix[:3, :3].astype(np.float32), lps, axes=1) + matrix[:3, 3].astype(np.float32).reshape(3, 1, 1, 1)
    return Placement(b_zero, template_lps, matrix, 0.0)
