"""Distortion along the phase encoding, from two b = 0 images that were encoded in opposite directions.

Where the head disturbs the field, one image is shifted along the phase encoding by d and the other by -d, and signal is pressed together or
spread out as the shift changes. The smooth d is sought that makes I₊(x + d)(1 + ∂d) and I₋(x - d)(1 - ∂d) alike: Gauss-Newton, coarse to
fine, and nothing that folds. The head may have moved between the two: they are laid onto each other rigidly, the shift is sought, and both
once more. Where that does not make the two images alike, nothing is corrected, and the report says so.

Sources: Andersson 2003, 10.1016/S1053-8119(03)00336-7 (the model); Ruthotto 2012, 10.1088/0031-9155/57/18/5715 (how it is solved).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

from analysis.outcome import NotMeasurable
from analysis.steps.rigid import moving_from_fixed
from analysis.steps.shift_field import Line, shift_mm
from analysis.steps.space import around
from analysis.volume import Diffusion, Volume
from analysis.words import say

MARGIN_VOXELS = 8
SMOOTH_VOXELS = 1.0
LEAST_ALIKE, MOST_LEFT, LEAST_SHIFT_MM = 0.9, 0.9, 0.5  # chosen on phantoms (seed 1)
MAY_BE_DISPLACED = say("the frontal base and the brainstem may be displaced")


@dataclass(frozen=True, eq=False)
class Shift:
    """`voxels` (slice, row, column), float32: how far along `axis` of the array the signal of each place was shifted. `alike`: the
    correlation of the two images inside the brain afterwards; `largest_mm`: how far any part of the brain was shifted."""

    voxels: np.ndarray
    axis: int
    alike: float
    largest_mm: float

    def undone(self, series: Diffusion) -> Diffusion:
        """The series in its place and with its signal; every volume is interpolated along the phase encoding and no other way."""
        line = Line.shifted_by(np.moveaxis(self.voxels, self.axis, -1))
        array = np.empty_like(series.array)
        for volume in range(array.shape[3]):
            array[..., volume] = _restored(line, series.array[..., volume], self.axis)
        return replace(series, array=array)


def undistorted(series: Diffusion, b_zero: Volume, brain: np.ndarray) -> tuple[Diffusion, str]:
    """The series without its distortion, where a `reversed_b_zero` tells it, and a sentence for the report. `b_zero`: its own mean b = 0
    image; `brain`: where that shows one, boolean."""
    if series.reversed_b_zero is None or series.phase_axis is None:
        reason = say("no b = 0 series of reversed direction was found in the study")
        return series, say(
            "Distortion along the phase encoding was not corrected: {reason}; {displaced}.",
            reason=reason, displaced=MAY_BE_DISPLACED,
        )
    try:
        shift = shift_between(b_zero, series.reversed_b_zero, series.phase_axis, brain)
    except NotMeasurable as refusal:
        return series, say(
            "Distortion along the phase encoding was not corrected: {reason}; {displaced}.",
            reason=refusal.reason, displaced=MAY_BE_DISPLACED,
        )
    return shift.undone(series), say(
        "Distortion along the phase encoding was corrected with a b = 0 series of reversed direction (largest shift {largest_mm:.1f} mm); "
        "masks and maps lie in the corrected place, not over the distorted source images.",
        largest_mm=shift.largest_mm,
    )


def shift_between(first: Volume, reverse: Volume, axis: int, brain: np.ndarray) -> Shift:
    """How far `first` is shifted along `axis` of its array, where `reverse` was encoded the other way. NotMeasurable where that does not
    make the two alike."""
    box = around(first.with_array(brain), MARGIN_VOXELS)
    still, inside = first.part(box), brain[box]
    pose = moving_from_fixed(still, reverse, inside, np.eye(4))
    field_mm = shift_mm(still, _seen_by(reverse, still, pose), axis, inside)
    # without the shift the movement of the head shows, and with it what is left of the shift
    ours, theirs = _both_restored(still, _seen_by(reverse, still, pose), field_mm, axis)
    pose = pose @ moving_from_fixed(still.with_array(ours), still.with_array(theirs), inside, np.eye(4))
    other = _seen_by(reverse, still, pose)
    field_mm = shift_mm(still, other, axis, inside, field_mm)
    ours, theirs = _both_restored(still, other, field_mm, axis)
    alike, left = _alike(ours, theirs, inside), _difference(ours, theirs, inside) / _difference(still.array, other, inside)
    if alike < LEAST_ALIKE or left > MOST_LEFT:
        raise NotMeasurable(say("the b = 0 series of reversed direction and the diffusion series did not become alike"))
    largest_mm = float(np.percentile(np.abs(field_mm[inside]), 99.9))  # the last thousandth is noise at the edge
    if largest_mm < LEAST_SHIFT_MM:
        raise NotMeasurable(say(
            "the b = 0 series of reversed direction differs from the diffusion series by less than {least_mm} mm",
            least_mm=LEAST_SHIFT_MM,
        ))
    wide = [(side.start, size - side.stop) for side, size in zip(box, brain.shape, strict=True)]
    voxels = np.pad(field_mm / first.spacing_mm[axis], wide, mode="edge").astype(np.float32)
    return Shift(voxels, axis, alike, largest_mm)


def _seen_by(moving: Volume, grid: Volume, pose: np.ndarray) -> np.ndarray:
    """The image, by the rigid map to its place, on another grid."""
    whole = np.linalg.inv(moving.lps_from_index) @ pose @ grid.lps_from_index
    array = np.asarray(moving.array, np.float32)
    return np.maximum(ndimage.affine_transform(array, whole, output_shape=grid.array.shape, order=3, mode="nearest"), 0.0)


def _both_restored(still: Volume, other: np.ndarray, field_mm: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
    voxels = np.moveaxis(field_mm / still.spacing_mm[axis], axis, -1)
    return _restored(Line.shifted_by(voxels), still.array, axis), _restored(Line.shifted_by(-voxels), other, axis)


def _restored(line: Line, image: np.ndarray, axis: int) -> np.ndarray:
    values = line.values(np.moveaxis(image, axis, -1))
    return np.moveaxis(np.maximum(values, 0.0) * line.spread, -1, axis)


def _alike(first: np.ndarray, second: np.ndarray, inside: np.ndarray) -> float:
    return float(np.corrcoef(first[inside], second[inside])[0, 1])


def _difference(first: np.ndarray, second: np.ndarray, inside: np.ndarray) -> float:
    """Of the images smoothed: interpolation alone takes noise away."""
    first, second = (ndimage.gaussian_filter(image, SMOOTH_VOXELS)[inside] for image in (first, second))
    return float(np.sqrt(np.mean((first / first.mean() - second / second.mean()) ** 2)))
