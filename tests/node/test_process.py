"""A folder in, an answer out. Bad input gives a clear sentence, nothing is lost, nothing is guessed. No head here: nothing is measured."""

import json
import shutil
import subprocess
from datetime import datetime

import numpy as np
import pytest
from pydicom import dcmread, uid

from node.command import main
from node.errors import MixedStudyError, StudyError
from node.process import PROBLEMS_AT_MOST, process, process_folder
from node.settings import Settings
from node.study import read_studies, read_study

T1 = {"ScanningSequence": "GR", "MRAcquisitionType": "3D", "RepetitionTime": 2300, "EchoTime": 3, "InversionTime": 900, "FlipAngle": 9}
WHEN = datetime(2026, 1, 2, 3, 4, 5)
OTHER_STUDY = "1.2.826.0.1.3680043.8.498.2"


@pytest.fixture
def images(scanner, tmp_path):
    """Writes a T1 of 60 slices of 16 × 16 but those left out, which is no series that can be measured; returns its folder."""

    def write(name="in", without=(20, 21, 22), number=1, **tags):
        headers = scanner.stack(scanner.header(**{**T1, "Rows": 16, "Columns": 16, "StudyTime": "101112", **tags}), 60, 3.0, 12.0)
        kept = [one for index, one in enumerate(headers) if index not in without]
        scanner.write(kept, np.arange(len(kept) * 256).reshape(-1, 16, 16) % 4000, tmp_path / name, number)
        return tmp_path / name

    return write


def answered(folder, out, promised_report, **more):
    """Process; the report, checked against what is promised, and the objects by series number."""
    process_folder(folder, out, Settings(), made_at=WHEN, **more)
    report = json.loads((out / "report.json").read_text(encoding="utf-8"))
    promised_report.check(report)
    objects = {int((ds := dcmread(out / one["file"])).SeriesNumber): ds for one in report["objects"]}
    assert {path.name for path in out.iterdir()} == {one["file"] for one in report["objects"]} | {"report.json"}
    return report, objects


def text_of(ds):
    """Every line of a structured report."""
    items = [item for item in ds.iterall() if item.keyword == "TextValue"]
    return "\n".join(str(item.value) for item in items)


def change(path, **tags):
    ds = dcmread(path)
    for keyword, value in tags.items():
        setattr(ds, keyword, value)
    ds.save_as(path)


