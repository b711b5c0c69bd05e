"""Midbrain, pons and medulla, cut from the template's own brainstem by planes: for `build.py` alone.

The brainstem is what is not fluid on the T1, in front of the floor of the fourth ventricle. The planes are read off the T1 by eye.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from analysis.atlas.maps import FLUID_T1, Maps, largest

# A plane: y and z of a point of it on the midline, and how much z falls per mm forwards. Across the brainstem's axis.
TOP = (-25.0, -2.5, 0.8)  # posterior commissure to the back of the mammillary bodies
TOP_FALL = (8.0, 0.35)  # the crus runs outwards as it rises: lateral of |x| 8, the plane falls by this per mm
PONS_TOP = (-22.0, -21.5, 0.4)  # interpeduncular notch to the lower edge of the inferior colliculi
PONS_BOTTOM = (-32.0, -48.0, 0.4)  # the groove between pons and pyramids
BOTTOM_Z = -68.0
# z and y of the dorsal surface: of the closed medulla, of the floor of the fourth ventricle, of the colliculi
BACK = (
    (-72, -53), (-60, -50), (-54, -48), (-50, -47), (-46, -45.5), (-42, -44), (-38, -42), (-34, -40), (-30, -39.5), (-22, -41),
    (-14, -41), (0, -38),
)  # fmt: skip
MIDBRAIN_HALF_WIDTH_MM, MEDULLA_HALF_WIDTH_MM = 19.0, 13.0
# the middle peduncle is cut from the exit of the trigeminal nerve (|x|, y) towards the corner of the fourth ventricle, mm per mm
PEDUNCLE_CUT = (19.5, -26.0, 0.56)


def above(maps: Maps, plane: tuple[float, float, float]) -> np.ndarray:
    _, y, z = maps.axes_mm
    return z > plane[1] - plane[2] * (y - plane[0])


def below_top(maps: Maps) -> np.ndarray:
    """Below the diencephalon."""
    x, y, z = maps.axes_mm
    fall = TOP_FALL[1] * np.maximum(np.abs(x) - TOP_FALL[0], 0.0)
    return (z + fall <= TOP[1] - TOP[2] * (y - TOP[0])) & (z <= TOP[1])


def pons_sides(maps: Maps) -> np.ndarray:
    """Medial of the cut of the middle cerebellar peduncle."""
    x, y, _ = maps.axes_mm
    return np.abs(x) <= PEDUNCLE_CUT[0] + PEDUNCLE_CUT[2] * np.minimum(y - PEDUNCLE_CUT[1], 0.0)


def brainstem(maps: Maps) -> dict[tuple[str, str, str], np.ndarray]:
    """Each part by structure, side and level: boolean."""
    x, y, z = maps.axes_mm
    behind = np.interp(z, *np.array(BACK, float).T)
    stem = (maps.t1 > FLUID_T1) & (y >= behind) & (z > BOTTOM_Z)
    pons_top, pons_bottom = above(maps, PONS_TOP), above(maps, PONS_BOTTOM)
    rooms = {
        "midbrain": pons_top & below_top(maps) & (np.abs(x) <= MIDBRAIN_HALF_WIDTH_MM),
        "pons": ~pons_top & pons_bottom & pons_sides(maps),
        "medulla": ~pons_bottom & (np.abs(x) <= MEDULLA_HALF_WIDTH_MM),
    }
    whole = largest(ndimage.binary_opening(stem & np.logical_or.reduce(list(rooms.values()))))
    return {(name, "", ""): largest(room & whole) for name, room in rooms.items()}
