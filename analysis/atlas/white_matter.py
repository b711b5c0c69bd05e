"""White matter to compare with, deep in the frontal and the occipital lobe: for `build.py` alone.

Away from grey matter, from the ventricles with the bright caps around their horns, and from the corticospinal tract.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from analysis.atlas.maps import FLUID_T1, Maps, largest, mirrored
from analysis.atlas.tracts import tract_distance_mm

WHITE = 0.9
DEEP_MM = {"frontal": 4.0, "occipital": 2.0}  # from the nearest voxel that is not white: the occipital lobe has thin white matter
VENTRICLE_MM = 10.0
TRACT_MM = 15.0
# x, y, z of the middle of the left one: where white matter is deepest in front of the frontal horn, and lateral of the optic radiation
MIDDLES = {"frontal": (-24, 36, 12), "occipital": (-34, -67, 18)}
RADIUS_MM = 10.0
CORNERS_MM = (-70, -100, -25), (0, 60, 50)  # x, y, z: the box on the left that holds all of it


def ventricle(maps: Maps) -> np.ndarray:
    """The left lateral ventricle: the fluid in the middle of the brain."""
    x, y, z = maps.axes_mm
    box = (x > -38) & (x < -1) & (y > -96) & (y < 36) & (z > -20) & (z < 32)
    return largest(ndimage.binary_opening((maps.t1 < FLUID_T1) & box))


def reference_white_matter(maps: Maps) -> dict[tuple[str, str, str], np.ndarray]:
    """Each part by structure, side and level: boolean."""
    box, found = maps.box(*CORNERS_MM), {}
    near = maps.part(box)
    depth = ndimage.distance_transform_edt(near.white > WHITE)
    away = (ndimage.distance_transform_edt(~ventricle(near)) > VENTRICLE_MM) & (tract_distance_mm(near) > TRACT_MM)
    for level, middle in MIDDLES.items():
        from_middle_mm = np.sqrt(sum((axis - place) ** 2 for axis, place in zip(near.axes_mm, middle, strict=True)))
        left = maps.whole(box, largest(away & (depth >= DEEP_MM[level]) & (from_middle_mm <= RADIUS_MM)))
        found["reference_white_matter", "left", level], found["reference_white_matter", "right", level] = left, mirrored(left)
    return found
