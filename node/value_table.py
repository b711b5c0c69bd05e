"""The table of values on the pages: a block per marker with its findings, its numbers by side, and where they stand in a population.

Nothing is left out silently: a number that a marker could not give stands in its row as not measured, a marker that gave none with its
reason. Decimal points stand under one another within a block.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from xml.sax.saxutils import escape

from reportlab.lib.colors import Color
from reportlab.platypus import Flowable, LongTable, Paragraph, TableStyle

from analysis.outcome import FAILED, MEASURED, Finding, Gap, Measurement, Outcome
from analysis.sentence import title_of
from analysis.words import joined, say
from node.concepts import level_words, unit_words
from node.names import words
from node.paper import CONTENT_WIDTH, FILL, INK, REGULAR, RULE, SOFT, STYLES, TITLE, WARM, Paper
from node.wording import number_words

QUALITY = "image_quality"
UNSPLIT = 12  # rows
MOST_LEVELS = 5
COLUMNS = (CONTENT_WIDTH - 362.0, 54.0, 44.0, 48.0, 62.0, 44.0, 48.0, 62.0)
UNIT, FIRST, SECOND = 1, 2, 5
SPAN = len(COLUMNS) - 1
FIGURE_SPACE, POINT_SPACE = "\u2007", "\u2008"  # as wide as a digit, as a full stop
VERDICTS = {"present": ("●", WARM), "absent": ("○", INK), "indeterminate": ("◐", INK), "not assessed": ("–", SOFT)}

Cells = dict[str, Measurement | Gap]


def marker_table(paper: Paper, outcomes: Sequence[Outcome], is_whole: bool = False) -> list[Flowable]:
    """The blocks of these markers; nothing where there are none. `is_whole`: every level; else what stands for the marker (the whole tract
    where it was measured)."""
    table = _Table(paper)
    for outcome in outcomes:
        table.add_block(outcome, is_whole)
    return [table.flowable()] if table.rows else []


class _Table:
    """Rows and how they look."""

    def __init__(self, paper: Paper) -> None:
        self.paper, self.rows = paper, []
        self.style: list[tuple] = [
            ("FONT", (0, 0), (-1, -1), REGULAR, 8), ("TEXTCOLOR", (0, 0), (-1, -1), INK), ("VALIGN", (0, 0), (-1, -1), "TOP"),
            ("LEFTPADDING", (0, 0), (-1, -1), 2), ("RIGHTPADDING", (0, 0), (-1, -1), 2), ("TOPPADDING", (0, 0), (-1, -1), 0.9),
            ("BOTTOMPADDING", (0, 0), (-1, -1), 1.4), ("LEADING", (0, 0), (-1, -1), 10.2),
            *(("ALIGN", (column, 0), (column, -1), "RIGHT") for column in (FIRST, SECOND)),
        ]  # fmt: skip

    def flowable(self) -> Flowable:
        return LongTable(self.rows, COLUMNS, style=TableStyle(self.style), spaceBefore=2, spaceAfter=6)

    def _row(self, *cells: object) -> int:
        self.rows.append([*cells, *[""] * (len(COLUMNS) - len(cells))])
        return len(self.rows) - 1

    def _spanned(self, flowable: Flowable, first: int = 0) -> int:
        row = self._row(*[""] * first, flowable)
        self.style.append(("SPAN", (first, row), (SPAN, row)))
        return row

    def add_block(self, outcome: Outcome, is_whole: bool) -> None:
        """One marker: its title, its findings, its numbers, or why there are none."""
        start = self._heading(outcome, is_whole)
        for name, findings in groupby(outcome.findings, key=lambda one: one.name):
            line = quality_line if name == QUALITY else finding_line
            self._spanned(line(self.paper, list(findings)))
        if outcome.outcome != MEASURED:
            failed = say("failed: {reason}", reason=outcome.reason)
            reason = failed if outcome.outcome == FAILED else say("not measurable: {reason}", reason=outcome.reason)
            self._spanned(self.paper.paragraph(reason, "soft"))
        if is_whole or outcome.marker != QUALITY:
            self._numbers(outcome, is_whole)
        # a block stays together where it can: without its heading, and its heading without it, it is of no use
        rows = len(self.rows) - start
        self.style.append(("NOSPLIT", (0, start), (-1, start + (rows if rows <= UNSPLIT else 3) - 1)))

    def _heading(self, outcome: Outcome, is_whole: bool) -> int:
        sided = any(one.side for one in (*outcome.measurements, *outcome.gaps))
        cells = [self.paper.paragraph(title_of(outcome.marker), "strong")]
        if outcome.outcome == MEASURED:
            cells.append("")
            for name in (say("left"), say("right")) if sided else (say("value"),):
                cells += [self.paper.paragraph(name, "soft"), "", self.paper.paragraph(say("percentile"), "soft")]
        row = self._row(*cells)
        self.style += [("BACKGROUND", (0, row), (-1, row), FILL), ("LINEABOVE", (0, row), (-1, row), 0.6, RULE),
                       ("SPAN", (FIRST, row), (FIRST + 1, row)), ("SPAN", (SECOND, row), (SECOND + 1, row))]  # fmt: skip
        self.style.append(("SPAN", (0, row), (FIRST - 1, row)))
        return row

    def _numbers(self, outcome: Outcome, is_whole: bool) -> None:
        held = sorted((*outcome.measurements, *outcome.gaps), key=lambda one: one.level not in (None, "whole"))
        shown = by_name(one for one in held if is_whole or _stands_for(one, outcome))
        places = max((_places(self._number(one)[0]) for cells in shown.values() for one in cells.values() if isinstance(one, Measurement)),
                     default=0)  # fmt: skip
        for (name, level), cells in shown.items():
            self._number_row(name, level, cells, places)

    def _number_row(self, name: str, level: str | None, cells: Cells, places: int) -> None:
        title = self.paper.language(joined([words(name), level_words(level)] if level else [words(name)]))
        row = self._row(self.paper.paragraph(title[:1].upper() + title[1:], "cell"))
        unit = next((unit_words(one.unit) for one in cells.values() if isinstance(one, Measurement)), "")
        self.rows[row][UNIT] = self.paper.paragraph(unit, "soft")
        for column, side in ((FIRST, "left"), (SECOND, "right")):
            if side in cells:
                self._fill(row, column, cells[side], places)
        if "" in cells:
            self._fill(row, FIRST, cells[""], places)

    def _fill(self, row: int, column: int, one: Measurement | Gap, places: int) -> None:
        if isinstance(one, Gap):
            self.rows[row][column] = self.paper.paragraph(say("not measured"), "soft")
            self.style.append(("SPAN", (column, row), (column + 2, row)))
            return
        value, error = self._number(one)
        self.rows[row][column : column + 3] = [padded(value, places), error, standing(self.paper, one)]

    def _number(self, one: Measurement) -> tuple[str, str]:
        """The value, and its error with its sign."""
        value, _, error = self.paper.words(number_words(one)).partition(" ± ")
        return value, f"± {error}" if error else ""


def by_name(found: Iterable[Measurement | Gap]) -> dict[tuple[str, str | None], Cells]:
    """What belongs in one row, by name and level; in it, by side ("" for none)."""
    rows: dict[tuple[str, str | None], Cells] = {}
    for one in found:
        rows.setdefault((one.name, one.level), {}).setdefault(one.side or "", one)
    return rows


def _stands_for(one: Measurement | Gap, outcome: Outcome) -> bool:
    """Whether it is in the short table: the whole of a structure, or its levels where the marker knows no whole; of more levels than a
    reader takes in, those of the first quantity alone."""
    held = [other for other in (*outcome.measurements, *outcome.gaps) if other.name == one.name]
    whole = any(isinstance(other, Measurement) and other.level in (None, "whole") for other in held)
    if whole:
        return one.level in (None, "whole")
    first = (*outcome.measurements, *outcome.gaps)[0].name
    return one.name == first or len({other.level for other in held}) <= MOST_LEVELS


def _places(value: str) -> int:
    """Digits after the decimal point or comma."""
    return len(value) - 1 - max(value.find("."), value.find(",")) if max(value.find("."), value.find(",")) >= 0 else 0


def padded(value: str, places: int) -> str:
    """A number with spaces behind it, so that in a column that ends at the right the decimal points stand under one another."""
    mine = _places(value)
    return value + (POINT_SPACE if places and not mine else "") + FIGURE_SPACE * (places - mine)


def standing(paper: Paper, one: Measurement) -> Paragraph:
    """The percentile and the range that holds it, or that there is no reference."""
    reference = one.reference
    if reference is None:
        return paper.paragraph(say("no reference"), "soft")
    said = say("{percentile:.0f} ({low:.0f}–{high:.0f})", percentile=reference.percentile, low=reference.percentile_low,
               high=reference.percentile_high)  # fmt: skip
    return paper.paragraph(said, "cell")


def finding_line(paper: Paper, findings: Sequence[Finding]) -> Paragraph:
    """A finding with its verdict by side or series: a mark and a word, and the reason where there is one."""
    name, parts = escape(paper.words(findings[0].concept.meaning)), []
    alike: dict[tuple, list[Finding]] = {}
    for one in findings:
        alike.setdefault((one.value, one.grade, one.reason), []).append(one)
    for same in alike.values():
        one = same[0]
        mark, color = VERDICTS[one.value]
        where = joined([words(part) for each in same for part in (each.side, each.level) if part])
        verdict = joined([one.value, say("grade {grade}", grade=one.grade)]) if one.grade is not None else one.value
        said = escape(paper.words(joined([where, verdict], " ") if where else verdict))
        reason = f' <font color="{_code(SOFT)}">({escape(paper.words(one.reason))})</font>' if one.reason else ""
        parts.append(f'<font color="{_code(color)}">{mark} <b>{said}</b></font>{reason}')
    accuracy = dict.fromkeys(one.accuracy for one in findings if one.accuracy and one.value != "not assessed")
    known = "".join(f' <font color="{_code(SOFT)}">[{escape(paper.words(one.words))}]</font>' for one in accuracy)
    return Paragraph(f'<font color="{_code(TITLE)}">{name}:</font> {"; ".join(parts)}{known}', STYLES["cell"])


def quality_line(paper: Paper, findings: Sequence[Finding]) -> Paragraph:
    """The quality of each series: what limits it, or that it suffices. `present` is here: limited quality is present."""
    said = []
    for one in findings:
        series = words(one.level or "")
        if one.value == "absent":
            said.append(escape(paper.words(say("{series}: sufficient", series=series))))
        else:
            limited = one.value == "present"
            text = say("{series}: limited, {reason}", series=series, reason=one.reason) if limited else \
                say("{series}: {verdict}, {reason}", series=series, verdict=one.value, reason=one.reason)  # fmt: skip
            said.append(f'<font color="{_code(WARM)}">{escape(paper.words(text))}</font>')
    return Paragraph("; ".join(said), STYLES["cell"])


def _code(color: Color) -> str:
    return color.hexval().replace("0x", "#")
