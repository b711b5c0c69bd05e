"""From the single-voxel spectra of a study to what the engine works on: samples, times, sequence, the place of the voxel, its water.

MR Spectroscopy Storage (PS3.3 A.36.3, C.8.14) and the private objects of older Siemens software (`node.spectrum_csa`). Samples stay as they
are stored: each repetition by itself, neither phased nor turned round. The water of a voxel comes in the same object (Philips: further
frames) or in a series of its own with the same voxel, times and sequence; which of them is water, the size of the signal decides, since
headers say it wrongly. What is not a free induction decay of one voxel is refused with a StudyError and a sentence: spectroscopic imaging,
edited spectra (their two halves are not told apart by the standard), spectra that were transformed already.
A voxel without a place in the patient is read all the same, and says why it has none.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from pydicom import dcmread
from pydicom.dataset import Dataset

from analysis.spectrum import PRESS, SLASER, STEAM, BadSpectrum, Spectra, Spectrum
from analysis.words import Words, say
from node.errors import StudyError
from node.frames import is_enhanced
from node.physics import Physics, physics_of
from node.spectrum_csa import box_of_csa, is_csa, is_of_many_voxels, nucleus_of, number_of, read_csa, sequence_name_of
from node.study import Instance, Series

MHZ_PER_T = 42.577  # of hydrogen
LEAST_WATER = 5.0  # times the signal with suppressed water: 303 and 847 times in two real pairs (Philips), 60 in the phantom
SAME_TE_MS, SAME_PLACE_MM, SAME_SHARE = 0.5, 1.0, 0.01
UNIT_TOLERANCE, LEAST_INDEPENDENT = 0.02, 0.5
# In this order; the standard's own list (C.8.14.1.1) has no PRESS, and Philips writes PRIME
SEQUENCES = (
    (SLASER, re.compile(r"s[-_ ]?laser|semi[-_ ]?laser")),
    (STEAM, re.compile(r"steam|probe-?s\b|svs_st(?![a-z])")),
    (PRESS, re.compile(r"press|prime|probe-?p\b|svs_se(?![a-z])")),
)
EDITED = re.compile(r"mega|mescher|hermes|hercules|\bedit|_edit")
MANY_VOXELS = say("spectroscopic imaging of many voxels: only spectra of a single voxel are measured")
ONE_VOXEL = say("single voxel")
SAID_IN = ("VolumeLocalizationTechnique", "PulseSequenceName", "SequenceName", "ProtocolName", "SeriesDescription")


@dataclass(frozen=True, eq=False)
class Taken:
    """What one object holds: `samples` complex (repetition, point), the place of its voxel or why there is none, its header's facts."""

    samples: np.ndarray
    lps_from_box: np.ndarray | None
    no_place: Words | None
    spectral_width_hz: float
    field_mhz: float
    echo_time_ms: float
    repetition_time_ms: float | None
    said: tuple[str, ...]
    mixing_time_ms: float | None = None


@dataclass(frozen=True)
class SpectrumFacts:
    """What headers alone say of a spectrum. `sequence` is "" where none of them is known; `kind`: one voxel or many, in words; `edges_mm`
    of the voxel, empty where it has no place; `why_unfit`: why it cannot be measured on."""

    nucleus: str
    sequence: str
    echo_time_ms: float | None
    repetition_time_ms: float | None
    kind: Words | str
    edges_mm: tuple[float, ...]
    why_unfit: Words | None


def facts_of(series: Series, physics: Physics) -> SpectrumFacts:
    """Of the first object of a series."""
    header = series.header
    box = box_of_csa(header) if is_csa(header) else box_of(header)
    edges_mm = tuple(float(edge) for edge in np.linalg.norm(box[:3, :3], axis=0)) if isinstance(box, np.ndarray) else ()
    if is_csa(header):
        said = (sequence_name_of(header), *_said(header))
        unfit = MANY_VOXELS if is_of_many_voxels(header) else why_edited(said)
        return SpectrumFacts(nucleus_of(header), sequence_of(said)[0], number_of(header, "EchoTime"), number_of(header, "RepetitionTime"),
                             "" if unfit else ONE_VOXEL, edges_mm, unfit)  # fmt: skip
    unfit = why_not_single(header)
    stated = header.get("MRSpectroscopyAcquisitionType") == "SINGLE_VOXEL"
    return SpectrumFacts(physics.nucleus, sequence_of(_said(header))[0], physics.te_ms, physics.tr_ms,
                         ONE_VOXEL if stated and not unfit else "", edges_mm, unfit)  # fmt: skip


