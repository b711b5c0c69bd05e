"""The phantom's functional series: what was planted is in the images, and only there."""

import numpy as np
import pytest

from analysis.phantom_bold import REST, TASK, Course, active_region, displacement_mm, paradigm_of, poses_of, scan_bold, truth
from analysis.phantom_head import axes_mm, healthy_head
from analysis.phantom_shape import shape_of

SEED, COARSE = 4, 1.6
CLEAN = {"drift": 0.0, "physiology": 0.0, "others": 0.0, "motion_mm": 0.0, "noise": 0.0, "volumes": 60}


def scanned(series: str, **changes):
    return scan_bold(healthy_head(), shape_of(SEED), series, SEED, Course(**{**CLEAN, **changes}), COARSE)


def sides_of(series, change: np.ndarray) -> tuple[float, float]:
    """The sums of a map over the left and over the right half of the patient; LPS grows to the left."""
    index = np.indices(change.shape).reshape(3, -1)
    x = (series.lps_from_index[:3, :3] @ index + series.lps_from_index[:3, 3:])[0].reshape(change.shape) - shape_of(SEED).middle_mm[0]
    return float(change[x > 0].sum()), float(change[x < 0].sum())


@pytest.mark.parametrize(("moves", "stronger"), [("right", 0), ("left", 1)])
def test_the_hand_works_in_the_cortex_of_the_other_side_while_it_moves(moves, stronger):
    series = scanned(TASK, moves=moves)
    course = Course(**CLEAN, moves=moves)
    middles = [int((start + end) / 2 / course.repetition_s) + 2 for start, end in paradigm_of(course).bands]
    change = series.array[..., middles].mean(axis=3) - series.array[..., :4].mean(axis=3)
    sums = sides_of(series, change)
    assert sums[stronger] > 1.5 * sums[1 - stronger] > 0
    assert (change / np.maximum(series.array[..., 0], 50)).max() == pytest.approx(0.03, abs=0.006)


def test_at_rest_both_hand_areas_fluctuate_with_the_planted_correlation():
    series = scanned(REST, correlation=0.5, volumes=120)
    varies = series.array.std(axis=3) > 2.0
    index = np.argwhere(varies).T
    x = (series.lps_from_index[:3, :3] @ index + series.lps_from_index[:3, 3:])[0] - shape_of(SEED).middle_mm[0]
    left, right = (series.array[varies][chosen].mean(axis=0) for chosen in (x > 0, x < 0))
    assert np.corrcoef(left, right)[0, 1] == pytest.approx(0.5, abs=0.05)


def test_the_regions_lie_on_their_sides_in_the_motor_cortex():
    x, _, z = axes_mm()
    for side, sign in (("left", -1), ("right", 1)):
        region = active_region(healthy_head(), side, 15.0)
        assert region.any() and (np.broadcast_to(sign * x, region.shape)[region] > 10).all()
        assert (np.broadcast_to(z, region.shape)[region] > 40).all()


def test_the_truth_names_volumes_index_correlation_and_motion():
    values = {(one["name"], one["side"], one["level"]): one["value"] for one in truth(healthy_head(), shape_of(SEED), SEED)}
    left, right = (values["activation_volume", side, "task"] for side in ("left", "right"))
    assert 3.0 < left < 12.0 and 1.0 < right < left
    assert values["laterality_index", None, "task"] == pytest.approx((left - right) / (left + right), abs=1e-4)
    assert values["m1_m1_connectivity", None, "rest"] == Course().correlation
    assert values["framewise_displacement", None, "rest"] == pytest.approx(Course().motion_mm, rel=1e-3)


def test_motion_is_as_large_as_it_was_asked_for():
    poses = poses_of(TASK, SEED, Course(motion_mm=0.4))
    assert displacement_mm(poses)[1:].mean() == pytest.approx(0.4)
    assert not np.array_equal(poses, poses_of(TASK, SEED, Course(motion_mm=0.4), stream=1))


def test_the_same_arguments_give_the_same_series():
    one, other = (scanned(TASK, noise=1.0, volumes=6) for _ in range(2))
    assert np.array_equal(one.array, other.array)
