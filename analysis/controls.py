"""The site's own healthy controls as a population: small, so its mean and its spread are themselves uncertain, and that is counted.

A straight line over age, with an offset of sex where there are five or more of each, is fitted by least squares. A new person is expected
on the line; the spread about it has the residual degrees of freedom, and the error of the line at that age is its leverage (Crawford and
Garthwaite 2006). Nothing is said before there are 20, beyond their ages, of a sex that is not among them, or of a measurement that hardly
differs between them. Sex is taken whether or not it differs significantly: taken only at p < 0.05, the interval of the percentile held the
true one in 84 to 95 of 100 only, for two more losses found in 100.

Measured (`benchmarks/norms.py rates`; 20, 40 and 80 simulated controls, age and sex with and without effect): healthy people fall below z
-1.645 in 4.9 to 5.6 of 100 and below -2 in 2.1 to 2.5; a loss of 1.5 spreads falls below -1.645 in 38 (20 controls) to 43 of 100 (44 were
the population known exactly); the interval of the percentile holds the true one in 94 to 96 of 100; 10 of 100 controls, each among the
others, lie outside the 5th to the 95th percentile.

References: Crawford and Garthwaite 2006, 10.1037/0894-4105.20.3.259; Crawford 2012, 10.1037/a0027699 (several predictors).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from analysis.examination import Patient
from analysis.outcome import Reference, Side
from analysis.reference import Expected
from analysis.words import say

ENOUGH = 20
LEAST_OF_A_SEX = 5
LEAST_AGES_YEARS = 1.0  # controls closer in age than this tell no slope
LEAST_DIFFERENT = 5  # values: a score with fewer has no percentiles
SOURCE = say("the site's own controls, measured with the same version of the same method")


@dataclass(frozen=True)
class Line:
    """A least-squares fit: `weights` (k,), the residual `sd` with its `degrees`, and `inverse` (k, k) of the design's square."""

    weights: np.ndarray
    sd: float
    degrees: int
    inverse: np.ndarray


@dataclass(frozen=True)
class Controls:
    """One measurement in the site's own controls: one entry of each tuple per person.

    `uncertainty` is the usual error of the measurement in them, `uncertain_share` the same as a share of the value. `node`: the place on a
    profile. `scanners`, where they were harmonised: the number of each person's scanner, 0 for that of the patient, whose values are as
    measured there; the others' were laid on it. `note` is set while they are too few; `who` names them for the site.
    """

    name: str
    side: Side | None
    level: str | None
    population: str
    ages: tuple[float, ...]
    sexes: tuple[str, ...]
    values: tuple[float, ...]
    uncertainty: float = 0.0
    uncertain_share: float = 0.0
    node: int | None = None
    scanners: tuple[int, ...] = ()
    note: str | None = None
    who: tuple[str, ...] = ()

    def expected(self, patient: Patient) -> Expected | str:
        if reason := self._why_not(patient):
            return reason
        with_sex = patient.sex is not None and self.tells_sex
        line = self._with_sex if with_sex else self._without_sex
        at = self._row(patient.age_years, patient.sex if with_sex else None)
        error = line.sd * math.sqrt(self._leverage(patient.age_years, at, line))
        mean = float(at @ line.weights)
        return Expected(self.population, len(self.values), mean, line.sd, error, line.degrees, SOURCE, self.uncertainty,
                        self.uncertain_share)  # fmt: skip

    def _why_not(self, patient: Patient) -> str | None:
        low, high = min(self.ages), max(self.ages)
        if not low <= patient.age_years <= high:
            return say("the site's own controls are {low:.1f} to {high:.1f} years old, the patient {age:.1f}",
                       low=low, high=high, age=patient.age_years)  # fmt: skip
        if patient.sex is not None and patient.sex not in self.sexes:
            return say("nobody of the patient's sex is among the site's own controls")
        if (count := len(set(self.values))) < LEAST_DIFFERENT:
            return say("the site's own controls hardly differ in it ({count} values), so it has no percentiles", count=count)
        return None

    @property
    def slope_per_year(self) -> float:
        """How the mean changes with age; 0 where the controls are too close in age to tell."""
        return float(self._without_sex.weights[1]) if self._tells_age else 0.0

    @property
    def residuals(self) -> np.ndarray:
        """What each person lies above the line, (n,)."""
        line = self._with_sex if self.tells_sex else self._without_sex
        return np.array(self.values) - self._design(self.tells_sex) @ line.weights

    def placed_without(self) -> tuple[Reference | str, ...]:
        """Where each control stands among the others."""
        return tuple(self._without(number) for number in range(len(self.values)))

    def _without(self, number: int) -> Reference | str:
        def rest(values: tuple) -> tuple:
            return values[:number] + values[number + 1 :]

        others = replace(self, ages=rest(self.ages), sexes=rest(self.sexes), values=rest(self.values), scanners=rest(self.scanners))
        found = others.expected(Patient(self.ages[number], self.sexes[number]))
        return found.place(self.values[number], self.uncertainty) if isinstance(found, Expected) else found

    @property
    def tells_sex(self) -> bool:
        """Whether there are enough women and men to tell what they differ by."""
        return min(self.sexes.count("F"), self.sexes.count("M")) >= LEAST_OF_A_SEX

    @cached_property
    def _with_sex(self) -> Line:
        return self._line(True)

    @cached_property
    def _without_sex(self) -> Line:
        return self._line(False)

    @property
    def _tells_age(self) -> bool:
        return max(self.ages) - min(self.ages) >= LEAST_AGES_YEARS

    def _line(self, with_sex: bool) -> Line:
        design, values = self._design(with_sex), np.array(self.values)
        inverse = np.linalg.inv(design.T @ design)
        weights = inverse @ design.T @ values
        degrees = len(values) - design.shape[1] - max(len(set(self.scanners)) - 1, 0)
        rest = values - design @ weights
        return Line(weights, math.sqrt(float(rest @ rest) / degrees), degrees, inverse)

    def _leverage(self, age_years: float, at: np.ndarray, line: Line) -> float:
        """How far the error of the mean is from that of a single person, squared. Harmonised: as if each scanner's own mean were fitted."""
        if not self.scanners:
            return float(at @ line.inverse @ at)
        with_sex = len(at) > 1 + self._tells_age
        which = np.array(self.scanners)[:, None] == sorted(set(self.scanners))
        design = np.hstack([which, self._design(with_sex)[:, 1:]])
        row = np.concatenate([which[self.scanners.index(0)], at[1:]])
        return float(row @ np.linalg.inv(design.T @ design) @ row)

    def _design(self, with_sex: bool) -> np.ndarray:
        return np.array([self._row(age, sex if with_sex else None) for age, sex in zip(self.ages, self.sexes, strict=True)])

    def _row(self, age_years: float, sex: str | None) -> np.ndarray:
        row = [1.0, *([age_years - sum(self.ages) / len(self.ages)] if self._tells_age else [])]
        return np.array([*row, *([0.5 if sex == "F" else -0.5] if sex else [])])
