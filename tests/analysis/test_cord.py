"""The cord on computed necks whose area and levels are known, and on real images with masks that were drawn by hand."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from analysis.examination import Examination, Patient
from analysis.markers.cervical_cord import MARKER, finding, in_half_maximum
from analysis.outcome import NotMeasurable
from analysis.steps.cord import cord_of, cord_on
from analysis.steps.cord_edge import area_of, diameters_of, edge_of, mask_of
from analysis.steps.cord_levels import disc_distance_mm, medulla_ends
from analysis.volume import Volume
from node.populations import norms


def _tubes():
    spec = importlib.util.spec_from_file_location("cord_tubes", Path(__file__).with_name("cord_tubes.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


TUBES = _tubes()
TRUE_MM2 = np.pi * 4.0 * 6.25
SPACING_MM = (18.0, 18.0, 16.0, 16.0, 18.0, 22.0)


def edge_on(look: str, tilt_deg, place: Volume, **changes):
    image = TUBES.tube(place, look, tilt_deg=tilt_deg, parts=3, **changes)
    return edge_of(image, TUBES.axis_of(tilt_deg) + np.array([0.7, -0.5, 0.0]), look == "t1")


class TestArea:
    @pytest.mark.parametrize("look", ["t2", "t1", "t2star"])
    @pytest.mark.parametrize(("voxel_mm", "tilt_deg"), [(0.8, (0, 0)), (1.0, (15, 5)), (1.2, (30, 0))])
    def test_at_half_maximum_has_no_bias_on_tilted_ellipses(self, look, voxel_mm, tilt_deg):
        edge = edge_on(look, tilt_deg, TUBES.grid(voxel_mm=(voxel_mm,) * 3))
        area = area_of(edge.radius_mm)[5:-5]
        assert area.mean() == pytest.approx(TRUE_MM2, rel=0.025) and area.std() < 0.03 * TRUE_MM2
        front, side = diameters_of(edge.radius_mm)
        assert front[5:-5].mean() == pytest.approx(8.0, abs=0.25) and side[5:-5].mean() == pytest.approx(12.5, abs=0.35)

    def test_inside_edges_as_drawn_by_hand_it_is_smaller_by_a_tenth_or_more(self):
        edge = edge_on("t2", (15, 5), TUBES.grid())
        assert 0.8 < area_of(edge.drawn_mm)[5:-5].mean() / TRUE_MM2 < 0.92

    def test_thick_sagittal_slices_do_not_move_the_drawn_edge_further_in(self):
        """They blur the sides of the cord, and 0.22 of a blurred step lies a millimetre inside: healthy cords would look small."""
        fine, thick = (cord_on(TUBES.tube(TUBES.grid((60.0, 50.0, 49.5), size, TUBES.rotation(0, 0)), parts=3), "cord_t2")
                       for size in ((1.0, 1.0, 1.0), (0.8, 0.8, 3.3)))  # fmt: skip
        ratios = [area_of(cord.drawn_mm)[8:-8].mean() / area_of(cord.radius_mm)[8:-8].mean() for cord in (fine, thick)]
        assert ratios[1] == pytest.approx(ratios[0], abs=0.03)

    def test_with_little_fluid_around_it_is_right_within_five_percent(self):
        edge = edge_on("t2", (15, 5), TUBES.grid(voxel_mm=(1.2, 1.2, 1.2)), rim_mm=1.5)
        assert area_of(edge.radius_mm)[5:-5].mean() == pytest.approx(TRUE_MM2, rel=0.055)

    def test_follows_a_loss_of_a_tenth(self):
        edges = [edge_on("t2", (10, 0), TUBES.grid(), ap_mm=8.0 * share, rl_mm=12.5 * share) for share in (1.0, 0.9**0.5)]
        areas = [area_of(edge.radius_mm)[5:-5].mean() for edge in edges]
        assert areas[1] / areas[0] == pytest.approx(0.9, abs=0.02)

    def test_a_mask_holds_what_the_edge_encloses(self):
        edge = edge_on("t2", (15, 5), TUBES.grid())
        mask = mask_of(TUBES.grid(), edge.line, edge.radius_mm, np.ones(len(edge.line.lps), bool))
        assert mask.sum() == pytest.approx(area_of(edge.radius_mm).mean() * (len(edge.line.lps)), rel=0.04)


def neck(above_mm=45.0, below_mm=120.0, spacing_mm=SPACING_MM, look="t2", voxel_mm=1.0, tilt_deg=(0.0, 0.0), scale=1.0) -> Volume:
    """A cord with vertebrae and discs in front of it; C2/C3 lies at the origin, `above_mm` below the upper end of the field."""
    length = above_mm + below_mm
    place = TUBES.grid((length, 80.0, 60.0), (voxel_mm,) * 3, TUBES.rotation(*tilt_deg))
    matrix = place.lps_from_index.copy()
    up = TUBES.rotation(*tilt_deg) @ [0.0, 0.0, 1.0]
    matrix[:3, 3] += up * (above_mm - length / 2)
    place = Volume(place.array, matrix)
    image = TUBES.tube(place, look, ap_mm=8.0 * scale, rl_mm=12.5 * scale, tilt_deg=tilt_deg, parts=2)
    back, height = _places(place, tilt_deg)
    vertebra, disc = (40.0, 15.0) if look == "t2" else (20.0, 60.0)
    column = (back < -8.5) & (back > -26.0)
    near = np.min([np.abs(height + at) for at in np.r_[0.0, np.cumsum(spacing_mm)]], axis=0) < 2.5
    array = np.where(column, np.where(near, disc, vertebra), image.array)
    return place.with_array((array + np.random.default_rng(5).normal(0, 1.5, array.shape)).astype(np.float32))


def _places(place: Volume, tilt_deg) -> tuple[np.ndarray, np.ndarray]:
    upright = TUBES.rotation(*tilt_deg).T @ place.lps_from_index[:3, :3]
    start = TUBES.rotation(*tilt_deg).T @ place.lps_from_index[:3, 3]
    index = np.indices(place.array.shape)
    return tuple(sum(upright[axis, k] * index[k] for k in range(3)) + start[axis] for axis in (1, 2))


class TestLevels:
    @pytest.mark.parametrize("tilt_deg", [(0, 0), (20, 0), (-15, 8)])
    def test_discs_are_named_from_c2_c3(self, tilt_deg):
        cord = cord_on(neck(tilt_deg=tilt_deg), "cord_t2")
        upright = TUBES.rotation(*tilt_deg)
        assert [disc.name for disc in cord.discs] == ["C2/C3", "C3/C4", "C4/C5", "C5/C6", "C6/C7", "C7/T1", "T1/T2"]
        found = [-float(np.array(disc.lps) @ upright[:, 2]) for disc in cord.discs]
        assert np.allclose(found, np.r_[0.0, np.cumsum(SPACING_MM)], atol=3.0)
        assert {level for level in cord.level if level} == set(range(1, 9))
        assert cord.area_mm2[cord.at(4)].mean() == pytest.approx(TRUE_MM2, rel=0.05)

    def test_the_same_cord_on_t1(self):
        cord = cord_on(neck(look="t1"), "t1")
        assert cord.discs[0].name == "C2/C3" and abs(cord.discs[0].lps[2]) < 3.0 and not cord.bright_fluid

    @pytest.mark.parametrize("above_mm", [12.0, 5.0, -12.0, -30.0])
    def test_without_the_axis_above_no_level_is_told(self, above_mm):
        """At 5 mm C2/C3 lies at the edge and is not seen, so that C3/C4 is the first disc with 23 mm of cord above it."""
        cord = cord_on(neck(above_mm=above_mm), "cord_t2")
        assert not cord.discs and not cord.level.any() and any("which disc is C2/C3 cannot be told" in one for one in cord.refused)

    def test_what_has_no_level_is_not_measurable(self):
        with pytest.raises(NotMeasurable, match="which disc is C2/C3 cannot be told"):
            MARKER.measure(Examination({"cord_t2": neck(above_mm=12.0)}))

    def test_the_medulla_is_wider_and_rounder_the_enlargement_only_wider(self):
        around = 2 * np.pi * np.arange(72) / 72
        cord, medulla, enlarged = (np.tile(ap * rl / np.hypot(rl * np.cos(around), ap * np.sin(around)), (count, 1))
                                   for ap, rl, count in ((4.0, 6.0, 70), (5.5, 6.5, 12), (4.2, 8.2, 12)))  # fmt: skip
        assert medulla_ends(np.r_[medulla, cord]) == 11
        assert medulla_ends(np.r_[enlarged, cord]) is None and medulla_ends(cord) is None

    def test_the_distance_of_the_discs_is_that_of_the_signal(self):
        place = np.arange(140)
        assert disc_distance_mm(np.cos(2 * np.pi * place / 31.0))[0] == pytest.approx(31, abs=1)


class TestRefusals:
    def test_a_lumbar_spine(self):
        with pytest.raises(NotMeasurable, match=r"does not show the neck: the distance from one disc to the next is 3\d mm"):
            cord_of(Examination({"cord_t2": neck(above_mm=15.0, below_mm=185.0, spacing_mm=(33.0,) * 5)}))

    def test_noise_a_constant_and_a_solid_limb(self):
        place = TUBES.grid((120.0, 140.0, 140.0), (2.0, 1.0, 1.0))
        index = np.indices(place.array.shape)
        limb = np.hypot(index[1] - 70, index[2] - 70) < 55
        bone = np.hypot(index[1] - 70, index[2] - 70) < 18
        rough = np.random.default_rng(1).normal(0, 3, place.array.shape)
        for array in (rough + 50, np.where(bone, 70, np.where(limb, 35, 0)) + rough):
            with pytest.raises(NotMeasurable, match=r"no cervical cord was found|does not show the neck|could be followed"):
                cord_on(place.with_array(array.astype(np.float32)), "cord_t2")
        with pytest.raises(NotMeasurable, match="is empty"):
            cord_on(place, "cord_t2")

    def test_metal_that_takes_the_signal_of_three_vertebrae(self):
        image = neck()
        _, height = _places(image, (0, 0))
        lost = image.with_array(np.where((height < -25) & (height > -85), 0, image.array).astype(np.float32))
        try:
            cord = cord_on(lost, "cord_t2")
        except NotMeasurable as refusal:
            assert "cord" in refusal.reason
        else:
            inside = (cord.centreline_lps[:, 2] < -30) & (cord.centreline_lps[:, 2] > -80)
            assert not cord.measured[inside].any()

    @pytest.mark.parametrize("reach_mm", [14.0, 24.0, 60.0])
    def test_a_plate_and_screws_take_signal_away_and_pile_it_up_beside(self, reach_mm):
        """In front of C5: nothing inside the void or its bright rim is measured, and what is measured elsewhere is right."""
        image = neck()
        index = np.indices(image.array.shape).reshape(3, -1)
        lps = image.lps_from_index[:3, :3] @ index + image.lps_from_index[:3, 3:]
        away_mm = np.linalg.norm(lps - np.array([[0.0], [-6.0], [-43.0]]), axis=0).reshape(image.array.shape)
        array = np.where(away_mm < reach_mm, 1.0, np.where(away_mm < reach_mm + 3, 180.0, image.array))
        try:
            cord = cord_on(image.with_array(array.astype(np.float32)), "cord_t2")
        except NotMeasurable as refusal:
            assert reach_mm > 24 and "cord" in refusal.reason
            return
        height_mm = np.abs(cord.centreline_lps[:, 2] + 43.0)
        assert not cord.measured[height_mm < np.sqrt(reach_mm**2 - 10.0**2) - 1].any()
        far = cord.measured & (height_mm > reach_mm + 8)
        assert far.any() and np.allclose(cord.area_mm2[far], TRUE_MM2, rtol=0.08)

    def test_coarse_voxels(self):
        with pytest.raises(NotMeasurable, match=r"voxels of 2.0 x 2.0 x 2.0 mm are too coarse"):
            cord_on(TUBES.tube(TUBES.grid(voxel_mm=(2.0, 2.0, 2.0))), "cord_t2")

    @pytest.mark.parametrize(("tilt_deg", "share"), [((5, 0), 1.0), ((20, 0), 0.0)])
    def test_thick_axial_slices_oblique_to_the_cord(self, tilt_deg, share):
        image = TUBES.tube(TUBES.grid((90.0, 60.0, 60.0), (7.5, 0.6, 0.6)), tilt_deg=tilt_deg, parts=3)
        if share:
            assert cord_on(image, "cord_t2").measured.mean() > 0.6
        else:
            with pytest.raises(NotMeasurable, match="too obliquely"):
                cord_on(image, "cord_t2")


class TestMarker:
    @pytest.fixture(scope="class")
    def outcome(self):
        return MARKER.measure(Examination({"cord_t2": neck()}, Patient(60.0, "F"), norms=norms()))

    def test_every_level_has_its_three_numbers_or_a_reason(self, outcome):
        said = {(one.name, one.level) for one in (*outcome.measurements, *outcome.gaps)}
        assert said == {(name, f"C{number}") for name in MARKER.gives for number in range(1, 8)}
        assert {one.level for one in outcome.measurements} >= {"C2", "C3", "C4", "C5", "C6", "C7"}
        assert all(one.unit == ("mm2" if one.name == "cord_area" else "mm") and one.uncertainty > 0 for one in outcome.measurements)

    def test_it_stands_in_its_population_by_the_edge_that_the_population_has(self, outcome):
        (two,) = [one for one in outcome.measurements if (one.name, one.level) == ("cord_area", "C2")]
        assert "DLBS" in two.reference.population and two.reference.mean > 70, "66.5 mm2 inside drawn edges, more inside ours"
        assert [one.reference for one in outcome.measurements if one.level in ("C6", "C7")] == [None] * 6

    def test_masks_are_the_cord_and_its_levels(self, outcome):
        whole = outcome.masks[0]
        parts = [mask for mask in outcome.masks if mask.name == "cord_level"]
        assert whole.name == "cervical_cord" and {mask.level for mask in parts} >= {"C2", "C7"}
        assert all((whole.array | mask.array == whole.array).all() for mask in parts)

    @pytest.mark.parametrize(("scale", "verdict"), [(1.0, "absent"), (0.75, "present")])
    def test_atrophy(self, scale, verdict):
        outcome = MARKER.measure(Examination({"cord_t2": neck(scale=scale)}, Patient(60.0, "F"), norms=norms()))
        assert outcome.findings[0].value == verdict

    def test_without_an_age_atrophy_is_not_assessed(self, outcome):
        bare = MARKER.measure(Examination({"cord_t2": neck()}, norms=norms()))
        assert bare.findings[0].value == "not assessed" and "age" in bare.findings[0].reason
        assert finding(()).reason == "neither C2 nor C3 was measured"

    def test_a_population_is_shown_on_the_scale_of_the_value(self, outcome):
        (two,) = [one for one in outcome.measurements if (one.name, one.level) == ("cord_area", "C2")]
        doubled = in_half_maximum(two.reference, 2.0)
        assert doubled.mean == 2 * two.reference.mean and doubled.z == two.reference.z


def test_a_signal_without_a_rhythm_has_no_distance_of_discs():
    """Such as a head above its neck gives: whatever it is, it is said and no error."""
    for seed in range(60):
        random = np.random.default_rng(seed)
        signal = ndimage.gaussian_filter1d(np.cumsum(random.standard_normal(30 + seed)), 3)
        distance_mm, likeness = disc_distance_mm(signal)
        assert 0.0 <= distance_mm < 56.0 and likeness >= 0.0
