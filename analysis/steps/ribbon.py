"""The cortex around the central sulcus of each side, on a grid fine enough to measure it: where each gyrus is, and what tissue.

Both sides share one fit of the pure tissues: fitted by side, noise in the fit would look like a difference between left and right. The
gyri come from the atlas by way of the placement of the head. What lies just outside the atlas's tissue (sulci, the space over the
convexity) goes to the nearest structure, so that a registration that is a millimetre off does not cut the cortex.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy import ndimage
from scipy.special import ndtr

from analysis import atlas
from analysis.examination import Examination
from analysis.outcome import NotMeasurable, Side
from analysis.steps.cortex import STEP_MM, finer, tissue_scale
from analysis.steps.head import brain_mask, head_on_template
from analysis.steps.space import Placement, coarser, lps_grid, onto, sample, share_inside
from analysis.steps.tissue import tissue_fractions
from analysis.volume import Volume
from analysis.words import say

GYRI = ("precentral_gyrus", "postcentral_gyrus")
SIDES: tuple[Side, ...] = ("left", "right")
MARGIN_MM = 9.0
OVERHANG_MM = 3.0
SOLID = 0.35  # grey and white matter of the template above which a place has a structure of its own
NORMAL_MM = 10.0
SURE_WHITE = 0.9
LEAST_BRIGHTNESS = 0.02  # below: outside a skull-stripped head
# The brightness of CSF and grey matter that a T1 makes one expect, in units of white matter, and how much that counts beside the histogram.
EXPECTED, EXPECTED_SD, EXPECTED_WEIGHT = np.array([0.2, 0.72]), np.array([0.1, 0.08]), np.array([0.006, 0.001])
GREY_STARTS = (0.66, 0.73, 0.80)
BINS = 160
MOST_SPREAD = 0.15  # of grey and white matter; beyond it the histogram has a single hump
LEAST_CONTRAST = 2.0  # of the spread: at 2.2 one head was measured 0.2 mm too thin, see precentral_gyrus
BOUNDS = [(0.03, 0.5), (0.55, 0.88), (0.95, 1.05), *[(-4.6, -1.6)] * 3, *[(-6.0, 6.0)] * 4]


@dataclass(frozen=True, eq=False)
class Gyri:
    """One side of the T1. `box`: its voxels around both gyri; `codes` (uint8) on them: see `code_of`; `inside`: the share of both
    gyri that lies inside the field of view, 0 to 1."""

    side: Side
    box: tuple[slice, slice, slice]
    codes: np.ndarray
    inside: float

    def mask(self, name: str) -> np.ndarray:
        """Where a gyrus with its surroundings lies in the box, boolean."""
        return self.codes == code_of(name, self.side)


@dataclass(frozen=True, eq=False)
class Ribbon:
    """One side on the fine grid: the tissue `scale`, and `near`, where the gyri are (boolean; `code_at` says which). `contrast`: (white -
    grey) over the spread of grey matter, of both sides."""

    side: Side
    scale: Volume
    near: np.ndarray
    contrast: float


def code_of(name: str, side: Side) -> int:
    return 1 + 2 * GYRI.index(name) + SIDES.index(side)


@dataclass(frozen=True, eq=False)
class Pure:
    """Brightness of pure CSF, grey and white matter, in units of white matter, and its spread in each."""

    means: np.ndarray
    spread: np.ndarray


@cache
def gyri_of_template() -> Volume:
    """The gyri on the template with their overhang, uint8: `code_of`, 0 elsewhere."""
    labels, table = atlas.labels("cortex"), [part for part in atlas.parts() if part.image == "cortex"]
    code = np.zeros(max(part.label for part in table) + 1, np.uint8)
    for part in table:
        if part.structure in GYRI:
            code[part.label] = code_of(part.structure, part.side)
    found = code[labels.array]
    solid = sum(onto(atlas.template()[name], labels) for name in ("grey", "white")) > SOLID
    taken = (labels.array > 0) | solid
    away, nearest = ndimage.distance_transform_edt(~taken, sampling=labels.spacing_mm, return_indices=True)
    return labels.with_array(np.where(away <= OVERHANG_MM, found[tuple(nearest)], 0).astype(np.uint8))


def gyri_on(place: Placement, grid: Volume) -> np.ndarray:
    """The codes of `gyri_of_template` on a grid of the patient."""
    return sample(gyri_of_template(), place.template_on(grid), order=0)


def code_at(place: Placement, grid: Volume, index: np.ndarray) -> np.ndarray:
    """The codes of `gyri_of_template` at voxels (n, 3) of a grid of the patient: shape (n,)."""
    lps = grid.lps_from_index[:3, :3] @ index.T + grid.lps_from_index[:3, 3:]
    template_lps = np.stack([sample(place.grid.with_array(axis), lps) for axis in place.template_lps])
    return sample(gyri_of_template(), template_lps, order=0)


def central_gyri(examination: Examination) -> tuple[Gyri, ...]:
    """Both gyri of each side on the T1. NotMeasurable where it holds none of them."""
    t1, place = examination.image("t1"), examination.once(head_on_template)
    return tuple(_gyri(t1, place, side) for side in SIDES)


def _gyri(t1: Volume, place: Placement, side: Side) -> Gyri:
    template = gyri_of_template()
    mine = np.isin(template.array, [code_of(name, side) for name in GYRI])
    inside = share_inside(t1, place, lps_grid(template)[:, mine][:, ::7])
    box = _region(place, t1, side)
    return Gyri(side, box, gyri_on(place, t1.part(box)), inside)


def central_ribbon(examination: Examination) -> tuple[Ribbon, ...]:
    """The cortex of each side on the fine grid. NotMeasurable where grey and white matter cannot be told apart there."""
    t1 = examination.image("t1")
    tissue, inside = examination.once(tissue_fractions), examination.once(brain_mask)
    even = t1.with_array(np.where(inside, tissue.even_t1, 0.0).astype(np.float32))
    gyri = examination.once(central_gyri)
    parts = [_normal(even.part(side.box), tissue.white[side.box]) for side in gyri]
    pure = _joint_fit(parts, [side.codes for side in gyri])
    return tuple(_ribbon(side, part, pure) for side, part in zip(gyri, parts, strict=True))


def _ribbon(gyri: Gyri, part: Volume, pure: Pure) -> Ribbon:
    fine = finer(part)
    index = [np.minimum(np.round(np.arange(n) * STEP_MM / mm).astype(int), m - 1)
             for n, mm, m in zip(fine.array.shape, part.spacing_mm, part.array.shape, strict=True)]  # fmt: skip
    near = (gyri.codes > 0)[np.ix_(*index)]
    contrast = float((pure.means[2] - pure.means[1]) / pure.spread[1])
    return Ribbon(gyri.side, fine.with_array(tissue_scale(fine.array, pure.means)), near, contrast)


def _region(place: Placement, t1: Volume, side: Side) -> tuple[slice, slice, slice]:
    """The voxels of the T1 around both gyri of a side."""
    codes = sample(gyri_of_template(), place.template_lps, order=0)
    mine = np.isin(codes, [code_of(name, side) for name in GYRI])
    if not mine.any():
        raise NotMeasurable(say("the T1 series does not hold the {side} central sulcus", side=side))
    index_from_index = np.linalg.inv(t1.lps_from_index) @ place.grid.lps_from_index
    index = np.argwhere(mine) @ index_from_index[:3, :3].T + index_from_index[:3, 3]
    margin = MARGIN_MM / t1.spacing_mm
    low = np.maximum(np.floor(index.min(axis=0) - margin), 0).astype(int)
    high = np.minimum(np.ceil(index.max(axis=0) + margin).astype(int) + 1, t1.array.shape)
    return tuple(slice(*ends) for ends in zip(low, high, strict=True))


def _normal(even: Volume, white: np.ndarray) -> Volume:
    """Brightness in units of the white matter nearby (a Gaussian of NORMAL_MM)."""
    sure = (white > SURE_WHITE).astype(np.float32)
    amount, bright = (coarser(even.with_array(array), 2.0) for array in (sure, sure * even.array))
    wide = NORMAL_MM / 2.0
    near, sum_near = ndimage.gaussian_filter(amount.array, wide), ndimage.gaussian_filter(bright.array, wide)
    level = np.where(near > 1e-3, sum_near / np.maximum(near, 1e-3), 1.0)
    # beyond the grid of 2 mm the field is 0: its margin of a voxel is nearest to 1
    field = onto(amount.with_array(level - 1.0), even) + 1.0
    return even.with_array((even.array / field).astype(np.float32))


def _joint_fit(parts: list[Volume], codes: list[np.ndarray]) -> Pure:
    """The pure tissues around the gyri of both sides together."""
    values = [part.array[(code > 0) & (part.array > LEAST_BRIGHTNESS)] for part, code in zip(parts, codes, strict=True)]
    return fit_pure_tissues(np.concatenate(values))


def fit_pure_tissues(values: np.ndarray) -> Pure:
    """Maximum likelihood on the histogram of brightness (n,) in units of white matter: three pure tissues, each with its own spread, and
    the mixtures of two neighbours. Bounded, from several starts, with weak expectations, as few voxels of a thin cortex are pure.

    NotMeasurable where grey and white matter lie closer than their spread allows.
    """
    from scipy import optimize

    low, high = np.percentile(values, [0.1, 99.9])
    counts, edges = np.histogram(values, BINS, (low, high))
    middle, share = (edges[1:] + edges[:-1]) / 2.0, counts / counts.sum()

    def cost(guess: np.ndarray) -> float:
        likely = (share * np.log(_density(middle, guess) * (edges[1] - edges[0]) + 1e-9)).sum()
        unlikely = ((guess[:2] - EXPECTED) / EXPECTED_SD) ** 2 @ EXPECTED_WEIGHT
        return unlikely + 0.001 * (guess[4] - guess[5]) ** 2 + 0.002 * (guess[4] - guess[3]) ** 2 - likely

    starts = ([EXPECTED[0], grey, 1.0, *[np.log(0.05)] * 3, 0.0, 0.0, 0.0, 0.0] for grey in GREY_STARTS)
    best = min((optimize.minimize(cost, start, method="L-BFGS-B", bounds=BOUNDS) for start in starts), key=lambda found: found.fun)
    means, spread = best.x[:3], np.exp(best.x[3:6])
    if max(spread[1:]) > MOST_SPREAD or means[2] - means[1] < LEAST_CONTRAST * max(spread[1:]):
        raise NotMeasurable(say(
            "grey and white matter around the central sulcus cannot be told apart: too much noise or too little contrast",
        ))
    return Pure(means, spread)


def _shares(guess: np.ndarray) -> np.ndarray:
    """The shares of CSF, grey, white, CSF-grey and grey-white; they add up to 1."""
    raw = np.exp(np.append(guess[6:], 0.0))
    return raw / raw.sum()


def _density(brightness: np.ndarray, guess: np.ndarray) -> np.ndarray:
    """How likely each brightness is. `guess`: three means, the logarithms of their three spreads, the logits of four shares."""
    means, spread = guess[:3], np.exp(guess[3:6])
    pure = [np.exp(-0.5 * ((brightness - mean) / sd) ** 2) / (sd * np.sqrt(2 * np.pi)) for mean, sd in zip(means, spread, strict=True)]
    mixed = []
    for low, high in ((0, 1), (1, 2)):
        sd = (spread[low] + spread[high]) / 2.0
        mixed.append((ndtr((brightness - means[low]) / sd) - ndtr((brightness - means[high]) / sd)) / (means[high] - means[low]))
    return _shares(guess) @ np.array(pure + mixed)
