"""The coded report: every number comes back, every group can be drawn, and what was not measured is said."""

from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
from skimage.draw import polygon2mask

from analysis.outcome import MEASURED, Accuracy, Finding, Measurement, Outcome
from analysis.report import LIMITS
from node.measurement_report import measurement_report
from node.outline import outline_of, outline_points
from node.planes import planes_of
from node.provenance import encoded
from node.segmentation import segmentations


def made(case, report=None):
    report = report or case.report
    segs = segmentations(report, case.provenance, case.images)
    return measurement_report(report, case.provenance, case.images, segs), segs


def groups(ds):
    root = next(item for item in ds.ContentSequence if code(item) == "126010")
    return [item for item in root.ContentSequence if code(item) == "125007"]


def code(item):
    return item.ConceptNameCodeSequence[0].CodeValue


def children(item, value_type):
    return [one for one in item.get("ContentSequence", ()) if one.ValueType == value_type]


def value(item):
    measured = item.MeasuredValueSequence[0]
    return float(measured.NumericValue), measured.MeasurementUnitsCodeSequence[0].CodeValue


def everything(item):
    for one in item.get("ContentSequence", ()):
        yield one
        yield from everything(one)


@pytest.mark.parametrize("is_enhanced", [False, True], ids=["classic", "enhanced"])
def test_every_number_comes_back(scanner, result_study, is_enhanced):
    from highdicom.sr import srread

    case = result_study.case(scanner, is_enhanced)
    content = srread(BytesIO(encoded(made(case)[0]))).content
    found = set()
    for group in content.get_volumetric_roi_measurement_groups():
        for number in group.get_measurements():
            site = group.finding_sites[0]
            side = site.laterality.meaning.lower() if site.laterality else None
            found.add((number.name.value, side, number.unit.value, round(float(number.value), 9)))
    units = {"ml": "cm3", "10-3.mm2/s": "um2/ms"}
    measured = [one for outcome in case.report.outcomes for one in outcome.measurements]
    assert found == {(one.quantity.code, one.side, units.get(one.unit, one.unit), round(one.value, 9)) for one in measured}


def test_every_number_is_inferred_from_an_outline_and_no_identifier_is_a_viewers_tool(scanner, result_study):
    ds, _ = made(result_study.case(scanner))
    assert len(groups(ds)) == 7
    for group in groups(ds):
        assert len(children(group, "NUM")) >= 1
        for number in children(group, "NUM"):
            outline = children(number, "SCOORD")
            assert len(outline) == 1 and children(outline[0], "IMAGE")
            points = np.reshape(outline[0].GraphicData, (-1, 2))
            assert len(points) >= 6 and len(points) != 5 and (points[0] == points[-1]).all()
        identifiers = [one.TextValue for one in children(group, "TEXT") if code(one) == "112039"]
        assert len(identifiers) == 1 and not any(word in identifiers[0] for word in ("Cornerstone", "cornerstone", "@", "#"))
    first = [children(children(group, "NUM")[0], "SCOORD")[0] for group in groups(ds)]
    frames = [children(one, "IMAGE")[0].ReferencedSOPSequence[0].ReferencedSOPInstanceUID for one in first]
    assert len({(tuple(one.GraphicData), frame) for one, frame in zip(first, frames, strict=True)}) == 7


def test_segment_and_group_share_one_tracking_uid(scanner, result_study):
    ds, segs = made(result_study.case(scanner))
    segments = {item.TrackingUID: (seg.SOPInstanceUID, item.SegmentNumber) for seg in segs for item in seg.SegmentSequence}
    referred = {}
    for group in groups(ds):
        tracking = next(one.UID for one in children(group, "UIDREF") if code(one) == "112040")
        for image in children(group, "IMAGE"):
            sop = image.ReferencedSOPSequence[0]
            referred[tracking] = (sop.ReferencedSOPInstanceUID, sop.ReferencedSegmentNumber)
    assert referred == segments


def test_error_method_and_population_stand_under_the_number_in_its_unit(scanner, result_study):
    ds, _ = made(result_study.case(scanner))
    numbers = [one for group in groups(ds) for one in children(group, "NUM")]
    diffusivity = [one for one in numbers if code(one) == "113202"]
    errors = [value(child) for one in diffusivity for child in children(one, "NUM") if code(child) == "371884006"]
    assert errors == [(0.009, "um2/ms")] * 4
    with_norm = [one for one in numbers if any(code(child) == "121416" for child in children(one, "NUM"))]
    assert len(with_norm) == 4
    standing = {value(child) for one in with_norm for child in children(one, "NUM") if code(child) in ("121416", "121415")}
    assert standing == {(-1.25, "1"), (10.6, "%")}
    said = [child.TextValue for one in numbers for child in children(one, "TEXT") if code(child) == "121405"]
    assert len(said) == len(numbers) and sum(text.startswith("No reference: ") for text in said) == len(numbers) - 4
    anisotropy = next(one for one in numbers if code(one) == "110808")
    assert [child.ConceptCodeSequence[0].CodeMeaning for child in children(anisotropy, "CODE") if code(child) == "121401"] == ["Mean"]


def test_findings_gaps_failures_and_limits_are_stated(scanner, result_study):
    ds, _ = made(result_study.case(scanner))
    findings = [one for one in everything(ds) if one.ValueType == "CODE" and code(one) == "CST-DEGENERATION"]
    assert sorted(one.ConceptCodeSequence[0].CodeMeaning for one in findings) == ["Not done", "Undetermined"]
    texts = [one.TextValue for one in everything(ds) if one.ValueType == "TEXT"]
    assert "CST FA, left, pons: not measured: the field of view ends above it" in texts
    assert "motor band: not measurable: the study has no usable swi series" in texts
    assert "infarct: failed: the step ended with an error" in texts
    assert set(LIMITS) <= set(texts)
    assert (ds.CompletionFlag, ds.CompletionFlagDescription) == ("PARTIAL", "Failed: infarct")
    assert (ds.VerificationFlag, ds.PreliminaryFlag) == ("UNVERIFIED", "PRELIMINARY")


