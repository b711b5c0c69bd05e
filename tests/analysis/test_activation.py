"""What a task does, on a small synthetic brain: activation, side, false activation; and the hands at rest."""

import numpy as np
import pytest
from scipy import ndimage

from analysis.outcome import NotMeasurable
from analysis.paradigm import Paradigm, alternating
from analysis.phantom_bold import response
from analysis.steps.activation import activation, laterality_of
from analysis.steps.bold_motion import Steady
from analysis.steps.bold_place import BoldPlace
from analysis.steps.functional_runs import refuse_rest, refuse_short, refuse_task, speaks_of_rest, speaks_of_task
from analysis.steps.motor_network import network
from analysis.volume import TimeSeries, Volume

SHAPE, COUNT, STEP_S = (12, 20, 24), 120, 2.5
GRID = Volume(np.zeros(SHAPE, np.float32), np.diag([3.0, 3.0, 3.0, 1.0]))
BLOCKS = alternating(25.0, 25.0, "rest", COUNT * STEP_S, "right")


def box(*sides: tuple[int, int]) -> np.ndarray:
    made = np.zeros(SHAPE, bool)
    made[tuple(slice(*side) for side in sides)] = True
    return made


@pytest.fixture(scope="module")
def place() -> BoldPlace:
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


def test_planted_activation_is_found_with_its_side_and_volume(place):
    planted = box((7, 10), (7, 13), (15, 19)) | box((8, 10), (8, 11), (6, 9))
    found = activation(steady_of(place, 0.02 * planted[..., None] * answer(), 1), place, BLOCKS)
    true = {side: float((planted & mask).sum()) * GRID.voxel_ml for side, mask in place.motor.items()}
    assert found.volume_ml["left"] == pytest.approx(true["left"], rel=0.4)
    assert found.volume_ml["right"] == pytest.approx(true["right"], rel=0.6)
    index, spread = found.laterality
    assert index == pytest.approx((true["left"] - true["right"]) / (true["left"] + true["right"]), abs=0.2) and spread < 0.3
    assert np.corrcoef(found.response["left"], found.fit["left"])[0, 1] > 0.9
    assert found.fit["left"].max() == pytest.approx(2.0, rel=0.3)


def test_a_brain_at_rest_is_seldom_active(place):
    seen = [activation(steady_of(place, np.float32(0), seed), place, BLOCKS) for seed in range(8)]
    assert sum(bool(one.active.any()) for one in seen) <= 2
    assert all(one.laterality is None for one in seen if sum(one.volume_ml.values()) < 0.5)


def test_the_laterality_index_says_which_side():
    strong, weak = np.full(100, 8.0), np.full(100, 0.0)
    assert laterality_of(strong, weak, 5.0, 3.0) == pytest.approx((1.0, 0.0))
    assert laterality_of(weak, strong, 5.0, 3.0) == pytest.approx((-1.0, 0.0))
    assert laterality_of(strong, strong, 5.0, 3.0) == pytest.approx((0.0, 0.0))
    assert laterality_of(weak, weak, 5.0, 3.0) is None


def test_a_side_that_is_active_at_a_loose_threshold_only_makes_the_index_unsure():
    left, right = np.full(100, 8.0), np.full(100, 4.0)
    index, moves = laterality_of(left, right, 5.0, 3.0)
    assert index == pytest.approx(1.0) and 0.3 < moves < 0.9


def waves(r: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Two fluctuations between 0.02 and 0.08 Hz whose correlation over the run is r."""
    random, frequency = np.random.default_rng(seed), np.fft.rfftfreq(COUNT, STEP_S)
    inside = (frequency > 0.02) & (frequency < 0.08)
    made = [np.fft.irfft(inside * (random.normal(size=len(inside)) + 1j * random.normal(size=len(inside))), COUNT) for _ in range(2)]
    one, other = np.linalg.qr(np.column_stack(made))[0].T * np.sqrt(COUNT)
    return one, r * one + np.sqrt(1 - r**2) * other


@pytest.mark.parametrize("r", [0.0, 0.7])
def test_the_correlation_of_the_hand_areas_is_recovered(place, r):
    left, right = waves(r, 4)
    activity = 0.02 * (place.hand["left"][..., None] * left + place.hand["right"][..., None] * right)
    found = network(steady_of(place, activity, 2), place)
    assert found.r == pytest.approx(r, abs=2.5 * found.error) and 0.03 < found.error < 0.4
    assert (found.map[place.hand["left"]].mean() > 0.2) == (r > 0.5)


def test_motion_that_leaves_too_little_is_refused(place):
    still, restless = steady_of(place, np.float32(0), 0), steady_of(place, np.float32(0), 0, moved_mm=1.0)
    refuse_rest(still)
    refuse_task(still, BLOCKS)
    with pytest.raises(NotMeasurable, match=r"too much motion for a run at rest: 1\.00 mm"):
        refuse_rest(restless)
    with pytest.raises(NotMeasurable, match="too much motion during the task"):
        refuse_task(restless, BLOCKS)
    with pytest.raises(NotMeasurable, match="1 blocks of the task are too few"):
        refuse_task(still, Paradigm((10.0,), (20.0,)))


@pytest.mark.parametrize(("volumes", "step_s", "level"), [(20, 1.0, "task"), (59, 3.0, "task"), (90, 2.5, "rest")])
def test_short_runs_are_refused_with_what_they_need(volumes, step_s, level):
    with pytest.raises(NotMeasurable, match=f"{volumes} volumes in"):
        refuse_short(TimeSeries(np.zeros((2, 2, 2, volumes), np.float32), np.eye(4), step_s), level)


@pytest.mark.parametrize(("name", "rest", "task"), [
    ("rs-fMRI", True, False), ("task-rest_bold", True, False), ("fMRI_Resting_State", True, False), ("fMRI finger tapping L", False, True),
    ("ep2d_bold_moco", False, False), ("restless legs motor", False, True), ("", False, False),
])  # fmt: skip
def test_names_speak_of_rest_or_of_a_task_or_of_neither(name, rest, task):
    assert (speaks_of_rest(name), speaks_of_task(name)) == (rest, task)
