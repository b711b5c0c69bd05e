"""What a task does to a functional series: a general linear model in every voxel of the brain.

Blocks are convolved with the canonical response (Glover, from nilearn); slow drifts (cosines), six parameters of motion, five principal
components of the white matter and the fluid (Behzadi 2007, 10.1016/j.neuroimage.2007.04.042) and one regressor for each volume that moved
by more than 0.5 mm take out what is not the task. Noise is autoregressive (analysis/steps/serial_noise.py). A voxel is active where its t
exceeds the one-sided 5 % limit of Bonferroni over all voxels of the brain: a brain at rest then shows any active voxel in at most one of
twenty runs, as far as the model of the noise holds. Signals are in percent of the mean of their voxel.

The laterality index is (left - right) / (left + right) of the active volume of both motor areas: +1 is all left, -1 all right. It hangs on
the threshold (Seghier 2008, 10.1016/j.mri.2007.10.010), so its uncertainty is how far it moves from there on average over twenty
thresholds, from p 0.001 in a single voxel to half way to the highest t. The mean over thresholds, weighted by them, leaned to the side of
the highest t: on a phantom 0.87 where the volumes were planted with 0.49.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import ndimage, stats

from analysis.paradigm import Paradigm
from analysis.steps.bold_motion import Steady
from analysis.steps.bold_place import BoldPlace
from analysis.steps.serial_noise import t_of_first

FALSE_POSITIVES = 0.05  # in the whole brain
BLUR_VOXELS_FWHM = 1.5  # chosen on simulated series: see Trust of motor_activation
CENSORED_MM = 0.5  # Power 2012, 10.1016/j.neuroimage.2011.10.018
COMPONENTS, LEAST_VOXELS = 5, 30
ALIKE_MM = 15.0  # the noise of places this near is taken for alike (Worsley 2002)
SLOWEST_HZ = 1 / 128
THRESHOLDS, LOOSE = 20, 0.001  # the loosest threshold of the laterality index: p in a single voxel
LEAST_ACTIVE_ML = 0.5  # of both sides: less has no side


@dataclass(frozen=True, eq=False)
class Activation:
    """`t` (slice, row, column), 0 outside the brain; `threshold` of t; `active`, boolean; `volume_ml` by side, in the motor areas;
    `laterality`: the index and how far it moves with the threshold, None where too little is active. `response` by side (time,): percent
    signal change of the motor area where it is active, else of its hand area, without drifts and motion; `fit` (time,) by side: what the
    task explains of it."""

    t: np.ndarray
    threshold: float
    active: np.ndarray
    volume_ml: dict[str, float]
    laterality: tuple[float, float] | None
    response: dict[str, np.ndarray]
    fit: dict[str, np.ndarray]


def censored_of(steady: Steady) -> np.ndarray:
    """Volumes that are left out, boolean (time,): those that moved, and first ones that had not settled."""
    return (steady.displacement_mm > CENSORED_MM) | steady.settling


def activation(steady: Steady, place: BoldPlace, paradigm: Paradigm) -> Activation:
    """What the blocks of a paradigm do."""
    signals = signals_of(steady, place)
    design = design_of(steady, place, paradigm)
    t = np.zeros(place.brain.shape, np.float32)
    t[place.brain] = t_of_first(signals, design, _around(place))
    freedom = len(design) - np.linalg.matrix_rank(design)
    threshold = float(stats.t.isf(FALSE_POSITIVES / int(place.brain.sum()), freedom))
    active = t > threshold
    voxel_ml = place.grid.voxel_ml
    volume_ml = {side: float((active & mask).sum()) * voxel_ml for side, mask in place.motor.items()}
    sides = [t[place.motor[side]] for side in ("left", "right")]
    loosest = float(stats.t.isf(LOOSE, freedom))
    laterality = laterality_of(*sides, threshold, loosest) if sum(volume_ml.values()) >= LEAST_ACTIVE_ML else None
    shown = {side: _shown(active & mask, place.hand[side]) for side, mask in place.motor.items()}
    curves = {side: response_of(signals[:, mask[place.brain]].mean(axis=1), design) for side, mask in shown.items() if mask.any()}
    return Activation(t, threshold, active, volume_ml, laterality, {side: one for side, (one, _) in curves.items()},
                      {side: fit for side, (_, fit) in curves.items()})  # fmt: skip


def _around(place: BoldPlace) -> Callable[[np.ndarray], np.ndarray]:
    """The mean of values of the brain's voxels over their neighbourhood of ALIKE_MM."""
    sigma = ALIKE_MM / 2.355 / place.grid.spacing_mm
    weight = np.maximum(ndimage.gaussian_filter(place.brain.astype(np.float64), sigma), 1e-6)

    def around(values: np.ndarray) -> np.ndarray:
        whole = np.zeros(place.brain.shape)
        whole[place.brain] = values
        return (ndimage.gaussian_filter(whole, sigma) / weight)[place.brain]

    return around


