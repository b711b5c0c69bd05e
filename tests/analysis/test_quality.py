"""Noise, ghosts, movement, wrap and cut heads on a head of known brightness, whatever the grid and the background."""

import numpy as np
import pytest
from scipy import ndimage

from analysis.examination import Examination
from analysis.markers.image_quality import largest_shell, measure, quality_of
from analysis.outcome import NotMeasurable
from analysis.sentence import sentence_of
from analysis.steps.displacement import displacement_of
from analysis.steps.field_of_view import cut_part, is_wrapped
from analysis.steps.quality import ghosting_of, noise_of, overview_of
from analysis.volume import Diffusion, Runs, TimeSeries, Volume
from node.wording import finding_line

SIGNAL = 500.0
SAGITTAL = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])
AXIAL = np.array([[0.0, 0, 1], [0, 1, 0], [-1, 0, 0]])


def head(plane=SAGITTAL, spacing_mm=(1.5, 1.5, 1.5), shape=(128, 160, 160), middle_mm=(0.0, 0.0, -20.0), seed=0):
    """Brain, a dark skull, a bright scalp and a neck, without noise; the top of the head lies 90 mm above the origin."""
    affine = np.eye(4)
    affine[:3, :3] = plane * spacing_mm
    affine[:3, 3] = np.array(middle_mm) - affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    index = np.indices(shape, dtype=np.float32)
    x, y, z = np.tensordot(affine[:3, :3], index, 1) + affine[:3, 3].reshape(3, 1, 1, 1)
    radius = np.sqrt((x / 75) ** 2 + (y / 95) ** 2 + (z / 90) ** 2)
    blobs = ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal(shape, np.float32), 8.0 / np.array(spacing_mm))
    image = np.where(blobs > 0, 1.2 * SIGNAL, 0.8 * SIGNAL)
    image = np.where(radius > 0.86, 30.0, image)
    image = np.where(((x / 55) ** 2 + ((y - 15) / 60) ** 2 < 1) & (z < -40) & (radius > 0.86), 0.6 * SIGNAL, image)
    image = np.where((radius > 0.95) & (image < 100), 1.3 * SIGNAL, image)
    inside = (radius < 1) | (((x / 55) ** 2 + ((y - 15) / 60) ** 2 < 1) & (z < -40))
    return Volume(ndimage.gaussian_filter(np.where(inside, image, 0.0).astype(np.float32), 0.5), affine)


def noisy(volume, sd, seed=1):
    """Rician noise, rounded as a scanner does."""
    random = np.random.default_rng(seed)
    real, imaginary = random.standard_normal((2, *volume.array.shape), np.float32) * np.float32(sd)
    return volume.with_array(np.round(np.hypot(volume.array + real, imaginary)).astype(np.uint16))


@pytest.fixture(scope="module")
def still():
    return head()


def seen_noise(volume, twin=None):
    return noise_of(volume, overview_of(volume), twin)


@pytest.mark.parametrize("sd", [10.0, 25.0, 60.0])
def test_the_noise_is_found_without_a_noise_scan(still, sd):
    assert seen_noise(noisy(still, sd)) == pytest.approx(sd, rel=0.12)


@pytest.mark.parametrize(
    ("plane", "spacing_mm", "shape"), [(AXIAL, (2.0, 1.0, 1.0), (110, 220, 180)), (AXIAL, (4.0, 0.8, 0.8), (50, 270, 210))]
)
def test_the_noise_does_not_depend_on_the_grid(plane, spacing_mm, shape):
    image = noisy(head(plane, spacing_mm, shape, (0.0, 0.0, -15.0)), 25.0)
    assert seen_noise(image) == pytest.approx(25.0, rel=0.15)
    assert overview_of(image).signal == pytest.approx(SIGNAL, rel=0.06)


def test_the_background_does_not_matter(still):
    image = noisy(still, 25.0)
    blanked = image.with_array(np.where(still.array > 0, image.array, 0))
    assert seen_noise(blanked) == pytest.approx(seen_noise(image), rel=0.02)


def test_zero_filling_is_not_mistaken_for_a_quiet_image(still):
    image = noisy(still, 25.0)
    spectrum = np.fft.fftshift(np.fft.fft2(image.array.astype(np.float32)), axes=(1, 2))
    filled = np.abs(np.fft.ifft2(np.fft.ifftshift(np.pad(spectrum, [(0, 0), (40, 40), (40, 40)]), axes=(1, 2)))) * 2.25
    finer = Volume(filled.astype(np.float32), still.lps_from_index @ np.diag([1, 1 / 1.5, 1 / 1.5, 1]))
    assert seen_noise(finer) == pytest.approx(25.0, rel=0.15)


