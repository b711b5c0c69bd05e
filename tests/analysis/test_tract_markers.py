"""The markers of diffusion on a computed head in the template's own place: what they give, fall back to and refuse."""

from dataclasses import replace

import numpy as np
import pytest

from analysis import atlas
from analysis.examination import Examination, Patient
from analysis.markers import callosum_diffusion, cst_diffusion
from analysis.outcome import NotMeasurable
from analysis.reference import Norm
from analysis.steps.diffusion import Tensor, diffusion_on_template, diffusion_tensor
from analysis.steps.space import Placement, lps_grid
from analysis.volume import Volume

STEP_MM = 3.0
AXIAL, RADIAL = 1.4e-3, 0.4e-3
FA = 0.672  # of these two


def head(lowest_z=-45.0, highest_z=75.0, tract=True, left_loss=0.0):
    """A tensor along the middle of the atlas's tract (or front to back), left to right near the midline above z 0."""
    shape = (int((highest_z - lowest_z) / STEP_MM) + 1, 33, 41)
    matrix = np.eye(4)
    matrix[:3, :3] = np.array([[0, 0, -1], [0, 1, 0], [1, 0, 0]]) * STEP_MM
    matrix[:3, 3] = (60.0, -40.0, lowest_z)
    grid = Volume(np.zeros(shape, np.float32), matrix)
    lps = lps_grid(grid).astype(float)
    way = along_tract(lps) if tract else np.stack([np.zeros(shape), np.ones(shape), np.zeros(shape)])
    callosal = (np.abs(lps[0]) < 10) & (lps[2] > 2)
    way[:, callosal] = np.array([[1.0], [0.0], [0.0]])
    fa = np.where((lps[0] > 0) & ~callosal, FA * (1 - left_loss), FA)
    axial, radial = (np.full(shape, one, np.float32) for one in (AXIAL, RADIAL))
    dyad = way[[0, 1, 2, 0, 0, 1]] * way[[0, 1, 2, 1, 2, 2]]
    components = (AXIAL - RADIAL) * dyad + RADIAL * np.array([1, 1, 1, 0, 0, 0]).reshape(6, 1, 1, 1)
    tensor = Tensor(
        np.ones(shape, bool), grid, fa.astype(np.float32), (axial + 2 * radial) / 3, radial, axial,
        np.moveaxis(way, 0, -1).astype(np.float32), np.moveaxis(components, 0, -1).astype(np.float32), 30, 1000.0, None,
    )  # fmt: skip
    return tensor, Placement(grid, lps_grid(grid), np.eye(4), 1.0)


def along_tract(lps):
    labels = atlas.labels("tracts")
    points = lps_grid(labels)[:, np.isin(labels.array, [p.label for p in atlas.parts() if p.structure == "cst" and p.side == "left"])]
    heights = np.arange(-40.0, 62.0, 3.0)
    slope = np.gradient(np.stack([points[:2, np.abs(points[2] - z) < 4].mean(1) for z in heights]), heights, axis=0)
    way = np.stack(
        [np.sign(lps[0]) * np.interp(lps[2], heights, slope[:, 0]), np.interp(lps[2], heights, slope[:, 1]), np.ones_like(lps[2])]
    )
    return way / np.linalg.norm(way, axis=0)


def examination(tensor, place):
    done = {diffusion_tensor: (tensor, None), diffusion_on_template: (place, None)}
    return Examination({}, Patient(60.0, "F"), _done=done)


def values(outcome):
    return {(m.name, m.side, m.level): m.value for m in outcome.measurements}


@pytest.fixture(scope="module")
def hurt():
    """A head whose left tract has lost a fifth of its anisotropy."""
    return examination(*head(left_loss=0.2))


@pytest.fixture(scope="module")
def whole(hurt):
    return cst_diffusion.measure(hurt)


