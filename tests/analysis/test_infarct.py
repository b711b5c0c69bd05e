"""Infarcts on a head that is made of the template itself: what is found, what is not, and which reasons are given."""

import numpy as np
import pytest
from scipy import ndimage

from analysis import atlas
from analysis.examination import Examination
from analysis.markers.infarct import _findings, measure
from analysis.outcome import NotMeasurable
from analysis.steps.focal_infarct import acute_spots, old_spots, place_of
from analysis.steps.signal import Signal
from analysis.steps.space import Placement, lps_grid, sample
from analysis.steps.water import LEAST_SIMILARITY, Water, brain_water, fluid_similarity, trace_of, water_of
from analysis.volume import Diffusion, Volume

B_S_MM2 = 1000.0
LEFT_DEEP = (34.0, 20.0, 26.0)  # LPS of the template: left corona radiata


@pytest.fixture(scope="module")
def grid() -> Volume:
    lps_from_index = np.diag([2.5, 2.5, 2.5, 1.0])
    lps_from_index[:3, 3] = (-90.0, -100.0, -70.0)
    return Volume(np.zeros((72, 84, 66), np.float32), lps_from_index)


@pytest.fixture(scope="module")
def tissues(grid) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    layers, lps = atlas.template(), lps_grid(grid)
    grey, white = (sample(layers[name], lps) for name in ("grey", "white"))
    inside = sample(layers["inside"].with_array(layers["inside"].array.astype(np.float32)), lps)
    return np.clip(inside - grey - white, 0, 1), grey, white


def ball(grid: Volume, middle_lps, radius_mm: float) -> np.ndarray:
    away = np.linalg.norm(lps_grid(grid) - np.array(middle_lps).reshape(3, 1, 1, 1), axis=0)
    return np.clip((radius_mm - away) / 2.5 + 0.5, 0, 1)


def head(grid, tissues, *spots: tuple[np.ndarray, float, float], noise: float = 0.02) -> Diffusion:
    """b = 0 and a trace image; `spots`: share, brightness without weighting, ADC."""
    random = np.random.default_rng(4)
    images = []
    for b in (0.0, B_S_MM2):
        parts = ((1.4, 3.0), (0.62, 0.85), (0.50, 0.76))
        image = sum(part * still * np.exp(-b * adc / 1000) for part, (still, adc) in zip(tissues, parts, strict=True))
        for share, still, adc in spots:
            image = image + share * (still * np.exp(-b * adc / 1000) - image)
        images.append(np.hypot(image + noise * random.standard_normal(image.shape), noise * random.standard_normal(image.shape)))
    array = 800 * np.stack(images, axis=-1).astype(np.float32)
    return Diffusion(array, grid.lps_from_index, np.array([0.0, B_S_MM2]), np.zeros((2, 3)))


def water(series: Diffusion, tissues) -> Water:
    b_zero, weighted, b = trace_of(series)
    return water_of(b_zero, weighted, b, sum(tissues) > 0.5, Placement(b_zero, lps_grid(b_zero), np.eye(4), 1.0))


def test_a_healthy_head_has_no_acute_infarct(grid, tissues):
    found, shine_ml = acute_spots(water(head(grid, tissues), tissues))
    assert found == () and shine_ml == 0


@pytest.mark.parametrize(("radius_mm", "share"), [(6.0, 0.5), (10.0, 0.3), (14.0, 0.3)])
def test_an_acute_infarct_is_found_on_its_side_with_its_volume(grid, tissues, radius_mm, share):
    spot = ball(grid, LEFT_DEEP, radius_mm)
    (found,), _ = acute_spots(water(head(grid, tissues, (spot, 0.66, 0.45)), tissues))
    assert found.side == "left" and not found.doubt
    assert found.volume_ml == pytest.approx(float(spot.sum()) * grid.voxel_ml, rel=share)
    assert np.linalg.norm(found.middle_lps - np.array(LEFT_DEEP)) < 3


@pytest.mark.parametrize("adc", [0.85, 1.0, 1.3])
def test_what_is_bright_without_a_low_adc_shines_through(grid, tissues, adc):
    found, shine_ml = acute_spots(water(head(grid, tissues, (ball(grid, LEFT_DEEP, 10.0), 1.2, adc)), tissues))
    assert found == () and shine_ml > 1


