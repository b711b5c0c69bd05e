"""Cords of known area: a tilted elliptic cylinder in fluid, sampled with partial volume, on a grid of any voxels and orientation."""

from __future__ import annotations

import numpy as np

from analysis.volume import Volume

LOOK = {"t2": (0.35, 1.0, 0.12), "t1": (1.0, 0.2, 0.45), "t2star": (0.6, 1.0, 0.25)}  # cord, fluid, what lies outside


def grid(size_mm=(60.0, 50.0, 50.0), voxel_mm=(1.0, 1.0, 1.0), turned=None) -> Volume:
    """A grid (slice, row, column) around the origin of LPS: slices go up, rows to posterior, columns to left, then `turned`."""
    shape = tuple(round(size / voxel) for size, voxel in zip(size_mm, voxel_mm, strict=True))
    lps_from_index = np.eye(4)
    upright = np.array([[0, 0, 1], [0, -1, 0], [1, 0, 0]], float) * np.array(voxel_mm)
    lps_from_index[:3, :3] = upright if turned is None else turned @ upright
    lps_from_index[:3, 3] = -lps_from_index[:3, :3] @ ((np.array(shape) - 1) / 2)
    return Volume(np.zeros(shape, np.float32), lps_from_index)


def rotation(nod_deg: float, lean_deg: float = 0.0) -> np.ndarray:
    """About the left-right axis, then about the front-back axis."""
    a, b = np.deg2rad((nod_deg, lean_deg))
    nod = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    return np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]]) @ nod


def tube(place: Volume, look="t2", ap_mm=8.0, rl_mm=12.5, rim_mm=3.0, tilt_deg=(0.0, 0.0), noise=0.02, parts=4) -> Volume:
    """The image. `rim_mm`: fluid around the cord. Every voxel is the mean of parts cubed places in it."""
    cord, fluid, outside = LOOK[look]
    step = (np.arange(parts) + 0.5) / parts - 0.5
    upright = rotation(*tilt_deg).T @ place.lps_from_index[:3, :3]
    start = rotation(*tilt_deg).T @ place.lps_from_index[:3, 3]
    index = np.indices(place.array.shape, dtype=np.float32)
    total = np.zeros(place.array.shape, np.float32)
    for shift in np.stack(np.meshgrid(step, step, step), -1).reshape(-1, 3):
        left, back = (sum(upright[axis, k] * (index[k] + shift[k]) for k in range(3)) + start[axis] for axis in (0, 1))
        inside = np.hypot(left / (rl_mm / 2), back / (ap_mm / 2)) <= 1
        wet = np.hypot(left / (rl_mm / 2 + rim_mm), back / (ap_mm / 2 + rim_mm)) <= 1
        total += np.where(inside, cord, np.where(wet, fluid, outside))
    rough = np.random.default_rng(3).normal(0, noise, place.array.shape)
    return place.with_array((100 * (total / parts**3 + rough)).astype(np.float32))


def axis_of(tilt_deg, length_mm=40.0) -> np.ndarray:
    """Points along the middle of the tube, from head to foot."""
    return np.linspace(length_mm / 2, -length_mm / 2, 14)[:, None] * (rotation(*tilt_deg) @ [0.0, 0.0, 1.0])
