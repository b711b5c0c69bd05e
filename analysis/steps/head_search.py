"""Roughly where the template's brain lies in an image of a head, whichever way it is turned: a start for a registration.

At every turn and size of a coarse lattice the brain is correlated with the image at all shifts at once, by Fourier transform, and only
where the field of view reaches (Padfield 2012, 10.1109/TIP.2011.2181402). A place is worth its correlation times the root of the share of
the brain that is seen there, as the noise of a correlation goes. It says nothing about whether there is a head: a ball correlates, too.

Measured: four copies each of four real images (T1 of 0.7 and of 2 mm, FLAIR of 1 mm, a T2 that holds 120 mm of the head), turned by up to
12 degrees about each axis twice, shifted, on other grids, with noise and another bias field: what is found of one head agrees within 16
degrees and 10 mm, as fine as the lattice is. A registration from there then places a FLAIR where it does from no other start (`head`).
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from scipy import fft, ndimage
from scipy.spatial.transform import Rotation

from analysis.steps.space import coarser, lps_grid, sample
from analysis.volume import Volume

STEP_MM = 6.0
NODS_DEG, ROLLS_DEG, YAWS_DEG = range(-45, 46, 15), range(-30, 31, 15), range(-30, 31, 15)
SIZES = (0.85, 1.0, 1.15)
LEAST_SEEN = 0.3
LEAST_SPREAD = 0.01  # of the image's own: where it is even there is nothing to compare


def nearest_place(image: Volume, brain: Volume, inside: Volume) -> np.ndarray:
    """The similarity map, image from template (4 by 4, LPS mm), under which the two are most alike. `brain`: the template's in the contrast
    of the image; `inside`: where it is brain, boolean, on the same grid."""
    small = coarser(image, STEP_MM)
    smooth = brain.with_array(ndimage.gaussian_filter(np.float32(brain.array), 0.42 * STEP_MM / brain.spacing_mm))
    near = lps_grid(inside)[:, inside.array]
    middle = near.mean(1, dtype=float)
    cube = _cube(small, float(np.linalg.norm(near - middle[:, None], axis=0).max()) * max(SIZES))
    search, best = Search.of(small.array, cube.array.shape), (-np.inf, np.zeros(3), np.eye(3))
    for size, *angles in itertools.product(SIZES, NODS_DEG, ROLLS_DEG, YAWS_DEG):
        turn = size * Rotation.from_euler("xyz", angles, degrees=True).as_matrix()
        template = np.tensordot(np.linalg.inv(turn), lps_grid(cube), axes=1) + middle[:, None, None, None]
        worth, shift = search.best(sample(inside, template) > 0.5, sample(smooth, template))
        best = max(best, (worth, shift, turn), key=lambda one: one[0])
    _, shift, turn = best
    image_from_template = np.eye(4)
    image_from_template[:3, :3] = turn
    centre = small.lps_from_index @ [*(shift + (np.array(cube.array.shape) - 1) / 2), 1.0]
    image_from_template[:3, 3] = centre[:3] - turn @ middle
    return image_from_template


def _cube(small: Volume, radius_mm: float) -> Volume:
    """A grid with the axes and voxels of a volume, about the origin."""
    size = 2 * int(np.ceil(radius_mm / STEP_MM)) + 1
    lps_from_index = small.lps_from_index.copy()
    lps_from_index[:3, 3] = -lps_from_index[:3, :3] @ np.full(3, (size - 1) / 2)
    return Volume(np.zeros((size, size, size), np.float32), lps_from_index)


@dataclass(frozen=True, eq=False)
class Search:
    """An image and what is laid over it: the Fourier transforms of 1 where the image is, of its brightness and of its square."""

    size: tuple[int, ...]
    padded: tuple[int, ...]
    seen: np.ndarray
    image: np.ndarray
    square: np.ndarray

    @classmethod
    def of(cls, array: np.ndarray, laid: tuple[int, ...]) -> Search:
        even = np.float32((array - array.mean()) / max(float(array.std()), 1e-9))
        padded = tuple(fft.next_fast_len(a + b - 1, real=True) for a, b in zip(array.shape, laid, strict=True))
        return cls(array.shape, padded, *(fft.rfftn(one, padded) for one in (np.ones_like(even), even, even**2)))

    def best(self, where: np.ndarray, tissue: np.ndarray) -> tuple[float, np.ndarray]:
        """The worth of the best shift, and the shift in voxels: the index in the image of the first voxel of `where`, may be negative.
        `where`: the voxels that are compared, boolean; `tissue`: their brightness."""
        laid = [np.conj(fft.rfftn(np.float32(where * one), self.padded)) for one in (1.0, tissue, tissue**2)]
        count = np.maximum(self._over(self.seen, laid[0]), 1.0)
        image, other = self._over(self.image, laid[0]) / count, self._over(self.seen, laid[1]) / count
        spread = np.maximum(self._over(self.square, laid[0]) / count - image**2, LEAST_SPREAD)
        other_spread = np.maximum(self._over(self.seen, laid[2]) / count - other**2, LEAST_SPREAD * tissue[where].var())
        alike = (self._over(self.image, laid[1]) / count - image * other) / np.sqrt(spread * other_spread)
        share = count / where.sum()
        worth = np.where(share > LEAST_SEEN, alike * np.sqrt(share), -1.0)
        at = np.array(np.unravel_index(worth.argmax(), worth.shape))
        return float(worth.max()), np.where(at < self.size, at, at - self.padded)

    def _over(self, one: np.ndarray, laid: np.ndarray) -> np.ndarray:
        """The sums of products at all shifts."""
        return fft.irfftn(one * laid, self.padded)
