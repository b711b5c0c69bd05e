"""The signals that a spectrum of the brain is made of: metabolites by density matrix, macromolecules and lipids as broad lines.

A signal is a free induction decay at its published frequency, without relaxation or line width; its amplitude counts protons, so that the
amplitudes of a fit are molar ratios. The methyl singlet of NAA and creatine carries its name; their other protons are signals of
their own ("NAA rest" …), since the suppression of water, a shorter T2, the slice profile of real pulses and a TE1 that is not known change
them and not the singlet. Macromolecules are groups of Gaussian lines: positions and widths after Cudalbu 2021
(doi 10.1002/nbm.4393). Lipids: Gaussian lines at 0.9 and 1.3 ppm. A basis is made once for a sequence, field and sampling.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from analysis.steps.spin_echoes import WATER_PPM, EchoTiming, transitions
from analysis.steps.spin_systems import SpinGroup, spin_systems

TOTALS = {"tNAA": ("NAA", "NAAG"), "tCr": ("Cr", "PCr"), "tCho": ("GPC", "PCh"), "mI": ("mI",), "Glx": ("Glu", "Gln")}
BROAD_LINES = {  # name: (ppm, full width at half maximum in ppm)
    "MM09": (0.92, 0.16), "MM12": (1.21, 0.14), "MM14": (1.41, 0.14), "MM17": (1.67, 0.16), "MM20": (2.04, 0.15), "MM21": (2.13, 0.14),
    "MM22": (2.27, 0.19), "MM24": (2.45, 0.17), "MM26": (2.62, 0.13), "MM27": (2.75, 0.14), "MM30": (3.00, 0.15), "MM32": (3.19, 0.18),
    "MM36": (3.63, 0.14), "MM37": (3.79, 0.14), "MM39": (3.94, 0.10), "MM40": (4.04, 0.17), "Lip09": (0.89, 0.14), "Lip13": (1.28, 0.12),
}  # fmt: skip

SINGLETS = ("NAA", "Cr", "PCr")  # their first group is the singlet
LINE_HZ = 2.0  # intrinsic width of a metabolite's line, T2 of 160 ms: where the fit starts


@dataclass(frozen=True, eq=False)
class Basis:
    """`names` of the signals, and `decays` complex128 (signal, point) in protons, without any damping.

    `lorentz_hz` (signal,): the width with which the line of a metabolite starts; `gauss_hz` (signal,): that of a broad line, 0 for a
    metabolite.
    """

    names: tuple[str, ...]
    decays: np.ndarray
    lorentz_hz: np.ndarray
    gauss_hz: np.ndarray

    @property
    def is_broad(self) -> np.ndarray:
        return self.gauss_hz > 0

    def members(self, total: str) -> np.ndarray:
        """(signal,) one where a signal belongs to that sum of metabolites."""
        return np.array([float(name in TOTALS[total]) for name in self.names])


@lru_cache(maxsize=16)
def metabolite_basis(timing: EchoTiming, field_mhz: float, spectral_width_hz: float, points: int) -> Basis:
    """Every metabolite and broad line for one acquisition; 0 Hz is 4.68 ppm."""
    time_s = np.arange(points) / spectral_width_hz
    systems = spin_systems()
    parts = systems | {name: systems[name][:1] for name in SINGLETS} | {rest_of(name): systems[name][1:] for name in SINGLETS}
    decays = {name: _metabolite(groups, timing, field_mhz, time_s) for name, groups in parts.items()}
    narrow = len(decays)
    decays |= {name: np.exp(2j * np.pi * (ppm - WATER_PPM) * field_mhz * time_s) for name, (ppm, _) in BROAD_LINES.items()}
    lorentz = np.where(np.arange(len(decays)) < narrow, LINE_HZ, 0.0)
    gauss = np.r_[np.zeros(narrow), [width * field_mhz for _, width in BROAD_LINES.values()]]
    return Basis(tuple(decays), np.array(list(decays.values())), lorentz, gauss)


def rest_of(name: str) -> str:
    """The name of the signal of a metabolite's protons beside its singlet."""
    return f"{name} rest"


def _metabolite(groups: tuple[SpinGroup, ...], timing: EchoTiming, field_mhz: float, time_s: np.ndarray) -> np.ndarray:
    total = np.zeros(len(time_s), complex)
    for group in groups:
        frequency_hz, amplitude = transitions(group, field_mhz, timing)
        for hertz, protons in zip(frequency_hz, amplitude, strict=True):
            total += protons * np.exp(2j * np.pi * hertz * time_s)
    return total
