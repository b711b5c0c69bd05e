"""A single-voxel spectrum in ratios of metabolites: prepared, fitted, with errors that hold, or the reason why not.

Ratios are of amounts of substance as the echo shows them: not corrected for relaxation (T1, T2). Several models are fitted: baselines of
three stiffnesses, and for PRESS whose header states no TE1, two ways to divide the echo time. The standard error joins the Cramér–Rao
bound of the full model, with the residual for noise where it is larger, and the spread over the models. A ratio is a gap with its numbers
where its relative standard error is above 20 % (Wilson 2019, doi 10.1002/mrm.27742, names that limit; it is put on the whole error here);
where it needs myo-inositol or glutamate at a long echo time; or where it needs them on a baseline steeper than the lines are high, as
unsuppressed water and the edge of the band leave it. No brain: creatine, choline or NAA is not there, the lines do not lie where they
belong, or water lies as far from NAA as in a solution at room temperature (Cady 1995, doi 10.1002/mrm.1910330620).

Measured (benchmarks/spectra.py, seeds 3000 to 3009, not tuned on): of 120 simulated spectra (1.5, 3 and 7 T, PRESS, STEAM and sLASER, TE
20 to 288 ms, SNR 15 to 100, a line shape, macromolecules and baseline that are not the model's) the 95 % intervals held in 98 to 100 of
100 per ratio, in no condition in fewer than 8 of 9. Bias of NAA/Cr at most 3 % in any condition; of NAA/Cho and Cho/Cr at most 8 %, but
11 % where choline is weak (1.5 T, TE 288 ms: given in 4 of 10); NAA lowered by 10 and 20 % in the same person (five people): NAA/Cr -10.0
± 0.5 and -20.0 ± 1.0 %.
In vivo, one brain at 3 T (PRESS 30, posterior cingulate): NAA/Cr 1.14 ± 0.05, Cho/Cr 0.127 ± 0.011, mI/Cr 0.68 ± 0.07, Glx/Cr 1.63 ±
0.32; the residual is 1.2 times the noise. With TE1 from 10 to 20 ms NAA/Cr moves from 1.16 to 1.12, mI/Cr from 0.77 to 0.57. The widths
decide: one width for all metabolites gives NAA/Cr 1.35, Cho/Cr 0.17 and a residual 8 % larger, and the three singlets alone, without
their first 40 ms, 1.12 with a width each and 1.28 with one for all, whose residual is 28 % larger. So the creatine's line is wider here
than that of NAA, and a program that gives all one width finds higher ratios. Its broad lines are those of the prior: no proof of
them.
At 7 T (PRESS 30, no water, a band that ends at 1.5 ppm on a steep baseline) NAA/Cr 1.05 ± 0.11, Cho/Cr 0.36 ± 0.05: the residual is
noise, but Cho/Cr was 0.27 to 0.45 with other signals left free.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from threadpoolctl import threadpool_limits

from analysis.outcome import Gap, NotMeasurable
from analysis.spectrum import PRESS, Spectrum
from analysis.steps.metabolite_basis import Basis, metabolite_basis
from analysis.steps.metabolite_priors import soft_prior
from analysis.steps.spectrum_model import Model, Prior, Solution
from analysis.steps.spectrum_preparation import PreparedSpectrum, prepared_spectrum
from analysis.steps.spin_echoes import WATER_PPM, EchoTiming, echo_timing
from analysis.words import Words, say

RATIOS = {
    "naa_cr": ("tNAA", "tCr"), "naa_cho": ("tNAA", "tCho"), "naa_mi": ("tNAA", "mI"), "cho_cr": ("tCho", "tCr"), "mi_cr": ("mI", "tCr"),
    "glx_cr": ("Glx", "tCr"),
}  # fmt: skip
SHORT_ECHO_MS = 45.0
WIDEST = 0.20  # relative standard error of a ratio that is still given
RANGE_PPM = (0.5, 4.1)
STIFFNESS = (5.0, 20.0, 80.0)  # of the baseline: from what bends at 0.3 ppm to what bends at 1 ppm
SPLITS = (0.5, 0.4)  # TE1 over TE of PRESS, where the header states none
SEEN = 3.0  # times its error: a metabolite that is there
COLDEST_CELSIUS = 28.0  # of a patient, with the error of the place of water
STEEPEST = 1.0  # baseline: its range over the height of NAA
TEMPER = 10.0  # a fit whose residual is twice as large in power counts 2**-10


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
    rising; `data`, `fit` (with baseline), `baseline`, `residual` (point,): real spectra of arbitrary scale. `frequency_shift_hz`: the
    singlets' place less the published. `amplitudes`: sums of metabolites (tNAA …) and their standard errors, per proton, of the same
    arbitrary scale; `water_amplitude`: unsuppressed water on that scale, None without it. `short_echo`: TE of at most 45 ms. `notes`:
    sentences for the reader.
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
    water_amplitude: float | None
    notes: tuple[str, ...] = ()


def fitted(spectrum: Spectrum) -> SpectrumFit:
    """The ratios of one spectrum. Raises `NotMeasurable` where it is no spectrum of a brain."""
    with threadpool_limits(1):  # the matrices are small: threads would wait for each other
        prepared = prepared_spectrum(spectrum)
        solutions: list[Solution] = []
        for timing in _timings(spectrum):
            basis = metabolite_basis(timing, prepared.field_mhz, prepared.spectral_width_hz, len(prepared.decay))
            solutions += _solutions(prepared, basis, solutions[0] if solutions else None)
        return _report(spectrum, prepared, solutions)


def _timings(spectrum: Spectrum) -> list[EchoTiming]:
    """What the sequence may have been: where PRESS states no TE1, several."""
    timing = echo_timing(spectrum)
    if timing.sequence != PRESS or spectrum.echo_parts_ms:
        return [timing]
    return [EchoTiming(PRESS, (split * spectrum.echo_time_ms, (1 - split) * spectrum.echo_time_ms)) for split in SPLITS]


def _solutions(prepared: PreparedSpectrum, basis: Basis, near: Solution | None) -> list[Solution]:
    """One fit for every stiffness of the baseline. `near`: a fit with another basis to start from."""
    if near is None:
        near = _first(prepared, basis)
        _refuse_no_brain(near)
    for _ in range(2):
        noise = near.model.noise * max(1.0, near.misfit)
        near = near.refined(basis=basis, noise=noise, prior=soft_prior(basis, near.amplitudes))
    return [near if stiffness == near.model.stiffness else near.refined(stiffness=stiffness) for stiffness in STIFFNESS]


def _refuse_no_brain(solution: Solution) -> None:
    """Raise `NotMeasurable` where a line that every brain has is not there."""
    basis, covariance = solution.model.basis, solution.covariance * solution.misfit**2
    for name, words in (("tCr", say("creatine")), ("tCho", say("choline")), ("tNAA", say("N-acetylaspartate"))):
        members = basis.members(name)
        value, error = members @ solution.amplitudes, np.sqrt(members @ covariance @ members)
        if value < SEEN * error:
            raise NotMeasurable(
                say("it is no spectrum of a brain: the amplitude of {metabolite} is {times:.1f} times its error, below {least:.0f}",
                    metabolite=words, times=value / error, least=SEEN)
            )  # fmt: skip


def _refuse_the_cold(prepared: PreparedSpectrum, solution: Solution) -> None:
    """Raise `NotMeasurable` where the distance from water to NAA is that of a solution at room temperature (Cady 1995)."""
    if prepared.water_hz is None:
        return
    naa_ppm = 2.008 + (solution.parameters[2] - prepared.water_hz) / prepared.field_mhz
    celsius = 286.9 - 94.0 * (WATER_PPM - naa_ppm)
    if celsius < COLDEST_CELSIUS:
        raise NotMeasurable(
            say("it is no spectrum of a living brain: water and NAA lie {ppm:.2f} ppm apart, as at {celsius:.0f} °C",
                ppm=WATER_PPM - naa_ppm, celsius=celsius)
        )  # fmt: skip


def _first(prepared: PreparedSpectrum, basis: Basis) -> Solution:
    """The fit from nothing but the place, phase and width of the singlets."""
    decay = prepared.decay * np.exp(-1j * prepared.phase)
    span = (max(RANGE_PPM[0], WATER_PPM - prepared.spectral_width_hz / prepared.field_mhz / 2 + 0.2), RANGE_PPM[1])
    rate, field, none = prepared.spectral_width_hz, prepared.field_mhz, Prior(np.zeros((0, len(basis.names))), np.zeros(0))
    model = Model(decay, rate, field, basis, span, _noise(prepared), prepared.width_hz, STIFFNESS[1], none)
    start = model.start(shift_hz=prepared.shift_hz)
    return replace(model, prior=soft_prior(basis, model.amplitudes(start)[0])).solve(start)


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
    middle = solutions[int(np.argmax(_weights(solutions)))]
    basis = middle.model.basis
    totals = {name: _total(solutions, basis.members(name)) for name in ("tNAA", "tCr", "tCho", "mI", "Glx")}
    _refuse_the_cold(prepared, middle)
    height, roll = _naa_height(middle), float(np.ptp(middle.baseline))
    short = spectrum.echo_time_ms <= SHORT_ECHO_MS
    ratios, gaps = {}, []
    for name, (above, below) in RATIOS.items():
        ratio = _ratio(solutions, basis.members(above), basis.members(below))
        reason = _no_ratio(ratio, bool({above, below} & {"mI", "Glx"}), spectrum.echo_time_ms, roll / height)
        if reason is None:
            ratios[name] = ratio
        else:
            gaps.append(Gap(name, reason))
    return SpectrumFit(
        ratios, tuple(gaps), height / _noise(prepared), _singlet_width_hz(middle), _water_width_hz(prepared),
        float(middle.parameters[2]), short, middle.model.ppm,
        middle.model.data, middle.fit, middle.baseline, middle.residual, totals,
        None if prepared.water is None else amplitude_of(prepared.water), prepared.notes,
    )  # fmt: skip


def _naa_height(solution: Solution) -> float:
    """Of its line over the baseline."""
    model = solution.model
    near = np.abs(model.ppm - 2.01 - solution.parameters[2] / model.field_mhz) < 0.1
    return max(float((solution.fit - solution.baseline)[near].max(initial=0.0)), 1e-12)


def _no_ratio(ratio: Ratio, is_coupled: bool, echo_time_ms: float, roll: float) -> Words | None:
    """Why a ratio is not given. `is_coupled`: it needs myo-inositol or glutamate; `roll`: of the baseline over the height of NAA."""
    if is_coupled and echo_time_ms > SHORT_ECHO_MS:
        return say("the echo time of {echo:.0f} ms is too long for it", echo=echo_time_ms)
    if is_coupled and roll > STEEPEST:
        return say("the baseline rises and falls by {roll:.1f} times the height of NAA, above {limit:.0f}", roll=roll, limit=STEEPEST)
    if not ratio.standard_error < np.inf:
        return say("one of its metabolites was not seen")
    if ratio.standard_error > WIDEST * ratio.value:
        share = 100 * ratio.standard_error / ratio.value
        return say("its standard error is {error:.0f} % of it, above {limit:.0f} %", error=share, limit=100 * WIDEST)
    return None


def _singlet_width_hz(solution: Solution) -> float:
    """Of the line of NAA as fitted."""
    decay = solution.model.envelopes(solution.parameters)[solution.model.basis.names.index("NAA")]
    return half_width_hz(decay, solution.model.spectral_width_hz)


def _water_width_hz(prepared: PreparedSpectrum) -> float | None:
    return None if prepared.water is None else half_width_hz(prepared.water, prepared.spectral_width_hz)


def half_width_hz(decay: np.ndarray, spectral_width_hz: float) -> float:
    """Full width at half maximum of the one line in a decay."""
    points = 16 * len(decay)
    line = np.fft.fftshift(np.abs(np.fft.fft(np.r_[decay[:1] / 2, decay[1:]], points).real))
    top = int(line.argmax())
    low = top - int(np.argmax(line[top::-1] < line[top] / 2))
    high = top + int(np.argmax(line[top:] < line[top] / 2))
    return (high - low) * spectral_width_hz / points


def amplitude_of(decay: np.ndarray) -> float:
    """Of the one line in a decay, at its start: a parabola through the logarithm of its first half; the first point is not trusted."""
    size = np.abs(decay)
    gone = np.flatnonzero(size[1:] < 0.5 * size[1:].max())
    early = np.arange(1, max(8, int(gone[0]) if len(gone) else len(size)))
    return float(np.exp(np.polyval(np.polyfit(early, np.log(size[early]), 2), 0.0)))


def _weights(solutions: list[Solution]) -> np.ndarray:
    """(solution,) how much each counts: by the power of its residual, tempered, since what is left is not noise alone."""
    power = np.array([(one.residual**2).sum() for one in solutions])
    weights = (power / power.min()) ** -TEMPER
    return weights / weights.sum()


def _joined(values: np.ndarray, variances: np.ndarray, weights: np.ndarray) -> tuple[float, float]:
    """The weighted mean, and the variance within and between."""
    mean = float(weights @ values)
    return mean, float(weights @ variances + weights @ (values - mean) ** 2)


def _total(solutions: list[Solution], members: np.ndarray) -> tuple[float, float]:
    values = np.array([members @ one.amplitudes for one in solutions])
    variances = np.array([members @ one.covariance @ members for one in solutions])
    mean, variance = _joined(values, variances, _weights(solutions))
    return mean, float(np.sqrt(variance))


def _ratio(solutions: list[Solution], above: np.ndarray, below: np.ndarray) -> Ratio:
    """Over the models; the variance of the logarithm within them by the delta method."""
    logarithms, variances = [], []
    for one in solutions:
        top, bottom = above @ one.amplitudes, below @ one.amplitudes
        if top <= 0 or bottom <= 0:
            return Ratio(0.0, np.inf, 0.0, np.inf)
        slope = above / top - below / bottom
        logarithms.append(np.log(top / bottom))
        variances.append(slope @ one.covariance @ slope)
    mean, variance = _joined(np.array(logarithms), np.array(variances), _weights(solutions))
    value, error = float(np.exp(mean)), float(np.sqrt(variance))
    return Ratio(value, value * error, float(value * np.exp(-1.96 * error)), float(value * np.exp(1.96 * error)))
