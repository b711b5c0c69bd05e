"""How the phantom's patient differs from the template: place in the scanner, size, and a smooth individual shape.

The map goes from the patient to the template, so that any grid can be filled by looking up where each of its points comes from.
Everything follows from the seed. The template is larger than a living head (its mask holds 1.89 l), hence the mean scale below 1.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from analysis.phantom_focal import Push

MEAN_SCALE, SCALE_SPREAD = 0.91, 0.05
ASPECT_SPREAD = 0.02
HEAD_ROTATION_DEG, HEAD_SHIFT_MM = 4.0, 8.0
BUMP_MM, BUMP_SPACING_MM = 3.0, 48.0
LATTICE_MM = 6.0
REACH_MM = 216.0
CENTRE_MM = np.array([0.0, -18.0, 0.0])


def rotation(angles_deg: np.ndarray) -> np.ndarray:
    """Three small turns, about x, y and z in that order; 3 by 3."""
    from scipy.spatial.transform import Rotation

    return Rotation.from_euler("xyz", angles_deg, degrees=True).as_matrix()


@dataclass(frozen=True, eq=False)
class Shape:
    """`affine` 4 by 4 takes LPS mm of the patient to template RAS mm before the bumps; `bumps` (3, n, n, n), mm, on a lattice of
    LATTICE_MM around the template's CENTRE_MM; `scale` of the patient against the template, as a length. `pushes`: of masses."""

    affine: np.ndarray
    bumps: np.ndarray
    scale: float
    pushes: tuple[Push, ...] = ()

    @property
    def middle_mm(self) -> np.ndarray:
        """Where the template's CENTRE_MM lies in the patient, LPS mm."""
        return np.linalg.solve(self.affine[:3, :3], CENTRE_MM - self.affine[:3, 3])

    def template_from_lps(self, points_mm: np.ndarray) -> np.ndarray:
        """Where points of the patient (3, ...) come from in the template, RAS mm, float32."""
        from scipy import ndimage

        flat = points_mm.reshape(3, -1)
        straight = self.affine[:3, :3] @ flat + self.affine[:3, 3:]
        index = (straight - CENTRE_MM[:, None] + REACH_MM) / LATTICE_MM
        for k in range(3):
            straight[k] += ndimage.map_coordinates(self.bumps[k], index, order=1, mode="nearest")
        for push in self.pushes:
            straight = push.origin_of(straight)
        return straight.reshape(points_mm.shape).astype(np.float32)

    def pushed(self, pushes: tuple[Push, ...]) -> Shape:
        return replace(self, pushes=pushes)

    def jacobian(self, points_mm: np.ndarray, step_mm: float = 3.0) -> np.ndarray:
        """d template RAS / d patient LPS at points (3, n); shape (n, 3, 3)."""
        columns = []
        for k in range(3):
            step = np.zeros((3, 1))
            step[k] = step_mm
            ahead, behind = (self.template_from_lps(points_mm + sign * step) for sign in (1, -1))
            columns.append((ahead - behind) / (2 * step_mm))
        return np.stack(columns, axis=-1).transpose(1, 0, 2)

    def turns(self, points_mm: np.ndarray) -> np.ndarray:
        """The rotation that is nearest to the Jacobian (finite strain, Alexander 2001, 10.1109/42.963816); shape (n, 3, 3)."""
        turn = self.jacobian(points_mm).astype(np.float64)
        for _ in range(5):
            turn = (turn + np.linalg.inv(turn).transpose(0, 2, 1)) / 2
        return turn


def shape_of(seed: int) -> Shape:
    """The individual head of a seed; seed and shape are one to one."""
    from scipy import ndimage

    random = np.random.default_rng([seed, 1])
    scale = MEAN_SCALE * (1 + random.uniform(-SCALE_SPREAD, SCALE_SPREAD))
    stretch = scale * (1 + random.uniform(-ASPECT_SPREAD, ASPECT_SPREAD, 3))
    turn = rotation(random.uniform(-HEAD_ROTATION_DEG, HEAD_ROTATION_DEG, 3))
    affine = np.eye(4)
    affine[:3, :3] = np.diag(1 / stretch) @ turn @ np.diag([-1, -1, 1])
    affine[:3, 3] = CENTRE_MM - affine[:3, :3] @ random.uniform(-HEAD_SHIFT_MM, HEAD_SHIFT_MM, 3)
    count = int(2 * REACH_MM / LATTICE_MM) + 1
    knots = int(2 * REACH_MM / BUMP_SPACING_MM) + 1
    coarse = random.uniform(-BUMP_MM, BUMP_MM, (3, knots, knots, knots))
    bumps = np.stack([ndimage.zoom(k, count / knots, order=3, mode="nearest", grid_mode=True) for k in coarse])
    return Shape(affine, bumps.astype(np.float32), float(scale))
