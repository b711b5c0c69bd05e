"""Grey matter, white matter and CSF of the brain, as fractions of each voxel of a T1.

A voxel's brightness, after the uneven field is taken out, is that of a pure tissue or of a mixture of two neighbours in brightness. The
brightness of the pure tissues is fitted to the histogram of the patient's own brain; the template's tissue maps only start the fit and tell a
mixture of CSF and white matter (a ventricle's wall) from grey matter, which is as bright.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analysis.examination import Examination
from analysis.outcome import NotMeasurable
from analysis.steps.head import brain_mask, head_on_template
from analysis.steps.space import ants_image, ants_scratch, around, coarser, onto
from analysis.volume import Volume

FIT_STEP_MM = 1.0
CLASSES = 3  # CSF, grey, white: in the order of their brightness on a T1
ROUNDS = 60
MIXTURE_STEPS = 9
NO_GREY = 0.03


@dataclass(frozen=True, eq=False)
class Tissue:
    """Fractions 0 to 1 on the grid of the T1, float32, 0 outside the brain mask; their sum is 1 inside. `brightness`: of pure
    CSF, grey and white matter, in units of white matter; `noise`: the spread of a pure tissue in the same unit."""

    csf: np.ndarray
    grey: np.ndarray
    white: np.ndarray
    even_t1: np.ndarray
    brightness: tuple[float, float, float]
    noise: float


def tissue_fractions(examination: Examination) -> Tissue:
    """The tissues of the T1. NotMeasurable where the three cannot be told apart, or stand in another order than on a T1."""
    t1, place = examination.image("t1"), examination.once(head_on_template)
    mask = examination.once(brain_mask)
    box = around(t1.with_array(mask), 3)
    part, inside = t1.part(box), mask[box]
    even = even_brightness(part, inside)
    priors = np.stack([place.layer_on(name, part) for name in ("grey", "white")])
    means, sd = fit_brightness(even[inside], priors[:, inside])
    fractions = np.zeros((CLASSES, *t1.array.shape), np.float32)
    fractions[(slice(None), *box)] = mixtures(even, means, priors[0]) * inside
    whole = np.zeros(t1.array.shape, np.float32)
    whole[box] = even / means[2]
    return Tissue(*fractions, whole, tuple(float(mean / means[2]) for mean in means), float(sd / means[2]))


def even_brightness(volume: Volume, inside: np.ndarray) -> np.ndarray:
    """The volume without its bias field (N4 inside the mask, fitted at 4 mm), float32."""
    small = coarser(volume, max(FIT_STEP_MM, float(volume.spacing_mm.min())))
    within = onto(volume.with_array(inside.astype(np.float32)), small) > 0.5
    with ants_scratch() as (ants, _):
        image = ants_image(small)
        field = ants.n4_bias_field_correction(image, mask=ants_image(small.with_array(within)), shrink_factor=4, return_bias_field=True)
        field = np.maximum(onto(small.with_array(np.log(np.maximum(field.numpy(), 1e-3))), volume, order=1), -3.0)
    return (volume.array / np.exp(field)).astype(np.float32)


def fit_brightness(values: np.ndarray, priors: np.ndarray) -> tuple[np.ndarray, float]:
    """Brightness of pure CSF, grey and white matter, and their common spread: an EM fit of three pure classes and the two mixtures
    between neighbours, on the histogram. `values` (n,), `priors` (2, n): the template's grey and white."""
    top = np.percentile(values, 99.8)
    counts, edges = np.histogram(values, bins=400, range=(0.0, float(top) * 1.1))
    middle = (edges[1:] + edges[:-1]) / 2.0
    sure = [values[(priors.sum(0) < 0.15)], values[priors[0] > 0.8], values[priors[1] > 0.9]]
    if min(len(part) for part in sure) < 50:
        raise NotMeasurable("the T1 series covers too little of the brain to tell its tissues apart")
    means = np.array([np.percentile(sure[0], 25), np.median(sure[1]), np.median(sure[2])])
    sd = 0.5 * (means[2] - means[1])
    if not means[0] < means[1] < means[2]:
        raise NotMeasurable("grey matter is not darker than white matter and brighter than CSF: this is not the contrast of a T1")
    weights = np.full(2 * CLASSES - 1, 1.0 / (2 * CLASSES - 1))
    for _ in range(ROUNDS):
        means, sd, weights = improve(middle, counts, means, sd, weights)
    if not (means[2] - means[1] > 1.5 * sd and means[1] - means[0] > 2.0 * sd):
        raise NotMeasurable("grey and white matter cannot be told apart on the T1 series: too much noise or too little contrast")
    return means, float(sd)


def improve(middle: np.ndarray, counts: np.ndarray, means: np.ndarray, sd: float, weights: np.ndarray) -> tuple[np.ndarray, float, np.ndarray]:
    """One round of the EM fit. A mixture class is uniform between its two pure means, blurred by the noise."""
    share = np.linspace(0.0, 1.0, MIXTURE_STEPS + 2)[1:-1]
    centres = [np.array([mean]) for mean in means] + [means[i] + share * (means[i + 1] - means[i]) for i in range(CLASSES - 1)]
    like = np.stack([np.exp(-0.5 * ((middle[:, None] - centre) / sd) ** 2).mean(1) / sd for centre in centres])
    belief = weights[:, None] * like
    belief *= counts / np.maximum(belief.sum(0), 1e-30)
    pure = belief[:CLASSES]
    means = (pure * middle).sum(1) / np.maximum(pure.sum(1), 1e-9)
    # the spread comes from the two tissues of the brain alone: CSF is widened by vessels and meninges
    spread = sum((pure[i] * (middle - means[i]) ** 2).sum() for i in (1, 2)) / np.maximum(pure[1:].sum(), 1e-9)
    return means, float(np.sqrt(max(spread, 1e-12))), belief.sum(1) / counts.sum()


def mixtures(even: np.ndarray, means: np.ndarray, prior_grey: np.ndarray) -> np.ndarray:
    """CSF, grey and white fractions (3, ...) of every voxel from its brightness, linear between the pure tissues."""
    csf, grey, white = means
    from_grey = np.clip((even - grey) / (white - grey), 0.0, 1.0)
    to_csf = np.clip((grey - even) / (grey - csf), 0.0, 1.0)
    fractions = np.stack([to_csf, 1.0 - from_grey - to_csf, from_grey]).astype(np.float32)
    wall = prior_grey < NO_GREY
    direct = np.clip((even - csf) / (white - csf), 0.0, 1.0)
    fractions[:, wall] = np.stack([1.0 - direct, np.zeros_like(direct), direct])[:, wall]
    return fractions
