"""The spectrum of the phantom's brain: what a scanner would store of a voxel whose metabolites are known.

Nothing of the fit's model is used but the published spin systems: the line shape is a distribution of fields drawn from a seed and no
Voigt line, the macromolecules are made of many narrow Gaussian lines of their own heights and widths, the baseline is a handful of random
decays that are gone within milliseconds. So what the fit recovers was not put into it by itself. Relaxation within the echo is left out:
ratios of amplitudes are ratios of concentrations.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from analysis.spectrum import PRESS, Spectrum
from analysis.steps.spin_echoes import WATER_PPM, EchoTiming, transitions
from analysis.steps.spin_systems import spin_systems

HEALTHY_MMOL = {  # an invented brain, of the size of what is published for healthy grey matter
    "NAA": 10.5, "NAAG": 1.5, "Cr": 4.5, "PCr": 3.5, "GPC": 1.0, "PCh": 0.6, "mI": 5.5, "sI": 0.3, "Glu": 9.5, "Gln": 3.0, "GABA": 1.2,
    "Asp": 1.5, "Tau": 1.3, "Lac": 0.6, "GSH": 1.2,
}  # fmt: skip
WATER_PROTONS = 86_000.0  # so that millimoles are those per kilogram of water in grey matter at 3 T, TE 30 ms, TR 2 s
BROAD = (  # ppm, area in protons for a macromolecule amplitude of 1, width in ppm
    (0.86, 0.30, 0.08), (0.93, 0.70, 0.10), (1.02, 0.15, 0.10), (1.19, 0.20, 0.10), (1.25, 0.15, 0.12), (1.38, 0.50, 0.11), (1.46,
    0.35, 0.10), (1.64, 0.30, 0.11), (1.72, 0.25, 0.12), (1.88, 0.25, 0.14), (2.02, 0.80, 0.13), (2.12, 0.55, 0.12), (2.25, 0.45,
    0.12), (2.33, 0.35, 0.14), (2.60, 0.20, 0.16), (2.72, 0.15, 0.12), (2.97, 0.35, 0.09), (3.03, 0.20, 0.10), (3.18, 0.25, 0.14),
    (3.28, 0.15, 0.12), (3.62, 0.2, 0.15), (3.76, 0.35, 0.15), (3.88, 0.25, 0.10), (4.02, 0.25, 0.12),
)  # fmt: skip


@dataclass(frozen=True)
class Acquisition:
    """How a spectrum is simulated; see `simulated`."""

    field_mhz: float = 123.2
    sequence: str = PRESS
    echo_time_ms: float = 30.0
    echo_parts_ms: tuple[float, float] | None = None
    repetition_time_ms: float = 2000.0
    spectral_width_hz: float = 2000.0
    points: int = 1024
    linewidth_hz: float = 6.0
    snr: float = 40.0
    macromolecules: float = 1.0
    baseline: float = 1.0
    eddy_rad: float = 0.5
    residual_water: float = 5.0
    drift_hz: float = 0.0
    repetitions: int = 1
    coils: int = 1
    has_water: bool = True
    is_mirrored: bool = False


def simulated(
    concentrations_mmol: Mapping[str, float],
    acquisition: Acquisition,
    seed: int,
    lps_from_box: np.ndarray | None = None,
    series: str = "spectroscopy",
) -> Spectrum:
    """A spectrum of these concentrations (by the names of the spin systems).

    Of the acquisition: `linewidth_hz`, full width at half maximum of a singlet; `snr`, height of the line of NAA over the standard
    deviation of the noise in the real spectrum of the mean over repetitions; `macromolecules` and `baseline`, 1 as in a brain at short
    echo, 0 none; `eddy_rad`, how far eddy currents turn the phase; `residual_water` over the area of NAA; `drift_hz` from the first to
    the last repetition; `has_water`, unsuppressed water beside it; `is_mirrored`, stored conjugated. Deterministic.
    """
    chance = np.random.default_rng(seed)
    time_s = np.arange(acquisition.points) / acquisition.spectral_width_hz
    shape = _line_shape(acquisition.linewidth_hz, time_s, chance)
    naa = 3.0 * concentrations_mmol["NAA"] + 3.0 * concentrations_mmol["NAAG"]
    decay = _metabolites(concentrations_mmol, acquisition, time_s, chance)
    decay += acquisition.macromolecules * _macromolecules(acquisition, time_s, chance) * concentrations_mmol["Cr"]
    decay = decay * shape
    decay += acquisition.baseline * naa * _smooth_remainder(acquisition, time_s, chance)
    decay += acquisition.residual_water * naa * _residual_water(acquisition, time_s, shape, chance)
    eddy = np.exp(1j * _eddy_phase(acquisition.eddy_rad, time_s, chance))
    height = np.abs(np.fft.fft(naa * shape, 2 * acquisition.points)).max()
    noise = height / acquisition.snr / np.sqrt(acquisition.points)  # of the real and the imaginary part of a point of the mean
    water = WATER_PROTONS * shape * np.exp(-np.pi * 2 * time_s)
    coils = _coils(acquisition.coils, chance)
    array = _received(decay * eddy, acquisition, noise, coils, chance)
    waters = _received(water * eddy, acquisition, noise, coils, chance)[:1] if acquisition.has_water else None
    if acquisition.is_mirrored:
        array, waters = array.conj(), None if waters is None else waters.conj()
    return Spectrum(
        array, acquisition.spectral_width_hz, acquisition.field_mhz, acquisition.echo_time_ms, acquisition.repetition_time_ms,
        acquisition.sequence, acquisition.sequence, acquisition.echo_parts_ms, waters, lps_from_box,
        None if lps_from_box is not None else "it was simulated without a place", series,
    )  # fmt: skip


def _metabolites(
    concentrations_mmol: Mapping[str, float], acquisition: Acquisition, time_s: np.ndarray, chance: np.random.Generator
) -> np.ndarray:
    """Every metabolite a little off its published place, with a line width of its own."""
    total = np.zeros(len(time_s), complex)
    first, second = acquisition.echo_parts_ms or (acquisition.echo_time_ms / 2, acquisition.echo_time_ms / 2)
    if acquisition.sequence != PRESS:
        first, second = acquisition.echo_time_ms, (acquisition.echo_parts_ms or (0.0, 10.0))[1] if acquisition.sequence == "STEAM" else 0.0
    timing = EchoTiming(acquisition.sequence, (first, second))
    for name, millimoles in concentrations_mmol.items():
        moved = np.exp(2j * np.pi * chance.normal(0, 0.003) * acquisition.field_mhz * time_s - np.pi * chance.uniform(1.0, 3.0) * time_s)
        for group in spin_systems()[name]:
            frequency_hz, amplitude = transitions(group, acquisition.field_mhz, timing)
            total += millimoles * moved * (np.exp(2j * np.pi * time_s[:, None] * frequency_hz) @ amplitude)
    return total


def _macromolecules(acquisition: Acquisition, time_s: np.ndarray, chance: np.random.Generator) -> np.ndarray:
    """Relaxed by their T2 of 25 ms (3 T) since an echo of 30 ms."""
    relaxed = np.exp(-(acquisition.echo_time_ms - 30.0) / 25.0)
    total = np.zeros(len(time_s), complex)
    for ppm, area, width in BROAD:
        hertz = (ppm - WATER_PPM) * acquisition.field_mhz
        envelope = (np.pi * width * acquisition.field_mhz * time_s) ** 2 / (4 * np.log(2))
        total += area * chance.lognormal(0, 0.2) * np.exp(2j * np.pi * hertz * time_s - envelope)
    return relaxed * total


def _line_shape(linewidth_hz: float, time_s: np.ndarray, chance: np.random.Generator) -> np.ndarray:
    """The decay of protons in an uneven field: 300 frequencies of a lopsided mixture, its half-width brought to what is asked for."""
    main, side = chance.normal(0, 1, 200), chance.normal(chance.uniform(-1.5, 1.5), chance.uniform(0.8, 2.0), 100)
    frequencies = np.r_[main, side] - np.median(np.r_[main, side])
    fine = np.linspace(-8, 8, 3201)

    def width_of(hertz: float) -> float:
        lines = (1 / ((fine * hertz)[:, None] ** 2 * 0 + 1 + ((fine[:, None] - frequencies) * hertz) ** 2)).sum(1)
        above = fine[lines > lines.max() / 2]
        return (above[-1] - above[0]) * hertz

    scales = np.linspace(0.1, 1.0, 19) * linewidth_hz
    scale = scales[np.argmin([abs(width_of(one) - linewidth_hz) for one in scales])]
    return np.exp(2j * np.pi * np.outer(time_s, frequencies * scale)).mean(1) * np.exp(-np.pi * 0.15 * linewidth_hz * time_s)


def _smooth_remainder(acquisition: Acquisition, time_s: np.ndarray, chance: np.random.Generator) -> np.ndarray:
    """Broad lines anywhere, gone within 2 to 5 ms (3 T)."""
    total = np.zeros(len(time_s), complex)
    for _ in range(6):
        hertz = (chance.uniform(-1.0, 6.0) - WATER_PPM) * acquisition.field_mhz
        decay_s = chance.uniform(0.6, 1.5) / (2 * np.pi * acquisition.field_mhz) * 0.5
        total += chance.normal(0, 0.5) * np.exp(2j * np.pi * hertz * time_s - (time_s / (4 * decay_s)))
    return total


def _residual_water(acquisition: Acquisition, time_s: np.ndarray, shape: np.ndarray, chance: np.random.Generator) -> np.ndarray:
    """A few lines within 0.15 ppm of the water, of any phase."""
    total = np.zeros(len(time_s), complex)
    for _ in range(4):
        hertz = chance.normal(0, 0.05) * acquisition.field_mhz
        total += chance.uniform(0, 0.5) * np.exp(2j * np.pi * (hertz * time_s + chance.uniform()) - np.pi * chance.uniform(2, 10) * time_s)
    return total * shape


def _eddy_phase(radians: float, time_s: np.ndarray, chance: np.random.Generator) -> np.ndarray:
    return radians * chance.choice([-1, 1]) * (1 - np.exp(-time_s / chance.uniform(0.01, 0.06)))


def _coils(count: int, chance: np.random.Generator) -> np.ndarray:
    """(coil,) the complex sensitivity of each."""
    return np.ones(1) if count == 1 else chance.uniform(0.5, 1.5, count) * np.exp(2j * np.pi * chance.uniform(size=count))


def _received(decay: np.ndarray, acquisition: Acquisition, noise: float, coils: np.ndarray, chance: np.random.Generator) -> np.ndarray:
    """(repetition, coil, point) with drift, coil phases and noise; the mean over coils and repetitions has `noise`."""
    repetitions, points = acquisition.repetitions, len(decay)
    drift = np.linspace(-0.5, 0.5, repetitions) * acquisition.drift_hz if repetitions > 1 else np.zeros(1)
    turned = np.exp(2j * np.pi * drift[:, None] * np.arange(points) / acquisition.spectral_width_hz)
    clean = decay * turned[:, None, :] * coils[None, :, None]
    strength = noise * np.sqrt(repetitions * (np.abs(coils) ** 2).sum())
    shape = (repetitions, len(coils), points)
    return clean + strength * (chance.normal(size=shape) + 1j * chance.normal(size=shape))
