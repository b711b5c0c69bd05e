"""The marker on a head that is the template itself: ratios that were put in come out, a loss of NAA shows on its side, words."""

from dataclasses import replace

import numpy as np
import pytest

from analysis import atlas
from analysis.examination import Examination
from analysis.markers.motor_cortex_spectroscopy import MARKER
from analysis.outcome import MEASURED, NotMeasurable
from analysis.phantom_spectrum import HEALTHY_MMOL, Acquisition, simulated
from analysis.sentence import sentence_of
from analysis.spectrum import Spectra
from analysis.steps.head import head_on_template
from analysis.steps.space import Placement, lps_grid
from analysis.steps.tissue import Tissue, tissue_fractions

TRUE = (HEALTHY_MMOL["NAA"] + HEALTHY_MMOL["NAAG"]) / (HEALTHY_MMOL["Cr"] + HEALTHY_MMOL["PCr"])
HALF_NAA = {**HEALTHY_MMOL, "NAA": HEALTHY_MMOL["NAA"] / 2, "NAAG": HEALTHY_MMOL["NAAG"] / 2}
SHORT, LONG = Acquisition(field_mhz=123.2), Acquisition(field_mhz=123.2, echo_time_ms=144.0)
HAND, OCCIPITAL = (28.3, 22.4, 60.5), (8.0, 82.0, 8.0)


def taken(middle, acquisition=SHORT, concentrations=HEALTHY_MMOL, seed=1, series="svs"):
    box = np.diag([20.0, 20.0, 20.0, 1.0])
    box[:3, 3] = middle
    return simulated(concentrations, acquisition, seed, box, series)


def mirrored(middle):
    return (-middle[0], *middle[1:])


def examined(*spectra, **images):
    layers = atlas.template()
    grey, white, inside = (layers[name].array.astype(np.float32) for name in ("grey", "white", "inside"))
    t1 = layers["brain"]
    tissue = Tissue(np.clip(inside - grey - white, 0, 1), grey, white, t1.array, (0.3, 0.7, 1.0), 0.03)
    done = {tissue_fractions: (tissue, None), head_on_template: (Placement(t1, lps_grid(t1), np.eye(4), 1.0), None)}
    return Examination({"mrs": Spectra(spectra), "t1": t1, **images}, _done=done)


@pytest.fixture(scope="module")
def outcome():
    """The left side with half of its NAA, at short and at long echo time; the right side healthy; a voxel elsewhere."""
    return MARKER.measure(examined(
        taken(HAND, concentrations=HALF_NAA, series="left"), taken(HAND, LONG, HALF_NAA, 2, "left long"),
        taken(mirrored(HAND), seed=3, series="right"), taken(OCCIPITAL, seed=4, series="visual"),
    ))  # fmt: skip


def value_of(outcome, name, side, level="short_te"):
    return next(one for one in outcome.measurements if (one.name, one.side, one.level) == (name, side, level))


def test_ratios_lie_within_two_standard_errors_and_a_loss_shows_on_its_side(outcome):
    left, right, late = (value_of(outcome, "naa_cr", *place) for place in (("left",), ("right",), ("left", "long_te")))
    for one, true in ((left, TRUE / 2), (right, TRUE), (late, TRUE / 2)):
        assert one.value == pytest.approx(true, abs=2 * one.uncertainty) and 0 < one.uncertainty < 0.2 * one.value
    assert right.value > 1.5 * left.value
    assert outcome.outcome == MEASURED and left.unit == "1" and "no norm travels" in left.no_reference


def test_at_long_echo_times_inositol_and_glutamate_are_gaps(outcome):
    missing = {(gap.name, gap.side) for gap in outcome.gaps if gap.level == "long_te"}
    assert missing >= {("naa_mi", "left"), ("mi_cr", "left"), ("glx_cr", "left")}
    assert all("echo time" in gap.reason for gap in outcome.gaps if gap.name == "mi_cr" and gap.level == "long_te")


def test_each_spectrum_has_its_quality_its_plot_and_its_voxel(outcome):
    assert {(plot.side, plot.level) for plot in outcome.plots} == {("left", "short_te"), ("left", "long_te"), ("right", "short_te")}
    for plot in outcome.plots:
        curves = {curve.name: curve.values for curve in plot.curves}
        assert np.allclose(curves["data"] - curves["fit"], curves["residual"], atol=1e-6 * np.abs(curves["data"]).max()) or np.allclose(
            curves["fit"] - curves["data"], curves["residual"], atol=1e-6 * np.abs(curves["data"]).max()
        )
        assert plot.axis.min() < 1.0 and plot.axis.max() > 3.9
        assert value_of(outcome, "snr", plot.side, plot.level).value > 10
        assert 2 < value_of(outcome, "linewidth", plot.side, plot.level).value < 12
    assert [(mask.side, mask.role) for mask in outcome.masks] == [("left", "t1"), ("right", "t1")], "one mask for both echo times"


def test_what_lies_elsewhere_is_said_and_not_measured(outcome):
    assert any("spectrum visual: the voxel does not lie in the motor cortex" in note for note in outcome.notes)
    assert "NAA/Cr left" in sentence_of(outcome) and "right" in sentence_of(outcome)


def test_metabolites_are_compared_with_the_water_of_their_voxel(outcome):
    assert any("mmol per kg of tissue water" in note for note in outcome.notes)


def test_of_two_spectra_of_one_place_the_better_one_speaks():
    noisy = taken(HAND, replace(SHORT, snr=12.0), seed=5, series="noisy")
    outcome = MARKER.measure(examined(noisy, taken(HAND, series="quiet")))
    assert len([one for one in outcome.measurements if one.name == "naa_cr"]) == 1
    assert any("spectrum noisy: not used" in note for note in outcome.notes)


def test_without_a_t1_or_a_voxel_in_the_motor_cortex_nothing_is_measured():
    both = examined(taken(HAND))
    with pytest.raises(NotMeasurable, match="without a T1 series"):
        MARKER.measure(Examination({"mrs": both.images["mrs"]}))
    with pytest.raises(NotMeasurable, match="occipital lobe, 0 % of its tissue"):
        MARKER.measure(examined(taken(OCCIPITAL)))
    apart = replace(taken(HAND), lps_from_box=None, no_place="another frame of reference")
    with pytest.raises(NotMeasurable, match="another frame of reference"):
        MARKER.measure(examined(apart))


def test_noise_alone_is_no_spectrum_of_a_brain():
    chance = np.random.default_rng(0)
    noise = replace(taken(HAND), array=(chance.normal(size=(1, 1, 1024)) + 1j * chance.normal(size=(1, 1, 1024))), water=None)
    with pytest.raises(NotMeasurable):
        MARKER.measure(examined(noise))
