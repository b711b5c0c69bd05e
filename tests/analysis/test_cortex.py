"""Thickness of sheets that are known: a shell, and banks of a sulcus that the voxels do not resolve."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from analysis.steps.cortex import finer, thickness, tissue_scale
from analysis.volume import Volume

PURE = np.array([0.30, 0.72, 1.0])
TURN = Rotation.from_euler("xyz", (20, 35, 15), degrees=True).as_matrix()


def shell(place, thick_mm):
    return np.sqrt((place**2).sum(axis=0)) - 9.0


def folds(place, thick_mm, gap_mm=0.5, blade_mm=4.0):
    """Flat blades of white matter side by side, with a gap between the sheets on them."""
    period = blade_mm + 2 * thick_mm + gap_mm
    return np.abs((place[0] + period / 2) % period - period / 2) - blade_mm / 2


def scanned(sheet, thick_mm, voxel_mm, noise=0.03, size_mm=24.0, supersample=3):
    count = int(size_mm / voxel_mm)
    fine = (np.arange(count * supersample) + 0.5) * voxel_mm / supersample - size_mm / 2
    place = np.stack(np.meshgrid(fine, fine, fine, indexing="ij")).astype(np.float32)
    outward = sheet(np.tensordot(TURN.astype(np.float32), place, axes=1), thick_mm)
    bright = np.where(outward < 0, PURE[2], np.where(outward < thick_mm, PURE[1], PURE[0]))
    image = bright.reshape(count, supersample, count, supersample, count, supersample).mean(axis=(1, 3, 5))
    image += np.random.default_rng(3).normal(0, noise, image.shape)
    return Volume(image.astype(np.float32), np.diag([voxel_mm, voxel_mm, voxel_mm, 1.0]))


def measured(image):
    fine = finer(image)
    where = np.zeros(fine.array.shape, bool)
    where[10:-10, 10:-10, 10:-10] = True
    return thickness(tissue_scale(fine.array, PURE), where)


@pytest.mark.parametrize(
    ("sheet", "thick_mm", "voxel_mm", "noise"),
    [(shell, 2.5, 1.0, 0.03), (folds, 1.5, 0.7, 0.03), (folds, 2.5, 1.0, 0.06), (folds, 4.0, 1.3, 0.03)],
)
def test_a_known_sheet_is_measured_within_a_tenth_of_a_millimetre(sheet, thick_mm, voxel_mm, noise):
    found = measured(scanned(sheet, thick_mm, voxel_mm, noise))
    assert len(found.mm) > 400
    assert np.isfinite(found.mm).mean() > 0.99
    assert found.mm.mean() == pytest.approx(thick_mm, abs=0.1)
    assert found.mm.std() < 0.25
    assert found.buried.mean() == pytest.approx(float(sheet is folds), abs=0.05)


def test_an_image_without_white_matter_has_no_cortex():
    found = thickness(np.full((40, 40, 40), 2.0, np.float32), np.ones((40, 40, 40), bool))
    assert found.mm.shape == (0,) and found.index.shape == (0, 3)


def test_the_scale_is_linear_between_neighbours():
    assert tissue_scale(np.array([0.30, 0.51, 0.72, 0.86, 1.0]), PURE) == pytest.approx([1.0, 1.5, 2.0, 2.5, 3.0])


def test_a_finer_grid_keeps_a_straight_ramp_in_its_place():
    index = np.indices((20, 20, 20)).astype(np.float32)
    volume = Volume(index[0] + 2 * index[2], np.diag([1.2, 1.0, 0.8, 1.0]))
    fine = finer(volume)
    place = np.einsum("ij,j...->i...", fine.lps_from_index[:3, :3], np.indices(fine.array.shape))
    expected = place[0] / 1.2 + 2 * place[2] / 0.8
    inner = (slice(6, -6),) * 3
    assert fine.spacing_mm == pytest.approx([0.5] * 3)
    assert fine.array[inner] == pytest.approx(expected[inner], abs=1e-2)
