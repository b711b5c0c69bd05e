"""The images that the engine works on: arrays with their place in the patient.

Space: LPS (left, posterior, superior are positive), millimetres. Arrays are (slice, row, column), C order. The maps are
right-handed: the three columns of `lps_from_index` have a positive determinant, so nothing downstream ever needs a flip.
Nothing here reads a file. Missing data is the caller's: an image is whole or it is not made.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from analysis.paradigm import Paradigm
from analysis.spectrum import Spectra


class BadGeometry(ValueError):
    """An array and its map do not make an image in space; the message says what is wrong."""


def _check(shape: tuple[int, ...], lps_from_index: np.ndarray) -> np.ndarray:
    matrix = np.asarray(lps_from_index, dtype=np.float64)
    if matrix.shape != (4, 4) or not np.isfinite(matrix).all() or not np.allclose(matrix[3], (0, 0, 0, 1)):
        raise BadGeometry("lps_from_index is not a finite affine map of 4 by 4")
    if len(shape) != 3 or min(shape) < 1:
        raise BadGeometry(f"an image in space has slices, rows and columns; this one has the shape {shape}")
    if np.linalg.det(matrix[:3, :3]) <= 0:
        raise BadGeometry("lps_from_index is not right-handed")
    matrix.setflags(write=False)
    return matrix


@dataclass(frozen=True, eq=False)
class Volume:
    """One image in space: `array` (slice, row, column), any real or boolean type; `lps_from_index` 4 by 4, mm."""

    array: np.ndarray
    lps_from_index: np.ndarray

    def __post_init__(self) -> None:
        object.__setattr__(self, "lps_from_index", _check(self.array.shape, self.lps_from_index))

    @property
    def spacing_mm(self) -> np.ndarray:
        """Distance between neighbours along slice, row and column; shape (3,)."""
        return np.linalg.norm(self.lps_from_index[:3, :3], axis=0)

    @property
    def voxel_ml(self) -> float:
        return float(abs(np.linalg.det(self.lps_from_index[:3, :3]))) / 1000.0

    def with_array(self, array: np.ndarray) -> Volume:
        """The same place, another array of the same three dimensions."""
        if array.shape != self.array.shape:
            raise BadGeometry(f"the array has the shape {array.shape}, its place in space {self.array.shape}")
        return replace(self, array=array)

    def part(self, box: tuple[slice, slice, slice]) -> Volume:
        """The voxels inside a box of plain slices, in their place."""
        index_from_index = np.eye(4)
        index_from_index[:3, 3] = [side.start for side in box]
        return Volume(self.array[box], self.lps_from_index @ index_from_index)


@dataclass(frozen=True, eq=False)
class Diffusion:
    """A diffusion series on one grid.

    `array` (slice, row, column, volume), float32. `b_values_s_mm2` (volume,), 0 where no gradient was on. `b_vectors_lps`
    (volume, 3), unit length in patient space, zero where b is 0. Volumes that the scanner derived (trace, ADC, FA) are
    not in it, but for a series of b = 0 and trace images: there the trace images have no direction, and vectors of zeros.
    `reversed_b_zero`: an image without weighting that was encoded in the opposite direction along `phase_axis` of the array (1 rows, 2
    columns), on a grid of its own; both None where the study has none.
    """

    array: np.ndarray
    lps_from_index: np.ndarray
    b_values_s_mm2: np.ndarray
    b_vectors_lps: np.ndarray
    reversed_b_zero: Volume | None = None
    phase_axis: int | None = None

    def __post_init__(self) -> None:
        if self.array.ndim != 4:
            raise BadGeometry(f"a diffusion series has four dimensions, this one has the shape {self.array.shape}")
        object.__setattr__(self, "lps_from_index", _check(self.array.shape[:3], self.lps_from_index))
        count = self.array.shape[3]
        if self.b_values_s_mm2.shape != (count,) or self.b_vectors_lps.shape != (count, 3):
            raise BadGeometry(
                f"{count} diffusion volumes, but {len(self.b_values_s_mm2)} b-values and {len(self.b_vectors_lps)} directions"
            )

    def mean_where(self, chosen: np.ndarray) -> Volume:
        """The mean of the chosen volumes; `chosen` is boolean, shape (volume,)."""
        return Volume(self.array[..., chosen].mean(axis=-1), self.lps_from_index)


@dataclass(frozen=True, eq=False)
class TimeSeries:
    """A functional series: `array` (slice, row, column, time), float32; `repetition_time_s` between two volumes. `name`: what the scanner's
    user called it; `paradigm`: what the person did, None where nobody stated it."""

    array: np.ndarray
    lps_from_index: np.ndarray
    repetition_time_s: float
    name: str = ""
    paradigm: Paradigm | None = None

    def __post_init__(self) -> None:
        if self.array.ndim != 4:
            raise BadGeometry(f"a time series has four dimensions, this one has the shape {self.array.shape}")
        object.__setattr__(self, "lps_from_index", _check(self.array.shape[:3], self.lps_from_index))

    @property
    def volumes(self) -> int:
        return self.array.shape[3]

    @property
    def duration_s(self) -> float:
        return self.volumes * self.repetition_time_s

    def at(self, index: int) -> Volume:
        """One volume."""
        return Volume(np.ascontiguousarray(self.array[..., index]), self.lps_from_index)


@dataclass(frozen=True, eq=False)
class Runs:
    """Every functional series of a study, in the order of the series; at least one."""

    runs: tuple[TimeSeries, ...]

    def __post_init__(self) -> None:
        if not self.runs:
            raise BadGeometry("there is no functional series")

    @property
    def longest(self) -> TimeSeries:
        """The run with the most volumes: what a look at one of them takes."""
        return max(self.runs, key=lambda run: run.volumes)

    @property
    def lps_from_index(self) -> np.ndarray:
        """Of the longest."""
        return self.longest.lps_from_index


Image = Volume | Diffusion | TimeSeries | Runs | Spectra
