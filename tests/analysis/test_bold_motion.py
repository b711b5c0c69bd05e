"""Motion of a functional series: planted, found, taken out."""

import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial.transform import Rotation

from analysis.outcome import NotMeasurable
from analysis.steps.bold_motion import framewise_displacement_mm, settling_of, steadied
from analysis.volume import TimeSeries

LPS = np.diag([4.0, 4.0, 4.0, 1.0])
LPS[:3, 3] = -40.0, -60.0, -50.0


@pytest.fixture(scope="module")
def head() -> np.ndarray:
    """A lumpy ball."""
    random = np.random.default_rng(3)
    place = np.indices((22, 30, 26)) - np.array([10.5, 14.5, 12.5])[:, None, None, None]
    ball = np.clip(9.0 - np.sqrt((place**2 * np.array([1.2, 0.7, 0.9])[:, None, None, None]).sum(0)), 0, 1)
    lumpy = ball * (1 + ndimage.gaussian_filter(random.normal(size=ball.shape), 1.2))
    return (600 * ndimage.gaussian_filter(lumpy, 0.7)).astype(np.float32)


def moved(head: np.ndarray, shift_mm: np.ndarray, turn: np.ndarray) -> np.ndarray:
    """The head shifted (mm) and turned (radians) about the middle of the grid."""
    middle = LPS[:3, :3] @ ((np.array(head.shape) - 1) / 2) + LPS[:3, 3]
    whole = np.eye(4)
    whole[:3, :3] = Rotation.from_rotvec(turn).as_matrix()
    whole[:3, 3] = middle + shift_mm - whole[:3, :3] @ middle
    index = np.linalg.inv(LPS) @ np.linalg.inv(whole) @ LPS
    return ndimage.affine_transform(head, index[:3, :3], index[:3, 3], order=3)


def series_of(volumes: list[np.ndarray]) -> TimeSeries:
    return TimeSeries(np.stack(volumes, axis=-1), LPS, 2.0)


def test_planted_motion_is_found_and_taken_out(head):
    random = np.random.default_rng(1)
    moves = np.cumsum(random.normal(size=(12, 6)) * [0.3] * 1 * np.array([1, 1, 1, 0.015, 0.015, 0.015]), axis=0)
    series = series_of([moved(head, one[:3], one[3:]) + random.normal(0, 4, head.shape).astype(np.float32) for one in moves])
    steady = steadied(series)
    steps = np.diff(steady.moves, axis=0) - np.diff(moves, axis=0)
    assert np.abs(steps[:, :3]).max() < 0.08 and 50 * np.abs(steps[:, 3:]).max() < 0.08
    assert steady.displacement_mm[1:].mean() == pytest.approx(framewise_displacement_mm(moves)[1:].mean(), rel=0.05)
    inside = head > 200
    before, after = (one[inside].std(axis=1).mean() for one in (series.array, steady.series.array))
    assert after < 0.5 * before


def test_framewise_displacement_is_the_sum_of_shifts_and_of_arcs_of_50_mm():
    moves = np.array([[0, 0, 0, 0, 0, 0], [1, 0, -2, 0.01, 0, 0], [1, 0, -2, 0.01, 0, -0.02]], float)
    assert framewise_displacement_mm(moves) == pytest.approx([0.0, 3.5, 1.0])


def test_bright_first_volumes_are_seen_and_a_drift_is_not():
    level = np.r_[1.4, 1.1, np.ones(60)] + 0.001 * np.random.default_rng(0).normal(size=62)
    array = np.broadcast_to(100 * level, (6, 6, 6, 62))
    assert settling_of(array).tolist() == [True, True] + [False] * 60
    drift = np.broadcast_to(100 * np.linspace(1.01, 0.99, 62), (6, 6, 6, 62))
    assert not settling_of(drift).any()


def test_air_is_refused():
    with pytest.raises(NotMeasurable, match="shows no head"):
        steadied(TimeSeries(np.zeros((8, 8, 8, 5), np.float32), LPS, 2.0))
