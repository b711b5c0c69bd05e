"""Streamlines come back point by point, in the space of the images that they were found in."""

from dataclasses import replace
from datetime import datetime
from io import BytesIO

import numpy as np
import pydicom
import pytest

from analysis.outcome import Track
from node.process import answer
from node.provenance import encoded
from node.settings import Results, Settings
from node.track_set import track_sets


def made(case):
    return [pydicom.dcmread(BytesIO(encoded(ds))) for ds in track_sets(case.report, case.provenance)]


def tracks_of(case):
    return [one for outcome in case.report.outcomes for one in outcome.tracks]


def points_of(item):
    return [np.frombuffer(track.PointCoordinatesData, "<f4").reshape(-1, 3) for track in item.TrackSequence]


@pytest.mark.parametrize("is_enhanced", [False, True], ids=["classic", "enhanced"])
def test_every_point_comes_back(scanner, result_study, is_enhanced):
    case = result_study.case(scanner, is_enhanced)
    (ds,) = made(case)
    assert ds.SOPClassUID == "1.2.840.10008.5.1.4.1.1.66.6" and ds.SeriesNumber == 9060 and ds.Modality == "MR"
    assert ds.FrameOfReferenceUID == case.provenance.study.series[1].header.FrameOfReferenceUID
    for item, track in zip(ds.TrackSetSequence, tracks_of(case), strict=True):
        for found, line in zip(points_of(item), track.lines, strict=True):
            assert found.dtype == line.dtype and np.array_equal(found, line)


def test_a_point_is_where_the_image_says(scanner, result_study):
    """The left tract of the patient has the larger x, and every point lies in the box of the source frames."""
    case = result_study.case(scanner)
    (ds,) = made(case)
    left, right = (np.concatenate(points_of(item)) for item in ds.TrackSetSequence)
    assert left[:, 0].min() > right[:, 0].max()
    image = case.images["dwi"]
    for points in (left, right):
        index = (np.linalg.inv(image.lps_from_index) @ np.c_[points, np.ones(len(points))].T)[:3]
        assert index.min() > 0 and (index.max(axis=1) < image.array.shape).all()


def test_each_side_is_a_set_that_says_what_it_is(scanner, result_study):
    (ds,) = made(result_study.case(scanner))
    assert [item.TrackSetNumber for item in ds.TrackSetSequence] == [1, 2]
    assert [item.TrackSetLabel for item in ds.TrackSetSequence] == ["Corticospinal tract, left", "Corticospinal tract, right"]
    types = [item.TrackSetAnatomicalTypeCodeSequence[0] for item in ds.TrackSetSequence]
    assert [(one.CodeValue, one.CodingSchemeDesignator) for one in types] == [("1320", "NEU")] * 2
    assert [one.ModifierCodeSequence[0].CodeMeaning for one in types] == ["Left", "Right"]
    assert len({tuple(item.RecommendedDisplayCIELabValue) for item in ds.TrackSetSequence}) == 2
    for item in ds.TrackSetSequence:
        algorithm = item.TrackingAlgorithmIdentificationSequence[0]
        assert (algorithm.AlgorithmName, algorithm.AlgorithmVersion) == ("cst_diffusion", "1")
        assert algorithm.AlgorithmFamilyCodeSequence[0].CodeMeaning == "Deterministic"
        assert item.DiffusionAcquisitionCodeSequence[0].CodeMeaning == "DTI"
        assert item.DiffusionModelCodeSequence[0].CodeMeaning == "Single Tensor"
    assert ds.ContentQualification == "RESEARCH" and "RESEARCH" in ds.SeriesDescription


def test_every_image_of_the_series_is_its_source(scanner, result_study):
    case = result_study.case(scanner)
    (ds,) = made(case)
    series = case.provenance.study.series[1]
    every = [str(one.header.SOPInstanceUID) for one in series.instances]
    assert [item.ReferencedSOPInstanceUID for item in ds.ReferencedInstanceSequence] == every
    (listed,) = ds.ReferencedSeriesSequence
    assert listed.SeriesInstanceUID == series.series_instance_uid and len(listed.ReferencedInstanceSequence) == len(every)


def test_the_same_lines_give_the_same_bytes_and_others_another_object(scanner, result_study):
    case = result_study.case(scanner)
    (first,), (again,) = (track_sets(case.report, case.provenance) for _ in range(2))
    assert encoded(first) == encoded(again)
    (changed,) = track_sets(with_tracks(case, [replace(tracks_of(case)[0], lines=tracks_of(case)[0].lines[:2])]), case.provenance)
    assert changed.SOPInstanceUID != first.SOPInstanceUID and changed.SeriesInstanceUID != first.SeriesInstanceUID


def with_tracks(case, tracks):
    outcomes = tuple(replace(one, tracks=tuple(tracks) if one.tracks else ()) for one in case.report.outcomes)
    return replace(case.report, outcomes=outcomes)


def test_a_side_without_a_line_has_no_set_and_no_line_at_all_makes_no_object(scanner, result_study):
    case = result_study.case(scanner)
    left, right = tracks_of(case)
    none = Track("cst", "dwi", (), right.site, "right")
    (ds,) = track_sets(with_tracks(case, [left, none]), case.provenance)
    assert [item.TrackSetLabel for item in ds.TrackSetSequence] == ["Corticospinal tract, left"]
    assert track_sets(with_tracks(case, [none]), case.provenance) == []


def test_a_series_without_a_frame_of_reference_gets_none(scanner, result_study):
    case = result_study.case(scanner, FrameOfReferenceUID=None)
    assert track_sets(case.report, case.provenance) == []


@pytest.mark.parametrize(("wanted", "numbers"), [
    (False, [9020, 9021, 9030, 9031, 9010, 9011, 9040, 9050]),
    (True, [9020, 9021, 9030, 9031, 9060, 9010, 9011, 9040, 9050]),
])  # fmt: skip
def test_it_is_part_of_the_answer_where_the_site_wants_it(scanner, result_study, wanted, numbers):
    case = result_study.case(scanner)
    provenance = replace(case.provenance, made_at=datetime(2026, 1, 2))
    objects = answer(case.report, case.images, provenance, Settings(results=Results(tractography=wanted)))
    assert list(dict.fromkeys(ds.SeriesNumber for ds in objects)) == numbers
