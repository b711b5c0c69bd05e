"""The pages: every marker, value and limit, in any language, for any name; the same input gives the same bytes; nothing off the paper."""

from dataclasses import replace
from io import BytesIO

import numpy as np
import pypdfium2
import pytest
from pydicom import dcmread
from pydicom.uid import EncapsulatedPDFStorage, SecondaryCaptureImageStorage

from analysis import concepts
from analysis.outcome import MEASURED, Finding, Measurement, Outcome, Profile
from analysis.report import LIMITS
from analysis.sentence import title_of
from node import paper, wording
from node.encapsulated_pdf import encapsulated_pdf, patient_pdf
from node.language import Language
from node.pages import pages
from node.patient_page import patient_page
from node.provenance import encoded
from node.secondary_capture import pixels_of, secondary_captures


@pytest.fixture
def case(scanner, result_study):
    return result_study.case(scanner)


def texts(pdf):
    """The text of each page, spaces and lines as single spaces."""
    with pypdfium2.PdfDocument(pdf) as document:
        return [" ".join(page.get_textpage().get_text_range().replace("\ufffe", "-").split()) for page in document]


def made(case, **changes):
    return pages(replace(case.report, **changes), case.provenance, case.images)


def test_every_marker_value_reason_and_limit_is_there(case):
    pdf = texts(made(case))
    whole = " ".join(pdf)
    for outcome in case.report.outcomes:
        assert title_of(outcome.marker) in whole and (outcome.reason or "") in whole
        for one in outcome.measurements:
            value, _, error = wording.number_words(one).partition(" ± ")
            assert value in whole and f"± {error}" in whole
    assert all(limit in pdf[0] for limit in LIMITS)
    assert case.report.summary[0] in pdf[0] and "11 (4–22)" in whole and "no reference" in whole


def test_every_page_says_whose_it_is_which_it_is_and_that_it_is_research(case):
    pdf = texts(made(case))
    assert len(pdf) >= 4
    for number, page in enumerate(pdf, start=1):
        assert "Prüfung, Jörg" in page and "ID P-1" in page and f"Page {number} of {len(pdf)}" in page
        assert "Research result, not for diagnostic use on its own; not verified by a physician" in page


def test_the_protocol_says_what_came_and_what_was_missing(case):
    first = " ".join(texts(made(case))[:2])
    assert "◐ limited: T1 tilted; voxels of up to 2.0 mm" in first and "3D FLAIR" in first and "○ missing" in first
    assert "◐ limited: DWI; only three directions" in first


def test_what_was_not_measured_has_no_page_of_its_own_but_its_reason(case):
    pdf = texts(made(case))
    assert not any(page.split("born")[0].endswith("Motor band sign") for page in pdf)
    assert "the study has no usable swi series" in " ".join(pdf[:2]) and "failed: the step ended with an error" in " ".join(pdf)


def test_of_many_levels_the_first_page_has_the_first_quantity_and_the_page_of_the_marker_all(case):
    levels = [f"C{number}" for number in range(1, 8)]
    cord = Outcome("cervical_cord", 1, MEASURED, measurements=tuple(
        Measurement(name, 7.0, "mm", concepts.DEPTH, concepts.CERVICAL_CORD, level=level, uncertainty=0.2, no_reference="no norm")
        for name in ("cord_area", "cord_ap_diameter") for level in levels),
        findings=(Finding("cord_atrophy", "absent", concepts.CORD_ATROPHY, concepts.CERVICAL_CORD),))  # fmt: skip
    first, *others = texts(made(case, outcomes=(cord,)))
    assert all(f"Cord area, {level}" in text for level in levels for text in (first, " ".join(others)))
    assert "diameter" not in first and all(f"Cord AP diameter, {level}" in " ".join(others) for level in levels)


def test_a_study_that_was_not_analysed_says_so_and_why(case):
    pdf = texts(made(case, outcomes=(), summary=(), not_analysed="no series has a role that a marker needs"))
    assert "Not analysed: no series has a role that a marker needs" in pdf[0] and all(limit in pdf[0] for limit in LIMITS)


def test_german_numbers_have_a_comma_and_umlauts_are_letters(case):
    german = replace(case, provenance=replace(case.provenance, language=Language("de")))
    pdf = texts(made(german))
    assert "0,523" in " ".join(pdf) and "Prüfung, Jörg" in pdf[0] and f"{len(pdf)}" in pdf[0]


@pytest.mark.parametrize(("name", "charset", "shown"), [
    ("Yamada^Tarou=山田^太郎=やまだ^たろう", "ISO_IR 192", "Yamada, Tarou"), ("Люксембург^Роза", "ISO_IR 192", "Люксембург, Роза"),
    ("Müßig^Ägidius^von", "ISO_IR 100", "Müßig, Ägidius von"), ("=山田^太郎", "ISO_IR 192", "letters that this page cannot show"),
    ("כהן^שרה", "ISO_IR 192", "letters that this page cannot show"), ("O'Brien & <Sons>^Ann", "ISO_IR 192", "O'Brien & <Sons>, Ann"),
    ("", "ISO_IR 192", "born 1960-01-01"), ("Very" * 16 + "^Long" * 4, "ISO_IR 192", "VeryVeryVery"),
])  # fmt: skip
def test_any_name_is_shown_or_said_to_be_beyond_the_letters(scanner, result_study, name, charset, shown):
    case = result_study.case(scanner, PatientName=name, SpecificCharacterSet=charset, ReferringPhysicianName="")
    assert shown in texts(made(case))[0]


def test_the_same_input_gives_the_same_bytes(scanner, result_study):
    first, again = (result_study.case(scanner) for _ in range(2))
    assert made(first) == made(again)
    pdf = made(first)
    for one, other in zip(objects(first, pdf), objects(again, pdf), strict=True):
        assert encoded(one) == encoded(other)


