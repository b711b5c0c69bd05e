"""The phantom's functional series, each as one Enhanced MR image (PS3.3 A.36.2): all volumes in one object, by time and slice.

Gradient-echo echo-planar images. Time stands in the temporal position of each frame. Nothing was radiated: absorption is 0.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import EnhancedMRImageStorage

from analysis.phantom_bold import REST, TASK
from analysis.volume import TimeSeries
from node import uids
from node.phantom_diffusion import FIELD_T, STACK, Timing, _decimals, _item, shared

SERIES_NUMBERS = {TASK: 11, REST: 12}
TE_MS, FLIP_DEG = 30.0, 80.0
FRAME_TYPE = ("ORIGINAL", "PRIMARY", "FMRI", "NONE")
# StackID, TemporalPositionIndex, InStackPositionNumber
POINTERS = {"Stack": (0x0020, 0x9056), "Time": (0x0020, 0x9128), "Slice": (0x0020, 0x9057)}


def function_instance(series: TimeSeries, name: str, study: Dataset) -> list[Dataset]:
    """The one object of a series (TASK or REST), as a list; frames volume by volume, slices in the order of the array."""
    ds = Dataset()
    ds.update(study)
    ds.SOPClassUID = EnhancedMRImageStorage
    ds.SeriesInstanceUID = uids.uid("phantom", "series", study.StudyInstanceUID, SERIES_NUMBERS[name])
    ds.SOPInstanceUID = uids.uid("phantom", "instance", ds.SeriesInstanceUID, 0)
    ds.SeriesNumber, ds.InstanceNumber, ds.AcquisitionNumber = SERIES_NUMBERS[name], 1, 1
    ds.SeriesDescription = ds.ProtocolName = series.name
    began = datetime.strptime(ds.AcquisitionDate + ds.AcquisitionTime, "%Y%m%d%H%M%S")
    _describe(ds, series)
    _sequence(ds)
    _dimensions(ds)
    timing = Timing(1000 * series.repetition_time_s, TE_MS, FLIP_DEG, "T2_STAR", FRAME_TYPE)
    ds.SharedFunctionalGroupsSequence = Sequence([shared(series, timing)])
    places = [_decimals((series.lps_from_index @ [number, 0, 0, 1])[:3]) for number in range(series.array.shape[0])]
    ds.PerFrameFunctionalGroupsSequence = Sequence([
        _frame(places[number], volume, number, began + timedelta(seconds=volume * series.repetition_time_s), series.repetition_time_s)
        for volume in range(series.volumes) for number in range(len(places))
    ])  # fmt: skip
    ds.PixelData = np.ascontiguousarray(series.array.transpose(3, 0, 1, 2), dtype="<u2").tobytes()
    return [ds]


def _describe(ds: Dataset, series: TimeSeries) -> None:
    """Enhanced MR Image module and pixels."""
    slices, ds.Rows, ds.Columns, volumes = series.array.shape
    ds.NumberOfFrames = slices * volumes
    ds.ImageType, ds.PixelPresentation, ds.VolumetricProperties = list(FRAME_TYPE), "MONOCHROME", "VOLUME"
    ds.VolumeBasedCalculationTechnique, ds.ComplexImageComponent, ds.AcquisitionContrast = "NONE", "MAGNITUDE", "T2_STAR"
    ds.AcquisitionDateTime, ds.AcquisitionDuration = ds.AcquisitionDate + ds.AcquisitionTime, float(series.duration_s)
    ds.ImageComments = ds.PatientComments
    ds.ContentQualification, ds.ResonantNucleus, ds.KSpaceFiltering, ds.MagneticFieldStrength = "RESEARCH", "1H", "NONE", FIELD_T
    ds.ApplicableSafetyStandardAgency = "NONE"
    del ds.AcquisitionDate, ds.AcquisitionTime
    ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PresentationLUTShape = 1, "MONOCHROME2", "IDENTITY"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
    ds.BurnedInAnnotation, ds.LossyImageCompression = "NO", "00"
    ds.AcquisitionContextSequence = Sequence([])


def _sequence(ds: Dataset) -> None:
    """MR Pulse Sequence module: single-shot gradient-echo echo planar imaging."""
    ds.PulseSequenceName, ds.MRAcquisitionType, ds.EchoPulseSequence, ds.MultipleSpinEcho = "ep_bold", "2D", "GRADIENT", "NO"
    ds.MultiPlanarExcitation, ds.PhaseContrast, ds.TimeOfFlightContrast = "NO", "NO", "NO"
    ds.SteadyStatePulseSequence, ds.EchoPlanarPulseSequence, ds.SaturationRecovery = "NONE", "YES", "NO"
    ds.SpectrallySelectedSuppression, ds.OversamplingPhase = "FAT", "NONE"
    ds.GeometryOfKSpaceTraversal, ds.SegmentedKSpaceTraversal = "RECTILINEAR", "SINGLE"
    ds.RectilinearPhaseEncodeReordering, ds.NumberOfKSpaceTrajectories = "LINEAR", 1


def _dimensions(ds: Dataset) -> None:
    """Frames are ordered by stack, time and slice."""
    organisation = uids.uid("phantom", "dimensions", ds.SOPInstanceUID)
    ds.DimensionOrganizationSequence = Sequence([_item(DimensionOrganizationUID=organisation)])
    ds.DimensionIndexSequence = Sequence([
        _item(DimensionIndexPointer=pointer, FunctionalGroupPointer=(0x0020, 0x9111), DimensionDescriptionLabel=label,
             DimensionOrganizationUID=organisation)
        for label, pointer in POINTERS.items()
    ])  # fmt: skip


def _frame(place: list[float], volume: int, number: int, when: datetime, repetition_s: float) -> Dataset:
    """Place and time of one slice of one volume."""
    stamp = when.strftime("%Y%m%d%H%M%S.%f")
    content = _item(
        FrameAcquisitionNumber=volume + 1, FrameReferenceDateTime=stamp, FrameAcquisitionDateTime=stamp,
        FrameAcquisitionDuration=1000 * repetition_s, DimensionIndexValues=[1, volume + 1, number + 1],
        StackID=STACK, InStackPositionNumber=number + 1, TemporalPositionIndex=volume + 1)  # fmt: skip
    return _item(FrameContentSequence=Sequence([content]), PlanePositionSequence=Sequence([_item(ImagePositionPatient=place)]))