def test_two_pictures_of_the_same_show_the_noise_of_coarse_voxels():
    coarse = head(AXIAL, (3.0, 3.0, 3.0), (60, 80, 70), (0.0, 0.0, 0.0))
    first, second = noisy(coarse, 10.0, 1), noisy(coarse, 10.0, 2)
    assert noise_of(first, overview_of(first), second.array) == pytest.approx(10.0, rel=0.12)


def test_an_empty_image_is_refused():
    with pytest.raises(NotMeasurable, match="empty"):
        overview_of(Volume(np.zeros((40, 40, 40), np.float32), np.eye(4)))


def moving(volume, size_mm, axis):
    """A head that shifts and turns between eight parts of the phase encoding along an axis."""
    random, count = np.random.default_rng(3), volume.array.shape[axis]
    order = np.argsort(np.fft.fftfreq(count))
    out = np.zeros(volume.array.shape, np.complex64)
    for number, lines in enumerate(np.array_split(order, 8)):
        shift = random.uniform(-1, 1, 3) * size_mm / volume.spacing_mm * (number != 4)
        shifted = ndimage.shift(volume.array, shift, order=1) if shift.any() else volume.array
        part = tuple(lines if one == axis else slice(None) for one in range(3))
        out[part] = np.fft.fft(shifted, axis=axis)[part]
    return volume.with_array(np.abs(np.fft.ifft(out, axis=axis)).astype(np.float32))


@pytest.mark.parametrize("axis", [1, 2])
def test_ghosts_grow_with_the_motion(axis):
    found, still = [], head(SAGITTAL, (3.0, 2.5, 2.5), (64, 96, 96))
    for size_mm in (0.0, 1.0, 3.0, 5.0):
        image = noisy(moving(still, size_mm, axis), 10.0)
        found.append(ghosting_of(image, overview_of(image)))
    assert found[0] < 0.01 and found == sorted(found) and found[3] > 0.03


def test_ghosts_are_not_looked_for_where_the_air_is_blanked(still):
    blanked = still.with_array(np.where(still.array > 60, still.array, 0))
    with pytest.raises(NotMeasurable, match="set to zero"):
        ghosting_of(blanked, overview_of(blanked))


def series(shifts_mm):
    coarse = head(AXIAL, (3.0, 3.0, 3.0), (60, 80, 70), (0.0, 0.0, 0.0))
    moved = [ndimage.shift(coarse.array, np.array(shift) / 3.0, order=1) for shift in shifts_mm]
    return noisy(coarse.with_array(coarse.array), 5.0), np.stack(moved, axis=-1)


def test_the_displacement_between_volumes_is_measured_in_mm():
    shifts_mm = np.random.default_rng(0).uniform(-4, 4, (10, 3))
    first, array = series(shifts_mm)
    true_mm = np.linalg.norm(shifts_mm - shifts_mm.mean(0), axis=1).mean()
    assert displacement_of(array, np.arange(10), overview_of(first)) == pytest.approx(true_mm, abs=0.3)
    assert displacement_of(series(np.zeros((4, 3)))[1], np.arange(4), overview_of(first)) < 0.05


def test_what_follows_the_diffusion_gradients_is_no_motion():
    gradients = np.random.default_rng(0).standard_normal((12, 3))
    gradients /= np.linalg.norm(gradients, axis=1)[:, None]
    first, array = series(gradients[:, 2:] * [0.0, 3.0, 0.0])
    assert displacement_of(array, np.arange(12), overview_of(first)) > 1.0
    assert displacement_of(array, np.arange(12), overview_of(first), gradients) < 0.3


def test_too_few_volumes_have_no_displacement():
    first, array = series(np.zeros((2, 3)))
    with pytest.raises(NotMeasurable, match="too few volumes"):
        displacement_of(array, np.arange(2), overview_of(first))


def folded(volume, planes, axis, at_the_end=False):
    """The field of view made smaller by some planes: what lies beyond is added at the other end."""
    array = np.moveaxis(volume.array.astype(np.float32), axis, 0)
    array = array[::-1] if at_the_end else array
    kept = array[planes:].copy()
    kept[-planes:] += array[:planes]
    kept = kept[::-1] if at_the_end else kept
    return Volume(np.ascontiguousarray(np.moveaxis(kept, 0, axis)), volume.lps_from_index)


@pytest.mark.parametrize("at_the_end", [False, True])
@pytest.mark.parametrize(("axis", "planes"), [(0, 30), (2, 30), (2, 40)])
def test_folded_tissue_is_told_from_a_head_that_fits(still, axis, planes, at_the_end):
    image = noisy(still, 15.0)
    assert not is_wrapped(image, overview_of(image))
    image = folded(image, planes, axis, at_the_end)
    assert is_wrapped(image, overview_of(image))


def test_a_head_that_is_cut_is_not_taken_for_folded(still):
    across, along = still.part((slice(25, 103), slice(0, 160), slice(0, 160))), still.part((slice(0, 128), slice(0, 160), slice(25, 110)))
    assert cut_part(overview_of(noisy(across, 15.0))) == "the field of view cuts the left and the right of the head"
    image = noisy(along, 15.0)
    assert not is_wrapped(image, overview_of(image))
    assert cut_part(overview_of(image)) == "the field of view cuts the back of the head"


