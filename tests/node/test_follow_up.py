"""What the report says of a change: the pages, the text, the coded report and report.json; and that it reads back as it was."""

from dataclasses import replace
from io import BytesIO

import numpy as np
import pypdfium2
import pytest
from pydicom import dcmread

from node.answer_folder import write
from node.earlier_report import earlier_of
from node.follow_up_words import sentences_of, shown_changes
from node.language import Language
from node.measurement_report import measurement_report
from node.pages import pages
from node.process import answer
from node.provenance import encoded
from node.report_json import report_json
from node.segmentation import segmentations
from node.settings import Settings
from node.text_report import text_report


@pytest.fixture
def case(scanner, result_study):
    return result_study.case(scanner, is_followed=True)


def words_of(pdf: bytes) -> str:
    with pypdfium2.PdfDocument(pdf) as document:
        return " ".join(" ".join(page.get_textpage().get_text_range().replace("\ufffe", "-").split()) for page in document)


def test_the_pages_show_what_changed_both_images_and_the_values_over_time(case):
    said = words_of(pages(case.report, case.provenance, case.images))
    assert "Change since 2025-01-02" in said and "2024-05-03 (13 months before), 2025-01-02 (5 months before)" in said
    assert "CST FA whole tract left 0.637 0.510 -22.2 %" in said and "1 new, 0 grown, 0 shrunk, 0 gone" in said
    assert "CST MD internal capsule left (10⁻³ mm²/s)" in said and "difference new Both images" in said  # the unit, the outline's colour
    assert "scanner, its field strength or the protocol changed" in said
    assert "FLAIR, axial, 2025-01-02" in said and "T1, sagittal, 2025-06-01" in said and "difference" in said
    assert "Over time" in said and "Riluzol" in said and "Tofersen" in said and "2024-05-03" in said


def test_without_earlier_examinations_there_is_no_such_page(case):
    assert "Over time" not in words_of(pages(replace(case.report, follow_up=None), case.provenance, case.images))


def test_the_sentences_tell_what_is_sure_from_what_one_of_many_comparisons_shows(case):
    found = case.report.follow_up
    weak = [replace(one, rci=-2.2, verdict="more than") if one.name == "brain_volume" else replace(one, rci=-0.5, verdict="within")
            for one in found.seen]  # fmt: skip
    first, second, *_ = sentences_of(replace(found, changes=tuple(weak)))
    assert "no followed value changed" in first and "does not exclude progression" in first
    assert "not beyond that of all" in second and "brain volume" in second
    strong = [replace(one, rci=-9.0, verdict="more than") if one.name == "brain_volume" else one for one in weak]
    (first, *_) = sentences_of(replace(found, changes=tuple(strong)))
    assert "changed by more than noise and healthy ageing: brain volume" in first
    assert all("ALS" not in sentence for sentence in sentences_of(found))


def test_the_coded_report_holds_each_change_and_reads_back_as_without_them(case):
    segs = segmentations(case.report, case.provenance, case.images)
    with_changes, without = (measurement_report(report, case.provenance, case.images, segs)
                             for report in (case.report, replace(case.report, follow_up=None)))  # fmt: skip
    assert earlier_of(with_changes).markers == earlier_of(without).markers
    stored = BytesIO()
    with_changes.save_as(stored, enforce_file_format=True)
    stored.seek(0)
    items = list(_items(dcmread(stored)))
    changes = [item for item in items if item.ValueType == "NUM" and item.ConceptNameCodeSequence[0].CodeValue == "CHANGE"]
    assert [float(item.MeasuredValueSequence[0].NumericValue) for item in changes] == pytest.approx(
        [one.change for one in case.report.follow_up.seen])
    quantities = {one.name: one.quantity.code for outcome in case.report.outcomes for one in outcome.measurements}
    for item, one in zip(changes, case.report.follow_up.seen, strict=True):
        ends = [(value.ContentSequence[0].TextValue, float(value.MeasuredValueSequence[0].FloatingPointValue))
                for value in item.ContentSequence if value.ConceptNameCodeSequence[0].CodeValue == quantities[one.name]]  # fmt: skip
        assert ends == [("2025-01-02", one.then), ("2025-06-01", one.now)]
        (site,) = (child for child in item.ContentSequence if child.ConceptNameCodeSequence[0].CodeValue == "363698007")
        assert [child.ConceptCodeSequence[0].CodeMeaning.lower() for child in site.get("ContentSequence", ())] == (
            [one.side] if one.side else [])


