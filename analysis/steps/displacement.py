"""How far the body moves between the volumes of a series, without a full correction of motion.

Each volume is laid rigidly onto the mean of its like, a few Gauss-Newton steps on some thousand points: quick, and no image is resampled.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from analysis.outcome import NotMeasurable
from analysis.steps.quality import Overview, block_means
from analysis.words import say

SMOOTH_MM, MOST_VOLUMES, LEAST_VOLUMES, POINTS, ROUNDS = 2.0, 48, 3, 8000, 6


def displacement_of(array: np.ndarray, chosen: np.ndarray, overview: Overview, gradients: np.ndarray | None = None) -> float:
    """How far the body lies from its mean place, on average over the volumes and over the body, mm.

    `array` (slice, row, column, volume); `chosen`: the volumes of one contrast, of which at most 48, evenly over the series, are looked at.
    What is proportional to the directions of diffusion gradients (volume of `array`, 3) is the work of eddy currents, not of the head, and
    is taken out. NotMeasurable with fewer than three volumes.
    """
    if len(chosen) < LEAST_VOLUMES:
        raise NotMeasurable(say("the series has too few volumes of one kind to compare their positions"))
    chosen = chosen[np.unique(np.linspace(0, len(chosen) - 1, min(len(chosen), MOST_VOLUMES)).round().astype(int))]
    spacing_mm = overview.blocks.spacing_mm
    width = SMOOTH_MM / spacing_mm
    smooth = [ndimage.gaussian_filter(block_means(array[..., one], overview.factor), width) for one in chosen]
    still = np.mean(smooth, axis=0)
    index = np.argwhere(overview.body)
    index = index[:: max(1, len(index) // POINTS)]
    points_mm = (index - index.mean(0)) * spacing_mm
    slope = np.stack([np.gradient(still, axis=axis)[tuple(index.T)] / spacing_mm[axis] for axis in range(3)], axis=1)
    solve = np.linalg.pinv(np.concatenate([slope, np.cross(points_mm, slope)], axis=1))
    moves = np.stack([rigid_move(one, still[tuple(index.T)], index, points_mm, spacing_mm, solve) for one in smooth])
    moves = without_eddy_currents(moves, None if gradients is None else gradients[chosen])
    some_mm = points_mm[::8]
    return float(np.mean([np.linalg.norm(move[:3] + np.cross(move[3:], some_mm), axis=-1).mean() for move in moves]))


def without_eddy_currents(moves: np.ndarray, gradients: np.ndarray | None) -> np.ndarray:
    """Moves (volume, 6) about their mean, without what is proportional to the gradients (volume, 3). The rest is scaled up by what a fit
    of three numbers takes out of moves that have nothing to do with gradients."""
    about = moves - moves.mean(0)
    if gradients is None or len(moves) < 8:
        return about
    known = gradients - gradients.mean(0)
    rest = about - known @ np.linalg.lstsq(known, about, rcond=None)[0]
    return rest * np.sqrt((len(moves) - 1) / (len(moves) - 4))


def rigid_move(
    moved: np.ndarray, still: np.ndarray, index: np.ndarray, points_mm: np.ndarray, spacing_mm: np.ndarray, solve: np.ndarray
) -> np.ndarray:
    """Translation (mm) and small rotation (radians) that take points of the still image to the moved one: Gauss-Newton; shape (6,).

    `still` (n,): its values at `index` (n, 3); `solve` (6, n): the pseudo-inverse of its slope along the six.
    """
    move = np.zeros(6)
    for _ in range(ROUNDS):
        shift = (move[:3] + np.cross(move[3:], points_mm)) / spacing_mm
        seen = ndimage.map_coordinates(moved, (index + shift).T, order=1, mode="nearest")
        gain, offset = np.polyfit(still, seen, 1)
        if gain <= 0:
            break
        move = move - solve @ ((seen - offset) / gain - still)
    return move
