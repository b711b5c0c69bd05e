"""Pictures for the pages: slices of the patient's own images, as radiologists look at them.

A picture is a plane of the patient's body (axial, coronal, sagittal), resampled to square pixels, whatever grid the image has. The
patient's left is on the right of axial and coronal pictures, the front on the left of sagittal ones. Outlines and lines are kept apart from
the pixels, in millimetres from the upper left corner of the picture, so that they stay sharp on paper.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from analysis.volume import Volume

PIXEL_MM = 0.5
MOST_PIXELS = 600  # along either axis of a picture
DARKEST, BRIGHTEST = 1.0, 99.5  # percentiles of what is not air
AIR = 0.08  # of the bright end: what is darker is air
AROUND_MM, LEAST_MM, NARROWEST = 18.0, 90.0, 0.75
HEAD_MARGIN_MM = 4.0
MOST_SAMPLES = 80  # along an axis of a mask


@dataclass(frozen=True)
class Plane:
    """A plane of the body: unit vectors (LPS) across the picture from left to right, down it, and towards the reader's `normal`; `letters`
    at its left, right, upper and lower edge; `ends`: the letters of the negative and positive direction of the normal."""

    name: str
    across: tuple[int, int, int]
    down: tuple[int, int, int]
    normal: tuple[int, int, int]
    letters: tuple[str, str, str, str]
    ends: tuple[str, str]

    @property
    def axes(self) -> np.ndarray:
        """The three vectors as rows."""
        return np.array([self.across, self.down, self.normal], float)


AXIAL = Plane("axial", (1, 0, 0), (0, 1, 0), (0, 0, 1), ("R", "L", "A", "P"), ("F", "H"))
CORONAL = Plane("coronal", (1, 0, 0), (0, 0, -1), (0, 1, 0), ("R", "L", "H", "F"), ("A", "P"))
SAGITTAL = Plane("sagittal", (0, 1, 0), (0, 0, -1), (1, 0, 0), ("A", "P", "H", "F"), ("R", "L"))


@dataclass(frozen=True, eq=False)
class Line:
    """A line on a picture: points (n, 2) across and down, mm from the upper left corner; `halo`: with a dark edge, on colours."""

    points: np.ndarray
    color: str
    width: float = 1.0
    halo: bool = False


@dataclass(frozen=True, eq=False)
class Picture:
    """`pixels` uint8, (row, column) grey or (row, column, 3) colour, of `pixel_mm`; `at_mm`: where along the normal it lies (LPS)."""

    pixels: np.ndarray
    pixel_mm: float
    plane: Plane
    at_mm: float
    lines: tuple[Line, ...] = ()

    @property
    def size_mm(self) -> tuple[float, float]:
        """Width and height."""
        return self.pixels.shape[1] * self.pixel_mm, self.pixels.shape[0] * self.pixel_mm

    @property
    def place(self) -> str:
        """Where it lies, as viewers write it: `H 43 mm`."""
        return f"{self.plane.ends[self.at_mm >= 0]} {abs(self.at_mm):.0f} mm"


@dataclass(frozen=True)
class Box:
    """What a picture shows: the first and last mm along the plane's across and down vectors."""

    across: tuple[float, float]
    down: tuple[float, float]


def cropped(mask: np.ndarray, lps_from_index: np.ndarray) -> Volume | None:
    """The box of a mask, with an empty voxel around it; None where it is empty."""
    along = mask.any(axis=(1, 2)), mask.any(axis=(0, 2)), mask.any(axis=(0, 1))
    if not along[0].any():
        return None
    ends = [(int(found.argmax()), len(found) - int(found[::-1].argmax())) for found in along]
    part = np.pad(mask[tuple(slice(*pair) for pair in ends)], 1)
    index_from_index = np.eye(4)
    index_from_index[:3, 3] = [first - 1 for first, _ in ends]
    return Volume(part, lps_from_index @ index_from_index)


