"""What can be planted in the phantom, and what a severity of 1 means in physical units.

    cst_degeneration      30 % lower FA in the corticospinal tract; axial diffusivity stays, radial rises
    cst_hyperintensity    the tract 35 % brighter in FLAIR
    motor_band_sign       45 % less signal in the posterior bank of the precentral cortex in SWI
    motor_cortex_atrophy  1.0 mm of the precentral cortex lost from outside, replaced by fluid
    brainstem_atrophy     0.8 mm of the brainstem's surface lost, replaced by fluid
    white_matter_lesions  24 lesions of 2 to 5 mm radius: bright in FLAIR, dark in T1, with free diffusion
    naa_loss              30 % less NAA and NAAG in the voxel of the motor cortex (phantom_voxels)
    ms_lesions            12 lesions on each side as in multiple sclerosis (phantom_lesions); vascular_lesions: 8 as of small vessels

Severity is linear in these from 0. A name may be followed by `:left` or `:right`, else both sides are meant. Sides are the patient's.
Infarcts and a mass are planted by analysis/phantom_focal.py.

In FLAIR every head, the healthy one too, has what healthy heads show: a tract that is 5 % brighter in the internal capsule, and
white matter that varies smoothly by 4 % (as one real FLAIR did).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from analysis import phantom_lesions
from analysis.phantom_focal import FOCAL_FINDINGS
from analysis.phantom_head import ORIGIN_MM, SHAPE, Head, axes_mm
from analysis.phantom_lesions import Ovoid
from analysis.phantom_regions import band, brainstem_parts, motor_strip, ventricles
from analysis.phantom_tracts import cst_region

FINDINGS = (
    "cst_degeneration", "cst_hyperintensity", "motor_band_sign", "motor_cortex_atrophy", "brainstem_atrophy", "white_matter_lesions",
    "ms_lesions", "vascular_lesions", "naa_loss",
)  # fmt: skip
EVERY_FINDING = FINDINGS + FOCAL_FINDINGS
SIDES = ("left", "right")
NAA_LOSS = 0.30
FA_LOSS, TRACT_GAIN, BAND_LOSS, CORTEX_LOSS_MM, BRAINSTEM_LOSS_MM, LESIONS = 0.30, 0.35, 0.45, 1.0, 0.8, 24
CAPSULE_GAIN, CAPSULE_Z_MM, CAPSULE_EDGE_MM = 0.05, (-4.0, 15.0), 2.0
TEXTURE, TEXTURE_SIGMA_MM, TEXTURE_STEP = 0.04, 3.7, 3
LESION_RADIUS_MM = (2.0, 5.0)
LESION_DISTANCE_MM = 14.0
LESION_ORDER = ("periventricular", "juxtacortical", "deep", "periventricular", "juxtacortical", "infratentorial")


@dataclass(frozen=True, eq=False)
class Lesion:
    """One ellipsoid on the template: which `site`, its middle (RAS mm) and three radii along the axes."""

    site: str
    middle_mm: np.ndarray
    radii_mm: np.ndarray


def planted_sides(findings: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """Sides by finding, in the order of FINDINGS; ValueError in a sentence for a name or side that does not exist."""
    sides: dict[str, set[str]] = {}
    for finding in findings:
        name, _, side = finding.partition(":")
        if name not in EVERY_FINDING:
            raise ValueError(f"{name!r} is not a finding that can be planted; choose among {', '.join(EVERY_FINDING)}")
        if side and side not in SIDES:
            raise ValueError(f"{finding!r} names the side {side!r}; write {name}:left, {name}:right, or {name} for both")
        sides.setdefault(name, set()).update([side] if side else SIDES)
    return {name: tuple(sorted(sides[name])) for name in EVERY_FINDING if name in sides}


def on_sides(sides: tuple[str, ...]) -> np.ndarray:
    """Where the template belongs to those sides, boolean, shape (x, 1, 1); x grows to the patient's right."""
    x, _, _ = axes_mm()
    return (x < 0) & ("left" in sides) | (x > 0) & ("right" in sides)


