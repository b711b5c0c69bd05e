"""The lesion detector on synthetic heads that it did not learn from, its recipe, and the rules that follow on it."""

import csv

import numpy as np
import pytest
from scipy import ndimage

from analysis.atlas import lesion_weights
from analysis.atlas.synthetic_lesions import case_of
from analysis.examination import Examination
from analysis.markers.white_matter_lesions import MS_REGIONS, verdict
from analysis.outcome import NotMeasurable
from analysis.steps.lesion_features import NAMES, Features, features_of
from analysis.steps.lesions import Lesion, Surroundings, belief_of, extent_mm, lesion_voxels, lesions_on_flair, refuse_thick, told_apart
from analysis.volume import Volume

SHAPE = (60, 60, 60)


def lesion(*touches: str, length_mm: float = 6.0) -> Lesion:
    return Lesion(np.zeros((1, 3), int), touches[0], frozenset(touches), length_mm, 0.1, None, None)


@pytest.mark.parametrize(("found", "expected"), [
    ((), "absent"),
    ((lesion("deep"), lesion("periventricular")), "absent"),
    ((lesion("periventricular"), lesion("infratentorial")), "present"),
    ((lesion("periventricular", "juxtacortical", length_mm=12.0),), "absent"),
    ((lesion("periventricular"), lesion("juxtacortical", length_mm=4.0)), "indeterminate"),
])  # fmt: skip
def test_the_rule_of_the_finding(found, expected):
    value, reason = verdict(found)
    assert value == expected
    assert all((region in reason) == any(one.region == region for one in found) for region in MS_REGIONS) or reason.startswith("no lesion")


def around(**changed) -> Surroundings:
    empty = np.zeros(SHAPE, bool)
    usual = {"ventricle_mm": np.full(SHAPE, 30.0), "cortex": empty, "below": empty, "tract": np.zeros(SHAPE, np.uint8), "darkness": None}
    return Surroundings(**{**usual, **changed})


def found_in(belief: np.ndarray, **changed):
    return told_apart(Volume(belief, np.eye(4)), belief > 0, around(**changed))


def block(*sides: slice) -> np.ndarray:
    array = np.zeros(SHAPE)
    array[sides] = 1.0
    return array


def test_a_spot_is_a_lesion_from_3_mm_and_two_that_touch_are_one():
    belief = block(slice(5, 10), slice(5, 8), slice(5, 8)) + block(slice(30, 32), slice(30, 32), slice(30, 31))
    belief += block(slice(10, 14), slice(8, 11), slice(8, 11))
    (one,) = found_in(belief).found
    assert one.region == "deep" and one.length_mm > 8 and one.volume_ml == pytest.approx((45 + 36) / 1000)


def test_the_masks_lie_on_the_grid_of_the_series_where_the_lesions_are():
    grid = Volume(block(slice(20, 26), slice(30, 36), slice(10, 16)), np.eye(4))
    lesions = told_apart(grid, grid.array > 0, around())
    lps_from_index = np.diag([2.0, 0.5, 1.0, 1.0])
    lps_from_index[:3, 3] = (-4.0, -10.25, 0.0)
    labels = lesions.labels_on(Volume(np.zeros((40, 160, 70), np.uint8), lps_from_index))
    middle = (lps_from_index @ [*np.argwhere(labels > 0).mean(0), 1.0])[:3]
    assert middle == pytest.approx([22.5, 32.5, 12.5], abs=0.6) and set(np.unique(labels)) == {0, 4}
    assert (labels > 0).sum() == pytest.approx(216, rel=0.2)


def test_the_region_is_where_it_touches():
    spot = block(slice(20, 25), slice(20, 25), slice(20, 25))
    ventricle_mm = np.full(SHAPE, 30.0)
    ventricle_mm[19:21] = 1.0
    cortex = block(slice(20, 25), slice(25, 28), slice(20, 25)) > 0
    assert found_in(spot, cortex=cortex).found[0].region == "juxtacortical"
    (both,) = found_in(spot, cortex=cortex, ventricle_mm=ventricle_mm).found
    assert both.region == "periventricular" and both.touches == {"periventricular", "juxtacortical"}
    assert found_in(spot, cortex=cortex, below=np.ones(SHAPE, bool)).found[0].touches == {"infratentorial"}


def test_what_is_bright_along_the_tract_is_its_signal_and_a_spot_on_it_a_lesion():
    tract = (block(slice(20, 27), slice(20, 27), slice(None)) * 2).astype(np.uint8)
    along = found_in(block(slice(21, 26), slice(21, 26), slice(10, 50)), tract=tract)
    assert not along.found and along.tract_signal_ml == {"right": pytest.approx(1.0)}
    (spot,) = found_in(block(slice(21, 26), slice(21, 26), slice(20, 27)), tract=tract).found
    assert spot.tract == "right"


