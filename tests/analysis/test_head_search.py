"""Where a brain lies that is turned, shifted, of another size, or cut by the field of view."""

import itertools

import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial.transform import Rotation

from analysis import atlas
from analysis.steps import head_search
from analysis.steps.head import NODS_DEG, starts, written
from analysis.steps.head_search import Search, nearest_place
from analysis.steps.space import ants_scratch, lps_grid, sample
from analysis.volume import Volume


def turned(angles, size, shift_mm, shape=(60, 64, 56), spacing_mm=4.0):
    """The template's brain so turned, on a grid with axes of its own, and its map from the template."""
    brain = atlas.template()["brain"]
    image_from_template = np.eye(4)
    image_from_template[:3, :3] = size * Rotation.from_euler("xyz", angles, degrees=True).as_matrix()
    image_from_template[:3, 3] = shift_mm
    grid = np.eye(4)
    grid[:3, :3] = np.array([[0, 0, 1], [0, 1, 0], [-1, 0, 0]]) * spacing_mm
    grid[:3, 3] = -grid[:3, :3] @ (np.array(shape) / 2)
    volume = Volume(np.zeros(shape, np.float32), grid)
    lps = np.tensordot(np.linalg.inv(image_from_template)[:3, :3], lps_grid(volume) - np.reshape(shift_mm, (3, 1, 1, 1)), axes=1)
    return volume.with_array(sample(brain, lps)), image_from_template


@pytest.fixture
def few(monkeypatch):
    """A lattice that is sooner done."""
    monkeypatch.setattr(head_search, "NODS_DEG", (-30, 0, 30))
    monkeypatch.setattr(head_search, "ROLLS_DEG", (-15, 0, 15))
    monkeypatch.setattr(head_search, "YAWS_DEG", (-15, 0, 15))


@pytest.mark.parametrize(("angles", "size"), [((-30, 15, 0), 1.0), ((30, 0, -15), 0.85)])
def test_a_brain_is_found_whichever_way_it_is_turned_and_wherever_it_lies(few, angles, size):
    image, true = turned(angles, size, (23.0, -41.0, 12.0))
    random = np.random.default_rng(3)
    noisy = image.with_array(image.array + 0.1 * image.array.max() * random.standard_normal(image.array.shape).astype(np.float32))
    layers = atlas.template()
    found = nearest_place(noisy, layers["brain"], layers["inside"])
    middle = np.append(lps_grid(layers["inside"])[:, layers["inside"].array].mean(1), 1.0)
    assert np.allclose(found[:3, :3], true[:3, :3], atol=1e-6)
    assert np.linalg.norm((found - true) @ middle) < head_search.STEP_MM


def test_a_brain_of_which_a_third_lies_outside_the_field_of_view_is_found(few):
    image, true = turned((0, 0, 0), 1.0, (0.0, 0.0, 0.0))
    cut = image.part((slice(0, 32), slice(0, 64), slice(0, 56)))
    layers = atlas.template()
    found = nearest_place(cut, layers["brain"], layers["inside"])
    assert np.allclose(found[:3, :3], true[:3, :3], atol=1e-6) and np.linalg.norm((found - true)[:3, 3]) < 2 * head_search.STEP_MM


def test_the_best_shift_is_that_of_the_definition():
    random = np.random.default_rng(1)
    image = ndimage.gaussian_filter(random.standard_normal((9, 8, 7)), 0.7)
    where = random.random((4, 3, 5)) > 0.3
    tissue = image[3:7, 2:5, 1:6] + 0.1 * random.standard_normal((4, 3, 5))
    worth, shift = Search.of(image, where.shape).best(where, np.float32(tissue))
    assert shift.tolist() == [3, 2, 1]
    assert worth == pytest.approx(np.corrcoef(image[3:7, 2:5, 1:6][where], tissue[where])[0, 1], abs=1e-3)


def test_it_is_the_last_of_the_starts_and_made_only_then():
    place, asked = np.array([[0.9, -0.2, 0, 5], [0.2, 0.9, 0, -7], [0, 0, 1.1, 3], [0, 0, 0, 1.0]]), []
    with ants_scratch() as (ants, folder):
        rigid = written(ants, folder / "rigid.mat", [1, 0, 0, 0, 1, 0, 0, 0, 1, 1, 2, 3], [0, 0, 0])
        files = starts(ants, folder, rigid, lambda: "to scale", lambda: asked.append("search") or place)
        first = list(itertools.islice(files, 2 + len(NODS_DEG)))
        assert first[:2] == [rigid, "to scale"] and asked == []
        (last,) = files
        assert np.allclose(ants.read_transform(last).apply_to_point((10, 20, 30)), (place @ [10, 20, 30, 1])[:3], atol=1e-4)


def test_nothing_and_an_even_image_are_no_error(few):
    layers, grid = atlas.template(), np.diag([4.0, 4.0, 4.0, 1.0])
    for array in (np.zeros((40, 40, 40)), np.full((40, 40, 40), 7.0)):
        assert np.isfinite(nearest_place(Volume(np.float32(array), grid), layers["brain"], layers["inside"])).all()