def plant(head: Head, sides: dict[str, tuple[str, ...]], severity: float, seed: int) -> tuple[Head, tuple[Lesion | Ovoid, ...]]:
    """A copy of the head with the tract made pure white matter, and with the findings."""
    head = _with_pure_tract(head)
    tract = _soft(cst_region(head))
    made = lesions(head, sides.get("white_matter_lesions", ()), round(LESIONS * severity), seed)
    if "brainstem_atrophy" in sides:
        where = np.logical_or.reduce(list(brainstem_parts().values())) & on_sides(sides["brainstem_atrophy"])
        head = _worn(head, where, BRAINSTEM_LOSS_MM * severity)
    if "motor_cortex_atrophy" in sides:
        head = _worn(head, motor_strip(head) & on_sides(sides["motor_cortex_atrophy"]), CORTEX_LOSS_MM * severity)
    spots = {"bright_tract": tract * capsule_gain(), "white_texture": texture(seed) * head.tissue["white"]}
    if "cst_hyperintensity" in sides:
        spots["bright_tract"] += tract * on_sides(sides["cst_hyperintensity"]) * np.float32(TRACT_GAIN * severity)
    if "motor_band_sign" in sides:
        spots["dark_band"] = dark_band(head, sides["motor_band_sign"], BAND_LOSS * severity)
    if made:
        spots |= _lesion_spots(made, head.tissue["white"])
    ovoids = tuple(one for name in phantom_lesions.TABLES for one in phantom_lesions.planted(name, sides.get(name, ()), severity, seed))
    if ovoids:
        spots = _with_more(spots, phantom_lesions.spots_of(ovoids, head))
    return replace(head, spots=spots), (*made, *ovoids)


def dark_band(head: Head, sides: tuple[str, ...], loss: float) -> np.ndarray:
    """The share of its signal in SWI that each place of the template loses: `loss` in pure grey matter facing the central sulcus."""
    return _soft(band(head) & on_sides(sides)) * head.tissue["grey"] * np.float32(loss)


