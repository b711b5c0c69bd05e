"""Volumes of midbrain, pons and medulla.

Gives: midbrain_volume, pons_volume, medulla_volume (ml); the finding brainstem_atrophy; the masks `midbrain`, `pons`, `medulla`.
Needs: a T1 of the head (role t1).
Method: the atlas's three parts are carried to the patient by registration; their cuts (from the posterior commissure to the mammillary
bodies, above and below the pons, above the foramen magnum, across the middle cerebellar peduncle) stay as carried, their surface follows
the T1: a voxel counts by how far its brightness lies between that of fluid and that of the depth of its part. The share of the
intracranial volume is what is compared with a population; the value is in ml.
Trust: twenty healthy phantom heads (seeds 11 to 30, voxels of 0.9 to 1.25 mm; the fit of the cuts was chosen on 11), whose truth has its
own, slightly other cuts: midbrain 15 % (standard deviation 5 %, worst 23 %) and pons 5 % (1 %) too low, medulla right within 6 %. Two heads
whose surface lost 0.27, 0.53 and 0.8 mm: what the first and the last differ by was 8, 6 and 13 % of the three in truth, and 8, 5 and 9 %
were measured. Three real heads: outlines on the surface and cuts at their landmarks by
eye, also on a skull-stripped T1 and on one of 2 mm; midbrain 6.6 to 7.3, pons 14 to 15, medulla 3.9 to 4.5 ml. Together that is more than
the 20 to 23 ml which FreeSurfer gives for the whole brainstem of healthy adults of 60 years, so that its population would hide a loss and
is not used. A change is seen from 1.4 % on in the midbrain, 1.1 % in the pons and 2.2 % in the medulla, by both images at once: how far a
planted one is followed on phantoms stands in `analysis.steps.volume_change` (`benchmarks/change.py heads`). Not measured: rescans,
patients, other methods on the same heads.
Refuses: what is not the T1 of a head; a part that the field of view cuts is a gap, never a small volume; a T1 that ends
above the middle of the medulla.
References: Bede 2020, PMC7016370 (medulla and pons in ALS); the population that is not used: Rutherford 2022, 10.7554/eLife.72904.
"""

from __future__ import annotations

import math
from dataclasses import replace

from analysis import concepts
from analysis.examination import Examination
from analysis.marker import Marker
from analysis.outcome import MEASURED, Finding, Gap, Mask, Measurement, NotMeasurable, Outcome, Reference
from analysis.reference import placed
from analysis.steps.brainstem import BrainstemPart, brainstem_parts
from analysis.steps.head import brain_mask, covered_brain, skull_stripped
from analysis.words import joined, say

NAME, VERSION = "brainstem", 2
SITES = {"midbrain": concepts.MIDBRAIN, "pons": concepts.PONS, "medulla": concepts.MEDULLA}
# One standard error as a share of the value on voxels of 1 mm (Trust), and what each mm more adds.
ERROR, ERROR_PER_MM = {"midbrain": 0.16, "pons": 0.05, "medulla": 0.07}, 0.02
INTRACRANIAL_ERROR, LEAST_COVERED = 0.04, 0.99
# z of the lowest of the three: the first is met by 5 of 100 healthy people or fewer, above the second all is usual (chosen)
CLEARLY_SMALL, STILL_USUAL = -2.0, -1.5
METHOD = say("sum of partial volumes inside the atlas's cuts")


def measure(examination: Examination) -> Outcome:
    parts = examination.once(brainstem_parts)
    whole = [part for part in parts if part.volume_ml is not None]
    if not whole:
        raise NotMeasurable(
            say("the field of view of the T1 series ends above the middle of the medulla: too little brainstem to tell its parts")
        )
    intracranial_ml = _intracranial_ml(examination)
    measurements = tuple(_measurement(part, examination, intracranial_ml) for part in whole)
    gaps = tuple(Gap(f"{part.name}_volume", part.reason) for part in parts if part.volume_ml is None)
    return Outcome(
        NAME,
        VERSION,
        MEASURED,
        measurements=measurements,
        gaps=gaps,
        findings=(finding(measurements, gaps),),
        masks=tuple(Mask(part.name, "t1", part.mask, SITES[part.name]) for part in whole),
        notes=(_shares(whole, intracranial_ml),),
    )