def voxels_lps(mask: Volume) -> np.ndarray:
    """Centres of voxels of a mask, LPS mm: (n, 3). Of a large mask every second or third along each axis: enough to find its place."""
    step = np.maximum(np.array(mask.array.shape) // MOST_SAMPLES, 1)
    index = np.argwhere(mask.array[tuple(slice(int(each) // 2, None, int(each)) for each in step)]) * step + step // 2
    return index @ mask.lps_from_index[:3, :3].T + mask.lps_from_index[:3, 3]


def largest_section_mm(points_lps: np.ndarray, plane: Plane) -> float:
    """Where along the normal most of the points lie: the middle of the fullest 3 mm. The points must not be none."""
    along = points_lps @ plane.axes[2]
    bins = np.floor(along - along.min()).astype(int)
    full = ndimage.uniform_filter1d(np.bincount(bins).astype(float), 3, mode="constant")
    best = np.flatnonzero(full >= full.max() - 1e-9)
    return float(along.min() + best[len(best) // 2] + 0.5)


def box_around(points_lps: np.ndarray, plane: Plane, margin_mm: float = AROUND_MM, least_mm: float = LEAST_MM) -> Box:
    """The box around points (n, 3), with a margin; at least `least_mm` along either axis, and no strip: three to four or squarer."""
    along = points_lps @ plane.axes[:2].T
    middle = (along.min(axis=0) + along.max(axis=0)) / 2
    half = np.maximum(np.ptp(along, axis=0) / 2 + margin_mm, least_mm / 2)
    half = np.maximum(half, NARROWEST * half.max())
    across, down = ((float(mid - reach), float(mid + reach)) for mid, reach in zip(middle, half, strict=True))
    return Box(across, down)


def points_of_head(image: Volume) -> np.ndarray:
    """Points (n, 3) LPS mm of what is not air; of all of the image where there is no air around it."""
    step = np.maximum(np.array(image.array.shape) // 64, 1)
    coarse = np.asarray(image.array[:: step[0], :: step[1], :: step[2]], np.float32)
    bright = np.percentile(coarse, BRIGHTEST)
    solid = ndimage.binary_opening(coarse > AIR * bright) if min(coarse.shape) > 4 else coarse > AIR * bright
    index_from_coarse = np.diag([*step.astype(float), 1.0])
    return voxels_lps(Volume(solid if solid.any() else np.ones(coarse.shape, bool), image.lps_from_index @ index_from_coarse))


def box_of_head(points_lps: np.ndarray, plane: Plane) -> Box:
    """The box of `points_of_head`."""
    return box_around(points_lps, plane, HEAD_MARGIN_MM, 20.0)


def _grid(box: Box) -> tuple[float, int, int]:
    """Pixel size, rows and columns of a picture of that box."""
    width, height = box.across[1] - box.across[0], box.down[1] - box.down[0]
    pixel_mm = max(PIXEL_MM, width / MOST_PIXELS, height / MOST_PIXELS)
    return pixel_mm, max(round(height / pixel_mm), 1), max(round(width / pixel_mm), 1)


def section(image: Volume, plane: Plane, at_mm: float, box: Box, order: int = 1) -> np.ndarray:
    """The image on the plane, float32 (row, column), 0 outside of its field. `order`: 0 nearest voxel, 1 linear."""
    pixel_mm, rows, columns = _grid(box)
    across = box.across[0] + (np.arange(columns) + 0.5) * pixel_mm
    down = box.down[0] + (np.arange(rows) + 0.5) * pixel_mm
    index_from_lps = np.linalg.inv(image.lps_from_index)
    turn = index_from_lps[:3, :3] @ plane.axes.T
    start = turn[:, 2] * at_mm + index_from_lps[:3, 3]
    index = start[:, None, None] + turn[:, 0, None, None] * across[None, None] + turn[:, 1, None, None] * down[None, :, None]
    low = np.maximum(np.floor(index.min(axis=(1, 2))).astype(int) - 1, 0)
    high = np.minimum(np.ceil(index.max(axis=(1, 2))).astype(int) + 2, image.array.shape)
    if (low >= high).any():
        return np.zeros((rows, columns), np.float32)
    part = np.asarray(image.array[tuple(slice(*ends) for ends in zip(low, high, strict=True))], np.float32)
    # to the outer edge of the last voxels: a slice that is one voxel thick is seen from its face as well
    inside = np.all([(one >= -0.5) & (one <= size - 0.5) for one, size in zip(index, image.array.shape, strict=True)], axis=0)
    found = ndimage.map_coordinates(part, index - low[:, None, None], order=order, mode="nearest", output=np.float32)
    return np.where(inside & np.isfinite(found), found, 0.0)


def window_of(image: Volume, inside: np.ndarray | None = None) -> tuple[float, float]:
    """What is shown black and white: by percentiles inside a mask (boolean), else of what is not air in the middle of the image: fat and
    vessels at its edge would darken the brain."""
    step = [max(size // 64, 1) for size in image.array.shape]
    every = tuple(slice(None, None, each) for each in step)
    coarse = np.asarray(image.array[every], np.float32)
    chosen = _middle(coarse.shape) if inside is None else inside[every]
    values = coarse[chosen & np.isfinite(coarse)]
    bright = float(np.percentile(values, BRIGHTEST)) if values.size else 0.0
    tissue = values[values > AIR * bright]
    if not tissue.size:
        return 0.0, 1.0
    dark, white = np.percentile(tissue, [DARKEST, BRIGHTEST])
    return min(0.6 * float(dark), 0.3 * float(white)), 1.15 * float(white)


def _middle(shape: tuple[int, ...]) -> np.ndarray:
    """The ellipsoid of half the edges, boolean; all where an axis is short."""
    away = sum(((index - (size - 1) / 2) / (0.25 * size)) ** 2 for index, size in zip(np.indices(shape), shape, strict=True) if size > 4)
    return np.broadcast_to(np.asarray(away) <= 1.0, shape)


def grey(values: np.ndarray, window: tuple[float, float]) -> np.ndarray:
    """Values as grey, uint8."""
    black, white = window
    return np.round(255 * np.clip((values - black) / (white - black), 0, 1)).astype(np.uint8)


def colored(values: np.ndarray, window: tuple[float, float], name: str) -> np.ndarray:
    """Values in a colour map, uint8 (row, column, 3); black where there is none (0)."""
    from matplotlib import colormaps

    table = (np.array(colormaps[name](np.arange(256)))[:, :3] * 255).round().astype(np.uint8)
    return np.where((values != 0)[..., None], table[grey(values, window)], np.uint8(0))


def painted(pixels: np.ndarray, values: np.ndarray, window: tuple[float, float], name: str) -> np.ndarray:
    """Grey pixels with a map in colour over them, where it has values."""
    return np.where((values != 0)[..., None], colored(values, window, name), np.repeat(pixels[..., None], 3, axis=2))


def outline(mask: Volume, plane: Plane, at_mm: float, box: Box) -> list[np.ndarray]:
    """The outlines of a mask (as `cropped`) on the plane, each (n, 2), mm from the upper left corner; empty where the plane misses it."""
    from skimage.measure import find_contours

    values = section(mask, plane, at_mm, box)
    if values.max() < 0.5:
        return []
    found = [line for line in find_contours(np.pad(values, 1), 0.5) if len(line) > 3]
    return [(line[np.r_[0 : len(line) - 1 : 2, len(line) - 1], ::-1] - 0.5) * _grid(box)[0] for line in found]


def projected(lines_lps: Iterable[np.ndarray], plane: Plane, box: Box) -> list[np.ndarray]:
    """Lines (n, 3) LPS seen along the normal: (n, 2), mm from the upper left corner."""
    corner = np.array([box.across[0], box.down[0]])
    return [np.asarray(line, float) @ plane.axes[:2].T - corner for line in lines_lps]


def take(image: Volume, plane: Plane, at_mm: float, box: Box, window: tuple[float, float], lines: Sequence[Line] = ()) -> Picture:
    """A grey picture of a plane."""
    return Picture(grey(section(image, plane, at_mm, box), window), _grid(box)[0], plane, at_mm, tuple(lines))
