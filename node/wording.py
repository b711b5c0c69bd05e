"""The sentences of the readable results: what was measured, and what was not and why."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable

from analysis.outcome import FAILED, MEASURED, Finding, Gap, Measurement, Outcome, Reference
from analysis.report import Report
from analysis.words import Words, say
from node.concepts import decimals, level_words, structure_words, unit_words

LINE_WIDTH = 84
NEWLINE = "\r\n"  # what UT knows (PS3.5 6.1.3)


def words(name: str) -> str:
    """A name of the interface as a reader sees it: `cst_diffusion` is `CST diffusion`."""
    return " ".join(_ABBREVIATIONS.get(word, word) for word in name.split("_"))


_ABBREVIATIONS = {
    **{name: name.upper() for name in "cst fa md rd ad csf t1 t2 flair swi dwi mrs bold naa snr plic".split()},  # noqa: SIM905
    "t2star": "T2*",
}


def number_words(measurement: Measurement) -> str:
    """`0.58 ± 0.02`."""
    places = decimals(measurement.value)
    error = "" if measurement.uncertainty is None else f" ± {_no_less(measurement.uncertainty, places)}"
    return f"{measurement.value:.{places}f}{error}"


def value_words(measurement: Measurement) -> str:
    """`0.58 ± 0.02`, with the unit."""
    return f"{number_words(measurement)} {unit_words(measurement.unit)}".strip()


def _no_less(error: float, places: int) -> str:
    """An error is never rounded to nothing."""
    shown = f"{error:.{places}f}"
    return shown if error == 0 or float(shown) > 0 else f"{error:.1g}"


def standing_words(measurement: Measurement) -> str:
    """Where the value stands in its population; empty where there is none."""
    reference = measurement.reference
    return "" if reference is None else f"z {reference.z:+.1f}, percentile {reference.percentile:.0f}"


def population_words(reference: Reference) -> Words:
    """Which people, how many, and how sure the percentile is."""
    return say("{population}; n = {n}; the percentile lies between {low:.0f} and {high:.0f} with a probability of 95 %",
               population=reference.population, n=reference.n, low=reference.percentile_low, high=reference.percentile_high)  # fmt: skip


def measurement_line(measurement: Measurement) -> str:
    """One measurement on one line."""
    standing = standing_words(measurement) or f"no reference: {measurement.no_reference}"
    where = structure_words(measurement.site, measurement.side, measurement.level)
    return f"{where}: {words(measurement.name)} {value_words(measurement)} ({standing})"


def finding_line(finding: Finding) -> str:
    grade = "" if finding.grade is None else f", grade {finding.grade}"
    side = f", {finding.side}" if finding.side else ""
    level = f", {level_words(finding.level)}" if finding.level else ""
    reason = f" ({finding.reason})" if finding.reason else ""
    return f"{finding.concept.meaning}{side}{level}: {finding.value}{grade}{reason}"


def table(measurements: Iterable[Measurement]) -> str:
    """A table for a fixed-width font: a line per name and level, left beside right; what has no side stands below."""
    rows: dict[tuple[str, str], dict[str, str]] = {}
    for one in measurements:
        rows.setdefault((_row_name(one), unit_words(one.unit)), {})[one.side or ""] = _cell(one)
    sided = [[name, cells.get("left", ""), cells.get("right", ""), unit] for (name, unit), cells in rows.items() if "" not in cells]
    single = [[name, cells[""], unit] for (name, unit), cells in rows.items() if "" in cells]
    return NEWLINE.join([*(_aligned([["", "left", "right", ""], *sided]) if sided else []), *_aligned(single)])


def _aligned(lines: list[list[str]]) -> list[str]:
    widths = [max(len(cell) for cell in column) for column in zip(*lines, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]


def _row_name(one: Measurement) -> str:
    name = words(one.name)
    return f"{name[:1].upper()}{name[1:]}{f', {level_words(one.level)}' if one.level else ''}"


def _cell(one: Measurement) -> str:
    return number_words(one) + (f" (z {one.reference.z:+.1f})" if one.reference else "")


def wrapped(sentence: str) -> str:
    """A sentence in lines that fit a viewer's window: some viewers do not break the lines of a finding."""
    return NEWLINE.join(textwrap.wrap(sentence, LINE_WIDTH, subsequent_indent="  "))


def reference_lines(measurements: Iterable[Measurement]) -> list[str]:
    """Which populations were compared with, and why none was where none was; each once."""
    found: dict[str, list[str]] = {}
    for one in measurements:
        reference = one.reference
        said = f"Reference: {reference.population} (n = {reference.n})" if reference else f"No reference: {one.no_reference}"
        found.setdefault(said, []).append(words(one.name))
    return [f"{said} — {', '.join(dict.fromkeys(names))}" for said, names in found.items()]


def method_lines(measurements: Iterable[Measurement]) -> list[str]:
    found: dict[str, list[str]] = {}
    for one in measurements:
        if one.method:
            found.setdefault(one.method, []).append(words(one.name))
    return [f"Method: {method} — {', '.join(dict.fromkeys(names))}" for method, names in found.items()]


def gap_line(gap: Gap) -> str:
    where = ", ".join(part for part in (gap.side, level_words(gap.level) if gap.level else None) if part)
    return f"{words(gap.name)}{f', {where}' if where else ''}: not measured: {gap.reason}"


def outcome_line(outcome: Outcome) -> str:
    """Why a marker gave nothing."""
    return f"{words(outcome.marker)}: {'failed' if outcome.outcome == FAILED else 'not measurable'}: {outcome.reason}"


def not_assessed_lines(report: Report) -> list[str]:
    """Everything that the reader might look for and that is not there, with the reason."""
    lines = [f"Not analysed: {report.not_analysed}"] if report.not_analysed else []
    for outcome in report.outcomes:
        lines += [outcome_line(outcome)] if outcome.outcome != MEASURED else [gap_line(gap) for gap in outcome.gaps]
    return lines
