"""The protocol: which sequences an examination should have, and how those of a study stand to it."""

import numpy as np
import pytest

from analysis.outcome import MEASURED, Concept, Finding, Outcome
from analysis.report import SeriesNote
from analysis.sequences import CAME, LIMITED, MISSING, UNUSED, directions_of, rows_of
from analysis.volume import Diffusion, Volume

HEAD = Concept("SCT", "69536005", "Head")


def volume(*spacing):
    return Volume(np.zeros((4, 4, 4), np.float32), np.diag([*spacing, 1.0]))


def diffusion(*vectors):
    every = np.array([(0.0, 0.0, 0.0), *vectors])
    return Diffusion(np.zeros((4, 4, 4, len(every)), np.float32), np.eye(4), np.r_[0.0, np.full(len(vectors), 1000.0)], every)


SIX = [(1.0, 0, 0), (0, 1.0, 0), (0, 0, 1.0), (0.6, 0.8, 0), (0.6, 0, 0.8), (0, 0.6, 0.8)]


def rows(notes, images, outcomes=()):
    return {row.sequence.name: row for row in rows_of(notes, outcomes, images)}


def note(role, **more):
    return SeriesNote(f"1.2.{role}", role, "by its tags", **{"used": True, "description": role.upper(), **more})


def test_what_did_not_come_is_missing_and_what_is_optional_says_so():
    found = rows([], {})
    assert {row.state for row in found.values()} == {MISSING} and len(found) == 8
    assert [name for name, row in found.items() if row.sequence.is_optional] == ["MR spectroscopy of the motor cortex", "fMRI"]


@pytest.mark.parametrize(("image", "state", "remark"), [(volume(1, 1, 1), CAME, ""), (volume(4, 1, 1), LIMITED, "voxels of up to 4.0 mm")])
def test_a_t1_comes_or_is_too_coarse(image, state, remark):
    row = rows([note("t1")], {"t1": image})["3D T1, 1 mm, down to C3"]
    assert (row.state, row.remark, row.series) == (state, remark, ("T1",))


def test_what_is_wrong_with_a_series_limits_it():
    problem = rows([note("flair", problems=("slices are missing",))], {"flair": volume(1, 1, 1)})["3D FLAIR"]
    assert (problem.state, problem.remark) == (LIMITED, "slices are missing")
    poor = Finding("image_quality", "present", HEAD, HEAD, level="flair", reason="strong motion")
    quality = Outcome("image_quality", 1, MEASURED, findings=(poor,))
    assert rows([note("flair")], {"flair": volume(1, 1, 1)}, [quality])["3D FLAIR"].remark == "strong motion"


def test_a_series_that_was_not_used_is_said_to_be():
    row = rows([note("cord_t2", used=False, problems=("it is cut short",))], {})["3D T2 of the cervical cord, about 0.8 mm"]
    assert (row.state, row.remark) == (UNUSED, "it is cut short")


@pytest.mark.parametrize(("image", "state"), [(diffusion(*SIX), CAME), (diffusion(*SIX[:3]), MISSING)])
def test_a_tensor_needs_directions_and_an_adc_does_not(image, state):
    found = rows([note("dwi")], {"dwi": image})
    assert found["DWI with ADC"].state == CAME and found["DTI, same protocol for every patient"].state == state


def test_a_direction_and_its_opposite_are_one():
    assert directions_of(diffusion(*SIX, *(tuple(-np.array(one)) for one in SIX))) == 6 and directions_of(None) == 0
