"""Earlier examinations whose images lie in folders: which are measured again, which are kept, and what is said of the others."""

import os
from dataclasses import replace

import numpy as np
import pytest

from analysis.earlier import Earlier, EarlierMarker, EarlierMeasurement
from analysis.examination import Examination
from analysis.marker import Marker
from analysis.outcome import MEASURED, Concept, Measurement, NotMeasurable, Outcome
from analysis.report import Report
from analysis.steps.head import head_on_template
from node.follow_up import priors_beside, priors_of, with_follow_up
from node.images import images_of
from node.provenance import MANUFACTURER, MODEL
from node.settings import Results, Settings, Worker
from node.study import patient_of, read_study

T1 = {"ScanningSequence": "GR", "MRAcquisitionType": "3D", "RepetitionTime": 2300, "EchoTime": 3, "InversionTime": 900, "FlipAngle": 9}
BRAIN, VOLUME = Concept("SCT", "12738006", "Brain"), Concept("SCT", "118565006", "Volume")
measured_on: list[str] = []


def measure(examination: Examination) -> Outcome:
    """The mean of the T1, which is the tenth of the brightness that the test wrote."""
    value = float(examination.image("t1").array.mean()) / 10.0
    measured_on.append(f"{value:.0f}")
    one = Measurement("brain_volume", value, "ml", VOLUME, BRAIN, uncertainty=0.1, no_reference="none")
    return Outcome("brain_volumes", 7, MEASURED, measurements=(one,))


BRIGHTNESS = Marker("brain_volumes", 7, (("t1",),), ("brain_volume",), (), measure, "")


@pytest.fixture
def study(scanner, tmp_path):
    """Writes a T1 of one brightness under a study UID and a day; returns its folder."""

    def write(number: int, day: str, brightness: int, name: str = "", **more):
        tags = {**T1, "StudyInstanceUID": f"1.2.3.{number}", "StudyDate": day, "StudyTime": "101112", "Rows": 32, "Columns": 32}
        tags = {**tags, "PatientID": "P", **more}
        headers = scanner.stack(scanner.header(**tags), 9, 5.0, 6.0)  # too thin for a head, so that no image is laid over another
        scanner.write(headers, np.full((9, 32, 32), brightness), tmp_path / (name or str(number)), number)
        return tmp_path / (name or str(number))

    measured_on.clear()
    return write


def earlier(number: int, day: str, days_before: int, value: float | None, version: int = 7, series: int = 1) -> Earlier:
    held = () if value is None else (EarlierMeasurement("brain_volume", value, "ml", uncertainty=0.1),)
    markers = {"brain_volumes": EarlierMarker(version, held)} if held else {}
    return Earlier(f"1.2.3.{number}", day, days_before, markers=markers, series=series)


def followed(new, priors, folders, settings=None):
    one = read_study(new)
    _, images = images_of(one, (BRIGHTNESS,), lambda step: None)
    examination = Examination(images, patient_of(one))
    outcomes = (measure(examination),)
    measured_on.clear()
    report = Report(one.study_instance_uid, patient_of(one), (), outcomes, ("The first sentence.", "The last."), earlier=tuple(priors))
    settings = settings or Settings()
    return with_follow_up(report, examination, one, lambda: priors_of(priors, folders, (BRIGHTNESS,), (), settings), settings)


def points(report):
    (trend,) = report.follow_up.trends
    return [(point.day, round(point.value)) for _, line in trend.lines for point in line]


def test_what_has_no_report_or_one_of_another_version_is_measured_again_and_what_has_one_is_not(study):
    new, folders = study(9, "20260601", 900), [study(1, "20240601", 1000), study(2, "20250601", 980), study(3, "20251201", 950)]
    priors = [earlier(1, "2024-06-01", 730, None), earlier(2, "2025-06-01", 365, 98.0), earlier(3, "2025-12-01", 182, 55.0, version=6)]
    report = followed(new, priors, folders)
    assert measured_on == ["95", "100"]  # the latest first; the second has its report
    assert points(report) == [("2024-06-01", 100), ("2025-06-01", 98), ("2025-12-01", 95), ("2026-06-01", 90)]
    assert report.follow_up.since.day == "2025-12-01" and report.summary[0] == "The first sentence." and len(report.summary) > 2
    (change,) = report.follow_up.seen
    assert (round(change.then), round(change.now)) == (95, 90) and change.years == pytest.approx(182 / 365.25)


