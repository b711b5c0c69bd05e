"""The model of a spectrum: a linear combination of known signals under one line shape, on a smooth baseline.

Amplitudes are found inside (never negative, baseline free but smooth), everything else outside them by Levenberg–Marquardt: variable
projection, Golub 2003, doi 10.1088/0266-5611/19/2/201. The line shape is shared by all signals: a decay, and smooth departures from it in
size and phase, as an uneven field or eddy currents leave them. Every signal may move and broaden a little. What is known beforehand
enters as observations with an error (`Priors`), so one covariance holds for all. Baseline: a cubic spline whose roughness costs, after
Wilson 2021, doi 10.1002/mrm.28385. The real part of the spectrum of twice as many points carries all information and its noise is white.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy.interpolate import BSpline, CubicSpline
from scipy.linalg import qr
from scipy.optimize import nnls

from analysis.steps.metabolite_basis import Basis
from analysis.steps.spin_echoes import WATER_PPM

KNOT_PPM = 0.15
SHAPE_NODES = (0.35, 0.8, 1.5, 2.5)  # of the line shape, in times 1 / (pi width)
SHAPE_SD = 0.25  # nepers, and radians
SHIFT_SD_PPM, BROAD_SHIFT_SD_PPM = 0.004, 0.015  # temperature and pH move a metabolite by thousandths
WIDTH_SD, BROAD_WIDTH_SD = 0.35, 0.15  # of the logarithm
TOGETHER = (  # move and broaden as one
    ("NAA", "NAAG"), ("Cr", "PCr"), ("Cr rest", "PCr rest"), ("GPC", "PCh"), ("Glu", "Gln"),
)  # fmt: skip
PIVOT_PPM = 2.5  # of the first-order phase
DELAY_SD_S = 1.5e-4  # of the first point from the top of the echo: the receiver's filter
STEPS = 40


@dataclass(frozen=True, eq=False)
class Prior:
    """What is known of amplitudes beforehand: `rows` @ amplitudes is `values` with an error of one; rows (prior, signal)."""

    rows: np.ndarray
    values: np.ndarray


@dataclass(frozen=True, eq=False)
class Model:
    """One spectrum to be explained: its decay of (point,) complex128, what it was made with, and how smooth the baseline is.

    `range_ppm`: what is fitted. `noise`: of the real part of the spectrum. `line_hz`: the width expected. `stiffness`: the weight of the
    baseline's roughness.
    """

    decay: np.ndarray
    spectral_width_hz: float
    field_mhz: float
    basis: Basis
    range_ppm: tuple[float, float]
    noise: float
    line_hz: float
    stiffness: float
    prior: Prior

    @cached_property
    def time_s(self) -> np.ndarray:
        return np.arange(len(self.decay)) / self.spectral_width_hz

    @cached_property
    def _inside(self) -> np.ndarray:
        every = WATER_PPM + np.fft.fftshift(np.fft.fftfreq(2 * len(self.decay), 1 / self.spectral_width_hz)) / self.field_mhz
        return (every > self.range_ppm[0]) & (every < self.range_ppm[1])

    @cached_property
    def ppm(self) -> np.ndarray:
        every = WATER_PPM + np.fft.fftshift(np.fft.fftfreq(2 * len(self.decay), 1 / self.spectral_width_hz)) / self.field_mhz
        return every[self._inside]

    def spectrum(self, decays: np.ndarray) -> np.ndarray:
        """Complex spectra (…, ppm) of decays (…, point)."""
        return np.fft.fftshift(np.fft.fft(decays, 2 * len(self.decay), axis=-1), axes=-1)[..., self._inside]

    @cached_property
    def data(self) -> np.ndarray:
        return self.spectrum(self.decay).real

    @cached_property
    def splines(self) -> np.ndarray:
        """(ppm, spline) the baseline's parts."""
        low, high = self.ppm[0], self.ppm[-1]
        count = max(5, int(np.ceil((high - low) / KNOT_PPM)))
        step = (high - low) / count
        knots = low + step * np.arange(-3, count + 4)
        return BSpline.design_matrix(np.clip(self.ppm, low, high - 1e-9), knots, 3).toarray()

    @cached_property
    def roughness(self) -> np.ndarray:
        return self.stiffness * np.diff(np.eye(self.splines.shape[1]), 2, axis=0)

    @cached_property
    def _baseline_space(self) -> np.ndarray:
        """An orthonormal base of what the baseline explains, in observations: spectrum, roughness, priors."""
        rows = np.vstack([self.splines / self.noise, self.roughness, np.zeros((len(self.prior.values), self.splines.shape[1]))])
        return np.linalg.qr(rows)[0]

    @cached_property
    def baseline_freedom(self) -> float:
        """Degrees of freedom that the baseline has: the trace of its smoother."""
        return float((self._baseline_space[: len(self.ppm)] ** 2).sum())

    @cached_property
    def shapes(self) -> np.ndarray:
        """(node, point) smooth departures of the line shape; nothing at the first point, constant after the last node."""
        unit = np.clip(self.time_s * np.pi * self.line_hz, 0, SHAPE_NODES[-1])
        flat = np.zeros(len(SHAPE_NODES))
        return CubicSpline((0.0, *SHAPE_NODES), np.eye(len(SHAPE_NODES) + 1)[:, 1:], bc_type=((2, flat), (1, flat)))(unit).T

    @cached_property
    def families(self) -> np.ndarray:
        """(signal,) the number of the family that a signal moves with."""
        first = {name: family[0] for family in TOGETHER for name in family}
        heads = [first.get(name, name) for name in self.basis.names]
        return np.array([list(dict.fromkeys(heads)).index(head) for head in heads])

    @cached_property
    def _spread(self) -> tuple[np.ndarray, np.ndarray]:
        """(family,) prior errors of shifts in hertz and of the logarithm of widths."""
        broad = np.array([self.basis.is_broad[self.families == family].any() for family in range(self.families.max() + 1)])
        shifts = np.where(broad, BROAD_SHIFT_SD_PPM, SHIFT_SD_PPM) * self.field_mhz
        return shifts, np.where(broad, BROAD_WIDTH_SD, WIDTH_SD)

    def start(self, phase: float = 0.0, shift_hz: float = 0.0) -> np.ndarray:
        """Parameters: phase, its slope, shift in hertz, logarithms of the Lorentzian and Gaussian width over their expectation, the
        line shape's departures, and every family's shift and width, these in prior errors."""
        count = 5 + 2 * len(SHAPE_NODES) + 2 * (self.families.max() + 1)
        parameters = np.zeros(count)
        parameters[0], parameters[2] = phase, shift_hz
        return parameters

    def _prior_of_parameters(self) -> tuple[np.ndarray, np.ndarray]:
        """(parameter,) what is expected and one over its error; 0 where nothing is."""
        weight = np.ones(len(self.start()))
        weight[[0, 2]] = 0.0
        weight[1], weight[3], weight[4] = 1 / (2 * np.pi * self.field_mhz * DELAY_SD_S), 1 / 0.7, 1 / 0.5
        weight[5 : 5 + 2 * len(SHAPE_NODES)] = 1 / SHAPE_SD
        return np.zeros(len(weight)), weight

    def envelopes(self, parameters: np.ndarray) -> np.ndarray:
        """(signal, point) how every signal dies away: the line shape that all share and its own width."""
        nodes, families = len(SHAPE_NODES), self.families.max() + 1
        widened = np.exp(parameters[5 + 2 * nodes + families :] * self._spread[1])[self.families]
        lorentz, gauss = self._widths(parameters)
        shape = -np.pi * lorentz * self.time_s - (np.pi * gauss * self.time_s) ** 2 / (4 * np.log(2))
        shape = shape + parameters[5 : 5 + nodes] @ self.shapes + 1j * parameters[5 + nodes : 5 + 2 * nodes] @ self.shapes
        own = -np.pi * np.outer(self.basis.lorentz_hz * widened, self.time_s)
        own -= np.outer((np.pi * self.basis.gauss_hz * widened) ** 2 / (4 * np.log(2)), self.time_s**2)
        return np.exp(own + shape)

    def signals(self, parameters: np.ndarray) -> np.ndarray:
        """Decays (signal, point) of one unit of every signal."""
        first = 5 + 2 * len(SHAPE_NODES)
        moved = (parameters[first : first + self.families.max() + 1] * self._spread[0])[self.families]
        turned = np.exp(1j * parameters[0] + 2j * np.pi * np.outer(parameters[2] + moved, self.time_s))
        return self.basis.decays * self.envelopes(parameters) * turned

    def _widths(self, parameters: np.ndarray) -> tuple[float, float]:
        return 0.3 * self.line_hz * np.exp(parameters[3]), 0.8 * self.line_hz * np.exp(parameters[4])

    def _slope(self, parameters: np.ndarray) -> np.ndarray:
        return np.exp(1j * parameters[1] * (self.ppm - PIVOT_PPM))

    def columns(self, parameters: np.ndarray) -> np.ndarray:
        """(ppm, signal) real spectra of one unit of every signal."""
        return (self._slope(parameters) * self.spectrum(self.signals(parameters))).real.T

    def derivative(self, parameters: np.ndarray, amplitudes: np.ndarray) -> np.ndarray:
        """(ppm, parameter) of the metabolites' part of the model."""
        nodes, families, time = len(SHAPE_NODES), self.families.max() + 1, self.time_s
        shift_sd, width_sd = self._spread
        weighted = amplitudes[:, None] * self.signals(parameters)
        sums = np.zeros((families, len(time)), complex)
        np.add.at(sums, self.families, weighted)
        whole = sums.sum(0)
        lorentz, gauss = self._widths(parameters)
        widening = -np.pi * self.basis.lorentz_hz[:, None] * time
        widened = np.exp(parameters[5 + 2 * nodes + families :] * width_sd)[self.families]
        widening = widening * widened[:, None] - 2 * np.outer((np.pi * self.basis.gauss_hz * widened) ** 2 / (4 * np.log(2)), time**2)
        widths = np.zeros((families, len(time)), complex)
        np.add.at(widths, self.families, weighted * widening)
        decays = np.vstack([
            1j * whole, np.zeros(len(time)), 2j * np.pi * time * whole, -np.pi * lorentz * time * whole,
            -2 * (np.pi * gauss * time) ** 2 / (4 * np.log(2)) * whole, self.shapes * whole, 1j * self.shapes * whole,
            2j * np.pi * time * sums * shift_sd[:, None], widths * width_sd[:, None],
        ])  # fmt: skip
        slope = self._slope(parameters)
        rows = slope * self.spectrum(decays)
        rows[1] = 1j * (self.ppm - PIVOT_PPM) * slope * self.spectrum(whole)
        return rows.real.T

    def amplitudes(self, parameters: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Best amplitudes (signal,) ≥ 0 here, what is left of all observations (observation,), and the columns (ppm, signal)."""
        columns = self.columns(parameters)
        rows = np.vstack([columns / self.noise, np.zeros((len(self.roughness), columns.shape[1])), self.prior.rows])
        target = np.r_[self.data / self.noise, np.zeros(len(self.roughness)), self.prior.values]
        free = self._baseline_space
        rows, target = rows - free @ (free.T @ rows), target - free @ (free.T @ target)
        scale = np.linalg.norm(rows, axis=0) + 1e-30
        # the corner of a QR holds the whole problem in a few rows
        corner = qr(np.column_stack([rows / scale, target]), mode="r", overwrite_a=True)[0][: columns.shape[1] + 1]
        found = nnls(corner[:, :-1], corner[:, -1], maxiter=50 * len(scale))[0] / scale
        return found, target - rows @ found, columns

    def baseline(self, parameters: np.ndarray, amplitudes: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """(spline,) the smooth remainder."""
        rows = np.vstack([self.splines / self.noise, self.roughness])
        left = np.r_[(self.data - columns @ amplitudes) / self.noise, np.zeros(len(self.roughness))]
        return np.linalg.lstsq(rows, left, rcond=None)[0]

    def solve(self, parameters: np.ndarray) -> Solution:
        """Levenberg–Marquardt from these parameters."""
        expected, weight = self._prior_of_parameters()
        damping = 1e-2
        amplitudes, left, _ = self.amplitudes(parameters)
        cost = left @ left + ((parameters - expected) * weight) @ ((parameters - expected) * weight)
        for _ in range(STEPS):
            jacobian = self._projected(parameters, amplitudes)
            gradient = jacobian.T @ left + weight**2 * (expected - parameters)
            curvature = jacobian.T @ jacobian + np.diag(weight**2)
            for _ in range(8):
                step = np.linalg.solve(curvature + damping * np.diag(np.diag(curvature) + 1e-12), gradient)
                trial = parameters + step
                found, rest, _ = self.amplitudes(trial)
                trial_cost = rest @ rest + (((trial - expected) * weight) ** 2).sum()
                if trial_cost < cost:
                    break
                damping *= 5
            else:
                break
            gain, cost = cost - trial_cost, trial_cost
            parameters, amplitudes, left, damping = trial, found, rest, damping / 5
            if gain < 1e-3 + 1e-5 * cost:
                break
        return self._solution(parameters, amplitudes, cost)

    def _projected(self, parameters: np.ndarray, amplitudes: np.ndarray) -> np.ndarray:
        """The derivative of what the amplitudes in use and the baseline cannot follow (Kaufman's approximation)."""
        columns = self.columns(parameters)[:, amplitudes > 0]
        rows = np.vstack([columns / self.noise, np.zeros((len(self.roughness), columns.shape[1])), self.prior.rows[:, amplitudes > 0]])
        slopes = self.derivative(parameters, amplitudes) / self.noise
        slopes = np.vstack([slopes, np.zeros((len(rows) - len(slopes), slopes.shape[1]))])
        free = self._baseline_space
        rows, slopes = rows - free @ (free.T @ rows), slopes - free @ (free.T @ slopes)
        used = np.linalg.qr(rows)[0]
        return slopes - used @ (used.T @ slopes)

    def _solution(self, parameters: np.ndarray, amplitudes: np.ndarray, cost: float) -> Solution:
        columns = self.columns(parameters)
        splines = self.baseline(parameters, amplitudes, columns)
        fit = columns @ amplitudes
        smooth = self.splines @ splines
        return Solution(self, parameters, amplitudes, fit + smooth, smooth, self.data - fit - smooth, cost)


@dataclass(frozen=True, eq=False)
class Solution:
    """The best fit: `amplitudes` (signal,) in protons of the data's unit; `fit`, `baseline` and `residual` (ppm,)."""

    model: Model
    parameters: np.ndarray
    amplitudes: np.ndarray
    fit: np.ndarray
    baseline: np.ndarray
    residual: np.ndarray
    cost: float

    @cached_property
    def covariance(self) -> np.ndarray:
        """(signal, signal) of the amplitudes by the full Fisher matrix: the line shape, shifts, widths and baseline are free as well."""
        model = self.model
        slopes = model.derivative(self.parameters, self.amplitudes) / model.noise
        columns = model.columns(self.parameters) / model.noise
        weight = model._prior_of_parameters()[1]
        signals, others, splines = columns.shape[1], slopes.shape[1], model.splines.shape[1]
        everything = np.vstack([
            np.hstack([columns, slopes, model.splines / model.noise]),
            np.hstack([model.prior.rows, np.zeros((len(model.prior.rows), others + splines))]),
            np.hstack([np.zeros((others, signals)), np.diag(weight), np.zeros((others, splines))]),
            np.hstack([np.zeros((len(model.roughness), signals + others)), model.roughness]),
        ])  # fmt: skip
        scale = np.linalg.norm(everything, axis=0) + 1e-30
        fisher = (everything / scale).T @ (everything / scale)
        inverse = np.linalg.pinv(fisher, rcond=1e-11, hermitian=True)
        return (inverse / scale / scale[:, None])[:signals, :signals]

    @property
    def misfit(self) -> float:
        """The residual's standard deviation over the noise's, for the degrees of freedom left."""
        used = len(self.parameters) / 2 + (self.amplitudes > 0).sum() + self.model.baseline_freedom
        return float(np.sqrt((self.residual**2).sum() / max(len(self.residual) - used, 1)) / self.model.noise)

    def refined(self, **changes) -> Solution:
        """The fit again from here, with something of the model changed."""
        model = replace(self.model, **changes)
        return model.solve(self.parameters)
