"""report.json is what INTERFACES promises."""

import json
from dataclasses import replace
from pathlib import Path

from analysis.examination import Patient
from analysis.marker import markers
from analysis.outcome import MEASURED, Outcome, Profile
from analysis.report import Report
from node.report_json import report_json
from node.text_report import text_report

DOCUMENT = Path(__file__).parents[2] / "docs" / "report_json.md"


def test_it_is_what_was_promised(scanner, result_study):
    case = result_study.case(scanner)
    ds = text_report(case.report, case.provenance)
    said = json.loads(json.dumps(report_json(case.report, {"9011.dcm": ds}), allow_nan=False))
    assert said["betz"] == "0.1.0" and said["study_instance_uid"] == case.report.study_instance_uid
    assert said["patient"] == {"age_years": 65.0, "sex": "M"} and said["seconds"] == 12.3 and said["not_analysed"] is None
    assert said["series"][1]["role"] == "dwi" and said["series"][1]["problems"] == ["only three directions"]
    assert said["summary"] == list(case.report.summary)
    assert said["objects"] == [
        {"file": "9011.dcm", "sop_class": ds.SOPClassUID, "series_description": "Betz report v0.1 RESEARCH", "series_number": 9011,
         "sop_instance_uid": ds.SOPInstanceUID}
    ]  # fmt: skip


def test_every_outcome_has_a_reason_exactly_when_nothing_was_measured(scanner, result_study):
    case = result_study.case(scanner)
    markers = report_json(case.report, {})["markers"]
    assert list(markers) == ["brain_volumes", "cst_diffusion", "motor_band", "infarct"]
    assert [(one["outcome"], one["reason"] is None) for one in markers.values()] == [
        ("measured", True), ("measured", True), ("not measurable", False), ("failed", False)
    ]  # fmt: skip
    assert markers["infarct"]["version"] == 2 and markers["brain_volumes"]["seconds"] == 3.2


def test_a_measurement_has_its_population_or_the_reason_why_not(scanner, result_study):
    tract = report_json(result_study.case(scanner).report, {})["markers"]["cst_diffusion"]
    first, *_, asymmetry = tract["measurements"]
    assert first == {
        "name": "cst_fa", "side": "left", "level": "plic", "value": 0.5231, "unit": "1", "uncertainty": 0.0125,
        "reference": {"population": "Adults, 3 T", "n": 120, "z": -1.25, "percentile": 10.6, "percentile_low": 4.1, "percentile_high": 22.3,
                      "mean": 0.55, "sd": 0.0215, "low": 0.5146, "high": 0.5854, "source": "10.1000/adults"},
    }  # fmt: skip
    assert asymmetry["reference"] is None and asymmetry["reason"] == result_study.WHY and asymmetry["side"] is None
    assert tract["findings"][0] == {
        "name": "cst_degeneration", "side": "left", "level": None, "value": "indeterminate", "grade": 1, "reason": "within the error",
        "accuracy": None,
    }  # fmt: skip
    assert tract["gaps"] == [{"name": "cst_fa", "side": "left", "level": "pons", "reason": "the field of view ends above it"}]
    assert tract["notes"] == ["Two volumes were left out."]
    assert tract["profiles"] == []


def test_the_follow_up_is_what_was_promised_and_every_key_stands_in_the_docs(scanner, result_study, promised_report):
    report = result_study.case(scanner, is_followed=True).report
    found = tuple(one if one.sop_instance_uid else replace(one, markers={}) for one in report.follow_up.earlier)
    said = json.loads(json.dumps(report_json(replace(report, earlier=found), {}), allow_nan=False))
    promised_report.check_earlier(said["earlier"])
    days = [one["date"] for one in said["earlier"]["examinations"]]
    promised_report.check_follow_up(said["follow_up"], days, {one.name: one for one in markers()})
    found = said["follow_up"]
    keys = {*said, *said["earlier"], *said["earlier"]["examinations"][0], *found, *found["changes"][0], *found["lesions"]}
    keys |= {*said["series"][0], *said["markers"]["brain_volumes"], *said["markers"]["brain_volumes"]["measurements"][0]}
    missing = [key for key in keys if f"`{key}`" not in DOCUMENT.read_text(encoding="utf-8")]
    assert missing == []


def test_a_profile_keeps_its_nodes_and_says_which_have_no_value():
    profile = Profile("cst_fa", "left", (None, 0.51234567, 0.6), "1")
    report = Report("1.2.3", Patient(), (), (Outcome("cst_diffusion", 2, MEASURED, profiles=(profile,)),), ("One sentence.",))
    said = report_json(report, {})["markers"]["cst_diffusion"]["profiles"]
    assert said == [{"name": "cst_fa", "side": "left", "unit": "1", "values": [None, 0.51235, 0.6]}]
