"""The marker on the template itself, which is symmetric, and what it says where there is no thickness or no reference."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from analysis import atlas, concepts
from analysis.examination import Examination, Patient
from analysis.markers.precentral_gyrus import MARKER, finding, measure
from analysis.outcome import Gap, Measurement, NotMeasurable, Reference
from analysis.reference import Norm, percentile_of
from analysis.steps.head import brain_mask, head_on_template
from analysis.steps.ribbon import central_ribbon, fit_pure_tissues
from analysis.steps.space import Placement, lps_grid, onto
from analysis.steps.tissue import Tissue, tissue_fractions
from analysis.volume import Volume

NORM = Norm("precentral_thickness", None, None, None, "healthy adults", "3 T", "by hand", 1000, 2.4, 60, 0.0, 0.2, 0.13, 45, 75, "a source")
CSF, GREY, WHITE = 0.25, 0.68, 1.0


def upper(step_mm: float, cut_mm: float = 0.0) -> Volume:
    """The upper part of the template as a T1, without what lies more than `cut_mm` to the patient's left."""
    inside = atlas.template()["inside"]
    low, high = np.array([-80.0, -60.0, -10.0]), np.array([80.0 - cut_mm, 70.0, 96.0])
    shape = tuple(((high - low) / step_mm).astype(int))
    matrix = np.diag([step_mm] * 3 + [1.0])
    matrix[:3, 3] = low
    grid = Volume(np.zeros(shape, np.float32), matrix)
    grey, white = (onto(atlas.template()[name], grid, order=3).clip(0, 1) for name in ("grey", "white"))
    brain = onto(inside.with_array(inside.array.astype(np.float32)), grid) > 0.5
    share = white**3 / np.maximum(white**3 + grey**3, 1e-6)  # an average of many heads is blurred
    fluid = np.clip(1.3 - 1.3 * (grey + white), 0, 1)
    return grid.with_array((brain * (CSF * fluid + (1 - fluid) * (GREY + (WHITE - GREY) * share))).astype(np.float32))


def examination(t1: Volume, noise: float = 0.02) -> Examination:
    """An examination whose registration and tissues are known: the head is the template."""
    array = t1.array + np.random.default_rng(1).normal(0, noise, t1.array.shape).astype(np.float32) * (t1.array > 0)
    made = Examination({"t1": t1.with_array(array)}, Patient(60.0, "F"), norms=(NORM,))
    inside = atlas.template()["inside"]
    grey = np.interp(t1.array, [CSF, GREY, WHITE], [0, 1, 0]).astype(np.float32) * (t1.array > 0)
    white = np.interp(t1.array, [GREY, WHITE], [0, 1]).astype(np.float32)
    steps = {
        head_on_template: Placement(inside, lps_grid(inside), np.eye(4), 1.0),
        brain_mask: t1.array > 0,
        tissue_fractions: Tissue((t1.array > 0) - grey - white, grey, white, array, (CSF, GREY, WHITE), noise),
    }
    made._done.update({step: (value, None) for step, value in steps.items()})
    return made


@cache
def measured():
    return measure(examination(upper(1.0)))


def values(outcome) -> dict:
    return {(m.name, m.side): m.value for m in outcome.measurements}


def test_both_sides_of_the_symmetric_template_are_the_same():
    found = values(measured())
    assert set(found) == {(name, side) for name in MARKER.gives for side in ("left", "right")}
    for name in MARKER.gives:
        assert found[name, "left"] == pytest.approx(found[name, "right"], rel=0.03)
    assert 1.5 < found["precentral_thickness", "left"] < 3.5
    assert 8.0 < found["precentral_volume", "left"] < 20.0
    assert {f.side for f in measured().findings} == {"left", "right"}


def test_the_masks_are_grey_matter_on_their_side():
    t1 = upper(1.0)
    x = lps_grid(t1)[0]
    masks = {(mask.name, mask.side): mask.array for mask in measured().masks}
    assert set(masks) == {(name, side) for name in ("precentral_gyrus", "postcentral_gyrus") for side in ("left", "right")}
    for (_, side), array in masks.items():
        assert array.shape == t1.array.shape and array.sum() > 3000
        assert ((x[array] > 0) == (side == "left")).mean() > 0.98
        assert 0.5 < np.median(t1.array[array]) < 0.9
    assert not (masks["precentral_gyrus", "left"] & masks["postcentral_gyrus", "left"]).any()


