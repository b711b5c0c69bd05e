"""The same phantom head at a later visit: its anatomy is that of the seed, and what has changed since is known.

    precentral_loss    of the volume of the grey matter of the precentral gyrus, of the sides that are named, percent of the first visit
    brainstem_loss     of midbrain, pons and medulla together; brain_loss: of all grey and white matter; likewise
    fa_loss            of the FA of the tract, percent
    flair_gain         by which the tract became brighter in FLAIR, percent
    band_loss          of the signal in SWI of the cortex that faces the central sulcus from the front, percent; of the sides that are named
    cord_loss          of the area of the cervical cord, percent: the canal stays, and so do the discs; up to 25
    lesions            numbers in the table of `ms_lesions` (left from 0, right from 12) with their size against the table's: a number that
                       is missing has gone or is not there yet

A loss of volume is a shrinkage: the tissue draws together, and the fluid near by takes its place. The flow has the divergence that is asked
for inside the tissue, the opposite in the fluid near by, and none elsewhere, so that what moves is known in every place and what is
lost is the integral of it, not a measurement. Every visit lies in the scanner in another position and has another grid, bias field and
noise; a visit 0 without a change is the usual phantom. The neck hangs below the head of that visit and keeps its curve; its series too lie
another way at every visit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache

import numpy as np

from analysis import phantom_truth
from analysis.phantom import FORAMEN_TEMPLATE_MM, Phantom, image_spacing
from analysis.phantom_cortex import lps_from_template
from analysis.phantom_findings import SIDES, TRACT_GAIN, dark_band, on_sides, plant
from analysis.phantom_head import ORIGIN_MM, SHAPE, Head, healthy_head
from analysis.phantom_lesions import Ovoid, planted, spots_of
from analysis.phantom_neck import AREA_LOSS, Neck, neck_of
from analysis.phantom_neck_scan import NECK_SEQUENCES
from analysis.phantom_regions import brainstem, motor_strip
from analysis.phantom_scan import SEQUENCES, look_up, scan, scan_diffusion
from analysis.phantom_shape import Shape, rotation, shape_of
from analysis.phantom_tracts import fibres_of
from analysis.steps.flow import flow_between
from analysis.volume import Image

TURN_DEG, SHIFT_MM = 5.0, 6.0
MARGIN_MM = 24  # beyond it a flow that takes from here and gives there has died away
STEPS, ROUNDS = 2, 2
FLOW_SMALLEST = 0.05  # percent: less is no change


@dataclass(frozen=True)
class Course:
    """What has changed since the first visit; see the module. `sides`: of the precentral loss and of the motor band."""

    precentral_loss: float = 0.0
    brainstem_loss: float = 0.0
    brain_loss: float = 0.0
    fa_loss: float = 0.0
    flair_gain: float = 0.0
    band_loss: float = 0.0
    cord_loss: float = 0.0
    lesions: Mapping[int, float] = field(default_factory=dict)
    sides: tuple[str, ...] = SIDES


NOTHING = Course()
# What the first visit has lost half a year later at a severity of 1, percent; each visit after it loses as much again.
PER_VISIT = {"precentral_loss": 4.0, "brainstem_loss": 4.0, "fa_loss": 10.0, "flair_gain": 20.0, "band_loss": 10.0, "cord_loss": 4.0}
MOST = {"band_loss": 45.0, "cord_loss": 25.0}  # what the findings of the same name are at their worst
FIRST_LESIONS, NEW_LESION, GONE_LESION = {0: 1.0, 4: 1.0, 13: 1.0}, 16, 4


def course_of(visit: int, severity: float) -> Course:
    """What a visit (0 the first) has lost; with a severity above 0 a lesion is new from the second visit on, and one has gone."""
    losses = {name: min(round(loss * severity * visit, 6), MOST.get(name, np.inf)) for name, loss in PER_VISIT.items()}
    lesions = dict(FIRST_LESIONS)
    if visit and severity:
        lesions |= {NEW_LESION: 1.0}
        del lesions[GONE_LESION]
    return Course(**losses, lesions=lesions)


@dataclass(frozen=True, eq=False)
class Shrinkage:
    """A flow on a lattice of 1 mm: `way_mm` (3, x, y, z) leads from where tissue lies now about to where it lay; `corner` is the RAS
    position of the lattice's first point. Beyond the lattice nothing moves."""

    way_mm: np.ndarray
    corner_mm: np.ndarray

    def origin_of(self, points_mm: np.ndarray) -> np.ndarray:
        """Where points of the template (3, n) were at the first visit, RAS mm."""
        from scipy import ndimage

        here = np.array(points_mm, np.float32)
        for _ in range(STEPS):
            index = here - self.corner_mm[:, None].astype(np.float32)
            here += np.stack([ndimage.map_coordinates(axis, index, order=1, output=np.float32) for axis in self.way_mm]) / STEPS
        return here


