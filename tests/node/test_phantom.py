"""The phantom as DICOM: whole, deterministic, where the anatomy is, and plainly a phantom."""

import json
import shutil
import subprocess
from hashlib import sha256

import numpy as np
import pytest
from pydicom import dcmread

from analysis.phantom import phantom
from node.errors import BetzError
from node.phantom import write_phantom, write_visits
from node.roles import decide
from node.spectra import spectra_of
from node.study import read_study
from node.volumes import image_of

FINDINGS, SEVERITY, SEED, COARSE = ("cst_degeneration:left",), 1.0, 5, 4.0


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    out = tmp_path_factory.mktemp("phantom")
    write_phantom(out, FINDINGS, SEVERITY, SEED, coarseness=COARSE)
    return out


@pytest.fixture(scope="module")
def made():
    return phantom(FINDINGS, SEVERITY, SEED, coarseness=COARSE)


def headers(out):
    return [dcmread(path) for path in sorted(out.rglob("*.dcm"))]


def bytes_of(out):
    return {path.relative_to(out): sha256(path.read_bytes()).hexdigest() for path in sorted(out.rglob("*")) if path.is_file()}


def test_the_same_arguments_give_the_same_bytes(written, tmp_path):
    write_phantom(tmp_path / "again", FINDINGS, SEVERITY, SEED, coarseness=COARSE)
    assert bytes_of(tmp_path / "again") == bytes_of(written)


def test_every_header_says_that_this_is_a_phantom(written):
    made = headers(written)
    for ds in made:
        assert ds.PatientName == "PHANTOM^BETZ"
        assert ds.PatientID.startswith("BETZ-PHANTOM-5-")
        assert ds.QualityControlSubject == "YES"
        assert "phantom" in ds.PatientComments and "phantom" in ds.ImageComments
        assert ds.SeriesDescription.startswith("PHANTOM") and ds.StudyDescription.startswith("PHANTOM")
        assert ds.FrameOfReferenceUID == made[0].FrameOfReferenceUID


def test_the_roles_are_found_by_physics(written):
    study = read_study(written / "dicom")
    assert not study.problems
    assert {decide(series).role for series in study.series} == {"t1", "flair", "swi", "dwi", "mrs"}


