"""The pages on change: what changed since the earlier examination, the two images side by side on the same slices, values over time.

They stand before the pages of the markers. The table lists what a reader follows, and whatever changed by more than noise; how many other
values stayed within it is said in a line, and nothing is left out silently.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from reportlab.platypus import CondPageBreak, Flowable, LongTable, PageBreak, Spacer, Table, TableStyle

from analysis.change import Change
from analysis.follow_up import FollowUp
from analysis.sentence import title_of
from analysis.steps.halfway import Halfway
from analysis.volume import Volume
from analysis.words import Name, Words, joined, say
from node.charts import picture_row
from node.concepts import decimals, unit_words
from node.follow_up_words import LESION_WORDS, days_words, not_compared_lines, sentences_of, shown_changes, signed_words, what_words
from node.illustrations import PLANE_NAMES, Shown
from node.paper import CONTENT_WIDTH, INK, RULE, SOFT, WARM, Paper
from node.pictures import (
    AXIAL,
    SAGITTAL,
    Box,
    Line,
    Picture,
    Plane,
    box_around,
    colored,
    cropped,
    outline,
    section,
    take,
    voxels_lps,
    window_of,
)
from node.trends import TrendChart, columns_of
from node.wording import day_words

MARKS = {"more than": ("●", WARM), "within": ("○", INK), "below": ("–", SOFT)}
SHORT = {"more than": say("more than noise and ageing"), "within": say("within noise and ageing"), "below": say("below what can be seen")}
LESION_COLORS = {"new": "#d55e00", "grown": "#e69f00", "shrunk": "#56b4e9", "gone": "#0072b2"}
DIFFERENCE = 0.35  # of the brightness of white matter: what is shown in full colour
MOST_HIGH, MOST_LESIONS_SHOWN = 175.0, 2


def follow_up_pages(paper: Paper, found: FollowUp | None) -> list[Flowable]:
    """The pages; none where there is no earlier examination."""
    if found is None:
        return []
    story: list[Flowable] = [PageBreak(), paper.paragraph(_title(found), "title"), Spacer(0, 3), paper.paragraph(_which(found))]
    story += [paper.paragraph(sentence, "bullet", bullet="•") for sentence in sentences_of(found)]
    story += [*_table(paper, found), *(paper.paragraph(note, "soft") for note in found.notes), Spacer(0, 4)]
    story += [*_trends(paper, found), *_twins(paper, found)]
    return story


def _title(found: FollowUp) -> Words:
    if found.since is None:
        return say("Earlier examinations")
    return say("Change since {day}", day=day_words(found.since.day))


def _which(found: FollowUp) -> Words:
    """Which examinations there are."""
    days = joined(say("{day} ({ago} before)", day=day_words(one.day), ago=days_words(one.days_before)) for one in found.earlier)
    return say("Earlier examinations: {days}.", days=days)


def _table(paper: Paper, found: FollowUp) -> list[Flowable]:
    """One row for each value that is followed, or that changed."""
    shown = shown_changes(found)
    if not shown:
        return []
    heads = (say("value"), say("then"), say("now"), say("change"), say("per year"), say("index"), say("verdict"))
    rows = [[paper.paragraph(head, "soft") for head in heads], *(_row(paper, one) for one in shown)]
    table = LongTable(rows, (168, 40, 40, 48, 44, 30, CONTENT_WIDTH - 370), repeatRows=1, spaceBefore=4, spaceAfter=2)
    table.setStyle(TableStyle([
        ("VALIGN", (0, 0), (-1, -1), "TOP"), ("TOPPADDING", (0, 0), (-1, -1), 1.2), ("BOTTOMPADDING", (0, 0), (-1, -1), 1.6),
        ("LEFTPADDING", (0, 0), (-1, -1), 2), ("RIGHTPADDING", (0, 0), (-1, -1), 3), ("LINEBELOW", (0, 0), (-1, 0), 0.6, RULE),
    ]))  # fmt: skip
    said = say("Index: reliable change index, the change less healthy ageing, over the noise of two such measurements; noise alone lies "
               "beyond ±1.96 in 5 of 100 comparisons. Other values that were compared and stayed within noise: {rest}.",
               rest=len(found.seen) - len(shown))  # fmt: skip
    return [table, paper.paragraph(said, "caption"), *_marks(paper, shown),
            *(paper.paragraph(line, "soft") for line in not_compared_lines(found))]


def _row(paper: Paper, one: Change) -> list[Flowable]:
    unit = unit_words(one.unit)
    what = say("{what} ({unit})", what=what_words(one), unit=unit) if unit else what_words(one)
    percent = say("{percent:+.1f} %", percent=one.percent) if one.percent is not None else signed_words(one.change, one.now)
    yearly = "–" if one.per_year is None else signed_words(one.per_year, one.now)
    mark, color = MARKS[one.verdict]
    places = decimals(max(abs(one.then), abs(one.now)))
    then, now = (say("{value:.{places}f}", value=value, places=places) for value in (one.then, one.now))
    cells = (what, then, now, percent, yearly, say("{rci:+.1f}", rci=one.rci))
    return [*(paper.paragraph(cell, "cell") for cell in cells), paper.marked(mark, color, SHORT[one.verdict])]


def _marks(paper: Paper, shown: Sequence[Change]) -> list[Flowable]:
    """What makes comparisons doubtful, each once, with the markers that it holds for."""
    marks: dict[Words, list[str]] = {}
    for one in shown:
        if one.mark is not None and title_of(one.marker) not in marks.setdefault(one.mark, []):
            marks[one.mark].append(title_of(one.marker))
    return [paper.paragraph(say("{names}: {mark}.", names=joined(names), mark=mark), "soft") for mark, names in marks.items()]


def _trends(paper: Paper, found: FollowUp) -> list[Flowable]:
    if not found.trends:
        return []
    width = (CONTENT_WIDTH - 10) / 2
    rows = columns_of([TrendChart(paper, trend, found.treatments, width) for trend in found.trends])
    table = Table(rows, [width + 10] * 2, hAlign="LEFT")
    table.setStyle(TableStyle([(f"{side}PADDING", (0, 0), (-1, -1), 0) for side in ("LEFT", "RIGHT", "TOP", "BOTTOM")]))
    populations = joined(dict.fromkeys(Name(one.population) for one in found.trends if one.population), "; ")
    band = say("Bars: one standard error. No reference population fits, so no band is drawn.")
    if populations:
        band = say("Bars: one standard error. Grey band: 5th to 95th percentile of {populations}.", populations=populations)
    given = [paper.paragraph(say("Dashed lines: treatments as the site has recorded them."), "caption")] if found.treatments else []
    return [CondPageBreak(200), paper.paragraph(say("Over time"), "subheading"), table, paper.paragraph(band, "caption"), *given]


def _twins(paper: Paper, found: FollowUp) -> list[Flowable]:
    """Then, now and the difference, on the same slices half-way between the two."""
    rows = [*_t1_rows(found), *_lesion_rows(found)]
    if not rows:
        return []
    said = say("Both images on one grid half-way between the two positions, equally bright. Difference: red where the present image is "
               "brighter, blue where it is darker.")  # fmt: skip
    head = [paper.paragraph(say("Side by side"), "subheading")]
    following = [*rows[1:], None]
    drawn = [one for row, after in zip(rows, following, strict=True) for one in picture_row(paper, row, after, MOST_HIGH)]
    return [CondPageBreak(240), *head, *drawn, paper.paragraph(said, "caption")]


def _t1_rows(found: FollowUp) -> Iterator[list[Shown]]:
    if found.t1 is None:
        return
    points = voxels_lps(cropped(found.t1.inside > 0.75, found.t1.first.lps_from_index))
    low, high = points.min(axis=0), points.max(axis=0)
    middle = (low + high) / 2
    yield _row_of(found, found.t1, say("T1"), AXIAL, float(low[2] + 0.78 * (high[2] - low[2])), box_around(points, AXIAL, 4.0))
    yield _row_of(found, found.t1, say("T1"), SAGITTAL, float(middle[0]), box_around(points, SAGITTAL, 4.0))


def _lesion_rows(found: FollowUp) -> Iterator[list[Shown]]:
    """The largest lesions that changed; where none did, nothing."""
    if found.lesions is None:
        return
    half = found.lesions.half
    changed = [one for one in found.lesions.found if one.kind != "same"]
    points = voxels_lps(cropped(half.inside > 0.75, half.first.lps_from_index))
    for one in sorted(changed, key=lambda one: -abs(one.now_ml - one.then_ml))[:MOST_LESIONS_SHOWN]:
        lines = _outlines(found, AXIAL, float(one.middle_lps[2]), box := box_around(points, AXIAL, 4.0))
        yield _row_of(found, half, say("FLAIR"), AXIAL, float(one.middle_lps[2]), box, lines)


def _outlines(found: FollowUp, plane: Plane, at_mm: float, box: Box) -> dict[str, list[Line]]:
    """The outlines of changed lesions on a plane, by kind."""
    grid = found.lesions.half.first
    lines: dict[str, list[Line]] = {}
    for kind, color in LESION_COLORS.items():
        held = np.zeros(grid.array.shape, bool)
        for one in found.lesions.found:
            if one.kind == kind:
                held[tuple(one.voxels.T)] = True
        part = cropped(held, grid.lps_from_index)
        drawn = outline(part, plane, at_mm, box) if part else []
        if drawn:
            lines[kind] = [Line(points, color) for points in drawn]
    return lines


def _row_of(
    found: FollowUp, half: Halfway, name: Words, plane: Plane, at_mm: float, box: Box, lines: dict[str, list[Line]] | None = None
) -> list[Shown]:
    """Three pictures of one plane: then, now, difference."""
    window = window_of(half.first, half.inside > 0.75)
    every, key = [line for one in (lines or {}).values() for line in one], {LESION_COLORS[kind]: LESION_WORDS[kind] for kind in lines or {}}
    shown = []
    for image, day in ((half.first, found.since.day), (half.second, found.day)):
        picture = take(image, plane, at_mm, box, window, every if image is half.second else ())
        caption = say("{image}, {plane}, {day}", image=name, plane=PLANE_NAMES[plane.name], day=day_words(day))
        shown.append(Shown(picture, caption, None, key if image is half.second else {}))
    return [*shown, Shown(_difference(half, plane, at_mm, box), say("difference"), None, {})]


def _difference(half: Halfway, plane: Plane, at_mm: float, box: Box) -> Picture:
    """Now less then, inside the brain."""
    inside = half.first.with_array(half.inside.astype(np.float32))
    less = half.second.array.astype(np.float32) - half.first.array
    white = float(np.percentile(half.first.array[half.inside > 0.75], 90))
    values = section(Volume(less, half.first.lps_from_index), plane, at_mm, box)
    values = np.where(section(inside, plane, at_mm, box) > 0.5, values, 0.0)
    pixels = colored(values, (-DIFFERENCE * white, DIFFERENCE * white), "RdBu_r")
    return Picture(pixels, take(half.first, plane, at_mm, box, (0.0, 1.0)).pixel_mm, plane, at_mm)
