"""One clean decay from what the scanner stored: coils combined, repetitions aligned and averaged, turned the right way round.

Coils: weights and phases from the unsuppressed water, else from the spectrum itself. Repetitions: each is moved in frequency and phase
onto their mean (spectral registration, Near 2015, doi 10.1002/mrm.25094). Eddy currents: the phase of the water is taken from the
spectrum (Klose 1990, doi 10.1002/mrm.1910140104). Which way the frequency axis runs is decided from the data: creatine, choline and NAA
must lie where they belong. What is left of the water is taken out as damped exponentials (Hankel singular value decomposition). Raises
`NotMeasurable` where the axis cannot be decided.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import hankel, svd

from analysis.outcome import NotMeasurable
from analysis.spectrum import Spectrum
from analysis.steps.spin_echoes import WATER_PPM
from analysis.words import say

SINGLETS_PPM = {"tNAA": 2.01, "tCr": 3.03, "tCho": 3.21}
SHIFT_RANGE_PPM = 0.35  # how far the scanner's centre may be from water
LONGEST_S = 0.5  # of a decay: nothing but noise is left of a metabolite after that
WATER_HALF_PPM = 0.55  # around the water: what is taken out
BROAD_GONE_S = 0.015  # macromolecules have died away by then
LEAST_LIKENESS = 0.3  # of the power of narrow signals
CLEARER = 1.3  # one way round than the other
UNSUPPRESSED = 20.0  # times the power of all the rest: such water is a reference by itself


@dataclass(frozen=True, eq=False)
class PreparedSpectrum:
    """`decay` complex128 (point,): water near 0 Hz and gone, NAA at a negative frequency, of size 1 at most. `shift_hz`, `phase`: how far
    singlets lie from their published places, and their phase. `water`: the decay of the unsuppressed water in the same unit, or None.
    `width_hz`: of the singlets, roughly. `water_hz`: where water lies, None where it was not seen. `likeness`: how much of the narrow
    signals they explain, 0 to 1. `notes`: sentences for a reader.
    """

    decay: np.ndarray
    spectral_width_hz: float
    field_mhz: float
    shift_hz: float
    phase: float
    width_hz: float
    water: np.ndarray | None
    water_hz: float | None
    likeness: float
    notes: tuple[str, ...]


def prepared_spectrum(spectrum: Spectrum) -> PreparedSpectrum:
    """The decay that is fitted."""
    weights = _coil_weights(spectrum.array if spectrum.water is None else spectrum.water)
    decay = _averaged(np.einsum("c,rcp->rp", weights, spectrum.array))
    water = None if spectrum.water is None else _averaged(np.einsum("c,rcp->rp", weights, spectrum.water))
    notes: list[str] = []
    unit = np.abs(decay).max()
    decay, water = decay / unit, None if water is None else water / unit
    if water is None:
        own = water_of(decay, spectrum.spectral_width_hz, spectrum.field_mhz)
        if (np.abs(own) ** 2).sum() > UNSUPPRESSED * (np.abs(decay - own) ** 2).sum():
            water = own
    water_hz = None
    if water is not None and len(water) == len(decay):
        water_hz = 0.0  # its phase is taken from both
        decay = decay * np.exp(-1j * np.angle(water))
        water = water * np.exp(-1j * np.angle(water))
        notes.append(say("The phase of the unsuppressed water corrects the eddy currents."))
    rate, field = spectrum.spectral_width_hz, spectrum.field_mhz
    ways = [_place(without_water(turned, rate, field), rate, field) for turned in (decay, decay.conj())]
    best, other = sorted(ways, key=lambda way: way.explained, reverse=True)
    if best.likeness < LEAST_LIKENESS or best.explained < CLEARER * other.explained:
        raise NotMeasurable(
            say("it is no spectrum of a brain: the lines of NAA, creatine and choline explain {share:.0f} % of its narrow signals, and "
                "{times:.1f} times as much as with the frequency axis turned round", share=100 * best.likeness,
                times=best.explained / max(other.explained, 1e-30))
        )  # fmt: skip
    points = min(len(best.decay), int(LONGEST_S * rate))
    return PreparedSpectrum(
        best.decay[:points], rate, field, best.shift_hz, best.phase, best.width_hz, water, water_hz, best.likeness, tuple(notes)
    )


def _coil_weights(array: np.ndarray) -> np.ndarray:
    """(coil,) complex weights of the best signal to noise: the first singular vector of the whitened coils."""
    if array.shape[1] == 1:
        return np.ones(1, complex)
    mean = array.mean(0)
    tail = (array[:, :, -array.shape[2] // 4 :] - array[:, :, -array.shape[2] // 4 :].mean(0)).transpose(1, 0, 2).reshape(len(mean), -1)
    if array.shape[0] == 1:
        tail = np.diff(mean[:, -mean.shape[1] // 4 :], axis=1)
    noise = np.sqrt((np.abs(tail) ** 2).mean(1)) + 1e-30
    left = svd(mean / noise[:, None], full_matrices=False)[0][:, 0]
    return left.conj() / noise


def _averaged(repetitions: np.ndarray) -> np.ndarray:
    """The mean of (repetition, point) after each was moved onto it."""
    mean = repetitions.mean(0)
    for _ in range(2 if len(repetitions) > 1 else 0):
        mean = _aligned(repetitions, mean).mean(0)
    return mean


def _aligned(repetitions: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Every repetition with the frequency and phase that fit the mean best: the peak of the spectrum of their product."""
    points = repetitions.shape[1]
    product = np.fft.fft(repetitions * mean.conj(), 8 * points, axis=1)
    cycles = np.fft.fftfreq(8 * points)
    near = np.abs(cycles) * points < 40
    peak = np.argmax(np.where(near, np.abs(product), 0), axis=1)
    phase = np.angle(product[np.arange(len(repetitions)), peak])
    return repetitions * np.exp(-2j * np.pi * cycles[peak][:, None] * np.arange(points) - 1j * phase[:, None])


