"""Diffusion along the corticospinal tract.

Gives: cst_fa (1), cst_md, cst_rd, cst_ad (10⁻³ mm²/s), left and right, for the whole tract and by level; cst_fa_asymmetry (%); cst_volume
(ml; left, right); the finding cst_degeneration; the mask `cst`; the maps fa, md, rd, ad; streamlines, and profiles of 100 nodes.
Needs: a diffusion series with b = 0 and at least six directions (role dwi).
Method: motion is taken out, and distortion where a reversed b = 0 series tells it; weighted least-squares tensor; the atlas's tract,
carried to the patient by registration of anisotropy to the template's white matter; the mean over the voxels of each level, weighted
towards the middle of the tract. Streamlines, profiles and the volume come from tractography bounded by the atlas. Means weighted by the
density of streamlines instead were up to 0.11 below the truth in the pons and 0.07 in the peduncle on phantoms (seeds 1 and 2), as
streamlines stray behind the tract there: so the levels rest on the atlas.
Trust: the choice was made on two phantom heads (seeds 1, 2; 2.5 mm, 32 directions), measured on two others (11, 12): FA of every level
within 0.023 of the truth; planted losses of 5 and 20 % (11) and 10 % (12) recovered within 1.3 percentage points at every level. Nine
heads before (11 to 14): MD within 0.021, RD 0.029, AD 0.037 (10⁻³ mm²/s); asymmetry within 2.0 percentage points. The volume is 7 % below
to 3 % above the truth (seeds 11 and 12), depends on the size of the voxels, and is no biomarker across scanners. Real heads, one of
Siemens (b 2500) and one of Philips (b 2000): plausible by level, streamlines on the tract by eye in three planes; no truth. The stated
uncertainty is the within-subject spread of an earlier build of this method (same session twice: FA 0.0125). A phantom series (seed 1) that
moved by 2.3 mm on average, of which 2.2 mm were found: FA of white matter 0.39 as it came, 0.44 with its motion taken out, 0.44 where it
lay still. Simulated distortion of up to 8 mm, most at the frontal base (seed 11): FA inside the fixed levels of the tract was off by up to
0.028 (pons), corrected 0.014; the shift itself was found within 0.2 mm (root mean square). A change of the FA is seen from 0.053 on in the
whole tract and in every level but the pons, there from 15 % on (published and own rescans), about a tenth of it: three phantom heads at
two visits without a change (seeds 221 to 223; `benchmarks/change.py values --roles dwi`) differed by 0.001 within their whole tract and
0.001 to 0.012 within a level, 0.03 to 0.4 of what is assumed; losses of 3, 6 and 10 % (222 and 223) measured 2.7, 5.8 and 9.9 % in the
whole tract and 1.1 to 3.5, 4.3 to 7.0 and 8.6 to 11.2 % by level, of which none, none and 10 of 24 values were more than noise. Not
measured: a reversed b = 0 series of a real head, rescans with this build, patients. `benchmarks/trust.py` repeats the phantom.
Refuses: fewer than six directions; directions that do not fit the anatomy; what is not a brain; levels that the field of view does not
hold; with fewer than 200 streamlines of a side its volume, profile and streamlines. Degeneration is stated against the site's own
population only.
References: Chung 2006, 10.1016/j.neuroimage.2006.07.025 (weighted fit); Yeatman 2012, 10.1371/journal.pone.0049790 (profiles).
"""

from __future__ import annotations

import numpy as np

from analysis import concepts
from analysis.examination import Examination
from analysis.marker import Marker
from analysis.outcome import MEASURED, Finding, Gap, Map, Mask, Measurement, Outcome, Profile, Track
from analysis.reference import Band, band_of, placed
from analysis.steps.diffusion import Tensor, diffusion_tensor
from analysis.steps.tract import LEVELS, Part, Tract, corticospinal_tract
from analysis.steps.tract_profile import profile
from analysis.steps.tractography import Streamlines, tracked_tract, visited
from analysis.words import joined, say

