"""From files to images: the same voxels in the same place, whatever the plane, the object and the encoding."""

import gzip
from pathlib import Path

import nibabel
import numpy as np
import pytest
from pydicom import dcmread, uid
from pydicom.pixels import pixel_array

from analysis.volume import Diffusion, TimeSeries, Volume
from node.errors import StudyError
from node.frames import frames_of, mask_on_frame, slice_map
from node.roles import choose, decide
from node.study import read_study
from node.volumes import image_of, write_nifti

SHAPE = (12, 20, 16)
SAGITTAL, CORONAL, AXIAL = (0, 1, 0, 0, 0, -1), (1, 0, 0, 0, 0, -1), (1, 0, 0, 0, 1, 0)
COLUMNS = np.array([0.96, 0.2, -0.195959])
ROWS = np.cross(np.cross(COLUMNS, [0.1, 0.97, 0.2]), COLUMNS)
OBLIQUE = (*COLUMNS / np.linalg.norm(COLUMNS), *ROWS / np.linalg.norm(ROWS))
T1 = {"ScanningSequence": "GR", "MRAcquisitionType": "3D", "RepetitionTime": 2300, "EchoTime": 3, "InversionTime": 900, "FlipAngle": 9}
EPI = {"ScanningSequence": ["EP", "SE"], "MRAcquisitionType": "2D", "RepetitionTime": 8000, "EchoTime": 85, "FlipAngle": 90}
SIZE = {"Rows": SHAPE[1], "Columns": SHAPE[2]}


def a_picture(seed=0, shape=SHAPE):
    return np.random.default_rng(seed).integers(0, 4000, shape, dtype=np.uint16)


def vectors(count):
    found = np.random.default_rng(5).normal(size=(count, 3))
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def check_slices(series, image, every):
    """A frame's pixels are the volume's slice, up to one scale per image."""
    for place in slice_map(image.lps_from_index, image.array.shape, frames_of(series))[::every]:
        number = place.frame.number
        picture = pixel_array(series.instances[place.frame.instance].path, index=None if number is None else number - 1).astype(float)
        volumes = image.array if image.array.ndim == 4 else image.array[..., None]
        scales = [mask_on_frame(volumes[..., t], place) for t in range(volumes.shape[3])]
        residuals = [np.abs(one - picture * (one * picture).sum() / max((picture**2).sum(), 1)).max() / max(one.max(), 1) for one in scales]
        yield place, min(residuals)


@pytest.mark.parametrize("plane", [AXIAL, SAGITTAL, CORONAL, OBLIQUE])
@pytest.mark.parametrize("is_enhanced", [False, True])
@pytest.mark.parametrize("is_reversed", [False, True])
def test_a_volume_is_what_was_sent(tmp_path, scanner, plane, is_enhanced, is_reversed):
    picture = a_picture()
    headers = scanner.stack(scanner.header(**T1, **SIZE), SHAPE[0], 1.5, 1.1, plane)
    order = slice(None, None, -1) if is_reversed else slice(None)
    if is_enhanced:
        shared = {"MRAcquisitionType": "3D", "EchoPulseSequence": "GRADIENT"}
        objects = scanner.series([scanner.enhanced(headers[order], picture[order], **shared)])
        scanner.save(objects.header, tmp_path / "one.dcm")
    else:
        scanner.write(headers[order], picture[order], tmp_path)
    image = image_of(read_study(tmp_path).series[0], "t1")
    assert isinstance(image, Volume) and image.array.dtype == np.float32
    assert np.array_equal(image.array, picture)
    assert np.allclose(image.lps_from_index, frames_of(scanner.series(headers))[0].lps_from_index, atol=1e-4)


@pytest.mark.parametrize("syntax", [uid.ImplicitVRLittleEndian, uid.DeflatedExplicitVRLittleEndian])
def test_other_encodings_give_the_same_volume(tmp_path, scanner, syntax):
    picture = a_picture()
    scanner.write(scanner.stack(scanner.header(**T1, **SIZE), SHAPE[0], 1.5, 1.1), picture, tmp_path, syntax=syntax)
    assert np.array_equal(image_of(read_study(tmp_path).series[0], "t1").array, picture)