def _intracranial_ml(examination: Examination) -> float | None:
    """The intracranial volume, or None where the T1 does not show all of it."""
    if examination.once(covered_brain) < LEAST_COVERED or examination.once(skull_stripped):
        return None
    return float(examination.once(brain_mask).sum()) * examination.image("t1").voxel_ml


def _measurement(part: BrainstemPart, examination: Examination, intracranial_ml: float | None) -> Measurement:
    coarse_mm = max(float(examination.image("t1").spacing_mm.max()) - 1.0, 0.0)
    error = ERROR[part.name] + ERROR_PER_MM * coarse_mm
    return Measurement(
        f"{part.name}_volume", part.volume_ml, "ml", concepts.VOLUME, SITES[part.name], uncertainty=error * part.volume_ml,
        method=METHOD, **_placed(part, error, examination, intracranial_ml),
    )  # fmt: skip


def _placed(
    part: BrainstemPart, error: float, examination: Examination, intracranial_ml: float | None
) -> dict[str, Reference | str]:
    """Where the share of the intracranial volume stands, in ml of this head, or why it stands nowhere."""
    if intracranial_ml is None:
        words = say("the brainstem is compared as a share of the intracranial volume, which this T1 series does not show whole")
        return {"no_reference": words}
    share = 100.0 * part.volume_ml / intracranial_ml
    uncertainty = share * math.hypot(error, INTRACRANIAL_ERROR)
    place = placed(examination, f"{part.name}_share", share, uncertainty)
    return {key: in_ml(found, intracranial_ml) if isinstance(found, Reference) else found for key, found in place.items()}


def in_ml(place: Reference, intracranial_ml: float) -> Reference:
    """The place of a share in percent with its population in ml of a head of that size."""
    figures = {name: getattr(place, name) * intracranial_ml / 100.0 for name in ("mean", "sd", "low", "high")}
    return replace(place, **figures)


def finding(measurements: tuple[Measurement, ...], gaps: tuple[Gap, ...]) -> Finding:
    """Atrophy of the brainstem, by the part that stands lowest in its population."""
    placed = {m.site.meaning.lower(): m.reference.z for m in measurements if m.reference is not None}
    lowest = min(placed, key=placed.__getitem__, default=None)
    if lowest is not None and placed[lowest] <= CLEARLY_SMALL:
        return _finding("present")
    if gaps:
        parts = joined([gap.name.removesuffix("_volume") for gap in gaps], " and the ")
        return _finding("not assessed", say("the {parts} could not be measured", parts=parts))
    if len(placed) < len(SITES):
        return _finding("not assessed", next(m.no_reference for m in measurements if m.reference is None))
    if placed[lowest] > STILL_USUAL:
        return _finding("absent")
    return _finding("indeterminate", say("the {lowest} is at the lower end of its population (z {z:.1f})", lowest=lowest, z=placed[lowest]))


def _finding(value: str, reason: str | None = None) -> Finding:
    return Finding("brainstem_atrophy", value, concepts.BRAINSTEM_ATROPHY, concepts.BRAIN_STEM, reason=reason)


def _shares(parts: list[BrainstemPart], intracranial_ml: float | None) -> str:
    """The sentence that relates the parts to the size of the head."""
    if intracranial_ml is None:
        return say("The intracranial volume is not whole on this T1 series, so the brainstem is not related to the size of the head.")
    shares = joined([say("{part} {share:.2f} %", part=part.name, share=100.0 * part.volume_ml / intracranial_ml) for part in parts])
    return say("Share of the intracranial volume of {volume_ml:.0f} ml: {shares}.", volume_ml=intracranial_ml, shares=shares)


MARKER = Marker(
    NAME, VERSION, needs=(("t1",),), gives=tuple(f"{part}_volume" for part in SITES), findings=("brainstem_atrophy",), measure=measure,
    doc=__doc__,
)  # fmt: skip
