"""The head on the template: where the brain is in a T1, without a whole-head template and without trained weights.

Rigid onto the pseudo-head finds place and rotation; similarity and affine inside the eroded brain find the scale, where face, neck and
scalp cannot pull; a cross-correlation warp inside the brain finds the shape. What is not a head on a T1 does not correlate, and is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy import ndimage

from analysis import atlas
from analysis.examination import Examination
from analysis.outcome import NotMeasurable
from analysis.steps.head_search import nearest_place
from analysis.steps.space import (
    Placement,
    ants_image,
    ants_scratch,
    around,
    coarser,
    lps_grid,
    sample,
    share_inside,
    similarity_of,
    warped_onto,
)
from analysis.volume import Volume
from analysis.words import say

STEP_MM = 2.0
HEAD_HEIGHT_MM = 170.0
EDGE_VOXELS = 2  # 4 mm at the template's step
LEAST_SIMILARITY = 0.65
SURE_SIMILARITY = 0.4  # after the affine, before the warp: 0.59 where it succeeded, at most 0.19 where it failed
NODS_DEG = (0.0, -20.0, 20.0)
WARP_ITERATIONS = (50, 30, 5)
# how far outside the brain skull and scalp are looked for, and above which height of the template; one stripped head was blank there in
# 99.8 %, three whole ones in at most 4.5 % (one of them defaced)
SKULL_MM, VAULT_Z_MM, MOSTLY_BLANK = (3.0, 10.0), 10.0, 0.5


def head_on_template(examination: Examination) -> Placement:
    """Where the T1 lies on the template, on a 2 mm grid along the axes of the T1. NotMeasurable where it is not the T1 of a head."""
    place = placed(examination.image("t1"), atlas.template()["brain"], "T1")
    if place.similarity < LEAST_SIMILARITY:
        raise NotMeasurable(
            say(
                "the T1 series does not look like the T1 of a head: its correlation with the template is {similarity:.2f}, at "
                "least {least} is needed",
                similarity=place.similarity, least=LEAST_SIMILARITY,
            )
        )
    return place


def placed(head: Volume, brain: Volume, name: str, may_be_cut: bool = False) -> Placement:
    """Where a head lies on the template. `brain`: the template's brain in the contrast of the head. `may_be_cut`: warp and similarity look
    only where the field of view reaches. NotMeasurable where the image, called `name`, is too small; whether it is a head is for the caller
    to say from the similarity."""
    small = coarser(head, STEP_MM)
    if min(small.array.shape) * STEP_MM < 60.0 or not np.any(small.array > 0):
        raise NotMeasurable(say(
            "the {name} series does not cover a head: it is less than 60 mm wide in one direction, or empty",
            name=name,
        ))
    layers = atlas.template()
    with ants_scratch() as (ants, folder):
        even = ants.n4_bias_field_correction(ants_image(small), shrink_factor=4)
        top = ants.from_numpy(without_neck(small.with_array(even.numpy())), even.origin, even.spacing, even.direction)
        near = around(layers["inside"], EDGE_VOXELS * 3)
        brain, inside = brain.part(near), layers["inside"].part(near)
        options = {"aff_metric": "mattes", "aff_random_sampling_rate": 0.3}
        rigid = ants.registration(ants_image(layers["head"]), top, "Rigid", **options)["fwdtransforms"][0]

        def to_scale() -> str:
            return ants.registration(ants_image(layers["head"]), top, "Similarity", initial_transform=rigid, **options)["fwdtransforms"][0]

        def by_search() -> np.ndarray:
            return nearest_place(small.with_array(even.numpy()), brain, inside)

        affine_file = best_affine(ants, brain, inside, even, starts(ants, folder, rigid, to_scale, by_search))
        if may_be_cut:
            field = ants_image(small.with_array(np.ones(small.array.shape, np.float32)))
            seen = ants.apply_transforms(ants_image(brain), field, [affine_file]).numpy() > 0.5
            inside = inside.with_array(inside.array & seen)
        place, moved = warped_onto(ants, brain, inside, even, affine_file, WARP_ITERATIONS, small)
    return replace(place, similarity=similarity_of(moved, brain, inside.array))


def best_affine(ants, brain: Volume, inside: Volume, even, start_files: Iterable[str]) -> str:
    """The file of the affine of an ANTs image onto the template's brain: of the first start that brings it there, else of the best."""
    fixed, core = ants_image(brain), ants_image(inside.with_array(ndimage.binary_erosion(inside.array, iterations=EDGE_VOXELS)))
    options = {"mask": core, "aff_metric": "mattes", "aff_random_sampling_rate": 0.5}
    found: dict[str, float] = {}
    for file in start_files:
        for kind in ("Similarity", "Affine"):
            file = ants.registration(fixed, even, kind, initial_transform=file, **options)["fwdtransforms"][0]
        found[file] = similarity_of(ants.apply_transforms(fixed, even, [file]).numpy(), brain, inside.array)
        if found[file] >= SURE_SIMILARITY:
            break
    return max(found, key=found.__getitem__)


