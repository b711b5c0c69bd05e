"""Scanning the phantom's neck: T2 as a sagittal 2D and a 3D series, or on any grid, with partial volume, a bias field and Rician noise.

The tissues are painted over each other as surfaces in the coordinates of the neck (phantom_neck_shape): in the canal every voxel is the
mean of several points, around it of a few. There is no motion, no flow, no metal and no chemical shift. Intensities are relative to fluid
and chosen to look like the sequence.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from analysis.phantom_neck_shape import NeckShape, Section
from analysis.phantom_scan import AXES, COUNTS, MOST_COUNTS, bias_of, of_visit, rician
from analysis.phantom_shape import rotation
from analysis.volume import Volume

SLICES_AT_ONCE = 4
POINT_MM, POINT_AROUND_MM = 0.6, 1.6  # how far the points that stand for a voxel may lie apart
NEAR_MM, COLUMN_MM = (15.0, 11.0), (28.0, 34.0, 60.0)  # beside the curve, in front and behind: the canal; the spine
TILT_DEG, MIDDLE_MM = 5.0, 82.0
T2 = {"csf": 1.0, "cord": 0.42, "cord_grey": 0.50, "lesion": 0.85, "disc": 0.42, "worn_disc": 0.22, "marrow": 0.40, "cortical": 0.05,
      "ligament": 0.07, "fat": 0.75, "muscle": 0.22, "soft": 0.34, "brain": 0.50, "stem": 0.44}  # fmt: skip
BODY_MM, DISC_MM, LIGAMENT_MM, DURA_MM = 16.0, 5.0, 1.0, 0.7
# the outline of the body: s, middle (v), half width, half depth
OUTLINE_MM = ((-60, -15.0, 74.0, 95.0), (-20, -14.0, 70.0, 88.0), (25, -12.0, 60.0, 66.0), (110, -10.0, 60.0, 62.0),
              (160, -8.0, 95.0, 70.0), (215, -6.0, 150.0, 85.0))  # fmt: skip


@dataclass(frozen=True)
class NeckSequence:
    """`plane` sagittal or axial; `spacing_mm` and `shape` (slice, row, column); `thickness_mm` of a slice; `noise` as a share of fluid."""

    role: str
    plane: str
    spacing_mm: tuple[float, float, float]
    shape: tuple[int, int, int]
    thickness_mm: float
    noise: float


NECK_SEQUENCES = {
    "cord_t2": NeckSequence("cord_t2", "sagittal", (0.8, 0.8, 0.8), (64, 288, 240), 0.8, 0.03),
    "cord_t2_sagittal": NeckSequence("cord_t2_sagittal", "sagittal", (3.3, 0.6, 0.6), (15, 384, 320), 3.0, 0.025),
}


@dataclass(frozen=True)
class CordLesion:
    """An ellipsoid in the cord, in the neck's coordinates: middle and radii (s, u, v) mm; `gain` 0 to 1 towards the full brightness."""

    middle_mm: tuple[float, float, float]
    radii_mm: tuple[float, float, float]
    gain: float
    place: str


def neck_grid(
    sequence: NeckSequence, shape: NeckShape, seed: int, coarseness: float = 1.0, visit: int = 0
) -> tuple[tuple[int, int, int], np.ndarray]:
    """Shape and lps_from_index of a series around the middle of the neck, tilted a few degrees, in every series and visit another way."""
    random = np.random.default_rng([seed, 8, sorted(NECK_SEQUENCES).index(sequence.role), *of_visit(visit)])
    spacing = np.array(sequence.spacing_mm) * coarseness
    count = tuple(max(round(n / coarseness), 1) for n in sequence.shape)
    affine = np.eye(4)
    affine[:3, :3] = rotation(random.uniform(-TILT_DEG, TILT_DEG, 3)) @ AXES[sequence.plane] * spacing
    centre = shape.point(MIDDLE_MM * shape.size) + np.array([0, -12.0, 0]) + random.uniform(-3, 3, 3) * [0.5, 1, 1]
    affine[:3, 3] = centre - affine[:3, :3] @ ((np.array(count) - 1) / 2)
    return count, affine


