"""The phantom's spectra as MR Spectroscopy objects (PS3.3 A.36.3): a series for each voxel, and one for its unsuppressed water.

Repetitions are the frames of an object; the voxel is where three slabs cross. Nothing was radiated: absorption is 0.
"""

from __future__ import annotations

import numpy as np
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import MRSpectroscopyStorage

from analysis.spectrum import PRESS, Spectra, Spectrum
from node import uids
from node.phantom_diffusion import FIELD_T, STACK, _code, _decimals, _item

SERIES_NUMBER = 20  # of the first; the water of a voxel follows it
TECHNIQUES = {PRESS: "PRESS"}


def spectrum_instances(spectra: Spectra, study: Dataset) -> dict[str, list[Dataset]]:
    """The objects by their folder, mrs_1, mrs_1_water, mrs_2 …, a list of one each."""
    made: dict[str, list[Dataset]] = {}
    for number, spectrum in enumerate(spectra.voxels):
        series = SERIES_NUMBER + 2 * number
        made[f"mrs_{number + 1}"] = [_instance(spectrum, spectrum.array, study, series, spectrum.series)]
        if spectrum.water is not None:
            made[f"mrs_{number + 1}_water"] = [_instance(spectrum, spectrum.water, study, series + 1, f"{spectrum.series} water")]
    return made


def _instance(spectrum: Spectrum, samples: np.ndarray, study: Dataset, series_number: int, description: str) -> Dataset:
    ds = Dataset()
    ds.update(study)
    ds.SOPClassUID = MRSpectroscopyStorage
    ds.SeriesInstanceUID = uids.uid("phantom", "series", study.StudyInstanceUID, series_number)
    ds.SOPInstanceUID = uids.uid("phantom", "instance", ds.SeriesInstanceUID, 0)
    ds.SeriesNumber, ds.InstanceNumber, ds.AcquisitionNumber = series_number, 1, 1
    ds.SeriesDescription = ds.ProtocolName = description
    is_water = samples is spectrum.water
    _describe(ds, spectrum, samples)
    _acquisition(ds, spectrum, is_water)
    _dimensions(ds)
    ds.SharedFunctionalGroupsSequence = Sequence([_shared(spectrum)])
    ds.PerFrameFunctionalGroupsSequence = Sequence([_frame(number, spectrum, ds.AcquisitionDateTime) for number in range(len(samples))])
    ds.SpectroscopyData = np.ascontiguousarray(samples[:, 0, :].astype("<c8")).tobytes()
    return ds


def _describe(ds: Dataset, spectrum: Spectrum, samples: np.ndarray) -> None:
    """MR Spectroscopy and MR Spectroscopy Data modules; the coils were combined."""
    ds.ImageType, ds.VolumetricProperties = ["ORIGINAL", "PRIMARY", "SPECTROSCOPY", "NONE"], "VOLUME"
    ds.VolumeBasedCalculationTechnique, ds.ComplexImageComponent, ds.AcquisitionContrast = "NONE", "COMPLEX", "UNKNOWN"
    ds.AcquisitionDateTime = ds.AcquisitionDate + ds.AcquisitionTime
    ds.AcquisitionDuration = len(samples) * float(spectrum.repetition_time_ms) / 1000
    del ds.AcquisitionDate, ds.AcquisitionTime
    ds.ImageComments = ds.PatientComments
    ds.ContentQualification, ds.ResonantNucleus, ds.KSpaceFiltering, ds.MagneticFieldStrength = "RESEARCH", "1H", "NONE", FIELD_T
    ds.ApplicableSafetyStandardAgency = "NONE"
    ds.NumberOfFrames, ds.Rows, ds.Columns = len(samples), 1, 1
    ds.DataPointRows, ds.DataPointColumns = 1, spectrum.points
    ds.DataRepresentation, ds.SignalDomainColumns = "COMPLEX", "TIME"
    ds.AcquisitionContextSequence = Sequence([])


def _acquisition(ds: Dataset, spectrum: Spectrum, is_water: bool) -> None:
    """MR Spectroscopy Pulse Sequence and Geometry: one voxel where three slabs cross."""
    ds.PulseSequenceName, ds.MRSpectroscopyAcquisitionType = "svs_se", "SINGLE_VOXEL"
    ds.EchoPulseSequence, ds.MultipleSpinEcho, ds.MultiPlanarExcitation = "SPIN", "YES", "NO"
    ds.SteadyStatePulseSequence, ds.EchoPlanarPulseSequence = "NONE", "NO"
    ds.SpectrallySelectedSuppression = "NONE" if is_water else "WATER"
    ds.TransmitterFrequency, ds.SpectralWidth = float(spectrum.field_mhz), float(spectrum.spectral_width_hz)
    ds.ChemicalShiftReference, ds.VolumeLocalizationTechnique = 4.68, TECHNIQUES[spectrum.sequence]
    ds.Decoupling, ds.TimeDomainFiltering, ds.NumberOfZeroFills, ds.BaselineCorrection = "NO", "NONE", 0, "NONE"
    ds.FrequencyCorrection, ds.FirstOrderPhaseCorrection, ds.WaterReferencedPhaseCorrection = "NO", "NO", "NO"
    ds.GeometryOfKSpaceTraversal, ds.SegmentedKSpaceTraversal, ds.NumberOfKSpaceTrajectories = "RECTILINEAR", "SINGLE", 1
    ds.RectilinearPhaseEncodeReordering = "LINEAR"
    edges = spectrum.lps_from_box[:3, :3]
    ds.VolumeLocalizationSequence = Sequence([
        _item(SlabThickness=float(np.linalg.norm(edge)), SlabOrientation=[float(part) for part in edge / np.linalg.norm(edge)],
              MidSlabPosition=[float(part) for part in spectrum.lps_from_box[:3, 3]])
        for edge in edges.T
    ])  # fmt: skip


