"""How much of a loss of volume the deformation between two images follows: one that is known is added, and looked for.

A deformation is held back where the image shows little, and follows of a thin structure only a part. How much, the two images tell
themselves, as a chemist asks the sample with a known amount more in it (standard addition): the tissue of a group of structures shrinks
by a known share more in one image and less in the other, the fluid near by takes the room, and the same search is done again; then the
other way about. The difference of what both found, over what was added, is the share that is followed. Noise, contrast, voxels and
stiffness are those of the comparison itself. What is not known is where in the structure a patient loses: here everywhere alike.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np
from scipy import ndimage

from analysis.steps.deformation import Pair, displacement, growth, read
from analysis.steps.flow import flow_between

K = TypeVar("K")

ADDED_PERCENT = 3.0  # well above the noise, and little enough for shares to stay shares
SOLID = 0.5
MARGIN_VOXELS = 16
SPLINE = 3  # what is read twice must not blur


def shares_followed(pair: Pair, way: np.ndarray, tissue: Mapping[K, np.ndarray], groups: Sequence[Sequence[K]]) -> dict[K, float]:
    """The share of a loss that is followed, 1 for all of it, of each structure of the groups, which lose together; 0 where none can be
    added, as no voxel is mostly that tissue, or no fluid is near. What is in no `tissue` (0 to 1 on the grid half-way, before the
    displacement `way`) is left out."""
    held = [{key: tissue[key] for key in group if key in tissue} for group in groups]
    with ThreadPoolExecutor(len(groups)) as pool:  # numpy lets go of the interpreter, so this takes as many cores as there are
        found = pool.map(lambda group: _of_group(pair, way, group), filter(None, held))
        return {key: share for shares in found for key, share in shares.items()}


def _of_group(pair: Pair, way: np.ndarray, tissue: Mapping[K, np.ndarray]) -> dict[K, float]:
    whole = np.minimum(sum(tissue.values()), 1.0)
    if not np.any(whole > SOLID):
        return dict.fromkeys(tissue, 0.0)
    box = tuple(slice(max(side.start - MARGIN_VOXELS, 0), side.stop + MARGIN_VOXELS)
                for side in ndimage.find_objects(np.uint8(whole > SOLID))[0])  # fmt: skip
    part, own = pair.part(box), way[:, *box]
    loss = flow_between(whole[box], part.fluid * (1.0 - whole[box])) * np.float32(-ADDED_PERCENT / 100.0)
    found = [growth(displacement(with_loss(part, sign * loss))) for sign in (1, -1)]
    added = [growth(own + sign * loss) for sign in (1, -1)]
    return {key: _between(one[box], found) / (_between(one[box], added) or np.inf) for key, one in tissue.items()}


def _between(tissue: np.ndarray, rooms: Sequence[tuple[np.ndarray, np.ndarray]]) -> float:
    more, less = (percent_of(tissue, room) for room in rooms)
    return more - less


def with_loss(pair: Pair, loss: np.ndarray) -> Pair:
    """Both images moved by half of a flow each, the first against it (voxels, small beside the images' own detail)."""
    first, second = pair.images
    return Pair(np.stack([read(first, loss / 2, SPLINE), read(second, -loss / 2, SPLINE)]), pair.near, pair.fluid)


def percent_of(tissue: np.ndarray, room: tuple[np.ndarray, np.ndarray]) -> float:
    """What the second has more of a tissue than the first, percent of the mean of both. `tissue`: half-way, before the displacement whose
    `growth` the `room` is."""
    before, after = (float((tissue * one).sum(dtype=float)) for one in room)
    return 200.0 * (after - before) / (after + before)
