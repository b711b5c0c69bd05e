"""The sentences of the readable results: what was measured, and what was not and why.

Each is made with `say`, so that a document can be in another language; what is as wide as its words (a table, broken lines) is made of
words that are in that language already.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable

from analysis.earlier import Earlier
from analysis.outcome import FAILED, MEASURED, Finding, Gap, Measurement, Outcome, Reference
from analysis.report import Report, SeriesNote
from analysis.support import line_words, together_words
from analysis.words import Name, Words, joined, say
from node.concepts import decimals, level_words, structure_words, unit_words
from node.names import words

LINE_WIDTH = 84
NEWLINE = "\r\n"  # what UT knows (PS3.5 6.1.3)

Translate = Callable[[str], str]


def number_words(measurement: Measurement) -> str:
    """`0.58 ± 0.02`."""
    is_whole = measurement.uncertainty is None and float(measurement.value).is_integer()  # a score or a count
    places = 0 if is_whole else decimals(measurement.value)
    value = say("{value:.{places}f}", value=measurement.value, places=places)
    if measurement.uncertainty is None:
        return value
    return say("{value} ± {error}", value=value, error=_no_less(measurement.uncertainty, places))


def value_words(measurement: Measurement) -> str:
    """`0.58 ± 0.02`, with the unit."""
    unit = unit_words(measurement.unit)
    return joined([number_words(measurement), unit], " ") if unit else number_words(measurement)


def _no_less(error: float, places: int) -> str:
    """An error is never rounded to nothing."""
    shown = say("{error:.{places}f}", error=error, places=places)
    return shown if error == 0 or float(shown) > 0 else say("{error:.1g}", error=error)


def standing_words(measurement: Measurement) -> str:
    """Where the value stands in its population; empty where there is none."""
    reference = measurement.reference
    return "" if reference is None else say("z {z:+.1f}, percentile {percentile:.0f}", z=reference.z, percentile=reference.percentile)


def population_words(reference: Reference) -> Words:
    """Which people, how many, and how sure the percentile is."""
    return say("{population}; n = {n}; the percentile lies between {low:.0f} and {high:.0f} with a probability of 95 %",
               population=reference.population, n=reference.n, low=reference.percentile_low, high=reference.percentile_high)  # fmt: skip


def measurement_line(measurement: Measurement) -> str:
    """One measurement on one line."""
    standing = standing_words(measurement) or say("no reference: {reason}", reason=measurement.no_reference)
    where = structure_words(measurement.site, measurement.side, measurement.level)
    name, value = words(measurement.name), value_words(measurement)
    return say("{where}: {name} {value} ({standing})", where=where, name=name, value=value, standing=standing)


def finding_line(finding: Finding) -> str:
    where = joined(_present(finding.concept.meaning, finding.side, finding.level and level_words(finding.level)))
    verdict = finding.value if finding.grade is None else joined([finding.value, say("grade {grade}", grade=finding.grade)])
    said = _present(finding.reason, finding.accuracy.words if finding.accuracy and finding.value != "not assessed" else None)
    if not said:
        return say("{where}: {verdict}", where=where, verdict=verdict)
    return say("{where}: {verdict} ({reason})", where=where, verdict=verdict, reason=joined(said, "; "))


def _present(*parts: str | None) -> list[str]:
    return [part for part in parts if part]


def table(measurements: Iterable[Measurement], translate: Translate = str) -> str:
    """A table for a fixed-width font: a line per name and level, left beside right; what has no side stands below."""
    rows: dict[tuple[str, str], dict[str, str]] = {}
    for one in measurements:
        rows.setdefault((_row_name(one, translate), translate(unit_words(one.unit))), {})[one.side or ""] = translate(_cell(one))
    sided = [[name, cells.get("left", ""), cells.get("right", ""), unit] for (name, unit), cells in rows.items() if "" not in cells]
    single = [[name, cells[""], unit] for (name, unit), cells in rows.items() if "" in cells]
    heads = [["", translate("left"), translate("right"), ""]]
    return NEWLINE.join([*(_aligned([*heads, *sided]) if sided else []), *_aligned(single)])


def _aligned(lines: list[list[str]]) -> list[str]:
    widths = [max(len(cell) for cell in column) for column in zip(*lines, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]


def _row_name(one: Measurement, translate: Translate) -> str:
    name = translate(joined(_present(words(one.name), one.level and level_words(one.level))))
    return name[:1].upper() + name[1:]


def _cell(one: Measurement) -> str:
    number = number_words(one)
    return say("{number} (z {z:+.1f})", number=number, z=one.reference.z) if one.reference else number


def wrapped(sentence: str) -> str:
    """A sentence in lines that fit a viewer's window: some viewers do not break the lines of a finding."""
    return NEWLINE.join(textwrap.wrap(sentence, LINE_WIDTH, subsequent_indent="  "))


