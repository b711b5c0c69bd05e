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
from node.measurement_report import measurement_report
from node.parametric_map import parametric_maps
from node.provenance import Provenance
from node.segmentation import segmentations
from node.study import Instance, Series, Study
from node.text_report import text_report
from node.track_set import track_sets

pytestmark = pytest.mark.validators
TOOLS = ("dciodvfy", "dcentvfy", "dsrdump")


@pytest.fixture(autouse=True)
def tools():
    absent = [tool for tool in TOOLS if shutil.which(tool) is None]
    if absent:
        pytest.skip(f"{', '.join(absent)} not installed; Debian has them in dicom3tools and dcmtk")


def answer(case, folder: Path) -> list[Path]:
    """The result objects as files."""
    segs = segmentations(case.report, case.provenance, case.images)
    others = [*parametric_maps(case.report, case.provenance, case.images), *track_sets(case.report, case.provenance)]
    coded = measurement_report(case.report, case.provenance, case.images, segs)
    objects = [one for one in (*segs, *others, coded, text_report(case.report, case.provenance)) if one is not None]
    paths = [folder / f"{one.SeriesNumber}.dcm" for one in objects]
    folder.mkdir(exist_ok=True)
    for one, path in zip(objects, paths, strict=True):
        one.save_as(path, enforce_file_format=True)
    return paths


def errors(*command: object) -> list[str]:
    run = subprocess.run([str(part) for part in command], capture_output=True, timeout=120)
    said = (run.stdout + run.stderr).decode("latin-1")
    return [line for line in said.splitlines() if line.startswith(("Error", "E:", "F:"))]


def check(results: list[Path], sources: list[Path]) -> None:
    for path in results:
        assert errors("dciodvfy", "-new", path) == []
        if path.name.startswith("901"):
            assert errors("dsrdump", "-Ee", path) == []
    assert errors("dcentvfy", *results, *sources) == []


@pytest.mark.parametrize("charset", ["ISO_IR 100", "ISO_IR 192"])
def test_a_classic_study(scanner, result_study, tmp_path, charset):
    case = result_study.case(scanner, SpecificCharacterSet=charset, ProcedureCodeSequence=[])  # empty, as a Philips scanner sends it
    sources = []
    for number, series in enumerate(case.provenance.study.series, start=1):
        headers = [one.header for one in series.instances]
        pixels = np.zeros((len(headers), headers[0].Rows, headers[0].Columns), np.uint16)
        sources += scanner.write(headers, pixels, tmp_path / "mr", number)
    check(answer(case, tmp_path / "results"), sources)


def test_an_enhanced_study(scanner, result_study, tmp_path):
    case = result_study.case(scanner, is_enhanced=True)
    check(answer(case, tmp_path / "results"), [])


def test_a_study_that_was_not_analysed(scanner, result_study, tmp_path):
    case = result_study.case(scanner)
    report = replace(case.report, outcomes=(), not_analysed="no series has a role that a marker needs")
    check(answer(replace(case, report=report), tmp_path / "results"), [])


def test_a_foreign_patient_is_noticed(scanner, result_study, tmp_path):
    mine, other = result_study.case(scanner), result_study.case(scanner, PatientID="P-2")
    assert errors("dcentvfy", *answer(mine, tmp_path / "mine"), *answer(other, tmp_path / "other"))


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
    results = answer(case, tmp_path / "results")
    assert [path.name for path in results] == ["9020.dcm", "9021.dcm", "9010.dcm", "9011.dcm"]
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
