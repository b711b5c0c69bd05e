from itertools import count

import numpy as np
import pytest

from analysis.engine import analyse
from analysis.examination import Examination
from analysis.marker import Marker
from analysis.outcome import FAILED, MEASURED, NOT_MEASURABLE, NotMeasurable, Outcome
from analysis.volume import Volume

T1 = Volume(np.zeros((2, 2, 2)), np.eye(4))


def marker(name, measure, needs=(("t1",),)):
    return Marker(name, 1, needs, (), (), measure, "")


def broken(examination):
    raise ZeroDivisionError("division by zero")


def refused(examination):
    raise NotMeasurable("the T1 is a fruit")


def fine(examination):
    return Outcome("fine", 1, MEASURED)


def test_each_marker_has_exactly_one_outcome_whatever_happens():
    markers = [marker("broken", broken), marker("refused", refused), marker("fine", fine), marker("blind", fine, (("flair", "t2"),))]
    outcomes = analyse(Examination({"t1": T1}), markers, count().__next__)
    assert [outcome.outcome for outcome in outcomes] == [FAILED, NOT_MEASURABLE, MEASURED, NOT_MEASURABLE]
    assert "division by zero" in outcomes[0].reason
    assert outcomes[1].reason == "the T1 is a fruit"
    assert outcomes[3].reason == "the study has no FLAIR series or T2-weighted series that can be used"
    assert all(outcome.seconds == 1 for outcome in outcomes)


def test_a_series_that_is_missing_is_named_once():
    outcomes = analyse(Examination({}), [marker("blind", fine, (("t1",), ("t1", "t1_contrast"), ("swi",)))], count().__next__)
    assert outcomes[0].reason == ("the study has no T1-weighted series without contrast, and no susceptibility-weighted series that can be "
                                  "used")  # fmt: skip


def test_a_step_runs_once_and_its_refusal_is_remembered():
    runs = []

    def step(examination):
        runs.append(examination)
        raise NotMeasurable("no")

    examination = Examination({})
    for _ in range(2):
        with pytest.raises(NotMeasurable, match="no"):
            examination.once(step)
    assert len(runs) == 1


def test_the_watcher_hears_each_step():
    heard = []

    def brain_mask(examination):
        return 1

    examination = Examination({}, watch=heard.append)
    assert examination.once(brain_mask) + examination.once(brain_mask) == 2
    assert heard == ["brain mask"]
