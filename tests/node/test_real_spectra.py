"""Real spectra: those of three scanners as they came, and a pair of Philips files with its T1, wrapped as DICOM."""

from __future__ import annotations

import nibabel
import numpy as np
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from analysis.examination import Examination
from analysis.markers.motor_cortex_spectroscopy import MARKER
from analysis.outcome import NotMeasurable
from analysis.spectrum import PRESS, Spectra, Spectrum
from analysis.steps.spectrum_fit import fitted
from analysis.steps.voxel import voxel_of
from analysis.volume import Volume
from node.images import images_of
from node.phantom_spectrum import spectrum_instances
from node.roles import decide
from node.spectra import in_frame, spectra_of
from node.study import read_studies, read_study

MPRAGE = {"ScanningSequence": "GR", "MRAcquisitionType": "3D", "SequenceVariant": ["SP", "MP"], "RepetitionTime": 8.1, "EchoTime": 3.7,
          "InversionTime": 900, "FlipAngle": 8, "BodyPartExamined": "BRAIN"}  # fmt: skip
RAS = np.diag([-1.0, -1.0, 1.0])

# name: field MHz, TE, TR ms, points, edges of the voxel mm, middle LPS mm, has water, sequence as it is written
REAL = {
    "siemens_prisma_xa60_phantom": (123.26, 30.0, 2000, 1024, (30, 30, 30), (0, 57.4, -8.0), False, "PRESS"),
    "siemens_xa60_7T_invivo_svs_se_31": (297.15, 30.0, 4000, 1024, (20, 20, 20), (17.4, 0, 46.9), False, "PRESS"),
    "philips_achieva15T_phantom_mrs": (63.90, 31.9, 2000, 1024, (15, 25, 25), (6.1, 15.2, 4.0), True, "PRIME"),
}


@pytest.mark.realdata
@pytest.mark.parametrize("name", REAL)
def test_spectra_of_three_scanners_are_read(realdata, name):
    field_mhz, echo_ms, repetition_ms, points, edges_mm, middle, has_water, words = REAL[name]
    (one,) = spectra_of([series for series in the_series(realdata) if series.instances[0].path.stem == name]).voxels
    assert one.array.shape == (1, 1, points) and (one.water is not None) == has_water
    assert (one.sequence, one.sequence_words) == (PRESS, words)
    assert (one.field_mhz, one.echo_time_ms, one.repetition_time_ms) == pytest.approx((field_mhz, echo_ms, repetition_ms), rel=1e-3)
    assert sorted(np.linalg.norm(one.lps_from_box[:3, :3], axis=0)) == pytest.approx(edges_mm, rel=0.01)
    assert one.lps_from_box[:3, 3] == pytest.approx(middle, abs=0.1)
    decision = decide(next(series for series in the_series(realdata) if series.instances[0].path.stem == name))
    assert decision.usable and "PRESS" in decision.protocol and decision.scanner


def the_series(realdata):
    return [series for study in read_studies(realdata / "mrs_dicom")[0] for series in study.series]


@pytest.mark.realdata
@pytest.mark.parametrize("name", [name for name in REAL if name.endswith(("phantom", "phantom_mrs"))])
def test_spectra_of_phantoms_are_recognised_as_no_brain(realdata, name):
    (one,) = spectra_of([series for series in the_series(realdata) if series.instances[0].path.stem == name]).voxels
    with pytest.raises(NotMeasurable):
        fitted(one)


def parameters(path) -> dict[str, str]:
    lines = (line.split(":", 1) for line in path.read_text(encoding="latin-1").splitlines() if ":" in line and not line.startswith("!"))
    return {key.strip(): value.strip() for key, value in lines}


def samples(path) -> np.ndarray:
    """The floats of a VAX: pairs of 16 bits, exponents of another bias."""
    words = np.frombuffer(path.read_bytes(), "<u2").reshape(-1, 2).astype(np.uint32)
    floats = ((words[:, 0] << 16) | words[:, 1]).view(np.float32).astype(np.float64) / 4.0
    return floats[0::2] + 1j * floats[1::2]


def philips_box(spar: dict[str, str]) -> np.ndarray:
    """Sizes, offsets (left, posterior, head) and angulations of the box, as Gannet lays it on an image."""
    size, middle, angle = ([float(spar[f"{axis}_{kind}"]) for axis in ("lr", "ap", "cc")] for kind in ("size", "off_center", "angulation"))
    x, y, z = np.deg2rad([-angle[0], -angle[1], angle[2]])
    about_x = np.array([[1, 0, 0], [0, np.cos(x), -np.sin(x)], [0, np.sin(x), np.cos(x)]])
    about_y = np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]])
    about_z = np.array([[np.cos(z), -np.sin(z), 0], [np.sin(z), np.cos(z), 0], [0, 0, 1]])
    box = np.eye(4)
    box[:3, :3] = RAS @ about_x @ about_y @ about_z @ RAS * np.array(size)
    box[:3, 3] = middle
    return box


