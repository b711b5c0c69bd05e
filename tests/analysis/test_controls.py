"""The site's own controls as a population: the arithmetic of small samples, and what is refused in words."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from analysis.controls import ENOUGH, Controls
from analysis.examination import Examination, Patient
from analysis.reference import Expected, Norm, band_of, placed, standing

PATIENT = Patient(60.0, "F")
PUBLISHED = Norm("fa", None, None, None, "Some study", "3 T", "by hand", 10_000, 0.6, 60, 0.0, 0.05, 0.0, 20, 90, "10.1/x")


def controls(count=30, seed=1, slope=0.0, sex=0.0, **changes) -> Controls:
    random = np.random.default_rng(seed)
    ages, sexes = random.uniform(40, 80, count), ["F" if k % 2 else "M" for k in range(count)]
    values = 0.5 + slope * (ages - 60) + sex * (np.array(sexes) == "F") + 0.02 * random.normal(size=count)
    made = Controls("fa", None, None, "own", tuple(ages.tolist()), tuple(sexes), tuple(values.tolist()))
    return replace(made, **changes)


def place(population, value=0.5, error=None, patient=PATIENT):
    return standing([population], "fa", None, value, error, patient)


def test_without_effects_it_is_the_t_of_crawford_and_howell():
    """One age, one sex: t = (value - mean) / (sd * sqrt(1 + 1/n)) with n - 1 degrees of freedom."""
    values = tuple(np.random.default_rng(2).normal(0.5, 0.02, 20).tolist())
    alone = Controls("fa", None, None, "own", (60.0,) * 20, ("F",) * 20, values)
    t = (0.46 - np.mean(values)) / (np.std(values, ddof=1) * np.sqrt(1 + 1 / 20))
    found = place(alone, 0.46)
    assert found.percentile == pytest.approx(100 * stats.t.cdf(t, 19))
    assert found.z == pytest.approx(stats.norm.ppf(stats.t.cdf(t, 19)))
    assert found.n == 20 and found.population == "own" and found.low < found.mean < found.high
    assert place(alone, found.low).percentile == pytest.approx(5.0) and place(alone, found.high).percentile == pytest.approx(95.0)


def test_with_age_and_sex_it_is_the_prediction_of_a_regression():
    mine = controls(slope=-0.001, sex=0.03)
    design = np.c_[np.ones(30), mine.ages, [sex == "F" for sex in mine.sexes]]
    weights, rest, *_ = np.linalg.lstsq(design, np.array(mine.values), rcond=None)
    sd, row = np.sqrt(rest[0] / 27), np.array([1.0, 60.0, 1.0])
    error = sd * np.sqrt(1 + row @ np.linalg.inv(design.T @ design) @ row)
    found = place(mine, 0.47)
    assert (found.mean, found.sd) == (pytest.approx(row @ weights), pytest.approx(error))
    assert found.percentile == pytest.approx(100 * stats.t.cdf((0.47 - row @ weights) / error, 27))


def test_the_error_grows_away_from_the_mean_age():
    mine = controls(slope=-0.001)
    middle, end = (mine.expected(Patient(age, "F")).error_of_mean for age in (60.0, min(mine.ages)))
    assert end > 1.5 * middle


def test_without_the_sex_of_the_patient_both_are_one_population():
    mine = controls(sex=0.1)
    known, unknown = mine.expected(PATIENT), mine.expected(Patient(60.0, None))
    assert unknown.sd > 2 * known.sd and unknown.mean == pytest.approx(0.55, abs=0.02)


def test_the_error_of_measurement_is_in_the_spread_already_and_only_more_counts():
    mine = controls(uncertainty=0.0125)
    assert place(mine, 0.46, 0.0125).sd == place(mine, 0.46, 0.005).sd == place(mine, 0.46).sd
    assert place(mine, 0.46, 0.03).sd == pytest.approx(np.hypot(place(mine, 0.46).sd, np.sqrt(0.03**2 - 0.0125**2)))


def test_an_error_that_is_a_share_of_the_value_is_usual_in_a_large_value_too():
    mine = controls(uncertainty=0.05, uncertain_share=0.1)
    assert place(mine, 0.6, 0.06).sd == place(mine, 0.6).sd < place(mine, 0.6, 0.09).sd


@pytest.mark.parametrize(("changes", "patient", "words"), [
    ({}, Patient(85.0, "F"), "years old, the patient 85.0"),
    ({}, Patient(20.0, "F"), "years old, the patient 20.0"),
    ({}, Patient(None, "F"), "does not say the age"),
    ({"sexes": ("M",) * 30}, PATIENT, "nobody of the patient's sex"),
    ({"values": tuple(float(k % 3) for k in range(30))}, PATIENT, "hardly differ in it (3 values)"),
])  # fmt: skip
def test_what_cannot_be_compared_is_a_sentence(changes, patient, words):
    assert words in place(controls(**changes), patient=patient)


def test_own_controls_come_before_published_ones_where_they_fit():
    mine = controls()
    assert standing([mine, PUBLISHED], "fa", None, 0.5, None, PATIENT).population == "own"
    assert "Some study" in standing([mine, PUBLISHED], "fa", None, 0.5, None, Patient(85.0, "F")).population
    both = standing([mine, PUBLISHED], "fa", None, 0.5, None, Patient(95.0, "F"))
    assert "own controls are" in both and "the population covers 20 to 90 years" in both


def test_while_they_are_too_few_the_words_say_how_many_there_are():
    few = Controls("fa", None, None, "", (), (), (), note="own controls: 12 of 20")
    assert standing([few], "fa", None, 0.5, None, PATIENT, otherwise="no norm") == "no norm (own controls: 12 of 20)"
    assert standing([few, PUBLISHED], "fa", None, 0.5, None, PATIENT).n == 10_000


def test_a_measurement_is_placed_by_name_side_and_level():
    examination = Examination({}, PATIENT, norms=(controls(side="left", level="plic"),))
    assert placed(examination, "fa", 0.5, None, "left", "plic")["reference"].population == "own"
    for name, side, level in (("fa", "right", "plic"), ("fa", "left", "pons"), ("fa", "left", None), ("md", "left", "plic")):
        assert placed(examination, name, 0.5, None, side, level, "no norm") == {"no_reference": "no norm"}


def test_a_profile_gets_a_band_at_the_nodes_that_are_known():
    nodes = tuple(controls(seed=k, side="left", node=k) for k in (1, 2))
    examination = Examination({}, PATIENT, norms=(*nodes, controls(side="left")))
    band = band_of(examination, "fa", "left", 4)
    assert band.population == "own" and band.low[0] is None and band.high[3] is None
    assert 0.44 < band.low[1] < 0.5 < band.high[2] < 0.56
    assert band_of(examination, "fa", "right", 4) is None
    assert band_of(replace(examination, patient=Patient(None, "F")), "fa", "left", 4) is None


def test_each_control_stands_among_the_others():
    mine = controls(60)
    places = [one for one in mine.placed_without() if not isinstance(one, str)]
    assert len(places) >= 58 and {one.n for one in places} == {59}
    changed = replace(mine, values=(0.3, *mine.values[1:]))
    assert changed.placed_without()[0].percentile < 0.1, "an outlier does not widen the spread that it is held against"


def test_healthy_people_fall_below_the_fifth_percentile_as_often_as_they_should():
    """400 sites of 20 controls each: 5 %, where the normal distribution with their sd would say 7 %."""
    random, low = np.random.default_rng(4), []
    for seed in range(400):
        mine = controls(ENOUGH, seed=1000 + seed, slope=-0.0005)
        expected = mine.expected(Patient(float(np.median(mine.ages)), "F"))
        values = 0.5 - 0.0005 * (np.median(mine.ages) - 60) + 0.02 * random.normal(size=20)
        low += [expected.place(value, None).percentile < 5.0 for value in values]
    assert np.mean(low) == pytest.approx(0.05, abs=0.01)


def test_harmonised_controls_count_the_error_of_the_scanner():
    """As if the mean of each scanner had been fitted: with ten on the own one the error is that of ten, not of fifty."""
    pooled = controls(50)
    laid = replace(pooled, scanners=(0,) * 10 + (1,) * 40)
    one, other = pooled.expected(PATIENT), laid.expected(PATIENT)
    assert isinstance(one, Expected) and other.mean == one.mean and other.degrees == one.degrees - 1
    assert other.error_of_mean > 0.9 * other.sd / np.sqrt(10) and other.error_of_mean > 1.5 * one.error_of_mean
