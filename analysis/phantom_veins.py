"""The veins of the phantom's SWI: dark lines in the sulci around the motor cortex, and the superior sagittal sinus.

Every phantom has them, healthy or not, so that a marker that takes a vein for dark cortex shows it. They run where the template has
fluid in the central, the precentral and the postcentral sulcus: one along each sulcus and a few that come up from its floor to it. Course,
calibre and number follow from the seed. They are part of no finding, and the truth about the cortex does not know them.
"""

from __future__ import annotations

import numpy as np

from analysis.phantom_head import ORIGIN_MM, SHAPE, Head, axes_mm
from analysis.phantom_regions import sulcus_ends_z_mm, sulcus_y_mm

VEIN_LOSS, SINUS_LOSS = 0.85, 0.8
DIAMETER_MM = (1.0, 2.0)
BRANCHES = (3, 7)
ALONG_MM = (9.0, 60.0)
DEPTH = (0.15, 1.0)  # of the sulcus: 0 its floor, 1 its mouth
POSTCENTRAL_MM = 15.0  # behind the central sulcus
STEP_MM, KNOTS, BRANCH_POINTS = 0.4, 7, 60
SINUS_RADIUS_MM, SINUS_Y_MM = 3.5, (-85, 60)


def vein_loss(head: Head, seed: int) -> np.ndarray:
    """The share of the SWI signal that veins take, on the template: float32, 0 to VEIN_LOSS."""
    random = np.random.default_rng([seed, 6])
    loss = np.zeros(SHAPE, np.float32)
    for side in (-1, 1):
        for name, behind_mm in (("central", 0.0), ("precentral", 0.0), ("central", POSTCENTRAL_MM)):
            for across, depth in _courses(random):
                line = _line(name, behind_mm, side * across, depth)
                _paint(loss, line, random.uniform(*DIAMETER_MM) / 2, VEIN_LOSS)
    _paint(loss, _sinus(head), SINUS_RADIUS_MM, SINUS_LOSS)
    return loss


def sinus_share(head: Head) -> np.ndarray:
    """How much of each voxel the superior sagittal sinus fills, 0 to 1."""
    share = np.zeros(SHAPE, np.float32)
    _paint(share, _sinus(head), SINUS_RADIUS_MM, 1.0)
    return share


def _courses(random: np.random.Generator) -> list[tuple[np.ndarray, np.ndarray]]:
    """|x| and depth of the points of each vein of one sulcus: the one that runs along it, then those that come up to it."""
    across = np.arange(*ALONG_MM, STEP_MM)
    made = [(across, np.interp(across, np.linspace(*ALONG_MM, KNOTS), random.uniform(*DEPTH, KNOTS)))]
    for _ in range(random.integers(*BRANCHES)):
        rise = np.linspace(0, 1, BRANCH_POINTS)
        made.append((random.uniform(*ALONG_MM) + random.uniform(-6, 6) * rise, random.uniform(0, 0.2) + 0.75 * rise))
    return made


def _line(name: str, behind_mm: float, x: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """Points (3, n) in the fluid of a sulcus: RAS mm."""
    from scipy import ndimage

    low, top = sulcus_ends_z_mm(name, x)
    z = low + (top - low) * depth
    y = ndimage.map_coordinates(sulcus_y_mm(name, behind_mm), [x - ORIGIN_MM[0], z - ORIGIN_MM[2]], order=1)
    return np.stack([x, y, z])


def _sinus(head: Head) -> np.ndarray:
    """The superior sagittal sinus: along the inner table of the skull in the middle; RAS mm (3, n)."""
    x, _, _ = axes_mm()
    middle = head.inside_skull[int(np.argmin(np.abs(x.ravel())))]
    y = np.arange(*SINUS_Y_MM, STEP_MM)
    rows = np.round(y - ORIGIN_MM[1]).astype(int)
    top = SHAPE[2] - 1 - np.argmax(middle[:, ::-1], axis=1)
    return np.stack([np.zeros_like(y), y, top[rows] + ORIGIN_MM[2] + 1.5])


def _paint(loss: np.ndarray, line: np.ndarray, radius_mm: float, depth: float) -> None:
    """A tube around a line, with an edge of 1 mm, into `loss`."""
    from scipy.spatial import cKDTree

    points = (line - ORIGIN_MM[:, None]).T
    low, high = np.floor(points.min(0) - radius_mm - 2).astype(int), np.ceil(points.max(0) + radius_mm + 2).astype(int)
    box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    index = np.stack(np.meshgrid(*(np.arange(a, b) for a, b in zip(low, high, strict=True)), indexing="ij"), axis=-1)
    distance = cKDTree(points).query(index, distance_upper_bound=radius_mm + 1)[0]
    loss[box] = np.maximum(loss[box], np.clip(0.5 + radius_mm - distance, 0, 1) * np.float32(depth))
