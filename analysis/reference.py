"""Where a value stands in a population of healthy people.

The populations are data of the caller (`Examination.norms`), the site's own controls before the published ones; nothing here knows a
figure. Each says what the healthy of an age and sex are expected to have: a mean, the spread between people, how well both are known.
A value then stands at its percentile of Student's distribution (Crawford and Howell 1998; with regression Crawford and Garthwaite 2006);
z is the normal score of that percentile, so that a limit on z is met by the same share of healthy people whatever the size of the
population. Where no population fits the patient the answer is a sentence, never a z: nothing is extrapolated beyond the ages of a
population, and a child is never compared with adults. A missing sex is bridged only where it hardly matters.

References: Crawford and Howell 1998, Clin Neuropsychol 12:482; Crawford and Garthwaite 2006, 10.1037/0894-4105.20.3.259.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Protocol

from scipy.special import ndtri, stdtr, stdtrit

from analysis.examination import Examination, Patient
from analysis.outcome import Reference, Side
from analysis.words import joined, say

ADULT_YEARS = 18.0
Z_975 = 1.9600  # the normal distribution's 97.5th percentile
LEAST_PROBABILITY = 1e-300  # a value further out stands at the z of this one
SMALL_SEX_DIFFERENCE = 0.25  # of the whole spread: half of it moves z by at most 0.13 (chosen)
PEOPLE = {
    "F": say("healthy women of the patient's age"),
    "M": say("healthy men of the patient's age"),
    None: say("healthy people of the patient's age"),
}
NO_POPULATION = say("no published population was measured in a comparable way; compare with the site's own controls")


@dataclass(frozen=True)
class Expected:
    """What the healthy of one age and sex have, in the unit of the measurement.

    `sd` is the spread between people as it was measured, known with `degrees` of freedom; `error_of_mean` one standard error of the mean
    for this patient: of the sample, the site, the sex. `measured_with` is the error of measurement that `sd` holds already, and
    `measured_share` the same as a share of the value: an error is usual where it is no larger than one of the two.
    """

    population: str
    n: int
    mean: float
    sd: float
    error_of_mean: float
    degrees: float
    source: str
    measured_with: float = 0.0
    measured_share: float = 0.0

    def spread(self, more: float = 0.0) -> float:
        """The spread that a healthy person's value has about the mean; `more`: an error that it has beside the usual ones."""
        return math.hypot(self.sd, self.error_of_mean, more)

    def limits(self, more: float = 0.0) -> tuple[float, float]:
        """The 5th and the 95th percentile."""
        reach = float(stdtrit(self.degrees, 0.95)) * self.spread(more)
        return self.mean - reach, self.mean + reach

    def place(self, value: float, uncertainty: float | None) -> Reference:
        """Where a value with one standard error `uncertainty` stands."""
        more = self._more(value, uncertainty or 0.0)
        spread = self.spread(more)
        t = (value - self.mean) / spread
        return Reference(self.population, self.n, _normal_score(self.degrees, t), 100.0 * float(stdtr(self.degrees, t)),
                         *self._interval(value, more), self.mean, spread, *self.limits(more), self.source)  # fmt: skip

    def _more(self, value: float, uncertainty: float) -> float:
        """What this measurement is less sure than those that the spread comes from."""
        usual = max(self.measured_with, self.measured_share * abs(value))
        return math.sqrt(max(uncertainty**2 - usual**2, 0.0))

    def _interval(self, value: float, more: float) -> tuple[float, float]:
        """Between which percentiles of people the value lies with a probability of 95 %, as mean, spread and the value are known."""
        z = (value - self.mean) / self.sd
        error = math.hypot(more / self.sd, self.error_of_mean / self.sd, z / math.sqrt(2.0 * self.degrees))
        return percentile_of(z - Z_975 * error), percentile_of(z + Z_975 * error)


class Population(Protocol):
    """One measurement in a population. `side` and `level` None fit a measurement without, `side` None also one of either side; `node`:
    the place on a profile. `note` says how the population grows; it has no `expected` before it is whole."""

    name: str
    side: Side | None
    level: str | None
    node: int | None
    note: str | None

    def expected(self, patient: Patient) -> Expected | str:
        """What the healthy of the patient's age and sex have, or a sentence why that is not known. `patient` has an age."""


@dataclass(frozen=True)
class Norm:
    """One measurement in one published population of healthy people, of one side, level and sex (None: either; no level).

    `mean` holds at `age_mean` (years) and changes by `slope_per_year` between `age_low` and `age_high`; `sd` is the spread between people,
    `sd_between_sites` that of the sites' means, all in the unit of the measurement. `n` is the size of the sample behind the norm;
    `population`, `method` and `field` are names: whose population it is, the program, the field strength. They are not translated.
    """

    name: str
    side: Side | None
    level: str | None
    sex: str | None
    population: str
    field: str
    method: str
    n: int
    mean: float
    age_mean: float
    slope_per_year: float
    sd: float
    sd_between_sites: float
    age_low: float
    age_high: float
    source: str
    node = None
    note = None

    def at(self, age_years: float) -> float:
        """The mean of the healthy at that age."""
        return self.mean + self.slope_per_year * (age_years - self.age_mean)


