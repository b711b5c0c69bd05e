"""Where the template has what the lesion detector asks about, at any of its positions: tissues, ventricles, cerebellum and brainstem.

The template's own maps, no atlas of ours: a ventricle is the fluid in the middle of each half of the brain; what lies below a surface
like the tentorium is infratentorial. Positions are LPS mm, (3, ...).
"""

from __future__ import annotations

from functools import cache

import numpy as np
from scipy import ndimage

from analysis import atlas
from analysis.steps.lesion_features import Priors
from analysis.steps.space import lps_grid, sample
from analysis.volume import Volume

FLUID = 0.5
# y and z in RAS: the middle of the tentorium, how much it falls to the sides and backwards, and the front of the cerebellum
TENTORIUM_Z_MM, FALLS_ASIDE, FALLS_BACK, FALLS_FROM_Y_MM, FRONT_Y_MM = -2.0, 0.45, 0.25, -62.0, -28.0
STEM_MM = 3.0


def priors_at(template_lps: np.ndarray) -> Priors:
    """The template's tissues at those positions."""
    white, grey, inside = (sample(_soft(name), template_lps) for name in ("white", "grey", "inside"))
    ventricle = sample(ventricle_layer(), template_lps) > 0.5
    fluid = np.clip(inside - grey - white, 0, 1)
    return Priors(white, grey, fluid, ventricle, inside > 0.5)


@cache
def _soft(name: str) -> Volume:
    layer = atlas.template()[name]
    return layer.with_array(layer.array.astype(np.float32))


@cache
def ventricle_layer() -> Volume:
    """The lateral ventricles on the template at 2 mm, 0 or 1."""
    layers = atlas.template()
    x, y, z = lps_grid(layers["inside"])
    fluid = layers["inside"].array & (layers["grey"].array + layers["white"].array < FLUID)
    found = np.zeros(fluid.shape, bool)
    for side in (-1, 1):
        box = (x * side > 1) & (x * side < 38) & (-y > -58) & (-y < 36) & (z > 0) & (z < 32)
        names, count = ndimage.label(fluid & box)
        sizes = ndimage.sum_labels(fluid & box, names, range(1, count + 1))
        found |= names == 1 + int(np.argmax(sizes))
    return layers["inside"].with_array(found.astype(np.float32))


def infratentorial(template_lps: np.ndarray) -> np.ndarray:
    """Whether positions lie in the brainstem or the cerebellum: boolean."""
    x, y, z = template_lps[0], -template_lps[1], template_lps[2]
    roof = TENTORIUM_Z_MM - FALLS_ASIDE * np.abs(x) - FALLS_BACK * np.maximum(FALLS_FROM_Y_MM - y, 0)
    return (y < FRONT_Y_MM) & (z < roof) | (sample(_stem(), template_lps, order=0) > 0)


@cache
def _stem() -> Volume:
    """The brainstem with a margin, 0 or 1, on the atlas at 1 mm."""
    labels = atlas.labels("brainstem")
    near = ndimage.distance_transform_edt(labels.array == 0) <= STEM_MM
    return labels.with_array(near.astype(np.uint8))
