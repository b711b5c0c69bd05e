"""The thickness of a folded sheet of grey matter, by projection from the white surface.

Geometry only: an array of the tissue scale goes in, points and millimetres come out, and no atlas is needed. On the tissue scale 1 is CSF,
2 grey and 3 white matter, linear between neighbours, so that half is where two tissues meet. Tracks leave the white surface along the
gradient of the distance from it. They end where CSF begins, or where two fronts meet in a sulcus that the voxels do not resolve; the CSF
that hides in the last millimetres is taken off. Between neighbouring points nothing is smoothed: the mean over many is the measurement.

Method: Hutton 2008, 10.1016/j.neuroimage.2008.01.027 (sulcal fronts); Dahnke 2013, 10.1016/j.neuroimage.2012.09.050 (projection).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

from analysis.volume import Volume

STEP_MM = 0.5
# Chosen on sheets of benchmarks/thickness.py: the noise of single voxels makes the white surface rough, which costs more than blur.
BLUR_MM = 0.4
WHITE_EDGE, CSF_EDGE = 2.5, 1.5
DEEPEST_MM = 7.0  # no track is followed further
START_MM, STRIDE_MM = 0.75, 0.25
START_FROM_MM = 1.5  # no corner of the white surface lies further from the start of its track
BEYOND_MM = 1.0  # how far into the CSF a track is read, so that its whole blurred edge counts
EDGE_WINDOW_MM = 2.0
LEAST_CSF = -0.15  # noise of grey matter counts in both directions, white matter does not
MEETING_MM = 0.5  # a front is behind where the distance has fallen this far behind the way walked
LEAST_ISLAND_MM3 = 200.0
PLANE_MM = 1.5
NEAREST, NEAREST_MM = 20, 5.0  # a patch of about 1.5 mm: what a map can show without the noise of single points (chosen by eye)


@dataclass(frozen=True, eq=False)
class Thickness:
    """`index` (n, 3): corners of the white surface, spread evenly over its area, so that their mean is a mean over the surface; `mm` (n,):
    the thickness there, NaN where no track ran or it found no end; `buried` (n,): whether it ended where fronts meet."""

    index: np.ndarray
    mm: np.ndarray
    buried: np.ndarray


def finer(volume: Volume, step_mm: float = STEP_MM) -> Volume:
    """The volume on an isotropic grid along its own axes from its first voxel on: cubic splines, then a blur of BLUR_MM."""
    array = np.asarray(volume.array, np.float32)
    for axis, spacing_mm in enumerate(volume.spacing_mm):
        weights = _spline_weights(array.shape[axis], step_mm / spacing_mm)
        array = np.moveaxis(np.tensordot(weights, array, axes=(1, axis)), 0, axis)
    matrix = volume.lps_from_index @ np.diag([*(step_mm / volume.spacing_mm), 1.0])
    return Volume(ndimage.gaussian_filter(array, BLUR_MM / step_mm), matrix)


def _spline_weights(count: int, step: float) -> np.ndarray:
    """What each of `count` samples adds to the points 0, step, 2 step ... of an interpolating cubic spline: (point, sample)."""
    places = np.arange(int((count - 1) / step + 1e-6) + 1)[None] * step
    columns = [ndimage.map_coordinates(row, places, order=3, mode="mirror") for row in np.eye(count)]
    return np.stack(columns, axis=1).astype(np.float32)


def tissue_scale(brightness: np.ndarray, pure: np.ndarray) -> np.ndarray:
    """The tissue scale of a T1's brightness, given that of pure CSF, grey and white matter; below and above it goes on."""
    csf, grey, white = pure
    below, above = 1.0 + (brightness - csf) / (grey - csf), 2.0 + (brightness - grey) / (white - grey)
    return np.where(brightness < grey, below, above).astype(np.float32)


def thickness(scale: np.ndarray, where: np.ndarray, step_mm: float = STEP_MM) -> Thickness:
    """The thickness of the white surface inside `where` (boolean), on an isotropic grid. There must be 8 mm of image around it."""
    scale, white = _solid_white(scale, step_mm)
    if not white.any() or white.all():
        return Thickness(np.zeros((0, 3)), np.zeros(0), np.zeros(0, bool))
    surface = WhiteSurface.of(scale)
    near = _within(where, DEEPEST_MM + START_MM, step_mm)
    distance = distance_from_white(surface, white, near, step_mm)
    # tracks start outside `where` too, so that its edge has them on both sides
    walk = _walk(scale, distance, _within(where, START_FROM_MM, step_mm), step_mm)
    return _on_surface(surface.corners[where[tuple(np.round(surface.corners).astype(int).T)]], walk, step_mm)