@pytest.mark.parametrize("syntax", [uid.RLELossless, uid.JPEGLSLossless])
def test_compressed_files_give_the_same_volume(tmp_path, scanner, syntax):
    picture = a_picture()
    for path in scanner.write(scanner.stack(scanner.header(**T1, **SIZE), SHAPE[0], 1.5, 1.1), picture, tmp_path):
        dataset = dcmread(path)
        dataset.compress(syntax)
        dataset.save_as(path)
    assert np.array_equal(image_of(read_study(tmp_path).series[0], "t1").array, picture)


def test_files_without_preamble_give_the_same_volume(tmp_path, scanner):
    picture = a_picture()
    for path in scanner.write(scanner.stack(scanner.header(**T1, **SIZE), SHAPE[0], 1.5, 1.1), picture, tmp_path):
        bare = dcmread(path)
        del bare.file_meta
        bare.save_as(path, implicit_vr=True, little_endian=True)
    assert np.array_equal(image_of(read_study(tmp_path).series[0], "t1").array, picture)


def diffusion_headers(scanner, places, gradients):
    changes = [{"DiffusionBValue": b, "DiffusionGradientOrientation": list(vector)} for b, vector in gradients]
    return scanner.repeated(places, changes)


@pytest.mark.parametrize("plane", [AXIAL, SAGITTAL, OBLIQUE])
@pytest.mark.parametrize("is_enhanced", [False, True])
@pytest.mark.parametrize("maker", [None, "SIEMENS", "Philips", "GE MEDICAL SYSTEMS", "UIH"])
def test_directions_in_patient_space_come_back(tmp_path, scanner, plane, is_enhanced, maker):
    """The standard's tags alone: the directions belong to their volumes, in LPS, whoever made them."""
    directions = vectors(6)
    gradients = [(0.0, np.zeros(3)), *((1000.0, vector) for vector in directions)]
    pictures = a_picture(2, (7, *SHAPE))
    places = scanner.stack(scanner.header(**EPI, **SIZE, Manufacturer=maker), SHAPE[0], 3.0, 3.0, plane)
    headers = diffusion_headers(scanner, places, gradients)
    if is_enhanced:
        shared = {"MRAcquisitionType": "2D", "EchoPulseSequence": "SPIN", "EchoPlanarPulseSequence": "YES", "Manufacturer": maker}
        scanner.save(scanner.series([scanner.enhanced(headers, pictures.reshape(-1, *SHAPE[1:]), **shared)]).header, tmp_path / "one.dcm")
    else:
        scanner.write(headers, pictures.reshape(-1, *SHAPE[1:]), tmp_path)
    image = image_of(read_study(tmp_path).series[0], "dwi")
    assert isinstance(image, Diffusion) and image.array.shape == (*SHAPE, 7)
    assert np.allclose(image.lps_from_index, frames_of(scanner.series(places))[0].lps_from_index, atol=1e-4)
    for picture, (b_value, vector) in zip(pictures, gradients, strict=True):
        number = int(np.argmin([np.abs(image.array[..., t] - picture).sum() for t in range(7)]))
        assert np.array_equal(image.array[..., number], picture)
        assert image.b_values_s_mm2[number] == b_value
        assert np.abs(image.b_vectors_lps[number] @ vector) > 0.9999 or b_value == 0