class TestTract:
    def test_it_gives_streamlines_profiles_and_a_volume(self, whole):
        assert [(one.name, one.role, one.side, len(one.lines)) for one in whole.tracks] == [
            ("cst", "dwi", "left", 500), ("cst", "dwi", "right", 500)
        ]  # fmt: skip
        assert [(one.name, one.side) for one in whole.profiles[:2]] == [("cst_fa", "left"), ("cst_md", "left")]
        assert len(whole.profiles) == 8 and all(len(one.values) == 100 for one in whole.profiles)
        assert 5 < values(whole)["cst_volume", "left", "whole"] < 40
        assert not whole.gaps and not whole.notes

    def test_a_loss_shows_on_its_side_in_values_and_profile(self, whole):
        fa = values(whole)
        assert fa["cst_fa", "left", "whole"] == pytest.approx(0.8 * FA, abs=0.005)
        assert fa["cst_fa", "right", "whole"] == pytest.approx(FA, abs=0.005)
        left = next(one for one in whole.profiles if (one.name, one.side) == ("cst_fa", "left"))
        assert left.values[50] == pytest.approx(0.8 * FA, abs=0.005)

    def test_without_a_population_degeneration_is_not_assessed(self, whole):
        (finding,) = whole.findings
        assert finding.value == "not assessed" and "same scanner" in finding.reason

    @pytest.mark.parametrize(("mean", "verdict"), [(0.62, "present"), (0.50, "absent"), (0.58, "indeterminate")])
    def test_with_a_population_it_is_told_by_side(self, hurt, mean, verdict):
        norm = Norm("cst_fa", None, "whole", None, "Own controls", "3 T", "Betz", 1000, mean, 50.0, 0.0, 0.02, 0.0, 18.0, 90.0, "site")
        outcome = cst_diffusion.measure(replace(hurt, norms=(norm,)))
        assert [(one.side, one.value) for one in outcome.findings] == [("left", verdict), ("right", "absent")]
        placed = [m for m in outcome.measurements if m.reference is not None]
        assert {(m.name, m.level) for m in placed} == {("cst_fa", "whole")}

    def test_without_streamlines_the_atlas_carries_the_values_and_the_reader_is_told(self):
        outcome = cst_diffusion.measure(examination(*head(tract=False)))
        assert values(outcome)["cst_fa", "left", "whole"] == pytest.approx(FA, abs=0.005)
        assert not outcome.tracks and not outcome.profiles
        assert [(gap.name, gap.side) for gap in outcome.gaps] == [("cst_volume", "left"), ("cst_volume", "right")]
        assert len(outcome.notes) == 2 and "rest on the atlas alone" in outcome.notes[0]

    def test_a_part_of_the_tract_is_never_the_tract(self):
        outcome = cst_diffusion.measure(examination(*head(lowest_z=-9.0)))
        given = values(outcome)
        assert ("cst_fa", "left", "plic") in given and ("cst_fa", "left", "pons") not in given
        assert not [key for key in given if key[2] == "whole"]
        reasons = {gap.reason for gap in outcome.gaps if gap.name == "cst_volume"}
        assert reasons == {"the field of view holds a part of the tract only"}
        for one in outcome.profiles:
            assert one.values[0] is None and one.values[60] is not None


class TestCallosum:
    def test_the_segment_and_its_control_are_measured(self):
        outcome = callosum_diffusion.measure(examination(*head()))
        given = {name: value for (name, _, _), value in values(outcome).items()}
        assert given["callosal_motor_fa"] == pytest.approx(FA, abs=0.002)
        assert given["callosal_motor_md"] == pytest.approx(0.733, abs=0.002)
        assert given["control_fa"] == pytest.approx(FA, abs=0.002)
        assert [mask.name for mask in outcome.masks] == ["callosal_motor_segment", "splenium"]
        assert "is 1.00 of that of the splenium" in outcome.notes[0]

    def test_fluid_and_what_runs_elsewhere_hardly_count(self):
        tensor, place = head()
        x, _, z = lps_grid(tensor.b_zero)
        beside = z > 29  # the upper half of the segment: fibres that run front to back, less anisotropic
        direction, fa, md = tensor.direction.copy(), tensor.fa.copy(), tensor.md.copy()
        direction[beside], fa[beside] = (0.0, 1.0, 0.0), 0.3
        md[(np.abs(x) < 3) & (z < 26)] = 2.5e-3
        outcome = callosum_diffusion.measure(examination(replace(tensor, direction=direction, fa=fa, md=md), place))
        assert values(outcome)["callosal_motor_fa", None, None] == pytest.approx(FA, abs=0.01)

    def test_a_series_that_ends_below_it_is_refused(self):
        with pytest.raises(NotMeasurable, match="outside the field of view"):
            callosum_diffusion.measure(examination(*head(highest_z=24.0)))

    def test_a_control_out_of_view_is_a_gap(self):
        outcome = callosum_diffusion.measure(examination(*head(lowest_z=18.0)))
        assert [gap.name for gap in outcome.gaps] == ["control_fa"]
