"""Do the directions of a diffusion series fit the anatomy in its images? They come from the header and go wrong there: flipped or swapped
axes, a table in the axes of the scanner read as that of the slices, volumes out of order. Images alone show none of it.

The course: anisotropy changes across a bundle, not along it, so a fibre stands upright on the slope of anisotropy around it. That slope
belongs to the voxels, the fibre to the directions. `fit` is 1 - 3 × the share of the slope's energy that lies along the fibres: 0 where
the two have nothing to do with each other, 1 where every fibre is upright on it. All turns are tried, in the axes of the voxels: the 24
flips and swaps (a fibre has no sign, so these are the turns of a cube), and from the best of them on, any angle. The best has to be none.
The anatomy: on the template, the callosum runs from left to right and the corticospinal tract along its course.

What is against the directions is refused, NotMeasurable with what was seen. What is too weak to tell (few or thick slices, noise) is let
through with a note: no good series is refused for want of evidence.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from scipy.spatial.transform import Rotation

from analysis import atlas
from analysis.outcome import NotMeasurable
from analysis.steps.space import Placement, sample
from analysis.volume import Volume
from analysis.words import joined, say

LEAST_FA = 0.3
EDGE_MM = 6.0  # the rim of the brain has slopes of its own
SMOOTH_MM = 2.1
CUBE_MM = 20.0  # what happens in one cube counts as one observation
LEAST_VOXELS, LEAST_CUBES = 500, 30
# Chosen on two real series (Siemens b 2500 with 20 directions, Philips b 2000 with 15), whole, as slabs of 4 to 10 slices, with slices of
# 6 mm, with 12 and 6 directions, with noise, and on phantoms (seeds 1 to 3); the docstring of its test has the figures of both sides.
LARGEST_TURN_DEG = 15.0
LEAST_TURNED_FIT = 0.15  # of the best turn: below it, it is noise
LEAST_FIT = 0.2  # as the directions are, where they agree from voxel to voxel
LEAST_AGREEMENT = 0.75  # mean squared cosine between neighbours; noise gives 1/3
SURE = 3.0  # standard errors
LARGEST_TILT_DEG = 40.0  # on the template
LEAST_TRACT_VOXELS = 20

REFUSAL = say("gradient directions do not fit the anatomy")


@dataclass(frozen=True, eq=False)
class Course:
    """How the fibres run against the slope of anisotropy: `moments` (cube, 9, 9) of slope ⊗ fibre, grid axes; `agreement` of neighbours."""

    moments: np.ndarray
    slope: np.ndarray
    agreement: float
    voxels: int

    def fit(self, turn: np.ndarray) -> float:
        """The fit of the fibres after a turn (3, 3)."""
        return float(1.0 - 3.0 * self._along(turn).sum() / self.slope.sum())

    def fit_error(self, turn: np.ndarray) -> float:
        """Its standard error, from the differences between the cubes."""
        return self._error(self.slope - 3.0 * self._along(turn))

    def gain(self, turn: np.ndarray, other: np.ndarray) -> tuple[float, float]:
        """How much better the first turn fits than the other, and the standard error of that."""
        each = 3.0 * (self._along(other) - self._along(turn))
        return float(each.sum() / self.slope.sum()), self._error(each)

    def _error(self, each: np.ndarray) -> float:
        """The standard error of a ratio of sums over the cubes, to first order."""
        rest = each - each.sum() / self.slope.sum() * self.slope
        return float(np.sqrt(len(each) * rest.var(ddof=1)) / self.slope.sum())

    def _along(self, turn: np.ndarray) -> np.ndarray:
        flat = turn.ravel()
        return self.moments @ flat @ flat


def check_course(fa: Volume, direction_lps: np.ndarray, brain: np.ndarray) -> str | None:
    """None where the principal directions (slice, row, column, 3) follow the fibres, a note where the images are too weak to tell.

    NotMeasurable where another turn fits surely better, or where smooth directions fit no anatomy at all.
    """
    course = course_of(fa, direction_lps, brain)
    if course is None:
        return _not_checked(say("too little of the white matter is in the field of view"))
    best, straight = best_turn(course), np.eye(3)
    angle_deg = np.degrees(Rotation.from_matrix(best).magnitude())
    gain, error = course.gain(best, straight)
    if angle_deg > LARGEST_TURN_DEG and gain > SURE * error and course.fit(best) >= LEAST_TURNED_FIT:
        raise NotMeasurable(
            say(
                "{refusal}: the fibres follow their bundles better when the directions are {turn} (fit {best:.2f}, as sent "
                "{sent:.2f})",
                refusal=REFUSAL, turn=words_of(best), best=course.fit(best), sent=course.fit(straight),
            )
        )
    if course.agreement >= LEAST_AGREEMENT and course.fit(straight) + SURE * course.fit_error(straight) < LEAST_FIT:
        raise NotMeasurable(
            say(
                "{refusal}: the fibres do not follow their bundles (fit {sent:.2f}, at least {least} is needed) and no turn of "
                "the directions mends that; they may belong to other volumes",
                refusal=REFUSAL, sent=course.fit(straight), least=LEAST_FIT,
            )
        )
    if angle_deg > LARGEST_TURN_DEG or course.fit(straight) < SURE * course.fit_error(straight):
        return _not_checked(say("the images are too few, too thick or too noisy to tell one axis from another"))
    return None


def _not_checked(why: str) -> str:
    return say("The gradient directions could not be checked against the anatomy: {why}.", why=why)


def course_of(fa: Volume, direction_lps: np.ndarray, brain: np.ndarray) -> Course | None:
    """What the white matter away from the rim of the brain shows; None where there is too little of it."""
    spacing = fa.spacing_mm
    padded = np.pad(brain, 1, mode="edge")  # the end of the field of view is no rim
    inner = ndimage.distance_transform_edt(padded, sampling=spacing)[1:-1, 1:-1, 1:-1] > EDGE_MM
    where = inner & (fa.array > LEAST_FA)
    if where.sum() < LEAST_VOXELS or min(fa.array.shape) < 2:
        return None
    fibres = direction_lps[where] @ (fa.lps_from_index[:3, :3] / spacing)
    smooth = ndimage.gaussian_filter(np.asarray(fa.array, np.float32), SMOOTH_MM / spacing)
    slope = np.stack(np.gradient(smooth, *spacing), axis=-1)[where].astype(np.float64)
    slope /= np.maximum(np.sqrt((slope**2).mean(0)), 1e-9)  # thick slices flatten the slope along their normal
    cubes = np.unique((np.argwhere(where) * spacing // CUBE_MM).astype(int), axis=0, return_inverse=True)[1].ravel()
    if cubes.max() + 1 < LEAST_CUBES:
        return None
    products = (slope[:, :, None] * fibres[:, None, :]).reshape(-1, 9)
    order = np.argsort(cubes, kind="stable")
    groups = np.split(products[order], np.flatnonzero(np.diff(cubes[order])) + 1)
    energy = np.bincount(cubes, (slope**2).sum(1))
    return Course(np.stack([group.T @ group for group in groups]), energy, _agreement(fibres, where), int(where.sum()))


def _agreement(fibres: np.ndarray, where: np.ndarray) -> float:
    """The mean squared cosine between the fibres of neighbouring voxels."""
    number = np.full(where.shape, -1)
    number[where] = np.arange(len(fibres))
    pairs = [(number.take(range(n - 1), axis).ravel(), number.take(range(1, n), axis).ravel()) for axis, n in enumerate(where.shape)]
    first, second = np.concatenate(pairs, axis=1)
    both = (first >= 0) & (second >= 0)
    return float(((fibres[first[both]] * fibres[second[both]]).sum(1) ** 2).mean()) if both.any() else 0.0


def flips_and_swaps() -> list[np.ndarray]:
    """The 24 ways to lay the axes of a fibre, which has no sign, onto the axes of the grid; the first is to leave it."""
    found = []
    for axes in itertools.permutations(range(3)):
        for signs in ((1, 1, 1), (-1, 1, 1), (1, -1, 1), (1, 1, -1)):
            turn = np.zeros((3, 3))
            turn[range(3), axes] = signs
            found.append(turn * np.linalg.det(turn))
    return found


def best_turn(course: Course) -> np.ndarray:
    """The turn of the directions that fits best, a rotation matrix in the axes of the grid."""
    from scipy.optimize import minimize

    start = max(flips_and_swaps(), key=course.fit)
    found = minimize(lambda vector: -course.fit(Rotation.from_rotvec(vector).as_matrix() @ start), np.zeros(3), method="Powell")
    return Rotation.from_rotvec(found.x).as_matrix() @ start


def words_of(turn: np.ndarray) -> str:
    """A turn as a person may look for it in the table: which axes are swapped, which are mirrored, and by how much it is turned."""
    names = ("slice", "row", "column")
    near = max(flips_and_swaps(), key=lambda one: np.trace(one.T @ turn))
    angle_deg = np.degrees(Rotation.from_matrix(turn @ near.T).magnitude())
    axes = np.abs(near).argmax(axis=1).tolist()
    signs = near[range(3), axes]
    said = []
    if axes != [0, 1, 2]:
        changed = [(names[sent], name) for name, sent in zip(names, axes, strict=True) if names[sent] != name]
        other = joined([say("{sent} as {name}", sent=sent, name=name) for sent, name in changed])
        said.append(say("taken in another order of axes ({other})", other=other))
    odd = [name for name, sign in zip(names, signs, strict=True) if sign != np.sign(signs.sum())]
    if odd:
        said.append(say("mirrored along the {axis} axis", axis=odd[0]))
    if angle_deg > LARGEST_TURN_DEG or not said:
        said.append(say("turned by {angle_deg:.0f}°", angle_deg=angle_deg))
    return joined(said, " and ")


def check_on_template(fa: Volume, direction_lps: np.ndarray, place: Placement) -> None:
    """NotMeasurable where the callosum does not run from left to right, or the corticospinal tract not along its course.

    A structure with too few anisotropic voxels in the field of view says nothing.
    """
    for name, tilt_deg in tilts_on_template(fa, direction_lps, place).items():
        if tilt_deg > LARGEST_TILT_DEG:
            raise NotMeasurable(say(
                "{refusal}: {name} runs {tilt_deg:.0f}° off the course that it has in every brain",
                refusal=REFUSAL, name=name, tilt_deg=tilt_deg,
            ))


def tilts_on_template(fa: Volume, direction_lps: np.ndarray, place: Placement) -> dict[str, float]:
    """The angle between the mean axis of the fibres and the course of the atlas, in degrees, by what the structure is called."""
    first, _, second = np.linalg.svd(place.template_from_lps[:3, :3])
    rotation = first @ second
    found = sample(atlas.labels("tracts"), place.template_lps, order=0)
    tilts = {}
    for name, label, course in _courses():
        where = (found == label) & (fa.array > LEAST_FA)
        if where.sum() >= LEAST_TRACT_VOXELS:
            fibres = direction_lps[where] @ rotation.T
            axis = np.linalg.eigh(fibres.T @ fibres)[1][:, -1]
            tilts[name] = float(np.degrees(np.arccos(min(1.0, abs(float(axis @ course))))))
    return tilts


def _courses() -> list[tuple[str, int, np.ndarray]]:
    """What is looked at on the template: its name, its label and its course there, a unit vector in LPS."""
    label = {(part.structure, part.side, part.level): part.label for part in atlas.parts() if part.image == "tracts"}
    found = [(say("the callosum"), label["callosal_motor_segment", None, None], np.array([1.0, 0.0, 0.0]))]
    for side in ("left", "right"):
        for level, below, above in (("peduncle", "pons", "plic"), ("plic", "peduncle", "corona_radiata")):
            way = _middle_lps(label["cst", side, above]) - _middle_lps(label["cst", side, below])
            place = "internal capsule" if level == "plic" else level
            name = say("the {side} corticospinal tract in the {place}", side=side, place=place)
            found.append((name, label["cst", side, level], way / np.linalg.norm(way)))
    return found


def _middle_lps(label: int) -> np.ndarray:
    tracts = atlas.labels("tracts")
    return (tracts.lps_from_index @ [*np.argwhere(tracts.array == label).mean(0), 1.0])[:3]
