"""The brainstem on heads that are made from the atlas itself, so that its parts are known; no registration runs here."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from analysis import concepts
from analysis.engine import analyse
from analysis.examination import Examination, Patient
from analysis.markers.brainstem import MARKER, finding
from analysis.outcome import MEASURED, NOT_MEASURABLE, Gap, Measurement, Reference
from analysis.reference import Norm
from analysis.steps.brainstem import PARTS, belonging, brainstem_parts, numbered, reach
from analysis.steps.head import head_on_template
from analysis.steps.space import Placement, lps_grid, sample
from analysis.steps.tissue import Tissue, tissue_fractions
from analysis.volume import Volume

CSF, BRAIN = 0.2, 1.0
LOW = Reference("controls", 40, -3.0, 0.1, 0.0, 1.0, 10.0, 0.7, 8.9, 11.1, "own")


def grid(low=(-40.0, -20.0, -80.0), high=(40.0, 70.0, 20.0), step_mm=1.0) -> Volume:
    """An axial grid over a box of the template, LPS."""
    shape = tuple(int((high[k] - low[k]) / step_mm) + 1 for k in (2, 1, 0))
    lps_from_index = np.eye(4)
    lps_from_index[:3, :3] = np.array([[0, 0, 1], [0, -1, 0], [1, 0, 0]]) * step_mm
    lps_from_index[:3, 3] = [low[0], high[1], low[2]]
    return Volume(np.zeros(shape, np.float32), lps_from_index)


def head(solid, place_on: Volume, norms=(), age=60.0) -> Examination:
    """A patient who lies on the template; `solid` says where brain is, of labels sampled on the grid."""
    lps = lps_grid(place_on)
    brain = solid(sample(numbered(), lps, order=0), sample(reach(), lps, order=0))
    noise = np.random.default_rng(1).normal(0.0, 0.005, brain.shape)
    t1 = place_on.with_array((np.where(brain, BRAIN, CSF) + noise).astype(np.float32))
    examination = Examination({"t1": t1}, Patient(age, "F"), norms=norms)
    coarse = grid(tuple(lps.reshape(3, -1).min(1)), tuple(lps.reshape(3, -1).max(1)), 2.0)
    place = Placement(coarse, lps_grid(coarse), np.eye(4), 1.0)
    tissue = Tissue(*[np.zeros((1, 1, 1), np.float32)] * 3, t1.array, (CSF, 0.7, BRAIN), 0.03)
    examination._done[head_on_template], examination._done[tissue_fractions] = (place, None), (tissue, None)
    return examination


def as_the_atlas(core, room):
    return core > 0


def volumes(solid, place_on=None) -> dict[str, float]:
    return {part.name: part.volume_ml for part in head(solid, place_on or grid()).once(brainstem_parts)}


TRUE_ML = {name: float((numbered().array == number).sum()) / 1000 for number, name in enumerate(PARTS, start=1)}


def outcome_of(examination: Examination):
    (outcome,) = analyse(examination, [MARKER], iter(range(9)).__next__)
    return outcome


def test_parts_of_the_atlas_have_their_volumes():
    assert volumes(as_the_atlas) == pytest.approx(TRUE_ML, rel=0.02)


def test_a_surface_that_is_worn_by_a_millimetre_is_followed():
    worn = volumes(lambda core, room: ndimage.binary_erosion(core > 0))
    true = ndimage.binary_erosion(numbered().array > 0)
    for number, name in enumerate(PARTS, start=1):
        assert worn[name] == pytest.approx(float((true & (numbered().array == number)).sum()) / 1000, rel=0.03)


def test_a_surface_outside_that_of_the_atlas_is_followed_as_well():
    larger = volumes(lambda core, room: ndimage.binary_dilation(core > 0, iterations=1))
    assert all(TRUE_ML[name] * 1.02 < larger[name] < TRUE_ML[name] * 1.4 for name in PARTS)


def test_neighbours_beyond_the_cuts_are_not_the_brainstem():
    assert volumes(lambda core, room: (core > 0) | (room == 0)) == pytest.approx(TRUE_ML, rel=0.06)


def test_a_vessel_beyond_a_gap_and_a_thin_bridge_to_it_do_not_belong():
    solid = np.zeros((40, 40, 40), bool)
    solid[5:20, 5:35, 5:35] = True
    deep = ndimage.binary_erosion(solid, iterations=3)
    solid[20:26, 20, 20] = True
    solid[26:30, 10:30, 10:30] = True
    kept = belonging(solid, deep, np.ones(3)) & solid
    assert kept[5:20, 5:35, 5:35].all() and not kept[26:30].any()


def test_voxels_of_half_the_size_change_little():
    assert volumes(as_the_atlas, grid(step_mm=2.0)) == pytest.approx(TRUE_ML, rel=0.12)


@pytest.mark.parametrize(("bottom_mm", "left"), [(-80.0, PARTS), (-62.0, ("midbrain", "pons"))])
def test_what_the_field_of_view_cuts_is_a_gap_and_never_small(bottom_mm, left):
    outcome = outcome_of(head(as_the_atlas, grid(low=(-40.0, -20.0, bottom_mm))))
    assert outcome.outcome == MEASURED
    assert {m.name for m in outcome.measurements} == {f"{name}_volume" for name in left}
    assert {m.name for m in outcome.masks} == set(left)
    assert {g.name for g in outcome.gaps} == {f"{name}_volume" for name in set(PARTS) - set(left)}
    for measurement in outcome.measurements:
        assert measurement.value == pytest.approx(TRUE_ML[measurement.name.removesuffix("_volume")], rel=0.03)
    for gap in outcome.gaps:
        assert gap.reason.startswith("not measurable: the field of view") and gap.name.removesuffix("_volume") in gap.reason
    assert outcome.findings[0].value == "not assessed"


@pytest.mark.parametrize(
    ("bottom_mm", "words"), [(5.0, "ends above it"), (-35.0, "ends above the middle of the medulla"), (-50.0, "middle of the medulla")]
)
def test_a_field_of_view_that_ends_above_the_medulla_is_not_measurable(bottom_mm, words):
    outcome = outcome_of(head(as_the_atlas, grid(low=(-40.0, -20.0, bottom_mm), high=(40.0, 70.0, 60.0))))
    assert outcome.outcome == NOT_MEASURABLE and words in outcome.reason


WHOLE = {"low": (-80.0, -80.0, -90.0), "high": (80.0, 115.0, 90.0), "step_mm": 2.0}


def norms(z: dict[str, float], examination: Examination) -> tuple[Norm, ...]:
    """Populations in which the parts of the examination stand at such z, but for the error of the measurement."""
    outcome = outcome_of(examination)
    (note,) = outcome.notes
    intracranial_ml = float(note.split(" ml")[0].split()[-1])
    made = []
    for m in outcome.measurements:
        name, share = m.name.removesuffix("_volume"), 100 * m.value / intracranial_ml
        spread = share / 2.0
        mean = share - z[name] * spread
        made.append(Norm(f"{name}_share", None, None, None, "controls", "3 T", "Betz", 1000, mean, 60, 0, spread, 0, 20, 80, "site"))
    return tuple(made)


@pytest.mark.parametrize(
    ("z", "verdict"),
    [
        ({"midbrain": 0, "pons": 0.5, "medulla": -0.5}, "absent"),
        ({"midbrain": 0, "pons": 0.5, "medulla": -2.6}, "present"),
        ({"midbrain": -1.8, "pons": 0.5, "medulla": 0}, "indeterminate"),
    ],
)
def test_the_finding_follows_the_part_that_stands_lowest(z, verdict):
    bare = head(as_the_atlas, grid(**WHOLE))
    examination = head(as_the_atlas, grid(**WHOLE), norms(z, bare))
    outcome = outcome_of(examination)
    assert outcome.findings[0].value == verdict
    for m in outcome.measurements:
        assert m.reference.z == pytest.approx(z[m.name.removesuffix("_volume")], abs=0.25)
        assert m.reference.mean == pytest.approx(m.value - m.reference.z * m.reference.sd, rel=0.02), "the population in ml, as the value"


def test_without_a_population_it_is_measured_and_not_assessed():
    outcome = outcome_of(head(as_the_atlas, grid(**WHOLE)))
    assert outcome.findings[0].value == "not assessed" and "no published population" in outcome.findings[0].reason
    assert all(m.reference is None and m.no_reference and m.uncertainty > 0 for m in outcome.measurements)
    assert "intracranial volume of" in outcome.notes[0] and "%" in outcome.notes[0]


def test_a_child_is_measured_and_not_compared_with_adults():
    bare = head(as_the_atlas, grid(**WHOLE))
    outcome = outcome_of(head(as_the_atlas, grid(**WHOLE), norms({"midbrain": 0, "pons": 0, "medulla": 0}, bare), age=9.0))
    assert outcome.outcome == MEASURED and all("a child of 9 years" in m.no_reference for m in outcome.measurements)
    assert outcome.findings[0].value == "not assessed" and "child" in outcome.findings[0].reason


def test_without_the_whole_brain_there_is_no_share_of_it():
    outcome = outcome_of(head(as_the_atlas, grid()))
    assert "not related to the size of the head" in outcome.notes[0]
    assert all("share of the intracranial volume" in m.no_reference for m in outcome.measurements)


def test_larger_voxels_have_a_larger_uncertainty():
    fine, coarse = (outcome_of(head(as_the_atlas, grid(step_mm=step))).measurements for step in (1.0, 2.0))
    assert all(b.uncertainty / b.value > a.uncertainty / a.value for a, b in zip(fine, coarse, strict=True))


def test_one_small_part_is_enough_even_where_another_is_cut():
    small = Measurement(
        "pons_volume", 8.0, "ml", concepts.VOLUME, concepts.PONS, reference=LOW, uncertainty=0.4
    )
    assert finding((small,), (Gap("medulla_volume", "cut"),)).value == "present"