def test_the_neck_may_be_cut_and_the_brain_may_not(still):
    assert cut_part(overview_of(noisy(still, 15.0))) is None
    top = noisy(still.part((slice(0, 128), slice(40, 160), slice(0, 160))), 15.0)
    assert cut_part(overview_of(top)) == "the field of view cuts the top of the head"
    short = noisy(still.part((slice(0, 128), slice(0, 75), slice(0, 160))), 15.0)
    assert "below the top of the head" in cut_part(overview_of(short))


def diffusion_of(first, second):
    gradients = np.concatenate([np.zeros((2, 3)), np.eye(3), -np.eye(3)])
    array = np.stack([first.array, second.array, *[0.5 * first.array] * 6], axis=-1).astype(np.float32)
    return Diffusion(array, first.lps_from_index, np.array([0.0, 5.0, *[1000.0] * 6]), gradients)


def test_every_series_gets_its_numbers_and_one_finding(still):
    coarse = head(AXIAL, (3.0, 3.0, 3.0), (60, 80, 70), (0.0, 0.0, 0.0))
    first, second = noisy(coarse, 20.0, 1), noisy(coarse, 20.0, 2)
    bold = TimeSeries(np.stack([noisy(coarse, 20.0, seed).array for seed in range(4)], -1), coarse.lps_from_index, 2.0)
    images = {"flair": noisy(still, 20.0), "dwi": diffusion_of(first, second), "bold": Runs((bold,)), "swi": noisy(still, 75.0)}
    outcome = measure(Examination(images))
    assert {(one.name, one.level, one.unit) for one in outcome.measurements} == {
        *((("snr", role, "1")) for role in images), ("motion", "flair", "1"), ("motion", "swi", "1"),
        ("motion", "dwi", "mm"), ("motion", "bold", "mm"),
    }  # fmt: skip
    found = {(one.name, one.level): one.value for one in outcome.measurements}
    assert all(found["snr", role] == pytest.approx(SIGNAL / 20.0, rel=0.2) for role in ("flair", "dwi", "bold"))
    assert {one.level: one.value for one in outcome.findings} == {"flair": "absent", "dwi": "absent", "bold": "absent", "swi": "present"}
    assert all(one.reason for one in outcome.findings)
    sentence = sentence_of(outcome)
    assert sentence.startswith("Image quality: FLAIR, DWI, BOLD sufficient; SWI limited: low signal to noise")
    assert finding_line(outcome.findings[1]).startswith("Limited quality, SWI: present (low signal to noise")


def test_what_cannot_be_seen_is_a_gap_and_the_rest_is_said(still):
    blanked = still.with_array(np.where(still.array > 60, noisy(still, 20.0).array, 0))
    outcome = measure(Examination({"flair": blanked, "t2": Volume(np.zeros((40, 40, 40), np.float32), np.eye(4))}))
    assert [(one.name, one.level) for one in outcome.gaps] == [("motion", "flair"), ("snr", "t2"), ("motion", "t2")]
    assert [(one.level, one.value) for one in outcome.findings] == [("flair", "absent"), ("t2", "not assessed")]
    assert "motion could not be seen" in outcome.findings[0].reason


def test_images_that_show_nothing_are_not_measurable():
    with pytest.raises(NotMeasurable):
        measure(Examination({"t2": Volume(np.zeros((40, 40, 40), np.float32), np.eye(4))}))


def test_the_largest_shell_is_that_with_most_volumes(still):
    images = np.zeros((2, 2, 2, 6), np.float32)
    series = Diffusion(images, np.eye(4), np.array([0.0, 700, 705, 2000, 2010, 1990]), np.zeros((6, 3)))
    assert largest_shell(series).tolist() == [3, 4, 5]


@pytest.mark.realdata
@pytest.mark.parametrize(("name", "role"), [("flair_3d/FLAIR.nii.gz", "flair"), ("t2w_tse/T2w.nii.gz", "t2")])
def test_good_series_of_scanners_have_neither_motion_nor_wrap_nor_noise(realdata, name, role):
    import nibabel

    image = nibabel.load(realdata / name)
    lps_from_index = np.diag([-1.0, -1.0, 1.0, 1.0]) @ image.affine
    array = image.get_fdata(dtype=np.float32)
    if np.linalg.det(lps_from_index) < 0:
        array, lps_from_index = (
            array[::-1],
            lps_from_index @ np.array([[-1.0, 0, 0, array.shape[0] - 1], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]),
        )
    found = quality_of(Examination({role: Volume(np.ascontiguousarray(array), lps_from_index)}), role)
    assert not [limit for limit in found.limits if "cuts the top" not in limit]
