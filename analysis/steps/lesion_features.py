"""What a voxel of a FLAIR shows of a white-matter lesion: brightness in the patient's own units, at several scales, and its place.

All of it on a grid of 1 mm: brightness against the local white matter, in spreads of white matter and in steps from white to grey matter;
how it stands out of its surroundings; distances to fluid, ventricle, cortex and edge; the template's tissues, smoothed. The order is that
of NAMES, and of the weights that `analysis.atlas.lesion_weights` learns: whoever changes a feature trains them again. Only candidates have
features: voxels somewhat brighter than white matter, near any.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from analysis.outcome import NotMeasurable
from analysis.words import say

NAMES = (
    "z_0", "z_07", "z_15", "grey_0", "grey_07", "grey_15", "grey_3", "above_3", "above_5", "brightest_5", "darkest_5", "darkest_9",
    "spread_2", "to_fluid", "to_ventricle", "to_grey", "to_white", "to_edge", "white_1", "grey_prior_1", "fluid_1", "white_3",
    "grey_prior_3", "above_local_grey", "contrast",
)  # fmt: skip
STEP_MM = 1.0
LOCAL_MM, GREY_MM = 18.0, 12.0
PURE_WHITE, PURE_GREY = 0.85, 0.75
DARK, MOST = 0.65, 3.0
LEAST_SPREAD, LEAST_STEP = 0.01, 0.06
CANDIDATE_STEP, CANDIDATE_SPREADS, CANDIDATE_WHITE = 0.15, 0.8, 0.08
LEAST_VOXELS = 20000  # 20 ml
CISTERN = 0.4
FAR_MM = {"fluid": 25.0, "ventricle": 40.0, "grey": 15.0, "white": 15.0, "edge": 30.0}


@dataclass(frozen=True, eq=False)
class Priors:
    """Where a template has its tissues, on the grid: `white`, `grey`, `fluid` 0 to 1; `ventricle` and `brain` boolean; all one shape."""

    white: np.ndarray
    grey: np.ndarray
    fluid: np.ndarray
    ventricle: np.ndarray
    brain: np.ndarray


@dataclass(frozen=True, eq=False)
class Features:
    """`values` (candidate, feature), float32; `candidates`: boolean, on the grid; `relative`: the FLAIR over its local white matter, 1
    outside the brain; `fluid` what is dark on it; `ventricle` what of that belongs to the ventricles; `cistern`: fluid of the template away
    from them; `step`: from white to grey matter."""

    values: np.ndarray
    candidates: np.ndarray
    relative: np.ndarray
    fluid: np.ndarray
    ventricle: np.ndarray
    cistern: np.ndarray
    step: float


def features_of(flair: np.ndarray, priors: Priors) -> Features:
    """The features of a FLAIR on a grid of 1 mm. NotMeasurable where too little white and grey matter is in view to compare with."""
    brain = priors.brain & (flair > 0)
    white, grey = brain & (priors.white > PURE_WHITE), brain & (priors.grey > PURE_GREY)
    if min(white.sum(), grey.sum()) < LEAST_VOXELS:
        raise NotMeasurable(say("too little white and grey matter lies in the field of view of the FLAIR to compare lesions with"))
    relative, spread = relative_to_white(flair, brain, white)
    usual_grey = float(np.median(relative[grey]))
    step = max(usual_grey - 1.0, LEAST_STEP)
    smooth = {sigma: _smooth(relative, sigma) for sigma in (0.7, 1.5, 3.0, 5.0)}
    fine_spread = _lower_spread(smooth[0.7][white], 0.005)
    candidates = brain & (smooth[1.5] > 1 + CANDIDATE_STEP * step) & (smooth[0.7] > 1 + CANDIDATE_SPREADS * fine_spread)
    candidates &= _smooth(priors.white, 3.0) > CANDIDATE_WHITE
    fluid = (smooth[0.7] < DARK) & brain
    near_ventricle = ndimage.binary_dilation(priors.ventricle, iterations=4)
    ventricle = fluid & near_ventricle | ndimage.binary_erosion(priors.ventricle)
    places = {"fluid": fluid, "ventricle": ventricle, "grey": priors.grey >= 0.5, "white": priors.white >= 0.5, "edge": ~brain}
    near = {name: np.minimum(_distance(where), FAR_MM[name])[candidates] for name, where in places.items()}
    local_grey = _local_mean(relative, grey & (relative > 0.7) & (relative < usual_grey + 3 * spread), GREY_MM, usual_grey)
    energy = np.maximum(_smooth(relative**2, 2.0) - _smooth(relative, 2.0) ** 2, 0.0)

    def at(image: np.ndarray) -> np.ndarray:
        return image[candidates]

    fine, middle = at(smooth[0.7]), at(smooth[1.5])
    values = (
        (at(relative) - 1) / spread, (fine - 1) / fine_spread, (middle - 1) / fine_spread, (at(relative) - 1) / step, (fine - 1) / step,
        (middle - 1) / step, (at(smooth[3.0]) - 1) / step, (fine - at(smooth[3.0])) / step, (middle - at(smooth[5.0])) / step,
        (at(ndimage.maximum_filter(smooth[0.7], 5)) - 1) / step, (at(ndimage.minimum_filter(smooth[0.7], 5)) - 1) / step,
        (at(ndimage.minimum_filter(smooth[1.5], 9)) - 1) / step, np.sqrt(at(energy)) / step, *near.values(),
        at(_smooth(priors.white, 1.0)), at(_smooth(priors.grey, 1.0)), at(_smooth(priors.fluid, 1.0)), at(_smooth(priors.white, 3.0)),
        at(_smooth(priors.grey, 3.0)), (fine - at(local_grey)) / step, np.full(fine.shape, step / spread),
    )  # fmt: skip
    cistern = (priors.fluid > CISTERN) & ~near_ventricle
    return Features(np.stack(values, axis=1).astype(np.float32), candidates, relative, fluid, ventricle, cistern, step)


def relative_to_white(flair: np.ndarray, brain: np.ndarray, white: np.ndarray) -> tuple[np.ndarray, float]:
    """The FLAIR over the level of the white matter around each voxel, 1 outside the brain; and the spread of that matter. What is brighter
    than usual, as lesions are, does not raise the level."""
    relative = np.where(brain, flair / _mode(flair[white]), 0.0).astype(np.float32)
    for _ in range(2):
        spread = _lower_spread(relative[white], 0.01)
        usual = white & (relative > 1 - 3 * spread) & (relative < 1 + 2 * spread)
        relative = np.where(brain, relative / _local_mean(relative, usual, LOCAL_MM, 1.0), 0.0).astype(np.float32)
        relative /= np.float32(_mode(relative[white]))
    return np.where(brain, np.clip(relative, 0, MOST), 1.0).astype(np.float32), _lower_spread(relative[white], LEAST_SPREAD)


def _mode(values: np.ndarray) -> float:
    """The most frequent value, of a smoothed histogram."""
    counts, edges = np.histogram(values, 200, tuple(np.percentile(values, (0.5, 99.5))))
    place = int(np.argmax(ndimage.gaussian_filter1d(counts.astype(float), 4)))
    return float(edges[place] + edges[place + 1]) / 2


def _lower_spread(values: np.ndarray, least: float) -> float:
    """The robust standard deviation about 1 of the values below 1: what is bright does not count."""
    below = values[values < 1]
    return max(1.4826 * float(np.median(1 - below)), least) if len(below) else least


def _smooth(image: np.ndarray, sigma_mm: float) -> np.ndarray:
    return ndimage.gaussian_filter(image.astype(np.float32, copy=False), sigma_mm / STEP_MM, truncate=3)


def _distance(where: np.ndarray) -> np.ndarray:
    """mm to the nearest voxel of a region; everywhere far where there is none."""
    return ndimage.distance_transform_edt(~where).astype(np.float32) * STEP_MM if where.any() else np.full(where.shape, 99.0, np.float32)


def _local_mean(image: np.ndarray, where: np.ndarray, sigma_mm: float, otherwise: float) -> np.ndarray:
    """The mean of the chosen voxels around each voxel; the value `otherwise` where none is near. Computed at 2 mm."""
    weight = where[::2, ::2, ::2].astype(np.float32)
    total = _smooth(image[::2, ::2, ::2] * weight, sigma_mm / 2) + 1e-3 * otherwise
    coarse = total / (_smooth(weight, sigma_mm / 2) + 1e-3)
    index = np.ix_(*(np.minimum(np.arange(size) // 2, n - 1) for size, n in zip(image.shape, coarse.shape, strict=True)))
    return _smooth(coarse[index], 1.0)
