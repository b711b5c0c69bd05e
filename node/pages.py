"""The report as pages: laid out once, as PDF; the picture pages are the same pages as pixels.

First who, the summary, what supports involvement of the upper motor neuron, the table of all markers and the protocol; then a page for each
marker that was measured, with its pictures; then quality, methods, populations, sources and limits. A study that was not analysed gets
pages too, which say so and why. Every text goes through the language of the document.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from reportlab.platypus import CondPageBreak, Flowable, HRFlowable, KeepTogether, LongTable, PageBreak, Spacer, Table, TableStyle

from analysis.outcome import MEASURED, Gap, Outcome, Plot, Profile
from analysis.report import LIMITS, Report, SeriesNote
from analysis.sentence import SIDES, result_of, title_of
from analysis.sequences import CAME, LIMITED, MISSING, UNUSED
from analysis.support import Line, Support
from analysis.volume import Image
from analysis.words import Name, joined, say
from node.charts import ProfileChart, picture_row
from node.explanations import explanation_of, sources_of
from node.follow_up_pages import follow_up_pages
from node.illustrations import Illustrator
from node.names import words
from node.paper import CONTENT_WIDTH, FILL, HEADLINE, INK, RULE, SOFT, WARM, Paper, date
from node.plots import PlotChart
from node.provenance import Provenance
from node.value_table import VERDICTS, by_name, marker_table
from node.wording import earlier_lines

PICTURES_MOST_HIGH, TWO_ROWS_MOST_HIGH, BESIDE_PROFILES_MOST_HIGH, OVERVIEW_MOST_HIGH = 196.0, 172.0, 158.0, 110.0
OVERVIEWS = 5  # in a row
QUALITY = "image_quality"
ORDER = (
    "precentral_gyrus", "motor_band", "cst_flair", "cst_diffusion", "callosum_diffusion", "motor_cortex_spectroscopy", "brainstem",
    "cervical_cord", "cord_compression", "brain_volumes", QUALITY,
)  # fmt: skip
ROWS_BESIDE_PICTURES = 14
PROFILES = {"cst_fa": say("Fractional anisotropy along the tract"), "cst_md": say("Mean diffusivity along the tract (10⁻³ mm²/s)")}
STATES = {CAME: ("●", INK), LIMITED: ("◐", WARM), UNUSED: ("○", WARM), MISSING: ("○", SOFT)}


def pages(report: Report, provenance: Provenance, images: Mapping[str, Image]) -> bytes:
    """The report as PDF. `images` are those that were measured, by role."""
    paper, illustrator = Paper(provenance), Illustrator(report, images)
    story = [*_first(paper, report), *follow_up_pages(paper, report.follow_up)]
    for outcome in in_order(report.outcomes):
        if outcome.outcome == MEASURED and outcome.marker != QUALITY:
            story += [PageBreak(), *_marker(paper, outcome, illustrator)]
    story += [PageBreak(), *_quality(paper, report, illustrator), *_methods(paper, report), *_end(paper, provenance)]
    return paper.pdf(story, HEADLINE)


def in_order(outcomes: Iterable[Outcome]) -> list[Outcome]:
    """First what can support involvement of the upper motor neuron, last what says nothing of the patient."""
    return sorted(outcomes, key=lambda one: ORDER.index(one.marker) if one.marker in ORDER else len(ORDER) - 1.5)


def _first(paper: Paper, report: Report) -> list[Flowable]:
    said = say("± is one standard error. Percentile: among healthy people of the patient's age and sex, with the range that holds it with "
               "a probability of 95 %. Left and right are the patient's. Levels of a tract: see its page.")  # fmt: skip
    table = [CondPageBreak(120), paper.paragraph(say("All markers"), "subheading"), *marker_table(paper, in_order(report.outcomes)),
             *([paper.paragraph(said, "caption")] if any(one.measurements for one in report.outcomes) else [])]  # fmt: skip
    return [
        paper.paragraph(HEADLINE, "title"),
        Spacer(0, 4),
        _who(paper, report),
        *_summary(paper, report),
        *_support(paper, report.support),
        *(table if report.outcomes else []),
        *_protocol(paper, report),
    ]


def _heading(paper: Paper, text: str) -> list[Flowable]:
    return [paper.paragraph(text, "heading")]


def _who(paper: Paper, report: Report) -> Flowable:
    who, age = paper.who, report.patient.age_years
    sex = joined([Name(who.sex or "–"), say("{age:.0f} years", age=age)]) if age is not None else Name(who.sex or "–")
    pairs = (
        (say("Name"), who.name), (say("Study date"), who.study_date), (say("Patient ID"), who.patient_id), (say("Study"), who.study),
        (say("Born"), who.birth_date), (say("Accession number"), who.accession), (say("Sex, age"), sex),
        (say("Institution"), who.institution),
    )  # fmt: skip
    cells = [[paper.paragraph(name, "soft"), paper.paragraph(value or "–", "cell")] for name, value in pairs]
    rows = [[*cells[number], *cells[number + 1]] for number in range(0, len(cells), 2)]
    rows.append([paper.paragraph(say("What was sent"), "soft"), paper.paragraph(_sent(report), "cell"), "", ""])
    table = Table(rows, (80, 177, 88, CONTENT_WIDTH - 345), spaceAfter=2)
    table.setStyle(TableStyle([
        ("BACKGROUND", (0, 0), (-1, -1), FILL), ("VALIGN", (0, 0), (-1, -1), "TOP"), ("SPAN", (1, -1), (-1, -1)),
        ("TOPPADDING", (0, 0), (-1, -1), 1.6), ("BOTTOMPADDING", (0, 0), (-1, -1), 2), ("LEFTPADDING", (0, 0), (-1, -1), 6),
        ("RIGHTPADDING", (0, 0), (-1, -1), 6),
    ]))  # fmt: skip
    return table


def _sent(report: Report) -> str:
    """What was sent, in one line: what was measured on, and how much else there was."""
    used, rest = [note for note in report.series if note.used], [note for note in report.series if not note.used]
    names = joined(_series_name(note) for note in used)
    if not used:
        return say("{count} series, none of which could be measured on", count=len(rest))
    return say("{names}; {rest} more series that were not measured on", names=names, rest=len(rest)) if rest else names


def _series_name(note: SeriesNote) -> str:
    role = words(note.role)
    return say("{role} ({description})", role=role, description=Name(note.description)) if note.description else role


def _summary(paper: Paper, report: Report) -> list[Flowable]:
    """What stands first: that nothing was analysed and why, then the sentences of the report."""
    story = _heading(paper, say("Summary"))
    if report.not_analysed:
        story.append(paper.bold(say("Not analysed:"), report.not_analysed))
    story += [paper.paragraph(sentence, "bullet", bullet="•") for sentence in report.summary]
    return [*story, *(paper.paragraph(line, "soft") for line in earlier_lines(report))]


def _support(paper: Paper, support: Support | None) -> list[Flowable]:
    """Which markers support involvement of the upper motor neuron, how strongly, and who published that."""
    if support is None or not any(line.is_assessed for line in support.lines):
        return []
    heads = (say("Upper motor neuron"), say("this study"), say("likelihood ratio (95 %)"), say("source"))
    rows = [[paper.paragraph(head, "soft") for head in heads], *(_support_row(paper, line) for line in support.lines)]
    table = Table(rows, (160, 112, 118, CONTENT_WIDTH - 390), spaceBefore=5, spaceAfter=2)
    table.setStyle(_rules(("LINEBELOW", (0, 0), (-1, 0), 0.6, RULE)))
    return [table]


def _support_row(paper: Paper, line: Line) -> list[Flowable]:
    mark, color = VERDICTS[line.verdict]
    sides = [SIDES[side] for side in line.sides]
    verdict = say("{verdict} ({sides})", verdict=line.verdict, sides=joined(sides)) if sides else line.verdict
    ratio = say("{value:.1f} ({low:.1f}–{high:.1f}) {against}", value=line.ratio.value, low=line.ratio.low, high=line.ratio.high,
                against=line.weight.against) if line.ratio else "–"  # fmt: skip
    return [paper.paragraph(line.weight.title, "cell"), paper.marked(mark, color, verdict), paper.paragraph(ratio, "cell"),
            paper.paragraph(Name(line.weight.source or "–"), "soft")]  # fmt: skip


def _rules(*more: tuple) -> TableStyle:
    return TableStyle([
        ("VALIGN", (0, 0), (-1, -1), "TOP"), ("TOPPADDING", (0, 0), (-1, -1), 1.4), ("BOTTOMPADDING", (0, 0), (-1, -1), 1.8),
        ("LEFTPADDING", (0, 0), (-1, -1), 2), ("RIGHTPADDING", (0, 0), (-1, -1), 4), *more,
    ])  # fmt: skip


def _protocol(paper: Paper, report: Report) -> list[Flowable]:
    """Which sequences the examination should have, which came, which were missing or limited."""
    heads = (say("Sequence"), say("what for"), say("in this study"))
    rows = [[paper.paragraph(head, "soft") for head in heads]]
    for row in report.sequences:
        mark, color = STATES[row.state]
        color = SOFT if row.sequence.is_optional else color
        rows.append([paper.paragraph(row.name, "cell"), paper.paragraph(row.sequence.why, "soft"), paper.marked(mark, color, row.words)])
    table = LongTable(rows, (150, 170, CONTENT_WIDTH - 320), repeatRows=1)
    table.setStyle(_rules(("LINEBELOW", (0, 0), (-1, -1), 0.4, RULE)))
    return [KeepTogether([*_heading(paper, say("Protocol: what an examination for suspected ALS should have")), table])]


def _marker(paper: Paper, outcome: Outcome, illustrator: Illustrator) -> list[Flowable]:
    """The page of a marker: what it is, its pictures, its profile, all its values, how it was measured and how sure that is."""
    said = explanation_of(outcome.marker)
    story: list[Flowable] = [paper.paragraph(title_of(outcome.marker), "title"), Spacer(0, 3), paper.paragraph(said.what),
                              paper.bold(say("Result:"), say("{result}.", result=result_of(outcome))), Spacer(0, 4)]  # fmt: skip
    rows = illustrator.rows(outcome)
    has_charts = bool(outcome.profiles or outcome.plots)
    most_high = BESIDE_PROFILES_MOST_HIGH if has_charts else TWO_ROWS_MOST_HIGH if len(rows) > 1 else PICTURES_MOST_HIGH
    for number, row in enumerate(rows):
        following = rows[number + 1] if number + 1 < len(rows) else None
        story += picture_row(paper, row, following, most_high)
    story += [*_profiles(paper, outcome.profiles), *_plots(paper, outcome.plots)]
    is_long = len(by_name([*outcome.measurements, *outcome.gaps])) > ROWS_BESIDE_PICTURES
    story += [Spacer(0, 2), *marker_table(paper, (outcome,), is_whole=not is_long)]
    if is_long:
        story += [CondPageBreak(400), paper.paragraph(say("{title}: all values", title=title_of(outcome.marker)), "title"), Spacer(0, 4),
                  *marker_table(paper, (outcome,), is_whole=True)]  # fmt: skip
    return [*story, *_notes(paper, outcome), paper.bold(say("How it was measured:"), said.how, "small"), Spacer(0, 2),
            paper.bold(say("How sure it is:"), said.trust, "small")]  # fmt: skip


def _notes(paper: Paper, outcome: Outcome) -> list[Flowable]:
    """What the marker wants its reader to know, and why numbers are missing: each reason once."""
    reasons: dict[str, list[Gap]] = {}
    for gap in outcome.gaps:
        reasons.setdefault(gap.reason, []).append(gap)
    notes = [paper.paragraph(note, "bullet", bullet="•") for note in outcome.notes]
    return [*notes, *(paper.paragraph(_gap_line(gaps), "soft") for gaps in reasons.values()), Spacer(0, 3)]


def _gap_line(gaps: Sequence[Gap]) -> str:
    """What could not be measured for one reason: each name once."""
    sides: dict[tuple[str, str | None], list[str]] = {}
    for gap in gaps:
        sides.setdefault((gap.name, gap.level), []).append(gap.side or "")
    names = [joined([words(name), *([words(level)] if level else []), *(held if len(held) == 1 and held[0] else [])], " ")
             for (name, level), held in sides.items()]  # fmt: skip
    return say("{names}: not measured: {reason}", names=joined(names), reason=gaps[0].reason)


def _profiles(paper: Paper, profiles: Sequence[Profile]) -> list[Flowable]:
    names = [name for name in PROFILES if any(one.name == name for one in profiles)]
    if not names:
        return []
    width = (CONTENT_WIDTH - 10) / 2
    charts = [ProfileChart(paper, PROFILES[name], [one for one in profiles if one.name == name], width) for name in names]
    populations = dict.fromkeys(one.population for one in profiles if one.population)
    band = say("Grey band: 5th to 95th percentile of {populations}.", populations=joined(populations, "; ")) if populations else \
        say("No band of healthy people is drawn: no reference population fits this scanner and protocol.")  # fmt: skip
    table = Table([charts], [width + 10] * len(charts), hAlign="LEFT")
    table.setStyle(TableStyle([(f"{side}PADDING", (0, 0), (-1, -1), 0) for side in ("LEFT", "RIGHT", "TOP", "BOTTOM")]))
    return [KeepTogether([table, paper.paragraph(band, "caption")])]


def _plots(paper: Paper, plots: Sequence[Plot]) -> list[Flowable]:
    """Two in a row, one alone over the whole width."""
    if not plots:
        return []
    width = CONTENT_WIDTH if len(plots) == 1 else (CONTENT_WIDTH - 10) / 2
    charts = [PlotChart(paper, plot, width) for plot in plots]
    rows = [[*charts[start : start + 2], ""][:2] for start in range(0, len(charts), 2)] if len(charts) > 1 else [charts]
    table = Table(rows, [width + 10] * len(rows[0]), hAlign="LEFT")
    table.setStyle(TableStyle([(f"{side}PADDING", (0, 0), (-1, -1), 0) for side in ("LEFT", "RIGHT", "TOP", "BOTTOM")]))
    return [table, Spacer(0, 3)]


def _quality(paper: Paper, report: Report, illustrator: Illustrator) -> list[Flowable]:
    """Every series: what it was taken for and why, and how good it is; with a look at those that were measured on."""
    story: list[Flowable] = [paper.paragraph(say("Series and image quality"), "title"), Spacer(0, 4)]
    outcome = next((one for one in report.outcomes if one.marker == QUALITY), None)
    if outcome and outcome.outcome == MEASURED:
        story += marker_table(paper, (outcome,), is_whole=True)
    roles = dict.fromkeys(note.role for note in report.series if note.used and illustrator.grounds.holds(note.role))
    seen = [illustrator.grounds.overview(role) for role in roles]
    for start in range(0, len(seen), OVERVIEWS):
        story += picture_row(paper, seen[start : start + OVERVIEWS], None, OVERVIEW_MOST_HIGH)
    rows = [[paper.paragraph(head, "soft") for head in (say("Series"), say("taken for"), say("why"))]]
    for number, note in enumerate(report.series, start=1):
        name = Name(note.description or f"{number}")
        role = words(note.role) if note.used else say("{role}, not used", role=words(note.role))
        said = [note.why, *note.problems]
        rows.append([paper.paragraph(name, "cell"), paper.paragraph(role, "cell"), paper.paragraph(joined(said, "; "), "soft")])
    table = LongTable(rows, (130, 90, CONTENT_WIDTH - 220), repeatRows=1)
    table.setStyle(_rules(("LINEBELOW", (0, 0), (-1, -1), 0.4, RULE)))
    return [*story, table, *(paper.paragraph(problem, "soft") for problem in report.problems)]


def _methods(paper: Paper, report: Report) -> list[Flowable]:
    """How each marker measures, with its version; the populations; the literature."""
    story = _heading(paper, say("Methods"))
    for outcome in in_order(report.outcomes):
        title = say("{title}, version {version}:", title=title_of(outcome.marker), version=outcome.version)
        story.append(paper.bold(title, explanation_of(outcome.marker).how, "small"))
    references = {one.reference.population: one.reference for outcome in report.outcomes for one in outcome.measurements if one.reference}
    story += _heading(paper, say("Reference populations"))
    said = [joined([one.population, Name(f"n = {one.n}"), Name(one.source)], "; ") for one in references.values()]
    story += [paper.paragraph(line, "small") for line in said or [say("No value was compared with a population.")]]
    story += _heading(paper, say("Sources"))
    sources = {outcome.marker: sources_of(outcome.marker) for outcome in in_order(report.outcomes)}
    return story + [paper.bold(say("{title}:", title=title_of(marker)), Name(said), "small") for marker, said in sources.items() if said]


def _end(paper: Paper, provenance: Provenance) -> list[Flowable]:
    made = say("Betz {version}, {station}; made {date}, {time}.", version=provenance.version, station=Name(provenance.ae_title),
               date=date(provenance.made_at.strftime("%Y%m%d")), time=Name(provenance.made_at.strftime("%H:%M")))  # fmt: skip
    limits = [paper.paragraph(limit, "small") for limit in LIMITS]
    rule = HRFlowable(width="100%", color=RULE, spaceBefore=6, spaceAfter=4)
    return [KeepTogether([*_heading(paper, say("Limits of use")), *limits, rule, paper.paragraph(made, "soft")])]
