"""Concentrations against water, on simulated spectra whose metabolites and water are known."""

from dataclasses import replace

import numpy as np
import pytest

from analysis.outcome import NotMeasurable
from analysis.phantom_spectrum import HEALTHY_MMOL, WATER_PROTONS, Acquisition, simulated
from analysis.steps.metabolite_basis import TOTALS
from analysis.steps.metabolite_concentration import concentrations
from analysis.steps.spectrum_fit import amplitude_of, fitted


@pytest.fixture(scope="module")
def healthy():
    spectrum = simulated(HEALTHY_MMOL, Acquisition(echo_parts_ms=(14.0, 16.0)), 7)
    return spectrum, fitted(spectrum)


def test_known_concentrations_come_back(healthy):
    # all of it grey matter: TE 30 ms, TR 2 s, T2 88 and 194 ms, T1 1.50 and 1.29 s
    visible = np.exp(-30 / 88) * (1 - np.exp(-2 / 1.50)) / (np.exp(-30 / 194) * (1 - np.exp(-2 / 1.29)))
    found = concentrations(*healthy, grey=1.0, white=0.0, csf=0.0)
    for name in ("tNAA", "tCr", "tCho", "mI", "Glx"):
        expected = sum(HEALTHY_MMOL[part] for part in TOTALS[name]) * 2 / WATER_PROTONS * 55_510 * visible
        assert abs(found[name].value - expected) < 3 * found[name].standard_error + 0.03 * expected, name
    assert found["tNAA"].standard_error < 0.15 * found["tNAA"].value


def test_csf_holds_water_and_no_metabolites(healthy):
    """A voxel half of CSF: the tissue's concentration is what the same signal means with the water of both."""
    spectrum, fit = healthy
    tissue = 0.5 * 0.78 * np.exp(-30 / 88) * (1 - np.exp(-2 / 1.50))
    fluid = 0.5 * 0.97 * np.exp(-30 / 2030) * (1 - np.exp(-2 / 4.47))
    halved = concentrations(spectrum, fit, grey=0.5, white=0.0, csf=0.5)
    whole = concentrations(spectrum, fit, grey=1.0, white=0.0, csf=0.0)
    assert halved["tCr"].value / whole["tCr"].value == pytest.approx((tissue + fluid) / tissue, rel=1e-6)


@pytest.mark.parametrize("scale", [1e-6, 1e6])
def test_the_scale_of_the_scanner_does_not_matter(healthy, scale):
    spectrum, fit = healthy
    scaled = replace(spectrum, array=spectrum.array * scale, water=spectrum.water * scale)
    assert fitted(scaled).water_amplitude == pytest.approx(fit.water_amplitude, rel=1e-6)


@pytest.mark.parametrize(
    "changed, reason", [({"repetition_time_ms": None}, "repetition time"), ({"field_mhz": 63.9}, "for 1.5 T")], ids=str
)
def test_what_is_not_known_is_not_guessed(healthy, changed, reason):
    spectrum, fit = healthy
    with pytest.raises(NotMeasurable, match=reason):
        concentrations(replace(spectrum, **changed), fit, 0.6, 0.3, 0.1)
    with pytest.raises(NotMeasurable, match="no unsuppressed water"):
        concentrations(spectrum, replace(fit, water_amplitude=None), 0.6, 0.3, 0.1)


def test_the_start_of_a_decay():
    time_s = np.arange(1024) / 2000
    decay = 3.0 * np.exp(-np.pi * 5 * time_s - (np.pi * 6 * time_s) ** 2 / (4 * np.log(2)) + 0.7j)
    decay[0] *= 0.5
    assert amplitude_of(decay) == pytest.approx(3.0, rel=0.01)