def test_the_same_on_both_sides_piled_up_signal_and_the_base_are_doubtful(grid, tissues):
    right = (-LEFT_DEEP[0], *LEFT_DEEP[1:])
    both = [(ball(grid, place, 10.0), 0.66, 0.45) for place in (LEFT_DEEP, right)]
    found, _ = acute_spots(water(head(grid, tissues, *both), tissues))
    assert {one.doubt for one in found} == {"both sides"} and {one.side for one in found} == {"left", "right"}
    piled, _ = acute_spots(water(head(grid, tissues, (ball(grid, LEFT_DEEP, 10.0), 2.0, 0.45)), tissues))
    assert [one.doubt for one in piled] == ["piled up"]
    temporal, _ = acute_spots(water(head(grid, tissues, (ball(grid, (50.0, 14.0, -34.0), 7.0), 0.9, 0.40)), tissues))
    assert [one.doubt for one in temporal] == ["base"]


def test_an_image_that_is_three_times_as_bright_gives_the_same(grid, tissues):
    series = head(grid, tissues, (ball(grid, LEFT_DEEP, 10.0), 0.66, 0.45))
    louder = Diffusion(series.array * 3, series.lps_from_index, series.b_values_s_mm2, series.b_vectors_lps)
    (one,), _ = acute_spots(water(series, tissues))
    (other,), _ = acute_spots(water(louder, tissues))
    assert one.volume_ml == pytest.approx(other.volume_ml)


def test_directions_average_out_and_too_few_are_refused(grid):
    array = np.full((4, 4, 4, 4), 100.0, np.float32)
    array[..., 1:] = (40.0, 20.0, 10.0)
    b = np.array([0.0, 1000.0, 1000.0, 1000.0])
    three = Diffusion(array, np.eye(4), b, np.vstack([np.zeros(3), np.eye(3)]))
    _, weighted, b_s_mm2 = trace_of(three)
    assert weighted[0, 0, 0] == pytest.approx(20.0) and b_s_mm2 == 1000
    one = Diffusion(array[..., :2], np.eye(4), b[:2], np.vstack([np.zeros(3), np.eye(3)[:1]]))
    with pytest.raises(NotMeasurable, match="fewer than three independent directions"):
        trace_of(one)
    weak = Diffusion(array[..., :2], np.eye(4), np.array([0.0, 200.0]), np.zeros((2, 3)))
    with pytest.raises(NotMeasurable, match="b-value of at least 500"):
        trace_of(weak)


def body(kind: str) -> Diffusion:
    """b = 0 and a trace image of a part of the body, axial: muscle in fat, and around the bones "knees" or "lumbar" spine and bowels."""
    lps_from_index = np.zeros((4, 4))
    lps_from_index[(2, 1, 0, 3), range(4)] = (5.0, 4.0, -4.0, 1.0)
    lps_from_index[:3, 3] = (170.0, -130.0, -80.0)
    place = Volume(np.zeros((33, 66, 86), np.float32), lps_from_index)
    x, y, z = lps_grid(place)
    if kind == "knees":
        parts = [part for middle in (-65.0, 65.0) for part in leg(np.hypot(x - middle, y), z)]
    else:
        parts = [((x / 165) ** 2 + (y / 110) ** 2 < 1, 0.08, 0.4), ((x / 145) ** 2 + (y / 88) ** 2 < 1, 0.4, 1.6)]
        parts += [((x / 110) ** 2 + ((y + 15) / 55) ** 2 < 1, 0.5, 1.1), ((x / 24) ** 2 + ((y - 20) / 18) ** 2 < 1, 0.25, 0.5)]
        parts += [(np.hypot(x, y - 50) < 9, 1.3, 3.0), (np.hypot(x, y - 50) < 5, 0.6, 0.9)]
    random, images = np.random.default_rng(6), []
    for b in (0.0, B_S_MM2):
        image = np.zeros(x.shape)
        for where, still, adc in parts:
            image[where] = still * np.exp(-b * adc / 1000)
        images.append(np.hypot(ndimage.gaussian_filter(image, 0.6) + 0.02 * random.standard_normal(x.shape), 0.02))
    return Diffusion(800 * np.stack(images, axis=-1).astype(np.float32), lps_from_index, np.array([0.0, B_S_MM2]), np.zeros((2, 3)))


def leg(away, z) -> list[tuple[np.ndarray, float, float]]:
    """Fat, muscle, bone and marrow, which widen to the joint, and the fluid in it."""
    bone = 16 + 12 * np.exp(-((z / 25) ** 2))
    return [(away < 58, 0.08, 0.4), (away < 48, 0.4, 1.6), (away < bone + 3, 0.04, 1.0), (away < bone, 0.1, 0.4),
            ((np.abs(z) < 3) & (away < bone), 0.9, 2.2)]  # fmt: skip


