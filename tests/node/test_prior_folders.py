"""Folders of earlier examinations: one person, an earlier day, the last report; what cannot be used is said in a sentence."""

import json
import shutil
from datetime import datetime

import numpy as np
import pytest
from pydicom import dcmread

from node.command import main
from node.errors import StudyError
from node.identity import Identity, difference
from node.prior_folders import earlier_in, held_in, in_order
from node.process import process_folder
from node.settings import Settings

T1 = {"ScanningSequence": "GR", "MRAcquisitionType": "3D", "RepetitionTime": 2300, "EchoTime": 3, "InversionTime": 900, "FlipAngle": 9}
WHO = {"PatientName": "Secret^Patient", "PatientID": "P-1", "PatientBirthDate": "19600101", "PatientSex": "M"}
LATER = "1.2.826.0.1.3680043.8.498.77"


@pytest.fixture
def answered(scanner, result_study, tmp_path):
    """The folder of an answer to an examination of that day; a study of its own for each day."""
    def make(day, name=None, **who):
        uid = f"{scanner.STUDY}.{day}"
        case = result_study.case(scanner, **{"StudyDate": day, "StudyInstanceUID": uid, **who})
        folder = tmp_path / (name or day)
        result_study.write_objects(case, folder)
        return folder
    return make


@pytest.fixture
def images(scanner, tmp_path):
    """The folder of the images of an examination, in which nothing can be measured."""
    def make(day, name=None, study=LATER, **who):
        tags = {**T1, **WHO, "StudyDate": day, "StudyInstanceUID": study, "Rows": 16, "Columns": 16, "StudyTime": "101112", **who}
        headers = scanner.stack(scanner.header(**tags), 4, 3.0, 12.0)
        scanner.write(headers, np.arange(4 * 256).reshape(-1, 16, 16) % 4000, tmp_path / (name or day), 1)
        return tmp_path / (name or day)
    return make


def header(folder):
    return dcmread(next(folder.glob("*.dcm")), stop_before_pixels=True)


def change(folder, **tags):
    for path in folder.glob("*.dcm"):
        ds = dcmread(path)
        for keyword, value in tags.items():
            setattr(ds, keyword, value)
        ds.save_as(path)


def test_the_reports_of_earlier_days_are_read_in_their_order(answered, images):
    new = header(images("20260601"))
    found, problems = earlier_in([answered("20251103"), answered("20250503"), images("20240101", study="1.2.3")], new)
    assert [(one.day, one.days_before, one.values, one.series) for one in found] == [
        ("2024-01-01", 882, 0, 1), ("2025-05-03", 394, 11, 0), ("2025-11-03", 210, 11, 0)]
    assert problems == () and found[0].sop_instance_uid is None
    assert found[1].markers["cst_diffusion"].measurement("cst_fa", "left", "plic").value == 0.5231


def test_answer_and_images_of_one_examination_are_one(answered, images, scanner):
    report = answered("20250503")
    found, _ = earlier_in([report, images("20250503", "images", f"{scanner.STUDY}.20250503")], header(images("20260601")))
    assert [(one.values, one.series) for one in found] == [(11, 1)]


def test_our_own_answer_is_no_series(answered):
    held = held_in([answered("20250503")])
    assert [(len(one.reports), len(one.series)) for one in held.values()] == [(1, 0)]


@pytest.mark.parametrize(("tags", "reason"), [
    ({"PatientID": "P-2"}, "its patient ID is another one"),
    ({"PatientID": ""}, "it has no patient ID"),
    ({"PatientBirthDate": "19600102"}, "its birth date is another one"),
    ({"PatientBirthDate": ""}, "the birth date is not known, so that it cannot be told from another person's"),
    ({"PatientSex": "F"}, "its sex is another one"),
    ({"IssuerOfPatientID": "Elsewhere"}, "the issuer of its patient ID is another one"),
    ({"StudyDate": "20260601"}, "it is not of an earlier day"),
    ({"StudyDate": "20270101"}, "it is not of an earlier day"),
    ({"StudyInstanceUID": LATER}, "it is the examination that is reported here"),
])  # fmt: skip
def test_what_is_not_the_same_persons_earlier_examination_is_left_out_in_words(answered, images, tags, reason):
    new, folder = images("20260601", IssuerOfPatientID="Here"), answered("20250503", IssuerOfPatientID="Here")
    change(folder, **tags)
    found, problems = earlier_in([folder], header(new))
    day = str(held_in([folder])[str(header(folder).StudyInstanceUID)].day)
    assert found == () and problems == (f"The earlier examination of {day} was not used: {reason}.",)
    assert not any(value in problems[0] for value in ("P-1", "P-2", "1960", "Secret", "Prüfung", "Here", "Elsewhere"))


