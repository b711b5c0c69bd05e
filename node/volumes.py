"""From one series to the image that the engine works on, and from an array to a NIfTI file.

The pixels come from dcm2niix and are checked against the headers: every slice must carry an image of the series, within a tenth of a
voxel, and show it. Where it does not, the volume is put together from the frames themselves (`node.assembly`). Slices, rows and columns run
as in the source images. The gradients of a diffusion series come from dcm2niix and from the headers; where the two disagree the series
is refused. Volumes that the scanner derived are dropped. Every refusal is a StudyError with a sentence.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from analysis.volume import BadGeometry, Diffusion, Image, TimeSeries, Volume
from analysis.words import say
from node.assembly import assembled, source_frames, wanted_echo_ms
from node.conversion import NotConverted, Output, converted
from node.errors import StudyError
from node.frames import Frame, Place, frames_of, slice_map
from node.gradients import SMALLEST_B_S_MM2, Gradient, gradient_of
from node.physics import physics_of
from node.study import Series

LPS_FROM_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
LARGEST_ANGLE_DEG = 5.0
LEAST_CORRELATION = 0.9999  # of the pixels of a volume and its source image, which are equal up to a linear scale
NOT_SOURCE = ("_ph", "_real", "_imaginary", "_ADC", "_FA", "_MoCo", "_Eq", "_ROI")


def image_of(series: Series, role: str) -> Image:
    """The image with that role: Diffusion for dwi, TimeSeries for bold, else Volume. StudyError where the series does not carry it."""
    try:
        return _image_of(series, role)
    except (StudyError, MemoryError):
        raise
    except Exception as error:  # a value is decoded when it is asked for, and pydicom raises many kinds on a damaged one
        if getattr(error, "errno", None):
            raise  # the disk
        raise StudyError(say("its headers could not be understood ({error})", error=type(error).__name__)) from error


def _image_of(series: Series, role: str) -> Image:
    if role == "mrs":
        raise StudyError(say("a spectrum is no image: it has no volume"))
    frames = frames_of(series)
    chosen = source_frames(frames, role) if frames else []
    try:
        scan = _converted(series, role, frames)
    except NotConverted:
        if not frames:
            raise
        scan = _assembled(series, chosen)
    try:
        return _image(scan, role, series)
    except BadGeometry as error:
        raise StudyError(say("the series makes no image: {error}", error=str(error))) from error


@dataclass(frozen=True, eq=False)
class _Scan:
    """Pixels in their place (slice, row, column, volume), and for each volume the two accounts of its gradient."""

    array: np.ndarray
    lps_from_index: np.ndarray
    table: list[Gradient]
    sources: list[Frame | None]
    repetition_time_s: float


def _converted(series: Series, role: str, frames: Sequence[Frame]) -> _Scan:
    with converted(series) as outputs:
        output = _best(outputs, role)
        array, lps_from_index = _aligned(*output.load(), _axes(series, frames))
        array = _four(array)
        places = _checked_places(lps_from_index, array.shape, frames)
        sources = _sources(series, array, places)
        return _Scan(array, lps_from_index, _table(output), sources, float(output.sidecar.get("RepetitionTime") or 0.0))


def _assembled(series: Series, chosen: Sequence[Frame]) -> _Scan:
    array, lps_from_index, sources = assembled(series, chosen)
    repetition_time_ms = physics_of(series).tr_ms or 0.0
    return _Scan(array, lps_from_index, [Gradient()] * array.shape[3], list(sources), repetition_time_ms / 1000.0)


def _image(scan: _Scan, role: str, series: Series) -> Image:
    if role == "dwi":
        return _diffusion(scan)
    if role == "bold":
        if not scan.repetition_time_s > 0:
            raise StudyError(say("the time series does not say its repetition time"))
        name = str(series.header.get("ProtocolName") or series.header.get("SeriesDescription") or "")
        return TimeSeries(scan.array, scan.lps_from_index, scan.repetition_time_s, name.strip())
    return Volume(np.ascontiguousarray(scan.array[..., 0]), scan.lps_from_index)


def write_nifti(image: Volume | np.ndarray, lps_from_index: np.ndarray | None, path: Path) -> None:
    """Write a volume, or an array (slice, row, column, ...) with its map, as NIfTI in scanner space; booleans become 0 and 1."""
    import nibabel

    array = image.array if isinstance(image, Volume) else image
    matrix = image.lps_from_index if lps_from_index is None and isinstance(image, Volume) else lps_from_index
    array = array.astype(np.uint8) if array.dtype == np.bool_ else array
    ras_from_index = LPS_FROM_RAS @ np.asarray(matrix)[:, [2, 1, 0, 3]]
    nifti = nibabel.Nifti1Image(array.transpose(2, 1, 0, *range(3, array.ndim)), ras_from_index)
    nifti.set_sform(ras_from_index, code=1)
    nifti.set_qform(ras_from_index, code=1)
    nifti.header.set_xyzt_units("mm", "sec")
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nifti, path)


def _best(outputs: Sequence[Output], role: str) -> Output:
    """The output that carries the role: a source magnitude image, the echo that the role wants, then the largest."""
    sources = [output for output in outputs if not any(mark in output.suffix for mark in NOT_SOURCE) and _is_magnitude(output)]
    if role == "dwi":
        sources = [output for output in outputs if output.gradients() is not None] or sources
    if not sources:
        raise NotConverted(say("dcm2niix found no source image in the series, only phase, derived or resampled ones"))
    echoes = [_echo_ms(output) for output in sources]
    return max(sources, key=lambda output: (_wanted(output, role, echoes), int(np.prod(output.shape))))


def _is_magnitude(output: Output) -> bool:
    return not {"PHASE", "P", "REAL", "IMAGINARY", "ADC", "FA"} & {str(word).upper() for word in output.sidecar.get("ImageType", ())}


def _wanted(output: Output, role: str, echoes: Sequence[float]) -> float:
    if role == "swi" and "SWI" in output.sidecar.get("ImageType", ()):
        return 1.0
    return 0.0 if _echo_ms(output) == wanted_echo_ms(echoes, role) else -1.0


def _echo_ms(output: Output) -> float:
    return round(1000.0 * float(output.sidecar.get("EchoTime") or 0.0), 2)


def _axes(series: Series, frames: Sequence[Frame]) -> np.ndarray:
    """Unit vectors of (slice, row, column) in LPS as the source images have them, as columns."""
    if frames:
        shown = next((frame for frame in frames if not frame.is_derived), frames[0])
        return shown.lps_from_index[:3, :3] / np.linalg.norm(shown.lps_from_index[:3, :3], axis=0)
    cosines = series.header.get("ImageOrientationPatient")
    if cosines is None or len(cosines) != 6:
        raise StudyError(say("the series does not say how its images lie in the patient, so it makes no volume"))
    columns, rows = np.array([float(number) for number in cosines]).reshape(2, 3)
    return np.stack([np.cross(rows, columns), rows, columns], axis=1)


def _aligned(array: np.ndarray, ras_from_index: np.ndarray, axes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The array as (slice, row, column[, volume]), each axis running as in the source images, and its right-handed map."""
    matrix = LPS_FROM_RAS @ ras_from_index
    along = axes.T @ (matrix[:3, :3] / np.linalg.norm(matrix[:3, :3], axis=0))
    order = np.abs(along).argmax(axis=1).tolist()
    if sorted(order) != [0, 1, 2]:
        raise NotConverted(say("the volume that dcm2niix wrote does not lie as the images of the series do"))
    array = array.transpose(*order, *range(3, array.ndim))
    matrix = matrix[:, [*order, 3]]
    for axis in range(3):
        if along[axis, order[axis]] < 0:
            array = np.flip(array, axis)
            matrix[:3, 3] += matrix[:3, axis] * (array.shape[axis] - 1)
            matrix[:3, axis] *= -1
    return np.ascontiguousarray(array, dtype=np.float32), matrix


