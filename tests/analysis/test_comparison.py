"""Two examinations side by side: with their images, without them, and with images that do not do."""

import numpy as np
import pytest

from analysis import concepts
from analysis.change import Change
from analysis.comparison import compared
from analysis.examination import Examination
from analysis.outcome import MEASURED, Measurement, Outcome
from analysis.volume import Volume


def pons(volume_ml: float) -> Outcome:
    made = Measurement("pons_volume", volume_ml, "ml", concepts.VOLUME, concepts.PONS, uncertainty=0.7, no_reference="none")
    return Outcome("brainstem", 2, MEASURED, measurements=(made,))


def empty(role: str) -> Examination:
    return Examination({role: Volume(np.zeros((40, 40, 40), np.float32), np.eye(4))})


def test_without_the_images_the_values_are_compared_and_that_is_said():
    found = compared([pons(15.0)], [pons(14.0)], 1.0)
    (one,) = found.changes
    assert isinstance(one, Change) and one.change == pytest.approx(-1.0) and found.t1 is None and found.lesions is None
    assert "not at hand" in found.notes[0]


@pytest.mark.parametrize("role", ["t1", "flair"])
def test_images_that_do_not_do_are_a_note_and_the_values_stand_in(role):
    found = compared([pons(15.0)], [pons(14.0)], 1.0, images=(empty(role), empty(role)))
    assert len(found.changes) == 1 and found.t1 is None and found.lesions is None
    (note,) = found.notes
    assert "were not compared directly" in note


def test_an_image_that_one_of_the_two_lacks_is_no_note():
    assert compared([], [], 1.0, images=(empty("t1"), empty("flair"))).notes == ()