def shrinkage(tissue: np.ndarray, fluid: np.ndarray, percent: float) -> Shrinkage:
    """The flow under which `tissue` (fraction 0 to 1 on the template) loses a share of its volume to the `fluid` near it."""
    box = _around(tissue > 0.05)
    loss = tissue[box].astype(np.float32)
    corner = np.array([side.start for side in box]) + ORIGIN_MM
    way_mm = flow_between(loss, fluid[box])
    wanted = rate = -np.log(1.0 - percent / 100.0)
    for _ in range(ROUNDS):  # where tissue and fluid share a voxel, it shrinks less
        reached = -np.log(1.0 + volume_change(tissue, (Shrinkage(way_mm * np.float32(rate), corner),)) / 100.0)
        rate *= wanted / reached
    return Shrinkage(way_mm * np.float32(rate), corner)


def _around(where: np.ndarray) -> tuple[slice, ...]:
    edges = [np.flatnonzero(where.any(axis=tuple(a for a in range(3) if a != k)))[[0, -1]] for k in range(3)]
    return tuple(slice(max(int(a) - MARGIN_MM, 0), min(int(b) + MARGIN_MM + 1, n)) for (a, b), n in zip(edges, SHAPE, strict=True))


@lru_cache(maxsize=4)
def _shrunk(name: str, percent: float, sides: tuple[str, ...] = SIDES) -> Shrinkage:
    return shrinkage(_losing(name, sides), healthy_head().tissue["csf"], percent)


def _losing(name: str, sides: tuple[str, ...] = SIDES) -> np.ndarray:
    """The tissue that shrinks, fraction 0 to 1 on the template."""
    head = healthy_head()
    if name == "precentral":
        return head.tissue["grey"] * (motor_strip(head) & on_sides(sides))
    solid = head.tissue["grey"] + head.tissue["white"]
    where = np.logical_or.reduce(list(brainstem().values())) if name == "brainstem" else head.inside_skull
    return solid * where


def shrinkages(course: Course) -> tuple[Shrinkage, ...]:
    """The flows of a course, first those of parts."""
    asked = (("precentral", course.precentral_loss, course.sides), ("brainstem", course.brainstem_loss, SIDES),
             ("brain", course.brain_loss, SIDES))  # fmt: skip
    return tuple(_shrunk(name, percent, sides) for name, percent, sides in asked if abs(percent) >= FLOW_SMALLEST)


def visited(seed: int, visit: int, course: Course = NOTHING) -> Shape:
    """The head of a seed as it lies in the scanner at a visit, with what it has lost."""
    shape = shape_of(seed)
    if visit:
        random = np.random.default_rng([seed, 21, visit])
        move = np.eye(4)
        move[:3, :3] = rotation(random.uniform(-TURN_DEG, TURN_DEG, 3))
        middle = shape.middle_mm
        move[:3, 3] = middle - move[:3, :3] @ middle + random.uniform(-SHIFT_MM, SHIFT_MM, 3)
        shape = replace(shape, affine=shape.affine @ move)
    return shape.pushed(shrinkages(course))


def head_of(seed: int, course: Course = NOTHING) -> tuple[Head, tuple[Ovoid, ...]]:
    """The head with what a course paints into it, and its lesions."""
    brighter = {"cst_hyperintensity": SIDES} if course.flair_gain else {}
    head, _ = plant(healthy_head(), brighter, course.flair_gain / 100.0 / TRACT_GAIN, seed)
    made = lesions_of(seed, course.lesions)
    spots = spots_of(made, head) if made else {}
    if course.band_loss:
        spots["dark_band"] = dark_band(head, course.sides, course.band_loss / 100.0)
    return (replace(head, spots={**head.spots, **spots}) if spots else head), made


def neck_at(seed: int, shape: Shape, course: Course = NOTHING) -> Neck:
    """The neck below a head of that seed as it lies at a visit."""
    foramen_lps = lps_from_template(shape, FORAMEN_TEMPLATE_MM)[:, 0]
    worn = ("cord_atrophy",) if course.cord_loss else ()
    return neck_of(worn, course.cord_loss / 100.0 / AREA_LOSS, seed, foramen_lps)


def lesions_of(seed: int, sizes: Mapping[int, float]) -> tuple[Ovoid, ...]:
    """Lesions of the table of multiple sclerosis by their number, with their size against the table's."""
    table = planted("ms_lesions", SIDES, 1.0, seed) if sizes else ()
    return tuple(replace(table[number], length_mm=table[number].length_mm * size, width_mm=table[number].width_mm * size)
                 for number, size in sorted(sizes.items()))  # fmt: skip


