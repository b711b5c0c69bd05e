"""Where every frame of a series lies in the patient, and on which slice of a volume.

A frame is one 2-D image: a classic instance, or one frame of an enhanced one. Its map is (slice, row, column) to LPS, right-handed,
so that a frame and a `Volume` speak the same language; the slice direction is the cross product of rows and columns.
A series without a place per frame (a mosaic, a spectrum, a secondary capture) has no frames; `why_no_frames` says why.
Nothing is moved to fit: a frame that lies more than a tenth of a voxel off the grid is an error, not an approximation.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import MRSpectroscopyStorage

from analysis.words import say
from node.errors import StudyError
from node.gradients import NO_GRADIENT, SMALLEST_B_S_MM2, Gradient, gradient_of, siemens_csa
from node.study import Instance, Series

LARGEST_RESIDUAL_VOXELS = 0.1
DERIVED_TOKENS = frozenset(
    {"ADC", "EADC", "EXP", "FA", "COLFA", "TRACE", "TRACEW", "TENSOR", "ISOTROPIC", "MIP", "MNIP", "MINIP", "PROJECTION IMAGE"}
)


@dataclass(frozen=True, eq=False)
class Frame:
    """One 2-D image in space.

    `instance` is the index in `series.instances`; `number` the frame number from 1, None for a classic image; `time_position` how many
    images of the same place come before it in the series; `component` is magnitude, phase, real or imaginary.
    """

    instance: int
    number: int | None
    lps_from_index: np.ndarray
    rows: int
    columns: int
    gradient: Gradient
    time_position: int
    is_derived: bool
    echo_time_ms: float | None
    component: str

    @property
    def b_value_s_mm2(self) -> float | None:
        return self.gradient.b_value_s_mm2

    @property
    def b_vector_lps(self) -> np.ndarray | None:
        return self.gradient.b_vector_lps

    @property
    def origin_lps(self) -> np.ndarray:
        return self.lps_from_index[:3, 3]

    @property
    def normal_lps(self) -> np.ndarray:
        """Unit vector along the slices: rows × columns."""
        return self.lps_from_index[:3, 0] / np.linalg.norm(self.lps_from_index[:3, 0])


@dataclass(frozen=True, eq=False)
class Place:
    """A frame and the slice of a volume it lies on; how the slice is turned to become the frame: transposed first, then flipped.

    `corner` is its first row and column in the picture, where slices share one (a mosaic).
    """

    frame: Frame
    slice_index: int
    is_transposed: bool
    rows_are_flipped: bool
    columns_are_flipped: bool
    corner: tuple[int, int] = (0, 0)


def why_no_frames(series: Series) -> str | None:
    """Why this series has no place per frame; None where it has one."""
    header = series.header
    if header.get("SOPClassUID") == MRSpectroscopyStorage:
        return say("it is a spectrum, no image")
    if images_in_mosaic(header):
        return say("it is a mosaic: many slices in one picture, without a position for each")
    if "PixelSpacing" in header and "ImagePositionPatient" in header and "ImageOrientationPatient" in header:
        return None
    if is_enhanced(header) and _item(_groups(header, 0), "PlanePositionSequence").get("ImagePositionPatient") is not None:
        return None
    return say("its headers give no position, orientation or pixel spacing")


def images_in_mosaic(header: Dataset) -> int:
    """How many slices lie side by side in one picture (Siemens mosaic, UIH grid); 0 where the picture is one slice."""
    for group, element in ((0x0019, 0x100A), (0x0065, 0x1050)):
        try:
            count = int(float(header[group, element].value))
        except (KeyError, TypeError, ValueError):
            continue
        if count > 1:
            return count
    if "MOSAIC" not in header.get("ImageType", ()):
        return 0
    return int((siemens_csa(header, "NumberOfImagesInMosaic") or [1])[0])


def is_enhanced(header: Dataset) -> bool:
    return "PerFrameFunctionalGroupsSequence" in header and len(header.PerFrameFunctionalGroupsSequence) > 0


@functools.lru_cache(maxsize=64)  # role, image, masks, maps and outlines of one study ask for the same
def frames_of(series: Series) -> tuple[Frame, ...]:
    """Every frame of the series, in the order of its instances; empty where `why_no_frames` has a reason."""
    if why_no_frames(series) is not None:
        return ()
    found = [frame for index, instance in enumerate(series.instances) for frame in _frames_of_instance(index, instance)]
    return _with_time_positions(found)


def _frames_of_instance(index: int, instance: Instance) -> list[Frame]:
    header = instance.header
    try:
        if not is_enhanced(header):
            return [_classic_frame(index, header)]
        return [_enhanced_frame(index, header, number) for number in range(len(header.PerFrameFunctionalGroupsSequence))]
    except (AttributeError, TypeError, ValueError, IndexError) as error:
        raise StudyError(say(
            "{file} does not say where its image lies in the patient ({error})",
            file=instance.path.name, error=str(error),
        )) from error


def _classic_frame(index: int, header: Dataset) -> Frame:
    echo = header.get("EchoTime", header.get("EffectiveEchoTime"))
    return Frame(
        instance=index,
        number=None,
        lps_from_index=_map(header.ImagePositionPatient, header.ImageOrientationPatient, header.PixelSpacing, header.get("SliceThickness")),
        rows=int(header.Rows),
        columns=int(header.Columns),
        gradient=gradient_of(header),
        time_position=0,
        is_derived=_is_derived(header.get("ImageType"), gradient_of(header)),
        echo_time_ms=None if echo in (None, "") else float(echo),
        component=_component(header.get("ImageType"), header.get("ComplexImageComponent"), _ge_type(header)),
    )


def _ge_type(header: Dataset) -> object:
    return header[0x0043, 0x102F].value if (0x0043, 0x102F) in header and "GEMS" in str(header.get((0x0043, 0x0010), "")) else None


def _groups(header: Dataset, number: int) -> tuple[Dataset, ...]:
    shared = header.get("SharedFunctionalGroupsSequence")
    return (header.PerFrameFunctionalGroupsSequence[number], *(shared[:1] if shared else ()))


def _item(groups: Sequence[Dataset], keyword: str) -> Dataset:
    """The functional group of that name, of the frame or else of all frames; empty where there is none."""
    for group in groups:
        sequence = group.get(keyword)
        if sequence:
            return sequence[0]
    return Dataset()


def functional_group(header: Dataset, number: int | None, keyword: str) -> Dataset:
    """The functional group of that name for one frame (from 1) of an enhanced object; empty where there is none."""
    return _item(_groups(header, (number or 1) - 1), keyword)


def _enhanced_frame(index: int, header: Dataset, number: int) -> Frame:
    groups = _groups(header, number)
    kind = _item(groups, "MRImageFrameTypeSequence")
    measures = _item(groups, "PixelMeasuresSequence")
    diffusion = _item(groups, "MRDiffusionSequence")
    gradient = gradient_of(diffusion) if len(diffusion) else _converted_gradient(header, groups)
    image_type = kind.get("FrameType", header.get("ImageType"))
    echo = _item(groups, "MREchoSequence").get("EffectiveEchoTime", _converted(groups).get("EchoTime"))
    return Frame(
        instance=index,
        number=number + 1,
        lps_from_index=_map(
            _item(groups, "PlanePositionSequence").ImagePositionPatient,
            _item(groups, "PlaneOrientationSequence").ImageOrientationPatient,
            measures.PixelSpacing,
            measures.get("SliceThickness"),
        ),
        rows=int(header.Rows),
        columns=int(header.Columns),
        gradient=gradient,
        time_position=0,
        is_derived=_is_derived(image_type, gradient),
        echo_time_ms=None if echo in (None, "") else float(echo),
        component=_component(image_type, kind.get("ComplexImageComponent", header.get("ComplexImageComponent"))),
    )


def _converted(groups: Sequence[Dataset]) -> Dataset:
    """What a legacy converted enhanced object keeps of the classic header of this frame (PS3.3 C.7.6.16.2.25)."""
    return _item(groups, "UnassignedPerFrameConvertedAttributesSequence") or _item(groups, "UnassignedSharedConvertedAttributesSequence")


def _converted_gradient(header: Dataset, groups: Sequence[Dataset]) -> Gradient:
    gradient = gradient_of(_converted(groups))
    return gradient if gradient.b_value_s_mm2 is not None else (gradient_of(header) if "DiffusionBValue" in header else NO_GRADIENT)


def _map(position: Sequence[float], orientation: Sequence[float], spacing: Sequence[float], thickness: float | None) -> np.ndarray:
    """(slice, row, column) to LPS. PS3.3 C.7.6.2.1.1: the first triple runs along a row, that is with the column index."""
    cosines = np.array([float(number) for number in orientation])
    rows, columns = cosines[3:] * float(spacing[0]), cosines[:3] * float(spacing[1])
    normal = np.cross(rows, columns)
    if len(cosines) != 6 or len(position) != 3 or not np.linalg.norm(normal) > 0:
        raise ValueError("orientation, position or pixel spacing make no plane")
    matrix = np.eye(4)
    matrix[:3, 0] = normal / np.linalg.norm(normal) * (float(thickness) if thickness else 1.0)
    matrix[:3, 1], matrix[:3, 2], matrix[:3, 3] = rows, columns, [float(number) for number in position]
    return matrix


def has_trace_and_b_zero(frames: Sequence[Frame]) -> bool:
    """Whether images that the scanner computed make a series of their own: trace images, and what they are compared with."""
    values = [frame.b_value_s_mm2 for frame in frames]
    return None not in values and min(values, default=1.0) < SMALLEST_B_S_MM2 <= max(values, default=0.0)


def _is_derived(image_type: Sequence[str] | None, gradient: Gradient) -> bool:
    return gradient.is_trace or bool(DERIVED_TOKENS & {str(token).upper() for token in image_type or ()})


def _component(image_type: Sequence[str] | None, stated: str | None, ge_type: object = None) -> str:
    """The stated component wins, unless it is MIXED; then GE's number (0043,102F), then the letter in ImageType (M, P, R or I; P_FFE)."""
    if stated in ("MAGNITUDE", "PHASE", "REAL", "IMAGINARY"):
        return stated.lower()
    if ge_type in (1, 2, 3):
        return ("phase", "real", "imaginary")[int(ge_type) - 1]
    tokens = {str(token).upper().split("_")[0] for token in image_type or ()}
    for component, words in (("phase", {"P", "PHASE", "PHASE MAP"}), ("real", {"R", "REAL"}), ("imaginary", {"I", "IMAGINARY"})):
        if tokens & words:
            return component
    return "magnitude"


