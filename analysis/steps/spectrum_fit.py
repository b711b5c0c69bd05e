"""A single-voxel spectrum in ratios of metabolites: prepared, fitted, with errors that hold, or the reason why not.

Ratios are of amounts of substance as the echo shows them: not corrected for relaxation (T1, T2). The standard error joins the noise
(Cramér–Rao bound of the full model) and the spread over baselines of several stiffness. A ratio whose relative standard error is above 20
% (the limit of Wilson 2019, doi 10.1002/mrm.27742, for a bound worth reporting) is a gap with the numbers; at long echo times
myo-inositol and glutamate are gaps.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from analysis.outcome import Gap
from analysis.spectrum import Spectrum
from analysis.steps.metabolite_basis import Basis, metabolite_basis
from analysis.steps.spectrum_model import Model, Prior, Solution
from analysis.steps.spectrum_preparation import PreparedSpectrum, prepared_spectrum
from analysis.steps.spin_echoes import WATER_PPM, echo_timing
from analysis.words import say

RATIOS = {
    "naa_cr": ("tNAA", "tCr"), "naa_cho": ("tNAA", "tCho"), "naa_mi": ("tNAA", "mI"), "cho_cr": ("tCho", "tCr"), "mi_cr": ("mI", "tCr"),
    "glx_cr": ("Glx", "tCr"),
}  # fmt: skip
SHORT_ECHO_MS = 45.0
WIDEST = 0.20  # relative standard error of a ratio that is still given
RANGE_PPM = (0.5, 4.1)


@dataclass(frozen=True)
class Ratio:
    """A molar ratio of two sums of metabolites with its standard error and 95 % interval."""

    value: float
    standard_error: float
    low: float
    high: float


@dataclass(frozen=True, eq=False)
class SpectrumFit:
    """What a spectrum gave.

    `ratios` by name (naa_cr, naa_cho, naa_mi, cho_cr, mi_cr, glx_cr): those that hold; every other is in `gaps` with its reason. `snr`:
    height of the NAA line over the standard deviation of the noise, both in the real spectrum without filter. `linewidth_hz`: full width
    at half maximum of the singlets as fitted; `water_linewidth_hz`: that of the unsuppressed water, None without it. `ppm` (point,)
    rising; `data`, `fit` (with baseline), `baseline`, `residual` (point,): real spectra in the scanner's own unit of arbitrary scale.
    `frequency_shift_hz`: the singlets' place less the published. `amplitudes`: sums of metabolites (tNAA …) and their standard errors in
    institutional units. `short_echo`: TE of at most 45 ms. `notes`: sentences for the reader.
    """

    ratios: Mapping[str, Ratio]
    gaps: tuple[Gap, ...]
    snr: float
    linewidth_hz: float
    water_linewidth_hz: float | None
    frequency_shift_hz: float
    short_echo: bool
    ppm: np.ndarray
    data: np.ndarray
    fit: np.ndarray
    baseline: np.ndarray
    residual: np.ndarray
    amplitudes: Mapping[str, tuple[float, float]]
    notes: tuple[str, ...] = ()


STIFFNESS = (3.0, 10.0, 30.0)
TO_BIG = {  # sparse metabolites over tNAA + tCr + 3 tCho: expectation and error, soft as in LCModel
    "sI": (0.02, 0.02), "Tau": (0.04, 0.04), "GABA": (0.04, 0.04), "Asp": (0.05, 0.05), "Lac": (0.02, 0.06), "GSH": (0.04, 0.04),
    "-CrCH2": (0.0, 0.06),
}  # fmt: skip
TO_MM09 = {  # broad lines over that at 0.92 ppm
    "MM12": (0.3, 0.15), "MM14": (0.7, 0.35), "MM17": (0.5, 0.25), "MM20": (1.5, 0.5), "MM22": (0.6, 0.4), "MM26": (0.3, 0.3),
    "MM30": (0.4, 0.25), "MM32": (0.4, 0.3), "MM37": (0.5, 0.4), "MM39": (0.4, 0.4), "Lip09": (0.0, 0.3), "Lip13": (0.0, 0.5),
}  # fmt: skip
NAAG_TO_NAA = (0.15, 0.15)


def fitted(spectrum: Spectrum) -> SpectrumFit:
    """The ratios of one spectrum. Raises `NotMeasurable` where it is no spectrum of a brain."""
    prepared = prepared_spectrum(spectrum)
    basis = metabolite_basis(echo_timing(spectrum), prepared.field_mhz, prepared.spectral_width_hz, len(prepared.decay))
    solutions = _solutions(prepared, basis)
    return _report(spectrum, prepared, solutions)


def _solutions(prepared: PreparedSpectrum, basis: Basis) -> list[Solution]:
    """One fit for every stiffness of the baseline, each started from the one before."""
    decay = prepared.decay * np.exp(-1j * prepared.phase)
    span = (max(RANGE_PPM[0], WATER_PPM - prepared.spectral_width_hz / prepared.field_mhz / 2 + 0.2), RANGE_PPM[1])
    rate, field, none = prepared.spectral_width_hz, prepared.field_mhz, Prior(np.zeros((0, len(basis.names))), np.zeros(0))
    model = Model(decay, rate, field, basis, span, _noise(prepared), prepared.width_hz, STIFFNESS[1], none)
    start = model.start(shift_hz=prepared.shift_hz)
    solution = replace(model, prior=_prior(basis, model.amplitudes(start)[0])).solve(start)
    for _ in range(2):
        scale = max(1.0, solution.misfit)
        solution = solution.refined(noise=solution.model.noise * scale, prior=_prior(basis, solution.amplitudes))
    return [solution.refined(stiffness=stiffness) for stiffness in STIFFNESS]


def _prior(basis: Basis, amplitudes: np.ndarray) -> Prior:
    """Soft ratios; the errors are scaled by the amplitudes seen last."""
    names = list(basis.names)
    big = basis.members("tNAA") + basis.members("tCr") + 3 * basis.members("tCho")
    rows = []
    for name, (ratio, error) in TO_BIG.items():
        rows.append((np.eye(len(names))[names.index(name)] - ratio * big) / (error * (big @ amplitudes)))
    broad = max(amplitudes[names.index("MM09")], 0.05 * (big @ amplitudes))
    for name, (ratio, error) in TO_MM09.items():
        rows.append((np.eye(len(names))[names.index(name)] - ratio * np.eye(len(names))[names.index("MM09")]) / (error * broad))
    naa = amplitudes[names.index("NAA")] + 1e-9
    unit = np.eye(len(names))
    rows.append((unit[names.index("NAAG")] - NAAG_TO_NAA[0] * unit[names.index("NAA")]) / (NAAG_TO_NAA[1] * naa))
    return Prior(np.array(rows), np.zeros(len(rows)))


def _noise(prepared: PreparedSpectrum) -> float:
    """Standard deviation of the real spectrum of twice as many points, from where there is no signal."""
    points = len(prepared.decay)
    spectrum = np.fft.fftshift(np.fft.fft(prepared.decay, 2 * points))
    ppm = WATER_PPM + np.fft.fftshift(np.fft.fftfreq(2 * points, 1 / prepared.spectral_width_hz)) / prepared.field_mhz
    half = prepared.spectral_width_hz / prepared.field_mhz / 2
    quiet = ((ppm < 0.0) | (ppm > 9.0)) & (np.abs(ppm - WATER_PPM) < 0.9 * half)
    if quiet.sum() < 60:
        quiet = (ppm > 5.5) & (np.abs(ppm - WATER_PPM) < 0.9 * half)
    steps = np.r_[np.diff(spectrum[quiet].real, 2), np.diff(spectrum[quiet].imag, 2)]
    return float(1.4826 * np.median(np.abs(steps)) / np.sqrt(6))


def _report(spectrum: Spectrum, prepared: PreparedSpectrum, solutions: list[Solution]) -> SpectrumFit:
    middle = solutions[len(solutions) // 2]
    basis = middle.model.basis
    totals = {name: _total(solutions, basis.members(name)) for name in ("tNAA", "tCr", "tCho", "mI", "Glx")}
    short = spectrum.echo_time_ms <= SHORT_ECHO_MS
    ratios, gaps = {}, []
    for name, (above, below) in RATIOS.items():
        ratio = _ratio(solutions, basis.members(above), basis.members(below))
        if not short and {above, below} & {"mI", "Glx"}:
            gaps.append(Gap(name, say("the echo time of {echo:.0f} ms is too long for it", echo=spectrum.echo_time_ms)))
        elif ratio.standard_error > WIDEST * ratio.value:
            gaps.append(Gap(name, say("its standard error is {error:.0f} % of it, above {limit:.0f} %",
                                      error=100 * ratio.standard_error / max(ratio.value, 1e-9), limit=100 * WIDEST)))  # fmt: skip
        else:
            ratios[name] = ratio
    lorentz, gauss = middle.model._widths(middle.parameters)
    narrow = 0.5346 * (lorentz + 2) + np.sqrt(0.2166 * (lorentz + 2) ** 2 + gauss**2)
    inside = np.abs(middle.model.ppm - 2.01 - prepared.shift_hz / prepared.field_mhz) < 0.1
    height = float((middle.fit - middle.baseline)[inside].max()) if inside.any() else 0.0
    return SpectrumFit(
        ratios, tuple(gaps), height / _noise(prepared), float(narrow), None, float(middle.parameters[2]), short, middle.model.ppm,
        middle.model.data, middle.fit, middle.baseline, middle.residual, totals, prepared.notes,
    )  # fmt: skip


def _total(solutions: list[Solution], members: np.ndarray) -> tuple[float, float]:
    values = np.array([members @ one.amplitudes for one in solutions])
    variances = np.array([members @ one.covariance @ members for one in solutions])
    return float(values.mean()), float(np.sqrt(variances.mean() + values.var(ddof=1)))


def _ratio(solutions: list[Solution], above: np.ndarray, below: np.ndarray) -> Ratio:
    """The mean over the baselines; the variance within them (delta method on logarithms) and between them."""
    logarithms, variances = [], []
    for one in solutions:
        top, bottom = above @ one.amplitudes, below @ one.amplitudes
        if top <= 0 or bottom <= 0:
            return Ratio(0.0, np.inf, 0.0, np.inf)
        slope = above / top - below / bottom
        logarithms.append(np.log(top / bottom))
        variances.append(slope @ one.covariance @ slope)
    value = float(np.exp(np.mean(logarithms)))
    error = float(np.sqrt(np.mean(variances) + np.var(logarithms, ddof=1)))
    return Ratio(value, value * error, float(value * np.exp(-1.96 * error)), float(value * np.exp(1.96 * error)))
