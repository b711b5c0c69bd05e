"""Where a functional series lies on the T1 and on the template, and what tissue its voxels hold.

The mean volume is laid rigidly over the T1, where the T1's tissues and a smooth field explain most of its brightness, and is then where the
T1 is; the head is warped to the template once per study. Mutual information moved the one real series that was tried by 13 mm away from
where the headers had it right: coils make echo-planar images several times brighter near the surface. Such images are distorted most at
the frontal base and little at the vertex, where the motor cortex is; nothing is unwarped.

The motor area of a side is the precentral gyrus of the atlas with a margin of 3 mm, the hand area its part of that name. The supplementary
motor area is not part of the atlas and is not counted.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from analysis import atlas
from analysis.examination import Examination
from analysis.outcome import NotMeasurable
from analysis.steps.coregistration import LEAST_SHARED, fitted_share, rough_map, tissues_on
from analysis.steps.head import head_on_template
from analysis.steps.ribbon import SIDES, code_of, gyri_of_template
from analysis.steps.rigid import rigid_map
from analysis.steps.space import Placement, coarser, lps_grid, onto, sample, share_inside
from analysis.steps.tissue import Tissue, tissue_fractions
from analysis.volume import Volume
from analysis.words import say

LEAST_COVERED, LEAST_HAND = 0.8, 0.95  # of the motor areas of both sides, and of their hand areas
COARSEST_MM = 5.0  # the precentral gyrus is some 10 to 15 mm wide
WHOLE, PURE = 0.5, 0.9
POINTS_MM, MARGIN = 4.0, 2  # of the search: how far apart its points lie, and how far it looks beyond the brain, in points
LEAST_EXPLAINED = 0.5
HEAD = 0.25  # of the bright end: signal against dropout


@dataclass(frozen=True, eq=False)
class BoldPlace:
    """On the grid of the functional series (slice, row, column), boolean: `brain`, its `white` matter and `fluid` well inside, and by side
    the `motor` area and the `hand` area; `grey`: the share of grey matter in each voxel. `t1_from_series`: the rigid map of its positions
    to those of the T1, 4 by 4, LPS mm."""

    grid: Volume
    t1_from_series: np.ndarray
    brain: np.ndarray
    white: np.ndarray
    fluid: np.ndarray
    grey: np.ndarray
    motor: dict[str, np.ndarray]
    hand: dict[str, np.ndarray]

    def on_t1(self, array: np.ndarray, t1: Volume) -> np.ndarray:
        """An array of the series' grid on that of the T1, by the nearest voxel, float32."""
        return onto(Volume(np.asarray(array, np.float32), self.t1_from_series @ self.grid.lps_from_index), t1, order=0)


def bold_place(examination: Examination, mean: Volume) -> BoldPlace:
    """Where the mean volume of a series lies. NotMeasurable where that cannot be said, or where it does not hold the motor cortex."""
    refuse_coarse(mean)
    t1, tissue, head = examination.image("t1"), examination.once(tissue_fractions), examination.once(head_on_template)
    t1_from_series = over_t1(t1, tissue, mean)
    in_t1 = Volume(mean.array, t1_from_series @ mean.lps_from_index)
    refuse_slab(in_t1, head)
    template_lps = head.template_on(in_t1)
    csf, grey, white = tissues_on(mean, t1, tissue, t1_from_series)
    signal = mean.array > HEAD * np.percentile(mean.array, 98)
    brain = (csf + grey + white > WHOLE) & signal
    code = sample(gyri_of_template(), template_lps, order=0)
    part = sample(atlas.labels("cortex"), template_lps, order=0)
    motor = {side: (code == code_of("precentral_gyrus", side)) & brain for side in SIDES}
    hand = {side: (part == _hand_label(side)) & brain for side in SIDES}
    deep = ndimage.binary_erosion(white > PURE) & brain
    return BoldPlace(mean, t1_from_series, brain, deep, (csf > PURE) & brain, grey, motor, hand)


