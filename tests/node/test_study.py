"""A folder becomes a study: what is read, what is left out, and what is said about it."""

import os
import shutil

import numpy as np
import pytest
from pydicom import dcmread, uid

from node.errors import MixedStudyError, StudyError
from node.roles import decide
from node.study import patient_of, read_studies, read_study
from node.volumes import image_of

T1 = {"ScanningSequence": "GR", "MRAcquisitionType": "3D", "RepetitionTime": 2300, "EchoTime": 3, "InversionTime": 900, "FlipAngle": 9}


@pytest.fixture
def folder(tmp_path, scanner):
    """Five slices of 8 × 8."""
    headers = scanner.stack(scanner.header(**T1, Rows=8, Columns=8), 5, 2.0)
    scanner.write(headers, np.arange(5 * 64).reshape(5, 8, 8), tmp_path / "a")
    return tmp_path


def a_file(folder, number=1):
    return sorted(folder.rglob("*.dcm"))[number]


def change(path, **tags):
    dataset = dcmread(path)
    for keyword, value in tags.items():
        setattr(dataset, keyword, value)
    dataset.save_as(path)


def test_instances_are_ordered_and_grouped(folder):
    study = read_study(folder)
    assert [instance.header.InstanceNumber for instance in study.series[0].instances] == [1, 2, 3, 4, 5]
    assert study.problems == () and "PixelData" not in study.header


def test_headers_share_what_is_equal_and_nothing_else(folder):
    first, second = (instance.header for instance in read_study(folder).series[0].instances[:2])
    assert first.get_item("Modality") is second.get_item("Modality")
    second.Modality = "OT"
    second.ImageType[0] = "DERIVED"
    assert (first.Modality, first.ImageType[0]) == ("MR", "ORIGINAL")
    assert first.ImagePositionPatient != second.ImagePositionPatient


def test_duplicates_are_dropped_and_contradictions_told(folder):
    shutil.copy(a_file(folder), folder / "again.dcm")
    assert (len(read_study(folder).series[0].instances), read_study(folder).problems) == (5, ())
    dataset = dcmread(a_file(folder))
    dataset.PixelData = bytes(128)
    dataset.save_as(folder / "zz.dcm")
    study = read_study(folder)
    assert len(study.series[0].instances) == 5
    assert "zz.dcm has the SOPInstanceUID of" in study.problems[0]


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.97, 0.999])
def test_a_file_cut_anywhere_is_left_out_with_a_sentence(folder, share):
    path = a_file(folder)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    study = read_study(folder)
    assert len(study.series[0].instances) == 4
    assert len(study.problems) == 1 and path.name in study.problems[0] and "left out" in study.problems[0]


@pytest.mark.parametrize("syntax", [uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian, uid.DeflatedExplicitVRLittleEndian])
def test_a_cut_is_seen_in_every_syntax(tmp_path, scanner, syntax):
    headers = scanner.stack(scanner.header(**T1, Rows=8, Columns=8), 2, 2.0)
    paths = scanner.write(headers, np.arange(128).reshape(2, 8, 8), tmp_path, syntax=syntax)
    assert read_study(tmp_path).problems == ()
    paths[0].write_bytes(paths[0].read_bytes()[:-20])
    study = read_study(tmp_path)
    assert len(study.series[0].instances) == 1 and paths[0].name in study.problems[0]


def test_a_cut_compressed_file_is_seen(tmp_path, scanner):
    headers = scanner.stack(scanner.header(**T1, Rows=64, Columns=64), 1, 2.0)
    path = scanner.write(headers, np.arange(4096).reshape(1, 64, 64), tmp_path)[0]
    dataset = dcmread(path)
    dataset.compress(uid.RLELossless)
    dataset.save_as(path)
    assert read_study(tmp_path).problems == ()
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(StudyError, match="cut short"):
        read_study(tmp_path)


def test_files_without_preamble_are_read(folder):
    path = a_file(folder)
    path.write_bytes(path.read_bytes()[132:])
    bare = dcmread(a_file(folder, 2))
    del bare.file_meta
    bare.save_as(a_file(folder, 2), implicit_vr=True, little_endian=True)
    study = read_study(folder)
    assert len(study.series[0].instances) == 5 and study.problems == ()


def test_what_is_no_dicom_is_named(folder):
    (folder / "readme.txt").write_text("eight bytes and more")
    (folder / "empty").write_bytes(b"")
    problems = read_study(folder).problems
    assert problems == ("empty is no DICOM file; it was left out.", "readme.txt is no DICOM file; it was left out.")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may open every folder")
def test_a_folder_that_cannot_be_opened_is_named(folder):
    (folder / "b").mkdir(mode=0)
    assert read_study(folder).problems == ("The folder b could not be opened (Permission denied); what it holds was left out.",)


def test_a_directory_file_is_ignored(folder, scanner):
    scanner.save(scanner.header(SOPClassUID=uid.MediaStorageDirectoryStorage, SOPInstanceUID="1.2"), folder / "DICOMDIR")
    assert read_study(folder).problems == ()


