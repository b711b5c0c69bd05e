"""Acute infarcts on diffusion, old ones on FLAIR.

Gives: acute_infarct_volume (ml); the findings acute_infarct and chronic_infarct, by side; the masks `acute_infarct`, `chronic_infarct` and,
for what was searched, `brain`.
Needs: a diffusion series of the head (role dwi: b = 0 with a trace image or at least three directions), or a FLAIR (role flair); a T1 of
the same study makes the search on FLAIR surer.
Method: acute is what is bright with diffusion weighting, more than the other side of the head, and has an ADC below three quarters of that
of the patient's own brain; bright without a low ADC is T2 shine-through and is said as such. Old is what is as dark as fluid on FLAIR where
the template has brain and the other side has none of it; it is sure with a bright rim. Candidates at the base of the skull, as bright as
piled-up signal or the same on both sides are indeterminate. No absolute ADC is a limit: none of the published ones holds across scanners.
Trust: with its registrations from end to end: an acute infarct of 5.9 ml (seed 62) came out as 5.8 ml with a Dice of 0.89, from directions
and from b = 0 with a trace image alike, beside shine-through of 3.9 ml that came out as 3.8 and was not taken for one; a healthy head (101)
gave none. An old infarct of 3.1 ml (seed 70) was found with 2.2 ml. Twenty-one heads without one (101 to 117 healthy, but for 114, which
was refused; lesions of MS 61 and 66 and of small vessels 63, masses 64 and 65) gave none. Heads whose place was given: acute ones of 0.5
and 1.2 ml (seeds 27 and 23) came out as 0.6 and 1.3 ml with a Dice of 0.82 and 0.84, twelve healthy heads gave none; a cavity of 0.9 ml
(seed 23) was found, one of 0.4 ml (seed 27) missed, three healthy heads gave none. Limits were chosen on seeds 1 and 2. Real heads: two
diffusion series (Philips, b 2000, 15 directions; Siemens, b 2500, 20 directions; both as b = 0 and the mean of their directions) gave no
acute infarct, 1.9 and 1.3 ml of shine-through; a FLAIR gave no old infarct. A change of the volume is seen from 0.8 ml on, more where it is
large (stated errors); not measured at several visits. Not measured: patients with infarcts, motion.
Refuses: what is no brain; a diffusion series without b = 0 or without weighting; on FLAIR what cannot be placed. The arterial territory
is not named, the lobe is: the published atlases of territories (10.1001/jamaneurol.2018.2808, 10.1038/s41597-022-01923-0) are images, not
positions, and the borders differ between people.
References: low ADC in lesions younger than 10 days, AJNR 2001;22:637 (sensitivity 88 %, specificity 90 %, read by people); a fixed ADC is
criticised in Skattør (71 patients).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from analysis import atlas, concepts
from analysis.examination import Examination, no_series
from analysis.marker import Marker
from analysis.outcome import MEASURED, Accuracy, Finding, Gap, Mask, Measurement, NotMeasurable, Outcome, Side
from analysis.reference import placed
from analysis.steps.coregistration import on_template
from analysis.steps.focal_infarct import PLACES, Spot, acute_spots, old_spots, place_of
from analysis.steps.signal import flair_signal
from analysis.steps.space import onto, sample
from analysis.steps.water import Water, brain_water
from analysis.volume import Volume
from analysis.words import Words, joined, say

NAME, VERSION = "infarct", 1
SIDES: tuple[Side, ...] = ("left", "right")
ERROR_SHARE, ERROR_ML = 0.25, 0.3
NO_REFERENCE = say("healthy people have none: there is no population to compare with")
METHOD = say("voxels that are bright with diffusion weighting and have a low ADC, both relative to the patient's own brain")
DOUBTS = {
    "base": say("it lies at the base of the skull, where air distorts the images"),
    "piled up": say("it is as bright without diffusion weighting as piled-up signal"),
    "both sides": say("it is the same on both sides"),
    "no rim": say("it has no bright rim and may be a wide space of fluid"),
}
SCREEN = say(
    "A screen, not a clearance: an old infarct of 0.4 ml was missed on a computed head, and patients with infarcts were not measured."
)
COMPUTED = say("computed heads")
KNOWN = {"acute_infarct": Accuracy(3, 3, 0, 13, COMPUTED), "chronic_infarct": Accuracy(2, 3, 0, 24, COMPUTED)}


def measure(examination: Examination) -> Outcome:
    acute, water, no_acute = None, None, no_series("dwi")
    old, no_old = None, no_series("flair")
    shine_ml = 0.0
    if "dwi" in examination.images:
        try:
            water = examination.once(brain_water)
            acute, shine_ml = acute_spots(water)
        except NotMeasurable as refusal:
            no_acute = refusal.reason
    if "flair" in examination.images:
        try:
            old = examination.once(old_infarcts)
        except NotMeasurable as refusal:
            no_old = refusal.reason
    if acute is None and old is None:
        raise NotMeasurable(no_acute if "dwi" in examination.images else no_old)
    return Outcome(
        NAME,
        VERSION,
        MEASURED,
        measurements=(_volume(examination, acute),) if acute is not None else (),
        gaps=() if acute is not None else (Gap("acute_infarct_volume", no_acute),),
        findings=(*_findings("acute_infarct", acute, no_acute), *_findings("chronic_infarct", old, no_old)),
        masks=(*_acute_masks(examination, water, acute or ()), *_old_masks(examination, old or ())),
        notes=(*_shine(shine_ml), SCREEN),
    )


def old_infarcts(examination: Examination) -> tuple[Spot, ...]:
    """The old infarcts on the FLAIR, on the grid of its placement. NotMeasurable where it cannot be placed."""
    laid, signal = on_template(examination, "flair"), examination.once(flair_signal)
    layers = atlas.template()
    brain = layers["grey"].array + layers["white"].array
    tissue = sample(layers["grey"].with_array(brain), signal.template_lps)
    fluid = (sample(layers["inside"].with_array(layers["inside"].array.astype(np.float32)), signal.template_lps) > 0.9) & (tissue < 0.1)
    return old_spots(signal, laid.place.mirrored_lps(signal.grid), tissue, fluid)


def _volume(examination: Examination, spots: Sequence[Spot]) -> Measurement:
    volume_ml = sum(spot.volume_ml for spot in spots if not spot.doubt)
    error_ml = float(np.hypot(ERROR_SHARE * volume_ml, ERROR_ML))
    return Measurement(
        "acute_infarct_volume", volume_ml, "ml", concepts.ACUTE_INFARCT_VOLUME, concepts.BRAIN, uncertainty=error_ml, method=METHOD,
        **placed(examination, "acute_infarct_volume", volume_ml, error_ml, otherwise=NO_REFERENCE),
    )  # fmt: skip


def _findings(name: str, spots: Sequence[Spot] | None, reason: str) -> tuple[Finding, ...]:
    return tuple(_finding(name, side, spots, reason) for side in SIDES)


def _finding(name: str, side: Side, spots: Sequence[Spot] | None, reason: str) -> Finding:
    """Present where one spot of the side is without doubt, indeterminate where all are doubtful."""
    concept = concepts.ACUTE_INFARCT if name == "acute_infarct" else concepts.CHRONIC_INFARCT
    if spots is None:
        return Finding(name, "not assessed", concept, concepts.BRAIN, side, reason=reason)
    known = KNOWN[name]
    here = [spot for spot in spots if spot.side == side]
    sure = [spot for spot in here if not spot.doubt]
    if sure:
        return Finding(name, "present", concept, concepts.BRAIN, side, reason=joined(_said(spot) for spot in sure), accuracy=known)
    if here:
        largest = max(here, key=lambda spot: spot.volume_ml)
        doubt = say("{spot}: {doubt}", spot=_said(largest), doubt=DOUBTS[largest.doubt])
        return Finding(name, "indeterminate", concept, concepts.BRAIN, side, reason=doubt, accuracy=known)
    return Finding(name, "absent", concept, concepts.BRAIN, side, accuracy=known)


def _said(spot: Spot) -> Words:
    return say("{place}, {volume:.1f} ml", place=PLACES[place_of(spot.middle_lps)], volume=spot.volume_ml)


def _acute_masks(examination: Examination, water: Water | None, spots: Sequence[Spot]) -> tuple[Mask, ...]:
    if water is None:
        return ()
    masks = [Mask("brain", "dwi", water.brain.astype(bool), concepts.BRAIN)]
    for side in SIDES:
        here = [spot.voxels for spot in spots if spot.side == side and not spot.doubt]
        if here:
            masks.append(Mask("acute_infarct", "dwi", np.logical_or.reduce(here), concepts.CEREBRAL_INFARCTION, side))
    return tuple(masks)


def _old_masks(examination: Examination, spots: Sequence[Spot]) -> tuple[Mask, ...]:
    """On the grid of the FLAIR."""
    masks = []
    for side in SIDES:
        here = [spot.voxels for spot in spots if spot.side == side and not spot.doubt]
        if here:
            series = examination.image("flair")
            grid = on_template(examination, "flair").place.grid
            whole = onto(grid.with_array(np.logical_or.reduce(here).astype(np.float32)), Volume(series.array, series.lps_from_index)) > 0.5
            masks.append(Mask("chronic_infarct", "flair", ndimage.binary_fill_holes(whole), concepts.CEREBRAL_INFARCTION, side))
    return tuple(masks)


def _shine(shine_ml: float) -> tuple[Words, ...]:
    if not shine_ml:
        return ()
    return (
        say("{volume:.1f} ml are bright with diffusion weighting without a low ADC: T2 shine-through, no acute infarct.", volume=shine_ml),
    )


MARKER = Marker(
    NAME, VERSION, needs=(("dwi", "flair"),), gives=("acute_infarct_volume",), findings=("acute_infarct", "chronic_infarct"),
    measure=measure, doc=__doc__,
)  # fmt: skip
