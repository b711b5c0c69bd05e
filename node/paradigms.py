"""What was done during a functional series, by the site's settings: the first [[task]] whose pattern fits the name of its protocol."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase

from analysis.paradigm import BadParadigm, Paradigm, alternating
from analysis.volume import Image, Runs
from node.settings import Task

MOVES = ("left", "right", "both", "none")
FIRST = ("rest", "task")


def with_paradigms(images: Mapping[str, Image], tasks: Sequence[Task]) -> dict[str, Image]:
    """The images, with what was done in each functional run, where the settings say it."""
    runs = images.get("bold")
    if not isinstance(runs, Runs) or not tasks:
        return dict(images)
    told = tuple(replace(run, paradigm=paradigm_of(run.name, run.duration_s, tasks)) for run in runs.runs)
    return {**images, "bold": Runs(told)}


def paradigm_of(name: str, duration_s: float, tasks: Sequence[Task]) -> Paradigm | None:
    """What was done in a run of that protocol name; None where no pattern fits."""
    task = next((one for one in tasks if fnmatchcase(name.lower(), one.series.lower())), None)
    if task is None:
        return None
    if task.moves == "none":
        return Paradigm()
    if task.onsets_s:
        return Paradigm(task.onsets_s, task.durations_s, task.moves).until(duration_s)
    return alternating(task.rest_s, task.task_s, task.first, duration_s, task.moves)


def task_problem(task: Task) -> str | None:
    """Why a [[task]] of the settings cannot be, or None."""
    if task.moves not in MOVES:
        return f"moves is {task.moves!r}; there is {', '.join(map(repr, MOVES))}."
    if task.first not in FIRST:
        return f"first is {task.first!r}; there is {' and '.join(map(repr, FIRST))}."
    if len(task.onsets_s) != len(task.durations_s):
        return f"{task.series!r} has {len(task.onsets_s)} onsets_s and {len(task.durations_s)} durations_s; each block needs both."
    try:
        Paradigm(task.onsets_s, task.durations_s)
    except BadParadigm as error:
        return f"{task.series!r} has onsets_s and durations_s that cannot be: {error}."
    return None