def over_t1(t1: Volume, tissue: Tissue, mean: Volume) -> np.ndarray:
    """The rigid map of the positions of a series to those of the T1, 4 by 4, LPS mm. It starts where the headers say that the series is,
    and where a wide search finds it. NotMeasurable where the tissues explain little of it."""
    from scipy.optimize import minimize

    parts = [coarser(t1.with_array(part), POINTS_MM) for part in (tissue.csf, tissue.grey, tissue.white)]
    tissues = np.stack([part.array for part in parts])
    near = ndimage.binary_dilation(tissues.sum(0) > WHOLE, iterations=MARGIN)
    points = lps_grid(parts[0])[:, near].astype(float)
    middle, terms = points.mean(1), _terms(tissues[:, near], points)
    small = coarser(mean, POINTS_MM / 2)
    index_from_lps, limit = np.linalg.inv(small.lps_from_index), np.array(small.array.shape)[:, None] - 1

    def worth(series_from_t1: np.ndarray) -> float:
        matrix = index_from_lps @ series_from_t1
        index = matrix[:3, :3] @ points + matrix[:3, 3:]
        seen = ((index >= 0) & (index <= limit)).all(0)
        if seen.sum() < LEAST_SHARED * seen.size:
            return 0.0
        return fitted_share(ndimage.map_coordinates(small.array, index[:, seen], order=1), terms[seen])

    found = []
    for start in (np.eye(4), rough_map(t1, tissue, mean)):
        best = minimize(lambda by, start=start: -worth(start @ rigid_map(by, middle)), np.zeros(6), method="Powell",
                        options={"xtol": 0.02, "ftol": 1e-5, "maxiter": 8})  # fmt: skip
        found.append((-float(best.fun), start @ rigid_map(best.x, middle)))
    explained, series_from_t1 = max(found, key=lambda one: one[0])
    if explained < LEAST_EXPLAINED:
        raise NotMeasurable(
            say("the functional series does not lie over the T1 series: the tissues of the T1 explain {share:.0f} % of its brightness, "
                "at least {least:.0f} % are needed", share=100 * explained, least=100 * LEAST_EXPLAINED)
        )  # fmt: skip
    return np.linalg.inv(series_from_t1)


def _terms(tissues: np.ndarray, points: np.ndarray) -> np.ndarray:
    """The tissues (3, n) and how they change with place (3, n): (n, 12)."""
    x, y, z = (points - points.mean(1, keepdims=True)) / 60.0
    brain = tissues.sum(0)
    return np.stack([*tissues, *(brain * term for term in (x, y, z, x * x, y * y, z * z, x * y, y * z, x * z))], axis=1)


def refuse_slab(grid: Volume, head: Placement) -> None:
    """NotMeasurable where the field of view, in the space of the T1, does not hold the motor cortex."""
    gyri, hands = gyri_of_template(), atlas.labels("cortex")
    whole = np.isin(gyri.array, [code_of("precentral_gyrus", side) for side in SIDES])
    hand = np.isin(hands.array, [_hand_label(side) for side in SIDES])
    for mask, volume, least, name in ((hand, hands, LEAST_HAND, say("hand areas")), (whole, gyri, LEAST_COVERED, say("motor cortex"))):
        covered = share_inside(grid, head, lps_grid(volume)[:, mask][:, ::7])
        if covered < least:
            raise NotMeasurable(say("the functional series holds {share:.0f} % of the {part}; at least {least:.0f} % are needed",
                                    share=100 * covered, part=name, least=100 * least))  # fmt: skip


def refuse_coarse(mean: Volume) -> None:
    """NotMeasurable where voxels are too coarse to tell the two sides and the gyrus."""
    if mean.spacing_mm.max() > COARSEST_MM + 0.05:
        raise NotMeasurable(
            say("voxels of up to {longest:.1f} mm are too coarse for the motor cortex: at most {most:g} mm are needed",
                longest=float(mean.spacing_mm.max()), most=COARSEST_MM)
        )  # fmt: skip


def _hand_label(side: str) -> int:
    return next(one.label for one in atlas.parts() if (one.structure, one.side, one.level) == ("precentral_gyrus", side, "hand"))
