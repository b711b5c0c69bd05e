"""The template's brain, encoded forwards and backwards: the shift between the two is known."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial.transform import Rotation

from analysis import atlas
from analysis.steps.space import sample
from analysis.steps.susceptibility import shift_between, undistorted
from analysis.volume import Diffusion, Volume

SHAPE, SPACING_MM, ROWS = (44, 64, 54), np.array([3.2, 3.0, 3.0]), 1
AXES = np.array([[0.0, 0, 1], [0, 1, 0], [-1, 0, 0]])
BRIGHT = {"csf": 1000.0, "grey": 600.0, "white": 480.0}


def grid():
    matrix = np.eye(4)
    matrix[:3, :3] = AXES * SPACING_MM
    matrix[:3, 3] = np.array([0.0, 18.0, 10.0]) - matrix[:3, :3] @ (np.array(SHAPE) - 1) / 2
    return matrix


def positions():
    return grid()[:3, :3] @ np.indices(SHAPE).reshape(3, -1) + grid()[:3, 3:]


def layer(name, move=None):
    one = atlas.template()[name]
    at = positions() if move is None else move[:3, :3] @ positions() + move[:3, 3:]
    return sample(one.with_array(one.array.astype(np.float32)), at.astype(np.float32)).reshape(SHAPE)


def head(move=None):
    """A b = 0 image, with the head where `move` (4 by 4, LPS) takes it from."""
    parts = {name: layer(name, move) for name in ("grey", "white", "inside")}
    csf = np.clip(parts["inside"] - parts["grey"] - parts["white"], 0, 1)
    return BRIGHT["csf"] * csf + BRIGHT["grey"] * parts["grey"] + BRIGHT["white"] * parts["white"]


def true_shift_mm(most=8.0):
    """Most at the frontal base, the other way at the temporal poles, some at the brainstem."""
    places = {(0, -35, -14): 1.0, (42, -5, -20): -0.5, (-42, -5, -20): -0.5, (0, 25, -40): 0.4}
    away = {place: (positions() - np.reshape(place, (3, 1))) / 16.0 for place in places}
    return most * sum(share * np.exp(-0.5 * (away[place] ** 2).sum(0)) for place, share in places.items()).reshape(SHAPE)


def encoded(image, shift_mm, seed, noise=8.0):
    """The image as a scanner gives it: signal of x lies at x + shift."""
    voxels, index = shift_mm / SPACING_MM[ROWS], np.indices(SHAPE).astype(float)
    row, size = index[ROWS], SHAPE[ROWS]
    came_from = row.copy()
    for _ in range(40):
        came_from = row - ndimage.map_coordinates(voxels, [index[0], came_from, index[2]], order=1, mode="nearest")
    at = [index[0], np.clip(came_from, 0, size - 1), index[2]]
    spread = ndimage.map_coordinates(1 + np.gradient(voxels, axis=ROWS), at, order=1)
    array = ndimage.map_coordinates(image, at, order=3) / spread
    return Volume(np.abs(array + noise * np.random.default_rng(seed).standard_normal(SHAPE)).astype(np.float32), grid())


def brain():
    return layer("inside") > 0.5


@pytest.fixture(scope="module")
def pair():
    return encoded(head(), true_shift_mm(), 1), encoded(head(), -true_shift_mm(), 2)


def off_mm(shift, inside):
    return shift.voxels[inside] * SPACING_MM[ROWS] - true_shift_mm()[inside]


def test_the_shift_of_a_pair_is_found(pair):
    forward, backward = pair
    shift = shift_between(forward, backward.with_array(1.3 * backward.array), ROWS, brain())
    assert true_shift_mm()[brain()].max() > 6.0
    assert np.sqrt(np.mean(off_mm(shift, brain()) ** 2)) < 0.5
    assert shift.alike > 0.97


def test_a_head_that_moved_between_the_two_hardly_matters(pair):
    move = np.eye(4)
    move[:3, :3] = Rotation.from_euler("xyz", (1.5, -1.0, 1.0), degrees=True).as_matrix()
    move[:3, 3] = (1.0, -1.5, 2.0)
    shift = shift_between(pair[0], encoded(head(move), -true_shift_mm(), 2), ROWS, brain())
    rest = off_mm(shift, brain())
    assert np.std(rest) < 0.8  # a shift of the whole head along the encoding cannot be told from its movement


def test_the_series_comes_back_into_its_place_with_its_signal(pair):
    forward, backward = pair
    still = encoded(head(), np.zeros(SHAPE), 1).array
    series = diffusion(forward, backward)
    found, words = undistorted(series, forward, brain())
    inside = ndimage.binary_erosion(brain(), iterations=1)

    def unlike(array):
        return np.sqrt(np.mean((array[inside] - still[inside]) ** 2))

    assert unlike(found.array[..., 0]) < 0.6 * unlike(forward.array)
    assert np.allclose(found.array[..., 1], found.array[..., 0] / 2, rtol=1e-3, atol=0.5)
    assert "was corrected with a b = 0 series of reversed direction (largest shift " in words
    assert float(words.split("shift ")[1].split()[0]) == pytest.approx(np.percentile(true_shift_mm()[brain()], 99.9), abs=1.0)


def diffusion(forward, backward):
    array = np.stack([forward.array, forward.array / 2], axis=-1)
    vectors = np.array([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
    return Diffusion(array, grid(), np.array([0.0, 1000.0]), vectors, backward, None if backward is None else ROWS)


@pytest.mark.parametrize(("reason", "is_upside_down"), [("differs from the diffusion series by less", False), ("not become alike", True)])
def test_two_images_that_are_no_pair_are_refused(pair, reason, is_upside_down):
    other = encoded(head(), true_shift_mm(), 3)
    if is_upside_down:
        other = replace(other, array=np.ascontiguousarray(other.array[:, ::-1]))
    series = diffusion(pair[0], other)
    found, words = undistorted(series, pair[0], brain())
    assert found is series and "was not corrected: the b = 0 series" in words and reason in words


def test_without_a_second_series_nothing_changes(pair):
    series = diffusion(pair[0], None)
    found, words = undistorted(series, pair[0], brain())
    assert found is series
    assert "no b = 0 series of reversed direction was found in the study; the frontal base and the brainstem may be displaced." in words
