"""Earlier examinations of the patient as folders on the disk: what lies there is read, checked to be of the same person, and listed.

A folder may hold an answer of Betz, images, or both; several folders may be of one examination. The latest coded report of an examination
is read; one that cannot be used leaves its images. A folder that cannot be used costs the report nothing but a sentence; a person who names
one of another patient is refused (`checked`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path

from pydicom import dcmread
from pydicom.dataset import Dataset

from analysis.earlier import Earlier
from analysis.words import say
from node.concepts import MAGNETIC_RESONANCE
from node.earlier_report import day_of, is_own, is_report, read_earlier
from node.errors import StudyError
from node.identity import KEYWORDS, Identity, differences, identity_of
from node.wording import day_words

_TAGS = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "Modality", "StudyDate", "ContentDate", "ContentTime",
         "Manufacturer", "ManufacturerModelName", "PredecessorDocumentsSequence", "SpecificCharacterSet", *KEYWORDS)  # fmt: skip


@dataclass(eq=False)
class Held:
    """What the folders hold of one examination: a header, who is named in its objects, our coded reports, and its series."""

    header: Dataset
    identities: set[Identity] = field(default_factory=set)
    reports: dict[Path, Dataset] = field(default_factory=dict)
    series: set[str] = field(default_factory=set)

    @property
    def day(self) -> date | None:
        try:
            return day_of(self.header)
        except ValueError:
            return None


def is_usable(held: Held) -> bool:
    """True where there is anything to compare with."""
    return bool(held.reports or held.series)


def held_in(folders: Iterable[Path]) -> dict[str, Held]:
    """The examinations of those folders, by Study Instance UID; what is no DICOM object is passed over."""
    found: dict[str, Held] = {}
    for path, header in headers_in(folders):
        one = found.setdefault(str(header.StudyInstanceUID), Held(header))
        one.identities.add(identity_of(header))
        if is_report(header):
            one.reports[path] = header
        elif not is_own(header) and str(header.get("Modality") or "") == MAGNETIC_RESONANCE.value:
            one.series.add(str(header.get("SeriesInstanceUID") or ""))
    return found


def headers_in(folders: Iterable[Path]) -> Iterator[tuple[Path, Dataset]]:
    """Every DICOM object below the folders that names its study, with the few elements that are asked here."""
    for path in sorted(path for folder in folders for path in folder.rglob("*") if path.is_file() and path.suffix not in (".json", ".gz")):
        try:
            header = dcmread(path, stop_before_pixels=True, specific_tags=list(_TAGS))
        except Exception:  # pydicom raises many kinds on what is none
            continue
        if header.get("StudyInstanceUID"):
            yield path, header


def earlier_in(folders: Sequence[Path], study: Dataset) -> tuple[tuple[Earlier, ...], tuple[str, ...]]:
    """The earlier examinations in the folders, the first one first, and a sentence for each that cannot be used.

    `study`: a header of the new study. They must be of the same person, with a birth date that says so, and of an earlier day.
    """
    found, problems = [], []
    for uid, held in held_in(folders).items():
        reason = _why_not(uid, held, study)
        if reason:
            problems.append(_left_out(held, reason))
            continue
        earlier, problem = _read(uid, held)
        found.append(replace(earlier, days_before=(day_of(study) - held.day).days))
        problems += [_left_out(held, problem)] if problem else []
    return tuple(sorted(found, key=lambda one: (one.day, one.study_instance_uid))), tuple(problems)


def _why_not(uid: str, held: Held, study: Dataset, is_proof: bool = True) -> str | None:
    if uid == str(study.StudyInstanceUID):
        return say("it is the examination that is reported here")
    if different := differences(identity_of(study), held.identities, is_proof):
        return different
    try:
        return None if held.day and held.day < day_of(study) else say("it is not of an earlier day")
    except ValueError:
        return say("the date of the new examination is not known")


def _left_out(held: Held, reason: str) -> str:
    if held.day is None:
        return say("An earlier examination was not used: {reason}.", reason=reason)
    return say("The earlier examination of {day} was not used: {reason}.", day=day_words(str(held.day)), reason=reason)


def _read(uid: str, held: Held) -> tuple[Earlier, str | None]:
    """The examination with its latest report; without, and why, where that cannot be used."""
    plain = Earlier(uid, held.day.isoformat(), series=len(held.series))
    if not held.reports:
        return plain, None
    try:
        return replace(read_earlier(_latest(held.reports)), series=len(held.series)), None
    except StudyError as error:
        return plain, error.reason


def _latest(reports: dict[Path, Dataset]) -> Path:
    """The report that no other one replaces; of several the one that was made last."""
    series = [series for header in reports.values() for study in header.get("PredecessorDocumentsSequence", ())
              for series in study.get("ReferencedSeriesSequence", ())]  # fmt: skip
    replaced = {str(document.ReferencedSOPInstanceUID) for one in series for document in one.get("ReferencedSOPSequence", ())}

    def rank(path: Path) -> tuple[bool, str, str, str]:
        header = reports[path]
        moment = str(header.get("ContentDate") or ""), str(header.get("ContentTime") or "")
        return (str(header.SOPInstanceUID) not in replaced, *moment, str(header.SOPInstanceUID))

    return max(reports, key=rank)


def in_order(folders: Sequence[Path]) -> list[Path]:
    """The folders of one patient by the date of their examination. StudyError, with the reason, where they are not of one patient, hold
    several examinations, or are of one day: then nobody can say which is the new one."""
    known = [(folder, _only_one(folder)) for folder in folders]
    days: dict[date, Path] = {}
    for folder, held in known:
        if different := differences(identity_of(known[0][1].header), held.identities):
            raise StudyError(f"{folder} and {known[0][0]} are not of one patient: {different}. Name the folders of one patient only.")
        if held.day is None:
            raise StudyError(f"{folder} says no date of its examination, so it has no place in an order.")
        if held.day in days:
            raise StudyError(f"{folder} and {days[held.day]} are of the same day; name one of them.")
        days[held.day] = folder
    return [days[day] for day in sorted(days)]


def _only_one(folder: Path) -> Held:
    held = held_in([folder])
    if len(held) != 1:
        what = f"{len(held)} examinations" if held else "no DICOM object that names its study"
        raise StudyError(f"{folder} holds {what}; of several folders each must hold one examination.")
    return next(iter(held.values()))
