"""Scanning the phantom: grids that lie tilted in the patient, contrasts, bias field, partial volume and Rician noise.

Intensities are relative to white matter in a T1 of 0.95 and are chosen to look like the sequence, not computed from relaxation times.
There is no motion, no distortion and no ghosting: what the phantom tests is geometry and measurement, not artefacts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from analysis.phantom_focal import ADC, INTENSITY, enhancing, planted_layers, show
from analysis.phantom_head import ORIGIN_MM, Head
from analysis.phantom_shape import Shape, rotation
from analysis.phantom_tracts import FLUID_MD, GREY_MD, SOFT_MD, Fibres
from analysis.phantom_veins import vein_loss
from analysis.volume import Diffusion, Volume

SLAB = 8
COUNTS, MOST_COUNTS = 800.0, 4095
MARGIN_MM, LOOK_MM = 4, 4.0
TILT_DEG, BIAS = 6.0, 0.18
B_VALUE, DIRECTIONS, B0_AT = 1000.0, 32, (0, 12, 24)


@dataclass(frozen=True)
class Weighting:
    """One sequence. `plane` "sagittal" or "axial"; `shape` (slice, row, column); `supersample` points per voxel along each of them;
    `noise` is the standard deviation in units of intensity; `up_mm` is how far the middle of the field lies above that of the head."""

    role: str
    plane: str
    spacing_mm: tuple[float, float, float]
    shape: tuple[int, int, int]
    supersample: tuple[int, int, int]
    intensity: dict[str, float]
    noise: float
    up_mm: float


SEQUENCES = {
    "t1": Weighting(
        "t1", "sagittal", (1.0, 1.0, 1.0), (188, 256, 256), (1, 1, 1),
        {"csf": 0.20, "grey": 0.62, "white": 0.95, "bone": 0.05, "fat": 1.20, "soft": 0.50, "lesion": 0.60}, 0.025, -28.0),
    "flair": Weighting(
        "flair", "sagittal", (1.2, 1.0, 1.0), (152, 256, 256), (1, 1, 1),
        {"csf": 0.08, "grey": 0.76, "white": 0.60, "bone": 0.05, "fat": 0.70, "soft": 0.32, "lesion": 1.10}, 0.025, -28.0),
    "swi": Weighting(
        "swi", "axial", (2.0, 0.9, 0.9), (80, 256, 224), (2, 1, 1),
        {"csf": 0.74, "grey": 0.64, "white": 0.52, "bone": 0.03, "fat": 0.30, "soft": 0.36, "lesion": 0.62}, 0.02, 14.0),
    "dwi": Weighting(
        "dwi", "axial", (2.5, 2.5, 2.5), (66, 96, 96), (2, 2, 2),
        {"csf": 1.40, "grey": 0.62, "white": 0.50, "bone": 0.02, "fat": 0.06, "soft": 0.22, "lesion": 0.75}, 0.02, 10.0),
}  # fmt: skip
# not a part of every study; what takes up contrast in every head is as bright as VESSEL
CONTRAST = replace(SEQUENCES["t1"], role="t1_contrast")
VESSEL = 1.6
# the directions in which (slice, row, column) grow; right-handed in that order
AXES = {
    "sagittal": np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]]),
    "axial": np.array([[0.0, 0, 1], [0, 1, 0], [-1, 0, 0]]),
}


def _number(role: str) -> int:
    """Of the stream of random numbers of a series."""
    others = {CONTRAST.role: len(SEQUENCES), "bold": len(SEQUENCES) + 1}
    return others[role] if role in others else sorted(SEQUENCES).index(role)


def grid_of(
    sequence: Weighting, middle_mm: np.ndarray, seed: int, coarseness: float = 1.0, visit: int = 0
) -> tuple[tuple[int, int, int], np.ndarray]:
    """Shape and lps_from_index of a series around the middle of the head: tilted a few degrees, in every series and visit another way."""
    random = np.random.default_rng([seed, 2, _number(sequence.role), *of_visit(visit)])
    spacing = np.array(sequence.spacing_mm) * coarseness
    shape = tuple(round(n / coarseness) for n in sequence.shape)
    directions = rotation(random.uniform(-TILT_DEG, TILT_DEG, 3)) @ AXES[sequence.plane]
    affine = np.eye(4)
    affine[:3, :3] = directions * spacing
    centre = middle_mm + np.array([0.0, -4.0, sequence.up_mm]) + random.uniform(-3, 3, 3)
    affine[:3, 3] = centre - affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return shape, affine


@dataclass(frozen=True, eq=False)
class _Slab:
    """A few slices of a grid: `where` the head is (slice, row, column), boolean, and the middle of those voxels, LPS mm, (3, n)."""

    slices: slice
    where: np.ndarray
    middle: np.ndarray


def _slabs(head: Head, shape_of_head: Shape, shape: tuple[int, int, int], affine: np.ndarray) -> Iterator[_Slab]:
    """A grid a few slices at a time. Air is left out after a look at the middle of every few voxels in the plane."""
    present = _head_with_margin(head)
    block = max(1, int(LOOK_MM / np.linalg.norm(affine[:3, 1:3], axis=0).max()))
    for start in range(0, shape[0], SLAB):
        slices = slice(start, min(start + SLAB, shape[0]))
        coarse = [np.arange(slices.start, slices.stop), *(np.arange(0, n, block) + (block - 1) / 2 for n in shape[1:])]
        at = _places(affine, np.meshgrid(*coarse, indexing="ij"))
        seen = look_up(present, shape_of_head.template_from_lps(at)) > 0
        where = seen.repeat(block, axis=1).repeat(block, axis=2)[:, : shape[1], : shape[2]]
        index = np.nonzero(where)
        yield _Slab(slices, where, _places(affine, (index[0] + slices.start, *index[1:])))


def _places(affine: np.ndarray, index: Sequence[np.ndarray]) -> np.ndarray:
    """LPS mm of voxels; shape (3, ...)."""
    return np.einsum("ij,j...->i...", affine[:3, :3], np.asarray(index)) + affine[:3, 3].reshape(3, *[1] * np.ndim(index[0]))


def _head_with_margin(head: Head) -> np.ndarray:
    """Where there is a head, or one is within MARGIN_MM; float32, for looking up."""
    from scipy import ndimage

    return ndimage.maximum_filter(sum(head.tissue.values()) > 0.01, size=2 * MARGIN_MM + 1).astype(np.float32)


def _points_within(affine: np.ndarray, supersample: tuple[int, int, int]) -> np.ndarray:
    """Steps from the middle of a voxel to the points that stand for it, LPS mm, (point, 3, 1)."""
    offsets = [(np.arange(n) + 0.5) / n - 0.5 for n in supersample]
    inside = np.stack(np.meshgrid(*offsets, indexing="ij"), axis=-1).reshape(-1, 3)
    return (inside @ affine[:3, :3].T)[..., None]


def look_up(image: np.ndarray, template_mm: np.ndarray) -> np.ndarray:
    """Values of a template image at RAS points (3, ...); beyond the neck it goes on as at its lower edge."""
    from scipy import ndimage

    index = template_mm - ORIGIN_MM.astype(np.float32).reshape(3, *[1] * (template_mm.ndim - 1))
    return ndimage.map_coordinates(image, index, order=1, mode="nearest", output=np.float32)


def contrast(head: Head, sequence: Weighting) -> np.ndarray:
    """Intensity on the template, with what was planted: lesions replace; tract, texture and motor band multiply."""
    image = sum(head.tissue[name] * np.float32(sequence.intensity[name]) for name in head.tissue)
    if "lesion" in head.spots:
        lesion = "dark_lesion" if sequence.role == "t1" and "dark_lesion" in head.spots else "lesion"
        image += head.spots[lesion] * (np.float32(sequence.intensity["lesion"]) - image)
    if sequence.role == "flair" and "bright_tract" in head.spots:
        image *= (1 + head.spots["bright_tract"]) * (1 + head.spots["white_texture"])
    if sequence.role == "swi" and "dark_band" in head.spots:
        image *= 1 - head.spots["dark_band"]
    image = show(image, head, sequence.role)
    if sequence.role == CONTRAST.role:
        image = image + enhancing(head) * (np.float32(VESSEL) - image)
    return image


def bias_of(points_mm: np.ndarray, random_weights: np.ndarray) -> np.ndarray:
    """A receive field: smooth, about 1, up to BIAS away from it; multiplies the signal."""
    x, y, z = points_mm / 110.0
    terms = (x, y, z, x * y, y * z, x * z, x * x - 0.3, y * y - 0.3, z * z - 0.3)
    return np.exp(BIAS * sum(w * t for w, t in zip(random_weights, terms, strict=True)))


def rician(signal: np.ndarray, noise: float, random: np.random.Generator) -> np.ndarray:
    """Magnitude of a signal with Gaussian noise on both channels."""
    if not noise:
        return signal
    real = signal + np.float32(noise) * random.standard_normal(signal.shape, dtype=np.float32)
    return np.hypot(real, np.float32(noise) * random.standard_normal(signal.shape, dtype=np.float32))


def _counts(signal: np.ndarray) -> np.ndarray:
    return np.clip(np.round(signal * COUNTS), 0, MOST_COUNTS)


def of_visit(visit: int) -> list[int]:
    """What a visit adds to the seeds of its random numbers: the first nothing."""
    return [visit] if visit else []


def stream_of(sequence: Weighting, seed: int, visit: int = 0) -> tuple[np.random.Generator, np.ndarray]:
    """The random numbers of a series, and the weights of its bias field."""
    random = np.random.default_rng([seed, 3, _number(sequence.role), *of_visit(visit)])
    return random, random.uniform(-0.6, 0.6, 9)


def scan(
    head: Head, shape_of_head: Shape, sequence: Weighting, seed: int, coarseness: float = 1.0, noise: float = 1.0, visit: int = 0
) -> Volume:
    """One weighted image, uint16; `noise` scales the sequence's own, and 0 also leaves out the bias field. Every `visit` has another grid,
    noise and bias field."""
    shape, affine = grid_of(sequence, shape_of_head.middle_mm, seed, coarseness, visit)
    random, weights = stream_of(sequence, seed, visit)
    image = contrast(head, sequence)
    if sequence.role == "swi":
        image *= 1 - vein_loss(head, seed)
    out = np.empty(shape, np.uint16)
    steps = _points_within(affine, sequence.supersample)
    for slab in _slabs(head, shape_of_head, shape, affine):
        inside = sum(look_up(image, shape_of_head.template_from_lps(slab.middle + step)) for step in steps) / np.float32(len(steps))
        signal = np.zeros(slab.where.shape, np.float32)
        signal[slab.where] = inside * bias_of(slab.middle, weights) if noise else inside
        out[slab.slices] = _counts(rician(signal, sequence.noise * noise, random))
    return Volume(out, affine)


def image_of_slabs(
    head: Head, shape_of_head: Shape, sequence: Weighting, seed: int, coarseness: float = 1.0, layer: np.ndarray | None = None
) -> Volume:
    """What a sequence sees without noise, in counts, float32; or how a `layer` of the template looks in its voxels."""
    shape, affine = grid_of(sequence, shape_of_head.middle_mm, seed, coarseness)
    image = contrast(head, sequence) * np.float32(COUNTS) if layer is None else layer
    out, steps = np.zeros(shape, np.float32), _points_within(affine, sequence.supersample)
    for slab in _slabs(head, shape_of_head, shape, affine):
        inside = sum(look_up(image, shape_of_head.template_from_lps(slab.middle + step)) for step in steps) / np.float32(len(steps))
        out[slab.slices][slab.where] = inside
    return Volume(out, affine)


def gradients(seed: int, directions: int = DIRECTIONS) -> tuple[np.ndarray, np.ndarray]:
    """b-values (s/mm²) and LPS directions: b 0 now and then, and even ones (a spiral on the half sphere, turned by the seed)."""
    count = np.arange(directions) + 0.5
    height, turn = 1 - count / directions, np.pi * (1 + 5**0.5) * count
    radius = np.sqrt(1 - height**2)
    spiral = np.stack([radius * np.cos(turn), radius * np.sin(turn), height], axis=1)
    spiral = spiral @ rotation(np.random.default_rng([seed, 4]).uniform(-180, 180, 3)).T
    b_values, b_vectors = np.full(directions + len(B0_AT), B_VALUE), np.zeros((directions + len(B0_AT), 3))
    b_values[list(B0_AT)] = 0
    b_vectors[b_values > 0] = spiral
    return b_values, b_vectors


def attenuation(tensor: np.ndarray, direction: np.ndarray, b_value: float) -> np.ndarray:
    """exp(-b gᵀDg) for tensors (6, n) in 10⁻³ mm²/s and directions (n, 3) in the same axes."""
    x, y, z = direction.T
    square = tensor[0] * x * x + tensor[1] * y * y + tensor[2] * z * z
    square += 2 * (tensor[3] * x * y + tensor[4] * x * z + tensor[5] * y * z)
    return np.exp(-b_value * 1e-3 * square)


@dataclass(frozen=True, eq=False)
class DiffusionModel:
    """What diffusion signals are computed from."""

    head: Head
    fibres: Fibres
    intensity: dict[str, float]
    b_values: np.ndarray
    b_vectors: np.ndarray

    def signals(self, template_mm: np.ndarray, turns: np.ndarray) -> np.ndarray:
        """Noise-free (volume, n) at template points (3, n): fluid, grey, white with its tensor, and the rest of the head."""
        part = {name: look_up(self.head.tissue[name], template_mm) * np.float32(self.intensity[name]) for name in self.head.tissue}
        rest, brain = part["soft"] + part["fat"] + part["bone"], part["white"] > 1e-3
        white, turns = part["white"][brain], turns[brain]
        if "lesion" in self.head.spots:
            gain = self.intensity["lesion"] / self.intensity["white"] - 1
            white = white * (1 + np.float32(gain) * look_up(self.head.spots["lesion"], template_mm[:, brain]))
        tensor = np.stack([look_up(component, template_mm[:, brain]) for component in self.fibres.tensor])
        out = np.empty((len(self.b_values), template_mm.shape[1]), np.float32)
        for k, (b_value, vector) in enumerate(zip(self.b_values, self.b_vectors, strict=True)):
            fluid, grey, soft = (np.float32(np.exp(-b_value * 1e-3 * md)) for md in (FLUID_MD, GREY_MD, SOFT_MD))
            out[k] = part["csf"] * fluid + part["grey"] * grey + rest * soft
            out[k, brain] += white * attenuation(tensor, (turns @ vector).astype(np.float32), b_value)
        for layer, share in planted_layers(self.head).items():
            here = look_up(share, template_mm)
            signal = np.float32(INTENSITY["dwi"][layer]) * np.exp(-1e-3 * ADC[layer] * self.b_values).astype(np.float32)
            out += here * (signal[:, None] - out)
        return out


def scan_diffusion(
    head: Head, fibres: Fibres, shape_of_head: Shape, seed: int, coarseness: float = 1.0, noise: float = 1.0, directions: int = DIRECTIONS,
    visit: int = 0,
) -> Diffusion:  # fmt: skip
    """The diffusion series, float32 in whole counts; `noise` and `visit` as in `scan`."""
    sequence = SEQUENCES["dwi"]
    shape, affine = grid_of(sequence, shape_of_head.middle_mm, seed, coarseness, visit)
    random, weights = stream_of(sequence, seed, visit)
    b_values, b_vectors = gradients(seed, directions)
    model = DiffusionModel(head, fibres, sequence.intensity, b_values, b_vectors)
    out = np.empty((*shape, len(b_values)), np.float32)
    steps = _points_within(affine, sequence.supersample)
    for slab in _slabs(head, shape_of_head, shape, affine):
        turns = shape_of_head.turns(slab.middle)
        inside = sum(model.signals(shape_of_head.template_from_lps(slab.middle + step), turns) for step in steps) / np.float32(len(steps))
        signal = np.zeros((*slab.where.shape, len(b_values)), np.float32)
        signal[slab.where] = (inside * bias_of(slab.middle, weights) if noise else inside).T
        out[slab.slices] = _counts(rician(signal, sequence.noise * noise, random))
    return Diffusion(out, affine, b_values, b_vectors)
