"""Series other than the T1 on the template: by way of the T1 of the study, directly where there is none.

By way of the T1: the series is laid over the T1 by a rigid registration inside the brain, and is then where the T1 is; the head is warped
once per study. Whether it fits is checked against what the T1 knows: the brightness of the series is predicted from the T1's tissues, and
where the prediction explains little, the series lies wrong, or is another patient's. Directly: as a T1 is placed, with the template's
tissues as bright as they are in such a series.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from analysis import atlas
from analysis.examination import Examination
from analysis.outcome import NotMeasurable
from analysis.steps.head import STEP_MM, head_on_template, placed
from analysis.steps.rigid import moving_from_fixed, nearest_start
from analysis.steps.space import Placement, around, coarser, lps_grid, onto
from analysis.steps.tissue import Tissue, tissue_fractions
from analysis.volume import Volume
from analysis.words import say

# How bright CSF, grey and white matter are; only the order and rough distances matter.
CONTRASTS = {"flair": (0.05, 1.0, 0.75), "t2": (1.0, 0.55, 0.40), "swi": (1.0, 0.85, 0.70), "t2star": (1.0, 0.85, 0.70)}
FIXED_STEP_MM, ROUGH_STEP_MM = 1.5, 7.0
LEAST_SHARED = 0.25
MARGIN_VOXELS = 4
LEAST_EXPLAINED = 0.2
# Correlation with the template in the contrast of the series, where the field of view reaches; least on T2, for its bright sulci.
LEAST_SIMILARITY = {"flair": 0.5, "t2": 0.35, "swi": 0.4, "t2star": 0.4}
WORDS = {"flair": "FLAIR", "t2": "T2", "swi": "susceptibility-weighted", "t2star": "T2*-weighted"}


@dataclass(frozen=True, eq=False)
class Laid:
    """A series on the template. `place`: as a T1's, on a 2 mm grid along the axes of the series. `t1_from_series`: the rigid map of its
    positions to those of the T1, 4 by 4, LPS mm; None where the study has no usable T1. `explained`: how much of the series' brightness
    inside the brain the tissues explain, 0 to 1."""

    place: Placement
    t1_from_series: np.ndarray | None
    explained: float


def on_template(examination: Examination, role: str) -> Laid:
    """Where the series with that role lies on the template. NotMeasurable where it cannot be said."""
    return examination.once(Laying(role))


@dataclass(frozen=True)
class Laying:
    """The step that lays the series with that role; equal for the same role, in another process as well."""

    role: str

    @property
    def __name__(self) -> str:
        return f"{self.role}_on_template"

    def __call__(self, examination: Examination) -> Laid:
        return _lay(examination, self.role)


def _lay(examination: Examination, role: str) -> Laid:
    series = examination.image(role)
    if "t1" in examination.images:
        try:
            examination.once(tissue_fractions)
        except NotMeasurable:
            return _directly(series, role)
        return _over_t1(examination, series, role)
    return _directly(series, role)


def _over_t1(examination: Examination, series: Volume, role: str) -> Laid:
    t1, tissue = examination.image("t1"), examination.once(tissue_fractions)
    even = coarser(t1.with_array(np.asarray(t1.array, np.float32)), FIXED_STEP_MM)
    near = ndimage.binary_dilation(coarser(t1.with_array(tissue.csf + tissue.grey + tissue.white), FIXED_STEP_MM).array > 0.5, iterations=2)
    box = around(even.with_array(near), MARGIN_VOXELS)
    start = rough_map(t1, tissue, series)
    t1_from_series = np.linalg.inv(moving_from_fixed(even.part(box), series, near[box], start))
    grid = coarser(series, STEP_MM)
    explained = explained_by(grid, tissues_on(grid, t1, tissue, t1_from_series))
    if explained < LEAST_EXPLAINED:
        raise NotMeasurable(
            say(
                "the {series} series does not lie over the T1 series: the tissues of the T1 explain {share:.0f} % of its "
                "brightness in the brain, at least {least:.0f} % are needed",
                series=WORDS[role], share=100 * explained, least=100 * LEAST_EXPLAINED,
            )
        )
    return Laid(moved_place(examination.once(head_on_template), grid, t1_from_series), t1_from_series, explained)


def _directly(series: Volume, role: str) -> Laid:
    layers = atlas.template()
    grey, white, inside = (layers[name].array for name in ("grey", "white", "inside"))
    fluid = np.clip(inside - grey - white, 0.0, 1.0)
    csf_level, grey_level, white_level = CONTRASTS[role]
    brain = layers["grey"].with_array((csf_level * fluid + grey_level * grey + white_level * white).astype(np.float32))
    place = placed(series, brain, WORDS[role], may_be_cut=True)
    if place.similarity < LEAST_SIMILARITY[role]:
        raise NotMeasurable(
            say(
                "the {series} series does not look like one of a head: its correlation with the template is {similarity:.2f}, at "
                "least {least} is needed",
                series=WORDS[role], similarity=place.similarity, least=LEAST_SIMILARITY[role],
            )
        )
    return Laid(place, None, place.similarity**2)


def tissues_on(grid: Volume, t1: Volume, tissue: Tissue, t1_from_series: np.ndarray) -> np.ndarray:
    """The T1's CSF, grey and white fractions on a grid of the series: (3, slice, row, column), 0 outside the brain."""
    in_t1 = Volume(grid.array, t1_from_series @ grid.lps_from_index)
    smooth = np.maximum(in_t1.spacing_mm / t1.spacing_mm, 1.0).min()
    sigma = 0.42 * np.sqrt(max(smooth**2 - 1.0, 0.0))
    return np.stack([onto(t1.with_array(ndimage.gaussian_filter(part, sigma)), in_t1) for part in (tissue.csf, tissue.grey, tissue.white)])


