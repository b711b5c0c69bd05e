"""The corticospinal tract on the diffusion series: the atlas's, carried to the patient, by level and side.

A level is measured where the field of view holds it; CSF is left out by its diffusivity. No threshold on anisotropy: a degenerated tract
must not drop out of its own measurement. The middle of the tract counts most, as its rim shares its voxels with what lies beside it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analysis import atlas
from analysis.examination import Examination
from analysis.outcome import NotMeasurable
from analysis.steps.diffusion import diffusion_on_template, diffusion_tensor
from analysis.steps.space import lps_grid, sample, share_inside
from analysis.words import say

LEVELS = ("subcortical", "corona_radiata", "plic", "peduncle", "pons")
LEAST_COVERED = 0.95
LEAST_VOXELS = 6
LEAST_WEIGHT = 1e-3
LARGEST_MD = 1.5e-3  # mm²/s; brain tissue lies at 0.6 to 1.0, CSF at 3


@dataclass(frozen=True, eq=False)
class Part:
    """One level of the tract on one side: its voxels, boolean, or the reason why it cannot be measured."""

    side: str
    level: str
    voxels: np.ndarray | None
    reason: str | None = None


@dataclass(frozen=True, eq=False)
class Tract:
    """The parts in the order of `LEVELS`, left before right, and the weight of every voxel of the grid, 0 to 1: most in the middle."""

    parts: tuple[Part, ...]
    weights: np.ndarray

    def mean(self, values: np.ndarray, voxels: np.ndarray) -> float:
        """The weighted mean of a map over some voxels of the tract."""
        return float(np.average(values[voxels].astype(float), weights=self.weights[voxels].astype(float)))


def corticospinal_tract(examination: Examination) -> Tract:
    """The tract on the grid of the diffusion series. NotMeasurable where no level of it can be measured."""
    place, tensor = examination.once(diffusion_on_template), examination.once(diffusion_tensor)
    labels = atlas.labels("tracts")
    found = sample(labels, place.template_lps, order=0)
    weights = np.maximum(sample(atlas.core(), place.template_lps), LEAST_WEIGHT)
    tissue = tensor.brain & (tensor.md > 0) & (tensor.md < LARGEST_MD)
    grid_lps = lps_grid(labels)
    parts = {}
    for part in atlas.parts():
        if part.structure == "cst":
            covered = share_inside(tensor.b_zero, place, grid_lps[:, labels.array == part.label])
            parts[part.level, part.side] = _part(part, (found == part.label) & tissue, covered)
    ordered = tuple(parts[level, side] for level in LEVELS for side in ("left", "right"))
    if all(part.voxels is None for part in ordered):
        raise NotMeasurable(say("no level of the corticospinal tract can be measured: {reason}", reason=ordered[0].reason))
    return Tract(ordered, weights)


def _part(part: atlas.Part, voxels: np.ndarray, covered: float) -> Part:
    count = int(voxels.sum())
    if covered < LEAST_COVERED:
        return Part(part.side, part.level, None, say(
            "outside the field of view: the series holds {share:.0f} % of this level",
            share=100 * covered,
        ))
    if count < LEAST_VOXELS:
        return Part(part.side, part.level, None, say(
            "only {count} voxels of the tract lie here; at least {least} are needed",
            count=count, least=LEAST_VOXELS,
        ))
    return Part(part.side, part.level, voxels)
