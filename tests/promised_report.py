"""What INTERFACES promises of report.json, as one check that every test of a report can make."""

from __future__ import annotations

import math

from analysis.examination import ROLES
from analysis.marker import markers

OUTCOMES = ("measured", "not measurable", "failed")
VERDICTS = ("present", "absent", "indeterminate", "not assessed")
CHANGE_VERDICTS = ("more than", "within", "below")


def check(report: dict) -> None:
    """AssertionError where the report is not what was promised."""
    assert_keys(report, betz=str, study_instance_uid=str, patient=dict, seconds=float)
    assert_keys(report, series=list, markers=dict, summary=list, objects=list, earlier=dict, follow_up=(dict, type(None)))
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
    check_earlier(report["earlier"])
    if report["follow_up"] is not None:
        check_follow_up(report["follow_up"], [one["date"] for one in report["earlier"]["examinations"]], promised)


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


def check_earlier(earlier: dict) -> None:
    assert_keys(earlier, examinations=list, notes=list)
    for one in earlier["examinations"]:
        assert_keys(one, study_instance_uid=str, date=str, sop_instance_uid=(str, type(None)), values=int, series=int)
        assert one["sop_instance_uid"] or not one["values"], "numbers without a report"
    assert [one["date"] for one in earlier["examinations"]] == sorted(one["date"] for one in earlier["examinations"])
    assert all(is_sentence(line) for line in earlier["notes"])


def check_follow_up(said: dict, days: list[str], promised: dict) -> None:
    """`days`: of the earlier examinations."""
    assert_keys(said, since=(str, type(None)), years=(float, type(None)), changes=list, not_compared=list, notes=list)
    assert (said["since"] in days and said["years"] > 0) if said["since"] else (said["years"] is None and not said["changes"])
    assert said["lesions"] is None or set(said["lesions"]) == {"new", "grown", "same", "shrunk", "gone"}
    assert all(is_sentence(line) for line in said["notes"])
    for one in said["changes"]:
        check_change(one, promised[one["marker"]])
    for one in said["not_compared"]:
        assert one["marker"] in promised and is_sentence(one["reason"]) and {"name", "side", "level"} <= set(one)


def check_change(one: dict, marker) -> None:
    numbers = ("then", "now", "change", "error", "healthy_ageing", "reliable_change_index", "smallest")
    assert_keys(one, unit=str, **dict.fromkeys(numbers, float))
    assert one["name"] in marker.gives and one["side"] in ("left", "right", None)
    assert all(math.isfinite(one[name]) for name in numbers) and one["error"] > 0 and one["smallest"] > 0
    assert all(one[name] is None or math.isfinite(one[name]) for name in ("percent", "per_year"))
    assert one["verdict"] in CHANGE_VERDICTS and all(is_sentence(one[name]) for name in ("method", "noise", "ageing"))
    assert one["mark"] is None or is_sentence(one["mark"])


def assert_keys(said: dict, **kinds: object) -> None:
    for key, kind in kinds.items():
        assert key in said, f"{key} was promised"
        allowed = (int, float) if kind is float else kind
        assert isinstance(said[key], allowed) and not (kind is float and isinstance(said[key], bool)), f"{key} is {said[key]!r}"


def is_sentence(text: object) -> bool:
    return isinstance(text, str) and bool(text.strip()) and "Traceback" not in text and "\n" not in text and "nan" not in text.split()
