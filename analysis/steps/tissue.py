"""Grey matter, white matter and CSF of the brain, as fractions of each voxel of a T1.

A voxel's brightness, after the uneven field is taken out, is that of a pure tissue or of a mixture of two neighbours in brightness, and
noise. All of it is fitted to the histogram of the patient's own brain; a voxel gets the fractions that its brightness makes one expect, so
that noise does not turn pure grey matter into a little CSF and white matter. The template's tissue maps only start the fit and tell a
mixture of CSF and white matter (a ventricle's wall) from grey matter, which is as bright.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analysis.examination import Examination
from analysis.outcome import NotMeasurable
from analysis.steps.head import brain_mask, head_on_template, skull_stripped
from analysis.steps.space import ants_image, ants_scratch, around, coarser, onto
from analysis.volume import Volume
from analysis.words import say

FIT_STEP_MM = 1.0
CLASSES = 3  # CSF, grey, white: in the order of their brightness on a T1
ROUNDS = 60
MIXTURE_STEPS = 9
NO_GREY = 0.03
# How far apart the tissues must be, in spreads of the noise. CSF and grey: 7.8 to 13 on three real heads and phantoms, slices of 4 mm as
# well; 3.4 on a phantom that moved by 4 degrees and 4 mm between eight parts of the scan, with a third of its grey matter lost
LEAST_GREY_WHITE, LEAST_CSF_GREY = 1.5, 4.0


@dataclass(frozen=True, eq=False)
class Histogram:
    """The fitted histogram of a brain. `means`: brightness of pure CSF, grey and white matter; `sd`: of the noise; `weights`: the share of
    the three pure tissues, of CSF-grey and of grey-white mixtures."""

    means: np.ndarray
    sd: float
    weights: np.ndarray


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
    # what a skull-stripping set to zero is no fluid: with it a phantom's grey matter came out 9 % too large
    shown = inside & (part.array > t1.array.min()) if examination.once(skull_stripped) else inside
    histogram = fit_histogram(even[shown], priors[:, shown])
    white = histogram.means[2]
    fractions = np.zeros((CLASSES, *t1.array.shape), np.float32)
    fractions[(slice(None), *box)] = fractions_of(even, histogram, priors[0]) * inside
    whole = np.zeros(t1.array.shape, np.float32)
    whole[box] = even / white
    return Tissue(*fractions, whole, tuple(float(mean / white) for mean in histogram.means), float(histogram.sd / white))


def even_brightness(volume: Volume, inside: np.ndarray) -> np.ndarray:
    """The volume without its bias field (N4 inside the mask, fitted at 4 mm), float32."""
    small = coarser(volume, max(FIT_STEP_MM, float(volume.spacing_mm.min())))
    within = onto(volume.with_array(inside.astype(np.float32)), small) > 0.5
    with ants_scratch() as (ants, _):
        image = ants_image(small)
        field = ants.n4_bias_field_correction(image, mask=ants_image(small.with_array(within)), shrink_factor=4, return_bias_field=True)
        field = np.maximum(onto(small.with_array(np.log(np.maximum(field.numpy(), 1e-3))), volume, order=1), -3.0)
    return (volume.array / np.exp(field)).astype(np.float32)


def fit_histogram(values: np.ndarray, priors: np.ndarray) -> Histogram:
    """An EM fit of three pure classes and the two mixtures between neighbours. `values` (n,); `priors` (2, n): the template's grey and
    white. NotMeasurable where the tissues cannot be told apart, or stand in another order than on a T1."""
    counts, edges = np.histogram(values, bins=400, range=(0.0, float(np.percentile(values, 99.8)) * 1.1))
    middle = (edges[1:] + edges[:-1]) / 2.0
    sure = [values[(priors.sum(0) < 0.15)], values[priors[0] > 0.8], values[priors[1] > 0.9]]
    if min(len(part) for part in sure) < 50:
        raise NotMeasurable(say("the T1 series covers too little of the brain to tell its tissues apart"))
    means = np.array([np.percentile(sure[0], 25), np.median(sure[1]), np.median(sure[2])])
    if not means[0] < means[1] < means[2]:
        raise NotMeasurable(say("grey matter is not darker than white matter and brighter than CSF: this is not the contrast of a T1"))
    found = Histogram(means, 0.5 * (means[2] - means[1]), np.full(2 * CLASSES - 1, 1.0 / (2 * CLASSES - 1)))
    for _ in range(ROUNDS):
        found = improve(middle, counts, found)
    (csf, grey, white), sd = found.means, found.sd
    if not (white - grey > LEAST_GREY_WHITE * sd and grey - csf > LEAST_CSF_GREY * sd):
        raise NotMeasurable(
            say("the tissues of the brain cannot be told apart on the T1 series: too much noise or motion, or too little contrast")
        )
    return found


def parts_of(histogram: Histogram) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The classes as points: fractions (point, tissue), weight and class (point,). A mixture is a row of points between two pure ones."""
    share = np.linspace(0.0, 1.0, MIXTURE_STEPS + 2)[1:-1, None]
    pure = np.eye(CLASSES)
    fractions = np.concatenate([pure] + [(1 - share) * pure[i] + share * pure[i + 1] for i in range(CLASSES - 1)])
    group = np.concatenate([np.arange(CLASSES), np.repeat(np.arange(CLASSES, 2 * CLASSES - 1), MIXTURE_STEPS)])
    return fractions, (histogram.weights / np.bincount(group))[group], group


def belief_of(brightness: np.ndarray, histogram: Histogram, fractions: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """How likely each point is at each brightness: (point, brightness), not normalised."""
    distance = (brightness[None, :] - (fractions @ histogram.means)[:, None]) / histogram.sd
    return weights[:, None] * np.exp(-0.5 * np.minimum(distance**2, 1400.0))


def improve(middle: np.ndarray, counts: np.ndarray, histogram: Histogram) -> Histogram:
    """One round of the EM fit."""
    fractions, weights, group = parts_of(histogram)
    belief = belief_of(middle, histogram, fractions, weights)
    belief *= counts / np.maximum(belief.sum(0), 1e-300)
    pure = belief[:CLASSES]
    means = (pure * middle).sum(1) / np.maximum(pure.sum(1), 1e-9)
    # the spread comes from the two tissues of the brain alone: CSF is widened by vessels and meninges
    spread = sum((pure[i] * (middle - means[i]) ** 2).sum() for i in (1, 2)) / np.maximum(pure[1:].sum(), 1e-9)
    return Histogram(means, float(np.sqrt(max(spread, 1e-12))), np.bincount(group, belief.sum(1)) / counts.sum())


def fractions_of(even: np.ndarray, histogram: Histogram, prior_grey: np.ndarray) -> np.ndarray:
    """The expected CSF, grey and white fractions (3, ...) of every voxel, float32."""
    csf, _, white = histogram.means
    brightness = np.linspace(csf - 4 * histogram.sd, white + 4 * histogram.sd, 2000)
    points, weights, _ = parts_of(histogram)
    belief = belief_of(brightness, histogram, points, weights)
    expected = points.T @ (belief / belief.sum(0))
    found = np.stack([np.interp(even, brightness, row) for row in expected]).astype(np.float32)
    wall = prior_grey < NO_GREY
    direct = np.clip((even[wall] - csf) / (white - csf), 0.0, 1.0)
    found[:, wall] = np.stack([1.0 - direct, np.zeros_like(direct), direct])
    return found
