"""Two images of one head in the space half-way between them, so that neither is treated otherwise than the other.

Brought onto the grid of the first, the second alone would be blurred by the interpolation, and that looks like a loss (Reuter 2012,
10.1016/j.neuroimage.2012.02.084). So the rigid map between the two is estimated in both directions and averaged, made finer by a
least-squares fit in which both move by the same amount, and its root taken: either image is resampled once, by half of the way, onto one
grid, after both were blurred to the coarser voxels of the two. Only the brain says where the head lies, as jaw and neck move against it.
What differs in brightness smoothly from place to place is the coil, and taken out by halves. Exchange of the two images gives the inverse
map and the same pictures exchanged, but for rounding.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import linalg, ndimage

from analysis.outcome import NotMeasurable
from analysis.steps.rigid import moving_from_fixed
from analysis.steps.space import around, coarser, onto
from analysis.volume import Volume
from analysis.words import say

STEP_MM = 1.0
FIXED_STEP_MM, FIT_STEP_MM = 2.0, 2.0
MARGIN_VOXELS, EDGE_MM = 4, 6.0
ROUNDS, NO_STEP_MM, TUKEY = 12, 1e-4, 4.7
FIELD_SIGMA_MM, BRIGHT, LOG_OUTLIER = 12.0, 0.8, 0.25
LEAST_ALIKE = 0.75  # correlation of the two in the brain; see below


@dataclass(frozen=True, eq=False)
class View:
    """One image of the head. `volume`: brightness, most of the brain's tissue about 1; `inside`: the brain, boolean. `levels`: the
    brightness of pure CSF, grey and white matter where they are known, as on a T1; the two images are then given the same."""

    volume: Volume
    inside: np.ndarray
    levels: tuple[float, float, float] | None = None


@dataclass(frozen=True, eq=False)
class Halfway:
    """`first` and `second` on one grid in the space half-way, equally bright, float32; `inside`: how many of the two say brain there, 0,
    0.5 or 1; `seen`: what lies in the field of view of both, boolean. `first_from_half` and `second_from_half`: where its positions are
    in the images, 4 by 4, LPS mm. `turned_deg`, `moved_mm`: between the two, the brain's middle. `alike`: the correlation of the two in
    the brain. `levels`: of both, where known."""

    first: Volume
    second: Volume
    inside: np.ndarray
    seen: np.ndarray
    first_from_half: np.ndarray
    second_from_half: np.ndarray
    turned_deg: float
    moved_mm: float
    alike: float
    levels: tuple[float, float, float] | None

    @property
    def difference(self) -> Volume:
        """What the second is brighter by."""
        return self.first.with_array(self.second.array - self.first.array)

    def of_first(self, volume: Volume) -> np.ndarray:
        """A number in every voxel of the first image, such as a mask, on the grid half-way; float32."""
        return carried(volume, self.first, self.first_from_half)

    def of_second(self, volume: Volume) -> np.ndarray:
        """The same of the second."""
        return carried(volume, self.second, self.second_from_half)


def halfway(first: View, second: View, start: np.ndarray) -> Halfway:
    """Both images half-way. `start`: a rigid map, second from first (4 by 4, LPS mm), within some 5 mm and 5 degrees. NotMeasurable where
    they do not lie over one another: another head, another kind of image."""
    second_from_first = refined(first, second, mean_map(*_both_ways(first, second, start)))
    half = half_of(second_from_first)
    grid = grid_between(first, second, np.linalg.inv(half), half)
    views = [resampled(view, grid, matrix, blur_mm(first, second)) for view, matrix in ((first, np.linalg.inv(half)), (second, half))]
    places = ((first, np.linalg.inv(half)), (second, half))
    inside = sum((carried(view.volume.with_array(np.float32(view.inside)), grid, matrix) > 0.5).astype(np.float32) / 2
                 for view, matrix in places)  # fmt: skip
    seen = np.logical_and(*(within(view.volume, grid, matrix) for view, matrix in places))
    levels = None
    if first.levels and second.levels:
        levels = tuple((a + b) / 2 for a, b in zip(first.levels, second.levels, strict=True))
        views = [remapped(array, view.levels, levels) for array, view in zip(views, (first, second), strict=True)]
    inside *= seen
    arrays = evened(*views, inside)
    alike = float(np.corrcoef(*(array[inside > 0.75] for array in arrays))[0, 1])
    if not alike >= LEAST_ALIKE:
        raise NotMeasurable(say(
            "the two images do not lie over one another: their correlation in the brain is {alike:.2f}, at least {least} is needed",
            alike=alike, least=LEAST_ALIKE,
        ))  # fmt: skip
    return Halfway(*(grid.with_array(array) for array in arrays), inside, seen, np.linalg.inv(half), half,
                   *_motion(second_from_first, grid), alike, levels)  # fmt: skip


def start_of(first_template_from_lps: np.ndarray, second_template_from_lps: np.ndarray, middle_lps: np.ndarray) -> np.ndarray:
    """The rigid map nearest to what two placements on the template say, about a point of the first image: 4 by 4."""
    affine = np.linalg.inv(second_template_from_lps) @ first_template_from_lps
    turn = linalg.polar(affine[:3, :3])[0]
    whole = np.eye(4)
    whole[:3, :3], whole[:3, 3] = turn, affine[:3, :3] @ middle_lps + affine[:3, 3] - turn @ middle_lps
    return whole


def middle_of(volume: Volume, inside: np.ndarray) -> np.ndarray:
    """The middle of a mask (boolean), LPS mm."""
    index = np.array([coordinates.mean() for coordinates in np.nonzero(inside)])
    return volume.lps_from_index[:3, :3] @ index + volume.lps_from_index[:3, 3]


def _both_ways(first: View, second: View, start: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Second from first and first from second, each estimated on the brain of the one that stays."""
    found = []
    for fixed, moving, begin in ((first, second, start), (second, first, np.linalg.inv(start))):
        box = around(fixed.volume.with_array(fixed.inside), MARGIN_VOXELS)
        part = fixed.volume.part(box)
        still = coarser(part, FIXED_STEP_MM)
        near = coarser(part.with_array(fixed.inside[box].astype(np.float32)), FIXED_STEP_MM).array > 0.5
        found.append(moving_from_fixed(still, _brain_part(moving), near, begin))
    return found[0], found[1]


