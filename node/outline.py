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
LEAST_SHARE = 0.5


@dataclass(frozen=True, eq=False)
class Outline:
    """A closed line on one source frame; `points` (n, 2) are column and row."""

    place: Place
    points: np.ndarray

    def is_same(self, other: Outline) -> bool:
        return self.place is other.place and np.array_equal(self.points, other.points)


def outline_of(mask: np.ndarray, planes: Planes, taken: Iterable[Outline] = ()) -> Outline:
    """The largest closed line around the mask on the frame that holds most of it; `mask` is on the image's grid and not empty.

    Viewers write the numbers beside the line, and those of two lines on one frame over each other. So a frame that has a line in `taken`
    gives way to the next one that holds at least half as much; where there is none, only the very same line is avoided.
    """
    areas, taken = mask.sum(axis=(1, 2)), tuple(taken)
    by_area = [index for index in np.argsort(-areas, kind="stable") if areas[index]]
    places = [place for index in by_area for place in planes.places if place.slice_index == index]
    large = [place for place in places if areas[place.slice_index] >= LEAST_SHARE * areas.max()]
    free = next((place for place in large if not any(place is other.place for other in taken)), None)
    if free is not None:
        return _outline_on(mask, free)
    outlines = [_outline_on(mask, place) for place in places]
    return next((one for one in outlines if not any(one.is_same(other) for other in taken)), outlines[0])


def _outline_on(mask: np.ndarray, place: Place) -> Outline:
    return Outline(place, outline_points(mask_on_frame(mask, place)) + np.array(place.corner[::-1]))


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
