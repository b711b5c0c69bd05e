"""Which way a series was encoded in phase, and the b = 0 series of the study that was encoded the other way.

The direction is what dcm2niix finds in the vendor's headers; where it finds an axis without a direction, as with Philips, nothing is
assumed. A name never counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from analysis.volume import Diffusion, Volume
from node.conversion import Output, converted
from node.errors import StudyError
from node.study import Series
from node.volumes import LPS_FROM_RAS, image_of

OPPOSITE = -0.99  # cosine of the two directions: within 8 degrees
SAME_READOUT = 0.05  # share by which the distortion of the two may differ


@dataclass(frozen=True, eq=False)
class Encoding:
    """`direction_lps`: unit length, (3,). `shift_mm_per_hz`: how far the image is shifted where the field is off, None where not stated."""

    direction_lps: np.ndarray
    shift_mm_per_hz: float | None

    def is_reverse_of(self, other: Encoding) -> bool:
        """Whether the two are distorted equally far in opposite directions; what is not stated counts as equal."""
        if self.direction_lps @ other.direction_lps > OPPOSITE:
            return False
        ours, theirs = self.shift_mm_per_hz, other.shift_mm_per_hz
        return ours is None or theirs is None or abs(ours - theirs) <= SAME_READOUT * max(ours, theirs)

    def axis_of(self, image: Diffusion) -> int:
        """The axis of the array that it runs along."""
        axes = image.lps_from_index[:3, :3]
        return int(np.argmax(np.abs(self.direction_lps @ axes) / np.linalg.norm(axes, axis=0)))


def with_reversed_b_zero(image: Diffusion, series: Series, candidates: Sequence[Series]) -> tuple[Diffusion, Series | None]:
    """The diffusion image of a series with the first candidate that was encoded the other way, and which that is. `candidates`: series of
    b = 0 images only. One that cannot be read gives way to the next."""
    own = _encoding_or_none(series) if candidates else None
    if own is None:
        return image, None
    for candidate in candidates:
        theirs = _encoding_or_none(candidate)
        if theirs is not None and theirs.is_reverse_of(own) and (b_zero := _volume_or_none(candidate)) is not None:
            return replace(image, reversed_b_zero=b_zero, phase_axis=own.axis_of(image)), candidate
    return image, None


def encoding_of(series: Series) -> Encoding | None:
    """How a series was encoded, from its first instance; None where the header does not say. StudyError where it cannot be read."""
    with converted(Series(series.series_instance_uid, series.instances[:1])) as outputs:
        return next((found for output in outputs if (found := _encoding(output)) is not None), None)


def _encoding(output: Output) -> Encoding | None:
    """Directions i, j and k of BIDS are the axes of the NIfTI file, "-" against them."""
    import nibabel

    stated = str(output.sidecar.get("PhaseEncodingDirection") or "")
    if stated[:1] not in ("i", "j", "k") or stated[1:] not in ("", "-"):
        return None
    way = (LPS_FROM_RAS @ nibabel.load(output.path).affine)[:3, "ijk".index(stated[0])]
    step_mm = float(np.linalg.norm(way))
    readout_s = output.sidecar.get("TotalReadoutTime")
    return Encoding(way / step_mm * (-1.0 if stated.endswith("-") else 1.0), float(readout_s) * step_mm if readout_s else None)


def _encoding_or_none(series: Series) -> Encoding | None:
    try:
        return encoding_of(series)
    except StudyError:
        return None


def _volume_or_none(series: Series) -> Volume | None:
    try:
        return image_of(series, "other")
    except StudyError:
        return None
