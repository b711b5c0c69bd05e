"""Where things are on the phantom's template: the motor cortex, the parts of the brainstem, the ventricles.

Simple surfaces, read off the template's own T1 and checked against published positions of M1 (hand, face, tongue, trunk and leg areas
in the Brainnetome atlas). They belong to the phantom alone: the markers' atlas is made another way, so that agreement means something.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from analysis.phantom_head import ORIGIN_MM, Head, axes_mm, healthy_head

# |x|: y and z at the upper and at the lower end of the central and the precentral sulcus
CENTRAL_SULCUS = {8: (-36, 80, -38, 70), 14: (-30, 77, -33, 64), 22: (-28, 77, -28, 56), 30: (-26, 74, -27, 50), 38: (-25, 66, -19, 42),
                  46: (-15, 61, -10, 30), 54: (-9, 52, -3, 22), 62: (-4, 42, -3, 22)}  # fmt: skip
PRECENTRAL_SULCUS = {8: (-13, 76, -13, 66), 14: (-17, 73, -17, 64), 22: (-13, 72, -12, 58), 30: (-7, 68, -7, 49), 38: (-5, 64, -3, 46),
                     46: (1, 58, 6, 28), 54: (6, 50, 8, 12), 62: (13, 30, 12, 5)}  # fmt: skip
# |x|: z of the lower end of both gyri: above the cingulate gyrus, at the bottom of the sulci, at the lateral fissure
GYRUS_FLOOR_Z_MM = {8: 48, 14: 50, 22: 48, 30: 42, 38: 32, 46: 14, 54: 4, 62: 4}
SENSORY_MM = 14.0
_SULCI = {"central": CENTRAL_SULCUS, "precentral": PRECENTRAL_SULCUS}
BAND_LEVELS_MM = {"medial": (6, 20), "intermediate": (20, 42), "lateral": (42, 66)}  # |x|
BAND_DEPTH_MM, SEARCH_MM = 5.0, 4.0
BAND_FLOOR_MM, BAND_LOW_FROM_MM = 10.0, 50.0  # the band's lower end, from that |x| on
# planes across the brainstem: y and z of a point on the midline, and how much z falls per mm forwards. From the posterior commissure to the
# mammillary bodies; from the notch above the pons to below the colliculi; from the notch below it; above the phantom's cord
TOP, PONS_TOP, PONS_BOTTOM, BOTTOM = (-26, -2, 0.75), (-12, -23, 0.30), (-26, -50, 0.33), (-42, -66, 0.0)
STALK_MM = 2.5


def _wall(table: dict[int, tuple[int, int, int, int]], x: np.ndarray, z: np.ndarray) -> np.ndarray:
    """y of a sulcus at |x| and z; straight between its two ends, and beyond them as at the end."""
    keys = sorted(table)
    y_top, z_top, y_low, z_low = (np.interp(np.abs(x), keys, [table[k][i] for k in keys]) for i in range(4))
    return y_low + (y_top - y_low) * np.clip((z - z_low) / (z_top - z_low), 0, 1)


def _floor(x: np.ndarray) -> np.ndarray:
    """z of the lower end of the gyrus at |x|."""
    keys = sorted(CENTRAL_SULCUS)
    return np.interp(np.abs(x), keys, [CENTRAL_SULCUS[k][3] - 6 for k in keys])


def motor_strip(head: Head) -> np.ndarray:
    """The precentral gyrus with its white core, both sides, boolean: between the two sulci, from the cingulate to the lateral fissure."""
    x, y, z = axes_mm()
    return _gyrus(head) & (y > _wall(CENTRAL_SULCUS, x, z)) & (y < _wall(PRECENTRAL_SULCUS, x, z))


def sensory_strip(head: Head) -> np.ndarray:
    """The postcentral gyrus likewise: what lies within SENSORY_MM behind the central sulcus."""
    x, y, z = axes_mm()
    central = _wall(CENTRAL_SULCUS, x, z)
    return _gyrus(head) & (y < central) & (y > central - SENSORY_MM)


def _gyrus(head: Head) -> np.ndarray:
    x, _, z = axes_mm()
    lowest = np.interp(np.abs(x), sorted(GYRUS_FLOOR_Z_MM), [GYRUS_FLOOR_Z_MM[k] for k in sorted(GYRUS_FLOOR_Z_MM)])
    return (z > lowest) & (np.abs(x) > 2) & (np.abs(x) < 66) & head.inside_skull


def sulcus_ends_z_mm(name: str, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """z of the lower and of the upper end of a sulcus at each x."""
    table = _SULCI[name]
    keys = sorted(table)
    return tuple(np.interp(np.abs(x), keys, [table[k][i] for k in keys]) for i in (3, 1))


@lru_cache(maxsize=4)
def sulcus_y_mm(name: str, behind_mm: float = 0.0) -> np.ndarray:
    """y of the fluid of a sulcus ("central" or "precentral") at each x and z, shape (x, z): its wall, or one further behind, moved to where
    the healthy head has most fluid, smoothly."""
    from scipy import ndimage

    x, _, z = axes_mm()
    wall = _wall(_SULCI[name], x[:, 0], z[:, 0]) - behind_mm
    offsets = np.arange(-SEARCH_MM, SEARCH_MM + 0.5, 0.5)
    places = [np.broadcast_to(axis, (*wall.shape, len(offsets))) for axis in (x, wall[..., None] + offsets, z.reshape(1, -1, 1))]
    index = [axis - origin for axis, origin in zip(places, ORIGIN_MM, strict=True)]
    fluid = ndimage.map_coordinates(healthy_head().tissue["csf"], index, order=1) - 0.02 * np.abs(offsets)
    shift = offsets[np.argmax(ndimage.gaussian_filter(fluid, (1.5, 1.5, 0)), axis=2)]
    return wall + ndimage.gaussian_filter(shift, 1.5)


def band(head: Head) -> np.ndarray:
    """The cortex of the precentral gyrus that faces the central sulcus, boolean: what lies within BAND_DEPTH_MM in front of its fluid."""
    x, y, z = axes_mm()
    across, fluid_y = np.abs(x), sulcus_y_mm("central")[:, None, :]
    high_enough = z > np.where(across > BAND_LOW_FROM_MM, BAND_FLOOR_MM, _floor(x))
    return (y > fluid_y) & (y < fluid_y + BAND_DEPTH_MM) & high_enough & (across > 2) & (across < 66) & head.inside_skull


def _above(plane: tuple[float, float, float]) -> np.ndarray:
    _, y, z = axes_mm()
    return z > plane[1] - plane[2] * (y - plane[0])


def brainstem_parts() -> dict[str, np.ndarray]:
    """Room of midbrain, pons and medulla, boolean; grey and white matter inside it is theirs. Bounded behind by the fourth ventricle
    and the tectum, to the sides by |x|: 20, 18 and 12 mm; the middle peduncle is cut from the trigeminal nerve backwards and inwards."""
    x, y, z = axes_mm()
    behind = np.interp(z, [-64, -45, -22, -14, 0], [-54, -47, -39, -42, -40])
    room = (y > behind) & (z < TOP[1])
    peduncle = 18 + 0.5 * np.minimum(y + 26, 0)
    front = y < np.interp(z, [-64, -20, 0], [0, -2, -6])
    parts = {
        "midbrain": ~_above(TOP) & _above(PONS_TOP) & (np.abs(x) < 20),
        "pons": ~_above(PONS_TOP) & _above(PONS_BOTTOM) & (np.abs(x) < peduncle),
        "medulla": ~_above(PONS_BOTTOM) & _above(BOTTOM) & (np.abs(x) < 12),
    }
    return {name: part & room & front for name, part in parts.items()}


@lru_cache(maxsize=1)
def brainstem() -> dict[str, np.ndarray]:
    """The parts as they are in the healthy head, boolean: their room without what only touches the brainstem there (uncus,
    parahippocampal gyrus, cerebellum, pineal gland), which hangs on it by less than twice STALK_MM."""
    from scipy import ndimage

    head, parts = healthy_head(), brainstem_parts()
    room = np.logical_or.reduce(list(parts.values()))
    solid = (head.tissue["grey"] + head.tissue["white"] > 0.5) & room
    thick, _ = ndimage.label(ndimage.distance_transform_edt(solid) > STALK_MM)
    stem = thick == 1 + np.argmax(np.bincount(thick.ravel())[1:])
    own = ndimage.distance_transform_edt(~stem) <= STALK_MM + 2
    return {name: part & own for name, part in parts.items()}


def ventricles(head: Head) -> np.ndarray:
    """The lateral ventricles, boolean: fluid deep in the brain."""
    x, y, z = axes_mm()
    box = (np.abs(x) < 36) & (np.abs(x) > 2) & (y > -52) & (y < 36) & (z > 2) & (z < 30)
    return box & (head.tissue["csf"] > 0.6) & ((np.abs(x) < 24) | (y < -20)) & (np.abs(x) < 30)
