"""Midbrain, pons and medulla on the patient's own T1.

The atlas says which part is which and where the cuts lie (towards diencephalon, cerebellum and cord); the patient's image says where its
surface is. A label may therefore grow into what is fluid on the template, never into its neighbours, and keeps what is brain there on the
T1. A part that the field of view does not hold whole has no volume: a reason stands for it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from scipy import ndimage

from analysis import atlas
from analysis.examination import Examination
from analysis.outcome import NotMeasurable
from analysis.steps.head import head_on_template
from analysis.steps.space import Placement, lps_grid, onto, sample, share_inside
from analysis.steps.tissue import tissue_fractions
from analysis.volume import Volume
from analysis.words import say

PARTS = ("midbrain", "pons", "medulla")
REACH_MM = 3.0  # how far a surface may lie outside the atlas's
# grey and white matter of a neighbour on the template: against the surface, where the 2 mm map is blurred, and further out. Of the
# template's fluid 97 and 90 % lie below, of its tissue 97 and 99 % above
NEIGHBOUR_NEAR, NEIGHBOUR, NEAR_MM = 0.7, 0.45, 1.5
DEPTH_MM = 2.0  # so far inside, a voxel is brain for sure
BRIDGE_MM = 1.0  # what hangs on the brainstem by less than twice this is a vessel, a nerve or a membrane
SOFT = 0.15  # fractions so near to 0 and 1 are noise: as much is taken off at either end, so that an edge stays where it is
LEAST_COVERED, EDGE_MM = 0.99, 2.0
# of the medulla, for the parts above it: of one phantom's T1, cut in the medulla, in the pons and below the midbrain, the midbrain came out
# 4, 15 and 25 % small, for the warp draws the brainstem together above the end of the image
LEAST_BELOW = 0.4
LEAST_VOXELS, MARGIN_VOXELS = 300, 3  # of 2 mm: 2.4 ml, less than a tenth of the brainstem

Box = tuple[slice, slice, slice]


@dataclass(frozen=True, eq=False)
class BrainstemPart:
    """One part: `volume_ml` from fractions, and `mask`, its voxels on the grid of the T1, boolean; or None twice and the reason why."""

    name: str
    volume_ml: float | None
    mask: np.ndarray | None
    reason: str | None = None


def brainstem_parts(examination: Examination) -> tuple[BrainstemPart, ...]:
    """The three parts, from above. NotMeasurable where there is no head, or the field of view holds none of the brainstem."""
    t1, tissue = examination.image("t1"), examination.once(tissue_fractions)
    head = examination.once(head_on_template)
    place = brainstem_on_template(head)
    box = box_of(t1, place)
    part = t1.part(box)
    template_lps = moved(place.template_from_lps, lps_grid(part))
    core, room = (sample(labels, template_lps, order=0) for labels in (numbered(), reach()))
    solid = solid_share(part.with_array(tissue.even_t1[box]), room, core, tissue.brightness[0])
    inside = tuple(map(min, covered(t1, place), covered(t1, head)))
    return tuple(_part(name, t1, box, solid * (room == number), why_not(name, inside)) for number, name in enumerate(PARTS, start=1))


def _part(name: str, t1: Volume, box: Box, share: np.ndarray, reason: str | None) -> BrainstemPart:
    if reason:
        return BrainstemPart(name, None, None, reason)
    mask = np.zeros(t1.array.shape, bool)
    mask[box] = share > 0.5
    return BrainstemPart(name, float(share.sum(dtype=float)) * t1.voxel_ml, mask)


def brainstem_on_template(place: Placement) -> Placement:
    """The placement with the affine that is nearest to the warp inside the brainstem: the cuts stay planes. The warp itself follows a
    thinner brainstem along its axis as well, and hid a third of a planted loss (phantoms of the seeds 1 and 11)."""
    near = sample(numbered(), place.template_lps, order=0) > 0
    if near.sum() < LEAST_VOXELS:
        raise NotMeasurable(say("the T1 series does not hold the brainstem: its field of view ends above it"))
    lps = lps_grid(place.grid)[:, near].astype(float)
    solution, *_ = np.linalg.lstsq(np.vstack([lps, np.ones(lps.shape[1])]).T, place.template_lps[:, near].T.astype(float), rcond=None)
    return replace(place, template_from_lps=np.vstack([solution.T, [0.0, 0.0, 0.0, 1.0]]))


def moved(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Points (3, ...) through a 4 by 4 map, float32."""
    return (np.tensordot(matrix[:3, :3], points, axes=1) + matrix[:3, 3].reshape(3, *[1] * (points.ndim - 1))).astype(np.float32)


