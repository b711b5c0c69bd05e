"""Maps lie on the source frames exactly, and say what their numbers are."""

from dataclasses import replace
from io import BytesIO

import numpy as np
import pydicom
import pytest

from analysis.outcome import Map
from analysis.volume import Volume
from node.parametric_map import parametric_maps
from node.provenance import encoded


def read_back(ds):
    """The value at every place in the patient, rounded to 0.001 mm."""
    from highdicom.pm.sop import pmread

    volume = pmread(BytesIO(encoded(ds))).get_volume(apply_real_world_transform=True)
    return values_at(volume.array, volume.affine)


def values_at(array, lps_from_index):
    index = np.argwhere(np.ones(array.shape[:3], bool))
    lps = index @ lps_from_index[:3, :3].T + lps_from_index[:3, 3]
    return {tuple(np.round(place, 3) + 0.0): float(value) for place, value in zip(lps, array.ravel(), strict=True)}


def made(case):
    return parametric_maps(case.report, case.provenance, case.images)


def maps_of(case):
    return {one.name: one for outcome in case.report.outcomes for one in outcome.maps}


def turned(case, axes, flips):
    """The same study with its diffusion image and maps on a grid whose axes are swapped and mirrored."""
    def turn(array):
        return np.ascontiguousarray(np.flip(array.transpose(axes), flips))

    image = case.images["dwi"]
    matrix = image.lps_from_index[:, [*axes, 3]]
    for axis in flips:
        step = np.eye(4)
        step[axis, axis], step[axis, 3] = -1, image.array.shape[axes[axis]] - 1
        matrix = matrix @ step
    outcomes = tuple(replace(one, masks=(), maps=tuple(replace(map_, array=turn(map_.array)) for map_ in one.maps))
                     for one in case.report.outcomes)  # fmt: skip
    return replace(case, report=replace(case.report, outcomes=outcomes), images={"dwi": Volume(turn(image.array), matrix)})


@pytest.mark.parametrize("is_enhanced", [False, True], ids=["classic", "enhanced"])
def test_a_map_comes_back_at_the_same_place(scanner, result_study, is_enhanced):
    case = result_study.case(scanner, is_enhanced)
    fa, md = made(case)
    assert [fa.SeriesNumber, md.SeriesNumber] == [9030, 9031] and fa.SeriesInstanceUID != md.SeriesInstanceUID
    assert fa.BitsAllocated == 32 and "FloatPixelData" in fa and fa.Modality == "OT"
    for ds, map_ in ((fa, maps_of(case)["fa"]), (md, maps_of(case)["md"])):
        assert read_back(ds) == values_at(map_.array, case.images["dwi"].lps_from_index)


@pytest.mark.parametrize(("axes", "flips"), [((0, 2, 1), (0,)), ((0, 2, 1), (1,)), ((0, 1, 2), (1, 2)), ((0, 2, 1), (0, 1, 2))])
def test_however_the_grid_of_the_measurement_is_turned(scanner, result_study, axes, flips):
    case = result_study.case(scanner)
    other = turned(case, axes, flips)
    assert read_back(made(other)[0]) == read_back(made(case)[0])


@pytest.mark.parametrize("is_enhanced", [False, True], ids=["classic", "enhanced"])
def test_the_frames_run_along_the_normal(scanner, result_study, is_enhanced):
    fa = made(result_study.case(scanner, is_enhanced))[0]
    orientation = np.array(fa.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence[0].ImageOrientationPatient, float)
    normal = np.cross(orientation[:3], orientation[3:])
    positions = [group.PlanePositionSequence[0].ImagePositionPatient for group in fa.PerFrameFunctionalGroupsSequence]
    assert np.allclose(np.diff(np.array(positions, float) @ normal), 3.0, atol=1e-4)


def test_a_number_stands_at_its_place_in_the_patient(scanner, result_study):
    case = result_study.case(scanner)
    image, array = case.images["dwi"], maps_of(case)["fa"].array.copy()
    array[:], array[4, 9, 3] = 0, 0.625
    place = tuple(np.round((image.lps_from_index @ (4, 9, 3, 1))[:3], 3) + 0.0)
    map_ = replace(maps_of(case)["fa"], array=array)
    outcomes = tuple(replace(one, maps=(map_,) if one.maps else ()) for one in case.report.outcomes)
    (ds,) = made(replace(case, report=replace(case.report, outcomes=outcomes)))
    assert {where: value for where, value in read_back(ds).items() if value} == {place: 0.625}


def test_the_frames_of_one_volume_are_the_sources(scanner, result_study):
    case = result_study.case(scanner)
    fa = made(case)[0]
    unweighted = {str(one.header.SOPInstanceUID): one.header for one in case.provenance.study.series[1].instances
                  if one.header.DiffusionBValue == 0}  # fmt: skip
    (series,) = fa.ReferencedSeriesSequence
    assert series.SeriesInstanceUID == case.provenance.study.series[1].series_instance_uid
    assert {item.ReferencedSOPInstanceUID for item in series.ReferencedInstanceSequence} == set(unweighted)
    for group in fa.PerFrameFunctionalGroupsSequence:
        (source,) = group.DerivationImageSequence[0].SourceImageSequence
        assert group.PlanePositionSequence[0].ImagePositionPatient == unweighted[source.ReferencedSOPInstanceUID].ImagePositionPatient


