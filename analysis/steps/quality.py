"""What one image says of its own quality: where the body is in it, its noise, and the ghosts that motion leaves.

Nothing but the image is needed: no noise scan, no air that still carries noise, no template. Where an image cannot show a thing (ghosts in
air that the scanner has blanked), that is refused with the reason. `analysis.markers.image_quality` decides what is too much.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from analysis.outcome import NotMeasurable
from analysis.volume import Volume
from analysis.words import say

STEP_MM = 4.0
OBJECT_SHARE = 0.35  # of Otsu's threshold: muscle and cord beside bright fat, brain beside bright fluid
ABOVE_AIR = 1.6
DEEP_MM, UPPER_MM, LEAST_DEEP_ML = 25.0, 100.0, 50.0
QUIET_PERCENTILE, QUIET_WIDTH, ENOUGH_VOXELS = 25.0, 7, 2e6
EMPTY_BAND, FLOOR_OF_BAND = 0.01, 0.02  # of the spectrum: native series keep 0.04 at the edge, zero-filled ones at most 0.004
AIR_MM, LEAST_BLOCKS, MOST_BLANK, GHOST_PERCENTILE = 12.0, 100, 0.5, 75.0


@dataclass(frozen=True, eq=False)
class Overview:
    """An image at about 4 mm: means of whole blocks of voxels.

    `blocks`: the image there; `factor` (3,): voxels per block. `body`, boolean: head or neck, filled; `deep`: its inner part, 25 mm under
    the surface and in the upper 100 mm. `signal`: the mean there.
    """

    blocks: Volume
    factor: np.ndarray
    body: np.ndarray
    deep: np.ndarray
    signal: float


def overview_of(image: Volume) -> Overview:
    """The image at 4 mm with its body. NotMeasurable where nothing stands out from the air."""
    factor = np.maximum(1, np.round(STEP_MM / image.spacing_mm)).astype(int)
    place = image.lps_from_index @ np.diag([*factor, 1.0])
    place[:3, 3] = (image.lps_from_index @ [*((factor - 1) / 2), 1.0])[:3]
    blocks = Volume(block_means(image.array, factor), place)
    body = body_of(blocks.array)
    deep = deep_part(blocks, body)
    return Overview(blocks, factor, body, deep, float(blocks.array[deep].mean()))


def block_means(array: np.ndarray, factor: np.ndarray, power: int = 1) -> np.ndarray:
    """Means, or means of squares, of blocks of `factor` voxels, float32; what is left over at the far faces is not used."""
    count = np.maximum(np.array(array.shape) // factor, 1)
    factor = np.minimum(factor, array.shape)
    out = np.empty(count, np.float32)
    rows, columns = count[1:] * factor[1:]
    for index in range(count[0]):
        part = array[index * factor[0] : (index + 1) * factor[0], :rows, :columns].astype(np.float32) ** power
        out[index] = part.reshape(factor[0], count[1], factor[1], count[2], factor[2]).mean((0, 2, 4))
    return out


def body_of(array: np.ndarray) -> np.ndarray:
    """The largest bright piece of an image at 4 mm, closed over skull and air of less than 3 cm, boolean."""
    from skimage.filters import threshold_otsu

    bright = array[array > 0]
    if bright.size < LEAST_BLOCKS or np.ptp(bright) == 0:
        raise NotMeasurable(say("the image is empty"))
    between = float(threshold_otsu(np.sqrt(bright)) ** 2)
    # air that is all noise is as bright everywhere: it stays below
    noise = min(ABOVE_AIR * float(np.percentile(bright, 5)), 0.8 * between)
    found = array > max(OBJECT_SHARE * between, noise)
    found = ndimage.binary_opening(np.pad(found, 2, mode="edge"))[2:-2, 2:-2, 2:-2]
    pieces, count = ndimage.label(found)
    if count == 0:
        raise NotMeasurable(say("nothing in the image stands out from its background"))
    found = pieces == 1 + int(np.argmax(ndimage.sum_labels(found, pieces, range(1, count + 1))))
    return ndimage.binary_closing(np.pad(found, 4, mode="edge"), iterations=4)[4:-4, 4:-4, 4:-4]


def deep_part(blocks: Volume, body: np.ndarray) -> np.ndarray:
    """The inner part of the body: brain, or the middle of a neck. A small body gives the deepest quarter. The field's edge is no
    surface."""
    surface = np.pad(body, 1, mode="edge")
    depth_mm = np.full(body.shape, np.inf)
    if not surface.all():
        depth_mm = ndimage.distance_transform_edt(surface, sampling=blocks.spacing_mm)[1:-1, 1:-1, 1:-1]
    height_mm = heights(blocks)
    upper = body & (height_mm > top_of(height_mm, body) - UPPER_MM)
    deep = upper & (depth_mm > DEEP_MM)
    if deep.sum() * blocks.voxel_ml < LEAST_DEEP_ML:
        deep = upper & (depth_mm >= np.percentile(depth_mm[upper], 75))
    return deep


def heights(grid: Volume) -> np.ndarray:
    """How high each voxel lies in the patient, mm."""
    matrix, sizes = grid.lps_from_index, grid.array.shape
    steps = [np.arange(size).reshape([-1 if k == axis else 1 for k in range(3)]) for axis, size in enumerate(sizes)]
    return matrix[2, 3] + sum(matrix[2, axis] * step for axis, step in enumerate(steps))


def top_of(height_mm: np.ndarray, body: np.ndarray) -> float:
    """The height of the top of the body, mm."""
    return float(np.percentile(height_mm[body], 99.5))


def noise_of(image: Volume, overview: Overview, twin: np.ndarray | None = None) -> float:
    """The standard deviation of the noise in the deep part, in units of the image, before the magnitude was taken.

    From second differences along all three axes at once, where neither edges nor slow changes are left, in the quietest quarter of the
    neighbourhoods. `twin`: the same picture once more, as another volume of a series has it; then the anatomy is taken out first. Where the
    scanner has interpolated (zeros beyond the sampled part of k-space), the image is brought back to the voxels that were sampled.
    """
    box = middle_of(ndimage.find_objects(overview.deep.astype(np.uint8))[0], overview.factor)
    inside = overview.deep[box]
    fine = tuple(slice(side.start * k, side.stop * k) for side, k in zip(box, overview.factor, strict=True))
    array = image.array[fine].astype(np.float32)
    if twin is not None:
        array = (array - twin[fine].astype(np.float32)) / np.float32(np.sqrt(2))
    for axis, k in enumerate(overview.factor):
        inside = inside.repeat(k, axis)
    for axis in range(3):
        array, inside = as_sampled(array, inside, axis)
    rest, inside = rough(array, inside, range(3))
    if not inside.any():
        raise NotMeasurable(say("the image holds too little tissue to see its noise"))
    energy = ndimage.uniform_filter(rest * rest, [min(QUIET_WIDTH, size) for size in rest.shape])
    return float(np.sqrt(max(np.percentile(energy[inside], QUIET_PERCENTILE), 0.0)))


def middle_of(box: tuple[slice, ...], factor: np.ndarray) -> tuple[slice, ...]:
    """A box of blocks, shortened about its middle along the first axis to what two million voxels are enough for."""
    blocks = [side.stop - side.start for side in box]
    wanted = max(8, int(ENOUGH_VOXELS / (np.prod(blocks[1:]) * np.prod(factor))))
    spare = max(0, blocks[0] - wanted)
    return (slice(box[0].start + spare // 2, box[0].stop - (spare - spare // 2)), *box[1:])


def rough(array: np.ndarray, inside: np.ndarray, axes: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Second differences along each of the axes, scaled so that white noise keeps its size; and `inside` on the smaller array."""
    for axis in axes:
        if array.shape[axis] < QUIET_WIDTH + 1:
            continue
        first, middle, last = (
            tuple(slice(k, array.shape[axis] - 2 + k) if one == axis else slice(None) for one in range(3)) for k in range(3)
        )
        array = (2 * array[middle] - array[first] - array[last]) / np.float32(np.sqrt(6))
        inside = inside[middle]
    return array, inside


