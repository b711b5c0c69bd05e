"""Runs every marker on one examination: one outcome each, always.

What the images cannot carry is "not measurable" with the marker's own reason. Anything else that goes wrong is "failed", with a sentence
that names the error; it ends that marker only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from analysis.examination import ROLE_WORDS, Examination
from analysis.marker import Marker
from analysis.outcome import FAILED, NOT_MEASURABLE, NotMeasurable, Outcome
from analysis.words import joined, say


def analyse(examination: Examination, markers: Iterable[Marker], clock: Callable[[], float]) -> tuple[Outcome, ...]:
    """The outcomes in the order of the markers. `clock` gives seconds."""
    return tuple(_run(marker, examination, clock) for marker in markers)


def _run(marker: Marker, examination: Examination, clock: Callable[[], float]) -> Outcome:
    start = clock()
    missing = [group for group in marker.needs if not any(role in examination.images for role in group)]
    try:
        if missing:
            raise NotMeasurable(_missing(missing, examination.sent))
        outcome = marker.measure(examination)
    except NotMeasurable as refusal:
        outcome = Outcome(marker.name, marker.version, NOT_MEASURABLE, refusal.reason)
    except Exception as error:  # whatever a library throws ends this marker, not the study
        unknown = say("an error that this version does not know: {kind}: {error}", kind=type(error).__name__, error=str(error))
        outcome = Outcome(marker.name, marker.version, FAILED, unknown)
    return replace(outcome, seconds=clock() - start)


def _missing(groups: list[tuple[str, ...]], sent: frozenset[str]) -> str:
    groups = [group for group in groups if not any(set(other) < set(group) for other in groups)]  # which says it already
    either = [joined([ROLE_WORDS[role] for role in group], " or ") for group in groups]
    sentence = say("the study has no {series} that can be used", series=joined(either, ", and no "))
    if any("t1" in group for group in groups) and "t1_contrast" in sent:
        return say(
            "{sentence}: its T1-weighted series is with contrast agent, which brightens vessels and membranes to that of brain",
            sentence=sentence,
        )
    return sentence
