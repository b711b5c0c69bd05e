"""Plots on a page: the curves of a marker over one axis, such as a spectrum with its fit, or the motion of a head over time.

What a plot is called, how its axis runs, which of its curves stands in a strip of its own, and which letters stand over it, says STYLES by
the name of the plot; one without a style is drawn plainly. Vectors and text; curves differ in their dashes as well as in their colours.
Nothing is measured here: what is drawn is what the marker gave, thinned to what a page can show.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from reportlab.lib.colors import Color, HexColor
from reportlab.pdfbase.pdfmetrics import stringWidth
from reportlab.platypus import Flowable

from analysis.outcome import Curve, Plot
from analysis.sentence import SIDES, level_of
from analysis.words import Name, Words, joined, say
from node.paper import INK, LEFT, REGULAR, RIGHT, RULE, SOFT, Paper

BAND = HexColor("#dfe5ea")
SCALELESS = "[arb'U]"
MOST_POINTS = 900
STRIP_SHARE, STRIP_GAP, KEY_ROW = 0.2, 8.0, 10.5
STEPS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0)


@dataclass(frozen=True)
class PlotStyle:
    """`axis` says what runs along the axis, and its unit, `value` what the curves show ("" where their scale says nothing). `strip`: curves
    in a strip of their own below. `marks`: letters over a place of the axis. `from_zero`: the scale begins at 0."""

    title: Words
    axis: Words
    value: Words | str = ""
    is_reversed: bool = False
    strip: tuple[str, ...] = ()
    marks: Mapping[float, str] = field(default_factory=dict)
    from_zero: bool = False


STYLES = {
    "spectrum": PlotStyle(say("Spectrum of the voxel"), say("chemical shift (ppm)"), is_reversed=True, strip=("residual",),
                          marks={2.01: "NAA", 3.03: "Cr", 3.21: "Cho", 3.56: "mI"}),
    "framewise_displacement": PlotStyle(say("Framewise displacement (mm)"), say("time (s); grey: blocks of the task"), from_zero=True),
    "motor_response": PlotStyle(say("Signal of the motor area (%)"), say("time (s); grey: blocks of the task")),
    "motor_fluctuation": PlotStyle(say("Signal of both hand areas at rest (%)"), say("time (s)")),
}  # fmt: skip
CURVES = {
    "displacement": say("displacement"), **SIDES, "data": say("measured"), "fit": say("fit"), "baseline": say("baseline"),
    "residual": say("measured less fit"),
}  # fmt: skip
# by the place of a curve in its plot: colour, width, dashes
PENS: tuple[tuple[Color, float, list], ...] = (
    (INK, 0.7, []), (LEFT, 1.1, []), (RIGHT, 0.9, [4, 2]), (SOFT, 0.6, []), (HexColor("#009e73"), 1.0, [2, 2]),
)  # fmt: skip

At = Callable[[float, float], tuple[float, float]]


class PlotChart(Flowable):
    """One plot: its title, its curves with their key, the axis below."""

    def __init__(self, paper: Paper, plot: Plot, width: float, height: float = 168.0) -> None:
        super().__init__()
        self.paper, self.plot, self.width, self.height = paper, plot, width, height
        self.style = STYLES.get(plot.name, PlotStyle(Name(plot.name.replace("_", " ")), Name(plot.axis_unit)))

    def wrap(self, *_: float) -> tuple[float, float]:
        return self.width, self.height

    def draw(self) -> None:
        left = 8.0 if self.plot.unit == SCALELESS else 34.0
        bottom, top = 24.0 + KEY_ROW * (1 + max((row for _, row, *_ in self._entries()), default=-1)), self.height - 27.0
        wide, strips = self.width - left - 8.0, [curve for curve in self.plot.curves if curve.name in self.style.strip]
        mains = [curve for curve in self.plot.curves if curve.name not in self.style.strip]
        low, high = self._ends(mains)
        strip = STRIP_SHARE * (top - bottom) if strips else 0.0
        floor = bottom + strip + (STRIP_GAP if strips else 0.0)
        self._title()
        at = self._scale(left, wide, floor, top, low, high)
        self._bands(at, bottom, top)
        self._axis(at, left, wide, bottom, top)
        if self.plot.unit != SCALELESS:
            self._values(at, left, wide, low, high)
        if strips:
            most = max(float(np.abs(curve.values).max()) for curve in strips) or 1.0
            most = max(most, strip / (top - floor) * (high - low) / 2)  # no larger than in the scale of the curves above
            beside = self._scale(left, wide, bottom, bottom + strip, -most, most)
            self._rule(left, beside(self.plot.axis[0], 0.0)[1], wide)
            self._curves(strips, beside)
        self._curves(mains, at)
        self._marks(at, mains, top)
        self._key(left)

    def _ends(self, curves: Sequence[Curve]) -> tuple[float, float]:
        values = np.concatenate([curve.values for curve in curves or self.plot.curves])
        low, high = (0.0 if self.style.from_zero else float(values.min())), float(values.max())
        room = 0.06 * (high - low) or 0.5
        return (low if self.style.from_zero else low - room), high + (2 * room if self.style.marks else room)

    def _scale(self, left: float, wide: float, floor: float, top: float, low: float, high: float) -> At:
        first, last = float(self.plot.axis.min()), float(self.plot.axis.max())
        if self.style.is_reversed:
            first, last = last, first

        def at(place: float, value: float) -> tuple[float, float]:
            return left + wide * (place - first) / (last - first), floor + (top - floor) * (value - low) / (high - low)

        return at

    def _title(self) -> None:
        of = [part for part in (SIDES.get(self.plot.side or "", ""), level_of(self.plot.level) if self.plot.level else "") if part]
        text = say("{title}, {of}", title=self.style.title, of=joined(of)) if of else self.style.title
        title = self.paper.paragraph(text, "strong")
        title.drawOn(self.canv, 0, self.height - title.wrap(self.width, self.height)[1])

    def _bands(self, at: At, bottom: float, top: float) -> None:
        self.canv.setFillColor(BAND)
        for begin, end in self.plot.bands:
            start, stop = sorted((at(begin, 0.0)[0], at(end, 0.0)[0]))
            self.canv.rect(start, bottom, stop - start, top - bottom, stroke=0, fill=1)

    def _rule(self, left: float, y: float, wide: float) -> None:
        self.canv.setStrokeColor(RULE)
        self.canv.setLineWidth(0.5)
        self.canv.line(left, y, left + wide, y)

    def _axis(self, at: At, left: float, wide: float, bottom: float, top: float) -> None:
        canvas, words = self.canv, self.paper.words
        self._rule(left, bottom, wide)
        canvas.setFont(REGULAR, 8)
        canvas.setFillColor(SOFT)
        for value, places in round_values(float(self.plot.axis.min()), float(self.plot.axis.max()), 8):
            x = at(value, 0.0)[0]
            canvas.line(x, bottom, x, bottom - 2.5)
            canvas.drawCentredString(x, bottom - 10.5, words(say("{value:.{places}f}", value=value, places=places)))
        canvas.drawRightString(left + wide, bottom - 20.5, words(self.style.axis))

    def _values(self, at: At, left: float, wide: float, low: float, high: float) -> None:
        canvas, words = self.canv, self.paper.words
        for value, places in round_values(low, high, 5):
            y = at(float(self.plot.axis[0]), value)[1]
            self._rule(left, y, wide)
            canvas.setFont(REGULAR, 8)
            canvas.setFillColor(SOFT)
            canvas.drawRightString(left - 4, y - 3, words(say("{value:.{places}f}", value=value, places=places)))

    def _pen(self, curve: Curve) -> None:
        color, width, dashes = PENS[list(self.plot.curves).index(curve) % len(PENS)]
        self.canv.setStrokeColor(color)
        self.canv.setLineWidth(width)
        self.canv.setDash(*([dashes] if dashes else []))

    def _curves(self, curves: Sequence[Curve], at: At) -> None:
        chosen = np.unique(np.linspace(0, len(self.plot.axis) - 1, min(len(self.plot.axis), MOST_POINTS)).round().astype(int))
        for curve in curves:
            self._pen(curve)
            path = self.canv.beginPath()
            points = [at(float(self.plot.axis[index]), float(curve.values[index])) for index in chosen]
            path.moveTo(*(round(part, 2) for part in points[0]))
            for point in points[1:]:
                path.lineTo(*(round(part, 2) for part in point))
            self.canv.drawPath(path, stroke=1, fill=0)
        self.canv.setDash()

    def _marks(self, at: At, curves: Sequence[Curve], top: float) -> None:
        """Letters over the highest curve at their place."""
        self.canv.setFont(REGULAR, 8)
        self.canv.setFillColor(INK)
        for place, letters in self.style.marks.items():
            if self.plot.axis.min() < place < self.plot.axis.max():
                near = np.abs(self.plot.axis - place) < 0.05
                highest = max((float(curve.values[near].max()) for curve in curves if near.any()), default=0.0)
                x, y = at(place, highest)
                self.canv.drawCentredString(x, min(y + 3, top - 1), letters)

    def _entries(self) -> list[tuple[float, int, Curve, str]]:
        """Which line is which curve: how far to the right, in which row, the curve, its name; none where there is one curve."""
        entries, x, row = [], 0.0, 0
        for curve in self.plot.curves if len(self.plot.curves) > 1 else ():
            name = self.paper.words(CURVES.get(curve.name, Name(curve.name)))
            need = 26 + stringWidth(name, REGULAR, 8)
            if x and x + need > self.width - 16:
                x, row = 0.0, row + 1
            entries.append((x, row, curve, name))
            x += need
        return entries

    def _key(self, left: float) -> None:
        canvas, entries = self.canv, self._entries()
        rows = max((row for _, row, *_ in entries), default=0)
        canvas.setFont(REGULAR, 8)
        canvas.setFillColor(INK)
        for x, row, curve, name in entries:
            y = 2.0 + KEY_ROW * (rows - row)
            self._pen(curve)
            canvas.line(left + x, y + 2.5, left + x + 13, y + 2.5)
            canvas.drawString(left + x + 16, y, name)
        canvas.setDash()


def round_values(low: float, high: float, most: int) -> list[tuple[float, int]]:
    """Round values between the ends, at most so many, and how many decimals they have."""
    step = next((one for one in STEPS if (high - low) / one <= most), (high - low) / most)
    places = max(0, -int(np.floor(np.log10(step) + 1e-9)))
    first, last = int(np.ceil(low / step - 1e-9)), int(np.floor(high / step + 1e-9))
    return [(step * number, places) for number in range(first, last + 1)]