def test_volumes_that_the_scanner_derived_are_dropped(tmp_path, scanner):
    gradients = [(0.0, np.zeros(3)), *((1000.0, vector) for vector in vectors(6)), (1000.0, np.zeros(3))]
    places = scanner.stack(scanner.header(**EPI, **SIZE, Manufacturer="Philips"), SHAPE[0], 3.0, 3.0)
    headers = diffusion_headers(scanner, places, gradients)
    for header in headers[-SHAPE[0] :]:
        scanner.private(header, 0x2001, "Philips Imaging DD 001", 0x04, "CS", "I")
    pictures = a_picture(2, (8, *SHAPE))
    scanner.write(headers, pictures.reshape(-1, *SHAPE[1:]), tmp_path)
    image = image_of(read_study(tmp_path).series[0], "dwi")
    assert image.array.shape[3] == 7 and sorted(image.b_values_s_mm2) == [0.0] + [1000.0] * 6


def test_a_siemens_table_is_checked_against_the_standard(tmp_path, scanner):
    """dcm2niix takes the vendor's element, the header says otherwise: the series is refused."""
    gradients = [(0.0, np.zeros(3)), *((1000.0, vector) for vector in vectors(6))]
    places = scanner.stack(scanner.header(**EPI, **SIZE, Manufacturer="UIH"), SHAPE[0], 3.0, 3.0)
    headers = diffusion_headers(scanner, places, gradients)
    for header in headers:
        scanner.private(header, 0x0065, "Image Private Header", 0x09, "FD", float(header.DiffusionBValue))
        x, y, z = header.DiffusionGradientOrientation
        scanner.private(header, 0x0065, "Image Private Header", 0x37, "FD", [float(y), float(z), float(x)])
    scanner.write(headers, a_picture(2, (7 * SHAPE[0], *SHAPE[1:])), tmp_path)
    with pytest.raises(StudyError, match="disagree by"):
        image_of(read_study(tmp_path).series[0], "dwi")


def test_a_time_series_has_its_repetition_time(tmp_path, scanner):
    base = scanner.header(**{**EPI, "ScanningSequence": ["EP", "GR"], "RepetitionTime": 2000, "EchoTime": 30}, **SIZE)
    headers = scanner.repeated(scanner.stack(base, SHAPE[0], 3.0, 3.0), [{"AcquisitionNumber": t + 1} for t in range(11)])
    pictures = a_picture(4, (11, *SHAPE))
    scanner.write(headers, pictures.reshape(-1, *SHAPE[1:]), tmp_path)
    image = image_of(read_study(tmp_path).series[0], "bold")
    assert isinstance(image, TimeSeries) and image.repetition_time_s == 2.0
    assert np.array_equal(image.array, np.moveaxis(pictures, 0, -1))


def test_the_wanted_echo_is_taken(tmp_path, scanner):
    base = scanner.header(ScanningSequence="GR", MRAcquisitionType="3D", RepetitionTime=40, FlipAngle=15, **SIZE)
    changes = [{"EchoTime": echo, "EchoNumbers": number + 1} for number, echo in enumerate((5, 23, 35))]
    pictures = a_picture(6, (3, *SHAPE))
    scanner.write(scanner.repeated(scanner.stack(base, SHAPE[0], 1.5), changes), pictures.reshape(-1, *SHAPE[1:]), tmp_path)
    assert np.array_equal(image_of(read_study(tmp_path).series[0], "t2star").array, pictures[1])


def test_a_gap_is_a_sentence_and_never_a_volume(tmp_path, scanner):
    picture = a_picture()
    scanner.write(scanner.stack(scanner.header(**T1, **SIZE), SHAPE[0], 1.5), picture, tmp_path)
    for path in sorted(tmp_path.iterdir())[4:6]:
        path.unlink()
    with pytest.raises(StudyError):
        image_of(read_study(tmp_path).series[0], "t1")


def test_a_picture_without_a_place_is_a_sentence(tmp_path, scanner):
    scanner.write([scanner.header(**T1, **SIZE)], a_picture(shape=(1, *SHAPE[1:])), tmp_path)
    with pytest.raises(StudyError, match="how its images lie"):
        image_of(read_study(tmp_path).series[0], "t1")