def test_dark_on_t1_is_told_where_there_is_a_t1():
    spot = block(slice(20, 25), slice(20, 25), slice(20, 25))
    assert found_in(spot).found[0].is_dark is None
    assert found_in(spot, darkness=np.full(SHAPE, 1.0)).found[0].is_dark is True
    assert found_in(spot, darkness=np.full(SHAPE, 0.2)).found[0].is_dark is False


def test_the_length_is_from_end_to_end():
    diagonal = np.argwhere(np.eye(12, dtype=bool)[:, :, None])
    assert extent_mm(diagonal)[0] == pytest.approx(12 * np.sqrt(2), rel=0.05)
    assert extent_mm(np.array([[0, 0, 0], [1, 0, 0]]))[0] == pytest.approx(2.0)


def test_thick_slices_are_refused_in_words():
    refuse_thick(Volume(np.ones((4, 4, 4)), np.diag([3.0, 1.0, 1.0, 1.0])))
    with pytest.raises(NotMeasurable, match=r"5\.0 mm long"):
        refuse_thick(Volume(np.ones((4, 4, 4)), np.diag([5.0, 1.0, 1.0, 1.0])))
    with pytest.raises(NotMeasurable, match="no FLAIR series that can be used"):
        lesions_on_flair(Examination({}))


@pytest.fixture(scope="module")
def case():
    return case_of(301)


def test_most_of_what_is_planted_in_a_head_it_did_not_learn_from_is_found(case):
    features = features_of(case.flair, case.priors)
    found = lesion_voxels(features, belief_of(features))
    dice = 2 * (found & case.lesions).sum() / (found.sum() + case.lesions.sum())
    assert dice > 0.55  # 0.65 when this was written, and 0.50 where every voxel above the threshold was counted


def ball(*, tall: float, middle=(30, 30, 30), radius_mm: float = 4.0, edge_mm: float = 1.0) -> np.ndarray:
    """Relative brightness around a ball that is `tall` brighter than white matter, with a soft edge."""
    away = np.sqrt(sum((axis - at) ** 2 for axis, at in zip(np.indices(SHAPE), middle, strict=True)))
    return (1 + tall * np.clip(0.5 - (away - radius_mm) / edge_mm, 0, 1)).astype(np.float32)


def features_with(relative: np.ndarray, cistern: bool = False) -> Features:
    empty = np.zeros(SHAPE, bool)
    return Features(np.zeros((0, len(NAMES))), relative > 1, relative, empty, empty, np.full(SHAPE, cistern), 0.25)


@pytest.mark.parametrize("tall", [0.4, 0.9])
def test_how_far_a_lesion_reaches_is_told_by_its_brightness_and_not_by_the_belief(tall):
    relative = ball(tall=tall)
    seen = ndimage.binary_dilation(relative > 1 + tall / 2, iterations=3) * np.float32(0.999)
    found = lesion_voxels(features_with(relative), seen)
    assert found.sum() == pytest.approx((relative - 1).sum() / tall, rel=0.1)


def test_no_lesion_is_where_no_belief_is_high_or_in_a_cistern_or_darker_than_grey_matter():
    relative = ball(tall=0.9)
    high = np.full(SHAPE, 0.999, np.float32)
    assert lesion_voxels(features_with(relative), high).any()
    assert not lesion_voxels(features_with(relative), np.full(SHAPE, 0.9, np.float32)).any()
    assert not lesion_voxels(features_with(relative, cistern=True), high).any()
    assert not lesion_voxels(features_with(ball(tall=0.2)), high).any()


def test_the_recipe_is_the_one_that_made_the_weights():
    table = list(csv.DictReader((lesion_weights.HERE / lesion_weights.FILE).read_text(encoding="utf-8").splitlines()))
    assert [row["feature"] for row in table] == [*NAMES, "constant", "threshold"]
    values, is_lesion = lesion_weights.rows_of(lesion_weights.TRAINING[0])
    assert values.mean(0) == pytest.approx([float(row["first"]) for row in table[: len(NAMES)]], rel=1e-3, abs=1e-3)
    assert 0 < is_lesion.mean() < 0.2


def test_the_fit_finds_the_weights_that_made_the_data():
    random = np.random.default_rng(1)
    values = random.standard_normal((20000, 3)).astype(np.float32)
    is_lesion = random.uniform(size=20000) < 1 / (1 + np.exp(-(values @ [2.0, -1.0, 0.0])))
    _, spread, found = lesion_weights.fitted(values, is_lesion)
    assert found[:3] / spread == pytest.approx([2.0, -1.0, 0.0], abs=0.1)