def spectra_of(series: Sequence[Series]) -> Spectra:
    """All single-voxel spectra of those series, each with its water; StudyError where one of them cannot be read."""
    return gathered([spectrum_of(one) for one in series])


def spectrum_of(series: Series) -> Spectrum:
    """The spectrum of one series, with the water that it holds itself."""
    try:
        taken = [_taken(series, instance) for instance in series.instances]
        return _spectrum(series, taken)
    except BadSpectrum as error:
        raise StudyError(say("the series makes no spectrum: {error}", error=str(error))) from error
    except (StudyError, MemoryError):
        raise
    except Exception as error:  # a value is decoded when it is asked for, and pydicom raises many kinds on a damaged one
        if getattr(error, "errno", None):
            raise  # the disk
        raise StudyError(say("its headers could not be understood ({error})", error=type(error).__name__)) from error


def _spectrum(series: Series, taken: Sequence[Taken]) -> Spectrum:
    first = taken[0]
    alike = [one for one in taken if _is_alike(one, first)]
    if len(alike) < len(taken):
        raise StudyError(say("its objects were taken at different places or echo times: they are no repetitions of one spectrum"))
    samples = np.concatenate([one.samples for one in taken])
    metabolites, water = _told_apart(samples)
    sequence, words = sequence_of(first.said)
    parts = (first.echo_time_ms, first.mixing_time_ms) if sequence == STEAM and first.mixing_time_ms else None
    header = series.header
    return Spectrum(
        metabolites[:, None, :], first.spectral_width_hz, first.field_mhz, first.echo_time_ms, first.repetition_time_ms, sequence, words,
        parts, None if water is None else water[:, None, :], first.lps_from_box, first.no_place,
        str(header.get("SeriesDescription") or header.get("SeriesNumber") or ""), str(header.get("FrameOfReferenceUID") or ""),
    )  # fmt: skip


def _taken(series: Series, instance: Instance) -> Taken:
    if is_csa(instance.header):
        facts = read_csa(instance)
        return Taken(facts.samples, facts.lps_from_box, facts.no_place, facts.spectral_width_hz, facts.field_mhz, facts.echo_time_ms,
                     facts.repetition_time_ms, (facts.sequence_name, *_said(instance.header)), facts.mixing_time_ms)  # fmt: skip
    physics = physics_of(Series(series.series_instance_uid, (instance,)))
    header = instance.header
    width_hz, echo_ms = _stated(header, "SpectralWidth"), physics.te_ms
    field_mhz = _stated(header, "TransmitterFrequency") or _stated(header, "ImagingFrequency") or MHZ_PER_T * (physics.field_t or 0.0)
    if not (width_hz and echo_ms and field_mhz):
        raise StudyError(say("it does not state its spectral width, its frequency and its echo time"))
    box = box_of(header)
    return Taken(_samples(instance), *((None, box) if isinstance(box, Words) else (box, None)), width_hz, field_mhz, echo_ms, physics.tr_ms,
                 _said(header))  # fmt: skip


def _said(header: Dataset) -> tuple[str, ...]:
    return tuple(text for word in SAID_IN if (text := str(header.get(word) or "")))


def _stated(header: Dataset, keyword: str) -> float | None:
    """A positive number; the first one of several."""
    value = header.get(keyword)
    numbers = [float(one) for one in (value if isinstance(value, Iterable) and not isinstance(value, str) else [value]) if one is not None]
    return numbers[0] if numbers and numbers[0] > 0 else None


def sequence_of(said: Sequence[str]) -> tuple[str, str]:
    """The sequence, or "", and the words of the header that told it (else all of them)."""
    for text in said:
        for name, pattern in SEQUENCES:
            if pattern.search(text.casefold()):
                return name, text
    return "", ", ".join(dict.fromkeys(said))


