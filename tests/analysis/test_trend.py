"""Which values of a patient stand in one trend."""

from dataclasses import replace

from analysis import concepts
from analysis.earlier import Earlier, EarlierMarker, EarlierMeasurement
from analysis.outcome import MEASURED, NOT_MEASURABLE, Measurement, Outcome, Reference
from analysis.trend import Point, trends_of

TODAY, FIRST, SECOND = "2026-05-20", "2025-05-03", "2025-11-20"
ADULTS = Reference("Adults", 100, 0.0, 50.0, 40.0, 60.0, 2.5, 0.2, 2.17, 2.83, "10.1000/adults")


def thickness(left: float, right: float, reference: Reference | None = None) -> Outcome:
    made = (Measurement("precentral_thickness", value, "mm", concepts.VOLUME, concepts.BRAIN, side, None, 0.07, reference,
                        None if reference else "none") for side, value in (("left", left), ("right", right)))  # fmt: skip
    return Outcome("precentral_gyrus", 3, MEASURED, measurements=tuple(made))


def then(day: str, left: float, version: int = 3, unit: str = "mm") -> Earlier:
    value = EarlierMeasurement("precentral_thickness", left, unit, "left", None, 0.08)
    return Earlier(f"1.2.{day[:4]}{day[5:7]}", day, markers={"precentral_gyrus": EarlierMarker(version, (value,))})


def test_the_points_stand_in_the_order_of_their_days_side_by_side():
    (trend,) = trends_of([thickness(2.3, 2.4, ADULTS)], TODAY, [then(SECOND, 2.45), then(FIRST, 2.5)])
    (left, points), (right, alone) = trend.lines
    assert (left, right) == ("left", "right") and len(alone) == 1
    assert points == (Point(FIRST, 2.5, 0.08), Point(SECOND, 2.45, 0.08), Point(TODAY, 2.3, 0.07))
    assert (trend.low, trend.high, trend.population, trend.unit) == (2.17, 2.83, "Adults", "mm")


def test_another_version_another_unit_and_a_later_day_stand_in_no_trend():
    for one in (then(FIRST, 2.5, version=2), then(FIRST, 0.25, unit="ml"), then("2027-01-01", 2.2)):
        assert trends_of([thickness(2.3, 2.4)], TODAY, [one]) == ()
    assert trends_of([Outcome("precentral_gyrus", 3, NOT_MEASURABLE, "cut")], TODAY, [then(FIRST, 2.5)]) == ()


def test_sides_with_different_bands_have_none():
    now = thickness(2.3, 2.4, ADULTS)
    other = replace(now.measurements[1], reference=replace(ADULTS, low=2.0))
    (trend,) = trends_of([replace(now, measurements=(now.measurements[0], other))], TODAY, [then(FIRST, 2.5)])
    assert trend.low is None and trend.high is None and trend.population == ""
