"""Which b = 0 series was encoded the other way: found by dcm2niix in the vendor's headers, and never by a name."""

import numpy as np
import pytest

from analysis.examination import silent
from analysis.marker import markers
from analysis.volume import Diffusion
from node.images import images_of
from node.phase_encoding import Encoding, encoding_of
from node.roles import decide
from node.study import read_study

SHAPE = (12, 20, 16)
EPI = {"ScanningSequence": ["EP", "SE"], "MRAcquisitionType": "2D", "RepetitionTime": 8000, "EchoTime": 85, "FlipAngle": 90}
SIZE = {"Rows": SHAPE[1], "Columns": SHAPE[2]}
DIRECTIONS = np.vstack([np.eye(3), [[0.6, 0.8, 0], [0, 0.6, 0.8], [0.8, 0, 0.6]]])
GRADIENTS = [(0.0, np.zeros(3)), *((1000.0, vector) for vector in DIRECTIONS)]
FORWARD, BACKWARD, NOT_STATED = "LINEAR", "REVERSE_LINEAR", None


def write(scanner, folder, number, gradients, order, maker="GE MEDICAL SYSTEMS", axis="COL", voxel_mm=9.0):
    """A diffusion series of GE, which states its way of encoding in RectilinearPhaseEncodeReordering."""
    plain = scanner.header(
        **EPI, **SIZE, Manufacturer=maker, InPlanePhaseEncodingDirection=axis, RectilinearPhaseEncodeReordering=order,
        SeriesDescription="no word about it",
    )  # fmt: skip
    places = scanner.stack(plain, SHAPE[0], 9.0, voxel_mm)
    changes = [{"DiffusionBValue": b, "DiffusionGradientOrientation": list(vector)} for b, vector in gradients]
    pictures = np.random.default_rng(number).integers(0, 4000, (len(gradients) * SHAPE[0], *SHAPE[1:]), dtype=np.uint16)
    scanner.write(scanner.repeated(places, changes), pictures, folder, number)
    return pictures


def images(folder):
    return images_of(read_study(folder), markers(), silent)


@pytest.mark.parametrize(("axis", "along"), [("COL", 1), ("ROW", 0)])
def test_the_direction_of_encoding_in_the_patient(tmp_path, scanner, axis, along):
    for number, order in ((1, FORWARD), (2, BACKWARD)):
        write(scanner, tmp_path, number, GRADIENTS[:1], order, axis=axis)
    one, other = (encoding_of(series) for series in read_study(tmp_path).series)
    assert np.abs(one.direction_lps[along]) == pytest.approx(1.0, abs=1e-6)
    assert np.allclose(one.direction_lps, -other.direction_lps) and one.is_reverse_of(other)


def test_a_b_zero_series_of_the_reversed_direction_goes_with_the_diffusion_series(tmp_path, scanner):
    write(scanner, tmp_path, 1, GRADIENTS, FORWARD)
    pictures = write(scanner, tmp_path, 2, GRADIENTS[:1], BACKWARD)
    decisions, found = images(tmp_path)
    image = found["dwi"]
    assert isinstance(image, Diffusion) and image.array.shape[3] == 7 and image.phase_axis == 1
    assert np.array_equal(image.reversed_b_zero.array, pictures)
    assert [one.role for one in decisions] == ["dwi", "other"]
    assert "encoded the other way than the diffusion series" in decisions[1].why


@pytest.mark.parametrize(("order", "changes"), [
    (FORWARD, {}),
    (NOT_STATED, {"maker": "Philips"}),
    (BACKWARD, {"axis": "ROW"}),
])  # fmt: skip
def test_any_other_b_zero_series_is_left_alone(tmp_path, scanner, order, changes):
    write(scanner, tmp_path, 1, GRADIENTS, FORWARD)
    write(scanner, tmp_path, 2, GRADIENTS[:1], order, **changes)
    decisions, found = images(tmp_path)
    assert found["dwi"].reversed_b_zero is None and found["dwi"].phase_axis is None
    assert decisions[1].role == "other" and "the other way" not in decisions[1].why


@pytest.mark.parametrize(("shift_mm_per_hz", "is_reverse"), [(0.1, True), (0.103, True), (0.12, False), (None, True)])
def test_a_series_of_another_readout_is_distorted_otherwise(shift_mm_per_hz, is_reverse):
    forward, backward = Encoding(np.array([0.0, 1.0, 0.0]), 0.1), Encoding(np.array([0.0, -1.0, 0.0]), shift_mm_per_hz)
    assert backward.is_reverse_of(forward) is is_reverse


def test_a_siemens_b_zero_series_that_states_no_echo_is_told_from_a_functional_one(tmp_path, scanner):
    plain = scanner.header(**{**EPI, "ScanningSequence": "EP"}, **SIZE, Manufacturer="SIEMENS", DiffusionBValue=0.0)
    decision = decide(scanner.series(scanner.stack(plain, SHAPE[0], 9.0, 9.0)))
    assert decision.is_b_zero and not decision.usable


@pytest.mark.realdata
def test_a_real_series_from_back_to_front(realdata):
    study = read_study(realdata / "siemens_xa30_enhanced")
    series = next(one for one in study.series if one.header.get("SeriesDescription") == "DWI_dir80_PA")
    assert encoding_of(series).direction_lps[1] < -0.9
    assert not any(decide(one).is_b_zero for one in study.series)