@pytest.mark.parametrize("kind", ["knees", "lumbar"])
def test_a_trace_series_of_another_part_of_the_body_is_refused(kind):
    with pytest.raises(NotMeasurable, match=r"less than 200 ml of brain tissue|does not look like a brain"):
        brain_water(Examination({"dwi": body(kind)}))


def test_a_trace_series_of_a_head_finds_its_place_on_the_template(grid, tissues):
    """The head lies turned by 12 degrees and 20 mm off, and is a tenth smaller than the template."""
    angle = np.deg2rad(12.0)
    away = np.diag([0.9, 0.9, 0.9, 1.0])
    away[:2, :2] = 0.9 * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    away[:3, 3] = (20.0, -12.0, 15.0)
    series = head(grid, tissues, (ball(grid, LEFT_DEEP, 11.0), 0.66, 0.45))
    moved = Diffusion(series.array, away @ series.lps_from_index, series.b_values_s_mm2, series.b_vectors_lps)
    found = brain_water(Examination({"dwi": moved}))
    assert found.place.similarity > LEAST_SIMILARITY + 0.2
    (spot,), _ = acute_spots(found)
    assert spot.side == "left" and np.linalg.norm(spot.middle_lps - np.array(LEFT_DEEP)) < 8


def test_free_water_lies_where_the_template_has_fluid(grid, tissues):
    series = head(grid, tissues)
    assert fluid_similarity(water(series, tissues)) > 0.8
    b_zero, weighted, b = trace_of(series)
    upside_down = Placement(b_zero, lps_grid(b_zero)[..., ::-1], np.eye(4), 1.0)
    assert fluid_similarity(water_of(b_zero, weighted, b, sum(tissues) > 0.5, upside_down)) < LEAST_SIMILARITY


def flair(grid, tissues, cavity: np.ndarray, rim: np.ndarray) -> Signal:
    csf, grey, white = tissues
    level = 0.13 * csf + 1.27 * grey + 1.0 * white
    level = level + rim * (1.67 - level)
    level = level + cavity * (0.13 - level)
    level += 0.03 * ndimage.gaussian_filter(np.random.default_rng(2).standard_normal(level.shape), 0.7)
    inside = (csf + grey + white > 0.5).astype(np.float32)
    return Signal(grid.with_array(inside), lps_grid(grid), (level - 1) / 0.04, white, np.zeros_like(white), np.zeros_like(white), 1.0, 0.04)


def old(grid, tissues, radius_mm: float, has_rim: bool):
    cavity = ball(grid, LEFT_DEEP, radius_mm)
    rim = (ball(grid, LEFT_DEEP, radius_mm + 4) - cavity) * has_rim
    signal = flair(grid, tissues, cavity * (radius_mm > 0), rim)
    place = Placement(grid, lps_grid(grid), np.eye(4), 1.0)
    csf, grey, white = tissues
    return old_spots(signal, place.mirrored_lps(grid), grey + white, (csf > 0.9))


def test_a_cavity_with_a_bright_rim_is_an_old_infarct_and_a_plain_one_is_doubtful(grid, tissues):
    assert old(grid, tissues, 0.0, has_rim=False) == ()
    (found,) = old(grid, tissues, 9.0, has_rim=True)
    assert found.side == "left" and not found.doubt and found.volume_ml == pytest.approx(3.05, rel=0.4)
    (plain,) = old(grid, tissues, 11.0, has_rim=False)
    assert plain.doubt == "no rim"
    assert {one.value for one in _findings("chronic_infarct", (plain,), "")} == {"indeterminate", "absent"}


def test_findings_name_the_place_and_what_was_not_looked_at():
    findings = _findings("acute_infarct", None, "the study has no usable dwi series")
    assert {(one.side, one.value, one.reason) for one in findings} == {
        (side, "not assessed", "the study has no usable dwi series") for side in ("left", "right")
    }


def test_a_study_of_nothing_is_not_measurable():
    with pytest.raises(NotMeasurable):
        measure(Examination({}))


@pytest.mark.parametrize(("ras", "place"), [
    ((-4, -25, -30), "brainstem"), ((30, -65, -40), "cerebellum"), ((-12, -15, 8), "deep"), ((12, -88, 4), "occipital"),
    ((52, -20, -12), "temporal"), ((-30, 40, 20), "frontal"), ((40, -50, 45), "parietal"), ((-38, 0, 52), "frontal"),
])  # fmt: skip
def test_places_have_the_names_of_their_lobes(ras, place):
    assert place_of(np.array([-ras[0], -ras[1], ras[2]], float)) == place
