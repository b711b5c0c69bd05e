"""The phantom's later visits: what is planted is what the flow carries, nothing else changes, and every visit lies elsewhere."""

import numpy as np
import pytest

from analysis.phantom import phantom
from analysis.phantom_findings import on_sides
from analysis.phantom_head import ORIGIN_MM, SHAPE, healthy_head
from analysis.phantom_lesions import planted
from analysis.phantom_scan import SEQUENCES, contrast, grid_of, look_up
from analysis.phantom_shape import shape_of
from analysis.phantom_time import (
    NOTHING,
    Course,
    change_of,
    course_of,
    head_of,
    lesion_places,
    neck_at,
    phantom_at,
    shrinkage,
    visited,
    volume_change,
)

SHRUNK = Course(brainstem_loss=2.0)


@pytest.fixture(scope="module")
def ball():
    """A ball of tissue of 8 mm in fluid, on the template's grid."""
    x, y, z = np.ogrid[tuple(slice(size) for size in SHAPE)]
    away = np.sqrt((x - 90.0) ** 2 + (y - 120.0) ** 2 + (z - 150.0) ** 2)
    return np.clip(8.5 - away, 0, 1).astype(np.float32)


def test_a_ball_loses_what_it_is_told_to_and_stays_round(ball):
    flow = shrinkage(ball, 1.0 - ball, 10.0)
    assert volume_change(ball, (flow,)) == pytest.approx(-10.0, abs=0.05)
    middle = np.array([90.0, 120.0, 150.0]) + ORIGIN_MM
    inside = middle[:, None] + np.eye(3) * 6.0
    origin = flow.origin_of(inside)
    grown = np.linalg.norm(origin - middle[:, None], axis=0) / 6.0
    assert grown == pytest.approx(np.full(3, 0.9 ** (-1 / 3)), abs=0.01)
    far = middle[:, None] + np.eye(3) * 30.0
    assert np.abs(flow.origin_of(far) - far).max() < 0.05


def test_a_course_changes_what_it_names_and_nothing_else():
    found = {(one["name"], one["side"]): one["percent"] for one in change_of(SHRUNK)}
    parts = [found[f"{name}_volume", None] for name in ("midbrain", "pons", "medulla")]
    assert np.allclose(parts, -2.0, atol=0.15)
    assert abs(found["precentral_volume", "left"]) < 0.01 and found["cst_fa", None] == 0.0
    assert {one["percent"] for one in change_of(NOTHING)} == {0.0}


def test_a_later_visit_lies_elsewhere_and_a_first_one_is_the_usual_phantom():
    usual, first, later = shape_of(3), visited(3, 0), visited(3, 1)
    assert np.array_equal(usual.affine, first.affine) and not first.pushes
    moved = np.linalg.inv(later.affine) @ usual.affine
    assert np.allclose(moved[:3, :3] @ moved[:3, :3].T, np.eye(3), atol=1e-9)
    assert 0.3 < np.degrees(np.arccos((np.trace(moved[:3, :3]) - 1) / 2)) < 9.0
    place = SEQUENCES["t1"], usual.middle_mm, 3
    assert np.array_equal(grid_of(*place)[1], grid_of(*place, visit=0)[1])
    assert not np.allclose(grid_of(*place)[1], grid_of(*place, visit=1)[1])
    assert np.array_equal(later.affine, visited(3, 1).affine)


def test_what_is_lost_can_be_looked_up_in_the_patient():
    """The tissue of the brainstem that a grid around it holds: 2 % less, by summing what the later head has there."""
    head = healthy_head()
    solid = head.tissue["grey"] + head.tissue["white"]
    room = np.zeros_like(solid)
    from analysis.phantom_regions import brainstem

    for part in brainstem().values():
        room = np.maximum(room, part * solid)
    x, y, z = (np.arange(-40.0, 41.0), np.arange(-40.0, 41.0), np.arange(-80.0, 20.0))
    volumes = []
    for course in (NOTHING, SHRUNK):
        shape = visited(3, 0, course)
        grid = np.stack(np.meshgrid(x, y + 25.0, z, indexing="ij")).reshape(3, -1) + shape.middle_mm[:, None]
        volumes.append(float(look_up(room, shape.template_from_lps(grid)).sum(dtype=float)))
    assert 100.0 * (volumes[1] / volumes[0] - 1.0) == pytest.approx(-2.0, abs=0.1)


