"""A small synthetic brain with a motor area on either side, and functional series of it: for the tests of activation and connectivity."""

import numpy as np
from scipy import ndimage

from analysis.paradigm import alternating
from analysis.phantom_bold import response
from analysis.steps.bold_motion import Steady
from analysis.steps.bold_place import BoldPlace
from analysis.volume import TimeSeries, Volume

SHAPE, COUNT, STEP_S = (12, 20, 24), 120, 2.5
GRID = Volume(np.zeros(SHAPE, np.float32), np.diag([3.0, 3.0, 3.0, 1.0]))
BLOCKS = alternating(25.0, 25.0, "rest", COUNT * STEP_S, "right")


def box(*sides: tuple[int, int]) -> np.ndarray:
    made = np.zeros(SHAPE, bool)
    made[tuple(slice(*side) for side in sides)] = True
    return made


def place_of() -> BoldPlace:
    """A brain of 10 x 18 x 22 voxels with a motor area on either side; left is the high end of the columns."""
    brain = box((1, 11), (1, 19), (1, 23))
    motor = {"left": box((6, 11), (6, 14), (14, 20)), "right": box((6, 11), (6, 14), (4, 10))}
    hand = {"left": box((7, 10), (7, 13), (15, 19)), "right": box((7, 10), (7, 13), (5, 9))}
    grey = np.where(motor["left"] | motor["right"], 0.8, 0.3).astype(np.float32)
    return BoldPlace(GRID, np.eye(4), brain, box((2, 4), (4, 16), (8, 16)), box((4, 6), (8, 12), (11, 13)), grey, motor, hand)


def steady_of(place: BoldPlace, activity: np.ndarray, seed: int, moved_mm: float = 0.1) -> Steady:
    """A series with noise of 1 %, smooth in time, and an activity (slice, row, column, time) in shares of the signal."""
    random = np.random.default_rng(seed)
    noise = ndimage.gaussian_filter(random.normal(size=(*SHAPE, COUNT)).astype(np.float32), (0.6, 0.6, 0.6, 0.5))
    array = np.where(place.brain[..., None], 600 * (1 + activity + 0.01 * noise / noise.std()), 5.0).astype(np.float32)
    displacement_mm = np.r_[0.0, np.full(COUNT - 1, moved_mm)]
    moves = 0.05 * np.cumsum(random.normal(size=(COUNT, 6)), axis=0) * [1, 1, 1, 0.01, 0.01, 0.01]
    series = TimeSeries(array, GRID.lps_from_index, STEP_S)
    return Steady(series, moves, displacement_mm, GRID.with_array(array.mean(axis=3)), np.zeros(COUNT, bool))


def answer() -> np.ndarray:
    fine_s = np.arange(0, COUNT * STEP_S, 0.5)
    wave = np.zeros(len(fine_s))
    for start, end in BLOCKS.bands:
        wave[(fine_s >= start) & (fine_s < end)] = 1.0
    return np.interp((np.arange(COUNT) + 0.5) * STEP_S, fine_s, np.convolve(wave, response(np.arange(0, 30, 0.5)))[: len(fine_s)])


def waves(r: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Two fluctuations between 0.02 and 0.08 Hz whose correlation over the run is r."""
    random, frequency = np.random.default_rng(seed), np.fft.rfftfreq(COUNT, STEP_S)
    inside = (frequency > 0.02) & (frequency < 0.08)
    made = [np.fft.irfft(inside * (random.normal(size=len(inside)) + 1j * random.normal(size=len(inside))), COUNT) for _ in range(2)]
    one, other = np.linalg.qr(np.column_stack(made))[0].T * np.sqrt(COUNT)
    return one, r * one + np.sqrt(1 - r**2) * other
