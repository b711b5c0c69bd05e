"""The motor band: dark cortex is found and its depth measured in any contrast; veins, dropout, fields and coarse voxels are no band."""

from functools import cache

import numpy as np
import pytest

from analysis import atlas, phantom_truth
from analysis.examination import Examination
from analysis.markers.motor_band import (
    LINE,
    MARKER,
    SCORES_FROM,
    contrast_of,
    darker_half,
    darkness_of,
    findings_of,
    refuse_coarse,
    score_of,
    without_field,
)
from analysis.outcome import NotMeasurable
from analysis.steps.band import LEVELS, PRECENTRAL, REACH_MM, SIDES, Cortex, Region, dark_lines, strip_of_template
from analysis.volume import Volume

SPACING_MM = (2.0, 0.9, 0.9)
SHAPE = (24, 60, 120)
CONTRASTS = {"bright fluid": (0.74, 0.64, 0.52), "dark fluid": (0.25, 0.55, 0.62), "flat": (0.6, 0.55, 0.55)}
SULCUS_MM, CORTEX_MM, MIDDLE_MM = 1.5, 3.0, 26.0


def depth_mm() -> np.ndarray:
    """Signed distance from the middle of a wavy sulcus along the rows; the bank of the motor cortex is where it is negative."""
    _, row, column = np.indices(SHAPE, dtype=float)
    return row * SPACING_MM[1] - MIDDLE_MM - 3.0 * np.sin(column * SPACING_MM[2] / 12.0)


def fractions() -> np.ndarray:
    """CSF, grey and white of a sulcus between two banks, with partial volume."""
    away = np.abs(depth_mm())
    white = np.clip(0.5 + (away - SULCUS_MM - CORTEX_MM) / 0.9, 0, 1)
    csf = np.clip(0.5 - (away - SULCUS_MM) / 0.9, 0, 1)
    return np.stack([csf, 1 - csf - white, white]).astype(np.float32)


def strip(image: np.ndarray, covered: float = 1.0, columns: int = 120) -> Cortex:
    """A cortex of one region whose neighbour is the other bank."""
    near = (np.abs(depth_mm()) < SULCUS_MM + CORTEX_MM + 1.0) & (np.arange(SHAPE[2]) < columns)
    region = Region("left", "medial", near & (depth_mm() < 0), near & (depth_mm() > 0), covered)
    part = Volume(image.astype(np.float32), np.diag([*SPACING_MM, 1.0]))
    return Cortex(part, tuple(slice(0, size) for size in SHAPE), fractions(), (region,))


def image_of(contrast: str = "bright fluid", loss: float = 0.0, noise: float = 0.02) -> np.ndarray:
    tissues = fractions()
    image = np.tensordot(np.array(CONTRASTS[contrast]), tissues, axes=1)
    image = image * (1 - loss * tissues[1] * (depth_mm() < 0))
    return 700 * (image + noise * np.random.default_rng(7).standard_normal(SHAPE))


def contrast(image: np.ndarray, covered: float = 1.0, columns: int = 120):
    cortex = strip(image, covered, columns)
    even, where = without_field(cortex), cortex.regions[0].bank | cortex.regions[0].neighbours
    line = dark_lines(cortex.part, even, where) >= LINE
    return contrast_of(cortex, darkness_of(cortex, "left", even, line), cortex.regions[0])


def tube(points_mm: np.ndarray, radius_mm: float) -> np.ndarray:
    """How much of each voxel lies in a tube around points (n, 3)."""
    from scipy.spatial import cKDTree

    at = np.moveaxis(np.indices(SHAPE, dtype=float), 0, -1) * SPACING_MM
    return np.clip(0.5 + (radius_mm - cKDTree(points_mm).query(at)[0]) / 0.9, 0, 1)


@cache
def veins() -> np.ndarray:
    """Vessels of 1 to 2 mm in the sulcus: two that run along it and four that come up."""
    along = np.linspace(0, SHAPE[2] * SPACING_MM[2], 400)
    wave = MIDDLE_MM + 3.0 * np.sin(along / 12.0)
    up = np.linspace(0, SHAPE[0] * SPACING_MM[0], 200)
    lines = [np.stack([np.full_like(along, z) + 3 * np.sin(along / 9), wave, along], axis=1) for z in (12.0, 34.0)]
    for x in (15.0, 40.0, 70.0, 95.0):
        lines.append(np.stack([up, np.full_like(up, MIDDLE_MM + 3 * np.sin(x / 12)), np.full_like(up, x)], axis=1))
    return np.maximum.reduce([tube(line, radius) for line, radius in zip(lines, (0.5, 1.0, 0.5, 0.7, 1.0, 0.6), strict=True)])