def phantom_at(
    visit: int, course: Course = NOTHING, seed: int = 0, *, roles: tuple[str, ...] = ("t1",), coarseness: float = 1.0, noise: float = 1.0
) -> Phantom:
    """The head of a seed at a visit, and its neck where a series of it is asked for. `roles`, `coarseness` and `noise` as in `phantom`.
    The truth holds the measurements of this visit, and under "change" what the course planted."""
    shape = visited(seed, visit, course)
    of_neck = tuple(role for role in roles if role in NECK_SEQUENCES)
    of_head = tuple(role for role in roles if role not in of_neck)
    images, measured = _head_at(visit, course, seed, shape, of_head, coarseness, noise) if of_head else ({}, {})
    truth: dict[str, object] = {"seed": seed, "visit": visit, "measurements": measured, "change": change_of(course),
                                "lesions": lesion_places(seed, course, shape)}  # fmt: skip
    if of_neck:
        neck = neck_at(seed, shape, course)
        images |= {role: neck.scan(role, coarseness, noise, visit) for role in of_neck}
        its = neck.truth()
        truth |= {"measurements": {**measured, **its["measurements"]}, "neck": {"discs_lps_mm": its["discs_lps_mm"]}}
    voxel_mm = {role: [round(float(size), 4) for size in image_spacing(image)] for role, image in images.items()}
    return Phantom(images, {**truth, "voxel_mm": voxel_mm})


def _head_at(
    visit: int, course: Course, seed: int, shape: Shape, roles: tuple[str, ...], coarseness: float, noise: float
) -> tuple[dict[str, Image], dict[str, list[dict[str, object]]]]:
    """The images of a head and its true measurements, by marker."""
    head, made = head_of(seed, course)
    fibres = fibres_of(head, {side: 1.0 - course.fa_loss / 100.0 for side in SIDES})
    images: dict[str, Image] = {
        role: scan_diffusion(head, fibres, shape, seed, coarseness, noise, visit=visit) if role == "dwi"
        else scan(head, shape, SEQUENCES[role], seed, coarseness, noise, visit) for role in roles
    }  # fmt: skip
    return images, phantom_truth.measurements(head, fibres, shape, made, roles, noise)


def change_of(course: Course) -> list[dict[str, object]]:
    """What a course planted, percent of the first visit: the volumes by the flow itself, which carries the tissue."""
    flows = shrinkages(course)
    regions = [(f"{name}_volume", None, _losing("brainstem") * part) for name, part in brainstem().items()]
    regions += [("precentral_volume", side, _losing("precentral", (side,))) for side in SIDES]
    regions.append(("brain_volume", None, _losing("brain")))
    return [{"name": name, "side": side, "percent": round(volume_change(tissue, flows), 4)} for name, side, tissue in regions] + [
        {"name": "cst_fa", "side": None, "percent": -course.fa_loss},
        {"name": "cst_flair", "side": None, "percent": course.flair_gain},
        *({"name": "motor_band", "side": side, "percent": -course.band_loss if side in course.sides else 0.0} for side in SIDES),
        {"name": "cord_area", "side": None, "percent": -course.cord_loss},
    ]


def volume_change(tissue: np.ndarray, flows: tuple[Shrinkage, ...]) -> float:
    """By how many percent flows change the volume of a tissue (fraction on the template)."""
    if not flows:
        return 0.0
    low = np.min([flow.corner_mm for flow in flows], axis=0) - ORIGIN_MM
    high = np.max([flow.corner_mm - ORIGIN_MM + flow.way_mm.shape[1:] for flow in flows], axis=0)
    box = tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    points = np.indices([side.stop - side.start for side in box], dtype=np.float32).reshape(3, -1)
    points += (low + ORIGIN_MM).astype(np.float32)[:, None]
    for flow in flows:
        points = flow.origin_of(points)
    more = float(look_up(tissue, points).sum(dtype=np.float64)) - float(tissue[box].sum(dtype=np.float64))
    return 100.0 * more / float(tissue.sum(dtype=np.float64))


def lesion_places(seed: int, course: Course, shape: Shape) -> list[dict[str, object]]:
    """Every lesion: its number in the table, its size against the table's, its site and middle in the patient, LPS mm."""
    return [
        {"number": number, "size": size, "site": one.site, "length_mm": one.length_mm, "width_mm": one.width_mm,
         "middle_lps_mm": [round(float(at), 2) for at in lps_from_template(shape, one.middle_mm[:, None].astype(float))[:, 0]]}
        for (number, size), one in zip(sorted(course.lesions.items()), lesions_of(seed, course.lesions), strict=True)
    ]  # fmt: skip
