"""The phantom's functional series: a hand that moves in blocks, and a head at rest, with known activation and connectivity.

Signals are those of a gradient-echo echo-planar image, without distortion. A hand moves in blocks: the precentral gyrus around the hand
area of the other side answers, and a smaller part of it on the hand's own side. At rest both hand areas fluctuate between 0.01 and 0.1 Hz,
with a known correlation. To this come drifts, the pulse and the breath as they alias, fluctuations of other places, motion that wanders and
jumps, and Rician noise. The answer to a block is a difference of gamma densities of the phantom's own, not that of the library that
measures it. A pure function of its arguments.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage, stats

from analysis.paradigm import Paradigm, alternating
from analysis.phantom_head import Head, axes_mm
from analysis.phantom_regions import motor_strip
from analysis.phantom_scan import COUNTS, MOST_COUNTS, Weighting, image_of_slabs, rician
from analysis.phantom_shape import Shape, rotation
from analysis.volume import TimeSeries

TASK, REST = "bold_task", "bold_rest"
FUNCTION_SERIES = (TASK, REST)
EPI = Weighting(
    "bold", "axial", (3.5, 3.3, 3.3), (36, 64, 64), (2, 2, 2),
    {"csf": 1.15, "grey": 0.85, "white": 0.70, "bone": 0.02, "fat": 0.05, "soft": 0.18, "lesion": 0.9}, 0.008, 16.0)  # fmt: skip
DEFINITIONS = {
    "activation_volume": "the precentral gyrus within 15 mm of the hand area of the side opposite to the hand, and within 10 mm on its own "
    "side; its signal rises by 3 % in each block",
    "laterality_index": "(left - right) / (left + right) of those volumes",
    "m1_m1_connectivity": "correlation of what was planted in both hand areas at rest, over the run",
    "framewise_displacement": "mean over the volumes of the planted shifts and turns (on 50 mm) from the one before",
}
NAMES = {TASK: "PHANTOM fMRI motor task", REST: "PHANTOM fMRI rest"}
REPETITION_S, VOLUMES = 2.5, 120
BLOCK_S = 25.0
HAND_MM, HAND_RADIUS_MM, OWN_RADIUS_MM, REST_RADIUS_MM = np.array([32.0, -22.0, 58.0]), 15.0, 10.0, 22.0
CHANGE, FLUCTUATION, CORRELATION = 0.03, 0.03, 0.8
PLACES, SLOW_S = 12, 3.0
BAND_HZ = (0.012, 0.09)


@dataclass(frozen=True)
class Course:
    """What happens in a run, as shares of the signal: `change` of the active cortex, `fluctuation` and `correlation` of the hand areas at
    rest (`is_exact`: over this very run), `drift`, `physiology` (pulse and breath), `others` (slow waves of other places), `motion_mm`
    from volume to volume on average, `noise` times that of the sequence. `moves`: the hand; "" for none, though blocks were meant."""

    change: float = CHANGE
    moves: str = "right"
    fluctuation: float = FLUCTUATION
    correlation: float = CORRELATION
    is_exact: bool = True
    drift: float = 0.012
    physiology: float = 0.005
    others: float = 0.0015
    motion_mm: float = 0.12
    noise: float = 1.0
    repetition_s: float = REPETITION_S
    volumes: int = VOLUMES
    block_s: float = BLOCK_S


def active_region(head: Head, side: str, radius_mm: float) -> np.ndarray:
    """The precentral gyrus within a radius of the hand area of a side, boolean, on the template."""
    x, y, z = axes_mm()
    middle = HAND_MM * [-1.0 if side == "left" else 1.0, 1.0, 1.0]
    return motor_strip(head) & ((x - middle[0]) ** 2 + (y - middle[1]) ** 2 + (z - middle[2]) ** 2 < radius_mm**2)


def regions_of(head: Head, moves: str) -> dict[str, np.ndarray]:
    """Where the cortex answers to a hand, by side."""
    radius = {"right": (HAND_RADIUS_MM, OWN_RADIUS_MM), "left": (OWN_RADIUS_MM, HAND_RADIUS_MM), "both": (HAND_RADIUS_MM,) * 2}[moves]
    return {side: active_region(head, side, one) for side, one in zip(("left", "right"), radius, strict=True)}


def paradigm_of(course: Course) -> Paradigm:
    """Rest first, then the task, in turn."""
    return alternating(course.block_s, course.block_s, "rest", course.volumes * course.repetition_s, course.moves)


def scan_bold(
    head: Head, shape_of_head: Shape, series: str, seed: int, course: Course = Course(), coarseness: float = 1.0, stream: int = 0
) -> TimeSeries:  # fmt: skip
    """The functional series TASK or REST, float32 in whole counts. `stream`: another of it has other noise and motion."""
    random = np.random.default_rng([seed, 5, FUNCTION_SERIES.index(series), stream])
    still = image_of_slabs(head, shape_of_head, EPI, seed, coarseness)
    activity = _task(head, shape_of_head, seed, course, coarseness) if series == TASK else _rest(
        head, shape_of_head, seed, course, coarseness, random)  # fmt: skip
    times_s = np.arange(course.volumes) * course.repetition_s
    nuisance = _nuisance(still.array.shape, times_s, course, random)
    poses = poses_of(series, seed, course, stream)
    out = np.empty((*still.array.shape, course.volumes), np.float32)
    base = still.array.astype(np.float32)
    for k in range(course.volumes):
        change = sum(where * np.float32(wave[k]) for where, wave in (*activity, *nuisance))
        moved = _moved(base * (1 + change), still.lps_from_index, poses[k], shape_of_head.middle_mm)
        noisy = rician(np.maximum(moved, 0.0), EPI.noise * COUNTS * course.noise, random)
        out[..., k] = np.clip(np.round(noisy), 0, MOST_COUNTS)
    return TimeSeries(out, still.lps_from_index, course.repetition_s, NAMES[series])


def response(times_s: np.ndarray) -> np.ndarray:
    """The answer to a moment of activity: a peak after 5 s and a shallow trough after 14 s, of sum 1 at those times."""
    wave = stats.gamma.pdf(times_s, 5.5, scale=1.0) - 0.15 * stats.gamma.pdf(times_s, 15.0, scale=1.0)
    return wave / wave.sum()


def _task(head: Head, shape: Shape, seed: int, course: Course, coarseness: float) -> list[tuple[np.ndarray, np.ndarray]]:
    if not course.moves or not course.change:
        return []
    fine_s = np.arange(0, course.volumes * course.repetition_s, 0.5)
    blocks = np.zeros(len(fine_s))
    for start, end in paradigm_of(course).bands:
        blocks[(fine_s >= start) & (fine_s < end)] = 1.0
    wave = course.change * np.convolve(blocks, response(np.arange(0, 30, 0.5)))[: len(fine_s)]
    at = np.interp((np.arange(course.volumes) + 0.5) * course.repetition_s, fine_s, wave)
    where = sum(_share(head, shape, region, seed, coarseness) for region in regions_of(head, course.moves).values())
    return [(where, at)]


def _rest(
    head: Head, shape: Shape, seed: int, course: Course, coarseness: float, random: np.random.Generator
) -> list[tuple[np.ndarray, np.ndarray]]:  # fmt: skip
    waves = [_slow(course, random) for _ in range(3)]
    if course.is_exact:
        waves = list(np.linalg.qr(np.column_stack(waves))[0].T * np.sqrt(course.volumes))
    shared, own = np.sqrt(course.correlation), np.sqrt(1 - course.correlation)
    found = []
    for side, wave in zip(("left", "right"), waves[1:], strict=True):
        where = _share(head, shape, active_region(head, side, REST_RADIUS_MM), seed, coarseness)
        found.append((where, course.fluctuation * (shared * waves[0] + own * wave)))
    return found


def _slow(course: Course, random: np.random.Generator) -> np.ndarray:
    """A fluctuation within BAND_HZ of spread 1."""
    frequency_hz = np.fft.rfftfreq(course.volumes, course.repetition_s)
    inside = (frequency_hz >= BAND_HZ[0]) & (frequency_hz <= BAND_HZ[1])
    parts = (random.normal(size=len(inside)) + 1j * random.normal(size=len(inside))) * inside
    wave = np.fft.irfft(parts, course.volumes)
    return (wave - wave.mean()) / max(wave.std(), 1e-12)


def _share(head: Head, shape: Shape, region: np.ndarray, seed: int, coarseness: float) -> np.ndarray:
    """How much of each voxel a region of the template fills, 0 to 1."""
    return image_of_slabs(head, shape, EPI, seed, coarseness, region.astype(np.float32)).array


def _nuisance(
    shape: tuple[int, ...], times_s: np.ndarray, course: Course, random: np.random.Generator
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Drift, breath and pulse as they alias, slow waves of other places: (where, when)."""
    span = times_s / max(times_s[-1], 1.0) - 0.5
    drift = random.uniform(-1, 1) * 2 * span + random.uniform(-1, 1) * 4 * span**2
    waves = [(_smooth(shape, 12.0, random) * 0.5 + 1.0, course.drift * drift)]
    step_s = times_s[1] - times_s[0]
    for rate_hz, unsteady in ((random.uniform(0.22, 0.34), 0.1), (random.uniform(0.9, 1.2), 0.05)):  # share of the rate, from beat to beat
        wander = np.cumsum(random.normal(0, 2 * np.pi * rate_hz * step_s * unsteady, len(times_s)))
        waves.append((_smooth(shape, 4.0, random), course.physiology * np.sin(2 * np.pi * rate_hz * times_s + wander)))
    for _ in range(PLACES):
        slow = ndimage.gaussian_filter1d(random.normal(size=len(times_s)), SLOW_S / step_s)
        waves.append((_smooth(shape, 2.5, random), course.others * slow / slow.std()))
    return [(where.astype(np.float32), when) for where, when in waves]