def mean_map(second_from_first: np.ndarray, first_from_second: np.ndarray) -> np.ndarray:
    """The mean of two estimates of one rigid motion in the Lie algebra, second from first: exchanged, its inverse."""
    return rigid_of(0.5 * (motion_of(second_from_first) - motion_of(first_from_second)))


def half_of(matrix: np.ndarray) -> np.ndarray:
    """The rigid map that, done twice, gives `matrix`."""
    return rigid_of(0.5 * motion_of(matrix))


def motion_of(matrix: np.ndarray) -> np.ndarray:
    """The logarithm of a rigid map, 4 by 4, real: the motion that takes it there in one unit of time."""
    return np.real(linalg.logm(matrix))


def rigid_of(motion: np.ndarray) -> np.ndarray:
    """The rigid map at the end of a motion."""
    whole = linalg.expm(motion)
    whole[3] = 0.0, 0.0, 0.0, 1.0
    return whole


def blur_mm(first: View, second: View) -> float:
    """The longest edge of a voxel of both, and of the grid: what both are blurred to."""
    return max(float(first.volume.spacing_mm.max()), float(second.volume.spacing_mm.max()), STEP_MM)


def resampled(view: View, grid: Volume, view_from_half: np.ndarray, to_mm: float) -> np.ndarray:
    """The image on the grid half-way: blurred along its axes to voxels of `to_mm`, then read once, by cubic splines; float32."""
    box = around(view.volume.with_array(view.inside), int(np.ceil(2 * EDGE_MM / float(view.volume.spacing_mm.min()))))
    part = view.volume.part(box)
    sigma = 0.42 * np.sqrt(np.maximum((to_mm / part.spacing_mm) ** 2 - 1.0, 0.0))
    smooth = ndimage.gaussian_filter(np.asarray(part.array, np.float32), sigma)
    return carried(part.with_array(smooth), grid, view_from_half, order=3)


