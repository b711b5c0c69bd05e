"""What a T1 is not, and what it may be in spite of it: refused or measured with a sentence. Two registrations run here, cut short."""

from __future__ import annotations

import numpy as np
import pytest

from analysis import atlas
from analysis.engine import analyse
from analysis.examination import Examination, Patient
from analysis.marker import Marker
from analysis.markers.brain_volumes import ERROR_OF_MOTION, MARKER, moved, notes
from analysis.outcome import MEASURED, NOT_MEASURABLE, NotMeasurable
from analysis.phantom import phantom
from analysis.steps import head
from analysis.steps.head import head_on_template, skull_stripped
from analysis.steps.space import Placement, lps_grid
from analysis.steps.tissue import Tissue, tissue_fractions
from analysis.volume import Volume


def patient(array: np.ndarray, spacing_mm: float = 2.0, age: float | None = 60.0) -> Examination:
    """A T1 on the template's grid, whose tissues are half grey, half white inside the brain; `spacing_mm` only says how long a slice is."""
    layers = atlas.template()
    grid = layers["inside"]
    stretch = np.diag([spacing_mm / grid.spacing_mm[0], 1.0, 1.0, 1.0])
    t1 = Volume(array.astype(np.float32), grid.lps_from_index @ stretch)
    inside = grid.array.astype(np.float32)
    tissue = Tissue(0.2 * inside, 0.4 * inside, 0.4 * inside, array, (0.2, 0.7, 1.0), 0.03)
    examination = Examination({"t1": t1}, Patient(age, "F"))
    coarse = Volume(array, t1.lps_from_index)
    template_from_lps = grid.lps_from_index @ np.linalg.inv(t1.lps_from_index)
    examination._done[head_on_template] = (Placement(coarse, lps_grid(grid), template_from_lps, 1.0), None)
    examination._done[tissue_fractions] = (tissue, None)
    return examination


def brain_alone() -> np.ndarray:
    layers = atlas.template()
    return np.where(layers["inside"].array, layers["brain"].array, 0.0).astype(np.float32)


def whole_head() -> np.ndarray:
    """The brain in its pseudo-head, with the noise of the air around it."""
    noise = np.abs(np.random.default_rng(1).normal(0.0, 0.02, brain_alone().shape))
    return (atlas.template()["head"].array + noise).astype(np.float32)


def outcome_of(examination: Examination, marker: Marker = MARKER):
    (outcome,) = analyse(examination, [marker], iter(range(9)).__next__)
    return outcome


def fruit() -> Volume:
    """A ball of 150 mm with rind, flesh in segments and a core, in noise."""
    z, y, x = (np.indices((72, 72, 72)).astype(np.float32) - 35.5) * 2.5
    radius = np.sqrt(x**2 + y**2 + z**2)
    flesh = 700 + 150 * np.cos(5 * np.arctan2(y, x)) * (radius > 15)
    ball = np.where(radius < 66, flesh, np.where(radius < 72, 250, np.where(radius < 78, 1000, 0)))
    lps_from_index = np.array([[0, 0, 2.5, -90], [0, -2.5, 0, 90], [2.5, 0, 0, -90], [0, 0, 0, 1]])
    return Volume(np.maximum(ball + np.random.default_rng(0).normal(0, 15, ball.shape), 0).astype(np.float32), lps_from_index)


def test_a_fruit_under_the_name_of_a_t1_is_refused(monkeypatch):
    monkeypatch.setattr(head, "WARP_ITERATIONS", (3, 0, 0))
    monkeypatch.setattr(head, "NODS_DEG", ())
    with pytest.raises(NotMeasurable, match=r"does not look like the T1 of a head: its correlation with the template is 0\.[0-5]"):
        head_on_template(Examination({"t1": fruit()}))


def test_a_head_much_smaller_than_the_template_is_placed(monkeypatch):
    monkeypatch.setattr(head, "WARP_ITERATIONS", (3, 0, 0))
    small = phantom(seed=114, roles=("t1",), coarseness=2.0)
    assert small.truth["scale"] < 0.9
    place = head_on_template(Examination({"t1": small.images["t1"]}))
    linear = np.linalg.det(place.template_from_lps[:3, :3]) ** (1 / 3)
    assert 1 / linear == pytest.approx(small.truth["scale"], rel=0.05)