def _dimensions(ds: Dataset) -> None:
    organisation = uids.uid("phantom", "dimensions", ds.SOPInstanceUID)
    ds.DimensionOrganizationSequence = Sequence([_item(DimensionOrganizationUID=organisation)])
    ds.DimensionIndexSequence = Sequence([_item(
        DimensionIndexPointer=(0x0020, 0x9156), FunctionalGroupPointer=(0x0020, 0x9111), DimensionDescriptionLabel="Repetition",
        DimensionOrganizationUID=organisation,
    )])  # fmt: skip


def _shared(spectrum: Spectrum) -> Dataset:
    """What holds for all repetitions."""
    edges, middle = spectrum.lps_from_box[:3, :3], spectrum.lps_from_box[:3, 3]
    across, down, thick = np.linalg.norm(edges, axis=0)
    groups = {
        "PixelMeasures": _item(PixelSpacing=_decimals([down, across]), SliceThickness=_decimals([thick])[0]),
        "PlanePosition": _item(ImagePositionPatient=_decimals(middle)),
        "PlaneOrientation": _item(ImageOrientationPatient=_decimals([*(edges[:, 0] / across), *(edges[:, 1] / down)])),
        "FrameAnatomy": _item(FrameLaterality="U", AnatomicRegionSequence=Sequence([_code("12738006", "SCT", "Brain")])),
        "MRSpectroscopyFrameType": _item(
            FrameType=["ORIGINAL", "PRIMARY", "SPECTROSCOPY", "NONE"], VolumetricProperties="VOLUME",
            VolumeBasedCalculationTechnique="NONE", ComplexImageComponent="COMPLEX", AcquisitionContrast="UNKNOWN"),
        "MRTimingAndRelatedParameters": _item(
            RepetitionTime=float(spectrum.repetition_time_ms), FlipAngle=90.0, EchoTrainLength=1, RFEchoTrainLength=1,
            GradientEchoTrainLength=0, GradientOutputType="DB_DT", GradientOutput=0.0,
            SpecificAbsorptionRateSequence=Sequence(
                [_item(SpecificAbsorptionRateDefinition="IEC_WHOLE_BODY", SpecificAbsorptionRateValue=0.0)]),
            OperatingModeSequence=Sequence([_item(OperatingModeType="RF", OperatingMode="IEC_NORMAL")])),
        "MRSpectroscopyFOVGeometry": _item(
            SpectroscopyAcquisitionDataColumns=spectrum.points, SpectroscopyAcquisitionPhaseColumns=1,
            SpectroscopyAcquisitionPhaseRows=1, SpectroscopyAcquisitionOutOfPlanePhaseSteps=1, PercentSampling=100,
            PercentPhaseFieldOfView=100),
        "MREcho": _item(EffectiveEchoTime=float(spectrum.echo_time_ms)),
        "MRModifier": _item(
            InversionRecovery="NO", FlowCompensation="NONE", Spoiling="NONE", T2Preparation="NO", SpectrallySelectedExcitation="NONE",
            SpatialPresaturation="NONE", PartialFourier="NO", ParallelAcquisition="NO"),
        "MRReceiveCoil": _item(
            ReceiveCoilName="none: computed", ReceiveCoilManufacturerName="", ReceiveCoilType="VOLUME", QuadratureReceiveCoil="NO"),
        "MRTransmitCoil": _item(TransmitCoilName="none: computed", TransmitCoilManufacturerName="", TransmitCoilType="BODY"),
        "MRAverages": _item(NumberOfAverages=1),
    }  # fmt: skip
    ds = Dataset()
    for name, item in groups.items():
        setattr(ds, f"{name}Sequence", Sequence([item]))
    return ds


def _frame(number: int, spectrum: Spectrum, when: str) -> Dataset:
    content = _item(
        FrameAcquisitionNumber=number + 1, FrameReferenceDateTime=when, FrameAcquisitionDateTime=when,
        FrameAcquisitionDuration=float(spectrum.repetition_time_ms), DimensionIndexValues=[number + 1], StackID=STACK,
        InStackPositionNumber=1, TemporalPositionIndex=number + 1)  # fmt: skip
    return _item(FrameContentSequence=Sequence([content]))
