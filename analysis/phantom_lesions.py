"""Lesions of the phantom's brain as diseases make them, at known places: those of multiple sclerosis and those of small vessels.

    ms_lesions        fingers that stand on the lateral ventricle, ovals under the cortex, in the deep white matter, in pons and cerebellum,
                      one on the corticospinal tract; 3 to 20 mm long, every second one dark on T1
    vascular_lesions  caps of the horns that run together, and round spots deep in the white matter; none touches the cortex

Each is a row of a table for one side: a site, where about it lies, how long and wide it is. A seed moves it by some mm to the nearest
place of that site, so that its region is known. A lower severity plants fewer of them, never smaller ones. The shapes are ellipsoids with
an edge of 1 mm, and lie only where there is white matter. Template space, RAS mm, as in phantom_head.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from analysis.phantom_head import ORIGIN_MM, SHAPE, Head, axes_mm, healthy_head
from analysis.phantom_regions import ventricles
from analysis.phantom_tracts import cst_region

SITES = ("periventricular", "juxtacortical", "infratentorial", "deep")
JITTER_MM, GAP_MM, WALL_MM = 4.0, 4.0, 1.0
FAINT_ON_T1 = 0.3  # of the darkness on T1 of those that are dark
# site, |x|, y and z, length and width in mm, whether it is dark on T1; "tract": deep, on the tract; "more": runs into the last
TABLES = {
    "ms_lesions": (
        ("periventricular", (20, -24, 28), 12.0, 5.0, True), ("juxtacortical", (34, -52, 42), 6.0, 5.0, False),
        ("infratentorial", (18, -52, -36), 7.0, 5.0, True), ("periventricular", (18, -4, 30), 10.0, 4.0, False),
        ("deep", (28, 24, 26), 8.0, 5.0, True), ("tract", (25, -18, 28), 7.0, 5.0, False),
        ("periventricular", (30, -50, 14), 20.0, 8.0, True), ("juxtacortical", (30, 38, 24), 4.0, 4.0, False),
        ("deep", (30, -34, 38), 4.0, 3.0, True), ("infratentorial", (6, -26, -32), 6.0, 4.0, False),
        ("periventricular", (16, 28, 12), 7.0, 4.0, True), ("juxtacortical", (44, -20, 36), 3.0, 3.0, False),
    ),
    "vascular_lesions": (
        ("periventricular", (16, 34, 4), 14.0, 10.0, False), ("more", (20, 40, 10), 12.0, 9.0, False),
        ("periventricular", (30, -54, 12), 16.0, 10.0, False), ("more", (33, -58, 20), 12.0, 8.0, False),
        ("deep", (26, 14, 28), 5.0, 5.0, False), ("deep", (28, -30, 34), 4.0, 4.0, False), ("deep", (24, 34, 20), 6.0, 5.0, True),
        ("deep", (30, -2, 32), 3.0, 3.0, False), ("deep", (28, -44, 32), 5.0, 4.0, False), ("deep", (24, -14, 38), 4.0, 4.0, False),
    ),
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Ovoid:
    """One ellipsoid: its `site`, its middle, its length along the unit vector `axis` and its width across, all mm. `is_whole`: False where
    it only makes the one before it larger."""

    site: str
    middle_mm: np.ndarray
    axis: np.ndarray
    length_mm: float
    width_mm: float
    is_dark: bool
    is_on_tract: bool = False
    is_whole: bool = True


@lru_cache(maxsize=1)
def _distances() -> dict[str, np.ndarray]:
    """mm from the lateral ventricles, from the cortex and from what is not the tract; and where white matter is: on the healthy head."""
    from scipy import ndimage

    head = healthy_head()
    _, _, z = axes_mm()
    far = {"ventricle": ~ventricles(head), "cortex": ~((head.tissue["grey"] > 0.6) & (z > 0)), "tract": cst_region(head)}
    return {name: ndimage.distance_transform_edt(where).astype(np.float32) for name, where in far.items()}


def _places(site: str, length_mm: float, width_mm: float) -> np.ndarray:
    """Where the middle of a lesion of that size may lie, boolean."""
    from_mm, (_, y, z) = _distances(), axes_mm()
    white, half = healthy_head().tissue["white"] > 0.9, length_mm / 2
    off_tract = from_mm["tract"] < 0.5
    touches_ventricle = np.abs(from_mm["ventricle"] - half) < WALL_MM
    if site == "periventricular":
        return white & touches_ventricle & (from_mm["cortex"] > width_mm / 2 + 1) & (z > 0)
    if site == "juxtacortical":
        return white & off_tract & (np.abs(from_mm["cortex"] - width_mm / 2 - 0.5) < WALL_MM) & (from_mm["ventricle"] > half + 5) & (z > 10)
    if site == "infratentorial":
        return (healthy_head().tissue["white"] > 0.7) & off_tract & (z < -20) & (z > -55) & (y < -18)
    if site == "tract":
        return (from_mm["tract"] > 3) & (z > 19) & (z < 40) & (from_mm["ventricle"] > half + 2)
    return white & off_tract & (from_mm["cortex"] > half + 2) & (from_mm["ventricle"] > half + 3) & (z > 5)


def planted(name: str, sides: tuple[str, ...], severity: float, seed: int) -> tuple[Ovoid, ...]:
    """The lesions of one finding: the first part of its table for each side, by the severity. A smaller one is a part of a larger one."""
    made: list[Ovoid] = []
    for side in sides:
        random = np.random.default_rng([seed, 13, sorted(TABLES).index(name), ("left", "right").index(side)])
        for site, place, length_mm, width_mm, is_dark in TABLES[name][: round(len(TABLES[name]) * severity)]:
            sign = -1 if side == "left" else 1
            about = np.array([sign * place[0], *place[1:]]) + random.uniform(-JITTER_MM, JITTER_MM, 3)
            chance = random.standard_normal(3)
            made.append(_more(made[-1], about, length_mm, width_mm) if site == "more"
                        else _ovoid(site, about, length_mm, width_mm, is_dark, chance, made))  # fmt: skip
    return tuple(made)


def _more(last: Ovoid, about: np.ndarray, length_mm: float, width_mm: float) -> Ovoid:
    """An ellipsoid that overlaps the last one, towards a place."""
    way = about - last.middle_mm
    way /= np.linalg.norm(way)
    return Ovoid(last.site, last.middle_mm + way * 0.6 * last.width_mm, way, length_mm, width_mm, last.is_dark, is_whole=False)


def _ovoid(site: str, about: np.ndarray, length_mm: float, width_mm: float, is_dark: bool, chance: np.ndarray, made: list[Ovoid]) -> Ovoid:
    """The lesion at the place of its site nearest to a point, away from the others; along `chance`, a finger away from the ventricle."""
    index = np.argwhere(_places(site, length_mm, width_mm) & (np.sign(axes_mm()[0]) == np.sign(about[0])))
    points = index + ORIGIN_MM
    far = np.linalg.norm(points - about, axis=1)
    for other in made:
        apart = np.linalg.norm(points - other.middle_mm, axis=1) - (length_mm + other.length_mm) / 2
        far = far + 100.0 * (apart < GAP_MM)
    best = int(np.argmin(far))
    axis = _away_from_ventricle(index[best]) if site == "periventricular" else chance / np.linalg.norm(chance)
    region = "deep" if site == "tract" else site
    on_tract = bool(_distances()["tract"][tuple(index[best])] > 0)  # a finger may stand there as well
    return Ovoid(region, points[best], axis, length_mm, width_mm, is_dark, on_tract)


def _away_from_ventricle(index: np.ndarray) -> np.ndarray:
    """The unit vector that leads from the ventricle to a voxel: a finger stands on the wall."""
    away = _distances()["ventricle"]
    slope = np.array([float(np.diff(away[tuple(np.array([index - step, index + step]).T)])[0]) for step in np.eye(3, dtype=int) * 2])
    return slope / max(np.linalg.norm(slope), 1e-6)


def spots_of(made: tuple[Ovoid, ...], head: Head) -> dict[str, np.ndarray]:
    """Fraction of lesion on the template: of all (`lesion`), by site (`lesion_<site>`), and as dark as they are on T1 (`dark_lesion`)."""
    spots = {f"lesion_{site}": np.zeros(SHAPE, np.float32) for site in dict.fromkeys(one.site for one in made)}
    spots["dark_lesion"] = np.zeros(SHAPE, np.float32)
    for one in made:
        box, part = spot_of(one, head)
        for name, share in ((f"lesion_{one.site}", 1.0), ("dark_lesion", 1.0 if one.is_dark else FAINT_ON_T1)):
            spots[name][box] = np.maximum(spots[name][box], part * np.float32(share))
    return {**spots, "lesion": np.maximum.reduce([image for name, image in spots.items() if name.startswith("lesion_")])}


def spot_of(one: Ovoid, head: Head) -> tuple[tuple[slice, ...], np.ndarray]:
    """A box of the template and the fraction of this lesion in it."""
    low = np.floor(one.middle_mm - ORIGIN_MM - one.length_mm / 2 - 2).astype(int)
    size = int(one.length_mm) + 6
    box = tuple(slice(a, a + size) for a in low)
    offset = np.stack(np.meshgrid(*(np.arange(a, a + size) for a in low), indexing="ij"), axis=-1) + ORIGIN_MM - one.middle_mm
    along = offset @ one.axis
    across = np.sqrt(np.maximum((offset**2).sum(-1) - along**2, 0))
    radius = np.hypot(along / (one.length_mm / 2), across / (one.width_mm / 2))
    room = np.clip(head.tissue["white"][box] * 1.5, 0, 1)
    return box, (np.clip(0.5 - (radius - 1) * one.width_mm / 2, 0, 1) * room).astype(np.float32)
