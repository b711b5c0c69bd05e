"""Streamlines on computed tensor fields: crossings, grids, the field of view, and the profile along them."""

from types import SimpleNamespace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from analysis import atlas
from analysis.steps import tract_profile
from analysis.steps.diffusion import fit_tensor
from analysis.steps.space import Placement, lps_grid, sample
from analysis.steps.tractography import Streamlines, field_of, follow, tracked_side
from analysis.volume import Diffusion, Volume

AXIAL, RADIAL = 1.7e-3, 0.3e-3


def directions(count, seed=3):
    vectors = np.random.default_rng(seed).normal(size=(count, 3))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def tensor_on(grid: Volume, signals, noise=0.0):
    """What `diffusion_tensor` gives of a series whose signal at LPS positions (3, ...) is known: `signals(lps, b, g)`."""
    b, g = np.array([0.0] * 2 + [1000.0] * 30), directions(32) * (np.arange(32) > 1)[:, None]
    lps = lps_grid(grid).astype(float)
    array = 1000.0 * np.stack([signals(lps, one, way) for one, way in zip(b, g, strict=True)], axis=-1)
    array = array + np.random.default_rng(1).normal(0.0, noise, array.shape)
    brain = np.ones(grid.array.shape, bool)
    fitted = fit_tensor(Diffusion(array.astype(np.float32), grid.lps_from_index, b, g), np.ones(32, bool), brain)
    return SimpleNamespace(brain=brain, b_zero=grid, fa=fitted[0], components=fitted[5])


def of_fibre(way, b, g):
    """The signal of one bundle along `way` (3, ...)."""
    return np.exp(-b * (RADIAL + (AXIAL - RADIAL) * np.tensordot(g, way, axes=1) ** 2))


def straight(axis, like):
    way = np.zeros(like.shape)
    way[axis] = 1.0
    return way


def grid_of(shape, spacing_mm=(2.0, 2.0, 2.0), turn=(0.0, 0.0, 0.0), middle=(0.0, 0.0, 0.0)):
    """An empty grid around a position: slices along z, rows along y, columns along x, then turned."""
    axes = Rotation.from_euler("xyz", turn, degrees=True).as_matrix() @ np.array([[0, 0, 1], [0, 1, 0], [-1, 0, 0]])
    matrix = np.eye(4)
    matrix[:3, :3] = axes * spacing_mm
    matrix[:3, 3] = np.array(middle) - matrix[:3, :3] @ ((np.array(shape) - 1) / 2.0)
    return Volume(np.zeros(shape, np.float32), matrix)


class TestCrossing:
    """A vertical bundle 10 mm wide, crossed by one that runs left to right and is as strong or stronger."""

    @staticmethod
    def signals(share):
        def of(lps, b, g):
            x, y, z = lps
            vertical, across = np.hypot(x, y) < 5, np.hypot(y, z) < 6
            one, other = of_fibre(straight(2, lps), b, g), of_fibre(straight(0, lps), b, g)
            alone = np.where(vertical, one, np.where(across, other, np.exp(-b * 0.8e-3)))
            return np.where(vertical & across, share * one + (1 - share) * other, alone)

        return of

    @pytest.mark.parametrize("share", [0.6, 0.5, 0.4, 0.3])
    def test_lines_go_straight_through_or_stop(self, share):
        tensor = tensor_on(grid_of((30, 20, 20)), self.signals(share), noise=20.0)
        random = np.random.default_rng(5)
        seeds = np.stack([*random.uniform(-3, 3, (2, 400)), random.uniform(-26, -12, 400)], axis=1)
        lines = follow(field_of(tensor, tensor.brain), seeds)
        ends = np.concatenate([line[[0, -1]] for line in lines] or [np.zeros((0, 3))])
        assert not len(ends) or np.abs(ends[:, 0]).max() < 8, "a line turned into the bundle that crosses"
        if share >= 0.6:
            assert (np.array([line[:, 2].max() for line in lines]) > 12).mean() > 0.8


class TestGrid:
    @staticmethod
    def signals(lps, b, g):
        """A bundle that rises in an arc of 60 mm radius around the axis x = 60, z = 0."""
        x, _, z = lps
        way = np.stack([z, np.zeros_like(z), 60.0 - x]) / np.hypot(60.0 - x, z)
        return of_fibre(way, b, g)

    def lines_on(self, grid):
        tensor = tensor_on(grid, self.signals)
        seeds = np.stack([np.linspace(-4, 4, 9), np.zeros(9), np.zeros(9)], axis=1)
        return follow(field_of(tensor, tensor.brain), seeds)

    @pytest.mark.parametrize(
        "grid",
        [
            grid_of((20, 24, 24), (3.0, 2.0, 2.0)),
            grid_of((40, 40, 40), (2.0, 2.0, 2.0), (20.0, -15.0, 30.0)),
            grid_of((24, 48, 48), (3.5, 1.8, 1.8), (10.0, 25.0, -5.0)),
        ],
        ids=["thick slices", "oblique", "oblique and thick"],
    )
    def test_a_line_is_where_it_is_on_every_grid(self, grid):
        for line in self.lines_on(grid):
            radius = np.hypot(60.0 - line[:, 0], line[:, 2])
            assert radius.max() - radius.min() < 0.5
            assert np.ptp(line[:, 1]) < 0.5
            assert np.ptp(line[:, 2]) > 30

    def test_the_same_seeds_give_the_same_bytes(self):
        first, second = self.lines_on(grid_of((20, 24, 24))), self.lines_on(grid_of((20, 24, 24)))
        assert all(one.tobytes() == other.tobytes() for one, other in zip(first, second, strict=True))