def test_coarse_voxels_give_a_volume_and_no_thickness():
    outcome = measure(examination(upper(2.0)))
    assert {m.name for m in outcome.measurements} == {"precentral_volume"}
    assert all("voxels of 2.0 mm cannot resolve a cortex of 2 to 4 mm" in gap.reason for gap in outcome.gaps)
    assert {f.value for f in outcome.findings} == {"not assessed"}
    assert values(outcome)["precentral_volume", "left"] == pytest.approx(values(measured())["precentral_volume", "left"], rel=0.15)


def test_a_gyrus_that_the_field_of_view_cuts_is_a_gap_of_its_side():
    outcome = measure(examination(upper(2.0, cut_mm=30.0)))
    assert {m.side for m in outcome.measurements} == {"right"}
    assert all("cuts the cortex around the left central sulcus" in gap.reason for gap in outcome.gaps if gap.side == "left")
    assert {gap.name for gap in outcome.gaps if gap.side == "left"} == set(MARKER.gives)


def test_noise_as_large_as_the_contrast_is_refused():
    rng = np.random.default_rng(2)
    bright = rng.choice([CSF, GREY, WHITE], 40_000, p=[0.2, 0.4, 0.4])
    found = fit_pure_tissues(bright + rng.normal(0, 0.05, 40_000))
    assert found.means == pytest.approx([CSF, GREY, WHITE], abs=0.02)
    with pytest.raises(NotMeasurable, match="cannot be told apart"):
        fit_pure_tissues(bright + rng.normal(0, 0.3, 40_000))


def test_without_a_ribbon_there_is_a_volume_and_the_reason():
    one = examination(upper(1.0))
    one._done[central_ribbon] = (None, NotMeasurable("grey and white matter cannot be told apart"))
    outcome = measure(one)
    assert {m.name for m in outcome.measurements} == {"precentral_volume"}
    assert {f.reason for f in outcome.findings} == {"grey and white matter cannot be told apart"}


def stated(z: float | None, ratio: float) -> list[Measurement]:
    place = Reference("healthy adults", 100, z, percentile_of(z), 0.0, 100.0, 2.4, 0.2, 2.1, 2.7, "a source") if z is not None else None
    thick = Measurement(
        "precentral_thickness", 2.0, "mm", concepts.THICKNESS, concepts.PRECENTRAL_GYRUS, "left",
        reference=place, no_reference=None if place else "the patient is a child of 9 years",
    )  # fmt: skip
    return [thick, replace(thick, name="precentral_postcentral_ratio", value=ratio, unit="1", reference=None, no_reference="none")]


@pytest.mark.parametrize(
    ("z", "ratio", "value", "words"),
    [
        (-2.0, 1.0, "present", None),
        (-0.7, 1.05, "present", None),
        (-1.0, 1.25, "absent", None),
        (0.3, 1.25, "absent", None),
        (-2.0, 1.25, "indeterminate", "thin for the patient's age"),
        (0.3, 1.0, "indeterminate", "thin beside the postcentral gyrus"),
        (0.4, 1.15, "indeterminate", "near the limit"),
        (None, 1.0, "not assessed", "a child of 9 years"),
    ],
)
def test_atrophy_needs_both_conditions(z, ratio, value, words):
    found = finding("left", stated(z, ratio), [])
    assert (found.value, found.side) == (value, "left")
    assert words is None or words in found.reason


def test_what_was_not_measured_is_not_assessed():
    found = finding("right", stated(0.0, 1.2), [Gap("precentral_thickness", "the T1 series cuts it", "right")])
    assert (found.value, found.reason) == ("not assessed", "the T1 series cuts it")


def test_the_map_shows_the_thickness_in_the_masks_and_nowhere_else():
    outcome = measured()
    (map_,) = outcome.maps
    inside = np.logical_or.reduce([mask.array for mask in outcome.masks])
    assert (map_.name, map_.role, map_.unit, map_.array.dtype) == ("thickness", "t1", "mm", np.float32)
    assert not map_.array[~inside].any() and (map_.array[inside] > 0).mean() > 0.95
    for mask in outcome.masks:
        name = {"precentral_gyrus": "precentral_thickness", "postcentral_gyrus": "postcentral_thickness"}[mask.name]
        known = map_.array[mask.array & (map_.array > 0)]
        assert known.mean() == pytest.approx(values(outcome)[name, mask.side], abs=0.35)


def test_without_a_thickness_there_is_no_map():
    assert measure(examination(upper(2.0))).maps == ()