@pytest.mark.parametrize("array", [np.zeros((90, 90, 90)), np.ones((20, 90, 90))], ids=["nothing", "a slab of 20 slices of 2 mm"])
def test_an_empty_image_and_a_thin_slab_are_refused(array):
    with pytest.raises(NotMeasurable, match="less than 60 mm wide in one direction, or empty"):
        head_on_template(Examination({"t1": Volume(array.astype(np.float32), np.diag([2.0, 2.0, 2.0, 1.0]))}))


def test_a_slab_that_cuts_the_brain_has_no_volumes():
    examination = patient(whole_head())
    t1, size = examination.image("t1"), examination.image("t1").array.shape
    (place, _), rest = examination._done[head_on_template], tuple(slice(0, n) for n in size[1:])
    cut = Examination({"t1": t1.part((slice(size[0] // 3, 2 * size[0] // 3), *rest))})
    cut._done[head_on_template] = (place, None)
    outcome = outcome_of(cut)
    assert outcome.outcome == NOT_MEASURABLE and "cuts the brain: it holds" in outcome.reason


def test_a_head_with_skull_and_scalp_is_whole():
    assert not patient(whole_head()).once(skull_stripped)
    outcome = outcome_of(patient(whole_head()))
    assert {m.name for m in outcome.measurements} == set(MARKER.gives) and not outcome.gaps


def test_a_head_whose_face_was_removed_is_whole():
    array = whole_head()
    low = atlas.template()["head"].lps_from_index
    _, y, z = lps_grid(Volume(array, low))
    array[(y < -40) & (z < -10)] = 0.0
    assert not patient(array).once(skull_stripped)


def test_a_stripped_head_has_no_intracranial_volume_and_no_fluid():
    examination = patient(brain_alone())
    assert examination.once(skull_stripped)
    outcome = outcome_of(examination)
    assert outcome.outcome == MEASURED
    assert {m.name for m in outcome.measurements} == {"brain_volume", "grey_matter_volume", "white_matter_volume"}
    assert {g.name for g in outcome.gaps} == {"intracranial_volume", "csf_volume"}
    assert all("already skull-stripped" in gap.reason for gap in outcome.gaps)
    assert any("without skull and scalp" in note for note in outcome.notes)


def test_slices_of_4_mm_are_measured_with_a_larger_error_and_a_note():
    thin, thick = outcome_of(patient(whole_head(), 1.0)), outcome_of(patient(whole_head(), 4.0))
    assert len(thin.measurements) == len(thick.measurements) == len(MARKER.gives)
    for a, b in zip(thin.measurements, thick.measurements, strict=True):
        assert b.uncertainty / b.value > 1.2 * a.uncertainty / a.value
    assert any("up to 4.0 mm long" in note for note in thick.notes) and notes(1.2, without_fluid=False, has_moved=False) == ()


def test_a_head_that_moved_is_told_from_one_that_was_still():
    z, y, x = (np.indices((80, 80, 80)).astype(np.float32) - 39.5) * 3.2
    random = np.random.default_rng(3)
    still = np.where((x / 75) ** 2 + (y / 90) ** 2 + (z / 80) ** 2 < 1, 800.0, 0.0) + np.abs(random.normal(0, 8, x.shape))
    beside = (still > 400).any(axis=1, keepdims=True)  # motion between steps of the encoding spreads the head along one axis
    ghosts = still + beside * np.abs(random.normal(0, 40, x.shape))
    grid = np.diag([3.2, 3.2, 3.2, 1.0])
    assert moved(Volume(ghosts, grid)) and not moved(Volume(still, grid))
    (note,) = notes(1.0, without_fluid=False, has_moved=True)
    assert "the errors are stated larger" in note and all(share > 0 for share in ERROR_OF_MOTION.values())


def test_a_child_is_measured_and_has_no_adult_reference():
    outcome = outcome_of(patient(whole_head(), age=7.0))
    assert outcome.outcome == MEASURED and all(m.reference is None and m.no_reference for m in outcome.measurements)


def test_a_study_with_contrast_only_is_told_so():
    outcome = outcome_of(Examination({}, sent=frozenset({"t1_contrast", "flair"})))
    assert outcome.outcome == NOT_MEASURABLE
    assert outcome.reason.startswith("the study has no T1-weighted series without contrast") and "with contrast agent" in outcome.reason
    assert "with contrast agent" not in outcome_of(Examination({}, sent=frozenset({"flair"}))).reason
