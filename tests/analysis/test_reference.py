from dataclasses import replace

import pytest

from analysis.examination import Patient
from analysis.reference import Norm, percentile_of, standing

MANY = 1_000_000
OF_THEM = "of the patient's age (Some study; by hand; 3 T)"
WOMEN = Norm("thickness", "left", None, "F", "Some study", "3 T", "by hand", MANY, 2.4, 60, -0.01, 0.3, 0.4, 45, 75, "a source")
MEN = replace(WOMEN, sex="M", mean=2.36, n=MANY - 10)


def stands(value=2.4, error=None, age=60.0, sex="F", norms=(MEN, WOMEN), name="thickness", side="left"):
    return standing(norms, name, side, value, error, Patient(age, sex))


def test_the_mean_of_the_own_sex_is_the_middle():
    women, men = stands(2.4), stands(2.36, sex="M")
    assert (women.population, women.n, women.z, women.percentile) == (f"healthy women {OF_THEM}", MANY, 0.0, 50.0)
    assert (men.population, men.n, men.z, men.percentile) == (f"healthy men {OF_THEM}", MANY - 10, 0.0, 50.0)


def test_the_limits_hold_nine_of_ten_people():
    usual = stands(2.0)
    assert (usual.mean, usual.sd, usual.source) == (2.4, pytest.approx(0.5), "a source")
    assert stands(usual.low).percentile == pytest.approx(5.0, abs=0.01) and stands(usual.high).percentile == pytest.approx(95.0, abs=0.01)


def test_the_percentile_is_as_uncertain_as_site_and_value():
    narrow = stands(2.4, norms=(replace(WOMEN, sd_between_sites=0.0, n=1_000_000),))
    assert (narrow.percentile_low, narrow.percentile_high) == (pytest.approx(50, abs=0.1), pytest.approx(50, abs=0.1))
    wide, wider = stands(2.4), stands(2.4, error=0.3)
    assert wider.percentile_low < wide.percentile_low < narrow.percentile_low and wide.percentile_high < wider.percentile_high <= 100


def test_people_sites_and_the_measurement_spread_together():
    assert stands(1.9).z == pytest.approx(-1.0, abs=1e-5)  # hypot(0.3, 0.4) = 0.5
    assert stands(2.4 - 1.3, error=1.2).z == pytest.approx(-1.0, abs=1e-5)


def test_the_mean_moves_with_age():
    assert stands(2.4 + 0.1, age=50.0).z == pytest.approx(0.0)
    assert stands(2.4, age=70.0).z == pytest.approx(0.2, abs=1e-5)


@pytest.mark.parametrize(("z", "percentile"), [(0.0, 50.0), (-1.6449, 5.0), (1.96, 97.5)])
def test_percentiles_are_those_of_the_normal_distribution(z, percentile):
    assert percentile_of(z) == pytest.approx(percentile, abs=0.01)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"age": None}, "does not say the age"),
        ({"age": 7.0}, "a child of 7 years: the population is of adults of 45 to 75 years"),
        ({"age": 30.0}, "the patient is 30 years old: the population covers 45 to 75 years"),
        ({"age": 88.0}, "the patient is 88 years old"),
        ({"name": "volume"}, "no published population"),
        ({"side": "right"}, "no published population"),
        ({"side": None}, "no published population"),
        ({"sex": "M", "norms": (WOMEN,)}, "does not hold the sex"),
        ({"sex": None, "norms": (WOMEN, replace(MEN, mean=2.0))}, "does not say the sex of the patient"),
    ],
)
def test_what_fits_nowhere_is_a_sentence(given, words):
    answer = stands(**given)
    assert isinstance(answer, str) and words in answer


def test_an_unknown_sex_is_bridged_where_it_hardly_matters():
    place = stands(2.38, sex=None)
    assert place.z == pytest.approx(0.0, abs=1e-9) and place.n == MANY - 10 and "whose sex is not known" in place.population


def test_a_norm_without_side_and_sex_fits_every_adult():
    whole = replace(WOMEN, side=None, sex=None)
    assert all(stands(side=side, sex=sex, norms=(whole,)).z == 0.0 for side in ("left", None) for sex in ("F", "M", None))