def mean_near(found: Thickness, index: np.ndarray, step_mm: float = STEP_MM) -> np.ndarray:
    """The thickness around points (n, 3): the mean over the nearest corners, mm (n,), 0 where none is known within NEAREST_MM."""
    known = np.isfinite(found.mm)
    if not known.any() or not len(index):
        return np.zeros(len(index), np.float32)
    away, nearest = cKDTree(found.index[known]).query(index, k=min(NEAREST, int(known.sum())))
    away, nearest = away.reshape(len(index), -1), nearest.reshape(len(index), -1)
    return np.where(away[:, 0] * step_mm <= NEAREST_MM, found.mm[known][nearest].mean(axis=1), 0.0).astype(np.float32)


def _on_surface(corners: np.ndarray, walk: _Walk, step_mm: float) -> Thickness:
    """What the track that starts nearest to each corner found. The tracks themselves are no even sample: they start outside the white
    matter, where a crown is larger and a sulcus smaller than at the surface."""
    if not len(walk.index):
        return Thickness(corners, np.full(len(corners), np.nan), np.zeros(len(corners), bool))
    away, nearest = cKDTree(walk.index).query(corners)
    mm = np.where(away * step_mm <= START_FROM_MM, _without_hidden_csf(walk)[nearest], np.nan)
    return Thickness(corners, mm, walk.met[nearest])


def _solid_white(scale: np.ndarray, step_mm: float) -> tuple[np.ndarray, np.ndarray]:
    """The scale and the white matter with small islands and holes put right: they are no surface of the cortex."""
    white = scale > WHITE_EDGE
    parts, count = ndimage.label(white)
    if count > 1:
        size = np.bincount(parts.ravel())
        size[0] = 0
        island = white & ~((size >= LEAST_ISLAND_MM3 / step_mm**3) | (size == size.max()))[parts]
        scale, white = np.where(island, np.float32(WHITE_EDGE - 0.01), scale), white & ~island
    hole = ndimage.binary_fill_holes(white) & ~white
    return np.where(hole, np.float32(WHITE_EDGE + 0.01), scale), white | hole


def _within(where: np.ndarray, reach_mm: float, step_mm: float) -> np.ndarray:
    """Voxels within a reach of a region, found on every second voxel."""
    coarse = where[::2, ::2, ::2]
    near = ndimage.distance_transform_edt(~coarse) * 2 * step_mm <= reach_mm + 2 * step_mm
    for axis in range(3):
        near = near.repeat(2, axis=axis)
    return near[tuple(slice(size) for size in where.shape)]


@dataclass(frozen=True, eq=False)
class WhiteSurface:
    """The surface between white and grey matter. `corners` (n, 3): index, between voxels; `normals` (n, 3)."""

    corners: np.ndarray
    normals: np.ndarray

    @classmethod
    def of(cls, scale: np.ndarray) -> WhiteSurface:
        from skimage.measure import marching_cubes

        corners, _, normals, _ = marching_cubes(scale, WHITE_EDGE)
        return cls(corners, normals)

    @cached_property
    def tree(self) -> cKDTree:
        return cKDTree(self.corners)

    def distance(self, index: np.ndarray, step_mm: float) -> np.ndarray:
        """mm (n,) from voxels (n, 3)."""
        # close to the surface the nearest corner lies aside: the distance is that to the plane through it
        far, nearest = self.tree.query(index)
        plane = np.abs(((index - self.corners[nearest]) * self.normals[nearest]).sum(axis=1))
        return np.where((far * step_mm < PLANE_MM) & (plane > 0.7 * far), plane, far) * step_mm


def distance_from_white(surface: WhiteSurface, white: np.ndarray, near: np.ndarray, step_mm: float) -> np.ndarray:
    """Signed distance (mm) from the white surface to subvoxel precision inside `near`; a coarse distance elsewhere, -3 deep inside."""
    distance = ndimage.distance_transform_edt(~white).astype(np.float32) * np.float32(step_mm)
    outside = near & ~white & (distance <= DEEPEST_MM + 1.0)
    inside = near & white & ndimage.binary_dilation(~white, iterations=4)
    distance[white] = -3.0
    distance[outside] = surface.distance(np.argwhere(outside), step_mm)
    distance[inside] = -surface.distance(np.argwhere(inside), step_mm)
    return distance