def starts(ants, folder: Path, rigid_file: str, to_scale: Callable[[], str], by_search: Callable[[], np.ndarray]) -> Iterator[str]:
    """Files of transforms to start from: the rigid one, the one that `to_scale` gives, then heads that are straight, nod and look up at
    the same place, at last where `by_search` finds the brain.

    Inside the brain alone a small head is taken for a template's brain with its skull: of a phantom .84 of the template's size the affine
    from the rigid start ended at a correlation of .29, from the whole head to scale at .84. The rigid metric hardly knows how far
    a head nods: eight runs on one head, each with other samples, gave 2° to 35°, and from one of them the affine ended far off. Of
    ten copies of a real FLAIR without a T1, turned by up to 12 degrees about each axis twice, five came right from the first two starts,
    one from the straight head, and four only from the search; all ten ended at a correlation of .77 to .80
    (benchmarks/change.py place).
    """
    yield rigid_file
    yield to_scale()
    rigid = ants.read_transform(rigid_file)
    for angle_deg in NODS_DEG:
        cos, sin = np.cos(np.deg2rad(angle_deg)), np.sin(np.deg2rad(angle_deg))
        parameters = [1, 0, 0, 0, cos, -sin, 0, sin, cos, *rigid.parameters[9:]]
        yield written(ants, folder / f"start{angle_deg:+.0f}.mat", parameters, list(rigid.fixed_parameters))
    place = by_search()
    yield written(ants, folder / "search.mat", [*place[:3, :3].ravel(), *place[:3, 3]], [0, 0, 0])


def written(ants, file: Path, parameters: list[float], fixed_parameters: list[float]) -> str:
    """The file of an affine transform: nine numbers of the matrix by row and three of the shift; its fixed point, LPS mm."""
    made = ants.create_ants_transform("AffineTransform", dimension=3, parameters=parameters, fixed_parameters=fixed_parameters)
    ants.write_transform(made, str(file))
    return str(file)


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


def skull_stripped(examination: Examination) -> bool:
    """Whether the T1 comes without skull: nothing but one and the same value around the upper brain, where there is bone and scalp."""
    t1, place = examination.image("t1"), examination.once(head_on_template)
    blank = t1.with_array((t1.array == t1.array.min()).astype(np.float32))
    blank_there = sample(blank, lps_grid(place.grid), order=0)
    inside = sample(atlas.template()["inside"].with_array(atlas.template()["inside"].array.astype(np.float32)), place.template_lps) > 0.5
    away_mm = ndimage.distance_transform_edt(~inside, sampling=place.grid.spacing_mm)
    around_brain = (away_mm > SKULL_MM[0]) & (away_mm <= SKULL_MM[1]) & (place.template_lps[2] > VAULT_Z_MM)
    return bool(around_brain.any()) and float(blank_there[around_brain].mean()) > MOSTLY_BLANK


def covered_brain(examination: Examination) -> float:
    """The share of the template's brain that lies inside the field of view of the T1, 0 to 1."""
    place = examination.once(head_on_template)
    inside = atlas.template()["inside"]
    template_lps = lps_grid(inside)[:, inside.array][:, ::7]
    return share_inside(examination.image("t1"), place, template_lps)
