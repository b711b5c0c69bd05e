"""What a mass does to a head: the midline it pushes, the ventricle it presses, the brain it darkens on one side, what takes up contrast.

The midline is that of the template as the warp found it in the patient: how far the wall between the lateral ventricles lies from the plane
through the frontal and the occipital edge of the middle. A dark region is brain that is darker on T1 than white and grey matter are, and
than the same place of the other side. Enhancement is the quotient of the T1 with and without contrast, without the places where every head
takes it up: sinuses and dura at the surface, the veins of the middle, the plexus of the ventricles, the pituitary and the base around it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from analysis import atlas
from analysis.examination import Examination
from analysis.outcome import NotMeasurable
from analysis.steps.head import brain_mask, head_on_template
from analysis.steps.rigid import moving_from_fixed
from analysis.steps.space import Placement, around, coarser, lps_grid, onto, sample
from analysis.steps.tissue import tissue_fractions
from analysis.steps.water import without_field
from analysis.volume import Volume
from analysis.words import say

MIDDLE_MM = 1.5
FRONTAL_MM, OCCIPITAL_MM, UPPER_MM = (48.0, 64.0), (-94.0, -78.0), (0.0, 40.0)
DEEP_Y_MM, DEEP_Z_MM, LEAST_POINTS = (-20.0, 20.0), (5.0, 22.0), 60
VENTRICLE_MM = ((2.0, 45.0), (-60.0, 40.0), (-12.0, 36.0))  # |x|, y, z of the template
DARK_SHARE, FLUID_SHARE, DARKER_THAN_MIRROR, SMOOTH_MM, LEAST_TISSUE, LEAST_DARK_ML = 0.15, 0.3, 0.12, 4.0, 0.9, 2.0
ENHANCED, LEAST_SPREADS, LEAST_ENHANCED_ML, SURFACE_MM = 1.25, 4.0, 0.3, 7.0


@dataclass(frozen=True, eq=False)
class Ventricles:
    """The fluid of the lateral ventricles by side: voxels on the T1 (boolean) and volume, ml."""

    voxels: dict[str, np.ndarray]
    volume_ml: dict[str, float]


@dataclass(frozen=True, eq=False)
class Region:
    """A part of the brain on the 2 mm grid of the T1's placement: voxels, volume, and its middle on the template (LPS, mm)."""

    voxels: np.ndarray
    volume_ml: float
    middle_lps: np.ndarray

    @property
    def side(self) -> str:
        return "left" if self.middle_lps[0] > 0 else "right"


def midline_shift_mm(place: Placement) -> float:
    """How far the middle between the ventricles lies to the patient's left of the plane of the midline, mm; negative to the right.
    NotMeasurable where the field of view does not hold both edges and the middle."""
    across, back, up = place.template_lps
    y = -back
    middle = np.abs(across) < MIDDLE_MM
    ends = middle & (_between(y, FRONTAL_MM) | _between(y, OCCIPITAL_MM)) & _between(up, UPPER_MM)
    deep = middle & _between(y, DEEP_Y_MM) & _between(up, DEEP_Z_MM)
    parts = (middle & _between(y, FRONTAL_MM) & _between(up, UPPER_MM), middle & _between(y, OCCIPITAL_MM) & _between(up, UPPER_MM), deep)
    if min(part.sum() for part in parts) < LEAST_POINTS:
        raise NotMeasurable(say("the field of view does not hold the midline from the frontal to the occipital edge"))
    lps = lps_grid(place.grid)
    points = lps[:, ends].astype(float)
    centre = points.mean(axis=1, keepdims=True)
    normal = np.linalg.svd(points - centre, full_matrices=False)[0][:, 2]
    shift = float((normal @ (lps[:, deep] - centre)).mean())
    return shift if normal[0] > 0 else -shift


def _between(values: np.ndarray, limits: tuple[float, float]) -> np.ndarray:
    return (values >= limits[0]) & (values <= limits[1])


def lateral_ventricles(examination: Examination) -> Ventricles:
    """By the T1's tissues, where the template has its lateral ventricles."""
    t1, place, tissue = examination.image("t1"), examination.once(head_on_template), examination.once(tissue_fractions)
    near = ventricle_zone(place.template_lps, 2.0)
    box = around(t1.with_array(examination.once(brain_mask)), 0)
    part, csf = t1.part(box), tissue.csf[box]
    zone = onto(place.grid.with_array(near.astype(np.float32)), part) > 0.5
    left = onto(place.grid.with_array((place.template_lps[0] > 0).astype(np.float32)), part) > 0.5
    voxels, volume_ml = {}, {}
    for side, here in (("left", zone & left), ("right", zone & ~left)):
        voxels[side] = np.zeros(t1.array.shape, bool)
        voxels[side][box] = here & (csf > 0.5)
        volume_ml[side] = float(csf[here].sum()) * t1.voxel_ml
    return Ventricles(voxels, volume_ml)


def ventricle_zone(template_lps: np.ndarray, around_mm: float) -> np.ndarray:
    """Whether positions of the template (3, …) lie in its lateral ventricles, or within a distance of them."""
    layers = atlas.template()
    x, y, z = lps_grid(layers["grey"])
    box = _between(np.abs(x), VENTRICLE_MM[0]) & _between(-y, VENTRICLE_MM[1]) & _between(z, VENTRICLE_MM[2])
    fluid = box & (layers["inside"].array > 0.5) & (layers["grey"].array + layers["white"].array < 0.5)
    labels, _ = ndimage.label(fluid)
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    sides = [sizes * np.isin(np.arange(len(sizes)), np.unique(labels[(x > 0) == left])) for left in (True, False)]
    lateral = np.isin(labels, [int(np.argmax(one)) for one in sides]) & (labels > 0)
    away_mm = ndimage.distance_transform_edt(~lateral, sampling=layers["grey"].spacing_mm)
    return sample(layers["grey"].with_array((away_mm <= around_mm).astype(np.float32)), template_lps) > 0.5


