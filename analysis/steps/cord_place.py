"""Where the cord runs in a field of view: a path from head to foot, without a hint.

On every height a point is scored by how closed a ring of fluid lies around a core of tissue (the weakest sectors count), by how dark it is
beyond the ring, and by left-right symmetry; the best connected run of heights is the cord, with free ends. Only what lies in the field is
looked at. Nothing is decided here on whether it is the neck: a path is always returned, with its score, and the caller refuses.

The score and its weights were found on real images by trial (contrasts: T2, T2*, T1); they have no published source.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from analysis.volume import Volume

ROW_MM, PIXEL_MM = 3.0, 1.0
HALF_WIDTH_MM = 45.0  # the cord lies within this of the middle of the body that is shown
SECTORS = 12
MOST_SLOPE = 0.9  # sideways per mm of height
BEND_COST = 0.036
LEAST_SCORE = {"t2": 0.20, "t2star": 0.10, "t1": 0.14}  # below it a height is better left out of the path


@dataclass(frozen=True, eq=False)
class Path:
    """Points (n, 3) in LPS mm from head to foot, ROW_MM apart in height; `score` (n,): how much each looks like cord."""

    lps: np.ndarray
    score: np.ndarray


@dataclass(frozen=True, eq=False)
class Rows:
    """An image on axial rows: `array` (height, posterior, left) on a grid along LPS from `origin_lps`; `seen`: inside the field."""

    array: np.ndarray
    seen: np.ndarray
    origin_lps: np.ndarray

    def lps(self, index: np.ndarray) -> np.ndarray:
        """Positions of (n, 3) grid indices."""
        return self.origin_lps + index[:, ::-1] * np.array([PIXEL_MM, PIXEL_MM, ROW_MM])


def path_of(image: Volume, contrast: str, above_mm: float | None = None) -> Path:
    """The best path. `contrast`: "t2", "t2star" or "t1"; `above_mm`: nothing above this height (LPS) is cord. May be of few points."""
    rows = _rows(image, above_mm)
    score = _score(rows, contrast)
    index = _best_run(score - LEAST_SCORE[contrast])
    value = score[tuple(index.T)]
    return Path(rows.lps(index)[::-1], value[::-1])


def _rows(image: Volume, above_mm: float | None) -> Rows:
    """The image on axial rows, smoothed to their size; replicated at its edges, so that they make no contrast."""
    corners = np.array(np.meshgrid(*[(0, size - 1) for size in image.array.shape], indexing="ij")).reshape(3, -1)
    lps = image.lps_from_index[:3, :3] @ corners + image.lps_from_index[:3, 3:]
    low, high = lps.min(1), lps.max(1)
    high[2] = min(high[2], above_mm) if above_mm is not None else high[2]
    smooth = _smoothed(image)
    middle = _middle(image)
    low[0], high[0] = max(low[0], middle - HALF_WIDTH_MM), min(high[0], middle + HALF_WIDTH_MM)
    step = np.array([PIXEL_MM, PIXEL_MM, ROW_MM])
    size = np.maximum(np.floor((high - low) / step).astype(int) + 1, 1)
    grid_lps = np.eye(4)
    grid_lps[:3, :3] = np.array([[0, 0, 1], [0, 1, 0], [1, 0, 0]]) * step[:, None]
    grid_lps[:3, 3] = low
    index_from_grid = np.linalg.inv(image.lps_from_index) @ grid_lps
    shape = tuple(int(one) for one in size[::-1])
    array = ndimage.affine_transform(smooth, index_from_grid, output_shape=shape, order=1, mode="nearest")
    seen = ndimage.affine_transform(np.ones(image.array.shape, np.uint8), index_from_grid, output_shape=shape, order=0, mode="constant")
    return Rows(np.clip(array, 0, None), seen > 0, low)


def _smoothed(image: Volume) -> np.ndarray:
    """Blurred by what the rows are coarser: along the axis nearest to the height by half a row, along the others hardly."""
    upright = np.abs(image.lps_from_index[2, :3]) / image.spacing_mm
    wide = np.where(upright > 0.7, 0.5 * ROW_MM, 0.35 * PIXEL_MM)
    fine = image.spacing_mm < np.where(upright > 0.7, ROW_MM, 2.0 * PIXEL_MM)
    return ndimage.gaussian_filter(np.asarray(image.array, np.float32), np.where(fine, wide / image.spacing_mm, 0.0))


def _middle(image: Volume) -> float:
    """The left-right middle of what is bright, LPS mm: the body."""
    step = tuple(slice(None, None, max(1, size // 64)) for size in image.array.shape)
    array = image.array[step]
    weight = array > 0.15 * np.percentile(array, 99)
    index = np.argwhere(weight) * [side.step for side in step]
    if not len(index):
        index = np.array([[(size - 1) / 2 for size in image.array.shape]])
    return float((image.lps_from_index[0, :3] @ index.mean(0)) + image.lps_from_index[0, 3])


def _shifted(array: np.ndarray, down: float, left: float) -> np.ndarray:
    """array[..., y + down, x + left], replicated at the edges."""
    down, left = round(down), round(left)
    for axis, step in ((-2, down), (-1, left)):
        if step:
            array = array.take(np.clip(np.arange(array.shape[axis]) + step, 0, array.shape[axis] - 1), axis)
    return array


def _score(rows: Rows, contrast: str) -> np.ndarray:
    """How much each point looks like the middle of the cord; shape of the rows, float32."""
    fine, core = (ndimage.gaussian_filter(rows.array, (0, *sigma)) for sigma in ((0.7, 0.7), (1.5, 2.5)))
    bright = float(np.percentile(rows.array[rows.seen], 99.5)) if rows.seen.any() else 1.0
    least = 0.06 * max(bright, 1e-6)
    ring, beyond, mean_ring = _ring(fine, core, least, contrast == "t1")
    uneven = _asymmetry(fine, least)
    if contrast == "t1":
        spread = np.sqrt(np.clip(ndimage.gaussian_filter(rows.array**2, (0, 1.5, 2.5)) - core**2, 0, None)) / (core + least)
        score = np.clip(ring, -0.1, 0.35) - 0.35 * uneven - 0.3 * np.clip(spread, 0, 0.5)
    elif contrast == "t2":
        score = np.clip(ring, -0.1, 0.5) + 0.5 * np.clip(beyond, -0.1, 0.5) - 0.35 * uneven
    else:  # a weak ring, a strong fall from fluid to bone
        score = 1.5 * np.clip(ring, -0.1, 0.15) + 0.7 * np.clip(beyond, -0.1, 0.4) - 0.35 * uneven
    if contrast != "t1":  # the core is tissue: air and bone are darker than a share of their ring
        share = 0.25 if contrast == "t2" else 0.55
        score = score - 3.0 * np.clip(share - core / (mean_ring + least), 0, 0.5)
    body = ndimage.gaussian_filter(rows.array, (0, 8, 8)) > 0.05 * bright
    return np.where(body & rows.seen, score - _off_middle(body), -0.5).astype(np.float32)


def _ring(fine: np.ndarray, core: np.ndarray, least: float, dark_fluid: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Contrast of the ring to the core, and to what lies beyond it, in the weakest sectors; and the mean ring."""
    sign = -1.0 if dark_fluid else 1.0
    rings, outers, mean_ring = [], [], np.zeros_like(fine)
    for angle in 2 * np.pi * np.arange(SECTORS) / SECTORS:
        down, left = np.sin(angle), np.cos(angle)
        edge = 1.0 / np.hypot(down / 5.0, left / 7.0)
        ring = sign * np.stack([sign * _shifted(fine, down * edge * far, left * edge * far) for far in (0.85, 1.05, 1.3, 1.6)]).max(0)
        reach = [edge * 1.3 + more for more in (2, 4, 6)]
        outer = np.stack([_shifted(fine, down * far, left * far) for far in reach]).min(0)
        mean_ring += ring / SECTORS
        rings.append(sign * (ring - core) / (ring + core + least))
        outers.append((ring - outer) / (ring + outer + least))
    weakest = 4 if dark_fluid else 6
    rings, outers = np.partition(np.stack(rings), weakest - 1, 0), np.partition(np.stack(outers), 5, 0)
    return rings[:weakest].mean(0), outers[:6].mean(0), mean_ring


