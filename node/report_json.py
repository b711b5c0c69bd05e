"""The report as JSON, for programs: what INTERFACES promises, and the gaps and notes of each marker. Codes are in the DICOM objects.

It holds no name, number or birth date of the patient: age and sex only.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydicom.dataset import Dataset

from analysis.change import Change, NotCompared
from analysis.earlier import Earlier
from analysis.follow_up import FollowUp
from analysis.outcome import Finding, Gap, Measurement, Outcome, Profile
from analysis.report import Report, SeriesNote
from analysis.sentence import sentence_of
from analysis.sequences import Row
from analysis.steps.lesion_change import KINDS
from analysis.support import Line, Support
from node import __version__


def report_json(report: Report, objects: Mapping[str, Dataset]) -> dict[str, Any]:
    """The report as dictionaries and lists; `objects` are the DICOM objects by the name of their file."""
    return {
        "betz": __version__,
        "study_instance_uid": report.study_instance_uid,
        "patient": {"age_years": report.patient.age_years, "sex": report.patient.sex},
        "not_analysed": report.not_analysed,
        "series": [_series(note) for note in report.series],
        "markers": {outcome.marker: _outcome(outcome) for outcome in report.outcomes},
        "summary": list(report.summary),
        "support": _support(report.support) if report.support else None,
        "sequences": [_sequence(row) for row in report.sequences],
        "follow_up": _follow_up(report.follow_up) if report.follow_up else None,
        "problems": list(report.problems),
        "earlier": {"examinations": [_earlier(one) for one in report.earlier], "notes": list(report.earlier_notes)},
        "objects": [_object(name, ds) for name, ds in objects.items()],
        "seconds": round(report.seconds, 1),
    }


def _earlier(one: Earlier) -> dict[str, Any]:
    """An earlier examination that was found: its report, how many values that holds, and how many of its series are at hand."""
    said = {"study_instance_uid": one.study_instance_uid, "date": one.day, "sop_instance_uid": one.sop_instance_uid}
    return {**said, "values": one.values, "series": one.series}


def _sequence(row: Row) -> dict[str, Any]:
    """One sequence that an examination should have: whether it came."""
    wanted = row.sequence
    said = {"name": wanted.name, "roles": list(wanted.roles), "optional": wanted.is_optional}
    return {**said, "state": row.state, "remark": row.remark or None}


def _support(support: Support) -> dict[str, Any]:
    """What each supporting finding weighs, and the range of all of them together."""
    return {
        "findings": [_weighed(line) for line in support.lines],
        "likelihood_ratio": None if support.together is None else {"low": support.together[0], "high": support.together[1]},
    }


def _weighed(line: Line) -> dict[str, Any]:
    ratio = line.ratio and {"value": line.ratio.value, "low": line.ratio.low, "high": line.ratio.high, "against": line.weight.against}
    said = {"name": line.weight.finding, "value": line.verdict, "sides": list(line.sides), "likelihood_ratio": ratio}
    return {**said, "source": line.weight.source or None, "reason": line.reason}


def _follow_up(found: FollowUp) -> dict[str, Any]:
    """Every value that was compared with the last examination before, and what was not."""
    return {
        "since": found.since.day if found.since else None,
        "years": round(found.years, 3) if found.since else None,
        "changes": [_change(one) for one in found.seen],
        "not_compared": [{"marker": one.marker, "name": one.name, "side": one.side, "level": one.level, "reason": one.reason}
                         for one in found.changes if isinstance(one, NotCompared)],
        "lesions": {kind: found.lesions.count(kind) for kind in KINDS} if found.lesions else None,
        "notes": list(found.notes),
    }  # fmt: skip


def _change(one: Change) -> dict[str, Any]:
    where = {"marker": one.marker, "name": one.name, "side": one.side, "level": one.level, "unit": one.unit}
    values = {"then": one.then, "now": one.now, "change": one.change, "percent": one.percent, "per_year": one.per_year, "error": one.error}
    judged = {"healthy_ageing": one.ageing, "reliable_change_index": one.rci, "smallest": one.smallest, "verdict": one.verdict}
    return {**where, **values, **judged, "method": one.method, "noise": one.retest, "ageing": one.ageing_source, "mark": one.mark}


def _series(note: SeriesNote) -> dict[str, Any]:
    return {
        "series_instance_uid": note.series_instance_uid,
        "role": note.role,
        "why": note.why,
        "problems": list(note.problems),
        "used": note.used,
        "description": note.description,
        "scanner": note.scanner,
        "protocol": note.protocol,
    }


def _outcome(outcome: Outcome) -> dict[str, Any]:
    return {
        "version": outcome.version,
        "outcome": outcome.outcome,
        "reason": outcome.reason,
        "sentence": sentence_of(outcome),
        "seconds": round(outcome.seconds, 1),
        "measurements": [_measurement(one) for one in outcome.measurements],
        "findings": [_finding(one) for one in outcome.findings],
        "gaps": [_gap(one) for one in outcome.gaps],
        "profiles": [_profile(one) for one in outcome.profiles],
        "notes": list(outcome.notes),
    }


def _measurement(one: Measurement) -> dict[str, Any]:
    reference = one.reference
    said: dict[str, Any] = {
        "name": one.name,
        "side": one.side,
        "level": one.level,
        "value": one.value,
        "unit": one.unit,
        "uncertainty": one.uncertainty,
        "reference": None,
    }
    if reference is None:
        return {**said, "reason": one.no_reference}
    standing = {"population": reference.population, "n": reference.n, "z": reference.z, "percentile": reference.percentile}
    standing |= {"percentile_low": reference.percentile_low, "percentile_high": reference.percentile_high}
    standing |= {"mean": reference.mean, "sd": reference.sd, "low": reference.low, "high": reference.high, "source": reference.source}
    return {**said, "reference": standing}


def _finding(one: Finding) -> dict[str, Any]:
    said = {"name": one.name, "side": one.side, "level": one.level, "value": one.value, "grade": one.grade}
    accuracy = dict(vars(one.accuracy)) if one.accuracy else None
    return {**said, "reason": one.reason, "accuracy": accuracy}


def _gap(one: Gap) -> dict[str, Any]:
    return {"name": one.name, "side": one.side, "level": one.level, "reason": one.reason}


def _profile(one: Profile) -> dict[str, Any]:
    """The nodes from below upwards, null where there is no value; the band of the healthy where there is one."""
    band = {"low": _nodes(one.low), "high": _nodes(one.high), "population": one.population} if one.population else {}
    return {"name": one.name, "side": one.side, "unit": one.unit, "values": _nodes(one.values), **band}


def _nodes(values: tuple[float | None, ...]) -> list[float | None]:
    return [None if value is None else round(value, 5) for value in values]


def _object(name: str, ds: Dataset) -> dict[str, Any]:
    return {
        "file": name,
        "sop_class": str(ds.SOPClassUID),
        "series_description": ds.SeriesDescription,
        "series_number": int(ds.SeriesNumber),
        "sop_instance_uid": str(ds.SOPInstanceUID),
    }
