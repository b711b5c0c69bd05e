"""The phantom's white-matter fibres: diffusion tensors on the template, independent of the atlas that the markers use.

Corticospinal tract: a tube around a centreline through published MNI positions (JHU tract and capsule centroids, a trace of the Catani
atlas, peaks of diffusion studies in ALS), fibres along its tangent. Corpus callosum: fibres that run left to
right through its midsagittal outline and rise and fan out to the sides. Elsewhere the fibres follow the shortest way through
white matter from the medulla into each gyrus; three bundles run front to back, and the ventral pons has fibres that cross.
FA and MD are plausible adult values, not a norm. Tensors are (xx, yy, zz, xy, xz, yz) in 10⁻³ mm²/s, template axes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analysis.phantom_head import ORIGIN_MM, SHAPE, Head, axes_mm

# z: |x|, y, tube radius, FA
CST_LINE = np.array([
    (-72.0, 3.0, -43.0, 2.5, 0.50),
    (-50.0, 3.5, -33.0, 3.0, 0.50),
    (-44.0, 4.5, -29.0, 3.5, 0.52),
    (-36.5, 6.5, -25.0, 4.5, 0.55),
    (-30.2, 7.0, -23.3, 5.0, 0.57),
    (-20.0, 10.0, -19.5, 5.0, 0.64),
    (-10.9, 14.2, -16.0, 5.5, 0.68),
    (-4.0, 17.5, -14.0, 5.0, 0.68),
    (5.6, 21.3, -12.3, 5.0, 0.68),
    (10.3, 23.0, -12.0, 5.0, 0.66),
    (20.0, 25.5, -15.5, 6.0, 0.60),
    (28.0, 25.5, -19.0, 6.5, 0.57),
    (36.0, 24.5, -21.0, 7.0, 0.54),
    (44.0, 22.5, -22.5, 8.0, 0.52),
    (52.0, 21.0, -24.0, 9.0, 0.50),
    (60.0, 22.0, -24.0, 9.0, 0.48),
    (68.0, 23.0, -24.0, 9.0, 0.46),
])  # fmt: skip
LEVELS_Z_MM = {"pons": (-38, -21), "peduncle": (-21, -5), "plic": (-4, 18), "corona_radiata": (19, 40), "subcortical": (40, 60)}
CST_MD, CALLOSUM_MD, WHITE_MD, GREY_MD, FLUID_MD, SOFT_MD, LESION_MD = 0.72, 0.75, 0.76, 0.85, 3.0, 1.4, 1.1
CALLOSUM_FA, WHITE_FA = 0.66, 0.48
FAN_SHARE, BUNDLE_SHARE = 0.72, 1.2  # of the anisotropy of WHITE_FA: the fan has crossing fibres, bundles have few
CALLOSUM_REACH_MM = 24
# bundles that run front to back: |x| and z of the middle, radii along x and z, from y to y
BUNDLES = {"superior": (36, 24, 6, 8, -50, 30), "inferior": (38, -6, 7, 8, -80, 30), "cingulum": (9, 35, 4, 5, -45, 30)}
MOTOR_SEGMENT_Y_MM, SPLENIUM_Y_MM = (-17, -4), (-42, -27)


@dataclass(frozen=True, eq=False)
class Fibres:
    """`tensor` (6, x, y, z) float32: of the white matter alone, 0 far from any. `cst` and `callosum`: boolean."""

    tensor: np.ndarray
    cst: np.ndarray
    callosum: np.ndarray


def eigenvalues(fa: np.ndarray, md: float) -> tuple[np.ndarray, np.ndarray]:
    """Axial and radial diffusivity of a tensor with one axis of symmetry."""
    difference = fa * md * np.sqrt(3) / np.sqrt(1 - 2 * fa**2 / 3)
    return md + 2 * difference / 3, md - difference / 3


def radial_for(fa: np.ndarray, axial: np.ndarray) -> np.ndarray:
    """The radial diffusivity at which an axial one gives that FA."""
    square = fa**2
    return axial * (1 - square) / (1 + np.sqrt(1 - (1 - 2 * square) * (1 - square)))


def _dyad(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Outer products of unit vectors along (x, y, z), shape (6, ...)."""
    length = np.sqrt(x**2 + y**2 + z**2)
    x, y, z = x / length, y / length, z / length
    return np.stack([x * x, y * y, z * z, x * y, x * z, y * z]).astype(np.float32)


