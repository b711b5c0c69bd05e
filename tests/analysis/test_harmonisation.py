"""ComBat: the numbers of the published program, gaps, and scanner effects that are known because they were put in."""

import numpy as np
import pytest

from analysis.harmonisation import harmonised

# neuroCombat 0.2.12 with its empirical Bayes on ten people, two scanners and three measurements, age as covariate
AGES = np.array([72.0, 72, 61, 51, 42, 55, 56, 42, 42, 80])
SCANNERS = np.repeat([0, 1], [4, 6])
VALUES = np.array([
    [9.91, 8.41, 8.68], [11.24, 9.84, 7.91], [9.89, 8.81, 9.34], [9.78, 9.56, 10.82], [12.0, 11.69, 12.29], [12.15, 10.66, 11.5],
    [11.03, 11.52, 10.85], [12.05, 12.02, 11.86], [11.41, 11.8, 11.39], [10.09, 11.03, 10.23],
])  # fmt: skip
NEUROCOMBAT = np.array([
    [10.6627, 9.7136, 9.5895], [11.5877, 10.708, 9.054], [10.7352, 10.0634, 10.2474], [10.7373, 10.6501, 11.4576],
    [11.5458, 10.9451, 11.7338], [11.7676, 9.8039, 10.9411], [10.4858, 10.7943, 10.2038], [11.6032, 11.3239, 11.2402],
    [10.8686, 11.0714, 10.7007], [9.4984, 10.3077, 9.7028],
])  # fmt: skip


def test_on_the_average_scanner_the_numbers_are_those_of_neurocombat():
    assert harmonised(VALUES, SCANNERS, AGES[:, None], onto=None) == pytest.approx(NEUROCOMBAT, abs=2e-4)


def site(counts=(10, 40, 40), measurements=12, seed=1):
    """Controls with one truth, and what three scanners make of it: another shift and scale each."""
    random = np.random.default_rng(seed)
    which, ages = np.repeat(range(len(counts)), counts), random.uniform(40, 80, sum(counts))
    people = -0.03 * (ages - 60)[:, None] + random.normal(size=(len(ages), measurements))
    shift, scale = np.array([0.0, 2.0, -1.5])[which][:, None], np.array([1.0, 1.4, 0.7])[which][:, None]
    return people, shift + scale * people, which, ages[:, None]


def test_the_values_of_the_scanner_stay_as_they_are_and_the_others_come_to_it():
    truth, values, which, ages = site()
    laid = harmonised(values, which, ages)
    assert np.array_equal(laid[which == 0], values[which == 0])
    for scanner in (1, 2):
        before, after = ((x - truth)[which == scanner].mean() for x in (values, laid))
        assert abs(after) < 0.35 < abs(before)
        assert laid[which == scanner].std() == pytest.approx(laid[which == 0].std(), rel=0.25)


def test_the_effect_of_age_is_kept():
    _, values, which, ages = site(counts=(40, 40, 40))
    laid = harmonised(values, which, ages)
    slopes = [np.polyfit(ages[:, 0], laid[:, k], 1)[0] for k in range(laid.shape[1])]
    assert np.mean(slopes) == pytest.approx(-0.03, abs=0.006)


def test_gaps_stay_gaps_and_move_the_others_little():
    _, values, which, ages = site()
    holed = values.copy()
    holed[::7, 3] = np.nan
    laid = harmonised(holed, which, ages)
    assert np.isnan(laid[::7, 3]).all() and np.isfinite(np.delete(laid[:, 3], np.arange(0, len(laid), 7))).all()
    assert np.nanmax(np.abs(laid - harmonised(values, which, ages))[:, :3]) < 0.2


def test_a_scanner_with_one_value_of_a_measurement_gives_none_of_it():
    _, values, which, ages = site()
    values[np.flatnonzero(which == 2)[1:], 0] = np.nan
    laid = harmonised(values, which, ages)
    assert np.isnan(laid[which == 2, 0]).all() and np.isfinite(laid[which == 1, 0]).all()


def test_scanners_that_age_tells_apart_cannot_be_harmonised():
    ages = np.repeat([40.0, 60.0], [6, 6])
    values = np.random.default_rng(2).normal(size=(12, 3))
    assert np.isnan(harmonised(values, np.repeat([0, 1], [6, 6]), ages[:, None])[6:]).all()


def test_a_covariate_that_is_the_same_in_all_is_no_obstacle():
    _, values, which, ages = site()
    assert harmonised(values, which, np.c_[ages, np.ones(len(ages))]) == pytest.approx(harmonised(values, which, ages), abs=1e-6)
