"""One measurement over all examinations of a patient, for a plot: the present one and every earlier one that holds the same number.

Only values of the same version of the marker and the same unit stand in one trend; another version measured something else. Sides are lines
of one trend. The band is the healthy people of the patient's present age, as the present measurement names them; the years between hardly
move it. Nothing is fitted through the points: whether they changed says `analysis.change`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from analysis.earlier import Earlier
from analysis.outcome import MEASURED, Measurement, Outcome, Side
from analysis.words import Name

# what is drawn of a marker: name and level, the first that was measured; the rest stands in the table
FOLLOWED: dict[str, tuple[tuple[tuple[str, str | None], ...], ...]] = {
    "precentral_gyrus": ((("precentral_thickness", None),), (("precentral_volume", None),)),
    "brainstem": ((("medulla_volume", None),), (("pons_volume", None),)),
    "brain_volumes": ((("brain_volume", None),),),
    "cst_diffusion": ((("cst_fa", "whole"), ("cst_fa", None)), (("cst_md", "whole"), ("cst_md", None))),
    "cst_flair": ((("cst_flair_contrast", "plic"), ("cst_flair_contrast", "corona_radiata")),),
    "motor_band": ((("motor_band_score", None),), (("motor_band_contrast", "intermediate"),)),
    "motor_cortex_spectroscopy": ((("naa_cr", "short_te"), ("naa_cr", "long_te")),),
    "cervical_cord": ((("cord_area", "C2"), ("cord_area", "C3")),),
    "white_matter_lesions": ((("lesion_volume", None),),),
}


@dataclass(frozen=True)
class Point:
    """A value on the `day` (2025-05-03) of its examination; `uncertainty` one standard error, None where none was known."""

    day: str
    value: float
    uncertainty: float | None = None


@dataclass(frozen=True)
class Treatment:
    """What the site says was given, and on which `day` (2025-05-03); `words` are its own."""

    day: str
    words: Name


@dataclass(frozen=True)
class Trend:
    """A measurement over time: its points by side, oldest first, at least two of one side. `low` and `high`: the 5th and the 95th
    percentile of the healthy of the `population`, None where the sides differ in it or there is none."""

    marker: str
    name: str
    level: str | None
    unit: str
    lines: tuple[tuple[Side | None, tuple[Point, ...]], ...]
    low: float | None = None
    high: float | None = None
    population: str = ""


def trends_of(outcomes: Iterable[Outcome], day: str, earlier: Sequence[Earlier]) -> tuple[Trend, ...]:
    """The trends of what was measured on `day` and before it, in the order of the markers."""
    found = []
    for outcome in outcomes:
        for choices in FOLLOWED.get(outcome.marker, ()) if outcome.outcome == MEASURED else ():
            made = (_trend(outcome, name, level, day, earlier) for name, level in choices)
            found += [trend for trend in made if trend is not None][:1]
    return tuple(found)


def _trend(outcome: Outcome, name: str, level: str | None, day: str, earlier: Sequence[Earlier]) -> Trend | None:
    now = [one for one in outcome.measurements if (one.name, one.level) == (name, level)]
    lines = tuple((one.side, _points(outcome, one, day, earlier)) for one in now)
    if not any(len(points) > 1 for _, points in lines):
        return None
    references = [one.reference for one in now]
    bands = {(one.low, one.high, one.population) if one else None for one in references}
    band = next(iter(bands)) if len(bands) == 1 else None
    low, high, population = band or (None, None, "")
    return Trend(outcome.marker, name, level, now[0].unit, lines, low, high, population)


def _points(outcome: Outcome, now: Measurement, day: str, earlier: Sequence[Earlier]) -> tuple[Point, ...]:
    points = [Point(day, now.value, now.uncertainty)]
    for one in earlier:
        marker = one.marker(outcome.marker, outcome.version)
        then = marker.measurement(now.name, now.side, now.level) if marker else None
        if then is not None and then.unit == now.unit and one.day < day:
            points.append(Point(one.day, then.value, then.uncertainty))
    return tuple(sorted(points, key=lambda point: point.day))
