"""The cervical cord: where it runs, its mask, and its area and diameters perpendicular to its axis, with vertebral levels.

Shared by the markers of the cord. What cannot be measured is refused in words (NotMeasurable) for the whole image; a part of the cord that
cannot be measured (cut off, too tilted, its edge not found) is False in `measured` and its numbers there are 0, and `refused` says why. A
level that cannot be told is 0, never guessed from its neighbours alone. Of several series that show the cord the T2 comes first, then T2*,
then the lower edge of a T1 of the head; what an earlier one was refused for is kept.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

from analysis.examination import Examination
from analysis.outcome import NotMeasurable
from analysis.steps.cord_edge import STEP_MM, Edge, Line, area_of, diameters_of, edge_of, mask_of
from analysis.steps.cord_levels import CERVICAL_MM, NAMES, Levels, disc_distance_mm, disc_signal, levels_of
from analysis.steps.cord_place import path_of
from analysis.steps.space import sample
from analysis.volume import Volume
from analysis.words import Words, joined, say

LEVELS = {1: "C1", 2: "C2", 3: "C3", 4: "C4", 5: "C5", 6: "C6", 7: "C7", 8: "T1"}
ROLES = ("cord_t2", "cord_t2star", "t1")
CONTRASTS = {"cord_t2": "t2", "cord_t2star": "t2star", "t1": "t1"}
SERIES = {"cord_t2": say("T2 series of the cord"), "cord_t2star": say("T2* series of the cord"), "t1": say("T1 series")}
LEAST_LENGTH_MM = 30.0
# the usual score of the path: 0.50 on one T2, 0.58 on PAM50, 0.28 and 0.29 on two T1; heads, noise and limbs: see the tests
LEAST_SCORE = {"t2": 0.33, "t2star": 0.16, "t1": 0.22}
AREA_MM2 = (20.0, 150.0)  # of a cord; Kato 2012: 74 to 78 with a spread of 9, the narrowest healthy one about 40
LEAST_CONTRAST = 0.3  # of the usual step from cord to fluid
BRIGHTNESS, USUAL_MM = (0.45, 2.5), 121  # of the cord against its median over these mm; bright signal inside it reaches 2
BESIDE_MM = 4  # of the cord beside a void: its edge there is that of the metal
LEAST_MEASURED, MOSTLY = 0.5, 0.9
THICK_MM, MOST_SHIFT_MM = 2.5, 1.3  # of an edge inside one thick slice: 10 degrees in 7.5 mm
LEAST_LIKENESS = 0.4  # with which the signal of the discs repeats
LONGEST_MM = 230.0  # of a path from above: the neck, the first thoracic vertebrae and some of the brain stem
BELOW_MM = 25  # of the cord below the last disc that was told
# how far inside the half maximum drawn masks may have their edge: 0.38 mm on a T2 of 1 mm; thick slices blur the edge, hands do not
MOST_INSIDE_MM, COARSE_MM = 0.4, 1.6
ROUGH = 0.12  # how much two neighbouring edges may differ, as a share of the radius
# one standard error of an area as a share: on voxels up to 1 mm, and for every mm that the largest is larger (cervical_cord, Trust)
ERROR, ERROR_PER_MM = 0.03, 0.015


@dataclass(frozen=True)
class Disc:
    """An intervertebral disc: its name ("C2/C3"), the index on the centreline that lies at its height, and that place in LPS mm."""

    name: str
    index: int
    lps: tuple[float, float, float]


@dataclass(frozen=True, eq=False)
class Cord:
    """The cord of one image, along n points of its centreline from head to foot.

    `role`: whose image; `bright_fluid`: T2-like. `mask`: boolean on that image's grid. `centreline_lps` (n, 3), mm, `step_mm` apart along
    the curve; `axis`, `posterior`, `left` (n, 3): unit vectors in LPS, `axis` towards the feet, the other two span the plane. `radius_mm`
    (n, 72): from the centreline to the edge at half maximum, the first towards posterior, turning to the left; `drawn_mm` the same where
    masks that are drawn by hand have their edge. `area_mm2`, `ap_mm`, `rl_mm` (n,): perpendicular to the axis; `area_error_mm2` (n,): one
    standard error. `measured` (n,): False where these are 0 and mean nothing. `level` (n,): the vertebra at that height, 1 = C1 … 7 = C7,
    8 = T1, 0 = not known. `discs`: from above, those that were told apart by name. `refused`: sentences on what of the cord was not
    measured, or not told, and why.
    """

    role: str
    bright_fluid: bool
    mask: Volume
    centreline_lps: np.ndarray
    step_mm: float
    axis: np.ndarray
    posterior: np.ndarray
    left: np.ndarray
    radius_mm: np.ndarray
    drawn_mm: np.ndarray
    area_mm2: np.ndarray
    area_error_mm2: np.ndarray
    ap_mm: np.ndarray
    rl_mm: np.ndarray
    measured: np.ndarray
    level: np.ndarray
    discs: tuple[Disc, ...]
    refused: tuple[Words, ...] = ()

    def at(self, level: int) -> np.ndarray:
        """The measured points at the height of a vertebra, boolean (n,)."""
        return (self.level == level) & self.measured


def cord_of(examination: Examination) -> Cord:
    """The cord on the first series that shows it; NotMeasurable, with the reason of every series, where none does."""
    reasons: list[Words] = []
    for role in ROLES:
        if role in examination.images:
            try:
                cord = cord_on(examination.image(role), role)
            except NotMeasurable as refusal:
                reasons.append(refusal.reason)
            else:
                return replace(cord, refused=(*reasons, *cord.refused))
    raise NotMeasurable(joined(reasons, "; ") if reasons else say("the study has no series that shows the cervical cord"))


def cord_on(image: Volume, role: str) -> Cord:
    """The cord on one image. NotMeasurable where it shows none, another part of the spine, or too little of it."""
    series, contrast = SERIES[role], CONTRASTS[role]
    _refuse_image(image, series)
    path = path_of(image, contrast)
    if len(path.lps) * 3.0 < LEAST_LENGTH_MM or float(np.median(path.score)) < LEAST_SCORE[contrast]:
        raise NotMeasurable(say("no cervical cord was found on the {series}: nothing on it looks like a cord in fluid", series=series))
    edge = edge_of(image, path.lps[path.lps[:, 2] > path.lps[0, 2] - LONGEST_MM], dark_fluid=contrast == "t1")
    measured, reasons = _measured(image, edge)
    if measured.mean() < LEAST_MEASURED:
        raise NotMeasurable(say(
            "the edge of the cord could be followed on {share:.0f} % of its length only on the {series}, as beside metal or with strong "
            "motion", share=100 * measured.mean(), series=series,
        ))  # fmt: skip
    disc = disc_signal(image, edge.line, edge.radius_mm, contrast, measured)
    levels = levels_of(disc, edge.radius_mm)
    whole = measured.mean() > MOSTLY  # a gap in the cord hides discs, so that the others seem far apart
    if not levels.shows_medulla and (whole or not levels.place):
        _refuse_region(disc, series)
    return _cord(image, role, *_cut(edge, measured, levels), [*reasons, *([levels.reason] if levels.reason else [])])


def _refuse_image(image: Volume, series: Words) -> None:
    array = image.array
    if not np.isfinite(array).all() or float(array.max()) <= float(array.min()):
        raise NotMeasurable(say("the {series} is empty", series=series))
    coarse_mm = float(np.sort(image.spacing_mm)[1])
    if coarse_mm > 1.6 or image.spacing_mm.max() > 8.0:
        raise NotMeasurable(say(
            "voxels of {slices:.1f} x {rows:.1f} x {columns:.1f} mm are too coarse for the edge of the cord",
            slices=float(image.spacing_mm[0]), rows=float(image.spacing_mm[1]), columns=float(image.spacing_mm[2]),
        ))  # fmt: skip


def _refuse_region(disc: np.ndarray, series: Words) -> None:
    """NotMeasurable where discs are too far apart for a neck."""
    distance_mm, likeness = disc_distance_mm(disc)
    if distance_mm > CERVICAL_MM and likeness > LEAST_LIKENESS:
        raise NotMeasurable(say(
            "the {series} does not show the neck: the distance from one disc to the next is {distance_mm:.0f} mm, as lower in the spine; "
            "in a neck it is 14 to {most_mm:.0f} mm", series=series, distance_mm=distance_mm, most_mm=math.floor(CERVICAL_MM),
        ))  # fmt: skip


def _measured(image: Volume, edge: Edge) -> tuple[np.ndarray, list[Words]]:
    """Where along the line the edge was found and lies in the field; and what is said of the rest."""
    area = area_of(edge.radius_mm)
    jump = np.abs(np.gradient(edge.radius_mm, axis=0)).mean(1) / edge.radius_mm.mean(1)
    found = (area > AREA_MM2[0]) & (area < AREA_MM2[1]) & (edge.contrast > LEAST_CONTRAST) & (jump < ROUGH) & _has_signal(image, edge.line)
    inside, straight = _in_field(image, edge), _straight(image, edge.line)
    reasons = []
    if not straight.all():
        oblique = say("the slices of {thick_mm:.1f} mm lie too obliquely to the cord on {share:.0f} % of its length",
                      thick_mm=float(image.spacing_mm.max()), share=100 * (1 - straight.mean()))  # fmt: skip
        if straight.mean() < LEAST_MEASURED:
            raise NotMeasurable(oblique)
        reasons.append(oblique)
    if (inside & straight & ~found).mean() > 0.1:
        lost = 100 * float((inside & straight & ~found).mean())
        reasons.append(say("the edge of the cord was not found on {share:.0f} % of its length", share=lost))
    return found & inside & straight, reasons


def _has_signal(image: Volume, line: Line) -> np.ndarray:
    """Where the middle of the line is about as bright as the cord is around there; metal leaves a void, and piles signal up beside it."""
    across = np.stack([line.posterior * 0, line.posterior, -line.posterior, line.left, -line.left], axis=1)
    core = np.median(sample(image, np.moveaxis(line.lps[:, None] + 1.2 * across, -1, 0)), axis=1)
    usual = ndimage.median_filter(core, min(USUAL_MM, len(core)), mode="nearest")
    lost = (core < BRIGHTNESS[0] * usual) | (core > BRIGHTNESS[1] * usual)
    return ~ndimage.binary_dilation(lost, iterations=BESIDE_MM)


def _in_field(image: Volume, edge: Edge) -> np.ndarray:
    line = edge.line
    angle = np.linspace(0, 2 * np.pi, edge.radius_mm.shape[1], endpoint=False)
    back, left = ((edge.radius_mm + 0.5) * turn(angle) for turn in (np.cos, np.sin))
    rim = line.lps[:, None] + back[..., None] * line.posterior[:, None] + left[..., None] * line.left[:, None]
    index_from_lps = np.linalg.inv(image.lps_from_index)
    index = rim @ index_from_lps[:3, :3].T + index_from_lps[:3, 3]
    return ((index >= -0.5) & (index <= np.array(image.array.shape) - 0.5)).all((1, 2))


def _straight(image: Volume, line: Line) -> np.ndarray:
    """Where thick slices across the cord lie straight enough: an edge moves by little inside one."""
    thick = int(image.spacing_mm.argmax())
    normal = image.lps_from_index[:3, thick] / image.spacing_mm[thick]
    cosine = np.abs(line.axis @ normal)
    if image.spacing_mm[thick] < THICK_MM or float(np.median(cosine)) < 0.6:
        return np.ones(len(line.lps), bool)
    return image.spacing_mm[thick] * np.sqrt(1 - np.clip(cosine, 0, 1) ** 2) / cosine <= MOST_SHIFT_MM


def _cut(edge: Edge, measured: np.ndarray, levels: Levels) -> tuple[Edge, np.ndarray, Levels]:
    """Without the medulla above C1, and without what lies far below the last disc that is known by name."""
    known = np.flatnonzero(levels.level)
    if not len(known):
        return edge, measured, levels
    part = slice(int(known[0]), min(int(known[-1]) + 1 + BELOW_MM, len(measured)))
    line = Line(*(getattr(edge.line, name)[part] for name in ("lps", "axis", "posterior", "left")))
    edge = Edge(line, edge.radius_mm[part], edge.drawn_mm[part], edge.contrast[part], edge.noise[part])
    return edge, measured[part], Levels({name: at - part.start for name, at in levels.place.items()}, levels.level[part])


def _cord(image: Volume, role: str, edge: Edge, measured: np.ndarray, levels: Levels, refused: list[Words]) -> Cord:
    line = edge.line
    area, (ap, rl) = area_of(edge.radius_mm), diameters_of(edge.radius_mm)
    share = ERROR + ERROR_PER_MM * max(float(image.spacing_mm.max()) - 1.0, 0.0)
    discs = tuple(Disc(name, levels.place[name], tuple(float(x) for x in line.lps[levels.place[name]]))
                  for name in NAMES if name in levels.place)  # fmt: skip
    mask = image.with_array(mask_of(image, line, edge.radius_mm, measured))
    kept = [np.where(measured, values, 0.0) for values in (area, share * area, ap, rl)]
    drawn = edge.drawn_mm
    if image.spacing_mm.max() > COARSE_MM:
        drawn = np.maximum(drawn, edge.radius_mm - MOST_INSIDE_MM)
    return Cord(role, CONTRASTS[role] != "t1", mask, line.lps, STEP_MM, line.axis, line.posterior, line.left, edge.radius_mm,
                drawn, *kept, measured, levels.level, discs, tuple(refused))  # fmt: skip