def _shown(active: np.ndarray, hand: np.ndarray) -> np.ndarray:
    return active if active.any() else hand


def signals_of(steady: Steady, place: BoldPlace, blur_voxels: float = BLUR_VOXELS_FWHM) -> np.ndarray:
    """The signals of the brain's voxels in percent of their mean about 0, blurred inside the brain: (time, voxel)."""
    brain, array = place.brain, steady.series.array
    weight = ndimage.gaussian_filter(brain.astype(np.float32), blur_voxels / 2.355)[brain]
    out = np.empty((array.shape[3], int(brain.sum())), np.float32)
    for k in range(array.shape[3]):
        out[k] = ndimage.gaussian_filter(np.where(brain, array[..., k], np.float32(0)), blur_voxels / 2.355)[brain] / weight
    mean = np.maximum(out.mean(axis=0), 1e-3)
    return 100.0 * (out / mean - 1.0)


def design_of(steady: Steady, place: BoldPlace, paradigm: Paradigm) -> np.ndarray:
    """The regressors (time, n): the task first, then what is not the task."""
    from nilearn.glm.first_level import make_first_level_design_matrix
    from pandas import DataFrame

    times_s = times_of(steady)
    events = DataFrame({"onset": paradigm.onsets_s, "duration": paradigm.durations_s, "trial_type": "task"})
    cycle_s = float(np.max(np.diff(paradigm.onsets_s))) if len(paradigm.onsets_s) > 1 else times_s[-1]
    nuisance = nuisance_of(steady, place)
    found = make_first_level_design_matrix(
        times_s, events, hrf_model="glover", drift_model="cosine", high_pass=min(SLOWEST_HZ, 0.5 / cycle_s), add_regs=nuisance,
        add_reg_names=[f"n{k}" for k in range(nuisance.shape[1])],
    )  # fmt: skip
    return np.column_stack([found["task"], found.drop(columns="task")])


def times_of(steady: Steady) -> np.ndarray:
    """The middle of each volume, s from the beginning of the first."""
    return (np.arange(steady.series.volumes) + 0.5) * steady.series.repetition_time_s


def nuisance_of(steady: Steady, place: BoldPlace) -> np.ndarray:
    """Motion, components of white matter and fluid, and a spike for each volume that is left out: (time, n), each of spread 1."""
    components = [components_of(steady.series.array[mask].T, COMPONENTS) for mask in (place.white | place.fluid,)]
    terms = np.column_stack([steady.moves, *components])
    terms = (terms - terms.mean(axis=0)) / np.maximum(terms.std(axis=0), 1e-9)
    return np.column_stack([terms, np.eye(len(terms))[:, censored_of(steady)]])


def components_of(signals: np.ndarray, count: int) -> np.ndarray:
    """The first principal components of signals (time, voxel), without their linear trends: (time, up to count)."""
    from scipy.signal import detrend

    if signals.shape[1] < LEAST_VOXELS:
        return np.zeros((len(signals), 0))
    even = detrend(signals.astype(np.float64), axis=0)
    even /= np.maximum(even.std(axis=0), 1e-6)
    _, vectors = np.linalg.eigh(even @ even.T)
    return vectors[:, ::-1][:, :count]


def response_of(signal: np.ndarray, design: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A signal (time,) without what is not the task, about its level at rest, and what the task explains of it. Volumes that are left out
    show the fit."""
    weights = np.linalg.lstsq(design, signal, rcond=None)[0]
    fit = weights[0] * design[:, 0]
    return signal - design[:, 1:] @ weights[1:], fit


def laterality_of(left: np.ndarray, right: np.ndarray, threshold: float, loosest: float) -> tuple[float, float] | None:
    """The laterality index of t values (n,) of both sides above a threshold, and how far it moves over other thresholds; None where nothing
    exceeds it."""
    highest = float(max(left.max(initial=0.0), right.max(initial=0.0)))
    if highest <= threshold:
        return None
    index = [_index(left, right, one) for one in (threshold, *np.linspace(loosest, (threshold + highest) / 2, THRESHOLDS))]
    return index[0], float(np.sqrt(np.mean((np.array(index[1:]) - index[0]) ** 2)))


def _index(left: np.ndarray, right: np.ndarray, threshold: float) -> float:
    one, other = int((left > threshold).sum()), int((right > threshold).sum())
    return (one - other) / (one + other)
