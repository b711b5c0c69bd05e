"""Diffusion along the corticospinal tract.

Gives: cst_fa (1), cst_md, cst_rd, cst_ad (10⁻³ mm²/s), left and right, for the whole tract and by level; cst_fa_asymmetry (%); the finding
cst_degeneration; the mask `cst`; the maps fa, md, rd, ad.
Needs: a diffusion series with b = 0 and at least six directions (role dwi).
Method: weighted least-squares tensor; the tract is the atlas's, carried to the patient by registration of anisotropy to the template's
white matter; the mean over the voxels of each level, weighted towards the middle of the tract.
Trust: nine phantom heads that nothing was tuned on (seeds 11 to 14; 2.5 mm, 32 directions; anisotropy of the left tract lowered by 0, 15
and 30 %): FA of every level within 0.027 of the truth (worst in the peduncle), spread 0.003 to 0.014; MD within 0.021, RD 0.029, AD 0.037
(10⁻³ mm²/s); asymmetry within 2.0 percentage points. Real heads, one of Siemens (b 2500) and one of Philips (b 2000): plausible by level
and placed on the tract by eye; no truth. The stated uncertainty is the within-subject spread of an earlier build of this method (same
session twice: FA 0.0125). Not measured: rescans with this build, motion, patients. `benchmarks/trust.py` repeats the phantom.
Refuses: fewer than six directions; what is not a brain; levels that the field of view does not hold.
References: Chung 2006, 10.1016/j.neuroimage.2006.07.025 (weighted fit).
"""

from __future__ import annotations

import numpy as np

from analysis import concepts
from analysis.examination import Examination
from analysis.marker import Marker
from analysis.outcome import MEASURED, Finding, Gap, Map, Mask, Measurement, Outcome
from analysis.steps.diffusion import Tensor, diffusion_tensor
from analysis.steps.tract import LEVELS, Part, Tract, corticospinal_tract

NAME, VERSION = "cst_diffusion", 1
NO_REFERENCE = (
    "norms of diffusion are bound to the scanner and the protocol (between-site spread equals the spread between healthy people); "
    "compare with the site's own controls"
)
METHOD = "mean over the voxels of the tract, weighted towards its middle"
DIFFUSIVITY_UNIT = "10-3.mm2/s"
QUANTITIES = {
    "cst_fa": ("fa", 1.0, "1", concepts.FRACTIONAL_ANISOTROPY),
    "cst_md": ("md", 1e3, DIFFUSIVITY_UNIT, concepts.MEAN_DIFFUSIVITY),
    "cst_rd": ("rd", 1e3, DIFFUSIVITY_UNIT, concepts.RADIAL_DIFFUSIVITY),
    "cst_ad": ("ad", 1e3, DIFFUSIVITY_UNIT, concepts.AXIAL_DIFFUSIVITY),
}
# One standard error of one measurement: the within-subject spread of the same head scanned twice in a session (FA .0125, MD .009e-3), and
# by level the coefficient of variation of FA over four positions of one head.
ERROR = {"cst_fa": 0.0125, "cst_md": 0.009, "cst_rd": 0.012, "cst_ad": 0.015}
LEVEL_FACTOR = {"whole": 1.0, "subcortical": 1.0, "corona_radiata": 0.5, "plic": 1.2, "peduncle": 1.2, "pons": 2.0}


