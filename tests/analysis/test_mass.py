"""Signs of a mass: the shift of a known push, the rule of the finding, and where a healthy head takes up contrast."""

import numpy as np
import pytest

from analysis import atlas
from analysis.markers.mass import _enhancement, mass_effect
from analysis.outcome import NotMeasurable
from analysis.steps.mass_effect import Region, midline_shift_mm, regions_of, usual_uptake, ventricle_zone
from analysis.steps.space import Placement, lps_grid
from analysis.volume import Volume


@pytest.fixture(scope="module")
def grid() -> Volume:
    lps_from_index = np.diag([2.0, 2.0, 2.0, 1.0])
    lps_from_index[:3, 3] = (-80.0, -90.0, -60.0)
    return Volume(np.zeros((81, 101, 76), np.float32), lps_from_index)


def pushed(grid: Volume, by_mm: float, turn_deg: float = 0.0) -> Placement:
    """A head whose middle lies `by_mm` to the left of where the template has it, and which is turned about its long axis."""
    lps = lps_grid(grid).astype(float)
    angle = np.deg2rad(turn_deg)
    x, y = np.cos(angle) * lps[0] + np.sin(angle) * lps[1], -np.sin(angle) * lps[0] + np.cos(angle) * lps[1]
    reach = np.exp(-0.5 * ((y / 22) ** 2 + (x / 60) ** 2))
    return Placement(grid, np.stack([x - by_mm * reach, y, lps[2]]).astype(np.float32), np.eye(4), 1.0)


@pytest.mark.parametrize("turn_deg", [0.0, -9.0, 6.0])
@pytest.mark.parametrize("by_mm", [-8.0, -3.0, 0.0, 5.0])
def test_the_shift_is_that_of_the_push_and_has_its_side(grid, by_mm, turn_deg):
    assert midline_shift_mm(pushed(grid, by_mm, turn_deg)) == pytest.approx(by_mm * 0.86, abs=0.4)


def test_without_the_occipital_edge_there_is_no_midline(grid):
    with pytest.raises(NotMeasurable, match="from the frontal to the occipital edge"):
        midline_shift_mm(pushed(grid.part((slice(0, 81), slice(0, 80), slice(0, 76))), 0.0))


def region(side: str, volume_ml: float) -> Region:
    return Region(np.ones((1, 1, 1), bool), volume_ml, np.array([30.0 if side == "left" else -30.0, 0.0, 20.0]))


@pytest.mark.parametrize(
    ("shift_mm", "dark", "value", "words"),
    [
        (0.8, (), "absent", None),
        (-5.0, (region("left", 12.0),), "present", "5.0 mm to the right, away from a dark region of 12 ml"),
        (5.0, (region("left", 12.0),), "indeterminate", "no dark region explains it"),
        (5.0, (), "indeterminate", "no dark region explains it"),
        (-3.0, (region("left", 12.0),), "indeterminate", "away from"),
        (0.5, (region("right", 12.0),), "indeterminate", "on the right does not push the midline"),
        (0.5, (region("right", 3.0),), "absent", None),
    ],
)
def test_the_rule_of_mass_effect(shift_mm, dark, value, words):
    found = mass_effect(shift_mm, dark)
    assert found.value == value
    assert found.reason is None if words is None else words in found.reason


def test_enhancement_is_not_assessed_without_contrast():
    assert _enhancement((), "the study has no usable t1_contrast series").value == "not assessed"
    assert _enhancement((), None).value == "absent"
    assert _enhancement((region("left", 2.0),), None).value == "present"


def test_regions_are_sorted_and_small_ones_left_out(grid):
    mask = np.zeros(grid.array.shape, bool)
    mask[10:14, 10:14, 10:14] = mask[40:46, 40:46, 40:46] = mask[60, 60, 60] = True
    found = regions_of(mask, grid, lps_grid(grid), 0.3)
    assert [round(one.volume_ml, 2) for one in found] == [1.73, 0.51]
    assert [one.side for one in found] == ["left", "right"]


def test_healthy_uptake_is_left_out_and_the_lobes_are_not():
    """RAS mm of the template: pituitary, plexus, great vein, falx; then frontal, parietal, temporal white matter and the cerebellum."""
    healthy = np.array([(0, -2, -34), (24, -40, 12), (0, -40, 2), (1, 30, 40)], float).T
    lobes = np.array([(30, 30, 26), (34, -45, 36), (50, -25, -8), (30, -55, -40)], float).T
    turned = np.array([[-1.0], [-1.0], [1.0]])
    assert usual_uptake(turned * healthy).all() and not usual_uptake(turned * lobes).any()


def test_the_lateral_ventricles_are_on_both_sides_and_near_the_middle():
    layers = atlas.template()
    lps = lps_grid(layers["grey"])
    zone = ventricle_zone(lps, 0.0)
    x = lps[0][zone]
    assert 8 < zone.sum() * layers["grey"].voxel_ml < 60
    assert 0.4 < (x > 0).mean() < 0.6 and np.abs(x).max() < 46
