"""The page of pictures of the atlas: its outlines on slices of the template's T1. For `build.py` alone.

As radiologists look: the patient's right is on the left of coronal and axial slices, the face on the left of sagittal ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from analysis.atlas.maps import Maps

if TYPE_CHECKING:
    from PIL import Image, ImageDraw

Parts = Mapping[tuple[str, str, str], np.ndarray]
# by structure, or by structure and level
COLOURS = {
    "precentral_gyrus leg": (255, 70, 70),
    "precentral_gyrus trunk": (255, 150, 40),
    "precentral_gyrus hand": (255, 225, 60),
    "precentral_gyrus face": (120, 225, 80),
    "precentral_gyrus tongue": (40, 200, 170),
    "postcentral_gyrus": (80, 165, 255),
    "superior_frontal_gyrus": (190, 130, 255),
    "cst": (255, 105, 200),
    "callosal_motor_segment": (255, 175, 225),
    "splenium": (150, 190, 120),
    "midbrain": (255, 205, 150),
    "pons": (150, 235, 235),
    "medulla": (175, 255, 150),
    "reference_white_matter": (150, 75, 30),
}
# axis, and the places along it in mm
ROWS = (
    (0, (-2, -7, -24, -38, -56)),
    (1, (-36, -26, -20, -14, -6, 4)),
    (2, (72, 62, 54, 44, 32, 20)),
    (2, (12, 4, -8, -18, -34, -54)),
)
WINDOW_MM = {0: (-108.0, 74.0), 1: (-74.0, 74.0), 2: (-74.0, 74.0)}  # of the horizontal axis: y, x, x
HEIGHT_MM = {0: (-72.0, 84.0), 1: (-72.0, 84.0), 2: (-108.0, 74.0)}  # of the vertical axis: z, z, y
BRIGHTEST = 1.05  # darker than white, so that colours show
SCALE, FINER = 3, 2  # pixels per mm of the page, and how much finer it is drawn
LINE = 2
GAP = 8


def colour_of(structure: str, level: str) -> tuple[int, int, int]:
    return COLOURS.get(f"{structure} {level}") or COLOURS[structure]


def slice_of(maps: Maps, array: np.ndarray, axis: int, place: int) -> np.ndarray:
    """A slice as it is looked at: rows from the top down, columns from the left of the picture to its right."""
    across, up = [k for k in range(3) if k != axis]
    start = maps.affine[:3, 3]
    flat = np.take(array, round(place - start[axis]), axis)
    low, high = (int(edge - start[across]) for edge in WINDOW_MM[axis])
    bottom, top = (int(edge - start[up]) for edge in HEIGHT_MM[axis])
    return flat[low : high + 1, bottom : top + 1].T[::-1, ::-1]


def panel(maps: Maps, images: Mapping[str, Parts], axis: int, place: int) -> Image.Image:
    """One slice with its outlines, its place and its sides."""
    from PIL import Image, ImageDraw

    fine = SCALE * FINER
    grey = np.clip(slice_of(maps, maps.t1, axis, place) / BRIGHTEST, 0.0, 1.0)
    picture = Image.fromarray(np.rint(grey * 255).astype(np.uint8))
    picture = picture.resize((grey.shape[1] * fine, grey.shape[0] * fine), Image.Resampling.BICUBIC).convert("RGB")
    draw = ImageDraw.Draw(picture)
    for parts in images.values():
        for (structure, _, level), mask in parts.items():
            outline(draw, slice_of(maps, mask, axis, place), colour_of(structure, level))
    words(draw, (6, 4), f"{'xyz'[axis]} = {place} mm")
    words(draw, (6, grey.shape[0] // 2), "A" if axis == 0 else "R")
    words(draw, (grey.shape[1] - 9, grey.shape[0] // 2), "P" if axis == 0 else "L")
    return picture.resize((grey.shape[1] * SCALE, grey.shape[0] * SCALE), Image.Resampling.LANCZOS)


def outline(draw: ImageDraw.ImageDraw, mask: np.ndarray, colour: tuple[int, int, int]) -> None:
    """The edge of a mask as a smooth line."""
    from skimage.measure import find_contours

    smooth = ndimage.gaussian_filter(np.pad(mask, 1).astype(float), 0.6)
    for line in find_contours(smooth, 0.5):
        points = (line[:, ::-1] - 0.5) * SCALE * FINER
        draw.line([tuple(point) for point in points], fill=colour, width=LINE * FINER, joint="curve")


def words(draw: ImageDraw.ImageDraw, place: tuple[float, float], text: str, size: float = 5.5) -> None:
    """White words at a place in mm from the corner."""
    from PIL import ImageFont

    fine = SCALE * FINER
    draw.text((place[0] * fine, place[1] * fine), text, fill=(255, 255, 255), font=ImageFont.load_default(size * fine))


def legend(width: int) -> Image.Image:
    """The colours and what they are, in a strip."""
    from PIL import Image, ImageDraw

    across = 5
    strip = Image.new("RGB", (width * FINER, 28 * SCALE * FINER))
    draw, fine = ImageDraw.Draw(strip), SCALE * FINER
    for i, (name, colour) in enumerate(COLOURS.items()):
        x, y = 6 + (i % across) * width / SCALE / across, 2 + (i // across) * 9
        draw.rectangle([x * fine, (y + 1) * fine, (x + 6) * fine, (y + 6) * fine], fill=colour)
        words(draw, (x + 9, y), name.replace("cst", "corticospinal tract, by level").replace("_", " "))
    return strip.resize((width, 28 * SCALE), Image.Resampling.LANCZOS)


def page(maps: Maps, images: Mapping[str, Parts]) -> Image.Image:
    """All slices and the legend. `images`: the parts of each image of the atlas."""
    from PIL import Image

    rows = [[panel(maps, images, axis, place) for place in places] for axis, places in ROWS]
    width = max(sum(picture.width + GAP for picture in row) for row in rows)
    sheet = Image.new("RGB", (width, sum(row[0].height + GAP for row in rows) + 28 * SCALE))
    y = 0
    for row in rows:
        x = 0
        for picture in row:
            sheet.paste(picture, (x, y))
            x += picture.width + GAP
        y += row[0].height + GAP
    sheet.paste(legend(width), (0, y))
    return sheet
