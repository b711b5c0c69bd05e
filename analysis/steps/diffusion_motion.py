"""Where the head was in each volume of a diffusion series, what eddy currents did to it, and slices that lost their signal.

Every volume is laid onto the median of the diffusion-weighted ones by mutual information (SimpleITK), those of b = 0 rigidly, the others
affinely: the head moves, eddy currents shear and scale. What they do is proportional to the gradient, and all strain that is not is noise
of the registration and left out. The place that all are brought to is the mean place of the head.

Slices are compared with what the other volumes predict for their gradient; where one is much darker, the head moved while its gradient was
on, and the prediction stands in for it.

Sources: Andersson 2016, 10.1016/j.neuroimage.2015.10.019 and 10.1016/j.neuroimage.2016.06.058 (what to model, lost slices); Leemans 2009,
10.1002/mrm.21890 (directions turn with the head).
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage
from scipy.spatial.transform import Rotation

from analysis.outcome import NotMeasurable
from analysis.steps.diffusion_prediction import B_ZERO_S_MM2, Shell, predicted, shells_of
from analysis.steps.displacement import without_eddy_currents
from analysis.steps.rigid import moving_from_fixed
from analysis.steps.space import around
from analysis.volume import Diffusion, Volume
from analysis.words import joined, say

LEAST_FOR_STRAIN = 8  # diffusion-weighted volumes
# Chosen on simulated series of a phantom (seed 1): slices keep 0.97 of their signal and more where nothing was lost.
DARKER_BY, UNUSUAL_BY, LEAST_VOXELS, EDGE_VOXELS = 0.1, 5.0, 100, 3
LEAST_MOVED_MM = 0.15  # on average; below, interpolation costs more than the motion does
MUCH_MM = 1.0
MARGIN_VOXELS = 3


@dataclass(frozen=True, eq=False)
class Steady:
    """A diffusion series in which the head lies still, and what was found.

    `series`: with directions turned as the head was. `displacement_mm` (volume,): how far the brain was from its mean place, on average,
    without what eddy currents did. `lost` (volume, slice), boolean: slices that lost their signal, replaced by what the other volumes
    predict. `is_resampled`: false where the head lay still and the volumes are as they came.
    """

    series: Diffusion
    displacement_mm: np.ndarray
    lost: np.ndarray
    is_resampled: bool

    def words(self) -> str | None:
        """What was corrected, for the reader of the report; None where nothing was."""
        if not self.is_resampled:
            return None
        moved = say(
            "The head moved between the volumes of the diffusion series by {mean_mm:.1f} mm on average; this was corrected.",
            mean_mm=float(self.displacement_mm.mean()),
        )
        lost = say("{count} slices lost their signal to motion and were left out.", count=int(self.lost.sum()))
        return joined([moved, lost], " ") if self.lost.any() else moved


@dataclass(frozen=True, eq=False)
class _Brain:
    """The voxels of the brain on the series' grid: `mask`; `lps` (3, n), mm; `middle` (3, 1), LPS."""

    grid: Volume
    mask: np.ndarray
    lps: np.ndarray
    middle: np.ndarray

    @classmethod
    def of(cls, grid: Volume, mask: np.ndarray) -> _Brain:
        lps = grid.lps_from_index[:3, :3] @ np.argwhere(mask).T + grid.lps_from_index[:3, 3:]
        return cls(grid, mask, lps, lps.mean(axis=1, keepdims=True))

    def index_in(self, pose: np.ndarray) -> np.ndarray:
        """Where in its volume each voxel was acquired: index (3, n)."""
        whole = np.linalg.inv(self.grid.lps_from_index) @ pose
        return whole[:3, :3] @ self.lps + whole[:3, 3:]

    def slices_in(self, pose: np.ndarray) -> np.ndarray:
        return np.clip(np.rint(self.index_in(pose)[0]), 0, self.mask.shape[0] - 1).astype(int)


