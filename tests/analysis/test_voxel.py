"""Where a voxel lies: the volume of a box on a grid, tissues of a head whose tissues are known, the gyrus that it holds most of."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from analysis import atlas
from analysis.examination import Examination
from analysis.outcome import NotMeasurable
from analysis.spectrum import Spectrum
from analysis.steps.head import head_on_template
from analysis.steps.space import Placement, lps_grid
from analysis.steps.tissue import Tissue, tissue_fractions
from analysis.steps.voxel import box_on, voxel_of
from analysis.volume import Volume

HAND = {"left": (28.3, 22.4, 60.5), "right": (-28.3, 22.4, 60.5)}  # LPS mm on the template, near the published motor area of the hand


def a_box(middle, edges=(20.0, 20.0, 20.0), turn=(0.0, 0.0, 0.0)):
    box = np.eye(4)
    box[:3, :3] = Rotation.from_euler("xyz", turn, degrees=True).as_matrix() * np.array(edges)
    box[:3, 3] = middle
    return box


def a_spectrum(box, **changes):
    return Spectrum(np.ones((1, 1, 64), complex), 2000.0, 127.7, 30.0, lps_from_box=box, **changes)


def the_template_as_a_patient():
    """An examination of a head that is the template itself: its tissues and its place are those of the atlas."""
    layers = atlas.template()
    grey, white, inside = (layers[name].array.astype(np.float32) for name in ("grey", "white", "inside"))
    t1 = layers["brain"]
    tissue = Tissue(np.clip(inside - grey - white, 0, 1), grey, white, t1.array, (0.3, 0.7, 1.0), 0.03)
    place = Placement(t1, lps_grid(t1), np.eye(4), 1.0)
    return Examination({"t1": t1}, _done={tissue_fractions: (tissue, None), head_on_template: (place, None)})


@pytest.mark.parametrize("spacing_mm", [0.7, 1.0, 2.0])
@pytest.mark.parametrize("turn", [(0, 0, 0), (20, -35, 10), (45, 45, 45)])
def test_the_share_of_each_voxel_adds_up_to_the_volume_of_the_box(spacing_mm, turn):
    affine = np.diag([spacing_mm, spacing_mm, spacing_mm, 1.0])
    affine[:3, :3] = Rotation.from_euler("xyz", (5, 10, -15), degrees=True).as_matrix() * spacing_mm
    grid = Volume(np.zeros((90, 100, 110), np.uint8), affine)
    middle = (affine @ [45, 50, 55, 1])[:3]
    part, inside = box_on(grid, a_box(middle, (18.0, 24.0, 15.0), turn))
    assert inside.sum() * spacing_mm**3 == pytest.approx(18 * 24 * 15, rel=0.01)
    index = np.stack([axis[inside > 0.5].mean() for axis in np.meshgrid(*(np.arange(s.start, s.stop) for s in part), indexing="ij")])
    assert index == pytest.approx([45, 50, 55], abs=0.2)


def test_a_box_outside_the_grid_holds_nothing_and_one_at_its_edge_a_part():
    grid = Volume(np.zeros((40, 40, 40), np.uint8), np.eye(4))
    assert box_on(grid, a_box((200, 0, 0)))[1].sum() == 0
    assert box_on(grid, a_box((-0.5, 20, 20)))[1].sum() == pytest.approx(20 * 20 * 10, rel=0.01)


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("turn", [(0, 0, 0), (15, -10, 20)])
def test_a_voxel_in_the_hand_area_is_motor_cortex_of_its_side(side, turn):
    voxel = voxel_of(the_template_as_a_patient(), a_spectrum(a_box(HAND[side], turn=turn)))
    assert voxel.is_motor_cortex and voxel.side == side
    assert voxel.precentral > 0.5 and voxel.hand > 0.5 * voxel.precentral
    assert voxel.csf + voxel.grey + voxel.white == pytest.approx(1.0, abs=0.1) and min(voxel.grey, voxel.white) > 0.15
    assert voxel.mask.sum() * 0.008 == pytest.approx(8.0, rel=0.1)


@pytest.mark.parametrize(
    ("middle", "lobe"), [((0, 48, 28), "parietal lobe"), ((8, 82, 8), "occipital lobe"), ((38, -30, 30), "frontal lobe")]
)
def test_a_voxel_elsewhere_is_none_and_says_where_it_lies(middle, lobe):
    voxel = voxel_of(the_template_as_a_patient(), a_spectrum(a_box(middle)))
    assert not voxel.is_motor_cortex and voxel.precentral < 0.1 and voxel.lobe == lobe


def test_a_voxel_in_the_postcentral_gyrus_is_not_motor_cortex():
    voxel = voxel_of(the_template_as_a_patient(), a_spectrum(a_box((-44, 32, 52), (15, 15, 15))))
    assert not voxel.is_motor_cortex and voxel.gyri["postcentral_gyrus", "right"] > voxel.precentral


@pytest.mark.parametrize(
    ("spectrum", "reason"),
    [
        (Spectrum(np.ones((1, 1, 64), complex), 2000.0, 127.7, 30.0, no_place="its headers do not say"), "its headers do not say"),
        (a_spectrum(a_box((300, 0, 0))), "the T1 series holds 0 % of the voxel"),
        (a_spectrum(a_box((0, -68, 95))), "grey and white matter, at least 40 % are needed"),
    ],
)
def test_what_has_no_place_in_the_brain_is_refused_in_words(spectrum, reason):
    with pytest.raises(NotMeasurable, match=reason):
        voxel_of(the_template_as_a_patient(), spectrum)