def cst_frame(z_mm: np.ndarray) -> dict[str, np.ndarray]:
    """Position, slope, radius and FA of the right tract at heights z."""
    from scipy.interpolate import PchipInterpolator

    line = PchipInterpolator(CST_LINE[:, 0], CST_LINE[:, 1:], extrapolate=True)
    within = np.clip(z_mm, CST_LINE[0, 0], CST_LINE[-1, 0])
    value, slope = line(within), line.derivative()(within)
    return {"x": value[:, 0], "y": value[:, 1], "radius": value[:, 2], "fa": value[:, 3], "dx": slope[:, 0], "dy": slope[:, 1]}


def cst_region(head: Head) -> np.ndarray:
    """The tract's white matter, both sides; boolean."""
    x, y, z = axes_mm()
    frame = cst_frame(z.ravel())
    distance = np.hypot(np.abs(x) - frame["x"], y - frame["y"])
    inside = (distance < frame["radius"]) & (np.abs(x) > 1) & (z >= -60) & (z <= CST_LINE[-1, 0])
    return inside & (head.tissue["white"] > 0.35)


def callosum_region(head: Head) -> np.ndarray:
    """White matter whose fibre, followed back to the midline, passes the callosum's midsagittal outline; boolean."""
    from scipy import ndimage

    white = head.tissue["white"]
    middle = ndimage.binary_opening(white[98] > 0.5)
    names, count = ndimage.label(middle)
    at = np.round(np.array([0, 26]) - ORIGIN_MM[1:]).astype(int)
    outline = names == names[tuple(at)] if names[tuple(at)] else names == 1 + np.argmax(ndimage.sum(middle, names, range(1, count + 1)))
    x, y, z = axes_mm()
    middle_part = np.flatnonzero(np.abs(x.ravel()) < CALLOSUM_REACH_MM)
    inner = slice(middle_part[0], middle_part[-1] + 1)
    x, y, z = np.broadcast_arrays(x[inner], y, z)
    bend_y, bend_z = _callosum_bend(y)
    index = np.stack([y - bend_y * x**2 - ORIGIN_MM[1], z - bend_z * x**2 - ORIGIN_MM[2]])
    region = np.zeros(SHAPE, bool)
    region[inner] = (ndimage.map_coordinates(outline.astype(np.float32), index, order=1) > 0.5) & (white[inner] > 0.5)
    return region