def why_not_single(header: Dataset) -> Words | None:
    """Why a spectrum of the standard is none of a single voxel that can be measured; None where it is one."""
    kind = str(header.get("MRSpectroscopyAcquisitionType") or "")
    if kind not in ("", "SINGLE_VOXEL") or (not kind and int(header.get("Rows") or 1) * int(header.get("Columns") or 1) > 1):
        return MANY_VOXELS
    if str(header.get("DataRepresentation") or "COMPLEX") != "COMPLEX" or str(header.get("SignalDomainColumns") or "TIME") != "TIME":
        return say("a spectrum that was transformed already: the free induction decay is needed")
    return why_edited(_said(header))


def why_edited(said: Sequence[str]) -> Words | None:
    """That the spectrum is an edited one, by its names."""
    edited = next((text for text in said if EDITED.search(text.casefold())), None)
    return say("an edited spectrum: the halves with and without editing are not told apart") if edited else None


def _samples(instance: Instance) -> np.ndarray:
    """Each frame: complex128 (frame, point)."""
    whole = dcmread(instance.path, force=True)
    order = "<" if whole.original_encoding[1] in (True, None) else ">"
    floats = np.frombuffer(whole.SpectroscopyData, f"{order}f4").astype(np.float64)
    points = int(whole.DataPointColumns)
    values = floats[0::2] + 1j * floats[1::2]
    count = len(values) // points
    if int(whole.get("DataPointRows") or 1) > 1:
        raise StudyError(say("a spectrum of two dimensions: only those of one are measured"))
    if not count:
        raise StudyError(say("it holds no samples"))
    return values[: count * points].reshape(count, points)


def box_of(header: Dataset) -> np.ndarray | Words:
    """`lps_from_box` from the slabs of the volume localization, else from plane and slab; the reason where there is no place."""
    stated = [one for one in header.get("VolumeLocalizationSequence") or () if one.get("MidSlabPosition") and one.get("SlabThickness")]
    slabs = [(float(one.SlabThickness), np.array(one.SlabOrientation, float), np.array(one.MidSlabPosition, float)) for one in stated]
    unit = [slab for slab in slabs if abs(np.linalg.norm(slab[1]) - 1.0) < UNIT_TOLERANCE]
    if len(unit) == 2:
        unit.append(_third_slab(unit, header))
    if len(unit) == 3 and all(unit):
        return _crossing(unit)
    return _plane_box(header, slabs)


def _third_slab(slabs: Sequence[tuple], header: Dataset) -> tuple | None:
    """The slab that two leave open: across both, as thick as the header says a slice is; None where it says nothing."""
    normal = np.cross(slabs[0][1], slabs[1][1])
    thick = _of_frame(header, "PixelMeasuresSequence", "SliceThickness")
    return (float(thick), normal / np.linalg.norm(normal), slabs[0][2]) if thick else None


def _crossing(slabs: Sequence[tuple]) -> np.ndarray | Words:
    """Where three slabs cross: an oblique box is one, too."""
    normals = np.array([slab[1] for slab in slabs])
    if abs(np.linalg.det(normals)) < LEAST_INDEPENDENT:
        return say("the slabs of the voxel do not cross in a box")
    middle = np.linalg.solve(normals, [normal @ mid for _, normal, mid in slabs])
    # an edge of the box lies in two slabs and crosses the third one
    edges = np.linalg.inv(normals) * np.array([slab[0] for slab in slabs])
    return box_from(edges, middle)


def _plane_box(header: Dataset, slabs: Sequence[tuple]) -> np.ndarray | Words:
    """Rows and columns of the frame, and the thickness of its slice or of the one slab."""
    cosines = _of_frame(header, "PlaneOrientationSequence", "ImageOrientationPatient")
    middle = _of_frame(header, "PlanePositionSequence", "ImagePositionPatient")
    spacing = _of_frame(header, "PixelMeasuresSequence", "PixelSpacing")
    thick = _of_frame(header, "PixelMeasuresSequence", "SliceThickness") or (slabs[0][0] if len(slabs) == 1 else None)
    if cosines is None or middle is None or spacing is None or not thick:
        return say("its headers do not say where the voxel lies")
    across, down = np.array(cosines[:3], float), np.array(cosines[3:], float)
    edges = np.stack([across * float(spacing[1]), down * float(spacing[0]), np.cross(across, down) * float(thick)], axis=1)
    return box_from(edges, np.array(middle, float))


