"""The head of an earlier examination, laid onto the template by what is known of the same head now.

A head that was measured then needs only its outlines again, not a warp of its own: it is the head of now, at another place. So the two T1,
and the two FLAIR, are laid over one another, rigidly, and the placements of now go along. Both images then have the same idea of where
which structure begins, and only what they show differs. What has changed the shape of the head in between is small beside the 2 mm of the
template.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from analysis.examination import Examination
from analysis.outcome import NotMeasurable
from analysis.steps.coregistration import laying, moved_place
from analysis.steps.head import STEP_MM, brain_mask, head_on_template, without_neck
from analysis.steps.rigid import moving_from_fixed
from analysis.steps.space import affine_of, ants_image, ants_scratch, around, coarser, onto
from analysis.volume import Volume

LEAST_ALIKE = 0.75  # as half-way (analysis.steps.halfway): what is less is not this head, or not found
MARGIN_VOXELS = 4


def lay_like(then: Examination, now: Examination) -> None:
    """Give an earlier examination the places of its T1 and FLAIR by those of now, so that its own are not looked for; nothing where they
    were found already, one of the two has no T1 of a head, or the two do not come to lie over one another."""
    if then.is_done(head_on_template) or not all("t1" in one.images for one in (then, now)):
        return
    place, mask = now.once(head_on_template), now.image("t1").with_array(now.once(brain_mask).astype(np.float32))
    pair = [coarser(one.image("t1"), STEP_MM) for one in (now, then)]
    then_from_now = _map_of(*pair, mask, _rough_map(*pair))
    if then_from_now is not None:
        then.know(head_on_template, moved_place(place, pair[1], np.linalg.inv(then_from_now)))
        _lay_flair_like(then, now, then_from_now, mask)


def _lay_flair_like(then: Examination, now: Examination, then_from_now: np.ndarray, mask: Volume) -> None:
    """The FLAIR lies over its T1 then as it does now but for what the patient moved in between."""
    step = laying("flair")
    if then.is_done(step) or not all("flair" in one.images for one in (then, now)):
        return
    try:
        laid = now.once(step)
    except NotMeasurable:
        return
    if laid.t1_from_series is None:
        return
    pair = [coarser(one.image("flair"), STEP_MM) for one in (now, then)]
    found = _map_of(*pair, Volume(mask.array, np.linalg.inv(laid.t1_from_series) @ mask.lps_from_index), then_from_now)
    if found is not None:
        back = np.linalg.inv(found)
        place, t1_from_series = moved_place(laid.place, pair[1], back), then_from_now @ laid.t1_from_series @ back
        then.know(step, replace(laid, place=place, t1_from_series=t1_from_series))


def _map_of(fixed: Volume, moving: Volume, mask: Volume, start: np.ndarray) -> np.ndarray | None:
    """Where the positions (LPS, mm) of one image of a head are in another, 4 by 4; None where they do not come to lie over one another.
    `mask`: the brain of the one that stays, 0 to 1, on any grid."""
    inside = onto(mask, fixed) > 0.5
    box = around(fixed.with_array(inside), MARGIN_VOXELS)
    found = moving_from_fixed(fixed.part(box), moving, inside[box], start)
    there = onto(moving, Volume(fixed.array, found @ fixed.lps_from_index))
    return found if np.corrcoef(there[inside], fixed.array[inside])[0, 1] >= LEAST_ALIKE else None


def _rough_map(fixed: Volume, moving: Volume) -> np.ndarray:
    """Where the positions (LPS, mm) of one head are in another image of it, from whole heads in any place: 4 by 4."""
    with ants_scratch() as (ants, _):
        heads = [ants_image(one.with_array(without_neck(one))) for one in (fixed, moving)]
        found = ants.registration(*heads, "Rigid", aff_metric="mattes", aff_random_sampling_rate=0.3)
        return affine_of(ants, found["fwdtransforms"][0])
