"""Heads that nobody has, with lesions that are known: what the lesion detector learns from. For `lesion_weights.py`, never for the engine.

One half of the template's brain, bent as residues of a registration bend it, with ventricles of another size, gets the brightness of a
FLAIR: tissues, an uneven field, noise, blur, and what is bright without being a lesion (rims and caps of the ventricles, the corticospinal
tract, the optic radiation, limbic cortex, choroid plexus, septum, pulsating fluid, vessels). Then lesions: ellipsoids with rough edges near
the ventricles, under the cortex, deep and below the tentorium, from 1.4 to 10 mm radius, 0.5 to 1.8 steps from white to grey matter above
white matter. The detector is told where the template is, not where the bent anatomy is. Every number is drawn from the seed.

Ranges were chosen by how FLAIR looks on scanners, and not fitted to any patient. Arrays are (x, y, z) at 1 mm, RAS.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy import ndimage

from analysis.atlas.build import inside_of
from analysis.atlas.maps import template_maps
from analysis.steps.lesion_features import Priors
from analysis.steps.lesion_priors import priors_at

MIDLINE_MM, MARGIN = 12.0, 3
LESIONS = (4, 45)  # of a half head, on a logarithmic scale
RADIUS_MM = (2.2, 3.6)
SHARES = {"periventricular": 0.5, "juxtacortical": 0.2, "deep": 0.2, "infratentorial": 0.1}


@dataclass(frozen=True, eq=False)
class Case:
    """`flair`, what the detector knows of its place (`priors`), and where the lesions are: boolean."""

    flair: np.ndarray
    priors: Priors
    lesions: np.ndarray


@dataclass(frozen=True, eq=False)
class Anatomy:
    """The bent half brain: tissue fractions, the distance from the ventricle in mm, and the template position of every voxel."""

    white: np.ndarray
    grey: np.ndarray
    fluid: np.ndarray
    ventricle: np.ndarray
    brain: np.ndarray
    ventricle_mm: np.ndarray
    place: np.ndarray


@dataclass(frozen=True, eq=False)
class Template:
    """The template's maps at 1 mm (`maps`), as the engine has them (`known`, from 2 mm), and the place of every voxel (3, x, y, z), mm."""

    maps: Priors
    known: Priors
    place: np.ndarray


@cache
def half_head() -> Template:
    """The template's left half with a margin beyond the midline."""
    maps = template_maps()
    inside = inside_of(maps.t1)
    half = ndimage.find_objects((inside & (maps.axes_mm[0] < MIDLINE_MM)).astype(np.uint8))[0]
    half = tuple(slice(max(side.start - MARGIN, 0), side.stop + MARGIN) for side in half)
    place = np.stack(np.meshgrid(*(axis.ravel()[side] for axis, side in zip(maps.axes_mm, half, strict=True)), indexing="ij"))
    white, grey, brain = maps.white[half].astype(np.float32), maps.grey[half].astype(np.float32), inside[half]
    known = priors_at(np.stack([-place[0], -place[1], place[2]]).astype(np.float32))
    fluid = np.clip(brain - grey - white, 0, 1)
    return Template(Priors(white, grey, fluid, known.ventricle, brain), known, place.astype(np.float32))


def case_of(seed: int) -> Case:
    """The half head of a seed."""
    random = np.random.default_rng([seed, 11])
    template = half_head()
    anatomy = bent(template.maps, template.place, random)
    step = random.uniform(0.1, 0.4)
    flair = appearance(anatomy, step, random)
    flair, lesions = with_lesions(flair, anatomy, step, random)
    return Case(scanned(flair, anatomy.brain, random), template.known, lesions & anatomy.brain)