def steadied(series: Diffusion, brain: np.ndarray) -> Steady:
    """The series with its motion taken out. `brain`: where it is, boolean, with a margin of some millimetres. NotMeasurable without a
    diffusion-weighted volume."""
    weighted = series.b_values_s_mm2 > B_ZERO_S_MM2
    if not weighted.any():
        raise NotMeasurable(say("the diffusion series has no diffusion-weighted volume"))
    voxels = _Brain.of(Volume(brain, series.lps_from_index), brain)
    poses = poses_of(series, voxels, weighted)
    shells = shells_of(series.b_values_s_mm2, series.b_vectors_lps)
    lost = lost_slices(series, voxels, poses, shells)
    displacement_mm = _displacement_mm(series, voxels, poses)
    if _mean_mm(voxels, poses) < LEAST_MOVED_MM and not lost.any():
        return Steady(series, displacement_mm, lost, is_resampled=False)
    return Steady(_resampled(series, voxels, poses, shells, lost), displacement_mm, lost, is_resampled=True)


def poses_of(series: Diffusion, voxels: _Brain, weighted: np.ndarray) -> np.ndarray:
    """Where the mean place of the head is in every volume: (volume, 4, 4), LPS, mm. A head that moved much has a blurred median: there it
    is made sharp, and all is done once more."""
    has_strain = weighted & (weighted.sum() >= LEAST_FOR_STRAIN)
    poses = np.tile(np.eye(4), (len(weighted), 1, 1))
    for _ in range(2):
        median = np.median([_moved(series, k, poses[k], order=1) for k in np.flatnonzero(weighted)], axis=0)
        poses = _laid_onto(voxels.grid.with_array(median), series, voxels, poses, has_strain)
        if _mean_mm(voxels, poses) < MUCH_MM:
            break
    return poses


def _laid_onto(reference: Volume, series: Diffusion, voxels: _Brain, poses: np.ndarray, has_strain: np.ndarray) -> np.ndarray:
    """Every volume on the reference, from where it was, about the mean place."""
    box = around(voxels.grid, MARGIN_VOXELS)
    fixed, inside = reference.part(box), voxels.mask[box]

    def laid(k: int) -> np.ndarray:
        return moving_from_fixed(fixed, fixed.with_array(series.array[(*box, k)]), inside, poses[k], is_affine=bool(has_strain[k]))

    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        found = np.stack(list(pool.map(laid, range(len(poses)))))
    if has_strain.any():
        found[has_strain] = _with_strain_of_gradients(found[has_strain], _currents(series)[has_strain], voxels.middle)
    turn, _, shift = _split(found.mean(axis=0), voxels.middle)
    return found @ np.linalg.inv(_joined(turn, np.eye(3), shift, voxels.middle))


def _currents(series: Diffusion) -> np.ndarray:
    """What eddy currents are proportional to: gradient by its strength, (volume, 3)."""
    strength = np.sqrt(series.b_values_s_mm2 / max(series.b_values_s_mm2.max(), 1.0))
    return series.b_vectors_lps * strength[:, None]


