"""Compression of the cord: the ratio is the formula, verdicts follow the limits of the age, and the phantom's truth is found."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from analysis.examination import Examination, Patient
from analysis.markers.cord_compression import (
    MIDDLE_AGE,
    Worst,
    bright_points,
    compression,
    hyperintensity,
    limits,
    measure,
    ratios_of,
    touching_discs,
    worst_of,
)
from analysis.outcome import NotMeasurable
from analysis.phantom_neck import Neck, neck_of
from analysis.steps.cord import Cord, Disc, cord_of
from analysis.steps.cord_signal import CordSignal, cord_signal
from analysis.volume import Volume

LENGTH, NAMES = 130, ("C2/C3", "C3/C4", "C4/C5", "C5/C6", "C6/C7", "C7/T1")
AT = {name: 20 + 16 * k for k, name in enumerate(NAMES)}
COARSE = 1.25
PLANTED = {"healthy": ((), 0.0), "pressed": (("cord_compression:C4/C5",), 0.75), "ill": (("cord_t2_hyperintensity:C6",), 0.6),
           "severe": (("cord_compression:C5/C6",), 1.0)}  # fmt: skip


def cord(depth_mm: np.ndarray, measured: np.ndarray | None = None) -> Cord:
    """A straight upright cord with a depth at every mm, and the discs of a neck."""
    n, flat = len(depth_mm), np.zeros((len(depth_mm), 3))
    down, back, left = (flat + one for one in ([0, 0, -1], [0, 1, 0], [1, 0, 0]))
    measured = np.ones(n, bool) if measured is None else measured
    level = 2 + np.searchsorted(list(AT.values()), np.arange(n), side="right")
    return Cord(
        "cord_t2", True, Volume(np.zeros((4, 4, 4), bool), np.eye(4)), np.arange(n)[:, None] * down, 1.0, down, back, left,
        np.repeat(depth_mm[:, None] / 2, 72, axis=1), np.repeat(depth_mm[:, None] / 2, 72, axis=1), np.pi / 4 * depth_mm**2,
        np.ones(n), np.where(measured, depth_mm, 0.0), np.where(measured, depth_mm, 0.0), measured, np.minimum(level, 8),
        tuple(Disc(name, at, (0.0, 0.0, -float(at))) for name, at in AT.items()),
    )  # fmt: skip


def dented(share: float, at: int, half_mm: float = 6.0) -> np.ndarray:
    depth = np.full(LENGTH, 7.5)
    return depth * (1 - share * np.clip(1 - np.abs(np.arange(LENGTH) - at) / half_mm, 0, 1))


def quiet(n: int = LENGTH, room_mm: float = 2.0, seen: float = 0.6) -> CordSignal:
    return CordSignal(np.zeros((n, 72, 10)), np.full(n, room_mm), np.full(n, seen))


@cache
def examined(name: str) -> tuple[Neck, Examination]:
    neck = neck_of(*PLANTED[name], seed=23)
    return neck, Examination({"cord_t2": neck.scan("cord_t2", COARSE)}, Patient(60.0, "F"))


@pytest.mark.parametrize("disc", ["C3/C4", "C5/C6"])
@pytest.mark.parametrize("share", [0.1, 0.3, 0.5])
def test_the_ratio_is_the_formula_and_the_worst_height_its_disc(disc, share):
    worst = worst_of(cord(dented(share, AT[disc], 9.0)))
    assert worst.disc == disc and abs(worst.index - AT[disc]) <= 1
    assert worst.ratio == pytest.approx(100 * share, abs=100 * share * 0.12)
    assert np.nanmax(np.abs(ratios_of(cord(np.full(LENGTH, 7.5))))) < 1e-6


def test_a_height_without_measured_cord_above_and_below_is_not_judged():
    ratio = ratios_of(cord(dented(0.3, 60)))
    assert np.isnan(ratio[:19]).all() and np.isfinite(ratio[20:-20]).all() and np.isnan(ratio[-19:]).all()
    with pytest.raises(NotMeasurable, match="10 mm of measured cord"):
        worst_of(cord(np.full(LENGTH, 7.5), (np.arange(LENGTH) > 50) & (np.arange(LENGTH) < 75)))
    with pytest.raises(NotMeasurable, match="no vertebra from C3 to C7"):
        worst_of(replace(cord(np.full(LENGTH, 7.5)), level=np.zeros(LENGTH, int)))


def test_limits_are_those_of_the_age_and_the_wider_where_it_is_not_known():
    assert limits(30.0) < limits(70.0) == limits(None)
    assert limits(MIDDLE_AGE - 1) != limits(MIDDLE_AGE)


@pytest.mark.parametrize(("ratio", "age", "touching", "share", "value"), [
    (20.0, 70.0, (), 1.0, "present"), (16.0, 70.0, (), 1.0, "indeterminate"), (16.0, 70.0, ("C4/C5",), 1.0, "present"),
    (16.0, 30.0, (), 1.0, "present"),
    (5.0, 70.0, (), 1.0, "absent"), (5.0, 70.0, ("C5/C6",), 1.0, "indeterminate"), (5.0, 70.0, (), 0.5, "indeterminate"),
    (20.0, None, (), 0.3, "present"),
])  # fmt: skip
def test_the_verdict(ratio, age, touching, share, value):
    found = compression(Worst(50, ratio, "C4/C5", share), touching, age)
    assert found.value == value
    assert (found.reason is None) == (value in ("present", "absent"))


def test_a_disc_touches_where_no_fluid_is_left_in_front():
    signal = quiet()
    signal.room_mm[AT["C4/C5"] + 2] = 0.2
    assert touching_discs(cord(np.full(LENGTH, 7.5)), signal) == ("C4/C5",)
    assert touching_discs(cord(np.full(LENGTH, 7.5)), quiet()) == ()


def test_bright_signal_has_a_length_and_needs_voxels_that_fit_into_the_cord():
    neck, signal = cord(np.full(LENGTH, 7.5)), quiet()
    worst = worst_of(neck)
    assert hyperintensity(neck, worst, signal, bright_points(signal)).value == "absent"
    signal.excess[60, 70:72, 2:4] = 0.6
    assert not bright_points(signal).any()
    signal.excess[58:64, 70:72, 2:4] = 0.6
    found = hyperintensity(neck, worst, signal, bright_points(signal))
    assert (found.value, found.level) == ("present", "C5")
    assert hyperintensity(neck, worst, quiet(seen=0.05), bright_points(quiet())).value == "not assessed"


def test_on_t1_nothing_is_said():
    examination = Examination({"cord_t2": Volume(np.ones((4, 4, 4)), np.eye(4))})
    examination._done[cord_of] = (replace(cord(np.full(LENGTH, 7.5)), bright_fluid=False), None)
    with pytest.raises(NotMeasurable, match="T1"):
        measure(examination)


def test_a_healthy_neck_has_neither():
    neck, examination = examined("healthy")
    outcome = measure(examination)
    assert [finding.value for finding in outcome.findings] == ["absent", "absent"]
    assert outcome.measurements[0].value == pytest.approx(100 * neck.worst()[1], abs=3)
    assert any("never excludes ALS" in note for note in outcome.notes)
    assert any("below 47 years" in note and "half-way" in note for note in outcome.notes)


def test_a_compression_is_found_at_its_disc_with_the_disc_on_the_cord():
    neck, examination = examined("pressed")
    outcome = measure(examination)
    flat, bright = outcome.findings
    assert (flat.value, flat.level, bright.value) == ("present", "C4/C5", "absent")
    assert outcome.measurements[0].value == pytest.approx(100 * neck.worst()[1], abs=5)
    cord_here = examination.once(cord_of)
    assert touching_discs(cord_here, cord_signal(examination.image("cord_t2"), cord_here)) == ("C4/C5",)


def test_a_severe_compression_is_measured_though_no_fluid_is_left_before_the_disc():
    neck, examination = examined("severe")
    outcome = measure(examination)
    assert neck.worst()[1] > 0.38
    assert outcome.measurements[0].value == pytest.approx(100 * neck.worst()[1], abs=7)
    assert [finding.value for finding in outcome.findings] == ["present", "absent"] and outcome.findings[0].level == "C5/C6"
    cord_here = examination.once(cord_of)
    at = next(one.index for one in cord_here.discs if one.name == "C5/C6")
    along, _, _ = neck.shape.s_u_v(cord_here.centreline_lps[at - 2 : at + 3].T)
    section = neck.shape.section
    depth = neck.shape.table(section.front + section.back, along)
    assert np.abs(cord_here.ap_mm[at - 2 : at + 3] - depth).max() < 0.8


def test_a_lesion_is_found_where_it_is_and_drawn_there():
    neck, examination = examined("ill")
    outcome = measure(examination)
    flat, bright = outcome.findings
    assert (flat.value, bright.value, bright.level) == ("absent", "present", "C6")
    mask = next(one for one in outcome.masks if one.name == "cord_t2_hyperintensity")
    affine = examination.image("cord_t2").lps_from_index
    middle = np.argwhere(mask.array).mean(axis=0) @ affine[:3, :3].T + affine[:3, 3]
    assert np.linalg.norm(middle - neck.shape.point(*neck.lesions[0].middle_mm)) < 2.5
