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
from analysis.report import LIMITS, Report
from analysis.volume import Image
from node import concepts, wording
from node.groups import Group, groups_of
from node.outline import Outline, outline_of
from node.planes import Planes, planes_of
from node.provenance import MANUFACTURER, MODEL, Provenance, blank_source, body_part, finish
from node.structures import structures_of

SERIES_NUMBER = 9010
PLACEHOLDER_UID = "2.25.0"


def measurement_report(report: Report, provenance: Provenance, images: Mapping[str, Image], segs: Sequence[Dataset]) -> Dataset | None:
    """The report; `segs` are the Segmentations of the same report. None where no structure was outlined."""
    from highdicom.sr import Comprehensive3DSR, MeasurementReport

    groups, loose = groups_of(report, structures_of(report, provenance), provenance)
    if not groups:
        return None
    planes = planes_of(report, provenance, images)
    outlines = _outlines(groups, planes)
    content = MeasurementReport(
        observation_context=device_observer(provenance),
        procedure_reported=concepts.PROCEDURE,
        imaging_measurements=[_group(group, outline, planes[group.role], segs) for group, outline in zip(groups, outlines, strict=True)],
        title=concepts.MEASUREMENT_REPORT,
    )
    content[0].ContentSequence.append(_image_library(planes))
    content[0].ContentSequence.append(_evaluations(report, loose))
    evidence = _evidence(planes, groups, outlines, segs)
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
    )
    mark_completion(ds, report)
    ds.BodyPartExamined = body_part(set(planes))
    ds.SeriesDescriptionCodeSequence = [concepts.coded(concepts.MEASUREMENT_REPORT)]
    return finish(ds, provenance, "measurements")


def _outlines(groups: Sequence[Group], planes: Mapping[str, Planes]) -> list[Outline]:
    """An outline for every group; a structure's own group has the first choice."""
    found: dict[int, Outline] = {}
    for number, group in sorted(enumerate(groups), key=lambda one: not one[1].is_exact):
        found[number] = outline_of(group.array, planes[group.role], found.values())
    return [found[number] for number in range(len(groups))]


def mark_completion(ds: Dataset, report: Report) -> None:
    """COMPLETE, or PARTIAL and why, where a marker failed (PS3.3 C.17.2)."""
    failed = [outcome.marker.replace("_", " ") for outcome in report.outcomes if outcome.outcome == FAILED]
    ds.CompletionFlag = "PARTIAL" if failed else "COMPLETE"
    if failed:
        ds.CompletionFlagDescription = f"Failed: {', '.join(failed)}"[:64]


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


def _group(group: Group, outline: Outline, planes: Planes, segs: Sequence[Dataset]) -> object:
    from highdicom.sr import (
        AlgorithmIdentification,
        FindingSite,
        ImageRegion,
        TrackingIdentifier,
        VolumetricROIMeasurementsAndQualitativeEvaluations,
    )

    segment = _segment(group, segs, planes)
    where = {"referenced_segment": segment} if segment is not None else {
        "referenced_regions": [ImageRegion("POLYLINE", outline.points, _image(outline, planes))]
    }  # fmt: skip
    made = VolumetricROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(uid=group.tracking_uid, identifier=group.tracking_id),
        finding_category=concepts.property_category(group.site),
        finding_type=concepts.code(group.site),
        finding_sites=[FindingSite(concepts.code(group.site), laterality=concepts.SIDES.get(group.side))],
        algorithm_id=AlgorithmIdentification(
            group.marker, str(group.version), family=concepts.ALGORITHM_FAMILY, manufacturer=MANUFACTURER
        ),
        measurements=[_number(measurement) for measurement in group.measurements],
        **where,
    )
    numbers = [item for item in made[0].ContentSequence if item.ValueType == "NUM"]
    for item, measurement in zip(numbers, group.measurements, strict=True):
        _describe(item, measurement, outline, planes)
    made[0].ContentSequence.extend(_finding(finding) for finding in group.findings)
    return made


def _segment(group: Group, segs: Sequence[Dataset], planes: Planes) -> object | None:
    from highdicom.sr import ReferencedSegment, SourceSeriesForSegmentation

    for seg in segs:
        for item in seg.SegmentSequence:
            if group.is_exact and item.TrackingUID == group.tracking_uid:
                series = SourceSeriesForSegmentation(planes.series.series_instance_uid)
                return ReferencedSegment(seg.SOPClassUID, seg.SOPInstanceUID, item.SegmentNumber, source_series=series)
    return None


def _image(outline: Outline, planes: Planes) -> object:
    from highdicom.sr import SourceImageForRegion

    header, number = planes.header(outline.place), outline.place.frame.number
    return SourceImageForRegion(header.SOPClassUID, header.SOPInstanceUID, None if number is None else [number])