NAME, VERSION = "cst_diffusion", 3
NO_REFERENCE = say(
    "norms of diffusion are bound to the scanner and the protocol (between-site spread equals the spread between healthy people); "
    "compare with the site's own controls"
)
METHOD = say("mean over the voxels of the tract, weighted towards its middle")
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
MOST_TRACKS = 500  # of a side: what a viewer draws smoothly
# z of the mean FA of the whole tract: the first is met by 2 of 100 healthy people, above the second all is usual (chosen)
CLEARLY_LOW, STILL_USUAL = -2.0, -1.5
NO_NORMS = say("it needs a reference population from the same scanner and protocol")
VOLUME_METHOD = say("voxels that 0.5 % of the streamlines or more pass")
NO_VOLUME_REFERENCE = say("the volume that streamlines fill depends on the size of the voxels: it does not compare between scanners")
NO_ASYMMETRY_REFERENCE = say("only the asymmetry of the whole tract is compared, and a part of it was measured")
LEVEL_FACTOR = {"whole": 1.0, "subcortical": 1.0, "corona_radiata": 0.5, "plic": 1.2, "peduncle": 1.2, "pons": 2.0}


def measure(examination: Examination) -> Outcome:
    tensor, tract = examination.once(diffusion_tensor), examination.once(corticospinal_tract)
    sides = examination.once(tracked_tract)
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
        _measurement(name, examination, tract, voxels, side, level) for (side, level), voxels in regions.items() for name in QUANTITIES
    ]
    asymmetry, asymmetry_gap = fa_asymmetry(examination, measurements)
    volumes, volume_gaps = tract_volumes(examination, sides, tensor, {side for side, level in regions if level == "whole"})
    return Outcome(
        NAME,
        VERSION,
        MEASURED,
        measurements=tuple(measurements + asymmetry + volumes),
        gaps=tuple(gaps + asymmetry_gap + volume_gaps),
        findings=findings(measurements, examination),
        masks=tuple(_mask(side, level, voxels) for (side, level), voxels in regions.items() if level != "whole"),
        maps=tuple(_map(name, tensor) for name in QUANTITIES),
        tracks=tuple(_track(one) for one in sides if one.lines),
        profiles=tuple(_profile(examination, name, one, tensor) for one in sides if one.lines for name in QUANTITIES),
        notes=(*filter(None, (tensor.note, tensor.distortion)), *(_fall_back(one) for one in sides if not one.lines)),
    )


def whole_tract(parts: tuple[Part, ...], side: str) -> tuple[np.ndarray | None, str]:
    """The union of all levels of a side, or the reason why there is none: a part of the tract is not the tract."""
    mine = [part for part in parts if part.side == side]
    absent = [part.level.replace("_", " ") for part in mine if part.voxels is None]
    if absent:
        return None, say("the whole tract needs every level; missing: {levels}", levels=joined(absent))
    return np.logical_or.reduce([part.voxels for part in mine]), ""


def fa_asymmetry(examination: Examination, measurements: list[Measurement]) -> tuple[list[Measurement], list[Gap]]:
    """(R-L)/((R+L)/2) in percent, of the whole tract, else of the levels that both sides have."""
    fa = {(m.side, m.level): m.value for m in measurements if m.name == "cst_fa"}
    shared = (
        ["whole"]
        if ("left", "whole") in fa and ("right", "whole") in fa
        else [level for level in LEVELS if ("left", level) in fa and ("right", level) in fa]
    )
    if not shared:
        return [], [Gap("cst_fa_asymmetry", say("no level of the tract was measured on both sides"))]
    left, right = (float(np.mean([fa[side, level] for level in shared])) for side in ("left", "right"))
    mean = (left + right) / 2.0
    value, error = 100.0 * (right - left) / mean, 100.0 * float(np.sqrt(2.0)) * ERROR["cst_fa"] / mean
    levels = joined([level.replace("_", " ") for level in shared])
    if shared == ["whole"]:
        method, place = say("whole tract"), placed(examination, "cst_fa_asymmetry", value, error, otherwise=NO_REFERENCE)
    else:
        method, place = say("levels measured on both sides: {levels}", levels=levels), {"no_reference": NO_ASYMMETRY_REFERENCE}
    asymmetry = Measurement(
        "cst_fa_asymmetry", value, "%", concepts.ASYMMETRY_INDEX, concepts.CORTICOSPINAL_TRACT,
        uncertainty=error, method=method, **place,
    )  # fmt: skip
    return [asymmetry], []


