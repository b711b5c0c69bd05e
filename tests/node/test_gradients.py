"""One diffusion series in the dialect of every vendor: the same b-values and the same directions in the patient, within a degree.

The private elements are those that the vendors document. Siemens and Philips state directions in the patient, GE in the axes of the scan
plane (frequency, phase, slice), Canon and UIH in the axes of the image.
"""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from analysis.steps.diffusion import fit_tensor
from analysis.volume import Diffusion
from node.errors import StudyError
from node.frames import frames_of
from node.gradients import gradient_of
from node.roles import decide
from node.study import read_study
from node.volumes import image_of

SHAPE = (9, 20, 16)
SAGITTAL, AXIAL = (0, 1, 0, 0, 0, -1), (1, 0, 0, 0, 1, 0)
COLUMNS = np.array([0.96, 0.2, -0.195959])
ROWS = np.cross(np.cross(COLUMNS, [0.1, 0.97, 0.2]), COLUMNS)
OBLIQUE = (*COLUMNS / np.linalg.norm(COLUMNS), *ROWS / np.linalg.norm(ROWS))
EPI = {
    "ScanningSequence": ["EP", "SE"], "MRAcquisitionType": "2D", "RepetitionTime": 8000, "EchoTime": 85, "FlipAngle": 90,
    "PatientPosition": "HFS", "InPlanePhaseEncodingDirection": "COL", "Rows": SHAPE[1], "Columns": SHAPE[2],
}  # fmt: skip
MAKER = {
    "siemens": "SIEMENS", "siemens public": "SIEMENS", "ge": "GE MEDICAL SYSTEMS", "philips": "Philips", "toshiba": "TOSHIBA",
    "canon": "CANON_MEC", "uih": "UIH",
}  # fmt: skip


def vectors(count):
    found = np.random.default_rng(5).normal(size=(count, 3))
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def in_image(header, vector):
    """A direction of the patient in the axes of the image: along a row, down a column, and their cross product."""
    columns, rows = np.array(header.ImageOrientationPatient, float).reshape(2, 3)
    return [float(vector @ axis) for axis in (columns, rows, np.cross(columns, rows))]


def say_siemens(scanner, header, b, vector):
    scanner.private(header, 0x0019, "SIEMENS MR HEADER", 0x0C, "IS", str(round(b)))
    if b > 50:
        scanner.private(header, 0x0019, "SIEMENS MR HEADER", 0x0D, "CS", "DIRECTIONAL")
        scanner.private(header, 0x0019, "SIEMENS MR HEADER", 0x0E, "FD", vector.tolist())


def say_public(scanner, header, b, vector):
    header.DiffusionBValue, header.DiffusionGradientOrientation = b, vector.tolist()


def say_philips(scanner, header, b, vector):
    say_public(scanner, header, b, vector if b else np.zeros(3))
    scanner.private(header, 0x2001, "Philips Imaging DD 001", 0x03, "FL", b)
    scanner.private(header, 0x2001, "Philips Imaging DD 001", 0x04, "CS", "O" if b else "N")
    for element, value in zip((0xB0, 0xB1, 0xB2), vector if b else np.zeros(3), strict=True):
        scanner.private(header, 0x2005, "Philips MR Imaging DD 001", element, "FL", float(value))


def say_ge(scanner, header, b, vector, nominal=None):
    """Frequency, phase, slice; with the phase along the columns the first two are those of the image, and slices count from the feet.

    `nominal`: the b-value of the protocol, which the length of the vector takes down to b; without it, 10^9 is added as GE does.
    """
    x, y, z = in_image(header, vector)
    x, y, z = (x, y, -z) if header.InPlanePhaseEncodingDirection == "COL" else (-y, x, -z)
    length = np.sqrt(b / nominal) if nominal else float(b > 0)
    said = round(nominal or 1_000_000_000 + b) if b else 0
    scanner.private(header, 0x0043, "GEMS_PARM_01", 0x39, "IS", [str(said), "8", "0", "0"])
    for element, value in zip((0xBB, 0xBC, 0xBD), (x, y, z), strict=True):
        scanner.private(header, 0x0019, "GEMS_ACQU_01", element, "DS", f"{value * length:.6f}")


def say_toshiba(scanner, header, b, vector):
    """The standard's tags, and none of them where no gradient was on."""
    if b:
        say_public(scanner, header, b, vector)