def without_water(decay: np.ndarray, spectral_width_hz: float, field_mhz: float) -> np.ndarray:
    """The decay less the damped exponentials near the water."""
    return decay - water_of(decay, spectral_width_hz, field_mhz)


def water_of(decay: np.ndarray, spectral_width_hz: float, field_mhz: float, components: int = 25) -> np.ndarray:
    """The damped exponentials near the water (point,)."""
    used = decay[: min(len(decay), 768)]
    rows = len(used) // 2
    left, _, _ = svd(hankel(used[:rows], used[rows - 1 :]), full_matrices=False)
    left = left[:, :components]
    poles = np.linalg.eigvals(np.linalg.lstsq(left[:-1], left[1:], rcond=None)[0])
    size = np.abs(poles)
    poles = np.where(size > 1, poles / size, poles)
    waves = poles[None] ** np.arange(len(decay))[:, None]
    amplitudes = np.linalg.lstsq(waves[: len(used)], used, rcond=None)[0]
    near = np.abs(np.angle(poles) * spectral_width_hz / (2 * np.pi)) < WATER_HALF_PPM * field_mhz
    return waves[:, near] @ amplitudes[near]


@dataclass(frozen=True, eq=False)
class _Place:
    """Where three singlets fit a decay best: the power they explain, alone and over all narrow signals."""

    decay: np.ndarray
    explained: float = 0.0
    likeness: float = 0.0
    shift_hz: float = 0.0
    width_hz: float = 5.0
    phase: float = 0.0


def _place(decay: np.ndarray, spectral_width_hz: float, field_mhz: float) -> _Place:
    """The best of all shifts within reach and of four widths."""
    time_s, points = np.arange(len(decay)) / spectral_width_hz, 2 * len(decay)
    narrow = 1 - np.exp(-((time_s / BROAD_GONE_S) ** 2))
    ppm = WATER_PPM + np.fft.fftshift(np.fft.fftfreq(points, 1 / spectral_width_hz)) / field_mhz
    inside = (ppm > max(1.7, WATER_PPM - spectral_width_hz / field_mhz / 2 + 0.1)) & (ppm < 3.5)
    data = np.fft.fftshift(np.fft.fft(decay * narrow, points))[inside]
    power, step_ppm = float((np.abs(data) ** 2).sum()), ppm[1] - ppm[0]
    reach = int(SHIFT_RANGE_PPM / step_ppm)
    best = _Place(decay)
    for width_hz in (3.0, 5.0, 8.0, 13.0):
        places = np.array(list(SINGLETS_PPM.values()))[:, None]
        lines = narrow * np.exp(2j * np.pi * (places - WATER_PPM) * field_mhz * time_s - np.pi * width_hz * time_s)
        templates = np.fft.fftshift(np.fft.fft(lines, points, axis=1), axes=1)
        for step in range(-reach, reach + 1):
            moved = np.roll(templates, step, axis=1)[:, inside].T
            amplitudes, *_ = np.linalg.lstsq(moved, data, rcond=None)
            explained = power - float((np.abs(data - moved @ amplitudes) ** 2).sum())
            if explained > best.explained:
                shift_hz, phase = step * step_ppm * field_mhz, float(np.angle(amplitudes.sum()))
                best = _Place(decay, explained, explained / power, shift_hz, width_hz, phase)
    return best
