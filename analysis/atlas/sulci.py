"""The sulci around the motor cortex, traced on the template's T1: for `build.py` alone.

Each sulcus is a table of points in sagittal slices of the left side, read off the T1 by eye. Between the slices of the table the points are
interpolated; in every slice the line through them is then drawn into the dark valley by a path of least brightness. Points are
(y, z) in MNI mm, from the surface of the brain down to the floor. Medial of |x| 12 the lines go on around the paracentral lobule: along the
paracentral sulcus and the cingulate sulcus in front, along the marginal branch of the cingulate sulcus behind, to the place where the
continuation of the central sulcus meets the cingulate sulcus.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from analysis.atlas.maps import Maps

Line = tuple[tuple[float, float], ...]
Table = dict[int, Line]

CENTRAL: Table = {
    -1: ((-37, 78), (-37, 71), (-33, 60), (-30, 49)), -4: ((-37, 78), (-38, 72), (-33, 60), (-30, 49)),
    -7: ((-33, 79), (-38, 72), (-34, 60), (-31, 48)), -10: ((-31, 79), (-36, 68), (-34, 60), (-32, 49)),
    -12: ((-30, 79), (-34, 65)), -14: ((-29, 79), (-32, 64)), -18: ((-28, 78), (-30, 59)), -22: ((-27, 77), (-29, 55)),
    -26: ((-28, 73), (-27, 65), (-25, 52)), -30: ((-26, 74), (-27, 50)), -34: ((-27, 70), (-27, 56), (-27, 48)),
    -38: ((-25, 67), (-24, 53), (-18, 48), (-15, 46), (-17, 38)), -42: ((-22, 62), (-20, 54), (-15, 52), (-17, 41), (-9, 33)),
    -46: ((-15, 61), (-13, 52), (-16, 42), (-8, 29)), -50: ((-10, 57), (-12, 42), (-7, 33), (-5, 26)),
    -54: ((-9, 52), (-8, 42), (-5, 31), (-3, 23)), -58: ((-9, 47), (-6, 38), (-4, 30), (-3, 22)),
    -62: ((-4, 42), (-5, 34), (-3, 22)), -66: ((-3, 36), (-2, 22)),
}  # fmt: skip
PRECENTRAL: Table = {
    -1: ((-10, 75), (-9, 67), (-12, 60), (-16, 56), (-17, 50), (-23, 47), (-30, 49)),
    -4: ((-9, 76), (-9, 66), (-12, 60), (-16, 57), (-17, 49), (-23, 47), (-30, 49)),
    -7: ((-8, 76), (-9, 66), (-12, 60), (-16, 55), (-17, 49), (-23, 45), (-31, 48)),
    -10: ((-16, 78), (-17, 70), (-17, 60), (-16, 48), (-24, 44), (-32, 49)),
    -12: ((-17, 77), (-18, 66)), -14: ((-16, 77), (-17, 66)), -18: ((-15, 74), (-15, 61)), -22: ((-13, 72), (-13, 60)),
    -26: ((-9, 68), (-8, 50)), -30: ((-7, 68), (-7, 49)), -34: ((-6, 64), (-5, 46)), -38: ((-5, 64), (-4, 46)),
    -42: ((-3, 60), (-3, 46), (0, 38), (6, 30)), -46: ((1, 58), (4, 48), (3, 38), (7, 30), (6, 22)),
    -50: ((5, 52), (6, 42), (7, 34), (7, 20), (7, 8), (6, -2)), -54: ((6, 50), (9, 38), (9, 20), (9, 6), (8, -2)),
    -58: ((12, 40), (14, 28), (12, 14), (11, 4), (10, 0)), -62: ((13, 30), (13, 16), (12, 2)), -66: ((13, 24), (12, 6)),
}  # fmt: skip
POSTCENTRAL: Table = {
    -1: ((-46, 73), (-43, 62), (-39, 52), (-30, 49)), -4: ((-47, 74), (-45, 65), (-39, 52), (-30, 49)),
    -7: ((-47, 76), (-47, 66), (-40, 54), (-31, 48)), -10: ((-47, 77), (-47, 66), (-40, 55), (-32, 49)),
    -12: ((-45, 76), (-45, 60)), -14: ((-44, 77), (-44, 60)), -18: ((-38, 77), (-38, 62)), -22: ((-41, 76), (-40, 65), (-37, 57)),
    -26: ((-41, 72), (-40, 54)), -30: ((-40, 71), (-41, 57), (-37, 43)), -34: ((-43, 69), (-40, 55), (-34, 40)),
    -38: ((-41, 67), (-37, 52), (-33, 39)), -42: ((-42, 64), (-39, 52), (-33, 46), (-30, 40)), -46: ((-37, 63), (-35, 52), (-28, 42)),
    -50: ((-35, 59), (-33, 50), (-28, 41)), -54: ((-28, 56), (-22, 45), (-19, 35), (-13, 22), (-10, 9)),
    -58: ((-24, 54), (-22, 42), (-17, 28), (-11, 17), (-9, 7)), -62: ((-20, 48), (-17, 38), (-14, 26), (-9, 14), (-8, 7)),
    -66: ((-19, 42), (-14, 26), (-8, 10)),
}  # fmt: skip
# from the lower end of the central sulcus on to the lateral fissure
SUBCENTRAL: Table = {
    -46: ((-5, 28), (-3, 26)), -50: ((-2, 12), (-1, 3)), -54: ((0, 9), (1, 2)), -58: ((1, 6), (2, 1)), -62: ((2, 5), (3, 1)),
    -66: ((3, 4), (4, 2)),
}  # fmt: skip
ALL_X = range(-68, 0)
POINTS = 24
REACH_MM = 4.0  # how far the valley may lie from the line through the points
STRAY_COST = 0.02  # per square millimetre from that line; chosen on the template by looking
DARK_T1, BRIGHT_T1 = 0.3, 0.85
ABOVE_MM = 6.0


def evenly(line: Line, count: int = POINTS) -> np.ndarray:
    """A line as points at equal distances: (count, 2)."""
    points = np.array(line, float)
    along = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
    wanted = np.linspace(0.0, along[-1], count)
    return np.stack([np.interp(wanted, along, points[:, i]) for i in (0, 1)], axis=1)


def line_at(table: Table, x: float) -> np.ndarray:
    """The line of a sulcus in the sagittal slice at x, between those of the table: (POINTS, 2)."""
    keys = sorted(table)
    lines = np.stack([evenly(table[key]) for key in keys])
    return np.stack([[np.interp(x, keys, lines[:, i, j]) for j in (0, 1)] for i in range(POINTS)])


def valley(maps: Maps, x: int, line: np.ndarray) -> np.ndarray:
    """The dark path beside a line in the sagittal slice at x, from above the brain to the end of the line: (n, 2), mm."""
    from skimage.graph import route_through_array

    up = line[0] - line[3]
    line = np.concatenate([[line[0] + ABOVE_MM * up / np.linalg.norm(up)], line])
    low = np.floor(line.min(0)).astype(int) - 8
    high = np.ceil(line.max(0)).astype(int) + 9
    (_, y0, z0), (_, y1, z1) = maps.index(x, *low), maps.index(x, *high)
    slice_t1 = ndimage.gaussian_filter(maps.t1[maps.index(x, 0, 0)[0]], 0.5)[y0 : y1 + 1, z0 : z1 + 1]
    cost = 0.02 + np.clip((slice_t1 - DARK_T1) / (BRIGHT_T1 - DARK_T1), 0.0, None) ** 2
    stray = distance_mm(line, low, cost.shape)
    cost += STRAY_COST * stray**2 * (stray > 1.0) + 5.0 * (stray > REACH_MM)
    path, _ = route_through_array(cost, np.rint(line[0] - low).astype(int), np.rint(line[-1] - low).astype(int), geometric=True)
    return ndimage.gaussian_filter1d(np.array(path, float), 1.0, axis=0, mode="nearest") + low


def distance_mm(line: np.ndarray, corner: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """The distance of every pixel of a slice from a line, mm."""
    dense = evenly(tuple(map(tuple, line)), 200) - corner
    pixels = np.moveaxis(np.indices(shape).astype(float), 0, -1)
    return np.sqrt(((pixels[:, :, None] - dense) ** 2).sum(-1)).min(-1)


def walls(maps: Maps, table: Table) -> dict[int, np.ndarray]:
    """The valley of a sulcus in every sagittal slice of the left side, by x."""
    return {x: valley(maps, x, line_at(table, x)) for x in ALL_X}


def with_lower_end(walls_by_x: dict[int, np.ndarray]) -> dict[int, np.ndarray]:
    """The central sulcus with its continuation to the lateral fissure, where it has one."""
    first = max(SUBCENTRAL)
    return {x: np.concatenate([wall, lower_end(x)]) if x <= first else wall for x, wall in walls_by_x.items()}


def lower_end(x: int) -> np.ndarray:
    """The continuation of the central sulcus in the sagittal slice at x: (2, 2)."""
    keys = sorted(SUBCENTRAL)
    return np.array([[np.interp(x, keys, [SUBCENTRAL[key][point][i] for key in keys]) for i in (0, 1)] for point in (0, 1)])
