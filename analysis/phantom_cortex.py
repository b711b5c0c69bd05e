"""The true thickness of the phantom's cortex: measured on its own tissue fractions, without noise, voxels or a histogram.

From every corner of the white surface a straight line runs outwards. It ends in the fluid, or where another part of the white surface
becomes nearer (a sulcus that the template blurs away), and the fluid on its way is taken off. Both ends are carried to the patient, so that
the length is the patient's. The code is the phantom's alone: the markers measure in another way.
"""

from __future__ import annotations

import numpy as np

from analysis.phantom_head import ORIGIN_MM, Head
from analysis.phantom_scan import look_up
from analysis.phantom_shape import Shape

STRIDE_MM, LONGEST_MM = 0.25, 8.0
BEYOND_MM, BEHIND_MM = 1.0, 0.5
WHITE_EDGE, FLUID_EDGE = 2.5, 1.5  # on a scale of 1 fluid, 2 grey, 3 white matter
MARGIN_VOXELS = 12
INVERSIONS = 6


def mean_thickness_mm(head: Head, shape: Shape, region: np.ndarray) -> float:
    """The mean over the white surface inside a region (boolean, on the template) of the distance to the fluid, mm of the patient."""
    from skimage.measure import marching_cubes

    box = tuple(
        slice(max(int(index.min()) - MARGIN_VOXELS, 0), int(index.max()) + MARGIN_VOXELS + 1) for index in np.nonzero(region)
    )
    corner = np.array([side.start for side in box]) + ORIGIN_MM
    scale = (1 + head.tissue["grey"] + 2 * head.tissue["white"])[box]
    white = _largest(scale > WHITE_EDGE)
    scale = np.where(white | (scale <= WHITE_EDGE), scale, np.float32(WHITE_EDGE - 0.01))
    corners, _, normals, _ = marching_cubes(scale, WHITE_EDGE, gradient_direction="ascent")
    inside = region[box][tuple(np.round(corners).astype(int).T)]
    start, ahead = (corners[inside] + corner).T, _outward(scale, corners[inside], normals[inside]).T
    length = _lengths_mm(head, scale, corner, start, ahead, corners + corner)
    ends = [lps_from_template(shape, (start + ahead * way).astype(np.float64)) for way in (0 * length, length)]
    return float(np.linalg.norm(ends[1] - ends[0], axis=0).mean())


def _largest(mask: np.ndarray) -> np.ndarray:
    from scipy import ndimage

    parts, _ = ndimage.label(mask)
    size = np.bincount(parts.ravel())
    return mask & (size > 200)[parts]


def _outward(scale: np.ndarray, corners: np.ndarray, normals: np.ndarray) -> np.ndarray:
    """The normals (n, 3), turned to where the scale falls."""
    from scipy import ndimage

    ahead, behind = (ndimage.map_coordinates(scale, (corners + sign * normals).T, order=1) for sign in (1, -1))
    return np.where((ahead > behind)[:, None], -normals, normals)


def _lengths_mm(head: Head, scale: np.ndarray, corner: np.ndarray, start: np.ndarray, ahead: np.ndarray, surface: np.ndarray) -> np.ndarray:
    """How much grey matter each line (3, n) crosses, mm of the template."""
    from scipy import ndimage
    from scipy.spatial import cKDTree

    tree, count = cKDTree(surface), start.shape[1]
    ways = np.arange(0.0, LONGEST_MM, STRIDE_MM)
    fluid, end_mm, left = np.zeros((len(ways), count)), np.full(count, ways[-1]), np.full(count, np.inf)
    on = np.arange(count)
    for step, way in enumerate(ways):
        at = start[:, on] + ahead[:, on] * way
        now = ndimage.map_coordinates(scale, at - corner[:, None], order=1, mode="nearest")
        solid = look_up(head.tissue["grey"], at.astype(np.float32)) + look_up(head.tissue["white"], at.astype(np.float32))
        fluid[step, on] = np.clip(1 - solid, 0, 1)
        left[on[(now < FLUID_EDGE) & np.isinf(left[on])]] = way
        near = tree.query(at.T)[0]
        meets, leaves = way - near > BEHIND_MM, way >= left[on] + BEYOND_MM
        end_mm[on[meets]] = ((way + near) / 2)[meets]
        end_mm[on[leaves & ~meets]] = way
        on = on[~meets & ~leaves]
        if not len(on):
            break
    return np.clip(end_mm - _fluid_mm(fluid, end_mm), 0, None)


def _fluid_mm(fluid: np.ndarray, end_mm: np.ndarray) -> np.ndarray:
    """The integral of the fluid (stride, n) along each line up to its end, mm."""
    passed = np.clip((end_mm - STRIDE_MM * np.arange(len(fluid) - 1)[:, None]) / STRIDE_MM, 0, 1)
    return STRIDE_MM * (passed * (fluid[:-1] + fluid[1:]) / 2).sum(axis=0)


def lps_from_template(shape: Shape, template_mm: np.ndarray) -> np.ndarray:
    """Where points of the template (3, n) lie in the patient, LPS mm: the inverse of the shape, by iteration."""
    back = np.linalg.inv(shape.affine[:3, :3])
    lps = back @ (template_mm - shape.affine[:3, 3:])
    for _ in range(INVERSIONS):
        lps = lps + back @ (template_mm - shape.template_from_lps(lps))
    return lps
