"""The edge of the cord around a path: where the brightness is half-way between cord and fluid, on planes perpendicular to the cord.

A closed line is found first (dynamic programming over 72 directions, a weak prior of the size of a cord, a penalty on crossing the wall of
the canal), then moved to the half maximum, which has no bias of area; the share of the step between cord and fluid at which it lies is an
argument, since masks drawn by hand lie further in. Where a disc or a bone lies on the cord and no fluid is left, the edge is where the
brightness falls towards that wall. A point whose line does not hold still is not measured.

Constants: the size prior is half the mean diameters of Sherman 1990 (8.7 x 12.4 to 14 mm); the rest was found on computed ellipses.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from scipy.interpolate import UnivariateSpline

from analysis.volume import Volume

DIRECTIONS, RADIAL_MM, REACH_MM = 72, 0.2, 14.0
STEP_MM, FIRST_STEP_MM = 1.0, 3.0  # along the line; while it is being centred
HALF, DRAWN = 0.5, 0.22  # of the step from cord to fluid: the physical edge, and where masks drawn by hand lie (two sets of masks)
LEAST_MM, LEAST_DEEP_MM, MOST_MM = 2.0, 1.2, 10.5  # radii that a cord has: to the sides, to front and back
PRIOR_MM = (4.2, 6.3)
WALL_PENALTY = 0.8
# where the cord lies on a wall its edge is a fall: what it counts for beside a rise, how steep it must be (share of the usual), and how
# bright (share of the step to fluid) the way from the middle may have been: behind fluid a fall is the wall of the canal
TOUCH, STEEP, DRY = 1.2, 0.25, 0.45
WET = 0.2  # of the step: what is brighter outside the edge is fluid, what is as much darker is a wall
AT_WALL = 0.3  # of HALF: a film of fluid too thin to be seen shines as cord, so that half-way down lies 0.4 mm beyond a film of 0.15 mm
RISE_MM, FALL_MM = 1.5, 0.7  # sigma along the line for the two kinds of edge
SMOOTH_MM = {False: (1.2, 0.5), True: (2.0, 1.0)}  # for the closed line and for the radii; a T1 is rougher, and no dent is measured on it
RIM = 1.0  # how far a thin rim of fluid is raised to bright ones: 1.5 mm in voxels of 1.2 mm gave 7 % too little area with 0, 5 % with 1
RECENTRED = 2
HALF_TURN = DIRECTIONS // 2
ANGLES = 2.0 * np.pi * np.arange(DIRECTIONS) / DIRECTIONS
RADII_MM = np.arange(0.0, REACH_MM, RADIAL_MM)


@dataclass(frozen=True, eq=False)
class Line:
    """A curve from head to foot: points (n, 3) and unit vectors (n, 3), LPS; `axis` to the feet, `posterior` and `left` across."""

    lps: np.ndarray
    axis: np.ndarray
    posterior: np.ndarray
    left: np.ndarray


@dataclass(frozen=True, eq=False)
class Edge:
    """The edge along a line: `radius_mm` (n, 72) at the half maximum, `drawn_mm` the same where hand-drawn masks lie; `contrast` (n,): the
    step from cord to fluid as a share of its median, `noise` (n,) the noise of the cord as a share of the step."""

    line: Line
    radius_mm: np.ndarray
    drawn_mm: np.ndarray
    contrast: np.ndarray
    noise: np.ndarray


def line_through(lps: np.ndarray, spread_mm: float, step_mm: float = STEP_MM) -> Line:
    """A smooth curve through points (n, 3), evenly spaced along itself; `spread_mm`: how far the points may lie beside it."""
    lps = lps[np.argsort(-lps[:, 2])]
    lps = lps[np.r_[True, np.diff(lps[:, 2]) < -1e-3]]
    fall = -lps[:, 2]
    degree = min(3, len(lps) - 1)
    bend = [UnivariateSpline(fall, lps[:, axis], k=degree, s=len(lps) * spread_mm**2) for axis in (0, 1)]
    dense = np.linspace(fall[0], fall[-1], max(int(fall[-1] - fall[0]) * 20, 2))
    points = np.stack([bend[0](dense), bend[1](dense), -dense], axis=1)
    run = np.r_[0.0, np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))]
    at = np.interp(np.arange(0.0, run[-1], step_mm), run, dense)
    slope = np.stack([bend[0].derivative()(at), bend[1].derivative()(at), -np.ones(len(at))], axis=1)
    return _framed(np.stack([bend[0](at), bend[1](at), -at], axis=1), slope)


def _framed(lps: np.ndarray, slope: np.ndarray) -> Line:
    axis = slope / np.linalg.norm(slope, axis=1, keepdims=True)
    posterior = np.array([0.0, 1.0, 0.0]) - axis[:, 1:2] * axis
    posterior /= np.linalg.norm(posterior, axis=1, keepdims=True)
    return Line(lps, axis, posterior, np.cross(axis, posterior))


def edge_of(image: Volume, path_lps: np.ndarray, dark_fluid: bool) -> Edge:
    """The edge around a path (n, 3), LPS; the line is moved to the middle of what it encloses."""
    sign, (line_mm, edge_mm) = -1.0 if dark_fluid else 1.0, SMOOTH_MM[dark_fluid]
    part = _around(image, path_lps)
    coefficients = ndimage.spline_filter(np.asarray(part.array, np.float32), 3)
    lps = path_lps
    for turn in range(RECENTRED + 1):
        last = turn == RECENTRED
        line = line_through(lps, 1.0 if turn == 0 else 0.3, STEP_MM if last else FIRST_STEP_MM)
        polar = sign * polar_of(coefficients, part, line)
        radius = _median(_closed_line(_along(polar, line_mm if last else 1.0), may_touch=not dark_fluid), (5 if last else 3, 3))
        if not last:
            lps = line.lps + centroid(radius, line)
    fine, at_wall = _along(polar, RISE_MM), _along(polar, FALL_MM)
    dry = _dry(fine, radius) & (not dark_fluid)
    half, drawn = (
        _smooth(np.where(dry, _moved_to_wall(at_wall, radius, AT_WALL * share), _moved_to(fine, radius, share)), edge_mm)
        for share in (HALF, DRAWN)
    )
    inside, fluid = _levels(fine, radius)
    step = np.median(fluid - inside, axis=1)
    rough = np.abs(np.diff(polar[:, :, 2:9], axis=1)).mean(axis=(1, 2)) * 0.886 / np.sqrt(2.0)
    return Edge(line, half, drawn, step / max(float(np.median(step)), 1e-9), rough / np.maximum(step, 1e-9))


def polar_of(coefficients: np.ndarray, part: Volume, line: Line) -> np.ndarray:
    """The image on planes across the line: (n, direction, radius); the first direction is posterior, turning to the left."""
    across = np.cos(ANGLES)[None, :, None] * line.posterior[:, None] + np.sin(ANGLES)[None, :, None] * line.left[:, None]
    lps = line.lps[:, None, None] + RADII_MM[None, None, :, None] * across[:, :, None]
    index_from_lps = np.linalg.inv(part.lps_from_index)
    index = np.moveaxis(lps @ index_from_lps[:3, :3].T + index_from_lps[:3, 3], -1, 0)
    return ndimage.map_coordinates(coefficients, index, order=3, mode="nearest", prefilter=False).astype(np.float32)


def _around(image: Volume, lps: np.ndarray, margin_mm: float = REACH_MM + 6.0) -> Volume:
    """The part of the image that the planes can reach."""
    index = np.linalg.inv(image.lps_from_index)
    at = lps @ index[:3, :3].T + index[:3, 3]
    margin = margin_mm / image.spacing_mm
    low = np.clip(np.floor(at.min(0) - margin).astype(int), 0, np.array(image.array.shape) - 1)
    high = np.clip(np.ceil(at.max(0) + margin).astype(int) + 1, low + 1, image.array.shape)
    return image.part(tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True)))


def _along(polar: np.ndarray, sigma: float) -> np.ndarray:
    """Smoothed along the line; `sigma` in points."""
    return ndimage.gaussian_filter1d(polar, sigma, axis=0, mode="nearest")


def _closed_line(polar: np.ndarray, may_touch: bool) -> np.ndarray:
    """The best closed line of radii (n, direction), mm; fluid is the brighter. `may_touch`: a wall that is darker than the cord can be its
    edge where no fluid lies between."""
    rise = ndimage.gaussian_filter1d(polar, 0.4 / RADIAL_MM, axis=2, order=1)
    usual = np.percentile(np.abs(rise[..., int(2 / RADIAL_MM) : int(9 / RADIAL_MM)]), 95, axis=(1, 2), keepdims=True)
    rise = rise / (usual + 1e-6)
    fall = np.clip(-rise - 0.15, 0, 1)
    fall[..., : int((LEAST_DEEP_MM + 0.5) / RADIAL_MM)] = 0
    prior = 1.0 / np.hypot(np.cos(ANGLES) / PRIOR_MM[0], np.sin(ANGLES) / PRIOR_MM[1])
    edge = np.clip(rise, 0, 1.2)
    if may_touch:
        edge = np.maximum(edge, TOUCH * np.clip(-rise - STEEP, 0, 1.2) * np.clip((DRY - _wet(polar)) / 0.2, 0, 1))
    cost = -edge + WALL_PENALTY * np.cumsum(fall, 2) * RADIAL_MM
    cost = cost + 0.03 * ((RADII_MM[None, :] - prior[:, None]) / 1.5)[None] ** 2
    least = np.hypot(LEAST_DEEP_MM * np.cos(ANGLES), LEAST_MM * np.sin(ANGLES))
    cost = np.where(RADII_MM[None, None] < least[None, :, None] - RADIAL_MM / 2, 3, cost)
    return _cheapest_loop(cost[..., : int(MOST_MM / RADIAL_MM) + 1].astype(np.float32)) * RADIAL_MM


def _wet(polar: np.ndarray) -> np.ndarray:
    """The brightest on the way from the middle, as a share of the step from the middle of the cord to fluid; like polar."""
    core = np.median(polar[..., : int(LEAST_DEEP_MM / RADIAL_MM)], axis=(1, 2))
    fluid = np.percentile(polar[..., int(LEAST_MM / RADIAL_MM) : int(9 / RADIAL_MM)], 90, axis=(1, 2))
    step = ndimage.median_filter(fluid - core, 31, mode="nearest")
    return np.maximum.accumulate((polar - core[:, None, None]) / np.maximum(step, 1e-6)[:, None, None], axis=2)


def _dry(polar: np.ndarray, radius: np.ndarray) -> np.ndarray:
    """Where (n, direction) no fluid lies outside the line, but something darker than the cord."""
    place, at = np.arange(polar.shape[2])[None, None], (radius / RADIAL_MM)[..., None]
    cord, fluid = _levels(polar, radius)
    usual = ndimage.median_filter(np.percentile(fluid, 85, axis=1), 31, mode="nearest")[:, None]
    step = np.maximum(usual - cord, 1e-6)
    most = np.where((place >= at - 0.6 / RADIAL_MM) & (place <= at + 1.2 / RADIAL_MM), polar, -1e9).max(2)
    least = np.where((place >= at) & (place <= at + 1.6 / RADIAL_MM), polar, 1e9).min(2)
    dry = ((most - cord) / step < WET) & ((cord - least) / step > WET)
    return _median(dry.astype(np.int8), (3, 5)).astype(bool)


def _moved_to_wall(polar: np.ndarray, radius: np.ndarray, share: float) -> np.ndarray:
    """The radii where the brightness has fallen by `share` of the step from the brightest before a wall to the darkest of it; the line
    where it does not fall."""
    place, at = np.arange(polar.shape[2])[None, None], radius[..., None] / RADIAL_MM
    before_wall = np.where((place >= at - 1.4 / RADIAL_MM) & (place <= at + 0.4 / RADIAL_MM), polar, -1e9)
    peak, top = before_wall.max(2), before_wall.argmax(2)[..., None]
    wall = np.where((place >= top) & (place <= at + 1.6 / RADIAL_MM), polar, 1e9).min(2)
    below = (polar <= (peak + share * (wall - peak))[..., None]) & (place > top)
    first = np.maximum(below.argmax(2)[..., None], 1)
    high, low = np.take_along_axis(polar, first - 1, 2), np.take_along_axis(polar, first, 2)
    level = (peak + share * (wall - peak))[..., None]
    found = ((first - 1 + (high - level) / np.where(high > low, high - low, 1.0)) * RADIAL_MM)[..., 0]
    return np.where(below.any(2) & (np.abs(found - radius) < 1.6), found, radius)


def _cheapest_loop(cost: np.ndarray, most_jump: int = 2, jump_cost: float = 0.02) -> np.ndarray:
    """Indices of the radius (n, direction) with the least sum of costs; two turns, of which the middle one is closed."""
    turns = np.concatenate([cost[:, -HALF_TURN:], cost, cost[:, :HALF_TURN]], axis=1)
    count, length, radii = turns.shape
    total, came = turns[:, 0].copy(), np.zeros((count, length, radii), np.int8)
    for place in range(1, length):
        best = np.full_like(total, 1e9)
        for jump in range(-most_jump, most_jump + 1):
            value = np.full_like(total, 1e9)
            source = slice(max(jump, 0), radii + min(jump, 0))
            target = slice(max(-jump, 0), radii + min(-jump, 0))
            value[:, target] = total[:, source] + jump_cost * jump**2
            better = value < best
            best[better] = value[better]
            came[:, place][better] = jump
        total = best + turns[:, place]
    index, found, each = total.argmin(1), np.zeros((count, length), int), np.arange(count)
    for place in range(length - 1, -1, -1):
        found[:, place] = index
        index = np.clip(index + came[each, place, index], 0, radii - 1)
    return found[:, HALF_TURN : HALF_TURN + DIRECTIONS]


def _levels(polar: np.ndarray, radius: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The brightness of the cord inside the line, and of the fluid outside it, (n, direction). A thin rim of fluid, dimmed by its
    neighbours, counts as the brighter rims of its plane do."""
    place, at = np.arange(polar.shape[2])[None, None], (radius / RADIAL_MM)[..., None]
    inner = (place >= at - 2.6 / RADIAL_MM) & (place <= at - 1.2 / RADIAL_MM)
    with np.errstate(all="ignore"):
        cord = np.nanmedian(np.where(inner, polar, np.nan), axis=2)
    cord = np.where(np.isfinite(cord), cord, np.nanmedian(cord))
    cord = ndimage.uniform_filter1d(cord, 9, axis=1, mode="wrap")
    outer = (place >= at) & (place <= at + 3.0 / RADIAL_MM)
    fluid = _median(np.where(outer, polar, -1e9).max(2), (1, 5))
    usual = np.percentile(fluid, 85, axis=1)[:, None]
    return cord, fluid + np.minimum(RIM * np.clip(usual - fluid, 0, None), 0.6 * np.clip(fluid - cord, 0, None))