def philips_spectrum(folder) -> Spectrum:
    """The spectrum with its water, before it goes through DICOM."""
    first, water = (folder / "mrs" / f"sub-01_ses-01_{name}" for name in ("press", "press_ref"))
    spar = parameters(next(first.glob("*.SPAR")))
    array, reference = (samples(next(one.glob("*.SDAT"))) for one in (first, water))
    return Spectrum(array[None, None], float(spar["sample_frequency"]), float(spar["synthesizer_frequency"]) / 1e6,
                    float(spar["echo_time"]), float(spar["repetition_time"]), PRESS, "", None, reference[None, None], philips_box(spar),
                    series="press")  # fmt: skip


def t1_of(folder) -> Volume:
    file = nibabel.load(next((folder / "anat").glob("*.nii.gz")))
    array = np.asarray(file.dataobj, np.float32).transpose(2, 1, 0)
    matrix = (np.diag([-1.0, -1.0, 1.0, 1.0]) @ file.affine)[:, [2, 1, 0, 3]]
    if np.linalg.det(matrix[:3, :3]) < 0:
        array, flip = array[::-1], np.diag([-1.0, 1.0, 1.0, 1.0])
        flip[0, 3] = array.shape[0] - 1
        matrix = matrix @ flip
    return Volume(np.ascontiguousarray(array), matrix)


def write_study(scanner, folder, out) -> None:
    """T1 and spectra as DICOM, in one study and frame of reference."""
    t1 = t1_of(folder)
    slices, rows, columns = t1.array.shape
    upright = t1.lps_from_index[:3, :3] / t1.spacing_mm
    base = scanner.header(**MPRAGE, Rows=rows, Columns=columns)
    headers = scanner.stack(base, slices, float(t1.spacing_mm[0]), float(t1.spacing_mm[1]), (*upright[:, 2], *upright[:, 1]),
                            t1.lps_from_index[:3, 3])  # fmt: skip
    scanner.write(headers, np.clip(t1.array * (2000.0 / t1.array.max()), 0, None).astype(np.uint16), out)
    study = Dataset()
    first = headers[0]
    for word in ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyInstanceUID", "StudyDate", "StudyTime", "Modality",
                 "FrameOfReferenceUID", "Manufacturer", "ManufacturerModelName"):  # fmt: skip
        if word in first:
            setattr(study, word, first[word].value)
    study.PatientComments, study.AcquisitionDate, study.AcquisitionTime = "a test", "20250101", "100000"
    for name, (one,) in spectrum_instances(Spectra((philips_spectrum(folder),)), study).items():
        one.file_meta = FileMetaDataset()
        one.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        one.save_as(out / f"{name}.dcm", enforce_file_format=True)


@pytest.mark.realdata
def test_a_philips_spectrum_with_its_t1_goes_through_place_tissues_and_ratios(realdata, scanner, tmp_path):
    folder = realdata / "mrs_philips_t1_sub-01"
    write_study(scanner, folder, tmp_path)
    from analysis.marker import markers

    study = read_study(tmp_path)
    decisions, images = images_of(study, markers(), lambda step: None)
    assert {one.role for one in decisions} == {"t1", "mrs"} and all(one.usable for one in decisions)
    (spectrum,) = images["mrs"].voxels
    assert spectrum.water is not None and spectrum.voxel_ml == pytest.approx(26 * 26 * 30 / 1000, rel=1e-3)
    examination = Examination(images)
    voxel = voxel_of(examination, spectrum)
    # the posterior cingulate, across the midline: by its place no motor cortex
    assert not voxel.is_motor_cortex and voxel.lobe == "parietal lobe" and voxel.precentral < 0.05
    assert 0.3 < voxel.grey < 0.6 and 0.4 < voxel.white < 0.7 and voxel.csf < 0.2
    with pytest.raises(NotMeasurable, match="does not lie in the motor cortex: its middle is in the parietal lobe"):
        MARKER.measure(examination)
    fit = fitted(spectrum)
    assert 0.9 < fit.ratios["naa_cr"].value < 1.9 and 0.1 < fit.ratios["cho_cr"].value < 0.4 and fit.snr > 20
    apart = in_frame(images["mrs"], "1.2.3")
    with pytest.raises(NotMeasurable, match="another frame of reference"):
        MARKER.measure(Examination({**images, "mrs": apart}))