def _smooth(shape: tuple[int, ...], voxels: float, random: np.random.Generator) -> np.ndarray:
    field = ndimage.gaussian_filter(random.normal(size=shape), voxels, mode="wrap")
    return field / max(field.std(), 1e-9)


def poses_of(series: str, seed: int, course: Course = Course(), stream: int = 0) -> np.ndarray:
    """Where the head is, by volume: three shifts (mm) and three turns (degrees), (time, 6)."""
    random = np.random.default_rng([seed, 6, FUNCTION_SERIES.index(series), stream])
    steps = random.normal(size=(course.volumes, 6)) * [1, 1, 1.4, 1.1, 0.8, 0.8]
    jumps = (random.uniform(size=course.volumes) < 0.02) * 5.0 + 1.0
    walk = np.cumsum(steps * jumps[:, None], axis=0)
    home = np.linspace(0, 1, course.volumes)[:, None] * walk[-1]  # a head rests on a cushion
    walk = (walk - 0.7 * home) * [1, 1, 1, 0.9, 0.9, 0.9]
    moved = np.abs(np.diff(walk * [1, 1, 1, *[50 * np.pi / 180] * 3], axis=0)).sum(axis=1).mean()
    return walk * (course.motion_mm / max(moved, 1e-9))


def displacement_mm(poses: np.ndarray) -> np.ndarray:
    """Framewise displacement of `poses_of`, (time,), 0 for the first."""
    return np.r_[0.0, np.abs(np.diff(poses * [1, 1, 1, *[50 * np.pi / 180] * 3], axis=0)).sum(axis=1)]


