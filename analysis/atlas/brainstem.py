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
PONS_TOP = (-22.0, -20.5, 0.3)  # interpeduncular notch to the lower edge of the inferior colliculi
PONS_BOTTOM = (-32.0, -48.0, 0.4)  # the groove between pons and pyramids
BOTTOM_Z = -68.0  # the template ends at -72, about where the foramen magnum is
# z and y of the dorsal surface: of the closed medulla, of the floor of the fourth ventricle, of the colliculi
BACK = (
    (-72, -53), (-60, -50), (-54, -48), (-50, -47), (-46, -45.5), (-42, -44), (-38, -42), (-34, -40), (-30, -39.5), (-22, -41),
    (-14, -41), (0, -38),
)  # fmt: skip
# half widths, beyond which lie other structures that touch: by y for the midbrain (hippocampus, uncus) and for the upper pons (cerebellum),
# by z for the medulla (tonsils, flocculus)
MIDBRAIN_HALF_WIDTH = ((-41, 9.0), (-34, 10.5), (-28, 13.5), (-22, 19.5), (-18, 20.0), (-14, 18.0), (-9, 13.0), (-7, 11.0))
UPPER_PONS_HALF_WIDTH = ((-42, 7.5), (-36, 10.0), (-30, 14.0), (-26, 20.0))
UPPER_PONS_Z = -26.0
MEDULLA_HALF_WIDTH = ((-67, 8.5), (-60, 9.5), (-56, 10.5), (-50, 12.0), (-46, 13.5))
# the middle peduncle is cut from the exit of the trigeminal nerve (|x|, y) towards the corner of the fourth ventricle, mm per mm
PEDUNCLE_CUT = (19.5, -26.0, 0.56)


def above(maps: Maps, plane: tuple[float, float, float]) -> np.ndarray:
    _, y, z = maps.axes_mm
    return z > plane[1] - plane[2] * (y - plane[0])


def within(maps: Maps, half_widths: tuple[tuple[float, float], ...], axis_mm: np.ndarray) -> np.ndarray:
    """Not further from the midline than a table allows along an axis."""
    return np.abs(maps.axes_mm[0]) <= np.interp(axis_mm, *np.array(half_widths, float).T)


def below_top(maps: Maps) -> np.ndarray:
    """Below the diencephalon."""
    x, y, z = maps.axes_mm
    fall = TOP_FALL[1] * np.maximum(np.abs(x) - TOP_FALL[0], 0.0)
    return z + fall <= np.minimum(TOP[1] - TOP[2] * (y - TOP[0]), TOP[1])


def pons_sides(maps: Maps) -> np.ndarray:
    """Medial of the cut of the middle cerebellar peduncle, and of the cerebellum above it."""
    x, y, z = maps.axes_mm
    medial = np.abs(x) <= PEDUNCLE_CUT[0] + PEDUNCLE_CUT[2] * np.minimum(y - PEDUNCLE_CUT[1], 0.0)
    return medial & (within(maps, UPPER_PONS_HALF_WIDTH, y) | (z < UPPER_PONS_Z))


def brainstem(maps: Maps) -> dict[tuple[str, str, str], np.ndarray]:
    """Each part by structure, side and level: boolean."""
    _, y, z = maps.axes_mm
    stem = (maps.t1 > FLUID_T1) & (y >= np.interp(z, *np.array(BACK, float).T)) & (z > BOTTOM_Z)
    pons_top, pons_bottom = above(maps, PONS_TOP), above(maps, PONS_BOTTOM)
    rooms = {
        "midbrain": pons_top & below_top(maps) & within(maps, MIDBRAIN_HALF_WIDTH, y) & (y < MIDBRAIN_HALF_WIDTH[-1][0]),
        "pons": ~pons_top & pons_bottom & pons_sides(maps),
        "medulla": ~pons_bottom & within(maps, MEDULLA_HALF_WIDTH, z),
    }
    whole = largest(ndimage.binary_opening(stem & np.logical_or.reduce(list(rooms.values())), iterations=2))
    return {(name, "", ""): largest(room & whole) for name, room in rooms.items()}
