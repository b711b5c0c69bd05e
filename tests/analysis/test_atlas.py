"""The packaged atlas: what is in it, where it is, and that the script makes what is shipped."""

import numpy as np
import pytest

from analysis import atlas
from analysis.atlas.gyri import MOTOR_AREAS

SIDED = {"cst", "precentral_gyrus", "postcentral_gyrus", "superior_frontal_gyrus", "reference_white_matter"}
# ml on one side of the template, which is a large head: 1.89 l inside the skull
VOLUME_ML = {
    "precentral_gyrus": (28, 38),  # its cortex, about 17, and the white matter of its core
    "postcentral_gyrus": (22, 32),
    "superior_frontal_gyrus": (8, 16),
    "midbrain": (7, 11),
    "pons": (16, 23),
    "medulla": (4.5, 7.5),
    "reference_white_matter": (2, 5),
    "cst": (8, 12),
    "callosal_motor_segment": (1, 2),
    "splenium": (1.5, 4),
}


def mask(structure, side=None, level=None) -> np.ndarray:
    """A structure on the template (x, y, z), boolean: of one side or level, or all of them together."""
    found = [part for part in atlas.parts() if part.structure == structure and side in (None, part.side) and level in (None, part.level)]
    return np.isin(atlas.labels(found[0].image).array, [part.label for part in found])


def index(image, x_mm, y_mm, z_mm) -> tuple[int, ...]:
    """The voxel of a position in MNI (RAS) mm."""
    return tuple(np.rint(np.linalg.inv(atlas.labels(image).lps_from_index) @ (-x_mm, -y_mm, z_mm, 1.0))[:3].astype(int))


def middle_mm(found: np.ndarray) -> np.ndarray:
    """The centre of a mask, MNI (RAS) mm."""
    return np.argwhere(found).mean(0) - np.array(index("tracts", 0, 0, 0))


def part_id(part: atlas.Part) -> str:
    return "-".join(filter(None, part[2:]))


def test_every_image_has_the_same_grid_of_bytes():
    volumes = [atlas.labels(image) for image in atlas.IMAGES]
    assert all(volume.array.dtype == np.uint8 and volume.array.shape == volumes[0].array.shape for volume in volumes)
    assert all(np.array_equal(volume.lps_from_index, volumes[0].lps_from_index) for volume in volumes)


def test_an_image_that_is_not_there_is_named():
    with pytest.raises(KeyError, match="no image cerebellum"):
        atlas.labels("cerebellum")


@pytest.mark.parametrize("level", MOTOR_AREAS)
def test_published_positions_of_the_motor_areas_are_inside_their_parts(level):
    for side, position in zip(("left", "right"), MOTOR_AREAS[level], strict=True):
        assert mask("precentral_gyrus", side, level)[index("cortex", *position)]


@pytest.mark.parametrize("peak", [("left", -9, -24, 76), ("left", -25, -16, 68), ("right", 6, -22, 73)])
def test_published_peaks_of_cortical_thinning_in_als_are_in_the_precentral_gyrus(peak):
    side, *position = peak
    assert mask("precentral_gyrus", side)[index("cortex", *position)]


def test_the_left_is_at_the_left_and_the_right_is_its_mirror():
    for part in atlas.parts():
        assert (part.structure in SIDED) == (part.side is not None)
        if part.side == "left":
            left, right = mask(part.structure, "left", part.level), mask(part.structure, "right", part.level)
            assert np.array_equal(left[::-1], right)
            assert middle_mm(left)[0] < 0


@pytest.mark.parametrize("part", [part for part in atlas.parts() if part.image != "tracts"], ids=part_id)
def test_a_part_is_one_piece_without_holes(part):
    from scipy import ndimage

    found = mask(part.structure, part.side, part.level)
    found = found[ndimage.find_objects(found.astype(np.uint8))[0]]
    assert ndimage.label(found)[1] == 1
    assert np.array_equal(ndimage.binary_fill_holes(found), found)


@pytest.mark.parametrize("structure", VOLUME_ML)
def test_volumes_are_those_of_a_large_head(structure):
    low, high = VOLUME_ML[structure]
    for side in ("left", "right") if structure in SIDED else (None,):
        assert low < mask(structure, side).sum() / 1000 < high


def test_the_motor_parts_follow_each_other_from_the_midline_to_the_lateral_fissure():
    middles = np.array([middle_mm(mask("precentral_gyrus", "left", level)) for level in ("leg", "trunk", "hand", "face", "tongue")])
    assert (np.diff(np.abs(middles[:, 0])) > 0).all()
    assert (np.diff(middles[1:, 2]) < 0).all()


def test_the_gyri_lie_one_in_front_of_the_other():
    y = [middle_mm(mask(structure, "left"))[1] for structure in ("superior_frontal_gyrus", "precentral_gyrus", "postcentral_gyrus")]
    assert y[0] > y[1] > y[2]


def test_the_gyri_hold_the_white_matter_of_their_core():
    from analysis.steps.space import lps_grid, sample

    white = sample(atlas.template()["white"], lps_grid(atlas.labels("cortex")))
    for structure in ("precentral_gyrus", "postcentral_gyrus", "superior_frontal_gyrus"):
        assert 0.3 < white[mask(structure, "left")].mean() < 0.6


def test_midbrain_pons_and_medulla_stand_on_each_other():
    midbrain, pons, medulla = (mask(structure) for structure in ("midbrain", "pons", "medulla"))
    assert middle_mm(midbrain)[2] > middle_mm(pons)[2] > middle_mm(medulla)[2]
    for upper, lower in ((midbrain, pons), (pons, medulla)):
        assert (upper[..., 1:] & lower[..., :-1]).sum() > 100


def test_white_matter_to_compare_with_is_white_and_off_the_tract():
    from analysis.steps.space import lps_grid, sample

    white = sample(atlas.template()["white"], lps_grid(atlas.labels("white_matter")))
    reference = mask("reference_white_matter")
    assert white[reference].min() > 0.85
    assert not (reference & mask("cst")).any()


def test_the_script_makes_what_is_shipped():
    from analysis.atlas.build import label_image, label_images
    from analysis.atlas.maps import template_maps

    found, rows = label_images(template_maps())
    assert rows == [(part.image, part.label, part.structure, part.side or "", part.level or "") for part in atlas.parts()]
    for image, parts in found.items():
        assert np.array_equal(label_image(parts), atlas.labels(image).array)
