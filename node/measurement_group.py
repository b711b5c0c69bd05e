"""One measurement group (TID 1411) of the coded report: a structure on one side at one level, its numbers and what was found there.

What the library has no argument for is added to its content items: an outline under every number, the error in the unit of the value, the
method, the words where there is no population.
"""

from __future__ import annotations

from collections.abc import Sequence

from pydicom.dataset import Dataset

from analysis.outcome import Finding, Measurement, Outcome, Reference
from analysis.words import say
from node import concepts, wording
from node.groups import Group
from node.language import Language
from node.outline import Outline
from node.planes import Planes
from node.provenance import MANUFACTURER

RANGE = say("5th to 95th percentile of the population")


def measurement_group(
    group: Group, outline: Outline, planes: Planes, segs: Sequence[Dataset], language: Language, day: str | None
) -> object:
    """The group as highdicom takes it; it refers to the segment of its own structure, and else to the region that was outlined. `day`: of
    the examination, None where its header says none."""
    from highdicom.sr import (
        AlgorithmIdentification,
        FindingSite,
        ImageRegion,
        TrackingIdentifier,
        VolumetricROIMeasurementsAndQualitativeEvaluations,
    )

    segment = _segment(group, segs, planes)
    where = {"referenced_segment": segment} if segment is not None else {
        "referenced_regions": [ImageRegion("POLYLINE", outline.points, source_image(outline, planes))]
    }  # fmt: skip
    made = VolumetricROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(uid=group.tracking_uid, identifier=group.tracking_id),
        finding_category=concepts.property_category(group.site),
        finding_type=concepts.code(group.site),
        finding_sites=[FindingSite(concepts.code(group.site), laterality=concepts.SIDES.get(group.side))],
        algorithm_id=AlgorithmIdentification(
            group.marker, str(group.version), family=concepts.ALGORITHM_FAMILY, manufacturer=MANUFACTURER
        ),
        time_point_context=time_point(day) if day else None,
        measurements=[_number(measurement, language) for measurement in group.measurements],
        **where,
    )
    numbers = [item for item in made[0].ContentSequence if item.ValueType == "NUM"]
    for item, measurement in zip(numbers, group.measurements, strict=True):
        _describe(item, measurement, outline, planes, language)
    made[0].ContentSequence.extend(finding_item(finding, language) for finding in group.findings)
    return made


def time_point(day: str) -> object:
    """When a value was measured (TID 1502): the day of the examination, which also identifies it, as two examinations of one day are one
    time point. Its order stands nowhere: which examinations there are is not known for good, and PixelMed's validator rejects it."""
    from highdicom.sr import TimePointContext

    return TimePointContext(day, subject_time_point_identifier=day)


def _segment(group: Group, segs: Sequence[Dataset], planes: Planes) -> object | None:
    from highdicom.sr import ReferencedSegment, SourceSeriesForSegmentation

    for seg in segs:
        for item in seg.SegmentSequence:
            if group.is_exact and item.TrackingUID == group.tracking_uid:
                series = SourceSeriesForSegmentation(planes.series.series_instance_uid)
                return ReferencedSegment(seg.SOPClassUID, seg.SOPInstanceUID, item.SegmentNumber, source_series=series)
    return None


def source_image(outline: Outline, planes: Planes) -> object:
    """The frame that an outline lies on."""
    from highdicom.sr import SourceImageForRegion

    header, number = planes.header(outline.place), outline.place.frame.number
    return SourceImageForRegion(header.SOPClassUID, header.SOPInstanceUID, None if number is None else [number])


def _number(measurement: Measurement, language: Language) -> object:
    from highdicom.sr import Measurement as Number

    return Number(
        name=concepts.code(measurement.quantity),
        value=measurement.value,
        unit=concepts.unit_code(measurement.unit),
        derivation=concepts.derivation(measurement),
        properties=_properties(measurement.reference, measurement.unit, language) if measurement.reference else None,
    )


def _properties(reference: Reference, unit: str, language: Language) -> object:
    """Where the value stands (TID 310 to 312): in which population, and between which limits nine of ten healthy people lie.

    No code for normal or abnormal: one of ten healthy people lies outside, and no single value carries that word.
    """
    from highdicom.sr import MeasurementProperties, MeasurementStatisticalProperties, NormalRangeProperties

    own, source = concepts.unit_code(unit), (reference.source or reference.population)
    statistics = (
        _num(concepts.Z_SCORE, reference.z, concepts.NO_UNITS),
        _num(concepts.PERCENTILE, reference.percentile, concepts.PERCENT),
        _num(concepts.MEAN, reference.mean, own),
        _num(concepts.SPREAD, reference.sd, own),
    )
    limits = (_num(concepts.LOW, reference.low, own), _num(concepts.HIGH, reference.high, own))
    return MeasurementProperties(
        measurement_statistical_properties=MeasurementStatisticalProperties(
            values=statistics, description=language(wording.population_words(reference)), authority=language(source)
        ),
        normal_range_properties=NormalRangeProperties(values=limits, description=language(RANGE), authority=language(source)),
    )