@cache
def numbered() -> Volume:
    """The atlas's parts as labels of 1 upwards in the order of PARTS."""
    labels = atlas.labels("brainstem")
    number = np.zeros(256, np.uint8)
    for part in atlas.parts():
        if part.image == "brainstem" and part.structure in PARTS:
            number[part.label] = 1 + PARTS.index(part.structure)
    return labels.with_array(number[labels.array])


@cache
def reach() -> Volume:
    """`numbered`, grown by REACH_MM into what is fluid on the template and nearer to the brainstem than to other tissue."""
    labels, layers = numbered(), atlas.template()
    tissue = onto(layers["grey"], labels) + onto(layers["white"], labels)
    away_mm, nearest = ndimage.distance_transform_edt(labels.array == 0, return_indices=True)
    other = (away_mm > 0) & (tissue >= np.where(away_mm <= NEAR_MM, NEIGHBOUR_NEAR, NEIGHBOUR))
    other_mm = ndimage.distance_transform_edt(~other | (away_mm <= NEAR_MM))
    fluid = ~other & (away_mm <= np.minimum(other_mm, REACH_MM))
    return labels.with_array(np.where(fluid | (away_mm == 0), labels.array[tuple(nearest)], 0).astype(np.uint8))


def box_of(t1: Volume, place: Placement) -> Box:
    """The part of the T1 that the brainstem may lie in."""
    labels = reach()
    index_from_template = np.linalg.inv(t1.lps_from_index) @ np.linalg.inv(place.template_from_lps)
    index = moved(index_from_template, lps_grid(labels)[:, labels.array > 0])
    low = np.clip(np.floor(index.min(1) - MARGIN_VOXELS).astype(int), 0, np.array(t1.array.shape) - 1)
    high = np.clip(np.ceil(index.max(1) + MARGIN_VOXELS).astype(int) + 1, low + 1, t1.array.shape)
    return tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))


def solid_share(even: Volume, room: np.ndarray, core: np.ndarray, csf: float) -> np.ndarray:
    """The share of each voxel in the room that is brainstem, not fluid: 0 to 1, float32. `even`: brightness; `csf`: that of fluid.

    A part's own tissue is as bright as its depth; what hangs together with the depths belongs, vessels beyond a gap do not.
    """
    solid, deep = np.zeros(room.shape, np.float32), np.zeros(room.shape, bool)
    inside_mm = ndimage.distance_transform_edt(core > 0, sampling=even.spacing_mm)
    for number in range(1, len(PARTS) + 1):
        depth = (core == number) & (inside_mm >= min(DEPTH_MM, float(inside_mm[core == number].max(initial=0.0))))
        if not depth.any():
            continue
        level = float(np.median(even.array[depth]))
        share = (even.array - csf) / max(level - csf, 1e-3)
        solid += np.where(room == number, np.clip((share - SOFT) / (1.0 - 2.0 * SOFT), 0.0, 1.0), 0.0).astype(np.float32)
        deep |= depth
    return solid * belonging(solid > 0.5, deep, even.spacing_mm)


def belonging(solid: np.ndarray, deep: np.ndarray, spacing_mm: np.ndarray) -> np.ndarray:
    """What hangs together with the depths by more than a bridge, and the voxels beside it: boolean."""
    away_mm = ndimage.distance_transform_edt(solid, sampling=spacing_mm)
    bridge_mm = max(BRIDGE_MM, 0.6 * float(spacing_mm.min()))
    pieces, _ = ndimage.label((away_mm > bridge_mm) | deep)
    kept = np.isin(pieces, np.setdiff1d(np.unique(pieces[deep]), 0))
    return ndimage.distance_transform_edt(~kept, sampling=spacing_mm) <= bridge_mm + 1.8 * float(spacing_mm.max())


def covered(t1: Volume, place: Placement) -> tuple[float, ...]:
    """The share of each part of the atlas inside the field of view, EDGE_MM away from its edge, where images fade and fold."""
    labels = numbered()
    inner = tuple(slice(edge, size - edge) for edge, size in zip(np.ceil(EDGE_MM / t1.spacing_mm).astype(int), t1.array.shape, strict=True))
    return tuple(share_inside(t1.part(inner), place, lps_grid(labels)[:, labels.array == n]) for n in range(1, len(PARTS) + 1))


def why_not(name: str, inside: tuple[float, ...]) -> str | None:
    """The reason why a part has no volume, or None. `inside`: the covered shares, from above."""
    if inside[PARTS.index(name)] < LEAST_COVERED:
        return say("not measurable: the field of view of the T1 series ends in or above the {name}", name=name)
    if inside[-1] < LEAST_BELOW:
        return say("not measurable: the field of view of the T1 series ends so near below the {name} that its place is not sure", name=name)
    return None