def rough(random: np.random.Generator, shape: tuple[int, ...], sigma_mm: float, amount: float) -> np.ndarray:
    """A smooth random field of that standard deviation; made on a coarse grid."""
    k = max(int(sigma_mm // 2), 1)
    coarse = random.standard_normal([-(-n // k) + 2 for n in shape], dtype=np.float32)
    coarse = ndimage.gaussian_filter(coarse, sigma_mm / k, truncate=3)
    fine = ndimage.zoom(coarse, k, order=1)[tuple(slice(n) for n in shape)] if k > 1 else coarse[tuple(slice(n) for n in shape)]
    return (fine * (amount / fine.std())).astype(np.float32)


def bent(priors: Priors, place: np.ndarray, random: np.random.Generator) -> Anatomy:
    """Anatomy that lies up to some mm beside the template's, with wider or narrower ventricles and crisper tissues."""
    shape, amount = priors.white.shape, random.uniform(1.0, 2.8)
    coarse_mm, fine_mm = random.uniform(7, 14), random.uniform(3.5, 6)
    shift = [rough(random, shape, coarse_mm, 0.7 * amount) + rough(random, shape, fine_mm, 0.5 * amount) for _ in range(3)]
    away = ndimage.distance_transform_edt(~priors.ventricle).astype(np.float32)
    wider = random.uniform(-1, 3.5) * np.exp(-away / 8)
    index = np.indices(shape, dtype=np.float32)
    slopes = np.gradient(ndimage.gaussian_filter(away, 2))
    index = np.stack([one + move - wider * slope for one, move, slope in zip(index, shift, slopes, strict=True)])
    white, grey, fluid, ventricle, brain = (
        ndimage.map_coordinates(np.asarray(one, np.float32), index, order=1)
        for one in (priors.white, priors.grey, priors.fluid, priors.ventricle, priors.brain)
    )
    power = random.uniform(1.2, 4)
    tissues = np.maximum(np.stack([white, grey, fluid]), 1e-3) ** power
    white, grey, fluid = tissues / tissues.sum(0)
    away = ndimage.distance_transform_edt(ventricle < 0.5).astype(np.float32)
    return Anatomy(white, grey, fluid, ventricle, brain > 0.5, away, place + np.stack(shift))


def appearance(anatomy: Anatomy, step: float, random: np.random.Generator) -> np.ndarray:
    """The FLAIR without lesions: white matter is 1, grey matter 1 + `step`."""
    (x, y, z), shape, uniform = anatomy.place, anatomy.white.shape, random.uniform
    across, away = np.abs(x), anatomy.ventricle_mm
    white = 1 + rough(random, shape, 12, uniform(0.005, 0.03)) + rough(random, shape, 4, uniform(0.005, 0.045))
    white += np.clip(np.exp(-((away / uniform(0.8, 1.8)) ** 2)) * uniform(0, 0.9) * (1 + rough(random, shape, 6, 0.4)), 0, None) * step
    for x0, y0, z0 in ((16, 34, 4), (26, -48, 8)):  # caps of the horns
        far = (across - x0) ** 2 + (y - y0) ** 2 + (z - z0) ** 2
        white += np.exp(-far / (2 * uniform(2, 4) ** 2)) * uniform(0, 1) * step
    halo = np.exp(-((away / uniform(4, 9)) ** 2)) * uniform(0, 0.45) * step
    white += halo * (0.3 + (y < -15))
    tract = np.exp(-((across - 20 - 0.12 * np.abs(z - 5)) ** 2 + (y + 18) ** 2) / (2 * uniform(2.5, 4) ** 2))
    white += tract * (z > -25) * (z < 45) * uniform(0, 1) * step
    white += np.exp(-((across - 30) ** 2 + (z - 8) ** 2) / 50) * (y < -45) * (y > -75) * uniform(0, 0.5) * step  # optic radiation
    grey = 1 + step + rough(random, shape, 8, uniform(0.1, 0.4) * step) + rough(random, shape, 3, uniform(0.1, 0.4) * step)
    limbic = np.exp(-((across - 28) ** 2 / 196 + (y - 2) ** 2 / 784 + (z + 12) ** 2 / 484))
    limbic += np.exp(-(x**2 / 100 + (y - 5) ** 2 / 1600 + (z - 25) ** 2 / 484))
    grey += limbic * uniform(0, 0.5) * step
    deep = (across < 36) & (np.abs(y + 2) < 28) & (np.abs(z - 4) < 14)
    grey = np.where(deep, 1 + (grey - 1) * uniform(0.2, 1), grey)
    return anatomy.white * white + anatomy.grey * grey + anatomy.fluid * fluid_of(anatomy, random)


def fluid_of(anatomy: Anatomy, random: np.random.Generator) -> np.ndarray:
    """The brightness of fluid: dark, but for what pulsates, the choroid plexus, the septum, vessels and meninges."""
    (x, y, z), shape, uniform = anatomy.place, anatomy.white.shape, random.uniform
    across, fluid = np.abs(x), np.full(anatomy.white.shape, uniform(0.08, 0.45), np.float32)
    if uniform() < 0.7:
        low = 1 / (1 + np.exp((z + 5) / 6)) + np.exp(-(x**2 / 25 + (y + 8) ** 2 / 225 + (z - 5) ** 2 / 225))
        fluid += np.clip(rough(random, shape, 4, 1) - 0.6, 0, 2) * np.minimum(low, 1) * uniform(0.3, 1.2)
    middle, radii = (uniform(18, 24), uniform(-42, -32), uniform(4, 14)), (uniform(3, 6), uniform(5, 9), uniform(4, 8))
    far = sum(((one - at) / radius) ** 2 for one, at, radius in zip((across, y, z), middle, radii, strict=True))
    plexus = (far + rough(random, shape, 2, 0.4) < 1) & (anatomy.ventricle > 0.4)
    fluid = np.where(plexus, uniform(0.8, 1.7), fluid)
    if uniform() < 0.8:
        fluid = np.where((across < uniform(0.8, 1.8)) & (anatomy.ventricle > 0.3) & (z > 0), uniform(0.8, 1.5), fluid)
    if uniform() < 0.6:
        vessel = (np.abs(rough(random, shape, 3, 1)) < 0.05) & (anatomy.ventricle_mm > 12)
        fluid = np.where(vessel, uniform(0.8, 1.4), fluid)
    return fluid


def places_of(anatomy: Anatomy) -> dict[str, np.ndarray]:
    """Where the middle of a lesion may lie, by site: indices (n, 3)."""
    _, y, z = anatomy.place
    white = (anatomy.white > 0.6) & anatomy.brain & (z > -50)
    to_grey = ndimage.distance_transform_edt(anatomy.white > 0.5)
    below, away = (z < -20) & (y < -12), anatomy.ventricle_mm
    sites = {
        "periventricular": white & (away < 6) & ~below,
        "juxtacortical": white & (to_grey < 3) & (away > 10) & ~below,
        "deep": white & (to_grey >= 3) & (away > 6) & ~below,
        "infratentorial": white & below,
    }
    return {site: np.argwhere(where) for site, where in sites.items()}


def with_lesions(flair: np.ndarray, anatomy: Anatomy, step: float, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """The FLAIR with lesions, and where they are: boolean."""
    uniform, shape = random.uniform, flair.shape
    places, sites = places_of(anatomy), list(SHARES)
    gain, labels = np.zeros(shape, np.float32), np.zeros(shape, bool)
    usual_radius, usual_gain = uniform(*RADIUS_MM), uniform(0.5, 1.8)
    for _ in range(int(np.exp(uniform(*np.log(LESIONS))))):
        candidates = places[sites[random.choice(len(sites), p=list(SHARES.values()))]]
        if len(candidates):
            middle = candidates[random.integers(len(candidates))]
            radius = float(np.clip(np.exp(random.normal(np.log(usual_radius), 0.45)), 1.4, 10))
            box, far = ellipsoid(middle, radius, shape, random)
            own = np.clip(usual_gain * random.normal(1, 0.3), 0.25, 3) * max(step, 0.12) + uniform(0, 0.12)
            solid = anatomy.fluid[box] < 0.4
            gain[box] = np.maximum(gain[box], np.clip((1.25 - far) / 0.5, 0, 1) * own * solid)
            labels[box] |= (far < 1) & (anatomy.white[box] + 0.5 * anatomy.grey[box] > 0.45) & solid & anatomy.brain[box]
    if uniform() < 0.6:  # white matter around lesions is often hazy
        flair = flair + ndimage.gaussian_filter(labels.astype(np.float32), 3) * uniform(0, 0.3) * step * anatomy.white
    solid = anatomy.white + anatomy.grey
    share = np.minimum(gain / 0.15, 1)
    return np.maximum(flair, flair * (1 - share) + share * (1 + 0.35 * step + gain) * solid), labels


def ellipsoid(middle: np.ndarray, radius: float, shape: tuple[int, ...], random: np.random.Generator):
    """A box around a place, and how far its voxels lie from there in radii of a turned ellipsoid with a rough surface."""
    reach = int(2 * radius) + 5
    box = tuple(slice(max(int(at) - reach, 0), min(int(at) + reach + 1, size)) for at, size in zip(middle, shape, strict=True))
    offset = np.stack(np.meshgrid(*(np.arange(side.start, side.stop) - at for side, at in zip(box, middle, strict=True)), indexing="ij"))
    turn = np.linalg.qr(random.standard_normal((3, 3)))[0]
    radii = radius * np.exp(random.normal(0, 0.28, 3))
    far = np.sqrt(((np.tensordot(turn, offset, 1) / radii.reshape(3, 1, 1, 1)) ** 2).sum(0))
    return box, far + rough(random, far.shape, max(0.4 * radius, 1), random.uniform(0.05, 0.25))


def scanned(flair: np.ndarray, brain: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Blur (sometimes more along one axis), an uneven field and noise; 0 outside the brain."""
    uniform = random.uniform
    blur = [uniform(0.3, 0.8)] * 3
    if uniform() < 0.4:
        blur[random.integers(3)] = uniform(0.8, 1.4)
    image = ndimage.gaussian_filter(flair, blur) * np.exp(rough(random, flair.shape, 28, uniform(0.01, 0.05)))
    noise = ndimage.gaussian_filter(random.standard_normal(flair.shape, dtype=np.float32), uniform(0, 0.6))
    image += noise * np.float32(uniform(0.012, 0.06) / noise.std())
    return (np.clip(image, 0.001, None) * brain).astype(np.float32)
