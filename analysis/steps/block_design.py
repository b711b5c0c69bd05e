"""Whether a functional series that nobody described shows blocks of a task, and which.

Rest and task of every length from 10 to 40 s, in every phase, are compared with the signal of the motor area of each side; a task raises
it. How well the best of them fits by chance is seen on noise with the spectrum of the signal itself without its peaks: so slow fluctuations
of a brain at rest, which are no noise of a white spectrum, do not look like a task. Blocks are believed where fewer than MOST_CHANCE
of the noise fits as well, where they explain a good part of the signal, and where both halves of the series show them by themselves.

Durations are found to a volume or two; the hand that moved is not found.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy.ndimage import median_filter

from analysis.paradigm import Paradigm, alternating

SHORTEST_S, LONGEST_S = 10.0, 40.0
LEAST_CYCLES = 3
MOST_CHANCE, LEAST_FIT, LEAST_HALF = 0.003, 0.55, 0.5  # share of the noise; correlations
NOISES, SEED = 2000, 11
FLOOR_BINS, PEAK = 9, 2.0


def blocks_in(signals: np.ndarray, repetition_time_s: float) -> Paradigm | None:
    """The blocks that motor signals (time, side) show, without drifts and motion, with their confidence; None where they show none."""
    count = len(signals)
    choices, terms = _choices(count, repetition_time_s)
    if not choices:
        return None
    best = max((_best(_standard(signal), terms) for signal in signals.T), key=lambda one: one[0])
    signal = _standard(signals.T[int(np.argmax([_best(_standard(one), terms)[0] for one in signals.T]))])
    fit, number = best
    chance = _chance(signal, terms, fit, signals.shape[1])
    halves = [float(_standard(part) @ _standard(term)) for part, term in zip(_halves(signal), _halves(terms[number]), strict=True)]
    if chance > MOST_CHANCE or fit < LEAST_FIT or min(halves) < LEAST_HALF:
        return None
    rest, task, shift = choices[number]
    return _paradigm(rest, task, shift, count, repetition_time_s, 1.0 - chance)


def _halves(signal: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return signal[: len(signal) // 2], signal[len(signal) // 2 :]


def _paradigm(rest: int, task: int, shift: int, count: int, repetition_time_s: float, confidence: float) -> Paradigm:
    """Blocks of whole volumes; `shift`: the volume at which a rest begins, which may lie before the series."""
    whole = alternating(rest * repetition_time_s, task * repetition_time_s, "rest", (count + rest + task) * repetition_time_s)
    starts = [(onset + (shift - rest - task) * repetition_time_s, length)
              for onset, length in zip(whole.onsets_s, whole.durations_s, strict=True)]  # fmt: skip
    held = [(max(onset, 0.0), onset + length - max(onset, 0.0)) for onset, length in starts if onset + length > 1e-6]
    return Paradigm(tuple(a for a, _ in held), tuple(b for _, b in held), "", confidence).until(count * repetition_time_s)


def _standard(signal: np.ndarray) -> np.ndarray:
    """Zero mean, unit length."""
    even = signal - signal.mean()
    return even / max(float(np.linalg.norm(even)), 1e-12)


def _best(signal: np.ndarray, terms: np.ndarray) -> tuple[float, int]:
    """The highest correlation with one of the terms (n, time), and which."""
    found = terms @ signal
    number = int(np.argmax(found))
    return float(found[number]), number


def _chance(signal: np.ndarray, terms: np.ndarray, fit: float, sides: int) -> float:
    """How often noise with the spectrum of the signal, without peaks, fits as well: as often as it may be looked at, once by side."""
    floor = np.sqrt(_floor(np.abs(np.fft.rfft(signal)) ** 2))
    random = np.random.default_rng(SEED)
    parts = random.normal(size=(NOISES, 2, len(floor)))
    noise = np.fft.irfft(floor * (parts[:, 0] + 1j * parts[:, 1]), len(signal), axis=1)
    noise -= noise.mean(axis=1, keepdims=True)
    noise /= np.linalg.norm(noise, axis=1, keepdims=True)
    highest = np.concatenate([(noise[k : k + 100] @ terms.T).max(axis=1) for k in range(0, NOISES, 100)])
    return min(sides * (1.0 + float((highest >= fit).sum())) / (1.0 + NOISES), 1.0)


def _floor(power: np.ndarray) -> np.ndarray:
    """The spectrum without its peaks: a parabola of logarithms that few high values do not move, or the median of the neighbours where that
    is higher."""
    known = np.flatnonzero(power > 1e-6 * power.max())
    known = known[known > 0]
    place, height = np.log(known), np.log(power[known])
    keep = np.ones(len(known), bool)
    for _ in range(4):
        fit = np.polyval(np.polyfit(place[keep], height[keep], 2), place)
        keep = height - fit < PEAK * np.std((height - fit)[keep])
    smooth = np.zeros(len(power))
    smooth[known] = np.exp(fit + np.euler_gamma)  # the mean of the logarithm of noise lies below the logarithm of its mean
    return np.maximum(np.maximum(smooth, median_filter(power, FLOOR_BINS, mode="nearest") / np.log(2.0)), 1e-12)


@lru_cache(maxsize=4)
def _choices(count: int, repetition_time_s: float) -> tuple[list[tuple[int, int, int]], np.ndarray]:
    """Rest, task and shift in volumes, and the response to each, of unit length: (n, time)."""
    from nilearn.glm.first_level import glover_hrf

    hrf = glover_hrf(repetition_time_s, oversampling=1, time_length=32.0)
    step = max(round(1.0 / repetition_time_s), 1)
    lengths = range(max(int(np.ceil(SHORTEST_S / repetition_time_s)), 2), int(LONGEST_S / repetition_time_s) + 1, step)
    choices, terms = [], []
    for rest in lengths:
        for task in lengths:
            if (rest + task) * LEAST_CYCLES > count or not 0.5 <= task / rest <= 2.0:
                continue
            before = int(np.ceil(32.0 / repetition_time_s / (rest + task))) * (rest + task)
            wave = (np.arange(count + before + rest + task) % (rest + task) >= rest).astype(float)
            answer = np.convolve(wave, hrf)[: len(wave)]
            for shift in range(0, rest + task, step):
                choices.append((rest, task, shift))
                start = before - shift + (rest + task if before < shift else 0)
                terms.append(_standard(answer[start : start + count]))
    return choices, np.array(terms)
