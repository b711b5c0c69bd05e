"""Two images half-way: the map is found, its direction does not matter, and a change of size is measured with its sign."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from analysis.outcome import NotMeasurable
from analysis.steps.added_loss import percent_of, shares_followed
from analysis.steps.deformation import displacement, growth, pair_of, read
from analysis.steps.halfway import View, evened, half_of, halfway, mean_map, rigid_of, start_of, within
from analysis.steps.rigid import rigid_map
from analysis.steps.volume_change import changes_of
from analysis.volume import Volume

LEVELS = (0.2, 0.65, 1.0)


def turned(*parameters: float) -> np.ndarray:
    """A turn about the origin by three angles (degrees) and then a shift (mm)."""
    return rigid_map(np.array([*parameters, 0.0, 0.0, 0.0][:6]), np.zeros(3))


MOVE = turned(4.0, -3.0, 2.0, 2.0, -1.5, 1.0)
RADIUS_MM, BALL_MM, BALL_AT = 34.0, 9.0, np.array([8.0, -5.0, 4.0])


def brightness(lps: np.ndarray, ball_mm: float) -> tuple[np.ndarray, np.ndarray]:
    """A head of folded cortex with a ball in fluid inside, at positions (3, ...); and its brain."""
    away = np.sqrt((lps**2).sum(0))
    folds = sum(np.sin(lps[k] / 3.1 + k) * np.sin(lps[(k + 1) % 3] / 3.7) for k in range(3))
    ball = np.sqrt(((lps - BALL_AT.reshape(3, 1, 1, 1)) ** 2).sum(0))
    image = np.where(folds > 0.35, 0.65, 1.0)
    image = np.where(folds < -0.9, 0.2, image)
    image = np.where(ball < BALL_MM + 4, 0.2, image)
    image = np.where(ball < ball_mm, 1.0, image)
    inside = away < RADIUS_MM
    return np.where(inside, image, 0.1), inside


def view(seed: int, matrix: np.ndarray, step_mm=(1.0, 1.0, 1.0), ball_mm: float = BALL_MM, noise: float = 0.02) -> View:
    """The head on a grid of its own, where it lies as `matrix` has moved it; each voxel the mean of 27 points."""
    shape = tuple(int(84 / mm) for mm in step_mm)
    affine = np.eye(4)
    affine[:3, :3] = turned(seed * 2.0, -3.0, seed)[:3, :3] * step_mm
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    lps = np.einsum("ij,j...->i...", affine[:3, :3], np.indices(shape)) + affine[:3, 3].reshape(3, 1, 1, 1)
    back = np.linalg.inv(matrix)
    total, inside = np.zeros(shape), None
    for offset in np.ndindex(3, 3, 3):
        at = lps + (affine[:3, :3] @ ((np.array(offset) - 1) / 3)).reshape(3, 1, 1, 1)
        image, here = brightness(np.einsum("ij,j...->i...", back[:3, :3], at) + back[:3, 3].reshape(3, 1, 1, 1), ball_mm)
        total, inside = total + image / 27, here if offset == (1, 1, 1) else inside
    noisy = total + np.random.default_rng(seed).normal(0, noise, shape)
    return View(Volume(noisy.astype(np.float32), affine), inside, LEVELS)


@pytest.fixture(scope="module")
def pair():
    return view(1, np.eye(4)), view(2, MOVE, (1.2, 1.0, 1.0), ball_mm=BALL_MM * 0.98)


@pytest.fixture(scope="module")
def half(pair):
    return halfway(*pair, turned(3.0, -2.0, 1.0))


@pytest.fixture(scope="module")
def back(pair):
    return halfway(*pair[::-1], np.linalg.inv(turned(3.0, -2.0, 1.0)))


def test_the_map_is_found_and_its_halves_are_one_another(half):
    found = half.second_from_half @ np.linalg.inv(half.first_from_half)
    corners = np.array([[x, y, z, 1.0] for x in (-30, 30) for y in (-30, 30) for z in (-30, 30)]).T
    assert np.abs((found - MOVE) @ corners)[:3].max() < 0.15
    assert np.allclose(half.first_from_half @ half.second_from_half, np.eye(4), atol=1e-9)
    assert half.alike > 0.9 and half.moved_mm == pytest.approx(np.linalg.norm(MOVE[:3, 3]), abs=0.3)


def test_exchange_of_the_images_exchanges_the_pictures(half, back):
    assert np.allclose(half.first_from_half, back.second_from_half, atol=1e-4)
    assert half.first.array.shape == back.second.array.shape
    assert np.abs(half.first.array - back.second.array).max() < 0.01
    assert np.abs(half.second.array - back.first.array).max() < 0.01


def outlines(half):
    lps = np.einsum("ij,j...->i...", half.first.lps_from_index[:3, :3], np.indices(half.first.array.shape))
    lps += half.first.lps_from_index[:3, 3].reshape(3, 1, 1, 1)
    away = np.sqrt(((lps - half_place(half)) ** 2).sum(0))
    ball = np.clip(BALL_MM * 0.99 - away + 0.5, 0, 1).astype(np.float32)
    whole = (half.inside > 0.25).astype(np.float32)
    return {("ball", None): (ball, ball), ("whole", None): (whole, whole)}


def half_place(half):
    """Where the middle of the ball is half-way. The fixtures `pair` and its exchange have the unmoved head first and second."""
    unmoved = min((half.first_from_half, half.second_from_half), key=lambda matrix: np.abs(matrix - half_of(np.linalg.inv(MOVE))).max())
    return (np.linalg.inv(unmoved) @ np.r_[BALL_AT, 1.0])[:3].reshape(3, 1, 1, 1)


def test_a_shrunken_part_is_measured_and_the_exchange_gives_the_opposite(half, back):
    """The ball lost 2 % of its radius: 6.06 % of its mean volume. All, of which it is a part that the fluid makes up for, lost nothing."""
    there = {one.name: one.percent for one in changes_of(pair_of(half), outlines(half), half.first.voxel_ml)}
    again = {one.name: one.percent for one in changes_of(pair_of(back), outlines(back), back.first.voxel_ml)}
    assert there["ball"] == pytest.approx(-6.06, abs=0.5)
    assert there["whole"] == pytest.approx(0.0, abs=0.2)
    for name in there:
        assert there[name] + again[name] == pytest.approx(0.0, abs=0.05)


def test_a_known_loss_tells_how_much_of_one_is_followed(half, back):
    """The share is that of the pair, whichever image comes first. Of a ball in fluid all is followed."""
    ball = ("ball", None)
    found, shares = [], []
    for one in (half, back):
        pair, (first, second) = pair_of(one), outlines(one)[ball]
        way = displacement(pair)
        there = (read(first, -way / 2) + read(second, way / 2)) / 2
        shares.append(shares_followed(pair, way, {ball: there}, [[("nothing", None)], [ball, ("nothing", None)]])[ball])
        found.append(percent_of(there, growth(way)))
    assert shares[0] == pytest.approx(shares[1], abs=0.002)
    assert found[0] / shares[0] == pytest.approx(-6.06, abs=0.5)


def test_where_no_loss_can_be_added_nothing_is_said_to_be_followed(half):
    pair, way = pair_of(half), np.zeros((3, *half.inside.shape), np.float32)
    ball, _ = outlines(half)["ball", None]
    groups = [["thin"], ["dry"]]
    dry = replace(pair, fluid=np.zeros_like(pair.fluid))
    assert shares_followed(pair, way, {"thin": ball * 0.4}, groups) == {"thin": 0.0}
    assert shares_followed(dry, way, {"dry": ball}, groups) == {"dry": 0.0}


def test_no_change_is_found_where_there_is_none():
    same = halfway(view(3, np.eye(4)), view(4, MOVE, (1.2, 1.0, 1.0)), MOVE)
    found = {one.name: one.percent for one in changes_of(pair_of(same), outlines(same), same.first.voxel_ml)}
    assert abs(found["ball"]) < 1.0 and abs(found["whole"]) < 0.2


def test_another_head_is_refused(pair):
    array = np.random.default_rng(5).normal(0.7, 0.2, pair[1].volume.array.shape)
    other = replace(pair[1], volume=pair[1].volume.with_array(ndimage.gaussian_filter(array, 1.0).astype(np.float32)))
    with pytest.raises(NotMeasurable, match="do not lie over one another"):
        halfway(pair[0], other, MOVE)


def test_the_mean_of_both_directions_is_the_map_where_they_agree():
    assert np.allclose(mean_map(MOVE, np.linalg.inv(MOVE)), MOVE, atol=1e-9)
    assert np.allclose(half_of(MOVE) @ half_of(MOVE), MOVE, atol=1e-9)
    assert np.allclose(rigid_of(np.zeros((4, 4))), np.eye(4))


def test_the_start_is_rigid_and_right_where_the_two_placements_are_scaled():
    first = np.diag([1.1, 0.95, 1.05, 1.0]) @ turned(5.0, 0.0, 0.0)
    start = start_of(first, first @ np.linalg.inv(MOVE), np.zeros(3))
    assert np.allclose(start, MOVE, atol=1e-9)


def test_a_smooth_field_is_shared_and_a_spot_is_left():
    random = np.random.default_rng(6)
    first = (0.95 + 0.01 * random.standard_normal((48, 48, 48))).astype(np.float32)
    x = np.linspace(-1, 1, 48, dtype=np.float32)[:, None, None]
    second = first * np.exp(0.1 * x)
    second[20:23, 20:23, 20:23] *= 1.6
    one, other = evened(first, second, np.ones(first.shape, np.float32))
    rest = np.log(other / one)
    assert abs(rest[4:-4, 8, 8]).max() < 0.03
    assert np.median(rest[20:23, 20:23, 20:23]) == pytest.approx(np.log(1.6), abs=0.05)
    assert np.allclose(np.sqrt(one * other), np.sqrt(first * second), rtol=1e-5)


def test_the_field_of_view_is_that_of_both():
    volume = Volume(np.zeros((10, 20, 30), np.float32), MOVE)
    grid = Volume(np.zeros((12, 20, 30), np.float32), MOVE)
    held = within(volume, grid, np.eye(4))
    assert held[:10].all() and not held[10:].any()


def test_growth_is_the_room_of_a_voxel():
    x = np.indices((12, 12, 12), dtype=np.float32)
    before, after = growth(0.1 * x)
    assert np.allclose(before, 0.95**3, atol=1e-5) and np.allclose(after, 1.05**3, atol=1e-5)