def test_a_site_may_want_final_reports(scanner, result_study):
    case = result_study.case(scanner)
    report = replace(case.report, outcomes=case.report.outcomes[:2])
    ds, _ = made(replace(case, provenance=replace(case.provenance, is_final=True), report=report))
    assert (ds.PreliminaryFlag, ds.CompletionFlag) == ("FINAL", "COMPLETE")


def test_a_number_without_any_mask_is_said_as_text(scanner, result_study):
    case = result_study.case(scanner)
    count = Measurement("lesion_count", 0.0, "1", result_study.VOLUME, result_study.BRAIN, no_reference="no norm")
    known = Accuracy(9, 10, 1, 20, on="computed heads")
    mass = Finding("mass", "absent", result_study.DEGENERATION, result_study.BRAIN, accuracy=known)
    lesions = Outcome("lesions", 1, MEASURED, measurements=(count,), findings=(mass,))
    ds, _ = made(case, replace(case.report, outcomes=(case.report.outcomes[1], lesions)))
    assert "Brain: lesion count 0 (no reference: no norm)" in [one.TextValue for one in everything(ds) if one.ValueType == "TEXT"]
    assert "Absent" in [one.ConceptCodeSequence[0].CodeMeaning for one in everything(ds) if one.ValueType == "CODE"]
    assert known.words in [one.TextValue for one in everything(ds) if one.ValueType == "TEXT"]
    assert made(case, replace(case.report, outcomes=(lesions,)))[0] is None


def test_a_series_without_a_frame_of_reference_keeps_its_outlines(scanner, result_study):
    ds, segs = made(result_study.case(scanner, FrameOfReferenceUID=None))
    assert segs == [] and len(groups(ds)) == 7
    assert all(any(code(one) == "111030" for one in children(group, "SCOORD")) for group in groups(ds))


def test_the_same_report_gives_the_same_bytes(scanner, result_study):
    case = result_study.case(scanner)
    assert encoded(made(case)[0]) == encoded(made(case)[0])
    later = replace(case, provenance=replace(case.provenance, made_at=case.provenance.made_at.replace(year=2027)))
    assert made(later)[0].SOPInstanceUID != made(case)[0].SOPInstanceUID


@pytest.mark.parametrize("shape", ["dot", "bar", "disc", "two parts", "at the edge"])
def test_an_outline_holds_the_centres_of_the_voxels_and_no_others(shape):
    rows, columns = np.mgrid[:20, :24]
    mask = {
        "dot": (rows == 7) & (columns == 9),
        "bar": (rows == 7) & (columns > 3) & (columns < 11),
        "disc": (rows - 9) ** 2 + (columns - 11) ** 2 < 50,
        "two parts": ((rows - 9) ** 2 + (columns - 6) ** 2 < 20) | ((rows == 1) & (columns == 20)),
        "at the edge": (rows < 5) & (columns > 18),
    }[shape]
    points = outline_points(mask)
    assert len(points) >= 7 and (points[0] == points[-1]).all()
    assert points.min() >= 0 and (points.max(axis=0) <= (24, 20)).all()
    inside = polygon2mask((20, 24), points[:, ::-1] - 0.5)
    expected = mask & ~((rows == 1) & (columns == 20)) if shape == "two parts" else mask
    assert (inside == expected).all()


def test_two_groups_on_one_mask_get_two_outlines(scanner, result_study):
    case = result_study.case(scanner)
    mask = case.report.outcomes[0].masks[0]
    planes = planes_of(case.report, case.provenance, case.images)["t1"]
    first = outline_of(mask.array, planes)
    second = outline_of(mask.array, planes, [first])
    assert first.place.slice_index != second.place.slice_index
    only = result_study.block(mask.array.shape, (4, 5), (4, 9), (3, 9))
    assert outline_of(only, planes, [outline_of(only, planes)]).is_same(outline_of(only, planes))


def test_a_number_stands_between_the_limits_of_its_population(scanner, result_study):
    case = result_study.case(scanner)
    number = next(item for group in groups(made(case)[0]) for item in children(group, "NUM")
                  if any(code(one) == "121416" for one in everything(item)))  # fmt: skip
    said = {code(one): value(one) for one in children(number, "NUM")}
    adults = result_study.ADULTS
    assert said["121416"] == (adults.z, "1") and said["121415"] == (adults.percentile, "%")
    assert said["373098007"] == (adults.mean, "1") and said["121414"] == (adults.sd, "1")
    assert said["385524004"] == (adults.low, "1") and said["371933006"] == (adults.high, "1")
    texts = {code(one): one.TextValue for one in children(number, "TEXT")}
    assert texts["121405"] == "Adults, 3 T; n = 120; the percentile lies between 4 and 22 with a probability of 95 %"
    assert texts["121406"] == texts["121408"] == adults.source


def test_a_new_answer_names_the_one_that_it_replaces(scanner, result_study):
    case = result_study.case(scanner)
    first, _ = made(case)
    assert "PredecessorDocumentsSequence" not in first
    again = replace(case, provenance=replace(case.provenance, earlier=(first,)))
    second, _ = made(again)
    (study,) = second.PredecessorDocumentsSequence
    (series,) = study.ReferencedSeriesSequence
    assert series.SeriesInstanceUID == first.SeriesInstanceUID
    assert series.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == first.SOPInstanceUID != second.SOPInstanceUID
