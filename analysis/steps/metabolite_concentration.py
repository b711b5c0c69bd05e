"""Metabolites in millimoles per kilogram of tissue water, where a spectrum has its own unsuppressed water: Gasparovic 2006.

The formula (doi 10.1002/mrm.20901) weighs the water of grey matter, white matter and CSF by their content and relaxation, and takes CSF for
free of metabolites. Water content: Ernst 1993, doi 10.1006/jmrb.1993.1055. Relaxation times: the means of a survey of the literature that
FSL-MRS uses (Clarke 2021, doi 10.1002/mrm.28630), one T1 and T2 for all metabolites; at 3 and 7 T, at other fields nothing is given.
Right only where the scanner stored water and spectrum on one scale; whether it did, no header states. The error is that of the fit alone.
Simulated spectra give back what was put in (tests/analysis/test_metabolite_concentration.py). One brain at 3 T (Philips, PRESS 30, its
tissues taken as 60 % grey, 27 % white, 12 % CSF): NAA 14.8 ± 1.4, creatine 13.0 ± 1.2, choline 1.7 ± 0.2 mmol/kg; not compared with a
known concentration.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analysis.outcome import NotMeasurable
from analysis.spectrum import Spectrum
from analysis.steps.spectrum_fit import SpectrumFit
from analysis.words import say

WATER_MMOL_PER_KG = 55_510.0  # of water in water
WATER_CONTENT = {"grey": 0.78, "white": 0.65, "csf": 0.97}
METABOLITES = "metabolites"
T1_S = {
    3: {"grey": 1.50, "white": 0.97, "csf": 4.47, METABOLITES: 1.29},
    7: {"grey": 2.05, "white": 1.21, "csf": 4.43, METABOLITES: 1.43},
}
T2_S = {
    3: {"grey": 0.088, "white": 0.073, "csf": 2.030, METABOLITES: 0.194},
    7: {"grey": 0.050, "white": 0.055, "csf": 1.050, METABOLITES: 0.131},
}
MHZ_PER_TESLA = 42.577
NEAR_TESLA = 0.2


@dataclass(frozen=True)
class Concentration:
    """In millimoles per kilogram of the water of grey and white matter, with the standard error of the fit."""

    value: float
    standard_error: float


def concentrations(spectrum: Spectrum, fit: SpectrumFit, grey: float, white: float, csf: float) -> dict[str, Concentration]:
    """By the names of the sums of metabolites (tNAA, tCr, tCho, mI, Glx); `grey`, `white`, `csf`: shares of the voxel.

    NotMeasurable where there is no unsuppressed water, no repetition time, or no published relaxation for the field.
    """
    if fit.water_amplitude is None:
        raise NotMeasurable(say("there is no unsuppressed water to compare with"))
    if spectrum.repetition_time_ms is None:
        raise NotMeasurable(say("the headers state no repetition time"))
    field = _field_tesla(spectrum.field_mhz)
    water = {"grey": grey, "white": white, "csf": csf}
    moles = {tissue: share * WATER_CONTENT[tissue] for tissue, share in water.items()}
    seen = sum(moles[tissue] * _left(spectrum, field, tissue) for tissue in water)
    scale = 2.0 / fit.water_amplitude * WATER_MMOL_PER_KG * seen / (_left(spectrum, field, METABOLITES) * (moles["grey"] + moles["white"]))
    return {name: Concentration(value * scale, error * scale) for name, (value, error) in fit.amplitudes.items()}


def _field_tesla(field_mhz: float) -> int:
    for tesla in T1_S:
        if abs(field_mhz / MHZ_PER_TESLA - tesla) < NEAR_TESLA:
            return tesla
    raise NotMeasurable(say("no relaxation times of water are at hand for {field:.1f} T", field=field_mhz / MHZ_PER_TESLA))


def _left(spectrum: Spectrum, field: int, what: str) -> float:
    """The share of a signal that repetition and echo time leave."""
    recovered = 1.0 - np.exp(-spectrum.repetition_time_ms / 1000.0 / T1_S[field][what])
    return float(recovered * np.exp(-spectrum.echo_time_ms / 1000.0 / T2_S[field][what]))
