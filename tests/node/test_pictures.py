"""The pictures: left is on the right, millimetres are square, whatever grid the image has; masks lie where they lie in the patient."""

import numpy as np
import pytest

from analysis.volume import Volume
from node.pictures import (
    AXIAL,
    CORONAL,
    SAGITTAL,
    Box,
    box_around,
    cropped,
    largest_section_mm,
    outline,
    section,
    take,
    voxels_lps,
    window_of,
)

BOX = Box((-40.0, 40.0), (-40.0, 40.0))


def grid(spacing=(1.0, 1.0, 1.0), turn_degrees=0.0, shape=(60, 60, 60)):
    """A right-handed grid around the origin: slices upwards, rows backwards, columns to the left; turned about x."""
    angle = np.deg2rad(turn_degrees)
    about_x = np.array([[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]])
    axes = about_x @ np.array([[0, 0, -1.0], [0, 1, 0], [1, 0, 0]]).T @ np.diag([-1.0, 1, 1])
    matrix = np.eye(4)
    matrix[:3, :3] = axes * np.array(spacing)
    if np.linalg.det(matrix[:3, :3]) < 0:
        matrix[:3, 0] *= -1
    matrix[:3, 3] = -matrix[:3, :3] @ ((np.array(shape) - 1) / 2)
    return Volume(np.zeros(shape, np.float32), matrix)


def ball(volume, middle_lps, radius_mm=6.0):
    index = np.moveaxis(np.indices(volume.array.shape), 0, -1).reshape(-1, 3)
    lps = index @ volume.lps_from_index[:3, :3].T + volume.lps_from_index[:3, 3]
    return (np.linalg.norm(lps - middle_lps, axis=1) <= radius_mm).reshape(volume.array.shape)


GRIDS = [grid(), grid((2.0, 1.0, 1.0), shape=(40, 90, 90)), grid((3.0, 0.8, 1.2), 20.0, (30, 100, 70))]


@pytest.mark.parametrize("volume", GRIDS, ids=("even", "slices", "tilted"))
@pytest.mark.parametrize(("plane", "across", "down"), [(AXIAL, 0, 1), (CORONAL, 0, 2), (SAGITTAL, 1, 2)])
def test_a_mask_is_where_it_is_in_the_patient(volume, plane, across, down):
    middle = np.array([18.0, 9.0, -14.0])  # left, behind and below
    mask = ball(volume, middle)
    part = cropped(mask, volume.lps_from_index)
    at_mm = largest_section_mm(voxels_lps(part), plane)
    assert at_mm == pytest.approx(middle @ plane.axes[2], abs=2.5)
    (line,) = outline(part, plane, at_mm, BOX)
    found = (line.min(axis=0) + line.max(axis=0)) / 2 - 40.0
    wanted = np.array([middle[across], middle[down] * (1 if down == 1 else -1)])
    assert found == pytest.approx(wanted, abs=1.5)
    assert np.ptp(line, axis=0) == pytest.approx([12.0, 12.0], abs=2.6)


@pytest.mark.parametrize("volume", GRIDS, ids=("even", "slices", "tilted"))
def test_the_patients_left_is_on_the_right_of_the_picture(volume):
    bright = volume.with_array(np.where(ball(volume, np.array([20.0, 0, 0])), 100.0, 1.0).astype(np.float32))
    for plane in (AXIAL, CORONAL):
        picture = take(bright, plane, 0.0, BOX, (0.0, 100.0))
        columns = np.flatnonzero((picture.pixels > 128).any(axis=0)) * picture.pixel_mm - 40.0
        assert columns.min() > 10 and columns.max() < 30
        assert plane.letters[:2] == ("R", "L")
    assert SAGITTAL.letters[:2] == ("A", "P")


def test_what_lies_outside_of_the_field_is_black():
    values = section(GRIDS[0].with_array(np.ones((60, 60, 60), np.float32)), AXIAL, 0.0, BOX)
    inside = np.abs((np.arange(160) + 0.5) * 0.5 - 40.0) < 30.0
    assert (values[np.ix_(inside, inside)] == 1).all() and values[~inside].max() == 0
    assert section(GRIDS[0], AXIAL, 500.0, BOX).max() == 0


def test_an_image_of_one_slice_and_one_of_nothing_have_pictures():
    thin = Volume(np.full((1, 20, 20), 7.0, np.float32), np.diag([5.0, 2.0, 2.0, 1.0]))
    assert section(thin, SAGITTAL, 0.0, Box((-5, 45), (-45, 5))).max() == 7.0
    assert window_of(thin.with_array(np.zeros((1, 20, 20), np.float32))) == (0.0, 1.0)
    assert take(thin, AXIAL, 10.0, BOX, window_of(thin)).pixels.dtype == np.uint8


def test_a_mask_of_nothing_has_no_place():
    assert cropped(np.zeros((5, 6, 7), bool), np.eye(4)) is None
    assert outline(cropped(ball(GRIDS[0], np.zeros(3)), GRIDS[0].lps_from_index), AXIAL, 25.0, BOX) == []


def test_a_box_is_not_smaller_than_asked():
    box = box_around(np.array([[1.0, 2.0, 3.0]]), CORONAL, 5.0, 30.0)
    assert box == Box((-14.0, 16.0), (-18.0, 12.0))
    strip = box_around(np.array([[-50.0, 0, 0], [50.0, 0, 0]]), CORONAL, 0.0, 10.0)
    assert strip == Box((-50.0, 50.0), (-37.5, 37.5))
