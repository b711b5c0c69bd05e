import numpy as np
import pytest

from analysis.volume import BadGeometry, Diffusion, TimeSeries, Volume

RIGHT_HANDED = np.diag([2.0, 1.0, 0.5, 1.0])


def test_spacing_and_voxel_volume_follow_the_map():
    volume = Volume(np.zeros((3, 4, 5)), RIGHT_HANDED)
    assert volume.spacing_mm == pytest.approx([2.0, 1.0, 0.5])
    assert volume.voxel_ml == pytest.approx(0.001)


@pytest.mark.parametrize("bad", [np.diag([-2.0, 1.0, 0.5, 1.0]), np.zeros((4, 4)), np.full((4, 4), np.nan), np.eye(3)])
def test_a_map_that_is_no_place_in_space_is_refused(bad):
    with pytest.raises(BadGeometry):
        Volume(np.zeros((3, 4, 5)), bad)


def test_a_part_keeps_its_place():
    volume = Volume(np.arange(60).reshape(3, 4, 5), RIGHT_HANDED)
    part = volume.part((slice(1, 3), slice(2, 4), slice(3, 5)))
    assert part.array[0, 0, 0] == volume.array[1, 2, 3]
    assert part.lps_from_index @ (0, 0, 0, 1) == pytest.approx(volume.lps_from_index @ (1, 2, 3, 1))


def test_diffusion_needs_a_gradient_for_every_volume():
    with pytest.raises(BadGeometry, match="2 diffusion volumes, but 3 b-values"):
        Diffusion(np.zeros((3, 4, 5, 2), np.float32), RIGHT_HANDED, np.zeros(3), np.zeros((2, 3)))


def test_a_time_series_has_four_dimensions():
    with pytest.raises(BadGeometry, match="four dimensions"):
        TimeSeries(np.zeros((3, 4, 5)), RIGHT_HANDED, 1.0)