def _checked_places(lps_from_index: np.ndarray, shape: Sequence[int], frames: Sequence[Frame]) -> tuple[Place, ...]:
    """The place of every image on the volume; StudyError where a slice has none. Empty where the series has no place per image."""
    try:
        places = slice_map(lps_from_index, shape, frames)
    except StudyError:
        places = ()
    if frames and {place.slice_index for place in places} != set(range(shape[0])):
        raise NotConverted(say("the volume that dcm2niix wrote does not lie where the headers of the series say; the series was not used"))
    return places


def _four(array: np.ndarray) -> np.ndarray:
    return array if array.ndim == 4 else array[..., np.newaxis]


def _table(output: Output) -> list[Gradient]:
    """The gradients of dcm2niix in LPS. FSL's axes are those of the voxels, the first one flipped where the map is right-handed."""
    import nibabel

    found = output.gradients()
    if found is None:
        return [Gradient()] * output.volumes
    matrix = nibabel.load(output.path).affine[:3, :3]
    turn = LPS_FROM_RAS[:3, :3] @ (matrix / np.linalg.norm(matrix, axis=0))
    turn = turn @ np.diag([-1.0 if np.linalg.det(matrix) > 0 else 1.0, 1.0, 1.0])
    return [_gradient(float(b_value), turn @ vector) for b_value, vector in zip(*found, strict=True)]


