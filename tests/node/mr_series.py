"""Small MR series as several vendors write them: headers for the roles, files with pixels for the volumes.

The values are typical of the vendors' default protocols; the private elements are the documented ones.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from pydicom import DataElement, Dataset, uid
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import FileMetaDataset
from pydicom.sequence import Sequence

from node.study import Instance, Series

AXIAL = (1, 0, 0, 0, 1, 0)
SAGITTAL = (0, 1, 0, 0, 0, -1)
CORONAL = (1, 0, 0, 0, 0, -1)
STUDY = "1.2.826.0.1.3680043.8.498.1"


def header(**tags: object) -> Dataset:
    """A classic MR header; a tag given as None is absent."""
    values = {
        "SOPClassUID": uid.MRImageStorage,
        "StudyInstanceUID": STUDY,
        "Modality": "MR",
        "ImageType": ["ORIGINAL", "PRIMARY", "M", "ND"],
        "PatientID": "PHANTOM",
        "PatientName": "Phantom^Betz",
        "StudyDate": "20250601",
        "SeriesNumber": 1,
        "ImagedNucleus": "1H",
        "BodyPartExamined": "HEAD",
        "Rows": 64,
        "Columns": 64,
        "BitsAllocated": 16,
        "BitsStored": 16,
        "HighBit": 15,
        "PixelRepresentation": 0,
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "FrameOfReferenceUID": STUDY + ".9",
    }
    dataset = Dataset()
    for keyword, value in {**values, **tags}.items():
        if value is not None:
            setattr(dataset, keyword, value)
    return dataset


def twin(dataset: Dataset) -> Dataset:
    """The same elements in a data set of its own; the values are shared."""
    other = Dataset()
    for element in dataset:
        other.add(DataElement(element.tag, element.VR, element.value))
    return other


def stack(base: Dataset, slices: int, step_mm: float, pixel_mm: float = 3.75, orientation=AXIAL, origin=None) -> list[Dataset]:
    """One header per slice, evenly spaced along the normal, centred on the isocentre."""
    rows, columns = np.array(orientation[3:], float), np.array(orientation[:3], float)
    normal = np.cross(rows, columns)
    size = np.array([slices * step_mm, base.Rows * pixel_mm, base.Columns * pixel_mm])
    corner = np.array(origin, float) if origin is not None else -(normal * size[0] + rows * size[1] + columns * size[2]) / 2
    base.ImageOrientationPatient = list(orientation)
    base.PixelSpacing = [pixel_mm, pixel_mm]
    base.SliceThickness = step_mm
    headers = []
    for number in range(slices):
        one = twin(base)
        one.ImagePositionPatient = [round(float(value), 6) for value in corner + normal * number * step_mm]
        headers.append(one)
    return headers


def repeated(headers: list[Dataset], changes: list[dict[str, object]]) -> list[Dataset]:
    """The stack once for every change of tags: echoes, time points, directions."""
    result = []
    for change in changes:
        for one in headers:
            other = twin(one)
            for keyword, value in change.items():
                setattr(other, keyword, value)
            result.append(other)
    return result


def series(headers: list[Dataset], number: int = 1) -> Series:
    """A series of headers only; the files are not there."""
    series_uid = f"{headers[0].StudyInstanceUID}.{number}"
    instances = []
    for index, one in enumerate(headers, 1):
        one.SOPInstanceUID, one.SeriesInstanceUID, one.InstanceNumber, one.SeriesNumber = f"{series_uid}.{index}", series_uid, index, number
        instances.append(Instance(Path(f"{number}-{index}.dcm"), one))
    return Series(series_uid, tuple(instances))


def private(dataset: Dataset, group: int, creator: str, element: int, vr: str, value: object) -> None:
    dataset.private_block(group, creator, create=True).add_new(element, vr, value)


def write(headers: list[Dataset], pixels: np.ndarray, folder: Path, number: int = 1, syntax=uid.ExplicitVRLittleEndian) -> list[Path]:
    """Files with pixels: one picture per header, in order."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for one, picture in zip(series(headers, number).instances, pixels, strict=True):
        dataset = twin(one.header)
        dataset.PixelData = picture.astype("<u2").tobytes()
        dataset["PixelData"].VR = "OW"
        paths.append(save(dataset, folder / f"{number:03d}-{dataset.InstanceNumber:04d}.dcm", syntax))
    return paths


