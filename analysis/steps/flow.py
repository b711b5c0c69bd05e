"""The flow of least effort that makes room here and takes it there: for a loss of volume that is known in every place."""

from __future__ import annotations

import numpy as np
from scipy import fft, ndimage

REACH_VOXELS = 10.0


def flow_with(divergence: np.ndarray) -> np.ndarray:
    """The flow without curl that has a divergence whose sum is 0, three axes: (3, axis 0, 1, 2), in voxels, float32. The lattice repeats
    itself."""
    source = fft.rfftn(divergence.astype(np.float32))
    waves = np.meshgrid(*(2j * np.pi * fft.fftfreq(n) for n in divergence.shape[:2]), 2j * np.pi * fft.rfftfreq(divergence.shape[2]),
                        indexing="ij", sparse=True)  # fmt: skip
    square = sum(wave**2 for wave in waves)
    square[0, 0, 0] = 1.0
    return np.stack([fft.irfftn(source * wave / square, divergence.shape).astype(np.float32) for wave in waves])


def flow_between(tissue: np.ndarray, fluid: np.ndarray) -> np.ndarray:
    """The flow under which all of `tissue` (0 to 1) grows alike, by its whole volume, and the `fluid` (0 to 1) within REACH_VOXELS of it
    makes room; none where there is no such fluid."""
    near = fluid * (ndimage.distance_transform_edt(tissue < 0.5) <= REACH_VOXELS)
    there = float(near.sum(dtype=float))
    if not there:
        return np.zeros((3, *tissue.shape), np.float32)
    return flow_with(tissue.astype(np.float32) - near * np.float32(tissue.sum(dtype=float) / there))
