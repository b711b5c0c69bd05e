"""The signal inside the cord and of the fluid in front of it, point by point along its line.

Everything is a share of the step from cord (0) to fluid (1), which are taken from the neighbourhood along the cord, so that an uneven field
does not count. Only where fluid is bright (T2, T2*): the caller refuses a T1. A place too near the edge of the cord for the voxels of the
image is not looked at: the fluid beside it would shine in.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from analysis.steps.cord import Cord
from analysis.volume import Volume

INNER = np.arange(0.0, 0.91, 0.1)  # of the way from the middle to the edge
OUTWARD_MM = np.arange(0.0, 5.01, 0.2)
RING_MM = (0.8, 2.4)  # outside the edge: fluid
AROUND_MM = 25  # of the cord, above and below, that a level of signal is taken from
MARGIN_MM = 0.7  # from the edge to what is looked at, beside half a voxel; a whole one where it is thick, as between two slices both count
FRONT_DEG = 25.0
PATCH_MM = 1.0  # sigma along the cord


@dataclass(frozen=True, eq=False)
class CordSignal:
    """`excess` (n, 72, k): how much brighter than its like along the cord a place is, as a share of the step to fluid, NaN where it cannot
    be looked at; `room_mm` (n,): fluid between cord and what lies in front of it; `seen` (n,): the share of the section that could be
    looked at."""

    excess: np.ndarray
    room_mm: np.ndarray
    seen: np.ndarray


def cord_signal(image: Volume, cord: Cord) -> CordSignal:
    """The signal of a cord that was found on this image."""
    array = np.asarray(image.array, np.float32)
    inside = _polar(array, image, cord, cord.radius_mm[..., None] * INNER)
    outside = _polar(array, image, cord, cord.radius_mm[..., None] + OUTWARD_MM)
    usable = _usable(image, cord)
    level = _along(_core(np.where(usable, inside, np.nan)[:, :, :6].reshape(len(inside), -1)), cord.measured, 50)
    ring = outside[..., (RING_MM[0] <= OUTWARD_MM) & (RING_MM[1] >= OUTWARD_MM)]
    fluid = _along(np.percentile(ring.reshape(len(ring), -1), 85, axis=1), cord.measured, 60)
    step = np.maximum(fluid - level, 1e-6)[:, None, None]
    share = np.where(usable & cord.measured[:, None, None], (inside - level[:, None, None]) / step, np.nan)
    share = _smoothed(share)
    excess = share - _like(share)
    return CordSignal(excess, _room_mm((outside - level[:, None, None]) / step), usable.mean(axis=(1, 2)))


def _polar(array: np.ndarray, image: Volume, cord: Cord, radius_mm: np.ndarray) -> np.ndarray:
    """Signal (n, 72, k) at radii (n, 72, k) around the line."""
    index_from_lps = np.linalg.inv(image.lps_from_index)
    lps = cord.centreline_lps[:, None, None] + radius_mm[..., None] * directions(cord)[:, :, None]
    index = np.moveaxis(lps @ index_from_lps[:3, :3].T + index_from_lps[:3, 3], -1, 0)
    return ndimage.map_coordinates(array, index, order=1, mode="nearest", prefilter=False)


def directions(cord: Cord) -> np.ndarray:
    """Unit vectors (n, 72, 3), LPS, in the order of the radii."""
    angle = np.linspace(0, 2 * np.pi, cord.radius_mm.shape[1], endpoint=False)[None, :, None]
    return np.cos(angle) * cord.posterior[:, None] + np.sin(angle) * cord.left[:, None]


def _usable(image: Volume, cord: Cord) -> np.ndarray:
    """Where (n, 72, k) a voxel lies wholly inside the cord: every part of the edge is far enough away, in its own direction, since the
    nearest edge of a flat cord does not lie on the way from its middle."""
    angle = np.linspace(0, 2 * np.pi, cord.radius_mm.shape[1], endpoint=False)
    turn = np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    voxels = np.einsum("pni,ij->npj", np.stack([cord.posterior, cord.left]), image.lps_from_index[:3, :3])
    out = np.zeros((*cord.radius_mm.shape, len(INNER)), bool)
    for k in range(len(out)):
        edge = cord.radius_mm[k, :, None] * turn
        way = edge - (INNER[:, None, None] * edge)[:, :, None]
        far = np.linalg.norm(way, axis=-1)
        voxel = np.abs(way @ voxels[k]).max(axis=-1) / np.maximum(far, 1e-6)
        out[k] = (far >= np.maximum(voxel / 2 + MARGIN_MM, voxel)).all(axis=2).T
    return out


def _core(inside: np.ndarray) -> np.ndarray:
    """The median (n,) of what can be looked at, NaN where nothing can."""
    out, some = np.full(len(inside), np.nan), np.isfinite(inside).any(axis=1)
    out[some] = np.nanmedian(inside[some], axis=1)
    return out


def _along(values: np.ndarray, measured: np.ndarray, percentile: float) -> np.ndarray:
    """A percentile of values (n,) of the measured neighbours along the cord."""
    known = np.where(measured, values, np.nan)
    padded = np.pad(known, AROUND_MM, constant_values=np.nan)
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * AROUND_MM + 1)
    whole = np.nanpercentile(known, percentile)
    return np.array([np.nanpercentile(one, percentile) if np.isfinite(one).sum() > AROUND_MM // 2 else whole for one in windows])


def _smoothed(share: np.ndarray) -> np.ndarray:
    """Averaged over a small patch, without what cannot be looked at."""
    known = np.isfinite(share)
    sigma = (PATCH_MM, 0, 0.7)
    sums = ndimage.gaussian_filter(np.where(known, share, 0.0), sigma, mode="nearest")
    weights = ndimage.gaussian_filter(known.astype(float), sigma, mode="nearest")
    return np.where(known, sums / np.maximum(weights, 1e-6), np.nan)


def _like(share: np.ndarray) -> np.ndarray:
    """What the same place of the section has along the cord: grey matter is brighter than white, at every height."""
    padded = np.pad(share, ((2 * AROUND_MM, 2 * AROUND_MM), (0, 0), (0, 0)), constant_values=np.nan)
    out = np.empty_like(share)
    with np.errstate(all="ignore"):
        for k in range(len(share)):
            out[k] = _nanmedian(padded[k : k + 4 * AROUND_MM + 1 : 4])
    return out


def _nanmedian(values: np.ndarray) -> np.ndarray:
    """Median over the first axis; 0 where nothing is known."""
    ranked = np.sort(values, axis=0)  # NaN comes last
    count = np.isfinite(ranked).sum(axis=0)
    middle = np.take_along_axis(ranked, np.maximum((count - 1) // 2, 0)[None], axis=0)[0]
    return np.where(count > 0, middle, 0.0)


def _room_mm(share: np.ndarray) -> np.ndarray:
    """Fluid (n,) in front of the cord, mm: what is brighter than half of the step on the first stretch outwards, median of the front."""
    count = share.shape[1]
    width = round(FRONT_DEG / 360 * count)
    front = share[:, count // 2 - width : count // 2 + width + 1]
    bright = front > 0.5
    begun = np.cumsum(bright, axis=2) > 0
    ended = np.cumsum(begun & ~bright, axis=2) > 0
    late = np.argmax(bright, axis=2) * (OUTWARD_MM[1] - OUTWARD_MM[0]) > 1.0  # what begins so far away is not the rim of the cord
    length = (bright & ~ended).sum(axis=2) * (OUTWARD_MM[1] - OUTWARD_MM[0])
    return np.median(np.where(late, 0.0, length), axis=1)