def _of_frame(header: Dataset, group: str, keyword: str) -> object | None:
    """A value of the first frame: its own before that of all frames before that of the object."""
    holders = [header.PerFrameFunctionalGroupsSequence[0]] if is_enhanced(header) else []
    holders += (header.get("SharedFunctionalGroupsSequence") or ())[:1]
    for holder in holders:
        if holder.get(group) and holder.get(group)[0].get(keyword) is not None:
            return holder.get(group)[0].get(keyword)
    return header.get(keyword)


def box_from(edges: np.ndarray, middle: np.ndarray) -> np.ndarray:
    """`lps_from_box` of edges (their vectors are columns, mm) around a middle, right-handed."""
    box = np.eye(4)
    box[:3, :3] = edges if np.linalg.det(edges) > 0 else edges * np.array([1.0, 1.0, -1.0])
    box[:3, 3] = middle
    return box


def _told_apart(samples: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """The repetitions with suppressed water and those of the water: by size, where that differs as much as it does between the two."""
    size = np.array([_size(one) for one in samples])
    if len(size) < 2 or size.max() < LEAST_WATER * size.min():
        return samples, None
    is_water = size > np.sqrt(size.max() * max(size.min(), 1e-12 * size.max()))
    return samples[~is_water], samples[is_water]


def _size(samples: np.ndarray) -> float:
    """How large the signal is where it begins."""
    return float(np.sqrt(np.mean(np.abs(samples[..., : max(samples.shape[-1] // 8, 1)]) ** 2)))


def gathered(spectra: Sequence[Spectrum]) -> Spectra:
    """The spectra of a study: what is the water of another one becomes part of that."""
    if not spectra:
        raise StudyError(say("the study has no spectrum of a single voxel"))
    sizes = {id(one): _size(one.array) for one in spectra}
    waters: dict[int, Spectrum] = {}
    for one in spectra:
        larger = [other for other in spectra if other is not one and other.water is None and _is_same_voxel(one, other)
                  and sizes[id(other)] >= LEAST_WATER * sizes[id(one)]]  # fmt: skip
        if larger:
            waters[id(one)] = max(larger, key=lambda other: sizes[id(other)])
    used = {id(water) for water in waters.values()}
    kept = [one if one.water is not None or id(one) not in waters else replace(one, water=_cut(waters[id(one)].array, one.points))
            for one in spectra if id(one) not in used]  # fmt: skip
    return Spectra(tuple(kept))


def _cut(samples: np.ndarray, points: int) -> np.ndarray:
    """As many points; what a shorter decay lacks is 0."""
    short = max(points - samples.shape[2], 0)
    return np.pad(samples[..., :points], [(0, 0), (0, 0), (0, short)])


def in_frame(spectra: Spectra, frame: str) -> Spectra:
    """The spectra with a place only where that is one in a space of that name, as the images have it."""
    apart = say("the spectrum lies in another frame of reference than the T1 series: the patient may have moved in between")
    return Spectra(tuple(one if one.lps_from_box is None or (frame and one.frame == frame)
                         else replace(one, lps_from_box=None, no_place=apart) for one in spectra.voxels))  # fmt: skip


def _is_alike(one: Taken, other: Taken) -> bool:
    return (
        one.samples.shape[1] == other.samples.shape[1]
        and abs(one.echo_time_ms - other.echo_time_ms) <= SAME_TE_MS
        and _is_same_place(one.lps_from_box, other.lps_from_box)
    )


def _is_same_voxel(one: Spectrum, other: Spectrum) -> bool:
    return (
        one.sequence == other.sequence
        and one.frame == other.frame
        and abs(one.echo_time_ms - other.echo_time_ms) <= SAME_TE_MS
        and abs(one.spectral_width_hz / other.spectral_width_hz - 1) < SAME_SHARE
        and abs(one.field_mhz / other.field_mhz - 1) < SAME_SHARE
        and _is_same_place(one.lps_from_box, other.lps_from_box)
    )


def _is_same_place(one: np.ndarray | None, other: np.ndarray | None) -> bool:
    if one is None or other is None:
        return one is other
    return np.allclose(one[:3, 3], other[:3, 3], atol=SAME_PLACE_MM) and np.allclose(
        np.abs(one[:3, :3]).sum(axis=1), np.abs(other[:3, :3]).sum(axis=1), atol=SAME_PLACE_MM
    )
