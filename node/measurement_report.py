"""The measurements as a Comprehensive 3D SR, template TID 1500: what a program reads, and what a viewer draws on the images.

One measurement group (TID 1411) per structure, side and level. Every group has an outline that a viewer can draw, and every number in it
is inferred from that outline: OHIF 3.13 stops with an error at a group without coordinates. So what has no place in the images (a finding
of the whole study, a measurement that could not be made, a marker that failed) is said as text and codes beside the groups, and again in
the text report. A number whose own structure has no mask is shown on the nearest mask of the same marker, without a reference to a segment.
No report of this kind is made where nothing was outlined: `None`; the text report always is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pydicom.dataset import Dataset

from analysis.outcome import FAILED, Finding, Measurement, Outcome
from analysis.report import LIMITS, Report, SeriesNote
from analysis.volume import Image
from analysis.words import joined, say
from node import concepts, wording
from node.earlier_report import day_of
from node.follow_up_items import follow_up_items, prior_reports
from node.groups import Group, groups_of
from node.language import Language
from node.measurement_group import finding_item, measurement_group, number_item, text
from node.names import words
from node.outline import Outline, outline_of
from node.planes import Planes, planes_of
from node.provenance import MANUFACTURER, MODEL, Provenance, blank_source, body_part, finish
from node.structures import structures_of

SERIES_NUMBER = 9010
PLACEHOLDER_UID = "2.25.0"


def measurement_report(report: Report, provenance: Provenance, images: Mapping[str, Image], segs: Sequence[Dataset]) -> Dataset | None:
    """The report; `segs` are the Segmentations of the same report. None where no structure was outlined."""
    from highdicom.sr import Comprehensive3DSR, LanguageOfContentItemAndDescendants, MeasurementReport

    groups, loose = groups_of(report, structures_of(report, provenance), provenance)
    if not groups:
        return None
    planes = planes_of(report, provenance, images)
    outlines, day = _outlines(groups, planes), _day(provenance)
    content = MeasurementReport(
        observation_context=device_observer(provenance),
        procedure_reported=concepts.PROCEDURE,
        imaging_measurements=[
            measurement_group(group, outline, planes[group.role], segs, provenance.language, day)
            for group, outline in zip(groups, outlines, strict=True)
        ],
        title=concepts.MEASUREMENT_REPORT,
        language_of_content_item_and_descendants=LanguageOfContentItemAndDescendants(concepts.language_code(provenance.language)),
    )
    content[0].ContentSequence.append(_image_library(planes, report))
    content[0].ContentSequence.append(_evaluations(report, loose, provenance.language))
    evidence = [*_evidence(planes, groups, outlines, segs), *prior_reports(report.follow_up)]
    ds = Comprehensive3DSR(
        evidence=evidence,
        content=content,
        series_instance_uid=PLACEHOLDER_UID,
        series_number=SERIES_NUMBER,
        sop_instance_uid=PLACEHOLDER_UID,
        instance_number=1,
        manufacturer=MANUFACTURER,
        is_complete=True,
        is_final=provenance.is_final,
        series_description=provenance.description("measurements"),
        coding_schemes=concepts.private_schemes(),
        previous_versions=provenance.previous(SERIES_NUMBER) or None,
    )
    mark_completion(ds, report, provenance.language)
    ds.BodyPartExamined = body_part(set(planes))
    ds.SeriesDescriptionCodeSequence = [concepts.coded(concepts.MEASUREMENT_REPORT)]
    return finish(ds, provenance, "measurements")


def _day(provenance: Provenance) -> str | None:
    try:
        return day_of(provenance.study.header).isoformat()
    except ValueError:
        return None


def _outlines(groups: Sequence[Group], planes: Mapping[str, Planes]) -> list[Outline]:
    """An outline for every group; a structure's own group has the first choice."""
    found: dict[int, Outline] = {}
    for number, group in sorted(enumerate(groups), key=lambda one: not one[1].is_exact):
        found[number] = outline_of(group.array, planes[group.role], found.values())
    return [found[number] for number in range(len(groups))]


def mark_completion(ds: Dataset, report: Report, language: Language) -> None:
    """COMPLETE, or PARTIAL and why, where a marker failed (PS3.3 C.17.2)."""
    failed = [words(outcome.marker) for outcome in report.outcomes if outcome.outcome == FAILED]
    ds.CompletionFlag = "PARTIAL" if failed else "COMPLETE"
    if failed:
        ds.CompletionFlagDescription = language(say("Failed: {markers}", markers=joined(failed)))[:64]


