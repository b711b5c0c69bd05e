"""Masks lie on the source frames exactly, and say whose they are."""

from dataclasses import replace
from io import BytesIO

import numpy as np
import pydicom
import pytest

from analysis.outcome import MEASURED, Mask, Outcome
from node.planes import planes_of
from node.provenance import encoded
from node.segmentation import segmentations


def read_back(ds):
    """Each segment's mask as the set of points that its voxels are in the patient, by label."""
    from highdicom.seg import segread

    seg = segread(BytesIO(encoded(ds)))
    volume = seg.get_volume(combine_segments=False)
    points = {}
    for number in seg.segment_numbers:
        index = np.argwhere(volume.array[..., number - 1])
        points[seg.get_segment_description(number).segment_label] = points_of(index, volume.affine)
    return points


def points_of(index, lps_from_index):
    lps = index @ lps_from_index[:3, :3].T + lps_from_index[:3, 3]
    return {tuple(np.round(one, 3) + 0.0) for one in lps}


@pytest.mark.parametrize("is_enhanced", [False, True], ids=["classic", "enhanced"])
def test_a_mask_comes_back_at_the_same_place(scanner, result_study, is_enhanced):
    case = result_study.case(scanner, is_enhanced)
    segs = segmentations(case.report, case.provenance, case.images)
    assert [seg.SeriesNumber for seg in segs] == [9020, 9021]
    found = {label: points for seg in segs for label, points in read_back(seg).items()}
    masks = [mask for outcome in case.report.outcomes for mask in outcome.masks if mask.array.any()]
    assert len(found) == len(masks) == 5
    for mask in masks:
        label = "Brain" if mask.side is None else f"Corticospinal tract, {mask.side}, {'PLIC' if mask.level == 'plic' else mask.level}"
        expected = points_of(np.argwhere(mask.array), case.images[mask.role].lps_from_index)
        assert found[label] == expected, label


def test_of_many_volumes_only_the_unweighted_one_is_referred_to(scanner, result_study):
    case = result_study.case(scanner)
    _, dwi = segmentations(case.report, case.provenance, case.images)
    referred = {item.ReferencedSOPInstanceUID for item in dwi.ReferencedSeriesSequence[0].ReferencedInstanceSequence}
    series = case.provenance.study.series[1]
    assert referred == {str(one.header.SOPInstanceUID) for one in series.instances if one.header.DiffusionBValue == 0}


def test_an_enhanced_source_is_referred_to_by_its_true_frame_numbers(scanner, result_study):
    case = result_study.case(scanner, is_enhanced=True)
    _, dwi = segmentations(case.report, case.provenance, case.images)
    header = case.provenance.study.series[1].header
    for group in dwi.PerFrameFunctionalGroupsSequence:
        source = group.DerivationImageSequence[0].SourceImageSequence[0]
        assert source.ReferencedSOPInstanceUID == header.SOPInstanceUID
        frame = header.PerFrameFunctionalGroupsSequence[source.ReferencedFrameNumber - 1]
        assert frame.MRDiffusionSequence[0].DiffusionBValue == 0
        positions = [one.PlanePositionSequence[0].ImagePositionPatient for one in (frame, group)]
        assert np.allclose(*positions, atol=1e-6)


def test_segments_say_what_they_are_and_on_which_side(scanner, result_study):
    case = result_study.case(scanner)
    _, dwi = segmentations(case.report, case.provenance, case.images)
    types = [item.SegmentedPropertyTypeCodeSequence[0] for item in dwi.SegmentSequence]
    assert [one.CodeValue for one in types] == ["1320"] * 4
    sides = [one.SegmentedPropertyTypeModifierCodeSequence[0].CodeMeaning for one in types]
    assert sides == ["Left", "Left", "Right", "Right"]
    assert len({item.TrackingUID for item in dwi.SegmentSequence}) == len({item.TrackingID for item in dwi.SegmentSequence}) == 4
    assert len({tuple(item.RecommendedDisplayCIELabValue) for item in dwi.SegmentSequence}) == 4
    assert {item.SegmentationAlgorithmIdentificationSequence[0].AlgorithmVersion for item in dwi.SegmentSequence} == {"1"}


def test_masks_may_overlap_and_the_same_mask_is_written_once(scanner, result_study):
    case = result_study.case(scanner)
    brain = case.report.outcomes[0].masks[0]
    inner = replace(brain, name="inner", array=brain.array & (np.arange(brain.array.shape[1]) > 10)[None, :, None])
    twice = Outcome("other", 1, MEASURED, masks=(brain, inner))
    report = replace(case.report, outcomes=(*case.report.outcomes, twice))
    t1 = segmentations(report, case.provenance, case.images)[0]
    assert [item.SegmentLabel for item in t1.SegmentSequence] == ["Brain", "Brain (inner, other)"]
    assert t1.SegmentsOverlap == "YES"
    found = read_back(t1)
    assert found["Brain (inner, other)"] < found["Brain"]


def test_the_same_study_gives_the_same_bytes_and_another_mask_another_object(scanner, result_study):
    case = result_study.case(scanner)
    first = segmentations(case.report, case.provenance, case.images)
    again = segmentations(case.report, case.provenance, case.images)
    assert [encoded(one) for one in first] == [encoded(one) for one in again]
    brain = case.report.outcomes[0].masks[0]
    other = Outcome("brain_volumes", 1, MEASURED, masks=(Mask("brain", "t1", ~brain.array, brain.site),))
    changed = segmentations(replace(case.report, outcomes=(other,)), case.provenance, case.images)[0]
    assert changed.SOPInstanceUID != first[0].SOPInstanceUID and changed.SeriesInstanceUID != first[0].SeriesInstanceUID
    assert changed.SegmentSequence[0].TrackingUID == first[0].SegmentSequence[0].TrackingUID


def test_identity_is_the_sources_byte_for_byte(scanner, result_study):
    case = result_study.case(scanner)
    ds = pydicom.dcmread(BytesIO(encoded(segmentations(case.report, case.provenance, case.images)[0])))
    source = case.provenance.study.header
    for keyword in ("PatientName", "PatientID", "PatientAge", "StudyDescription", "ReferringPhysicianName", "SpecificCharacterSet"):
        assert str(ds[keyword].value) == str(source[keyword].value), keyword
    assert ds.FrameOfReferenceUID == source.FrameOfReferenceUID
    assert "Prüfung^Jörg".encode("latin-1") in encoded(ds)
    assert ds.ContentQualification == "RESEARCH" and ds.BodyPartExamined == "BRAIN" and "RESEARCH" in ds.SeriesDescription


def test_an_age_that_is_none_is_not_passed_on(scanner, result_study):
    case = result_study.case(scanner, PatientAge=None)
    case.provenance.study.header.PatientAge = "***"
    assert "PatientAge" not in segmentations(case.report, case.provenance, case.images)[0]


def test_a_series_without_a_frame_of_reference_gets_no_segmentation(scanner, result_study):
    case = result_study.case(scanner, FrameOfReferenceUID=None)
    assert segmentations(case.report, case.provenance, case.images) == []


def test_an_empty_report_has_no_masks(scanner, result_study):
    case = result_study.case(scanner)
    report = replace(case.report, outcomes=())
    assert segmentations(report, case.provenance, {}) == [] and planes_of(report, case.provenance, {}) == {}
