"""What is drawn as lines and letters on a page: a picture with its frame, a colour bar, a profile along a tract, a place in a population.

Vectors and text, so that they stay sharp and can be searched. Colours never stand alone: sides also differ in their dashes and marks.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image as Pixels
from reportlab.lib.colors import Color, HexColor, black, white
from reportlab.lib.utils import ImageReader
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import Flowable, KeepTogether, Spacer, Table, TableStyle

from analysis.outcome import Profile
from analysis.sentence import SIDES
from analysis.words import say
from node.illustrations import Scale, Shown
from node.paper import BOLD, CONTENT_WIDTH, INK, LEFT, REGULAR, RIGHT, RULE, SOFT, Paper
from node.pictures import Line

SIDE_COLORS = {"left": LEFT, "right": RIGHT}
SHADOW = Color(0, 0, 0, 0.65)
BAND = HexColor("#dfe5ea")
GAP = 6.0  # between pictures of a row


class Panel(Flowable):
    """A picture of a given height, with the letters of its edges and a scale bar, and its caption below."""

    def __init__(self, paper: Paper, shown: Shown, height: float) -> None:
        super().__init__()
        wide, high = shown.picture.size_mm
        self.paper, self.shown, self.picture_height = paper, shown, height
        self.width, self.point_per_mm = height * wide / high, height / high
        self.height = height + 12.0

    def wrap(self, *_: float) -> tuple[float, float]:
        return self.width, self.height

    def draw(self) -> None:
        canvas, picture = self.canv, self.shown.picture
        canvas.saveState()
        canvas.translate(0, 12.0)
        frame = canvas.beginPath()
        frame.rect(0, 0, self.width, self.picture_height)
        canvas.clipPath(frame, stroke=0, fill=0)
        canvas.drawImage(ImageReader(Pixels.fromarray(picture.pixels)), 0, 0, self.width, self.picture_height)
        for line in picture.lines:
            self._line(line)
        self._letters()
        self._scale_bar()
        canvas.restoreState()
        canvas.setFillColor(SOFT)
        canvas.setFont(REGULAR, 8)
        canvas.drawString(0, 2.0, self.paper.words(self.shown.caption))

    def _line(self, line: Line) -> None:
        path, scale, top, points = self.canv.beginPath(), self.point_per_mm, self.picture_height, line.points
        path.moveTo(round(points[0, 0] * scale, 2), round(top - points[0, 1] * scale, 2))
        for across, down in points[1:]:
            path.lineTo(round(across * scale, 2), round(top - down * scale, 2))
        self.canv.setLineJoin(1)
        for color, width in ((black, 2.4), (HexColor(line.color), 1.2)) if line.halo else ((HexColor(line.color), line.width),):
            self.canv.setStrokeColor(color)
            self.canv.setLineWidth(width)
            self.canv.drawPath(path, stroke=1, fill=0)

    def _letters(self) -> None:
        left, right, up, down = self.shown.picture.plane.letters
        middle_x, middle_y = self.width / 2, self.picture_height / 2 - 3
        places = ((left, 7, middle_y), (right, self.width - 7, middle_y), (up, middle_x, self.picture_height - 10), (down, middle_x, 4))
        for letter, x, y in places:
            _shadowed(self.canv, letter, x, y, BOLD, 9)

    def _scale_bar(self) -> None:
        length_mm = 50 if self.shown.picture.size_mm[0] > 120 else 20
        canvas, length = self.canv, length_mm * self.point_per_mm
        for color, thick in ((SHADOW, 2.6), (white, 1.2)):
            canvas.setStrokeColor(color)
            canvas.setLineWidth(thick)
            canvas.line(6, 6, 6 + length, 6)
        _shadowed(canvas, f"{length_mm // 10} cm", 6 + length / 2, 9, REGULAR, 8)


def _shadowed(canvas: Canvas, text: str, x: float, y: float, font: str, size: float) -> None:
    """White letters that can be read on white as well."""
    canvas.setFont(font, size)
    canvas.setFillColor(SHADOW)
    for aside, below in ((0.6, -0.6), (-0.6, 0.6), (0.6, 0.6), (-0.6, -0.6)):
        canvas.drawCentredString(x + aside, y + below, text)
    canvas.setFillColor(white)
    canvas.drawCentredString(x, y, text)


class ColorBar(Flowable):
    """What the colours of a map mean, in one line."""

    def __init__(self, paper: Paper, scale: Scale) -> None:
        super().__init__()
        self.paper, self.scale, self.width, self.height = paper, scale, 400.0, 14.0

    def wrap(self, *_: float) -> tuple[float, float]:
        return self.width, self.height

    def draw(self) -> None:
        from matplotlib import colormaps

        table = (np.array(colormaps[self.scale.colors](np.arange(256)))[None, :, :3] * 255).round().astype(np.uint8)
        words, canvas = self.paper.words, self.canv
        canvas.setFont(REGULAR, 8)
        canvas.setFillColor(SOFT)
        first, last = (words(say("{value:.1f}", value=value)) for value in (self.scale.first, self.scale.last))
        canvas.drawRightString(20, 4, first)
        canvas.drawImage(ImageReader(Pixels.fromarray(table)), 24, 3, 110, 8)
        canvas.drawString(138, 4, last)
        canvas.drawString(166, 4, words(self.scale.title))


class Key(Flowable):
    """What the colours of outlines mean, in as many lines as it takes."""

    def __init__(self, paper: Paper, entries: Sequence[tuple[str, str]], width: float) -> None:
        super().__init__()
        self.entries = [(HexColor(color), paper.words(name)) for color, name in entries]
        self.width = width

    def wrap(self, *_: float) -> tuple[float, float]:
        from reportlab.pdfbase.pdfmetrics import stringWidth

        self.places, x, y = [], 0.0, 0.0
        for color, name in self.entries:
            need = 26.0 + stringWidth(name, REGULAR, 8)
            if x and x + need > self.width:
                x, y = 0.0, y + 11.0
            self.places.append((x, y, color, name))
            x += need
        self.height = y + 14.0
        return self.width, self.height

    def draw(self) -> None:
        canvas = self.canv
        canvas.setFont(REGULAR, 8)
        for x, y, color, name in self.places:
            canvas.setStrokeColor(color)
            canvas.setLineWidth(2.2)
            canvas.line(x, self.height - y - 7.5, x + 11, self.height - y - 7.5)
            canvas.setFillColor(INK)
            canvas.drawString(x + 15, self.height - y - 10.5, name)


def picture_row(paper: Paper, row: Sequence[Shown], following: Sequence[Shown] | None, most_high: float) -> list[Flowable]:
    """A row of pictures of one height, and below what their colours mean, once for rows that share it."""
    aspects = [shown.picture.size_mm[0] / shown.picture.size_mm[1] for shown in row]
    high = min((CONTENT_WIDTH - GAP * (len(row) - 1)) / sum(aspects), most_high)
    panels = [Panel(paper, shown, high) for shown in row]
    table = Table([panels], [panel.width + GAP for panel in panels], hAlign="LEFT")
    table.setStyle(TableStyle([(f"{side}PADDING", (0, 0), (-1, -1), 0) for side in ("LEFT", "RIGHT", "TOP", "BOTTOM")]))
    story: list[Flowable] = [table]
    for scale in dict.fromkeys(shown.scale for shown in row if shown.scale):
        if scale not in [shown.scale for shown in following or ()]:
            story.append(ColorBar(paper, scale))
    key, next_key = (_key(shown) for shown in (row, following or ()))
    if key and key != next_key:
        story.append(Key(paper, list(key.items()), CONTENT_WIDTH))
    return [KeepTogether([*story, Spacer(0, 3)])]


def _key(row: Sequence[Shown]) -> dict[str, str]:
    """What the colours of the outlines in a row of pictures mean."""
    return {color: name for shown in row for color, name in shown.key.items()}


class ProfileChart(Flowable):
    """A number along the tract, from the pons (left end) to the cortex (right end): both sides, and the healthy as a band where known."""

    def __init__(self, paper: Paper, title: str, profiles: Sequence[Profile], width: float, height: float = 132.0) -> None:
        super().__init__()
        self.paper, self.title, self.profiles, self.width, self.height = paper, title, profiles, width, height

    def wrap(self, *_: float) -> tuple[float, float]:
        return self.width, self.height

    def _ends(self) -> tuple[float, float]:
        known = [value for one in self.profiles for value in (*one.values, *one.low, *one.high) if value is not None]
        low, high = (min(known), max(known)) if known else (0.0, 1.0)
        room = 0.08 * (high - low) or 0.1
        return max(low - room, 0.0), high + room

    def draw(self) -> None:
        canvas, words = self.canv, self.paper.words
        low, high = self._ends()
        left, bottom, wide, tall = 34.0, 24.0, self.width - 42.0, self.height - 44.0

        def at(node: float, value: float, count: int) -> tuple[float, float]:
            return left + wide * node / max(count - 1, 1), bottom + tall * (value - low) / (high - low)

        title = self.paper.paragraph(self.title, "strong")
        title.drawOn(canvas, 0, self.height - title.wrap(self.width, self.height)[1])
        for one in self.profiles:
            self._band(one, at)
        canvas.setStrokeColor(RULE)
        canvas.setLineWidth(0.5)
        canvas.setFont(REGULAR, 8)
        for value in _ticks(low, high):
            y = at(0, value, 2)[1]
            canvas.line(left, y, left + wide, y)
            canvas.setFillColor(SOFT)
            canvas.drawRightString(left - 4, y - 3, words(say("{value:.1f}", value=value)))
        canvas.setFillColor(SOFT)
        canvas.drawString(left, bottom - 11, words(say("pons")))
        canvas.drawRightString(left + wide, bottom - 11, words(say("cortex")))
        for one in self.profiles:
            self._curve(one, at)
        self._side_key(left, wide)

    def _side_key(self, left: float, wide: float) -> None:
        """Which line is which side, in the middle below."""
        canvas, names = self.canv, [self.paper.words(SIDES[one.side]) for one in self.profiles]
        widths = [28.0 + canvas.stringWidth(name, REGULAR, 8) for name in names]
        x = left + (wide - sum(widths)) / 2
        for one, name, width in zip(self.profiles, names, widths, strict=True):
            self._pen(one.side)
            canvas.line(x, 15.5, x + 15, 15.5)
            canvas.setFillColor(INK)
            canvas.drawString(x + 18, 13, name)
            x += width
        canvas.setDash()

    def _pen(self, side: str) -> None:
        self.canv.setStrokeColor(SIDE_COLORS[side])
        self.canv.setLineWidth(1.5)
        self.canv.setDash(*([] if side == "left" else [[4, 2]]))

    def _band(self, one: Profile, at: object) -> None:
        """The 5th to the 95th percentile of the healthy, of the nodes where both are known."""
        known = [node for node, pair in enumerate(zip(one.low, one.high, strict=True)) if None not in pair]
        if len(known) < 2:
            return
        path, count = self.canv.beginPath(), len(one.values)
        corners = [at(node, one.low[node], count) for node in known] + [at(node, one.high[node], count) for node in reversed(known)]
        path.moveTo(*corners[0])
        for corner in corners[1:]:
            path.lineTo(*corner)
        path.close()
        self.canv.setFillColor(BAND)
        self.canv.drawPath(path, stroke=0, fill=1)

    def _curve(self, one: Profile, at: object) -> None:
        self._pen(one.side)
        path, is_down, count = self.canv.beginPath(), False, len(one.values)
        for node, value in enumerate(one.values):
            if value is not None:
                (path.lineTo if is_down else path.moveTo)(*(round(part, 2) for part in at(node, value, count)))
            is_down = value is not None
        self.canv.drawPath(path, stroke=1, fill=0)
        self.canv.setDash()


def _ticks(low: float, high: float) -> list[float]:
    """Two to five round values between the ends."""
    step = next((one for one in (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 50.0) if (high - low) / one <= 5), 100.0)
    first = int(np.ceil(low / step - 1e-9))
    return [step * number for number in range(first, int(np.floor(high / step + 1e-9)) + 1)]