def _describe(item: Dataset, measurement: Measurement, outline: Outline, planes: Planes, language: Language) -> None:
    """What highdicom has no argument for: the outline, the error in the unit of the value, the method, no reference."""
    from highdicom.sr import ContentSequence, CoordinatesForMeasurement

    outlined = CoordinatesForMeasurement("POLYLINE", outline.points, source_image(outline, planes))
    item.ContentSequence = ContentSequence([outlined, *item.get("ContentSequence", ()), *_described(measurement, language)])


def _described(measurement: Measurement, language: Language, outcome: Outcome | None = None) -> list[Dataset]:
    """Name and level as `report.json` has them, the error in the unit of the value, the method, the population or that there is none."""
    children = named(measurement, outcome)
    if measurement.uncertainty is not None:
        children.append(_num(concepts.UNCERTAINTY, measurement.uncertainty, concepts.unit_code(measurement.unit)))
    if measurement.method:
        children.append(text(concepts.METHOD, language(measurement.method), "INFERRED FROM"))
    if measurement.no_reference:
        sentence = say("No reference: {reason}", reason=measurement.no_reference)
        children.append(text(concepts.POPULATION, language(sentence), "HAS PROPERTIES"))
    return [*children, *(_population(measurement.reference) if measurement.reference else ())]


def _population(reference: Reference) -> list[Dataset]:
    """What no template has a place for: whose population it is, in words that stay the same, how large, and how sure the percentile is."""
    return [
        text(concepts.POPULATION_NAME, reference.population, "HAS PROPERTIES"),
        _num(concepts.POPULATION_SIZE, reference.n, concepts.NO_UNITS),
        _num(concepts.PERCENTILE_LOW, reference.percentile_low, concepts.PERCENT),
        _num(concepts.PERCENTILE_HIGH, reference.percentile_high, concepts.PERCENT),
    ]


def named(one: Measurement | Finding, outcome: Outcome | None = None) -> list[Dataset]:
    """What it is called, so that it can be read back: name and level, and of what stands in no group also the marker and its version."""
    told = [(concepts.ALGORITHM_NAME, outcome.marker), (concepts.ALGORITHM_VERSION, str(outcome.version))] if outcome else []
    return [*named_as(one.name, one.level), *(text(name, value, "HAS CONCEPT MOD") for name, value in told)]


def named_as(name: str, level: str | None) -> list[Dataset]:
    """Name and level as `report.json` has them."""
    told = [(concepts.ITEM_NAME, name), (concepts.ITEM_LEVEL, level)]
    return [text(concept, value, "HAS CONCEPT MOD") for concept, value in told if value]


def number_item(measurement: Measurement, outcome: Outcome, language: Language) -> Dataset:
    """A number that has no place in the images, as a property of the sentence that says it."""
    from highdicom.sr import ContentSequence, NumContentItem

    item = NumContentItem(concepts.code(measurement.quantity), measurement.value, concepts.unit_code(measurement.unit),
                          relationship_type="HAS PROPERTIES")
    properties = _properties(measurement.reference, measurement.unit, language) if measurement.reference else ()
    sided = [_laterality(measurement.side)] if measurement.side else []
    item.ContentSequence = ContentSequence([*sided, *_described(measurement, language, outcome), *properties])
    return item


def _laterality(side: str) -> Dataset:
    from highdicom.sr import CodeContentItem

    return CodeContentItem(concepts.LATERALITY, concepts.SIDES[side], relationship_type="HAS CONCEPT MOD")


def _num(name: object, value: float, unit: object) -> object:
    from highdicom.sr import NumContentItem

    return NumContentItem(name, value, unit, relationship_type="HAS PROPERTIES")


def text(name: object, value: str, relationship: str = "CONTAINS") -> Dataset:
    """A sentence of a report."""
    from highdicom.sr import TextContentItem

    return TextContentItem(name, value, relationship_type=relationship)


def finding_item(finding: Finding, language: Language, outcome: Outcome | None = None) -> Dataset:
    """What was looked for, as a code: present, absent, undetermined or not done; with the reason. `outcome`: of what stands in no group."""
    from highdicom.sr import CodeContentItem, ContentSequence

    item = CodeContentItem(concepts.code(finding.concept), concepts.VERDICTS[finding.value], relationship_type="CONTAINS")
    children = [*([_laterality(finding.side)] if finding.side else []), *named(finding, outcome)]
    if finding.level:
        children.append(text(concepts.COMMENT, language(concepts.level_words(finding.level)), "HAS PROPERTIES"))
    if finding.grade is not None:
        children.append(text(concepts.COMMENT, language(say("Grade {grade}", grade=finding.grade)), "HAS PROPERTIES"))
        children.append(_num(concepts.ITEM_GRADE, finding.grade, concepts.NO_UNITS))
    if finding.reason:
        name = concepts.NOT_ASSESSED if finding.value == "not assessed" else concepts.COMMENT
        children.append(text(name, language(finding.reason), "HAS PROPERTIES"))
    if finding.accuracy:
        children.append(text(concepts.COMMENT, language(finding.accuracy.words), "HAS PROPERTIES"))
    item.ContentSequence = ContentSequence(children)
    return item