def scan_neck(
    shape: NeckShape,
    lesions: tuple[CordLesion, ...],
    worn: tuple[str, ...],
    grid: tuple[tuple[int, int, int], np.ndarray],
    seed: int,
    thickness_mm: float | None = None,
    noise: float = 0.03,
    visit: int = 0,
) -> Volume:
    """T2 on any grid, uint16; `worn`: discs that have lost their water; `thickness_mm` of a slice where it is not its distance to the next;
    a `noise` of 0 also leaves out the bias field. Every `visit` has another noise and bias field."""
    count, affine = grid
    random = np.random.default_rng([seed, 9, *count, *of_visit(visit)])
    weights = random.uniform(-0.6, 0.6, 9)
    size = np.linalg.norm(affine[:3, :3], axis=0)
    reach = affine[:3, :3] * (np.array([thickness_mm or size[0], size[1], size[2]]) / size)
    painter = Painter(shape, lesions, worn)
    out = np.empty(count, np.uint16)
    for start in range(0, count[0], SLICES_AT_ONCE):
        stop = min(start + SLICES_AT_ONCE, count[0])
        index = np.stack(np.meshgrid(np.arange(start, stop), *map(np.arange, count[1:]), indexing="ij")).reshape(3, -1)
        points = affine[:3, :3] @ index + affine[:3, 3:]
        signal = painter.voxels(points, reach)
        signal = signal * bias_of(points - shape.point(MIDDLE_MM)[:, None], weights).astype(np.float32) if noise else signal
        signal = rician(signal.reshape(stop - start, *count[1:]), noise, random)
        out[start:stop] = np.clip(np.round(signal * COUNTS), 0, MOST_COUNTS)
    return Volume(out, affine)


