"""The course of the phantom's neck and the sections across it: lengths in the patient, from which every true number follows.

A curve runs down the middle of the cord, from the pons to the third thoracic vertebra. A point is given by `s` (mm along the curve, 0 at
the foramen magnum, downwards), `u` (to the patient's left) and `v` (to the back), both perpendicular to the curve. Across the curve the
cord is two half ellipses with one width, so its area and diameters are formulas, and no voxel enters them. All follows from the seed.

Lengths of the healthy cord by level: PAM50 normative values of 203 adults on T2 (10.1162/imag_a_00075). The spine is geometry, not anatomy.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

STEP_MM = 0.25
TOP_MM, BOTTOM_MM = -60.0, 215.0
DISCS = ("C2/C3", "C3/C4", "C4/C5", "C5/C6", "C6/C7", "C7/T1", "T1/T2", "T2/T3")
LEVELS = ("C1", "C2", "C3", "C4", "C5", "C6", "C7", "T1", "T2")
C1_MM, C2_MM, FIRST_DISC_MM = 6.0, 22.0, 46.0
SPACING_MM = (18.0, 17.5, 17.5, 18.0, 19.5, 21.0, 22.0)  # between neighbouring discs
SIZE_SPREAD, SPACING_SPREAD, AREA_SPREAD, WAVE, WAVE_MM = 0.05, 0.03, 0.10, 0.015, 22.0
# the angle of the curve against the vertical: positive where it runs forwards on its way down
COURSE_DEG = ((-60, -24.0), (-30, -20.0), (0, -2.0), (25, 9.0), (70, 3.0), (110, -6.0), (160, -16.0), (215, -22.0))
LORDOSIS, SWAY_DEG = (0.5, 1.3), 2.5
# depth and width of the cord by the middle of each level; above the foramen the medulla and the pons
CORD_MM = {"C1": (8.27, 11.36), "C2": (7.76, 11.73), "C3": (7.60, 12.14), "C4": (7.62, 12.93), "C5": (7.47, 13.03), "C6": (7.07, 12.44),
           "C7": (6.56, 10.94), "T1": (6.30, 9.60), "T2": (6.20, 9.00)}  # fmt: skip
STEM_MM = ((-60, 22.0, 28.0), (-45, 23.0, 30.0), (-32, 19.0, 24.0), (-22, 14.0, 18.0), (-10, 10.5, 14.0), (0, 8.9, 12.0))
# what lies between the cord and the wall of the canal: in front, behind, on either side
ROOM_MM = ((-60, 5.0, 50.0, 40.0), (-25, 5.0, 40.0, 38.0), (-10, 5.5, 16.0, 20.0), (0, 4.5, 6.5, 9.0), (22, 3.6, 4.2, 6.5),
           (46, 2.6, 2.8, 4.7), (110, 2.4, 2.5, 4.3), (215, 2.4, 3.0, 4.3))  # fmt: skip
BULGE_MM, BULGE_REACH_MM = 0.6, 5.0  # of a healthy disc
PRESS_REACH_MM = 9.0  # a protrusion acts on the cord up to here above and below the disc: 10 mm away the cord is as it was
PRESS_FRONT, PRESS_WIDER, PRESS_RIM_MM, PRESS_BACK_MM = 1.5, 0.25, 0.15, 1.2


@dataclass(frozen=True)
class Press:
    """A protrusion: at `s_mm` the depth of the cord is less by the share `loss`."""

    s_mm: float
    loss: float


@dataclass(frozen=True, eq=False)
class Section:
    """At places along the curve: the cord's half width, and its reach to the front and the back; the canal's likewise; all mm."""

    width: np.ndarray
    front: np.ndarray
    back: np.ndarray
    canal_width: np.ndarray
    canal_front: np.ndarray
    canal_back: np.ndarray

    @property
    def area_mm2(self) -> np.ndarray:
        """Of the cord, perpendicular to the curve."""
        return np.pi / 2 * self.width * (self.front + self.back)


@dataclass(frozen=True, eq=False)
class NeckShape:
    """`s_mm` (n,), `at_lps`, `down`, `left`, `back` (3, n): the curve and its axes; `section` at the same places; `discs_mm`: s by name;
    `levels_mm`: first and last s of each vertebral level."""

    s_mm: np.ndarray
    at_lps: np.ndarray
    down: np.ndarray
    left: np.ndarray
    back: np.ndarray
    section: Section
    discs_mm: dict[str, float]
    levels_mm: dict[str, tuple[float, float]]
    size: float

    def table(self, values: np.ndarray, s_mm: np.ndarray) -> np.ndarray:
        """Values (..., n) along the curve, at places s (m,): (..., m)."""
        index = np.clip((s_mm - TOP_MM) / STEP_MM, 0, len(self.s_mm) - 1.001)
        low = index.astype(np.intp)
        share = (index - low).astype(s_mm.dtype)
        rows = np.ascontiguousarray(np.moveaxis(values, -1, 0), dtype=s_mm.dtype)
        before = rows[low]
        return np.moveaxis(before + share.reshape(-1, *[1] * (rows.ndim - 1)) * (rows[low + 1] - before), 0, -1)

    def point(self, s_mm: float, u_mm: float = 0.0, v_mm: float = 0.0) -> np.ndarray:
        """A place of the neck in the patient, LPS mm, shape (3,)."""
        s = np.array([s_mm])
        return (self.table(self.at_lps, s) + u_mm * self.table(self.left, s) + v_mm * self.table(self.back, s))[:, 0]

    def s_u_v(self, points_lps: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Where points (3, n) of the patient lie in the neck: the nearest point of the curve, found by iteration."""
        order = np.argsort(self.at_lps[2])
        s = np.interp(points_lps[2], self.at_lps[2, order], self.s_mm[order])
        bend = np.gradient(self.down, STEP_MM, axis=1)
        curve = np.concatenate([self.at_lps, self.down, bend, self.left, self.back])
        for _ in range(4):
            at, down, turn = self.table(curve[:9], s).reshape(3, 3, -1)
            off = points_lps - at
            along = (off * down).sum(axis=0)
            s = np.clip(s + along / np.clip(1 - (off * turn).sum(axis=0), 0.4, 2.5), TOP_MM, BOTTOM_MM)
        at, down, _, left, back = self.table(curve, s).reshape(5, 3, -1)
        off = points_lps - at
        along = s + (off * down).sum(axis=0)
        return tuple(one.astype(np.float32) for one in (along, (off * left).sum(axis=0), (off * back).sum(axis=0)))


