"""The same results as a document for a reader: Enhanced SR, plain sentences and a table as lines of text.

It is made for every study, also when nothing could be analysed: then it says so and why. It has no coordinates, so that viewers which draw
measurement reports show it as text. What was not assessed stands beside what was, with the reason; the limits of use end every report.
"""

from __future__ import annotations

from collections.abc import Iterable

from pydicom.dataset import Dataset
from pydicom.sr.coding import Code

from analysis.outcome import MEASURED
from analysis.report import LIMITS, Report
from analysis.sentence import sentence_of
from analysis.words import Name
from node import concepts, wording
from node.follow_up_words import change_lines
from node.language import Language
from node.measurement_group import text
from node.measurement_report import PLACEHOLDER_UID, device_observer, mark_completion
from node.provenance import MANUFACTURER, Provenance, blank_source, body_part, finish

SERIES_NUMBER = 9011


def text_report(report: Report, provenance: Provenance) -> Dataset:
    """The readable report of a study."""
    from highdicom.sr import EnhancedSR

    ds = EnhancedSR(
        evidence=_evidence(report, provenance),
        content=_content(report, provenance),
        series_instance_uid=PLACEHOLDER_UID,
        series_number=SERIES_NUMBER,
        sop_instance_uid=PLACEHOLDER_UID,
        instance_number=1,
        manufacturer=MANUFACTURER,
        is_complete=True,
        is_final=provenance.is_final,
        series_description=provenance.description("report"),
        coding_schemes=concepts.private_schemes(),
        previous_versions=provenance.previous(SERIES_NUMBER) or None,
    )
    mark_completion(ds, report, provenance.language)
    ds.BodyPartExamined = body_part({note.role for note in report.series if note.used})
    ds.SeriesDescriptionCodeSequence = [concepts.coded(concepts.TEXT_REPORT)]
    return finish(ds, provenance, "report")


def _evidence(report: Report, provenance: Provenance) -> list[Dataset]:
    used = [provenance.series(note.series_instance_uid).header for note in report.series if note.used]
    return [blank_source(header) for header in used or [provenance.study.header]]


def _content(report: Report, provenance: Provenance) -> Dataset:
    from highdicom.sr import ContainerContentItem, ContentSequence, LanguageOfContentItemAndDescendants

    root = ContainerContentItem(concepts.translated(concepts.TEXT_REPORT, provenance.language))
    language = LanguageOfContentItemAndDescendants(concepts.language_code(provenance.language))
    root.ContentSequence = ContentSequence([*language, *device_observer(provenance), *_sections(report, provenance.language)])
    return root


def _sections(report: Report, language: Language) -> list[Dataset]:
    """The headings, each with its lines; a heading without lines is left out."""
    measured = [outcome for outcome in report.outcomes if outcome.outcome == MEASURED]
    measurements = [one for outcome in measured for one in outcome.measurements]
    findings = [wording.wrapped(language(sentence_of(outcome))) for outcome in measured]
    findings += [wording.wrapped(language(wording.finding_line(one))) for outcome in report.outcomes for one in outcome.findings]
    support = [wording.wrapped(language(line)) for line in wording.support_lines(report)]
    changes = [wording.wrapped(language(line)) for line in change_lines(report.follow_up)]
    series = [*(wording.series_line(number, note) for number, note in enumerate(report.series, start=1)), *report.problems]
    notes = [line for outcome in report.outcomes for line in wording.note_lines(outcome)]
    comments = [*wording.reference_lines(measurements), *wording.method_lines(measurements), *notes]
    sections = [
        _section(concepts.SUMMARY, concepts.CONCLUSION, [*wording.not_analysed_lines(report), *report.summary], language),
        _section(concepts.SUPPORT, concepts.FINDING, support, language),
        _section(concepts.CHANGES, concepts.FINDING, changes, language),
        _section(concepts.FINDINGS, concepts.FINDING, findings, language),
        _measurements(report, language),
        _section(concepts.SEQUENCES, concepts.COMMENT, wording.sequence_lines(report), language),
        _section(concepts.NOT_ASSESSED, concepts.COMMENT, wording.not_assessed_lines(report), language),
        _section(concepts.COMMENT, concepts.COMMENT, comments, language),
        _section(concepts.IMAGE_LIBRARY, concepts.COMMENT, series, language),
        _section(concepts.COMPARISON, concepts.COMMENT, wording.earlier_lines(report), language),
        _section(concepts.LIMIT, concepts.LIMIT, LIMITS, language),
    ]
    return [section for section in sections if section is not None]


def _measurements(report: Report, language: Language) -> Dataset | None:
    """One heading and one table per structure. It is named a finding: viewers then keep its columns."""
    sites = dict.fromkeys(one.site for outcome in report.outcomes for one in outcome.measurements)
    tables = []
    for site in sites:
        members = [one for outcome in report.outcomes for one in outcome.measurements if one.site == site]
        tables.append(_section(concepts.code(site), concepts.FINDING, [Name(wording.table(members, language))], language))
    return _container(concepts.translated(concepts.MEASUREMENTS, language), tables) if tables else None


def _section(heading: Code, name: Code, lines: Iterable[str], language: Language) -> Dataset | None:
    items = [text(concepts.translated(name, language), language(line)) for line in lines]
    return _container(concepts.translated(heading, language), items) if items else None


def _container(heading: Code, items: list[Dataset]) -> Dataset:
    from highdicom.sr import ContainerContentItem, ContentSequence

    container = ContainerContentItem(heading, is_content_continuous=False, relationship_type="CONTAINS")
    container.ContentSequence = ContentSequence(items)
    return container
