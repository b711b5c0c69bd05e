"""Streamlines as DICOM Tractography Results (PS3.3 A.78, Supplement 181): an option, because few archives and viewers take them.

One object per image that was tracked, with one track set for each structure and side. A track set without a line is left out, and an object
without a set is not made. The points are millimetres in the Frame of Reference of the source series, as DICOM has them (LPS), so nothing
is converted; a series without a Frame of Reference UID gets none. No statistic stands in it: what was measured stands in the reports.
"""

from __future__ import annotations

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import ExplicitVRLittleEndian, TractographyResultsStorage

from analysis.examination import ROLES
from analysis.outcome import Outcome, Track
from analysis.report import Report
from analysis.words import say
from node import concepts
from node.errors import StudyError
from node.planes import reference
from node.provenance import MANUFACTURER, MODEL, Provenance, body_part, finish
from node.study import Series

FIRST_SERIES_NUMBER = 9060
_COLORS = {"left": (65.0, 50.0, 45.0), "right": (65.0, -35.0, -35.0), None: (75.0, -10.0, 60.0)}  # CIELab: orange, blue, yellow


def track_sets(report: Report, provenance: Provenance) -> list[Dataset]:
    """The Tractography Results of a report; empty where nothing was tracked."""
    found = [(outcome, track) for outcome in report.outcomes for track in outcome.tracks if track.lines]
    made = []
    for role in [role for role in ROLES if any(track.role == role for _, track in found)]:
        note = report.series_with(role)
        if note is None:
            raise StudyError(say("streamlines lie on the {role} image, but no series of the study is named as its source", role=role))
        series = provenance.series(note.series_instance_uid)
        if series.header.get("FrameOfReferenceUID"):
            made.append(_results([one for one in found if one[1].role == role], role, series, provenance, len(made) + 1))
    return made


def _results(found: list[tuple[Outcome, Track]], role: str, series: Series, provenance: Provenance, index: int) -> Dataset:
    from highdicom import SOPClass

    ds = SOPClass(
        study_instance_uid=provenance.study.study_instance_uid,
        series_instance_uid="2.25.0",
        series_number=FIRST_SERIES_NUMBER + index - 1,
        sop_instance_uid="2.25.0",
        sop_class_uid=TractographyResultsStorage,
        instance_number=1,
        modality="MR",
        manufacturer=MANUFACTURER,
        manufacturer_model_name=MODEL,
        software_versions=provenance.version,
        device_serial_number=provenance.serial_number,
        transfer_syntax_uid=ExplicitVRLittleEndian,
        series_description=provenance.description(f"tracts on {role.upper()}"),
        coding_schemes=concepts.private_schemes(),
    )
    ds.ContentLabel, ds.ContentDescription = "TRACTOGRAPHY", "Streamlines; automatic, research"
    ds.ContentCreatorName = f"{MANUFACTURER}^Node"
    ds.FrameOfReferenceUID = series.header.FrameOfReferenceUID
    ds.PositionReferenceIndicator = series.header.get("PositionReferenceIndicator")
    ds.BodyPartExamined = body_part({role})
    ds.TrackSetSequence = Items([_set(number, outcome, track) for number, (outcome, track) in enumerate(found, start=1)])
    _refer(ds, series)
    return finish(ds, provenance, "tracts", index)


def _set(number: int, outcome: Outcome, track: Track) -> Dataset:
    item, label = Dataset(), concepts.structure_words(track.site, track.side)
    item.TrackSetNumber, item.TrackSetLabel = number, label[:64]
    item.TrackSetDescription = f"{len(track.lines)} streamlines of the {label}"[:1024]
    item.TrackSetAnatomicalTypeCodeSequence = Items([_anatomical_type(track)])
    item.TrackSequence = Items([_line(line) for line in track.lines])
    item.RecommendedDisplayCIELabValue = _color(track.side)
    item.DiffusionAcquisitionCodeSequence = Items([concepts.coded(concepts.DTI)])
    item.DiffusionModelCodeSequence = Items([concepts.coded(concepts.SINGLE_TENSOR)])
    item.TrackingAlgorithmIdentificationSequence = Items([_algorithm(outcome)])
    return item


def _anatomical_type(track: Track) -> Dataset:
    item = concepts.coded(concepts.code(track.site))
    if track.side:
        item.ModifierCodeSequence = Items([concepts.coded(concepts.SIDES[track.side])])
    return item


def _line(line: object) -> Dataset:
    """x, y, z of the first point, then of the next (PS3.3 C.8.33.2.2)."""
    item = Dataset()
    item.PointCoordinatesData = line.astype("<f4").tobytes()
    return item


def _color(side: str | None) -> list[int]:
    from highdicom.color import CIELabColor

    return list(CIELabColor(*_COLORS[side]).value)


def _algorithm(outcome: Outcome) -> Dataset:
    from highdicom import AlgorithmIdentificationSequence

    return AlgorithmIdentificationSequence(outcome.marker, concepts.DETERMINISTIC, str(outcome.version), source=MANUFACTURER)[0]


def _refer(ds: Dataset, series: Series) -> None:
    """Every image of the series is the source: each direction went into the tracks (PS3.3 C.8.33.2, C.12.2)."""
    ds.ReferencedInstanceSequence = Items([reference(one.header) for one in series.instances])
    item = Dataset()
    item.SeriesInstanceUID = series.series_instance_uid
    item.ReferencedInstanceSequence = Items([reference(one.header) for one in series.instances])
    ds.ReferencedSeriesSequence = Items([item])