def _asymmetry(fine: np.ndarray, least: float) -> np.ndarray:
    total, places = np.zeros_like(fine), [(down, left) for down in (-14, -7, 0, 7, 14) for left in (4, 8, 12, 17)]
    for down, left in places:
        one, other = _shifted(fine, down, left), _shifted(fine, down, -left)
        total += np.abs(one - other) / (one + other + 2 * least)
    return total / len(places)


def _off_middle(body: np.ndarray) -> np.ndarray:
    """What a point loses that lies beside the middle of the body at its height."""
    columns = np.arange(body.shape[2])
    width = body.sum(1)
    middle = (width * columns).sum(1) / np.maximum(width.sum(1), 1)
    return 0.15 * np.clip(np.abs(columns[None, None] - middle[:, None, None]) / 50.0, 0, 2) ** 2


def _best_run(gain: np.ndarray) -> np.ndarray:
    """Indices (n, 3) of the connected run of rows with the greatest sum, from below upwards; its ends are free."""
    reach = int(np.ceil(ROW_MM * MOST_SLOPE / PIXEL_MM))
    moves = [(down, left) for down in range(-reach, reach + 1) for left in range(-(reach // 2), reach // 2 + 1)]
    sums, came = [gain[0]], [np.full(gain[0].shape, -1, np.int16)]
    for row in gain[1:]:
        best, source = np.zeros(row.shape, np.float32), np.full(row.shape, -1, np.int16)
        for number, (down, left) in enumerate(moves):
            value = _shifted(sums[-1], down, left) - BEND_COST * (down**2 + 2 * left**2) / ROW_MM
            better = value > best
            best[better], source[better] = value[better], number
        sums.append(best + row)
        came.append(source)
    height = int(np.argmax([one.max() for one in sums]))
    run = [(height, *np.unravel_index(int(sums[height].argmax()), gain[0].shape))]
    while came[run[-1][0]][run[-1][1:]] >= 0:
        height, row, column = run[-1]
        down, left = moves[came[height][row, column]]
        size = gain[0].shape
        run.append((height - 1, int(np.clip(row + down, 0, size[0] - 1)), int(np.clip(column + left, 0, size[1] - 1))))
    return np.array(run[::-1])