@dataclass(frozen=True)
class Published:
    """The norms of one measurement, of one sex each or of both."""

    norms: tuple[Norm, ...]

    def expected(self, patient: Patient) -> Expected | str:
        fitting = [norm for norm in self.norms if norm.age_low <= patient.age_years <= norm.age_high]
        if not fitting:
            return _outside(self.norms, patient.age_years)
        mine = [norm for norm in fitting if norm.sex in (None, patient.sex)]
        if not mine and patient.sex is not None:
            return say("the population does not hold the sex of the patient")
        return _of_both(mine[:1] or fitting, patient.age_years)


def standing(
    norms: Iterable[Population], name: str, side: Side | None, value: float, uncertainty: float | None, patient: Patient,
    level: str | None = None, otherwise: str = NO_POPULATION,
) -> Reference | str:  # fmt: skip
    """Where a measurement of that name, side and level stands in the first population that fits, or a sentence why it stands nowhere.

    `uncertainty`: one standard error. `otherwise`: the sentence where no population has this measurement.
    """
    about = [norm for norm in norms if norm.name == name and norm.side in (None, side) and norm.level == level and norm.node is None]
    notes = [norm.note for norm in about if norm.note]
    found = expected_of([norm for norm in about if not norm.note], patient, otherwise)
    if isinstance(found, Expected):
        return found.place(value, uncertainty)
    return say("{reason} ({note})", reason=found, note=notes[0]) if notes else found


def placed(
    examination: Examination, name: str, value: float, uncertainty: float | None, side: Side | None = None, level: str | None = None,
    otherwise: str = NO_POPULATION,
) -> dict[str, Reference | str]:  # fmt: skip
    """The `reference` of a `Measurement`, or its `no_reference`: `Measurement(…, **placed(examination, …))`."""
    place = standing(examination.norms, name, side, value, uncertainty, examination.patient, level, otherwise)
    return {"reference": place} if isinstance(place, Reference) else {"no_reference": place}


def expected_of(populations: Sequence[Population], patient: Patient, otherwise: str = NO_POPULATION) -> Expected | str:
    """What the first population that fits the patient expects; else every reason why one does not. All are of one measurement."""
    if not populations:
        return otherwise
    if patient.age_years is None:
        return say("the study does not say the age of the patient")
    reasons = []
    for is_norm, group in groupby(populations, key=lambda population: isinstance(population, Norm)):
        for one in [Published(tuple(group))] if is_norm else group:
            found = one.expected(patient)
            if isinstance(found, Expected):
                return found
            reasons.append(found)
    return reasons[0] if len(reasons) == 1 else joined(reasons, "; ")


@dataclass(frozen=True)
class Band:
    """The 5th and the 95th percentile of the healthy at every node of a profile, None where unknown, and whose they are."""

    low: tuple[float | None, ...]
    high: tuple[float | None, ...]
    population: str


def band_of(examination: Examination, name: str, side: Side, nodes: int) -> Band | None:
    """The band for a profile of that name and side, or None where no population has one for the patient."""
    if examination.patient.age_years is None:
        return None
    mine = {one.node: one for one in examination.norms if (one.name, one.side) == (name, side) and one.node is not None and not one.note}
    found = [mine[node].expected(examination.patient) if node in mine else None for node in range(nodes)]
    known = [one for one in found if isinstance(one, Expected)]
    limits = [one.limits() if isinstance(one, Expected) else (None, None) for one in found]
    return Band(*zip(*limits, strict=True), known[0].population) if known else None


def _outside(norms: Sequence[Norm], age_years: float) -> str:
    low, high = min(norm.age_low for norm in norms), max(norm.age_high for norm in norms)
    if age_years < ADULT_YEARS <= low:
        return say("the patient is a child of {age:.0f} years: the population is of adults of {low:.0f} to {high:.0f} years",
                   age=age_years, low=low, high=high)  # fmt: skip
    return say("the patient is {age:.0f} years old: the population covers {low:.0f} to {high:.0f} years", age=age_years, low=low, high=high)


def _of_both(norms: Sequence[Norm], age_years: float) -> Expected | str:
    """What one norm expects, or the mean of both sexes where the sex is not known and they hardly differ."""
    means = [norm.at(age_years) for norm in norms]
    half_difference = (max(means) - min(means)) / 2.0
    first, n = max(norms, key=lambda norm: norm.sd), min(norm.n for norm in norms)
    error = math.hypot(first.sd_between_sites, half_difference, first.sd / math.sqrt(n))
    if 2.0 * half_difference > SMALL_SEX_DIFFERENCE * math.hypot(first.sd, error):
        return say("the study does not say the sex of the patient, and the populations of women and men differ")
    people = PEOPLE[first.sex] if len(norms) == 1 else say("healthy women and men of the patient's age, whose sex is not known")
    words = say("{people} ({population}; {method}; {field})",
                people=people, population=first.population, method=first.method, field=first.field)  # fmt: skip
    return Expected(words, n, sum(means) / len(means), first.sd, error, max(n - 1, 1), first.source)


def _normal_score(degrees: float, t: float) -> float:
    """The z that as many of the normal distribution lie below as of Student's distribution below t."""
    z = float(ndtri(max(float(stdtr(degrees, -abs(t))), LEAST_PROBABILITY)))
    return z if t < 0 else -z


def percentile_of(z: float) -> float:
    """The percentile of a z-score in the normal distribution, 0 to 100."""
    return 50.0 * math.erfc(-z / math.sqrt(2.0))
