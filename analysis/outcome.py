"""What a marker says: numbers, findings, masks and maps, or a reason in words.

Exactly one `Outcome` per marker, always. A failure is a reason, never NaN, never a silent gap, never a number that nobody measured:
the constructors refuse what is not finite or not in the vocabulary. Sides are the patient's.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from analysis.words import Words, say

Side = Literal["left", "right"]
Verdict = Literal["present", "absent", "indeterminate", "not assessed"]

MEASURED = "measured"
NOT_MEASURABLE = "not measurable"
FAILED = "failed"


class NotMeasurable(Exception):
    """Raised by a step or a marker when the images cannot carry the measurement; the message is the reason a reader sees."""

    @property
    def reason(self) -> str:
        """The sentence as it was said: `str(error)` would forget its template."""
        return self.args[0]


class Concept(NamedTuple):
    """A coded concept as DICOM writes it: coding scheme designator, code value, code meaning."""

    scheme: str
    code: str
    meaning: str


@dataclass(frozen=True)
class Reference:
    """Where a value stands in a named population.

    `mean` is what the healthy of the patient's age and sex have, `sd` the spread that z is taken against, `low` and `high` the 5th and
    95th percentile, all in the unit of the measurement. `percentile_low` to `percentile_high` holds the percentile with a probability of
    95 %, as far as the population, the site and the value are known. `source` says where the population comes from.
    """

    population: str
    n: int
    z: float
    percentile: float
    percentile_low: float
    percentile_high: float
    mean: float
    sd: float
    low: float
    high: float
    source: str


@dataclass(frozen=True)
class Measurement:
    """One number with its unit (UCUM), its error and its place in a population.

    `quantity` says what was measured, `site` of what. `uncertainty` is one standard error in the unit of the value, or None where
    none was measured. Without a `reference`, `no_reference` says why in words.
    """

    name: str
    value: float
    unit: str
    quantity: Concept
    site: Concept
    side: Side | None = None
    level: str | None = None
    uncertainty: float | None = None
    reference: Reference | None = None
    no_reference: str | None = None
    method: str | None = None

    def __post_init__(self) -> None:
        numbers = [self.value] + ([] if self.uncertainty is None else [self.uncertainty])
        if not all(math.isfinite(number) for number in numbers):
            raise ValueError(f"{self.name}: {self.value} ± {self.uncertainty} is not a finite measurement")
        if (self.reference is None) == (self.no_reference is None):
            raise ValueError(f"{self.name}: a measurement names its population, or says in words that there is none")


@dataclass(frozen=True)
class Gap:
    """A measurement that a measured marker could not give, and why."""

    name: str
    reason: str
    side: Side | None = None
    level: str | None = None


@dataclass(frozen=True)
class Accuracy:
    """How a finding was seen to work: it was found in `hits` of `ill` that had it and in `false` of `well` that had not; `on`: on what."""

    hits: int
    ill: int
    false: int
    well: int
    on: str

    def __post_init__(self) -> None:
        if not (0 <= self.hits <= self.ill and 0 <= self.false <= self.well):
            raise ValueError(f"{self.hits} of {self.ill} and {self.false} of {self.well} cannot have been found")

    @property
    def words(self) -> Words:
        return say("tested on {on}: found in {hits} of {ill} that had it and in {false} of {well} that had not", on=self.on, hits=self.hits,
                   ill=self.ill, false=self.false, well=self.well)  # fmt: skip


@dataclass(frozen=True)
class Finding:
    """A qualitative statement. `reason` is needed where the value is not `present` or `absent`; `accuracy` is given by what screens for
    another disease, whose reader must know what "absent" is worth."""

    name: str
    value: Verdict
    concept: Concept
    site: Concept
    side: Side | None = None
    grade: int | None = None
    reason: str | None = None
    level: str | None = None
    accuracy: Accuracy | None = None

    def __post_init__(self) -> None:
        if self.value in ("indeterminate", "not assessed") and not self.reason:
            raise ValueError(f"{self.name}: {self.value} needs a reason")


@dataclass(frozen=True, eq=False)
class Mask:
    """Where something was measured: `array` is boolean on the grid of the image with that `role`, shape (slice, row, column)."""

    name: str
    role: str
    array: np.ndarray
    site: Concept
    side: Side | None = None
    level: str | None = None

    def __post_init__(self) -> None:
        if self.array.dtype != np.bool_:
            raise ValueError(f"mask {self.name}: the array is {self.array.dtype}, not boolean")


@dataclass(frozen=True, eq=False)
class Map:
    """A number in every voxel: `array` is float32 on the grid of the image with that `role`; 0 outside what was measured."""

    name: str
    role: str
    array: np.ndarray
    unit: str
    quantity: Concept


@dataclass(frozen=True, eq=False)
class Track:
    """Streamlines of one structure: each line is (point, 3), float32, LPS mm, in the space of the image with that `role`."""

    name: str
    role: str
    lines: tuple[np.ndarray, ...]
    site: Concept
    side: Side | None = None

    def __post_init__(self) -> None:
        for line in self.lines:
            if line.dtype != np.float32 or line.ndim != 2 or line.shape[1] != 3 or len(line) < 2 or not np.isfinite(line).all():
                raise ValueError(f"track {self.name}: a line has at least two finite points of three float32 coordinates")


@dataclass(frozen=True)
class Profile:
    """A number at every node along a structure, from below upwards; None where the images do not reach, or too little is known.

    `low` and `high` are the 5th and the 95th percentile of the healthy of the patient's age at every node, None where unknown, of the
    `population`; all three are empty where there is none.
    """

    name: str
    side: Side
    values: tuple[float | None, ...]
    unit: str
    low: tuple[float | None, ...] = ()
    high: tuple[float | None, ...] = ()
    population: str = ""

    def __post_init__(self) -> None:
        if not all(value is None or math.isfinite(value) for value in (*self.values, *self.low, *self.high)):
            raise ValueError(f"profile {self.name}: a node has a finite value, or None")
        if len(self.low) != len(self.high) or len(self.low) not in (0, len(self.values)):
            raise ValueError(f"profile {self.name}: the band has as many nodes as the profile, or none")


@dataclass(frozen=True, eq=False)
class Curve:
    """One line of a plot: a value at every place of its axis; `name` is one of the plot's own words, such as "fit"."""

    name: str
    values: np.ndarray