def measure(examination: Examination) -> Outcome:
    tensor, tract = examination.once(diffusion_tensor), examination.once(corticospinal_tract)
    parts = tract.parts
    regions = {(part.side, part.level): part.voxels for part in parts if part.voxels is not None}
    gaps = [Gap(name, part.reason, part.side, part.level) for part in parts if part.voxels is None for name in QUANTITIES]
    for side in ("left", "right"):
        whole, reason = whole_tract(parts, side)
        if whole is not None:
            regions[side, "whole"] = whole
        else:
            gaps += [Gap(name, reason, side, "whole") for name in QUANTITIES]
    measurements = [
        _measurement(name, tensor, tract, voxels, side, level) for (side, level), voxels in regions.items() for name in QUANTITIES
    ]
    asymmetry, asymmetry_gap = fa_asymmetry(measurements)
    return Outcome(
        NAME,
        VERSION,
        MEASURED,
        measurements=tuple(measurements + asymmetry),
        gaps=tuple(gaps + asymmetry_gap),
        findings=(_finding(),),
        masks=tuple(_mask(side, level, voxels) for (side, level), voxels in regions.items() if level != "whole"),
        maps=tuple(_map(name, tensor) for name in QUANTITIES),
        notes=(tensor.note,) if tensor.note else (),
    )


def whole_tract(parts: tuple[Part, ...], side: str) -> tuple[np.ndarray | None, str]:
    """The union of all levels of a side, or the reason why there is none: a part of the tract is not the tract."""
    mine = [part for part in parts if part.side == side]
    absent = [part.level.replace("_", " ") for part in mine if part.voxels is None]
    if absent:
        return None, f"the whole tract needs every level; missing: {', '.join(absent)}"
    return np.logical_or.reduce([part.voxels for part in mine]), ""


def fa_asymmetry(measurements: list[Measurement]) -> tuple[list[Measurement], list[Gap]]:
    """(R-L)/((R+L)/2) in percent, of the whole tract, else of the levels that both sides have."""
    fa = {(m.side, m.level): m.value for m in measurements if m.name == "cst_fa"}
    shared = (
        ["whole"]
        if ("left", "whole") in fa and ("right", "whole") in fa
        else [level for level in LEVELS if ("left", level) in fa and ("right", level) in fa]
    )
    if not shared:
        return [], [Gap("cst_fa_asymmetry", "no level of the tract was measured on both sides")]
    left, right = (float(np.mean([fa[side, level] for level in shared])) for side in ("left", "right"))
    mean = (left + right) / 2.0
    error = 100.0 * np.sqrt(2.0) * ERROR["cst_fa"] / mean
    method = (
        "whole tract" if shared == ["whole"] else "levels measured on both sides: " + ", ".join(level.replace("_", " ") for level in shared)
    )
    asymmetry = Measurement(
        "cst_fa_asymmetry", 100.0 * (right - left) / mean, "%", concepts.ASYMMETRY_INDEX, concepts.CORTICOSPINAL_TRACT,
        uncertainty=error, no_reference=NO_REFERENCE, method=method,
    )  # fmt: skip
    return [asymmetry], []


def _measurement(name: str, tensor: Tensor, tract: Tract, voxels: np.ndarray, side: str, level: str) -> Measurement:
    source, factor, unit, quantity = QUANTITIES[name]
    value = factor * tract.mean(getattr(tensor, source), voxels)
    return Measurement(
        name, value, unit, quantity, concepts.CORTICOSPINAL_TRACT, side, level,
        uncertainty=ERROR[name] * LEVEL_FACTOR[level], no_reference=NO_REFERENCE, method=METHOD,
    )  # fmt: skip


def _finding() -> Finding:
    return Finding(
        "cst_degeneration", "not assessed", concepts.CST_DEGENERATION, concepts.CORTICOSPINAL_TRACT,
        reason="it needs a reference population from the same scanner and protocol",
    )  # fmt: skip


def _mask(side: str, level: str, voxels: np.ndarray) -> Mask:
    return Mask("cst", "dwi", voxels, concepts.CORTICOSPINAL_TRACT, side, level)


def _map(name: str, tensor: Tensor) -> Map:
    source, factor, unit, quantity = QUANTITIES[name]
    return Map(source, "dwi", (getattr(tensor, source) * factor).astype(np.float32), unit, quantity)


MARKER = Marker(
    NAME, VERSION, needs=(("dwi",),), gives=(*QUANTITIES, "cst_fa_asymmetry"), findings=("cst_degeneration",), measure=measure, doc=__doc__
)
