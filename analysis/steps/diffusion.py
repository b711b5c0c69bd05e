"""The diffusion series: its brain, its tensor, and where it lies on the template.

Motion is taken out first, then distortion where a second series tells it. The tensor is fitted by weighted least squares (dipy) to the
volumes with b up to 1500 s/mm² where there are enough of them, to all otherwise, and that is said. The placement needs no T1: b = 0 gives
place and scale, anisotropy against the white matter of the template gives the shape.

Noise is left as it is: MP-PCA (dipy) on a phantom (seed 11, signal to noise 25, two scans) lowered FA of the tract's levels by 0.004 and
brought its retest from 0.0047 to 0.0043 only, for 40 s.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

from analysis import atlas
from analysis.examination import Examination
from analysis.outcome import NotMeasurable
from analysis.steps.diffusion_motion import Steady, steadied
from analysis.steps.diffusion_prediction import B_ZERO_S_MM2
from analysis.steps.gradient_check import check_course, check_on_template
from analysis.steps.space import Placement, ants_image, ants_scratch, around, similarity_of, warped_onto
from analysis.steps.susceptibility import undistorted
from analysis.volume import Diffusion, Volume
from analysis.words import joined, say

B_TENSOR_S_MM2 = 1500.0  # above, the signal is no longer that of one Gaussian tensor
LEAST_DIRECTIONS = 6
LARGEST_DIFFUSIVITY = 3.2e-3  # mm²/s: free water at body temperature, and a little
CSF_DIFFUSIVITY = 1.8e-3
EDGE_MM, AROUND_MM = 3.0, 6.0
LEAST_SIMILARITY = 0.45
WARP_ITERATIONS = (40, 20, 0)


@dataclass(frozen=True, eq=False)
class Tensor:
    """Maps on the grid of the diffusion series, float32, 0 outside the brain. Diffusivities in mm²/s.

    `direction` (slice, row, column, 3): the principal direction in LPS. `components` (slice, row, column, 6): the tensor itself in LPS, xx,
    yy, zz, xy, xz, yz. `note`: what the reader has to know of the fit, or None; `distortion`: whether distortion was corrected, a sentence.
    """

    brain: np.ndarray
    b_zero: Volume
    fa: np.ndarray
    md: np.ndarray
    rd: np.ndarray
    ad: np.ndarray
    direction: np.ndarray
    components: np.ndarray
    directions: int
    b_value_s_mm2: float
    note: str | None
    distortion: str | None = None


def diffusion_tensor(examination: Examination) -> Tensor:
    """The tensor of the diffusion series. NotMeasurable without a b = 0 volume or six different directions, or where the directions do not
    follow the fibres."""
    steady = examination.once(steady_diffusion)
    series, brain, distortion = upright(steady.series)
    chosen, note = volumes_for_tensor(series)
    is_zero = series.b_values_s_mm2 <= B_ZERO_S_MM2
    b_zero = series.mean_where(is_zero)
    fit = fit_tensor(series, chosen, brain)
    unchecked = check_course(b_zero.with_array(fit[0]), fit[4], brain)
    weighted = chosen & ~is_zero
    note = joined(filter(None, (note, steady.words(), unchecked)), " ") or None
    return Tensor(brain, b_zero, *fit, int(weighted.sum()), float(np.median(series.b_values_s_mm2[weighted])), note, distortion)


def steady_diffusion(examination: Examination) -> Steady:
    """The diffusion series without the motion of the head. NotMeasurable where it cannot give a tensor, or shows no brain."""
    series = examination.image("dwi")
    volumes_for_tensor(series)
    b_zero = series.mean_where(series.b_values_s_mm2 <= B_ZERO_S_MM2)
    away_mm = ndimage.distance_transform_edt(~diffusion_brain(b_zero), sampling=b_zero.spacing_mm)
    return steadied(series, away_mm <= AROUND_MM)


def upright(series: Diffusion) -> tuple[Diffusion, np.ndarray, str]:
    """The series without distortion where that can be told, its brain, boolean, and a sentence about it."""
    is_zero = series.b_values_s_mm2 <= B_ZERO_S_MM2
    b_zero = series.mean_where(is_zero)
    brain = diffusion_brain(b_zero)
    found, words = undistorted(series, b_zero, brain)
    return found, brain if found is series else diffusion_brain(found.mean_where(is_zero)), words


def volumes_for_tensor(series: Diffusion) -> tuple[np.ndarray, str | None]:
    """Which volumes the tensor is fitted to, boolean, and a sentence where they are not the ideal ones."""
    b = series.b_values_s_mm2
    is_zero, low = b <= B_ZERO_S_MM2, b <= B_TENSOR_S_MM2
    if not is_zero.any():
        raise NotMeasurable(say("the diffusion series has no volume without diffusion weighting (b = 0)"))
    if independent(series.b_vectors_lps[low & ~is_zero]) >= LEAST_DIRECTIONS:
        return low, None
    found = independent(series.b_vectors_lps[~is_zero])
    if found < LEAST_DIRECTIONS:
        raise NotMeasurable(say(
            "the diffusion series has {found} independent directions; a tensor needs at least {least}",
            found=found, least=LEAST_DIRECTIONS,
        ))
    return np.ones(len(b), bool), (
        say(
            "The tensor was fitted at b {b_s_mm2:.0f} s/mm², above {usual_s_mm2:.0f}: diffusivities read low, and values do not "
            "compare with those at b 1000.",
            b_s_mm2=float(np.median(b[~is_zero])), usual_s_mm2=B_TENSOR_S_MM2,
        )
    )


def independent(vectors: np.ndarray) -> int:
    """How many independent measurements of a tensor the directions (n, 3) make: the rank of their products, at most 6."""
    if len(vectors) == 0:
        return 0
    x, y, z = vectors.T
    return int(np.linalg.matrix_rank(np.stack([x * x, y * y, z * z, x * y, x * z, y * z], axis=1), tol=0.05))


def diffusion_brain(b_zero: Volume, shrink: int = 2) -> np.ndarray:
    """The brain in the b = 0 image, boolean: bright once the coils' uneven field is taken out, in one piece, filled. Fat is dark there, as
    diffusion series suppress it. `shrink`: every how many voxels the field is looked at. NotMeasurable where nothing is left."""
    from skimage.filters import threshold_otsu

    if not np.any(b_zero.array > 0):
        raise NotMeasurable(say("the diffusion series is empty"))
    with ants_scratch() as (ants, _):
        even = ants.n4_bias_field_correction(ants_image(b_zero), shrink_factor=shrink).numpy()
    smooth = ndimage.gaussian_filter(even, 1.5 / b_zero.spacing_mm)
    found = ndimage.binary_opening(smooth > 0.5 * threshold_otsu(smooth[smooth > np.percentile(smooth, 20)]), ball_of(5.0, b_zero))
    pieces, count = ndimage.label(found)
    if count == 0:
        raise NotMeasurable(say("no brain was found in the diffusion series"))
    found = pieces == 1 + int(np.argmax(ndimage.sum_labels(found, pieces, range(1, count + 1))))
    edge = ball_of(8.0, b_zero)
    wide = [(size // 2, size // 2) for size in edge.shape]
    closed = ndimage.binary_closing(np.pad(found, wide, mode="edge"), edge)
    return ndimage.binary_fill_holes(closed[tuple(slice(n, -n or None) for n, _ in wide)])


def ball_of(radius_mm: float, grid: Volume) -> np.ndarray:
    """The voxels within a radius of one: a boolean array of odd size."""
    axes = [np.arange(-n, n + 1) * step for n, step in zip((radius_mm / grid.spacing_mm).astype(int), grid.spacing_mm, strict=True)]
    return np.sqrt(sum(axis**2 for axis in np.meshgrid(*axes, indexing="ij"))) <= radius_mm


def fit_tensor(series: Diffusion, chosen: np.ndarray, brain: np.ndarray) -> tuple[np.ndarray, ...]:
    """FA, MD, RD, AD, the principal direction and the tensor of every voxel of the brain, from the chosen volumes."""
    from dipy.core.gradients import gradient_table
    from dipy.reconst.dti import TensorModel

    b, vectors = series.b_values_s_mm2[chosen], series.b_vectors_lps[chosen]
    table = gradient_table(
        np.where(b <= B_ZERO_S_MM2, 0.0, b), bvecs=np.where((b <= B_ZERO_S_MM2)[:, None], 0.0, vectors), b0_threshold=B_ZERO_S_MM2
    )
    signal = np.maximum(series.array[brain][:, chosen], 1e-3)
    fit = TensorModel(table, fit_method="WLS", min_signal=1e-3).fit(signal)
    values = np.clip(fit.evals, 1e-6, LARGEST_DIFFUSIVITY)
    mean = values.mean(-1)
    spread = ((values - mean[:, None]) ** 2).sum(-1)
    maps = (np.sqrt(1.5 * spread / (values**2).sum(-1)), mean, values[:, 1:].mean(-1), values[:, 0], fit.evecs[:, :, 0])
    whole = np.einsum("nik,nk,njk->nij", fit.evecs, values, fit.evecs)
    maps += (whole[:, (0, 1, 2, 0, 0, 1), (0, 1, 2, 1, 2, 2)],)
    return tuple(_map(values, brain) for values in maps)


def _map(values: np.ndarray, brain: np.ndarray) -> np.ndarray:
    whole = np.zeros(brain.shape + values.shape[1:], np.float32)
    whole[brain] = np.nan_to_num(values)
    return whole


def diffusion_on_template(examination: Examination) -> Placement:
    """Where the diffusion series lies on the template, on its own grid. NotMeasurable where it is not a brain, or where its directions are
    not those of the anatomy."""
    tensor = examination.once(diffusion_tensor)
    grid = tensor.b_zero
    layers = atlas.template()
    near = around(layers["inside"], 4)
    white, inside = layers["white"].part(near), layers["inside"].part(near)
    edge_mm = ndimage.distance_transform_edt(tensor.brain, sampling=grid.spacing_mm)
    anisotropy = np.where((edge_mm > EDGE_MM) & (tensor.md < CSF_DIFFUSIVITY), tensor.fa, 0.0)
    with ants_scratch() as (ants, _):
        still = ants_image(grid.with_array(grid.array * tensor.brain))
        brain, fibres = ants_image(layers["brain"].part(near)), ants_image(white)
        options = {"aff_metric": "mattes", "aff_random_sampling_rate": 0.5}
        found = ants.registration(brain, still, "Rigid", **options)
        found = ants.registration(brain, still, "Similarity", initial_transform=found["fwdtransforms"][0], **options)
        moving = ants_image(grid.with_array(anisotropy))
        found = ants.registration(fibres, moving, "Affine", initial_transform=found["fwdtransforms"][0], **options)
        place, moved = warped_onto(ants, white, inside, moving, found["fwdtransforms"][0], WARP_ITERATIONS, grid)
    # only where the field of view reaches: a series that holds half of the brain may match well on that half
    similarity = similarity_of(moved, white, inside.array & (ndimage.maximum_filter(moved, 5) > 0))
    if similarity < LEAST_SIMILARITY:
        raise NotMeasurable(
            say(
                "the diffusion series does not look like a brain: its correlation with the template is {similarity:.2f}, at least "
                "{least} is needed",
                similarity=similarity, least=LEAST_SIMILARITY,
            )
        )
    check_on_template(grid.with_array(tensor.fa), tensor.direction, place)
    return replace(place, similarity=similarity)
