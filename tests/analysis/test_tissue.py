import numpy as np
import pytest

from analysis.outcome import NotMeasurable
from analysis.steps.tissue import Histogram, fit_histogram, fractions_of

PURE = np.array([20.0, 60.0, 100.0])


def brain(noise, share=(0.15, 0.45, 0.40), seed=1):
    """Brightness of 60,000 voxels, a third of them mixtures of two neighbouring tissues, with the template's priors of each."""
    rng = np.random.default_rng(seed)
    fractions = np.zeros((60_000, 3))
    kinds = rng.choice(3, 60_000, p=share)
    fractions[np.arange(60_000), kinds] = 1.0
    mixed = rng.random(60_000) < 0.33
    neighbour = np.where(kinds == 0, 1, np.where(kinds == 2, 1, rng.choice([0, 2], 60_000)))
    part = rng.random(60_000) / 2
    rows = np.flatnonzero(mixed)
    fractions[rows, kinds[rows]] -= part[rows]
    fractions[rows, neighbour[rows]] += part[rows]
    return fractions @ PURE + rng.normal(0, noise, 60_000), fractions


@pytest.mark.parametrize("noise", [1.0, 4.0, 8.0])
def test_the_brightness_of_pure_tissue_is_found_among_mixtures(noise):
    values, fractions = brain(noise)
    found = fit_histogram(values, fractions[:, 1:].T)
    assert found.means == pytest.approx(PURE, abs=2.0)
    assert found.sd == pytest.approx(noise, abs=1.5)


@pytest.mark.parametrize("noise", [1.0, 4.0, 8.0])
def test_fractions_add_up_and_their_sums_are_right(noise):
    values, fractions = brain(noise)
    found = fractions_of(values, fit_histogram(values, fractions[:, 1:].T), np.ones(len(values)))
    assert found.sum(0) == pytest.approx(np.ones(len(values)), abs=1e-5)
    assert found.mean(1) == pytest.approx(fractions.mean(0), abs=0.01)


def test_the_wall_of_a_ventricle_is_not_grey_matter():
    histogram = Histogram(PURE, 2.0, np.array([0.1, 0.3, 0.3, 0.1, 0.2]))
    assert fractions_of(np.array([60.0]), histogram, np.array([0.0]))[:, 0] == pytest.approx([0.5, 0.0, 0.5])
    assert fractions_of(np.array([60.0]), histogram, np.array([0.5]))[:, 0] == pytest.approx([0.0, 1.0, 0.0], abs=0.05)


def test_the_contrast_of_a_t2_is_refused():
    values, fractions = brain(2.0)
    with pytest.raises(NotMeasurable, match="not the contrast of a T1"):
        fit_histogram(130.0 - values, fractions[:, 1:].T)


def test_what_strong_motion_leaves_is_refused():
    """CSF at 0.37 of white matter, grey at 0.73, noise 0.105: what the fit found of a phantom that moved."""
    rng = np.random.default_rng(2)
    values, fractions = brain(0.0)
    moved = fractions @ np.array([37.0, 73.0, 100.0]) + rng.normal(0, 11.5, len(values))
    with pytest.raises(NotMeasurable, match="noise or motion"):
        fit_histogram(moved, fractions[:, 1:].T)


def test_tissues_that_drown_in_noise_are_refused():
    values, fractions = brain(40.0)
    with pytest.raises(NotMeasurable):
        fit_histogram(values, fractions[:, 1:].T)
