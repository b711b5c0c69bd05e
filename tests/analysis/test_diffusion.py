import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from analysis.outcome import NotMeasurable
from analysis.steps.diffusion import diffusion_brain, fit_tensor, independent, volumes_for_tensor
from analysis.volume import Diffusion, Volume

MAP = np.diag([2.0, 2.0, 2.0, 1.0])


def directions(count, seed=3):
    vectors = np.random.default_rng(seed).normal(size=(count, 3))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def series(b_values, vectors, values=(1.7e-3, 0.3e-3, 0.2e-3), turn=(20.0, 30.0, 40.0), noise=0.0):
    """Every voxel the same tensor, turned; S0 = 1000."""
    axes = Rotation.from_euler("xyz", turn, degrees=True).as_matrix()
    tensor = axes @ np.diag(values) @ axes.T
    b, g = np.array(b_values, float), np.array(vectors, float)
    signal = 1000.0 * np.exp(-b * np.einsum("ni,ij,nj->n", g, tensor, g))
    array = np.broadcast_to(signal, (4, 4, 4, len(b))) + np.random.default_rng(1).normal(0, noise, (4, 4, 4, len(b)))
    return Diffusion(array.astype(np.float32), MAP, b, np.where(b[:, None] > 0, g, 0.0)), axes[:, 0]


def planted(values=(1.7e-3, 0.3e-3, 0.2e-3), turn=(20.0, 30.0, 40.0)):
    """xx, yy, zz, xy, xz, yz of the tensor in every voxel of `series`."""
    axes = Rotation.from_euler("xyz", turn, degrees=True).as_matrix()
    return (axes @ np.diag(values) @ axes.T)[(0, 1, 2, 0, 0, 1), (0, 1, 2, 1, 2, 2)]


def test_the_tensor_is_recovered():
    data, principal = series([0.0] * 2 + [1000.0] * 30, directions(32), noise=5.0)
    fa, md, rd, ad, direction, components = fit_tensor(data, np.ones(32, bool), np.ones((4, 4, 4), bool))
    assert md.mean() == pytest.approx(2.2e-3 / 3, rel=0.01)
    assert ad.mean() == pytest.approx(1.7e-3, rel=0.02)
    assert rd.mean() == pytest.approx(0.25e-3, rel=0.05)
    assert fa.mean() == pytest.approx(0.836, abs=0.01)
    assert np.abs(direction @ principal).min() > 0.995
    assert components[..., :3].sum(-1) == pytest.approx(3 * md, rel=1e-4)
    assert components.reshape(-1, 6).mean(0) == pytest.approx(planted(), abs=2e-5)


def test_high_b_values_are_left_out_where_the_low_ones_suffice():
    data, _ = series([0.0] + [1000.0] * 6 + [2500.0] * 12, directions(19))
    chosen, note = volumes_for_tensor(data)
    assert chosen.sum() == 7 and note is None


def test_high_b_values_are_used_and_named_where_there_is_nothing_else():
    data, _ = series([0.0] + [2500.0] * 12, directions(13))
    chosen, note = volumes_for_tensor(data)
    assert chosen.all() and "2500" in note


def test_six_times_the_same_direction_is_no_tensor():
    data, _ = series([0.0] + [1000.0] * 6, np.tile([[0.0, 0.0, 1.0]], (7, 1)))
    with pytest.raises(NotMeasurable, match="1 independent directions"):
        volumes_for_tensor(data)


def test_without_b_zero_there_is_no_tensor():
    data, _ = series([1000.0] * 12, directions(12))
    with pytest.raises(NotMeasurable, match="b = 0"):
        volumes_for_tensor(data)


@pytest.mark.parametrize("count, rank", [(0, 0), (3, 3), (6, 6), (30, 6)])
def test_independent_measurements(count, rank):
    assert independent(directions(count)) == rank


def test_the_brain_is_the_bright_ball_and_not_the_rim():
    z, y, x = np.indices((40, 50, 50)) - np.array([20, 25, 25]).reshape(3, 1, 1, 1)
    radius = np.sqrt(x**2 + y**2 + z**2) * 3.0
    image = np.where(radius < 50, 800.0, np.where((radius > 60) & (radius < 64), 150.0, 20.0))
    mask = diffusion_brain(Volume(image.astype(np.float32), np.diag([3.0, 3.0, 3.0, 1.0])))
    assert 2 * (mask & (radius < 50)).sum() / (mask.sum() + (radius < 50).sum()) > 0.95


def test_an_empty_series_is_refused():
    with pytest.raises(NotMeasurable, match="empty"):
        diffusion_brain(Volume(np.zeros((20, 20, 20), np.float32), MAP))
