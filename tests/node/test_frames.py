"""Where frames lie, and that a mask goes back onto them voxel by voxel."""

import itertools

import numpy as np
import pytest

from node.errors import StudyError
from node.frames import frames_of, mask_on_frame, slice_map, why_no_frames

TILTED = tuple(np.round([0.98, 0.17, -0.1, *np.cross([0.1, 0.0, 0.99], [0.98, 0.17, -0.1])], 6))


def orthonormal(six):
    rows, columns = np.array(six[:3]), np.array(six[3:])
    rows = rows / np.linalg.norm(rows)
    columns = columns - rows * (rows @ columns)
    return tuple([*rows, *(columns / np.linalg.norm(columns))])


PLANES = {
    "axial": (1, 0, 0, 0, 1, 0),
    "sagittal": (0, 1, 0, 0, 0, -1),
    "coronal": (1, 0, 0, 0, 0, -1),
    "oblique": orthonormal(TILTED),
    "feet first": (-1, 0, 0, 0, 1, 0),
}


def headers_in(scanner, plane, **tags):
    return scanner.stack(scanner.header(Rows=6, Columns=5, EchoTime=3, RepetitionTime=8, **tags), 4, 3.0, 2.0, PLANES[plane])


def grid_of(frames):
    """The right-handed map of the volume that the frames make, and its shape."""
    ordered = sorted(frames, key=lambda frame: float(frame.origin_lps @ frames[0].normal_lps))
    matrix = ordered[0].lps_from_index.copy()
    return matrix, (len(ordered), frames[0].rows, frames[0].columns)


@pytest.mark.parametrize("plane", PLANES)
def test_a_frame_is_right_handed_and_lies_where_the_standard_says(scanner, plane):
    headers = headers_in(scanner, plane)
    frames = frames_of(scanner.series(headers))
    assert len(frames) == 4
    for frame, header in zip(frames, headers, strict=True):
        assert np.linalg.det(frame.lps_from_index[:3, :3]) > 0
        # PS3.3 C.7.6.2.1.1: position + column direction × row index + row direction × column index
        cosines = np.array(header.ImageOrientationPatient, float)
        expected = np.array(header.ImagePositionPatient, float) + cosines[3:] * 2.0 * 4 + cosines[:3] * 2.0 * 3
        assert np.allclose((frame.lps_from_index @ [0, 4, 3, 1])[:3], expected)


def test_enhanced_and_classic_frames_are_the_same(scanner):
    headers = headers_in(scanner, "oblique", DiffusionBValue=1000.0, DiffusionGradientOrientation=[0.6, 0.0, 0.8])
    classic = frames_of(scanner.series(headers))
    enhanced = frames_of(scanner.series([scanner.enhanced(headers)]))
    assert [frame.number for frame in enhanced] == [1, 2, 3, 4] and {frame.number for frame in classic} == {None}
    for one, other in zip(classic, enhanced, strict=True):
        assert np.allclose(one.lps_from_index, other.lps_from_index)
        assert (other.b_value_s_mm2, other.echo_time_ms) == (1000.0, 3.0)
        assert np.allclose(other.b_vector_lps, [0.6, 0.0, 0.8])


def test_repeats_of_a_place_are_counted(scanner):
    frames = frames_of(scanner.series(scanner.repeated(headers_in(scanner, "axial"), [{}, {}, {}])))
    assert [frame.time_position for frame in frames] == [0] * 4 + [1] * 4 + [2] * 4


def test_philips_isotropic_frames_are_derived(scanner):
    headers = headers_in(scanner, "axial", DiffusionBValue=1000.0, DiffusionGradientOrientation=[0.0, 0.0, 0.0])
    for header in headers:
        scanner.private(header, 0x2001, "Philips Imaging DD 001", 0x04, "CS", "I")
    assert all(frame.is_derived and frame.b_vector_lps is None for frame in frames_of(scanner.series(headers)))


def test_a_mosaic_has_no_frames_and_says_so(scanner):
    headers = headers_in(scanner, "axial", ImageType=["ORIGINAL", "PRIMARY", "M", "MOSAIC"])
    assert frames_of(scanner.series(headers)) == ()
    assert "mosaic" in why_no_frames(scanner.series(headers))


@pytest.mark.parametrize(("plane", "turn"), itertools.product(PLANES, itertools.product((False, True), repeat=3)))
def test_a_mask_goes_back_voxel_by_voxel(scanner, plane, turn):
    """Every turn of the grid in its plane: the patient's points, not the indices, must stay."""
    is_transposed, flips_rows, flips_columns = turn
    frames = frames_of(scanner.series(headers_in(scanner, plane)))
    matrix, shape = grid_of(frames)
    truth = np.random.default_rng(3).random(shape) > 0.5
    turned, other = truth, matrix
    if is_transposed:
        turned, other = turned.transpose(0, 2, 1), other[:, [0, 2, 1, 3]]
    for axis in [axis for axis, flips in ((1, flips_rows), (2, flips_columns)) if flips]:
        turned = np.flip(turned, axis)
        other = other.copy()
        other[:3, 3] += other[:3, axis] * (turned.shape[axis] - 1)
        other[:3, axis] *= -1
    places = slice_map(other, turned.shape, frames)
    assert len(places) == 4
    for place in places:
        assert np.array_equal(mask_on_frame(turned, place), truth[place.slice_index])


def test_frames_of_another_plane_are_left_out(scanner):
    frames = frames_of(scanner.series(headers_in(scanner, "axial")))
    others = frames_of(scanner.series(headers_in(scanner, "coronal")))
    assert slice_map(*grid_of(frames), others) == ()


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_frame_off_the_grid_is_an_error(scanner, axis):
    frames = frames_of(scanner.series(headers_in(scanner, "oblique")))
    matrix, shape = grid_of(frames)
    shifted = matrix.copy()
    shifted[:3, 3] += matrix[:3, axis] * 0.3
    with pytest.raises(StudyError, match=r"0\.30 voxels off"):
        slice_map(shifted, shape, frames)
    shifted[:3, 3] = matrix[:3, 3] + matrix[:3, axis] * 0.05
    assert len(slice_map(shifted, shape, frames)) == 4


def test_a_header_that_contradicts_itself_is_a_sentence(scanner):
    headers = headers_in(scanner, "axial")
    headers[2].ImageOrientationPatient = [1, 0, 0, 1, 0, 0]
    with pytest.raises(StudyError, match=r"1-3\.dcm does not say where"):
        frames_of(scanner.series(headers))
