"""The outline of a mask on the source frame where it is largest, as viewers draw it.

Coordinates are those of SCOORD (PS3.3 C.18.6.1.2): column, then row, 0\\0 at the outer corner of the first pixel, so that the centre of a
pixel lies at .5\\.5. The line is closed: its last point is its first. It has at least seven points, because some viewers take a closed
line of five for a rectangle that was drawn by hand and replace our numbers with their own.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from node.frames import Place, mask_on_frame
from node.planes import Planes

LEAST_POINTS = 7
TOLERANCE_PIXELS = 0.15


@dataclass(frozen=True, eq=False)
class Outline:
    """A closed line on one source frame; `points` (n, 2) are column and row."""

    place: Place
    points: np.ndarray

    def is_same(self, other: Outline) -> bool:
        return self.place is other.place and np.array_equal(self.points, other.points)


def outline_of(mask: np.ndarray, planes: Planes, taken: Iterable[Outline] = ()) -> Outline:
    """The largest closed line around the mask on the frame that holds most of it; `mask` is on the image's grid and not empty.

    Where just that line is `taken`, the next largest frame: two numbers written at one line cannot be read in a viewer.
    """
    areas = mask.sum(axis=(1, 2))
    by_area = [index for index in np.argsort(-areas, kind="stable") if areas[index]]
    outlines = (_outline_on(mask, place) for index in by_area for place in planes.places if place.slice_index == index)
    first = next(outlines)
    taken = tuple(taken)
    if not any(first.is_same(other) for other in taken):
        return first
    return next((one for one in outlines if not any(one.is_same(other) for other in taken)), first)


def _outline_on(mask: np.ndarray, place: Place) -> Outline:
    return Outline(place, outline_points(mask_on_frame(mask, place)))


def outline_points(mask: np.ndarray) -> np.ndarray:
    """The line around the largest part of a mask (row, column): shape (n, 2), column and row in SCOORD coordinates."""
    from skimage.measure import approximate_polygon, find_contours

    padded = np.pad(mask.astype(np.float32), 1)
    line = max(find_contours(padded, 0.5, fully_connected="high"), key=_area)
    simple = approximate_polygon(line, TOLERANCE_PIXELS)
    while len(simple) < LEAST_POINTS:
        middles = (simple[:-1] + simple[1:]) / 2
        simple = np.vstack([np.stack([simple[:-1], middles], axis=1).reshape(-1, 2), simple[-1:]])
    return simple[:, ::-1] - 1 + 0.5


def _area(line: np.ndarray) -> float:
    rows, columns = line.T
    return abs(float(np.dot(rows[:-1], columns[1:]) - np.dot(rows[1:], columns[:-1]))) / 2
