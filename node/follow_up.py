"""The earlier examinations of a patient made ready for comparison: their images read, and measured where no report of this version says it.

The last one with images is compared image by image; of those before it only the values are needed. A prior whose report was written by
another version of a marker, or that has none, is analysed again where its images are at hand and time allows; else its values are not
compared, and the report says so. What goes wrong with a prior costs a sentence, never the report of the new examination.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from analysis.earlier import Acquisition, Earlier, said_by
from analysis.engine import analyse
from analysis.examination import Examination
from analysis.follow_up import Prior, follow_up_of
from analysis.marker import Marker
from analysis.report import Report, SeriesNote
from analysis.words import Name, Words, say
from node.earlier_report import day_of, is_own
from node.errors import StudyError
from node.follow_up_words import sentences_of
from node.images import images_of, used
from node.paradigms import with_paradigms
from node.roles import Decision
from node.settings import Settings
from node.study import Study, patient_of, read_studies
from node.treatments import treatments_of
from node.wording import day_words

TIME_SHARE = 0.5  # of what an analysis may take, for measuring earlier examinations


def with_follow_up(
    report: Report, examination: Examination, every: tuple[Marker, ...], study: Study, folders: Sequence[Path], settings: Settings
) -> Report:
    """The report with what changed since the earlier examinations that it names; their images are looked for in `folders`."""
    if not report.earlier:
        return report
    day = day_of(study.header).isoformat()
    priors, notes = _priors(report.earlier, _studies(folders), every, examination, settings)
    events, problems = treatments_of(settings.results.treatments, str(study.header.get("PatientID") or ""))
    examination.watch("comparing with the earlier examination")
    follow_up = follow_up_of(examination, report.outcomes, day, acquisitions_of([one for one in report.series if one.used]), priors)
    if follow_up is None:
        return report
    follow_up = replace(follow_up, treatments=events, notes=(*follow_up.notes, *notes, *problems))
    return replace(report, follow_up=follow_up, summary=(*report.summary[:1], *sentences_of(follow_up), *report.summary[1:]))


def acquisitions_of(series: Sequence[SeriesNote | Decision]) -> dict[str, Acquisition]:
    """Scanner and protocol of series by role; of several with one role those of the first, as the coded report holds them."""
    return {one.role: Acquisition(one.scanner, one.protocol) for one in reversed(series) if one.scanner and one.protocol}


def _studies(folders: Sequence[Path]) -> dict[str, Study]:
    """The studies in the folders by their UID; of one that lies in two of them the one with more series that a scanner made: the pages of
    an answer are a series, too."""
    found: dict[str, Study] = {}
    for folder in folders:
        for study in read_studies(folder)[0]:
            held = found.get(study.study_instance_uid)
            if held is None or _series_of_scanner(study) > _series_of_scanner(held):
                found[study.study_instance_uid] = study
    return found


def _series_of_scanner(study: Study) -> int:
    return sum(not is_own(one.header) for one in study.series)


def _priors(
    found: Sequence[Earlier], studies: Mapping[str, Study], every: tuple[Marker, ...], now: Examination, settings: Settings
) -> tuple[list[Prior], list[Words]]:
    """Each earlier examination with what can be compared of it, oldest first, the last with images also as an examination. The latest are
    measured again first, as long as half the time that an analysis may take is not over."""
    wanted, end = {one.name: one.version for one in every}, time.monotonic() + TIME_SHARE * settings.worker.time_limit_s
    last = next((one for one in reversed(found) if one.series and one.study_instance_uid in studies), None)
    priors, notes = [], []
    for one in reversed(found):
        study, is_stale = studies.get(one.study_instance_uid) if one.series else None, _is_stale(one, wanted)
        prior = Prior(one)
        try:
            if study is not None and (one is last or (is_stale and time.monotonic() < end)):
                now.watch(f"reading the examination of {one.day}")
                prior = _measured(one, study, every, now, settings, is_stale, is_kept=one is last)
            elif study is not None and is_stale:
                notes.append(say("the examination of {day} was not measured again: it would have taken too long", day=day_words(one.day)))
        except Exception as error:  # whatever a library throws ends this prior, not the report
            reason = error.reason if isinstance(error, StudyError) else Name(type(error).__name__)
            notes.append(say("the images of {day} could not be used: {reason}", day=day_words(one.day), reason=reason))
        priors.insert(0, prior)
    return priors, notes


def _measured(
    one: Earlier, study: Study, every: tuple[Marker, ...], now: Examination, settings: Settings, is_stale: bool, is_kept: bool
) -> Prior:
    """An earlier examination with its images, where they are kept for the comparison; measured where its report does not do."""
    examination, acquisitions = _examination(study, every, now, settings)
    if is_stale:
        markers = said_by(analyse(examination, every, time.monotonic))
        one = replace(one, markers=markers or one.markers, acquisitions=acquisitions)
    return Prior(one, examination if is_kept else None)


def _is_stale(one: Earlier, wanted: Mapping[str, int]) -> bool:
    """Whether its report does not say what the present version of the markers would: there is none, or a marker was another version."""
    return not one.markers or any(wanted.get(name) != marker.version for name, marker in one.markers.items())


def _examination(
    study: Study, every: tuple[Marker, ...], now: Examination, settings: Settings
) -> tuple[Examination, dict[str, Acquisition]]:
    decisions, images = images_of(study, every, now.watch)
    images = with_paradigms(images, settings.task)
    sent = frozenset(one.role for one in decisions)
    return Examination(images, patient_of(study), now.watch, now.norms, sent), acquisitions_of(used(decisions, images))
