"""Where the motor band would be on a susceptibility-weighted or T2*-weighted series, and where the cortex is that it is compared with.

The band is the cortex of the precentral gyrus that faces the central sulcus. Gyri come from the atlas by way of the placement; which bank
is whose is then settled in the patient: the white cores of the gyri grow through grey matter until they meet in a sulcus, so that a
placement that is a few millimetres off does not exchange the two banks. Tissue comes from the T1, never from the series itself, whose
cortex is what is in question; without a T1 there is no strip. Dark lines (veins) and places where everything around is dark (sinuses,
dropout) are no cortex.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy import ndimage

from analysis import atlas
from analysis.examination import Examination
from analysis.outcome import NotMeasurable, Side
from analysis.steps.coregistration import Laid, on_template
from analysis.steps.space import around, lps_grid, sample, share_inside
from analysis.steps.tissue import tissue_fractions
from analysis.volume import Volume
from analysis.words import say

SIDES: tuple[Side, ...] = ("left", "right")
LEVELS = {"medial": ("leg", "trunk"), "intermediate": ("hand",), "lateral": ("face", "tongue")}
PRECENTRAL, POSTCENTRAL, FRONTAL, ELSEWHERE = 1, 2, 3, 4
GYRI = {"precentral_gyrus": PRECENTRAL, "postcentral_gyrus": POSTCENTRAL, "superior_frontal_gyrus": FRONTAL}
MARGIN_MM = 8.0
REACH_MM = 20.0  # how far from the precentral gyrus cortex is compared with it
BANK_MM = 6.0  # cortex and half a sulcus
MIDLINE_MM = 10.0  # nearer to it no sulcus bounds the band, and the sinus is near
LOWEST_Z_MM = 15.0  # of the template: below is the operculum
CORE_MM, CORE_WHITE = 2.0, 0.7
POINT_MM = 0.8  # tissue is averaged over each voxel from points this far apart
FINE_MM = 1.0
LINE_MM, LEAST_STEP_MM = 1.0, 0.7
AROUND_MM = 3.0


@dataclass(frozen=True, eq=False)
class Region:
    """One part of the motor cortex. `bank` and `neighbours`: boolean on `Cortex.part`; `covered`: the share of the atlas's part inside
    the field of view, 0 to 1."""

    side: Side
    level: str
    bank: np.ndarray
    neighbours: np.ndarray
    covered: float


@dataclass(frozen=True, eq=False)
class Cortex:
    """The strip of the series around both central sulci. `part`: its voxels, `box` where they are in the series; `tissues` (3, ...): CSF,
    grey and white fractions of each voxel."""

    part: Volume
    box: tuple[slice, slice, slice]
    tissues: np.ndarray
    regions: tuple[Region, ...]


@cache
def strip_of_template() -> tuple[Volume, Volume, Volume]:
    """On the template at 1 mm, around the strip: the gyrus (PRECENTRAL ... ELSEWHERE, uint8) of each place, with the sulci and the space
    over it; the part of the precentral gyrus that is nearest (2 * index in LEVELS + index in SIDES, uint8); how far inside REACH_MM of that
    gyrus the place is, mm, 0 beyond."""
    labels = atlas.labels("cortex")
    labels = labels.part(around(labels.with_array(labels.array > 0), int(REACH_MM)))
    gyrus, part = np.zeros(256, np.uint8), np.zeros(256, np.uint8)
    for one in (one for one in atlas.parts() if one.image == "cortex" and one.structure in GYRI):
        gyrus[one.label] = GYRI[one.structure]
        if one.structure == "precentral_gyrus":
            level = next(i for i, parts in enumerate(LEVELS.values()) if one.level in parts)
            part[one.label] = 2 * level + SIDES.index(one.side)
    away, nearest = ndimage.distance_transform_edt(labels.array == 0, return_indices=True)
    own = np.where(away <= CORE_MM, gyrus[labels.array][tuple(nearest)], ELSEWHERE)
    precentral = gyrus[labels.array] == PRECENTRAL
    from_precentral, nearest = ndimage.distance_transform_edt(~precentral, return_indices=True)
    reach = np.maximum(REACH_MM - from_precentral, 0.0)
    nearest_part = part[labels.array][tuple(nearest)]
    return labels.with_array(own.astype(np.uint8)), labels.with_array(nearest_part), labels.with_array(reach.astype(np.float32))


def motor_strip(examination: Examination, role: str) -> Cortex:
    """The cortex around both central sulci on the series with that role. NotMeasurable without a usable T1, or where the series cannot be
    placed."""
    series = examination.image(role)
    if "t1" not in examination.images:
        raise NotMeasurable(say("without a T1 series of the same study the thin cortex cannot be told from white matter and fluid"))
    examination.once(tissue_fractions)
    laid = on_template(examination, role)
    box = _box(series, laid)
    part = series.part(box)
    tissues = _tissues(examination, laid, part)
    _, nearest, reach = strip_of_template()
    template_lps = laid.place.template_on(part)
    gyrus, from_post_mm = _settled(examination, laid, part)
    code, near = sample(nearest, template_lps, order=0), sample(reach, template_lps) > 0
    convexity = (np.abs(template_lps[0]) > MIDLINE_MM) & (template_lps[2] > LOWEST_Z_MM)
    bank = (gyrus == PRECENTRAL) & (from_post_mm <= BANK_MM) & convexity
    others = np.isin(gyrus, (POSTCENTRAL, FRONTAL)) & near & convexity
    regions = tuple(
        Region(side, level, bank & (code == 2 * i + k), others & (code == 2 * i + k), _covered(series, laid, side, level))
        for i, level in enumerate(LEVELS)
        for k, side in enumerate(SIDES)
    )
    return Cortex(part, box, tissues, regions)


def _box(series: Volume, laid: Laid) -> tuple[slice, slice, slice]:
    """The voxels of the series around the motor strip; the whole series where there is none in it."""
    place = laid.place
    near = sample(strip_of_template()[2], place.template_lps) > 0
    inside = near & (sample(atlas.template()["inside"], place.template_lps, order=0) > 0)
    if not inside.any():
        return tuple(slice(0, size) for size in series.array.shape)
    index_from_index = np.linalg.inv(series.lps_from_index) @ place.grid.lps_from_index
    index = np.argwhere(inside) @ index_from_index[:3, :3].T + index_from_index[:3, 3]
    margin = MARGIN_MM / series.spacing_mm
    low = np.clip(np.floor(index.min(0) - margin).astype(int), 0, None)
    high = np.minimum(np.ceil(index.max(0) + margin).astype(int) + 1, series.array.shape)
    return tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))


def _tissues(examination: Examination, laid: Laid, grid: Volume) -> np.ndarray:
    """CSF, grey and white fractions of the voxels of a grid of the series: (3, slice, row, column)."""
    lps, points = lps_grid(grid), _points_within(grid)
    t1, tissue = examination.image("t1"), examination.once(tissue_fractions)
    turn, shift = laid.t1_from_series[:3, :3].astype(np.float32), laid.t1_from_series[:3, 3].astype(np.float32)
    in_t1 = np.tensordot(turn, lps, axes=1) + shift.reshape(3, 1, 1, 1)
    found = np.zeros((3, *grid.array.shape), np.float32)
    for point in points:
        at = in_t1 + (turn @ point).reshape(3, 1, 1, 1)
        for k, fraction in enumerate((tissue.csf, tissue.grey, tissue.white)):
            found[k] += sample(t1.with_array(fraction), at)
    return found / len(points)


def _points_within(grid: Volume) -> np.ndarray:
    """Steps (n, 3) in mm from the middle of a voxel to points that stand for all of it."""
    counts = np.maximum(np.round(grid.spacing_mm / POINT_MM).astype(int), 1)
    offsets = np.meshgrid(*((np.arange(n) + 0.5) / n - 0.5 for n in counts), indexing="ij")
    return (np.stack(offsets, axis=-1).reshape(-1, 3) @ grid.lps_from_index[:3, :3].T).astype(np.float32)


def _settled(examination: Examination, laid: Laid, part: Volume) -> tuple[np.ndarray, np.ndarray]:
    """On the part: the gyrus of each voxel, grown from the white cores, and the distance (mm) from the postcentral gyrus."""
    from skimage.segmentation import watershed

    fine = _isotropic(part)
    csf, grey, white = _tissues(examination, laid, fine)
    own = sample(strip_of_template()[0], laid.place.template_on(fine), order=0)
    border = ndimage.maximum_filter(own, 3) != ndimage.minimum_filter(own, 3)
    core = (ndimage.distance_transform_edt(~border) * FINE_MM >= CORE_MM) & (white > CORE_WHITE)
    seeds = np.where(core, np.where(own == 0, ELSEWHERE, own), 0).astype(np.int32)
    gyrus = watershed(csf + 0.5 * grey, seeds, mask=csf + grey + white > 0.5)
    away = ndimage.distance_transform_edt(gyrus != POSTCENTRAL) * FINE_MM
    lps = lps_grid(part)
    return sample(fine.with_array(gyrus.astype(np.uint8)), lps, order=0), sample(fine.with_array(away.astype(np.float32)), lps)


def _isotropic(part: Volume) -> Volume:
    """An empty grid of FINE_MM that reaches a little beyond the part."""
    factor = FINE_MM / part.spacing_mm
    shape = np.ceil((np.array(part.array.shape) - 1) / factor).astype(int) + 2
    return Volume(np.zeros(shape, np.uint8), part.lps_from_index @ np.diag([*factor, 1.0]))


def _covered(series: Volume, laid: Laid, side: Side, level: str) -> float:
    """The share of an atlas's part of the precentral gyrus that lies inside the series."""
    labels = atlas.labels("cortex")
    wanted = [
        one.label
        for one in atlas.parts()
        if one.image == "cortex" and one.structure == "precentral_gyrus" and one.side == side and one.level in LEVELS[level]
    ]
    index = np.argwhere(np.isin(labels.array, wanted))[::7]
    template_lps = labels.lps_from_index[:3, :3] @ index.T + labels.lps_from_index[:3, 3:]
    return share_inside(series, laid.place, template_lps)