def tract_volumes(
    examination: Examination, sides: tuple[Streamlines, ...], tensor: Tensor, whole: set[str]
) -> tuple[list[Measurement], list[Gap]]:
    """The volume of each side between the lowest and the highest level, ml, or why there is none. `whole`: sides seen from end to end."""
    found, gaps = [], []
    for one in sides:
        if one.side not in whole:
            gaps.append(Gap("cst_volume", say("the field of view holds a part of the tract only"), one.side, "whole"))
        elif not one.lines:
            gaps.append(Gap("cst_volume", say("tractography gave no tract: {reason}", reason=one.reason), one.side, "whole"))
        else:
            volume_ml = float(visited(one, tensor.b_zero).sum()) * tensor.b_zero.voxel_ml
            found.append(Measurement(
                "cst_volume", volume_ml, "ml", concepts.VOLUME, concepts.CORTICOSPINAL_TRACT, one.side, "whole",
                method=VOLUME_METHOD,
                **placed(examination, "cst_volume", volume_ml, None, one.side, "whole", NO_VOLUME_REFERENCE),
            ))  # fmt: skip
    return found, gaps


def _measurement(name: str, examination: Examination, tract: Tract, voxels: np.ndarray, side: str, level: str) -> Measurement:
    source, factor, unit, quantity = QUANTITIES[name]
    value = factor * tract.mean(getattr(examination.once(diffusion_tensor), source), voxels)
    error = ERROR[name] * LEVEL_FACTOR[level]
    return Measurement(
        name, value, unit, quantity, concepts.CORTICOSPINAL_TRACT, side, level, uncertainty=error, method=METHOD,
        **placed(examination, name, value, error, side, level, NO_REFERENCE),
    )  # fmt: skip


def findings(measurements: list[Measurement], examination: Examination) -> tuple[Finding, ...]:
    """Degeneration by side where the site has a population, else once, not assessed: never by a threshold on anisotropy itself."""
    if not any((norm.name, norm.level) == ("cst_fa", "whole") and not norm.note for norm in examination.norms):
        return (_finding("not assessed", NO_NORMS),)
    whole = {m.side: m for m in measurements if m.name == "cst_fa" and m.level == "whole"}
    return tuple(_verdict(whole.get(side), side) for side in ("left", "right"))


def _verdict(fa: Measurement | None, side: str) -> Finding:
    if fa is None:
        return _finding("not assessed", say("the whole tract could not be measured"), side)
    if fa.reference is None:
        return _finding("not assessed", fa.no_reference, side)
    if fa.reference.z <= CLEARLY_LOW:
        return _finding("present", None, side)
    if fa.reference.z > STILL_USUAL:
        return _finding("absent", None, side)
    return _finding("indeterminate", say("its anisotropy is at the lower end of the population (z {z:.1f})", z=fa.reference.z), side)


def _finding(value: str, reason: str | None, side: str | None = None) -> Finding:
    return Finding("cst_degeneration", value, concepts.CST_DEGENERATION, concepts.CORTICOSPINAL_TRACT, side, reason=reason)


def _fall_back(one: Streamlines) -> str:
    return say(
        "Tractography gave no {side} corticospinal tract ({reason}): its values rest on the atlas alone, "
        "and it has no profile, streamlines or volume.",
        side=one.side, reason=one.reason,
    )  # fmt: skip


def _track(one: Streamlines) -> Track:
    """At most MOST_TRACKS streamlines of a side, evenly taken."""
    chosen = np.unique(np.linspace(0, len(one.lines) - 1, min(len(one.lines), MOST_TRACKS)).round().astype(int))
    return Track("cst", "dwi", tuple(one.lines[i] for i in chosen), concepts.CORTICOSPINAL_TRACT, one.side)


def _profile(examination: Examination, name: str, one: Streamlines, tensor: Tensor) -> Profile:
    source, factor, unit, _ = QUANTITIES[name]
    values = factor * profile(one, tensor.b_zero.with_array(getattr(tensor, source)))
    known = tuple(float(value) if np.isfinite(value) else None for value in values)
    band = band_of(examination, name, one.side, len(known)) or Band((), (), "")
    return Profile(name, one.side, known, unit, band.low, band.high, band.population)


def _mask(side: str, level: str, voxels: np.ndarray) -> Mask:
    return Mask("cst", "dwi", voxels, concepts.CORTICOSPINAL_TRACT, side, level)


def _map(name: str, tensor: Tensor) -> Map:
    source, factor, unit, quantity = QUANTITIES[name]
    return Map(source, "dwi", (getattr(tensor, source) * factor).astype(np.float32), unit, quantity)


GIVES = (*QUANTITIES, "cst_fa_asymmetry", "cst_volume")
MARKER = Marker(NAME, VERSION, needs=(("dwi",),), gives=GIVES, findings=("cst_degeneration",), measure=measure, doc=__doc__)
