"""The phantom as a DICOM study: what `betz phantom` writes.

`OUT/dicom/<series>/IM00001.dcm …` and `OUT/truth.json`. T1, FLAIR and SWI are classic MR images, one per slice; the diffusion series is
one Enhanced MR image, as each functional series is where they are asked for, so that the study holds a few hundred instances and both
kinds that scanners send; spectra are MR Spectroscopy objects, their water a series of its own. A neck, where one is asked for, is a 3D
and a sagittal 2D T2, classic images too. The same arguments give the same bytes: dates come from `clock`, UIDs from what is in the
images. Every place where a person looks says that this is a phantom.
Nothing is written into a folder that holds something already, and nothing is left of a study that could not be written whole.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage
from pydicom.valuerep import DSfloat

from analysis.spectrum import Spectra, Spectrum
from analysis.volume import Diffusion, Image, TimeSeries, Volume
from node import __version__, uids
from node.errors import BetzError
from node.phantom_diffusion import diffusion_instance
from node.phantom_function import function_instance
from node.phantom_spectrum import spectrum_instances

if TYPE_CHECKING:
    from analysis.phantom import Phantom

PATIENT_NAME = "PHANTOM^BETZ"
COMMENT = "Computed phantom, no patient: made by betz phantom for tests and acceptance"
WHEN = datetime(2026, 1, 15, 9, 30, 0)
BIRTH_DATE, AGE = "19650701", "060Y"
FIELD_T, IMAGING_MHZ = 3.0, 127.74
VISIT_ROLES, VISIT_DAYS = ("t1", "flair", "swi", "dwi", "cord_t2"), 182
TAKEN_ELSEWHERE = "{out} holds files already. Name a folder that is empty or not there yet, or remove them."


@dataclass(frozen=True)
class Protocol:
    """What a classic header says of a series; times in ms, `number` of the series; `slice_mm`: how thick the slices of a 2D series are."""

    number: int
    description: str
    image_type: tuple[str, ...]
    sequence: tuple[str, ...]
    variant: tuple[str, ...]
    tr_ms: float
    te_ms: float
    ti_ms: float | None
    flip_deg: float
    train: int
    name: str
    body_part: str = "BRAIN"
    slice_mm: float | None = None


PROTOCOLS = {
    "t1": Protocol(2, "PHANTOM T1 3D MPRAGE sag", ("M", "NORM"), ("GR", "IR"), ("SP", "MP"), 2300.0, 2.98, 900.0, 9.0, 1, "tfl3d"),
    "t1_contrast": Protocol(
        6, "PHANTOM T1 3D MPRAGE sag contrast", ("M", "NORM"), ("GR", "IR"), ("SP", "MP"), 2300.0, 2.98, 900.0, 9.0, 1, "tfl3d"),
    "flair": Protocol(3, "PHANTOM FLAIR 3D sag", ("M", "NORM"), ("SE", "IR"), ("SK", "MP"), 5000.0, 390.0, 1800.0, 120.0, 251, "spcir"),
    "swi": Protocol(4, "PHANTOM SWI 3D tra", ("M", "SWI"), ("GR",), ("SP",), 28.0, 20.0, None, 15.0, 1, "swi3d"),
    "cord_t2": Protocol(7, "PHANTOM T2 3D SPACE cervical sag", ("M", "NORM"), ("SE",), ("SK", "SP"), 1500.0, 120.0, None, 120.0, 60, "spc",
                        "CSPINE"),
    "cord_t2_sagittal": Protocol(8, "PHANTOM T2 TSE cervical sag", ("M", "NORM"), ("SE",), ("SK", "SP"), 3500.0, 100.0, None, 150.0, 20,
                                 "tse2d", "CSPINE", 3.0),
}  # fmt: skip


def write_phantom(
    out: Path,
    findings: tuple[str, ...] = (),
    severity: float = 0.5,
    seed: int = 0,
    clock: Callable[[], datetime] = lambda: WHEN,
    coarseness: float = 1.0,
    roles: tuple[str, ...] | None = None,
) -> None:
    """Write the study and its truth; ValueError in a sentence for findings or a severity that do not exist, BetzError where `out`
    cannot be written. `coarseness` multiplies the voxel sizes; `roles`: the series to write, without it all of them."""
    _refuse_filled(out)
    from analysis.phantom import phantom

    made = phantom(findings, severity, seed, roles=roles, coarseness=coarseness)
    _write(out, made, clock())


def write_visits(
    out: Path, count: int, severity: float = 0.5, seed: int = 0, clock: Callable[[], datetime] = lambda: WHEN, coarseness: float = 1.0,
    roles: tuple[str, ...] = VISIT_ROLES,
) -> None:  # fmt: skip
    """The same head and neck at `count` examinations half a year apart, the last of them at the time of the clock, in folders `visit0` and
    on, each with its truth: what the severity lets it lose from visit to visit. BetzError where `out` cannot be written."""
    _refuse_filled(out)
    from analysis.phantom_time import course_of, phantom_at

    for visit in range(count):
        made = phantom_at(visit, course_of(visit, severity), seed, roles=roles, coarseness=coarseness)
        when = clock() - timedelta(days=VISIT_DAYS * (count - 1 - visit))
        folder = out / f"visit{visit}"
        folder.mkdir()
        _write(folder, made, when, f"BETZ-PHANTOM-{seed}-VISITS")


def _write(out: Path, made: Phantom, when: datetime, patient_id: str | None = None) -> None:
    """A phantom as DICOM with its truth, whole or not at all."""
    digest = _digest(made.images)
    study = _study(made.truth, digest, when, patient_id or f"BETZ-PHANTOM-{made.truth['seed']}-{digest[:8].upper()}")
    part = out / ".part"
    try:
        for role, image in made.images.items():
            for name, instances in _written(role, image, study).items():
                _save(instances, part / "dicom" / name)
        truth = {**made.truth, "study_instance_uid": study.StudyInstanceUID, "patient_id": study.PatientID}
        (part / "truth.json").write_text(json.dumps(truth, indent=1) + "\n", encoding="utf-8")
        for child in part.iterdir():
            child.rename(out / child.name)
        part.rmdir()
    except OSError as error:
        raise BetzError(f"The phantom cannot be written to {out}: {error.strerror}. Free some space, or name another folder.") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _written(role: str, image: Image, study: Dataset) -> dict[str, list[Dataset]]:
    """The instances of a series by its folder; the spectra are a series each."""
    if isinstance(image, Spectra):
        return spectrum_instances(image, study)
    if isinstance(image, TimeSeries):
        return {role: function_instance(image, role, study)}
    return {role: diffusion_instance(image, study) if isinstance(image, Diffusion) else _instances(image, PROTOCOLS[role], study)}


def _refuse_filled(out: Path) -> None:
    try:
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise BetzError(TAKEN_ELSEWHERE.format(out=out))
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BetzError(f"The folder {out} cannot be made: {error.strerror}. Name another folder.") from error


def _digest(images: dict[str, object]) -> str:
    parts: list[bytes | str] = []
    for role, image in images.items():
        parts.append(role)
        for one in image.voxels if isinstance(image, Spectra) else [image]:
            place = one.lps_from_box if isinstance(one, Spectrum) else one.lps_from_index
            parts += [np.ascontiguousarray(one.array).tobytes(), place.tobytes()]
    return uids.digest(*parts)


def _study(truth: dict[str, object], digest: str, when: datetime, patient_id: str) -> Dataset:
    """Patient, study, frame of reference and equipment: what all instances share."""

    def uid(kind: str) -> str:
        return uids.uid("phantom", kind, digest, when.isoformat())

    ds = Dataset()
    ds.SpecificCharacterSet = "ISO_IR 100"
    ds.PatientName, ds.PatientID = PATIENT_NAME, patient_id
    ds.PatientBirthDate, ds.PatientSex, ds.PatientAge = BIRTH_DATE, "O", AGE
    ds.QualityControlSubject, ds.PatientComments = "YES", COMMENT
    ds.StudyInstanceUID, ds.StudyID, ds.AccessionNumber = uid("study"), f"PH{truth['seed']}", ""
    ds.StudyDate, ds.StudyTime, ds.ReferringPhysicianName = f"{when:%Y%m%d}", f"{when:%H%M%S}", ""
    ds.StudyDescription = "PHANTOM head MRI, suspected ALS protocol"
    ds.Modality, ds.BodyPartExamined, ds.PatientPosition = "MR", "BRAIN", "HFS"
    ds.FrameOfReferenceUID, ds.PositionReferenceIndicator = uid("frame"), ""
    ds.Manufacturer, ds.ManufacturerModelName, ds.SoftwareVersions = "Betz", "Computed phantom", __version__
    ds.InstitutionName, ds.DeviceSerialNumber = "PHANTOM", "PHANTOM"
    for kind in ("Series", "Acquisition", "Content", "InstanceCreation"):
        setattr(ds, f"{kind}Date", ds.StudyDate)
        setattr(ds, f"{kind}Time", ds.StudyTime)
    return ds


def _instances(volume: Volume, protocol: Protocol, study: Dataset) -> list[Dataset]:
    """One classic MR image per slice; the stack in the order of the array."""
    shared = _series_header(volume, protocol, study)
    low, high = np.percentile(volume.array[volume.array > 60], [2, 98])
    made = []
    for k, pixels in enumerate(volume.array):
        ds = Dataset()
        ds.update(shared)
        place = volume.lps_from_index @ [k, 0, 0, 1]
        ds.SOPClassUID, ds.SOPInstanceUID = MRImageStorage, uids.uid("phantom", "instance", shared.SeriesInstanceUID, k)
        ds.InstanceNumber = k + 1
        ds.ImagePositionPatient = _decimals(place[:3])
        ds.SliceLocation = _decimals([float(place[:3] @ _normal(volume))])[0]
        ds.WindowCenter, ds.WindowWidth = _decimals([(low + high) / 2])[0], _decimals([high - low])[0]
        ds.PixelData = np.ascontiguousarray(pixels, dtype="<u2").tobytes()
        made.append(ds)
    return made


def _series_header(volume: Volume, protocol: Protocol, study: Dataset) -> Dataset:
    ds = Dataset()
    ds.update(study)
    ds.SeriesInstanceUID = uids.uid("phantom", "series", study.StudyInstanceUID, protocol.number)
    ds.SeriesNumber, ds.AcquisitionNumber = protocol.number, 1
    ds.SeriesDescription, ds.ProtocolName, ds.SequenceName = protocol.description, protocol.description, protocol.name
    ds.ImageType, ds.ImageComments = ["ORIGINAL", "PRIMARY", *protocol.image_type], COMMENT
    ds.ScanningSequence, ds.SequenceVariant, ds.ScanOptions = list(protocol.sequence), list(protocol.variant), ""
    ds.MRAcquisitionType, ds.AngioFlag, ds.ImagedNucleus = "2D" if protocol.slice_mm else "3D", "N", "1H"
    ds.BodyPartExamined = protocol.body_part
    ds.RepetitionTime, ds.EchoTime, ds.FlipAngle = protocol.tr_ms, protocol.te_ms, protocol.flip_deg
    if protocol.ti_ms is not None:
        ds.InversionTime = protocol.ti_ms
    if protocol is PROTOCOLS["t1_contrast"]:
        ds.ContrastBolusAgent = "computed"
    ds.EchoTrainLength, ds.EchoNumbers, ds.NumberOfAverages = protocol.train, 1, 1
    ds.MagneticFieldStrength, ds.ImagingFrequency = FIELD_T, IMAGING_MHZ
    slice_mm, row_mm, column_mm = volume.spacing_mm
    ds.SpacingBetweenSlices = _decimals([slice_mm])[0]
    ds.SliceThickness = _decimals([protocol.slice_mm or slice_mm])[0]
    ds.PixelSpacing = _decimals([row_mm, column_mm])
    ds.ImageOrientationPatient = _decimals([*_unit(volume, 2), *_unit(volume, 1)])
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    _, ds.Rows, ds.Columns = volume.array.shape
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
    ds.BurnedInAnnotation, ds.LossyImageCompression = "NO", "00"
    return ds


def _unit(volume: Volume, axis: int) -> np.ndarray:
    column = volume.lps_from_index[:3, axis]
    return column / np.linalg.norm(column)


def _normal(volume: Volume) -> np.ndarray:
    """Row cosines cross column cosines: the direction that SliceLocation grows in."""
    return np.cross(_unit(volume, 2), _unit(volume, 1))


def _decimals(values: object) -> list[DSfloat]:
    """Numbers as decimal strings of at most 16 characters."""
    return [DSfloat(float(value), auto_format=True) for value in values]


def _save(instances: list[Dataset], folder: Path) -> None:
    folder.mkdir(parents=True)
    for number, ds in enumerate(instances, start=1):
        ds.file_meta = FileMetaDataset()
        ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        ds.save_as(folder / f"IM{number:05d}.dcm", enforce_file_format=True)
