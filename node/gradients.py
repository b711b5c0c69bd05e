"""The diffusion weighting of one image as its header states it: b-value and direction in patient space (LPS).

The standard's tags come first (PS3.3 C.8.13.5.9), then the tables that the vendors document or that are known from their files:
Siemens (0019,100C/100E) and the CSA header, GE (0043,1039), Philips (2001,1003) with (2005,10B0..B2), UIH (0065,1009/1037).
Siemens and Philips state directions in the patient, as the standard does; UIH in the axes of the image. A GE direction (0019,10BB..BD) is
given by frequency, phase and slice, a Canon one in a comment: both are left out here, dcm2niix turns them.
What a header does not say is None; nothing is inferred from names.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from pydicom.dataset import Dataset

SMALLEST_B_S_MM2 = 10.0  # below it no gradient was on: scanners write 0, 1 or 5 for their unweighted images
SHORTEST_SCALED, LONGEST_SCALED = 0.03, 0.97  # lengths of a GE vector that scale the b-value, as dcm2niix takes them


@dataclass(frozen=True, eq=False)
class Gradient:
    """`b_value_s_mm2` and `b_vector_lps` (unit length) are None where the header does not say; `is_trace`: no single direction."""

    b_value_s_mm2: float | None = None
    b_vector_lps: np.ndarray | None = None
    is_trace: bool = False

    @property
    def is_weighted(self) -> bool:
        return self.b_value_s_mm2 is not None and self.b_value_s_mm2 >= SMALLEST_B_S_MM2


NO_GRADIENT = Gradient()


def gradient_of(header: Dataset) -> Gradient:
    """What a classic image, or the MRDiffusionSequence item of one frame, says of its diffusion weighting."""
    for read in (_standard, _siemens, _philips, _uih, _ge, _siemens_csa):
        gradient = read(header)
        if gradient.b_value_s_mm2 is not None:
            return gradient
    return NO_GRADIENT


def _numbers(header: Dataset, group: int, element: int, creator: str | None = None) -> list[float]:
    """The numbers of a private element in the block that belongs to `creator`; empty where it is not there or is no number."""
    if creator is not None and creator not in str(header.get((group, element >> 8), "")):
        return []
    try:
        value = header[group, element].value
        if isinstance(value, bytes):
            value = np.frombuffer(value, "<f8").tolist() if len(value) % 8 == 0 else value.decode("ascii").strip("\0 ").split("\\")
        return [float(number) for number in (value if isinstance(value, list | tuple) or hasattr(value, "append") else [value])]
    except (KeyError, TypeError, ValueError, UnicodeDecodeError):
        return []


def _gradient(b_value: float, vector: list[float] | None, *, is_trace: bool = False) -> Gradient:
    direction = None
    if vector is not None and len(vector) == 3 and b_value >= SMALLEST_B_S_MM2:
        length = float(np.linalg.norm(vector))
        direction = np.asarray(vector, dtype=np.float64) / length if np.isfinite(length) and length > 0.1 else None
    return Gradient(float(b_value), direction, is_trace and b_value >= SMALLEST_B_S_MM2)


def _standard(header: Dataset) -> Gradient:
    b_value = header.get("DiffusionBValue")
    directionality = header.get("DiffusionDirectionality")
    if b_value is None:
        return Gradient(0.0) if directionality == "NONE" else NO_GRADIENT
    nested = header.get("DiffusionGradientDirectionSequence")
    vector = (nested[0] if nested else header).get("DiffusionGradientOrientation")
    is_trace = directionality == "ISOTROPIC" or _word(header, 0x2001, 0x1004) == "I"
    return _gradient(float(b_value), None if vector is None else [float(number) for number in vector], is_trace=is_trace)


def _word(header: Dataset, group: int, element: int) -> str:
    value = header[group, element].value if (group, element) in header else ""
    return value.decode("ascii", "replace").strip() if isinstance(value, bytes) else str(value).strip()


def _siemens(header: Dataset) -> Gradient:
    b_value = _numbers(header, 0x0019, 0x100C, "SIEMENS MR HEADER")
    return _gradient(b_value[0], _numbers(header, 0x0019, 0x100E) or None) if b_value else NO_GRADIENT


def _philips(header: Dataset) -> Gradient:
    b_value = _numbers(header, 0x2001, 0x1003, "Philips")
    if not b_value:
        return NO_GRADIENT
    vector = [number for element in (0x10B0, 0x10B1, 0x10B2) for number in _numbers(header, 0x2005, element)]
    return _gradient(b_value[0], vector or None, is_trace=_word(header, 0x2001, 0x1004) == "I")


def _uih(header: Dataset) -> Gradient:
    b_value = _numbers(header, 0x0065, 0x1009)
    return _gradient(b_value[0], _turned(header, _numbers(header, 0x0065, 0x1037))) if b_value else NO_GRADIENT


def _turned(header: Dataset, vector: list[float]) -> list[float] | None:
    """A direction in the axes of the image (along a row, down a column, their cross product), turned into the patient."""
    cosines = header.get("ImageOrientationPatient")
    if len(vector) != 3 or cosines is None or len(cosines) != 6:
        return None
    columns, rows = np.array([float(number) for number in cosines]).reshape(2, 3)
    return list(vector[0] * columns + vector[1] * rows + vector[2] * np.cross(columns, rows))


def _ge(header: Dataset) -> Gradient:
    """GE adds 10^9 to the b-values of some protocols; others give shells by the length of the vector, whose square b follows."""
    numbers = _numbers(header, 0x0043, 0x1039, "GEMS")
    if not numbers:
        return NO_GRADIENT
    length = float(np.linalg.norm([part for element in (0x10BB, 0x10BC, 0x10BD) for part in _numbers(header, 0x0019, element, "GEMS")]))
    is_scaled = SHORTEST_SCALED < length < LONGEST_SCALED
    return _gradient(numbers[0] % 1_000_000_000 * (length**2 if is_scaled else 1.0), None)


def _siemens_csa(header: Dataset) -> Gradient:
    b_value, vector = siemens_csa(header, "B_value"), siemens_csa(header, "DiffusionGradientDirection")
    return _gradient(float(b_value[0]), vector or None) if b_value else NO_GRADIENT


def siemens_csa(header: Dataset, name: str) -> list:
    """The items of one element of Siemens' CSA image header; empty where there is none."""
    if (0x0029, 0x0010) not in header:
        return []
    from nibabel.nicom import csareader

    try:
        csa = csareader.get_csa_header(header, "image") or {"tags": {}}
    except (csareader.CSAReadError, ValueError, KeyError):
        return []
    return list(csa["tags"].get(name, {}).get("items") or [])