def reference_lines(measurements: Iterable[Measurement]) -> list[str]:
    """Which populations were compared with, and why none was where none was; each once."""
    found: dict[str, list[str]] = {}
    for one in measurements:
        reference = one.reference
        population = say("Reference: {population} (n = {n})", population=reference.population, n=reference.n) if reference else None
        found.setdefault(population or say("No reference: {reason}", reason=one.no_reference), []).append(words(one.name))
    return _with_names(found)


def method_lines(measurements: Iterable[Measurement]) -> list[str]:
    found: dict[str, list[str]] = {}
    for one in measurements:
        if one.method:
            found.setdefault(say("Method: {method}", method=one.method), []).append(words(one.name))
    return _with_names(found)


def _with_names(found: dict[str, list[str]]) -> list[str]:
    return [say("{said} — {names}", said=said, names=joined(dict.fromkeys(names))) for said, names in found.items()]


def gap_line(gap: Gap) -> str:
    where = joined(_present(words(gap.name), gap.side, gap.level and level_words(gap.level)))
    return say("{where}: not measured: {reason}", where=where, reason=gap.reason)


def outcome_line(outcome: Outcome) -> str:
    """Why a marker gave nothing."""
    marker, reason = words(outcome.marker), outcome.reason
    if outcome.outcome == FAILED:
        return say("{marker}: failed: {reason}", marker=marker, reason=reason)
    return say("{marker}: not measurable: {reason}", marker=marker, reason=reason)


def note_lines(outcome: Outcome) -> list[str]:
    """What a marker wants its reader to know."""
    return [say("{marker}: {note}", marker=words(outcome.marker), note=note) for note in outcome.notes]


def not_assessed_lines(report: Report) -> list[str]:
    """Everything that the reader might look for and that is not there, with the reason."""
    lines = not_analysed_lines(report)
    for outcome in report.outcomes:
        lines += [outcome_line(outcome)] if outcome.outcome != MEASURED else [gap_line(gap) for gap in outcome.gaps]
    return lines


def not_analysed_lines(report: Report) -> list[str]:
    """That no marker could say anything, and why; none where one could."""
    return [say("Not analysed: {reason}", reason=report.not_analysed)] if report.not_analysed else []


def series_line(number: int, note: SeriesNote) -> str:
    """What a series is for, and what is wrong with it."""
    series = say("Series {number}", number=number)
    if note.description:
        series = say("Series {number} ({description})", number=number, description=Name(note.description))
    said = {"series": series, "role": words(note.role), "why": note.why}
    line = say("{series}: {role}, measured: {why}.", **said) if note.used else say("{series}: {role}, not used: {why}.", **said)
    return joined([line, say("Problems: {problems}.", problems=joined(note.problems, "; "))], " ") if note.problems else line


def sequence_lines(report: Report) -> list[Words]:
    """Which of the sequences that an examination should have came, and which did not."""
    return [say("{sequence}: {state}", sequence=row.name, state=row.words) for row in report.sequences]


def support_lines(report: Report) -> list[Words]:
    """What each finding weighs, with its source, and the range of all of them together."""
    if report.support is None:
        return []
    lines = [line_words(line) for line in report.support.lines]
    return [*lines, together_words(report.support.together)] if report.support.together else lines


def earlier_lines(report: Report) -> list[str]:
    """Which earlier examinations there are, and what of them could not be had; none where nobody asked for any."""
    named = [_earlier(one) for one in report.earlier]
    found = [say("Earlier examinations: {examinations}.", examinations=joined(named))] if named else []
    return [*found, *report.earlier_notes]


def day_words(day: str) -> Words:
    """A date (2025-05-03) as the language writes dates."""
    return say("{year}-{month}-{day}", year=Name(day[:4]), month=Name(day[5:7]), day=Name(day[8:]))


def _earlier(one: Earlier) -> Words:
    if one.sop_instance_uid:
        return say("{day} (report read, {count} values)", day=day_words(one.day), count=one.values)
    return say("{day} (images of {count} series, no report)", day=day_words(one.day), count=one.series)