@dataclass(frozen=True, eq=False)
class _Walk:
    """Tracks. `index` (n, 3): their starts, at `start_mm` (n,) from the white surface; `seen` (n, k): the tissue scale every STRIDE_MM
    from there, NaN after the end; `before` (n, 3): likewise back to the surface; `end_mm` (n,): distance from the white surface to where
    the track is read, NaN where it found no end; `met`: whether fronts met there."""

    index: np.ndarray
    start_mm: np.ndarray
    seen: np.ndarray
    before: np.ndarray
    end_mm: np.ndarray
    met: np.ndarray


def _at(array: np.ndarray, places: np.ndarray) -> np.ndarray:
    return ndimage.map_coordinates(array, places, order=1, mode="nearest")


def _walk(scale: np.ndarray, distance: np.ndarray, where: np.ndarray, step_mm: float) -> _Walk:
    """Tracks from every voxel of `where` that lies START_MM from the white surface, all at once."""
    slope = np.stack(np.gradient(ndimage.gaussian_filter(distance, 0.7), step_mm))
    steep = np.linalg.norm(slope, axis=0)
    begin = where & (np.abs(distance - START_MM) <= step_mm / 2) & (steep > 0.75)
    index, start_mm = np.argwhere(begin), distance[begin]
    place, ahead = index.T.astype(np.float32), slope[:, begin] / steep[begin]
    strides = int(DEEPEST_MM / STRIDE_MM)
    seen = np.full((len(index), strides + 1), np.nan, np.float32)
    end_mm, met = np.full(len(index), np.nan), np.zeros(len(index), bool)
    into_csf_mm = np.full(len(index), np.inf)
    seen[:, 0] = _at(scale, place)
    before = np.stack([_at(scale, place - ahead * (back * STRIDE_MM / step_mm)) for back in (3, 2, 1)], axis=1)
    on = np.arange(len(index))
    for stride in range(1, strides + 1):
        place[:, on] += ahead[:, on] * (STRIDE_MM / step_mm)
        now, from_white = _at(scale, place[:, on]), _at(distance, place[:, on])
        walked = start_mm[on] + stride * STRIDE_MM
        seen[on, stride] = now
        fell = (seen[on, stride - 1] - CSF_EDGE) / np.maximum(seen[on, stride - 1] - now, 1e-6)
        enters = (now < CSF_EDGE) & np.isinf(into_csf_mm[on])
        into_csf_mm[on[enters]] = (walked - STRIDE_MM * (1 - np.clip(fell, 0, 1)))[enters]
        meets = (walked - from_white > MEETING_MM) | (now > WHITE_EDGE)
        end_mm[on[meets]], met[on[meets]] = ((walked + np.maximum(from_white, 0)) / 2)[meets], True
        leaves = ~meets & (walked >= into_csf_mm[on] + BEYOND_MM)
        end_mm[on[leaves]] = into_csf_mm[on[leaves]] + BEYOND_MM
        goes = ~meets & ~leaves
        on, behind = on[goes], (walked - from_white)[goes]
        if not len(on):
            break
        _turn(ahead, on, slope, place, behind)
    return _Walk(index, start_mm, seen, before, end_mm, met)


def _turn(ahead: np.ndarray, on: np.ndarray, slope: np.ndarray, place: np.ndarray, behind_mm: np.ndarray) -> None:
    """Let the tracks `on` follow the gradient where it is steep and agrees with them; near a ridge it does not, and they go straight."""
    here = np.stack([_at(axis, place[:, on]) for axis in slope])
    steep = np.linalg.norm(here, axis=0)
    here /= steep + 1e-6
    sound = (steep > 0.85) & ((here * ahead[:, on]).sum(axis=0) > 0.9) & (behind_mm < 0.15)
    ahead[:, on[sound]] = here[:, sound]


def _without_hidden_csf(walk: _Walk) -> np.ndarray:
    """Thickness (n,): the end of a track less the CSF that its last EDGE_WINDOW_MM hold, by the integral over the tissue scale."""
    seen = np.concatenate([walk.before, walk.seen], axis=1)
    at_mm = walk.start_mm[:, None] + STRIDE_MM * (np.arange(seen.shape[1]) - walk.before.shape[1])
    end_mm = walk.end_mm[:, None]
    low, high = np.maximum(at_mm - STRIDE_MM / 2, end_mm - EDGE_WINDOW_MM), np.minimum(at_mm + STRIDE_MM / 2, end_mm)
    csf = np.clip(2.0 - seen, LEAST_CSF, 1.0)
    # next to the white surface less than grey is white matter
    csf[:, : walk.before.shape[1]] = np.maximum(csf[:, : walk.before.shape[1]], 0.0)
    return np.maximum(walk.end_mm - np.nansum(csf * np.clip(high - low, 0.0, STRIDE_MM), axis=1), 0.0)