def _gradient(b_value: float, vector: np.ndarray) -> Gradient:
    length = float(np.linalg.norm(vector))
    return Gradient(b_value, vector / length if length > 0.1 and b_value >= SMALLEST_B_S_MM2 else None)


def _diffusion(scan: _Scan) -> Diffusion:
    if scan.array.shape[3] < 2:
        raise StudyError(say("the diffusion series makes a single volume only"))
    stated = [None if frame is None else frame.gradient for frame in scan.sources]
    agreed = [_agreed(number, one, other) for number, (one, other) in enumerate(zip(scan.table, stated, strict=True))]
    kept = [number for number, gradient in enumerate(agreed) if _is_measured(gradient, scan.sources[number])]
    if not any(agreed[number].is_weighted for number in kept):
        kept = _trace_volumes(agreed, scan.sources)
    if not kept:
        raise StudyError(say("the diffusion series gives no direction of diffusion, neither in the standard's tags nor in the vendor's"))
    values = np.array([agreed[number].b_value_s_mm2 if agreed[number].is_weighted else 0.0 for number in kept])
    vectors = np.array([np.zeros(3) if agreed[number].b_vector_lps is None else agreed[number].b_vector_lps for number in kept])
    chosen = scan.array if len(kept) == scan.array.shape[3] else np.ascontiguousarray(scan.array[..., kept])
    return Diffusion(chosen, scan.lps_from_index, values, vectors)


def _trace_volumes(agreed: Sequence[Gradient], sources: Sequence[Frame | None]) -> list[int]:
    """The volumes of a series of b = 0 and trace images: one weighted volume of each b-value, or all of them marked as computed by the
    scanner. None of them where it is no such series: there the directions have been lost."""
    weighted = [number for number, gradient in enumerate(agreed) if gradient.is_weighted]
    marked = all(agreed[number].is_trace or (sources[number] is not None and sources[number].is_derived) for number in weighted)
    single = len({round(agreed[number].b_value_s_mm2, -1) for number in weighted}) == len(weighted)
    is_trace = bool(weighted) and len(weighted) < len(agreed) and (marked or single)
    return list(range(len(agreed))) if is_trace and all(agreed[number].b_vector_lps is None for number in weighted) else []


def _is_measured(gradient: Gradient, source: Frame | None) -> bool:
    """Not a volume that the scanner derived, such as a mean over directions, which has a b-value and no direction."""
    return not (source is not None and source.is_derived) and not (gradient.is_weighted and gradient.b_vector_lps is None)