def dark_lines(part: Volume, even: np.ndarray, where: np.ndarray) -> np.ndarray:
    """How much of a dark line runs through each voxel of `where` (boolean): the second of the three curvatures of the brightness `even`,
    over LINE_MM, where the image is dark across two directions and hardly changes along the third; 0 elsewhere. A sheet is dark across one
    direction only."""
    step_mm = max(float(part.spacing_mm.min()), LEAST_STEP_MM)
    factor = step_mm / part.spacing_mm
    shape = np.floor((np.array(part.array.shape) - 1) / factor).astype(int) + 1
    fine = ndimage.affine_transform(even, np.diag(factor), output_shape=tuple(shape), order=1)
    asked = ndimage.affine_transform(ndimage.binary_dilation(where), np.diag(factor), output_shape=tuple(shape), order=0)
    curve = np.empty((int(asked.sum()), 3, 3), np.float32)
    for i, j in ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2)):
        order = [(axis == i) + (axis == j) for axis in range(3)]
        bent = ndimage.gaussian_filter(fine, LINE_MM / step_mm, order=order)[asked]
        curve[:, i, j] = curve[:, j, i] = bent * (LINE_MM / step_mm) ** 2
    least, second, _ = np.linalg.eigvalsh(curve).T
    line = np.zeros(fine.shape, np.float32)
    line[asked] = np.where((second > 0) & (np.abs(least) < second), second, 0.0)
    return ndimage.affine_transform(line, np.diag(1.0 / factor), output_shape=part.array.shape, order=1)


def around_cortex(relative: np.ndarray, cortex: Cortex) -> np.ndarray:
    """The brightness, relative to the usual, of the fluid and white matter around each voxel; 1 where there is none."""
    csf, grey, white = cortex.tissues
    sigma = AROUND_MM / cortex.part.spacing_mm
    beside = ((csf + white > 0.5) & (csf + grey + white > 0.9)).astype(np.float32)
    amount = ndimage.gaussian_filter(beside, sigma)
    bright = ndimage.gaussian_filter(beside * np.clip(relative, 0.0, 1.2), sigma)
    return np.where(amount > 0.02, bright / np.maximum(amount, 0.02), 1.0)