def test_an_empty_folder_is_told(tmp_path):
    with pytest.raises(StudyError, match="holds no DICOM files"):
        read_study(tmp_path)


def test_two_studies_are_told(folder):
    change(a_file(folder), StudyInstanceUID="1.2.3")
    assert len(read_studies(folder)[0]) == 2
    with pytest.raises(MixedStudyError, match="holds 2 studies"):
        read_study(folder)


@pytest.mark.parametrize("tags", [{"PatientID": "Secret"}, {"PatientBirthDate": "19500101"}, {"PatientName": "Secret^Patient"}])
def test_two_patients_are_refused_without_a_name(folder, tags):
    change(a_file(folder), **tags)
    with pytest.raises(MixedStudyError, match="more than one patient") as error:
        read_study(folder)
    assert "ecret" not in str(error.value)


def test_the_same_patient_written_otherwise_is_one(folder):
    for number in range(5):
        change(a_file(folder, number), PatientBirthDate="19600101", PatientName="PHANTOM^BETZ " if number % 2 else "Phantom Betz")
    assert read_study(folder).series


@pytest.mark.parametrize(
    ("tags", "age_years"),
    [
        ({"PatientAge": "061Y"}, 61.0),
        ({"PatientAge": "006M"}, 0.5),
        ({"PatientAge": "***"}, None),
        ({"PatientAge": "42"}, None),
        ({"PatientAge": "000Y"}, None),
        ({"PatientAge": "150Y"}, None),
        ({"PatientAge": "***", "PatientBirthDate": "19640601"}, 61.0),
        ({"PatientBirthDate": "18640601"}, None),
        ({"PatientBirthDate": "20300101"}, None),
        ({"PatientBirthDate": "1964"}, None),
        ({}, None),
    ],
)
def test_the_age_is_stated_or_counted_or_unknown(folder, tags, age_years):
    for number in range(5):
        dataset = dcmread(a_file(folder, number))
        for keyword, value in tags.items():
            dataset.add_new(keyword, "LO", value)
        dataset.save_as(a_file(folder, number))
    assert patient_of(read_study(folder)).age_years == age_years


@pytest.mark.parametrize(("stated", "sex"), [("F", "F"), ("M", "M"), ("O", None), ("", None)])
def test_the_sex_is_stated_or_unknown(folder, stated, sex):
    for number in range(5):
        change(a_file(folder, number), PatientSex=stated)
    assert patient_of(read_study(folder)).sex == sex


@pytest.mark.realdata
def test_real_studies(realdata):
    patient = patient_of(read_study(realdata / "siemens_xa30_enhanced"))
    assert (patient.age_years, patient.sex) == (31.0, "M")
    patient = patient_of(read_study(realdata / "t1_adult_studyforrest"))  # its PatientAge is "42", without a unit
    assert (patient.age_years, patient.sex) == (47.54, "F")


def in_vr(path, keyword, vr, value):
    """Write an element in a value representation that is not its own."""
    content = path.read_bytes()
    dataset = dcmread(path)
    tag = dataset[keyword].tag
    place = content.index(tag.group.to_bytes(2, "little") + tag.element.to_bytes(2, "little") + dataset[keyword].VR.encode(), 132)
    end = place + 8 + int.from_bytes(content[place + 6:place + 8], "little")
    path.write_bytes(content[:place + 4] + vr + len(value).to_bytes(2, "little") + value + content[end:])


@pytest.mark.parametrize(("keyword", "vr", "value"), [("SOPClassUID", b"FD", b"1.2.840"), ("SOPInstanceUID", b"ZZ", b"1.2.3.4")])
def test_a_uid_that_cannot_be_decoded_costs_its_file_only(folder, keyword, vr, value):
    in_vr(a_file(folder), keyword, vr, value)
    study = read_study(folder)
    assert len(study.series[0].instances) == 4
    assert "could not be read as DICOM" in study.problems[0]


@pytest.mark.parametrize(("vr", "value"), [(b"FD", b"123"), (b"FD", b"\0\0\0\0\0\0\xf0\x7f")])
def test_a_damaged_instance_number_ends_nothing(folder, vr, value):
    in_vr(a_file(folder), "InstanceNumber", vr, value)
    assert len(read_study(folder).series[0].instances) == 5


def test_a_damaged_identity_is_refused_and_a_damaged_sex_unknown(folder):
    change(a_file(folder, 0), PatientSex="F")
    in_vr(a_file(folder, 0), "PatientSex", b"FD", b"F ")
    assert patient_of(read_study(folder)).sex is None
    in_vr(a_file(folder), "PatientID", b"FD", b"123")
    with pytest.raises(StudyError, match="could not be understood"):
        read_study(folder)


def test_a_damaged_header_costs_its_series_only(folder):
    in_vr(a_file(folder), "ImagePositionPatient", b"FD", b"1.0\\2.0\\3.0")
    [series] = read_study(folder).series
    decision = decide(series)
    assert decision.role == "other" and not decision.usable and "BytesLengthException" in decision.why
    with pytest.raises(StudyError, match="could not be understood"):
        image_of(series, "t1")
