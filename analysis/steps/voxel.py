"""Where the voxel of a spectrum lies: which tissues it holds, on which side, and how much of it is motor cortex.

The box is laid on the T1 by the scanner's own coordinates (one frame of reference); nothing is registered, so a patient who moved between
the two is not noticed. The tissues are those of the T1, the gyri those of the atlas on the patient. A voxel that the T1 does not hold, or
that holds too little of the precentral gyrus, gets a reason in words, and its place is said.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from analysis import atlas
from analysis.examination import Examination
from analysis.outcome import NotMeasurable, Side
from analysis.spectrum import Spectrum
from analysis.steps.focal_infarct import PLACES, place_of
from analysis.steps.head import head_on_template
from analysis.steps.space import sample
from analysis.steps.tissue import tissue_fractions
from analysis.volume import Volume
from analysis.words import Words, say

SIDES: tuple[Side, ...] = ("left", "right")
POINTS = 4  # along each edge of a voxel of the T1: the volume of a box of 8 ml is then right within 0.1 %
LEAST_HELD = 0.98
LEAST_TISSUE = 0.4
PRECENTRAL = "precentral_gyrus"
# chosen on phantom heads: cubes of 15 and 20 mm up to 4 mm off the middle of the motor areas hold 0.37 to 0.98, off that of the postcentral
# gyrus 0.03 to 0.46, where the largest share decides
LEAST_PRECENTRAL = 0.33


@dataclass(frozen=True, eq=False)
class Voxel:
    """The voxel of one spectrum on the T1. `mask` (slice, row, column): voxels of the T1 of which it holds at least half.

    `csf`, `grey` and `white`: shares of the box, 0 to 1; the rest lies outside the brain. `gyri`: the shares of its grey and white matter
    that lie in the gyri of the atlas, by structure and side; `hand`: of the precentral gyrus of its side, the part of the hand. `side`:
    where more of its tissue lies. `lobe`: where its middle is.
    """

    mask: np.ndarray
    csf: float
    grey: float
    white: float
    gyri: Mapping[tuple[str, Side], float]
    hand: float
    side: Side
    lobe: Words

    @property
    def precentral(self) -> float:
        """How much of its tissue is precentral gyrus of its own side."""
        return self.gyri[PRECENTRAL, self.side]

    @property
    def is_motor_cortex(self) -> bool:
        """A third of its tissue at least, and more than of any other gyrus that the atlas has."""
        return self.precentral >= LEAST_PRECENTRAL and self.precentral == max(self.gyri.values())


def voxel_of(examination: Examination, spectrum: Spectrum) -> Voxel:
    """Where a spectrum was taken. NotMeasurable where it has no place, no T1, or the T1 does not hold it."""
    if spectrum.lps_from_box is None:
        raise NotMeasurable(spectrum.no_place)
    t1 = examination.image("t1")
    box, inside = box_on(t1, spectrum.lps_from_box)
    held = float(inside.sum()) * t1.voxel_ml / spectrum.voxel_ml
    if held < LEAST_HELD:
        raise NotMeasurable(say("the T1 series holds {share:.0f} % of the voxel of the spectrum", share=100 * held))
    tissue, place = examination.once(tissue_fractions), examination.once(head_on_template)
    csf, grey, white = (part[box] * inside for part in (tissue.csf, tissue.grey, tissue.white))
    solid = grey + white
    if solid.sum() < LEAST_TISSUE * inside.sum():
        raise NotMeasurable(say("{share:.0f} % of the voxel is grey and white matter, at least {least:.0f} % are needed",
                                share=100 * float(solid.sum() / inside.sum()), least=100 * LEAST_TISSUE))  # fmt: skip
    template_lps = place.template_on(t1.part(box))
    whole = float(inside.sum())
    shares = _shares(template_lps, solid)
    left = float((solid * (template_lps[0] > 0)).sum() / solid.sum())
    middle = np.array([float((axis * inside).sum()) / whole for axis in template_lps])
    mask = np.zeros(t1.array.shape, bool)
    mask[box] = inside >= 0.5
    side: Side = "left" if left >= 0.5 else "right"
    gyri = {(name, here): sum(share for (other, on, _), share in shares.items() if (other, on) == (name, here)) for name, here, _ in shares}
    parts = (float(part.sum()) / whole for part in (csf, grey, white))
    return Voxel(mask, *parts, gyri, shares[PRECENTRAL, side, "hand"], side, PLACES[place_of(middle)])


def box_on(grid: Volume, lps_from_box: np.ndarray) -> tuple[tuple[slice, slice, slice], np.ndarray]:
    """The part of a grid around a box, and how much of each of its voxels the box holds, 0 to 1; empty slices where it holds nothing."""
    box_from_index = np.linalg.inv(lps_from_box) @ grid.lps_from_index
    corners = np.array(np.meshgrid([-0.5, 0.5], [-0.5, 0.5], [-0.5, 0.5])).reshape(3, -1)
    index = np.linalg.inv(box_from_index)
    corners = index[:3, :3] @ corners + index[:3, 3:]
    low, high = np.floor(corners.min(axis=1) - 0.5).astype(int), np.ceil(corners.max(axis=1) + 0.5).astype(int) + 1
    part = tuple(slice(max(a, 0), max(min(b, size), 0)) for a, b, size in zip(low, high, grid.array.shape, strict=True))
    part = tuple(slice(min(one.start, one.stop), one.stop) for one in part)
    place = np.stack(np.meshgrid(*(np.arange(one.start, one.stop) for one in part), indexing="ij")).astype(float)
    offsets = (np.arange(POINTS) + 0.5) / POINTS - 0.5
    held = np.zeros(place.shape[1:], np.float32)
    middle = np.tensordot(box_from_index[:3, :3], place, axes=1) + box_from_index[:3, 3].reshape(3, 1, 1, 1)
    for offset in np.array(np.meshgrid(offsets, offsets, offsets)).reshape(3, -1).T:
        held += (np.abs(middle + (box_from_index[:3, :3] @ offset).reshape(3, 1, 1, 1)) <= 0.5).all(axis=0)
    return part, held / POINTS**3


def _shares(template_lps: np.ndarray, solid: np.ndarray) -> dict[tuple[str, Side, str | None], float]:
    """Of the solid tissue, the share in each part of the atlas's gyri."""
    codes, whole = sample(atlas.labels("cortex"), template_lps, order=0), float(solid.sum())
    return {(part.structure, part.side, part.level): float(solid[codes == part.label].sum()) / whole
            for part in atlas.parts() if part.image == "cortex"}  # fmt: skip
