"""Diffusion of the callosum where the motor cortices are joined, with the splenium as control.

Gives: callosal_motor_fa (1), callosal_motor_md (10⁻³ mm²/s) of the motor segment of the corpus callosum; control_fa (1) of its splenium,
which ALS spares; the masks `callosal_motor_segment` and `splenium`.
Needs: a diffusion series with b = 0 and at least six directions (role dwi).
Method: weighted least-squares tensor; the atlas's two parts are carried to the patient; the mean over their voxels, each weighted by how
far it lies in the middle of the part and by the square of its left–right anisotropy, so that fluid of the ventricle, septum and cingulum
hardly count. A callosum that lost all anisotropy would still be measured: nothing is left out below a threshold.
Trust: phantom heads of 2.5 mm and 32 directions. The weights were chosen on two (seeds 1 and 2: 0.00 and 0.04 below the truth) and
measured on two others (11 and 12): anisotropy of the motor segment 0.056 to 0.066 below a truth of 0.64, MD 0.04 above 0.75 (10⁻³ mm²/s),
as the segment is two voxels thin; it moved by 0.001 when the corticospinal tract lost 20 %. Splenium within 0.005 of a truth of 0.65
(seeds 2 and 11). One Siemens (b 2500) and one Philips head (b 2000): 0.77 and 0.70, splenium 0.80 and 0.73; no truth. A change is seen from
0.14 on in the anisotropy of the motor segment, 0.06 in that of the splenium and 0.11 in MD, by the stated errors of two values: rather too
much, as an error that both share is counted: one phantom head at two visits (seed 221; `benchmarks/change.py values --roles dwi`) differed
by 0.004 within each of the three. Not measured: rescans, patients, a loss planted in the callosum itself.
Refuses: fewer than six directions; directions that do not fit the anatomy; what is not a brain; a motor segment that the field of view
does not hold. A splenium outside it is a gap.
References: Hofer and Frahm's segments, see the atlas's SOURCES.md; PMC3888481 (callosum in ALS).
"""

from __future__ import annotations

import numpy as np

from analysis import atlas, concepts
from analysis.examination import Examination
from analysis.marker import Marker
from analysis.outcome import MEASURED, Concept, Gap, Mask, Measurement, NotMeasurable, Outcome
from analysis.reference import placed
from analysis.steps.diffusion import Tensor, diffusion_on_template, diffusion_tensor
from analysis.steps.space import Placement, lps_grid, sample, share_inside
from analysis.steps.tract import LARGEST_MD, LEAST_COVERED, LEAST_VOXELS, Tract, corticospinal_tract
from analysis.words import joined, say

NAME, VERSION = "callosum_diffusion", 2
NO_REFERENCE = say(
    "norms of diffusion are bound to the scanner and the protocol (between-site spread equals the spread between healthy people); "
    "compare with the site's own controls"
)
METHOD = say("mean over the voxels of the part, weighted towards its middle and by left-right anisotropy")
DIFFUSIVITY_UNIT = "10-3.mm2/s"
# unit, concept, one standard error (Trust)
QUANTITIES = {
    "callosal_motor_fa": ("1", concepts.FRACTIONAL_ANISOTROPY, 0.05),
    "callosal_motor_md": (DIFFUSIVITY_UNIT, concepts.MEAN_DIFFUSIVITY, 0.04),
    "control_fa": ("1", concepts.FRACTIONAL_ANISOTROPY, 0.02),
}


