"""The smooth shift along one axis that makes two images alike, one of them shifted forwards and the other backwards.

Sought on ever finer grids: Gauss-Newton, with conjugate gradients for each step, and no step that folds the image. The images are scaled to
a mean of 1 in the region, so that a gain between two series does not matter.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from analysis.steps.space import coarser
from analysis.volume import Volume

GRIDS_MM = (8.0, 4.0, 2.0)  # voxels while the shift is sought, and how smooth the images are
STEPS, INNER_STEPS, HALVINGS = 10, 25, 5
SETTLED = 2e-3  # a step that lowers the cost by a smaller share is the last
STIFFNESS = 0.02  # weight of the squared slope of the shift; chosen on a phantom (seed 1): from 0.01 to 0.05 the error is the same
MOST_STRAIN = 0.9  # |∂d|; at 1 the image folds
REACH_MM = 10.0  # so far around the brain the images have their say


@dataclass(frozen=True, eq=False)
class Line:
    """Where images are read along their last axis: the four neighbours of each place, (4, n), in the image laid flat, with the weights of a
    cubic spline and of its slope. `spread`: 1 + ∂d, by which signal was pressed together or spread out."""

    neighbours: np.ndarray
    weights: np.ndarray
    slopes: np.ndarray
    spread: np.ndarray

    @classmethod
    def shifted_by(cls, voxels: np.ndarray) -> Line:
        """Places shifted by so many voxels along the last axis, at the edge held inside."""
        size = voxels.shape[-1]
        place = np.clip(np.arange(size, dtype=np.float32) + voxels, 0, size - 1).ravel()
        first = np.floor(place).astype(np.int32)
        t = (place - first).astype(np.float32)
        near = np.abs(first + np.arange(-1, 3, dtype=np.int32)[:, None])
        near = np.where(near > size - 1, 2 * (size - 1) - near, near)
        rows = np.repeat(np.arange(voxels.size // size, dtype=np.int32) * size, size)
        s = 1 - t
        weights = np.stack([s**3, 4 - 3 * t * t * (2 - t), 4 - 3 * s * s * (2 - s), t**3]) / 6
        slopes = np.stack([-s * s, t * (3 * t - 4), s * (4 - 3 * s), t * t]) / 2
        return cls(near + rows, weights, slopes, 1 + slope(voxels))

    def values(self, image: np.ndarray) -> np.ndarray:
        return self._sum(_spline(image), self.weights).reshape(image.shape)

    def values_and_slopes(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        flat = _spline(image)
        return self._sum(flat, self.weights).reshape(image.shape), self._sum(flat, self.slopes).reshape(image.shape)

    def _sum(self, flat: np.ndarray, weights: np.ndarray) -> np.ndarray:
        return sum(weight * flat[near] for weight, near in zip(weights, self.neighbours, strict=True))


def _spline(image: np.ndarray) -> np.ndarray:
    """Coefficients of the cubic splines along the last axis, laid flat, float32."""
    return ndimage.spline_filter1d(np.asarray(image, np.float32), 3, mode="mirror", output=np.float32).ravel()


def slope(field: np.ndarray) -> np.ndarray:
    """Central differences along the last axis, per voxel; 0 at its ends."""
    found = np.zeros_like(field)
    found[..., 1:-1] = (field[..., 2:] - field[..., :-2]) / 2
    return found


def _slope_transposed(values: np.ndarray) -> np.ndarray:
    found = np.zeros_like(values)
    found[..., 2:] += values[..., 1:-1] / 2
    found[..., :-2] -= values[..., 1:-1] / 2
    return found


def shift_mm(first: Volume, second: np.ndarray, axis: int, inside: np.ndarray, start_mm: np.ndarray | None = None) -> np.ndarray:
    """How far `first` is shifted along `axis`, mm, float32, where `second` (on its grid) is shifted as far the other way.

    `inside`: the brain, boolean. `start_mm`: a shift that is nearly right, from where only the finer grids are needed.
    """
    away_mm = ndimage.distance_transform_edt(~inside, sampling=first.spacing_mm)
    region = first.with_array((away_mm < REACH_MM).astype(np.float32))
    images = [first.with_array(image / max(image[inside].mean(), 1e-6)) for image in (first.array, second)]
    field = first.with_array(np.zeros(first.array.shape, np.float32) if start_mm is None else start_mm)
    for wanted_mm in GRIDS_MM if start_mm is None else GRIDS_MM[1:]:
        grid_mm = max(wanted_mm, first.spacing_mm[axis])  # finer than the images there is nothing to see
        plus, minus, weight = (np.moveaxis(coarser(image, grid_mm).array, axis, -1) for image in (*images, region))
        grid = coarser(first, grid_mm)
        now = _Alignment(plus, minus, weight, np.roll(grid.spacing_mm, 2 - axis)[-1], STIFFNESS)
        start = np.moveaxis(_on(field, grid), axis, -1)
        field = grid.with_array(np.ascontiguousarray(np.moveaxis(now.settled(start), -1, axis)))
    return _on(field, first)


def _on(volume: Volume, grid: Volume) -> np.ndarray:
    """A field on another grid, beyond its edge as at the edge."""
    whole = np.linalg.inv(volume.lps_from_index) @ grid.lps_from_index
    return ndimage.affine_transform(volume.array, whole, output_shape=grid.array.shape, order=1, mode="nearest")


@dataclass(frozen=True, eq=False)
class _Alignment:
    """Two images on an even grid of `step_mm`, to be made alike along their last axis; `weight`: where they count, 0 to 1."""

    plus: np.ndarray
    minus: np.ndarray
    weight: np.ndarray
    step_mm: float
    stiffness: float

    def settled(self, field_mm: np.ndarray) -> np.ndarray:
        """The shift in mm, from a start."""
        field = field_mm / self.step_mm
        cost = self._cost(field)
        for _ in range(STEPS):
            field, lower = self._lowered(field, cost)
            if lower > (1 - SETTLED) * cost:
                break
            cost = lower
        return field * self.step_mm

    def _lowered(self, field: np.ndarray, cost: float) -> tuple[np.ndarray, float]:
        """The field after one step, and its cost; unchanged where no step lowers it without folding."""
        step = self._step(field)
        for _ in range(HALVINGS):
            if np.abs(slope(field + step)).max() < MOST_STRAIN and (lower := self._cost(field + step)) < cost:
                return field + step, lower
            step = step / 2
        return field, cost

    def _cost(self, field: np.ndarray) -> float:
        left, right = Line.shifted_by(field), Line.shifted_by(-field)
        rest = left.values(self.plus) * left.spread - right.values(self.minus) * right.spread
        return float((self.weight * rest * rest).sum() + self.stiffness * (field * _bending(field)).sum())

    def _step(self, field: np.ndarray) -> np.ndarray:
        """Gauss-Newton: the step that would be right if the difference changed evenly with the shift."""
        left, right = Line.shifted_by(field), Line.shifted_by(-field)
        plus, plus_slope = left.values_and_slopes(self.plus)
        minus, minus_slope = right.values_and_slopes(self.minus)
        rest = plus * left.spread - minus * right.spread
        by_shift, by_strain = plus_slope * left.spread + minus_slope * right.spread, plus + minus

        def normal(step: np.ndarray) -> np.ndarray:
            change = self.weight * (by_shift * step + by_strain * slope(step))
            return by_shift * change + _slope_transposed(by_strain * change) + self.stiffness * _bending(step)

        weighted = self.weight * rest
        downhill = -(by_shift * weighted + _slope_transposed(by_strain * weighted) + self.stiffness * _bending(field))
        size = self.weight * (by_shift**2 + by_strain**2 / 2) + 6 * self.stiffness
        return _solved(normal, downhill, size)


def _bending(field: np.ndarray) -> np.ndarray:
    """Minus the Laplacian, with an even edge: what the squared differences of neighbours come from."""
    found = np.zeros_like(field)
    for axis in range(field.ndim):
        step = np.diff(field, axis=axis)
        ahead, behind = ([slice(None)] * field.ndim for _ in range(2))
        ahead[axis], behind[axis] = slice(1, None), slice(None, -1)
        found[tuple(ahead)] += step
        found[tuple(behind)] -= step
    return found


def _solved(normal: Callable[[np.ndarray], np.ndarray], wanted: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Conjugate gradients for normal(x) = wanted, with its diagonal `size` taken out."""
    x, rest = np.zeros_like(wanted), wanted
    way = scaled = rest / size
    worth = first = float((rest * scaled).sum())
    for _ in range(INNER_STEPS):
        if worth <= 1e-4 * first:
            break
        pushed = normal(way)
        length = worth / float((way * pushed).sum())
        x, rest = x + length * way, rest - length * pushed
        scaled = rest / size
        worth, before = float((rest * scaled).sum()), worth
        way = scaled + (worth / before) * way
    return x
