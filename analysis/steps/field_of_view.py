"""What the field of view does to a head: it cuts a part of it, or folds what lies beyond one face onto the other.

Told from the image alone. Neck, face and shoulders may be cut.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from analysis.steps.quality import UPPER_MM, Overview, heights, top_of
from analysis.volume import Volume
from analysis.words import joined, say

TISSUE, PLANES_APART_MM, LEAST_FOLDED_CM2, HEAD_MM = 0.25, 2.5, 1.5, 150.0
# Folded faces differ by 0.9 to 1.4 times as much as neighbours. Others differ by three times and more, but left and right of a head
# that is cut on both sides, which are alike.
ALIKE, ALIKE_SIDES, ALIKE_SIGNAL = 1.5, 1.0, 0.04
CUT_CM2, LEAST_HEIGHT_MM = 80.0, 115.0  # the cap of a head of 17 cm that scalp and skull fill, before the brain begins


def is_wrapped(image: Volume, overview: Overview) -> bool:
    """Whether tissue that lies beyond one face of the field is folded onto the other.

    An image made by a Fourier transform goes on from its last plane to its first: where tissue is folded, the two faces are as alike as
    neighbours. Tissue that is merely cut at both faces is not. Axes with planes more than 2.5 mm apart are left out.
    """
    low_mm = top_of(heights(overview.blocks), overview.body) - HEAD_MM
    return any(_is_folded(image, axis, overview.signal, low_mm) for axis in range(3))


def _is_folded(image: Volume, axis: int, signal: float, low_mm: float) -> bool:
    """Below `low_mm` nothing is looked at: both shoulders may be cut, and they are alike."""
    if image.spacing_mm[axis] > PLANES_APART_MM or image.array.shape[axis] < 32:
        return False
    first, second, before_last, last = (
        ndimage.gaussian_filter(np.take(image.array, index, axis).astype(np.float32), 1.0) for index in (0, 1, -2, -1)
    )
    high = np.maximum(face_heights(image, axis, 0), face_heights(image, axis, -1)) > low_mm
    both = high & (np.minimum(first, last) > TISSUE * signal)
    either = high & (np.maximum(first, last) > TISSUE * signal)
    if both.sum() * float(np.prod(np.delete(image.spacing_mm, axis))) / 100 < LEAST_FOLDED_CM2:
        return False
    near = (np.abs(first - second)[either].mean() + np.abs(last - before_last)[either].mean()) / 2
    across = int(np.argmax(np.abs(image.lps_from_index[:3, axis]))) == 0
    limit = (ALIKE_SIDES if across else ALIKE) * near + ALIKE_SIGNAL * signal
    return bool(np.abs(first - last)[either].mean() < limit)


def face_heights(image: Volume, axis: int, end: int) -> np.ndarray:
    """The heights of the voxels of the first (0) or the last (-1) plane along an axis, mm."""
    plane = slice(0, 1) if end == 0 else slice(image.array.shape[axis] - 1, image.array.shape[axis])
    box = tuple(plane if one == axis else slice(0, size) for one, size in enumerate(image.array.shape))
    return np.take(heights(image.part(box)), 0, axis)


def cut_part(overview: Overview) -> str | None:
    """Which part of a head the field of view cuts, in words, or None. The neck and the face may be cut."""
    body, blocks = overview.body, overview.blocks
    height_mm = heights(blocks)
    top_mm = top_of(height_mm, body)
    upper = body & (height_mm > top_mm - UPPER_MM)
    touched = faces(upper, blocks)
    sides = [name for name in ("top", "left", "right", "front", "back") if touched[name] > CUT_CM2]
    if sides:
        return say("the field of view cuts the {sides} of the head", sides=joined(sides, " and the "))
    height = top_mm - float(height_mm[body].min())
    if height < LEAST_HEIGHT_MM and faces(body, blocks)["bottom"] > 0:
        return say("the field of view ends {height:.0f} mm below the top of the head", height=height)
    return None


def faces(body: np.ndarray, blocks: Volume) -> dict[str, float]:
    """The area of the body on each face of the field, cm², by the side of the patient that the face looks at most."""
    found = dict.fromkeys(("top", "bottom", "left", "right", "front", "back"), 0.0)
    for axis in range(3):
        direction = blocks.lps_from_index[:3, axis]
        towards = int(np.argmax(np.abs(direction)))
        names = (("right", "left"), ("front", "back"), ("bottom", "top"))[towards][:: 1 if direction[towards] > 0 else -1]
        area_cm2 = float(np.prod(np.delete(blocks.spacing_mm, axis))) / 100
        for name, plane in zip(names, (0, -1), strict=True):
            found[name] = max(found[name], float(np.take(body, plane, axis).sum()) * area_cm2)
    return found