@pytest.mark.parametrize("role", ["t1", "flair", "swi"])
def test_the_slices_are_the_volume_and_lie_where_it_lies(written, made, role):
    volume = made.images[role]
    slices = [dcmread(path) for path in sorted((written / "dicom" / role).iterdir())]
    assert np.array_equal(np.stack([ds.pixel_array for ds in slices]), volume.array)
    for k, row, column in ((0, 0, 0), (len(slices) // 2, 7, 11), (len(slices) - 1, slices[0].Rows - 1, slices[0].Columns - 1)):
        ds = slices[k]
        across, down = np.array(ds.ImageOrientationPatient, float).reshape(2, 3)
        place = np.array(ds.ImagePositionPatient, float) + across * ds.PixelSpacing[1] * column + down * ds.PixelSpacing[0] * row
        assert np.allclose(place, (volume.lps_from_index @ [k, row, column, 1])[:3], atol=1e-3)


def test_the_diffusion_object_holds_every_volume_with_its_gradient(written, made):
    diffusion = made.images["dwi"]
    ds = dcmread(written / "dicom" / "dwi" / "IM00001.dcm")
    slices, rows, columns, volumes = diffusion.array.shape
    assert np.array_equal(ds.pixel_array.reshape(volumes, slices, rows, columns).transpose(1, 2, 3, 0), diffusion.array)
    for number, frame in enumerate(ds.PerFrameFunctionalGroupsSequence):
        volume, k = divmod(number, slices)
        weighting = frame.MRDiffusionSequence[0]
        assert weighting.DiffusionBValue == diffusion.b_values_s_mm2[volume]
        if weighting.DiffusionBValue:
            direction = weighting.DiffusionGradientDirectionSequence[0].DiffusionGradientOrientation
            assert np.allclose(direction, diffusion.b_vectors_lps[volume])
        assert np.allclose(frame.PlanePositionSequence[0].ImagePositionPatient, (diffusion.lps_from_index @ [k, 0, 0, 1])[:3], atol=1e-3)


def test_the_truth_lies_beside_the_study(written, made):
    truth = json.loads((written / "truth.json").read_text())
    assert truth["findings"] == ["cst_degeneration:left"]
    assert truth["measurements"] == made.truth["measurements"]
    assert truth["study_instance_uid"] == read_study(written / "dicom").study_instance_uid
    assert sorted(path.name for path in written.iterdir()) == ["dicom", "truth.json"]


def test_a_folder_that_holds_files_is_refused(tmp_path):
    (tmp_path / "something").write_text("mine")
    with pytest.raises(BetzError, match="holds files already"):
        write_phantom(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["something"]


def test_what_does_not_exist_cannot_be_planted_and_leaves_nothing(tmp_path):
    with pytest.raises(ValueError, match="not a finding"):
        write_phantom(tmp_path / "out", ("als",))
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize("role", ["t1", "flair", "swi", "dwi"])
def test_the_study_comes_back_as_the_images_that_it_was_made_of(written, made, role):
    """Through the same stages as a patient's: study, role, volume."""
    (series,) = (one for one in read_study(written / "dicom").series if decide(one).role == role)
    image, its = image_of(series, role), made.images[role]
    across = its.lps_from_index[:3, :3] / np.linalg.norm(its.lps_from_index[:3, :3], axis=0)
    along = across.T @ (image.lps_from_index[:3, :3] / np.linalg.norm(image.lps_from_index[:3, :3], axis=0))
    assert np.allclose(np.abs(along), np.eye(3), atol=1e-4), "slices, rows and columns are the same, either way round"
    back = tuple(slice(None, None, int(sign)) for sign in np.sign(np.diag(along)))
    assert np.array_equal(image.array[back], its.array)
    corner = [0 if sign > 0 else size - 1 for sign, size in zip(np.sign(np.diag(along)), its.array.shape, strict=False)]
    assert np.allclose(image.lps_from_index @ [*corner, 1], its.lps_from_index[:, 3], atol=0.01)
    assert np.allclose(image.lps_from_index[:3, :3] * np.sign(np.diag(along)), its.lps_from_index[:3, :3], atol=1e-3)
    if role == "dwi":
        assert np.array_equal(image.b_values_s_mm2, its.b_values_s_mm2)
        assert np.allclose(np.abs((image.b_vectors_lps * its.b_vectors_lps).sum(axis=1))[its.b_values_s_mm2 > 0], 1, atol=1e-5)


def test_the_spectra_come_back_as_they_were_made_each_with_its_water(written, made):
    series = [one for one in read_study(written / "dicom").series if decide(one).role == "mrs"]
    assert all(decide(one).usable and "PRESS, TR 2000 ms, TE 30 ms, 20 × 20 × 20 mm" in decide(one).protocol for one in series)
    read = {one.series: one for one in spectra_of(series).voxels}
    for its in made.images["mrs"].voxels:
        one = read.pop(its.series)
        assert np.allclose(one.array, its.array, atol=1e-5 * np.abs(its.array).max())
        assert np.allclose(one.water, its.water, atol=1e-5 * np.abs(its.water).max())
        assert np.allclose(one.lps_from_box[:3, 3], its.lps_from_box[:3, 3], atol=1e-3)
        assert one.voxel_ml == pytest.approx(8.0) and one.sequence == its.sequence
    assert not read


@pytest.mark.validators
def test_a_validator_finds_no_error_in_the_spectra(written):
    if shutil.which("dciodvfy") is None:
        pytest.skip("dciodvfy not installed; Debian has it in dicom3tools")
    for path in sorted((written / "dicom").glob("mrs_1*/*.dcm")):
        run = subprocess.run(["dciodvfy", "-new", str(path)], capture_output=True, timeout=120)
        assert not [line for line in (run.stdout + run.stderr).decode("latin-1").splitlines() if line.startswith("Error")], path


def test_a_neck_is_written_as_two_series_of_the_cervical_spine(tmp_path):
    write_phantom(tmp_path, ("cord_compression:C4/C5",), 1.0, SEED, coarseness=1.6, roles=("cord_t2", "cord_t2_sagittal"))
    study = read_study(tmp_path / "dicom")
    assert not study.problems
    assert [decide(series).role for series in study.series] == ["cord_t2", "cord_t2"]
    truth, made = json.loads((tmp_path / "truth.json").read_text()), headers(tmp_path)
    assert truth["findings"] == ["cord_compression:C4/C5"] and set(truth["neck"]["discs_lps_mm"]) >= {"C2/C3", "C7/T1"}
    assert {ds.BodyPartExamined for ds in made} == {"CSPINE"} and len({ds.FrameOfReferenceUID for ds in made}) == 1
    assert {(ds.MRAcquisitionType, float(ds.SliceThickness)) for ds in made} == {("3D", 1.28), ("2D", 3.0)}


def test_the_visits_are_studies_of_one_patient_half_a_year_apart(tmp_path):
    write_visits(tmp_path / "visits", 2, 0.0, SEED, coarseness=COARSE, roles=("cord_t2",))
    first, later = (json.loads((tmp_path / "visits" / f"visit{visit}" / "truth.json").read_text()) for visit in (0, 1))
    assert first["measurements"] == later["measurements"] and {one["percent"] for one in later["change"]} == {0.0}
    found = {(ds.PatientID, ds.StudyInstanceUID, ds.StudyDate) for ds in headers(tmp_path)}
    assert first["patient_id"] == later["patient_id"] and sorted(day for *_, day in found) == ["20250717", "20260115"]
