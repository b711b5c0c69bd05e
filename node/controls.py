"""The site's own healthy controls as they are kept: one file each in `<storage>/norms`, without name, ID or date.

A control is what the markers measured of one study, the age and sex, and the scanner and protocol of each series. It keeps the
StudyInstanceUID, so that it can be found and removed; who it is stands there as a digest only, so that a person counts once. A plain digest
of a short ID could be undone by trying all IDs; so it is keyed with random bytes that this folder alone holds (`secret`), and neither the
ID nor its digest is in report.json: the ID is read from the DICOM objects beside it. What cannot be a control is refused with a sentence.
A file that is broken is a sentence as well, and the others hold.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydicom import dcmread
from pydicom.dataset import Dataset

from analysis.marker import Marker
from analysis.outcome import FAILED, MEASURED
from analysis.words import say
from node.errors import ControlError
from node.spool import is_uid

FOLDER, SECRET = "norms", "secret"
SECRET_BYTES, PERSON_DIGITS = 32, 32
Key = tuple[str, str | None, str | None]  # name, side, level


@dataclass(frozen=True)
class Place:
    """Where a series was made: the texts of `node.protocol`, neither of them empty."""

    scanner: str
    protocol: str


@dataclass(frozen=True)
class Measured:
    """What one marker gave: value and error by name, side and level; profiles by name and side."""

    version: int
    values: Mapping[Key, tuple[float, float | None]]
    profiles: Mapping[tuple[str, str], tuple[float | None, ...]]


@dataclass(frozen=True)
class Control:
    """One healthy person's study. `person` is a keyed digest."""

    study: str
    person: str
    age_years: float
    sex: str
    places: Mapping[str, Place]
    markers: Mapping[str, Measured]