def test_every_group_has_the_time_point_of_the_examination_and_no_order(case):
    for report in (case.report, replace(case.report, follow_up=None)):
        ds = _coded(replace(case, report=report))
        assert [_days(group) for group in _groups(ds)] == [["2025-06-01"] * 2] * 7
        assert "126073" not in [item.ConceptNameCodeSequence[0].CodeValue for item in _items(ds) if item.get("ConceptNameCodeSequence")]


def test_without_a_date_there_is_no_time_point(scanner, result_study):
    ds = _coded(result_study.case(scanner, StudyDate=None))
    assert [_days(group) for group in _groups(ds)] == [[]] * 7


def test_the_earlier_report_is_named_with_its_study_and_series(case):
    ds = _coded(case)
    days = [item for item in _items(ds) if item.ValueType == "TEXT" and item.RelationshipType == "CONTAINS"
            and item.ConceptNameCodeSequence[0].CodeValue == "126070"]  # fmt: skip
    assert [item.TextValue for item in days] == ["2024-05-03", "2025-01-02"]
    assert [[child.ValueType for child in item.ContentSequence] for item in days] == [["UIDREF", "COMPOSITE"], ["UIDREF"]]
    report = days[0].ContentSequence[1]
    assert report.ConceptNameCodeSequence[0].CodeValue == "122075"
    (study,) = ds.PertinentOtherEvidenceSequence
    (series,) = study.ReferencedSeriesSequence
    assert (study.StudyInstanceUID, series.SeriesInstanceUID) == ("1.2.840.99.1", "1.2.840.99.1.8")
    assert list(series.ReferencedSOPSequence) == list(report.ReferencedSOPSequence)
    assert series.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == "1.2.840.99.1.9"
    assert {one.StudyInstanceUID for one in ds.CurrentRequestedProcedureEvidenceSequence} == {ds.StudyInstanceUID}
    assert "PertinentOtherEvidenceSequence" not in _coded(replace(case, report=replace(case.report, follow_up=None)))


def _coded(case):
    """The coded report as an archive would give it back."""
    ds = measurement_report(case.report, case.provenance, case.images, segmentations(case.report, case.provenance, case.images))
    return dcmread(BytesIO(encoded(ds)))


def _groups(ds):
    return [item for item in _items(ds) if item.ValueType == "CONTAINER" and item.ConceptNameCodeSequence[0].CodeValue == "125007"]


def _days(item):
    """Time Point and Subject Time Point Identifier right below an item."""
    below = [child for child in item.get("ContentSequence", ()) if child.RelationshipType == "HAS OBS CONTEXT"]
    return [child.TextValue for child in below if child.ConceptNameCodeSequence[0].CodeValue in ("C2348792", "126070")]


def _items(ds):
    for item in ds.get("ContentSequence", ()):
        yield item
        yield from _items(item)


def test_the_text_report_and_report_json_hold_the_same(case):
    lines = [" ".join(item.TextValue.split()) for item in _items(text_report(case.report, case.provenance)) if item.ValueType == "TEXT"]
    assert any(line.startswith("CST FA whole tract left: from 0.637 to 0.510: ") for line in lines)
    found = report_json(case.report, {})["follow_up"]
    assert found["since"] == "2025-01-02" and found["lesions"]["new"] == 1 and len(found["changes"]) == len(case.report.follow_up.seen)
    assert {"marker", "name", "then", "now", "per_year", "reliable_change_index", "verdict", "mark"} <= set(found["changes"][0])


def test_in_german_nothing_stays_english(case, tmp_path):
    provenance = replace(case.provenance, language=Language("de"))
    objects = answer(case.report, case.images, provenance, Settings())
    write(case.report, objects, tmp_path)
    said = words_of(pages(case.report, provenance, case.images))
    assert "T1, axial, 01.06.2025" in said and "03.05.2024" in said
    assert "Veränderung seit 02.01.2025" in said and "Im Verlauf" in said and "Nebeneinander" in said
    assert not any(word in said for word in ("noise", "healthy ageing", "Over time", "Side by side"))


def test_what_is_shown_is_what_a_reader_follows_or_what_changed(case):
    found = case.report.follow_up
    names = {(one.name, one.level) for one in shown_changes(found)}
    assert {("brain_volume", None), ("cst_fa", "whole")} <= names
    unchanged = [one for one in found.seen if one.verdict != "more than" and (one.name, one.level) == ("cst_fa", "plic")]
    assert all((one.name, one.level) not in names for one in unchanged)
    assert np.isfinite([one.rci for one in found.seen]).all()
