"""Where brain looks like an infarct: an acute one on diffusion, an old one on FLAIR. Pure arrays in, candidates out.

Acute: bright with diffusion weighting and with an ADC far below that of the patient's own brain, more than on the other side of the head.
Bright with an ADC that is not low is T2 shine-through. What is as bright without weighting as piled-up signal, lies at the surface of the
base above the sinuses and the petrous bone, or is the same on both sides, is doubtful: susceptibility and folded signal look like that.

Old: as dark as fluid on FLAIR where the template has brain, not so on the other side; sure only with a bright rim.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from analysis.steps.signal import Signal
from analysis.steps.space import sample
from analysis.steps.water import Water
from analysis.words import say

# Shares of the patient's own tissue, chosen on phantoms (seeds 1 and 2); the low ADC lies between the 0.58 that was planted and the 0.85
# of the densest healthy white matter
LOW_ADC, SOMEWHAT_LOW_ADC, USUAL_ADC = 0.75, 0.82, 0.92
BRIGHT, SOMEWHAT_BRIGHT, LEAST_BEYOND_MIRROR = 1.25, 1.15, 0.12
LEAST_SPREADS = 2.5  # of log brightness in tissue
PILED_UP = 2.2
SURFACE_MM, BASE_MM, BASE_Z_MM = 2.5, 9.0, -14.0
LEAST_ACUTE_ML, LEAST_SHINE_ML = 0.15, 0.3
LEAST_OLD_ML, LEAST_PLAIN_ML = 0.4, 3.0
OLD_TISSUE, FLUID_SHARE, RIM_GAIN, BEYOND_OTHER, LEAST_RIM = 0.9, 0.45, 1.05, 0.1, 0.25
BOTH_SIDES = np.ones((3, 3, 3), bool)
PLACES = {
    "frontal": say("frontal lobe"), "parietal": say("parietal lobe"), "temporal": say("temporal lobe"), "occipital": say("occipital lobe"),
    "deep": say("deep grey matter and capsules"), "cerebellum": say("cerebellum"), "brainstem": say("brainstem"),
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Spot:
    """One candidate: its voxels on the grid it was found on, its volume, the middle on the template (LPS mm), and why it is doubtful:
    "base", "piled up", "both sides", "no rim", or empty."""

    voxels: np.ndarray
    volume_ml: float
    middle_lps: np.ndarray
    doubt: str = ""

    @property
    def side(self) -> str:
        return "left" if self.middle_lps[0] > 0 else "right"


def acute_spots(water: Water) -> tuple[tuple[Spot, ...], float]:
    """The acute candidates, and the volume (ml) that is bright with an ADC that is not low."""
    inner = water.depth_mm > SURFACE_MM
    bright = max(BRIGHT, float(np.exp(LEAST_SPREADS * water.spread)))
    low = (water.adc < LOW_ADC * water.usual_adc) & (water.adc > 0)
    core = inner & low & (water.brightness > bright)
    whole = inner & (water.adc < SOMEWHAT_LOW_ADC * water.usual_adc) & (water.adc > 0) & (water.brightness > SOMEWHAT_BRIGHT)
    labels, _ = ndimage.label(whole, BOTH_SIDES)
    other = ndimage.maximum_filter(water.mirrored(water.brightness), size=3)
    spots = []
    for label in np.unique(labels[core]):
        voxels = labels == label
        sure = voxels & core
        if voxels.sum() * water.grid.voxel_ml >= LEAST_ACUTE_ML and sure.sum() >= max(2, 0.1 * voxels.sum()):
            spots.append(_spot(voxels, water.grid.voxel_ml, water.place.template_lps, _doubt(water, sure, other)))
    shine = inner & (water.brightness > bright) & (water.adc > USUAL_ADC * water.usual_adc) & (water.still > bright)
    return tuple(spots), volume_of_large(shine, water.grid.voxel_ml, LEAST_SHINE_ML)


def _doubt(water: Water, sure: np.ndarray, other: np.ndarray) -> str:
    """Why a candidate may be an artefact, or nothing."""
    z = water.place.template_lps[2][sure]
    if np.median(water.depth_mm[sure]) < BASE_MM and np.median(z) < BASE_Z_MM:
        return "base"
    if np.median(water.still[sure]) > PILED_UP:
        return "piled up"
    beyond = water.brightness[sure] - other[sure]
    return "both sides" if np.median(beyond) < LEAST_BEYOND_MIRROR else ""


def volume_of_large(mask: np.ndarray, voxel_ml: float, least_ml: float) -> float:
    """The volume of the parts of a mask that are at least that large, ml."""
    labels, count = ndimage.label(mask)
    volumes_ml = np.bincount(labels.ravel(), minlength=count + 1)[1:] * voxel_ml
    return float(volumes_ml[volumes_ml >= least_ml].sum())


def old_spots(signal: Signal, mirrored_lps: np.ndarray, tissue: np.ndarray, fluid: np.ndarray) -> tuple[Spot, ...]:
    """The old candidates on the grid of the signal. `mirrored_lps` (3, …): the place of each voxel on the other side of the head, in the
    patient; `tissue`: how much brain the template has there, `fluid`: where it has nothing but fluid, boolean."""
    level = 1.0 + signal.spread * signal.brightness
    seen = signal.grid.array > 0
    csf = float(np.median(level[fluid & seen])) if (fluid & seen).sum() > 50 else 0.15
    grey = float(np.percentile(level[(tissue > OLD_TISSUE) & seen], 75))
    dark = seen & (level < csf + FLUID_SHARE * (1.0 - csf))
    wide = ndimage.binary_dilation(dark, iterations=1).astype(np.float32)
    candidates = dark & (tissue > OLD_TISSUE) & (sample(signal.grid.with_array(wide), mirrored_lps) < 0.5)
    bright = level > np.maximum(RIM_GAIN * grey, sample(signal.grid.with_array(level), mirrored_lps) + BEYOND_OTHER)
    labels, count = ndimage.label(ndimage.binary_opening(candidates))
    spots = []
    for label in range(1, count + 1):
        voxels = ndimage.binary_dilation(labels == label, iterations=2, mask=dark & (tissue > 0.5))
        volume_ml = float(voxels.sum()) * signal.grid.voxel_ml
        if volume_ml >= LEAST_OLD_ML:
            has_rim = rim_share(voxels, dark, bright, tissue) >= LEAST_RIM
            if has_rim or volume_ml >= LEAST_PLAIN_ML:
                spots.append(_spot(voxels, signal.grid.voxel_ml, signal.template_lps, "" if has_rim else "no rim"))
    return tuple(spots)


def rim_share(cavity: np.ndarray, dark: np.ndarray, bright: np.ndarray, tissue: np.ndarray) -> float:
    """The share of the brain around a cavity, up to two voxels off, that is bright (boolean); 0 where there is none."""
    near = ndimage.binary_dilation(cavity, iterations=2) & ~cavity & ~dark & (tissue > 0.5)
    return float(bright[near].mean()) if near.sum() >= 10 else 0.0


def _spot(voxels: np.ndarray, voxel_ml: float, template_lps: np.ndarray, doubt: str) -> Spot:
    middle = np.median(template_lps[:, voxels], axis=1)
    return Spot(voxels, float(voxels.sum()) * voxel_ml, middle, doubt)


def place_of(middle_lps: np.ndarray) -> str:
    """The part of the brain at a position of the template: planes chosen on the template itself, for a name in a sentence and no more."""
    across, y, z = abs(float(middle_lps[0])), -float(middle_lps[1]), float(middle_lps[2])
    if across < 16 and -45 < y < -8 and z < -8:
        return "brainstem"
    if y < -38 and z < -5 - 0.42 * (-40 - y):
        return "cerebellum"
    if across < 34 and -35 < y < 22 and -8 < z < 24:
        return "deep"
    if y < -70 and z < 40:
        return "occipital"
    if z < 12 and across > 25 and y < 20 and z < 6 + 0.2 * y + 6:
        return "temporal"
    return "parietal" if y < -10 - 0.38 * (z - 20) else "frontal"