def _moved(array: np.ndarray, lps_from_index: np.ndarray, pose: np.ndarray, middle: np.ndarray) -> np.ndarray:
    if not pose.any():
        return array
    whole = np.eye(4)
    whole[:3, :3] = rotation(pose[3:])
    whole[:3, 3] = middle + pose[:3] - whole[:3, :3] @ middle
    index = np.linalg.inv(lps_from_index) @ np.linalg.inv(whole) @ lps_from_index
    return ndimage.affine_transform(array, index[:3, :3], index[:3, 3], order=3, mode="nearest")


def truth(head: Head, shape: Shape, seed: int, course: Course = Course()) -> list[dict[str, object]]:
    """The measurements of both series, as they stand in truth.json."""
    from analysis.phantom_truth import patient_of

    patient = patient_of(head, shape)
    ml = {side: patient.ml(region.astype(np.float32)) for side, region in regions_of(head, course.moves).items()}
    moved_mm = {series: float(displacement_mm(poses_of(series, seed, course))[1:].mean()) for series in FUNCTION_SERIES}
    return [
        *(_entry("activation_volume", volume, "ml", side, "task") for side, volume in ml.items()),
        _entry("laterality_index", (ml["left"] - ml["right"]) / (ml["left"] + ml["right"]), "1", None, "task"),
        _entry("m1_m1_connectivity", course.correlation, "1", None, "rest"),
        *(_entry("framewise_displacement", moved_mm[series], "mm", None, level) for series, level in ((TASK, "task"), (REST, "rest"))),
    ]


def _entry(name: str, value: float, unit: str, side: str | None, level: str) -> dict[str, object]:
    return {"name": name, "side": side, "level": level, "value": round(float(value), 5), "unit": unit}
