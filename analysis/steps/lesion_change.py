"""Which lesions of the white matter are new, have grown, shrunk or gone between two FLAIR images.

The outlines of both examinations are laid over one another half-way, and what hangs together is one lesion. An outline alone flickers:
noise and another grid move it, and small lesions are found once and missed once. So a difference of the outlines counts only as far as
the brightness itself differs there, by SHARE of what the lesion stands out by and by more than the noise of the difference. What one
outline holds and the other does not, at the same brightness, is the same lesion. What only one field of view holds is not compared.
Exchange of the images makes new into gone and grown into shrunk.

Measured on a phantom FLAIR (seed 71, laid onto the template as it was made, but for smooth shifts): of 24 lesions as in multiple
sclerosis four were new, three gone, two larger and one smaller; all were told right but one of those that had gone, which the first
outline had missed. At another position, on another grid, without a change, 17 of 17 were as before. Three more heads (seeds 213 to 215,
which nothing was tuned on): all twelve new, nine gone, six larger (1.4 times as long and wide) and three smaller (0.6) were told right by
kind and size, the smallest of 0.01 ml, and nothing else was; without a change none of 55 changed, and the volume by 0.000 ml. A phantom
neither moves nor flickers: this is no figure for rescans. Not measured: lesions of patients, rescans.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from scipy import ndimage

from analysis.examination import Examination
from analysis.steps.coregistration import on_template
from analysis.steps.halfway import Halfway, View, halfway, middle_of, start_of
from analysis.steps.lesions import REGIONS, TOUCHING, Lesions, lesions_on_flair
from analysis.steps.space import Placement, onto, sample
from analysis.volume import Volume

Kind = Literal["new", "grown", "same", "shrunk", "gone"]
KINDS: tuple[Kind, ...] = ("new", "grown", "same", "shrunk", "gone")
OPPOSITE: dict[Kind, Kind] = {"new": "gone", "gone": "new", "grown": "shrunk", "shrunk": "grown", "same": "same"}
SHARE = 0.4  # of what the lesion stands out by
SPREADS = 3.0  # of the noise of the difference, smoothed as it is looked at
SMOOTH_VOXELS = 0.6
RING_VOXELS = 3
HELD_BEFORE = 0.2  # of a lesion's voxels: where the other outline holds more, it was there
LEAST_VOXELS = 8  # 2 mm in each direction: less is no lesion that can be told from noise
IN_TRACT = 0.5
GROWTH_SHARE, GROWTH_ML = 0.25, 0.03  # of the mean volume; and at least


@dataclass(frozen=True, eq=False)
class LesionChange:
    """One lesion. `voxels` (n, 3) on the grid half-way, of both outlines; `then_ml` and `now_ml` where brightness supports the difference;
    `brighter`: by how much its voxels became brighter, in what it stands out by. `in_tract`: the share of it that lies in the atlas's
    corticospinal tract, which may have become brighter itself."""

    kind: Kind
    voxels: np.ndarray
    then_ml: float
    now_ml: float
    brighter: float
    region: str
    middle_lps: np.ndarray
    in_tract: float = 0.0


@dataclass(frozen=True, eq=False)
class LesionChanges:
    """Every lesion of either examination, largest first, with the two images half-way."""

    half: Halfway
    found: tuple[LesionChange, ...]

    def count(self, kind: Kind) -> int:
        return sum(one.kind == kind for one in self.found)

    @property
    def brighter_in_tract(self) -> int:
        """How many of those that are new or have grown lie mostly in the corticospinal tract."""
        return sum(one.in_tract > IN_TRACT for one in self.found if one.kind in ("new", "grown"))

    @property
    def change_ml(self) -> float:
        """What all lesions together gained."""
        return sum(one.now_ml - one.then_ml for one in self.found)


def flair_halfway(then: Examination, now: Examination) -> Halfway:
    """The FLAIR images of two examinations of one head, half-way."""
    places = [on_template(one, "flair").place for one in (then, now)]
    views = [flair_view(one.image("flair"), place) for one, place in zip((then, now), places, strict=True)]
    start = start_of(places[0].template_from_lps, places[1].template_from_lps, middle_of(views[0].volume, views[0].inside))
    return halfway(*views, start)


def flair_view(series: Volume, place: Placement) -> View:
    """A FLAIR in units of the median of its brain, and where the brain is."""
    from analysis import atlas

    layer = atlas.template()["inside"]
    inside = onto(place.grid.with_array(sample(layer.with_array(layer.array.astype(np.float32)), place.template_lps)), series) > 0.5
    array = np.asarray(series.array, np.float32)
    return View(series.with_array(array / np.float32(np.median(array[inside]))), inside)


def lesion_changes(then: Examination, now: Examination) -> LesionChanges:
    """What became of every lesion. NotMeasurable where one of the two has no lesions to look for, or they are no images of one head."""
    first, second = (one.once(lesions_on_flair) for one in (then, now))
    half = flair_halfway(then, now)
    outlines = half.of_first(regions_of(first)), half.of_second(regions_of(second))
    found = changed(half, *outlines, regions_at(half, first, second))
    places = [(on_template(one, "flair").place, matrix) for one, matrix in ((then, half.first_from_half), (now, half.second_from_half))]
    return LesionChanges(half, tuple(replace(one, in_tract=share_in_tract(one, half, places)) for one in found))


def share_in_tract(one: LesionChange, half: Halfway, places: Sequence[tuple[Placement, np.ndarray]]) -> float:
    """The share of a lesion that lies in the corticospinal tract, the mean of what both placements say."""
    from analysis import atlas

    tract = [part.label for part in atlas.parts() if part.image == "tracts" and part.structure == "cst"]
    shares = []
    for place, series_from_half in places:
        index = np.linalg.inv(place.grid.lps_from_index) @ series_from_half @ half.first.lps_from_index
        at = one.voxels @ index[:3, :3].T + index[:3, 3]
        template = np.stack([ndimage.map_coordinates(axis, at.T, order=1, mode="nearest") for axis in place.template_lps])
        shares.append(np.isin(sample(atlas.labels("tracts"), template, order=0), tract).mean())
    return float(np.mean(shares))


def regions_of(lesions: Lesions) -> Volume:
    """1 where there is a lesion, on its own grid, float32."""
    array = np.zeros(lesions.grid.array.shape, np.float32)
    for one in lesions.found:
        array[tuple(one.voxels.T)] = 1.0
    return lesions.grid.with_array(array)


def regions_at(half: Halfway, first: Lesions, second: Lesions) -> np.ndarray:
    """The number of the region in REGIONS, from 1, of the nearest lesion of both; 0 where there is none at all; uint8."""
    numbers = np.zeros(half.first.array.shape, np.uint8)
    for lesions, matrix in ((first, half.first_from_half), (second, half.second_from_half)):
        to = np.linalg.inv(matrix @ half.first.lps_from_index) @ lesions.grid.lps_from_index
        for one in lesions.found:
            index = one.voxels @ to[:3, :3].T + to[:3, 3]
            at = np.clip(np.round(index).astype(int), 0, np.array(numbers.shape) - 1)
            numbers[tuple(at.T)] = np.maximum(numbers[tuple(at.T)], 1 + REGIONS.index(one.region))
    return numbers


def changed(half: Halfway, first: np.ndarray, second: np.ndarray, regions: np.ndarray) -> tuple[LesionChange, ...]:
    """The change of each lesion, largest first. `first`, `second`: the two outlines half-way, 0 to 1; `regions` as of `regions_at`."""
    held = np.stack([first > 0.5, second > 0.5]) & half.seen
    either = held.any(0)
    pair = np.stack([ndimage.gaussian_filter(image.array, SMOOTH_VOXELS) for image in (half.first, half.second)])
    noise = noise_of(pair[1] - pair[0], (half.inside > 0.75) & ~ndimage.binary_dilation(either, iterations=RING_VOXELS))
    names, _ = ndimage.label(either, TOUCHING)
    found = []
    for number, box in enumerate(ndimage.find_objects(names), start=1):
        wide = tuple(slice(max(side.start - RING_VOXELS - 1, 0), side.stop + RING_VOXELS + 1) for side in box)
        where = names[wide] == number
        if where.sum() < LEAST_VOXELS:
            continue
        ring = ndimage.binary_dilation(where, iterations=RING_VOXELS) & ~ndimage.binary_dilation(where) & ~either[wide]
        corner = np.array([side.start for side in wide])
        found.append(_change(half, where, held[:, *wide], pair[:, *wide], ring, noise, corner, regions[wide]))
    return tuple(sorted(found, key=lambda one: -max(one.then_ml, one.now_ml)))


def noise_of(difference: np.ndarray, where: np.ndarray) -> float:
    """The robust spread of a difference."""
    values = difference[where]
    return 1.4826 * float(np.median(np.abs(values - np.median(values)))) if values.size else 0.0


def _change(
    half: Halfway, where: np.ndarray, held: np.ndarray, pair: np.ndarray, ring: np.ndarray, noise: float, corner: np.ndarray,
    regions: np.ndarray,
) -> LesionChange:  # fmt: skip
    """One lesion in its box."""
    level = np.median(pair[:, ring], axis=1) if ring.any() else pair.mean(axis=(1, 2, 3))
    above = pair - level[:, None, None, None]
    stands_out = float(np.maximum(*above)[where].mean())
    more = above[1] - above[0]
    least = max(SHARE * stands_out, SPREADS * noise)
    first, second = held & where
    gained, lost = second & ~first & (more > least), first & ~second & (more < -least)
    both = where & ~gained & ~lost  # where only one outline has it, at the same brightness, both do
    then, now = int((both | lost).sum()), int((both | gained).sum())
    kind = _kind(then, now, half.first.voxel_ml)
    index = np.argwhere(where) + corner
    middle = half.first.lps_from_index[:3, :3] @ index.mean(0) + half.first.lps_from_index[:3, 3]
    known = regions[where][regions[where] > 0]
    region = REGIONS[np.bincount(known).argmax() - 1] if known.size else "deep"
    if kind in ("new", "gone"):  # what is left of the outline is the flicker of its edge
        then, now = (0, int(where.sum())) if kind == "new" else (int(where.sum()), 0)
    brighter = float(more[where].mean()) / max(stands_out, 1e-6)
    return LesionChange(kind, index, then * half.first.voxel_ml, now * half.first.voxel_ml, brighter, region, middle)


def _kind(then: int, now: int, voxel_ml: float) -> Kind:
    """What happened to a lesion of so many voxels."""
    if min(then, now) <= HELD_BEFORE * max(then, now):
        return "new" if now > then else "gone"
    grown = abs(now - then)
    if grown < max(GROWTH_SHARE * (now + then) / 2, GROWTH_ML / voxel_ml):
        return "same"
    return "grown" if now > then else "shrunk"
