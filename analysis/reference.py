"""Where a value stands in a population of healthy people.

The populations are data of the caller (`Examination.norms`); nothing here knows a figure. A norm predicts the mean of a measurement at an
age and sex; a value stands at z = (value - mean) over the spread between people, between sites and of the measurement itself. Where no norm
fits the patient the answer is a sentence, never a z: nothing is extrapolated beyond the ages of the norm, and a child is never compared
with adults. A missing sex is bridged only where it hardly matters.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from analysis.examination import Patient
from analysis.outcome import Reference, Side

ADULT_YEARS = 18.0
Z_95, Z_975 = 1.6449, 1.9600  # the normal distribution's 95th and 97.5th percentile
SMALL_SEX_DIFFERENCE = 0.25  # of the whole spread: half of it moves z by at most 0.13 (chosen)


@dataclass(frozen=True)
class Norm:
    """One measurement in one population of healthy people, of one side and sex (None: either).

    `mean` holds at `age_mean` (years) and changes by `slope_per_year` between `age_low` and `age_high`; `sd` is the spread between people,
    `sd_between_sites` that of the sites' means, all in the unit of the measurement. `n` is the size of the sample behind the norm.
    """

    name: str
    side: Side | None
    sex: str | None
    population: str
    n: int
    mean: float
    age_mean: float
    slope_per_year: float
    sd: float
    sd_between_sites: float
    age_low: float
    age_high: float
    source: str

    def expected(self, age_years: float) -> float:
        """The mean of the healthy at that age."""
        return self.mean + self.slope_per_year * (age_years - self.age_mean)


def standing(
    norms: Iterable[Norm], name: str, side: Side | None, value: float, uncertainty: float | None, patient: Patient
) -> Reference | str:
    """Where a measurement of that name and side stands, or a sentence why it stands nowhere. `uncertainty`: one standard error."""
    about = [norm for norm in norms if norm.name == name and norm.side in (None, side)]
    if not about:
        return "no published population was measured in a comparable way; compare with the site's own controls"
    if patient.age_years is None:
        return "the study does not say the age of the patient"
    fitting = [norm for norm in about if norm.age_low <= patient.age_years <= norm.age_high]
    if not fitting:
        return _outside(about, patient.age_years)
    mine = [norm for norm in fitting if norm.sex in (None, patient.sex)]
    if not mine and patient.sex is not None:
        return "the population does not hold the sex of the patient"
    return _place(mine[:1] or fitting, value, uncertainty or 0.0, patient.age_years)


def _outside(norms: list[Norm], age_years: float) -> str:
    low, high = min(norm.age_low for norm in norms), max(norm.age_high for norm in norms)
    if age_years < ADULT_YEARS <= low:
        return f"the patient is a child of {age_years:.0f} years: the population is of adults of {low:.0f} to {high:.0f} years"
    return f"the patient is {age_years:.0f} years old: the population covers {low:.0f} to {high:.0f} years"


def _place(norms: list[Norm], value: float, uncertainty: float, age_years: float) -> Reference | str:
    """The standing by one norm, or by the mean of both sexes where the sex is not known and they hardly differ."""
    means = [norm.expected(age_years) for norm in norms]
    half_difference = (max(means) - min(means)) / 2.0
    first = max(norms, key=lambda norm: norm.sd)
    spread = math.hypot(first.sd, first.sd_between_sites, uncertainty, half_difference)
    if 2.0 * half_difference > SMALL_SEX_DIFFERENCE * spread:
        return "the study does not say the sex of the patient, and the populations of women and men differ"
    mean, n = sum(means) / len(means), min(norm.n for norm in norms)
    z = (value - mean) / spread
    words = first.population if len(norms) == 1 else f"{first.population} (women and men, the patient's sex is not known)"
    percentile_low, percentile_high = _interval(value - mean, first, uncertainty, half_difference)
    low, high = mean - Z_95 * spread, mean + Z_95 * spread
    return Reference(words, n, z, percentile_of(z), percentile_low, percentile_high, mean, spread, low, high, first.source)


def _interval(difference: float, norm: Norm, uncertainty: float, half_difference: float) -> tuple[float, float]:
    """Between which percentiles of people the value lies with a probability of 95 %, as the mean and the spread of the population, its
    site and the value itself are known."""
    z = difference / norm.sd
    error = math.hypot(math.hypot(uncertainty, norm.sd_between_sites, half_difference) / norm.sd, math.sqrt((1 + z * z / 2) / norm.n))
    return percentile_of(z - Z_975 * error), percentile_of(z + Z_975 * error)


def percentile_of(z: float) -> float:
    """The percentile of a z-score in the normal distribution, 0 to 100."""
    return 50.0 * math.erfc(-z / math.sqrt(2.0))
