"""Blocks in motor signals that nobody described: found where they are, not found in noise."""

import numpy as np
import pytest

from analysis.paradigm import alternating
from analysis.phantom_bold import response
from analysis.steps.block_design import blocks_in

COUNT, STEP_S = 120, 2.5


def task(rest_s: float, task_s: float, first: str = "rest") -> np.ndarray:
    """What a motor area does, with a peak of about 1."""
    fine_s = np.arange(0, COUNT * STEP_S, 0.5)
    wave = np.zeros(len(fine_s))
    for start, end in alternating(rest_s, task_s, first, COUNT * STEP_S).bands:
        wave[(fine_s >= start) & (fine_s < end)] = 1.0
    return np.interp((np.arange(COUNT) + 0.5) * STEP_S, fine_s, np.convolve(wave, response(np.arange(0, 30, 0.5)))[: len(fine_s)])


def noise(seed: int, slope: float) -> np.ndarray:
    """Noise whose power falls with frequency, spread 1, without what is slower than 128 s."""
    random, frequency = np.random.default_rng(seed), np.fft.rfftfreq(COUNT)
    weight = np.where(frequency > STEP_S / 128, np.maximum(frequency, 1e-6) ** (-slope / 2), 0.0)
    wave = np.fft.irfft(weight * (random.normal(size=len(frequency)) + 1j * random.normal(size=len(frequency))), COUNT)
    return wave / wave.std()


@pytest.mark.parametrize(("rest_s", "task_s", "first"), [(25, 25, "rest"), (20, 20, "task"), (30, 15, "rest")])
def test_blocks_are_found_with_their_times(rest_s, task_s, first):
    wave = task(rest_s, task_s, first)
    signals = np.column_stack([wave + 0.3 * noise(1, 0.8), 0.2 * wave + 0.3 * noise(2, 0.8)])
    found = blocks_in(signals, STEP_S)
    stated = alternating(rest_s, task_s, first, COUNT * STEP_S)
    assert found is not None and found.confidence > 0.98 and found.moves == ""
    middles = [[(start + end) / 2 for start, end in one.bands[1:-1]] for one in (found, stated)]
    near = [min(abs(middle - other) for other in middles[1]) for middle in middles[0]]
    assert len(middles[0]) in range(len(middles[1]) - 1, len(middles[1]) + 2) and np.median(near) < 4.0


def test_noise_shows_no_blocks():
    pairs = [np.column_stack([noise(seed, slope), noise(seed + 500, slope)]) for slope in (0.0, 0.5) for seed in range(20)]
    assert sum(blocks_in(pair, STEP_S) is not None for pair in pairs) <= 1


def test_a_run_too_short_for_three_cycles_shows_none():
    assert blocks_in(np.random.default_rng(0).normal(size=(20, 2)), 1.0) is None
