"""A study as it lies on the disk: headers and paths, no pixels.

A header is a pydicom Dataset read without pixel data, with every private tag kept. Whoever needs pixels asks `node.volumes`.
"""

from __future__ import annotations

import math
import os
import re
import struct
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from pydicom import dcmread
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    EnhancedMRColorImageStorage,
    EnhancedMRImageStorage,
    LegacyConvertedEnhancedMRImageStorage,
    MediaStorageDirectoryStorage,
    MRImageStorage,
)

from analysis.examination import Patient
from analysis.words import joined, say
from node.errors import MixedStudyError, StudyError

OLDEST_AGE_YEARS = 120.0
LARGEST_HELD_BYTES = 4096  # larger values stay on the disk until somebody asks: the private headers of 20,000 instances are gigabytes
IMAGE_CLASSES = (MRImageStorage, EnhancedMRImageStorage, EnhancedMRColorImageStorage, LegacyConvertedEnhancedMRImageStorage)
MEDIA_STORAGE_DIRECTORY = MediaStorageDirectoryStorage
PIXEL_TAGS = ((0x7FE0, 0x0008), (0x7FE0, 0x0009), (0x7FE0, 0x0010))
PIXEL_SIZES = ("Rows", "Columns", "NumberOfFrames", "SamplesPerPixel", "BitsAllocated")
SPECTRUM_SIZES = ("NumberOfFrames", "Rows", "Columns", "DataPointRows", "DataPointColumns")
SEQUENCE_DELIMITER = b"\xfe\xff\xdd\xe0"
ENCAPSULATED_TAIL_BYTES = 4096


@dataclass(frozen=True, eq=False)
class Instance:
    """One DICOM object: its file and its header."""

    path: Path
    header: Dataset


@dataclass(frozen=True, eq=False)
class Series:
    """The instances of one series, ordered by InstanceNumber and SOPInstanceUID; never empty, no duplicates."""

    series_instance_uid: str
    instances: tuple[Instance, ...]

    @property
    def header(self) -> Dataset:
        """The header of the first instance."""
        return self.instances[0].header


@dataclass(frozen=True, eq=False)
class Study:
    """One study of one patient. `problems` are sentences about what could not be read; they are part of the report."""

    study_instance_uid: str
    series: tuple[Series, ...]
    problems: tuple[str, ...] = ()

    @property
    def header(self) -> Dataset:
        """The header of the first instance of the first series: the source of patient and study identity."""
        return self.series[0].header


