"""A series of another contrast is laid over the T1 of the same head, wherever the head lay in the scanner."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from analysis.steps.coregistration import explained_by, moved_place, rough_map, tissues_on
from analysis.steps.rigid import moving_from_fixed, rigid_map
from analysis.steps.space import Placement, lps_grid
from analysis.steps.tissue import Tissue
from analysis.volume import Volume

MIDDLE = np.array([3.0, -12.0, 8.0])


def brain_on(lps: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Fluid, grey and white of a made-up brain at positions (3, ...): folded, and without any symmetry."""
    x, y, z = lps - MIDDLE.reshape(3, *[1] * (lps.ndim - 1))
    radius = (
        np.sqrt((x / 62) ** 2 + (y / 78) ** 2 + (z / 56) ** 2) + 0.05 * np.sin(x / 7 + 1) * np.cos(y / 9) + 0.04 * np.sin(z / 6 + y / 20)
    )
    ventricle = ((x - 8) / 9) ** 2 + ((y + 6) / 26) ** 2 + ((z - 10) / 9) ** 2 < 1
    white = (radius < 0.8) & ~ventricle
    grey = (radius >= 0.8) & (radius < 0.93)
    return (((radius >= 0.93) & (radius < 1)) | ventricle).astype(np.float32), grey.astype(np.float32), white.astype(np.float32)


@pytest.fixture(scope="module")
def head() -> tuple[Volume, Tissue]:
    matrix = np.array([[0.0, 0, 2, 0], [0, 2, 0, 0], [-2.0, 0, 0, 0], [0, 0, 0, 1]])
    matrix[:3, 3] = MIDDLE - matrix[:3, :3] @ np.full(3, 47.5)
    grid = Volume(np.zeros((96, 96, 96), np.float32), matrix)
    csf, grey, white = brain_on(lps_grid(grid))
    image = ndimage.gaussian_filter(0.2 * csf + 0.6 * grey + 0.95 * white, 0.5)
    return grid.with_array(image), Tissue(csf, grey, white, image, (0.2, 0.6, 1.0), 0.02)


def flair_of(motion: np.ndarray) -> Volume:
    """The head in another contrast, on slices of 3 mm, after it has moved: `motion` takes where it was to where it is."""
    matrix = np.array([[0.0, 0, -1.8, 0], [0, 1.8, 0, 0], [3.0, 0, 0, 0], [0, 0, 0, 1]])
    matrix[:3, 3] = MIDDLE - matrix[:3, :3] @ np.array([29.5, 52.0, 52.0])
    grid = Volume(np.zeros((60, 105, 105), np.float32), matrix)
    lps = lps_grid(grid)
    before = np.linalg.inv(motion)
    at = np.tensordot(before[:3, :3], lps, axes=1) + before[:3, 3].reshape(3, 1, 1, 1)
    csf, grey, white = brain_on(at)
    noise = np.random.default_rng(3).normal(0, 0.03, grid.array.shape)
    return grid.with_array((0.1 * csf + 0.8 * grey + 0.6 * white + noise).astype(np.float32))


@pytest.mark.parametrize("parameters", [(0, 0, 0, 0, 0, 0), (8, -5, 6, 10, -12, 8), (0, 12, -10, -16, 5, 14)])
def test_a_moved_head_is_found_within_half_a_millimetre(head, parameters):
    t1, tissue = head
    motion = rigid_map(np.array(parameters, float), MIDDLE)
    flair = flair_of(motion)
    near = ndimage.binary_dilation(tissue.csf + tissue.grey + tissue.white > 0.5, iterations=2)
    found = moving_from_fixed(t1, flair, near, rough_map(t1, tissue, flair))
    corners = np.array([[x, y, z, 1.0] for x in (-50, 50) for y in (-60, 60) for z in (-40, 40)]).T
    assert np.abs((found @ corners - motion @ corners)[:3]).max() < 0.5
    assert explained_by(flair, tissues_on(flair, t1, tissue, np.linalg.inv(found))) > 0.7


def test_another_brain_is_explained_badly(head):
    t1, tissue = head
    noise = np.random.default_rng(5).normal(1.0, 0.3, (60, 105, 105)).astype(np.float32)
    other = flair_of(np.eye(4)).with_array(ndimage.gaussian_filter(noise, 3))
    assert explained_by(other, tissues_on(other, t1, tissue, np.eye(4))) < 0.2


def test_a_moved_series_is_placed_where_its_head_is(head):
    t1, _ = head
    place = Placement(t1, lps_grid(t1), np.eye(4), 0.9)
    t1_from_series = rigid_map(np.array([5.0, 0, 0, 0, 10, 0]), MIDDLE)
    series = flair_of(np.eye(4))
    moved = moved_place(place, series, t1_from_series)
    inside = (slice(20, 40), slice(40, 60), slice(40, 60))
    true = np.tensordot(t1_from_series[:3, :3], lps_grid(series), axes=1) + t1_from_series[:3, 3].reshape(3, 1, 1, 1)
    assert np.abs(moved.template_lps - true)[(slice(None), *inside)].max() < 0.01
    assert moved.template_from_lps == pytest.approx(t1_from_series)