def _with_time_positions(frames: list[Frame]) -> tuple[Frame, ...]:
    seen: Counter[tuple] = Counter()
    placed = []
    for frame in frames:
        place = tuple(np.round(frame.lps_from_index[:3].ravel(), 2).tolist())
        placed.append(Frame(**{**frame.__dict__, "time_position": seen[place]}))
        seen[place] += 1
    return tuple(placed)


def slice_map(volume_lps_from_index: np.ndarray, shape: Sequence[int], frames: Sequence[Frame]) -> tuple[Place, ...]:
    """The frames that lie on a slice of the volume, each with that slice; frames of other planes are left out.

    `shape` is (slice, row, column, ...). StudyError where a frame lies in the volume but between its slices or voxels.
    """
    index_from_lps = np.linalg.inv(volume_lps_from_index)
    places = (_place(index_from_lps @ frame.lps_from_index, shape[:3], frame) for frame in frames)
    return tuple(place for place in places if place is not None)


def _place(index_from_frame: np.ndarray, shape: Sequence[int], frame: Frame) -> Place | None:
    corners = np.array([[0, 0, 0, 1], [0, frame.rows - 1, 0, 1], [0, 0, frame.columns - 1, 1]], dtype=np.float64).T
    first, last_row, last_column = (index_from_frame @ corners)[:3].T
    turn = np.abs(index_from_frame[1:3, 1:3])
    is_transposed = bool(turn[0, 1] > turn[0, 0])
    size = (frame.columns, frame.rows) if is_transposed else (frame.rows, frame.columns)
    if size != tuple(shape[1:3]) or not -0.5 <= first[0] <= shape[0] - 0.5:
        return None
    if max(abs(last_row[0] - first[0]), abs(last_column[0] - first[0])) > 0.5:
        return None  # another plane: a localizer, a reformat
    slice_index = round(float(first[0]))
    along = (first, last_column, last_row) if is_transposed else (first, last_row, last_column)
    rows_fall, columns_fall = bool(along[1][1] < along[0][1]), bool(along[2][2] < along[0][2])
    expected = np.array([[slice_index, (shape[1] - 1) * rows_fall, (shape[2] - 1) * columns_fall]] * 3, dtype=np.float64)
    expected[1, 1], expected[2, 2] = (shape[1] - 1) * (not rows_fall), (shape[2] - 1) * (not columns_fall)
    residual = float(np.abs(np.array(along) - expected).max())
    if residual > LARGEST_RESIDUAL_VOXELS:
        raise StudyError(
            say(
                "an image of the series lies {residual:.2f} voxels off the grid it was measured on; no mask was written for it, "
                "because it would show the wrong place",
                residual=residual,
            )
        )
    flips = (columns_fall, rows_fall) if is_transposed else (rows_fall, columns_fall)
    return Place(frame, slice_index, is_transposed, *flips)


def mask_on_frame(mask: np.ndarray, place: Place) -> np.ndarray:
    """The part of an array (slice, row, column) on the volume's grid that lies on this frame, as (rows, columns) of the frame."""
    plane = mask[place.slice_index]
    plane = plane.T if place.is_transposed else plane
    plane = plane[::-1] if place.rows_are_flipped else plane
    return np.ascontiguousarray(plane[:, ::-1] if place.columns_are_flipped else plane)