def dark_regions(examination: Examination) -> tuple[Region, ...]:
    """Where brain is darker than grey matter on T1 and than on the other side, and brighter than fluid; largest first."""
    t1, place, tissue = examination.image("t1"), examination.once(head_on_template), examination.once(tissue_fractions)
    grid = place.grid
    csf, grey, _ = tissue.brightness
    level = coarser(t1.with_array(tissue.even_t1), float(grid.spacing_mm[0])).array
    level = ndimage.gaussian_filter(level, SMOOTH_MM / 2.355 / grid.spacing_mm)
    layers = atlas.template()
    brain = layers["grey"].with_array(layers["grey"].array + layers["white"].array)
    inside = sample(brain, place.template_lps) > LEAST_TISSUE
    other = sample(grid.with_array(ndimage.minimum_filter(level, size=3)), place.mirrored_lps(grid))
    dark = inside & (level < grey - DARK_SHARE * (grey - csf)) & (level < other - DARKER_THAN_MIRROR)
    no_cavity = level > csf + FLUID_SHARE * (grey - csf)
    found = regions_of(ndimage.binary_opening(dark), grid, place.template_lps, LEAST_DARK_ML)
    return tuple(region for region in found if no_cavity[region.voxels].mean() > 0.5)


def regions_of(mask: np.ndarray, grid: Volume, template_lps: np.ndarray, least_ml: float) -> tuple[Region, ...]:
    labels, count = ndimage.label(mask)
    volumes_ml = np.bincount(labels.ravel(), minlength=count + 1) * grid.voxel_ml
    kept = sorted((label for label in range(1, count + 1) if volumes_ml[label] >= least_ml), key=lambda label: -volumes_ml[label])
    return tuple(Region(labels == label, float(volumes_ml[label]), np.median(template_lps[:, labels == label], axis=1)) for label in kept)


def enhancing_regions(examination: Examination) -> tuple[Region, ...]:
    """What takes up contrast where a healthy head does not, largest first. NotMeasurable without a T1 before contrast."""
    t1, contrast = examination.image("t1"), examination.image("t1_contrast")
    place, tissue = examination.once(head_on_template), examination.once(tissue_fractions)
    grid, step_mm = place.grid, float(place.grid.spacing_mm[0])
    plain, inside = examination.once(coarse_t1)
    before, after = plain.array, _over(contrast, plain, examination.once(contrast_from_t1))
    quotient = np.log(np.maximum(after, 1e-3) / np.maximum(before, 1e-3))
    white = coarser(t1.with_array(tissue.white), step_mm).array > 0.9
    if white.sum() * grid.voxel_ml < 50.0:
        raise NotMeasurable(say("the T1 with contrast shows too little white matter to compare with"))
    gain = without_field(quotient, white)
    spread = 1.4826 * float(np.median(np.abs(gain[white])))
    taken = inside & (after > 0) & (before > 0) & (gain > max(np.log(ENHANCED), LEAST_SPREADS * spread))
    depth_mm = ndimage.distance_transform_edt(inside, sampling=grid.spacing_mm)
    tissue_there = coarser(t1.with_array(tissue.grey + tissue.white), step_mm).array
    free = (depth_mm > SURFACE_MM) & ~usual_uptake(place.template_lps) & (tissue_there > 0.3)
    return regions_of(ndimage.binary_opening(taken & free), grid, place.template_lps, LEAST_ENHANCED_ML)


def coarse_t1(examination: Examination) -> tuple[Volume, np.ndarray]:
    """The T1 on the grid of its placement, and its brain there, boolean."""
    t1, step_mm = examination.image("t1"), float(examination.once(head_on_template).grid.spacing_mm[0])
    inside = coarser(t1.with_array(examination.once(brain_mask).astype(np.float32)), step_mm).array > 0.5
    return coarser(t1.with_array(np.asarray(t1.array, np.float32)), step_mm), inside


def contrast_from_t1(examination: Examination) -> np.ndarray:
    """Where positions of the T1 lie in the T1 with contrast, 4 by 4: the head may have moved in between."""
    contrast, (before, inside) = examination.image("t1_contrast"), examination.once(coarse_t1)
    box = around(before.with_array(inside), 3)
    return moving_from_fixed(before.part(box), contrast.with_array(np.asarray(contrast.array, np.float32)), inside[box], np.eye(4))


def _over(contrast: Volume, before: Volume, there: np.ndarray) -> np.ndarray:
    """The T1 with contrast on the grid of the one without."""
    small = coarser(contrast.with_array(np.asarray(contrast.array, np.float32)), float(before.spacing_mm[0]))
    return onto(small, Volume(before.array, there @ before.lps_from_index))


def usual_uptake(template_lps: np.ndarray) -> np.ndarray:
    """Where a healthy head takes up contrast inside the brain mask: the plexus, the deep veins, the middle, the base around the pituitary,
    the tentorium. Chosen on the template; a wide berth, said with every result."""
    across, y, z = np.abs(template_lps[0]), -template_lps[1], template_lps[2]
    veins = (across < 10) & _between(y, (-60.0, 0.0)) & _between(z, (-12.0, 26.0))
    middle = across < 4
    base = (across < 30) & (y > -38) & (z < -12)
    tentorium = (z < 0) & (z > -32) & (y < -60)
    return veins | middle | base | tentorium | ventricle_zone(template_lps, 5.0)
