"""The spectra of one study: free induction decays of single voxels, with what the scanner did and where the voxel lies.

Nothing here reads a file or decides anything: echoes are combined, phased and turned round by the steps. Missing data is None, and the
reason stands beside it. Space: LPS, millimetres.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

PRESS, STEAM, SLASER = "PRESS", "STEAM", "sLASER"


class BadSpectrum(ValueError):
    """Samples and times do not make a spectrum; the message says what is wrong."""


@dataclass(frozen=True, eq=False)
class Spectrum:
    """One single-voxel spectrum of hydrogen.

    `array` complex128 (repetition, coil, point), as stored; one repetition and one coil where the scanner combined them. `water`: the
    same of the unsuppressed water of that voxel, with its own number of repetitions, or None. `spectral_width_hz`: one over the time
    between points. `field_mhz`: the frequency of the transmitter, that is of water. `sequence` is PRESS, STEAM, SLASER, or "" where the
    header tells none of them; `sequence_words` what it says. `echo_parts_ms`: TE1 and TE2 of PRESS, or TE and TM of STEAM, None where
    not stated. `lps_from_box` 4 by 4: (-.5 … .5) three times is the voxel; None where it has no place, and then `no_place` says why.
    `frame` names the space that the place is in: what has another name cannot be laid over it. `series` names the series for a reader.
    """

    array: np.ndarray
    spectral_width_hz: float
    field_mhz: float
    echo_time_ms: float
    repetition_time_ms: float | None = None
    sequence: str = ""
    sequence_words: str = ""
    echo_parts_ms: tuple[float, float] | None = None
    water: np.ndarray | None = None
    lps_from_box: np.ndarray | None = None
    no_place: str | None = None
    series: str = ""
    frame: str = ""

    def __post_init__(self) -> None:
        for name, array in (("array", self.array), ("water", self.water)):
            if array is None:
                continue
            if array.dtype != np.complex128 or array.ndim != 3 or min(array.shape) < 1:
                raise BadSpectrum(f"{name}: samples are complex128 (repetition, coil, point), not {array.dtype} of {array.shape}")
            if not np.isfinite(array).all():
                raise BadSpectrum(f"{name}: a sample is not finite")
        if not (self.spectral_width_hz > 0 and self.field_mhz > 0 and self.echo_time_ms > 0):
            raise BadSpectrum("a spectrum states its spectral width, the frequency of its transmitter and its echo time")
        if (self.lps_from_box is None) == (self.no_place is None):
            raise BadSpectrum("a voxel has a place, or the words that say why it has none")

    @property
    def points(self) -> int:
        return self.array.shape[2]

    @property
    def voxel_ml(self) -> float | None:
        """The volume of the voxel."""
        return None if self.lps_from_box is None else float(abs(np.linalg.det(self.lps_from_box[:3, :3]))) / 1000.0


@dataclass(frozen=True, eq=False)
class Spectra:
    """Every single-voxel spectrum of a study, in the order of the series; at least one."""

    voxels: tuple[Spectrum, ...]

    def __post_init__(self) -> None:
        if not self.voxels:
            raise BadSpectrum("there is no spectrum")
