"""The sentences of the readable results: what was measured, and what was not and why."""

from __future__ import annotations

from collections.abc import Iterable

from analysis.outcome import FAILED, MEASURED, Finding, Gap, Measurement, Outcome
from analysis.report import Report
from node.concepts import decimals, level_words, structure_words, unit_words


def words(name: str) -> str:
    """A name of the interface as a reader sees it: `cst_diffusion` is `CST diffusion`."""
    return " ".join(_ABBREVIATIONS.get(word, word) for word in name.split("_"))


_ABBREVIATIONS = {
    **{name: name.upper() for name in "cst fa md rd ad csf t1 t2 flair swi dwi mrs bold naa snr plic".split()},  # noqa: SIM905
    "t2star": "T2*",
}


def value_words(measurement: Measurement) -> str:
    """`0.58 ± 0.02`, with the unit."""
    places = decimals(measurement.value)
    error = "" if measurement.uncertainty is None else f" ± {_no_less(measurement.uncertainty, places)}"
    return f"{measurement.value:.{places}f}{error} {unit_words(measurement.unit)}".strip()


def _no_less(error: float, places: int) -> str:
    """An error is never rounded to nothing."""
    shown = f"{error:.{places}f}"
    return shown if error == 0 or float(shown) > 0 else f"{error:.1g}"


def standing_words(measurement: Measurement) -> str:
    """Where the value stands in its population; empty where there is none."""
    reference = measurement.reference
    return "" if reference is None else f"z {reference.z:+.1f}, percentile {reference.percentile:.0f}"


def measurement_line(measurement: Measurement) -> str:
    """One measurement on one line."""
    standing = standing_words(measurement) or f"no reference: {measurement.no_reference}"
    where = structure_words(measurement.site, measurement.side, measurement.level)
    return f"{where}: {words(measurement.name)} {value_words(measurement)} ({standing})"


def finding_line(finding: Finding) -> str:
    grade = "" if finding.grade is None else f", grade {finding.grade}"
    side = f", {finding.side}" if finding.side else ""
    reason = f" ({finding.reason})" if finding.reason else ""
    return f"{finding.concept.meaning}{side}: {finding.value}{grade}{reason}"


def table_lines(measurements: Iterable[Measurement]) -> list[str]:
    """The table: one line per name and level, left beside right."""
    rows: dict[tuple[str, str | None, str], list[Measurement]] = {}
    for one in measurements:
        rows.setdefault((one.name, one.level, one.site.meaning), []).append(one)
    return [_row(members) for members in rows.values()]


def _row(members: list[Measurement]) -> str:
    first = members[0]
    level = f", {level_words(first.level)}" if first.level else ""
    cells = [" ".join(part for part in (one.side, value_words(one), _bracket(standing_words(one))) if part) for one in members]
    return f"{words(first.name)[:1].upper()}{words(first.name)[1:]}{level}: {'; '.join(cells)}"


def _bracket(standing: str) -> str:
    return f"({standing})" if standing else ""


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
