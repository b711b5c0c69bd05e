"""The head of an earlier examination, laid onto the template by what is known of the same head now.

A head that was measured then needs only its outlines again, not a warp of its own: it is the head of now, at another place. So the two T1
are laid over one another, rigidly, and the placement of now goes along. Both images then have the same idea of where which structure
begins, and only what they show differs. What has changed the shape of the head in between is small beside the 2 mm of the template.
"""

from __future__ import annotations

import numpy as np

from analysis.examination import Examination
from analysis.steps.coregistration import moved_place
from analysis.steps.head import STEP_MM, brain_mask, head_on_template, without_neck
from analysis.steps.rigid import moving_from_fixed
from analysis.steps.space import affine_of, ants_image, ants_scratch, around, coarser, onto
from analysis.volume import Volume

LEAST_ALIKE = 0.75  # as half-way (analysis.steps.halfway): what is less is not this head, or not found
MARGIN_VOXELS = 4


def lay_like(then: Examination, now: Examination) -> None:
    """Give an earlier examination the place of its T1 by that of now, so that its own is not looked for; nothing where it was found
    already, one of the two has no T1 of a head, or the two do not come to lie over one another."""
    if then.is_done(head_on_template) or not all("t1" in one.images for one in (then, now)):
        return
    place, t1, mask = now.once(head_on_template), now.image("t1"), now.once(brain_mask)
    fixed, moving = coarser(t1, STEP_MM), coarser(then.image("t1"), STEP_MM)
    inside = coarser(t1.with_array(mask.astype(np.float32)), STEP_MM).array > 0.5
    box = around(fixed.with_array(inside), MARGIN_VOXELS)
    then_from_now = moving_from_fixed(fixed.part(box), moving, inside[box], _rough_map(fixed, moving))
    there = onto(moving, Volume(fixed.array, then_from_now @ fixed.lps_from_index))
    if np.corrcoef(there[inside], fixed.array[inside])[0, 1] >= LEAST_ALIKE:
        then.know(head_on_template, moved_place(place, moving, np.linalg.inv(then_from_now)))


def _rough_map(fixed: Volume, moving: Volume) -> np.ndarray:
    """Where the positions (LPS, mm) of one head are in another image of it, from whole heads in any place: 4 by 4."""
    with ants_scratch() as (ants, _):
        heads = [ants_image(one.with_array(without_neck(one))) for one in (fixed, moving)]
        found = ants.registration(*heads, "Rigid", aff_metric="mattes", aff_random_sampling_rate=0.3)
        return affine_of(ants, found["fwdtransforms"][0])