class Painter:
    """Intensity at places of the neck; the tissues lie over each other in the order in which they are painted."""

    def __init__(self, shape: NeckShape, lesions: tuple[CordLesion, ...], worn: tuple[str, ...]) -> None:
        self.shape, self.lesions, self.worn = shape, lesions, worn

    def voxels(self, points_lps: np.ndarray, reach: np.ndarray) -> np.ndarray:
        """Mean intensity of voxels around points (3, n); `reach` 3 by 3: the edges of a voxel, LPS mm. float32 (n,)."""
        s, u, v = self.shape.s_u_v(points_lps)
        out = np.zeros(s.shape, np.float32)
        near = (np.abs(u) < NEAR_MM[0]) & (np.abs(v) < NEAR_MM[1])
        body = _skin(s, u, v) < np.linalg.norm(reach, axis=0).max()
        for chosen, point_mm in ((body & near, POINT_MM), (body & ~near, POINT_AROUND_MM)):
            where = np.flatnonzero(chosen)
            out[where] = self._mean(s[where], u[where], v[where], reach, point_mm)
        return out

    def _mean(self, s: np.ndarray, u: np.ndarray, v: np.ndarray, reach: np.ndarray, point_mm: float) -> np.ndarray:
        axes = self.shape.table(np.stack([self.shape.down, self.shape.left, self.shape.back]), s)
        size = np.linalg.norm(reach, axis=0)
        parts = np.maximum(np.ceil(size / point_mm - 1e-6), 1).astype(int)
        edge_mm = float((size / parts).mean())
        offsets = np.stack(np.meshgrid(*((np.arange(n) + 0.5) / n - 0.5 for n in parts), indexing="ij"), axis=-1).reshape(-1, 3)
        total = np.zeros(s.shape, np.float32)
        for step in (offsets @ reach.T).astype(np.float32):
            ds, du, dv = np.einsum("kin,i->kn", axes, step)
            total += self.at(s + ds, u + du, v + dv, edge_mm)
        return total / np.float32(len(offsets))

    def at(self, s: np.ndarray, u: np.ndarray, v: np.ndarray, edge_mm: float) -> np.ndarray:
        """Intensity at places (n,), with surfaces `edge_mm` soft."""
        image = np.zeros(s.shape, np.float32)
        skin = _skin(s, u, v)
        _Paint(image, edge_mm).over("fat", skin)
        deep = np.flatnonzero(skin < edge_mm)
        self._part(image, edge_mm, s, u, v, deep, self._around)
        column = (np.abs(u) < COLUMN_MM[0]) & (v > -COLUMN_MM[1]) & (v < COLUMN_MM[2]) | (s < 10)
        self._part(image, edge_mm, s, u, v, np.flatnonzero(column & (skin < edge_mm)), self._spine)
        return image

    def _part(
        self, image: np.ndarray, edge_mm: float, s: np.ndarray, u: np.ndarray, v: np.ndarray, where: np.ndarray, painting: Callable
    ) -> None:
        """Let a painting see only some of the places."""
        if len(where):
            paint = _Paint(image[where], edge_mm)
            painting(paint, s[where], u[where], v[where])
            image[where] = paint.image

    def _around(self, paint: _Paint, s: np.ndarray, u: np.ndarray, v: np.ndarray) -> None:
        skin = _skin(s, u, v)
        paint.over("muscle", skin + 6)
        paint.over("fat", np.maximum(np.abs(u) - 1.5, 28 - v), within=skin + 3)
        paint.over("fat", _ellipse(np.abs(u) - 24, v - 12, 1.2, 30), within=skin + 3)
        paint.over("cortical", _ellipse(np.abs(u) - 17, v + 7, 2.4, 2.4), within=np.abs(s - 90) - 70)
        paint.over("cortical", _ellipse(np.abs(u) - 33, v + 22, 3.5, 3.5), within=np.abs(s - 110) - 90)
        paint.over("soft", np.maximum(_ellipse(u, v + 32, 22, 10), 10 - s))
        paint.over("air", np.maximum(_ellipse(u, v + 37, 9, 6.5), -5 - s))
        paint.over("air", np.maximum(_ellipse(u, v + 52, 12, 24), np.abs(s + 28) - 14))

    def _spine(self, paint: _Paint, s: np.ndarray, u: np.ndarray, v: np.ndarray) -> None:
        section = self._section(s)
        front, size = -section.canal_front - LIGAMENT_MM, self.shape.size
        (dens, waist), last = self.shape.levels_mm["C2"], 230.0
        depth = BODY_MM * size
        column = np.maximum(_box(v - front + depth / 2, depth / 2, u, 9.5 * size), np.maximum(dens + 12 - s, s - last))
        paint.over("ligament", column - 1.2)
        tip = np.maximum(_ellipse(u, v - front + 6, 5.0, 5.5), np.abs(s - (dens - 5 + waist) / 2) - (waist - dens + 5) / 2)
        paint.over("cortical", tip - 0.8)
        paint.over("marrow", np.minimum(column, tip))
        arch = _ellipse(s - dens + 8, v - front + 15.5, 5.0, 3.2)
        paint.over("cortical", np.maximum(arch - 0.8, np.abs(u) - 15))
        paint.over("marrow", np.maximum(arch, np.abs(u) - 15))
        names, places = list(self.shape.discs_mm), np.array(list(self.shape.discs_mm.values()), np.float32)
        nearest = np.searchsorted((places[1:] + places[:-1]) / 2, s)
        gap = np.abs(s - places[nearest]) - DISC_MM * size / 2
        paint.over("cortical", np.maximum(gap - 0.6, column))
        bulge = _box(v - front + depth / 2 - 0.4, depth / 2 + 0.4, u, 10 * size)
        paint.over("ligament", np.maximum(gap, bulge))
        worn = np.array([name in self.worn for name in names])[nearest]
        paint.over("disc", np.maximum(gap, bulge + 2.5), within=np.where(worn, 9.0, -9.0))
        paint.over("worn_disc", np.maximum(gap, bulge + 1.0), within=np.where(worn, -9.0, 9.0))
        self._arches(paint, s, u, v)
        self._part(paint.image, paint.edge_mm, s, u, v, np.flatnonzero(s < 8), self._skull)
        canal = (np.abs(u) < section.canal_width + 4) & (v > -section.canal_front - 4) & (v < section.canal_back + 5)
        self._part(paint.image, paint.edge_mm, s, u, v, np.flatnonzero(canal), self._canal)

    def _section(self, s: np.ndarray) -> Section:
        names = Section.__dataclass_fields__
        return Section(*self.shape.table(np.stack([getattr(self.shape.section, name) for name in names]), s))

    def _arches(self, paint: _Paint, s: np.ndarray, u: np.ndarray, v: np.ndarray) -> None:
        """Articular pillars, laminae and spinous processes."""
        for name, (first, end) in self.shape.levels_mm.items():
            middle, half = (first + end) / 2 + (4 if name == "C2" else 0), (end - first) / 2
            where = np.flatnonzero((v > -8) & (s > middle - half - 6) & (s < middle + half + 4 + 0.45 * np.maximum(v, 0)))
            long_mm = {"C1": 5.0, "C2": 20.0, "C7": 30.0, "T1": 32.0, "T2": 32.0}.get(name, 16.0)
            self._part(paint.image, paint.edge_mm, s, u, v, where, partial(self._arch, middle, half, long_mm))

    def _arch(self, middle: float, half: float, long_mm: float, paint: _Paint, s: np.ndarray, u: np.ndarray, v: np.ndarray) -> None:
        section, size = self._section(s), self.shape.size
        back = section.canal_back + DURA_MM
        lamina = np.maximum(_ellipse(u, v, section.canal_width + 6, back + 6), np.abs(s - middle - 0.25 * v) - min(half, 9) * 0.62)
        lamina = np.maximum(lamina, -2 - v)
        pillar = np.maximum(_ellipse(np.abs(u) - 19 * size, v - 1, 5.5, 6.5), np.abs(s - middle - 0.4 * v) - half * 0.85)
        slope = s - middle - 0.45 * (v - back)
        spine = np.maximum(np.abs(u) - 3.2, np.maximum(np.abs(slope) - 4.2, np.maximum(back + 2 - v, v - back - long_mm)))
        bone = np.minimum(np.minimum(lamina, pillar), spine)
        paint.over("cortical", bone)
        paint.over("marrow", bone + 0.9)

    def _skull(self, paint: _Paint, s: np.ndarray, u: np.ndarray, v: np.ndarray) -> None:
        section = self._section(s)
        fossa = np.maximum(_ellipse_of(u, v, section.canal_width, section.canal_front, section.canal_back), s - 1)
        paint.over("cortical", np.maximum(fossa - 7, s + 1))
        paint.over("marrow", np.maximum(fossa - 5.5, s + 2.5))
        paint.over("cortical", np.maximum(fossa - 1.5, s + 1))

    def _canal(self, paint: _Paint, s: np.ndarray, u: np.ndarray, v: np.ndarray) -> None:
        section = self._section(s)
        canal = _ellipse_of(u, v, section.canal_width, section.canal_front, section.canal_back)
        paint.over("fat", np.maximum(canal - DURA_MM - 1.2, np.maximum(2 - v, 4 - s)), within=np.abs(u) - 5)
        paint.over("ligament", canal - DURA_MM)
        paint.over("csf", canal)
        small_brain = np.minimum(np.maximum(canal + 2, 20 - v), s + 8)
        paint.over("brain", np.maximum(np.maximum(canal + 2, section.back + 3 - v), s + 9), within=small_brain)
        cord = _ellipse_of(u, v, section.width, section.front, section.back)
        paint.over("cord", cord)
        paint.over("stem", np.maximum(cord, s + 2))
        horn = _ellipse(np.abs(u) - 0.34 * section.width, v, 0.15 * section.width, 0.5 * np.minimum(section.front, section.back))
        bridge = np.maximum(np.abs(v) - 0.5, np.abs(u) - 0.34 * section.width)
        paint.over("cord_grey", np.maximum(np.minimum(horn, bridge), 2 - s), within=cord + 0.3)
        for one in self.lesions:
            ball = np.sqrt(sum(((at - m) / r) ** 2 for at, m, r in zip((s, u, v), one.middle_mm, one.radii_mm, strict=True)))
            paint.over("lesion", np.maximum((ball - 1) * min(one.radii_mm), cord), share=one.gain)


