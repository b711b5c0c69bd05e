"""The slices of a mosaic: many in one picture, without a position for each.

Where they lie is known from the volume that was made of them. Which tile is which slice is found by the pixels, because scanners count
from either end. One picture stands for the series: the first without diffusion weighting, or the first.
"""

from __future__ import annotations

import numpy as np

from analysis.volume import Image
from analysis.words import say
from node.errors import StudyError
from node.frames import Frame, Place
from node.gradients import gradient_of
from node.study import Series


def tiles_of(series: Series, image: Image) -> tuple[Place, ...]:
    """A place for each slice of the image: its tile in the mosaic. StudyError where the picture does not hold the slices."""
    b_values = [gradient_of(one.header).b_value_s_mm2 or 0.0 for one in series.instances]
    number = int(np.argmin(b_values))
    tiles, corners = _tiles(_picture(series, number), image.array.shape[:3])
    slices = image.array if image.array.ndim == 3 else image.array.mean(axis=-1)
    order = range(len(tiles)) if _likeness(tiles, slices) >= _likeness(tiles[::-1], slices) else range(len(tiles))[::-1]
    return tuple(
        Place(_frame(series, number, image, index), index, False, False, False, corners[tile]) for index, tile in enumerate(order)
    )


def _picture(series: Series, number: int) -> np.ndarray:
    from pydicom.pixels import pixel_array

    try:
        return pixel_array(series.instances[number].path)
    except (RuntimeError, NotImplementedError, ValueError, AttributeError, OSError) as error:
        name = series.instances[number].path.name
        raise StudyError(say(
            "the mosaic {name} cannot be decoded, so nothing can be drawn on it ({error})",
            name=name, error=str(error),
        )) from error


def _tiles(picture: np.ndarray, shape: tuple[int, int, int]) -> tuple[np.ndarray, list[tuple[int, int]]]:
    """The tiles (tile, row, column) in reading order, and the first row and column of each."""
    count, rows, columns = shape
    across = picture.shape[1] // columns
    if picture.shape[0] % rows or picture.shape[1] % columns or across * (picture.shape[0] // rows) < count:
        raise StudyError(say(
            "a mosaic of {width} × {height} does not hold {count} slices of {columns} × {rows}",
            width=picture.shape[1], height=picture.shape[0], count=count, columns=columns, rows=rows,
        ))
    corners = [(number // across * rows, number % across * columns) for number in range(count)]
    return np.stack([picture[row : row + rows, column : column + columns] for row, column in corners]), corners


def _likeness(tiles: np.ndarray, slices: np.ndarray) -> float:
    """The covariance; comparable between two orders of the same tiles."""
    return float(np.vdot(tiles - tiles.mean(), slices - slices.mean()))


def _frame(series: Series, number: int, image: Image, index: int) -> Frame:
    step = np.eye(4)
    step[0, 3] = index
    gradient = gradient_of(series.instances[number].header)
    rows, columns = image.array.shape[1:3]
    return Frame(number, None, image.lps_from_index @ step, rows, columns, gradient, 0, False, None, "magnitude")
