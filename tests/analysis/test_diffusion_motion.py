"""The template's brain as a diffusion series: it moves between volumes, is sheared by eddy currents, and loses slices."""

from functools import cache

import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial.transform import Rotation

from analysis import atlas
from analysis.outcome import NotMeasurable
from analysis.steps.diffusion_motion import steadied
from analysis.steps.space import sample
from analysis.volume import Diffusion

SHAPE, SPACING_MM, B_S_MM2 = (44, 56, 46), np.array([3.2, 3.0, 3.0]), 1000.0
AXES = Rotation.from_euler("xyz", (90.0, 4.0, -80.0), degrees=True).as_matrix()
BRIGHT = {"csf": (1000.0, 3.0, 0.0), "grey": (600.0, 0.85, 0.0), "white": (480.0, 0.75, 0.6)}  # b = 0, diffusivity, anisotropy
STILL = np.zeros((14, 6))


def grid():
    matrix = np.eye(4)
    matrix[:3, :3] = AXES * SPACING_MM
    matrix[:3, 3] = np.array([0.0, 18.0, 10.0]) - matrix[:3, :3] @ (np.array(SHAPE) - 1) / 2
    return matrix


def gradients(count=12):
    vectors = np.random.default_rng(1).standard_normal((count, 3))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.r_[0.0, 0.0, np.full(count, B_S_MM2)], np.concatenate([np.zeros((2, 3)), vectors])


def points_mm():
    """Positions about the middle of the grid, LPS: (3, n)."""
    return (grid()[:3, :3] @ (np.indices(SHAPE).reshape(3, -1) - (np.array(SHAPE)[:, None] - 1) / 2)).astype(np.float32)


@cache
def brain():
    middle = grid()[:3, :3] @ (np.array(SHAPE) - 1) / 2 + grid()[:3, 3]
    inside = atlas.template()["inside"]
    return sample(inside.with_array(inside.array.astype(np.float32)), points_mm() + middle[:, None]).reshape(SHAPE) > 0.5


def turn_of(move):
    return Rotation.from_euler("xyz", move[3:], degrees=True).as_matrix()


@cache
def _layers():
    layers = atlas.template()
    grey, white, inside = (layers[name].array.astype(np.float32) for name in ("grey", "white", "inside"))
    coarse = np.random.default_rng(4).standard_normal((3, *(n // 6 for n in grey.shape))).astype(np.float32)
    fibres = ndimage.zoom(coarse, (1, *(n / (n // 6) for n in grey.shape)), order=1)
    fibres /= np.linalg.norm(fibres, axis=0)
    return layers["grey"], {"csf": np.clip(inside - grey - white, 0, 1), "grey": grey, "white": white}, fibres


def head(moves, eddy=0.0, noise=4.0):
    """A series in which the head moves (volume, 6: mm and degrees, LPS, about the middle) and eddy currents shear it along its rows."""
    b, vectors = gradients(len(moves) - 2)
    random, rows = np.random.default_rng(5), AXES[:, 1]
    place, tissues, fibres = _layers()
    middle = (grid()[:3, :3] @ (np.array(SHAPE) - 1) / 2 + grid()[:3, 3])[:, None]
    out = np.empty((*SHAPE, len(b)), np.float32)
    for k, move in enumerate(moves):
        sheared = points_mm() + np.outer(rows, eddy * vectors[k] @ points_mm())
        at = turn_of(move).T @ (sheared - np.reshape(move[:3], (3, 1))) + middle
        along = np.tensordot(turn_of(move).T @ vectors[k], fibres, axes=1) ** 2 - 1 / 3
        signal = sum(
            tissues[name] * b_zero * np.exp(-b[k] / 1000 * diffusivity * (1 + anisotropy * along))
            for name, (b_zero, diffusivity, anisotropy) in BRIGHT.items()
        )
        out[..., k] = sample(place.with_array(signal.astype(np.float32)), at.astype(np.float32)).reshape(SHAPE)
    noisy = np.abs(out + noise * random.standard_normal(out.shape)).astype(np.float32)
    return Diffusion(noisy, grid(), b, vectors)


def walk(size_mm, size_deg):
    moves = np.random.default_rng(9).uniform(-1, 1, STILL.shape) * ([size_mm] * 3 + [size_deg] * 3)
    return moves - moves.mean(axis=0)


def near():
    return ndimage.binary_dilation(brain(), iterations=2)


def unlike(series, still):
    """How far a series lies from the still one, inside the brain."""
    inside = ndimage.binary_erosion(brain(), iterations=2)
    return float(np.sqrt(np.mean((series.array[inside] - still.array[inside]) ** 2)))


@pytest.fixture(scope="module")
def still():
    return head(STILL)


def test_a_head_that_lay_still_is_left_as_it_came(still):
    found = steadied(still, near())
    assert found.series is still and not found.is_resampled and not found.lost.any()
    assert found.displacement_mm.mean() < 0.15


def test_a_head_that_moved_lies_still_afterwards(still):
    moves = walk(2.0, 2.0)
    series = head(moves, eddy=0.01)
    found = steadied(series, near())
    some_mm = points_mm()[:, brain().ravel()][:, ::50]
    true_mm = [np.linalg.norm(turn_of(move) @ some_mm + move[:3, None] - some_mm, axis=0).mean() for move in moves]
    assert found.is_resampled and not found.lost.any()
    assert found.displacement_mm.mean() == pytest.approx(np.mean(true_mm), abs=0.3)
    assert unlike(found.series, still) < 0.5 * unlike(series, still)
    expected = np.stack([turn_of(move).T @ vector for move, vector in zip(moves, series.b_vectors_lps, strict=True)])[2:]
    cosines = np.abs((found.series.b_vectors_lps[2:] * expected).sum(axis=1))
    assert np.degrees(np.arccos(np.clip(cosines, 0, 1))).max() < 0.8


def test_what_eddy_currents_do_is_taken_out_and_is_no_motion(still):
    series = head(STILL, eddy=0.02)
    found = steadied(series, near())
    assert found.is_resampled and found.displacement_mm.mean() < 0.25
    assert unlike(found.series, still) < 0.85 * unlike(series, still)


def test_a_slice_that_lost_its_signal_is_replaced_by_what_the_others_predict(still):
    broken = head(STILL)
    lost = [(4, 20, 0.4), (9, 21, 0.6), (12, 15, 0.75)]
    for volume, at, share in lost:
        broken.array[at, :, :, volume] *= share
    found = steadied(broken, near())
    assert {tuple(place) for place in np.argwhere(found.lost)} == {(volume, at) for volume, at, _ in lost}
    volume, at, _ = lost[0]
    inside = brain()[at]
    rest = found.series.array[at, :, :, volume][inside] - still.array[at, :, :, volume][inside]
    assert np.abs(rest).mean() < 0.12 * still.array[at, :, :, volume][inside].mean()


def test_a_series_without_weighting_is_refused():
    series = Diffusion(np.ones((*SHAPE, 2), np.float32), grid(), np.zeros(2), np.zeros((2, 3)))
    with pytest.raises(NotMeasurable, match="no diffusion-weighted volume"):
        steadied(series, near())
