"""Every functional run of a study: whether it can be used, what was done in it, and what it shows.

A run that cannot be used keeps its reason; it never stops the others. What was done is what the site stated; else blocks are looked for,
unless the series' own name says that the person rested. A name that speaks of a task whose blocks are neither stated nor found is not
taken for rest: nothing is measured on such a run.

Least lengths: rest 5 minutes (correlations are stable from there on: Van Dijk 2010, 10.1152/jn.00783.2009), of which 4 are left when the
volumes that moved are left out, with a mean framewise displacement of at most 0.55 mm (Parkes 2018, 10.1016/j.neuroimage.2017.12.073). A
task: 60 volumes, 2.5 minutes and three blocks (chosen), half of its volumes left and at most 0.9 mm (Siegel 2014, 10.1002/hbm.22307).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

import numpy as np

from analysis.examination import Examination
from analysis.outcome import NotMeasurable
from analysis.paradigm import Paradigm
from analysis.steps.activation import Activation, activation, censored_of, design_of, signals_of
from analysis.steps.block_design import blocks_in
from analysis.steps.bold_motion import Steady, steadied
from analysis.steps.bold_place import BoldPlace, bold_place, refuse_coarse
from analysis.steps.motor_network import Network, network
from analysis.volume import TimeSeries
from analysis.words import Words, say

LEAST_VOLUMES, LEAST_TASK_S, LEAST_BLOCKS = 60, 150.0, 3
LEAST_REST_S, LEAST_LEFT_S = 300.0, 240.0
MOST_REST_MM, MOST_TASK_MM, LEAST_LEFT = 0.55, 0.9, 0.5
RESTS, TASKS = r"rest(?![a-z])|resting|rsfmri|rs[-_ ]?fmri|ruhe", r"task|motor|finger|tap|hand|fist|foot|faust|tongue|squeeze|block"
TASK, REST, UNKNOWN = "task", "rest", "run"
LEVELS = {"left": "task_left_hand", "right": "task_right_hand", "both": "task_both_hands", "": TASK}


@dataclass(frozen=True, eq=False)
class Run:
    """One run. `level` names it. `steady`, `place`, `paradigm`: as far as it came; `activation` of a task, `network` of rest; `refusal`:
    why it has neither."""

    series: TimeSeries
    level: str
    steady: Steady | None = None
    place: BoldPlace | None = None
    paradigm: Paradigm | None = None
    activation: Activation | None = None
    network: Network | None = None
    refusal: Words | None = None


def functional_runs(examination: Examination) -> tuple[Run, ...]:
    """Every run; those of one kind are numbered in their order: rest, rest_2."""
    runs, seen = [], {}
    for series in examination.image("bold").runs:
        run = _light(run_of(examination, series))
        seen[run.level] = seen.get(run.level, 0) + 1
        runs.append(run if seen[run.level] == 1 else replace(run, level=f"{run.level}_{seen[run.level]}"))
    return tuple(runs)


def _light(run: Run) -> Run:
    """The run without its volumes, which nobody needs any more: they may take gigabytes."""
    if run.steady is None:
        return run
    nothing = np.broadcast_to(np.float32(0), run.steady.series.array.shape)
    return replace(run, steady=replace(run.steady, series=replace(run.steady.series, array=nothing)))


def run_of(examination: Examination, series: TimeSeries) -> Run:
    """One run, with its refusal where it cannot be used."""
    run = Run(series, _level(series.paradigm, series.name), paradigm=series.paradigm)
    try:
        refuse_short(series, run.level)
        refuse_coarse(series.at(0))
        run = replace(run, steady=steadied(series))
        run = replace(run, place=bold_place(examination, run.steady.mean))
        paradigm = run.paradigm or _found(run)
        run = replace(run, paradigm=paradigm, level=_level(paradigm, series.name))
        if paradigm.is_rest:
            refuse_rest(run.steady)
            return replace(run, network=network(run.steady, run.place))
        refuse_task(run.steady, paradigm)
        return replace(run, activation=activation(run.steady, run.place, paradigm.until(series.duration_s)))
    except NotMeasurable as error:
        return replace(run, refusal=error.reason)


def _level(paradigm: Paradigm | None, name: str) -> str:
    if paradigm is None:
        return REST if speaks_of_rest(name) else TASK if speaks_of_task(name) else UNKNOWN
    return REST if paradigm.is_rest else LEVELS[paradigm.moves]


def speaks_of_rest(name: str) -> bool:
    return re.search(RESTS, name.lower()) is not None


def speaks_of_task(name: str) -> bool:
    return not speaks_of_rest(name) and re.search(TASKS, name.lower()) is not None


def _found(run: Run) -> Paradigm:
    """What was done in a run that nobody described. NotMeasurable where its name speaks of a task that is not seen."""
    if speaks_of_rest(run.series.name):
        return Paradigm()
    found = blocks_in(motor_signals(run.steady, run.place), run.series.repetition_time_s)
    if found is None and speaks_of_task(run.series.name):
        raise NotMeasurable(say("its name speaks of a task, whose blocks the settings do not state and the images do not show"))
    return found or Paradigm()


def motor_signals(steady: Steady, place: BoldPlace) -> np.ndarray:
    """What the voxels of each hand area do together (their first principal component), without drifts, motion and what white matter and
    fluid show: (time, side)."""
    signals = signals_of(steady, place)
    others = design_of(steady, place, Paradigm((0.0,), (steady.series.duration_s,)))[:, 1:]
    basis = np.linalg.qr(others)[0]
    found = []
    for side in ("left", "right"):
        hand = signals[:, place.hand[side][place.brain]].astype(np.float64)
        hand -= basis @ (basis.T @ hand)
        courses, _, weights = np.linalg.svd(hand - hand.mean(axis=0), full_matrices=False)
        found.append(courses[:, 0] * (1.0 if weights[0].sum() >= 0 else -1.0))
    return np.column_stack(found)


def refuse_short(series: TimeSeries, level: str) -> None:
    """NotMeasurable where the run is too short for what it is, or for anything."""
    least_s = LEAST_REST_S if level == REST else LEAST_TASK_S
    if series.volumes >= LEAST_VOLUMES and series.duration_s >= least_s:
        return
    raise NotMeasurable(
        say("{volumes} volumes in {minutes:.1f} minutes are too few: {least} volumes in {least_minutes:.1f} minutes are needed",
            volumes=series.volumes, minutes=series.duration_s / 60, least=LEAST_VOLUMES, least_minutes=least_s / 60)
    )  # fmt: skip


def refuse_rest(steady: Steady) -> None:
    """NotMeasurable where a run at rest is too short, or moved too much."""
    if steady.series.duration_s < LEAST_REST_S:
        raise NotMeasurable(say("{minutes:.1f} minutes at rest are too few: {least:.1f} are needed",
                                minutes=steady.series.duration_s / 60, least=LEAST_REST_S / 60))  # fmt: skip
    left_s = float((~censored_of(steady)).sum()) * steady.series.repetition_time_s
    if _mean_mm(steady) > MOST_REST_MM or left_s < LEAST_LEFT_S:
        raise NotMeasurable(
            say("too much motion for a run at rest: {mean_mm:.2f} mm from volume to volume on average, at most {most_mm:.2f} are allowed; "
                "{minutes:.1f} minutes lay still, at least {least:.1f} are needed",
                mean_mm=_mean_mm(steady), most_mm=MOST_REST_MM, minutes=left_s / 60, least=LEAST_LEFT_S / 60)
        )  # fmt: skip


def refuse_task(steady: Steady, paradigm: Paradigm) -> None:
    """NotMeasurable where a task has too few blocks, or moved too much."""
    blocks = sum(onset < steady.series.duration_s for onset in paradigm.onsets_s)
    if blocks < LEAST_BLOCKS:
        raise NotMeasurable(say("{blocks} blocks of the task are too few: {least} are needed", blocks=blocks, least=LEAST_BLOCKS))
    left = float((~censored_of(steady)).mean())
    if _mean_mm(steady) > MOST_TASK_MM or left < LEAST_LEFT:
        raise NotMeasurable(
            say("too much motion during the task: {mean_mm:.2f} mm from volume to volume on average, at most {most_mm:.2f} are allowed; "
                "{left:.0f} % of the volumes lay still, at least {least:.0f} % are needed",
                mean_mm=_mean_mm(steady), most_mm=MOST_TASK_MM, left=100 * left, least=100 * LEAST_LEFT)
        )  # fmt: skip


def _mean_mm(steady: Steady) -> float:
    return float(steady.displacement_mm[1:].mean())
