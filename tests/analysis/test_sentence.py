"""Every marker's result in a sentence, whatever it could and could not measure."""

import pytest

from analysis import concepts
from analysis.marker import markers
from analysis.outcome import FAILED, MEASURED, NOT_MEASURABLE, Gap, Measurement, Outcome
from analysis.sentence import TITLES, sentence_of


def volume(name, value, error=None):
    return Measurement(name, value, "ml", concepts.VOLUME, concepts.BRAIN, uncertainty=error, no_reference="none")


def test_every_marker_has_a_title():
    assert {marker.name for marker in markers()} <= set(TITLES)


@pytest.mark.parametrize(("measurements", "gaps", "said"), [
    ((volume("brain_volume", 1200.4, 24.0), volume("intracranial_volume", 1500.0, 60.0)), (),
     "brain 1200 ± 24 ml, 80 % of the intracranial volume of 1500 ± 60 ml"),
    ((volume("brain_volume", 1200.4, 24.0),), (Gap("intracranial_volume", "the skull is cut"),),
     "brain 1200 ± 24 ml; intracranial volume and CSF: the skull is cut"),
    ((volume("brain_volume", 1200.4),), (), "brain 1200 ml"),
])  # fmt: skip
def test_volumes(measurements, gaps, said):
    outcome = Outcome("brain_volumes", 1, MEASURED, measurements=measurements, gaps=gaps)
    assert sentence_of(outcome) == f"Brain volumes: {said}."


def test_what_was_not_measured_says_why():
    assert sentence_of(Outcome("motor_band", 1, NOT_MEASURABLE, "no SWI came")) == "Motor band sign: not measurable, no SWI came."
    assert sentence_of(Outcome("motor_band", 1, FAILED, "an error")) == "Motor band sign: failed, an error."


def test_a_marker_without_a_sentence_of_its_own_counts():
    outcome = Outcome("new_marker", 1, MEASURED, measurements=(volume("one", 1.0), volume("two", 2.0)))
    assert sentence_of(outcome) == "New marker: 2 measurements."
