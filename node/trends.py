"""Trends on a page: one measurement over all examinations of a patient, with the healthy as a band, and what the site says was given when.

Vectors and text. Sides differ in their dashes and marks as well as in their colours. The scale is never blown up to make noise look like
change: it spans at least six standard errors of the points, and the band where there is one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date

import numpy as np
from reportlab.platypus import Flowable

from analysis.sentence import LEVELS, SIDES
from analysis.trend import Point, Treatment, Trend
from analysis.words import Name, joined, say
from node.charts import BAND, SIDE_COLORS
from node.concepts import unit_words
from node.names import words
from node.paper import INK, REGULAR, RULE, SOFT, WARM, Paper
from node.plots import round_values
from node.wording import day_words

ERRORS_SHOWN = 6.0
DAY_WIDE = 48.0
At = Callable[[float, float], tuple[float, float]]


class TrendChart(Flowable):
    """One trend: days along the axis, its values with one standard error up and down, treatments as lines across."""

    def __init__(self, paper: Paper, trend: Trend, treatments: Sequence[Treatment], width: float, height: float = 138.0) -> None:
        super().__init__()
        self.paper, self.trend, self.width, self.height = paper, trend, width, height
        days = [date.fromisoformat(point.day) for _, points in trend.lines for point in points]
        self.first, self.span = min(days), (max(days) - min(days)).days
        self.treatments = [one for one in treatments if 0 <= self._since(one.day) <= self.span]

    def wrap(self, *_: float) -> tuple[float, float]:
        return self.width, self.height

    def _since(self, day: str) -> int:
        """Days from the first examination."""
        return (date.fromisoformat(day) - self.first).days

    def draw(self) -> None:
        low, high = self._ends()
        left, bottom, wide, tall = 38.0, 27.0, self.width - 52.0, self.height - 48.0

        def at(days: float, value: float) -> tuple[float, float]:
            return left + 8 + (wide - 16) * days / self.span, bottom + tall * (value - low) / (high - low)

        title = self.paper.paragraph(self._title(), "strong")
        title.drawOn(self.canv, 0, self.height - title.wrap(self.width, self.height)[1])
        self._band(at, left, wide, low, high)
        self._values(at, left, wide, low, high)
        self._days(at, bottom)
        for number, one in enumerate(self.treatments):
            self._treatment(one, number, at, bottom, bottom + tall)
        for side, points in self.trend.lines:
            self._line(side, points, at)
        self._key(left, wide)

    def _title(self) -> str:
        level = self.trend.level
        parts = [words(self.trend.name), *([LEVELS.get(level, Name(level))] if level else [])]
        unit = unit_words(self.trend.unit)
        return say("{what} ({unit})", what=joined(parts), unit=unit) if unit else joined(parts)

    def _ends(self) -> tuple[float, float]:
        points = [point for _, line in self.trend.lines for point in line]
        errors = [point.uncertainty or 0.0 for point in points]
        known = [point.value + sign * error for point, error in zip(points, errors, strict=True) for sign in (-1, 1)]
        known += [end for end in (self.trend.low, self.trend.high) if end is not None]
        low, high = min(known), max(known)
        room = max(0.08 * (high - low), (ERRORS_SHOWN * max(errors) - (high - low)) / 2, 0.01 * abs(high)) or 0.5
        return low - room, high + room

    def _band(self, at: At, left: float, wide: float, low: float, high: float) -> None:
        if self.trend.low is None or self.trend.high is None:
            return
        bottom, top = at(0, max(self.trend.low, low))[1], at(0, min(self.trend.high, high))[1]
        self.canv.setFillColor(BAND)
        self.canv.rect(left, bottom, wide, top - bottom, stroke=0, fill=1)

    def _values(self, at: At, left: float, wide: float, low: float, high: float) -> None:
        canvas = self.canv
        canvas.setLineWidth(0.5)
        for value, places in round_values(low, high, 5):
            y = at(0, value)[1]
            canvas.setStrokeColor(RULE)
            canvas.line(left, y, left + wide, y)
            canvas.setFont(REGULAR, 8)
            canvas.setFillColor(SOFT)
            canvas.drawRightString(left - 4, y - 3, self.paper.words(say("{value:.{places}f}", value=value, places=places)))

    def _days(self, at: At, bottom: float) -> None:
        """The days of the examinations; where they stand too close, only the first and the last."""
        days = sorted({point.day for _, points in self.trend.lines for point in points})
        places = [at(self._since(day), 0.0)[0] for day in days]
        shown = list(zip(days, places, strict=True))
        if min(np.diff(places)) < DAY_WIDE:
            shown = [shown[0], shown[-1]]
        self.canv.setFont(REGULAR, 8)
        self.canv.setFillColor(SOFT)
        for day, x in shown:
            self.canv.drawCentredString(min(x, self.width - DAY_WIDE / 2), bottom - 10, self.paper.words(day_words(day)))

    def _treatment(self, one: Treatment, number: int, at: At, bottom: float, top: float) -> None:
        canvas, x = self.canv, at(self._since(one.day), 0.0)[0]
        canvas.setStrokeColor(WARM)
        canvas.setLineWidth(0.8)
        canvas.setDash([2, 2])
        canvas.line(x, bottom, x, top)
        canvas.setDash()
        canvas.setFont(REGULAR, 7)
        canvas.setFillColor(WARM)
        is_late = x > self.width / 2
        (canvas.drawRightString if is_late else canvas.drawString)(x - 3 if is_late else x + 3, top - 7 - 8 * (number % 3), one.words)

    def _pen(self, side: str | None) -> None:
        color = SIDE_COLORS.get(side or "", INK)
        self.canv.setStrokeColor(color)
        self.canv.setFillColor(color)
        self.canv.setLineWidth(1.3)
        self.canv.setDash(*([[4, 2]] if side == "right" else []))

    def _line(self, side: str | None, points: Sequence[Point], at: At) -> None:
        self._pen(side)
        places = [at(self._since(point.day), point.value) for point in points]
        path = self.canv.beginPath()
        path.moveTo(*places[0])
        for place in places[1:]:
            path.lineTo(*place)
        self.canv.drawPath(path, stroke=1, fill=0)
        self.canv.setDash()
        for point, (x, y) in zip(points, places, strict=True):
            reach = at(0, point.value + (point.uncertainty or 0.0))[1] - y
            x += {"left": -1.5, "right": 1.5}.get(side or "", 0.0)  # the errors of both sides can be told apart
            self.canv.setLineWidth(0.9)
            self.canv.line(x, y - reach, x, y + reach)
            self._mark(side, x, y)

    def _mark(self, side: str | None, x: float, y: float) -> None:
        if side == "right":
            self.canv.rect(x - 2.2, y - 2.2, 4.4, 4.4, stroke=0, fill=1)
        else:
            self.canv.circle(x, y, 2.4, stroke=0, fill=1)

    def _key(self, left: float, wide: float) -> None:
        """Which line is which side, in the middle below."""
        sides = [side for side, _ in self.trend.lines if side]
        names = [self.paper.words(SIDES[side]) for side in sides]
        spans = [28.0 + self.canv.stringWidth(name, REGULAR, 8) for name in names]
        x = left + (wide - sum(spans)) / 2
        for side, name, span in zip(sides, names, spans, strict=True):
            self._pen(side)
            self.canv.line(x, 6.5, x + 15, 6.5)
            self.canv.setDash()
            self._mark(side, x + 7.5, 6.5)
            self.canv.setFillColor(INK)
            self.canv.setFont(REGULAR, 8)
            self.canv.drawString(x + 18, 4, name)
            x += span


def columns_of(charts: Sequence[TrendChart]) -> list[list[TrendChart | str]]:
    """Two charts in a row."""
    return [[*charts[number : number + 2], *([""] if number + 1 == len(charts) else [])] for number in range(0, len(charts), 2)]
