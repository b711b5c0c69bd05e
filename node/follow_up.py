"""The earlier examinations of a patient made ready for comparison: their images read, and measured where no report of this version says it.

The last one with images is compared image by image; of those before it only the values are needed. A prior whose report was written by
another version of a marker, or that has none, is analysed again where its images are at hand and time allows; else its values are not
compared, and the report says so. All of that is done in a second process, while the new examination is analysed in this one. What
goes wrong with a prior costs a sentence, never the report of the new examination.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from analysis.comparison import made_ready
from analysis.earlier import Acquisition, Earlier, said_by
from analysis.engine import analyse
from analysis.examination import Examination, silent
from analysis.follow_up import Prior, follow_up_of
from analysis.marker import Marker
from analysis.reference import Population
from analysis.report import Report, SeriesNote
from analysis.words import Name, say
from node.companion import Companion
from node.earlier_report import day_of, is_own
from node.errors import JobError, StudyError
from node.follow_up_words import sentences_of
from node.images import images_of, used
from node.paradigms import with_paradigms
from node.roles import Decision
from node.settings import Settings
from node.study import Study, patient_of, read_studies
from node.treatments import treatments_of
from node.wording import day_words

TIME_SHARE = 0.5  # of what an analysis may take, for measuring earlier examinations
WAIT_SHARE = 0.75  # of it, until the report goes on without their images


@dataclass(frozen=True, eq=False)
class Priors:
    """The earlier examinations with what can be compared of each, oldest first; `notes`: sentences on what could not be had."""

    found: tuple[Prior, ...] = ()
    notes: tuple[str, ...] = ()


@contextmanager
def priors_beside(
    earlier: Sequence[Earlier], folders: Sequence[Path], every: tuple[Marker, ...], norms: Sequence[Population], settings: Settings
) -> Iterator[Callable[[], Priors]]:
    """What `priors_of` gives, made in a second process from now on; it is waited for when it is asked for. Arguments as there."""
    if not any(one.series for one in earlier):
        yield lambda: Priors(tuple(Prior(one) for one in earlier))
        return
    end = time.monotonic() + WAIT_SHARE * settings.worker.time_limit_s
    with Companion(priors_of, earlier, folders, every, norms, settings) as companion:

        def priors() -> Priors:
            try:
                return companion.result(end - time.monotonic())
            except JobError as error:
                note = say("the images of the earlier examinations could not be used: {reason}", reason=error.reason)
                return Priors(tuple(Prior(one) for one in earlier), (note,))

        yield priors


def with_follow_up(report: Report, examination: Examination, study: Study, priors: Callable[[], Priors], settings: Settings) -> Report:
    """The report with what changed since the earlier examinations that it names, which `priors` gives."""
    if not report.earlier:
        return report
    day = day_of(study.header).isoformat()
    examination.watch("comparing with the earlier examination")
    held = priors()
    events, problems = treatments_of(settings.results.treatments, str(study.header.get("PatientID") or ""))
    follow_up = follow_up_of(examination, report.outcomes, day, acquisitions_of([one for one in report.series if one.used]), held.found)
    if follow_up is None:
        return report
    follow_up = replace(follow_up, treatments=events, notes=(*follow_up.notes, *held.notes, *problems))
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


def priors_of(
    earlier: Sequence[Earlier], folders: Sequence[Path], every: tuple[Marker, ...], norms: Sequence[Population], settings: Settings
) -> Priors:
    """Each earlier examination with what can be compared of it, the last with images also as an examination made ready for comparison.

    `folders`: where their images are looked for; `norms`: the populations that those measured again are compared with. The latest are
    measured again first, as long as half the time that an analysis may take is not over."""
    wanted, end = {one.name: one.version for one in every}, time.monotonic() + TIME_SHARE * settings.worker.time_limit_s
    studies = _studies(folders)
    last = next((one for one in reversed(earlier) if one.series and one.study_instance_uid in studies), None)
    priors, notes = [], []
    for one in reversed(earlier):
        study, is_stale = studies.get(one.study_instance_uid) if one.series else None, _is_stale(one, wanted)
        prior = Prior(one)
        try:
            if study is not None and (one is last or (is_stale and time.monotonic() < end)):
                prior = _measured(one, study, every, norms, settings, is_stale, is_kept=one is last)
            elif study is not None and is_stale:
                notes.append(say("the examination of {day} was not measured again: it would have taken too long", day=day_words(one.day)))
        except Exception as error:  # whatever a library throws ends this prior, not the others
            reason = error.reason if isinstance(error, StudyError) else Name(type(error).__name__)
            notes.append(say("the images of {day} could not be used: {reason}", day=day_words(one.day), reason=reason))
        priors.insert(0, prior)
    return Priors(tuple(priors), tuple(notes))


def _measured(
    one: Earlier, study: Study, every: tuple[Marker, ...], norms: Sequence[Population], settings: Settings, is_stale: bool, is_kept: bool
) -> Prior:
    """An earlier examination with its images, where they are kept for the comparison; measured where its report does not do."""
    decisions, images = images_of(study, every, silent)
    images = with_paradigms(images, settings.task)
    examination = Examination(images, patient_of(study), norms=tuple(norms), sent=frozenset(one.role for one in decisions))
    if is_stale:
        markers = said_by(analyse(examination, every, time.monotonic))
        one = replace(one, markers=markers or one.markers, acquisitions=acquisitions_of(used(decisions, images)))
    return Prior(one, made_ready(examination) if is_kept else None)


def _is_stale(one: Earlier, wanted: Mapping[str, int]) -> bool:
    """Whether its report does not say what the present version of the markers would: there is none, or a marker was another version."""
    return not one.markers or any(wanted.get(name) != marker.version for name, marker in one.markers.items())