def _moved_to(polar: np.ndarray, radius: np.ndarray, share: float) -> np.ndarray:
    """The radii where the brightness crosses `share` of the step from cord to fluid, nearest to the line; the line where it does not."""
    cord, fluid = _levels(polar, radius)
    level = (cord + share * (fluid - cord))[..., None]
    before, after = polar[..., :-1], polar[..., 1:]
    place, at = np.arange(polar.shape[2] - 1)[None, None], radius[..., None] / RADIAL_MM
    crosses = (before < level) & (after >= level) & (place >= np.clip(at - 1.6 / RADIAL_MM, 1, None))
    far = np.where(crosses, np.abs(place - at), 1e9)
    first = far.argmin(2)[..., None]
    low, high = np.take_along_axis(before, first, 2), np.take_along_axis(after, first, 2)
    found = ((first + (level - low) / np.where(high > low, high - low, 1.0)) * RADIAL_MM)[..., 0]
    good = (far.min(2) < 1e8) & (np.abs(found - radius) < 1.6)
    return np.where(good, found, radius)


def _median(radius: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    padded = np.pad(radius, ((0, 0), (4, 4)), mode="wrap")
    return ndimage.median_filter(padded, size, mode="nearest")[:, 4:-4]


def _smooth(radius: np.ndarray, along_mm: float) -> np.ndarray:
    smooth = ndimage.gaussian_filter1d(_median(radius, (1, 5)), 0.7, axis=1, mode="wrap")
    return ndimage.gaussian_filter1d(smooth, along_mm / STEP_MM, axis=0, mode="nearest")


def centroid(radius_mm: np.ndarray, line: Line) -> np.ndarray:
    """From the line to the middle of what it encloses, (n, 3) mm."""
    area = 0.5 * (radius_mm**2).sum(1)
    posterior = (radius_mm**3 * np.cos(ANGLES)).sum(1) / 3.0 / area
    left = (radius_mm**3 * np.sin(ANGLES)).sum(1) / 3.0 / area
    return posterior[:, None] * line.posterior + left[:, None] * line.left


def area_of(radius_mm: np.ndarray) -> np.ndarray:
    """The area inside radii (n, direction), mm2."""
    return 0.5 * (radius_mm * np.roll(radius_mm, -1, axis=1)).sum(1) * np.sin(2.0 * np.pi / DIRECTIONS)


def diameters_of(radius_mm: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The widths from front to back and from right to left, mm."""
    back, left = radius_mm * np.cos(ANGLES), radius_mm * np.sin(ANGLES)
    return back.max(1) - back.min(1), left.max(1) - left.min(1)


def mask_of(image: Volume, line: Line, radius_mm: np.ndarray, measured: np.ndarray) -> np.ndarray:
    """The voxels of the image whose centre lies inside the line, boolean: on the plane of the nearest measured point."""
    mask = np.zeros(image.array.shape, bool)
    if not measured.any():
        return mask
    part = _around(image, line.lps[measured])
    index = np.linalg.inv(image.lps_from_index) @ part.lps_from_index
    start = np.round(index[:3, 3]).astype(int)
    grid = np.indices(part.array.shape).reshape(3, -1)
    lps = (part.lps_from_index[:3, :3] @ grid + part.lps_from_index[:3, 3:]).T
    box = tuple(slice(a, a + size) for a, size in zip(start, part.array.shape, strict=True))
    mask[box] = _inside(lps, line, radius_mm, measured).reshape(part.array.shape)
    return mask


def _inside(lps: np.ndarray, line: Line, radius_mm: np.ndarray, measured: np.ndarray) -> np.ndarray:
    from scipy.spatial import cKDTree

    away_mm, nearest = cKDTree(line.lps).query(lps, distance_upper_bound=REACH_MM)
    inside, near = np.zeros(len(lps), bool), np.flatnonzero(np.isfinite(away_mm))
    index = nearest[near]
    from_line = lps[near] - line.lps[index]
    back, left = (from_line * line.posterior[index]).sum(1), (from_line * line.left[index]).sum(1)
    turn = np.arctan2(left, back) % (2.0 * np.pi) / (2.0 * np.pi) * DIRECTIONS
    first = np.floor(turn).astype(int) % DIRECTIONS
    part = turn - np.floor(turn)
    edge = radius_mm[index, first] * (1 - part) + radius_mm[index, (first + 1) % DIRECTIONS] * part
    along = np.abs((from_line * line.axis[index]).sum(1))
    inside[near] = (np.hypot(back, left) <= edge) & (along <= STEP_MM) & measured[index]
    return inside
