"""From one series to the image that the engine works on, and from an array to a NIfTI file.

The pixels come from dcm2niix, the place is checked against the headers: every slice must carry an image of the series, within a tenth of a
voxel. Slices, rows and columns run as in the source images. The gradients of a diffusion series come from dcm2niix and from the headers;
the images that make up each volume are found by their pixels, and where the two disagree the series is refused. Volumes that the scanner
derived are dropped. Every refusal is a StudyError with a sentence.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from analysis.volume import BadGeometry, Diffusion, Image, TimeSeries, Volume
from node.contrast import bounds
from node.conversion import Output, converted
from node.errors import StudyError
from node.frames import Frame, Place, frames_of, slice_map
from node.gradients import SMALLEST_B_S_MM2, Gradient, gradient_of
from node.study import Series

LPS_FROM_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
LARGEST_ANGLE_DEG = 5.0
LEAST_CORRELATION = 0.9999  # of the pixels of a volume and its source image, which are equal up to a linear scale
NOT_SOURCE = ("_ph", "_real", "_imaginary", "_ADC", "_FA", "_MoCo", "_Eq", "_ROI")


def image_of(series: Series, role: str) -> Image:
    """The image with that role: Diffusion for dwi, TimeSeries for bold, else Volume. StudyError where the series does not carry it."""
    if role == "mrs":
        raise StudyError("a spectrum is no image: it has no volume")
    frames = frames_of(series)
    with converted(series) as outputs:
        output = _best(outputs, role)
        array, lps_from_index = _aligned(*output.load(), _axes(series, frames))
        places = _checked_places(lps_from_index, array.shape, frames)
        try:
            if role == "dwi":
                return _diffusion(series, array, lps_from_index, _table(output), places)
            if role == "bold":
                return TimeSeries(_four(array), lps_from_index, _repetition_time_s(output))
            return Volume(np.ascontiguousarray(_four(array)[..., 0]), lps_from_index)
        except BadGeometry as error:
            raise StudyError(f"the series makes no image: {error}") from error


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
        if any("_Eq" in output.suffix for output in outputs):
            raise StudyError("the slices are not evenly spaced, so the series makes no volume")
        raise StudyError("dcm2niix found no source image in the series, only phase, derived or resampled ones")
    return max(sources, key=lambda output: (_wanted(output, role), int(np.prod(output.shape))))


def _is_magnitude(output: Output) -> bool:
    return not {"PHASE", "P", "REAL", "IMAGINARY", "ADC", "FA"} & {str(word).upper() for word in output.sidecar.get("ImageType", ())}


def _wanted(output: Output, role: str) -> float:
    echo_ms = 1000.0 * float(output.sidecar.get("EchoTime") or 0.0)
    if role in ("t2star", "cord_t2star"):
        return -abs(echo_ms - bounds()["t2star"]["echo_wanted"])
    if role in ("t2", "cord_t2", "flair"):
        return echo_ms
    if role == "swi":
        return float("SWI" in output.sidecar.get("ImageType", ()))
    return float(output.volumes) if role in ("dwi", "bold") else -echo_ms


def _axes(series: Series, frames: Sequence[Frame]) -> np.ndarray:
    """Unit vectors of (slice, row, column) in LPS as the source images have them, as columns."""
    if frames:
        shown = next((frame for frame in frames if not frame.is_derived), frames[0])
        return shown.lps_from_index[:3, :3] / np.linalg.norm(shown.lps_from_index[:3, :3], axis=0)
    cosines = series.header.get("ImageOrientationPatient")
    if cosines is None or len(cosines) != 6:
        raise StudyError("the series does not say how its images lie in the patient, so it makes no volume")
    columns, rows = np.array([float(number) for number in cosines]).reshape(2, 3)
    return np.stack([np.cross(rows, columns), rows, columns], axis=1)


def _aligned(array: np.ndarray, ras_from_index: np.ndarray, axes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The array as (slice, row, column[, volume]), each axis running as in the source images, and its right-handed map."""
    matrix = LPS_FROM_RAS @ ras_from_index
    along = axes.T @ (matrix[:3, :3] / np.linalg.norm(matrix[:3, :3], axis=0))
    order = np.abs(along).argmax(axis=1).tolist()
    if sorted(order) != [0, 1, 2]:
        raise StudyError("the volume that dcm2niix wrote does not lie as the images of the series do")
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
    places = slice_map(lps_from_index, shape, frames)
    if frames and {place.slice_index for place in places} != set(range(shape[0])):
        raise StudyError("the volume that dcm2niix wrote does not lie where the headers of the series say; the series was not used")
    return places


def _four(array: np.ndarray) -> np.ndarray:
    return array if array.ndim == 4 else array[..., np.newaxis]


def _repetition_time_s(output: Output) -> float:
    seconds = float(output.sidecar.get("RepetitionTime") or 0.0)
    if not seconds > 0:
        raise StudyError("the time series does not say its repetition time")
    return seconds


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


