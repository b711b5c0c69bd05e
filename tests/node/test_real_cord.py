"""The cord on real images, wrapped as DICOM: against masks that were drawn by hand, in their own convention, and levels of a template.

The convention: the drawn masks have their edge at 0.22 of the step from cord to fluid (`drawn_mm`); the areas that are reported reach to
the half maximum, and so enclose more.
"""

from __future__ import annotations

import nibabel
import numpy as np
import pytest
from scipy import ndimage

from analysis.outcome import NotMeasurable
from analysis.steps.cord import Cord, cord_on
from analysis.steps.cord_edge import Line, mask_of
from analysis.steps.space import lps_grid, sample
from analysis.volume import Volume
from node.roles import decide
from node.study import read_studies
from node.volumes import image_of

T2 = {"ScanningSequence": "SE", "MRAcquisitionType": "3D", "RepetitionTime": 3000, "EchoTime": 100, "FlipAngle": 120,
      "BodyPartExamined": "CSPINE"}  # fmt: skip
PAM50_DISCS = {"C2/C3": 227, "C3/C4": 218, "C4/C5": 209, "C5/C6": 201, "C6/C7": 193, "C7/T1": 184, "T1/T2": 173}  # slices of 2 mm


def volume_of(path) -> Volume:
    """A NIfTI file as a volume; slices are turned where that makes it right-handed."""
    file = nibabel.load(path)
    array = np.asarray(file.dataobj, np.float32).transpose(2, 1, 0)
    matrix = (np.diag([-1.0, -1.0, 1.0, 1.0]) @ file.affine)[:, [2, 1, 0, 3]]
    if np.linalg.det(matrix[:3, :3]) < 0:
        array, flip = array[::-1], np.diag([-1.0, 1.0, 1.0, 1.0])
        flip[0, 3] = array.shape[0] - 1
        matrix = matrix @ flip
    return Volume(np.ascontiguousarray(array), matrix)


def wrapped(scanner, volume: Volume, folder) -> Volume:
    """The volume once through DICOM files, as a series whose role is that of a T2 of the cord."""
    slices, rows, columns = volume.array.shape
    upright = volume.lps_from_index[:3, :3] / volume.spacing_mm
    base = scanner.header(**T2, Rows=rows, Columns=columns)
    headers = scanner.stack(base, slices, float(volume.spacing_mm[0]), float(volume.spacing_mm[1]), (*upright[:, 2], *upright[:, 1]),
                            volume.lps_from_index[:3, 3])  # fmt: skip
    scanner.write(headers, np.clip(volume.array, 0, None), folder)
    (study,), _ = read_studies(folder)
    (series,) = study.series
    assert decide(series).role == "cord_t2"
    return image_of(series, "cord_t2")


def dice(cord: Cord, drawn: Volume, radius_mm: np.ndarray) -> float:
    """Against a mask drawn on another grid, between the ends of what was measured."""
    line = Line(cord.centreline_lps, cord.axis, cord.posterior, cord.left)
    mask = mask_of(cord.mask, line, radius_mm, cord.measured)
    lps = lps_grid(cord.mask)
    inside = (lps[2] <= line.lps[:, 2].max()) & (lps[2] >= line.lps[:, 2].min())
    other = (sample(drawn, lps, order=0) > 0) & inside
    return 2.0 * float((mask & other).sum()) / float((mask & inside).sum() + other.sum())


def turned(volume: Volume, nod_deg: float, voxel_mm: float) -> Volume:
    """The image on a grid that is nodded about the left-right axis and has other voxels."""
    angle = np.deg2rad(nod_deg)
    nod = np.array([[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]])
    size = (np.array(volume.array.shape) * volume.spacing_mm / voxel_mm).astype(int)
    matrix = np.eye(4)
    matrix[:3, :3] = nod @ (volume.lps_from_index[:3, :3] / volume.spacing_mm) * voxel_mm
    middle = volume.lps_from_index @ [*((np.array(volume.array.shape) - 1) / 2), 1]
    matrix[:3, 3] = middle[:3] - matrix[:3, :3] @ ((size - 1) / 2)
    index = np.linalg.inv(volume.lps_from_index) @ matrix
    return Volume(ndimage.affine_transform(volume.array, index, output_shape=tuple(size), order=3, mode="nearest"), matrix)


