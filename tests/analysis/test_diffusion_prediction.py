"""A volume is predicted by the others of its shell, and by nothing else."""

import numpy as np
import pytest

from analysis.steps.diffusion_prediction import predicted, shells_of


def acquisition(count=14, b=(1000.0,)):
    vectors = np.random.default_rng(2).standard_normal((count, 3))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.r_[0.0, 5.0, np.resize(b, count)], np.concatenate([np.zeros((2, 3)), vectors])


def signals_of(b, vectors, count=5, noise=0.05):
    """Signals (volume, n) that a harmonic of the second order holds, without and with noise."""
    random = np.random.default_rng(3)
    clean = 200.0 - b[:, None] / 20 + np.where(b[:, None] > 50, 30.0 * (vectors**2) @ random.uniform(-1, 1, (3, count)), 0.0)
    return clean, (clean * np.exp(noise * random.standard_normal(clean.shape))).astype(np.float32)


def test_a_smooth_signal_is_predicted_as_it_is():
    b, vectors = acquisition(28, (1000.0, 2000.0))
    clean, _ = signals_of(b, vectors)
    weighted = b > 50
    assert predicted(shells_of(b, vectors), clean)[weighted] == pytest.approx(clean[weighted], rel=1e-3)


def test_a_volume_has_no_part_in_its_own_prediction():
    b, vectors = acquisition()
    _, noisy = signals_of(b, vectors)
    changed = noisy.copy()
    changed[6] *= 1.4
    shells = shells_of(b, vectors)
    assert predicted(shells, changed)[6] == pytest.approx(predicted(shells, noisy)[6], rel=1e-3)
    assert np.abs(predicted(shells, changed)[7] / predicted(shells, noisy)[7] - 1).max() > 0.01


def test_nothing_is_predicted_from_lost_signals():
    b, vectors = acquisition()
    clean, _ = signals_of(b, vectors)
    broken, lost = clean.copy(), np.zeros(clean.shape, bool)
    lost[5, :3], lost[9, 2:] = True, True
    broken[lost] *= 0.2
    assert predicted(shells_of(b, vectors), broken, lost)[2:] == pytest.approx(clean[2:], rel=1e-3)


def test_shells_are_told_apart_and_few_directions_are_predicted_by_their_mean():
    sizes = [(len(shell.volumes), shell.terms.shape[1]) for shell in shells_of(*acquisition(46, (1000.0, 2000.0)))]
    assert sizes == [(2, 1), (23, 6), (23, 6)]
    assert [shell.terms.shape[1] for shell in shells_of(*acquisition(6))] == [1, 1]
    assert [shell.terms.shape[1] for shell in shells_of(*acquisition(40, (2500.0,)))] == [1, 15]
