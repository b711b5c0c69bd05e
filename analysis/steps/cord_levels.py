"""Which vertebra stands before which part of the cord: discs counted from C2/C3, which is known by what lies above it.

Discs follow each other every 14 to 22 mm, so their rhythm alone never says which is which. C2/C3 is the one above which no disc follows for
one and a half distances (the axis and its dens), and below the medulla by what is usual where the field shows how the cord widens and
becomes round into it. A field that shows much cord above the first disc and no medulla begins below the neck's upper end, and a cord that
is wide at the upper end but flat is the enlargement of C4 to C6. Where neither can be seen, or two answers are nearly as good, no level is
told and a sentence says why. Spacings: PAM50 (10.1016/j.neuroimage.2017.10.041), on its template; they may be scaled for the person.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy import ndimage

from analysis.steps.cord_edge import Line, area_of, diameters_of
from analysis.steps.space import sample
from analysis.volume import Volume
from analysis.words import Words, say

NAMES = ("C2/C3", "C3/C4", "C4/C5", "C5/C6", "C6/C7", "C7/T1", "T1/T2")
SPACING_MM = (18.0, 18.0, 16.0, 16.0, 18.0, 22.0)  # from one disc to the next
SCALES = (0.8, 0.87, 0.94, 1.0, 1.07, 1.15)
C2_MM, C1_MM = 15.0, 12.0  # heights above C2/C3
BEFORE_MM = (4.0, 8.0)  # in front of the cord: the hindmost part of discs and vertebrae
SEARCH_MM = 4.0
LEAST_ABOVE_MM, LEAST_ABOVE = 28.0, 1.5  # of the field above C2/C3, in mm and in the person's own distances: a disc at the edge is not seen
MOST_ABOVE_MM = 56  # of cord above C2/C3 without the medulla in sight: it begins 40 to 48 mm above it
LEAST_DISCS = 3  # where no medulla is seen: two dark bands may be anything
EMPTY_MM = (12, 30)  # above C2/C3, where the axis and its dens have no disc
# the medulla's area against C2's, and how far above C2/C3 that is: 40 mm on PAM50, 41 mm on a T1; how far it may differ was chosen
WIDENING, WIDENING_ABOVE_MM, WIDENING_SPREAD_MM = 1.25, 42.0, 10.0
ROUNDER = 1.03  # depth by width of the medulla against that of the cord below: 1.3 on PAM50; of the enlargement against the chest 0.8
LEAST_MERIT, LEAST_MERIT_BELOW_MEDULLA, LEAST_LEAD = 0.6, 0.4, 0.25  # lumbar discs of PAM50 reach 0.15, those of its chest 0.48
FAINT = 0.03  # of the signal: less is no disc, and stays below one spread
BODY_MM, MOST_NOTCH = 9, 1.1  # from a disc to the bodies beside it; an outstanding disc makes up for no other
LEAST_DISC, STRAY = 0.75, 0.3  # of a usual disc: below it C2/C3 itself is hardly there; what the dens may look like one
DEEPEST_MM = 65  # of C2/C3 below the medulla
CERVICAL_MM = 22.5  # discs further apart are not those of a neck; lumbar ones lie 27 to 40 mm apart


@dataclass(frozen=True, eq=False)
class Levels:
    """`place` of the discs on the line by name; `level` (n,) of every point, 0 where not known; `reason` where none is told.
    `shows_medulla`: the cord widens into it."""

    place: dict[str, int]
    level: np.ndarray
    reason: Words | None = None
    shows_medulla: bool = False


def levels_of(disc: np.ndarray, radius_mm: np.ndarray) -> Levels:
    """The levels along a line with points 1 mm apart, from its `disc_signal` (n,) and its radii (n, 72)."""
    widening = medulla_ends(radius_mm)
    deepest = MOST_ABOVE_MM if widening is None else widening + DEEPEST_MM
    starts, notch = range(min(deepest, len(disc))), _notch(disc)
    tried = sorted((_merit(disc, notch, start, scale, widening) for start in starts for scale in SCALES), key=lambda one: -one[0])
    places, reason = tried[0][1], _doubt(tried, widening)
    if reason is not None:
        return Levels({}, np.zeros(len(disc), int), reason)
    return Levels(dict(zip(NAMES, places, strict=False)), _numbered(len(disc), places), shows_medulla=widening is not None)


def _doubt(tried: list[tuple[float, list[int]]], widening: int | None) -> Words | None:
    """Why the first of these answers, sorted by their merit, is not to be trusted; None where it is."""
    merit, places = tried[0]
    if merit < (LEAST_MERIT if widening is None else LEAST_MERIT_BELOW_MEDULLA):
        return say("no row of cervical discs was found in front of the cord")
    least_mm = max(LEAST_ABOVE_MM, LEAST_ABOVE * (places[1] - places[0]))
    if widening is None and places[0] < least_mm:
        return say(
            "which disc is C2/C3 cannot be told: the series shows {above_mm:.0f} mm above the first disc that was found, at least "
            "{least_mm:.0f} mm are needed", above_mm=places[0], least_mm=least_mm,
        )  # fmt: skip
    if widening is None and len(places) < LEAST_DISCS:
        return say("which disc is C2/C3 cannot be told: fewer than {count} discs were found", count=LEAST_DISCS)
    other = next((one for one, at in tried if abs(at[0] - places[0]) > 8), -np.inf)
    return say("which disc is C2/C3 cannot be told: two answers fit almost as well") if merit - other < LEAST_LEAD else None


def disc_signal(image: Volume, line: Line, radius_mm: np.ndarray, contrast: str, measured: np.ndarray) -> np.ndarray:
    """How much every point has a disc in front of it, in spreads of the signal along the line, (n,); nothing where the cord was not
    `measured` (n,), as beside metal, whose void looks like a disc."""
    front = radius_mm[:, radius_mm.shape[1] // 2]
    ahead = np.arange(BEFORE_MM[0], BEFORE_MM[1] + 0.1, 1.0)
    aside = np.arange(-4.0, 4.1, 2.0)
    lps = (
        line.lps[:, None, None]
        - (front[:, None, None, None] + ahead[None, :, None, None]) * line.posterior[:, None, None]
        + aside[None, None, :, None] * line.left[:, None, None]
    )
    signal = np.median(sample(image, np.moveaxis(lps, -1, 0)), axis=2).mean(1)
    if measured.any():
        signal = np.interp(np.arange(len(signal)), np.flatnonzero(measured), signal[measured])
    middle = np.median(signal)
    signal = np.clip(signal, 0.2 * middle, 2.5 * middle)  # fluid above the dens, air below
    fine = ndimage.gaussian_filter1d(signal, 1.5) - ndimage.gaussian_filter1d(signal, 10.0)
    fine = fine / max(float(fine.std()), FAINT * float(middle), 1e-6)
    return fine * _sign(fine, contrast)


def _sign(fine: np.ndarray, contrast: str) -> float:
    """Whether discs are brighter (1) or darker (-1) than the back of the vertebrae: their rings are dark on T2, cartilage is bright on
    gradient echoes; on T1 the marrow decides, and discs are the narrow phase."""
    if contrast == "t2":
        return -1.0
    return 1.0 if contrast == "t2star" or float((fine**3).mean()) > 0 else -1.0


def _notch(disc: np.ndarray) -> np.ndarray:
    """How much every point stands out as a disc from the bodies above and below it, about 1 for a usual one. A broad band, as of the
    ligaments around the dens, does not."""
    point = np.arange(len(disc))
    smooth = ndimage.uniform_filter1d(disc, 3, mode="nearest")
    above, below = (smooth[np.clip(point + away, 0, len(disc) - 1)] for away in (-BODY_MM, BODY_MM))
    return np.clip((disc - np.maximum(above, below)) / 2.0, -1.0, MOST_NOTCH)


def _merit(disc: np.ndarray, notch: np.ndarray, start: int, scale: float, widening: int | None) -> tuple[float, list[int]]:
    """How well C2/C3 at `start` fits, and where the discs below then lie."""
    places = [start]
    for spacing in SPACING_MM:
        wanted = places[-1] + spacing * scale
        low, high = round(wanted - SEARCH_MM), round(wanted + SEARCH_MM) + 1
        if high > len(disc):
            break
        window = disc[low:high] - 0.05 * (np.arange(low, high) - wanted) ** 2
        places.append(low + int(window.argmax()))
    if len(places) < 2:
        return -np.inf, places
    far, near = (max(start - int(reach * scale), 0) for reach in reversed(EMPTY_MM))
    another = max(float(notch[far:near].max(initial=0.0)) - STRAY, 0.0)
    few = 0.15 * max(4 - len(places), 0)
    missing = (0.7 if widening is None else 1.5) * max(LEAST_DISC - float(notch[start]), 0.0)
    merit = float(notch[places].mean()) - 0.7 * another - few - missing
    if widening is not None:
        merit -= 0.15 * min(((start - widening - WIDENING_ABOVE_MM) / WIDENING_SPREAD_MM) ** 2, 9.0)
    return merit - 0.05 * abs(np.log(scale)) / 0.1, places


def medulla_ends(radius_mm: np.ndarray) -> int | None:
    """The last point from above at which the cord is as wide and as round as the medulla; None where the field does not show it."""
    if len(radius_mm) < 45:
        return None
    area, (ap, rl), usual = area_of(radius_mm), diameters_of(radius_mm), slice(20, 70)
    wide = np.flatnonzero(area[:45] > WIDENING * np.median(area[usual]))
    if len(wide) < 3 or wide[0] > 2 or np.median((ap / rl)[wide]) < ROUNDER * np.median((ap / rl)[usual]):
        return None
    return int(wide[-1])


def _numbered(count: int, places: list[int]) -> np.ndarray:
    """The vertebra at every point: C3 between the first two discs, and so on; C2 and C1 above by their usual height for this person."""
    level = np.zeros(count, int)
    scale = float(np.clip((places[-1] - places[0]) / sum(SPACING_MM[: len(places) - 1]), SCALES[0], SCALES[-1]))
    for number, (low, high) in enumerate(pairwise(places), start=3):
        level[low:high] = number
    two = round(places[0] - C2_MM * scale)
    one = round(two - C1_MM * scale)
    level[max(two, 0) : places[0]] = 2
    if two > 0 and one >= 0:
        level[one:two] = 1
    return level


def disc_distance_mm(disc: np.ndarray) -> tuple[float, float]:
    """The distance after which the disc signal repeats, and how well (a correlation); (0, 0) where it is faint."""
    best = (0.0, 0.0)
    if disc.std() < 0.7:
        return best
    for end in range(len(disc), min(len(disc), 110) - 1, -30):
        part = disc[max(0, end - 110) : end] - disc[max(0, end - 110) : end].mean()
        lags = range(11, min(45, int(len(part) * 0.45)))
        repeat = np.array([float((part[:-lag] * part[lag:]).mean()) for lag in lags]) / max(float((part**2).mean()), 1e-9)
        peaks = [k for k in range(1, len(repeat) - 1) if repeat[k] >= max(repeat[k - 1], repeat[k + 1], 0.0)]
        if peaks:
            top = max(repeat[k] for k in peaks)
            first = next(k for k in peaks if repeat[k] >= 0.7 * top)
            best = max(best, (float(11 + first), float(repeat[first])), key=lambda one: one[1])
    return best
