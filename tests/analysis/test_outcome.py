import math

import numpy as np
import pytest

from analysis import concepts
from analysis.outcome import MEASURED, NOT_MEASURABLE, Finding, Mask, Measurement, Outcome, Profile, Reference, Track

PLACE = Reference("people", 10, 0.0, 50.0, 30.0, 70.0, 1.0, 0.2, 0.7, 1.3, "a source")


def measurement(**changes):
    given = {
        "name": "brain_volume",
        "value": 1.0,
        "unit": "ml",
        "quantity": concepts.VOLUME,
        "site": concepts.BRAIN,
        "no_reference": "none",
    }
    return Measurement(**given | changes)


@pytest.mark.parametrize("changes", [{"value": math.nan}, {"value": math.inf}, {"uncertainty": math.nan}])
def test_what_is_not_finite_is_no_measurement(changes):
    with pytest.raises(ValueError, match="finite"):
        measurement(**changes)


@pytest.mark.parametrize("changes", [{"no_reference": None}, {"reference": PLACE}])
def test_a_measurement_has_a_population_or_the_words_that_there_is_none(changes):
    with pytest.raises(ValueError, match="population"):
        measurement(**changes)


def test_what_was_not_assessed_says_why():
    with pytest.raises(ValueError, match="reason"):
        Finding("cst_degeneration", "not assessed", concepts.CST_DEGENERATION, concepts.CORTICOSPINAL_TRACT)


def test_a_mask_is_boolean():
    with pytest.raises(ValueError, match="boolean"):
        Mask("brain", "t1", np.zeros((2, 2, 2)), concepts.BRAIN)


@pytest.mark.parametrize(
    "outcome, reason, measurements",
    [("fine", None, ()), (MEASURED, "because", ()), (NOT_MEASURABLE, None, ()), (NOT_MEASURABLE, "no T1", (measurement(),))],
)
def test_an_outcome_is_measured_or_has_a_reason(outcome, reason, measurements):
    with pytest.raises(ValueError):
        Outcome("brain_volumes", 1, outcome, reason, measurements=measurements)


@pytest.mark.parametrize(
    "line", [np.zeros((1, 3), np.float32), np.zeros((2, 3)), np.full((2, 3), np.nan, np.float32), np.zeros((3, 2), np.float32)]
)
def test_a_line_has_at_least_two_finite_points(line):
    with pytest.raises(ValueError, match="two finite points"):
        Track("cst", "dwi", (line,), concepts.CORTICOSPINAL_TRACT, "left")


def test_a_node_of_a_profile_is_a_number_or_nothing():
    assert Profile("cst_fa", "left", (None, 0.5), "1").values == (None, 0.5)
    with pytest.raises(ValueError, match="finite"):
        Profile("cst_fa", "left", (float("nan"), 0.5), "1")