def as_sampled(array: np.ndarray, inside: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """The array with the samples that its spectrum along the axis is worth: fewer where the outer part of the spectrum is empty."""
    from scipy.signal import resample

    size = array.shape[axis]
    share = sampled_share(array, inside, axis) if size >= 32 else 1.0
    if share == 1.0:
        return array, inside
    count = max(int(size * share), 8)
    nearest = np.round(np.linspace(0, size - 1, count)).astype(int)
    return resample(array, count, axis=axis).astype(np.float32), np.take(inside, nearest, axis)


def sampled_share(array: np.ndarray, inside: np.ndarray, axis: int) -> float:
    """The share of the spectrum along an axis that holds anything, 0.25 to 1, from the quietest lines."""
    rest, within = rough(array, inside, [one for one in range(3) if one != axis])
    lines = np.moveaxis(rest, axis, -1)[within.mean(axis) > 0.5]
    if len(lines) < LEAST_BLOCKS:
        return 1.0
    lines = lines[:: max(1, len(lines) // 4000)]
    change = (np.diff(lines, 2, axis=-1) ** 2).mean(-1)
    lines = lines[change <= np.percentile(change, 30)] * np.hanning(lines.shape[-1] + 2)[1:-1].astype(np.float32)
    power = (np.abs(np.fft.rfft(lines, axis=-1)) ** 2).mean(0)
    bands = np.array([part.mean() for part in np.array_split(power, 16)])
    level = np.median(bands[:6])
    if level == 0 or bands[-2:].mean() > EMPTY_BAND * level:
        return 1.0
    return max(0.25, (1 + int(np.flatnonzero(bands > FLOOR_OF_BAND * level)[-1])) / len(bands))


def ghosting_of(image: Volume, overview: Overview) -> float:
    """Ghosts in the air beside the body, as a share of the signal; 0 where there are none.

    A head that moves between the steps of the phase encoding throws ghosts along that axis only: for each axis the air that
    lies beside the body is compared with the air that does not. NotMeasurable where the air is blanked or too small to look at.
    """
    body, size_mm = overview.body, overview.blocks.spacing_mm
    distance_mm = ndimage.distance_transform_edt(np.pad(~body, 1, mode="edge"), sampling=size_mm)[1:-1, 1:-1, 1:-1]
    air = ~body & (distance_mm > AIR_MM)
    energy = block_means(image.array, overview.factor, power=2)
    if air.sum() >= LEAST_BLOCKS and (energy[air] == 0).mean() > MOST_BLANK:
        raise NotMeasurable(say("the air around the body was set to zero before the series was sent, so ghosts of motion cannot be seen"))
    found = []
    for axis in range(3):
        beside = np.broadcast_to(body.any(axis, keepdims=True), body.shape)
        if min((air & beside).sum(), (air & ~beside).sum()) >= LEAST_BLOCKS:
            found.append(np.percentile(energy[air & beside], GHOST_PERCENTILE) - np.percentile(energy[air & ~beside], GHOST_PERCENTILE))
    if not found:
        raise NotMeasurable(say("the field of view holds too little air beside the body to see ghosts of motion"))
    return float(np.sqrt(max(*found, 0.0)) / overview.signal)
