"""The tracts of the atlas, from published positions: the corticospinal tract by level, the motor segment of the callosum, its splenium.

For `build.py` alone. A tube around a published centreline, kept to the template's white matter.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage
from scipy.interpolate import PchipInterpolator

from analysis.atlas.maps import Maps, largest

# Corticospinal tract, centreline: z, |x|, y in MNI mm, blended from published positions: diffusion peaks in ALS at the pons, the internal
# capsule, the corona radiata and under the precentral gyrus, the trace of the tract in the Catani atlas, and the centroids of the JHU
# labels of the peduncle, the internal capsule and the pontine tract. SOURCES.md lists them.
CST_CENTRELINE = (
    (-50.0, 3.5, -33.0), (-44.0, 4.5, -29.0), (-36.5, 6.5, -25.0), (-30.2, 7.0, -23.3), (-20.0, 10.0, -19.5),
    (-10.9, 14.2, -16.0), (-4.0, 17.5, -14.0), (5.6, 21.3, -12.3), (10.3, 23.0, -12.0), (20.0, 25.5, -15.5),
    (28.0, 25.5, -19.0), (36.0, 24.5, -21.0), (44.0, 22.5, -22.5), (52.0, 21.0, -24.0), (60.0, 22.0, -24.0),
)  # fmt: skip
# Levels of the tract by z, with the radius that keeps 76 to 94 % of it inside independent labels.
CST_LEVELS = {
    "pons": (-38.0, -21.0, 4.5),
    "peduncle": (-21.0, -4.0, 5.0),
    "plic": (-4.0, 19.0, 4.5),
    "corona_radiata": (19.0, 40.0, 6.0),
    "subcortical": (40.0, 61.0, 8.0),
}
CST_WHITE = 0.3
CORE_SIGMA_MM, CORE_POWER = 1.5, 4
# Motor segment of the callosum: the third of five by Hofer and Frahm, from one half to two thirds of its length: y -17 to -4 here.
CALLOSAL_MOTOR_Y = (-17.0, -4.0)
CALLOSAL_HALF_WIDTH_MM = 8.0
CALLOSAL_WHITE = 0.6
SPLENIUM_Y = (-42.0, -27.0)  # the last fifth of that length, to compare with


def tract_distance_mm(maps: Maps) -> np.ndarray:
    """Distance of every voxel, in the axial plane, from the centreline of the corticospinal tract of its side."""
    x, y, z = maps.axes_mm
    points = np.array(CST_CENTRELINE)
    lateral, posterior = (PchipInterpolator(points[:, 0], points[:, i])(np.clip(z, points[0, 0], points[-1, 0])) for i in (1, 2))
    return np.hypot(np.abs(x) - lateral, y - posterior)


def tracts(maps: Maps) -> dict[tuple[str, str, str], np.ndarray]:
    """Each part by structure, side and level: boolean."""
    x, _, z = maps.axes_mm
    distance, found = tract_distance_mm(maps), {}
    for level, (low, high, radius) in CST_LEVELS.items():
        tube = (z >= low) & (z < high) & (distance <= radius) & (maps.white > CST_WHITE)
        found["cst", "left", level] = tube & (x < -0.5)
        found["cst", "right", level] = tube & (x > 0.5)
    found["callosal_motor_segment", "", ""] = callosal_part(maps, CALLOSAL_MOTOR_Y, (18.0, 36.0))
    return found | {("splenium", "", ""): callosal_part(maps, SPLENIUM_Y, (2.0, 30.0))}


def core(found: dict[tuple[str, str, str], np.ndarray]) -> np.ndarray:
    """How much of the middle of its tract a voxel is, 0 to 255: the tract blurred, to a power that leaves little weight at its rim, where a
    voxel of 2 to 3 mm holds as much of the neighbours as of the tract."""
    cores = []
    for one in dict.fromkeys((structure, side) for structure, side, _ in found):
        tract = np.logical_or.reduce([mask for (structure, side, _), mask in found.items() if (structure, side) == one])
        cores.append(ndimage.gaussian_filter(tract.astype(np.float32), CORE_SIGMA_MM) ** CORE_POWER)
    return np.rint(np.maximum.reduce(cores) * 255.0).astype(np.uint8)


def callosal_part(maps: Maps, y_mm: tuple[float, float], z_mm: tuple[float, float]) -> np.ndarray:
    """The callosum near the midline between two planes across it: boolean."""
    x, y, z = maps.axes_mm
    near = (np.abs(x) <= CALLOSAL_HALF_WIDTH_MM) & (y >= y_mm[0]) & (y <= y_mm[1]) & (z > z_mm[0]) & (z < z_mm[1])
    return largest(near & (maps.white > CALLOSAL_WHITE))
