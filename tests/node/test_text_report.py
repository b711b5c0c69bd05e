"""The readable report: it is always made, and it says what was found, what was not assessed and why."""

from dataclasses import replace
from io import BytesIO

import pydicom
import pytest

from analysis.concepts import CORTICOSPINAL_TRACT, CST_HYPERINTENSITY, MOTOR_BAND_SIGN, PRECENTRAL_GYRUS
from analysis.outcome import MEASURED, Accuracy, Finding, Outcome
from analysis.report import LIMITS
from analysis.support import support_of
from node.provenance import encoded
from node.text_report import text_report


def read(report, provenance):
    return pydicom.dcmread(BytesIO(encoded(text_report(report, provenance))))


def sections(ds):
    """The sentences below each heading, deeper headings included."""
    return {item.ConceptNameCodeSequence[0].CodeMeaning: list(texts(item)) for item in ds.ContentSequence if item.ValueType == "CONTAINER"}


def texts(item):
    for one in item.get("ContentSequence", ()):
        if one.ValueType == "TEXT":
            yield one.TextValue
        yield from texts(one)


def test_it_says_what_was_found_and_what_was_not(scanner, result_study):
    case = result_study.case(scanner)
    said = sections(read(case.report, case.provenance))
    assert said["Summary"] == list(case.report.summary)
    assert said["Findings"][-1] == "Degeneration of the corticospinal tract: not assessed (it needs a reference\r\n  population)"
    assert said["Reason not assessed"] == [
        "CST FA, left, pons: not measured: the field of view ends above it",
        "motor band: not measurable: the study has no usable swi series",
        "infarct: failed: the step ended with an error",
    ]
    assert "Reference: Adults, 3 T (n = 120) - CST FA, CST MD" in said["Comment"]
    assert "CST diffusion: Two volumes were left out." in said["Comment"]
    assert said["Image Library"][1] == "Series 2 (DWI): DWI, measured: b 0 and 1000 s/mm². Problems: only three directions."
    assert said["Limitation of use"] == list(LIMITS)


def test_the_table_has_left_beside_right_and_what_has_no_side_below(scanner, result_study):
    case = result_study.case(scanner)
    brain, tract = sections(read(case.report, case.provenance))["Imaging Measurements"]
    assert brain == "Brain volume  1234 ± 24  ml"
    lines = tract.split("\r\n")
    assert lines[0].split() == ["left", "right"]
    assert lines[1] == "CST FA, PLIC      0.523 ± 0.013 (z -1.2)  0.504 ± 0.013 (z -1.2)"
    assert lines[1].index("0.504") == lines[0].index("right")
    assert lines[2].split()[-2:] == ["10^-3", "mm²/s"]
    assert lines[-1] == "CST FA asymmetry  -3.68 ± 3.40  %"


def test_a_study_without_anything_to_analyse_gets_its_answer(scanner, result_study):
    case = result_study.case(scanner)
    empty = replace(case.report, outcomes=(), summary=(), not_analysed="no series has a role that a marker needs")
    ds = read(empty, case.provenance)
    said = sections(ds)
    assert said["Summary"] == said["Reason not assessed"] == ["Not analysed: no series has a role that a marker needs"]
    assert said["Limitation of use"] == list(LIMITS) and ds.CompletionFlag == "COMPLETE"
    unused = replace(empty, series=tuple(replace(note, used=False) for note in empty.series))
    assert text_report(unused, case.provenance).BodyPartExamined == "BRAIN"


def test_it_is_the_title_of_a_text_report_without_coordinates(scanner, result_study):
    case = result_study.case(scanner)
    ds = read(case.report, case.provenance)
    assert ds.ConceptNameCodeSequence[0].CodeValue == "18748-4" and ds.SeriesNumber == 9011
    assert ds.SOPClassUID == "1.2.840.10008.5.1.4.1.1.88.22" and "ContentTemplateSequence" not in ds
    assert (ds.Manufacturer, ds.SoftwareVersions, ds.StationName) == ("Betz", "0.1.0", "BETZ")
    assert ds.CodingSchemeIdentificationSequence[0].CodingSchemeDesignator == "99ALSMRI"


