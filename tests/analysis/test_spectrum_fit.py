"""Simulated spectra, whose line shape, macromolecules and baseline are not those of the fit's model, from their making to their ratios."""

from dataclasses import replace

import numpy as np
import pytest

from analysis.outcome import NotMeasurable
from analysis.phantom_spectrum import HEALTHY_MMOL, Acquisition, simulated
from analysis.steps.metabolite_basis import TOTALS
from analysis.steps.spectrum_fit import RATIOS, fitted, half_width_hz
from analysis.steps.spectrum_preparation import prepared_spectrum

GIVEN = Acquisition(echo_parts_ms=(14.0, 16.0))  # one model of the echo: half the time
TRUTH = {name: sum(HEALTHY_MMOL[part] for part in parts) for name, parts in TOTALS.items()}
LESS_NAA = HEALTHY_MMOL | {name: 0.8 * HEALTHY_MMOL[name] for name in ("NAA", "NAAG")}


@pytest.fixture(scope="module")
def healthy():
    return fitted(simulated(HEALTHY_MMOL, GIVEN, 7))


def test_ratios_are_recovered_within_three_standard_errors(healthy):
    assert {"naa_cr", "naa_cho", "cho_cr"} <= set(healthy.ratios)
    for name, ratio in healthy.ratios.items():
        above, below = RATIOS[name]
        assert abs(ratio.value - TRUTH[above] / TRUTH[below]) < 3 * ratio.standard_error, name
        assert ratio.low < ratio.value < ratio.high


def test_every_ratio_is_given_or_has_a_reason(healthy):
    assert {*healthy.ratios} | {gap.name for gap in healthy.gaps} == set(RATIOS)
    assert not {*healthy.ratios} & {gap.name for gap in healthy.gaps}


def test_what_is_left_is_noise(healthy):
    noise = np.diff(healthy.residual[healthy.ppm < 4.0]).std() / np.sqrt(2)
    assert healthy.residual.std() < 1.5 * noise
    np.testing.assert_allclose(healthy.data, healthy.fit + healthy.residual, atol=1e-9 * np.abs(healthy.data).max())


def test_quality_is_that_of_what_was_simulated(healthy):
    assert healthy.snr == pytest.approx(40, rel=0.35)
    assert healthy.linewidth_hz == pytest.approx(6, abs=2.5)
    assert healthy.water_linewidth_hz == pytest.approx(7, abs=3)
    assert abs(healthy.frequency_shift_hz) < 1.5


def test_less_naa_is_seen_as_such(healthy):
    change = fitted(simulated(LESS_NAA, GIVEN, 7)).ratios["naa_cr"].value / healthy.ratios["naa_cr"].value
    assert change == pytest.approx(0.8, abs=0.05)


def test_a_spectrum_stored_the_other_way_round_gives_the_same(healthy):
    turned = simulated(HEALTHY_MMOL, replace(GIVEN, is_mirrored=True), 7)
    assert fitted(turned).ratios["naa_cr"].value == pytest.approx(healthy.ratios["naa_cr"].value, rel=1e-3)


def test_at_a_long_echo_time_inositol_and_glutamate_are_gaps():
    fit = fitted(simulated(HEALTHY_MMOL, replace(GIVEN, echo_time_ms=135.0, echo_parts_ms=(60.0, 75.0)), 3))
    assert not fit.short_echo and {"naa_cr", "cho_cr"} <= set(fit.ratios)
    reasons = {gap.name: str(gap.reason) for gap in fit.gaps}
    assert {"naa_mi", "mi_cr", "glx_cr"} <= set(reasons) and "135 ms" in reasons["mi_cr"]


def test_a_spectrum_of_mostly_noise_gives_no_glutamate():
    try:
        fit = fitted(simulated(HEALTHY_MMOL, replace(GIVEN, snr=4.0, linewidth_hz=14.0), 5))
    except NotMeasurable:
        return
    assert "glx_cr" not in fit.ratios and "above 20 %" in next(str(gap.reason) for gap in fit.gaps if gap.name == "glx_cr")


def test_noise_is_no_brain():
    spectrum = simulated(HEALTHY_MMOL, GIVEN, 1)
    noise = np.random.default_rng(0).normal(size=(2, *spectrum.array.shape))
    with pytest.raises(NotMeasurable, match="no spectrum of a brain"):
        fitted(replace(spectrum, array=noise[0] + 1j * noise[1], water=None))


def test_lactate_and_gaba_in_water_are_no_brain():
    solution = {name: 0.0 for name in HEALTHY_MMOL} | {"Lac": 50.0, "GABA": 30.0, "NAA": 1e-3}
    still = replace(GIVEN, macromolecules=0.0, baseline=0.0, residual_water=0.0, snr=0.005)
    with pytest.raises(NotMeasurable, match="no spectrum of a brain"):
        fitted(simulated(solution, still, 2))


def test_a_solution_at_room_temperature_is_no_living_brain():
    spectrum = simulated(HEALTHY_MMOL, replace(GIVEN, macromolecules=0.0), 4)
    time_s = np.arange(spectrum.points) / spectrum.spectral_width_hz
    moved = spectrum.array * np.exp(-2j * np.pi * 0.16 * spectrum.field_mhz * time_s)  # water lies 0.01 ppm further per degree
    with pytest.raises(NotMeasurable, match=r"as at 2[0-9] °C"):
        fitted(replace(spectrum, array=moved))


def test_drifting_repetitions_of_many_coils_become_one_narrow_line():
    many = simulated(HEALTHY_MMOL, replace(GIVEN, coils=8, repetitions=16, drift_hz=12.0, eddy_rad=0.0), 6)
    still = simulated(HEALTHY_MMOL, replace(GIVEN, coils=8, repetitions=16, drift_hz=0.0, eddy_rad=0.0), 6)
    heights = [np.abs(np.fft.fft(prepared_spectrum(one).decay)).max() for one in (many, still)]
    assert heights[0] == pytest.approx(heights[1], rel=0.05)


def test_the_phase_of_the_water_corrects_eddy_currents():
    bent = prepared_spectrum(simulated(HEALTHY_MMOL, replace(GIVEN, eddy_rad=2.0, residual_water=0.0, snr=4000.0), 8))
    straight = prepared_spectrum(simulated(HEALTHY_MMOL, replace(GIVEN, eddy_rad=0.0, residual_water=0.0, snr=4000.0), 8))
    assert np.abs(bent.decay - straight.decay).mean() < 0.05 * np.abs(straight.decay[:100]).mean()


def test_residual_water_is_gone():
    wet = prepared_spectrum(simulated(HEALTHY_MMOL, replace(GIVEN, residual_water=20.0), 9))
    spectrum = np.abs(np.fft.fft(wet.decay, 4096))
    ppm = 4.68 + np.fft.fftfreq(4096, 1 / wet.spectral_width_hz) / wet.field_mhz
    assert spectrum[np.abs(ppm - 4.68) < 0.3].max() < spectrum[np.abs(ppm - 2.01) < 0.1].max()


def test_the_width_of_a_line():
    time_s = np.arange(4096) / 2000
    assert half_width_hz(np.exp(-np.pi * 6 * time_s).astype(complex), 2000.0) == pytest.approx(6, abs=0.2)
