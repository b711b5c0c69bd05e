"""How closely the motor areas of both sides go together while a person rests.

The signal of each hand area is the mean over its voxels, weighted by their grey matter. 24 parameters of motion (Friston 1996,
10.1002/mrm.1910350312), the means of white matter and of fluid, and all that is slower than 0.01 or faster than 0.1 Hz are taken out in
one regression over the volumes that did not move (Hallquist 2013, 10.1016/j.neuroimage.2013.05.116: one after the other would put back
what the other took out). `r` is Pearson's correlation of what is left; its standard error is that of Fisher's z with as many degrees of
freedom as the regression and the autocorrelation of the signals leave (Bartlett 1946). The whole brain's signal is not taken out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

from analysis.outcome import NotMeasurable
from analysis.steps.activation import FALSE_POSITIVES, censored_of, signals_of
from analysis.steps.bold_motion import Steady
from analysis.steps.bold_place import BoldPlace
from analysis.words import say

BAND_HZ = (0.01, 0.1)
LEAST_FREEDOM = 12.0
LEAST_GREY = 0.2
LEAST_SEED = 10  # voxels


@dataclass(frozen=True, eq=False)
class Network:
    """`r` of the two hand areas and its standard error `error`; `freedom`: effective degrees of freedom. `signals` by side (time,),
    percent, 0 where a volume was left out. `seeds` by side and `map` (slice, row, column): r with the mean of both hand areas, 0 below
    `limit`."""

    r: float
    error: float
    freedom: float
    signals: dict[str, np.ndarray]
    seeds: dict[str, np.ndarray]
    map: np.ndarray
    limit: float


def network(steady: Steady, place: BoldPlace) -> Network:
    """The motor network of a run at rest. NotMeasurable where too little of it is left."""
    kept = ~censored_of(steady)
    terms = confounds_of(steady, place)[kept]
    freedom = kept.sum() - np.linalg.matrix_rank(terms)
    if freedom < LEAST_FREEDOM:
        raise NotMeasurable(say("after motion and noise were taken out, {freedom:.0f} degrees of freedom are left; {least:.0f} are needed",
                                freedom=freedom, least=LEAST_FREEDOM))  # fmt: skip
    seeds = {side: mask & (place.grey > LEAST_GREY) for side, mask in place.hand.items()}
    if min(int(mask.sum()) for mask in seeds.values()) < LEAST_SEED:
        raise NotMeasurable(say("the functional series shows too little of the hand areas"))
    rows = [_mean(steady, place, mask)[kept] for mask in seeds.values()]
    left, right = (_without(row, terms) for row in rows)
    r = float(np.corrcoef(left, right)[0, 1])
    effective = min(float(freedom), _effective(left, right))
    limit, map_ = _map(steady, place, left + right, terms, kept, effective)
    error = (1 - r**2) / np.sqrt(max(effective - 1.0, 3.0))
    signals = {side: _filled(one, kept) for side, one in zip(seeds, (left, right), strict=True)}
    return Network(r, float(error), effective, signals, seeds, map_, limit)


def confounds_of(steady: Steady, place: BoldPlace) -> np.ndarray:
    """What is taken out: (time, n)."""
    moves = steady.moves - steady.moves.mean(axis=0)
    before = np.vstack([moves[:1], moves[:-1]])
    motion = np.column_stack([moves, before, moves**2, before**2])
    tissue = [steady.series.array[mask].mean(axis=0, dtype=np.float64) for mask in (place.white, place.fluid) if mask.sum() > LEAST_SEED]
    terms = np.column_stack([motion, *tissue])
    terms = (terms - terms.mean(axis=0)) / np.maximum(terms.std(axis=0), 1e-9)
    return np.column_stack([outside_band(steady.series.volumes, steady.series.repetition_time_s), terms])


def outside_band(count: int, repetition_time_s: float) -> np.ndarray:
    """Cosines (time, n) that are slower or faster than the band; the constant is one of them."""
    frequency_hz = np.arange(count) / (2 * count * repetition_time_s)
    chosen = np.flatnonzero((frequency_hz < BAND_HZ[0]) | (frequency_hz > BAND_HZ[1]))
    return np.cos(np.pi * np.outer(np.arange(count) + 0.5, chosen) / count)


def _mean(steady: Steady, place: BoldPlace, mask: np.ndarray) -> np.ndarray:
    """The mean signal of a mask in percent, weighted by grey matter: (time,)."""
    weight = place.grey[mask].astype(np.float64)
    signal = weight @ steady.series.array[mask] / weight.sum()
    return 100.0 * (signal / max(signal.mean(), 1e-9) - 1.0)


def _without(signal: np.ndarray, terms: np.ndarray) -> np.ndarray:
    return signal - terms @ np.linalg.lstsq(terms, signal, rcond=None)[0]


def _effective(left: np.ndarray, right: np.ndarray) -> float:
    """How many independent samples two autocorrelated signals are worth: n / sum of the products of their autocorrelations."""
    count = len(left)
    lags = min(count // 4, 40)
    products = [_lagged(left, lag) * _lagged(right, lag) for lag in range(1, lags)]
    weights = 1.0 - np.arange(1, lags) / count
    return float(count / max(1.0 + 2.0 * (weights * products).sum(), 1.0))


def _lagged(signal: np.ndarray, lag: int) -> float:
    even = signal - signal.mean()
    return float(even[lag:] @ even[:-lag] / max(even @ even, 1e-12))


def _filled(signal: np.ndarray, kept: np.ndarray) -> np.ndarray:
    whole = np.zeros(len(kept))
    whole[kept] = signal
    return whole


def _map(
    steady: Steady, place: BoldPlace, seed: np.ndarray, terms: np.ndarray, kept: np.ndarray, effective: float
) -> tuple[float, np.ndarray]:
    """The limit that one voxel of the brain exceeds by chance in one of twenty runs, and r above it."""
    signals = signals_of(steady, place)[kept]
    basis = np.linalg.qr(terms)[0].astype(np.float32)
    signals -= basis @ (basis.T @ signals)
    r = seed @ signals / np.maximum(np.linalg.norm(seed) * np.linalg.norm(signals, axis=0), 1e-9)
    t = stats.t.isf(FALSE_POSITIVES / len(r), max(effective - 2.0, 2.0))
    limit = float(t / np.sqrt(t**2 + max(effective - 2.0, 2.0)))
    whole = np.zeros(place.brain.shape, np.float32)
    whole[place.brain] = np.where(r > limit, r, 0.0)
    return limit, whole
