"""Masks as DICOM Segmentations that lie exactly on the source frames.

One object per frame of reference and source series: a Segmentation has one grid, and two series of one frame of reference (T1 and
diffusion) rarely share it. Binary, Explicit VR Little Endian: the one form that every viewer tried here reads. Frames without a voxel are
left out.
A series without a Frame of Reference UID gets no Segmentation, because the object would claim a space that nobody named; its measurements
keep their outlines in the report.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian

from analysis.report import Report
from analysis.volume import Image
from node import concepts
from node.colors import color
from node.planes import Planes, classic_images, planes_of, restore_references
from node.provenance import MANUFACTURER, MODEL, Provenance, body_part, finish
from node.structures import Structure, structures_of

FIRST_SERIES_NUMBER = 9020


def segmentations(report: Report, provenance: Provenance, images: Mapping[str, Image]) -> list[Dataset]:
    """The Segmentations of a report, by role; empty where nothing was outlined. `images` are those that were measured, by role."""
    structures, planes = structures_of(report, provenance), planes_of(report, provenance, images)
    roles = [role for role in planes if planes[role].frame_of_reference and any(one.mask.role == role for one in structures)]
    return [
        _segmentation([one for one in structures if one.mask.role == role], planes[role], provenance, index)
        for index, role in enumerate(roles, start=1)
    ]


def _segmentation(structures: list[Structure], planes: Planes, provenance: Provenance, index: int) -> Dataset:
    from highdicom.seg import Segmentation

    numbered = list(enumerate(structures, start=1))
    ds = Segmentation(
        source_images=classic_images(planes),
        pixel_array=_pixels(structures, planes),
        segmentation_type="BINARY",
        segment_descriptions=[_description(number, structure) for number, structure in numbered],
        series_instance_uid="2.25.0",
        series_number=FIRST_SERIES_NUMBER + index - 1,
        sop_instance_uid="2.25.0",
        instance_number=1,
        manufacturer=MANUFACTURER,
        manufacturer_model_name=MODEL,
        software_versions=provenance.version,
        device_serial_number=provenance.serial_number,
        content_label="SEGMENTATION",
        content_description="Where it was measured; automatic, research",
        content_creator_name=f"{MANUFACTURER}^Node",
        transfer_syntax_uid=ExplicitVRLittleEndian,
        omit_empty_frames=True,
        series_description=provenance.description(f"masks on {planes.role.upper()}"),
        coding_schemes=concepts.private_schemes(),
    )
    for item, structure in zip(ds.SegmentSequence, structures, strict=True):
        if structure.mask.side:
            property_type = item.SegmentedPropertyTypeCodeSequence[0]
            property_type.SegmentedPropertyTypeModifierCodeSequence = [concepts.coded(concepts.SIDES[structure.mask.side])]
    ds.BodyPartExamined = body_part({planes.role})
    ds.SeriesDescriptionCodeSequence = [concepts.coded(concepts.SEGMENTATION_RESULT)]
    restore_references(ds, planes)
    return finish(ds, provenance, "segmentation", index)


def _pixels(structures: list[Structure], planes: Planes) -> np.ndarray:
    """(place, row, column, segment), boolean: filled segment by segment, so that no mask is held twice."""
    first = planes.places[0].frame
    pixels = np.zeros((len(planes.places), first.rows, first.columns, len(structures)), dtype=bool)
    for number, structure in enumerate(structures):
        pixels[..., number] = planes.stack(structure.mask.array)
    return pixels


def _description(number: int, structure: Structure) -> object:
    from highdicom import AlgorithmIdentificationSequence
    from highdicom.color import CIELabColor
    from highdicom.seg import SegmentDescription

    mask = structure.mask
    return SegmentDescription(
        segment_number=number,
        segment_label=structure.label,
        segmented_property_category=concepts.property_category(mask.site),
        segmented_property_type=concepts.code(mask.site),
        algorithm_type="AUTOMATIC",
        algorithm_identification=AlgorithmIdentificationSequence(
            structure.marker, concepts.ALGORITHM_FAMILY, str(structure.version), source=MANUFACTURER
        ),
        tracking_uid=structure.tracking_uid,
        tracking_id=structure.tracking_id,
        anatomic_regions=[concepts.CERVICAL_SPINE if body_part({mask.role}) == "CSPINE" else concepts.BRAIN],
        display_color=CIELabColor(*color(number)),
    )
