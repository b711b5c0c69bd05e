"""When a difference of two examinations is a change, and when it is not compared at all."""

import math
from dataclasses import replace

import numpy as np
import pytest

from analysis import concepts
from analysis.change import ELSEWHERE, NOT_FOLLOWED, UNKNOWN_SCANNER, Change, NotCompared, changes, same_acquisition
from analysis.earlier import Acquisition, Earlier, EarlierMarker, EarlierMeasurement
from analysis.examination import Patient
from analysis.marker import markers
from analysis.outcome import MEASURED, NOT_MEASURABLE, Measurement, Outcome
from analysis.retest import RETEST
from analysis.steps.lesion_change import LesionChange, LesionChanges
from analysis.steps.volume_change import VolumeChange

NO_REFERENCE = "none"


def measured(marker: str, *values: tuple, version: int = 1) -> Outcome:
    made = tuple(
        Measurement(name, value, unit, concepts.VOLUME, concepts.BRAIN, side, level, uncertainty, no_reference=NO_REFERENCE)
        for name, value, unit, side, level, uncertainty in values
    )
    return Outcome(marker, version, MEASURED, measurements=made)


def cord(area_mm2: float, version: int = 1) -> Outcome:
    return measured("cervical_cord", ("cord_area", area_mm2, "mm2", None, "C2", 3.0), version=version)


def pons(volume_ml: float, version: int = 2) -> Outcome:
    return measured("brainstem", ("pons_volume", volume_ml, "ml", None, None, 0.7), version=version)


def only(found) -> Change:
    (one,) = found
    assert isinstance(one, Change)
    return one


def test_the_index_is_what_ageing_leaves_over_the_error_of_a_difference():
    one = only(changes([cord(70.0)], [cord(62.0)], 2.0, is_same_scanner={"cervical_cord": True}))
    spread = RETEST["cord_area", "C2"].share * 66.0
    assert one.change == pytest.approx(-8.0) and one.per_year == pytest.approx(-4.0) and one.mark is None
    assert one.error == pytest.approx(math.sqrt(2) * spread)
    assert one.ageing == pytest.approx(-0.0034 * 66.0 * 2.0)
    assert one.rci == pytest.approx((-8.0 - one.ageing) / one.error)
    assert one.smallest == pytest.approx(1.96 * one.error) and one.verdict == "more than"
    assert one.percent == pytest.approx(-200 * 8 / 132)


@pytest.mark.parametrize(("now", "years", "verdict"), [
    (70.0, 0.5, "below"),  # 0.9 mm² are looked for, 4.6 mm² can be shown
    (69.0, 4.0, "within"),  # 7.2 mm² are looked for
    (60.0, 0.5, "more than"),
    (78.0, 4.0, "more than"),
])  # fmt: skip
def test_the_three_words(now, years, verdict):
    assert only(changes([cord(70.0)], [cord(now)], years)).verdict == verdict


def test_exchange_of_the_times_changes_the_sign_of_the_change_alone():
    there, back = (only(changes([pons(a)], [pons(b)], 1.0)) for a, b in ((15.0, 14.0), (14.0, 15.0)))
    assert there.change == -back.change and there.error == back.error and there.rci == pytest.approx(-back.rci)


def test_another_version_is_not_compared_but_by_its_images():
    (one,) = changes([cord(70.0, version=1)], [cord(62.0, version=2)], 1.0)
    assert isinstance(one, NotCompared) and "version 1" in one.reason and "version 2" in one.reason and one.level == "C2"
    image = VolumeChange("pons_volume", None, -2.0, 14.0)
    assert only(changes([pons(15.0, version=1)], [pons(14.0, version=2)], 1.0, volumes=[image])).change < 0


def test_the_images_stand_before_the_difference_of_two_numbers():
    image = VolumeChange("pons_volume", None, -2.0, 14.0)
    one = only(changes([pons(13.0)], [pons(14.0)], 1.0, volumes=[image]))
    assert one.percent == pytest.approx(-2.0) and one.now == 14.0 and one.then == pytest.approx(14.0 * 1.01 / 0.99)
    assert "both images" in one.method
    assert one.error < only(changes([pons(13.0)], [pons(14.0)], 1.0)).error


def test_another_scanner_is_compared_and_said():
    pair = [pons(15.0)], [pons(14.0)], 1.0
    assert only(changes(*pair, is_same_scanner={"brainstem": False})).mark == ELSEWHERE
    assert only(changes(*pair)).mark == UNKNOWN_SCANNER
    one = only(changes(*pair, is_same_scanner={"brainstem": False}))
    assert ELSEWHERE in one.sentence and one.verdict_words in one.sentence


def test_what_one_examination_lacks_is_said_with_its_reason():
    lacking = Outcome("brainstem", 2, NOT_MEASURABLE, "the head is cut")
    for pair in (([lacking], [pons(14.0)]), ([pons(14.0)], [lacking])):
        (one,) = changes(*pair, 1.0)
        assert isinstance(one, NotCompared) and "the head is cut" in one.reason
    (one,) = changes([], [pons(14.0)], 1.0)
    assert isinstance(one, NotCompared) and "earlier report" in one.reason and one.name is None
    (one,) = changes([measured("brainstem", ("midbrain_volume", 7.0, "ml", None, None, 1.0), version=2)], [pons(14.0)], 1.0)
    assert one == NotCompared("brainstem", one.reason, "pons_volume") and "no value" in one.reason