def _diffusion(series: Series, array: np.ndarray, lps_from_index: np.ndarray, table: list[Gradient], places: Sequence[Place]) -> Diffusion:
    array = _four(array)
    if array.shape[3] < 2:
        raise StudyError("the diffusion series makes a single volume only")
    sources = _sources(series, array, places)
    stated = [None if frame is None else frame.gradient for frame in sources]
    agreed = [_agreed(number, one, other) for number, (one, other) in enumerate(zip(table, stated, strict=True))]
    kept = [
        number
        for number, gradient in enumerate(agreed)
        if not (sources[number] is not None and sources[number].is_derived) and not (gradient.is_weighted and gradient.b_vector_lps is None)
    ]
    if not any(agreed[number].is_weighted for number in kept):
        raise StudyError("the diffusion series gives no direction of diffusion, neither in the standard's tags nor in the vendor's")
    values = np.array([agreed[number].b_value_s_mm2 if agreed[number].is_weighted else 0.0 for number in kept])
    vectors = np.array([agreed[number].b_vector_lps if agreed[number].is_weighted else np.zeros(3) for number in kept])
    chosen = array if len(kept) == array.shape[3] else np.ascontiguousarray(array[..., kept])
    return Diffusion(chosen, lps_from_index, values, vectors)


def _agreed(number: int, table: Gradient, stated: Gradient | None) -> Gradient:
    """One gradient from dcm2niix and the header, which must agree where both speak; a header alone is enough, and so is dcm2niix."""
    if stated is None or stated.b_value_s_mm2 is None:
        if table.b_value_s_mm2 is None:
            raise StudyError(f"neither dcm2niix nor the header gives the b-value of diffusion volume {number + 1}")
        return table
    if table.b_value_s_mm2 is None:
        return stated
    if abs(table.b_value_s_mm2 - stated.b_value_s_mm2) > 20.0 + 0.05 * stated.b_value_s_mm2:
        values = f"{stated.b_value_s_mm2:.0f} in the header, {table.b_value_s_mm2:.0f} from dcm2niix"
        raise StudyError(f"the b-values of diffusion volume {number + 1} disagree: {values} s/mm²; the series was not used")
    if table.b_vector_lps is None or stated.b_vector_lps is None:
        return table if stated.b_vector_lps is None and not stated.is_trace else stated
    angle_deg = float(np.degrees(np.arccos(min(1.0, abs(float(table.b_vector_lps @ stated.b_vector_lps))))))
    if angle_deg > LARGEST_ANGLE_DEG:
        raise StudyError(
            f"the directions of diffusion volume {number + 1} disagree by {angle_deg:.0f}° between the header and dcm2niix; "
            "the series was not used, because a turned direction would give wrong fibres"
        )
    return stated


def _sources(series: Series, array: np.ndarray, places: Sequence[Place]) -> list[Frame | None]:
    """For each volume the image that its middle slice was made of, found by its pixels; None where none can be found.

    Mosaics have no image per slice: there the volumes follow the instances, one each.
    """
    count = array.shape[3]
    if not places:
        return _instances_in_order(series, count)
    middle = array.shape[0] // 2
    pixels = [(place.frame, _pixels(series, place)) for place in places if place.slice_index == middle]
    found = [(frame, picture) for frame, picture in pixels if picture is not None]
    if not found:
        return [None] * count
    pictures = np.stack([_standard(picture) for _, picture in found])
    volumes = np.stack([_standard(array[middle, :, :, number]) for number in range(count)])
    alike = volumes @ pictures.T
    best = alike.argmax(axis=1)
    return [found[index][0] if alike[number, index] >= LEAST_CORRELATION else None for number, index in enumerate(best)]


def _instances_in_order(series: Series, count: int) -> list[Frame | None]:
    """Stand-ins that carry only the gradient of each mosaic; dcm2niix keeps the order of the acquisition."""
    if len(series.instances) != count:
        return [None] * count
    stated = [gradient_of(instance.header) for instance in series.instances]
    return [Frame(number, None, np.eye(4), 0, 0, one, number, one.is_trace, None, "magnitude") for number, one in enumerate(stated)]


def _pixels(series: Series, place: Place) -> np.ndarray | None:
    """The stored pixels of one image, turned as the volume's slice; None where its compression cannot be decoded here."""
    from pydicom.pixels import pixel_array

    number = place.frame.number
    try:
        picture = pixel_array(series.instances[place.frame.instance].path, index=None if number is None else number - 1)
    except (RuntimeError, NotImplementedError, ValueError, AttributeError, OSError):
        return None
    picture = picture[::-1] if place.rows_are_flipped else picture
    picture = picture[:, ::-1] if place.columns_are_flipped else picture
    return picture.T if place.is_transposed else picture


def _standard(picture: np.ndarray) -> np.ndarray:
    """Zero mean, unit length: the product of two is their correlation."""
    flat = picture.astype(np.float64).ravel()
    flat -= flat.mean()
    length = float(np.linalg.norm(flat))
    return flat / length if length > 0 else flat
