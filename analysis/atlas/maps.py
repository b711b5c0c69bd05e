"""The template's own maps, that every part of the atlas is traced on: for the scripts that build the atlas, never for the engine.

Space: RAS millimetres of the symmetric MNI ICBM152 2009a at 1 mm, arrays (x, y, z). The template is exactly symmetric: what is traced on
its left is mirrored to its right.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

TISSUE = 0.35  # of grey and white matter together: less is CSF
FLUID_T1 = 0.5  # half way between the T1 of CSF (0.28) and of the brainstem (0.70), of the brightest voxel


@dataclass(frozen=True, eq=False)
class Maps:
    """T1 as it comes, grey and white 0 to 1, each (x, y, z) at 1 mm, and their RAS affine."""

    t1: np.ndarray
    grey: np.ndarray
    white: np.ndarray
    affine: np.ndarray

    @cached_property
    def axes_mm(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """x, y and z in mm, float32, each along its own axis: they broadcast to the shape of the maps."""
        axes = (np.arange(size, dtype=np.float32) * self.affine[i, i] + self.affine[i, 3] for i, size in enumerate(self.t1.shape))
        return tuple(axis.reshape([-1 if k == i else 1 for k in range(3)]) for i, axis in enumerate(axes))

    @cached_property
    def tissue(self) -> np.ndarray:
        """Where grey and white matter are: boolean."""
        return self.grey + self.white > TISSUE

    def index(self, *mm: float) -> tuple[int, int, int]:
        """The voxel at x, y, z in mm."""
        return tuple(round(float(value - start)) for value, start in zip(mm, self.affine[:3, 3], strict=True))

    def box(self, low_mm: tuple[float, ...], high_mm: tuple[float, ...]) -> tuple[slice, ...]:
        """The voxels between two corners, both included."""
        return tuple(slice(low, high + 1) for low, high in zip(self.index(*low_mm), self.index(*high_mm), strict=True))

    def part(self, box: tuple[slice, ...]) -> Maps:
        """The maps inside a box, in their place: what is traced there is found ten times sooner."""
        affine = self.affine.copy()
        affine[:3, 3] += [side.start for side in box]
        return Maps(self.t1[box], self.grey[box], self.white[box], affine)

    def whole(self, box: tuple[slice, ...], mask: np.ndarray) -> np.ndarray:
        """A mask that was found inside a box, on the whole grid."""
        full = np.zeros(self.t1.shape, bool)
        full[box] = mask
        return full


def template_maps() -> Maps:
    """The maps that nilearn ships."""
    from nilearn.datasets import load_mni152_gm_template, load_mni152_template, load_mni152_wm_template

    t1 = load_mni152_template(resolution=1)
    grey, white = load_mni152_gm_template(resolution=1), load_mni152_wm_template(resolution=1)
    return Maps(t1.get_fdata(), grey.get_fdata(), white.get_fdata(), t1.affine)


def mirrored(mask: np.ndarray) -> np.ndarray:
    """The same mask on the other side."""
    return mask[::-1]


def largest(mask: np.ndarray) -> np.ndarray:
    """The largest connected piece of a mask, by faces: boolean."""
    from scipy import ndimage

    pieces, count = ndimage.label(mask)
    if count == 0:
        return mask
    return pieces == 1 + int(np.argmax(ndimage.sum_labels(mask, pieces, range(1, count + 1))))