def tract_like(lowest=-50.0, highest=75.0, side="left", along=True, shape_xy=(36, 28)):
    """Half of a head in the template's own place, whose fibres run along the middle of the atlas's tract (or straight backwards)."""
    heights = np.arange(-40.0, 62.0, 3.0)
    middle = middle_of(side, heights)
    count = int((highest - lowest) / 2.5) + 1
    middle_x = 25.0 if side == "left" else -25.0
    grid = grid_of((count, *shape_xy), (2.5, 2.5, 2.5), middle=(middle_x, 20.0, (lowest + highest) / 2))
    slope = np.gradient(middle, heights, axis=0)

    def signals(lps, b, g):
        way = np.stack([np.interp(lps[2], heights, slope[:, 0]), np.interp(lps[2], heights, slope[:, 1]), np.ones_like(lps[2])])
        return of_fibre(way / np.linalg.norm(way, axis=0) if along else straight(1, lps), b, g)

    tensor = tensor_on(grid, signals)
    return tensor, Placement(grid, lps_grid(grid), np.eye(4), 1.0)


def middle_of(side, heights):
    """x and y of the atlas's tract, LPS mm, at some heights."""
    labels = atlas.labels("tracts")
    points = lps_grid(labels)[:, np.isin(labels.array, [p.label for p in atlas.parts() if p.structure == "cst" and p.side == side])]
    found = [points[:2, np.abs(points[2] - height) < 4].mean(1) for height in heights]
    return np.stack(found)


class TestTract:
    @pytest.fixture(scope="class")
    def whole(self):
        tensor, place = tract_like()
        return tensor, place, tracked_side("left", tensor, place, 1500)

    def test_it_runs_from_the_pons_to_the_cortex(self, whole):
        _, _, found = whole
        assert found.reason is None and found.found == len(found.lines) >= 200
        ends = np.array([[line[0, 2], line[-1, 2]] for line in found.lines])
        assert (ends[:, 0] < -25).mean() > 0.9 and (ends[:, 1] > 45).mean() > 0.9
        assert all(line.dtype == np.float32 and (line[:, 0] > 0).all() for line in found.lines)

    def test_the_same_tensor_gives_the_same_bytes(self, whole):
        tensor, place, found = whole
        again = tracked_side("left", tensor, place, 1500)
        assert b"".join(line.tobytes() for line in found.lines) == b"".join(line.tobytes() for line in again.lines)

    def test_fibres_that_run_elsewhere_make_no_tract(self):
        found = tracked_side("left", *tract_like(along=False), 1500)
        assert found.lines == () and found.found == 0
        assert "only 0 streamlines" in found.reason

    def test_what_the_field_of_view_cuts_is_not_asked_of_a_line(self):
        tensor, place = tract_like(lowest=-24.0)
        found = tracked_side("left", tensor, place, 1500)
        assert found.reason is None and min(line[:, 2].min() for line in found.lines) >= -23.3
        nodes = tract_profile.profile(found, Volume(np.ones(place.grid.array.shape, np.float32), place.grid.lps_from_index))
        heights = tract_profile.node_heights_mm("left")
        assert np.isnan(nodes[heights < -24.0]).all() and nodes[heights > -22.0] == pytest.approx(1.0)

    def test_a_slab_that_holds_one_waypoint_is_no_tract(self):
        found = tracked_side("left", *tract_like(lowest=20.0), 1500)
        assert found.lines == () and "field of view" in found.reason

    def test_a_gradient_along_the_tract_comes_back_in_the_profile(self, whole):
        tensor, _, found = whole
        heights = lps_grid(tensor.b_zero)[2]
        values = tensor.b_zero.with_array((0.5 + heights / 400.0).astype(np.float32))
        assert tract_profile.profile(found, values) == pytest.approx(0.5 + tract_profile.node_heights_mm("left") / 400.0, abs=0.002)


class TestProfile:
    def test_nodes_are_the_same_places_left_and_right_and_evenly_spaced(self):
        heights = tract_profile.node_heights_mm("left")
        assert np.allclose(heights, tract_profile.node_heights_mm("right"))
        assert heights[0] == -36 and heights[-1] == 56 and (np.diff(heights) > 0).all()

    def test_the_middle_of_the_bundle_counts_most(self):
        x = np.concatenate([np.linspace(-1, 1, 30), [6.0]])
        lines = tuple(np.stack([np.full(50, 20 + one), np.zeros(50), np.linspace(-40, 60, 50)], axis=1).astype(np.float32) for one in x)
        weights = tract_profile.node_weights(tract_profile.at_nodes(Streamlines("left", lines, lines, len(lines))))
        assert weights.shape == (31, 100)
        assert (weights[14] > 5 * weights[30]).all()

    def test_few_lines_give_no_value(self):
        line = np.stack([np.zeros(50), np.zeros(50), np.linspace(-40, 60, 50)], axis=1).astype(np.float32)
        few = Streamlines("left", (line,) * 5, (line,) * 5, 5)
        assert np.isnan(tract_profile.profile(few, grid_of((50, 10, 10)))).all()


def test_streamlines_of_the_fields_own_values():
    """The linear interpolation of the field is that of `sample`."""
    from analysis.steps.tractography import values_at

    tensor, _ = tract_like(lowest=0.0, highest=20.0, shape_xy=(12, 10))
    field = field_of(tensor, tensor.brain)
    points = np.random.default_rng(2).uniform(-8, 8, (50, 3)) + np.array([25.0, 20.0, 10.0])
    expected = sample(tensor.b_zero.with_array(tensor.fa), points.T)
    inside = expected > 0
    assert values_at(field, points)[inside, 6] == pytest.approx(expected[inside], abs=1e-5)