@dataclass(eq=False)
class _Found:
    """What a walk over a folder gathers of one study."""

    by_series: dict[str, dict[str, Instance]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def read_studies(folder: Path) -> tuple[list[Study], list[str]]:
    """Every study in the folder and below, and sentences about files that belong to none of them.

    What concerns one study (a file cut short, two objects under one UID) stands in its `problems`. The order is that of the UIDs.
    """
    found: dict[str, _Found] = {}
    problems: list[str] = []
    for path in _files(folder, problems):
        _read_into(found, problems, path, path.relative_to(folder).as_posix())
    studies = []
    for uid, one in sorted(found.items()):
        if one.by_series:
            studies.append(Study(uid, tuple(_series(*item) for item in sorted(one.by_series.items())), tuple(one.problems)))
        else:
            problems.extend(one.problems)
    return studies, problems


def read_series(paths: Iterable[Path]) -> list[Series]:
    """The series of those files, in the order of their UIDs. A file that cannot be read is left out."""
    found: dict[str, _Found] = {}
    for path in paths:
        if path.is_file():
            _read_into(found, [], path, path.name)
    by_series: dict[str, dict[str, Instance]] = {}
    for one in found.values():
        by_series.update(one.by_series)
    return [_series(*item) for item in sorted(by_series.items()) if item[1]]


def read_study(folder: Path) -> Study:
    """The one study that the folder holds; StudyError where there is none or more than one, MixedStudyError for two patients."""
    studies, problems = read_studies(folder)
    if len(studies) > 1:
        raise MixedStudyError(f"the folder holds {len(studies)} studies; give each study a folder of its own")
    if not studies:
        raise StudyError("; ".join(["the folder holds no DICOM files", *(problem.rstrip(".") for problem in problems[:3])]))
    study = replace(studies[0], problems=studies[0].problems + tuple(problems))
    check_one_patient(study)
    return study


def check_one_patient(study: Study) -> None:
    """MixedStudyError where the instances name different patients, StudyError where that cannot be read; neither names anybody."""
    headers = [instance.header for series in study.series for instance in series.instances]
    try:
        identities = sorted({_identity(header) for header in headers})
    except Exception as error:  # pydicom raises many kinds on a damaged value
        raise StudyError(say("its headers could not be understood ({error})", error=type(error).__name__)) from error
    first = identities[0]
    if any(_are_different(first, other) for other in identities[1:]):
        raise MixedStudyError(
            say(
                "the images of this study name more than one patient under one StudyInstanceUID; correct the patient's identity "
                "in the archive and send the study again",
            )
        )


def patient_of(study: Study) -> Patient:
    """Age and sex at the time of the study, as far as the headers say; what is malformed or impossible counts as not said."""
    header = study.header
    age_years = _stated_age_years(header)
    if age_years is None:
        age_years = _age_from_birth_years(header)
    sex = _said(header, "PatientSex").strip().upper()
    return Patient(age_years, sex if sex in ("F", "M") else None)


def _said(header: Dataset, keyword: str) -> str:
    """The value as text; nothing where it is not there or damaged."""
    try:
        return str(header.get(keyword) or "")
    except Exception:  # pydicom raises many kinds on a damaged value
        return ""


def _files(folder: Path, problems: list[str]) -> list[Path]:
    def tell(error: OSError) -> None:
        place = Path(error.filename).relative_to(folder).as_posix()
        problems.append(say(
            "The folder {place} could not be opened ({strerror}); what it holds was left out.",
            place=place, strerror=error.strerror,
        ))

    paths = (Path(root) / name for root, _, names in os.walk(folder, onerror=tell) for name in names)
    return sorted(path for path in paths if path.is_file())


def _read_into(found: dict[str, _Found], problems: list[str], path: Path, name: str) -> None:
    try:
        with path.open("rb") as file:
            if not _looks_like_dicom(file.read(140)):
                problems.append(say("{name} is no DICOM file; it was left out.", name=name))
                return
            file.seek(0)
            header = dcmread(file, stop_before_pixels=True, defer_size=LARGEST_HELD_BYTES, force=True)
            cut_short = _why_cut_short(header, file, path.stat().st_size)
        sop_class = _sop_class(header)
        missing = [word for word in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID") if not header.get(word)]
    except Exception as error:  # pydicom raises many kinds on a damaged file; each is the same news to a reader
        problems.append(say(
            "{name} could not be read as DICOM ({kind}); it was left out.",
            name=name, kind=type(error).__name__,
        ))
        return
    if sop_class == MEDIA_STORAGE_DIRECTORY:
        return
    if missing:
        problems.append(say("{name} has no {attributes}; it was left out.", name=name, attributes=joined(missing, " and no ")))
        return
    one = found.setdefault(str(header.StudyInstanceUID), _Found())
    if cut_short:
        one.problems.append(say("{name} is cut short: {cut_short}; it was left out.", name=name, cut_short=cut_short))
    else:
        _add(one, Instance(path, header), name)


def _add(one: _Found, instance: Instance, name: str) -> None:
    instances = one.by_series.setdefault(str(instance.header.SeriesInstanceUID), {})
    kept = instances.setdefault(str(instance.header.SOPInstanceUID), instance)
    if kept is instance:
        _share(next(iter(instances.values())).header, instance.header)
    elif not _is_same_object(kept, instance):
        one.problems.append(say(
            "{name} has the SOPInstanceUID of {kept} but other content; it was left out.",
            name=name, kept=kept.path.name,
        ))


def _share(first: Dataset, header: Dataset) -> None:
    """Let a header hold the undecoded elements of the series' first one where they are equal: 20,000 headers repeat each other.

    Undecoded elements are immutable; whoever reads or sets one gets an element of its own.
    """
    if first is header:
        return
    raw, other = header._dict, first._dict
    for tag, element in raw.items():
        same = other.get(tag)
        if isinstance(element, RawDataElement) and isinstance(same, RawDataElement):
            if element.value is not None and element._replace(value_tell=same.value_tell) == same:
                raw[tag] = same
        elif isinstance(element, DataElement) and isinstance(same, DataElement) and element.VR == same.VR == "SQ":
            for item, its_like in zip(element.value, same.value, strict=False):
                _share(its_like, item)


def _is_same_object(first: Instance, second: Instance) -> bool:
    if first.path.read_bytes() == second.path.read_bytes():
        return True
    one, other = dcmread(first.path, force=True), dcmread(second.path, force=True)
    return one == other  # the same object may have travelled in two files with different meta headers


def _series(uid: str, instances: dict[str, Instance]) -> Series:
    def order(instance: Instance) -> tuple[int, str]:
        try:
            return int(instance.header.get("InstanceNumber") or 0), str(instance.header.SOPInstanceUID)
        except Exception:  # no number, or a damaged one
            return 0, str(instance.header.SOPInstanceUID)

    return Series(uid, tuple(sorted(instances.values(), key=order)))


def _sop_class(header: Dataset) -> str:
    return str(header.get("SOPClassUID") or header.file_meta.get("MediaStorageSOPClassUID") or "")


def _looks_like_dicom(start: bytes) -> bool:
    """A preamble, or a first element of group 0002 or 0008 in any of the transfer syntaxes (old files have no preamble)."""
    if start[128:132] == b"DICM":
        return True
    if len(start) < 16 or start[:2] not in (b"\x02\x00", b"\x08\x00", b"\x00\x08"):
        return False
    is_explicit = start[4:6].isalpha() and start[4:6].isupper()
    order = "big" if start[:2] == b"\x00\x08" else "little"
    return int.from_bytes(start[2:4], order) < 0x0100 and (is_explicit or int.from_bytes(start[4:8], order) <= 64)


def _why_cut_short(header: Dataset, file: BinaryIO, size: int) -> str | None:
    """Compare what the header promises with what is there; `file` stands where the header ended, nothing is loaded."""
    if "SpectroscopyData" in header:
        expected = 8 * math.prod(int(header.get(word) or 1) for word in SPECTRUM_SIZES)
        held = len(header.SpectroscopyData)
        return None if held >= expected else say("its spectrum has {held} of {expected} bytes", held=held, expected=expected)
    if header.file_meta.get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian:
        return None  # its stream ends with a checksum: a cut one could not be read at all
    if "Rows" not in header or "BitsAllocated" not in header:
        kind = _sop_class(header)
        return say("it ends before its image begins") if kind in IMAGE_CLASSES else None
    return _why_pixels_are_short(header, file, size)


def _why_pixels_are_short(header: Dataset, file: BinaryIO, size: int) -> str | None:
    start = file.read(12)
    order = "<" if header.original_encoding[1] in (True, None) else ">"
    if len(start) < 12 or struct.unpack(order + "HH", start[:4]) not in PIXEL_TAGS:
        return say("it ends before its pixels begin")
    length = struct.unpack(order + "L", start[4:8] if header.original_encoding[0] else start[8:12])[0]
    there = size - file.tell() + (4 if header.original_encoding[0] else 0)
    if length == 0xFFFFFFFF:
        file.seek(max(size - ENCAPSULATED_TAIL_BYTES, 0))
        is_closed = SEQUENCE_DELIMITER in file.read()
        return None if is_closed else say("its compressed pixels do not end")
    bits = math.prod(int(header.get(word) or 1) for word in PIXEL_SIZES)
    expected = max(length, bits // 8)
    if min(there, length) >= bits // 8 and there >= length:
        return None
    return say("its pixels have {there} of {expected} bytes", there=min(there, length), expected=expected)


def _stated_age_years(header: Dataset) -> float | None:
    match = re.fullmatch(r"(\d{3})([DWMY])", _said(header, "PatientAge").strip().upper())
    if match is None:
        return None
    return _possible_age_years(int(match[1]) / {"D": 365.25, "W": 365.25 / 7, "M": 12.0, "Y": 1.0}[match[2]])


def _age_from_birth_years(header: Dataset) -> float | None:
    try:
        born, seen = (datetime.strptime(_said(header, word)[:8], "%Y%m%d") for word in ("PatientBirthDate", "StudyDate"))
    except ValueError:
        return None
    return _possible_age_years((seen - born).days / 365.25)


def _possible_age_years(age_years: float) -> float | None:
    """Anonymisers write an age of 0 and birth dates of 1900: neither is an age."""
    return round(age_years, 2) if 0 < age_years <= OLDEST_AGE_YEARS else None


def _identity(header: Dataset) -> tuple[str, str, str]:
    name = str(header.get("PatientName") or "").replace("^", " ")
    words = (str(header.get("PatientID") or ""), name, str(header.get("PatientBirthDate") or ""))
    return tuple(" ".join(word.split()).casefold() for word in words)  # type: ignore[return-value]


def _are_different(one: tuple[str, str, str], other: tuple[str, str, str]) -> bool:
    """Another ID is another patient; under one ID the birth date decides, and without one the name."""
    if one[0] != other[0]:
        return True
    if one[2] != other[2]:
        return True
    return one[1] != other[1] and not (one[0] and one[2])
