import numpy as np
import pytest
from scipy import ndimage

from analysis import atlas
from analysis.examination import Examination
from analysis.markers.cst_flair import LEVELS, Level, along_tract, levels_of, verdict, weighted_median
from analysis.outcome import NotMeasurable
from analysis.steps.coregistration import Laid
from analysis.steps.signal import Signal, averaged, signal_of, spread_of
from analysis.steps.space import Placement, coarser, lps_grid, sample
from analysis.volume import Volume

SHAPE_MM, START_MM = (180, 216, 190), (-90.0, -108.0, -74.0)
SPREAD = 0.04


def labels_of(structure: str, *levels: str) -> list[int]:
    return [part.label for part in atlas.parts() if part.structure == structure and (not levels or part.level in levels)]


@pytest.fixture(scope="module")
def plain() -> Volume:
    """White and grey matter of the template at 2 mm, with the texture that white matter has; in the space of the template."""
    grid = Volume(np.zeros([n // 2 for n in SHAPE_MM], np.float32), affine((2.0, 2.0, 2.0)))
    white, grey = (sample(atlas.template()[name], lps_grid(grid)) for name in ("white", "grey"))
    texture = ndimage.gaussian_filter(np.random.default_rng(1).standard_normal(grid.array.shape), 1.8)
    pure = np.clip(2.0 * white, 0.0, grey + white)  # the maps of the brainstem are mixtures, its signal is not
    return grid.with_array(((0.6 * pure + 0.76 * (grey + white - pure)) * (1 + SPREAD * texture / texture.std()) * 1000).astype(np.float32))


@pytest.fixture(scope="module")
def healthy(plain) -> dict[tuple[str, str], Level]:
    return levels_in(plain)


def affine(spacing_mm) -> np.ndarray:
    whole = np.diag([*spacing_mm, 1.0])
    whole[:3, 3] = START_MM
    return whole


def with_bright(plain: Volume, gain: float, *levels: str) -> Volume:
    tract = np.isin(sample(atlas.labels("tracts"), lps_grid(plain), order=0), labels_of("cst", *levels))
    return plain.with_array(plain.array * (1 + gain * ndimage.gaussian_filter(tract.astype(np.float32), 0.5)))


def in_place(series: Volume) -> Laid:
    """The series where it is: it was made on the template."""
    grid = coarser(series, 2.0)
    return Laid(Placement(grid, lps_grid(grid), np.eye(4), 1.0), None, 1.0)


def levels_in(series: Volume) -> dict[tuple[str, str], Level]:
    laid, study = in_place(series), Examination({"flair": series})
    return {(one.level, one.side): one for one in levels_of(series, laid, signal_of(series, laid, study), study)}


def finding(levels: dict[tuple[str, str], Level], side: str, role: str = "flair") -> str:
    return verdict({level: levels[level, side] for level in LEVELS}, role)[0]


def test_a_plain_tract_is_absent_and_a_bright_one_present_with_its_contrast(plain, healthy):
    bright = levels_in(with_bright(plain, 0.2))
    for side in ("left", "right"):
        assert finding(healthy, side) == "absent" and finding(bright, side) == "present"
        for level in LEVELS:
            assert abs(healthy[level, side].value) < 2.0
            assert bright[level, side].value - healthy[level, side].value == pytest.approx(0.2 / SPREAD, abs=1.3)


def test_thick_slices_give_the_same(plain):
    fine = with_bright(plain, 0.2)
    thin = levels_in(fine)
    layers = ndimage.uniform_filter1d(fine.array, 5, axis=2)[:, :, 2::3]
    lps_from_index = affine((2.0, 2.0, 6.0))
    lps_from_index[2, 3] += 4.0
    thick = levels_in(Volume(layers, lps_from_index))
    assert finding(thick, "left") == finding(thick, "right") == "present"
    assert max(abs(thick[key].value - thin[key].value) for key in thin) < 1.5


def test_a_spot_in_the_tract_is_no_tract_signal(plain, healthy):
    away = np.linalg.norm(lps_grid(plain) - np.array([-25.5, 19.0, 28.0]).reshape(3, 1, 1, 1), axis=0)
    after = levels_in(plain.with_array(np.where(away < 5.0, 1.8, 1.0).astype(np.float32) * plain.array))
    assert after["corona_radiata", "right"].value - healthy["corona_radiata", "right"].value < 1.0
    assert finding(after, "right") == "absent"


def test_white_matter_that_is_bright_all_around_is_not_the_tract_alone(plain):
    x, y, z = lps_grid(plain)
    cloud = (np.abs(np.abs(x) - 25.0) < 18) & (np.abs(y - 20.0) < 22) & (z > 16) & (z < 62)
    levels = levels_in(plain.with_array(plain.array * (1 + 0.3 * cloud).astype(np.float32)))
    assert levels["subcortical", "left"].value > 2.5 and finding(levels, "left") == "indeterminate"


def test_a_level_out_of_view_is_a_gap_and_the_finding_needs_only_the_upper_levels(plain):
    cut = plain.part((slice(0, 90), slice(0, 108), slice(26, 95)))
    levels = levels_in(cut)
    assert "outside the field of view" in levels["pons", "left"].reason
    assert levels["pons", "left"].value is None and levels["subcortical", "left"].value is not None
    assert finding(levels, "left") == "absent"
    lower = levels_in(plain.part((slice(0, 90), slice(0, 108), slice(0, 55))))
    assert finding(lower, "left") == "not assessed"


def test_without_the_frontal_lobe_there_is_nothing_to_compare_with(plain):
    behind = plain.part((slice(0, 90), slice(50, 108), slice(0, 95)))
    with pytest.raises(NotMeasurable, match="frontal white matter"):
        signal_of(behind, in_place(behind), Examination({"flair": behind}))


def test_an_uneven_field_hardly_changes_the_contrast(plain, healthy):
    x, y, z = lps_grid(plain) / 100.0
    uneven = levels_in(plain.with_array(plain.array * np.exp(0.25 * (y - x * x - 0.6 * z)).astype(np.float32)))
    assert max(abs(uneven[key].value - healthy[key].value) for key in healthy) < 1.0


def level(name: str, value: float | None, beside: float | None = 5.0) -> Level:
    return Level("left", name, value, None, beside, None if value is not None else "outside the field of view")


@pytest.mark.parametrize(
    ("values", "beside", "role", "expected", "words"),
    [
        ((4.0, 4.0, 1.0, 1.0, 1.0), 3.0, "flair", "present", None),
        ((2.0, 2.0, 3.5, 3.5, 3.5), 3.0, "flair", "absent", None),
        ((0.0, 1.0, 6.0, 5.0, 1.0), 3.0, "flair", "indeterminate", "common in healthy people"),
        ((4.0, 1.0, 1.0, 1.0, 1.0), 3.0, "flair", "indeterminate", "bright at subcortical"),
        ((4.0, 4.0, 1.0, 1.0, 1.0), 0.2, "flair", "indeterminate", "beside the tract"),
        ((4.0, 4.0, 1.0, 1.0, 1.0), 3.0, "t2", "indeterminate", "on T2"),
        ((None, 4.0, 1.0, 1.0, 1.0), 3.0, "flair", "not assessed", "subcortical"),
        ((4.0, 4.0, None, None, None), 3.0, "flair", "present", None),
    ],
)
def test_the_rule_of_the_finding(values, beside, role, expected, words):
    value, reason = verdict({name: level(name, one, beside) for name, one in zip(LEVELS, values, strict=True)}, role)
    assert value == expected
    assert reason is None if words is None else words in reason


def test_what_fills_less_than_half_of_the_sections_does_not_count():
    height = np.repeat(np.arange(20.0), 10)
    values = np.where(height < 8, 6.0, 1.0)
    assert along_tract(values, np.ones(200), height, 3.0) == 1.0
    assert along_tract(np.full(200, 6.0), np.ones(200), height, 3.0) == 6.0


def test_the_weighted_median_follows_the_weight():
    values = np.array([1.0, 2.0, 9.0])
    assert weighted_median(values, np.array([1.0, 1.0, 1.0])) == 2.0
    assert weighted_median(values, np.array([1.0, 1.0, 5.0])) == 9.0


def test_a_thick_voxel_holds_the_mean_of_what_lies_in_it():
    source = Volume((np.arange(20)[:, None, None] % 5 < 2) * np.ones((20, 8, 8), np.float32), np.eye(4))
    lps_from_index = np.diag([5.0, 1.0, 1.0, 1.0])
    lps_from_index[0, 3] = 2.0
    assert averaged(source, Volume(np.zeros((4, 8, 8), np.float32), lps_from_index)) == pytest.approx(0.4, abs=1e-6)


def test_the_unit_hardly_depends_on_noise_and_voxels():
    random = np.random.default_rng(2)
    texture = ndimage.gaussian_filter(random.standard_normal((60, 60, 60)), 3.7)
    fine = Volume((1 + SPREAD * texture / texture.std()).astype(np.float32), np.eye(4))
    found = []
    for noise in (0.0, 0.04):
        noisy = fine.with_array(fine.array + noise * random.standard_normal(fine.array.shape).astype(np.float32))
        small = coarser(noisy, 2.0)
        everywhere = np.ones(small.array.shape, bool)
        found.append(spread_of(small, everywhere.astype(np.float32), everywhere, noisy.spacing_mm))
    assert found[0] == pytest.approx(SPREAD, rel=0.15) and found[1] == pytest.approx(found[0], rel=0.05)


def test_a_series_is_measured_in_its_own_units(plain):
    series = plain.with_array(plain.array * 3.0)
    laid = in_place(series)
    signal = signal_of(series, laid, Examination({"flair": series}))
    assert isinstance(signal, Signal)
    assert signal.reference == pytest.approx(1800, rel=0.1) and signal.spread == pytest.approx(SPREAD, rel=0.3)