def test_the_images_are_those_of_the_scanner_not_the_pages_of_the_answer_beside_them(study):
    answer = study(3, "20251201", 10, "answer", SeriesInstanceUID="1.2.9", Manufacturer=MANUFACTURER, ManufacturerModelName=MODEL)
    report = followed(study(9, "20260601", 900), [earlier(3, "2025-12-01", 182, None)], [answer, study(3, "20251201", 950)])
    assert measured_on == ["95"] and points(report) == [("2025-12-01", 95), ("2026-06-01", 90)]


def test_where_time_is_over_the_latest_is_measured_and_the_others_are_named(study):
    new, folders = study(9, "20260601", 900), [study(1, "20240601", 1000), study(3, "20251201", 950)]
    priors = [earlier(1, "2024-06-01", 730, None), earlier(3, "2025-12-01", 182, None)]
    report = followed(new, priors, folders, Settings(worker=Worker(time_limit_s=0.0)))
    assert measured_on == ["95"] and points(report) == [("2025-12-01", 95), ("2026-06-01", 90)]
    assert "the examination of 2024-06-01 was not measured again: it would have taken too long" in report.follow_up.notes


def test_a_report_without_images_is_compared_by_its_values_and_says_so(study):
    report = followed(study(9, "20260601", 900), [earlier(3, "2025-12-01", 182, 95.0, series=0)], [])
    assert measured_on == [] and [round(one.then) for one in report.follow_up.seen] == [95]
    assert any("images are not at hand" in note for note in report.follow_up.notes)


def test_images_that_cannot_be_used_cost_a_sentence(study):
    folder = study(3, "20251201", 950)
    for path in folder.rglob("*.dcm"):
        path.write_bytes(path.read_bytes()[:-200])
    report = followed(study(9, "20260601", 900), [earlier(3, "2025-12-01", 182, None)], [folder])
    assert report.follow_up.since is None and report.follow_up.changes == ()
    assert "no earlier examination has values that could be compared" in report.follow_up.notes


def test_treatments_of_the_patient_stand_in_the_report_and_no_earlier_examination_is_no_follow_up(study, tmp_path):
    table = tmp_path / "given.csv"
    table.write_text("patient_id,date,treatment\nP,2026-01-05,Riluzol\nQ,2026-01-06,other\n")
    settings = replace(Settings(), results=Results(treatments=table))
    new = study(9, "20260601", 900)
    report = followed(new, [earlier(3, "2025-12-01", 182, 95.0, series=0)], [], settings)
    assert [one.words for one in report.follow_up.treatments] == ["Riluzol"]
    assert followed(new, [], [], settings).follow_up is None


def ended(examination: Examination) -> Outcome:
    os._exit(9)


def beside(earlier_ones, folders, marker=BRIGHTNESS, settings=None):
    with priors_beside(earlier_ones, folders, (marker,), (), settings or Settings()) as priors:
        return priors()


def test_a_second_process_gives_the_same_as_this_one(study):
    folders = [study(1, "20240601", 1000), study(3, "20251201", 950)]
    known = [earlier(1, "2024-06-01", 730, None), earlier(3, "2025-12-01", 182, 95.0)]
    found, here = beside(known, folders), priors_of(known, folders, (BRIGHTNESS,), (), Settings())
    assert [one.earlier for one in found.found] == [one.earlier for one in here.found] and found.notes == here.notes == ()
    assert [one.examination is None for one in found.found] == [True, False]
    images = [one.found[-1].examination.images["t1"] for one in (found, here)]
    assert np.array_equal(images[0].array, images[1].array) and np.array_equal(images[0].lps_from_index, images[1].lps_from_index)
    with pytest.raises(NotMeasurable, match="less than 60 mm"):  # its steps came along, and what they refused
        found.found[-1].examination.once(head_on_template)


def test_what_ends_the_second_process_costs_a_sentence_and_leaves_the_values(study):
    folder = study(3, "20251201", 950)
    found = beside([earlier(3, "2025-12-01", 182, 95.0, version=6)], [folder], replace(BRIGHTNESS, measure=ended))
    assert found.notes == ("the images of the earlier examinations could not be used: its process was ended with status 9",)
    assert found.found[0].earlier.markers["brain_volumes"].measurements[0].value == 95.0 and found.found[0].examination is None


def test_it_is_not_waited_for_longer_than_an_analysis_may_take(study):
    late = beside([earlier(3, "2025-12-01", 182, 95.0)], [study(3, "20251201", 950)], settings=Settings(worker=Worker(time_limit_s=0.0)))
    assert late.notes == ("the images of the earlier examinations could not be used: it took too long",)
