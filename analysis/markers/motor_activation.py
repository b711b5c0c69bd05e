"""The motor cortex at work and at rest.

Gives: activation_volume (ml; left, right), laterality_index (1), m1_m1_connectivity (1), framewise_displacement (mm), by run (task, with
the hand that moved where that is stated; rest); the masks `activation` and `hand_area` on the T1; maps of t and of r; plots of the motion
and of the signal of the motor areas. Descriptive only: no finding, no weight.
Needs: functional series (role bold), all runs of the study, and the T1 of the same study.
Method: volumes are laid onto one another, the mean volume over the T1 and with it on the template. The motor area of a side is the
precentral gyrus of the atlas with 3 mm around it; the supplementary motor area is not counted. A task is stated by the site, or found:
blocks of 10 to 40 s that the hand areas follow better than noise of their own spectrum does. Every voxel is then compared with the blocks
(canonical response; drifts, motion, five components of white matter and fluid, autoregressive noise); active is what exceeds the one-sided
5 % limit of Bonferroni over the brain. The laterality index is (left - right) / (left + right) of the active volumes, its uncertainty how
far it moves over 20 thresholds. At rest the correlation r of both hand areas is given (not Fisher's z), between 0.01 and 0.1 Hz, without
24 parameters of motion, white matter, fluid and volumes that moved by more than 0.5 mm. No correction of slice times or of distortion.
Trust: computed data only; voxels of 3.3 mm, 120 volumes in 5 minutes, motion of 0.1 and 0.3 mm. Of 6.4 ml planted, 23 and 43 % were found
where the signal rose by 1 %, 57 and 89 % at 2 %, 82 to 100 % at 3 % on the head that the method was built on (seed 102); of 6.6 ml 53 and
14 % at 1 %, 93 and 71 % at 2 % on another (104). So a volume follows the contrast to noise of the series as much as the activation, and
does not compare between scanners. The laterality index of the other head was 0.47, -0.02, 0.62 and 0.46 where 0.49 was planted. Framewise
displacement was right within 0.05 mm. A phantom that was shifted by up to 6 mm and 8 degrees was laid over its T1 within 0.5 mm and 0.4
degrees. Small synthetic brains without activation: 7 of 120 runs had any active voxel, 6 were to be expected. Correlations at rest: six on
those heads and a third (105) within 1.5 standard errors; on small synthetic brains 117 of 120 planted ones (0 to 0.85) within 1.96, on
average 0.02 to 0.06 too low. Blocks that nobody stated were found in 27 to 30 of 30 signals that rose by the spread of their noise, in 10
to 15 where by 0.7 of it, and falsely in 0, 1 and 6 of 150 pairs of noise with a power of 1, 1/f and 1/f^1.5. One real series (20 volumes)
lay over its T1, which explained 79 % of it; it is too short to measure. No real task, no real rest, no patient, no rescan was measured. A
run took 24 to 28 s of processor. `benchmarks/function.py` repeats the phantoms. A change of the volume is seen from 1.4 ml and 83 % of it
on, of the others from 2.8 times their stated error on; not measured at several visits.
Refuses: fewer than 60 volumes, 2.5 minutes or three blocks of a task; less than 5 minutes at rest, or 4 without motion; a mean framewise
displacement above 0.9 mm in a task or 0.55 mm at rest; voxels longer than 5 mm; a field of view that misses the hand areas or a fifth of
the motor cortex; a study without a T1, or a series that does not lie over it; a name that speaks of a task whose blocks are neither stated
nor found.
References: Power 2012, 10.1016/j.neuroimage.2011.10.018 (framewise displacement); Friston 1996, 10.1002/mrm.1910350312 (24 parameters);
Behzadi 2007, 10.1016/j.neuroimage.2007.04.042 (components); Worsley 2002, 10.1006/nimg.2001.0933 (noise); Seghier 2008,
10.1016/j.mri.2007.10.010 (laterality); Hallquist 2013, 10.1016/j.neuroimage.2013.05.116 (band and motion at once); Van Dijk 2010,
10.1152/jn.00783.2009 and Parkes 2018, 10.1016/j.neuroimage.2017.12.073 (how long, how still). In ALS: Shen 2015, 10.3389/fneur.2015.00246
(55 studies that contradict each other).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from analysis import concepts
from analysis.examination import Examination
from analysis.marker import Marker
from analysis.outcome import MEASURED, Curve, Gap, Map, Mask, Measurement, NotMeasurable, Outcome, Plot
from analysis.reference import placed
from analysis.steps.functional_runs import Run, functional_runs
from analysis.steps.ribbon import SIDES
from analysis.volume import Volume
from analysis.words import Name, Words, joined, say

NAME, VERSION = "motor_activation", 1
GIVES = ("activation_volume", "laterality_index", "m1_m1_connectivity", "framewise_displacement")
NO_REFERENCE = say("no usable norm exists: activation and connectivity depend on effort, paresis, scanner and method; compare with the "
                   "site's own controls of the same protocol")  # fmt: skip
NO_MOTION_REFERENCE = say("motion says how good the series is, and nothing of the patient")
NOTE = say(
    "Function is described and not judged: published results in ALS contradict each other, no norm is usable, and weakness and effort "
    "change activation by themselves."
)
VOLUME_METHOD = say("voxels of the precentral gyrus whose t exceeds the 5 % limit of Bonferroni over the brain")
INDEX_METHOD = say("(left - right) / (left + right) of the active volume; its error is how far it moves over 20 thresholds")
CONNECTIVITY_METHOD = say("correlation of the hand areas between 0.01 and 0.1 Hz, without motion, white matter and fluid")
MOTION_METHOD = say("mean sum of shifts and turns (on 50 mm) from volume to volume")
# from phantoms whose signal changed by 2 to 3 % (Trust); of a weaker activation more is missed
VOLUME_ERROR, VOLUME_ERROR_ML = 0.3, 0.5
MOTION_ERROR_MM = 0.05


def measure(examination: Examination) -> Outcome:
    examination.image("t1")
    runs = examination.once(functional_runs)
    used = [run for run in runs if run.activation or run.network]
    if not used:
        raise NotMeasurable(reason_of(runs))
    t1 = examination.image("t1")
    return Outcome(
        NAME,
        VERSION,
        MEASURED,
        measurements=tuple(one for run in used for one in measurements_of(examination, run)),
        gaps=tuple(one for run in runs for one in gaps_of(run)),
        masks=tuple(one for run in used for one in masks_of(run, t1)),
        maps=tuple(map_of(run, t1) for run in used),
        plots=tuple(one for run in used for one in plots_of(run)),
        notes=(NOTE, *(note for run in used for note in notes_of(run))),
    )


def reason_of(runs: tuple[Run, ...]) -> Words:
    """Why no run could be used: the reason of each, once."""
    by_reason: dict[str, list[str]] = {}
    for run in runs:
        by_reason.setdefault(run.refusal or "", []).append(run.series.name)
    if len(by_reason) == 1:
        return next(iter(by_reason))
    return joined((say("{series}: {reason}", series=joined(Name(name) for name in names), reason=reason)
                   for reason, names in by_reason.items()), "; ")  # fmt: skip


def measurements_of(examination: Examination, run: Run) -> Iterator[Measurement]:
    """The numbers of one run."""
    level = run.level
    if run.activation is not None:
        for side in SIDES:
            volume_ml = run.activation.volume_ml[side]
            error = float(np.hypot(VOLUME_ERROR * volume_ml, VOLUME_ERROR_ML))
            yield Measurement(
                "activation_volume", volume_ml, "ml", concepts.ACTIVATION_VOLUME, concepts.ACTIVATION, side, level, uncertainty=error,
                method=VOLUME_METHOD, **placed(examination, "activation_volume", volume_ml, error, side, level, NO_REFERENCE),
            )  # fmt: skip
        if run.activation.laterality:
            index, spread = run.activation.laterality
            yield Measurement(
                "laterality_index", index, "1", concepts.LATERALITY_INDEX, concepts.ACTIVATION, None, level, uncertainty=spread,
                method=INDEX_METHOD, **placed(examination, "laterality_index", index, spread, None, level, NO_REFERENCE),
            )  # fmt: skip
    if run.network is not None:
        r, error = run.network.r, run.network.error
        yield Measurement(
            "m1_m1_connectivity", r, "1", concepts.CONNECTIVITY, concepts.PRECENTRAL_GYRUS, None, level, uncertainty=error,
            method=CONNECTIVITY_METHOD, **placed(examination, "m1_m1_connectivity", r, error, None, level, NO_REFERENCE),
        )  # fmt: skip
    moved_mm = float(run.steady.displacement_mm[1:].mean())
    yield Measurement(
        "framewise_displacement", moved_mm, "mm", concepts.FRAMEWISE_DISPLACEMENT, concepts.HEAD, None, level,
        uncertainty=MOTION_ERROR_MM, method=MOTION_METHOD,
        **placed(examination, "framewise_displacement", moved_mm, MOTION_ERROR_MM, None, level, NO_MOTION_REFERENCE),
    )  # fmt: skip


def gaps_of(run: Run) -> Iterator[Gap]:
    """What a run should have given and did not."""
    if run.refusal is not None:
        names = ("m1_m1_connectivity",) if run.level.startswith("rest") else ("activation_volume", "laterality_index")
        reason = say("{series}: {reason}", series=Name(run.series.name or "–"), reason=run.refusal)
        yield from (Gap(name, reason, level=run.level) for name in names)
    elif run.activation is not None and run.activation.laterality is None:
        yield Gap("laterality_index", say("too little is active in both motor areas together for a side to be told"), level=run.level)


def masks_of(run: Run, t1: Volume) -> Iterator[Mask]:
    """The active part of each motor area, or the two hand areas of a run at rest, on the T1."""
    if run.activation is not None:
        for side in SIDES:
            active = run.place.on_t1(run.activation.active & run.place.motor[side], t1) > 0.5
            if active.any():
                yield Mask("activation", "t1", active, concepts.ACTIVATION, side, run.level)
    if run.network is not None:
        for side in SIDES:
            yield Mask("hand_area", "t1", run.place.on_t1(run.network.seeds[side], t1) > 0.5, concepts.PRECENTRAL_GYRUS, side, run.level)


def map_of(run: Run, t1: Volume) -> Map:
    """t of a task above its threshold, or r of a run at rest above its limit, anywhere in the brain."""
    if run.activation is not None:
        shown = np.where(run.activation.active, run.activation.t, 0.0)
        return Map(f"t_{run.level}", "t1", run.place.on_t1(shown, t1), "1", concepts.T_STATISTIC)
    return Map(f"r_{run.level}", "t1", run.place.on_t1(run.network.map, t1), "1", concepts.CONNECTIVITY)


def plots_of(run: Run) -> Iterator[Plot]:
    """Motion over time, and what the motor areas did."""
    times_s = np.arange(run.steady.series.volumes) * run.steady.series.repetition_time_s
    bands = run.paradigm.until(run.series.duration_s).bands
    yield Plot("framewise_displacement", times_s, "s", "mm", (Curve("displacement", run.steady.displacement_mm),), None, run.level, bands)
    if run.activation is not None:
        for side, signal in run.activation.response.items():
            curves = Curve("data", signal), Curve("fit", run.activation.fit[side])
            yield Plot("motor_response", times_s, "s", "%", curves, side, run.level, bands)
    if run.network is not None:
        curves = tuple(Curve(side, signal) for side, signal in run.network.signals.items())
        yield Plot("motor_fluctuation", times_s, "s", "%", curves, None, run.level)


def notes_of(run: Run) -> Iterator[Words]:
    """What a reader must know of one run."""
    name = Name(run.series.name or "–")
    left_out = int(((run.steady.displacement_mm > 0.5) | run.steady.settling).sum())
    if run.paradigm.confidence is not None:
        blocks, first = len(run.paradigm.onsets_s), run.paradigm.bands[min(1, len(run.paradigm.bands) - 1)]
        yield say(
            "{series}: nobody stated the task; {blocks} blocks of {seconds:.0f} s were found from the images (chance in noise: "
            "{chance:.1f} %), so its activation is an optimistic one.",
            series=name, blocks=blocks, seconds=first[1] - first[0], chance=100 * (1 - run.paradigm.confidence),
        )  # fmt: skip
    if run.activation is not None:
        yield say("{series}: {blocks} blocks; a voxel is active where its t exceeds {threshold:.1f}.", series=name,
                  blocks=len(run.paradigm.onsets_s), threshold=run.activation.threshold)  # fmt: skip
    if run.network is not None:
        yield say("{series}: {minutes:.1f} minutes at rest, worth {freedom:.0f} independent volumes; colours show correlations above "
                  "{limit:.2f}.", series=name, minutes=run.series.duration_s / 60, freedom=run.network.freedom, limit=run.network.limit)
    if run.network is not None and run.series.paradigm is None:
        yield say("{series}: no task was stated and no blocks were found; it is taken for rest.", series=name)
    if left_out:
        yield say("{series}: {count} of {all} volumes moved by more than 0.5 mm or came before the signal was steady; they were left out.",
                  series=name, count=left_out, all=run.series.volumes)  # fmt: skip


MARKER = Marker(NAME, VERSION, needs=(("bold",), ("t1",)), gives=GIVES, findings=(), measure=measure, doc=__doc__)