def carried(volume: Volume, grid: Volume, volume_from_half: np.ndarray, order: int = 1) -> np.ndarray:
    """The values of a volume on a grid half-way, float32; 0 outside."""
    return onto(volume, Volume(grid.array, volume_from_half @ grid.lps_from_index), order).astype(np.float32)


def within(volume: Volume, grid: Volume, volume_from_half: np.ndarray) -> np.ndarray:
    """Which voxels of a grid half-way lie in the field of view of a volume, boolean."""
    index_from_index = np.linalg.inv(volume.lps_from_index) @ volume_from_half @ grid.lps_from_index
    held = np.ones(grid.array.shape, bool)
    axes = np.ogrid[tuple(slice(size) for size in grid.array.shape)]
    for row, size in zip(index_from_index[:3], volume.array.shape, strict=True):
        index = sum(step * axis for step, axis in zip(row[:3], axes, strict=True)) + row[3]
        held &= (index >= -0.5) & (index <= size - 0.5)
    return held


def grid_between(first: View, second: View, first_from_half: np.ndarray, second_from_half: np.ndarray, step_mm: float = STEP_MM) -> Volume:
    """A grid along the axes of the patient that holds both brains half-way, empty."""
    corners = []
    for view, matrix in ((first, first_from_half), (second, second_from_half)):
        half_from_index = np.linalg.inv(matrix) @ view.volume.lps_from_index
        index = np.argwhere(view.inside & ~ndimage.binary_erosion(view.inside))
        lps = index @ half_from_index[:3, :3].T + half_from_index[:3, 3]
        corners.append((lps.min(0), lps.max(0)))
    low = np.floor((np.min([low for low, _ in corners], axis=0) - EDGE_MM).round(3) / step_mm) * step_mm
    high = np.ceil((np.max([high for _, high in corners], axis=0) + EDGE_MM).round(3) / step_mm) * step_mm
    size = np.round((high - low) / step_mm).astype(int)[::-1] + 1
    affine = np.eye(4)
    affine[:3, :3] = np.array([[0.0, 0, 1], [0, 1, 0], [1, 0, 0]]) * step_mm  # slices upwards, rows backwards, columns to the left ...
    affine[:3, 2] *= -1  # ... mirrored for a right-handed grid: columns to the right
    affine[:3, 3] = [high[0], low[1], low[2]]
    return Volume(np.zeros(size, np.float32), affine)


def refined(first: View, second: View, second_from_first: np.ndarray) -> np.ndarray:
    """The rigid map with the least squares of the difference half-way, by steps that both images take by the same amount (Gauss and
    Newton; Tukey's weights, so that lesions and atrophy do not pull)."""
    half = half_of(second_from_first)
    grid = grid_between(first, second, np.linalg.inv(half), half, FIT_STEP_MM)
    small = [coarser(_brain_part(view), FIT_STEP_MM) for view in (first, second)]
    masks = [coarser(_brain_part(view, np.float32(view.inside)), FIT_STEP_MM) for view in (first, second)]
    middle = (grid.lps_from_index @ [*((np.array(grid.array.shape) - 1) / 2), 1.0])[:3]
    for _ in range(ROUNDS):
        half = half_of(second_from_first)
        maps = (np.linalg.inv(half), half)
        pair = [carried(volume, grid, matrix) for volume, matrix in zip(small, maps, strict=True)]
        where = np.minimum(*(carried(mask, grid, matrix) for mask, matrix in zip(masks, maps, strict=True))) > 0.5
        motion, way_mm = _step(*pair, where, grid, middle)
        second_from_first = half @ rigid_of(motion) @ half
        if way_mm < NO_STEP_MM:
            break
    return second_from_first


def _brain_part(view: View, array: np.ndarray | None = None) -> Volume:
    box = around(view.volume.with_array(view.inside), int(np.ceil(2 * EDGE_MM / float(view.volume.spacing_mm.min()))))
    return view.volume.part(box) if array is None else view.volume.with_array(array).part(box)