def device_observer(provenance: Provenance) -> object:
    """The node as the observer (TID 1004): no person has looked at this."""
    from highdicom.sr import DeviceObserverIdentifyingAttributes, ObservationContext, ObserverContext
    from pydicom.sr.codedict import codes

    device = DeviceObserverIdentifyingAttributes(
        uid=provenance.device_uid,
        name=provenance.ae_title,
        manufacturer_name=MANUFACTURER,
        model_name=MODEL,
        serial_number=provenance.serial_number,
        physical_location=provenance.institution,
    )
    return ObservationContext(observer_device_context=ObserverContext(codes.DCM.Device, device))


def _evaluations(report: Report, loose: Sequence[tuple[Outcome, Measurement | Finding]], language: Language) -> Dataset:
    """What belongs to the study and not to a place in it (TID 1500 row 12)."""
    from highdicom.sr import ContainerContentItem, ContentSequence

    container = ContainerContentItem(concepts.EVALUATIONS, relationship_type="CONTAINS")
    items = [text(concepts.SUMMARY, language(sentence)) for sentence in report.summary]
    items += [text(concepts.SUPPORT, language(sentence)) for sentence in wording.support_lines(report)]
    items += follow_up_items(report.follow_up, report.outcomes, language)
    items += [_loose(outcome, one, language) for outcome, one in loose]
    items += [text(concepts.NOT_ASSESSED, language(sentence)) for sentence in wording.not_assessed_lines(report)]
    items += [text(concepts.COMMENT, language(sentence)) for sentence in (*report.problems, *wording.earlier_lines(report))]
    items += [text(concepts.LIMIT, language(sentence)) for sentence in LIMITS]
    container.ContentSequence = ContentSequence(items)
    return container


def _loose(outcome: Outcome, one: Measurement | Finding, language: Language) -> Dataset:
    """A finding as its code, a number as a sentence that carries it: a viewer looks for an outline under every number of a group."""
    from highdicom.sr import ContentSequence

    if isinstance(one, Finding):
        return finding_item(one, language, outcome)
    sentence = text(concepts.COMMENT, language(wording.measurement_line(one)))
    sentence.ContentSequence = ContentSequence([number_item(one, outcome, language)])
    return sentence


def _image_library(planes: Mapping[str, Planes], report: Report) -> Dataset:
    """One image of every series that was measured on, as TID 1600 wants it, with what a later examination has to compare itself with."""
    from highdicom.sr import CodeContentItem, ContainerContentItem, ContentSequence, ImageContentItem

    library = ContainerContentItem(concepts.IMAGE_LIBRARY, relationship_type="CONTAINS")
    group = ContainerContentItem(concepts.IMAGE_LIBRARY_GROUP, relationship_type="CONTAINS")
    items = [CodeContentItem(concepts.MODALITY, concepts.MAGNETIC_RESONANCE, relationship_type="HAS ACQ CONTEXT")]
    for one in planes.values():
        header = one.header(one.places[0])
        items.append(ImageContentItem(concepts.SOURCE, header.SOPClassUID, header.SOPInstanceUID, relationship_type="CONTAINS"))
        items[-1].ContentSequence = ContentSequence(_acquired(one.role, report.series_with(one.role)))
    group.ContentSequence = ContentSequence(items)
    library.ContentSequence = ContentSequence([group])
    return library


def _acquired(role: str, note: SeriesNote | None) -> list[Dataset]:
    """The role of a series, its device and its physics."""
    told = ((concepts.SERIES_ROLE, role), (concepts.SCANNER, note and note.scanner), (concepts.PROTOCOL, note and note.protocol))
    return [text(name, value, "HAS ACQ CONTEXT") for name, value in told if value]


def _evidence(planes: Mapping[str, Planes], groups: Sequence[Group], outlines: Sequence[Outline], segs: Sequence[Dataset]) -> list[Dataset]:
    places = [(planes[group.role], outline.place) for group, outline in zip(groups, outlines, strict=True)]
    places += [(one, one.places[0]) for one in planes.values()]
    headers = {one.header(place).SOPInstanceUID: one.header(place) for one, place in places}
    return [blank_source(header) for header in headers.values()] + [blank_source(seg) for seg in segs]