def rough_map(t1: Volume, tissue: Tissue, series: Volume) -> np.ndarray:
    """Roughly where the positions of the T1 are in the series: the rigid map under which its tissues explain most of the series."""
    parts = [coarser(t1.with_array(part), ROUGH_STEP_MM) for part in (tissue.csf, tissue.grey, tissue.white)]
    tissues = np.stack([part.array for part in parts])
    near = ndimage.binary_dilation(tissues.sum(0) > 0.5, iterations=1)
    points, features = lps_grid(parts[0])[:, near].astype(float), tissues[:, near]
    small = coarser(series, ROUGH_STEP_MM)
    series_index_from_lps = np.linalg.inv(small.lps_from_index)
    held = coarser(series.with_array(np.ones(series.array.shape, np.float32)), ROUGH_STEP_MM).array

    def worth(series_from_t1: np.ndarray) -> float:
        matrix = series_index_from_lps @ series_from_t1
        index = matrix[:3, :3] @ points + matrix[:3, 3:]
        seen = ndimage.map_coordinates(held, index, order=1) > 0.5
        if seen.sum() < LEAST_SHARED * seen.size:
            return 0.0
        return fitted_share(ndimage.map_coordinates(small.array, index[:, seen], order=1), features[:, seen].T) * float(seen.mean())

    return nearest_start(worth, points.mean(1))


def explained_by(series: Volume, tissues: np.ndarray) -> float:
    """The share of the variance of the series inside the brain that tissues and a smooth field explain, 0 to 1."""
    inside = (tissues.sum(0) > 0.9) & (series.array != 0)
    if inside.sum() < 1000:
        return 0.0
    place = np.argwhere(inside) / np.array(inside.shape) - 0.5
    return fitted_share(np.asarray(series.array, np.float32)[inside], np.concatenate([tissues[:, inside].T, place, place**2], axis=1))


def fitted_share(values: np.ndarray, terms: np.ndarray) -> float:
    """The share of the variance of values (n,) that a linear fit of the terms (n, m) explains, 0 to 1."""
    terms = np.concatenate([terms, np.ones((len(values), 1))], axis=1)
    left = values - terms @ np.linalg.lstsq(terms, values, rcond=None)[0]
    return float(max(1.0 - left.var() / max(values.var(), 1e-12), 0.0))


def moved_place(place: Placement, grid: Volume, t1_from_series: np.ndarray) -> Placement:
    """The placement of the T1, for a grid of another series that a rigid map takes to the T1."""
    in_t1 = Volume(grid.array, t1_from_series @ grid.lps_from_index)
    return Placement(grid, place.template_on(in_t1), place.template_from_lps @ t1_from_series, place.similarity)
