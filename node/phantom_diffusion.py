"""The phantom's diffusion series as one Enhanced MR image (PS3.3 A.36.2): all volumes in one object, by acquisition and slice.

Diffusion weighting stands in the standard's own macro (C.8.13.5.9), directions in patient space. Nothing was radiated: absorption is 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import EnhancedMRImageStorage

from analysis.volume import Diffusion, TimeSeries
from node import uids

DESCRIPTION, SERIES_NUMBER = "PHANTOM DWI 32 directions tra", 5
TR_MS, TE_MS, FLIP_DEG, READOUT_MS, FIELD_T, IMAGING_MHZ = 8200.0, 88.0, 90.0, 45.0, 3.0, 127.74
STACK = "1"
FRAME_TYPE = ("ORIGINAL", "PRIMARY", "DIFFUSION", "NONE")


def diffusion_instance(diffusion: Diffusion, study: Dataset) -> list[Dataset]:
    """The one object, as a list; frames volume by volume, slices in the order of the array."""
    ds = Dataset()
    ds.update(study)
    ds.SOPClassUID = EnhancedMRImageStorage
    ds.SeriesInstanceUID = uids.uid("phantom", "series", study.StudyInstanceUID, SERIES_NUMBER)
    ds.SOPInstanceUID = uids.uid("phantom", "instance", ds.SeriesInstanceUID, 0)
    ds.SeriesNumber, ds.InstanceNumber, ds.AcquisitionNumber = SERIES_NUMBER, 1, 1
    ds.SeriesDescription = ds.ProtocolName = DESCRIPTION
    _describe(ds, diffusion)
    _sequence(ds)
    _dimensions(ds)
    ds.SharedFunctionalGroupsSequence = Sequence([shared(diffusion, TIMING)])
    slices, volumes = diffusion.array.shape[0], diffusion.array.shape[3]
    frames = [_frame(diffusion, volume, number, ds.AcquisitionDateTime) for volume in range(volumes) for number in range(slices)]
    ds.PerFrameFunctionalGroupsSequence = Sequence(frames)
    ds.PixelData = np.ascontiguousarray(diffusion.array.transpose(3, 0, 1, 2), dtype="<u2").tobytes()
    return [ds]


def _describe(ds: Dataset, diffusion: Diffusion) -> None:
    """Enhanced MR Image module and pixels."""
    slices, ds.Rows, ds.Columns, volumes = diffusion.array.shape
    ds.NumberOfFrames = slices * volumes
    ds.ImageType, ds.PixelPresentation, ds.VolumetricProperties = ["ORIGINAL", "PRIMARY", "DIFFUSION", "NONE"], "MONOCHROME", "VOLUME"
    ds.VolumeBasedCalculationTechnique, ds.ComplexImageComponent, ds.AcquisitionContrast = "NONE", "MAGNITUDE", "DIFFUSION"
    ds.AcquisitionDateTime, ds.AcquisitionDuration = ds.AcquisitionDate + ds.AcquisitionTime, volumes * TR_MS / 1000
    ds.ImageComments = ds.PatientComments
    ds.ContentQualification, ds.ResonantNucleus, ds.KSpaceFiltering, ds.MagneticFieldStrength = "RESEARCH", "1H", "NONE", FIELD_T
    ds.ApplicableSafetyStandardAgency = "NONE"
    del ds.AcquisitionDate, ds.AcquisitionTime
    ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PresentationLUTShape = 1, "MONOCHROME2", "IDENTITY"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
    ds.BurnedInAnnotation, ds.LossyImageCompression = "NO", "00"
    ds.AcquisitionContextSequence = Sequence([])


def _sequence(ds: Dataset) -> None:
    """MR Pulse Sequence module: single-shot spin-echo echo planar imaging."""
    ds.PulseSequenceName, ds.MRAcquisitionType, ds.EchoPulseSequence, ds.MultipleSpinEcho = "ep_se2d", "2D", "SPIN", "NO"
    ds.MultiPlanarExcitation, ds.PhaseContrast, ds.TimeOfFlightContrast = "NO", "NO", "NO"
    ds.SteadyStatePulseSequence, ds.EchoPlanarPulseSequence, ds.SaturationRecovery = "NONE", "YES", "NO"
    ds.SpectrallySelectedSuppression, ds.OversamplingPhase = "FAT", "NONE"
    ds.GeometryOfKSpaceTraversal, ds.SegmentedKSpaceTraversal = "RECTILINEAR", "SINGLE"
    ds.RectilinearPhaseEncodeReordering, ds.NumberOfKSpaceTrajectories = "LINEAR", 1


def _dimensions(ds: Dataset) -> None:
    """Frames are ordered by stack, volume and slice."""
    organisation = uids.uid("phantom", "dimensions", ds.SOPInstanceUID)
    ds.DimensionOrganizationSequence = Sequence([_item(DimensionOrganizationUID=organisation)])
    pointers = {"Stack": 0x9056, "Volume": 0x9156, "Slice": 0x9057}  # StackID, FrameAcquisitionNumber, InStackPositionNumber
    indices = [
        _item(DimensionIndexPointer=(0x0020, element), FunctionalGroupPointer=(0x0020, 0x9111), DimensionDescriptionLabel=label)
        for label, element in pointers.items()
    ]
    for index in indices:
        index.DimensionOrganizationUID = organisation
    ds.DimensionIndexSequence = Sequence(indices)


def _item(**attributes: object) -> Dataset:
    """A sequence item with these attributes."""
    ds = Dataset()
    for keyword, value in attributes.items():
        setattr(ds, keyword, value)
    return ds


def _code(value: str, scheme: str, meaning: str) -> Dataset:
    """The item of a code sequence."""
    return _item(CodeValue=value, CodingSchemeDesignator=scheme, CodeMeaning=meaning)


def _decimals(values: object) -> list[float]:
    """Numbers as decimal strings of at most 16 characters."""
    from pydicom.valuerep import DSfloat

    return [DSfloat(float(value), auto_format=True) for value in values]


@dataclass(frozen=True)
class Timing:
    """What the header of an echo-planar series says of it: times in ms, the flip angle, and how it calls its contrast and its frames."""

    tr_ms: float
    te_ms: float
    flip_deg: float
    contrast: str
    frame_type: tuple[str, ...]


TIMING = Timing(TR_MS, TE_MS, FLIP_DEG, "DIFFUSION", FRAME_TYPE)


def shared(series: Diffusion | TimeSeries, timing: Timing) -> Dataset:
    """What holds for all frames."""
    axes = series.lps_from_index[:3, :3]
    slice_mm, row_mm, column_mm = np.linalg.norm(axes, axis=0)
    rows, columns = series.array.shape[1:3]
    high = float(np.percentile(series.array[..., 0], 99))
    groups = {
        "PixelMeasures": _item(
            PixelSpacing=_decimals([row_mm, column_mm]), SliceThickness=_decimals([slice_mm])[0],
            SpacingBetweenSlices=_decimals([slice_mm])[0]),
        "PlaneOrientation": _item(ImageOrientationPatient=_decimals([*(axes[:, 2] / column_mm), *(axes[:, 1] / row_mm)])),
        "FrameAnatomy": _item(FrameLaterality="B", AnatomicRegionSequence=Sequence([_code("12738006", "SCT", "Brain")])),
        "FrameVOILUT": _item(WindowCenter=_decimals([high / 2])[0], WindowWidth=_decimals([max(high, 1)])[0]),
        "PixelValueTransformation": _item(RescaleIntercept=0, RescaleSlope=1, RescaleType="US"),
        "MRImageFrameType": _item(
            FrameType=list(timing.frame_type), PixelPresentation="MONOCHROME", VolumetricProperties="VOLUME",
            VolumeBasedCalculationTechnique="NONE", ComplexImageComponent="MAGNITUDE", AcquisitionContrast=timing.contrast),
        "MRTimingAndRelatedParameters": _item(
            RepetitionTime=timing.tr_ms, FlipAngle=timing.flip_deg, EchoTrainLength=1, RFEchoTrainLength=1, GradientEchoTrainLength=rows,
            GradientOutputType="DB_DT", GradientOutput=0.0,
            SpecificAbsorptionRateSequence=Sequence(
                [_item(SpecificAbsorptionRateDefinition="IEC_WHOLE_BODY", SpecificAbsorptionRateValue=0.0)]),
            OperatingModeSequence=Sequence([_item(OperatingModeType="RF", OperatingMode="IEC_NORMAL")])),
        "MRFOVGeometry": _item(
            InPlanePhaseEncodingDirection="COLUMN", MRAcquisitionFrequencyEncodingSteps=columns,
            MRAcquisitionPhaseEncodingStepsInPlane=rows,
            PercentSampling=100, PercentPhaseFieldOfView=100),
        "MREcho": _item(EffectiveEchoTime=timing.te_ms),
        "MRModifier": _item(
            InversionRecovery="NO", FlowCompensation="NONE", Spoiling="NONE", T2Preparation="NO", SpectrallySelectedExcitation="NONE",
            SpatialPresaturation="NONE", PartialFourier="NO", ParallelAcquisition="NO"),
        "MRImagingModifier": _item(
            MagnetizationTransfer="NONE", BloodSignalNulling="NO", Tagging="NONE", TransmitterFrequency=IMAGING_MHZ, PixelBandwidth=1500.0),
        "MRReceiveCoil": _item(
            ReceiveCoilName="none: computed", ReceiveCoilManufacturerName="", ReceiveCoilType="VOLUME", QuadratureReceiveCoil="NO"),
        "MRTransmitCoil": _item(TransmitCoilName="none: computed", TransmitCoilManufacturerName="", TransmitCoilType="BODY"),
        "MRAverages": _item(NumberOfAverages=1),
    }  # fmt: skip
    ds = Dataset()
    for name, group in groups.items():
        setattr(ds, f"{name}Sequence", Sequence([group]))
    return ds


def _frame(diffusion: Diffusion, volume: int, number: int, when: str) -> Dataset:
    """Place and diffusion weighting of one slice of one volume."""
    content = _item(
        FrameAcquisitionNumber=volume + 1, FrameReferenceDateTime=when, FrameAcquisitionDateTime=when, FrameAcquisitionDuration=TR_MS,
        DimensionIndexValues=[1, volume + 1, number + 1], StackID=STACK, InStackPositionNumber=number + 1)  # fmt: skip
    b_value = float(diffusion.b_values_s_mm2[volume])
    weighting = _item(DiffusionBValue=b_value, DiffusionDirectionality="DIRECTIONAL" if b_value else "NONE")
    if b_value:
        direction = _item(DiffusionGradientOrientation=[float(part) for part in diffusion.b_vectors_lps[volume]])
        weighting.DiffusionGradientDirectionSequence = Sequence([direction])
    place = (diffusion.lps_from_index @ [number, 0, 0, 1])[:3]
    return _item(
        FrameContentSequence=Sequence([content]),
        PlanePositionSequence=Sequence([_item(ImagePositionPatient=_decimals(place))]),
        MRDiffusionSequence=Sequence([weighting]),
    )