@pytest.mark.parametrize("name", CONTRASTS)
@pytest.mark.parametrize("loss", [0.0, 0.1, 0.2, 0.4])
def test_the_contrast_is_the_share_of_signal_that_is_lost_in_any_weighting(name, loss):
    value, error = contrast(image_of(name, loss))
    assert value == pytest.approx(loss, abs=0.04)
    assert 0.01 < error < 0.1


@pytest.mark.parametrize("name", CONTRASTS)
def test_veins_in_the_sulcus_are_no_band_and_do_not_hide_one(name):
    for loss, score in ((0.0, 0), (0.2, 1), (0.4, 2)):
        value, _ = contrast(image_of(name, loss) * (1 - 0.85 * veins()))
        assert score_of(value) == score, f"{loss}: {value:.2f}"


def test_a_line_is_told_from_a_sheet():
    whole = np.ones(SHAPE, bool)
    sheet = np.where(np.abs(depth_mm() + 3.0) < 1.2, 0.6, 1.0).astype(np.float32)
    part = Volume(sheet, np.diag([*SPACING_MM, 1.0]))
    vein = (1 - 0.85 * veins()).astype(np.float32)
    assert (dark_lines(part, vein, whole)[veins() > 0.7] > LINE).mean() > 0.5
    assert (dark_lines(part, sheet, whole)[sheet < 1] > LINE).mean() < 0.2


def test_a_smooth_field_is_no_contrast():
    z, y, x = np.meshgrid(*(np.linspace(-1, 1, size) for size in SHAPE), indexing="ij")
    field = np.exp(0.4 * y + 0.3 * np.sin(1.5 * x) - 0.3 * z**2)
    assert contrast(image_of(loss=0.0) * field)[0] == pytest.approx(0.0, abs=0.04)
    assert contrast(image_of(loss=0.2) * field)[0] == pytest.approx(0.2, abs=0.04)


def test_signal_loss_of_everything_around_is_left_out():
    at = np.indices(SHAPE, dtype=float) * np.array(SPACING_MM).reshape(3, 1, 1, 1)
    away = np.sqrt(((at - np.array([24.0, MIDDLE_MM - 4.0, 30.0]).reshape(3, 1, 1, 1)) ** 2).sum(0))
    value, _ = contrast(image_of() * (1 - 0.95 * np.exp(-((away / 14) ** 4))))
    assert score_of(value) == 0
    assert "signal loss" in contrast(image_of() * np.where(depth_mm() < 1, 0.05, 1.0))


def test_a_band_in_a_part_of_the_region_is_seen():
    part = np.arange(SHAPE[2]) < SHAPE[2] // 2
    half, whole = image_of(loss=0.3) * part + image_of() * ~part, image_of(loss=0.3)
    assert score_of(contrast(half)[0]) >= 1
    assert contrast(whole)[0] >= contrast(half)[0] - 0.02


def test_what_cannot_be_seen_has_a_reason():
    assert "80 %" in contrast(image_of(), covered=0.8)
    assert "too much noise" in contrast(image_of(noise=0.2))
    assert "too little cortex" in contrast(image_of(), columns=0)
    empty = image_of()
    empty[:] = 0
    with pytest.raises(NotMeasurable, match="white matter"):
        contrast(empty)


@pytest.mark.parametrize(
    ("spacing", "fine"),
    [((2.0, 0.9, 0.9), True), ((0.8, 0.8, 0.8), True), ((3.5, 1.0, 1.0), True), ((4.0, 0.9, 0.9), False), ((3.4, 3.4, 3.4), False),
     ((2.0, 1.8, 1.8), False), ((0.9, 0.9, 5.0), False)],
)  # fmt: skip
def test_voxels_that_cannot_show_a_band_are_refused(spacing, fine):
    series = Volume(np.ones((4, 4, 4), np.float32), np.diag([*spacing, 1.0]))
    if fine:
        return refuse_coarse(series)
    with pytest.raises(NotMeasurable, match="too coarse to show a dark band"):
        refuse_coarse(series)
    with pytest.raises(NotMeasurable, match="too coarse"):
        MARKER.measure(Examination({"t2star": series}))


