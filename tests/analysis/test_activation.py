"""What a task does, on a small synthetic brain: activation, side, false activation; and the hands at rest."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from analysis.outcome import NotMeasurable
from analysis.paradigm import Paradigm
from analysis.steps.activation import activation, laterality_of
from analysis.steps.functional_runs import refuse_rest, refuse_short, refuse_task, speaks_of_rest, speaks_of_task
from analysis.steps.motor_network import network
from analysis.volume import TimeSeries


def _brain():
    spec = importlib.util.spec_from_file_location("functional_brain", Path(__file__).with_name("functional_brain.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


brain = _brain()


@pytest.fixture(scope="module")
def place():
    return brain.place_of()


def test_planted_activation_is_found_with_its_side_and_volume(place):
    planted = brain.box((7, 10), (7, 13), (15, 19)) | brain.box((8, 10), (8, 11), (6, 9))
    found = activation(brain.steady_of(place, 0.02 * planted[..., None] * brain.answer(), 1), place, brain.BLOCKS)
    true = {side: float((planted & mask).sum()) * brain.GRID.voxel_ml for side, mask in place.motor.items()}
    assert found.volume_ml["left"] == pytest.approx(true["left"], rel=0.4)
    assert found.volume_ml["right"] == pytest.approx(true["right"], rel=0.6)
    index, spread = found.laterality
    assert index == pytest.approx((true["left"] - true["right"]) / (true["left"] + true["right"]), abs=0.2) and spread < 0.3
    assert np.corrcoef(found.response["left"], found.fit["left"])[0, 1] > 0.9
    assert found.fit["left"].max() == pytest.approx(2.0, rel=0.3)


def test_a_brain_at_rest_is_seldom_active(place):
    seen = [activation(brain.steady_of(place, np.float32(0), seed), place, brain.BLOCKS) for seed in range(8)]
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


@pytest.mark.parametrize("r", [0.0, 0.7])
def test_the_correlation_of_the_hand_areas_is_recovered(place, r):
    left, right = brain.waves(r, 4)
    activity = 0.02 * (place.hand["left"][..., None] * left + place.hand["right"][..., None] * right)
    found = network(brain.steady_of(place, activity, 2), place)
    assert found.r == pytest.approx(r, abs=2.5 * found.error) and 0.03 < found.error < 0.4
    assert (found.map[place.hand["left"]].mean() > 0.2) == (r > 0.5)


def test_motion_that_leaves_too_little_is_refused(place):
    still, restless = brain.steady_of(place, np.float32(0), 0), brain.steady_of(place, np.float32(0), 0, moved_mm=1.0)
    refuse_rest(still)
    refuse_task(still, brain.BLOCKS)
    with pytest.raises(NotMeasurable, match=r"too much motion for a run at rest: 1\.00 mm"):
        refuse_rest(restless)
    with pytest.raises(NotMeasurable, match="too much motion during the task"):
        refuse_task(restless, brain.BLOCKS)
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
