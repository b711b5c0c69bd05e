"""The neck of the phantom: what its formulas say is what its images show, and what was planted is where it was planted."""

import numpy as np
import pytest

from analysis.phantom import phantom, with_neck
from analysis.phantom_neck import NECK_FINDINGS, REFERENCE_FROM_MM, Neck, neck_of, planted_places
from analysis.phantom_neck_scan import NECK_SEQUENCES, T2, neck_grid
from analysis.phantom_neck_shape import PRESS_REACH_MM
from analysis.phantom_scan import COUNTS
from analysis.volume import Volume

FINE_MM, FIELD_MM = 0.25, 20.0
SERIES = tuple(NECK_SEQUENCES)


def across(neck: Neck, s_mm: float, field_mm: float = FIELD_MM) -> Volume:
    """One thin noise-free section perpendicular to the curve; rows run to the back, columns to the left."""
    shape, s = neck.shape, np.array([s_mm])
    back, left, down = (shape.table(axis, s)[:, 0] for axis in (shape.back, shape.left, shape.down))
    affine, count = np.eye(4), round(field_mm / FINE_MM)
    affine[:3, :3] = np.stack([down, back, left], axis=1) * [0.2, FINE_MM, FINE_MM]
    affine[:3, 3] = shape.point(s_mm) - affine[:3, :3] @ [0, (count - 1) / 2, (count - 1) / 2]
    return neck.scan_on((1, count, count), affine, noise=0.0)


