"""What was done in functional series, by the settings; and the settings that cannot be."""

import numpy as np
import pytest

from analysis.volume import Runs, TimeSeries
from node.errors import SettingsError
from node.paradigms import paradigm_of, with_paradigms
from node.settings import Task
from node.settings_file import read_settings

TABLE = '''
[[task]]
series = "*finger*left*"
moves = "left"
rest_s = 20
task_s = 10
[[task]]
series = "*REST*"
moves = "none"
[[task]]
series = "fmri odd"
moves = "both"
onsets_s = [10, 40.5]
durations_s = [12, 8]
'''


def settings_of(tmp_path, text: str):
    path = tmp_path / "betz.toml"
    path.write_text(text, encoding="utf-8")
    return read_settings(path)


def test_tasks_are_read_and_meet_the_names_of_protocols(tmp_path):
    tasks = settings_of(tmp_path, TABLE).task
    left = paradigm_of("fMRI Finger tapping LEFT 2mm", 60.0, tasks)
    assert left.bands == ((20.0, 30.0), (50.0, 60.0)) and left.moves == "left" and left.confidence is None
    assert paradigm_of("resting state", 300.0, tasks).is_rest
    assert paradigm_of("fMRI odd", 45.0, tasks).bands == ((10.0, 22.0), (40.5, 45.0))
    assert paradigm_of("something else", 300.0, tasks) is None


def test_every_run_of_a_study_is_told_what_was_done(tmp_path):
    array = np.zeros((2, 2, 2, 30), np.float32)
    runs = Runs(tuple(TimeSeries(array, np.eye(4), 2.0, name) for name in ("finger left", "rest", "other")))
    told = with_paradigms({"bold": runs}, settings_of(tmp_path, TABLE).task)["bold"].runs
    assert [one.paradigm and (one.paradigm.moves, one.paradigm.is_rest) for one in told] == [("left", False), ("", True), None]
    assert with_paradigms({"bold": runs}, ())["bold"] is runs


def test_the_default_is_no_task():
    assert read_settings().task == ()


@pytest.mark.parametrize(("text", "words"), [
    ('[[task]]\nseries = "x"\n', "needs the key 'moves'"),
    ('[[task]]\nseries = "x"\nmoves = "foot"\n', "moves is 'foot'"),
    ('[[task]]\nseries = "x"\nmoves = "left"\nfirst = "none"\n', "first is 'none'"),
    ('[[task]]\nseries = "x"\nmoves = "left"\nblock_s = 3\n', "has no key 'block_s'"),
    ('[[task]]\nseries = "x"\nmoves = "left"\nrest_s = 0\n', "must lie between"),
    ('[[task]]\nseries = "x"\nmoves = "left"\nonsets_s = [1, 2]\ndurations_s = [1]\n', "2 onsets_s and 1 durations_s"),
    ('[[task]]\nseries = "x"\nmoves = "left"\nonsets_s = [1, 2]\ndurations_s = [5, 5]\n', "before the one before it ends"),
    ('[[task]]\nseries = "x"\nmoves = "left"\nonsets_s = "1"\n', "a list of numbers"),
    ('[task]\nseries = "x"\n', r"\[\[task\]\]"),
])  # fmt: skip
def test_a_task_that_cannot_be_is_an_error_that_says_why(tmp_path, text, words):
    with pytest.raises(SettingsError, match=words):
        settings_of(tmp_path, text)


def test_a_pattern_that_is_not_met_says_nothing():
    assert paradigm_of("", 100.0, (Task("finger*", "left"),)) is None