def test_a_study_without_a_t1_is_told_why():
    series = Volume(np.ones((40, 80, 80), np.float32), np.diag([2.0, 0.9, 0.9, 1.0]))
    with pytest.raises(NotMeasurable, match="without a T1 series"):
        MARKER.measure(Examination({"swi": series}))


def test_the_darker_half_weighs_the_cortex_of_the_patches():
    assert darker_half(np.array([0.0, 0.4]), np.array([10, 10])) == pytest.approx(0.4)
    assert darker_half(np.array([0.4, 0.1, 0.0]), np.array([10, 10, 20])) == pytest.approx(0.25)
    assert darker_half(np.array([0.1, 0.3]), np.array([30, 10])) == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("left", "right", "verdicts", "grades"),
    [
        ((0, 0, 0), (0, 0, 0), ("absent", "absent"), (0, 0)),
        ((0, 1, 0), (0, 0, 0), ("indeterminate", "absent"), (1, 0)),
        ((1, 1, 0), (0, 0, 0), ("indeterminate", "absent"), (2, 0)),
        ((1, 1, 0), (1, 0, 0), ("present", "indeterminate"), (2, 1)),
        ((2, 2, 1), (0, 0, 0), ("present", "absent"), (5, 0)),
        ((2, None, None), (1, 1, 1), ("present", "present"), (2, 3)),
        ((0, 0, None), (None, None, None), ("not assessed", "not assessed"), (None, None)),
    ],
)
def test_the_sign_follows_the_cut_off_of_the_whole_score(left, right, verdicts, grades):
    scores = {("left", level): score for level, score in zip(LEVELS, left, strict=True)}
    scores |= {("right", level): score for level, score in zip(LEVELS, right, strict=True)}
    found = findings_of(scores)
    assert tuple(one.side for one in found) == SIDES
    assert tuple(one.value for one in found) == verdicts
    assert tuple(one.grade for one in found) == grades
    assert all(one.reason for one in found if one.value in ("indeterminate", "not assessed"))


def test_the_strip_on_the_template_knows_sides_levels_and_its_reach():
    gyrus, part, reach = strip_of_template()
    index_from_lps = np.linalg.inv(gyrus.lps_from_index)
    # motor areas of the hand and the face, MNI (-26, -25, 63) and (55, -2, 33): LPS turns x and y
    for lps, level, side in (((26, 25, 63), "intermediate", "left"), ((-55, 2, 33), "lateral", "right")):
        index = tuple(np.round(index_from_lps @ [*lps, 1.0])[:3].astype(int))
        assert gyrus.array[index] == PRECENTRAL
        assert part.array[index] == 2 * list(LEVELS).index(level) + SIDES.index(side)
        assert reach.array[index] == REACH_MM
    assert not reach.array[0].any() and not reach.array[:, 0].any()
    assert gyrus.array.size < atlas.labels("cortex").array.size


def test_the_truth_of_the_phantom_has_the_thresholds_of_the_marker():
    assert phantom_truth.BAND_SCORES == SCORES_FROM


def test_the_veins_of_the_phantom_run_in_fluid_and_follow_from_the_seed():
    from analysis.phantom_head import axes_mm, healthy_head
    from analysis.phantom_veins import SINUS_LOSS, VEIN_LOSS, vein_loss

    head = healthy_head()
    loss, other = vein_loss(head, 1), vein_loss(head, 2)
    inside = (loss > 0.4) & (np.abs(axes_mm()[0]) > 6)
    assert head.tissue["csf"][inside].mean() > 0.55
    assert loss.max() == pytest.approx(max(VEIN_LOSS, SINUS_LOSS)) and loss.min() == 0
    assert 500 < inside.sum() < 6000
    assert np.array_equal(loss, vein_loss(head, 1)) and not np.array_equal(loss, other)


@pytest.mark.realdata
def test_a_gradient_echo_for_field_maps_gets_no_score(realdata):
    from node.study import read_studies
    from node.volumes import image_of as image_of_series

    (study,), _ = read_studies(realdata / "siemens_xa30_enhanced" / "8_gre_field_mapping")
    with pytest.raises(NotMeasurable, match=r"3.4 x 3.4 x 3.4 mm are too coarse"):
        MARKER.measure(Examination({"t2star": image_of_series(study.series[0], "t2star")}))
