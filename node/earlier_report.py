"""Our own coded reports (series 9010, TID 1500) read back: the numbers of `report.json` of that examination, unchanged.

Tolerant of what an archive may do to an object (another character set, elements added), strict in what it believes: a report of another
maker, of a newer version of Betz, or one in which a number has no marker, no version, no value or no unit is refused in words, the whole
of it. Reports of before names and levels were written beside the numbers are read by their codes (`earlier_form`); what those reports said
in sentences only is not read.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from datetime import date, datetime
from pathlib import Path

from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.sr.coding import Code

from analysis.earlier import Acquisition, Earlier, EarlierFinding, EarlierMarker, EarlierMeasurement
from analysis.outcome import Reference
from analysis.words import say
from node import __version__, concepts
from node.earlier_form import finding_named, level_in, measurement_named
from node.errors import StudyError
from node.provenance import MANUFACTURER, MODEL

SOP_CLASS = "1.2.840.10008.5.1.4.1.1.88.34"  # Comprehensive 3D SR
LARGEST_BYTES = 2**26
_SIDES = {one.value: side for side, one in concepts.SIDES.items()}
_VERDICTS = {one.value: verdict for verdict, one in concepts.VERDICTS.items()}
_GROUP, _SITE, _TRACKING = "125007", "363698007", "112039"
_LIMITS = (concepts.PERCENTILE_LOW, concepts.PERCENTILE_HIGH)
_STANDING = (concepts.Z_SCORE, concepts.PERCENTILE, concepts.MEAN, concepts.SPREAD, concepts.LOW, concepts.HIGH)
_DESCRIPTION, _AUTHORITY = "121405", "121406"


def read_earlier(path: Path) -> Earlier:
    """The report in a file; StudyError where it is none that can be used."""
    try:
        if path.stat().st_size > LARGEST_BYTES:
            raise StudyError(say("the earlier report is larger than any that Betz writes"))
        ds = dcmread(path)
    except StudyError:
        raise
    except Exception as error:  # pydicom raises many kinds on a damaged file
        raise StudyError(say("the earlier report cannot be read ({kind})", kind=type(error).__name__)) from None
    return earlier_of(ds)


def is_own(header: Dataset) -> bool:
    """True for an object that Betz made."""
    return (str(header.get("Manufacturer") or "").strip(), str(header.get("ManufacturerModelName") or "").strip()) == (MANUFACTURER, MODEL)


def is_report(header: Dataset) -> bool:
    """True for a coded report of Betz."""
    return is_own(header) and str(header.get("SOPClassUID")) == SOP_CLASS


def earlier_of(ds: Dataset) -> Earlier:
    """What a coded report says; StudyError where it is of another maker, newer or damaged."""
    try:
        if not is_report(ds):
            raise StudyError(say("the earlier report was not made by Betz"))
        if _numbered(str(ds.SoftwareVersions)) > _numbered(__version__):
            made_by = str(ds.SoftwareVersions)[:16]
            raise StudyError(say("the earlier report was made by Betz {version}, which is newer than this one", version=made_by))
        return _read(ds)
    except StudyError:
        raise
    except Exception as error:  # whatever is not there, or is not what it should be
        raise StudyError(say("the earlier report is damaged ({kind})", kind=type(error).__name__)) from error


def day_of(header: Dataset) -> date:
    """The date of a study; ValueError where its header says none."""
    return datetime.strptime(str(header.get("StudyDate") or "").replace(".", ""), "%Y%m%d").date()


def _numbered(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version)[:3])


def _read(ds: Dataset) -> Earlier:
    parts = {_concept(item): item for item in ds.ContentSequence if item.ValueType == "CONTAINER"}
    found: dict[str, tuple[int, list[EarlierMeasurement], list[EarlierFinding]]] = {}
    for group in _children(parts[concepts.MEASUREMENTS.value], "CONTAINER", _GROUP):
        _take_group(found, group)
    for item in parts[concepts.EVALUATIONS.value].get("ContentSequence", ()):
        _take_loose(found, item)
    markers = {name: EarlierMarker(version, tuple(numbers), tuple(findings)) for name, (version, numbers, findings) in found.items()}
    for name, marker in markers.items():
        _check_once(name, marker)
    acquisitions = _acquisitions(parts[concepts.IMAGE_LIBRARY.value])
    named = {"sop_instance_uid": str(ds.SOPInstanceUID), "series_instance_uid": str(ds.SeriesInstanceUID)}
    return Earlier(str(ds.StudyInstanceUID), day_of(ds).isoformat(), markers=markers, acquisitions=acquisitions, **named)


def _take_group(found: dict, group: Dataset) -> None:
    marker, version = _text(group, concepts.ALGORITHM_NAME), int(_text(group, concepts.ALGORITHM_VERSION))
    site = next(iter(_children(group, "CODE", _SITE)))
    side, level = _side(site), level_in(_text(group, _TRACKING), site.ConceptCodeSequence[0].CodeMeaning, _side(site), marker)
    numbers, findings = _lists(found, marker, version)
    numbers += [_measurement(item, marker, side, level, _value(site.ConceptCodeSequence[0])) for item in _children(group, "NUM")]
    for item in _children(group, "CODE"):
        if name := _maybe(item, concepts.ITEM_NAME) or finding_named(_concept(item)):
            findings.append(_finding(item, name))


def _take_loose(found: dict, item: Dataset) -> None:
    """What has no place in the images: a finding, or a number under the sentence that says it."""
    for one in ([item] if item.ValueType == "CODE" else _children(item, "NUM")):
        if marker := _maybe(one, concepts.ALGORITHM_NAME):
            numbers, findings = _lists(found, marker, int(_text(one, concepts.ALGORITHM_VERSION)))
            if one.ValueType == "CODE":
                findings.append(_finding(one, _text(one, concepts.ITEM_NAME)))
            else:
                numbers.append(_measurement(one, marker, _side(one), None, ""))


def _lists(found: dict, marker: str, version: int) -> tuple[list[EarlierMeasurement], list[EarlierFinding]]:
    known, numbers, findings = found.setdefault(marker, (version, [], []))
    if known != version:
        raise StudyError(say("the earlier report is damaged (it names two versions of {marker})", marker=marker))
    return numbers, findings


def _measurement(item: Dataset, marker: str, side: str | None, level: str | None, site: str) -> EarlierMeasurement:
    """`side`, `level` and `site` are those of the group."""
    value, unit = _number(item)
    name = _maybe(item, concepts.ITEM_NAME)
    if name is None:
        name = measurement_named(marker, _concept(item), site)
    else:
        level = _maybe(item, concepts.ITEM_LEVEL)
    numbers = {_concept(child): _number(child) for child in _children(item, "NUM")}
    if any(numbers[one.value][1] != unit for one in (concepts.UNCERTAINTY, concepts.MEAN) if one.value in numbers):
        raise StudyError(say("the earlier report is damaged (a number and its error have different units)"))
    uncertainty = numbers.get(concepts.UNCERTAINTY.value, (None, ""))[0]
    reference = _reference(item, {key: number for key, (number, _) in numbers.items()})
    return EarlierMeasurement(name, value, unit, side, level, uncertainty, reference)


def _reference(item: Dataset, numbers: dict[str, float]) -> Reference | None:
    if concepts.Z_SCORE.value not in numbers:
        return None
    population = _maybe(item, concepts.POPULATION_NAME)
    if population is None:  # a report of before the population stood by itself
        said = re.fullmatch(r"(?s)(.*); n = (\d+);\D*(\d+)\D+(\d+)\D.*", _text(item, _DESCRIPTION))
        population, (n, *limits) = said[1], map(int, said.groups()[1:])
    else:
        n, limits = int(numbers[concepts.POPULATION_SIZE.value]), [numbers[one.value] for one in _LIMITS]
    z, percentile, *standing = (numbers[one.value] for one in _STANDING)
    return Reference(population, n, z, percentile, *limits, *standing, _maybe(item, _AUTHORITY) or "")


def _finding(item: Dataset, name: str) -> EarlierFinding:
    grades = [_number(child)[0] for child in _children(item, "NUM", concepts.ITEM_GRADE)]
    grade = int(grades[0]) if grades else None
    return EarlierFinding(name, _VERDICTS[_value(item.ConceptCodeSequence[0])], _side(item), _maybe(item, concepts.ITEM_LEVEL), grade)


def _check_once(name: str, marker: EarlierMarker) -> None:
    keys = [(one.name, one.side, one.level) for one in marker.measurements]
    if len(keys) != len(set(keys)):
        raise StudyError(say("the earlier report is damaged (it gives two values of one measurement of {marker})", marker=name))


def _acquisitions(library: Dataset) -> dict[str, Acquisition]:
    """By role; empty in a report of before they were written."""
    found = {}
    for group in library.get("ContentSequence", ()):
        for image in _children(group, "IMAGE"):
            if role := _maybe(image, concepts.SERIES_ROLE):
                found[role] = Acquisition(_maybe(image, concepts.SCANNER) or "", _maybe(image, concepts.PROTOCOL) or "")
    return found


def _number(item: Dataset) -> tuple[float, str]:
    """Value and unit. The floating point value is the number itself; the decimal string has 16 characters of it (PS3.3 C.18.1)."""
    measured = item.MeasuredValueSequence[0]
    value = float(measured.get("FloatingPointValue", measured.NumericValue))
    if not math.isfinite(value):
        raise StudyError(say("the earlier report is damaged (a number is not finite)"))
    return value, concepts.unit_of(_code(measured.MeasurementUnitsCodeSequence[0]))


def _code(item: Dataset) -> Code:
    return Code(_value(item), str(item.CodingSchemeDesignator), str(item.CodeMeaning))


def _side(item: Dataset) -> str | None:
    return next((_SIDES[_value(child.ConceptCodeSequence[0])] for child in _children(item, "CODE", concepts.LATERALITY)), None)


def _text(item: Dataset, name: Code | str) -> str:
    found = _maybe(item, name)
    if found is None:
        raise StudyError(say("the earlier report is damaged (a name, a version or a population is missing)"))
    return found


def _maybe(item: Dataset, name: Code | str) -> str | None:
    """The text under that name. pydicom splits a long text at backslashes, which it may not (PS3.5 6.2)."""
    for child in _children(item, "TEXT", name):
        value = child.TextValue
        return value if isinstance(value, str) else "\\".join(value)
    return None


def _children(item: Dataset, kind: str, name: Code | str | None = None) -> Iterator[Dataset]:
    wanted = name.value if isinstance(name, Code) else name
    children: Sequence[Dataset] = item.get("ContentSequence", ())
    return (child for child in children if child.ValueType == kind and wanted in (None, _concept(child)))


def _concept(item: Dataset) -> str:
    names = item.get("ConceptNameCodeSequence") or ()
    return _value(names[0]) if names else ""


def _value(code: Dataset) -> str:
    """More than 16 letters stand in another element (PS3.3 8.1)."""
    return str(code.get("CodeValue") or code.get("LongCodeValue") or "")