def _split(pose: np.ndarray, middle: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A pose as a turn, a symmetric stretch before it, and the shift (3, 1) of the middle."""
    left, sizes, right = np.linalg.svd(pose[:3, :3])
    return left @ right, right.T @ np.diag(sizes) @ right, pose[:3, :3] @ middle + pose[:3, 3:] - middle


def _joined(turn: np.ndarray, stretch: np.ndarray, shift: np.ndarray, middle: np.ndarray) -> np.ndarray:
    pose = np.eye(4)
    pose[:3, :3] = turn @ stretch
    pose[:3, 3:] = middle + shift - pose[:3, :3] @ middle
    return pose


def _with_strain_of_gradients(poses: np.ndarray, currents: np.ndarray, middle: np.ndarray) -> np.ndarray:
    """The poses with the part of their strain that is proportional to the gradients."""
    parts = [_split(pose, middle) for pose in poses]
    strain = np.stack([stretch - np.eye(3) for _, stretch, _ in parts]).reshape(len(poses), 9)
    fitted = (currents @ np.linalg.lstsq(currents, strain, rcond=None)[0]).reshape(-1, 3, 3)
    return np.stack([_joined(turn, np.eye(3) + own, shift, middle) for (turn, _, shift), own in zip(parts, fitted, strict=True)])


def lost_slices(series: Diffusion, voxels: _Brain, poses: np.ndarray, shells: tuple[Shell, ...]) -> np.ndarray:
    """Slices that are much darker than the other volumes predict, and unusually so: (volume, slice), boolean."""
    # at the edge of the brain a slice says more of its place than of its signal
    voxels = _Brain.of(voxels.grid, ndimage.binary_erosion(voxels.mask, iterations=EDGE_VOXELS))
    seen = np.stack([
        ndimage.map_coordinates(series.array[..., k], voxels.index_in(pose), order=1, mode="nearest") for k, pose in enumerate(poses)
    ])  # fmt: skip
    slices, size = [voxels.slices_in(pose) for pose in poses], voxels.mask.shape[0]
    lost = np.zeros((len(poses), size), bool)
    for _ in range(2):  # once more without what the lost ones predicted
        gone = np.stack([mine[where] for mine, where in zip(lost, slices, strict=True)])
        share = np.stack([_share(*one, size) for one in zip(seen, predicted(shells, seen, gone), slices, strict=True)])
        spread = 1.4826 * np.median(np.abs(share - np.median(share, axis=0)), axis=0)
        lost = share < 1.0 - np.maximum(DARKER_BY, UNUSUAL_BY * np.maximum(spread, np.median(spread)))
        lost[series.b_values_s_mm2 <= B_ZERO_S_MM2] = False
    return lost


def _share(seen: np.ndarray, target: np.ndarray, slices: np.ndarray, size: int) -> np.ndarray:
    """How much of its predicted signal each slice of a volume has, (slice,); 1 where it holds too little to say."""
    enough = np.bincount(slices, minlength=size) >= LEAST_VOXELS
    if not enough.any():
        return np.ones(size)
    gain = np.bincount(slices, seen * target, size) / np.maximum(np.bincount(slices, target**2, size), 1e-6)
    return np.where(enough, gain / np.median(gain[enough]), 1.0)


def _displacement_mm(series: Diffusion, voxels: _Brain, poses: np.ndarray) -> np.ndarray:
    """How far the brain is from its mean place on average, by volume, without what is proportional to the gradients."""
    parts = [_split(pose, voxels.middle) for pose in poses]
    moves = np.stack([[*shift[:, 0], *Rotation.from_matrix(turn).as_rotvec()] for turn, _, shift in parts])
    moves = without_eddy_currents(moves, _currents(series))
    arms_mm = (voxels.lps - voxels.middle)[:, ::16].T
    return np.array([np.linalg.norm(move[:3] + np.cross(move[3:], arms_mm), axis=1).mean() for move in moves])


def _mean_mm(voxels: _Brain, poses: np.ndarray) -> float:
    """How far volumes lie from the mean place on average, with what eddy currents did."""
    some = voxels.lps[:, ::16]
    return float(np.mean([np.linalg.norm(pose[:3, :3] @ some + pose[:3, 3:] - some, axis=0).mean() for pose in poses]))


def _resampled(series: Diffusion, voxels: _Brain, poses: np.ndarray, shells: tuple[Shell, ...], lost: np.ndarray) -> Diffusion:
    array = np.empty_like(series.array)
    for k, pose in enumerate(poses):
        # where eddy currents stretched the image, its signal was spread out
        array[..., k] = np.maximum(_moved(series, k, pose, order=3), 0.0) * np.linalg.det(pose[:3, :3])
    if lost.any():
        gone = np.stack([mine[voxels.slices_in(pose)] for mine, pose in zip(lost, poses, strict=True)])
        signals = array[voxels.mask].T
        array[voxels.mask] = np.where(gone, predicted(shells, signals, gone), signals).T
    turned = np.stack([_split(pose, voxels.middle)[0].T @ vector for pose, vector in zip(poses, series.b_vectors_lps, strict=True)])
    return replace(series, array=array, b_vectors_lps=turned)


def _moved(series: Diffusion, volume: int, pose: np.ndarray, order: int) -> np.ndarray:
    """A volume brought to the mean place."""
    whole = np.linalg.inv(series.lps_from_index) @ pose @ series.lps_from_index
    return ndimage.affine_transform(series.array[..., volume], whole[:3, :3], whole[:3, 3], order=order, mode="nearest")