def say_canon(scanner, header, b, vector):
    """In a comment, as y, x and -z of the image (dcm2niix issue 422)."""
    x, y, z = in_image(header, vector)
    if b:
        header.DiffusionBValue = b
    header.ImageComments = f"b={b:.0f}({y:.4f},{x:.4f},{-z:.4f})" if b else "b=0(0,0,0)"


def say_uih(scanner, header, b, vector):
    scanner.private(header, 0x0065, "Image Private Header", 0x09, "FD", b)
    scanner.private(header, 0x0065, "Image Private Header", 0x37, "FD", in_image(header, vector) if b else [0.0, 0.0, 0.0])


SAY = {
    "siemens": say_siemens, "siemens public": say_public, "ge": say_ge, "philips": say_philips, "toshiba": say_toshiba,
    "canon": say_canon, "uih": say_uih,
}  # fmt: skip


def files(scanner, folder, name, gradients, plane=OBLIQUE, say=None, **tags):
    """The series on disk; each volume has its own pixels, so that it can be told which is which."""
    places = scanner.stack(scanner.header(**{**EPI, **tags}, Manufacturer=MAKER[name]), SHAPE[0], 3.0, 3.0, plane)
    headers = scanner.repeated(places, [{"AcquisitionNumber": number + 1} for number in range(len(gradients))])
    for number, header in enumerate(headers):
        b, vector = gradients[number // SHAPE[0]]
        (say or SAY[name])(scanner, header, float(b), np.asarray(vector, float))
    pictures = np.random.default_rng(2).integers(0, 4000, (len(gradients), *SHAPE), dtype=np.uint16)
    scanner.write(headers, pictures.reshape(-1, *SHAPE[1:]), folder)
    return pictures


def check(folder, pictures, gradients):
    """Every volume has the b-value and the direction that belong to its pixels."""
    image = image_of(read_study(folder).series[0], "dwi")
    assert isinstance(image, Diffusion) and image.array.shape == (*SHAPE, len(gradients))
    for number in range(len(gradients)):
        which = int(np.argmin([np.abs(image.array[..., number] - picture).sum() for picture in pictures[: len(gradients)]]))
        b, vector = gradients[which]
        assert image.b_values_s_mm2[number] == pytest.approx(b, abs=2.0)
        if b:
            angle = np.degrees(np.arccos(min(1.0, abs(float(image.b_vectors_lps[number] @ vector)))))
            assert angle < 1.0, f"volume {which}: {angle:.1f}°"
        else:
            assert not image.b_vectors_lps[number].any()


@pytest.mark.parametrize("plane", [AXIAL, OBLIQUE, SAGITTAL], ids=["axial", "oblique", "sagittal"])
@pytest.mark.parametrize("name", list(SAY))
def test_every_vendor_says_the_same(tmp_path, scanner, name, plane):
    gradients = [(0.0, np.zeros(3)), *((1000.0, vector) for vector in vectors(7))]
    check(tmp_path, files(scanner, tmp_path, name, gradients, plane), gradients)


@pytest.mark.parametrize("plane", [AXIAL, OBLIQUE], ids=["axial", "oblique"])
def test_ge_with_the_phase_along_the_rows(tmp_path, scanner, plane):
    gradients = [(0.0, np.zeros(3)), *((1000.0, vector) for vector in vectors(7))]
    check(tmp_path, files(scanner, tmp_path, "ge", gradients, plane, InPlanePhaseEncodingDirection="ROW"), gradients)


def test_ge_shells_by_the_length_of_the_vector(tmp_path, scanner):
    gradients = [(0.0, np.zeros(3)), *((b, vector) for b, vector in zip([750.0] * 7 + [3000.0] * 7, vectors(14), strict=True))]

    def say(scanner, header, b, vector):
        say_ge(scanner, header, b, vector, nominal=3000.0)

    check(tmp_path, files(scanner, tmp_path, "ge", gradients, AXIAL, say), gradients)


@pytest.mark.parametrize("name", list(SAY))
def test_several_shells(tmp_path, scanner, name):
    shells = [700.0] * 3 + [1000.0] * 4 + [2500.0] * 4
    gradients = [(0.0, np.zeros(3)), *zip(shells, vectors(11), strict=True), (0.0, np.zeros(3))]
    check(tmp_path, files(scanner, tmp_path, name, gradients), gradients)


@pytest.mark.parametrize("name", ["philips", "siemens public", "toshiba", "uih"])
@pytest.mark.parametrize("b_zero", [5.0, 0.0001])
def test_b_zero_may_be_nearly_zero(tmp_path, scanner, name, b_zero):
    gradients = [(b_zero, vectors(1)[0]), *((1000.0, vector) for vector in vectors(7))]
    pictures = files(scanner, tmp_path, name, gradients)
    check(tmp_path, pictures, [(0.0, np.zeros(3)), *gradients[1:]])


@pytest.mark.parametrize("name", ["philips", "siemens public", "uih"])
def test_a_trace_among_the_directions_is_left_out(tmp_path, scanner, name):
    """A b-value and no direction, at the end of the series."""
    gradients = [(0.0, np.zeros(3)), *((1000.0, vector) for vector in vectors(7)), (1000.0, np.zeros(3))]
    check(tmp_path, files(scanner, tmp_path, name, gradients), gradients[:-1])


@pytest.mark.parametrize("name", ["siemens public", "philips"])
@pytest.mark.parametrize("image_type", [("DERIVED", "PRIMARY", "DIFFUSION", "TRACEW"), ("ORIGINAL", "PRIMARY", "OTHER")])
def test_b_zero_and_a_trace_image_are_read_without_directions(tmp_path, scanner, name, image_type):
    gradients = [(0.0, np.zeros(3)), (1000.0, np.zeros(3))]
    pictures = files(scanner, tmp_path, name, gradients, ImageType=list(image_type))
    image = image_of(read_study(tmp_path).series[0], "dwi")
    assert isinstance(image, Diffusion) and image.b_values_s_mm2.tolist() == [0, 1000] and not image.b_vectors_lps.any()
    assert all(np.abs(image.array[..., number] - picture).sum() == 0 for number, picture in enumerate(pictures[:2]))


def test_trace_images_without_b_zero_are_refused(tmp_path, scanner):
    gradients = [(500.0, np.zeros(3)), (1000.0, np.zeros(3))]
    files(scanner, tmp_path, "siemens public", gradients, ImageType=["DERIVED", "PRIMARY", "DIFFUSION", "TRACEW"])
    with pytest.raises(StudyError):
        image_of(read_study(tmp_path).series[0], "dwi")


def test_image_axes_are_turned_into_the_patient(scanner):
    header = scanner.stack(scanner.header(**EPI, Manufacturer="UIH"), 1, 3.0, 3.0, OBLIQUE)[0]
    say_uih(scanner, header, 1000.0, vectors(1)[0])
    assert np.allclose(gradient_of(header).b_vector_lps, vectors(1)[0], atol=1e-6)


@pytest.mark.parametrize("name", ["siemens public", "philips"])
def test_an_enhanced_object_leaves_the_trace_out(tmp_path, scanner, name):
    """Philips and Siemens XA: frames that are isotropic, at the end of the object."""
    gradients = [(0.0, np.zeros(3)), *((1000.0, vector) for vector in vectors(7))]
    places = scanner.stack(scanner.header(**EPI, Manufacturer=MAKER[name]), SHAPE[0], 3.0, 3.0, OBLIQUE)
    changes = [{"DiffusionBValue": b, "DiffusionGradientOrientation": vector.tolist()} for b, vector in gradients]
    headers = scanner.repeated(places, [*changes, {"DiffusionBValue": 1000.0, "DiffusionDirectionality": "ISOTROPIC"}])
    pictures = np.random.default_rng(2).integers(0, 4000, (len(gradients) + 1, *SHAPE), dtype=np.uint16)
    shared = {"MRAcquisitionType": "2D", "EchoPulseSequence": "SPIN", "EchoPlanarPulseSequence": "YES", "Manufacturer": MAKER[name]}
    one = scanner.enhanced(headers, pictures.reshape(-1, *SHAPE[1:]), **shared)
    scanner.save(scanner.series([one]).header, tmp_path / "one.dcm")
    series = read_study(tmp_path).series[0]
    assert f"{SHAPE[0]} images that the scanner computed from them are left out" in decide(series).why
    check(tmp_path, pictures, gradients)


def tensors(seed=7):
    """A tensor (3, 3) in LPS for every voxel, mm²/s: its directions and values change from voxel to voxel."""
    axes = Rotation.random(int(np.prod(SHAPE)), random_state=seed).as_matrix()
    values = np.random.default_rng(seed).uniform((1.0, 0.4, 0.2), (1.8, 0.7, 0.4), (len(axes), 3)) * 1e-3
    return np.einsum("nik,nk,njk->nij", axes, values, axes)


def encoded(scanner, folder, gradients, how):
    """The same signals in another encoding: mirrored or reversed with the header to match, turned with its directions, or enhanced."""
    turn = Rotation.from_euler("xyz", (25, -15, 40), degrees=True).as_matrix() if how == "turned" else np.eye(3)
    places = scanner.stack(scanner.header(**EPI, Manufacturer="SIEMENS"), SHAPE[0], 3.0, 3.0, OBLIQUE)
    products = np.stack([np.outer(vector, vector) for _, vector in gradients])
    signals = 3000.0 * np.exp(-np.array([b for b, _ in gradients])[:, None] * np.einsum("gij,nij->gn", products, tensors()))
    pictures = np.round(signals).astype(np.uint16).reshape(len(gradients), *SHAPE)
    for place in places:
        columns, rows = np.array(place.ImageOrientationPatient, float).reshape(2, 3)
        corner = np.array(place.ImagePositionPatient, float)
        if how == "columns mirrored":
            columns, corner = -columns, corner + columns * 3.0 * (SHAPE[2] - 1)
        if how == "rows mirrored":
            rows, corner = -rows, corner + rows * 3.0 * (SHAPE[1] - 1)
        place.ImageOrientationPatient = [round(float(value), 9) for value in (*(turn @ columns), *(turn @ rows))]
        place.ImagePositionPatient = [round(float(value), 6) for value in turn @ corner]
    if how in ("columns mirrored", "rows mirrored"):
        pictures = np.flip(pictures, 3 if how == "columns mirrored" else 2)
    if how == "slices reversed":
        places, pictures = places[::-1], pictures[:, ::-1]
    changes = [{"DiffusionBValue": b, "DiffusionGradientOrientation": (turn @ vector).tolist()} for b, vector in gradients]
    headers, flat = scanner.repeated(places, changes), np.ascontiguousarray(pictures).reshape(-1, *SHAPE[1:])
    if how == "enhanced":
        shared = {"MRAcquisitionType": "2D", "EchoPulseSequence": "SPIN", "EchoPlanarPulseSequence": "YES", "Manufacturer": "SIEMENS"}
        scanner.save(scanner.series([scanner.enhanced(headers, flat, **shared)]).header, folder / "one.dcm")
    else:
        scanner.write(headers, flat, folder)
    return turn


@pytest.mark.parametrize("how", ["classic", "enhanced", "columns mirrored", "rows mirrored", "slices reversed", "turned"])
def test_the_same_data_in_another_encoding_gives_the_same_maps(tmp_path, scanner, how):
    gradients = [(0.0, np.zeros(3)), *((1000.0, vector) for vector in vectors(12))]
    turn = encoded(scanner, tmp_path, gradients, how)
    image = image_of(read_study(tmp_path).series[0], "dwi")
    maps = fit_tensor(image, np.ones(len(gradients), bool), np.ones(SHAPE, bool))
    plain = scanner.stack(scanner.header(**EPI), SHAPE[0], 3.0, 3.0, OBLIQUE)
    matrix = frames_of(scanner.series(plain))[0].lps_from_index
    index = np.indices(SHAPE).reshape(3, -1)
    lps = turn @ (matrix[:3, :3] @ index + matrix[:3, 3:])
    index_from_lps = np.linalg.inv(image.lps_from_index)
    there = index_from_lps[:3, :3] @ lps + index_from_lps[:3, 3:]
    where = tuple(np.round(there).astype(int))
    assert np.abs(there - where).max() < 0.01
    values, axes = np.linalg.eigh(tensors())
    mean = values.mean(1)
    fa = np.sqrt(1.5 * ((values - mean[:, None]) ** 2).sum(1) / (values**2).sum(1))
    assert np.allclose(maps[0][where], fa, rtol=0.01) and np.allclose(maps[1][where], mean, rtol=0.01)
    directions = maps[4][where] @ turn
    assert np.median(np.abs((directions * axes[:, :, -1]).sum(1))) > 0.9999
