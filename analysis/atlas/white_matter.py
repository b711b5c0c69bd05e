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
MIDDLES = {"frontal": (-24, 36, 12), "occipital": (-32, -68, 17)}
RADIUS_MM = 10.0


def ventricles(maps: Maps) -> np.ndarray:
    """The lateral ventricles: the fluid in the middle of the brain."""
    x, y, z = maps.axes_mm
    box = (np.abs(x) < 38) & (y > -96) & (y < 36) & (z > -20) & (z < 32)
    fluid = ndimage.binary_opening((maps.t1 < FLUID_T1) & box)
    left = largest(fluid & (x < -1))
    return left | mirrored(left)


def reference_white_matter(maps: Maps) -> dict[tuple[str, str, str], np.ndarray]:
    """Each part by structure, side and level: boolean."""
    depth = ndimage.distance_transform_edt(maps.white > WHITE)
    away = (ndimage.distance_transform_edt(~ventricles(maps)) > VENTRICLE_MM) & (tract_distance_mm(maps) > TRACT_MM)
    found = {}
    for level, middle in MIDDLES.items():
        from_middle_mm = np.sqrt(sum((axis - place) ** 2 for axis, place in zip(maps.axes_mm, middle, strict=True)))
        part = largest(away & (depth >= DEEP_MM[level]) & (from_middle_mm <= RADIUS_MM))
        found["reference_white_matter", "left", level] = part
        found["reference_white_matter", "right", level] = mirrored(part)
    return found