def _agreed(number: int, table: Gradient, stated: Gradient | None) -> Gradient:
    """One gradient from dcm2niix and the header, which must agree where both speak; a header alone is enough, and so is dcm2niix."""
    if stated is None or stated.b_value_s_mm2 is None:
        if table.b_value_s_mm2 is None:
            raise StudyError(say("neither dcm2niix nor the header gives the b-value of diffusion volume {number}", number=number + 1))
        return table
    if table.b_value_s_mm2 is None:
        return stated
    if abs(table.b_value_s_mm2 - stated.b_value_s_mm2) > 20.0 + 0.05 * stated.b_value_s_mm2:
        values = say("{stated:.0f} in the header, {table:.0f} from dcm2niix", stated=stated.b_value_s_mm2, table=table.b_value_s_mm2)
        raise StudyError(say(
            "the b-values of diffusion volume {number} disagree: {values} s/mm²; the series was not used",
            number=number + 1, values=values,
        ))
    if table.b_vector_lps is None or stated.b_vector_lps is None:
        return table if stated.b_vector_lps is None and not stated.is_trace else stated
    angle_deg = float(np.degrees(np.arccos(min(1.0, abs(float(table.b_vector_lps @ stated.b_vector_lps))))))
    if angle_deg > LARGEST_ANGLE_DEG:
        raise StudyError(
            say(
                "the directions of diffusion volume {number} disagree by {angle_deg:.0f}° between the header and dcm2niix; the "
                "series was not used, because a turned direction would give wrong fibres",
                number=number + 1, angle_deg=angle_deg,
            )
        )
    return stated


def _sources(series: Series, array: np.ndarray, places: Sequence[Place]) -> list[Frame | None]:
    """For each volume the image that its middle slice was made of, found by its pixels; None where no image can be decoded.

    NotConverted where the images can be decoded and the slice shows none of them. Mosaics have no image per slice: there the volumes
    follow the instances, one each.
    """
    count = array.shape[3]
    if not places:
        return _instances_in_order(series, count)
    found: list[Frame | None] = [None] * count
    checked = (0, array.shape[0] - 1, array.shape[0] // 2)
    pixels = _pixels(series, [place for place in places if place.slice_index in checked])
    for index in checked:
        there = [(place.frame, picture) for place, picture in pixels if place.slice_index == index]
        if there:
            found = _found(array[index], there)
    return found


def _found(slices: np.ndarray, pixels: Sequence[tuple[Frame, np.ndarray]]) -> list[Frame | None]:
    pictures = np.stack([_standard(picture) for _, picture in pixels])
    shown = np.stack([_standard(slices[:, :, number]) for number in range(slices.shape[2])])
    alike = shown @ pictures.T
    best = alike.argmax(axis=1)
    is_flat = ~shown.any(axis=1) & (~pictures.any(axis=1)).any()  # an empty slice is as good as another
    if ((alike.max(axis=1) < LEAST_CORRELATION) & ~is_flat).any():
        raise NotConverted(say("a slice of the volume that dcm2niix wrote shows none of the images that the series has there"))
    return [None if flat else pixels[index][0] for index, flat in zip(best, is_flat, strict=True)]


def _instances_in_order(series: Series, count: int) -> list[Frame | None]:
    """Stand-ins that carry only the gradient of each mosaic; dcm2niix keeps the order of the acquisition."""
    if len(series.instances) != count:
        return [None] * count
    stated = [gradient_of(instance.header) for instance in series.instances]
    return [Frame(number, None, np.eye(4), 0, 0, one, number, one.is_trace, None, "magnitude") for number, one in enumerate(stated)]


def _pixels(series: Series, places: Sequence[Place]) -> list[tuple[Place, np.ndarray]]:
    """The stored pixels of each image, turned as the volume's slice; without those whose compression cannot be decoded here."""
    from pydicom.pixels import pixel_array

    found = []
    for instance, group in itertools.groupby(places, key=lambda place: place.frame.instance):
        wanted = list(group)
        number = wanted[0].frame.number if len(wanted) == 1 else None  # many frames of one file: one pass is quicker
        try:
            pixels = pixel_array(series.instances[instance].path, index=None if number is None else number - 1)
        except (RuntimeError, NotImplementedError, ValueError, AttributeError, OSError):
            continue
        found += [(place, _turned(pixels if pixels.ndim == 2 else pixels[place.frame.number - 1], place)) for place in wanted]
    return found


def _turned(picture: np.ndarray, place: Place) -> np.ndarray:
    picture = picture[::-1] if place.rows_are_flipped else picture
    picture = picture[:, ::-1] if place.columns_are_flipped else picture
    return picture.T if place.is_transposed else picture


def _standard(picture: np.ndarray) -> np.ndarray:
    """Zero mean, unit length: the product of two is their correlation."""
    flat = picture.astype(np.float64).ravel()
    flat -= flat.mean()
    length = float(np.linalg.norm(flat))
    return flat / length if length > 0 else flat