def measure(examination: Examination) -> Outcome:
    tensor, place = examination.once(diffusion_tensor), examination.once(diffusion_on_template)
    motor, reason = part_of("callosal_motor_segment", tensor, place)
    if motor is None:
        raise NotMeasurable(say("the motor segment of the callosum cannot be measured: {reason}", reason=reason))
    weights = weights_of(tensor, place)
    measurements = [
        _measurement(examination, "callosal_motor_fa", tensor.fa, motor, weights, concepts.CALLOSAL_MOTOR),
        _measurement(examination, "callosal_motor_md", tensor.md * 1e3, motor, weights, concepts.CALLOSAL_MOTOR),
    ]
    masks, gaps, notes = [Mask("callosal_motor_segment", "dwi", motor, concepts.CALLOSAL_MOTOR)], [], []
    control, reason = part_of("splenium", tensor, place)
    if control is None:
        gaps.append(Gap("control_fa", reason))
    else:
        fa = _measurement(examination, "control_fa", tensor.fa, control, weights, concepts.SPLENIUM)
        measurements.append(fa)
        masks.append(Mask("splenium", "dwi", control, concepts.SPLENIUM))
        notes += _ratio(examination, tensor, fa.value)
    return Outcome(
        NAME, VERSION, MEASURED, measurements=tuple(measurements), gaps=tuple(gaps), masks=tuple(masks),
        notes=(*((tensor.note,) if tensor.note else ()), *notes),
    )  # fmt: skip


def part_of(structure: str, tensor: Tensor, place: Placement) -> tuple[np.ndarray | None, str]:
    """The voxels of a part of the callosum, boolean, or the reason why it cannot be measured."""
    labels = atlas.labels("tracts")
    label = next(part.label for part in atlas.parts() if part.structure == structure)
    covered = share_inside(tensor.b_zero, place, lps_grid(labels)[:, labels.array == label])
    if covered < LEAST_COVERED:
        return None, say("outside the field of view: the series holds {share:.0f} % of it", share=100 * covered)
    tissue = tensor.brain & (tensor.md > 0) & (tensor.md < LARGEST_MD)
    voxels = (sample(labels, place.template_lps, order=0) == label) & tissue
    count = int(voxels.sum())
    if count < LEAST_VOXELS:
        return None, say("only {count} voxels of it are tissue; at least {least} are needed", count=count, least=LEAST_VOXELS)
    return voxels, ""


def weights_of(tensor: Tensor, place: Placement) -> np.ndarray:
    """How much a voxel counts: in the middle of its part, and where fibres run left to right."""
    left_right = tensor.fa * tensor.direction[..., 0] ** 2
    return np.maximum(sample(atlas.core(), place.template_lps), 1e-3) * np.maximum(left_right, 1e-3) ** 2


def _measurement(
    examination: Examination, name: str, values: np.ndarray, voxels: np.ndarray, weights: np.ndarray, site: Concept
) -> Measurement:
    unit, quantity, error = QUANTITIES[name]
    value = float(np.average(values[voxels].astype(float), weights=weights[voxels].astype(float)))
    place = placed(examination, name, value, error, otherwise=NO_REFERENCE)
    return Measurement(name, value, unit, quantity, site, uncertainty=error, method=METHOD, **place)


def _ratio(examination: Examination, tensor: Tensor, control_fa: float) -> list[str]:
    """The sentence that relates the corticospinal tract to the control, where the tract can be measured."""
    try:
        tract = examination.once(corticospinal_tract)
    except NotMeasurable:
        return []
    return [
        say(
            "Anisotropy of the corticospinal tract ({levels}) is {ratio:.2f} of that of the splenium, which ALS spares: noise, motion "
            "and the protocol lower both.",
            levels=_levels(tract), ratio=_tract_fa(tract, tensor) / control_fa,
        )
    ]


def _tract_fa(tract: Tract, tensor: Tensor) -> float:
    return tract.mean(tensor.fa, np.logical_or.reduce([part.voxels for part in tract.parts if part.voxels is not None]))


def _levels(tract: Tract) -> str:
    held = [part.level.replace("_", " ") for part in tract.parts if part.voxels is not None]
    return say("whole, both sides") if len(held) == len(tract.parts) else joined(dict.fromkeys(held))


MARKER = Marker(NAME, VERSION, needs=(("dwi",),), gives=tuple(QUANTITIES), findings=(), measure=measure, doc=__doc__)
