"""The source frames under a mask or a map: one frame per slice, all of one volume, and how an encoder is shown them.

A series often holds the same slice many times (directions of a diffusion series, echoes, time points). A result refers to one frame per
slice, so that every place is named once: the unweighted magnitude image that comes first, or the first one where there is none.
The encoder sees each frame as a classic image, whatever it is in the PACS: highdicom then needs no geometry in the shared groups (Siemens
XA writes it per frame), takes one volume out of many, and sees the tiles of a mosaic as slices. `restore_references` puts the true instance
and frame numbers back.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass

import numpy as np
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import MRImageStorage

from analysis.examination import ROLES
from analysis.report import Report
from analysis.volume import Image
from analysis.words import say
from node.errors import StudyError
from node.frames import Frame, Place, frames_of, functional_group, images_in_mosaic, mask_on_frame, slice_map
from node.mosaic import tiles_of
from node.provenance import Provenance, blank_source
from node.study import Series
from node.uids import uid

SAME_ORIENTATION = 1e-5
_EQUIPMENT = ("Manufacturer", "ManufacturerModelName", "DeviceSerialNumber", "SoftwareVersions", "StationName", "AcquisitionDateTime")


@dataclass(frozen=True, eq=False)
class Planes:
    """The source frames of one image: `places` in the order of its slices, `slice_gap_mm` between their centres."""

    series: Series
    role: str
    places: tuple[Place, ...]
    slice_gap_mm: float

    def header(self, place: Place) -> Dataset:
        return self.series.instances[place.frame.instance].header

    @property
    def frame_of_reference(self) -> str | None:
        return self.series.header.get("FrameOfReferenceUID") or None

    def stack(self, array: np.ndarray) -> np.ndarray:
        """An array of the image's grid on the source frames: (place, row, column)."""
        return np.stack([mask_on_frame(array, place) for place in self.places])


def planes_of(report: Report, provenance: Provenance, images: Mapping[str, Image]) -> dict[str, Planes]:
    """The planes of every image that carries a mask, by role. StudyError where its frames cannot be found again."""
    carrying = {mask.role for outcome in report.outcomes for mask in outcome.masks}
    return {role: planes_on(report, provenance, role, images[role]) for role in ROLES if role in carrying}


def planes_on(report: Report, provenance: Provenance, role: str, image: Image) -> Planes:
    """The planes of the image with that role. StudyError where its frames cannot be found again."""
    note = report.series_with(role)
    if note is None:
        raise StudyError(say(
            "a result lies on the {role} image, but no series of the study is named as its source; it was not written",
            role=role,
        ))
    series = provenance.series(note.series_instance_uid)
    is_mosaic = bool(images_in_mosaic(series.header))
    places = tiles_of(series, image) if is_mosaic else slice_map(image.lps_from_index, image.array.shape, frames_of(series))
    best: dict[int, Place] = {}
    for place in sorted(places, key=lambda place: _preference(place.frame)):
        best.setdefault(place.slice_index, place)
    missing = image.array.shape[0] - len(best)
    if missing:
        raise StudyError(say(
            "{missing} slices of the {role} image have no frame in their series; a result on it would be incomplete",
            missing=missing, role=role,
        ))
    return Planes(series, role, tuple(best[index] for index in sorted(best)), float(np.linalg.norm(image.lps_from_index[:3, 0])))


def _preference(frame: Frame) -> tuple:
    return (frame.is_derived, frame.component != "magnitude", frame.b_value_s_mm2 or 0.0, frame.time_position, frame.echo_time_ms or 0.0,
            frame.instance, frame.number or 0)  # fmt: skip


def classic_images(planes: Planes) -> list[Dataset]:
    """Each place as a classic MR header without pixels, in the order of the places."""
    return [_classic_image(planes, place) for place in planes.places]


def _classic_image(planes: Planes, place: Place) -> Dataset:
    header, frame = planes.header(place), place.frame
    image = blank_source(header)
    for keyword in _EQUIPMENT:
        if header.get(keyword):
            image[keyword] = deepcopy(header[keyword])
    image.SOPClassUID, image.SOPInstanceUID = MRImageStorage, _stand_in(header, place)
    image.Rows, image.Columns = frame.rows, frame.columns
    slices, rows, columns = frame.lps_from_index[:3, :3].T
    spacing = np.linalg.norm(rows), np.linalg.norm(columns)
    image.ImagePositionPatient = _decimals(frame.origin_lps)
    image.ImageOrientationPatient = _orientation(header, place, np.array([*(columns / spacing[1]), *(rows / spacing[0])]))
    image.PixelSpacing = _decimals(spacing)
    image.SliceThickness, image.SpacingBetweenSlices = _decimals([np.linalg.norm(slices), planes.slice_gap_mm])
    return image


def _orientation(header: Dataset, place: Place, cosines: np.ndarray) -> object:
    """As the source writes it, to the last digit: OHIF 3.13 takes a map that differs by any amount for an oblique one."""
    number = place.frame.number
    source = header if number is None else functional_group(header, number, "PlaneOrientationSequence")
    written = source.get("ImageOrientationPatient")
    is_same = written is not None and len(written) == 6 and np.allclose(np.array(written, float), cosines, atol=SAME_ORIENTATION)
    return deepcopy(written) if is_same else _decimals(cosines)


def _decimals(numbers: object) -> list[float]:
    return [round(float(number), 8) + 0.0 for number in numbers]


def _stand_in(header: Dataset, place: Place) -> str:
    """A UID for each place, though many share an instance."""
    part = place.frame.number or (place.corner if any(place.corner) else None)
    return str(header.SOPInstanceUID) if part is None else uid("frame", header.SOPInstanceUID, part)


def restore_references(ds: Dataset, planes: Planes) -> None:
    """The true instances, and the frame numbers of enhanced ones, in place of the stand-ins."""
    true = {_stand_in(planes.header(place), place): (planes.header(place), place.frame.number) for place in planes.places}
    for group in ds.PerFrameFunctionalGroupsSequence:
        for source in group.DerivationImageSequence[0].SourceImageSequence:
            if source.ReferencedSOPInstanceUID not in true:
                continue  # the segments of one plane share this item: it is restored already
            header, number = true[source.ReferencedSOPInstanceUID]
            source.ReferencedSOPClassUID, source.ReferencedSOPInstanceUID = header.SOPClassUID, header.SOPInstanceUID
            if number is not None:
                source.ReferencedFrameNumber = number
    headers = {header.SOPInstanceUID: header for header, _ in true.values()}
    ds.SourceImageSequence = Items([reference(header) for header in headers.values()])
    ds.ReferencedSeriesSequence[0].ReferencedInstanceSequence = Items([reference(header) for header in headers.values()])


def reference(header: Dataset) -> Dataset:
    """The item that refers to one instance."""
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = header.SOPClassUID, header.SOPInstanceUID
    return item