def save(dataset: Dataset, path: Path, syntax: str = uid.ExplicitVRLittleEndian) -> Path:
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.save_as(path, enforce_file_format=True)
    return path


def enhanced(headers: list[Dataset], pixels: np.ndarray | None = None, **shared: object) -> Dataset:
    """One enhanced MR object of the same pictures, with the values in the functional groups where PS3.3 C.8.13 puts them."""
    first = headers[0]
    result = header(SOPClassUID=uid.EnhancedMRImageStorage, NumberOfFrames=len(headers), Rows=first.Rows, Columns=first.Columns, **shared)
    result.SharedFunctionalGroupsSequence = Sequence([_groups(first, None, _timing)])
    places = [tuple(one.ImagePositionPatient) for one in headers]
    stack_order = sorted(set(places), key=places.index)
    counts = [(stack_order.index(place) + 1, places[: index + 1].count(place)) for index, place in enumerate(places)]
    result.PerFrameFunctionalGroupsSequence = Sequence([_groups(one, count, _frame) for one, count in zip(headers, counts, strict=True)])
    result.DimensionIndexSequence = Sequence([_dimension("InStackPositionNumber"), _dimension("TemporalPositionIndex")])
    if pixels is not None:
        result.PixelData = pixels.astype("<u2").tobytes()
        result["PixelData"].VR = "OW"
    return result


def _dimension(keyword: str) -> Dataset:
    item = Dataset()
    item.DimensionIndexPointer = tag_for_keyword(keyword)
    item.FunctionalGroupPointer = tag_for_keyword("FrameContentSequence")
    return item


def _groups(one: Dataset, count: tuple[int, int] | None, fill: object) -> Dataset:
    group = Dataset()
    for keyword, values in fill(one, count).items():  # type: ignore[operator]
        item = Dataset()
        for name, value in values.items():
            if value is not None:
                setattr(item, name, value)
        setattr(group, keyword, Sequence([item]))
    return group


def _timing(one: Dataset, _: tuple[int, int] | None) -> dict[str, dict[str, object]]:
    inversion = one.get("InversionTime")
    return {
        "MRTimingAndRelatedParametersSequence": {"RepetitionTime": one.get("RepetitionTime"), "FlipAngle": one.get("FlipAngle")},
        "MRModifierSequence": {"InversionRecovery": "YES" if inversion else "NO", "InversionTimes": inversion},
        "PixelMeasuresSequence": {"PixelSpacing": one.PixelSpacing, "SliceThickness": one.SliceThickness},
        "PlaneOrientationSequence": {"ImageOrientationPatient": one.ImageOrientationPatient},
        "MRImageFrameTypeSequence": {"FrameType": one.ImageType, "ComplexImageComponent": "MAGNITUDE"},
    }


def _frame(one: Dataset, count: tuple[int, int]) -> dict[str, dict[str, object]]:
    groups: dict[str, dict[str, object]] = {
        "PlanePositionSequence": {"ImagePositionPatient": one.ImagePositionPatient},
        "FrameContentSequence": {
            "StackID": "1",
            "InStackPositionNumber": count[0],
            "TemporalPositionIndex": count[1],
            "DimensionIndexValues": list(count),
        },
        "MREchoSequence": {"EffectiveEchoTime": float(one.EchoTime)},
    }
    if one.get("DiffusionBValue") is not None:
        vector = one.get("DiffusionGradientOrientation")
        direction = Dataset()
        if vector is not None:
            direction.DiffusionGradientOrientation = vector
        groups["MRDiffusionSequence"] = {
            "DiffusionBValue": one.DiffusionBValue,
            "DiffusionDirectionality": one.get("DiffusionDirectionality") or ("DIRECTIONAL" if vector is not None else "NONE"),
            "DiffusionGradientDirectionSequence": Sequence([direction]) if vector is not None else None,
        }
    return groups
