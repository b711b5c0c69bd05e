"""The combined statement: every weight has a source, nothing counts twice, and little is called little."""

from __future__ import annotations

import math
import re

import pytest

from analysis import concepts
from analysis.marker import markers
from analysis.outcome import MEASURED, NOT_MEASURABLE, Accuracy, Finding, Measurement, Outcome, Reference
from analysis.summary import summary_of
from analysis.support import ANISOTROPY_AREA, WEIGHTS, Ratio, line_words, ratio_of_shares, shifted, strength, support_of
from analysis.words import say

MARKER = {weight.finding: weight.marker for weight in WEIGHTS}


def found(name, *values, reason=None, z=None):
    """The outcome of a marker whose finding has these values, left first."""
    sides = ("left", "right") if len(values) == 2 else (None,)
    given = [Finding(name, value, concepts.MOTOR_BAND_SIGN, concepts.PRECENTRAL_GYRUS, side,
                     reason=reason or ("too little of it was seen" if value in ("indeterminate", "not assessed") else None))
             for side, value in zip(sides, values, strict=True)]  # fmt: skip
    numbers = () if z is None else tuple(anisotropy(side, z) for side in ("left", "right"))
    return Outcome(MARKER[name], 1, MEASURED, measurements=numbers, findings=tuple(given))


def anisotropy(side, z):
    place = Reference("own controls", 30, z, 1.0, 0.1, 5.0, 0.5, 0.03, 0.45, 0.55, "own")
    what = concepts.FRACTIONAL_ANISOTROPY, concepts.CORTICOSPINAL_TRACT
    return Measurement("cst_fa", 0.5 + 0.03 * z, "1", *what, side, "whole", reference=place)


def missing(name, reason="the study has no such series"):
    return Outcome(MARKER[name], 1, NOT_MEASURABLE, reason)


def test_every_weight_belongs_to_a_marker_and_has_a_source():
    known = {(marker.name, finding) for marker in markers() for finding in marker.findings}
    for weight in WEIGHTS:
        assert (weight.marker, weight.finding) in known
        if weight.present or weight.absent:
            assert weight.source and weight.against


def test_the_ratio_of_the_motor_band_is_the_published_one():
    ratio = ratio_of_shares(68, 114, 7, 79)
    assert ratio.value == pytest.approx(0.596 / (1 - 0.911), rel=0.01)
    assert (ratio.low, ratio.high) == (pytest.approx(3.26, abs=0.02), pytest.approx(13.9, abs=0.1))
    assert ratio.inverse().low == pytest.approx(1 / ratio.high)


@pytest.mark.parametrize("z", [-4.0, -2.5, -1.0, 0.0, 2.0])
def test_an_anisotropy_weighs_by_its_place(z):
    ratio = shifted(z, ANISOTROPY_AREA)
    assert ratio.low <= ratio.value <= ratio.high
    assert ratio.value == pytest.approx(math.exp(-0.954 * max(z, -2.5) - 0.954**2 / 2), rel=0.01)
    assert (ratio.value > 1) == (z < -0.48)


def test_the_shift_gives_back_its_area_under_the_curve():
    """The ratio, averaged over the healthy, is 1; it is that of two densities."""
    step = 0.001
    healthy = [math.exp(-z * z / 2) / math.sqrt(2 * math.pi) for z in (i * step for i in range(-2500, 2500))]
    ill = [shifted(i * step, ANISOTROPY_AREA).value * density for i, density in zip(range(-2500, 2500), healthy, strict=True)]
    below, area = 0.0, 0.0
    for mine, other in zip(ill, healthy, strict=True):
        area += other * step * (below + mine * step / 2)
        below += mine * step
    assert area / (sum(healthy) * step * below) == pytest.approx(0.75, abs=0.02)


def test_findings_of_one_structure_do_not_count_twice():
    two = [found("motor_band_sign", "present", "absent"), found("cst_hyperintensity", "present", "present")]
    alone = support_of(two)
    third, fourth = found("motor_cortex_atrophy", "present", "present"), found("cst_degeneration", "present", "present", z=-0.7)
    more = support_of([*two, third, fourth])
    assert alone.together == more.together == (pytest.approx(6.73, abs=0.01), pytest.approx(6.73 * math.sqrt(2.21), abs=0.02))


def test_the_range_is_from_the_heaviest_alone_to_the_product():
    both = support_of([found("motor_band_sign", "present", "present"), found("cst_degeneration", "present", "present", z=-2.0)])
    low, high = both.together
    assert low == pytest.approx(6.73, abs=0.01) and high == pytest.approx(low * shifted(-2.0, ANISOTROPY_AREA).value)
    against = support_of([found("motor_band_sign", "absent", "absent"), found("cst_hyperintensity", "present", "absent")])
    assert against.together[1] < 1 and "at least as much" in " ".join(against.sentences)