def objects(case, pdf):
    return [encapsulated_pdf(pdf, case.report, case.provenance), *secondary_captures(pdf, case.report, case.provenance)]


@pytest.mark.parametrize("language", ["en", "de"])
def test_nothing_is_drawn_off_the_paper(scanner, result_study, language):
    case = result_study.case(scanner, StudyDescription="W" * 64, PatientID="M" * 64, AccessionNumber="W" * 16)
    case = replace(case, provenance=replace(case.provenance, language=Language(language), institution="Klinik " * 9))
    report = case.report
    notes = tuple(replace(note, description="W" * 64, why="reason" * 20) for note in report.series)
    pdf = made(case, series=notes, summary=("A sentence that is long. " * 40,) * 6)
    with pypdfium2.PdfDocument(pdf) as document:
        for page in document:
            text = page.get_textpage()
            boxes = np.array([text.get_charbox(index) for index in range(text.count_chars())])
            boxes = boxes[(boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])]
            assert boxes[:, 0].min() >= paper.MARGIN - 2 and boxes[:, 2].max() <= paper.WIDTH - paper.MARGIN + 2
            assert boxes[:, 1].min() >= 15 and boxes[:, 3].max() <= paper.HEIGHT - 15
    for pixels in pixels_of(pdf):
        edge = round(10 * pixels.shape[1] / paper.WIDTH)
        assert (pixels[:edge] == 255).all() and (pixels[-edge:] == 255).all()
        assert (pixels[:, :edge] == 255).all() and (pixels[:, -edge:] == 255).all()


def test_the_profile_says_whether_there_is_a_band_and_draws_it(case):
    values = tuple(0.4 + 0.001 * node for node in range(100))
    bare = Profile("cst_fa", "left", values, "1")
    band = replace(bare, low=tuple(v - 0.05 for v in values), high=tuple(v + 0.05 for v in values), population="The site's controls")
    tracts = case.report.outcomes[1]
    without, within = (made(case, outcomes=(replace(tracts, profiles=(one,)),)) for one in (bare, band))
    assert "No band of healthy people is drawn" in " ".join(texts(without))
    assert "Grey band: 5th to 95th percentile of The site's controls." in " ".join(texts(within))
    grey = [sum((page == (0xDF, 0xE5, 0xEA)).all(axis=2).sum() for page in pixels_of(pdf)) for pdf in (without, within)]
    assert grey[0] == 0 and grey[1] > 1000


def test_the_pdf_is_a_dicom_document_of_the_study(case):
    pdf = made(case)
    ds = dcmread(BytesIO(encoded(encapsulated_pdf(pdf, case.report, case.provenance))))
    assert (ds.SOPClassUID, ds.SeriesNumber, ds.Modality, ds.ConversionType) == (EncapsulatedPDFStorage, 9050, "DOC", "WSD")
    assert (ds.BurnedInAnnotation, ds.MIMETypeOfEncapsulatedDocument, ds.VerificationFlag) == ("YES", "application/pdf", "UNVERIFIED")
    assert ds.EncapsulatedDocument[: ds.EncapsulatedDocumentLength] == pdf and len(ds.EncapsulatedDocument) % 2 == 0
    assert ds.StudyInstanceUID == case.report.study_instance_uid and str(ds.PatientName) == "Prüfung^Jörg"
    used = {series.header.SOPInstanceUID for series in case.provenance.study.series}
    assert {one.ReferencedSOPInstanceUID for one in ds.SourceInstanceSequence} <= used


def test_the_pictures_are_one_series_with_an_instance_for_each_page(case):
    pdf = made(case)
    made_of = secondary_captures(pdf, case.report, case.provenance)
    assert [ds.InstanceNumber for ds in made_of] == list(range(1, len(texts(pdf)) + 1))
    assert len({ds.SeriesInstanceUID for ds in made_of}) == 1 and len({ds.SOPInstanceUID for ds in made_of}) == len(made_of)
    for ds, pixels in zip(made_of, pixels_of(pdf), strict=True):
        read = dcmread(BytesIO(encoded(ds)))
        assert (read.SOPClassUID, read.SeriesNumber, read.ConversionType) == (SecondaryCaptureImageStorage, 9040, "WSD")
        assert (read.BurnedInAnnotation, read.PhotometricInterpretation, read.BodyPartExamined) == ("YES", "RGB", "BRAIN")
        assert np.array_equal(read.pixel_array, pixels) and 0.001 < (pixels < 128).mean() < 0.9


def test_another_content_is_another_series(case):
    one, other = (secondary_captures(made(case, summary=(text,)), case.report, case.provenance) for text in ("Yes.", "No."))
    assert one[0].SeriesInstanceUID != other[0].SeriesInstanceUID


def test_the_page_for_the_patient_names_no_number_no_finding_and_no_disease(case):
    pdf = patient_page(case.report, case.provenance)
    (page,) = texts(pdf)
    for words in ("ALS", "0.52", "1234", "percentile", "degeneration", "indeterminate", "atrophy"):
        assert words not in page.replace("not for diagnostic use on its own", "")
    assert "the nerve fibres that lead from the brain towards the spinal cord" in page and "the size of the brain" in page
    assert "No MRI alone can say which illness a person has." in page and "From your doctor" in page and "Prüfung, Jörg" in page
    ds = patient_pdf(pdf, case.report, case.provenance)
    assert ds.SeriesNumber == 9051 and ds.SOPClassUID == EncapsulatedPDFStorage


def test_the_page_for_the_patient_says_when_nothing_was_measured(case):
    (page,) = texts(patient_page(replace(case.report, outcomes=()), case.provenance))
    assert "The computer could not measure these pictures. That says nothing about your health." in page