def test_an_enhanced_source_is_referred_to_by_its_true_frame_numbers(scanner, result_study):
    case = result_study.case(scanner, is_enhanced=True)
    header = case.provenance.study.series[1].header
    for group in made(case)[1].PerFrameFunctionalGroupsSequence:
        source = group.DerivationImageSequence[0].SourceImageSequence[0]
        assert source.ReferencedSOPInstanceUID == header.SOPInstanceUID
        frame = header.PerFrameFunctionalGroupsSequence[source.ReferencedFrameNumber - 1]
        assert frame.MRDiffusionSequence[0].DiffusionBValue == 0
        positions = [one.PlanePositionSequence[0].ImagePositionPatient for one in (frame, group)]
        assert np.allclose(*positions, atol=1e-6)


def test_it_says_what_the_numbers_are(scanner, result_study):
    case = result_study.case(scanner)
    fa, md = (pydicom.dcmread(BytesIO(encoded(ds))) for ds in made(case))
    shared = [ds.SharedFunctionalGroupsSequence[0] for ds in (fa, md)]
    mappings = [group.RealWorldValueMappingSequence[0] if "RealWorldValueMappingSequence" in group
                else ds.PerFrameFunctionalGroupsSequence[0].RealWorldValueMappingSequence[0]
                for group, ds in zip(shared, (fa, md), strict=True)]  # fmt: skip
    units = [one.MeasurementUnitsCodeSequence[0].CodeValue for one in mappings]
    quantities = [one.QuantityDefinitionSequence[0].ConceptCodeSequence[0].CodeValue for one in mappings]
    assert units == ["1", "um2/ms"] and quantities == ["110808", "113202"]
    assert [(one.RealWorldValueSlope, one.RealWorldValueIntercept) for one in mappings] == [(1, 0), (1, 0)]
    for group, map_ in zip(shared, (maps_of(case)["fa"], maps_of(case)["md"]), strict=True):
        window = group.FrameVOILUTSequence[0]
        assert window.VOILUTFunction == "LINEAR_EXACT" and float(window.WindowWidth) < 2.1
        assert map_.array.min() <= float(window.WindowCenter) <= map_.array.max()
        assert group.FrameAnatomySequence[0].AnatomicRegionSequence[0].CodeValue == "12738006"


def test_it_is_marked_and_named_as_the_sources(scanner, result_study):
    case = result_study.case(scanner)
    ds = pydicom.dcmread(BytesIO(encoded(made(case)[0])))
    source = case.provenance.study.series[1].header
    for keyword in ("PatientName", "PatientID", "StudyInstanceUID", "FrameOfReferenceUID", "StudyDescription"):
        assert str(ds[keyword].value) == str(source[keyword].value), keyword
    assert ds.ContentQualification == "RESEARCH" and ds.SeriesDescription == f"Betz FA v{ds.SoftwareVersions[:3]} RESEARCH"
    assert ds.BodyPartExamined == "BRAIN" and ds.Manufacturer == "Betz"


def test_the_same_study_gives_the_same_bytes_and_other_numbers_another_object(scanner, result_study):
    case = result_study.case(scanner)
    first, again = made(case), made(case)
    assert [encoded(one) for one in first] == [encoded(one) for one in again]
    fa = maps_of(case)["fa"]
    outcomes = tuple(replace(one, maps=(replace(fa, array=fa.array * 0.5),) if one.maps else ()) for one in case.report.outcomes)
    (changed,) = made(replace(case, report=replace(case.report, outcomes=outcomes)))
    assert changed.SOPInstanceUID != first[0].SOPInstanceUID and changed.SeriesInstanceUID != first[0].SeriesInstanceUID


def test_a_map_that_two_markers_give_is_sent_once(scanner, result_study):
    case = result_study.case(scanner)
    again = next(one for one in case.report.outcomes if one.maps)
    report = replace(case.report, outcomes=(*case.report.outcomes, replace(again, marker="callosum_diffusion")))
    assert [ds.SeriesNumber for ds in made(replace(case, report=report))] == [9030, 9031]


def test_a_series_without_a_frame_of_reference_gets_no_map(scanner, result_study):
    assert made(result_study.case(scanner, FrameOfReferenceUID=None)) == []


def test_a_map_of_nothing_is_still_a_map(scanner, result_study):
    case = result_study.case(scanner)
    empty = Map("fa", "dwi", np.zeros(case.images["dwi"].array.shape, np.float32), "1", maps_of(case)["fa"].quantity)
    outcomes = tuple(replace(one, maps=(empty,) if one.maps else ()) for one in case.report.outcomes)
    (ds,) = made(replace(case, report=replace(case.report, outcomes=outcomes)))
    assert ds.NumberOfFrames == 12


@pytest.mark.parametrize("is_enhanced", [False, True], ids=["classic", "enhanced"])
def test_the_orientation_is_that_of_the_source_to_the_last_digit(scanner, result_study, is_enhanced):
    """OHIF 3.13 shows no map whose orientation differs by any amount: it is the source's, not one that was computed from it."""
    digits = (0.99993485212326, -0.0114129334688, -6.287873111e-05, 0.01124470308423, 0.98422265052795, 0.17657658457756)
    case = result_study.case(scanner, is_enhanced, orientation=digits)
    for one in parametric_maps(case.report, case.provenance, case.images):
        assert tuple(one.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence[0].ImageOrientationPatient) == digits
