"""Maps as DICOM Parametric Maps that lie exactly on the source frames.

One object per map, 32-bit float, Explicit VR Little Endian, a frame for every slice, in their order along the normal: the one form that
every reader tried here reads. Fractional anisotropy and mean diffusivity are sent; the other maps are for `--nifti`. What lies outside of
what was measured is 0.
A series without a Frame of Reference UID gets no map, because the object would claim a space that nobody named.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import ExplicitVRLittleEndian

from analysis.outcome import Map
from analysis.report import Report
from analysis.volume import Image
from node import concepts
from node.planes import Planes, classic_images, planes_on, restore_references
from node.provenance import MANUFACTURER, MODEL, Provenance, body_part, finish


@dataclass(frozen=True)
class Display:
    """Where a map goes in the study, and the values between black and white, in its unit."""

    series_number: int
    black: float
    white: float


# Chosen on healthy heads: white matter is light and still has detail, fluid is white on the map of diffusivity.
SENT = {"fa": Display(9030, 0.0, 0.8), "md": Display(9031, 0.0, 2.0)}


def parametric_maps(report: Report, provenance: Provenance, images: Mapping[str, Image]) -> list[Dataset]:
    """The maps of a report that are sent, by series number; empty where nothing was mapped. `images` are those that were measured."""
    planes: dict[str, Planes] = {}
    made = []
    for map_ in _sent(report):
        if map_.role not in planes:
            planes[map_.role] = planes_on(report, provenance, map_.role, images[map_.role])
        if planes[map_.role].frame_of_reference:
            made.append(_parametric_map(map_, planes[map_.role], provenance))
    return made


def _sent(report: Report) -> Iterator[Map]:
    """Each map once, though several markers may give it."""
    given = [map_ for outcome in report.outcomes for map_ in outcome.maps]
    for name in SENT:
        yield from [map_ for map_ in given if map_.name == name][:1]


def _parametric_map(map_: Map, planes: Planes, provenance: Provenance) -> Dataset:
    from highdicom.pm import ParametricMap

    display, pixels = SENT[map_.name], planes.stack(map_.array)
    ds = ParametricMap(
        source_images=classic_images(planes),
        pixel_array=pixels,
        series_instance_uid="2.25.0",
        series_number=display.series_number,
        sop_instance_uid="2.25.0",
        instance_number=1,
        manufacturer=MANUFACTURER,
        manufacturer_model_name=MODEL,
        software_versions=provenance.version,
        device_serial_number=provenance.serial_number,
        contains_recognizable_visual_features=False,  # the maps are 0 outside the mask of the brain: no face
        real_world_value_mappings=[_values(map_, pixels)],
        voi_lut_transformations=[_window(display)],
        transfer_syntax_uid=ExplicitVRLittleEndian,
        content_label=map_.name.upper(),
        content_description=f"{map_.quantity.meaning}; automatic, research"[:64],
        content_creator_name=f"{MANUFACTURER}^Node",
        derivation=concepts.DIFFUSION_ANALYSIS,
        series_description=provenance.description(map_.name.upper()),
    )
    ds.SharedFunctionalGroupsSequence[0].FrameAnatomySequence = Items([_anatomy()])
    ds.BodyPartExamined = body_part({map_.role})
    _order_frames(ds)
    restore_references(ds, planes)
    return finish(ds, provenance, f"map {map_.name}")


def _order_frames(ds: Dataset) -> None:
    """The frames by their position along the normal, direction of the rows × direction of the columns; highdicom writes them the other way.

    A reader that many use (`paramap2itkimage` of dcmqi 1.5.7) stacks the frames as they come, and shows other orders upside down.
    """
    groups = ds.PerFrameFunctionalGroupsSequence
    along = np.array(ds.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence[0].ImageOrientationPatient, float)
    positions = np.array([group.PlanePositionSequence[0].ImagePositionPatient for group in groups], float)
    order = np.argsort(positions @ np.cross(along[:3], along[3:]), kind="stable")
    ds.PerFrameFunctionalGroupsSequence = Items([groups[index] for index in order])
    for number, group in enumerate(ds.PerFrameFunctionalGroupsSequence, start=1):
        group.FrameContentSequence[0].DimensionIndexValues = [number]
    ds.FloatPixelData = np.frombuffer(ds.FloatPixelData, "<f4").reshape(len(order), -1)[order].tobytes()


def _values(map_: Map, pixels: np.ndarray) -> object:
    """The stored numbers are the values themselves."""
    from highdicom.pm import RealWorldValueMapping

    return RealWorldValueMapping(
        lut_label=map_.name.upper(),
        lut_explanation=map_.quantity.meaning[:64],
        unit=concepts.unit_code(map_.unit),
        value_range=(float(pixels.min()), float(pixels.max())),
        slope=1.0,
        intercept=0.0,
        quantity_definition=concepts.code(map_.quantity),
    )


def _window(display: Display) -> object:
    """Exact linear: the plain linear function needs a width of 1 or more, and takes 1 from it (PS3.3 C.11.2.1.2)."""
    from highdicom import VOILUTTransformation

    centre, width = (display.white + display.black) / 2, display.white - display.black
    return VOILUTTransformation(window_center=centre, window_width=width, voi_lut_function="LINEAR_EXACT")


def _anatomy() -> Dataset:
    """Without this group a reader of maps that many use crashes (`paramap2itkimage` of dcmqi)."""
    item = Dataset()
    item.AnatomicRegionSequence, item.FrameLaterality = Items([concepts.coded(concepts.BRAIN)]), "U"
    return item
