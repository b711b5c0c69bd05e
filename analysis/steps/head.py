"""The head on the template: where the brain is in a T1, without a whole-head template and without trained weights.

Rigid onto the pseudo-head finds place and rotation; similarity and affine inside the eroded brain find the scale, where face, neck and
scalp cannot pull; a cross-correlation warp inside the brain finds the shape. What is not a head on a T1 does not correlate, and is refused.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy import ndimage

from analysis import atlas
from analysis.examination import Examination
from analysis.outcome import NotMeasurable
from analysis.steps.space import (
    SEED,
    Placement,
    ants_image,
    ants_scratch,
    around,
    coarser,
    lps_grid,
    share_inside,
    similarity_of,
    warped_onto,
)
from analysis.volume import Volume

STEP_MM = 2.0
HEAD_HEIGHT_MM = 170.0
EDGE_VOXELS = 2  # 4 mm at the template's step
LEAST_SIMILARITY = 0.65
WARP_ITERATIONS = (50, 30, 5)


def head_on_template(examination: Examination) -> Placement:
    """Where the T1 lies on the template, on a 2 mm grid along the axes of the T1. NotMeasurable where it is not the T1 of a head."""
    t1 = examination.image("t1")
    small = coarser(t1, STEP_MM)
    if min(small.array.shape) * STEP_MM < 60.0 or not np.any(small.array > 0):
        raise NotMeasurable("the T1 series does not cover a head: it is less than 60 mm wide in one direction, or empty")
    layers = atlas.template()
    with ants_scratch() as (ants, _):
        even = ants.n4_bias_field_correction(ants_image(small), shrink_factor=4)
        top = ants.from_numpy(without_neck(small.with_array(even.numpy())), even.origin, even.spacing, even.direction)
        near = around(layers["inside"], EDGE_VOXELS * 3)
        brain, inside = layers["brain"].part(near), layers["inside"].part(near)
        fixed = ants_image(brain)
        core = ants_image(inside.with_array(ndimage.binary_erosion(inside.array, iterations=EDGE_VOXELS)))
        options = {"aff_metric": "mattes", "random_seed": SEED}
        found = ants.registration(ants_image(layers["head"]), top, "Rigid", aff_random_sampling_rate=0.3, **options)
        for kind in ("Similarity", "Affine"):
            start = found["fwdtransforms"][0]
            found = ants.registration(fixed, even, kind, initial_transform=start, mask=core, aff_random_sampling_rate=0.5, **options)
        place, moved = warped_onto(ants, brain, inside, even, found["fwdtransforms"][0], WARP_ITERATIONS, small)
    similarity = similarity_of(moved, brain, inside.array)
    if similarity < LEAST_SIMILARITY:
        raise NotMeasurable(
            f"the T1 series does not look like the T1 of a head: its correlation with the template is {similarity:.2f}, "
            f"at least {LEAST_SIMILARITY} is needed"
        )
    return replace(place, similarity=similarity)


def without_neck(volume: Volume) -> np.ndarray:
    """The array with everything more than 170 mm below the top of the head blanked. The top: the highest of the bright voxels."""
    array = volume.array
    bright = array > 0.3 * np.percentile(array, 98)
    up = volume.lps_from_index[2, :3]
    height = sum(up[axis] * np.arange(size).reshape([-1 if i == axis else 1 for i in range(3)]) for axis, size in enumerate(array.shape))
    top = np.percentile(height[bright], 99.9)
    return np.where(height < top - HEAD_HEIGHT_MM, 0.0, array).astype(np.float32)


def brain_mask(examination: Examination) -> np.ndarray:
    """The brain with the CSF of its sulci and ventricles on the grid of the T1, boolean: the template's, carried to the patient."""
    return examination.once(head_on_template).layer_on("inside", examination.image("t1")) > 0.5


def covered_brain(examination: Examination) -> float:
    """The share of the template's brain that lies inside the field of view of the T1, 0 to 1."""
    place = examination.once(head_on_template)
    inside = atlas.template()["inside"]
    template_lps = lps_grid(inside)[:, inside.array][:, ::7]
    return share_inside(examination.image("t1"), place, template_lps)
