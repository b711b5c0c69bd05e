"""The signals of metabolites, and the model made of them."""

import numpy as np
import pytest

from analysis.spectrum import PRESS, SLASER, STEAM
from analysis.steps.metabolite_basis import TOTALS, metabolite_basis
from analysis.steps.metabolite_priors import soft_prior
from analysis.steps.spectrum_model import Model
from analysis.steps.spin_echoes import WATER_PPM, EchoTiming, transitions
from analysis.steps.spin_systems import SpinGroup, spin_systems

FIELD_MHZ = 123.2
TIMINGS = [
    EchoTiming(PRESS, (15.0, 15.0)),
    EchoTiming(PRESS, (12.0, 18.0)),
    EchoTiming(STEAM, (20.0, 10.0)),
    EchoTiming(SLASER, (30.0, 0.0)),
]
PROTONS = {"NAA": 7, "Cr": 5, "mI": 6, "Glu": 5, "Gln": 5, "Lac": 4, "Tau": 4, "GPC": 18}


@pytest.mark.parametrize("timing", TIMINGS, ids=str)
def test_a_singlet_passes_every_echo_whole_and_upright(timing):
    hertz, amplitude = transitions(SpinGroup((3.027,), (), 3.0), FIELD_MHZ, timing)
    np.testing.assert_allclose(hertz, [(3.027 - WATER_PPM) * FIELD_MHZ], atol=0.01)
    np.testing.assert_allclose(amplitude, [3.0], atol=1e-9)


def test_without_an_echo_every_proton_counts_once():
    for name, protons in PROTONS.items():
        total = sum(transitions(group, FIELD_MHZ, EchoTiming(PRESS, (1e-6, 1e-6)))[1].sum() for group in spin_systems()[name])
        assert total == pytest.approx(protons, abs=0.02), name


def test_lactate_is_upside_down_after_one_over_j_and_upright_after_two():
    (group,) = spin_systems()["Lac"]
    for echo_ms, sign in ((1000 / 6.933, -1), (2000 / 6.933, 1)):
        hertz, amplitude = transitions(group, FIELD_MHZ, EchoTiming(PRESS, (echo_ms / 2, echo_ms / 2)))
        doublet = np.abs(hertz / FIELD_MHZ + WATER_PPM - 1.314) < 0.1
        assert sign * amplitude[doublet].sum().real > 2.5


def test_two_weakly_coupled_protons_turn_as_the_product_operators_say():
    group = SpinGroup((1.0, 4.0), ((0, 1, 7.0),), 1.0)
    hertz, amplitude = transitions(group, 300.0, EchoTiming(PRESS, (20.0, 30.0)))
    near = np.abs(hertz / 300.0 + WATER_PPM - 1.0) < 0.1
    assert amplitude[near].sum().real == pytest.approx(np.cos(np.pi * 7.0 * 0.05), abs=0.01)


@pytest.fixture(scope="module")
def model():
    basis = metabolite_basis(TIMINGS[0], FIELD_MHZ, 2000.0, 800)
    rng = np.random.default_rng(1)
    decay = rng.normal(size=800) + 1j * rng.normal(size=800)
    return Model(decay, 2000.0, FIELD_MHZ, basis, (0.5, 4.1), 1.0, 6.0, 10.0, soft_prior(basis, np.ones(len(basis.names))))


def test_the_model_knows_its_slopes(model):
    rng = np.random.default_rng(2)
    parameters = model.start() + 0.1 * rng.normal(size=len(model.start()))
    amplitudes = rng.uniform(0.5, 1.5, len(model.basis.names))
    slopes = model.derivative(parameters, amplitudes)
    for number in range(len(parameters)):
        step = 1e-6 * (np.arange(len(parameters)) == number)
        seen = (model.columns(parameters + step) - model.columns(parameters - step)) @ amplitudes / 2e-6
        np.testing.assert_allclose(slopes[:, number], seen, atol=1e-5 * np.abs(seen).max())


def test_noise_of_a_real_spectrum_is_white(model):
    assert model.data.std() == pytest.approx(np.sqrt(800), rel=0.1)
    assert abs(np.corrcoef(model.data[1:], model.data[:-1])[0, 1]) < 0.15


def test_amplitudes_are_never_negative_and_the_totals_are_sums_of_signals(model):
    amplitudes, _, columns = model.amplitudes(model.start())
    assert (amplitudes >= 0).all() and columns.shape == (len(model.ppm), len(model.basis.names))
    assert {part for parts in TOTALS.values() for part in parts} <= set(model.basis.names)