def test_lesions_come_go_and_grow_by_their_number():
    table = planted("ms_lesions", ("left", "right"), 1.0, 3)
    head, made = head_of(3, Course(lesions={0: 1.0, 4: 1.5}))
    assert [tuple(one.middle_mm) for one in made] == [tuple(table[k].middle_mm) for k in (0, 4)]
    assert made[1].length_mm == pytest.approx(1.5 * table[4].length_mm)
    assert head.spots["lesion"].max() > 0.9 and "lesion" not in head_of(3)[0].spots
    places = lesion_places(3, Course(lesions={0: 1.0, 4: 1.5}), shape_of(3))
    assert [one["number"] for one in places] == [0, 4]
    back = shape_of(3).template_from_lps(np.array(places[0]["middle_lps_mm"])[:, None])[:, 0]
    assert np.allclose(back, table[0].middle_mm, atol=0.1)


def test_the_motor_band_darkens_on_the_sides_that_are_named_and_nowhere_else():
    """The same place loses twice as much of its signal at twice the loss; the right side and the T1 lose nothing."""
    usual, _ = head_of(3)
    some, more = (head_of(3, Course(band_loss=loss, sides=("left",)))[0] for loss in (10.0, 20.0))
    healthy, once, twice = (contrast(head, SEQUENCES["swi"]) for head in (usual, some, more))
    lost, lost_more = (np.where(healthy > 0.1, 1.0 - dark / np.maximum(healthy, 0.1), 0.0) for dark in (once, twice))
    assert 0.07 < lost.max() <= 0.1001 and np.allclose(lost_more, 2.0 * lost, atol=1e-3)
    assert not (lost * on_sides(("right",))).any()
    assert np.array_equal(contrast(usual, SEQUENCES["t1"]), contrast(some, SEQUENCES["t1"]))
    percent = {one["side"]: one["percent"] for one in change_of(Course(band_loss=10.0, sides=("left",))) if one["name"] == "motor_band"}
    assert percent == {"left": -10.0, "right": 0.0}


def test_the_cord_loses_its_area_and_keeps_its_canal():
    shape = visited(3, 0)
    usual, worn = (neck_at(3, shape, course).shape.section for course in (NOTHING, Course(cord_loss=8.0)))
    assert np.array_equal(usual.canal_front, worn.canal_front)
    levels = [neck_at(3, shape, course).truth()["measurements"]["cervical_cord"] for course in (NOTHING, Course(cord_loss=8.0))]
    left = {(one["name"], one["level"]): later["value"] / one["value"] for one, later in zip(*levels, strict=True)}
    assert left["cord_area", "C3"] == pytest.approx(0.92, abs=1e-3)
    assert left["cord_ap_diameter", "C3"] == pytest.approx(0.92**0.5, abs=1e-3)
    assert next(one["percent"] for one in change_of(Course(cord_loss=8.0)) if one["name"] == "cord_area") == -8.0


def test_the_neck_hangs_below_the_head_and_is_scanned_another_way_at_every_visit():
    """A coarse one: no head is made for it, and the first visit is the neck of the usual phantom."""
    first, later = (phantom_at(visit, NOTHING, 3, roles=("cord_t2",), coarseness=4.0) for visit in (0, 1))
    usual = phantom(seed=3, roles=("cord_t2",), coarseness=4.0)
    assert np.array_equal(first.images["cord_t2"].array, usual.images["cord_t2"].array) and set(first.images) == {"cord_t2"}
    assert not np.allclose(first.images["cord_t2"].lps_from_index, later.images["cord_t2"].lps_from_index)
    assert first.truth["measurements"]["cervical_cord"] == later.truth["measurements"]["cervical_cord"]
    moved = np.subtract(later.truth["neck"]["discs_lps_mm"]["C2/C3"], first.truth["neck"]["discs_lps_mm"]["C2/C3"])
    assert 0.5 < np.linalg.norm(moved) < 40.0


def test_a_course_of_many_visits_never_plants_more_than_the_phantom_can_show():
    late = course_of(9, 1.0)
    assert (late.band_loss, late.cord_loss) == (45.0, 25.0) and course_of(1, 0.5).cord_loss == 2.0
    assert neck_at(3, visited(3, 0), Course(cord_loss=late.cord_loss)).severity == 1.0