class ControlFolder:
    """The controls in one storage folder."""

    def __init__(self, storage: Path) -> None:
        self.folder = storage / FOLDER

    def all(self) -> tuple[tuple[Control, ...], tuple[str, ...]]:
        """Every control by its UID, and sentences about files that are none."""
        found, problems = [], []
        for path in sorted(self.folder.glob("*.json")) if self.folder.is_dir() else ():
            try:
                found.append(_control(json.loads(path.read_text(encoding="utf-8"))))
            except OSError as error:
                problems.append(say("the control {file} cannot be read ({reason}); it was left out", file=path.name, reason=error.strerror))
            except (ValueError, TypeError, LookupError, AttributeError):
                problems.append(say("the file {file} among the site's own controls is broken; it was left out", file=path.name))
        return tuple(found), tuple(problems)

    def add(self, control: Control) -> bool:
        """Keep a control; True where it replaces itself. ControlError where the person counts already."""
        known, _ = self.all()
        for other in known:
            if other.person == control.person and other.study != control.study:
                _check_same_person(control, other)
        path = self.folder / f"{control.study}.json"
        replaces = path.exists()
        self._write(path, json.dumps(_json(control), indent=1, allow_nan=False).encode() + b"\n")
        return replaces

    def remove(self, study: str) -> str:
        """Remove the control with that UID, or the only one whose UID ends so; its UID."""
        found = [path for path in self.folder.glob("*.json") if path.stem == study] or list(self.folder.glob(f"*{glob_free(study)}.json"))
        if len(found) != 1:
            raise ControlError(f"{'No' if not found else 'More than one'} control has a UID that ends with {study}; betz norms lists them.")
        found[0].unlink()
        return found[0].stem

    def person_of(self, ds: Dataset) -> str:
        """The digest of who a DICOM object is about. ControlError where it does not say."""
        number, issuer = (" ".join(str(ds.get(word) or "").split()).casefold() for word in ("PatientID", "IssuerOfPatientID"))
        if not number:
            raise ControlError("has no Patient ID, so that nobody can tell whether this person was added before")
        return hmac.new(self.secret(), f"{issuer}|{number}".encode(), hashlib.sha256).hexdigest()[:PERSON_DIGITS]

    def secret(self) -> bytes:
        """The site's own random bytes, made once. ControlError where they are lost."""
        path = self.folder / SECRET
        if path.exists():
            return path.read_bytes()
        if self.folder.is_dir() and any(self.folder.glob("*.json")):
            raise ControlError(f"the file {path} is missing, without which people cannot be told apart: restore it, or remove the folder "
                               "and add all controls again")  # fmt: skip
        self._write(path, os.urandom(SECRET_BYTES))
        return path.read_bytes()

    def _write(self, path: Path, content: bytes) -> None:
        """The whole file or none, for nobody else to read."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            partial = path.with_suffix(".partial")
            with open(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                file.write(content)
                os.fsync(file.fileno())
            partial.replace(path)
        except OSError as error:
            raise ControlError(f"the folder {self.folder} cannot be written: {error.strerror}") from error


def glob_free(text: str) -> str:
    """A text in which nothing is a pattern."""
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in text)


def _check_same_person(control: Control, other: Control) -> None:
    if control.sex != other.sex:
        raise ControlError(f"has the Patient ID of the control {other.study}, but another sex: one of the two is not who it says")
    if set(control.places.values()) & set(other.places.values()):
        raise ControlError(f"is of the same person as the control {other.study}, on the same scanner and protocol: a person counts once; "
                           "to take this study instead, remove that one first")  # fmt: skip


def header_beside(report: Path, document: Mapping[str, Any]) -> Dataset:
    """The header of a DICOM object that report.json names and that lies beside it. ControlError where there is none."""
    for name in (one["file"] for one in document["objects"]):
        path = report.parent / Path(name).name
        if path.is_file():
            ds = dcmread(path, stop_before_pixels=True)
            if ds.get("StudyInstanceUID") == document["study_instance_uid"]:
                return ds
    raise ControlError("stands alone: the DICOM objects of the answer, which say whose it is, must lie beside it")


def check_age_and_sex(age_years: float | None, sex: str | None) -> None:
    """ControlError where one is not known."""
    missing = [word for word, is_there in (("age", age_years is not None), ("sex", sex in ("F", "M"))) if not is_there]
    if missing:
        raise ControlError(f"says no {' and no '.join(missing)} of the person, which a norm needs")


def control_of(document: Mapping[str, Any], person: str, markers: tuple[Marker, ...]) -> tuple[Control, tuple[str, ...]]:
    """The control that a report.json tells of, and what of it was left out. ControlError where it cannot be one."""
    try:
        return _checked(document, person, markers)
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        raise ControlError("is no report.json of this program, or is broken") from error


def places_of(used: Iterable[tuple[str, str, str]]) -> dict[str, Place]:
    """By role where it was made, of (role, scanner, protocol) of each series that was measured on; where several have one role (spectra,
    functional runs), all their protocols. What names no scanner or no protocol is left out."""
    known = [one for one in used if one[1] and one[2]]
    protocols = {role: sorted({protocol for other, _, protocol in known if other == role}) for role, _, _ in known}
    return {role: Place(scanner, " + ".join(protocols[role])) for role, scanner, _ in known}


def _checked(document: Mapping[str, Any], person: str, markers: tuple[Marker, ...]) -> tuple[Control, tuple[str, ...]]:
    patient, used = document["patient"], [one for one in document["series"] if one["used"]]
    check_age_and_sex(patient["age_years"], patient["sex"])
    if used and not any("scanner" in one for one in used):
        raise ControlError("was written by a version that did not tell scanner and protocol; analyse the study again")
    places = places_of((one["role"], one["scanner"], one["protocol"]) for one in used)
    if not places:
        raise ControlError("names no scanner or no protocol of its series, so nothing says with whom it may be compared")
    kept, left_out = {}, []
    for marker in markers:
        outcome = document["markers"].get(marker.name)
        if outcome is not None and (reason := _why_not(outcome, marker)):
            left_out.append(f"{marker.name}: {reason}")
        elif outcome is not None and outcome["outcome"] == MEASURED:
            kept[marker.name] = _measured(outcome)
    if not kept:
        raise ControlError(f"holds no measurement that a norm can take ({'; '.join(left_out) or 'nothing was measured'})")
    study = document["study_instance_uid"]
    if not is_uid(study):
        raise ValueError(study)
    return Control(study, person, float(patient["age_years"]), patient["sex"], places, kept), tuple(left_out)


def _why_not(outcome: Mapping[str, Any], marker: Marker) -> str | None:
    if outcome["version"] != marker.version:
        return f"measured by version {outcome['version']}, this is version {marker.version}: the numbers do not compare; analyse it again"
    return f"it failed: {outcome['reason']}" if outcome["outcome"] == FAILED else None


def _measured(outcome: Mapping[str, Any]) -> Measured:
    values = {(one["name"], one["side"], one["level"]): (_number(one["value"]), _number(one["uncertainty"], True))
              for one in outcome["measurements"]}  # fmt: skip
    profiles = {(one["name"], one["side"]): tuple(_number(value, True) for value in one["values"]) for one in outcome["profiles"]}
    return Measured(int(outcome["version"]), values, profiles)


def _number(value: Any, may_be_none: bool = False) -> float | None:
    if value is None and may_be_none:
        return None
    if isinstance(value, bool) or not math.isfinite(value):
        raise ValueError(value)
    return float(value)


def _json(control: Control) -> dict[str, Any]:
    """As it is kept: the shape of a report.json, and the digest of the person."""
    return {
        "study_instance_uid": control.study,
        "person": control.person,
        "patient": {"age_years": control.age_years, "sex": control.sex},
        "series": [{"role": role, "scanner": one.scanner, "protocol": one.protocol} for role, one in control.places.items()],
        "markers": {name: _marker_json(one) for name, one in control.markers.items()},
    }


def _marker_json(one: Measured) -> dict[str, Any]:
    measurements = [{"name": name, "side": side, "level": level, "value": value, "uncertainty": error}
                    for (name, side, level), (value, error) in one.values.items()]  # fmt: skip
    profiles = [{"name": name, "side": side, "values": list(values)} for (name, side), values in one.profiles.items()]
    return {"version": one.version, "measurements": measurements, "profiles": profiles}


def _control(document: Mapping[str, Any]) -> Control:
    """A control as it was kept. ValueError, TypeError or LookupError where the file is none."""
    patient = document["patient"]
    places = {one["role"]: Place(str(one["scanner"]), str(one["protocol"])) for one in document["series"]}
    markers = {name: _measured(one) for name, one in document["markers"].items()}
    if patient["sex"] not in ("F", "M") or not is_uid(document["study_instance_uid"]):
        raise ValueError(document["study_instance_uid"])
    return Control(document["study_instance_uid"], str(document["person"]), _number(patient["age_years"]), patient["sex"], places, markers)