def _step(first: np.ndarray, second: np.ndarray, where: np.ndarray, grid: Volume, middle: np.ndarray) -> tuple[np.ndarray, float]:
    """One step of the fit about a middle: the motion (4 by 4) by which the second has to move more, and how far that is at most, mm."""
    slope = np.stack(np.gradient((first + second) / 2.0))[:, where]
    slope = np.linalg.inv(grid.lps_from_index[:3, :3]).T @ slope
    away = (np.argwhere(where) @ grid.lps_from_index[:3, :3].T + grid.lps_from_index[:3, 3] - middle).T
    terms = np.concatenate([np.cross(away, slope, axis=0), slope])
    rest = (first - second)[where]
    spread = 1.4826 * np.median(np.abs(rest - np.median(rest))) + 1e-9
    weight = np.clip(1.0 - (rest / (TUKEY * spread)) ** 2, 0.0, 1.0) ** 2
    turn_and_shift = np.linalg.lstsq((terms * weight) @ terms.T, (terms * weight) @ rest, rcond=None)[0]
    motion = np.zeros((4, 4))
    x, y, z = turn_and_shift[:3]
    motion[:3, :3] = [[0, -z, y], [z, 0, -x], [-y, x, 0]]
    motion[:3, 3] = turn_and_shift[3:] - motion[:3, :3] @ middle
    return motion, float(np.abs(turn_and_shift[3:]).max() + 80.0 * np.abs(turn_and_shift[:3]).max())


def remapped(array: np.ndarray, own: tuple[float, float, float], wanted: tuple[float, float, float]) -> np.ndarray:
    """Brightness with the levels of CSF, grey and white matter moved to those wanted, straight between and beyond them; float32."""
    (csf, grey, white), (to_csf, to_grey, to_white) = own, wanted
    below = to_grey + (array - grey) * ((to_grey - to_csf) / (grey - csf))
    above = to_grey + (array - grey) * ((to_white - to_grey) / (white - grey))
    return np.where(array < grey, below, above).astype(np.float32)


def evened(first: np.ndarray, second: np.ndarray, inside: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both without the smooth field by which their brightest tissue differs: each is changed by its root. What differs by much more than
    the rest, such as a lesion, does not count."""
    log = np.log(np.maximum(first, 1e-3) / np.maximum(second, 1e-3)).astype(np.float32)
    tissue = (inside > 0.75) & (np.minimum(first, second) > BRIGHT)
    tissue &= np.abs(log - np.median(log[tissue])) < LOG_OUTLIER
    sigma = FIELD_SIGMA_MM / STEP_MM / 2.0
    amount, total = (ndimage.gaussian_filter(_halved(part), sigma) for part in (tissue.astype(np.float32), np.where(tissue, log, 0)))
    field = total / np.maximum(amount, 1e-4) * np.clip(amount / 1e-3, 0.0, 1.0)
    zoom = [n / m for n, m in zip(first.shape, field.shape, strict=True)]
    root = np.exp(ndimage.zoom(field, zoom, order=1, grid_mode=True, mode="nearest") / 2.0)
    return (first / root).astype(np.float32), (second * root).astype(np.float32)


def _halved(array: np.ndarray) -> np.ndarray:
    """Every second voxel of each axis, from means over two."""
    return ndimage.uniform_filter(array, 2)[::2, ::2, ::2]


def _motion(second_from_first: np.ndarray, grid: Volume) -> tuple[float, float]:
    """By how many degrees the head was turned, and how far its middle moved, mm."""
    middle = (grid.lps_from_index @ [*((np.array(grid.array.shape) - 1) / 2), 1.0])[:3]
    turn = np.degrees(np.arccos(np.clip((np.trace(second_from_first[:3, :3]) - 1.0) / 2.0, -1.0, 1.0)))
    moved = second_from_first[:3, :3] @ middle + second_from_first[:3, 3] - middle
    return float(turn), float(np.linalg.norm(moved))
