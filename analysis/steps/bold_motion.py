"""Where the head was in each volume of a functional series, and the series with its motion taken out.

Every volume is laid rigidly onto one reference by least squares (Gauss-Newton; the derivatives are those of the reference, so that a volume
costs a few lookups), first onto the middle volume, then onto the mean of all. Brightness may scale from volume to volume. Slices are not
shifted in time: blocks and slow fluctuations last much longer than a volume.

Framewise displacement is that of Power 2012 (10.1016/j.neuroimage.2011.10.018): the sum of the changes of three shifts and of three turns
as arcs on a sphere of 50 mm, |Δx| + |Δy| + |Δz| + 50 mm (|Δα| + |Δβ| + |Δγ|), from each volume to the next.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage
from scipy.spatial.transform import Rotation

from analysis.outcome import NotMeasurable
from analysis.volume import TimeSeries, Volume
from analysis.words import say

SPHERE_MM = 50.0
SMOOTH_VOXELS = 1.0
HEAD = 0.3  # of the bright end of the reference: head against air
MOST_POINTS, LEAST_POINTS = 8000, 500
ROUNDS, SMALL_MM = 12, 0.004
LEADING = 10  # volumes that may be brighter while the magnetisation settles
BRIGHTER, UNUSUAL = 0.02, 4.0


@dataclass(frozen=True, eq=False)
class Steady:
    """A functional series in which the head lies still. `moves` (time, 6): shifts of the middle of the head (mm) and turns (radians) about
    the axes of the patient; `displacement_mm` (time,): framewise displacement, 0 for the first volume; `mean`: over time; `settling`
    (time,), boolean: first volumes that are brighter than the rest."""

    series: TimeSeries
    moves: np.ndarray
    displacement_mm: np.ndarray
    mean: Volume
    settling: np.ndarray


def steadied(series: TimeSeries) -> Steady:
    """The series with its motion taken out. NotMeasurable where there is nothing to see in it."""
    settling = settling_of(series.array)
    middle = series.at(int(np.flatnonzero(~settling)[(~settling).sum() // 2]))
    poses = followed(series, _Reference.of(middle))
    mean = np.mean([_moved(series, k, poses[k]) for k in range(0, series.volumes, max(series.volumes // 40, 1))], axis=0)
    reference = _Reference.of(middle.with_array(mean))
    array = np.empty(series.array.shape, np.float32)

    def settle(k: int) -> np.ndarray:
        pose = _pose(_smooth(series, k), reference, poses[k])
        array[..., k] = np.maximum(_moved(series, k, pose), 0.0)
        return pose

    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        poses = list(pool.map(settle, range(series.volumes)))
    moves = np.stack([_moves(pose, reference.middle) for pose in poses])
    return Steady(replace(series, array=array), moves, framewise_displacement_mm(moves), middle.with_array(array.mean(axis=3)), settling)


def framewise_displacement_mm(moves: np.ndarray) -> np.ndarray:
    """Of moves (time, 6), in mm and radians: (time,), 0 for the first."""
    steps = np.abs(np.diff(moves, axis=0))
    return np.r_[0.0, steps[:, :3].sum(axis=1) + SPHERE_MM * steps[:, 3:].sum(axis=1)]


def settling_of(array: np.ndarray) -> np.ndarray:
    """Leading volumes that are brighter than the rest, boolean (time,): the magnetisation had not settled."""
    level = array[::2, ::2, ::2].mean(axis=(0, 1, 2), dtype=np.float64)
    usual = np.median(level)
    spread = 1.4826 * np.median(np.abs(np.diff(level))) / np.sqrt(2)
    bright = level > usual + max(BRIGHTER * usual, UNUSUAL * spread)
    count = int(np.argmin(np.r_[bright, False]))
    return np.arange(len(level)) < (count if count <= min(LEADING, len(level) // 4) else 0)


@dataclass(frozen=True, eq=False)
class _Reference:
    """What volumes are laid onto. `lps` (3, n): points of the head, mm, about `middle` (3,); `values` (n,); `solve`
    (7, n): the pseudo-inverse of the derivatives of the values by shift and turn, and of the values themselves for the brightness."""

    grid: Volume
    lps: np.ndarray
    middle: np.ndarray
    values: np.ndarray
    solve: np.ndarray

    @classmethod
    def of(cls, volume: Volume) -> _Reference:
        smooth = ndimage.gaussian_filter(np.asarray(volume.array, np.float32), SMOOTH_VOXELS)
        where = smooth > HEAD * np.percentile(smooth, 98)
        where[[0, -1]] = False
        index = np.argwhere(where)
        if len(index) < LEAST_POINTS:
            raise NotMeasurable(say("the functional series shows no head"))
        index = index[:: -(-len(index) // MOST_POINTS)]
        matrix = volume.lps_from_index
        lps = matrix[:3, :3] @ index.T + matrix[:3, 3:]
        middle = lps.mean(axis=1)
        by_index = np.stack([axis[tuple(index.T)] for axis in np.gradient(smooth)])
        slope = np.linalg.inv(matrix[:3, :3]).T @ by_index
        turn = np.cross((lps - middle[:, None]).T, slope.T)
        values = smooth[tuple(index.T)]
        terms = np.concatenate([slope.T, turn, values[:, None]], axis=1)
        return cls(volume, lps, middle, values, np.linalg.pinv(terms.astype(np.float64)))


def followed(series: TimeSeries, reference: _Reference) -> list[np.ndarray]:
    """Where the positions of the reference are in every volume: 4 by 4 each, LPS, mm. Each volume starts where the one before it lay."""
    poses, pose = [], np.eye(4)
    for k in range(series.volumes):
        pose = _pose(_smooth(series, k), reference, pose)
        poses.append(pose)
    return poses


def _smooth(series: TimeSeries, k: int) -> np.ndarray:
    smooth = ndimage.gaussian_filter(np.asarray(series.array[..., k], np.float32), SMOOTH_VOXELS)
    return ndimage.spline_filter(smooth, order=3, output=np.float32, mode="nearest")


def _pose(coefficients: np.ndarray, reference: _Reference, start: np.ndarray) -> np.ndarray:
    index_from_lps, pose = np.linalg.inv(reference.grid.lps_from_index), start
    for _ in range(ROUNDS):
        whole = index_from_lps @ pose
        index = whole[:3, :3] @ reference.lps + whole[:3, 3:]
        seen = ndimage.map_coordinates(coefficients, index, order=3, mode="nearest", prefilter=False)
        step = reference.solve @ (seen - reference.values)
        pose = pose @ np.linalg.inv(_small_map(step[:6], reference.middle))
        if np.abs(step[:3]).sum() + SPHERE_MM * np.abs(step[3:6]).sum() < SMALL_MM:
            break
    return pose


def _small_map(step: np.ndarray, middle: np.ndarray) -> np.ndarray:
    """A turn about `middle` (radians) and a shift (mm): 4 by 4."""
    whole = np.eye(4)
    whole[:3, :3] = Rotation.from_rotvec(step[3:]).as_matrix()
    whole[:3, 3] = middle + step[:3] - whole[:3, :3] @ middle
    return whole


def _moves(pose: np.ndarray, middle: np.ndarray) -> np.ndarray:
    """Three shifts of the middle of the head and three turns."""
    return np.r_[pose[:3, :3] @ middle + pose[:3, 3] - middle, Rotation.from_matrix(pose[:3, :3]).as_rotvec()]


def _moved(series: TimeSeries, k: int, pose: np.ndarray) -> np.ndarray:
    """A volume brought to the reference, cubic."""
    whole = np.linalg.inv(series.lps_from_index) @ pose @ series.lps_from_index
    return ndimage.affine_transform(series.array[..., k], whole[:3, :3], whole[:3, 3], order=3, mode="nearest")