def _callosum_bend(y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Curvature of callosal fibres towards the front and upwards, per mm; by position front to back."""
    return np.interp(y, [-45, -25, 15, 35], [-0.02, 0, 0, 0.02]), np.interp(y, [-45, -25, 15, 35], [0.002, 0.010, 0.010, 0.002])


def _way_from_stem(white: np.ndarray, start: tuple[int, int, int]) -> np.ndarray:
    """Distance from the medulla through white matter, mm at 1 mm; beyond it as at the nearest white matter. Computed at 2 mm."""
    from scipy import ndimage
    from skimage.graph import MCP_Geometric

    coarse = ndimage.gaussian_filter(white, 0.7)[::2, ::2, ::2]
    cost = np.where(coarse > 0.35, 1.0, 12.0)
    way, _ = MCP_Geometric(cost).find_costs([tuple(k // 2 for k in start)])
    nearest = ndimage.distance_transform_edt(coarse <= 0.35, return_distances=False, return_indices=True)
    smooth = ndimage.gaussian_filter(way[tuple(nearest)], 1.2)
    factors = [n / m for n, m in zip(white.shape, smooth.shape, strict=True)]
    return 2 * ndimage.zoom(smooth, factors, order=1, grid_mode=True, mode="nearest")


def _other_fibres(white: np.ndarray, place: tuple[np.ndarray, np.ndarray, np.ndarray]) -> np.ndarray:
    """Dyads of the remaining white matter, smoothed so that neighbours agree; their mean length below 1 is crossing."""
    from scipy import ndimage

    x, y, z = place
    at = [int(np.argmin(np.abs(c.ravel() - v))) for c, v in zip(place, (0, -40, -58), strict=True)]
    way = ndimage.gaussian_filter(_way_from_stem(white, tuple(at)).astype(np.float32), 1.0)
    slope = [np.gradient(way, axis=k) + np.float32(1e-6) for k in range(3)]
    dyad = FAN_SHARE * _dyad(*slope)
    crossing = (np.abs(x) < 16) & (z < -22) & (z > -46) & (y > -29)
    inside = [(np.hypot((np.abs(x) - b[0]) / b[2], (z - b[1]) / b[3]) < 1) & (y > b[4]) & (y < b[5]) for b in BUNDLES.values()]
    bundle = np.logical_or.reduce(inside)
    for where, axis in ((crossing, 0), (bundle, 1)):
        dyad[:, where] = 0
        dyad[axis] += BUNDLE_SHARE * where
    return np.stack([ndimage.gaussian_filter(d, 1.0) for d in dyad])


def fibres_of(head: Head, cst_fa_factor: dict[str, float]) -> Fibres:
    """The tensors of a head; the tract's FA is multiplied by the factor of its side ("left", "right"), its axial diffusivity kept."""
    white = head.tissue["white"]
    inner = _box(white > 0.02)
    cst, callosum = cst_region(head), callosum_region(head)
    callosum &= ~cst
    tensor = np.zeros((6, *SHAPE), np.float32)
    axial, radial = eigenvalues(np.float32(WHITE_FA / 0.9), WHITE_MD)
    place = tuple(np.take(c, np.arange(SHAPE[k])[inner[k]], axis=k) for k, c in enumerate(axes_mm()))
    field = tensor[(slice(None), *inner)]
    field += (axial - radial) * _other_fibres(white[inner], place)
    field[:3] += radial
    tensor[:, cst] = _cst_tensors(cst, cst_fa_factor)
    tensor[:, callosum] = _callosum_tensors(callosum)
    if "lesion" in head.spots:
        lesion = head.spots["lesion"][inner]
        field *= 1 - lesion
        field[:3] += np.float32(LESION_MD) * lesion
    return Fibres(tensor, cst, callosum)


def _box(mask: np.ndarray) -> tuple[slice, slice, slice]:
    """The smallest box that holds a mask."""
    edges = [np.flatnonzero(mask.any(axis=tuple(a for a in range(3) if a != k)))[[0, -1]] for k in range(3)]
    return tuple(slice(int(first), int(last) + 1) for first, last in edges)


def _tensors(dyad: np.ndarray, axial: np.ndarray, radial: np.ndarray) -> np.ndarray:
    isotropic = np.array([1, 1, 1, 0, 0, 0], np.float32)[:, None]
    return (radial * isotropic + (axial - radial) * dyad).astype(np.float32)


def _cst_tensors(cst: np.ndarray, fa_factor: dict[str, float]) -> np.ndarray:
    index = np.nonzero(cst)
    x = index[0] + ORIGIN_MM[0]
    frame = cst_frame(index[2] + ORIGIN_MM[2])
    axial, radial = eigenvalues(frame["fa"], CST_MD)
    factor = np.where(x < 0, fa_factor["left"], fa_factor["right"])
    radial = np.where(factor < 1, radial_for(frame["fa"] * factor, axial), radial)
    return _tensors(_dyad(np.sign(x) * frame["dx"], frame["dy"], np.ones_like(x)), axial, radial)


def _callosum_tensors(callosum: np.ndarray) -> np.ndarray:
    index = np.nonzero(callosum)
    x, y = index[0] + ORIGIN_MM[0], index[1] + ORIGIN_MM[1]
    bend_y, bend_z = _callosum_bend(y)
    axial, radial = eigenvalues(np.full(x.shape, CALLOSUM_FA), CALLOSUM_MD)
    return _tensors(_dyad(np.ones_like(x), 2 * bend_y * x, 2 * bend_z * x), axial, radial)