def _number(measurement: Measurement) -> object:
    from highdicom.sr import Measurement as Number
    from highdicom.sr import MeasurementProperties, MeasurementStatisticalProperties

    reference, properties = measurement.reference, None
    if reference is not None:
        z = _num(concepts.Z_SCORE, reference.z, concepts.NO_UNITS)
        percentile = _num(concepts.PERCENTILE, reference.percentile, concepts.PERCENT)
        population = MeasurementStatisticalProperties(values=(z, percentile), description=f"{reference.population}; n = {reference.n}")
        properties = MeasurementProperties(measurement_statistical_properties=population)
    return Number(
        name=concepts.code(measurement.quantity),
        value=measurement.value,
        unit=concepts.unit_code(measurement.unit),
        derivation=concepts.derivation(measurement),
        properties=properties,
    )


def _describe(item: Dataset, measurement: Measurement, outline: Outline, planes: Planes) -> None:
    """What highdicom has no argument for: the outline, the error in the unit of the value, the method, no reference."""
    from highdicom.sr import ContentSequence, CoordinatesForMeasurement

    children = [CoordinatesForMeasurement("POLYLINE", outline.points, _image(outline, planes)), *item.get("ContentSequence", ())]
    if measurement.uncertainty is not None:
        children.append(_num(concepts.UNCERTAINTY, measurement.uncertainty, concepts.unit_code(measurement.unit)))
    if measurement.method:
        children.append(text(concepts.METHOD, measurement.method, "INFERRED FROM"))
    if measurement.no_reference:
        children.append(text(concepts.POPULATION, f"No reference: {measurement.no_reference}", "HAS PROPERTIES"))
    item.ContentSequence = ContentSequence(children)


def _num(name: object, value: float, unit: object) -> object:
    from highdicom.sr import NumContentItem

    return NumContentItem(name, value, unit, relationship_type="HAS PROPERTIES")


def text(name: object, value: str, relationship: str = "CONTAINS") -> Dataset:
    """A sentence of a report."""
    from highdicom.sr import TextContentItem

    return TextContentItem(name, value, relationship_type=relationship)


def _finding(finding: Finding) -> Dataset:
    from highdicom.sr import CodeContentItem, ContentSequence

    item = CodeContentItem(concepts.code(finding.concept), concepts.VERDICTS[finding.value], relationship_type="CONTAINS")
    children = []
    if finding.side:
        children.append(CodeContentItem(concepts.LATERALITY, concepts.SIDES[finding.side], relationship_type="HAS CONCEPT MOD"))
    if finding.level:
        children.append(text(concepts.COMMENT, concepts.level_words(finding.level), "HAS PROPERTIES"))
    if finding.grade is not None:
        children.append(text(concepts.COMMENT, f"Grade {finding.grade}", "HAS PROPERTIES"))
    if finding.reason:
        name = concepts.NOT_ASSESSED if finding.value == "not assessed" else concepts.COMMENT
        children.append(text(name, finding.reason, "HAS PROPERTIES"))
    if children:
        item.ContentSequence = ContentSequence(children)
    return item


def _evaluations(report: Report, loose: Sequence[tuple[Outcome, Measurement | Finding]]) -> Dataset:
    """What belongs to the study and not to a place in it (TID 1500 row 12)."""
    from highdicom.sr import ContainerContentItem, ContentSequence

    container = ContainerContentItem(concepts.EVALUATIONS, relationship_type="CONTAINS")
    items = [text(concepts.SUMMARY, sentence) for sentence in report.summary]
    items += [_finding(one) if isinstance(one, Finding) else text(concepts.COMMENT, wording.measurement_line(one)) for _, one in loose]
    items += [text(concepts.NOT_ASSESSED, sentence) for sentence in wording.not_assessed_lines(report)]
    items += [text(concepts.LIMIT, sentence) for sentence in LIMITS]
    container.ContentSequence = ContentSequence(items)
    return container


def _image_library(planes: Mapping[str, Planes]) -> Dataset:
    """One image of every series that was measured on, as TID 1600 wants it: its descriptors would say again what its header says."""
    from highdicom.sr import CodeContentItem, ContainerContentItem, ContentSequence, ImageContentItem

    library = ContainerContentItem(concepts.IMAGE_LIBRARY, relationship_type="CONTAINS")
    group = ContainerContentItem(concepts.IMAGE_LIBRARY_GROUP, relationship_type="CONTAINS")
    items = [CodeContentItem(concepts.MODALITY, concepts.MAGNETIC_RESONANCE, relationship_type="HAS ACQ CONTEXT")]
    for one in planes.values():
        header = one.header(one.places[0])
        items.append(ImageContentItem(concepts.SOURCE, header.SOPClassUID, header.SOPInstanceUID, relationship_type="CONTAINS"))
    group.ContentSequence = ContentSequence(items)
    library.ContentSequence = ContentSequence([group])
    return library


def _evidence(planes: Mapping[str, Planes], groups: Sequence[Group], outlines: Sequence[Outline], segs: Sequence[Dataset]) -> list[Dataset]:
    places = [(planes[group.role], outline.place) for group, outline in zip(groups, outlines, strict=True)]
    places += [(one, one.places[0]) for one in planes.values()]
    headers = {one.header(place).SOPInstanceUID: one.header(place) for one, place in places}
    return [blank_source(header) for header in headers.values()] + [blank_source(seg) for seg in segs]
