"""The whole program: a study in, the DICOM objects that answer it out.

The service runs it in a child process per study, the command line runs it as it is; both get the same bytes for the same study, settings
and time. A study that holds nothing to measure is answered too: what was sent, and why nothing was measured.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from pydicom.dataset import Dataset

from analysis.earlier import Earlier
from analysis.engine import analyse
from analysis.examination import Examination, silent
from analysis.marker import markers
from analysis.outcome import FAILED, MEASURED, Outcome
from analysis.report import Report, SeriesNote
from analysis.sequences import rows_of
from analysis.summary import summary_of
from analysis.support import support_of
from analysis.volume import Image
from analysis.words import joined, say
from node.answer_folder import check_apart, check_free, headers_of, replace_folder, write, write_niftis, writing
from node.errors import StudyError
from node.follow_up import priors_beside, with_follow_up
from node.images import Watch, images_of, places, used
from node.language import Language
from node.norms import norms_for
from node.paradigms import with_paradigms
from node.prior_folders import earlier_in
from node.provenance import Provenance
from node.roles import Decision, decide
from node.settings import Settings
from node.spool import is_uid
from node.study import Study, check_one_patient, patient_of, read_studies
from node.wording import earlier_lines

PROBLEMS_AT_MOST = 10
OF_IMAGES = "image_quality"  # says how good the images are, and nothing of the patient


@dataclass(frozen=True)
class History:
    """Folders of earlier examinations, and sentences on those that could not be had."""

    folders: Sequence[Path] = ()
    told: Sequence[str] = ()


NO_HISTORY = History()


def process(study: Study, settings: Settings, watch: Watch = silent) -> list[Dataset]:
    """Return the DICOM objects that answer one study: masks and maps first, then the report."""
    provenance = provenance_of(study, settings, datetime.now().astimezone())
    report, images = examine(study, settings, watch)
    return answer(report, images, provenance, settings)


def examine(
    study: Study, settings: Settings, watch: Watch = silent, history: History = NO_HISTORY
) -> tuple[Report, Mapping[str, Image]]:
    """What the markers say of the study, what changed since the examinations of its history, and the images by role."""
    start = time.monotonic()
    every = markers()
    decisions, images = images_of(study, every, watch)
    images = with_paradigms(images, settings.task)
    sent = frozenset(one.role for one in decisions)
    populations, problems = norms_for(settings, study.study_instance_uid, places(decisions, images), every)
    study = replace(study, problems=(*study.problems, *problems))
    examination = Examination(images, patient_of(study), watch, populations, sent)
    earlier, notes = examinations_before(study, history)
    with priors_beside(earlier, history.folders, every, populations, settings) as priors:
        outcomes = analyse(examination, every, time.monotonic)
        report = replace(report_of(study, decisions, images, outcomes, 0.0), earlier=earlier, earlier_notes=notes)
        report = with_follow_up(report, examination, study, priors, settings)
    return replace(report, seconds=time.monotonic() - start), images


def examinations_before(study: Study, history: History) -> tuple[tuple[Earlier, ...], tuple[str, ...]]:
    """The earlier examinations that are at hand, and what is to be said of others."""
    found, notes = earlier_in(history.folders, study.header)
    return found, (*history.told, *notes)


def report_of(
    study: Study, decisions: tuple[Decision, ...], images: Mapping[str, Image], outcomes: tuple[Outcome, ...], seconds: float
) -> Report:
    """The report of a study; it says so where nothing at all was measured."""
    measured_on = used(decisions, images)
    notes = tuple(_note(one, used=one in measured_on) for one in decisions)
    of_patient = [outcome for outcome in outcomes if outcome.marker != OF_IMAGES]
    measured = any(outcome.outcome == MEASURED for outcome in of_patient)
    reasons = tuple(dict.fromkeys(outcome.reason or "" for outcome in of_patient))
    support = support_of(outcomes)
    return Report(
        study.study_instance_uid,
        patient_of(study),
        notes,
        outcomes,
        summary_of(outcomes, support, study.problems),
        not_analysed=None if measured else joined(reasons, "; "),
        seconds=seconds,
        problems=_first(study.problems),
        support=support,
        sequences=rows_of(notes, outcomes, images),
    )


def _first(problems: tuple[str, ...]) -> tuple[str, ...]:
    """What could not be read, in the length that a reader bears; `betz process` lists all of it."""
    rest = len(problems) - PROBLEMS_AT_MOST
    more = say("{count} more files were left out for such reasons.", count=rest)
    return problems if rest <= 0 else (*problems[:PROBLEMS_AT_MOST], more)


def _note(decision: Decision, used: bool) -> SeriesNote:
    header = decision.series.header
    return SeriesNote(
        decision.series.series_instance_uid,
        decision.role,
        decision.why,
        decision.problems,
        used,
        description=str(header.get("SeriesDescription") or ""),
        scanner=decision.scanner,
        protocol=decision.protocol,
    )


def failure_of(study: Study, reason: str) -> Report:
    """The report of a study whose analysis ended without a result: every marker failed, for that reason."""
    outcomes = tuple(Outcome(marker.name, marker.version, FAILED, reason) for marker in markers())
    return report_of(study, tuple(decide(series) for series in study.series), {}, outcomes, 0.0)


def provenance_of(study: Study, settings: Settings, made_at: datetime) -> Provenance:
    """What all objects of one answer share. StudyError where it is not clear whose that is: nothing is made under a wrong name."""
    if not is_uid(study.study_instance_uid):
        raise StudyError("the StudyInstanceUID of the images is no UID, so nothing can be put beside them; correct it in the archive")
    check_one_patient(study)
    results = settings.results
    return Provenance(study, made_at, ae_title=settings.listener.ae_title, institution=results.institution or None, is_final=results.final,
                      language=Language(results.language))  # fmt: skip


def answer(report: Report, images: Mapping[str, Image], provenance: Provenance, settings: Settings) -> list[Dataset]:
    """Masks and maps first, then the reports and pages; the readable ones always, the coded one where something was measured."""
    from node.encapsulated_pdf import encapsulated_pdf, patient_pdf
    from node.measurement_report import measurement_report
    from node.pages import pages
    from node.parametric_map import parametric_maps
    from node.patient_page import patient_page
    from node.secondary_capture import secondary_captures
    from node.segmentation import segmentations
    from node.text_report import text_report
    from node.track_set import track_sets

    masks, maps = segmentations(report, provenance, images), parametric_maps(report, provenance, images)
    tracks = track_sets(report, provenance) if settings.results.tractography else []
    coded = measurement_report(report, provenance, images, masks)
    reports = [*([coded] if coded else []), text_report(report, provenance)]
    paper = pages(report, provenance, images)
    of_pages = [*secondary_captures(paper, report, provenance), encapsulated_pdf(paper, report, provenance)]
    for_patient = [patient_pdf(patient_page(report, provenance), report, provenance)] if settings.results.patient_page else []
    return [*masks, *maps, *tracks, *reports, *of_pages, *for_patient]


def process_folder(
    folder: Path,
    out: Path,
    settings: Settings,
    nifti: bool = False,
    watch: Watch = silent,
    made_at: datetime | None = None,
    failed: str | None = None,
    earlier: Path | None = None,
    missing: str | None = None,
    priors: Sequence[Path] = (),
    told: Sequence[str] = (),
) -> list[str]:
    """Answer the study, or each study, of a folder into OUT: the objects, report.json, and with `nifti` every mask and map.

    Several studies get a folder each, named by their UID. `failed`: the reason why the analysis ended; then the answer says that, and
    nothing is measured. `earlier`: an answer that this one replaces, whose reports the new ones name. `missing`: what had not come of the
    one study when its analysis began; its report says so. `priors`: folders of earlier examinations, which the report names; `told`: what
    is to be said of others, in sentences. Returns lines for a person. OUT appears whole or not at all; an older answer in it is replaced.
    """
    out, made_at = out.resolve(), made_at or datetime.now().astimezone()
    studies, problems = _studies(folder)
    if missing and len(studies) == 1:
        studies = [replace(studies[0], problems=(missing, *studies[0].problems))]
    places = [out] if len(studies) == 1 else [out / study.study_instance_uid for study in studies]
    for source in (folder, *priors):
        check_apart(source, out)
    check_free(out, len(studies))
    lines, refused = list(problems), []
    for study, place in zip(studies, places, strict=True):
        try:
            history = History(priors, told)
            lines += [*study.problems, *_process_into(study, place, settings, nifti, watch, made_at, failed, earlier, history)]
        except StudyError as error:
            if len(studies) == 1:
                raise
            refused.append(f"Study {study.study_instance_uid}: {str(error).rstrip('.')}.")
    if refused:
        answered = len(studies) - len(refused)
        raise StudyError(" ".join([*refused, *([f"The answers of the other {answered} studies are in {out}."] if answered else [])]))
    return lines


def _studies(folder: Path) -> tuple[list[Study], list[str]]:
    """The studies of a folder, and what belongs to none of them; where there is one study only, its report tells that as well."""
    if not folder.is_dir():
        raise StudyError(f"{folder} is not a folder.")
    studies, problems = read_studies(folder)
    if not studies:
        more = [f"So it is with {len(problems) - 3} more files."] if len(problems) > 3 else []
        raise StudyError(" ".join([f"{folder} holds no DICOM study that can be read.", *problems[:3], *more]))
    if len(studies) == 1:
        return [replace(studies[0], problems=(*studies[0].problems, *problems))], []
    return studies, problems


def _process_into(
    study: Study, out: Path, settings: Settings, nifti: bool, watch: Watch, made_at: datetime, failed: str | None, earlier: Path | None,
    history: History,
) -> list[str]:  # fmt: skip
    provenance = replace(provenance_of(study, settings, made_at), earlier=headers_of(earlier, study.study_instance_uid))
    partial = out.with_name(f".{out.name}.partial")
    try:
        with writing(out):
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
        if failed:
            known, notes = examinations_before(study, history)
            report, images = replace(failure_of(study, failed), earlier=known, earlier_notes=notes), {}
        else:
            report, images = examine(study, settings, watch, history)
        watch("writing the report")
        objects = answer(report, images, provenance, settings)
        with writing(out):
            write(report, objects, partial)
            if nifti:
                write_niftis(report, images, partial / "nifti")
            replace_folder(partial, out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return lines_of(report, objects, out)


def lines_of(report: Report, objects: list[Dataset], out: Path) -> list[str]:
    """One line per marker, and where the answer is."""
    lines = [f"{outcome.marker}: {outcome.outcome}" + (f", {outcome.reason}" if outcome.reason else "") for outcome in report.outcomes]
    lines += earlier_lines(report)
    if report.not_analysed:
        lines.append(f"Not analysed: {report.not_analysed}")
    return [*lines, f"{len(objects)} objects and report.json in {out}"]