@pytest.mark.parametrize("kind", [bool, np.float32])
def test_nifti_and_back(tmp_path, scanner, kind):
    array = (a_picture() > 2000) if kind is bool else a_picture().astype(kind)
    matrix = frames_of(scanner.series(scanner.stack(scanner.header(**T1, **SIZE), SHAPE[0], 1.5, 1.1, OBLIQUE)))[0].lps_from_index
    write_nifti(array, matrix, tmp_path / "deep" / "mask_brain.nii.gz")
    nifti = nibabel.load(tmp_path / "deep" / "mask_brain.nii.gz")
    assert np.array_equal(np.asarray(nifti.dataobj).transpose(2, 1, 0), array.astype(nifti.get_data_dtype()))
    lps = (matrix @ [3, 5, 7, 1])[:3]
    assert np.allclose((nifti.affine @ [7, 5, 3, 1])[:3], lps * [-1, -1, 1], atol=1e-4)


def nibabel_file(name, path):
    """A real image that nibabel carries for its own tests."""
    source = Path(nibabel.__file__).parent / "nicom" / "tests" / "data" / name
    if not source.exists():
        pytest.skip("this nibabel came without its test data")
    path.write_bytes(gzip.decompress(source.read_bytes()))
    return path


@pytest.mark.filterwarnings("ignore:The DICOM readers")
def test_a_siemens_mosaic_lies_where_nibabel_puts_it(tmp_path):
    from nibabel.nicom.dicomwrappers import wrapper_from_file

    nibabel_file("siemens_dwi_0.dcm.gz", tmp_path / "0.dcm")
    mosaic = wrapper_from_file(nibabel_file("siemens_dwi_1000.dcm.gz", tmp_path / "1.dcm"))
    series = read_study(tmp_path).series[0]
    assert decide(series).role == "dwi"
    image = image_of(series, "dwi")
    there = mosaic.get_data()
    for index in np.random.default_rng(7).integers(0, there.shape, (50, 3)):
        lps = mosaic.affine @ [*index, 1]
        found = np.linalg.inv(image.lps_from_index) @ lps
        assert np.allclose(found[:3], np.round(found[:3]), atol=0.02)
        assert image.array[(*np.round(found[:3]).astype(int), 1)] == there[tuple(index)]
    direction = mosaic.csa_header["tags"]["DiffusionGradientDirection"]["items"]
    assert np.allclose(image.b_vectors_lps[1], direction, atol=0.02) and image.b_values_s_mm2.tolist() == [0.0, 1000.0]


def test_a_philips_enhanced_object_lies_where_its_frames_say(tmp_path):
    nibabel_file("philips_mprage.dcm.gz", tmp_path / "0.dcm")
    series = read_study(tmp_path).series[0]
    decision = decide(series)
    assert decision.role == "t1" and "the body part says orbit, but" in decision.why
    image = image_of(series, "t1")
    assert len(slice_map(image.lps_from_index, image.array.shape, frames_of(series))) == image.array.shape[0] == 176


@pytest.mark.realdata
@pytest.mark.parametrize("name", ["siemens_xa30_enhanced", "philips_classic_dti", "t1_adult_studyforrest"])
def test_real_series_keep_their_place_and_their_pixels(realdata, name):
    decisions = [decide(series) for series in read_study(realdata / name).series]
    for role, series in choose(decisions).items():
        image = image_of(series, role)
        every = 1 if role == "t1" else 41
        checked = [residual for place, residual in check_slices(series, image, every) if not place.frame.is_derived]
        assert len(checked) > 12 and max(checked) < 1e-4


@pytest.mark.realdata
def test_real_gradients(realdata):
    series = read_study(realdata / "philips_classic_dti").series[0]
    image = image_of(series, "dwi")
    assert image.array.shape == (40, 80, 80, 16)  # the isotropic volume at the end is gone
    assert image.b_values_s_mm2.tolist() == [0.0] + [2000.0] * 15
    assert np.allclose(np.linalg.norm(image.b_vectors_lps[1:], axis=1), 1.0)