@pytest.mark.realdata
class TestDrawnMasks:
    @pytest.fixture(scope="class")
    def folder(self, realdata):
        return realdata / "cord_t2_sct"

    def test_a_t2_through_dicom(self, scanner, folder, tmp_path):
        cord = cord_on(wrapped(scanner, volume_of(folder / "t2.nii.gz"), tmp_path), "cord_t2")
        assert dice(cord, volume_of(folder / "t2_seg-manual.nii.gz"), cord.drawn_mm) > 0.96
        assert 0.89 < dice(cord, volume_of(folder / "t2_seg-manual.nii.gz"), cord.radius_mm) < 0.96
        assert cord.measured.mean() > 0.95
        assert not cord.discs and any("which disc is C2/C3 cannot be told" in one for one in cord.refused)

    def test_its_labels_contradict_each_other_so_no_level_can_be_held_against_them(self, folder):
        """The vertebra in the middle is C2 in one file and C3 in another, and the rootlets of C5 beside it belong to C4."""
        labels = [nibabel.load(folder / f"t2_{name}.nii.gz").get_fdata() for name in
                  ("seg-manual_labeled", "labeled_center_manual", "seg-deepseg_rootlets-manual")]  # fmt: skip
        height = int(np.argwhere(labels[1] == 3)[0, 1])
        beside = [{int(value) for value in np.unique(one[:, height - 1 : height + 2]) if value} for one in labels]
        assert beside == [{2}, {3}, {5}]

    @pytest.mark.parametrize(("nod_deg", "voxel_mm"), [(0, 0.8), (12, 1.0), (-20, 1.0), (8, 1.2)])
    def test_the_same_t2_nodded_and_with_other_voxels(self, folder, nod_deg, voxel_mm):
        image, drawn = volume_of(folder / "t2.nii.gz"), volume_of(folder / "t2_seg-manual.nii.gz")
        cord, first = cord_on(turned(image, nod_deg, voxel_mm), "cord_t2"), cord_on(image, "cord_t2")
        assert dice(cord, drawn, cord.drawn_mm) > 0.92
        assert np.median(cord.area_mm2[cord.measured]) == pytest.approx(np.median(first.area_mm2[first.measured]), rel=0.04)

    def test_a_t1(self, folder):
        cord = cord_on(volume_of(folder / "t1" / "t1w.nii.gz"), "t1")
        assert dice(cord, volume_of(folder / "t1" / "t1w_seg-manual.nii.gz"), cord.drawn_mm) > 0.92


@pytest.mark.realdata
class TestTemplate:
    @pytest.fixture(scope="class")
    def pam50(self, realdata):
        return volume_of(realdata / "cord_t2_sct" / "pam50_small" / "PAM50_small_t2.nii.gz")

    @pytest.mark.parametrize(("first", "last"), [(0, 275), (150, 275), (150, 245)])
    def test_levels_are_those_of_its_labels(self, pam50, first, last):
        cord = cord_on(pam50.part((slice(first, last), slice(0, 70), slice(0, 70))), "cord_t2")
        assert [disc.name for disc in cord.discs] == list(PAM50_DISCS)
        height = pam50.lps_from_index[2, 3]
        assert all(abs(disc.lps[2] - (2.0 * PAM50_DISCS[disc.name] + height)) <= 3.0 for disc in cord.discs)

    def test_levels_are_right_through_dicom(self, scanner, pam50, tmp_path):
        cord = cord_on(wrapped(scanner, pam50.part((slice(150, 275), slice(0, 70), slice(0, 70))), tmp_path), "cord_t2")
        height = pam50.lps_from_index[2, 3]
        assert [disc.name for disc in cord.discs] == list(PAM50_DISCS)
        assert all(abs(disc.lps[2] - (2.0 * PAM50_DISCS[disc.name] + height)) <= 3.0 for disc in cord.discs)

    @pytest.mark.parametrize("below_mm", [0, 10, 30, 40, 50, 60, 70])
    def test_a_field_that_begins_below_c2_c3_has_no_level(self, pam50, below_mm):
        """As a series of the chest: the enlargement at its upper end is no medulla, and discs of the chest are not those of the neck."""
        part = slice(150, PAM50_DISCS["C2/C3"] - below_mm // 2)
        try:
            cord = cord_on(pam50.part((part, slice(0, 70), slice(0, 70))), "cord_t2")
        except NotMeasurable as refusal:
            assert "cord" in refusal.reason or "neck" in refusal.reason
        else:
            assert not cord.discs and cord.refused

    @pytest.mark.parametrize(("first", "last"), [(0, 110), (60, 160)])
    def test_its_lumbar_and_thoracic_parts_are_no_neck(self, pam50, first, last):
        with pytest.raises(NotMeasurable, match=r"does not show the neck: the distance from one disc to the next is 2[5-9] mm"):
            cord_on(pam50.part((slice(first, last), slice(0, 70), slice(0, 70))), "cord_t2")


@pytest.mark.realdata
@pytest.mark.parametrize("name", ["flair_3d/FLAIR.nii.gz", "t2w_tse/T2w.nii.gz"])
def test_a_brain_without_a_neck_is_refused(realdata, name):
    with pytest.raises(NotMeasurable, match=r"no cervical cord was found|does not show the neck"):
        cord_on(volume_of(realdata / name), "cord_t2")
