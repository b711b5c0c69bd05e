"""Rigid registration of two images of one patient: the patient moved between two images, the brain kept its shape. Affine where eddy
currents sheared the image itself.

Mutual information (Mattes) by SimpleITK, inside a mask. It needs a start within some 5 mm and 5 degrees: that is `nearest_start`, which
searches widely with a measure that is cheap on few points.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np

from analysis.steps.space import SEED
from analysis.volume import Volume

SHARE_SAMPLED = (0.2, 0.05)
SHRINK, SMOOTH_MM = (2, 1), (2.0, 0.7)
BINS, ROUNDS = 40, 80
SHIFTS_MM, TURNS_DEG = (-20.0, -10.0, 0.0, 10.0, 20.0), (-12.0, 0.0, 12.0)


def sitk_image(volume: Volume):
    """The volume as a SimpleITK image, float32, in LPS."""
    import SimpleITK as sitk

    image = sitk.GetImageFromArray(np.ascontiguousarray(volume.array, dtype=np.float32))
    columns = volume.lps_from_index[:3, :3] / volume.spacing_mm
    image.SetSpacing([float(size) for size in volume.spacing_mm[::-1]])
    image.SetOrigin([float(at) for at in volume.lps_from_index[:3, 3]])
    image.SetDirection(columns[:, ::-1].ravel().tolist())
    return image


def nearest_start(worth: Callable[[np.ndarray], float], middle: np.ndarray) -> np.ndarray:
    """The rigid map, 4 by 4, with the largest `worth` near the identity: the best shift of a lattice, then the best turn about `middle`
    (LPS, mm), then a local search from there and from the identity."""
    from scipy.optimize import minimize

    def cost(parameters: np.ndarray) -> float:
        return -worth(rigid_map(parameters, middle))

    still = np.zeros(3)
    shift = min(itertools.product(SHIFTS_MM, repeat=3), key=lambda at: cost(np.r_[still, at]))
    turn = min(itertools.product(TURNS_DEG, repeat=3), key=lambda by: cost(np.r_[by, shift]))
    options = {"xtol": 0.2, "ftol": 1e-3, "maxiter": 6}
    found = [minimize(cost, start, method="Powell", options=options) for start in (np.zeros(6), np.r_[turn, shift])]
    return rigid_map(min(found, key=lambda one: one.fun).x, middle)


def rigid_map(parameters: np.ndarray, middle: np.ndarray) -> np.ndarray:
    """A turn about `middle` by three angles (degrees, about x, y, z) and then a shift (mm): 4 by 4."""
    from scipy.spatial.transform import Rotation

    whole = np.eye(4)
    whole[:3, :3] = Rotation.from_euler("xyz", parameters[:3], degrees=True).as_matrix()
    whole[:3, 3] = middle + parameters[3:] - whole[:3, :3] @ middle
    return whole


def moving_from_fixed(fixed: Volume, moving: Volume, inside: np.ndarray, start: np.ndarray, *, is_affine: bool = False) -> np.ndarray:
    """Where the positions (LPS, mm) of `fixed` are in `moving`: a rigid 4 by 4 map, or an affine one. `inside`: where in `fixed` the two
    are compared; `start`: a rigid map that is nearly right."""
    import SimpleITK as sitk

    still, mover = sitk_image(fixed), sitk_image(moving)
    middle = (fixed.lps_from_index @ [*((np.array(fixed.array.shape) - 1) / 2), 1.0])[:3]
    turn = sitk.AffineTransform(3) if is_affine else sitk.Euler3DTransform()
    turn.SetCenter(middle.tolist())
    turn.SetMatrix(start[:3, :3].ravel().tolist(), *(() if is_affine else (1e-5,)))
    turn.SetTranslation((start[:3, :3] @ middle + start[:3, 3] - middle).tolist())
    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsMattesMutualInformation(BINS)
    method.SetMetricFixedMask(sitk.Cast(sitk_image(fixed.with_array(inside.astype(np.float32))), sitk.sitkUInt8))
    method.SetMetricSamplingStrategy(method.RANDOM)
    method.SetMetricSamplingPercentagePerLevel(SHARE_SAMPLED, SEED)
    method.SetInterpolator(sitk.sitkLinear)
    method.SetOptimizerAsRegularStepGradientDescent(1.0, 1e-4, ROUNDS, relaxationFactor=0.6, gradientMagnitudeTolerance=1e-8)
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetShrinkFactorsPerLevel(SHRINK)
    method.SetSmoothingSigmasPerLevel(SMOOTH_MM)
    method.SmoothingSigmasAreSpecifiedInPhysicalUnitsOn()
    method.SetInitialTransform(turn, inPlace=True)
    method.Execute(still, mover)
    return matrix_of(turn)


def matrix_of(transform) -> np.ndarray:
    """The 4 by 4 map of a rigid or affine SimpleITK transform."""
    matrix, centre = np.array(transform.GetMatrix()).reshape(3, 3), np.array(transform.GetCenter())
    whole = np.eye(4)
    whole[:3, :3], whole[:3, 3] = matrix, np.array(transform.GetTranslation()) + centre - matrix @ centre
    return whole
