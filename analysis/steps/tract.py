"""The corticospinal tract on the diffusion series: the atlas's, carried to the patient, by level and side.

A level is measured where the field of view holds it; CSF is left out by its diffusivity. No threshold on anisotropy: a degenerated tract must not
drop out of its own measurement.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analysis import atlas
from analysis.examination import Examination
from analysis.outcome import NotMeasurable
from analysis.steps.diffusion import diffusion_on_template, diffusion_tensor
from analysis.steps.space import lps_grid, sample, share_inside

LEVELS = ("subcortical", "corona_radiata", "plic", "peduncle", "pons")
LEAST_COVERED = 0.95
LEAST_VOXELS = 6
LARGEST_MD = 1.5e-3  # mm²/s; brain tissue lies at 0.6 to 1.0, CSF at 3


@dataclass(frozen=True, eq=False)
class Part:
    """One level of the tract on one side: its voxels, or the reason why it cannot be measured."""

    side: str
    level: str
    voxels: np.ndarray | None
    reason: str | None = None


def corticospinal_tract(examination: Examination) -> tuple[Part, ...]:
    """The tract by side and level on the grid of the diffusion series, in the order of `LEVELS`, left before right."""
    place, tensor = examination.once(diffusion_on_template), examination.once(diffusion_tensor)
    labels = atlas.labels()
    found = sample(labels, place.template_lps, order=0)
    tissue = tensor.brain & (tensor.md > 0) & (tensor.md < LARGEST_MD)
    grid_lps = lps_grid(labels)
    tract = [part for part in atlas.parts() if part.structure == "cst"]
    parts = {}
    for part in tract:
        covered = share_inside(tensor.b_zero, place, grid_lps[:, labels.array == part.label])
        parts[part.level, part.side] = _part(part, (found == part.label) & tissue, covered)
    return tuple(parts[level, side] for level in LEVELS for side in ("left", "right"))


def _part(part: atlas.Part, voxels: np.ndarray, covered: float) -> Part:
    if covered < LEAST_COVERED:
        return Part(part.side, part.level, None, f"outside the field of view: the series holds {100 * covered:.0f} % of this level")
    if voxels.sum() < LEAST_VOXELS:
        return Part(part.side, part.level, None, f"only {int(voxels.sum())} voxels of the tract lie here; at least {LEAST_VOXELS} are needed")
    return Part(part.side, part.level, voxels)


def any_measurable(parts: tuple[Part, ...]) -> None:
    """NotMeasurable where no level of the tract can be measured."""
    if all(part.voxels is None for part in parts):
        raise NotMeasurable("no level of the corticospinal tract can be measured: " + (parts[0].reason or ""))