class _Paint:
    """Places that tissues are laid over; a surface is given by its distance, mm, negative inside."""

    def __init__(self, image: np.ndarray, edge_mm: float) -> None:
        self.image, self.edge_mm = image, edge_mm

    def over(self, tissue: str, signed_mm: np.ndarray, within: np.ndarray | None = None, share: float = 1.0) -> None:
        cover = np.clip(0.5 - signed_mm / np.float32(self.edge_mm), 0, 1) * np.float32(share)
        if within is not None:
            cover = cover * np.clip(0.5 - within / np.float32(self.edge_mm), 0, 1)
        self.image += (cover * (np.float32(T2.get(tissue, 0.0)) - self.image)).astype(np.float32, copy=False)


def _skin(s: np.ndarray, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Signed distance to the outline of the body, mm."""
    knots = np.array(OUTLINE_MM).T
    middle, half_width, half_depth = (np.interp(s, knots[0], row).astype(np.float32) for row in knots[1:])
    return _ellipse(u, v - middle, half_width, half_depth)


def _ellipse(x: np.ndarray, y: np.ndarray, half_x: np.ndarray | float, half_y: np.ndarray | float) -> np.ndarray:
    """Signed distance, mm, to the first order: exact on the edge."""
    radius = np.sqrt((x / half_x) ** 2 + (y / half_y) ** 2) + 1e-6
    steep = np.sqrt((x / half_x**2) ** 2 + (y / half_y**2) ** 2) / radius + 1e-6
    return (radius - 1) / np.maximum(steep, 1e-2)


def _ellipse_of(u: np.ndarray, v: np.ndarray, width: np.ndarray, front: np.ndarray, back: np.ndarray) -> np.ndarray:
    return _ellipse(u, v, width, np.where(v < 0, front, back))


def _box(v: np.ndarray, half_v: float, u: np.ndarray, half_u: float) -> np.ndarray:
    return np.maximum(np.abs(v) - half_v, np.abs(u) - half_u)