def neck_shape(seed: int, foramen_lps: np.ndarray, atrophy: float = 0.0, press: dict[str, float] | None = None) -> NeckShape:
    """The neck of a seed below a foramen magnum at LPS mm; `atrophy`: the share of the cord's area that is lost; `press`: by disc, the
    share of the cord's depth that a protrusion takes there."""
    random = np.random.default_rng([seed, 7])
    size = 1 + random.uniform(-SIZE_SPREAD, SIZE_SPREAD)
    gaps = np.array(SPACING_MM) * (1 + random.uniform(-SPACING_SPREAD, SPACING_SPREAD, len(SPACING_MM)))
    discs = dict(zip(DISCS, (size * np.cumsum([FIRST_DISC_MM, *gaps])).tolist(), strict=True))
    edges = [C1_MM * size, C2_MM * size, *discs.values()]
    levels = {name: (edges[k], edges[k + 1]) for k, name in enumerate(LEVELS)}
    s = np.arange(TOP_MM, BOTTOM_MM + STEP_MM / 2, STEP_MM)
    at, down, left, back = _course(s, foramen_lps, random)
    presses = [Press(discs[name], loss) for name, loss in (press or {}).items()]
    section = _section(s, levels, discs, presses, np.sqrt(1 - atrophy), random)
    return NeckShape(s, at, down, left, back, section, discs, levels, float(size))