@pytest.mark.parametrize(
    ("charset", "name", "expected", "written"),
    [
        ("ISO_IR 100", "Prüfung^Jörg", "ISO_IR 100", "1 ± 2 mm², Größe -> 3"),
        (None, "Plain^Name", "ISO_IR 100", "1 ± 2 mm², Größe -> 3"),
        ("ISO_IR 192", "Prüfung^Jörg", "ISO_IR 192", "1 ± 2 mm², Größe → 3"),
    ],
)
def test_text_fits_the_character_set_of_the_source(scanner, result_study, charset, name, expected, written):
    case = result_study.case(scanner, SpecificCharacterSet=charset, PatientName=name, StudyDescription="Head", ReferringPhysicianName="A^B")
    report = replace(case.report, summary=("1 ± 2 mm², Größe → 3",))
    ds = read(report, case.provenance)
    assert ds.get("SpecificCharacterSet") == expected
    assert sections(ds)["Summary"] == [written] and ds.PatientName == name


def test_letters_that_no_plainer_one_replaces_are_written_in_unicode(scanner, result_study):
    case = result_study.case(scanner)
    ds = read(replace(case.report, summary=("脳",)), case.provenance)
    assert ds.SpecificCharacterSet == "ISO_IR 192" and sections(ds)["Summary"] == ["脳"] and ds.PatientName == "Prüfung^Jörg"


def test_the_same_report_gives_the_same_bytes(scanner, result_study):
    case = result_study.case(scanner)
    assert encoded(text_report(case.report, case.provenance)) == encoded(text_report(case.report, case.provenance))


def test_what_each_finding_weighs_is_said_with_its_source(scanner, result_study):
    case = result_study.case(scanner)
    band = Outcome("motor_band", 1, MEASURED, findings=(
        Finding("motor_band_sign", "present", MOTOR_BAND_SIGN, PRECENTRAL_GYRUS, "left"),))  # fmt: skip
    bright = Outcome("cst_flair", 1, MEASURED, findings=(
        Finding("cst_hyperintensity", "present", CST_HYPERINTENSITY, CORTICOSPINAL_TRACT, "right"),))  # fmt: skip
    report = replace(case.report, support=support_of([band, bright]))
    lines = sections(read(report, case.provenance))["Support for upper motor neuron involvement"]
    assert lines[0].startswith("motor band sign on the left: present; likelihood ratio 6.73") and "10.1002/acn3.52066" in lines[0]
    assert lines[-1].endswith("likelihood ratio between\r\n  6.7 and 10.0.")
    assert max(len(line) for sentence in lines for line in sentence.split("\r\n")) <= 100, "viewers do not break the lines of a finding"


def test_a_screen_says_how_well_it_was_seen_to_work(scanner, result_study):
    case = result_study.case(scanner)
    known = Accuracy(9, 10, 1, 20, on="computed heads")
    screens = Outcome("cst_flair", 1, MEASURED, findings=tuple(
        Finding("cst_hyperintensity", value, CST_HYPERINTENSITY, CORTICOSPINAL_TRACT, reason="no FLAIR", accuracy=known)
        for value in ("absent", "not assessed")))  # fmt: skip
    said = sections(read(replace(case.report, outcomes=(screens,)), case.provenance))["Findings"]
    text = " ".join(" ".join(said).replace("\r\n", " ").split())
    assert f"absent (no FLAIR; {known.words})" in text and "not assessed (no FLAIR)" in text


def test_it_says_which_sequences_came_and_which_did_not(scanner, result_study):
    case = result_study.case(scanner)
    lines = sections(read(case.report, case.provenance))["Sequences of an examination for suspected ALS"]
    assert "3D FLAIR: missing" in lines and lines[0].startswith("3D T1, 1 mm, down to C3: limited: T1 tilted; voxels of up to 2.0 mm")
    assert "fMRI (optional): missing" in lines
