"""The phantom's spectra: a voxel in the motor cortex of the hand on each side, with metabolites that are known.

The voxel is a cube that stands a little askew; its place is chosen on the phantom's own anatomy, which the atlas is no part of. What the
metabolites are, and that NAA falls with the severity of `naa_loss`, is invented; the signal comes from analysis/phantom_spectrum.py.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from analysis.phantom_cortex import lps_from_template
from analysis.phantom_findings import NAA_LOSS, SIDES, on_sides
from analysis.phantom_head import ORIGIN_MM, Head, axes_mm
from analysis.phantom_regions import BAND_LEVELS_MM, motor_strip
from analysis.phantom_shape import Shape, rotation
from analysis.phantom_spectrum import HEALTHY_MMOL, Acquisition, simulated
from analysis.spectrum import Spectra, Spectrum
from analysis.steps.spin_echoes import WATER_PPM

EDGE_MM, TILT_DEG = 20.0, 10.0
ACQUISITION = Acquisition(field_mhz=127.74, echo_time_ms=30.0, repetition_time_ms=2000.0, repetitions=4, drift_hz=1.0)
NOISELESS_SNR, NAA_PPM = 1e5, 2.01
DEFINITIONS = {
    "naa_cr": "by the concentrations in the voxel: NAA and NAAG over creatine and phosphocreatine; cho_cr, mi_cr, glx_cr, naa_cho and "
    "naa_mi likewise, of both cholines, myo-inositol, and glutamate and glutamine",
    "linewidth": "full width at half maximum of a singlet",
}


def concentrations_of(sides: dict[str, tuple[str, ...]], severity: float, side: str) -> dict[str, float]:
    """mmol/l by metabolite, with the loss of NAA that was planted on that side."""
    left = 1 - NAA_LOSS * severity * (side in sides.get("naa_loss", ()))
    return {name: value * left if name in ("NAA", "NAAG") else value for name, value in HEALTHY_MMOL.items()}


def box_of(head: Head, shape: Shape, side: str, seed: int) -> np.ndarray:
    """`lps_from_box` of the voxel of a side: around the middle of the gyrus's grey and white matter in the part of the hand."""
    low, high = BAND_LEVELS_MM["intermediate"]
    x = np.abs(axes_mm()[0])
    place = motor_strip(head) & (x > low) & (x <= high) & on_sides((side,)) & (head.tissue["grey"] + head.tissue["white"] > 0.5)
    middle = np.argwhere(place).mean(axis=0) + ORIGIN_MM
    box = np.eye(4)
    tilt = np.random.default_rng([seed, 11, SIDES.index(side)]).uniform(-TILT_DEG, TILT_DEG, 3)
    box[:3, :3] = rotation(tilt) * EDGE_MM
    box[:3, 3] = lps_from_template(shape, middle[:, None])[:, 0]
    return box


def scan_spectra(
    head: Head, shape: Shape, sides: dict[str, tuple[str, ...]], severity: float, seed: int, noise: float = 1.0
) -> Spectra:
    """The spectra of both sides, each with its water; `noise` times the usual, 0 for (nearly) none."""
    acquisition = replace(ACQUISITION, snr=ACQUISITION.snr / noise if noise else NOISELESS_SNR)
    return Spectra(tuple(_spectrum(head, shape, sides, severity, seed, side, acquisition) for side in SIDES))


def _spectrum(
    head: Head, shape: Shape, sides: dict[str, tuple[str, ...]], severity: float, seed: int, side: str, acquisition: Acquisition
) -> Spectrum:
    box = box_of(head, shape, side, seed)
    held = concentrations_of(sides, severity, side)
    return simulated(held, acquisition, _number(seed, side), box, f"PHANTOM MRS motor cortex {side}")


def _number(seed: int, side: str) -> int:
    return 1000 * seed + SIDES.index(side)


def _signal_to_noise(held: dict[str, float], seed: int, side: str, noise: float) -> float:
    """Height of the line of NAA in the spectrum without noise, and without what lies under it, over the noise that it was given."""
    usual = replace(ACQUISITION, snr=ACQUISITION.snr / noise, repetitions=1, drift_hz=0.0)
    quiet = replace(usual, snr=NOISELESS_SNR)
    bare = replace(quiet, macromolecules=0.0, baseline=0.0, residual_water=0.0, eddy_rad=0.0)
    noisy, clean, line = (simulated(held, one, _number(seed, side)).array[0, 0] for one in (usual, quiet, bare))
    spread = np.fft.fft(noisy - clean).real.std()
    ppm = WATER_PPM + np.fft.fftfreq(2 * len(line), 1 / ACQUISITION.spectral_width_hz) / ACQUISITION.field_mhz
    return float(np.abs(np.fft.fft(line, 2 * len(line))[np.abs(ppm - NAA_PPM) < 0.1]).max() / spread)


def truths(sides: dict[str, tuple[str, ...]], severity: float, seed: int, noise: float = 1.0) -> list[tuple[str, float, str, str]]:
    """(name, value, unit, side) of every ratio, and of how good the spectra are."""
    out = []
    for side in SIDES:
        held = concentrations_of(sides, severity, side)
        naa, creatine, choline = held["NAA"] + held["NAAG"], held["Cr"] + held["PCr"], held["GPC"] + held["PCh"]
        glx, inositol = held["Glu"] + held["Gln"], held["mI"]
        ratios = {"naa_cr": naa / creatine, "naa_cho": naa / choline, "naa_mi": naa / inositol, "cho_cr": choline / creatine,
                  "mi_cr": inositol / creatine, "glx_cr": glx / creatine}  # fmt: skip
        out += [(name, value, "1", side) for name, value in ratios.items()]
        out += [("snr", _signal_to_noise(held, seed, side, noise), "1", side)] if noise else []
        out.append(("linewidth", ACQUISITION.linewidth_hz, "Hz", side))
    return out
