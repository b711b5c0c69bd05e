"""The shape of a series in space: how many slices, how far apart, how much of the patient, and whether the stack is whole.

A stack that is not whole gets a sentence that says how many slices are missing and where; nobody interpolates them.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pydicom.dataset import Dataset

from analysis.words import say
from node.frames import Frame

PLANES = ("sagittal", "coronal", "axial")


@dataclass(frozen=True, eq=False)
class Stack:
    """`voxel_mm` and `extent_mm` along (slice, row, column); `faults` are sentences, each of which forbids an analysis."""

    slices: int
    images_per_slice: int
    voxel_mm: tuple[float, float, float]
    extent_mm: tuple[float, float, float]
    plane: str
    orientations: int
    height_mm: float
    faults: tuple[str, ...] = ()

    @property
    def width_mm(self) -> float:
        """The smallest of the three extents."""
        return min(self.extent_mm)


def stack_of_mosaic(header: Dataset, slices: int, images: int) -> Stack | None:
    """The stack of a series of mosaics; None where the header does not give its geometry."""
    spacing, cosines = header.get("PixelSpacing"), header.get("ImageOrientationPatient")
    if not spacing or not cosines:
        return None
    tiles = math.ceil(math.sqrt(slices))
    step = float(header.get("SpacingBetweenSlices") or header.get("SliceThickness") or 1.0)
    rows, columns = int(header.Rows) // tiles, int(header.Columns) // tiles
    voxel = (step, float(spacing[0]), float(spacing[1]))
    axes = np.array([float(number) for number in cosines]).reshape(2, 3)[::-1]
    return _stack(np.vstack([np.cross(*axes), axes]), (slices, rows, columns), voxel, images, 1, ())


def stack_of(frames: Sequence[Frame], tolerance: float, tolerance_mm: float) -> Stack:
    """The stack of the given frames (not empty). `tolerance` is a share of the spacing; the larger of both holds."""
    first = frames[0]
    orientations = Counter(tuple(np.round(_cosines(frame), 2).ravel().tolist()) for frame in frames)
    sizes = Counter((frame.rows, frame.columns, *np.round(_spacing(frame), 3).tolist()) for frame in frames)
    normal = first.normal_lps
    along_mm = np.array([frame.origin_lps @ normal for frame in frames])
    positions, counts = _positions(along_mm)
    steps = np.diff(positions)
    step = float(np.median(steps)) if len(steps) else float(np.linalg.norm(first.lps_from_index[:3, 0]))
    faults: list[str] = []
    if len(orientations) == 1:
        faults += _uneven(positions, step, max(tolerance * step, tolerance_mm), _numbers_run_backwards(frames, along_mm))
        faults += _incomplete(counts) + _sheared(frames, normal)
    if len(sizes) > 1:
        faults.append(say("the images have {count} different sizes; a volume needs one", count=len(sizes)))
    spacing = _spacing(first)
    shape = (len(positions), first.rows, first.columns)
    images = Counter(counts.tolist()).most_common(1)[0][0]
    return _stack(np.vstack([normal, _cosines(first)]), shape, (step, *spacing), images, len(orientations), tuple(faults))


def _stack(
    axes: np.ndarray, shape: tuple[int, int, int], voxel: Sequence[float], images: int, orientations: int, faults: tuple[str, ...]
) -> Stack:
    """`axes` are the unit vectors of (slice, row, column); the height is that of the block's axis that runs most head to foot."""
    extent = tuple(float(count * size) for count, size in zip(shape, voxel, strict=True))
    height = extent[int(np.argmax(np.abs(axes[:, 2])))]
    plane = PLANES[int(np.argmax(np.abs(axes[0])))]
    return Stack(shape[0], int(images), tuple(float(size) for size in voxel), extent, plane, orientations, height, faults)


def _cosines(frame: Frame) -> np.ndarray:
    """Unit vectors along the row index and the column index."""
    return (frame.lps_from_index[:3, 1:3] / np.linalg.norm(frame.lps_from_index[:3, 1:3], axis=0)).T


def _spacing(frame: Frame) -> tuple[float, float]:
    rows, columns = np.linalg.norm(frame.lps_from_index[:3, 1:3], axis=0)
    return float(rows), float(columns)


def _positions(along_mm: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The different places along the normal, and how many images lie at each."""
    ordered = np.sort(along_mm)
    group = np.concatenate([[0], np.cumsum(np.diff(ordered) > 0.01)])
    counts = np.bincount(group)
    return np.bincount(group, weights=ordered) / counts, counts


def _numbers_run_backwards(frames: Sequence[Frame], along_mm: np.ndarray) -> bool:
    """Whether the position falls while the images are counted up: then a reader counts slices from the other end."""
    return bool(along_mm[-1] < along_mm[0])


def _uneven(positions: np.ndarray, step: float, tolerance_mm: float, is_backwards: bool) -> list[str]:
    steps = np.diff(positions)[::-1] if is_backwards else np.diff(positions)
    faults, number = [], 1
    for jump in steps:
        missing = round(jump / step) - 1
        if abs(jump - step) <= tolerance_mm:
            number += 1
        elif missing >= 1 and abs(jump - (missing + 1) * step) <= (missing + 1) * tolerance_mm:
            gap = {"first": number + 1, "step": step, "jump": jump}
            one = say("slice {first} is missing: the spacing jumps from {step:.1f} to {jump:.1f} mm", **gap)
            last = number + missing
            many = say("slices {first} to {last} are missing: the spacing jumps from {step:.1f} to {jump:.1f} mm", last=last, **gap)
            faults.append(one if missing == 1 else many)
            number += missing + 1
        else:
            return [say(
                "the slices are not evenly spaced: the steps lie between {low_mm:.2f} and {high_mm:.2f} mm",
                low_mm=float(steps.min()), high_mm=float(steps.max()),
            )]
    return faults


def _incomplete(counts: np.ndarray) -> list[str]:
    whole = int(counts.max()) * len(counts)
    missing = whole - int(counts.sum())
    few = say("{missing} of {whole} images are missing: not every slice was received as often as the others", missing=missing, whole=whole)
    return [few] if missing else []


def _sheared(frames: Sequence[Frame], normal: np.ndarray) -> list[str]:
    """Whether the origins leave the line along the normal: a stack that is not a right-angled block."""
    offsets = np.array([frame.origin_lps - frames[0].origin_lps for frame in frames])
    aside_mm = np.linalg.norm(offsets - np.outer(offsets @ normal, normal), axis=1).max()
    shifted = say("the slices are shifted against each other by up to {aside_mm:.1f} mm", aside_mm=float(aside_mm))
    return [shifted] if aside_mm > 0.1 * min(_spacing(frames[0])) else []
