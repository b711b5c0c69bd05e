"""What an earlier examination of the same patient said, as frozen values: the numbers of its report, or that it was never analysed.

Whoever compares asks here for the same marker in the same version; a number of another version was measured in another way, and is not
the same number. Where the report was read it holds what `report.json` of that examination held: names, sides, levels, values, units,
errors and populations, unchanged.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from analysis.outcome import MEASURED, Outcome, Reference, Side, Verdict


@dataclass(frozen=True)
class EarlierMeasurement:
    """One number of an earlier report: `unit` as the marker wrote it, `uncertainty` one standard error in it, None where none was known."""

    name: str
    value: float
    unit: str
    side: Side | None = None
    level: str | None = None
    uncertainty: float | None = None
    reference: Reference | None = None

    def __post_init__(self) -> None:
        if not all(math.isfinite(number) for number in (self.value, self.uncertainty or 0.0)):
            raise ValueError(f"{self.name}: {self.value} ± {self.uncertainty} is not a finite measurement")


@dataclass(frozen=True)
class EarlierFinding:
    """One qualitative statement of an earlier report."""

    name: str
    value: Verdict
    side: Side | None = None
    level: str | None = None
    grade: int | None = None


@dataclass(frozen=True)
class EarlierMarker:
    """What one marker said then, and which version of it."""

    version: int
    measurements: tuple[EarlierMeasurement, ...] = ()
    findings: tuple[EarlierFinding, ...] = ()

    def measurement(self, name: str, side: Side | None = None, level: str | None = None) -> EarlierMeasurement | None:
        """The number of that name, side and level; None where it was not measured."""
        return next((one for one in self.measurements if (one.name, one.side, one.level) == (name, side, level)), None)


def said_by(outcomes: Iterable[Outcome]) -> dict[str, EarlierMarker]:
    """What markers that measured something said, as an earlier report would hold it."""
    return {one.marker: _said(one) for one in outcomes if one.outcome == MEASURED}


def _said(outcome: Outcome) -> EarlierMarker:
    numbers = (EarlierMeasurement(one.name, one.value, one.unit, one.side, one.level, one.uncertainty, one.reference)
               for one in outcome.measurements)  # fmt: skip
    findings = (EarlierFinding(one.name, one.value, one.side, one.level, one.grade) for one in outcome.findings)
    return EarlierMarker(outcome.version, tuple(numbers), tuple(findings))


@dataclass(frozen=True)
class Acquisition:
    """Device and physics of a series that was measured on: the same text for series that may be compared; empty where it is not known."""

    scanner: str
    protocol: str


@dataclass(frozen=True)
class Earlier:
    """One earlier examination, of a `day` (2025-05-03) that was `days_before` the one that is reported; 0 where nobody said which that is.

    `sop_instance_uid` and `series_instance_uid` name the report that was read, None where there is none that can be read; then `markers`
    is empty. `acquisitions` are by role. `series`: how many of its series are at hand to be measured again.
    """

    study_instance_uid: str
    day: str
    days_before: int = 0
    sop_instance_uid: str | None = None
    markers: Mapping[str, EarlierMarker] = field(default_factory=dict)
    acquisitions: Mapping[str, Acquisition] = field(default_factory=dict)
    series: int = 0
    series_instance_uid: str | None = None

    @property
    def values(self) -> int:
        """How many numbers its report holds."""
        return sum(len(marker.measurements) for marker in self.markers.values())

    def marker(self, name: str, version: int) -> EarlierMarker | None:
        """What that version of a marker said then; None where it said nothing, or was another version."""
        found = self.markers.get(name)
        return found if found and found.version == version else None
