"""By how much a structure of the brain grew or shrank between two T1 images: from the images themselves, not from two volumes.

Two volumes that were outlined independently carry the errors of two outlines. Here the structure is outlined once, half-way, by the mean
of what either examination found, and the deformation from one image to the other says how much room it has in each: the sum of the
determinants over the structure. The change is given in percent of the mean of both, so that exchange of the images gives exactly the
opposite.

Measured, percent of the mean of both (benchmarks/change.py heads, seeds 202 to 208; the robust limit of `deformation` was chosen after 202
to 204 had been seen, on the others nothing was; phantom heads with voxels of 1 mm, another position, grid, noise and bias field at every
visit, laid onto the template as made but for shifts of 1.5 mm). Without a change, 21 pairs of visits, within-subject SD and largest
difference: brain .05 and .13, midbrain .17 and .57, pons .10 and .29, medulla .39 and 1.01, precentral cortex .31 and .91; of 205 to 208
alone, 12 pairs, SD .04, .20, .09, .34 and .28. With 1, 2 and 5 % planted in brainstem and precentral cortex (202 to 204, mean):
midbrain -0.99, -1.99, -5.04 as -0.95, -1.91, -5.20; pons -1.03, -2.06, -5.24 as -1.05, -1.97, -4.94; medulla -0.96, -1.93, -4.89 as
-0.86, -1.81, -4.20; precentral -1.01, -2.02, -5.13 as -0.99, -1.23, -3.74: what of its outline is not the gyrus that lost hides the
rest. 2 % of the whole brain (31, with a limit of 6): -1.3, for no known loss is added to all of it. Two real heads, each three copies,
turned by 5 to 12 degrees, shifted by 4 to 11 mm, on other grids, with noise, the largest difference of three pairs: 0.7 mm brain .26,
midbrain .12, pons .13, medulla .55, precentral .31; 1 mm brain .55, midbrain .89, pons .69, medulla 1.47, precentral 1.43. The two images
exchanged give the opposite, as each head is laid onto the template by itself: laid by the later one, sums of .0 to 1.5 % were left (206,
207). Not measured: rescans of people, another scanner, patients.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from analysis.examination import Examination
from analysis.outcome import NotMeasurable, Side
from analysis.steps.added_loss import percent_of, shares_followed
from analysis.steps.brainstem import brainstem_parts
from analysis.steps.deformation import Pair, displacement, growth, pair_of, read
from analysis.steps.halfway import Halfway, View, halfway, middle_of, start_of
from analysis.steps.head import brain_mask, head_on_template
from analysis.steps.ribbon import central_gyri
from analysis.steps.tissue import tissue_fractions

T = TypeVar("T")

LEAST_ML = 0.3
LEAST_FOLLOWED = 0.4  # of a known loss; of less one would see the correction rather than the image

Key = tuple[str, Side | None]
# What loses together. A loss of all of the brain is not added: that would take longer than the comparison itself
GROUPS: tuple[tuple[Key, ...], ...] = (
    (("midbrain_volume", None), ("pons_volume", None), ("medulla_volume", None)),
    (("precentral_volume", "left"),),
    (("precentral_volume", "right"),),
)


@dataclass(frozen=True, eq=False)
class VolumeChange:
    """`percent`: what the second has more than the first, of the mean of both. `volume_ml`: that mean half-way, by the outline there.
    `followed`: the share of a known loss that was followed, 0 to 1, by which `percent` was divided; None where none was added."""

    name: str
    side: Side | None
    percent: float
    volume_ml: float
    followed: float | None = None


def t1_halfway(then: Examination, now: Examination) -> Halfway:
    """The T1 images of two examinations of one head, half-way. NotMeasurable where one is no head, or they are not the same."""
    views = [view_of(one) for one in (then, now)]
    places = [one.once(head_on_template) for one in (then, now)]
    start = start_of(places[0].template_from_lps, places[1].template_from_lps, middle_of(views[0].volume, views[0].inside))
    return halfway(*views, start)


def view_of(examination: Examination) -> View:
    """The T1 of an examination, as it is compared."""
    tissue = examination.once(tissue_fractions)
    return View(examination.image("t1").with_array(tissue.even_t1), examination.once(brain_mask), tissue.brightness)


def structures_of(examination: Examination) -> dict[Key, np.ndarray]:
    """What of each voxel of the T1 belongs to each structure, 0 to 1, float32. Those that the field of view does not hold are left out."""
    tissue = examination.once(tissue_fractions)
    found: dict[Key, np.ndarray] = {("brain_volume", None): tissue.grey + tissue.white}
    for part in _or_none(examination, brainstem_parts):
        if part.mask is not None:
            found[f"{part.name}_volume", None] = part.mask.astype(np.float32)
    for gyri in _or_none(examination, central_gyri):
        grey = np.zeros_like(tissue.grey)
        grey[gyri.box] = tissue.grey[gyri.box] * gyri.mask("precentral_gyrus")
        found["precentral_volume", gyri.side] = grey
    return found


def _or_none(examination: Examination, step: Callable[[Examination], tuple[T, ...]]) -> tuple[T, ...]:
    """What a step gives; nothing where the image does not hold it."""
    try:
        return examination.once(step)
    except NotMeasurable:
        return ()


def volume_changes(then: Examination, now: Examination, half: Halfway) -> tuple[VolumeChange, ...]:
    """The change of every structure that both T1 images hold. `half`: of these two."""
    first, second = structures_of(then), structures_of(now)
    t1 = then.image("t1"), now.image("t1")
    outlines = {key: (half.of_first(t1[0].with_array(first[key])), half.of_second(t1[1].with_array(second[key])))
                for key in first if key in second}  # fmt: skip
    return changes_of(pair_of(half), outlines, half.first.voxel_ml)


def changes_of(pair: Pair, outlines: Mapping[Key, tuple[np.ndarray, np.ndarray]], voxel_ml: float) -> tuple[VolumeChange, ...]:
    """The change of structures between two images half-way. `outlines`: each on their grid as found in the first and in the second image,
    0 to 1. Those that are hardly there, or hardly followed, are left out."""
    way = displacement(pair)
    there = {key: (read(first, -way / 2) + read(second, way / 2)) / 2 for key, (first, second) in outlines.items()
             if min(first.sum(dtype=float), second.sum(dtype=float)) * voxel_ml >= LEAST_ML}  # fmt: skip
    room, shares = growth(way), shares_followed(pair, way, there, GROUPS)
    return tuple(
        VolumeChange(*key, percent_of(tissue, room) / shares.get(key, 1.0), float(tissue.sum(dtype=float)) * voxel_ml, shares.get(key))
        for key, tissue in there.items() if shares.get(key, 1.0) >= LEAST_FOLLOWED
    )  # fmt: skip