def test_one_object_of_another_person_among_many_leaves_the_examination_out(answered, images):
    folder = answered("20250503")
    last = sorted(folder.glob("*.dcm"))[-1]
    ds = dcmread(last)
    ds.PatientBirthDate = "19700101"
    ds.save_as(last)
    found, problems = earlier_in([folder], header(images("20260601")))
    assert found == () and "its birth date is another one" in problems[0]


def test_of_several_reports_the_last_one_counts(answered, images):
    folder = answered("20250503")
    report = next(folder.glob("9010_*"))
    ds = dcmread(report)
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = "1.2.3.9"
    ds.ContentDate = "20260102"
    ds.ContentTime = "040405"
    ds.save_as(folder / "second.dcm")
    assert earlier_in([folder], header(images("20260601")))[0][0].sop_instance_uid == "1.2.3.9"


def test_a_report_that_cannot_be_used_leaves_the_images(answered, images):
    folder = answered("20250503")
    change(folder, SoftwareVersions="99.1")
    found, problems = earlier_in([folder], header(images("20260601")))
    assert [(one.values, one.sop_instance_uid) for one in found] == [(0, None)]
    why = "the earlier report was made by Betz 99.1, which is newer than this one"
    assert problems == (f"The earlier examination of 2025-05-03 was not used: {why}.",)


@pytest.mark.parametrize(("other", "reason"), [
    ({"patient_id": "P-2"}, "its patient ID is another one"), ({"sex": "F"}, "its sex is another one"), ({"sex": ""}, None),
    ({"issuer": ""}, None), ({"birth_date": ""}, None), ({"birth_date": "19600102"}, "its birth date is another one"),
])  # fmt: skip
def test_what_only_one_of_two_states_is_no_difference_until_a_proof_is_asked_for(other, reason):
    one = Identity("P-1", "Here", "19600101", "M")
    two = Identity(**{**vars(one), **other})
    assert difference(one, two) == difference(two, one) == reason
    assert difference(one, one, is_proof=True) is None
    if "birth_date" in other and reason is None:
        assert "birth date is not known" in difference(one, two, is_proof=True)


def test_the_command_takes_folders_in_any_order_and_the_report_names_the_earlier_ones(answered, images, tmp_path, capsys):
    new, first, second = images("20260601"), answered("20250503"), answered("20251103")
    assert main(["process", str(new), str(second), str(first), "--out", str(tmp_path / "out")]) == 0
    line = "Earlier examinations: 2025-05-03 (report read, 11 values), 2025-11-03 (report read, 11 values)."
    assert line in capsys.readouterr().out
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["study_instance_uid"] == LATER
    assert [(one["date"], one["values"]) for one in report["earlier"]["examinations"]] == [("2025-05-03", 11), ("2025-11-03", 11)]
    texts = [item.value for path in (tmp_path / "out").glob("9011*.dcm") for item in dcmread(path).iterall() if item.keyword == "TextValue"]
    assert line in texts


@pytest.mark.parametrize(("tags", "reason"), [
    ({"PatientID": "P-2"}, "are not of one patient: its patient ID is another one"),
    ({"PatientBirthDate": "19600102"}, "are not of one patient: its birth date is another one"),
    ({"StudyDate": "20260601"}, "are of the same day"),
    ({"StudyDate": ""}, "says no date"),
])  # fmt: skip
def test_the_command_refuses_folders_that_have_no_order_or_are_of_two_patients(answered, images, tmp_path, capsys, tags, reason):
    new, folder = images("20260601"), answered("20250503")
    change(folder, **tags)
    assert main(["process", str(new), str(folder), "--out", str(tmp_path / "out")]) == 1
    said = capsys.readouterr().err
    assert reason in said and "P-2" not in said and not (tmp_path / "out").exists()


def test_a_folder_of_two_examinations_has_no_place_in_an_order(answered, images):
    folder = answered("20250503")
    shutil.copy(next(answered("20251103").glob("*.dcm")), folder / "other.dcm")
    with pytest.raises(StudyError, match="holds 2 examinations"):
        in_order([images("20260601"), folder])
    with pytest.raises(StudyError, match="holds no DICOM object"):
        in_order([images("20260601"), folder.parent / "empty"])


def test_the_answer_never_replaces_an_earlier_examination(answered, images, tmp_path):
    new, folder = images("20260601"), answered("20250503")
    before = sorted(path.name for path in folder.iterdir())
    with pytest.raises(StudyError, match="name a folder beside them"):
        process_folder(new, folder, Settings(), made_at=datetime(2026, 6, 2), priors=[folder])
    assert sorted(path.name for path in folder.iterdir()) == before