@dataclass(frozen=True, eq=False)
class Plot:
    """Curves over one axis, for a reader's eye: a spectrum over ppm, a motion over time.

    `axis` (point,) and every curve have the same length and are finite. `axis_unit` and `unit` are UCUM; "[arb'U]" where the scale is the
    scanner's own. `bands`: spans of the axis that mean something, such as the blocks of a task.
    """

    name: str
    axis: np.ndarray
    axis_unit: str
    unit: str
    curves: tuple[Curve, ...]
    side: Side | None = None
    level: str | None = None
    bands: tuple[tuple[float, float], ...] = ()

    def __post_init__(self) -> None:
        for array in (self.axis, *(curve.values for curve in self.curves)):
            if array.shape != (len(self.axis),) or not np.isfinite(array).all():
                raise ValueError(f"plot {self.name}: its axis and its curves have as many finite values as each other")
        if not self.curves or len(self.axis) < 2:
            raise ValueError(f"plot {self.name}: there is nothing to draw")


@dataclass(frozen=True, eq=False)
class Outcome:
    """What one marker said of one study. `seconds` is filled in by the engine; `notes` are sentences for the reader of the report."""

    marker: str
    version: int
    outcome: str
    reason: str | None = None
    seconds: float = 0.0
    measurements: tuple[Measurement, ...] = ()
    gaps: tuple[Gap, ...] = ()
    findings: tuple[Finding, ...] = ()
    masks: tuple[Mask, ...] = ()
    maps: tuple[Map, ...] = ()
    tracks: tuple[Track, ...] = ()
    profiles: tuple[Profile, ...] = ()
    plots: tuple[Plot, ...] = ()
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.outcome not in (MEASURED, NOT_MEASURABLE, FAILED):
            raise ValueError(f"{self.marker}: {self.outcome!r} is no outcome")
        if (self.outcome == MEASURED) != (self.reason is None):
            raise ValueError(f"{self.marker}: an outcome has a reason exactly when nothing was measured")
        if self.outcome != MEASURED and (self.measurements or self.masks or self.maps or self.tracks or self.profiles or self.plots):
            raise ValueError(f"{self.marker}: {self.outcome}, and yet it carries measurements")
