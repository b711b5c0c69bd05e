"""The profile of the tract: 100 nodes from the pons to the cortex, the same places in everybody.

The nodes stand at equal steps along the middle of the atlas's tract, each at a fixed height of the template. A streamline counts at a node
where it passes that height, the more the nearer it is to the mean of all. Where the field of view, or all but a few streamlines, end before
a node, the node has no value.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from analysis import atlas
from analysis.steps.space import lps_grid, sample
from analysis.steps.tractography import Streamlines
from analysis.volume import Volume

NODES = 100
LOWEST_Z, HIGHEST_Z = -36.0, 56.0  # template mm: mid pons, under the precentral gyrus; streamlines end unevenly beyond
LEAST_STREAMLINES = 20  # at a node


@cache
def node_heights_mm(side: str) -> np.ndarray:
    """The template heights of the nodes, (100,): equal steps along the middle of the atlas's tract."""
    labels = atlas.labels("tracts")
    mine = np.isin(labels.array, [part.label for part in atlas.parts() if part.structure == "cst" and part.side == side])
    points = lps_grid(labels)[:, mine]
    heights = np.arange(LOWEST_Z, HIGHEST_Z + 0.5, 4.0)
    middle = np.stack([points[:, np.abs(points[2] - height) <= 3.0].mean(1) for height in heights])
    middle[:, 2] = heights
    way_mm = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(middle, axis=0), axis=1))])
    return np.interp(np.linspace(0.0, way_mm[-1], NODES), way_mm, heights)


def at_nodes(streamlines: Streamlines) -> np.ndarray:
    """Where each streamline passes each node: (streamline, 100, 3), LPS mm; NaN where it does not reach."""
    heights = node_heights_mm(streamlines.side)
    passed = np.full((len(streamlines.lines), NODES, 3), np.nan)
    for place, line, points in zip(passed, streamlines.lines, streamlines.template_lps, strict=True):
        rising = np.maximum.accumulate(points[:, 2])
        first = np.concatenate([[True], np.diff(rising) > 0])
        for axis in range(3):
            place[:, axis] = np.interp(heights, rising[first], line[first, axis], left=np.nan, right=np.nan)
    return passed


def node_weights(passed: np.ndarray) -> np.ndarray:
    """How much each streamline counts at each node, (streamline, 100): Gaussian by its distance from their mean, whose width is the root
    mean square of the distances (Yeatman 2012, 10.1371/journal.pone.0049790). 0 where it does not reach, and where few do."""
    reach = np.isfinite(passed[..., 0])
    count = reach.sum(0)
    points = np.where(reach[..., None], passed, 0.0)
    apart = np.where(reach[..., None], points - points.sum(0) / np.maximum(count, 1)[:, None], 0.0)
    square = (apart**2).sum(-1)
    width = np.maximum(square.sum(0) / np.maximum(count, 1), 1e-6)
    return np.where(reach & (count >= LEAST_STREAMLINES), np.exp(-square / (2.0 * width)), 0.0)


def profile(streamlines: Streamlines, values: Volume) -> np.ndarray:
    """The values of a map at the nodes, (100,); NaN where a node has none. Voxels of the map that are 0 do not count."""
    passed = at_nodes(streamlines)
    weights = node_weights(passed)
    points = np.moveaxis(np.where(np.isfinite(passed), passed, 0.0), -1, 0)
    # both are interpolated, so that the zeros outside the brain do not pull the mean down
    held = sample(values.with_array((values.array != 0).astype(np.float32)), points)
    found = sample(values, points)
    whole = (weights * held).sum(0)
    return np.where(whole > 0, (weights * found).sum(0) / np.where(whole > 0, whole, 1.0), np.nan)
