"""Moving images between grids and spaces: resampling, and the bridge to ANTs.

ANTs works in LPS as we do, and takes an array in any axis order as long as the direction says so: nothing is transposed or flipped. A
warp is kept as a field of template positions on the grid of the patient (`template_lps`): one lookup then places
any structure of the atlas.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from scipy import ndimage

from analysis import atlas
from analysis.volume import Volume

SEED = 20


@contextmanager
def ants_scratch():
    """ANTs with a fixed seed and a temporary folder of its own: it writes its transforms as files and never deletes them."""
    import tempfile

    import ants

    ants.config.set_ants_deterministic(False, SEED)  # `random_seed` as an argument of `registration` is ignored without a word
    before = tempfile.tempdir
    with TemporaryDirectory(prefix="betz-ants-") as folder:
        tempfile.tempdir = folder
        try:
            yield ants, Path(folder)
        finally:
            tempfile.tempdir = before


def ants_image(volume: Volume):
    """The volume as an ANTs image, float32."""
    import ants

    columns = volume.lps_from_index[:3, :3] / volume.spacing_mm
    return ants.from_numpy(
        np.ascontiguousarray(volume.array, dtype=np.float32),
        origin=tuple(volume.lps_from_index[:3, 3]),
        spacing=tuple(volume.spacing_mm),
        direction=columns,
    )


def coarser(volume: Volume, spacing_mm: float) -> Volume:
    """The volume on an isotropic grid along its own axes, smoothed first where it becomes coarser. Outside the volume: 0."""
    factor = spacing_mm / volume.spacing_mm
    sigma = np.where(factor > 1.0, 0.42 * np.sqrt(np.maximum(factor**2 - 1.0, 0.0)), 0.0)
    smooth = ndimage.gaussian_filter(np.asarray(volume.array, dtype=np.float32), sigma)
    shape = np.maximum(np.floor((np.array(volume.array.shape) - 1) / factor).astype(int) + 1, 1)
    offset = ((np.array(volume.array.shape) - 1) - (shape - 1) * factor) / 2.0
    array = ndimage.affine_transform(smooth, np.diag(factor), offset, tuple(shape), order=1)
    index_from_index = np.diag([*factor, 1.0])
    index_from_index[:3, 3] = offset
    return Volume(array, volume.lps_from_index @ index_from_index)


def around(mask: Volume, margin_voxels: int) -> tuple[slice, slice, slice]:
    """The box that holds a boolean volume, with a margin, inside its grid."""
    box = ndimage.find_objects(mask.array.astype(np.uint8))[0]
    return tuple(
        slice(max(side.start - margin_voxels, 0), min(side.stop + margin_voxels, size))
        for side, size in zip(box, mask.array.shape, strict=True)
    )


def onto(volume: Volume, grid: Volume, order: int = 1) -> np.ndarray:
    """The values of `volume` on the grid of `grid`, both in the same space; 0 outside."""
    index_from_index = np.linalg.inv(volume.lps_from_index) @ grid.lps_from_index
    return ndimage.affine_transform(
        np.asarray(volume.array, dtype=np.float32), index_from_index, output_shape=grid.array.shape, order=order
    )


def lps_grid(grid: Volume) -> np.ndarray:
    """The position of every voxel, mm, float32: shape (3, slice, row, column)."""
    index = np.indices(grid.array.shape, dtype=np.float32).reshape(3, -1)
    matrix = grid.lps_from_index.astype(np.float32)
    return (matrix[:3, :3] @ index + matrix[:3, 3:]).reshape(3, *grid.array.shape)


def sample(volume: Volume, lps: np.ndarray, order: int = 1) -> np.ndarray:
    """The values of `volume` at positions `lps` of shape (3, ...), mm; 0 outside."""
    matrix = np.linalg.inv(volume.lps_from_index)
    index = np.tensordot(matrix[:3, :3], lps, axes=1) + matrix[:3, 3].reshape(3, *([1] * (lps.ndim - 1)))
    return ndimage.map_coordinates(
        volume.array if order == 0 else np.asarray(volume.array, np.float32), index, order=order, prefilter=order > 1
    )


@dataclass(frozen=True, eq=False)
class Placement:
    """Where a patient's image lies on the template.

    `template_lps` (3, slice, row, column): the template position of each voxel of `grid`. `template_from_lps`: the affine part, 4 by 4.
    `similarity`: the correlation of the two images inside the brain, after all.
    """

    grid: Volume
    template_lps: np.ndarray
    template_from_lps: np.ndarray
    similarity: float

    def template_on(self, grid: Volume) -> np.ndarray:
        """The template positions of the voxels of another grid of the same patient space: shape (3, slice, row, column)."""
        lps = lps_grid(grid)
        return np.stack([self._along(axis, lps) for axis in range(3)])

    def _along(self, axis: int, lps: np.ndarray) -> np.ndarray:
        matrix = np.linalg.inv(self.grid.lps_from_index).astype(np.float32)
        index = np.tensordot(matrix[:3, :3], lps, axes=1) + matrix[:3, 3].reshape(3, 1, 1, 1)
        return ndimage.map_coordinates(self.template_lps[axis], index, order=1, mode="nearest")

    def mirrored_lps(self, grid: Volume) -> np.ndarray:
        """Where the place on the other side of the head lies for the voxels of a grid of the patient, by the affine part: shape (3, slice,
        row, column), mm."""
        mirror = np.linalg.inv(self.template_from_lps) @ np.diag([-1.0, 1.0, 1.0, 1.0]) @ self.template_from_lps
        linear, shift = mirror[:3, :3].astype(np.float32), mirror[:3, 3].astype(np.float32)
        return np.tensordot(linear, lps_grid(grid), axes=1) + shift.reshape(3, 1, 1, 1)

    def layer_on(self, name: str, grid: Volume) -> np.ndarray:
        """A layer of the template on a grid of the patient, linear, by way of the 2 mm grid that both were aligned on."""
        layer = atlas.template()[name]
        return onto(self.grid.with_array(sample(layer, self.template_lps)), grid)


def share_inside(grid: Volume, place: Placement, template_lps: np.ndarray) -> float:
    """The share of template positions (3, n) that lie inside a grid of the patient, by the affine part of the placement."""
    index_from_template = np.linalg.inv(grid.lps_from_index) @ np.linalg.inv(place.template_from_lps)
    index = index_from_template[:3, :3] @ template_lps + index_from_template[:3, 3:]
    limit = np.array(grid.array.shape[:3]).reshape(3, 1) - 0.5
    return float(((index >= -0.5) & (index <= limit)).all(0).mean())


def affine_of(ants, path: str) -> np.ndarray:
    """The 4 by 4 map that an ANTs affine file holds: from fixed to moving positions, LPS."""
    transform = ants.read_transform(path)
    matrix = np.array(transform.parameters[:9]).reshape(3, 3)
    translation, centre = np.array(transform.parameters[9:12]), np.array(transform.fixed_parameters)
    whole = np.eye(4)
    whole[:3, :3], whole[:3, 3] = matrix, translation + centre - matrix @ centre
    return whole


def warped_onto(
    ants, fixed: Volume, inside: Volume, moving, affine_file: str, iterations: tuple[int, ...], grid: Volume
) -> tuple[Placement, np.ndarray]:
    """A cross-correlation warp (SyN) of an ANTs image onto a part of the template, with the metric inside a mask.

    Returns where the patient's `grid` lies on the template, with a `similarity` of 0 that the caller replaces, and the moved image there.
    ANTs pulls: the affine takes template positions to patient positions, and the inverse warp lives on the template's grid.
    """
    found = ants.registration(
        ants_image(fixed), moving, "SyNOnly", initial_transform=affine_file, mask=ants_image(inside), syn_metric="CC", syn_sampling=2,
        reg_iterations=iterations,
    )  # fmt: skip
    inverse_warp_file = next(path for path in found["invtransforms"] if "InverseWarp" in path)
    template_from_lps = np.linalg.inv(affine_of(ants, affine_file))
    linear, shift = template_from_lps[:3, :3].astype(np.float32), template_from_lps[:3, 3].astype(np.float32)
    affine_lps = np.tensordot(linear, lps_grid(grid), axes=1) + shift.reshape(3, 1, 1, 1)
    template_lps = affine_lps + displacement_at(ants, inverse_warp_file, fixed, affine_lps)
    return Placement(grid, template_lps, template_from_lps, 0.0), found["warpedmovout"].numpy()


def displacement_at(ants, warp_file: str, fixed: Volume, lps: np.ndarray) -> np.ndarray:
    """The displacements (mm, LPS) of a warp file at positions of shape (3, ...)."""
    field = ants.image_read(warp_file).numpy()
    axes = (Volume(np.ascontiguousarray(field[..., axis]), fixed.lps_from_index) for axis in range(3))
    return np.stack([sample(axis, lps) for axis in axes]).astype(np.float32)


def similarity_of(moved: np.ndarray, fixed: Volume, where: np.ndarray) -> float:
    """The correlation of two images on the template's grid inside a region; 0 where there is too little or nothing to compare."""
    first, second = moved[where], fixed.array[where]
    if first.size < 1000 or first.std() == 0 or second.std() == 0:
        return 0.0
    return float(np.corrcoef(first, second)[0, 1])
