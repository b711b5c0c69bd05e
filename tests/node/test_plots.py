"""A plot on the page of its marker: every curve, its key, the axis as the field reads it, nothing off the paper."""

from dataclasses import replace
from io import BytesIO

import numpy as np
import pypdfium2
import pytest

from analysis.outcome import Curve, Plot
from node.language import Language
from node.pages import pages

PPM = np.linspace(0.5, 4.1, 1200)


def a_spectrum(**changes):
    """Three lines on a hill, with noise: what a spectrum looks like."""
    lines = [(2.01, 1.0), (3.03, 0.6), (3.21, 0.3)]
    baseline = 0.3 * np.exp(-((PPM - 1.5) ** 2))
    fit = baseline + sum(height * 0.0016 / ((PPM - place) ** 2 + 0.0016) for place, height in lines)
    residual = np.random.default_rng(0).normal(0, 0.02, len(PPM))
    curves = (Curve("data", fit + residual), Curve("fit", fit), Curve("baseline", baseline), Curve("residual", residual))
    return replace(Plot("spectrum", PPM, "[ppm]", "[arb'U]", curves, side="left", level="short_te"), **changes)


def a_motion():
    time_s = np.arange(0, 400, 2.0)
    return Plot("motion", time_s, "s", "mm", (Curve("displacement", 0.2 + 0.1 * np.sin(time_s / 30)),), bands=((20, 40), (60, 80)))


@pytest.fixture
def case(scanner, result_study):
    return result_study.case(scanner)


def drawn(case, plots, language="en"):
    """The PDF with one marker that has those plots."""
    outcome = replace(case.report.outcomes[1], plots=plots)
    provenance = replace(case.provenance, language=Language(language))
    return pages(replace(case.report, outcomes=(outcome,)), provenance, case.images)


def words_and_places(pdf):
    """Every text run of the page of the marker: (text, left, bottom)."""
    found = []
    with pypdfium2.PdfDocument(BytesIO(pdf)) as document:
        page = document[1]
        text = page.get_textpage()
        for index in range(text.count_rects()):
            left, bottom, right, top = text.get_rect(index)
            found.append((text.get_text_bounded(left, bottom, right, top), left, bottom, right, top))
        size = page.get_size()
    return found, size


def test_the_axis_of_a_spectrum_runs_from_right_to_left_and_the_lines_have_their_names(case):
    found, _ = words_and_places(drawn(case, (a_spectrum(),)))
    place = {text.strip(): left for text, left, *_ in found}
    assert place["4.0"] < place["3.0"] < place["2.0"] < place["1.0"]
    assert place["mI"] < place["Cho"] < place["Cr"] < place["NAA"]
    whole = " ".join(place)
    assert "Spectrum of the voxel" in whole and "chemical shift (ppm)" in whole and "measured less fit" in whole


def test_time_runs_from_left_to_right_and_a_scale_with_a_unit_has_numbers(case):
    found, _ = words_and_places(drawn(case, (a_motion(),)))
    place = {text.strip(): left for text, left, *_ in found}
    assert place["100"] < place["200"] < place["300"] and "0.20" in place


@pytest.mark.parametrize("language", ["en", "de"])
def test_nothing_is_off_the_paper_and_two_plots_stand_beside_each_other(case, language):
    found, (width, height) = words_and_places(drawn(case, (a_spectrum(), a_spectrum(side="right"), a_motion()), language))
    for text, left, bottom, right, top in found:
        assert left >= 0 and right <= width and bottom >= 0 and top <= height, text
    naa = [(left, bottom) for text, left, bottom, *_ in found if text.strip() == "NAA"]
    assert len(naa) == 2 and naa[0][1] == pytest.approx(naa[1][1], abs=1) and abs(naa[0][0] - naa[1][0]) > 200


def test_the_same_plot_gives_the_same_bytes(case):
    assert drawn(case, (a_spectrum(),)) == drawn(case, (a_spectrum(),))
