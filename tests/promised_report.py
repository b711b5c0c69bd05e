"""What INTERFACES promises of report.json, as one check that every test of a report can make."""

from __future__ import annotations

import math

from analysis.examination import ROLES
from analysis.marker import markers

OUTCOMES = ("measured", "not measurable", "failed")
VERDICTS = ("present", "absent", "indeterminate", "not assessed")


def check(report: dict) -> None:
    """AssertionError where the report is not what was promised."""
    assert_keys(report, betz=str, study_instance_uid=str, patient=dict, seconds=float)
    assert_keys(report, series=list, markers=dict, summary=list, objects=list)
    assert_keys(report["patient"], age_years=(float, type(None)), sex=(str, type(None)))
    assert report["patient"]["sex"] in ("F", "M", None)
    assert report["not_analysed"] is None or is_sentence(report["not_analysed"])
    assert report["summary"] and all(is_sentence(line) for line in report["summary"])
    for series in report["series"]:
        assert_keys(series, series_instance_uid=str, role=str, why=str, problems=list)
        assert series["role"] in ROLES and series["why"] and all(is_sentence(line) for line in series["problems"])
    promised = {marker.name: marker for marker in markers()}
    assert set(report["markers"]) == set(promised), "one outcome per marker, always"
    for name, outcome in report["markers"].items():
        check_outcome(outcome, promised[name])
    for one in report["objects"]:
        assert_keys(one, file=str, sop_class=str, series_description=str, sop_instance_uid=str)


def check_outcome(outcome: dict, marker) -> None:
    assert_keys(outcome, version=int, outcome=str, seconds=float, measurements=list, findings=list)
    assert outcome["version"] == marker.version and outcome["outcome"] in OUTCOMES
    assert (outcome["reason"] is None) == (outcome["outcome"] == "measured")
    assert outcome["reason"] is None or is_sentence(outcome["reason"])
    assert outcome["outcome"] == "measured" or not outcome["measurements"], "what was not measured has no number"
    for one in outcome["measurements"]:
        check_measurement(one, marker)
    for one in outcome["findings"]:
        assert one["name"] in marker.findings and one["value"] in VERDICTS and one["side"] in ("left", "right", None)
        assert one["grade"] is None or isinstance(one["grade"], int)
        assert one["value"] in ("present", "absent") or is_sentence(one["reason"])


def check_measurement(one: dict, marker) -> None:
    assert_keys(one, name=str, value=float, unit=str)
    assert one["name"] in marker.gives and one["side"] in ("left", "right", None)
    assert one["level"] is None or isinstance(one["level"], str)
    assert math.isfinite(one["value"]) and (one["uncertainty"] is None or one["uncertainty"] >= 0)
    if one["reference"] is None:
        assert is_sentence(one["reason"])
    else:
        assert_keys(one["reference"], population=str, n=int, z=float, percentile=float)


def assert_keys(said: dict, **kinds: object) -> None:
    for key, kind in kinds.items():
        assert key in said, f"{key} was promised"
        allowed = (int, float) if kind is float else kind
        assert isinstance(said[key], allowed) and not (kind is float and isinstance(said[key], bool)), f"{key} is {said[key]!r}"


def is_sentence(text: object) -> bool:
    return isinstance(text, str) and bool(text.strip()) and "Traceback" not in text and "\n" not in text and "nan" not in text.split()
