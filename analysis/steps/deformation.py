"""How the tissue moved between two images that lie half-way over one another: a displacement in every voxel, of which each takes half.

The energy is the squared difference of the two images, the first read at x - v/2 and the second at x + v/2, and STIFFNESS times the squared
slope of v; it is lowered by steps of Gauss and Newton from coarse to fine, each solved by conjugate gradients. The difference changes its
sign when the images are exchanged and nothing else does: so v becomes exactly -v, and no direction is favoured. Stiffness is so low that
it decides only where the image shows nothing: a border of the size of a voxel's share is followed as it is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from analysis.steps.halfway import Halfway

# Chosen on the phantom head of seed 31. With 0.02, 0.05 and 0.1 about 72, 58 and 47 % of a loss of 5 % of the precentral cortex, which is
# two to three voxels thin, were followed, and without a change it seemed to change by up to 1.1, 0.6 and 0.3 %; the brainstem hardly minds
STIFFNESS = 0.05
LEVELS = ((4, 3), (2, 3), (1, 2))  # voxels of the grid half-way per voxel of the level, steps
SOLVER_ROUNDS = 12
# In spreads of the difference: what differs by more, such as a vessel, does not pull. A ball of high contrast that had lost 6 and 12 % of
# its volume was seen to lose 5.3 and 7.4 with 6, 5.9 and 10.2 with 8, 5.9 and 11.3 with 12; the medulla is less repeatable with more
TUKEY = 8.0
RIM_VOXELS = 3


@dataclass(frozen=True, eq=False)
class Pair:
    """What is laid over one another: `images` (2, slice, row, column), in units of what white matter is brighter than CSF, `near`: the head
    that counts, boolean, and `fluid`: how much of each voxel in the brain looks like CSF, 0 to 1. All on one grid half-way."""

    images: np.ndarray
    near: np.ndarray
    fluid: np.ndarray

    def part(self, box: tuple[slice, ...]) -> Pair:
        """What lies in a box."""
        return Pair(self.images[:, *box], self.near[box], self.fluid[box])


def pair_of(half: Halfway) -> Pair:
    """Of two T1 images, whose levels are known."""
    csf, grey, white = half.levels
    images = np.stack([half.first.array, half.second.array]) / np.float32(white - csf)
    near = ndimage.binary_dilation(half.inside > 0.25, iterations=RIM_VOXELS) & half.seen
    fluid = np.clip((grey / (white - csf) - images.mean(0)) * np.float32((white - csf) / (grey - csf)), 0.0, 1.0)
    return Pair(images, near, (fluid * (half.inside > 0.25)).astype(np.float32))


def displacement(pair: Pair) -> np.ndarray:
    """v in voxels of the grid half-way, (3, slice, row, column), float32: tissue that lies at x - v/2 in the first lies at x + v/2 in the
    second."""
    way = np.zeros((3, *pair.near.shape), np.float32)
    for factor, steps in LEVELS:
        small = np.stack([_coarse(image, factor) for image in pair.images])
        where = _coarse(pair.near.astype(np.float32), factor)
        way_there = np.stack([_coarse(axis, factor) for axis in way]) / np.float32(factor)
        for _ in range(steps):
            way_there = way_there + _step(*small, way_there, where)
        way = np.stack([_fine(axis, pair.near.shape) for axis in way_there]) * np.float32(factor)
    return way


def _coarse(image: np.ndarray, factor: int) -> np.ndarray:
    """The mean over blocks, the last ones filled up by the edge."""
    if factor == 1:
        return image
    padded = np.pad(image, [(0, -n % factor) for n in image.shape], mode="edge")
    shape = [size for n in padded.shape for size in (n // factor, factor)]
    return padded.reshape(shape).mean(axis=(1, 3, 5))


def _fine(image: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """A blocks' image on the grid of the blocks' voxels, linear."""
    factor = -(-shape[0] // image.shape[0])
    if factor == 1:
        return image
    index = [(np.arange(n, dtype=np.float32) + 0.5) / factor - 0.5 for n in shape]
    return ndimage.map_coordinates(image, np.meshgrid(*index, indexing="ij"), order=1, mode="nearest", output=np.float32)


def read(image: np.ndarray, way: np.ndarray, order: int = 1) -> np.ndarray:
    """An image at every voxel's place and a way from there (voxels, (3, slice, row, column))."""
    index = np.indices(image.shape, dtype=np.float32) + way
    return ndimage.map_coordinates(image, index, order=order, mode="nearest", output=np.float32)


def _step(first: np.ndarray, second: np.ndarray, way: np.ndarray, where: np.ndarray) -> np.ndarray:
    """What to add to the displacement."""
    here, there = read(first, -way / 2), read(second, way / 2)
    rest = here - there
    slope = np.stack(np.gradient((here + there) / 2))
    spread = 1.4826 * float(np.median(np.abs(rest[where > 0.5]))) + 1e-6
    weight = where * np.clip(1.0 - (rest / (TUKEY * spread)) ** 2, 0.0, 1.0) ** 2

    def forces(step: np.ndarray) -> np.ndarray:
        return add_laplacian(slope * (weight * np.einsum("i...,i...->...", slope, step)), step, -STIFFNESS)

    asked = add_laplacian(slope * (weight * rest), way, STIFFNESS)
    return solved(forces, asked, slope**2 * weight + 6.0 * STIFFNESS, SOLVER_ROUNDS)


def add_laplacian(found: np.ndarray, way: np.ndarray, times: float) -> np.ndarray:
    """`found` with so many times the sum of the differences to the six neighbours added, of every component; nothing flows over the edge.
    In place: this is where the time goes."""
    for axis in (1, 2, 3):
        difference = np.diff(way, axis=axis)
        difference *= np.float32(times)
        low = [slice(None)] * 4
        high = [slice(None)] * 4
        low[axis], high[axis] = slice(None, -1), slice(1, None)
        found[tuple(low)] += difference
        found[tuple(high)] -= difference
    return found


def solved(forces: Callable[[np.ndarray], np.ndarray], asked: np.ndarray, diagonal: np.ndarray, rounds: int) -> np.ndarray:
    """What `forces` of it is `asked`: conjugate gradients with a diagonal preconditioner, from 0."""
    found, rest = np.zeros_like(asked), asked.copy()
    ready = rest / diagonal
    way, worth = ready.copy(), float((rest * ready).sum(dtype=float))
    if worth <= 0:
        return found
    for _ in range(rounds):
        force = forces(way)
        length = np.float32(worth / float((way * force).sum(dtype=float)))
        found += length * way
        rest -= length * force
        ready = rest / diagonal
        before, worth = worth, float((rest * ready).sum(dtype=float))
        if worth <= 0:
            break
        way = ready + np.float32(worth / before) * way
    return found


def growth(way: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How much room a voxel half-way has in the first and in the second image: the determinants of x - v/2 and x + v/2."""
    slope = np.stack([np.stack(np.gradient(axis)) for axis in way]) / 2
    return _determinant(-slope), _determinant(slope)


def _determinant(slope: np.ndarray) -> np.ndarray:
    """Of the identity plus a matrix of slopes (3, 3, ...)."""
    (a, b, c), (d, e, f), (g, h, i) = slope
    a, e, i = a + 1, e + 1, i + 1
    return a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g)
