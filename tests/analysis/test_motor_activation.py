"""What the marker says of functional runs: numbers with errors, gaps with reasons, masks, maps and plots that fit each other."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from analysis.examination import Examination
from analysis.markers.motor_activation import MARKER, measure
from analysis.outcome import NOT_MEASURABLE, NotMeasurable, Outcome
from analysis.paradigm import Paradigm
from analysis.sentence import sentence_of
from analysis.steps.activation import activation
from analysis.steps.functional_runs import Run, functional_runs
from analysis.steps.motor_network import network
from analysis.volume import Runs, TimeSeries, Volume
from analysis.words import say


def _brain():
    spec = importlib.util.spec_from_file_location("functional_brain", Path(__file__).with_name("functional_brain.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


brain = _brain()
T1 = Volume(np.zeros((36, 60, 72), np.float32), np.diag([1.0, 1.0, 1.0, 1.0]))


@pytest.fixture(scope="module")
def runs() -> tuple[Run, ...]:
    """A task, rest, and a run that is too short."""
    place = brain.place_of()
    active = place.hand["left"][..., None] * 0.02 * brain.answer()
    left, right = brain.waves(0.7, 4)
    fluctuation = 0.02 * (place.hand["left"][..., None] * left + place.hand["right"][..., None] * right)
    task, rest = brain.steady_of(place, active, 1), brain.steady_of(place, fluctuation, 2)
    short = TimeSeries(np.zeros((2, 2, 2, 20), np.float32), np.eye(4), 1.0, "motor short")
    return (
        Run(task.series, "task_right_hand", task, place, brain.BLOCKS, activation=activation(task, place, brain.BLOCKS)),
        Run(rest.series, "rest", rest, place, Paradigm(), network=network(rest, place)),
        Run(short, "task", refusal=say("too short")),
    )


def outcome_of(runs: tuple[Run, ...]) -> Outcome:
    examination = Examination({"t1": T1, "bold": Runs(tuple(run.series for run in runs))})
    examination._done[functional_runs] = (runs, None)
    return measure(examination)


def test_every_run_gives_its_numbers(runs):
    outcome = outcome_of(runs)
    value = {(one.name, one.side, one.level): one for one in outcome.measurements}
    assert set(value) == {
        ("activation_volume", "left", "task_right_hand"), ("activation_volume", "right", "task_right_hand"),
        ("laterality_index", None, "task_right_hand"), ("framewise_displacement", None, "task_right_hand"),
        ("m1_m1_connectivity", None, "rest"), ("framewise_displacement", None, "rest"),
    }  # fmt: skip
    assert all(one.uncertainty is not None and one.no_reference for one in value.values())
    assert value["laterality_index", None, "task_right_hand"].value > 0.8
    assert value["framewise_displacement", None, "rest"].value == pytest.approx(0.1)
    assert {one.name for one in outcome.measurements} <= set(MARKER.gives) and not outcome.findings


def test_a_run_that_cannot_be_used_says_why_and_stops_no_other(runs):
    gaps = {(gap.name, gap.level): str(gap.reason) for gap in outcome_of(runs).gaps}
    assert gaps == dict.fromkeys([("activation_volume", "task"), ("laterality_index", "task")], "motor short: too short")


def test_the_mask_on_the_t1_has_the_volume_that_is_reported(runs):
    outcome = outcome_of(runs)
    left = next(one.value for one in outcome.measurements if (one.name, one.side) == ("activation_volume", "left"))
    mask = next(one for one in outcome.masks if (one.name, one.side) == ("activation", "left"))
    assert mask.role == "t1" and mask.array.shape == T1.array.shape
    assert mask.array.sum() * T1.voxel_ml == pytest.approx(left, rel=0.02)
    assert {one.name for one in outcome.maps} == {"t_task_right_hand", "r_rest"}
    shown = next(one for one in outcome.maps if one.name == "t_task_right_hand").array
    assert (shown[mask.array] > runs[0].activation.threshold).all()


def test_plots_show_motion_and_response_with_the_blocks(runs):
    plots = {(one.name, one.side, one.level): one for one in outcome_of(runs).plots}
    motion = plots["framewise_displacement", None, "task_right_hand"]
    assert len(motion.axis) == brain.COUNT and motion.axis[1] == brain.STEP_S and motion.bands == brain.BLOCKS.bands
    assert [curve.name for curve in plots["motor_response", "left", "task_right_hand"].curves] == ["data", "fit"]
    assert plots["framewise_displacement", None, "rest"].bands == ()


def test_the_sentence_tells_each_run_and_judges_nothing(runs):
    said = str(sentence_of(outcome_of(runs)))
    assert said.startswith("Function of the motor cortex: task, right hand: active motor cortex left ")
    assert "rest: correlation of both hand areas 0." in said and said.endswith("described, not judged: no norm is usable.")


def test_a_study_without_a_usable_run_is_not_measurable_with_every_reason(runs):
    with pytest.raises(NotMeasurable, match=r"^too short$"):
        outcome_of(runs[2:])
    other = Run(runs[1].series, "rest", refusal=say("too much motion"))
    with pytest.raises(NotMeasurable, match=r"motor short: too short; .*too much motion"):
        outcome_of((runs[2], other))


def test_the_engine_asks_for_a_t1():
    from analysis.engine import analyse

    series = TimeSeries(brain.GRID.array[..., None].repeat(80, axis=3), brain.GRID.lps_from_index, 2.5, "rest")
    (outcome,) = analyse(Examination({"bold": Runs((series,))}), [MARKER], iter(range(9)).__next__)
    assert outcome.outcome == NOT_MEASURABLE and "T1" in outcome.reason
