"""The spectra of older Siemens software (VA to VE): private CSA non-image objects, whose facts stand in the CSA header.

The samples are (7fe1,xx10), pairs of 32-bit floats; header and samples as nibabel and spec2nii read them. A private object of that class
that holds something else (a raw measurement, a protocol, a report of physiology) is no spectrum. Nothing is guessed: what the header lacks
is missing here.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from pydicom import dcmread
from pydicom.dataset import Dataset

from analysis.words import Words, say
from node.errors import StudyError
from node.gradients import siemens_csa
from node.study import Instance

CSA_NON_IMAGE = "1.3.12.2.1107.5.9.1"
DATA_CREATOR = "SIEMENS CSA NON-IMAGE"
STEPS = ("SpectroscopyAcquisitionPhaseColumns", "SpectroscopyAcquisitionPhaseRows", "SpectroscopyAcquisitionOut-of-planePhaseSteps")


@dataclass(frozen=True, eq=False)
class CsaFacts:
    """`samples` complex128 (repetition, point); `lps_from_box` 4 by 4 or None, and then `no_place`."""

    samples: np.ndarray
    lps_from_box: np.ndarray | None
    no_place: Words | None
    spectral_width_hz: float
    field_mhz: float
    echo_time_ms: float
    repetition_time_ms: float | None
    mixing_time_ms: float | None
    sequence_name: str


def is_csa(header: Dataset) -> bool:
    """Whether it is a private object of older Siemens software."""
    return str(header.get("SOPClassUID")) == CSA_NON_IMAGE


def is_spectrum(header: Dataset) -> bool:
    """Whether such an object holds a spectrum: its header states how many points a decay has."""
    return bool(number_of(header, "DataPointColumns") and number_of(header, "RealDwellTime"))


def nucleus_of(header: Dataset) -> str:
    return (_text(header, "ResonantNucleus") or _text(header, "ImagedNucleus")).upper()


def sequence_name_of(header: Dataset) -> str:
    return _text(header, "SequenceName")


def number_of(header: Dataset, name: str) -> float | None:
    """A positive number of the CSA header; None where it has none."""
    items = siemens_csa(header, name)
    return float(items[0]) if items and float(items[0]) > 0 else None


def is_of_many_voxels(header: Dataset) -> bool:
    counts = [number_of(header, name) or 1 for name in (*STEPS, "Rows", "Columns")]
    return max(counts) > 1


def read_csa(instance: Instance) -> CsaFacts:
    """StudyError where the header does not state what a spectrum needs."""
    header = instance.header
    points, dwell_ns = number_of(header, "DataPointColumns"), number_of(header, "RealDwellTime")
    field_mhz, echo_ms = number_of(header, "ImagingFrequency"), number_of(header, "EchoTime")
    if not (points and dwell_ns and field_mhz and echo_ms):
        raise StudyError(say("it does not state its spectral width, its frequency and its echo time"))
    box = box_of_csa(header)
    return CsaFacts(_samples(instance, int(points)), box, None if box is not None else say("its headers do not say where the voxel lies"),
                    1e9 / dwell_ns, field_mhz, echo_ms, number_of(header, "RepetitionTime"), number_of(header, "MixingTime"),
                    sequence_name_of(header))  # fmt: skip


def _samples(instance: Instance, points: int) -> np.ndarray:
    whole = dcmread(instance.path, force=True)
    place = next((element.tag.element for element in whole.group_dataset(0x7FE1) if str(element.value) == DATA_CREATOR), None)
    held = b"" if place is None else whole.get((0x7FE1, 0x100 * place + 0x10), b"")
    floats = np.frombuffer(bytes(getattr(held, "value", held)), "<f4").astype(np.float64)
    count = len(floats) // (2 * points)
    if not count:
        raise StudyError(say("it holds no samples"))
    values = floats[: 2 * count * points]
    return (values[0::2] + 1j * values[1::2]).reshape(count, points)


def box_of_csa(header: Dataset) -> np.ndarray | None:
    """`lps_from_box`: along a row by the phase encoding, down a column by the readout, then the slice (as spec2nii has it)."""
    cosines, middle = siemens_csa(header, "ImageOrientationPatient"), siemens_csa(header, "VoiPosition")
    sizes = [number_of(header, name) for name in ("VoiPhaseFoV", "VoiReadoutFoV", "VoiThickness")]
    if len(cosines) != 6 or len(middle) != 3 or not all(sizes):
        return None
    across, down = (np.array(cosines[part], float) for part in (slice(3), slice(3, 6)))
    box = np.eye(4)
    box[:3, :3] = np.stack([across, down, np.cross(across, down)], axis=1) * np.array(sizes)
    box[:3, 3] = np.array(middle, float)
    return box


def _text(header: Dataset, name: str) -> str:
    items = siemens_csa(header, name)
    return str(items[0]).strip() if items else ""
