"""What stands in for an object whose SOP class a destination does not take: the same report in another class, or objects that carry it.

A structured report holds only what simpler classes can hold too (planar coordinates, numbers, text), so it is sent again as the next
simpler one: every content item stays as it is, and the validators that know the classes pass it. Pictures, masks and maps have no other
class: what a reader needs of them stands on the pages. The pages are there as PDF and as pictures, and each carries the other. The page for
the patient is on no other. Nothing is made up: where nothing carries an object, that is said, and it is parked.

An object that is made here is made of the kept bytes of the answer and of nothing else. Its UIDs follow from the object that it stands for,
the class and the content; so the same refusal gives the same object, at every destination.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pydicom.dataset import Dataset

from node import uids

FOLDER = "instead"
COMPREHENSIVE_3D, COMPREHENSIVE, ENHANCED, BASIC_TEXT = (f"1.2.840.10008.5.1.4.1.1.88.{end}" for end in (34, 33, 22, 11))
SEGMENTATION, PARAMETRIC_MAP, TRACTS = "1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.30", "1.2.840.10008.5.1.4.1.1.66.6"
PAGES, PDF = "1.2.840.10008.5.1.4.1.1.7", "1.2.840.10008.5.1.4.1.1.104.1"
_REPORT, _PICTURES, _PAPER = 9011, 9040, 9050
_PLACEHOLDER = "2.25.0"
_SIMPLER = {"comprehensive": COMPREHENSIVE, "enhanced": ENHANCED, "basic": BASIC_TEXT}


@dataclass(frozen=True)
class Rule:
    """`made`: names of the classes in which an object is sent instead, in this order. `carried`: the series of which one says as much."""

    made: tuple[str, ...]
    carried: tuple[int, ...]


RULES = {
    COMPREHENSIVE_3D: Rule(("comprehensive", "enhanced"), (_REPORT, _PAPER, _PICTURES)),
    ENHANCED: Rule(("basic", "comprehensive"), (_PAPER, _PICTURES)),
    SEGMENTATION: Rule((), (_PAPER, _PICTURES)),
    PARAMETRIC_MAP: Rule((), (_PAPER, _PICTURES)),
    TRACTS: Rule((), (_PAPER, _PICTURES)),
    PDF: Rule((), (_PICTURES,)),
    PAGES: Rule((), (_PAPER,)),
}


@dataclass(frozen=True)
class Kind:
    """What an object of an answer is: its class, and the number of its series, which says what it is for."""

    sop_class: str
    series_number: int


def kind_of(path: Path) -> Kind:
    """OSError, AttributeError or ValueError where the file is gone or says it not."""
    from pydicom import dcmread

    header = dcmread(path, stop_before_pixels=True, specific_tags=["SOPClassUID", "SeriesNumber"])
    return Kind(str(header.SOPClassUID), int(header.get("SeriesNumber") or 0))


def original_of(file: str) -> str:
    """The file of the answer for which a file stands; itself where it is of the answer."""
    path = PurePosixPath(file)
    return f"{PurePosixPath(path.stem).stem}.dcm" if path.parts[0] == FOLDER else file


def next_name(file: str, original: Kind) -> str | None:
    """The name of what is sent where `file` was refused; None where there is no simpler class. `original`: of the object of the answer."""
    names = [f"{FOLDER}/{PurePosixPath(original_of(file)).stem}.{name}.dcm" for name in _rule(original).made]
    tried = names.index(file) + 1 if file in names else 0
    return names[tried] if tried < len(names) else None


def _rule(original: Kind) -> Rule:
    is_other_pdf = original.sop_class == PDF and original.series_number != _PAPER
    return Rule((), ()) if is_other_pdf else RULES.get(original.sop_class, Rule((), ()))


def made_as(name: str, original: Path) -> bytes:
    """The object of that name, from the one of the answer: the same content in a simpler class, with UIDs of its own."""
    from pydicom import dcmread

    from node.provenance import encoded

    ds, sop_class = dcmread(original), _SIMPLER[PurePosixPath(PurePosixPath(name).stem).suffix[1:]]
    parent, series = str(ds.SOPInstanceUID), str(ds.SeriesInstanceUID)
    _name(ds, sop_class, _PLACEHOLDER, _PLACEHOLDER)
    content = uids.digest(encoded(ds))
    _name(ds, sop_class, uids.uid(FOLDER, parent, sop_class, content), uids.uid(FOLDER, "series", series, sop_class, content))
    return encoded(ds)


def _name(ds: Dataset, sop_class: str, instance_uid: str, series_uid: str) -> None:
    ds.SOPClassUID, ds.SOPInstanceUID, ds.SeriesInstanceUID = sop_class, instance_uid, series_uid
    ds.file_meta.MediaStorageSOPClassUID, ds.file_meta.MediaStorageSOPInstanceUID = sop_class, instance_uid


def carriers(kind: Kind, arrived: Mapping[str, Kind], missing: Iterable[Kind]) -> list[str]:
    """The files of the first series that carries what an object of that kind says and arrived whole; empty where there is none.

    `kind` is that of the object of the answer, not of what was tried in its place. `arrived` and `missing`: what else of the answer did
    reach the destination, and did not.
    """
    lacking = {one.series_number for one in missing}
    for number in _rule(kind).carried:
        files = sorted(file for file, one in arrived.items() if one.series_number == number)
        if files and number not in lacking:
            return files
    return []
