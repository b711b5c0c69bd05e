"""Shared steps: done once, and handed on with what they gave or refused."""

import pickle

import numpy as np
import pytest

from analysis.comparison import STEPS, made_ready
from analysis.examination import Examination
from analysis.outcome import NotMeasurable
from analysis.steps.coregistration import Laying
from analysis.volume import Volume
from analysis.words import say

done: list[str] = []


def mean(examination: Examination) -> float:
    done.append("mean")
    return float(examination.image("t1").array.mean())


def refused(examination: Examination) -> None:
    done.append("refused")
    raise NotMeasurable(say("it is {kind}", kind="too small"))


def broken(examination: Examination) -> None:
    done.append("broken")
    raise LookupError("?")


def other(examination: Examination) -> int:
    done.append("other")
    return 1


@pytest.fixture
def examination():
    done.clear()
    return Examination({role: Volume(np.full((4, 5, 6), 2.0, np.float32), np.eye(4)) for role in ("t1", "flair", "swi")})


def test_what_is_handed_on_holds_the_images_and_steps_asked_for_and_no_others(examination):
    examination.once(other)
    handed = pickle.loads(pickle.dumps(examination.extract(("t1", "dwi"), (mean, refused))))
    assert set(handed.images) == {"t1"} and done == ["other", "mean", "refused"]
    assert handed.once(mean) == 2.0
    with pytest.raises(NotMeasurable, match="it is too small") as error:
        handed.once(refused)
    assert error.value.reason.template == "it is {kind}" and done == ["other", "mean", "refused"]
    handed.once(other)
    assert done[-1] == "other"


def test_an_error_that_nobody_foresaw_is_not_handed_on_but_met_again(examination):
    handed = examination.extract(("t1",), (broken,))
    with pytest.raises(LookupError):
        handed.once(broken)
    assert done == ["broken", "broken"]


def test_the_steps_of_a_comparison_are_the_same_in_another_process(examination):
    assert pickle.loads(pickle.dumps(STEPS)) == STEPS and len(set(STEPS)) == len(STEPS)
    assert Laying("flair") == Laying("flair") != Laying("swi") and Laying("flair").__name__ == "flair_on_template"
    handed = pickle.loads(pickle.dumps(made_ready(examination)))
    assert set(handed.images) == {"t1", "flair"}
    for step in STEPS:
        with pytest.raises(NotMeasurable, match="less than 60 mm"):
            handed.once(step)
