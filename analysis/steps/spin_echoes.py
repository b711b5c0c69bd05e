"""What a localised echo makes of coupled protons: the density matrix of a spin group through PRESS, STEAM or sLASER.

Pulses are ideal: no time, no slice profile, no chemical shift displacement; relaxation is left to the line width. PRESS is 90°, TE1/2,
180°, (TE1 + TE2)/2, 180°, TE2/2. STEAM is three pulses of 90°, of whose coherences the crushers keep order 1, then 0 during TM, then
-1. sLASER is 90° and four refocusing pulses, the time between two of them TE/4 and half of it at both ends. Where the header states no
TE1 and TE2, both are half of TE; where it states no TM, TM is 10 ms. The axis: 4.68 ppm is 0 Hz, and a proton at lower ppm has a lower
(negative) frequency in exp(+2πift). Source of the formalism: Young 1998, Magn Reson Med 40:812.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analysis.spectrum import PRESS, SLASER, STEAM, Spectrum
from analysis.steps.spin_systems import SpinGroup

WATER_PPM = 4.68
MIXING_TIME_MS = 10.0  # of STEAM, where the header states none: that of the short-echo product sequences
SMALLEST_LINE = 1e-4  # of one proton: smaller transitions are left out


@dataclass(frozen=True)
class EchoTiming:
    """A sequence and its times in milliseconds: (TE1, TE2) of PRESS, (TE, TM) of STEAM, (TE, 0) of sLASER."""

    sequence: str
    times_ms: tuple[float, float]


def echo_timing(spectrum: Spectrum) -> EchoTiming:
    """The times of a spectrum; where its header states the echo time alone, by the assumptions of this module.

    A sequence that is not named is taken for PRESS, the one that every vendor has as its default.
    """
    echo_ms, parts = spectrum.echo_time_ms, spectrum.echo_parts_ms
    if spectrum.sequence == SLASER:
        return EchoTiming(SLASER, (echo_ms, 0.0))
    if spectrum.sequence == STEAM:
        return EchoTiming(STEAM, (echo_ms, parts[1] if parts else MIXING_TIME_MS))
    return EchoTiming(PRESS, parts or (echo_ms / 2, echo_ms / 2))


def transitions(group: SpinGroup, field_mhz: float, timing: EchoTiming) -> tuple[np.ndarray, np.ndarray]:
    """(line,) frequency in hertz and (line,) complex amplitude in protons of one group at the top of the echo.

    STEAM's half of the signal is made up for, so that amplitudes count protons in every sequence.
    """
    x, y, z = _spin_operators(len(group.shifts_ppm))
    energies, vectors = np.linalg.eigh(_hamiltonian(group, field_mhz, x, y, z))
    state = _echo(_Evolution(energies, vectors), sum(x), sum(y), sum(z), timing)
    detected = (vectors.conj().T @ (sum(x) + 1j * sum(y)) @ vectors).T * (vectors.conj().T @ state @ vectors)
    frequency = (energies[None, :] - energies[:, None]) / (2 * np.pi)
    amplitude = detected * group.copies / 2.0 ** (len(group.shifts_ppm) - 2)
    return _merged(frequency.ravel(), amplitude.ravel())


def _spin_operators(count: int) -> tuple[list[np.ndarray], list[np.ndarray], list[np.ndarray]]:
    pauli = [np.array(one, complex) / 2 for one in ([[0, 1], [1, 0]], [[0, -1j], [1j, 0]], [[1, 0], [0, -1]])]
    return tuple(
        [np.kron(np.kron(np.eye(2**spin), one), np.eye(2 ** (count - spin - 1))) for spin in range(count)] for one in pauli
    )  # fmt: skip


def _hamiltonian(group: SpinGroup, field_mhz: float, x: list, y: list, z: list) -> np.ndarray:
    """In radians per second, rotating with water."""
    total = sum(2 * np.pi * field_mhz * (shift - WATER_PPM) * spin for shift, spin in zip(group.shifts_ppm, z, strict=True))
    for first, second, hertz in group.couplings:
        total = total + 2 * np.pi * hertz * sum(axis[first] @ axis[second] for axis in (x, y, z))
    return total


@dataclass(frozen=True)
class _Evolution:
    """Free precession in the frame of the Hamiltonian's own states."""

    energies: np.ndarray
    vectors: np.ndarray

    def __call__(self, state: np.ndarray, seconds: float) -> np.ndarray:
        inside = self.vectors.conj().T @ state @ self.vectors
        inside = inside * np.exp(-1j * (self.energies[:, None] - self.energies[None, :]) * seconds)
        return self.vectors @ inside @ self.vectors.conj().T


def _echo(evolve: _Evolution, x: np.ndarray, y: np.ndarray, z: np.ndarray, timing: EchoTiming) -> np.ndarray:
    first, second = (time / 1000.0 for time in timing.times_ms)
    if timing.sequence == STEAM:
        half, order = _pulse(x, np.pi / 2), np.real(np.diag(z))
        order = np.rint(order[:, None] - order[None, :])
        state = evolve(half(z) * (order == 1), first / 2)
        state = evolve(half(state) * (order == 0), second)
        return -2.0j * evolve(half(state) * (order == -1), first / 2)  # three pulses about x leave a singlet along y
    refocus = _pulse(y, np.pi)
    waits = [first / 2, (first + second) / 2, second / 2] if timing.sequence == PRESS else [first * part / 8 for part in (1, 2, 2, 2, 1)]
    state = evolve(x.astype(complex), waits[0])
    for wait in waits[1:]:
        state = evolve(refocus(state), wait)
    return state


def _pulse(axis: np.ndarray, angle: float):
    values, vectors = np.linalg.eigh(axis)
    turn = (vectors * np.exp(-1j * angle * values)) @ vectors.conj().T
    return lambda state: turn @ state @ turn.conj().T


def _merged(frequency_hz: np.ndarray, amplitude: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Transitions within a hundredth of a hertz are one line."""
    seen, place = np.unique(np.round(frequency_hz, 2), return_inverse=True)
    total = np.bincount(place, amplitude.real) + 1j * np.bincount(place, amplitude.imag)
    large = np.abs(total) > SMALLEST_LINE
    return seen[large], total[large]
