"""Blocks of a task: stated, cut, impossible."""

import pytest

from analysis.paradigm import BadParadigm, Paradigm, alternating


def test_rest_and_task_take_turns_until_the_end_of_the_run():
    made = alternating(20.0, 30.0, "rest", 110.0, "left")
    assert made.bands == ((20.0, 50.0), (70.0, 100.0)) and made.moves == "left" and not made.is_rest


def test_a_task_may_come_first_and_the_last_block_may_be_cut():
    assert alternating(20.0, 30.0, "task", 70.0).bands == ((0.0, 30.0), (50.0, 70.0))


def test_what_lies_after_the_end_is_left_out():
    assert Paradigm((10.0, 60.0, 120.0), (20.0, 30.0, 30.0)).until(70.0).bands == ((10.0, 30.0), (60.0, 70.0))


def test_no_block_is_rest():
    assert Paradigm().is_rest


@pytest.mark.parametrize(("onsets", "durations", "words"), [
    ((1.0,), (), "durations"), ((1.0,), (0.0,), "longer than 0"), ((1.0, 5.0), (10.0, 10.0), "before the one before it ends"),
])  # fmt: skip
def test_blocks_that_cannot_be_are_refused(onsets, durations, words):
    with pytest.raises(BadParadigm, match=words):
        Paradigm(onsets, durations)