def cord_in(section: Volume) -> np.ndarray:
    """What of each pixel is not fluid but lies inside it, from the middle outwards."""
    from scipy import ndimage

    image = section.array[0] / COUNTS
    solid = np.clip((T2["csf"] - image) / (T2["csf"] - T2["cord"]), 0, 1)
    parts, _ = ndimage.label(solid > 0.02)
    middle = parts[tuple(n // 2 for n in parts.shape)]
    return np.where(image > T2["cord"] - 0.02, np.where(parts == middle, solid, 0), 0)


def measured(neck: Neck, name: str) -> dict[str, float]:
    return {one["level"]: one["value"] for one in neck.truth()["measurements"]["cervical_cord"] if one["name"] == name}


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("level", ["C2", "C4", "C6"])
def test_the_area_of_the_formula_is_that_of_the_image(seed, level):
    neck = neck_of(seed=seed)
    s = float(np.mean(neck.shape.levels_mm[level]))
    pixels = cord_in(across(neck, s))
    grey = np.pi * 0.15 * 0.5 * 2  # of the half width and the half depth: what the lighter grey matter takes off
    section = neck.shape.section
    area, width, half = (neck.shape.table(values, np.array([s]))[0] for values in (section.area_mm2, section.width, section.front))
    lighter = (T2["cord_grey"] - T2["cord"]) / (T2["csf"] - T2["cord"])
    expected = area - lighter * (grey * width * half + 2 * 0.34 * width * 1.0)
    assert pixels.sum() * FINE_MM**2 == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize("seed", range(4))
def test_points_of_the_neck_are_found_again(seed):
    shape = neck_of(seed=seed).shape
    places = [(s, u, v) for s in (-20.0, 10.0, 60.0, 120.0, 190.0) for u in (-8.0, 0.0, 8.0) for v in (-7.0, 0.0, 7.0)]
    found = shape.s_u_v(np.stack([shape.point(*place) for place in places], axis=1))
    assert np.allclose(np.stack(found, axis=1), places, atol=0.02)


def test_levels_lie_between_the_discs_in_order():
    for seed in range(8):
        shape = neck_of(seed=seed).shape
        edges = [edge for pair in shape.levels_mm.values() for edge in pair]
        assert edges == sorted(edges)
        assert shape.levels_mm["C5"] == (shape.discs_mm["C4/C5"], shape.discs_mm["C5/C6"])
        assert (shape.section.canal_front > shape.section.front).all() and (shape.section.canal_back > shape.section.back).all()


@pytest.mark.parametrize("severity", [0.25, 0.5, 1.0])
def test_atrophy_takes_the_same_share_of_every_level(severity):
    healthy, thin = measured(neck_of(seed=2), "cord_area"), measured(neck_of(("cord_atrophy",), severity, 2), "cord_area")
    shares = [thin[level] / healthy[level] for level in ("C2", "C3", "C4", "C5", "C6", "C7")]
    assert shares == pytest.approx([1 - 0.25 * severity] * 6, rel=1e-5)


@pytest.mark.parametrize("disc", ["C3/C4", "C5/C6", "C6/C7"])
def test_a_compression_lies_at_its_disc_and_nowhere_else(disc):
    healthy, pressed = neck_of(seed=4), neck_of((f"cord_compression:{disc}",), 1.0, 4)
    at, ratio = pressed.worst()
    assert abs(at - pressed.shape.discs_mm[disc]) < 2
    assert ratio == pytest.approx(0.40, abs=0.06)
    far = np.abs(healthy.shape.s_mm - pressed.shape.discs_mm[disc]) > PRESS_REACH_MM
    assert PRESS_REACH_MM < REFERENCE_FROM_MM
    assert np.array_equal(healthy.shape.section.area_mm2[far], pressed.shape.section.area_mm2[far])
    assert pressed.truth()["measurements"]["cord_compression"][0]["level"] == disc


def test_the_ratio_rises_with_the_severity_and_is_small_in_the_healthy():
    ratios = [neck_of(("cord_compression",), severity, 5).worst()[1] for severity in (0.25, 0.5, 0.75, 1.0)]
    assert ratios == sorted(ratios)
    assert max(neck_of(seed=seed).worst()[1] for seed in range(20)) < 0.116


def test_the_protrusion_touches_the_cord_in_the_image():
    neck = neck_of(("cord_compression",), 1.0, 6)
    disc, beside = (across(neck, at).array[0] / COUNTS for at in (neck.shape.discs_mm["C5/C6"], np.mean(neck.shape.levels_mm["C4"])))
    middle = disc.shape[1] // 2
    assert (disc[: disc.shape[0] // 2, middle] > 0.8).sum() * FINE_MM < 0.6
    assert (beside[: disc.shape[0] // 2, middle] > 0.8).sum() * FINE_MM > 1.5


def test_a_lesion_is_bright_where_it_was_planted_and_only_there():
    healthy, ill = neck_of(seed=3), neck_of(("cord_t2_hyperintensity:C4",), 1.0, 3)
    (lesion,) = ill.lesions
    grid = neck_grid(NECK_SEQUENCES["cord_t2"], ill.shape, 3, 2.0)
    before, after = (neck.scan_on(*grid, noise=0.0).array / COUNTS for neck in (healthy, ill))
    where = np.argwhere(np.abs(after - before) > 0.02)
    assert (after - before).min() > -0.01
    lps = grid[1] @ np.c_[where, np.ones(len(where))].T
    assert np.linalg.norm(lps[:3].mean(axis=1) - ill.shape.point(*lesion.middle_mm)) < 1.0
    assert ill.truth()["lesion_volume_mm3"][0] == pytest.approx(4 / 3 * np.pi * np.prod(lesion.radii_mm), rel=0.02)


@pytest.mark.parametrize("series", SERIES)
def test_the_same_arguments_give_the_same_image_and_the_series_shows_the_whole_neck(series):
    first, again = (neck_of(seed=2).scan(series, coarseness=3.0).array for _ in range(2))
    assert np.array_equal(first, again)
    for seed in range(6):
        neck = neck_of(seed=seed)
        count, affine = neck_grid(NECK_SEQUENCES[series], neck.shape, seed)
        for s in (0.0, neck.shape.discs_mm["C2/C3"], neck.shape.levels_mm["T1"][1]):
            index = (np.linalg.inv(affine) @ [*neck.shape.point(s), 1])[:3]
            assert (index > 5 * np.array([0.2, 1, 1])).all() and (index < np.array(count) - 5 * np.array([0.2, 1, 1])).all(), (seed, s)


def test_what_is_true_of_the_head_stays_beside_the_neck():
    head = {"findings": ["cst_degeneration:left"], "measurements": {"brainstem": [1]}, "definitions": {"cst_fa": "mean"},
            "findings_expected": [{"name": "cst_degeneration", "side": "left", "value": "present"}]}  # fmt: skip
    both = with_neck(head, neck_of(("cord_compression:C4/C5",), 1.0, 3))
    assert both["measurements"].items() > head["measurements"].items() and both["definitions"].items() > head["definitions"].items()
    assert both["findings"] == ["cst_degeneration:left", "cord_compression:C4/C5"]
    assert {one["name"]: one["value"] for one in both["findings_expected"]} == {
        "cst_degeneration": "present", "cord_atrophy": "absent", "cord_compression": "present", "cord_t2_hyperintensity": "absent"
    }  # fmt: skip


def test_a_neck_alone_needs_no_head():
    made = phantom(("neck",), 0.0, 3, roles=("cord_t2",), coarseness=4.0)
    assert set(made.images) == {"cord_t2"} and set(made.truth["measurements"]) == {"cervical_cord", "cord_compression"}
    assert {one["name"]: one["value"] for one in made.truth["findings_expected"]} == dict.fromkeys(NECK_FINDINGS, "absent")


@pytest.mark.parametrize(
    ("asked", "words"), [("cord_compression:C3", "names the place 'C3'"), ("cord_atrophy:left", "write cord_atrophy alone")]
)
def test_a_place_that_does_not_exist_is_refused_in_a_sentence(asked, words):
    with pytest.raises(ValueError, match=words):
        planted_places((asked,))