def test_the_worst_place_at_another_height_is_not_said_to_have_been_missing():
    def flat(level: str) -> Outcome:
        return measured("cord_compression", ("cord_compression_ratio", 12.0, "%", None, level, 4.0))

    assert only(changes([flat("C5/C6")], [flat("C5/C6")], 1.0)).change == 0.0
    (one,) = changes([flat("C5/C6")], [flat("C2/C3")], 1.0)
    assert isinstance(one, NotCompared) and "another place, C5/C6" in one.reason and one.level == "C2/C3"


def test_an_earlier_report_is_compared_as_its_outcomes_would_be():
    then = pons(15.0).measurements[0]
    value = EarlierMeasurement("pons_volume", then.value, then.unit, uncertainty=then.uncertainty)
    report = Earlier("1.2.3", "2025-05-03", 365, markers={"brainstem": EarlierMarker(2, (value,))})
    assert changes(report, [pons(14.0)], 1.0) == changes([pons(15.0)], [pons(14.0)], 1.0)
    (other,) = changes(replace(report, markers={"brainstem": EarlierMarker(1, (value,))}), [pons(14.0)], 1.0)
    assert isinstance(other, NotCompared) and "version 1" in other.reason
    (missing,) = changes(replace(report, markers={}), [pons(14.0)], 1.0)
    assert isinstance(missing, NotCompared)


def test_a_marker_stands_on_the_same_scanner_where_all_that_it_needs_does():
    old, new, other = Acquisition("A 3 T", "MPRAGE"), Acquisition("A 3 T", "MPRAGE"), Acquisition("B 3 T", "MPRAGE")
    assert same_acquisition({"t1": old}, {"t1": new})["brainstem"] is True
    assert same_acquisition({"t1": old}, {"t1": other})["brainstem"] is False
    both = same_acquisition({"t1": old, "flair": old}, {"t1": new, "flair": other})
    assert both["brainstem"] is True and both["cst_flair"] is False
    assert same_acquisition({"t1": old}, {"t1": Acquisition("A 3 T", "")})["brainstem"] is None
    assert same_acquisition({}, {"t1": new})["brainstem"] is None


def test_without_a_known_spread_the_stated_errors_are_used_and_without_those_nothing():
    one = only(changes([pons(14.0)], [pons(14.1)], 1.0))
    assert one.error == pytest.approx(math.sqrt(2) * 0.7) and "stated errors" in one.retest
    bare = [measured("mass", ("midline_shift", value, "mm", None, None, None)) for value in (1.0, 1.5)]
    (nothing,) = changes(bare[:1], bare[1:], 1.0)
    assert isinstance(nothing, NotCompared)


def test_a_rate_needs_an_interval_and_time_goes_forwards():
    assert only(changes([pons(14.0)], [pons(14.1)], 0.05)).per_year is None
    for years in (0.0, -1.0, float("nan")):
        with pytest.raises(ValueError, match="earlier one"):
            changes([pons(14.0)], [pons(14.1)], years)


def test_the_brain_of_the_old_is_expected_to_lose_more():
    pair = [[measured("brain_volumes", ("brain_volume", value, "ml", None, None, 20.0))] for value in (1100.0, 1090.0)]
    young, old = (only(changes(*pair, 1.0, patient=Patient(age, "F"))) for age in (35.0, 70.0))
    assert young.ageing == pytest.approx(-0.0020 * 1095.0) and old.ageing == pytest.approx(-0.0052 * 1095.0)
    assert only(changes(*pair, 1.0)).ageing == 0.0


def test_lesions_are_compared_one_by_one():
    def lesions(count: int, volume_ml: float) -> Outcome:
        volumes = [("lesion_volume", volume_ml, "ml", None, level, 0.3) for level in (None, "deep")]
        return measured("white_matter_lesions", ("lesion_count", count, "1", None, None, None), *volumes)

    new = LesionChange("new", np.zeros((1, 3), int), 0.0, 0.4, 1.0, "deep", np.zeros(3))
    one = only(changes([lesions(3, 1.6)], [lesions(4, 1.7)], 1.0, lesions=LesionChanges(None, (new,))))
    assert one.name == "lesion_volume" and one.change == pytest.approx(0.4) and one.verdict == "more than"
    assert len(changes([lesions(3, 1.6)], [lesions(4, 1.7)], 1.0)) == 3


def test_a_score_has_to_change_by_more_than_one_grade():
    def band(score: float) -> Outcome:
        return measured("motor_band", ("motor_band_score", score, "1", "left", "lateral", None))

    assert only(changes([band(0.0)], [band(1.0)], 1.0)).verdict == "within"
    assert only(changes([band(0.0)], [band(2.0)], 1.0)).verdict == "more than"


def test_the_quality_of_the_images_is_not_followed():
    assert changes(*([measured("motor_cortex_spectroscopy", ("snr", value, "1", None, None, 1.0))] for value in (9.0, 30.0)), 1.0) == ()
    pair = [measured("image_quality", ("snr", value, "1", None, "t1", 1.0)) for value in (20.0, 30.0)]
    assert changes(pair[:1], pair[1:], 1.0) == ()


@pytest.mark.parametrize("marker", [one for one in markers() if one.name not in NOT_FOLLOWED], ids=lambda one: one.name)
def test_every_followed_marker_says_what_a_change_costs_to_be_seen(marker):
    assert "A change" in marker.section("Trust") and "is seen from" in marker.section("Trust")