def files_of(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(("content", "words"), [
    (None, "is not a folder"),
    ({}, "holds no DICOM study"),
    ({"a.txt": b"a letter to the hospital"}, "a.txt is no DICOM file"),
    ({"empty.dcm": b"", "noise.dcm": bytes(range(256)) * 9}, "empty.dcm is no DICOM file"),
    ({f"{number}.txt": b"letter" for number in range(9)}, "So it is with 6 more files."),
])  # fmt: skip
def test_a_folder_without_a_study_is_a_sentence_and_leaves_nothing(tmp_path, content, words):
    folder = tmp_path / "in"
    for name, held in (content or {}).items():
        folder.mkdir(exist_ok=True)
        (folder / name).write_bytes(held)
    if content == {}:
        folder.mkdir()
    with pytest.raises(StudyError) as error:
        process_folder(folder, tmp_path / "out", Settings())
    assert words in str(error.value) and not list(tmp_path.glob("*out*"))


def ct(scanner, folder):
    headers = scanner.stack(scanner.header(SOPClassUID=uid.CTImageStorage, Modality="CT", Rows=8, Columns=8), 12, 3.0)
    scanner.write(headers, np.zeros((12, 8, 8)), folder)


def secondary_captures(scanner, folder):
    headers = [scanner.header(SOPClassUID=uid.SecondaryCaptureImageStorage, Modality="OT", Rows=8, Columns=8)]
    scanner.write(headers, np.zeros((1, 8, 8)), folder)


def raw_data(scanner, folder):
    folder.mkdir()
    pixels = dict.fromkeys(("Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "SamplesPerPixel"))
    header = scanner.header(SOPClassUID=uid.RawDataStorage, PhotometricInterpretation=None, **pixels)
    scanner.save(scanner.series([header]).header, folder / "raw.dcm")


@pytest.mark.parametrize(("make", "why"), [
    (ct, "CT, CT Image Storage: no MR image"), (secondary_captures, "secondary capture: stored, never analysed"),
    (raw_data, "raw data: stored, never analysed"),
])  # fmt: skip
def test_what_is_no_mr_image_is_answered_as_not_analysed(scanner, tmp_path, promised_report, make, why):
    make(scanner, tmp_path / "in")
    report, objects = answered(tmp_path / "in", tmp_path / "out", promised_report)
    assert [one["why"] for one in report["series"]] == [why]
    assert {one["outcome"] for one in report["markers"].values()} == {"not measurable"}
    assert list(objects) == [9011, 9040, 9050] and objects[9011].SOPClassUID == uid.EnhancedSRStorage
    assert f"Not analysed: {report['not_analysed']}" in text_of(objects[9011]) and why in text_of(objects[9011])
    assert (objects[9011].PatientID, objects[9011].StudyInstanceUID) == ("PHANTOM", scanner.STUDY)


def test_a_series_with_missing_slices_is_not_measured_and_says_so(images, tmp_path, promised_report):
    report, objects = answered(images(), tmp_path / "out", promised_report)
    (series,) = report["series"]
    assert series["role"] == "t1" and "missing" in " ".join(series["problems"]) and not series["used"]
    assert report["markers"]["brain_volumes"]["reason"].startswith("the study has no T1-weighted series")
    assert series["problems"][0] in text_of(objects[9011])


def test_a_file_cut_short_is_named_in_the_report(images, tmp_path, promised_report):
    folder = images()
    path = sorted(folder.iterdir())[5]
    path.write_bytes(path.read_bytes()[:-100])
    (folder / "notes.txt").write_text("an afternoon in the archive")
    report, objects = answered(folder, tmp_path / "out", promised_report)
    for words in (f"{path.name} is cut short", "notes.txt is no DICOM file"):
        assert words in " ".join(report["problems"]) and words in text_of(objects[9011])


def test_many_files_that_cannot_be_read_are_counted_in_the_report_and_listed_for_a_person(images, tmp_path):
    folder = images()
    for number in range(PROBLEMS_AT_MOST + 7):
        (folder / f"{number}.txt").write_text("letter")
    lines = process_folder(folder, tmp_path / "out", Settings(), made_at=WHEN)
    problems = json.loads((tmp_path / "out" / "report.json").read_text())["problems"]
    assert sum("is no DICOM file" in line for line in problems) == PROBLEMS_AT_MOST and problems[-1].startswith("7 more files")
    assert sum("is no DICOM file" in line for line in lines) == PROBLEMS_AT_MOST + 7


@pytest.mark.parametrize("failed", [None, "the analysis took longer than 1800 s"])
def test_two_patients_under_one_study_give_no_object_at_all(images, tmp_path, failed):
    folder = images()
    change(sorted(folder.iterdir())[7], PatientID="SECRET2", PatientName="Secret^Other")
    before = files_of(folder)
    with pytest.raises(MixedStudyError, match="more than one patient under one StudyInstanceUID") as error:
        process_folder(folder, tmp_path / "out", Settings(), failed=failed)
    assert "ecret" not in str(error.value) and not list(tmp_path.glob("*out*")) and files_of(folder) == before
    with pytest.raises(MixedStudyError):
        process(read_studies(folder)[0][0], Settings())


def test_the_objects_of_one_study_come_back_from_the_one_function(images):
    ds, *of_pages = process(read_study(images()), Settings())
    assert ds.SeriesNumber == 9011 and "Not analysed" in text_of(ds)
    assert {one.SeriesNumber for one in of_pages} == {9040, 9050}


@pytest.mark.parametrize("tags", [
    {"PatientAge": "***"}, {"PatientAge": "old"}, {"PatientWeight": "heavy"}, {"PatientSize": "1,80"}, {"PatientBirthDate": "around 1960"},
    {"StudyDate": "yesterday"}, {"StudyTime": "noon"}, {"SeriesNumber": "first"}, {"InstanceNumber": "one"}, {"EchoTime": "short"},
    {"PatientSex": "unknown"}, {"PixelSpacing": "wide"},
])  # fmt: skip
def test_broken_values_are_never_guessed_and_never_cost_the_answer(images, tmp_path, promised_report, tags):
    folder = images()
    for path in folder.iterdir():
        write_as_it_is(path, tags)
    report, objects = answered(folder, tmp_path / "out", promised_report)
    assert report["patient"] == {"age_years": None, "sex": None} and list(objects) == [9011, 9040, 9050]
    assert not {"PatientAge", "PatientSize", "PatientWeight"} & {element.keyword for element in objects[9011]}


def write_as_it_is(path, tags):
    """The values as a careless sender writes them, which pydicom would refuse to write."""
    ds = dcmread(path)
    for keyword, value in tags.items():
        ds[keyword] = raw_element(keyword, value)
    ds.save_as(path)


def raw_element(keyword, value):
    from pydicom.datadict import dictionary_VR, tag_for_keyword
    from pydicom.dataelem import RawDataElement
    from pydicom.tag import Tag

    held = value.encode() + b" " * (len(value) % 2)
    return RawDataElement(Tag(tag_for_keyword(keyword)), dictionary_VR(keyword), len(held), held, 0, False, True)


@pytest.mark.validators
def test_an_answer_to_an_age_of_stars_is_valid(images, tmp_path, promised_report):
    if not shutil.which("dciodvfy"):
        pytest.skip("dciodvfy not installed; Debian has it in dicom3tools")
    folder = images()
    for path in folder.iterdir():
        write_as_it_is(path, {"PatientAge": "***", "PatientWeight": "heavy", "PatientSize": "1,80"})
    report, _ = answered(folder, tmp_path / "out", promised_report)
    for one in report["objects"]:
        said = subprocess.run(["dciodvfy", "-new", str(tmp_path / "out" / one["file"])], capture_output=True, text=True, timeout=60)
        assert not [line for line in (said.stdout + said.stderr).splitlines() if line.startswith("Error")]


def test_two_studies_get_a_folder_each_and_a_mixed_one_does_not_cost_the_other(images, scanner, tmp_path, promised_report):
    folder = images("in/a")
    other = images("in/b", number=2, StudyInstanceUID=OTHER_STUDY)
    process_folder(tmp_path / "in", tmp_path / "out", Settings(), made_at=WHEN)
    for study in (scanner.STUDY, OTHER_STUDY):
        promised_report.check(report := json.loads((tmp_path / "out" / study / "report.json").read_text()))
        assert report["study_instance_uid"] == study
    change(sorted(other.iterdir())[0], PatientID="SECRET2")
    shutil.rmtree(tmp_path / "out")
    with pytest.raises(StudyError, match=f"Study {OTHER_STUDY}: the images of this study name more than one patient.* other 1 stud"):
        process_folder(tmp_path / "in", tmp_path / "out", Settings())
    assert [path.name for path in (tmp_path / "out").iterdir()] == [scanner.STUDY] and folder.exists()


def test_an_earlier_answer_is_replaced_and_the_same_moment_gives_the_same_bytes(images, tmp_path, promised_report):
    folder, out = images(), tmp_path / "out"
    answered(folder, out, promised_report)
    first = {name: held for name, held in files_of(out).items() if name.suffix == ".dcm"}
    answered(folder, out, promised_report)
    assert {name: held for name, held in files_of(out).items() if name.suffix == ".dcm"} == first


def a_file(out):
    out.write_text("a letter")


def a_foreign_folder(out):
    out.mkdir()
    (out / "thesis.txt").write_text("three years of work")


def a_report_of_another_program(out):
    out.mkdir()
    (out / "report.json").write_text('{"objects": []}')


def a_folder_of_results(out):
    """Somebody's folder in which one earlier answer lies among other things."""
    (out / "answer").mkdir(parents=True)
    (out / "answer" / "report.json").write_text('{"betz": "0.1.0", "objects": []}')
    (out / "thesis.txt").write_text("three years of work")


def an_answer_with_notes(out):
    out.mkdir()
    (out / "report.json").write_text('{"betz": "0.1.0", "objects": []}')
    (out / "my notes.txt").write_text("left is right")


@pytest.mark.parametrize("fill", [a_file, a_foreign_folder, a_report_of_another_program, a_folder_of_results, an_answer_with_notes])
def test_what_lies_in_out_is_never_lost(images, tmp_path, fill):
    folder, out = images(), tmp_path / "out"
    fill(out)
    before = files_of(tmp_path)
    with pytest.raises(StudyError, match="name a"):
        process_folder(folder, out, Settings())
    assert files_of(tmp_path) == before


def test_images_that_lie_in_out_are_never_lost(images, tmp_path, promised_report):
    folder = images("out/in")
    before = files_of(folder)
    for out in (folder, tmp_path / "out"):
        with pytest.raises(StudyError, match="name a"):
            process_folder(folder, out, Settings())
    answered(folder, tmp_path / "answer", promised_report)
    with pytest.raises(StudyError, match="The images lie in"):
        process_folder(tmp_path / "answer", tmp_path / "answer", Settings())
    assert files_of(folder) == before


def test_a_place_that_cannot_be_written_is_a_sentence(images, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StudyError, match=r"cannot be written to .*name another folder"):
        process_folder(images(), tmp_path / "file" / "out", Settings())


def test_a_study_uid_that_is_none_names_no_folder(images, tmp_path):
    images("in/a", StudyInstanceUID="../../elsewhere")
    images("in/b", number=2, StudyInstanceUID=OTHER_STUDY)
    with pytest.raises(StudyError, match="StudyInstanceUID of the images is no UID"):
        process_folder(tmp_path / "in", tmp_path / "out", Settings())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "out"]
    assert [path.name for path in (tmp_path / "out").iterdir()] == [OTHER_STUDY]


def test_the_command_line_says_one_sentence_and_ends_with_1(images, tmp_path, capsys):
    folder = images()
    assert main(["process", str(folder), "--out", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out
    assert "brain_volumes: not measurable, the study has no T1-weighted series" in said and "Not analysed: " in said
    change(sorted(folder.iterdir())[7], PatientID="SECRET2")
    assert main(["process", str(folder), "--out", str(tmp_path / "other")]) == 1
    said = capsys.readouterr()
    assert said.out == "" and said.err.splitlines()[-1].startswith("betz: the images of this study name more than one patient")


def test_the_reason_of_a_failure_is_the_answer(images, tmp_path, promised_report):
    report, objects = answered(images(), tmp_path / "out", promised_report, failed="the analysis took longer than 1800 s")
    assert {(one["outcome"], one["reason"]) for one in report["markers"].values()} == {("failed", "the analysis took longer than 1800 s")}
    assert report["not_analysed"] == "the analysis took longer than 1800 s" and "1800 s" in text_of(objects[9011])