def _with_more(spots: dict[str, np.ndarray], more: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Both together; lesions that were planted before are as dark on T1 as they are bright."""
    if "lesion" in spots:
        spots = {**spots, "dark_lesion": spots["lesion"]}
    return {**spots, **{name: np.maximum(image, spots[name]) if name in spots else image for name, image in more.items()}}


def fa_factors(sides: dict[str, tuple[str, ...]], severity: float) -> dict[str, float]:
    """What the tract's FA is multiplied by, by side."""
    hurt = sides.get("cst_degeneration", ())
    return {side: 1 - FA_LOSS * severity * (side in hurt) for side in SIDES}


def capsule_gain() -> np.ndarray:
    """How much brighter a healthy tract is in FLAIR, by height: float32, shape (1, 1, z)."""
    from scipy.special import expit

    (low, high), (_, _, z) = CAPSULE_Z_MM, axes_mm()
    gain = CAPSULE_GAIN * expit((z - low) / CAPSULE_EDGE_MM) * expit((high - z) / CAPSULE_EDGE_MM)
    return gain.astype(np.float32)


def texture(seed: int) -> np.ndarray:
    """How white matter varies in FLAIR from place to place: mean 0, standard deviation TEXTURE, smooth; float32, shape SHAPE."""
    from scipy import ndimage

    shape = tuple(-(-n // TEXTURE_STEP) for n in SHAPE)
    coarse = np.random.default_rng([seed, 6]).standard_normal(shape, dtype=np.float32)
    smooth = ndimage.gaussian_filter(coarse, TEXTURE_SIGMA_MM / TEXTURE_STEP)
    fine = ndimage.zoom(smooth, TEXTURE_STEP, order=1)[tuple(slice(n) for n in SHAPE)]
    return fine * np.float32(TEXTURE / fine.std())


def _soft(mask: np.ndarray) -> np.ndarray:
    from scipy import ndimage

    return ndimage.gaussian_filter(mask.astype(np.float32), 0.6)


def _with_pure_tract(head: Head) -> Head:
    share = _soft(cst_region(head)) * head.tissue["grey"]
    return replace(head, tissue={**head.tissue, "grey": head.tissue["grey"] - share, "white": head.tissue["white"] + share})


def _worn(head: Head, where: np.ndarray, depth_mm: float) -> Head:
    """Fluid grows by a depth into grey and white matter inside a region, grey first."""
    from scipy import ndimage

    ball = ndimage.generate_binary_structure(3, 1)
    csf, left_mm = head.tissue["csf"] + head.tissue["bone"], depth_mm
    while left_mm > 0:
        csf = csf + np.float32(min(left_mm, 1.0)) * (ndimage.grey_dilation(csf, footprint=ball) - csf)
        left_mm -= 1.0
    gain = np.clip(csf - head.tissue["csf"] - head.tissue["bone"], 0, None) * where
    from_grey = np.minimum(gain, head.tissue["grey"])
    from_white = np.minimum(gain - from_grey, head.tissue["white"])
    changed = {"csf": from_grey + from_white, "grey": -from_grey, "white": -from_white}
    return replace(head, tissue={name: head.tissue[name] + changed[name] if name in changed else head.tissue[name] for name in head.tissue})


def lesions(head: Head, sides: tuple[str, ...], count: int, seed: int) -> tuple[Lesion, ...]:
    """The first `count` lesions of a seed: a smaller count is a part of a larger one."""
    if not sides or not count:
        return ()
    random = np.random.default_rng([seed, 5])
    places = {site: np.argwhere(mask & on_sides(sides)) for site, mask in _lesion_places(head).items()}
    chosen: list[Lesion] = []
    for k in range(count):
        site = LESION_ORDER[k % len(LESION_ORDER)]
        radii = random.uniform(*LESION_RADIUS_MM, 3) * (0.8 if site == "infratentorial" else 1)
        tries = places[site][random.integers(len(places[site]), size=64)] + ORIGIN_MM
        apart = [min((np.linalg.norm(at - other.middle_mm) for other in chosen), default=99.0) for at in tries]
        best = next((i for i, distance in enumerate(apart) if distance > LESION_DISTANCE_MM), int(np.argmax(apart)))
        chosen.append(Lesion(site, tries[best], radii))
    return tuple(chosen)


def _lesion_places(head: Head) -> dict[str, np.ndarray]:
    """White matter by site, away from the corticospinal tract; boolean."""
    from scipy import ndimage

    _, y, z = axes_mm()
    white = (head.tissue["white"] > 0.9) & ~ndimage.binary_dilation(cst_region(head), iterations=5)
    near_ventricle = ndimage.binary_dilation(ventricles(head), iterations=6)
    near_cortex = ndimage.binary_dilation((head.tissue["grey"] > 0.6) & (z > 0), iterations=3)
    below = (z < -22) & (y < -38) & (z > -55)
    upper = white & (z > 0)
    return {
        "periventricular": upper & near_ventricle,
        "juxtacortical": upper & near_cortex & ~near_ventricle & (z > 20),
        "deep": upper & ~near_cortex & ~near_ventricle & (z > 15),
        "infratentorial": (head.tissue["white"] > 0.7) & below,
    }


def _lesion_spots(made: tuple[Lesion, ...], white: np.ndarray) -> dict[str, np.ndarray]:
    """Fraction of lesion on the template, of all and by site: ellipsoids with an edge of 1 mm, only where there is white matter."""
    spots = {f"lesion_{site}": np.zeros(SHAPE, np.float32) for site in dict.fromkeys(lesion.site for lesion in made)}
    room = np.clip(white * 1.5, 0, 1)
    for lesion in made:
        low = np.floor(lesion.middle_mm - ORIGIN_MM - lesion.radii_mm.max() - 2).astype(int)
        size = 2 * int(lesion.radii_mm.max()) + 6
        index = np.stack(np.meshgrid(*(np.arange(a, a + size) for a in low), indexing="ij"), axis=-1)
        radius = np.linalg.norm((index + ORIGIN_MM - lesion.middle_mm) / lesion.radii_mm, axis=-1)
        box, spot = tuple(slice(a, a + size) for a in low), spots[f"lesion_{lesion.site}"]
        spot[box] = np.maximum(spot[box], np.clip(0.5 - (radius - 1) * lesion.radii_mm.min(), 0, 1) * room[box])
    return {**spots, "lesion": np.maximum.reduce(list(spots.values()))}