def _course(s: np.ndarray, foramen_lps: np.ndarray, random: np.random.Generator) -> tuple[np.ndarray, ...]:
    from scipy.interpolate import PchipInterpolator

    knots = np.array(COURSE_DEG)
    forwards = np.radians(PchipInterpolator(*knots.T)(s) * random.uniform(*LORDOSIS))
    sideways = np.radians(random.uniform(-SWAY_DEG, SWAY_DEG)) * np.sin(s / random.uniform(45, 70) + random.uniform(0, 6))
    down = np.stack([np.sin(sideways), -np.sin(forwards) * np.cos(sideways), -np.cos(forwards) * np.cos(sideways)])
    left = np.array([[1.0], [0], [0]]) - down[0] * down
    left /= np.linalg.norm(left, axis=0)
    steps = (down[:, 1:] + down[:, :-1]) / 2 * STEP_MM
    at = np.concatenate([np.zeros((3, 1)), np.cumsum(steps, axis=1)], axis=1)
    start = round(-TOP_MM / STEP_MM)
    return at - at[:, [start]] + np.asarray(foramen_lps, float)[:, None], down, left, np.cross(left, down, axis=0)


def _section(
    s: np.ndarray, levels: dict[str, tuple[float, float]], discs: dict[str, float], presses: list[Press], shrink: float,
    random: np.random.Generator,
) -> Section:  # fmt: skip
    from scipy.interpolate import PchipInterpolator

    places = [s_mm for s_mm, *_ in STEM_MM] + [(first + last) / 2 for first, last in levels.values()]
    depth, width = np.array([row[1:] for row in STEM_MM] + list(CORD_MM.values())).T
    person = np.sqrt(1 + AREA_SPREAD * np.clip(random.standard_normal(), -2, 2))
    wave = 1 + WAVE * np.sin(2 * np.pi * s / WAVE_MM / random.uniform(0.8, 1.6) + random.uniform(0, 6))
    is_cord = np.clip((s + 10) / 15, 0, 1)  # the stem is not smaller in atrophy of the cord
    scale = person * (1 - is_cord * (1 - shrink))
    half_depth, half_width = PchipInterpolator(places, depth)(s) / 2 * wave, PchipInterpolator(places, width)(s) / 2
    whole_depth, whole_width = half_depth * person, half_width * person
    front_room, back_room, side_room = (PchipInterpolator(*np.array(ROOM_MM)[:, [0, k]].T)(s) for k in (1, 2, 3))
    bulge = sum(BULGE_MM * _bump(s - at, BULGE_REACH_MM) for at in discs.values())
    canal = [whole_width + side_room, whole_depth + front_room - bulge, whole_depth + back_room]
    cord = [half_width * scale, half_depth * scale, half_depth * scale]
    for press in presses:
        near = _bump(s - press.s_mm, PRESS_REACH_MM)
        cord[0] = cord[0] * (1 + PRESS_WIDER * press.loss * near)
        cord[1], cord[2] = cord[1] * (1 - PRESS_FRONT * press.loss * near), cord[2] * (1 - (2 - PRESS_FRONT) * press.loss * near)
        touch = np.minimum(1, 8 * press.loss) * near**0.5
        canal[1] = canal[1] + touch * (np.minimum(cord[1] + PRESS_RIM_MM, canal[1]) - canal[1])
        canal[2] = canal[2] - PRESS_BACK_MM * np.minimum(1, 4 * press.loss) * near
    return Section(*cord, *canal)


def _bump(distance_mm: np.ndarray, reach_mm: float) -> np.ndarray:
    """1 in the middle, 0 from the reach on, smooth."""
    return np.cos(np.pi / 2 * np.clip(distance_mm / reach_mm, -1, 1)) ** 2
