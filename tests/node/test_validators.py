"""What independent validators say of the result objects: no error, and one study with its sources."""

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest

from analysis.examination import Patient
from analysis.outcome import MEASURED, Mask, Measurement, Outcome
from analysis.report import Report, SeriesNote
from analysis.volume import Volume
from node.frames import frames_of
from node.provenance import Provenance
from node.replacement import kind_of, made_as, next_name
from node.study import Instance, Series, Study

pytestmark = pytest.mark.validators
UNKNOWN_LETTERS = ("W: The VR checker does not support this", "W: Reading unknown/unsupported SpecificCharacterSet")
TOOLS = ("dciodvfy", "dcentvfy", "dsrdump")


@pytest.fixture(autouse=True)
def tools():
    absent = [tool for tool in TOOLS if shutil.which(tool) is None]
    if absent:
        pytest.skip(f"{', '.join(absent)} not installed; Debian has them in dicom3tools and dcmtk")


def errors(*command: object) -> list[str]:
    run = subprocess.run([str(part) for part in command], capture_output=True, timeout=120)
    said = (run.stdout + run.stderr).decode("latin-1")
    return [line for line in said.splitlines() if line.startswith(("Error", "E:", "F:"))]


def complaints_of_dsrdump(path: Path) -> list[str]:
    """Errors and warnings; that it cannot check the letters of a character set is none."""
    run = subprocess.run(["dsrdump", str(path)], capture_output=True, timeout=60)
    lines = run.stderr.decode("latin-1").splitlines() + ([f"ended with {run.returncode}"] if run.returncode else [])
    return [line for line in lines if not line.startswith(UNKNOWN_LETTERS)]


def check(results: list[Path], sources: list[Path]) -> None:
    for path in results:
        assert errors("dciodvfy", "-new", path) == [], path.name
        if pydicom.dcmread(path, specific_tags=["Modality"]).Modality == "SR":
            assert complaints_of_dsrdump(path) == [], path.name
    assert errors("dcentvfy", *results, *sources) == []


def test_a_study(scanner, result_study, tmp_path, study_kind):
    case = result_study.kind(scanner, study_kind)
    results = result_study.write_objects(case, tmp_path / "answer", tractography=True)
    assert {path.name[:4] for path in results} >= {"9010", "9011", "9020", "9021", "9030", "9031", "9060"}
    check(results, result_study.write_sources(scanner, case, tmp_path / "mr"))


@pytest.mark.parametrize("charset", [None, "ISO_IR 100", ["", "ISO 2022 IR 87"], "ISO_IR 192"], ids=str)
def test_a_study_in_german_with_a_page_for_the_patient(scanner, result_study, tmp_path, charset):
    plain = result_study.PLAIN if charset is None else {}
    case = result_study.kind(scanner, "tilted", **{**plain, "SpecificCharacterSet": charset})
    check(result_study.write_objects(case, tmp_path / "answer", language="de", patient_page=True), [])


def test_reports_in_simpler_classes(scanner, result_study, tmp_path, study_kind):
    results = result_study.write_objects(result_study.kind(scanner, study_kind), tmp_path / "answer")
    made = []
    for path in results:
        name = path.name
        while name := next_name(name, kind_of(path)):
            made.append(tmp_path / Path(name).name)
            made[-1].write_bytes(made_as(name, path))
    assert sorted(path.suffixes[-2] for path in made) == [".basic", ".comprehensive", ".comprehensive", ".enhanced"]
    check(made, [])


def test_a_study_whose_procedure_has_no_code(scanner, result_study, tmp_path):
    case = result_study.case(scanner, ProcedureCodeSequence=[])  # empty, as a Philips scanner sends it
    check(result_study.write_objects(case, tmp_path / "answer"), [])


def test_a_study_that_was_not_analysed(scanner, result_study, tmp_path):
    case = result_study.case(scanner)
    report = replace(case.report, outcomes=(), not_analysed="no series has a role that a marker needs")
    check(result_study.write_objects(replace(case, report=report), tmp_path / "answer"), [])


def test_a_foreign_patient_is_noticed(scanner, result_study, tmp_path):
    mine, other = result_study.case(scanner), result_study.case(scanner, PatientID="P-2")
    results = [path for case, name in ((mine, "mine"), (other, "other")) for path in result_study.write_objects(case, tmp_path / name)]
    assert errors("dcentvfy", *results)


def test_a_broken_object_is_noticed(scanner, result_study, tmp_path):
    path = next(path for path in result_study.write_objects(result_study.case(scanner), tmp_path / "answer") if "9010" in path.name)
    ds = pydicom.dcmread(path)
    del ds.CompletionFlag
    ds.save_as(path)
    assert errors("dciodvfy", "-new", path) and complaints_of_dsrdump(path)


@pytest.mark.realdata
def test_a_siemens_xa30_study(realdata, result_study, tmp_path):
    folders = [realdata / "siemens_xa30_enhanced" / name for name in ("6_anat-T1w_acq-tfl", "10_DWI_dir80_PA")]
    series = [series_in(folder) for folder in folders]
    images = {role: image_of(one) for role, one in zip(("t1", "dwi"), series, strict=True)}
    outcomes = tuple(outcome(role, image) for role, image in images.items())
    notes = tuple(SeriesNote(one.series_instance_uid, role, "by its tags", used=True) for role, one in zip(images, series, strict=True))
    study = Study(series[0].header.StudyInstanceUID, tuple(series))
    report = Report(study.study_instance_uid, Patient(31.0, "M"), notes, outcomes, ("Measured.",))
    case = result_study.Case(report, Provenance(study, result_study.MADE_AT), images)
    results = result_study.write_objects(case, tmp_path / "results")
    assert {path.name[:4] for path in results} >= {"9010", "9011", "9020", "9021"}
    check(results, sorted(path for folder in folders for path in folder.glob("*.dcm")))


def series_in(folder: Path) -> Series:
    instances = [Instance(path, pydicom.dcmread(path, stop_before_pixels=True)) for path in sorted(folder.glob("*.dcm"))]
    return Series(instances[0].header.SeriesInstanceUID, tuple(instances))


def image_of(series: Series) -> Volume:
    frames = sorted((one for one in frames_of(series) if one.time_position == 0), key=lambda one: float(one.origin_lps @ one.normal_lps))
    matrix = frames[0].lps_from_index.copy()
    matrix[:3, 0] = (frames[-1].origin_lps - frames[0].origin_lps) / (len(frames) - 1)
    return Volume(np.zeros((len(frames), frames[0].rows, frames[0].columns), np.float32), matrix)


def outcome(role: str, image: Volume) -> Outcome:
    from analysis.concepts import BRAIN, VOLUME

    distance = sum(((axis - size / 2) / size) ** 2 for axis, size in zip(np.indices(image.array.shape), image.array.shape, strict=True))
    mask = distance < 0.1
    volume = Measurement("brain_volume", float(mask.sum() * image.voxel_ml), "ml", VOLUME, BRAIN, no_reference="a test")
    return Outcome(f"{role}_volume", 1, MEASURED, measurements=(volume,), masks=(Mask("brain", role, mask, BRAIN),))
