import numpy as np
import pytest
import SimpleITK as sitk
from scipy import ndimage
from scipy.spatial.transform import Rotation

from analysis.steps.space import Placement, ants_scratch, around, coarser, lps_grid, onto, sample, share_inside
from analysis.volume import Volume


def tilted(shape, spacing_mm, angles=(12.0, -7.0, 20.0), corner=(-30.0, 10.0, 5.0)):
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("xyz", angles, degrees=True).as_matrix() @ np.diag(spacing_mm)
    matrix[:3, 3] = corner
    return Volume(np.zeros(shape, np.float32), matrix)


def ramp(grid):
    """An image whose value is its own position along (1, 2, 3) mm: linear, so that interpolation is exact."""
    return grid.with_array(np.tensordot(np.array([1.0, 2.0, 3.0]), lps_grid(grid), axes=1))


def test_the_grid_is_where_the_map_says():
    grid = tilted((4, 5, 6), (2.0, 1.0, 1.5))
    assert lps_grid(grid)[:, 3, 2, 1] == pytest.approx((grid.lps_from_index @ (3, 2, 1, 1))[:3], abs=1e-4)


def test_coarser_keeps_place_and_brightness():
    fine = ramp(tilted((40, 50, 60), (0.7, 0.8, 0.9)))
    coarse = coarser(fine, 2.0)
    assert coarse.spacing_mm == pytest.approx([2.0, 2.0, 2.0])
    middle = tuple(slice(3, -3) for _ in range(3))
    assert coarse.array[middle] == pytest.approx(ramp(coarse).array[middle], abs=0.02)


def test_onto_another_grid_of_the_same_space():
    source = ramp(tilted((30, 30, 30), (1.0, 1.0, 1.0)))
    target = tilted((8, 9, 10), (1.5, 1.5, 1.5), angles=(3.0, 0.0, 25.0), corner=tuple((source.lps_from_index @ (9, 9, 9, 1))[:3]))
    inside = onto(source.with_array(np.ones_like(source.array)), target) > 0.999
    assert inside.sum() > 100
    assert onto(source, target)[inside] == pytest.approx(ramp(target).array[inside], abs=0.01)


def test_sample_at_positions():
    source = ramp(tilted((20, 20, 20), (1.0, 1.2, 0.9)))
    places = source.lps_from_index[:3, :3] @ np.array([[4.2], [7.9], [11.3]]) + source.lps_from_index[:3, 3:]
    assert sample(source, places)[0] == pytest.approx(np.array([1.0, 2.0, 3.0]) @ places[:, 0], abs=1e-3)


def test_around_stays_inside():
    mask = np.zeros((10, 10, 10), bool)
    mask[0:2, 4:6, 8:10] = True
    assert around(Volume(mask, np.eye(4)), 3) == (slice(0, 5), slice(1, 9), slice(5, 10))


def test_share_inside_counts_positions():
    grid = tilted((10, 10, 10), (1.0, 1.0, 1.0))
    place = Placement(grid, lps_grid(grid), np.eye(4), 1.0)
    half = tilted((20, 10, 10), (1.0, 1.0, 1.0))
    assert share_inside(grid, place, lps_grid(half).reshape(3, -1)) == pytest.approx(0.5, abs=0.01)


def test_a_registration_finds_the_same_each_time():
    """ANTs draws the voxels that it compares by chance; without its seed three runs on these images end degrees apart."""
    noise = ndimage.gaussian_filter(np.random.default_rng(0).random((40, 40, 40)), 2).astype(np.float32)
    found = []
    for _ in range(3):
        with ants_scratch() as (ants, _folder):
            still, moved = ants.from_numpy(noise), ants.from_numpy(ndimage.shift(noise, (1, 2, 1.5), order=1))
            result = ants.registration(still, moved, "Rigid", aff_metric="mattes", aff_random_sampling_rate=0.3)
            found.append(tuple(ants.read_transform(result["fwdtransforms"][0]).parameters))
    assert len(set(found)) == 1


def test_no_filter_adds_in_the_order_in_which_threads_end():
    assert sitk.ProcessObject.GetGlobalDefaultNumberOfThreads() == 1