def test_with_few_findings_it_says_so():
    said = support_of([found("motor_band_sign", "present", "absent"), missing("cst_hyperintensity")])
    assert said.together is None
    assert said.sentences[0] == (
        "Findings that support involvement of the upper motor neuron (1 of 1 assessed): motor band sign on the left (moderate: likelihood "
        "ratio 6.7, 3.3 to 13.9, against diseases that look like ALS)."
    )
    assert said.sentences[-1] == "Only 1 of 5 such findings could be assessed, so this rests on little."


def test_nothing_found_does_not_exclude():
    said = support_of([found(name, "absent", "absent") for name in MARKER if name != "brainstem_atrophy"])
    assert "does not exclude ALS" in said.sentences[0] and said.together is None and len(said.sentences) == 1


def test_what_has_no_published_weight_has_no_number():
    said = support_of([found("motor_cortex_atrophy", "present", "absent")])
    assert "no published weight" in said.sentences[0] and "likelihood" not in " ".join(said.sentences)


def test_nothing_assessed_is_said():
    assert "could be assessed" in support_of([missing(name) for name in MARKER]).sentences[0]
    assert all(line.verdict == "not assessed" and line.reason for line in support_of([]).lines)


@pytest.mark.parametrize(("value", "word"), [(1.5, "marginal"), (3.0, "weak"), (6.7, "moderate"), (11.0, "strong")])
def test_sizes_have_the_usual_words(value, word):
    assert strength(value) == word


@pytest.mark.parametrize("values", [("present", "absent"), ("indeterminate", "present"), ("absent", "absent"), ("not assessed", "absent"),
                                    ("indeterminate", "absent")])  # fmt: skip
def test_the_summary_is_short_and_speaks_of_every_finding(values):
    outcomes = [found(name, *values) for name in MARKER if name != "motor_band_sign"]
    outcomes.append(missing("motor_band_sign", "the study has no susceptibility series"))
    said = summary_of(outcomes, support_of(outcomes))
    assert 3 <= len(said) <= 6
    text = " ".join(said)
    assert all(weight.title in text for weight in WEIGHTS)
    assert "no susceptibility series" in text and "compression of the cervical cord" in text
    assert not re.search(r"probab|diagnos|\d+ ?% (likely|chance)", text)


def test_mimics_are_said_to_be_seen_or_left_to_the_reader():
    lesions = Outcome("white_matter_lesions", 1, MEASURED, findings=(
        Finding("ms_like_pattern", "present", concepts.MOTOR_BAND_SIGN, concepts.BRAIN),
        Finding("acute_infarct", "absent", concepts.MOTOR_BAND_SIGN, concepts.BRAIN),
        Finding("mass_effect", "absent", concepts.MASS_EFFECT, concepts.BRAIN),
        Finding("abnormal_enhancement", "indeterminate", concepts.ABNORMAL_ENHANCEMENT, concepts.BRAIN, reason="a vessel is near")))
    said = summary_of([lesions], support_of([lesions]))[0]
    assert said == (
        "Other causes: flagged: lesions like those of multiple sclerosis; unclear: signs of a tumour; not flagged, which does not exclude "
        "them: acute infarct; not assessed, to be excluded by reading the images: compression of the cervical cord, bright signal in the "
        "cervical cord, old infarct."
    )  # fmt: skip


def test_what_did_not_come_is_said_in_its_own_words():
    problems = (say("The study was analysed before all of it had come: {what}.", what="no FLAIR"), say("A file was left out."))
    assert summary_of([], support_of([]), problems)[-1] == problems[0]
    assert not any("come" in said for said in summary_of([], support_of([])))


def test_a_ratio_that_says_nothing_has_no_weight():
    assert Ratio(1.0, 0.5, 2.0).weight == 0.0 and Ratio(0.5, 0.4, 0.6).weight == Ratio(2.0, 1.0, 3.0).weight


def test_a_line_says_the_figure_with_its_source_or_why_there_is_none():
    said = support_of([found("motor_band_sign", "present", "absent"), found("motor_cortex_atrophy", "absent", "absent"),
                       missing("cst_hyperintensity")])  # fmt: skip
    band, atrophy, bright, *_ = map(line_words, said.lines)
    figure = "likelihood ratio 6.73 (3.27 to 13.87) against diseases that look like ALS; source: 10.1002/acn3.52066"
    assert band == f"motor band sign on the left: present; {figure}"
    assert atrophy == "atrophy of the motor cortex: absent; no likelihood ratio was published"
    assert bright == "hyperintensity of the corticospinal tract: not assessed (the study has no such series)"


def test_what_screens_for_another_disease_says_how_it_was_tested():
    known = Accuracy(9, 10, 1, 20, on="computed heads")
    assert known.words == "tested on computed heads: found in 9 of 10 that had it and in 1 of 20 that had not"
    for wrong in ((11, 10, 0, 20), (1, 10, 21, 20)):
        with pytest.raises(ValueError, match="cannot have been found"):
            Accuracy(*wrong, on="computed heads")
